/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that go along one axis in order: arg max and min, running sums, sorting.
 *
 * A line is what a tensor holds along the axis. A thread, a warp or a block takes a line, as there
 * are more or fewer of them and they are shorter or longer.
 */
#include "tensor/cuda/block.h"
#include "tensor/cuda/sort.h"
#include "tensor/cuda/walk.h"

/* Lines of y and x along an axis of n elements. */
struct lines_of {
    ct_walk<2> start;
    int64_t n, y_stride, x_stride;
};

static lines_of lines_along(const ct_tensor *y, const ct_tensor *x, int axis) {
    ct_tensor y_start = *y, x_start = *x;
    y_start.shape.dim[axis] = x_start.shape.dim[axis] = 1;
    return {ct_walk_of({&y_start, &x_start}), x->shape.dim[axis], y->stride[axis], x->stride[axis]};
}

/* Threads of a line: one where many lines lie side by side in memory, or they are short. */
static int threads_of(const lines_of &l) {
    enum { SHORT = CT_WARP, LONG = 1024, MANY_LINES = 4096 };
    if (l.n < SHORT || (l.x_stride != 1 && l.start.count >= MANY_LINES)) return 1;
    return l.n <= LONG ? CT_WARP : CT_THREADS;
}

/* ---- arg max and min -------------------------------------------------------------------- */

/* a comes before b in ascending or descending order; NaN is larger than every number. */
template <typename real> static __device__ inline bool before(real a, real b, bool descending) {
    if (descending) return a > b || (a != a && b == b);
    return a < b || (a == a && b != b);
}

/* An element and its position; n if there is none. */
template <typename real> struct candidate {
    real value;
    int64_t position;
};

template <typename real>
static __device__ inline candidate<real> better(const candidate<real> &a, const candidate<real> &b,
                                                int64_t n, bool largest) {
    if (a.position == n || b.position == n) return a.position == n ? b : a;
    if (before(a.value, b.value, largest)) return a;
    if (before(b.value, a.value, largest)) return b;
    return a.position < b.position ? a : b;
}

template <typename real>
static __device__ inline candidate<real> best_of_warp(candidate<real> best, int64_t n,
                                                      bool largest) {
    for (int step = CT_WARP / 2; step > 0; step /= 2) {
        candidate<real> other = {__shfl_xor_sync(ct_whole_warp, best.value, step),
                                 __shfl_xor_sync(ct_whole_warp, best.position, step)};
        best = better(best, other, n, largest);
    }
    return best;
}

template <typename real, int threads>
static __global__ void arg_reduce_by(const lines_of l, bool largest) {
    __shared__ real value[CT_WARP];
    __shared__ int64_t position[CT_WARP];
    int thread = (int)threadIdx.x % threads, lane = (int)threadIdx.x % CT_WARP;
    for (int64_t i = ct_first() / threads; i < l.start.count; i += ct_step() / threads) {
        int64_t at[2];
        ct_walk_to(l.start, i, at);
        const real *x = &l.start.at<real>(1, at);
        candidate<real> best = {real(0), l.n};
        for (int64_t k = thread; k < l.n; k += threads) {
            best = better(best, {x[k * l.x_stride], k}, l.n, largest);
        }
        if (threads > 1) best = best_of_warp(best, l.n, largest);
        if (threads > CT_WARP) {
            __syncthreads();
            if (lane == 0) {
                value[thread / CT_WARP] = best.value;
                position[thread / CT_WARP] = best.position;
            }
            __syncthreads();
            best = {real(0), l.n};
            if (lane < threads / CT_WARP) best = {value[lane], position[lane]};
            best = best_of_warp(best, l.n, largest);
        }
        if (thread == 0) l.start.at<int64_t>(0, at) = best.position;
    }
}

template <typename real>
bool ct_cuda_arg_reduce(bool largest, ct_tensor *y, const ct_tensor *x, int axis) {
    lines_of l = lines_along(y, x, axis);
    if (l.start.count == 0) return true;
    int threads = threads_of(l);
    auto arg_reduce = threads == 1         ? arg_reduce_by<real, 1>
                      : threads == CT_WARP ? arg_reduce_by<real, CT_WARP>
                                           : arg_reduce_by<real, CT_THREADS>;
    return CT_LAUNCH(arg_reduce, ct_cuda_blocks(l.start.count * threads), CT_THREADS, 0, l,
                     largest);
}
CT_BOTH_REALS(arg_reduce);

/* ---- running sums ----------------------------------------------------------------------- */

/* Of the lanes up to and with this one. */
static __device__ inline double running_sum_of_warp(double value) {
    int lane = (int)threadIdx.x % CT_WARP;
    for (int step = 1; step < CT_WARP; step *= 2) {
        double other = __shfl_up_sync(ct_whole_warp, value, step);
        if (lane >= step) value += other;
    }
    return value;
}

/* Of the threads up to and with this one; *all is that of the whole block. */
static __device__ inline double running_sum_of_block(double value, double *all) {
    __shared__ double of_warp[CT_WARP];
    int lane = (int)threadIdx.x % CT_WARP, warp = (int)threadIdx.x / CT_WARP;
    value = running_sum_of_warp(value);
    __syncthreads();
    if (lane == CT_WARP - 1) of_warp[warp] = value;
    __syncthreads();
    double sum = 0, earlier = 0;
    for (int i = 0; i < (int)blockDim.x / CT_WARP; i++) {
        if (i == warp) earlier = sum;
        sum += of_warp[i];
    }
    *all = sum;
    return earlier + value;
}

/* Running sums are f64 and rounded where they are stored. */
template <typename real, int threads>
static __global__ void cumsum_by(const lines_of l, bool reverse) {
    int thread = (int)threadIdx.x % threads;
    for (int64_t i = ct_first() / threads; i < l.start.count; i += ct_step() / threads) {
        int64_t at[2];
        ct_walk_to(l.start, i, at);
        real *y = &l.start.at<real>(0, at);
        const real *x = &l.start.at<real>(1, at);
        double carried = 0; /* the sum of what lies before the threads */
        for (int64_t start = 0; start < l.n; start += threads) {
            int64_t k = start + thread, here = reverse ? l.n - 1 - k : k;
            double value = k < l.n ? (double)x[here * l.x_stride] : 0, all = value;
            if (threads == CT_WARP) {
                value = running_sum_of_warp(value);
                all = __shfl_sync(ct_whole_warp, value, CT_WARP - 1);
            } else if (threads > CT_WARP) {
                value = running_sum_of_block(value, &all);
            }
            if (k < l.n) y[here * l.y_stride] = (real)(carried + value);
            carried += all;
        }
    }
}

template <typename real>
bool ct_cuda_cumsum(ct_tensor *y, const ct_tensor *x, int axis, bool reverse) {
    lines_of l = lines_along(y, x, axis);
    if (l.start.count * l.n == 0) return true;
    int threads = threads_of(l);
    auto cumsum = threads == 1         ? cumsum_by<real, 1>
                  : threads == CT_WARP ? cumsum_by<real, CT_WARP>
                                       : cumsum_by<real, CT_THREADS>;
    return CT_LAUNCH(cumsum, ct_cuda_blocks(l.start.count * threads), CT_THREADS, 0, l, reverse);
}
CT_BOTH_REALS(cumsum);

/* ---- sorting ---------------------------------------------------------------------------- */

/* Unsigned numbers in the same order as what they stand for: -0 is 0, all NaN are one, and larger
 * than every number. */
static __device__ inline uint32_t key_of(float x) {
    if (x != x) return UINT32_MAX;
    uint32_t bits = __float_as_uint(x == 0 ? 0.0f : x);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
static __device__ inline uint64_t key_of(double x) {
    if (x != x) return UINT64_MAX;
    uint64_t bits = (uint64_t)__double_as_longlong(x == 0 ? 0.0 : x);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

template <typename real, typename Key>
static __global__ void make_keys(Key *key, const lines_of l, bool descending) {
    for (int64_t i = ct_first(); i < l.start.count * l.n; i += ct_step()) {
        int64_t at[2], k = i % l.n;
        ct_walk_to(l.start, i / l.n, at);
        Key ascending = key_of((&l.start.at<real>(1, at))[k * l.x_stride]);
        key[i] = descending ? ~ascending : ascending;
    }
}

static __global__ void write_positions(const lines_of l, const int32_t *position) {
    for (int64_t i = ct_first(); i < l.start.count * l.n; i += ct_step()) {
        int64_t at[2], k = i % l.n;
        ct_walk_to(l.start, i / l.n, at);
        (&l.start.at<int64_t>(0, at))[k * l.y_stride] = position[i];
    }
}

template <typename real> bool ct_cuda_argsort(ct_tensor *y, const ct_tensor *x, bool descending) {
    typedef decltype(key_of(real())) Key;
    lines_of l = lines_along(y, x, x->shape.ndim - 1);
    if (l.start.count * l.n == 0) return true;
    if (l.n > INT32_MAX) {
        return ct_host->fail_bool("argsort: %s has more than 2^31 elements in a line",
                                  ct_host->tensor_text(x));
    }
    ct_scratch room(ct_sort_bytes<Key>(l.start.count, l.n));
    if (!room.data) return false;
    ct_sorting<Key> s = ct_sorting_in<Key>(room.data, l.start.count, l.n);
    unsigned blocks = ct_cuda_blocks(l.start.count * l.n);
    return CT_LAUNCH((make_keys<real, Key>), blocks, CT_THREADS, 0, s.key, l, descending) &&
           ct_sort(&s) && CT_LAUNCH(write_positions, blocks, CT_THREADS, 0, l, s.position);
}
CT_BOTH_REALS(argsort);
