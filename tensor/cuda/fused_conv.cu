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

/* ---- pictures --------------------------------------------------------------------------- */

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
