/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of matrices, for kernels that memory's speed bounds: loads of 16 bytes where they are
 * aligned, a block for a row, sums of columns in a fixed order. Internal to tensor/cuda/. */
#ifndef CT_CUDA_ROWS_H
#define CT_CUDA_ROWS_H

#include "tensor/cuda/block.h"
#include "tensor/cuda/pack.h"

/* ---- one row, by all threads of a block ------------------------------------------------- */

/* Elements before the first that lies on 16 bytes in every one of the rows (each of n elements of
 * one type); n if there is none. */
template <typename real, typename... Others>
static __device__ inline int64_t ct_head(int64_t n, const real *row, const Others *...others) {
    uintptr_t at = (uintptr_t)row % 16;
    bool together = (... && ((uintptr_t)others % 16 == at));
    int64_t head = (int64_t)((16 - at) % 16 / sizeof(real));
    return together && head < n ? head : n;
}

/* Calls f.operator()<W>(i), for elements i..i+W-1, until all n have had their turn. The order of a
 * thread's elements depends on n, the block and how the row is aligned. */
template <typename real, typename F>
static __device__ inline void ct_each(int64_t n, int64_t head, F f) {
    constexpr int W = ct_lanes<real>;
    int64_t packs = (n - head) / W;
    for (int64_t i = threadIdx.x; i < head; i += blockDim.x) f.template operator()<1>(i);
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
        f.template operator()<W>(head + p * W);
    }
    for (int64_t i = head + packs * W + threadIdx.x; i < n; i += blockDim.x) {
        f.template operator()<1>(i);
    }
}

/* What a kernel for rows of any length is declared with: __launch_bounds__(CT_ROW_THREADS). */
enum { CT_ROW_THREADS = 1024 };

/* Threads for a row of n: about 16 elements each, so that some loads of 16 bytes are under way. */
static inline unsigned ct_row_threads(int64_t n) {
    unsigned threads = CT_WARP;
    while (threads < CT_ROW_THREADS && (int64_t)threads * 16 < n) threads *= 2;
    return threads;
}

/* Blocks for so many rows (at least 1): kernels loop over the rest, row += gridDim.x. */
static inline unsigned ct_row_blocks(int64_t rows) { return ct_cuda_blocks(rows * CT_THREADS); }

/* a / b, in 32 bits where that is enough: far cheaper. */
static __device__ inline int64_t ct_quotient(int64_t a, int64_t b) {
    return (a | b) >> 32 ? a / b : (int64_t)((uint32_t)a / (uint32_t)b);
}

/* ---- rows at any constant distance ------------------------------------------------------ */

/* "Rows" of tensor/device/kernels.def. data is NULL for a tensor that is not there: all zeros.
 */
template <typename real> struct ct_rows {
    real *data;
    int64_t distance;

    template <int W> __device__ ct_pack<W, real> load(int64_t row, int64_t column) const {
        if (data) return ct_load<W>(data + row * distance + column);
        return ct_pack<W, real>();
    }
    template <int W>
    __device__ void store(int64_t row, int64_t column, const ct_pack<W, real> &value) const {
        ct_store<W>(data + row * distance + column, value);
    }
};

/* A vector is one row, again and again. */
template <typename real> static inline ct_rows<real> ct_rows_of(const ct_tensor *x) {
    if (!x) return ct_rows<real>{nullptr, 0};
    return ct_rows<real>{ct_cuda_data<real>(x), x->shape.ndim > 1 ? x->stride[0] : 0};
}

/* Whether every row of every x (some may be NULL), and every column that is a multiple of `width`,
 * lies on 16 bytes. */
template <typename real, int N>
static inline bool ct_rows_align(int64_t width, const ct_tensor *const (&x)[N]) {
    const int64_t lanes = ct_lanes<real>;
    bool aligned = width % lanes == 0;
    for (int k = 0; k < N; k++) {
        ct_rows<real> rows = ct_rows_of<real>(x[k]);
        aligned = aligned && (uintptr_t)rows.data % 16 == 0 && rows.distance % lanes == 0;
    }
    return aligned;
}

/* ---- sums of columns -------------------------------------------------------------------- */

/* In a block of COLUMNS by ROWS threads each brings N parts of sums of its column, threadIdx.x.
 * Thread (c, k), k < N, receives the k-th sum of column c, added in the order of threadIdx.y; the
 * others something. */
template <int COLUMNS, int ROWS, int N>
static __device__ inline double ct_column_sum(const double (&part)[N]) {
    static_assert(N <= ROWS);
    __shared__ double parts[N][ROWS][COLUMNS];
    for (int k = 0; k < N; k++) parts[k][threadIdx.y][threadIdx.x] = part[k];
    __syncthreads();
    double sum = 0;
    int k = threadIdx.y < N ? (int)threadIdx.y : 0;
    for (int row = 0; row < ROWS; row++) sum += parts[k][row][threadIdx.x];
    return sum;
}

#endif
