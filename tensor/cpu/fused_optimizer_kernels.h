/* Parameter updates for one type: a template, included by cpu/fused_optimizer.c after real_f32.h
 * or real_f64.h. */

/* PyTorch's order of operations; step_size and root hold the bias corrections. */
static void REAL_NAME(adam)(real *p, const real *grad, real *m, real *v, int64_t n, int64_t step,
                            const ct_adam_options *options) {
    double correction_1 = 1 - pow(options->beta1, (double)step);
    double correction_2 = 1 - pow(options->beta2, (double)step);
    const real step_size = (real)(options->lr / correction_1);
    const real root = (real)(1 / sqrt(correction_2)), eps = (real)options->eps;
    const real b1 = (real)(1 - options->beta1), b2 = (real)options->beta2;
    const real c2 = (real)(1 - options->beta2), scale = (real)options->grad_scale;
    const real keep = options->decoupled ? (real)(1 - options->lr * options->weight_decay) : R(1);
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

/* buffer is NULL without momentum; `first`: it starts as the gradient. */
static void REAL_NAME(sgd)(real *p, const real *grad, real *buffer, int64_t n, bool first,
                           const ct_sgd_options *options) {
    const real lr = (real)options->lr, scale = (real)options->grad_scale;
    const real decay = (real)options->weight_decay;
    const real momentum = buffer && !first ? (real)options->momentum : R(0);
    const real ahead = (real)options->momentum;
    if (!buffer) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] -= lr * (grad[i] * scale + decay * p[i]);
        return;
    }
    if (first) memset(buffer, 0, (size_t)n * sizeof *buffer); /* it may hold anything, even NaN */
    const bool nesterov = options->nesterov;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * scale + decay * p[i];
        real b = momentum * buffer[i] + g;
        buffer[i] = b;
        p[i] -= lr * (nesterov ? g + ahead * b : b);
    }
}
