/* SPDX-License-Identifier: Apache-2.0 */
/* Loops of the policy head for one type: a template, included by cpu/matching_policy.c after
 * real_f32.h or real_f64.h. */

/* What the softmax is taken of: the logit, or the perturbed one. */
static inline real REAL_NAME(perturbed)(real logit, real uniform, real rate) {
    real gumbel = -R_LOG(-R_LOG(uniform + R(1e-20)) + R(1e-20));
    return (logit + gumbel) * rate;
}

/* y = softmax(y); returns log sum exp y. */
static real REAL_NAME(softmax_in_place)(real *y, int64_t n) {
    real largest = y[0], sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < n; i++) largest = y[i] > largest ? y[i] : largest;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        y[i] = R_EXP(y[i] - largest);
        sum += y[i];
    }
    const real scale = R(1) / sum;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] *= scale;
    return largest + R_LOG(sum);
}

/* The first index in start..stop at which `sum` plus the running sum of y exceeds v, or else the
 * last one with a probability; -1 if none has one. */
static int64_t REAL_NAME(scan)(const real *y, int64_t start, int64_t stop, double sum, double v) {
    int64_t last = -1;
    for (int64_t i = start; i < stop; i++) {
        sum += y[i];
        if (y[i] > R(0)) last = i;
        if (sum > v) break;
    }
    return last;
}

/* The first index at which the running sum of y exceeds v; where rounding keeps all of it below,
 * the last possible one. Whole blocks are passed over by their sums. */
static int64_t REAL_NAME(draw)(const real *y, int64_t n, double v) {
    double total = 0;
    for (int64_t start = 0; start < n; start += DRAW_BLOCK) {
        int64_t stop = start + DRAW_BLOCK < n ? start + DRAW_BLOCK : n;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = start; i < stop; i++) sum += y[i];
        if (total + sum > v) return REAL_NAME(scan)(y, start, stop, total, v);
        total += sum;
    }
    int64_t last = REAL_NAME(scan)(y, 0, n, 0, (double)INFINITY);
    return last < 0 ? 0 : last;
}

/* Log-probabilities, weights and samples where everything else is known: mu and rho give the
 * normal distribution, z = (sample - mu) / sigma its standard form. */
static void REAL_NAME(act)(const ct_policy_result *to, int64_t i, real mu, real rho, real normal,
                           real normal_2, real scale) {
    const real sigma = R_EXP(R(0.5) * rho), half_log_two_pi = R(0.91893853320467274178);
    ((real *)ct_cpu_data(to->weight))[i] = scale * R_SIGMOID(mu + sigma * normal);
    ((real *)ct_cpu_data(to->sample))[i] = mu + sigma * normal_2;
    ((real *)ct_cpu_data(to->log_continuous))[i] =
        R(-0.5) * normal_2 * normal_2 - R(0.5) * rho - half_log_two_pi;
}

CT_PART REAL_NAME(policy_heads)(ct_part part, const ct_policy_result *to, const ct_tensor *logits,
                                const ct_tensor *rho, const ct_policy_noise *noise,
                                ct_policy_options options) {
    int64_t n = logits->shape.dim[2];
    const real *x = ct_cpu_data(logits), *u = ct_cpu_data_or_null(noise->uniform);
    const real *r = ct_cpu_data(rho), *v = ct_cpu_data_or_null(noise->choice);
    const real *normal = ct_cpu_data(noise->normal);
    const real *normal_2 = noise->normal_2 ? ct_cpu_data(noise->normal_2) : normal;
    const int64_t *given = ct_cpu_data_or_null(noise->index);
    real *y = ct_cpu_data(to->y), *log_discrete = ct_cpu_data(to->log_discrete);
    int64_t *index = ct_cpu_data(to->index);
    const real rate = (real)(1 / options.temperature), scale = (real)options.scale;
    for (int64_t i = part.begin; i < part.end; i++) {
        real *yi = y + i * n;
        const real *xi = x + i * n, *ui = u ? u + i * n : NULL;
        if (ui) {
#pragma omp simd
            for (int64_t a = 0; a < n; a++) yi[a] = REAL_NAME(perturbed)(xi[a], ui[a], rate);
        } else {
            memcpy(yi, xi, (size_t)n * sizeof *yi);
        }
        real log_sum = REAL_NAME(softmax_in_place)(yi, n);
        int64_t k = given ? given[i] : REAL_NAME(draw)(yi, n, v[i]);
        real chosen = ui ? REAL_NAME(perturbed)(xi[k], ui[k], rate) : xi[k];
        index[i] = k;
        log_discrete[i] = chosen - log_sum;
        REAL_NAME(act)(to, i, (real)k / (real)n, r[i], normal[i], normal_2[i], scale);
    }
}

bool REAL_KERNEL(policy_head)(const ct_policy_result *to, const ct_tensor *logits,
                              const ct_tensor *rho, const ct_policy_noise *noise,
                              ct_policy_options options) {
    int64_t heads = ct_count(rho), n = logits->shape.dim[2];
    if (noise->index && !check_index(noise->index, n)) return false;
    CT_IN_PARTS(ct_cpu_threads(ACTION_COST * heads * n), heads,
                REAL_NAME(policy_heads)(part, to, logits, rho, noise, options));
    return true;
}

/* d log y[k] / d logit = (onehot - y) rate;  d log N / d mu = z / sigma, which reaches the logits
 * as if mu were sum_a (a/A) y[a]: a/A less its mean, times y rate;  d log N / d rho = (z^2-1)/2. */
CT_PART REAL_NAME(policy_heads_grad)(ct_part part, ct_tensor *g_logits, ct_tensor *g_rho,
                                     const ct_tensor *g_discrete, const ct_tensor *g_continuous,
                                     const ct_tensor *rho, const ct_policy_result *from,
                                     ct_policy_options options) {
    int64_t n = from->y->shape.dim[2];
    const real *gd = ct_cpu_data_or_null(g_discrete), *gc = ct_cpu_data_or_null(g_continuous);
    const real *r = ct_cpu_data(rho), *y = ct_cpu_data(from->y);
    const real *sample = ct_cpu_data(from->sample);
    const int64_t *index = ct_cpu_data(from->index);
    real *to = ct_cpu_data(g_logits), *to_rho = ct_cpu_data(g_rho);
    const real step = R(1) / (real)n;
    const real rate = (real)(options.perturbed ? 1 / options.temperature : 1);
    for (int64_t i = part.begin; i < part.end; i++) {
        const real *yi = y + i * n;
        real *out = to + i * n, mean = 0;
        const real sigma = R_EXP(R(0.5) * r[i]), z = (sample[i] - (real)index[i] * step) / sigma;
        const real discrete = gd ? gd[i] * rate : R(0), continuous = gc ? gc[i] : R(0);
        const real slope = continuous * z / sigma * rate;
        to_rho[i] = continuous * R(0.5) * (z * z - R(1));
#pragma omp simd reduction(+ : mean)
        for (int64_t a = 0; a < n; a++) mean += yi[a] * (real)(int32_t)a;
        mean *= step;
#pragma omp simd
        for (int64_t a = 0; a < n; a++) {
            out[a] = yi[a] * (slope * ((real)(int32_t)a * step - mean) - discrete);
        }
        out[index[i]] += discrete;
    }
}

bool REAL_KERNEL(policy_head_grad)(ct_tensor *g_logits, ct_tensor *g_rho,
                                   const ct_tensor *g_discrete, const ct_tensor *g_continuous,
                                   const ct_tensor *rho, const ct_policy_result *from,
                                   ct_policy_options options) {
    int64_t heads = ct_count(rho), n = from->y->shape.dim[2];
    CT_IN_PARTS(ct_cpu_threads(2 * heads * n), heads,
                REAL_NAME(policy_heads_grad)(part, g_logits, g_rho, g_discrete, g_continuous, rho,
                                             from, options));
    return true;
}
