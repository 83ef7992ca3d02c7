/* SPDX-License-Identifier: Apache-2.0 */
/* Loops of cross entropy for one type: a template, included by cpu/fused_loss.c after real_f32.h
 * or real_f64.h. */

/* log sum exp of a row is shift + rest; the row's sum is needed for smoothing. A row is read twice,
 * the second time from the cache. */
typedef struct {
    real shift, rest, sum;
} REAL_NAME(row_sums);

static REAL_NAME(row_sums) REAL_NAME(sums_of)(const real *x, int64_t n) {
    real largest = x[0], exps = 0, total = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    /* infinite: -inf everywhere, or +inf somewhere; x - largest would be NaN */
    const real shift = largest - largest == R(0) ? largest : R(0);
#pragma omp simd reduction(+ : exps, total)
    for (int64_t i = 0; i < n; i++) {
        exps += R_EXP(x[i] - shift);
        total += x[i];
    }
    return (REAL_NAME(row_sums)){shift, R_LOG(exps), total};
}

/* The loss of a row far from 0, of differences from its largest logit alone. */
static real REAL_NAME(far_loss)(const real *x, int64_t n, int64_t label, REAL_NAME(row_sums) of,
                                real smooth) {
    const real scale = R(1) / (real)n;
    real mean = 0;
    for (int64_t i = 0; i < n && smooth > R(0); i++) mean += (of.shift - x[i]) * scale;
    const real at_label = (R(1) - smooth) * (of.shift - x[label]);
    return of.rest + (smooth < R(1) ? at_label : R(0)) + (smooth > R(0) ? smooth * mean : R(0));
}

CT_PART REAL_NAME(loss_rows)(ct_part part, ct_tensor *loss, ct_tensor *log_sum_exp,
                             const ct_tensor *logits, const ct_tensor *labels, int64_t ignore_index,
                             double smoothing) {
    const int64_t *label = ct_cpu_data(labels), classes = logits->shape.dim[1];
    real *to = ct_cpu_data(loss), *lse = ct_cpu_data(log_sum_exp);
    const real *x = ct_cpu_data(logits);
    const real smooth = (real)smoothing, scale = R(1) / (real)classes;
    for (int64_t r = part.begin; r < part.end; r++) {
        const real *row = x + r * classes;
        const REAL_NAME(row_sums) of = REAL_NAME(sums_of)(row, classes);
        lse[r] = of.shift + of.rest;
        if (label[r] == ignore_index) {
            to[r] = 0;
        } else if (REAL_NAME(ct_is_far)(lse[r])) {
            to[r] = REAL_NAME(far_loss)(row, classes, label[r], of, smooth);
        } else if (smooth > R(0)) {
            to[r] = (R(1) - smooth) * (lse[r] - row[label[r]]) + smooth * (lse[r] - of.sum * scale);
        } else {
            to[r] = lse[r] - row[label[r]];
        }
    }
}

bool REAL_KERNEL(cross_entropy)(ct_tensor *loss, ct_tensor *log_sum_exp, const ct_tensor *logits,
                                const ct_tensor *labels, int64_t ignore_index, double smoothing) {
    if (!check_labels(ct_cpu_data(labels), logits, ignore_index)) return false;
    CT_IN_PARTS(
        ct_cpu_threads(EXP_COST * ct_count(logits)), logits->shape.dim[0],
        REAL_NAME(loss_rows)(part, loss, log_sum_exp, logits, labels, ignore_index, smoothing));
    return true;
}

/* g (softmax - (1-s) onehot - s/V) */
CT_PART REAL_NAME(loss_rows_grad)(ct_part part, ct_tensor *g_logits, const ct_tensor *g,
                                  const ct_tensor *logits, const ct_tensor *labels,
                                  const ct_tensor *log_sum_exp, int64_t ignore_index,
                                  double smoothing) {
    const int64_t *label = ct_cpu_data(labels), classes = logits->shape.dim[1];
    real *to = ct_cpu_data(g_logits);
    const real *x = ct_cpu_data(logits), *lse = ct_cpu_data(log_sum_exp), *gr = ct_cpu_data(g);
    const real share = (real)(smoothing / (double)classes), hit = (real)(1 - smoothing);
    for (int64_t r = part.begin; r < part.end; r++) {
        const real *row = x + r * classes;
        real *out = to + r * classes;
        if (label[r] == ignore_index) {
            memset(out, 0, (size_t)classes * sizeof *out);
            continue;
        }
        REAL_NAME(row_sums) of = {.shift = lse[r]};
        if (REAL_NAME(ct_is_far)(lse[r])) of = REAL_NAME(sums_of)(row, classes);
        const real scale = gr[r], shift = of.shift, rest = of.rest;
#pragma omp simd
        for (int64_t i = 0; i < classes; i++) {
            out[i] = scale * (R_EXP(row[i] - shift - rest) - share);
        }
        out[label[r]] -= scale * hit;
    }
}

bool REAL_KERNEL(cross_entropy_grad)(ct_tensor *g_logits, const ct_tensor *g,
                                     const ct_tensor *logits, const ct_tensor *labels,
                                     const ct_tensor *log_sum_exp, int64_t ignore_index,
                                     double smoothing) {
    if (!check_labels(ct_cpu_data(labels), logits, ignore_index)) return false;
    CT_IN_PARTS(ct_cpu_threads(EXP_COST * ct_count(logits)), logits->shape.dim[0],
                REAL_NAME(loss_rows_grad)(part, g_logits, g, logits, labels, log_sum_exp,
                                          ignore_index, smoothing));
    return true;
}
