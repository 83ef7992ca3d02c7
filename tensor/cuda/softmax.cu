/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax and log-softmax over the last axis of contiguous tensors.
 *
 * A warp takes a row and holds it in registers, up to 1024 elements; a block takes a longer one and
 * reads it again for every step. Sums are f64.
 */
#include "tensor/cuda/block.h"
#include "tensor/cuda/real.h"

enum { LONGEST_OF_WARP = 1024 };

/* What is needed of a row, once its largest element and the sum of exponentials are known. */
template <typename real> struct normalizer {
    real largest, factor, shift;

    __device__ normalizer(real of_largest, double sum)
        : largest(of_largest), factor((real)(1 / sum)), shift((real)log(sum)) {}
    __device__ real value(real x, bool logarithm) const {
        return logarithm ? x - largest - shift : exp(x - largest) * factor;
    }
};

template <typename real>
static __device__ inline real gradient(real g, real y, real sum, bool logarithm) {
    return logarithm ? g - exp(y) * sum : y * (g - sum);
}

/* ---- a warp a row ----------------------------------------------------------------------- */

template <typename real, int held>
static __global__ void softmax_by_warp(real *y, const real *x, int64_t rows, int64_t n,
                                       bool logarithm) {
    int lane = (int)threadIdx.x % CT_WARP;
    for (int64_t i = ct_first() / CT_WARP; i < rows; i += ct_step() / CT_WARP) {
        real value[held], largest = (real)-INFINITY;
#pragma unroll
        for (int k = 0; k < held; k++) {
            int j = lane + k * CT_WARP;
            value[k] = j < n ? x[i * n + j] : (real)-INFINITY;
            largest = ct_combine_max()(largest, value[k]);
        }
        largest = ct_warp_reduce(largest, ct_combine_max());
        double sum = 0;
#pragma unroll
        for (int k = 0; k < held; k++) {
            if (lane + k * CT_WARP < n) sum += (double)exp(value[k] - largest);
        }
        normalizer<real> row(largest, ct_warp_reduce(sum, ct_combine_sum()));
#pragma unroll
        for (int k = 0; k < held; k++) {
            int j = lane + k * CT_WARP;
            if (j < n) y[i * n + j] = row.value(value[k], logarithm);
        }
    }
}

template <typename real, int held>
static __global__ void softmax_grad_by_warp(real *gx, const real *g, const real *y, int64_t rows,
                                            int64_t n, bool logarithm) {
    int lane = (int)threadIdx.x % CT_WARP;
    for (int64_t i = ct_first() / CT_WARP; i < rows; i += ct_step() / CT_WARP) {
        real of_g[held], of_y[held];
        double sum = 0;
#pragma unroll
        for (int k = 0; k < held; k++) {
            int j = lane + k * CT_WARP;
            of_g[k] = j < n ? g[i * n + j] : real(0);
            of_y[k] = j < n ? y[i * n + j] : real(0);
            sum += (double)(logarithm ? of_g[k] : of_g[k] * of_y[k]);
        }
        real total = (real)ct_warp_reduce(sum, ct_combine_sum());
#pragma unroll
        for (int k = 0; k < held; k++) {
            int j = lane + k * CT_WARP;
            if (j < n) gx[i * n + j] = gradient(of_g[k], of_y[k], total, logarithm);
        }
    }
}

/* ---- a block a row ---------------------------------------------------------------------- */

template <typename real>
static __global__ void softmax_by_block(real *to, const real *from, int64_t rows, int64_t n,
                                        bool logarithm) {
    for (int64_t i = blockIdx.x; i < rows; i += gridDim.x) {
        const real *x = from + i * n;
        real largest = (real)-INFINITY, none = largest;
        for (int64_t j = threadIdx.x; j < n; j += CT_THREADS) {
            largest = ct_combine_max()(largest, x[j]);
        }
        largest = ct_block_reduce(largest, ct_combine_max(), none);
        double sum = 0;
        for (int64_t j = threadIdx.x; j < n; j += CT_THREADS) sum += (double)exp(x[j] - largest);
        normalizer<real> row(largest, ct_block_sum(sum));
        for (int64_t j = threadIdx.x; j < n; j += CT_THREADS) {
            to[i * n + j] = row.value(x[j], logarithm);
        }
    }
}

template <typename real>
static __global__ void softmax_grad_by_block(real *to, const real *of_g, const real *of_y,
                                             int64_t rows, int64_t n, bool logarithm) {
    for (int64_t i = blockIdx.x; i < rows; i += gridDim.x) {
        const real *g = of_g + i * n, *y = of_y + i * n;
        double sum = 0;
        for (int64_t j = threadIdx.x; j < n; j += CT_THREADS) {
            sum += (double)(logarithm ? g[j] : g[j] * y[j]);
        }
        real total = (real)ct_block_sum(sum);
        for (int64_t j = threadIdx.x; j < n; j += CT_THREADS) {
            to[i * n + j] = gradient(g[j], y[j], total, logarithm);
        }
    }
}

/* ---- launches --------------------------------------------------------------------------- */

/* A row is for a warp or for a block. */
static unsigned blocks_of(int64_t rows, int64_t n) {
    return ct_cuda_blocks(rows * (n > LONGEST_OF_WARP ? CT_THREADS : CT_WARP));
}

template <typename real> bool ct_cuda_softmax(ct_tensor *y, const ct_tensor *x, bool logarithm) {
    if (ct_cuda_count(x) == 0) return true;
    int64_t n = x->shape.dim[x->shape.ndim - 1], rows = ct_cuda_count(x) / n;
    auto softmax = n <= 2 * CT_WARP       ? softmax_by_warp<real, 2>
                   : n <= 8 * CT_WARP     ? softmax_by_warp<real, 8>
                   : n <= LONGEST_OF_WARP ? softmax_by_warp<real, 32>
                                          : softmax_by_block<real>;
    return CT_LAUNCH(softmax, blocks_of(rows, n), CT_THREADS, 0, ct_cuda_data<real>(y),
                     ct_cuda_data<real>(x), rows, n, logarithm);
}
CT_BOTH_REALS(softmax);

template <typename real>
bool ct_cuda_softmax_grad(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y, bool logarithm) {
    if (ct_cuda_count(y) == 0) return true;
    int64_t n = y->shape.dim[y->shape.ndim - 1], rows = ct_cuda_count(y) / n;
    auto softmax_grad = n <= 2 * CT_WARP       ? softmax_grad_by_warp<real, 2>
                        : n <= 8 * CT_WARP     ? softmax_grad_by_warp<real, 8>
                        : n <= LONGEST_OF_WARP ? softmax_grad_by_warp<real, 32>
                                               : softmax_grad_by_block<real>;
    return CT_LAUNCH(softmax_grad, blocks_of(rows, n), CT_THREADS, 0, ct_cuda_data<real>(gx),
                     ct_cuda_data<real>(g), ct_cuda_data<real>(y), rows, n, logarithm);
}
CT_BOTH_REALS(softmax_grad);
