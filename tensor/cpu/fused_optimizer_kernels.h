/* SPDX-License-Identifier: Apache-2.0 */
/* Parameter updates for one type: a template, included by cpu/fused_optimizer.c after real_f32.h
 * or real_f64.h. */

/* PyTorch's order of operations; rates: step size, root of the second bias correction, what stays
 * of the parameter. */
static void REAL_NAME(adam)(real *p, const real *grad, real *m, real *v, int64_t n,
                            const double *rates, double grad_scale,
                            const ct_tensor_adam_options *options) {
    const real step_size = (real)rates[0], root = (real)rates[1], keep = (real)rates[2];
    const real eps = (real)options->eps, scale = (real)grad_scale;
    const real b1 = (real)(1 - options->beta1), b2 = (real)options->beta2;
    const real c2 = (real)(1 - options->beta2);
    const real decay = options->decoupled ? R(0) : (real)options->weight_decay;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * scale + decay * p[i];
        real m1 = m[i] + (g - m[i]) * b1;
        real v1 = v[i] * b2 + g * g * c2;
        m[i] = m1;
        v[i] = v1;
        p[i] = p[i] * keep - step_size * m1 / (R_SQRT(v1) * root + eps);
    }
}

/* buffer is NULL without momentum; rates: learning rate, what stays of the buffer. */
static void REAL_NAME(sgd)(real *p, const real *grad, real *buffer, int64_t n, const double *rates,
                           double grad_scale, const ct_tensor_sgd_options *options) {
    const real lr = (real)rates[0], stays = (real)rates[1], scale = (real)grad_scale;
    const real decay = (real)options->weight_decay, ahead = (real)options->momentum;
    if (!buffer) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] -= lr * (grad[i] * scale + decay * p[i]);
        return;
    }
    /* at first it may hold anything, even NaN */
    if (stays == 0) memset(buffer, 0, (size_t)n * sizeof *buffer);
    const bool nesterov = options->nesterov;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * scale + decay * p[i];
        real b = stays * buffer[i] + g;
        buffer[i] = b;
        p[i] -= lr * (nesterov ? g + ahead * b : b);
    }
}
