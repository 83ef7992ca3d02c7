/* SPDX-License-Identifier: Apache-2.0 */
/* Unfolding pictures for convolutions, and its adjoint. */
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/rows.h"

/* What both kernels need to know of a convolution of planes. */
struct planes {
    int64_t height, width, kernel_h, kernel_w, rows, columns;
    ct_tensor_conv2d_options options;
};

/* An element of u a thread. */
template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    unfold2d(real *u, const real *x, int64_t count, planes c) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t row = ct_quotient(i, c.columns), w = i - row * c.columns;
        int64_t patch = ct_quotient(row, c.rows), h = row - patch * c.rows;
        int64_t line = ct_quotient(patch, c.kernel_w), q = patch - line * c.kernel_w;
        int64_t plane = ct_quotient(line, c.kernel_h), p = line - plane * c.kernel_h;
        int64_t y = h * c.options.stride - c.options.before + p * c.options.dilation;
        int64_t z = w * c.options.stride - c.options.before + q * c.options.dilation;
        bool inside = y >= 0 && y < c.height && z >= 0 && z < c.width;
        u[i] = inside ? x[(plane * c.height + y) * c.width + z] : (real)0;
    }
}

/* The position of the kernel whose element at `offset` is at `at`; -1 if there is none. */
static __device__ inline int64_t position(int64_t at, int64_t offset, int64_t stride,
                                          int64_t count) {
    int64_t start = at - offset;
    if (start < 0) return -1;
    int64_t k = ct_quotient(start, stride);
    return k * stride == start && k < count ? k : -1;
}

/* An element of x a thread, which gathers what came from it in the order of p and q. */
template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    fold2d(real *x, const real *u, int64_t count, planes c) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t line = ct_quotient(i, c.width), z = i - line * c.width;
        int64_t plane = ct_quotient(line, c.height), y = line - plane * c.height;
        real sum = 0;
        for (int64_t k = 0; k < c.kernel_h * c.kernel_w; k++) {
            int64_t p = ct_quotient(k, c.kernel_w), q = k - p * c.kernel_w;
            int64_t top = p * c.options.dilation - c.options.before;
            int64_t left = q * c.options.dilation - c.options.before;
            int64_t h = position(y, top, c.options.stride, c.rows);
            int64_t w = position(z, left, c.options.stride, c.columns);
            if (h < 0 || w < 0) continue;
            sum += u[((plane * c.kernel_h * c.kernel_w + k) * c.rows + h) * c.columns + w];
        }
        x[i] = sum;
    }
}

/* An element of y a thread. */
template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    activate(real *y, const real *bias, const real *added, int64_t count, int64_t channels,
             int64_t inner, real low, real high) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        real v = y[i];
        if (bias) {
            int64_t plane = ct_quotient(i, inner);
            v += bias[plane - ct_quotient(plane, channels) * channels];
        }
        if (added) v += added[i];
        y[i] = v < low ? low : v > high ? high : v;
    }
}

/* ---- launches --------------------------------------------------------------------------- */

static planes planes_of(const ct_tensor *x, const ct_tensor *u, ct_tensor_conv2d_options options) {
    return planes{x->shape.dim[2], x->shape.dim[3], u->shape.dim[2], u->shape.dim[3],
                  u->shape.dim[4], u->shape.dim[5], options};
}

template <typename real>
bool ct_cuda_unfold2d(ct_tensor *u, const ct_tensor *x, ct_tensor_conv2d_options options) {
    int64_t count = ct_cuda_count(u);
    if (count == 0) return true;
    return CT_LAUNCH(unfold2d<real>, ct_cuda_blocks(count), CT_THREADS, 0, ct_cuda_data<real>(u),
                     ct_cuda_data<real>(x), count, planes_of(x, u, options));
}
CT_BOTH_REALS(unfold2d);

template <typename real>
bool ct_cuda_fold2d(ct_tensor *x, const ct_tensor *u, ct_tensor_conv2d_options options) {
    int64_t count = ct_cuda_count(x);
    if (count == 0) return true;
    return CT_LAUNCH(fold2d<real>, ct_cuda_blocks(count), CT_THREADS, 0, ct_cuda_data<real>(x),
                     ct_cuda_data<real>(u), count, planes_of(x, u, options));
}
CT_BOTH_REALS(fold2d);

template <typename real>
bool ct_cuda_activate(ct_tensor *y, const ct_tensor *bias, const ct_tensor *added,
                      ct_activation activation) {
    int64_t count = ct_cuda_count(y);
    if (count == 0) return true;
    const real none = (real)INFINITY;
    return CT_LAUNCH(activate<real>, ct_cuda_blocks(count), CT_THREADS, 0, ct_cuda_data<real>(y),
                     ct_cuda_data<real>(bias), ct_cuda_data<real>(added), count, y->shape.dim[1],
                     y->shape.dim[2], activation == CT_NO_ACTIVATION ? -none : (real)0,
                     activation == CT_RELU6 ? (real)6 : none);
}
CT_BOTH_REALS(activate);
