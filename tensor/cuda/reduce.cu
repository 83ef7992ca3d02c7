/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions over any set of dimensions.
 *
 * The dimensions are put in the order of x's memory. If the innermost is reduced, the threads of a
 * warp (of a block, if an output has many elements) read along it; if it is kept, they lie side by
 * side along it, and more rows of threads share the reduced elements. Where outputs alone do not
 * fill a device, their elements are cut into parts, whose results a second kernel joins. All this
 * depends on shapes and strides alone, so that the same tensors give the same bits on any device.
 *
 * Sums, products and squares are f64, whatever x is.
 */
#include "tensor/cuda/block.h"

/* ---- what is reduced -------------------------------------------------------------------- */

/* `add` takes an element into a value; as a function it joins two values. */
template <typename real> struct sum_of {
    typedef double value;
    static __device__ value none() { return 0; }
    static __device__ value add(value a, real x) { return a + (value)x; }
    __device__ value operator()(value a, value b) const { return a + b; }
};
template <typename real> struct product_of {
    typedef double value;
    static __device__ value none() { return 1; }
    static __device__ value add(value a, real x) { return a * (value)x; }
    __device__ value operator()(value a, value b) const { return a * b; }
};
template <typename real> struct largest_of : ct_combine_max {
    typedef real value;
    static __device__ value none() { return (real)-INFINITY; }
    static __device__ value add(value a, real x) { return ct_combine_max()(a, x); }
};
template <typename real> struct smallest_of : ct_combine_min {
    typedef real value;
    static __device__ value none() { return (real)INFINITY; }
    static __device__ value add(value a, real x) { return ct_combine_min()(a, x); }
};
template <typename real> struct nonfinite_in {
    typedef int value;
    static __device__ value none() { return 0; }
    static __device__ value add(value a, real x) { return a | (x - x != 0); }
    __device__ value operator()(value a, value b) const { return a | b; }
};

/* ---- the nest of loops ------------------------------------------------------------------ */

/* Some dimensions with the strides of x and, for those kept, of y; the last is the innermost. */
struct dims {
    int ndim;
    int64_t count, size[CT_MAX_DIMS], x[CT_MAX_DIMS], y[CT_MAX_DIMS];

    __device__ int64_t offset(const int64_t (&stride)[CT_MAX_DIMS], int64_t i) const {
        bool narrow = count <= INT32_MAX;
        int64_t at = 0;
        for (int d = ndim - 1; d > 0; d--) {
            int64_t rest = narrow ? (int64_t)((uint32_t)i / (uint32_t)size[d]) : i / size[d];
            at += (i - rest * size[d]) * stride[d];
            i = rest;
        }
        return ndim ? at + i * stride[0] : 0;
    }
};

/* How the elements of an output are shared out. */
enum reading { WARP_ROWS, BLOCK_ROWS, COLUMNS };

struct plan {
    const void *x;
    void *y, *partial; /* of every part of every output, if there are several parts */
    dims kept, reduced;
    enum reading reading;
    bool vectors;        /* rows can be read 16 bytes at a time */
    int columns;         /* of COLUMNS: outputs of a block, side by side */
    int64_t part, parts; /* elements of one, how many an output has */
    double divisor;      /* of the results: the count of a mean */
};

static void push(dims *d, int64_t size, int64_t x, int64_t y) {
    d->size[d->ndim] = size;
    d->x[d->ndim] = x;
    d->y[d->ndim++] = y;
    d->count *= size;
}

static void swap_dims(dims *d, int i, int j) {
    int64_t size = d->size[i], x = d->x[i], y = d->y[i];
    d->size[i] = d->size[j], d->x[i] = d->x[j], d->y[i] = d->y[j];
    d->size[j] = size, d->x[j] = x, d->y[j] = y;
}

/* Dimensions of x other than 1, in the order of its strides, largest first (broadcast ones first of
 * all), merged where both x and y allow. Reduced ones have stride 0 in y. */
static dims sorted_dims(const ct_tensor *x, const ct_tensor *y) {
    dims d = {}, merged = {};
    d.count = merged.count = 1;
    for (int i = 0; i < x->shape.ndim; i++) {
        int64_t size = x->shape.dim[i];
        if (size != 1) push(&d, size, x->stride[i], y->shape.dim[i] == 1 ? 0 : y->stride[i]);
    }
    for (int i = 1; i < d.ndim; i++) {
        for (int j = i; j > 0; j--) {
            bool moves = d.x[j] == 0 ? d.x[j - 1] != 0 : d.x[j - 1] != 0 && d.x[j - 1] < d.x[j];
            if (!moves) break;
            swap_dims(&d, j - 1, j);
        }
    }
    for (int i = 0; i < d.ndim; i++) {
        int last = merged.ndim - 1;
        if (last >= 0 && merged.x[last] == d.x[i] * d.size[i] &&
            merged.y[last] == d.y[i] * d.size[i]) {
            merged.size[last] *= d.size[i];
            merged.x[last] = d.x[i];
            merged.y[last] = d.y[i];
            merged.count *= d.size[i];
        } else {
            push(&merged, d.size[i], d.x[i], d.y[i]);
        }
    }
    return merged;
}

/* Short innermost rows next to a longer kept dimension are better read as its columns. */
static void swap_short_rows(dims *d) {
    int last = d->ndim - 1;
    if (last < 1 || d->y[last] != 0 || d->size[last] >= CT_WARP) return;
    if (d->y[last - 1] != 0 && d->size[last - 1] > d->size[last]) swap_dims(d, last - 1, last);
}

/* Parts of at least `least` elements, of which parts are multiples, until there are enough of
 * `tasks` times as many to fill a large device. */
static void choose_parts(plan *p, int64_t tasks, int64_t least) {
    enum { ENOUGH = 1024 };
    int64_t most = (p->reduced.count + least - 1) / least;
    int64_t parts = tasks < ENOUGH ? ENOUGH / tasks : 1;
    if (parts > most) parts = most;
    if (parts < 1) parts = 1;
    int64_t each = (p->reduced.count + parts - 1) / parts;
    p->part = (each + least - 1) / least * least;
    p->parts = p->part ? (p->reduced.count + p->part - 1) / p->part : 1;
}

static int power_of_two(int64_t n, int most) {
    int power = 1;
    while (power < n && power < most) power *= 2;
    return power;
}

/* A warp's width of columns; more if there are few elements for the rows of threads. */
static int choose_columns(int64_t outputs, int64_t length) {
    int columns = power_of_two(outputs, CT_WARP);
    while (columns < CT_THREADS && columns < outputs && CT_THREADS / columns > length) {
        columns *= 2;
    }
    return columns;
}

static bool has_vectors(const plan *p, size_t size) {
    int64_t wide = 16 / (int64_t)size;
    bool fits = p->reduced.ndim == 1 && p->reduced.x[0] == 1 && (uintptr_t)p->x % 16 == 0;
    for (int i = 0; i < p->kept.ndim; i++) fits = fits && p->kept.x[i] % wide == 0;
    return fits;
}

static plan plan_of(const ct_tensor *y, const ct_tensor *x) {
    enum { WARP_LENGTH = 1024, BLOCK_LENGTH = 16 * CT_THREADS, COLUMN_LENGTH = 16 };
    plan p = {};
    p.x = ct_cuda_data<char>(x);
    p.y = ct_cuda_data<char>(y);
    p.divisor = 1;
    p.kept.count = p.reduced.count = 1;
    dims d = sorted_dims(x, y);
    swap_short_rows(&d);
    for (int i = 0; i < d.ndim; i++) {
        push(d.y[i] ? &p.kept : &p.reduced, d.size[i], d.x[i], d.y[i]);
    }
    bool rows = d.ndim && !d.y[d.ndim - 1];
    p.reading = !rows ? COLUMNS : p.reduced.count <= WARP_LENGTH ? WARP_ROWS : BLOCK_ROWS;
    p.vectors = rows && has_vectors(&p, ct_cuda_size(x->dtype));
    p.part = p.reduced.count;
    p.parts = 1;
    if (p.reading == BLOCK_ROWS) choose_parts(&p, p.kept.count, BLOCK_LENGTH);
    if (p.reading == COLUMNS) {
        p.columns = choose_columns(p.kept.count, p.reduced.count);
        choose_parts(&p, (p.kept.count + p.columns - 1) / p.columns,
                     CT_THREADS / p.columns * COLUMN_LENGTH);
    }
    return p;
}

/* ---- kernels ---------------------------------------------------------------------------- */

template <typename Out, typename T>
static __device__ inline void store(const plan &p, int64_t output, T value) {
    Out *y = static_cast<Out *>(p.y) + p.kept.offset(p.kept.y, output);
    *y = (Out)((double)value / p.divisor);
}

template <typename Out, typename T>
static __device__ inline void store_part(const plan &p, int64_t output, int64_t part, T value) {
    if (p.parts == 1) return store<Out>(p, output, value);
    static_cast<T *>(p.partial)[output * p.parts + part] = value;
}

/* Of 16 bytes. */
template <typename real> struct alignas(16) vector { real element[16 / sizeof(real)]; };

/* Elements first..end-1 of an output, by `threads` of which this is `thread`. Which thread adds
 * which elements does not depend on how they are read. */
template <typename Op, typename real>
static __device__ inline typename Op::value reduce_row(const plan &p, int64_t output, int64_t first,
                                                       int64_t end, int thread, int threads) {
    enum { WIDE = 16 / sizeof(real) };
    const real *x = static_cast<const real *>(p.x) + p.kept.offset(p.kept.x, output);
    typename Op::value total = Op::none();
#pragma unroll 4
    for (int64_t i = first + thread * WIDE; i < end; i += threads * WIDE) {
        if (p.vectors && i + WIDE <= end) {
            vector<real> v = *reinterpret_cast<const vector<real> *>(x + i);
            for (int k = 0; k < WIDE; k++) total = Op::add(total, v.element[k]);
        } else {
            for (int64_t k = i; k < end && k < i + WIDE; k++) {
                total = Op::add(total, x[p.reduced.offset(p.reduced.x, k)]);
            }
        }
    }
    return total;
}

template <typename Op, typename real, typename Out>
static __global__ void reduce_by_warp(const plan p) {
    int lane = (int)threadIdx.x % CT_WARP;
    for (int64_t i = ct_first() / CT_WARP; i < p.kept.count; i += ct_step() / CT_WARP) {
        auto total = reduce_row<Op, real>(p, i, 0, p.reduced.count, lane, CT_WARP);
        total = ct_warp_reduce(total, Op());
        if (lane == 0) store<Out>(p, i, total);
    }
}

template <typename Op, typename real, typename Out>
static __global__ void reduce_by_block(const plan p) {
    for (int64_t i = blockIdx.x; i < p.kept.count * p.parts; i += gridDim.x) {
        int64_t output = i / p.parts, part = i % p.parts, first = part * p.part;
        int64_t end = min(first + p.part, p.reduced.count);
        auto total = reduce_row<Op, real>(p, output, first, end, (int)threadIdx.x, CT_THREADS);
        total = ct_block_reduce(total, Op(), Op::none());
        if (threadIdx.x == 0) store_part<Out>(p, output, part, total);
    }
}

template <typename Op, typename real, typename Out>
static __global__ void reduce_columns(const plan p) {
    typedef typename Op::value value;
    __shared__ value of_thread[CT_THREADS];
    int thread = (int)threadIdx.x, row = thread / p.columns, rows = CT_THREADS / p.columns;
    int64_t tasks = (p.kept.count + p.columns - 1) / p.columns * p.parts;
    for (int64_t i = blockIdx.x; i < tasks; i += gridDim.x) {
        int64_t output = i / p.parts * p.columns + thread % p.columns, part = i % p.parts;
        value total = Op::none();
        if (output < p.kept.count) {
            const real *x = static_cast<const real *>(p.x) + p.kept.offset(p.kept.x, output);
            int64_t end = min((part + 1) * p.part, p.reduced.count);
#pragma unroll 4
            for (int64_t k = part * p.part + row; k < end; k += rows) {
                total = Op::add(total, x[p.reduced.offset(p.reduced.x, k)]);
            }
        }
        for (int half = rows / 2; half > 0; half /= 2) {
            __syncthreads();
            of_thread[thread] = total;
            __syncthreads();
            if (row < half) total = Op()(total, of_thread[thread + half * p.columns]);
        }
        if (row == 0 && output < p.kept.count) store_part<Out>(p, output, part, total);
    }
}

/* A warp an output joins its parts. */
template <typename Op, typename Out> static __global__ void join_parts(const plan p) {
    typedef typename Op::value value;
    int lane = (int)threadIdx.x % CT_WARP;
    for (int64_t i = ct_first() / CT_WARP; i < p.kept.count; i += ct_step() / CT_WARP) {
        const value *part = static_cast<const value *>(p.partial) + i * p.parts;
        value total = Op::none();
        for (int64_t k = lane; k < p.parts; k += CT_WARP) total = Op()(total, part[k]);
        total = ct_warp_reduce(total, Op());
        if (lane == 0) store<Out>(p, i, total);
    }
}

/* ---- launches --------------------------------------------------------------------------- */

template <typename Op, typename real, typename Out> static bool launch_parts(const plan &p) {
    unsigned warps = ct_cuda_blocks(p.kept.count * CT_WARP);
    if (p.reading == WARP_ROWS) {
        return CT_LAUNCH((reduce_by_warp<Op, real, Out>), warps, CT_THREADS, 0, p);
    }
    if (p.reading == BLOCK_ROWS) {
        unsigned blocks = ct_cuda_blocks(p.kept.count * p.parts * CT_THREADS);
        return CT_LAUNCH((reduce_by_block<Op, real, Out>), blocks, CT_THREADS, 0, p);
    }
    int64_t tasks = (p.kept.count + p.columns - 1) / p.columns * p.parts;
    return CT_LAUNCH((reduce_columns<Op, real, Out>), ct_cuda_blocks(tasks * CT_THREADS),
                     CT_THREADS, 0, p);
}

template <typename Op, typename real, typename Out> static bool launch(plan p) {
    if (p.parts == 1) return launch_parts<Op, real, Out>(p);
    ct_scratch partial((size_t)(p.kept.count * p.parts) * sizeof(typename Op::value));
    p.partial = partial.data;
    return partial.data && launch_parts<Op, real, Out>(p) &&
           CT_LAUNCH((join_parts<Op, Out>), ct_cuda_blocks(p.kept.count * CT_WARP), CT_THREADS, 0,
                     p);
}

template <typename real> static bool reduce(ct_reduce_kind kind, const plan &p) {
    switch (kind) {
    case CT_SUM:
    case CT_MEAN: return launch<sum_of<real>, real, real>(p);
    case CT_MAX: return launch<largest_of<real>, real, real>(p);
    case CT_MIN: return launch<smallest_of<real>, real, real>(p);
    case CT_PROD: break;
    }
    return launch<product_of<real>, real, real>(p);
}

bool ct_cuda_reduce(ct_reduce_kind kind, ct_tensor *y, const ct_tensor *x) {
    if (ct_cuda_count(y) == 0) return true;
    plan p = plan_of(y, x);
    if (kind == CT_MEAN) p.divisor = (double)p.reduced.count;
    return y->dtype == CT_F32 ? reduce<float>(kind, p) : reduce<double>(kind, p);
}

/* All of x to one value. */
static plan plan_of_all(const ct_tensor *x, void *value) {
    ct_storage storage = {};
    ct_tensor y = {};
    storage.data = value;
    y.storage = &storage;
    y.shape = x->shape;
    for (int i = 0; i < y.shape.ndim; i++) y.shape.dim[i] = 1;
    return plan_of(&y, x);
}

/* Waits for the result. */
bool ct_cuda_has_nonfinite(const ct_tensor *x, bool *found) {
    int any = 0;
    if (!ct_cuda_may_wait("has_nonfinite")) return false;
    ct_scratch result(sizeof any);
    if (!result.data) return false;
    plan p = plan_of_all(x, result.data);
    bool launched = x->dtype == CT_F32 ? launch<nonfinite_in<float>, float, int>(p)
                                       : launch<nonfinite_in<double>, double, int>(p);
    if (!launched || !ct_cuda_to_host(&any, result.data, sizeof any)) return false;
    *found = any != 0;
    return true;
}
