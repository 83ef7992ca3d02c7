/* SPDX-License-Identifier: Apache-2.0 */
/* Unfolding for convolutions, and its adjoint: a block for a row of channels. */
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/rows.h"

/* Unfolding only moves elements: one kernel for each size. */
template <typename T>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    unfold(T *u, const T *x, int64_t rows, int64_t steps, int64_t steps_out, int64_t kernel,
           int64_t width, ct_tensor_conv1d_options options) {
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int64_t p = ct_quotient(row, kernel), k = row - p * kernel;
        int64_t i = ct_quotient(p, steps_out), step = p - i * steps_out;
        int64_t t = step * options.stride - options.before + k * options.dilation;
        bool inside = t >= 0 && t < steps;
        T *to = u + row * width;
        const T *from = inside ? x + (i * steps + t) * width : to;
        ct_each<T>(width, ct_head(width, to, from), [&]<int W>(int64_t c) {
            ct_store(to + c, inside ? ct_load<W>(from + c) : ct_pack<W, T>());
        });
    }
}

/* Each row of x gathers what came from it, in the order of k. */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    fold(real *x, const real *u, int64_t rows, int64_t steps, int64_t steps_out, int64_t kernel,
         int64_t width, ct_tensor_conv1d_options options) {
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int64_t i = ct_quotient(row, steps), t = row - i * steps;
        real *to = x + row * width;
        /* if the row of one step and its first row of kernels are aligned, so are all */
        const real *first = u + i * steps_out * kernel * width;
        ct_each<real>(width, ct_head(width, to, first, first + width), [&]<int W>(int64_t c) {
            ct_pack<W, real> sum = {};
            for (int64_t k = 0; k < kernel; k++) {
                int64_t start = t + options.before - k * options.dilation;
                if (start < 0) break; /* nor for larger k */
                int64_t step = ct_quotient(start, options.stride);
                if (step * options.stride != start || step >= steps_out) continue;
                ct_pack<W, real> part = ct_load<W>(first + (step * kernel + k) * width + c);
                for (int lane = 0; lane < W; lane++) sum.at[lane] += part.at[lane];
            }
            ct_store(to + c, sum);
        });
    }
}

/* ---- launches --------------------------------------------------------------------------- */

template <typename T>
static bool launch_unfold(ct_tensor *u, const ct_tensor *x, ct_tensor_conv1d_options options) {
    int64_t kernel = u->shape.dim[2], width = u->shape.dim[3];
    int64_t rows = u->shape.dim[0] * u->shape.dim[1] * kernel;
    if (rows * width == 0) return true;
    return CT_LAUNCH(unfold<T>, ct_row_blocks(rows), ct_row_threads(width), 0, ct_cuda_data<T>(u),
                     ct_cuda_data<T>(x), rows, x->shape.dim[1], u->shape.dim[1], kernel, width,
                     options);
}

bool ct_cuda_unfold(ct_tensor *u, const ct_tensor *x, ct_tensor_conv1d_options options) {
    return u->dtype == CT_F32 ? launch_unfold<uint32_t>(u, x, options)
                              : launch_unfold<uint64_t>(u, x, options);
}

template <typename real>
bool ct_cuda_fold(ct_tensor *x, const ct_tensor *u, ct_tensor_conv1d_options options) {
    int64_t rows = x->shape.dim[0] * x->shape.dim[1], width = x->shape.dim[2];
    if (rows * width == 0) return true;
    return CT_LAUNCH(fold<real>, ct_row_blocks(rows), ct_row_threads(width), 0,
                     ct_cuda_data<real>(x), ct_cuda_data<real>(u), rows, x->shape.dim[1],
                     u->shape.dim[1], u->shape.dim[2], width, options);
}
CT_BOTH_REALS(fold);
