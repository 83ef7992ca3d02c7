/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution of pictures in one piece: where every channel is a group of its own. What has
 * products in it is composed of unfolding and those of cuBLAS. */
#include "tensor/cuda/block.h"
#include "tensor/cuda/rows.h"

struct depthwise {
    int64_t batch, channels, height, width, kernel_h, kernel_w, rows, columns;
    ct_tensor_conv2d_options options;
};

/* False where there are other groups than channels. */
static bool depthwise_of(depthwise *c, const ct_tensor *x, const ct_tensor *weight,
                         const ct_tensor *y, ct_tensor_conv2d_options options) {
    const int64_t *of_x = x->shape.dim, *of_w = weight->shape.dim, *of_y = y->shape.dim;
    *c = depthwise{of_x[0], of_x[1], of_x[2], of_x[3], of_w[2], of_w[3], of_y[2], of_y[3], options};
    return options.groups == of_x[1] && options.groups == of_y[1];
}

/* An element of y a thread. */
template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    depthwise_conv(real *y, const real *x, const real *weight, const real *bias, const real *added,
                   int64_t count, real low, real high, depthwise c) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t row = ct_quotient(i, c.columns), w = i - row * c.columns;
        int64_t plane = ct_quotient(row, c.rows), h = row - plane * c.rows;
        int64_t channel = plane - ct_quotient(plane, c.channels) * c.channels;
        const real *of_channel = weight + channel * c.kernel_h * c.kernel_w;
        const real *from = x + plane * c.height * c.width;
        real sum = 0;
        for (int64_t p = 0; p < c.kernel_h; p++) {
            int64_t r = h * c.options.stride - c.options.before + p * c.options.dilation;
            if (r < 0 || r >= c.height) continue;
            for (int64_t q = 0; q < c.kernel_w; q++) {
                int64_t s = w * c.options.stride - c.options.before + q * c.options.dilation;
                if (s < 0 || s >= c.width) continue;
                sum += of_channel[p * c.kernel_w + q] * from[r * c.width + s];
            }
        }
        if (bias) sum += bias[channel];
        if (added) sum += added[i];
        y[i] = sum < low ? low : sum > high ? high : sum;
    }
}

/* The output whose kernel has its position at `offset` at `at`; -1 if there is none. */
static __device__ inline int64_t output_at(int64_t at, int64_t offset, int64_t stride,
                                           int64_t count) {
    int64_t start = at - offset;
    if (start < 0) return -1;
    int64_t k = ct_quotient(start, stride);
    return k * stride == start && k < count ? k : -1;
}

/* An element of gx a thread. */
template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    depthwise_grad_x(real *gx, const real *g, const real *weight, int64_t count, depthwise c) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        int64_t line = ct_quotient(i, c.width), x = i - line * c.width;
        int64_t plane = ct_quotient(line, c.height), y = line - plane * c.height;
        int64_t channel = plane - ct_quotient(plane, c.channels) * c.channels;
        const real *of_channel = weight + channel * c.kernel_h * c.kernel_w;
        const real *from = g + plane * c.rows * c.columns;
        real sum = 0;
        for (int64_t p = 0; p < c.kernel_h; p++) {
            int64_t h =
                output_at(y, p * c.options.dilation - c.options.before, c.options.stride, c.rows);
            if (h < 0) continue;
            for (int64_t q = 0; q < c.kernel_w; q++) {
                int64_t w = output_at(x, q * c.options.dilation - c.options.before,
                                      c.options.stride, c.columns);
                if (w < 0) continue;
                sum += of_channel[p * c.kernel_w + q] * from[h * c.columns + w];
            }
        }
        gx[i] = sum;
    }
}

/* A block for a position of a channel's kernel: `count` of them. */
template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    depthwise_grad_weight(real *gweight, const real *g, const real *x, int64_t count, depthwise c) {
    for (int64_t k = blockIdx.x; k < count; k += gridDim.x) {
        int64_t line = ct_quotient(k, c.kernel_w), q = k - line * c.kernel_w;
        int64_t channel = ct_quotient(line, c.kernel_h), p = line - channel * c.kernel_h;
        double sum = 0;
        for (int64_t i = threadIdx.x; i < c.batch * c.rows * c.columns; i += blockDim.x) {
            int64_t row = ct_quotient(i, c.columns), w = i - row * c.columns;
            int64_t picture = ct_quotient(row, c.rows), h = row - picture * c.rows;
            int64_t r = h * c.options.stride - c.options.before + p * c.options.dilation;
            int64_t s = w * c.options.stride - c.options.before + q * c.options.dilation;
            if (r < 0 || r >= c.height || s < 0 || s >= c.width) continue;
            int64_t plane = picture * c.channels + channel;
            sum += (double)g[(plane * c.rows + h) * c.columns + w] *
                   (double)x[(plane * c.height + r) * c.width + s];
        }
        sum = ct_block_sum(sum);
        if (threadIdx.x == 0) gweight[k] = (real)sum;
    }
}

/* ---- launches --------------------------------------------------------------------------- */

template <typename real>
bool ct_cuda_conv2d(ct_tensor *y, const ct_tensor *x, const ct_tensor *weight,
                    const ct_tensor *bias, const ct_tensor *added, ct_activation activation,
                    ct_tensor_conv2d_options options, bool *done) {
    depthwise c;
    *done = depthwise_of(&c, x, weight, y, options);
    if (!*done) return true;
    int64_t count = ct_cuda_count(y);
    const real none = (real)INFINITY;
    return CT_LAUNCH(depthwise_conv<real>, ct_cuda_blocks(count), CT_THREADS, 0,
                     ct_cuda_data<real>(y), ct_cuda_data<real>(x), ct_cuda_data<real>(weight),
                     ct_cuda_data<real>(bias), ct_cuda_data<real>(added), count,
                     activation == CT_NO_ACTIVATION ? -none : (real)0,
                     activation == CT_RELU6 ? (real)6 : none, c);
}
CT_BOTH_REALS(conv2d);

template <typename real>
bool ct_cuda_conv2d_grad_x(ct_tensor *gx, const ct_tensor *g, const ct_tensor *weight,
                           ct_tensor_conv2d_options options, bool *done) {
    depthwise c;
    *done = depthwise_of(&c, gx, weight, g, options);
    if (!*done) return true;
    int64_t count = ct_cuda_count(gx);
    return CT_LAUNCH(depthwise_grad_x<real>, ct_cuda_blocks(count), CT_THREADS, 0,
                     ct_cuda_data<real>(gx), ct_cuda_data<real>(g), ct_cuda_data<real>(weight),
                     count, c);
}
CT_BOTH_REALS(conv2d_grad_x);

template <typename real>
bool ct_cuda_conv2d_grad_weight(ct_tensor *gweight, const ct_tensor *g, const ct_tensor *x,
                                ct_tensor_conv2d_options options, bool *done) {
    depthwise c;
    *done = depthwise_of(&c, x, gweight, g, options);
    if (!*done) return true;
    int64_t count = ct_cuda_count(gweight);
    return CT_LAUNCH(depthwise_grad_weight<real>, ct_cuda_blocks(count * CT_THREADS), CT_THREADS, 0,
                     ct_cuda_data<real>(gweight), ct_cuda_data<real>(g), ct_cuda_data<real>(x),
                     count, c);
}
CT_BOTH_REALS(conv2d_grad_weight);
