/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling of pictures: an element of what is written a thread. */
#include <math.h>

#include "tensor/cuda/cuda.h"
#include "tensor/cuda/rows.h"
#include "tensor/fused/window.h"

/* Pictures and what is pooled of them. */
struct sizes {
    int64_t height, width, rows, columns;
};

/* An element's plane and its place in it. */
struct place {
    int64_t plane, row, column;
};

static __device__ inline place place_of(int64_t i, int64_t rows, int64_t columns) {
    int64_t line = ct_quotient(i, columns), plane = ct_quotient(line, rows);
    return place{plane, line - plane * rows, i - line * columns};
}

/* ---- maximum ---------------------------------------------------------------------------- */

template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    max_pool2d(real *y, int64_t *index, const real *x, int64_t count, sizes s,
               ct_tensor_max_pool2d_options o) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        place to = place_of(i, s.rows, s.columns);
        const real *picture = x + to.plane * s.height * s.width;
        real best = -(real)INFINITY;
        int64_t at = -1;
        for (int64_t p = 0; p < o.kernel; p++) {
            int64_t line = to.row * o.stride - o.padding + p * o.dilation;
            if (line < 0 || line >= s.height) continue;
            for (int64_t q = 0; q < o.kernel; q++) {
                int64_t column = to.column * o.stride - o.padding + q * o.dilation;
                if (column < 0 || column >= s.width) continue;
                real value = picture[line * s.width + column];
                if (!(value > best || value != value || at < 0)) continue;
                best = value;
                at = line * s.width + column;
            }
        }
        y[i] = best;
        if (index) index[i] = at;
    }
}

/* The first of the windows of `span` elements that see element `at`, and the last. */
static __device__ inline int64_t first_window(int64_t at, int64_t span, int64_t stride) {
    return at < span ? 0 : ct_quotient(at - span, stride) + 1;
}
static __device__ inline int64_t last_window(int64_t at, int64_t stride, int64_t count) {
    int64_t last = ct_quotient(at, stride);
    return last < count ? last : count - 1;
}

/* Each element of x gathers from the windows of which it is the maximum, in their order. */
template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    max_pool2d_grad(real *gx, const real *g, const int64_t *index, int64_t count, sizes s,
                    ct_tensor_max_pool2d_options o) {
    int64_t span = o.dilation * (o.kernel - 1) + 1;
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        place of = place_of(i, s.height, s.width);
        int64_t self = of.row * s.width + of.column;
        int64_t top = of.row + o.padding, left = of.column + o.padding;
        int64_t last_row = last_window(top, o.stride, s.rows);
        int64_t last_column = last_window(left, o.stride, s.columns);
        real sum = 0;
        for (int64_t h = first_window(top, span, o.stride); h <= last_row; h++) {
            int64_t line = (of.plane * s.rows + h) * s.columns;
            for (int64_t w = first_window(left, span, o.stride); w <= last_column; w++) {
                if (index[line + w] == self) sum += g[line + w];
            }
        }
        gx[i] = sum;
    }
}

/* ---- mean ------------------------------------------------------------------------------- */

template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    avg_pool2d(real *y, const real *x, int64_t count, sizes s, ct_tensor_avg_pool2d_options o) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        place to = place_of(i, s.rows, s.columns);
        const real *picture = x + to.plane * s.height * s.width;
        ct_window lines = ct_window_at(o, to.row, s.height, s.rows);
        ct_window inside = ct_window_at(o, to.column, s.width, s.columns);
        double sum = 0;
        for (int64_t h = lines.first; h < lines.end; h++) {
            for (int64_t w = inside.first; w < inside.end; w++) sum += picture[h * s.width + w];
        }
        y[i] = (real)(sum / (double)ct_window_divisor(o, lines, inside));
    }
}

/* The windows that see element `at` of `size`: those of adaptive pooling are windows themselves,
 * with the sizes exchanged. */
static __device__ inline ct_window windows_with(ct_tensor_avg_pool2d_options o, int64_t at,
                                                int64_t size, int64_t count) {
    if (o.kernel == 0) return ct_window_at(o, at, count, size);
    int64_t first = first_window(at + o.padding, o.kernel, o.stride);
    int64_t end = last_window(at + o.padding, o.stride, count) + 1;
    return ct_window{first, end, end - first};
}

template <typename real>
static __global__ void __launch_bounds__(CT_THREADS)
    avg_pool2d_grad(real *gx, const real *g, int64_t count, sizes s,
                    ct_tensor_avg_pool2d_options o) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) {
        place of = place_of(i, s.height, s.width);
        ct_window above = windows_with(o, of.row, s.height, s.rows);
        ct_window beside = windows_with(o, of.column, s.width, s.columns);
        real sum = 0;
        for (int64_t h = above.first; h < above.end; h++) {
            ct_window lines = ct_window_at(o, h, s.height, s.rows);
            for (int64_t w = beside.first; w < beside.end; w++) {
                ct_window inside = ct_window_at(o, w, s.width, s.columns);
                real share = g[(of.plane * s.rows + h) * s.columns + w];
                sum += share / (real)ct_window_divisor(o, lines, inside);
            }
        }
        gx[i] = sum;
    }
}

/* ---- launches --------------------------------------------------------------------------- */

static sizes sizes_of(const ct_tensor *x, const ct_tensor *y) {
    return sizes{x->shape.dim[2], x->shape.dim[3], y->shape.dim[2], y->shape.dim[3]};
}

template <typename real>
bool ct_cuda_max_pool2d(ct_tensor *y, ct_tensor *index, const ct_tensor *x,
                        ct_tensor_max_pool2d_options options) {
    int64_t count = ct_cuda_count(y);
    if (count == 0) return true;
    return CT_LAUNCH(max_pool2d<real>, ct_cuda_blocks(count), CT_THREADS, 0, ct_cuda_data<real>(y),
                     ct_cuda_data<int64_t>(index), ct_cuda_data<real>(x), count, sizes_of(x, y),
                     options);
}
CT_BOTH_REALS(max_pool2d);

template <typename real>
bool ct_cuda_max_pool2d_grad(ct_tensor *gx, const ct_tensor *g, const ct_tensor *index,
                             ct_tensor_max_pool2d_options options) {
    int64_t count = ct_cuda_count(gx);
    if (count == 0) return true;
    return CT_LAUNCH(max_pool2d_grad<real>, ct_cuda_blocks(count), CT_THREADS, 0,
                     ct_cuda_data<real>(gx), ct_cuda_data<real>(g), ct_cuda_data<int64_t>(index),
                     count, sizes_of(gx, g), options);
}
CT_BOTH_REALS(max_pool2d_grad);

template <typename real>
bool ct_cuda_avg_pool2d(ct_tensor *y, const ct_tensor *x, ct_tensor_avg_pool2d_options options) {
    int64_t count = ct_cuda_count(y);
    if (count == 0) return true;
    return CT_LAUNCH(avg_pool2d<real>, ct_cuda_blocks(count), CT_THREADS, 0, ct_cuda_data<real>(y),
                     ct_cuda_data<real>(x), count, sizes_of(x, y), options);
}
CT_BOTH_REALS(avg_pool2d);

template <typename real>
bool ct_cuda_avg_pool2d_grad(ct_tensor *gx, const ct_tensor *g,
                             ct_tensor_avg_pool2d_options options) {
    int64_t count = ct_cuda_count(gx);
    if (count == 0) return true;
    return CT_LAUNCH(avg_pool2d_grad<real>, ct_cuda_blocks(count), CT_THREADS, 0,
                     ct_cuda_data<real>(gx), ct_cuda_data<real>(g), count, sizes_of(gx, g),
                     options);
}
CT_BOTH_REALS(avg_pool2d_grad);
