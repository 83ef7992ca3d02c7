/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, with conversion between any two dtypes, and fills. */
#include "tensor/core/convert.h"
#include "tensor/cuda/walk.h"

/* ---- conversion ------------------------------------------------------------------------- */

/* A conversion goes through a type that holds every value of the source and from which the target
 * is rounded once, as tensor/cpu/copy.c does it. */
template <typename T> static __host__ __device__ inline T widen(T x) { return x; }
static __host__ __device__ inline float widen(ct_bf16 x) { return ct_f32_of_bf16(x); }
static __host__ __device__ inline float widen(ct_f16 x) { return ct_f32_of_f16(x); }

/* An f32 that a second rounding, to fewer bits, makes what one rounding would have made. */
static __host__ __device__ inline float to_odd(float x) { return x; }
template <typename T> static __host__ __device__ inline float to_odd(T x) {
    return ct_round_to_odd((double)x);
}

template <typename T> struct is_integer { static const bool value = (T)0.5f == (T)0; };

template <typename T> static __host__ __device__ inline void narrow(T x, float *y) {
    *y = (float)x;
}
template <typename T> static __host__ __device__ inline void narrow(T x, double *y) {
    *y = (double)x;
}
template <typename T> static __host__ __device__ inline void narrow(T x, ct_bf16 *y) {
    *y = ct_bf16_of_f32(to_odd(x));
}
template <typename T> static __host__ __device__ inline void narrow(T x, ct_f16 *y) {
    *y = ct_f16_of_f32(to_odd(x));
}
template <typename T> static __host__ __device__ inline void narrow(T x, int32_t *y) {
    *y = is_integer<T>::value ? (int32_t)x : ct_i32_of_f64((double)x);
}
template <typename T> static __host__ __device__ inline void narrow(T x, int64_t *y) {
    *y = is_integer<T>::value ? (int64_t)x : ct_i64_of_f64((double)x);
}
template <typename T> static __host__ __device__ inline void narrow(T x, uint8_t *y) {
    *y = is_integer<T>::value ? (uint8_t)x : ct_u8_of_f64((double)x);
}

template <typename To, typename From> static __global__ void convert(const ct_walk<2> w) {
    constexpr int lanes = sizeof(To) > sizeof(From) ? ct_lanes<To> : ct_lanes<From>;
    ct_walk_each<lanes>(w, [&]<int W>(const int64_t(&at)[2]) {
        auto x = w.load<W, From>(1, at);
        ct_pack<W, To> y;
        for (int i = 0; i < W; i++) narrow(widen(x.at[i]), &y.at[i]);
        w.store(at, y);
    });
}

template <typename To, typename From> static bool launch_convert(const ct_walk<2> &w) {
    return CT_LAUNCH((convert<To, From>), ct_walk_blocks(w), CT_THREADS, 0, w);
}

template <typename From> static bool convert_from(const ct_walk<2> &w, ct_dtype to) {
    switch (to) {
    case CT_F32: return launch_convert<float, From>(w);
    case CT_F64: return launch_convert<double, From>(w);
    case CT_BF16: return launch_convert<ct_bf16, From>(w);
    case CT_F16: return launch_convert<ct_f16, From>(w);
    case CT_I32: return launch_convert<int32_t, From>(w);
    case CT_I64: return launch_convert<int64_t, From>(w);
    default: return launch_convert<uint8_t, From>(w);
    }
}

static bool convert_walk(const ct_walk<2> &w, ct_dtype to, ct_dtype from) {
    switch (from) {
    case CT_F32: return convert_from<float>(w, to);
    case CT_F64: return convert_from<double>(w, to);
    case CT_BF16: return convert_from<ct_bf16>(w, to);
    case CT_F16: return convert_from<ct_f16>(w, to);
    case CT_I32: return convert_from<int32_t>(w, to);
    case CT_I64: return convert_from<int64_t>(w, to);
    default: return convert_from<uint8_t>(w, to);
    }
}

/* ---- copies of one dtype ---------------------------------------------------------------- */

template <typename T> static __global__ void move(const ct_walk<2> w) {
    ct_walk_each<ct_lanes<T>>(
        w, [&]<int W>(const int64_t(&at)[2]) { w.store(at, w.load<W, T>(1, at)); });
}

enum { TILE = 32, TILE_ROWS = 8 };

/* A matrix whose rows are dense in y and whose columns are dense in x, for each position of the
 * dimensions before: by way of shared memory, so that both are read and written in whole rows. */
struct transposition {
    int64_t batch, rows, columns; /* of y */
    int64_t y_row, x_column;      /* strides; y's columns and x's rows have 1 */
    int64_t tiles_down, tiles_across;
};

template <typename T> static __global__ void transpose(ct_walk<2> before, transposition t) {
    __shared__ T tile[TILE][TILE + 1];
    int64_t tiles = t.batch * t.tiles_down * t.tiles_across;
    for (int64_t n = blockIdx.x; n < tiles; n += gridDim.x) {
        int64_t at[2], across = n % t.tiles_across, rest = n / t.tiles_across;
        ct_walk_to(before, rest / t.tiles_down, at);
        T *y = &before.at<T>(0, at);
        const T *x = &before.at<T>(1, at);
        int64_t row = rest % t.tiles_down * TILE, column = across * TILE;
        int64_t i = row + threadIdx.x;
        for (int64_t k = threadIdx.y; k < TILE; k += TILE_ROWS) {
            int64_t j = column + k;
            if (i < t.rows && j < t.columns) tile[k][threadIdx.x] = x[i + j * t.x_column];
        }
        __syncthreads();
        int64_t j = column + threadIdx.x;
        for (int64_t k = threadIdx.y; k < TILE; k += TILE_ROWS) {
            i = row + k;
            if (i < t.rows && j < t.columns) y[i * t.y_row + j] = tile[threadIdx.x][k];
        }
        __syncthreads();
    }
}

/* The dimension along which x is dense where it is not the last one and y's last is; -1 if x and y
 * are not a transposition of each other. Small ones are not worth it. */
static int transposed_dimension(const ct_walk<2> &w) {
    int last = w.ndim - 1;
    if (w.stride[0][last] != 1 || w.stride[1][last] == 1 || w.dim[last] < 4) return -1;
    for (int i = 0; i < last; i++) {
        if (w.stride[1][i] == 1 && w.dim[i] >= 4) return i;
    }
    return -1;
}

/* Takes dimensions `unit` and the last one out of the walk. */
static transposition take_matrix(ct_walk<2> *w, int unit) {
    int last = w->ndim - 1;
    transposition t = {};
    t.rows = w->dim[unit];
    t.columns = w->dim[last];
    t.y_row = w->stride[0][unit];
    t.x_column = w->stride[1][last];
    t.tiles_down = (t.rows + TILE - 1) / TILE;
    t.tiles_across = (t.columns + TILE - 1) / TILE;
    w->ndim = 0;
    w->count = 1;
    for (int i = 0; i < last; i++) {
        if (i == unit) continue;
        w->dim[w->ndim] = w->dim[i];
        w->count *= w->dim[i];
        for (int k = 0; k < 2; k++) w->stride[k][w->ndim] = w->stride[k][i];
        w->ndim++;
    }
    if (!w->ndim) w->dim[w->ndim++] = 1;
    t.batch = w->count;
    return t;
}

template <typename T> static bool move_walk(ct_walk<2> w) {
    int unit = transposed_dimension(w);
    if (unit < 0) return CT_LAUNCH(move<T>, ct_walk_blocks(w), CT_THREADS, 0, w);
    transposition t = take_matrix(&w, unit);
    int64_t tiles = t.batch * t.tiles_down * t.tiles_across;
    return CT_LAUNCH(transpose<T>, ct_cuda_blocks(tiles * CT_THREADS), dim3(TILE, TILE_ROWS), 0, w,
                     t);
}

bool ct_cuda_copy(ct_tensor *y, const ct_tensor *x) {
    ct_walk<2> w = ct_walk_of({y, x});
    if (w.count == 0) return true;
    if (y->dtype != x->dtype) return convert_walk(w, y->dtype, x->dtype);
    size_t size = ct_cuda_size(x->dtype);
    if (w.ndim == 1 && w.stride[0][0] == 1 && w.stride[1][0] == 1) {
        return CT_CUDA(cudaMemcpyAsync(w.data[0], w.data[1], (size_t)w.count * size,
                                       cudaMemcpyDeviceToDevice, ct_cuda_stream));
    }
    switch (size) {
    case 1: return move_walk<uint8_t>(w);
    case 2: return move_walk<uint16_t>(w);
    case 4: return move_walk<uint32_t>(w);
    default: return move_walk<uint64_t>(w);
    }
}

/* ---- fills ------------------------------------------------------------------------------ */

template <typename T> static __global__ void fill(const ct_walk<1> w, T value) {
    ct_walk_each<ct_lanes<T>>(w, [&]<int W>(const int64_t(&at)[1]) {
        ct_pack<W, T> y;
        for (int i = 0; i < W; i++) y.at[i] = value;
        w.store(at, y);
    });
}

template <typename T> static bool launch_fill(const ct_walk<1> &w, double value) {
    T element;
    narrow(value, &element);
    return CT_LAUNCH(fill<T>, ct_walk_blocks(w), CT_THREADS, 0, w, element);
}

bool ct_cuda_fill(ct_tensor *y, double value) {
    ct_walk<1> w = ct_walk_of({y});
    if (w.count == 0) return true;
    switch (y->dtype) {
    case CT_F32: return launch_fill<float>(w, value);
    case CT_F64: return launch_fill<double>(w, value);
    case CT_BF16: return launch_fill<ct_bf16>(w, value);
    case CT_F16: return launch_fill<ct_f16>(w, value);
    case CT_I32: return launch_fill<int32_t>(w, value);
    case CT_I64: return launch_fill<int64_t>(w, value);
    default: return launch_fill<uint8_t>(w, value);
    }
}

static __global__ void count_up(int64_t *y, int64_t count) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) y[i] = i;
}

bool ct_cuda_arange(ct_tensor *y) {
    int64_t count = ct_cuda_count(y);
    if (count == 0) return true;
    return CT_LAUNCH(count_up, ct_cuda_blocks(count), CT_THREADS, 0, ct_cuda_data<int64_t>(y),
                     count);
}
