/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of tensor/ops/pointwise.def for one type, and tables of them: a template, included by
 * cpu/pointwise.c after real_f32.h or real_f64.h. Each loop is a ct_map_kernel. `omp simd` says
 * that y may be one of the inputs, but never overlaps one shifted. */

#define CT_UNARY(name, nparams, value, derivative, lo, hi)                                \
    static void REAL_NAME(unary_##name)(void *out, const void *const *in, int64_t n,      \
                                        const double *params) {                           \
        real *to = out;                                                                   \
        const real *x = in[0];                                                            \
        const real P = (real)params[0], Q = (real)params[1];                              \
        (void)P, (void)Q;                                                                 \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                             \
            const real X = x[i];                                                          \
            to[i] = value;                                                                \
        }                                                                                 \
    }                                                                                     \
    static void REAL_NAME(unary_grad_##name)(void *out, const void *const *in, int64_t n, \
                                             const double *params) {                      \
        real *to = out;                                                                   \
        const real *g = in[0], *x = in[1], *y = in[2];                                    \
        const real P = (real)params[0], Q = (real)params[1];                              \
        (void)P, (void)Q;                                                                 \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                             \
            const real X = x[i], Y = y[i];                                                \
            (void)X, (void)Y;                                                             \
            to[i] = g[i] * (derivative);                                                  \
        }                                                                                 \
    }

/* Y is computed anew for a derivative that needs it: cheaper than reading it from memory. */
#define CT_BINARY_DERIVATIVE(name, value, derivative)                        \
    static void REAL_NAME(name)(void *out, const void *const *in, int64_t n, \
                                const double *params) {                      \
        real *to = out;                                                      \
        const real *g = in[0], *a = in[1], *b = in[2];                       \
        (void)params;                                                        \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                \
            const real A = a[i], B = b[i], Y = value;                        \
            (void)A, (void)B, (void)Y;                                       \
            to[i] = g[i] * (derivative);                                     \
        }                                                                    \
    }

#define CT_BINARY(name, value, da, db, lo, hi)                                        \
    static void REAL_NAME(binary_##name)(void *out, const void *const *in, int64_t n, \
                                         const double *params) {                      \
        real *to = out;                                                               \
        const real *a = in[0], *b = in[1];                                            \
        (void)params;                                                                 \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                         \
            const real A = a[i], B = b[i];                                            \
            to[i] = value;                                                            \
        }                                                                             \
    }                                                                                 \
    CT_BINARY_DERIVATIVE(binary_grad_a_##name, value, da)                             \
    CT_BINARY_DERIVATIVE(binary_grad_b_##name, value, db)

#include "tensor/ops/pointwise.def"
#undef CT_BINARY_DERIVATIVE

static void REAL_NAME(add_scaled)(void *out, const void *const *in, int64_t n,
                                  const double *params) {
    real *y = out;
    const real *from = in[0], *x = in[1];
    const real alpha = (real)params[0];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = from[i] + alpha * x[i];
}

/* ---- entries ---------------------------------------------------------------------------- */

bool REAL_KERNEL(unary)(ct_unary_kind kind, ct_tensor *y, const ct_tensor *x, double p, double q) {
    static const ct_map_kernel loops[] = {
#define CT_UNARY(name, nparams, value, derivative, lo, hi) REAL_NAME(unary_##name),
#include "tensor/ops/pointwise.def"
    };
    CT_CPU(map)(loops[kind], y, 1, &x, (const double[]){p, q}, UNARY_COST);
    return true;
}

bool REAL_KERNEL(unary_grad)(ct_unary_kind kind, ct_tensor *gx, const ct_tensor *g,
                             const ct_tensor *x, const ct_tensor *y, double p, double q) {
    static const ct_map_kernel loops[] = {
#define CT_UNARY(name, nparams, value, derivative, lo, hi) REAL_NAME(unary_grad_##name),
#include "tensor/ops/pointwise.def"
    };
    const ct_tensor *inputs[] = {g, x, y};
    CT_CPU(map)(loops[kind], gx, 3, inputs, (const double[]){p, q}, UNARY_COST);
    return true;
}

bool REAL_KERNEL(binary)(ct_binary_kind kind, ct_tensor *y, const ct_tensor *a,
                         const ct_tensor *b) {
    static const ct_map_kernel loops[] = {
#define CT_BINARY(name, value, da, db, lo, hi) REAL_NAME(binary_##name),
#include "tensor/ops/pointwise.def"
    };
    const ct_tensor *inputs[] = {a, b};
    CT_CPU(map)(loops[kind], y, 2, inputs, NULL, 1);
    return true;
}

bool REAL_KERNEL(binary_grad)(ct_binary_kind kind, int which, ct_tensor *gx, const ct_tensor *g,
                              const ct_tensor *a, const ct_tensor *b) {
    static const ct_map_kernel loops[][2] = {
#define CT_BINARY(name, value, da, db, lo, hi) \
    {REAL_NAME(binary_grad_a_##name), REAL_NAME(binary_grad_b_##name)},
#include "tensor/ops/pointwise.def"
    };
    const ct_tensor *inputs[] = {g, a, b};
    CT_CPU(map)(loops[kind][which], gx, 3, inputs, NULL, 1);
    return true;
}

bool REAL_KERNEL(add_to)(ct_tensor *y, double alpha, const ct_tensor *x) {
    const ct_tensor *inputs[] = {y, x};
    CT_CPU(map)(REAL_NAME(add_scaled), y, 2, inputs, &alpha, 1);
    return true;
}
