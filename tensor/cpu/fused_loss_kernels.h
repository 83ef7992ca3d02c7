/* SPDX-License-Identifier: Apache-2.0 */
/* Loops of cross entropy for one type: a template, included by cpu/fused_loss.c after real_f32.h
 * or real_f64.h. */

/* log sum exp of a row; the row's sum is needed for smoothing. A row is read twice, the second
 * time from the cache. */
static real REAL_NAME(row_log_sum_exp)(const real *x, int64_t n, real *sum) {
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
    *sum = total;
    return shift + R_LOG(exps);
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
        real sum;
        lse[r] = REAL_NAME(row_log_sum_exp)(row, classes, &sum);
        if (label[r] == ignore_index) {
            to[r] = 0;
        } else if (smooth > R(0)) {
            to[r] = (R(1) - smooth) * (lse[r] - row[label[r]]) + smooth * (lse[r] - sum * scale);
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
        const real scale = gr[r], shift = lse[r];
#pragma omp simd
        for (int64_t i = 0; i < classes; i++) out[i] = scale * (R_EXP(row[i] - shift) - share);
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
