/* SPDX-License-Identifier: Apache-2.0 */
/* L2 norm and weight norm. Formulas as in tensor/cpu/fused_l2_kernels.h. */
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/real.h"
#include "tensor/cuda/rows.h"

/* ---- l2 norm ---------------------------------------------------------------------------- */

template <typename real> static __device__ inline real one_over(real norm) {
    return norm == 0 ? real(0) : 1 / norm;
}

/* l2_divided of tensor/cpu/fused_l2_kernels.h, by a block, and of a column by one thread. */
template <typename real>
static __device__ void l2_divided_row(real *to, real *norm, const real *from, int64_t n) {
    real largest = 0, squares = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        largest = ct_combine_max()(real(fabs(from[i])), largest);
    }
    largest = ct_block_reduce(largest, ct_combine_max(), real(0));
    if (!ct_cuda_can_divide(largest)) return;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        real v = from[i] / largest;
        squares += v * v;
    }
    const real length = R_SQRT(ct_block_sum(squares));
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i] / largest / length;
    if (threadIdx.x == 0) *norm = largest * length;
}

template <typename real>
static __device__ void l2_divided_column(real *to, real *norm, const real *from, int64_t n,
                                         int64_t inner) {
    real largest = 0, squares = 0;
    for (int64_t r = 0; r < n; r++) {
        largest = ct_combine_max()(real(fabs(from[r * inner])), largest);
    }
    if (!ct_cuda_can_divide(largest)) return;
    for (int64_t r = 0; r < n; r++) {
        real v = from[r * inner] / largest;
        squares += v * v;
    }
    const real length = R_SQRT(squares);
    *norm = largest * length;
    for (int64_t r = 0; r < n; r++) to[r * inner] = from[r * inner] / largest / length;
}

/* Norms along rows. */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    l2_rows(real *y, real *norm, const real *x, int64_t rows, int64_t n) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const real *from = x + r * n;
        real *to = y + r * n, squares = 0;
        int64_t head = ct_head(n, from, to);
        ct_each<real>(n, head, [&]<int W>(int64_t i) {
            ct_pack<W, real> v = ct_load<W>(from + i);
            for (int k = 0; k < W; k++) squares += v.at[k] * v.at[k];
        });
        squares = ct_block_sum(squares);
        const real length = R_SQRT(squares), scale = one_over(length);
        ct_each<real>(n, head, [&]<int W>(int64_t i) {
            ct_pack<W, real> v = ct_load<W>(from + i);
            for (int k = 0; k < W; k++) v.at[k] *= scale;
            ct_store(to + i, v);
        });
        if (threadIdx.x == 0) norm[r] = length;
        if (!ct_cuda_squares_lost(squares)) continue;
        __syncthreads(); /* y and the norm are written once more */
        l2_divided_row(to, norm + r, from, n);
    }
}

/* Norms across rows: a thread for a column of n elements. */
template <typename real>
static __global__ void l2_columns(real *y, real *norm, const real *x, int64_t columns, int64_t n,
                                  int64_t inner) {
    for (int64_t p = ct_first(); p < columns; p += ct_step()) {
        int64_t o = ct_quotient(p, inner), first = o * n * inner + p - o * inner;
        real squares = 0;
        for (int64_t r = 0; r < n; r++) {
            real v = x[first + r * inner];
            squares += v * v;
        }
        const real length = R_SQRT(squares), scale = one_over(length);
        norm[p] = length;
        for (int64_t r = 0; r < n; r++) y[first + r * inner] = x[first + r * inner] * scale;
        if (!ct_cuda_squares_lost(squares)) continue;
        l2_divided_column(y + first, norm + p, x + first, n, inner);
    }
}

template <typename real>
bool ct_cuda_l2_normalize(ct_tensor *y, ct_tensor *norm, const ct_tensor *x) {
    int64_t outer = x->shape.dim[0], n = x->shape.dim[1], inner = x->shape.dim[2];
    if (outer * inner == 0) return true;
    real *to = ct_cuda_data<real>(y), *norms = ct_cuda_data<real>(norm);
    const real *from = ct_cuda_data<real>(x);
    return inner == 1 ? CT_LAUNCH(l2_rows<real>, ct_row_blocks(outer), ct_row_threads(n), 0, to,
                                  norms, from, outer, n)
                      : CT_LAUNCH(l2_columns<real>, ct_cuda_blocks(outer * inner), CT_THREADS, 0,
                                  to, norms, from, outer * inner, n, inner);
}
CT_BOTH_REALS(l2_normalize);

/* scale: one over the norm, which may be beyond the range */
template <typename real> static __device__ inline real over(real value, real scale, real norm) {
    return scale - scale == 0 ? value * scale : value / norm;
}

/* gx = (g - y (g . y)) / norm, 0 where the norm is. */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    l2_rows_grad(real *gx, const real *g, const real *y, const real *norm, int64_t rows,
                 int64_t n) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const real *gr = g + r * n, *yr = y + r * n;
        real *to = gx + r * n, product = 0;
        int64_t head = ct_head(n, gr, yr, to);
        ct_each<real>(n, head, [&]<int W>(int64_t i) {
            ct_pack<W, real> u = ct_load<W>(gr + i), v = ct_load<W>(yr + i);
            for (int k = 0; k < W; k++) product += u.at[k] * v.at[k];
        });
        product = ct_block_sum(product);
        const real scale = one_over(norm[r]);
        ct_each<real>(n, head, [&]<int W>(int64_t i) {
            ct_pack<W, real> u = ct_load<W>(gr + i), v = ct_load<W>(yr + i);
            for (int k = 0; k < W; k++) u.at[k] = over(u.at[k] - v.at[k] * product, scale, norm[r]);
            ct_store(to + i, u);
        });
    }
}

template <typename real>
static __global__ void l2_columns_grad(real *gx, const real *g, const real *y, const real *norm,
                                       int64_t columns, int64_t n, int64_t inner) {
    for (int64_t p = ct_first(); p < columns; p += ct_step()) {
        int64_t o = ct_quotient(p, inner), first = o * n * inner + p - o * inner;
        real product = 0;
        for (int64_t i = first; i < first + n * inner; i += inner) product += g[i] * y[i];
        const real scale = one_over(norm[p]);
        for (int64_t i = first; i < first + n * inner; i += inner) {
            gx[i] = over(g[i] - y[i] * product, scale, norm[p]);
        }
    }
}

template <typename real>
bool ct_cuda_l2_normalize_grad(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y,
                               const ct_tensor *norm) {
    int64_t outer = y->shape.dim[0], n = y->shape.dim[1], inner = y->shape.dim[2];
    if (outer * n * inner == 0) return true;
    real *to = ct_cuda_data<real>(gx);
    const real *gd = ct_cuda_data<real>(g), *yd = ct_cuda_data<real>(y);
    const real *norms = ct_cuda_data<real>(norm);
    return inner == 1 ? CT_LAUNCH(l2_rows_grad<real>, ct_row_blocks(outer), ct_row_threads(n), 0,
                                  to, gd, yd, norms, outer, n)
                      : CT_LAUNCH(l2_columns_grad<real>, ct_cuda_blocks(outer * inner), CT_THREADS,
                                  0, to, gd, yd, norms, outer * inner, n, inner);
}
CT_BOTH_REALS(l2_normalize_grad);

/* ---- rows of given norms ----------------------------------------------------------------- */

template <typename real>
static __global__ void scale_rows(real *y, const real *scale, int64_t count, int64_t n) {
    for (int64_t i = ct_first(); i < count; i += ct_step()) y[i] *= scale[ct_quotient(i, n)];
}

template <typename real>
bool ct_cuda_weight_norm(ct_tensor *y, ct_tensor *norm, const ct_tensor *v,
                         const ct_tensor *scale) {
    int64_t rows = v->shape.dim[0], n = v->shape.dim[1];
    if (rows == 0) return true;
    real *to = ct_cuda_data<real>(y), *norms = ct_cuda_data<real>(norm);
    const real *from = ct_cuda_data<real>(v), *factor = ct_cuda_data<real>(scale);
    return CT_LAUNCH(l2_rows<real>, ct_row_blocks(rows), ct_row_threads(n), 0, to, norms, from,
                     rows, n) &&
           (n == 0 || CT_LAUNCH(scale_rows<real>, ct_cuda_blocks(rows * n), CT_THREADS, 0, to,
                                factor, rows * n, n));
}
CT_BOTH_REALS(weight_norm);

/* u = v / norm: the gradient of the scale is g . u, that of v (g - u (g . u)) scale / norm; 0 where
 * the norm is. */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    weight_rows_grad(real *gv, real *gscale, const real *g, const real *v, const real *scale,
                     const real *norm, int64_t rows, int64_t n) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const real *gr = g + r * n, *vr = v + r * n;
        const real length = norm[r], inverse = one_over(length);
        real *to = gv + r * n, product = 0;
        int64_t head = ct_head(n, gr, vr, to);
        ct_each<real>(n, head, [&]<int W>(int64_t i) {
            ct_pack<W, real> a = ct_load<W>(gr + i), b = ct_load<W>(vr + i);
            for (int k = 0; k < W; k++) product += a.at[k] * over(b.at[k], inverse, length);
        });
        product = ct_block_sum(product);
        ct_each<real>(n, head, [&]<int W>(int64_t i) {
            ct_pack<W, real> a = ct_load<W>(gr + i), b = ct_load<W>(vr + i);
            for (int k = 0; k < W; k++) {
                real across = a.at[k] - over(b.at[k], inverse, length) * product;
                a.at[k] = over(across * scale[r], inverse, length);
            }
            ct_store(to + i, a);
        });
        if (threadIdx.x == 0) gscale[r] = product;
    }
}

template <typename real>
bool ct_cuda_weight_norm_grad(ct_tensor *gv, ct_tensor *gscale, const ct_tensor *g,
                              const ct_tensor *v, const ct_tensor *scale, const ct_tensor *norm) {
    int64_t rows = v->shape.dim[0], n = v->shape.dim[1];
    if (rows == 0) return true;
    return CT_LAUNCH(weight_rows_grad<real>, ct_row_blocks(rows), ct_row_threads(n), 0,
                     ct_cuda_data<real>(gv), ct_cuda_data<real>(gscale), ct_cuda_data<real>(g),
                     ct_cuda_data<real>(v), ct_cuda_data<real>(scale), ct_cuda_data<real>(norm),
                     rows, n);
}
CT_BOTH_REALS(weight_norm_grad);
