/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax for one type: a template, included by cpu/softmax.c after real_f32.h or
 * real_f64.h. Element i of a row goes to lane i % LANES; the last, incomplete group of lanes is
 * filled up, so that short rows (36 regions, say) also run in whole vectors. Lanes are joined
 * pairwise. */

static void REAL_NAME(fill_up)(real *group, const real *x, int64_t n, real value) {
    for (int j = 0; j < LANES; j++) group[j] = value;
    memcpy(group, x, (size_t)n * sizeof *x);
}

static real REAL_NAME(join_sum)(real *lane) {
    _Pragma("GCC unroll 8") for (int width = LANES / 2; width >= 1; width /= 2) {
#pragma omp simd
        for (int j = 0; j < width; j++) lane[j] += lane[j + width];
    }
    return lane[0];
}

static inline void REAL_NAME(max_group)(real *lane, const real *x) {
#pragma omp simd
    for (int j = 0; j < LANES; j++) lane[j] = x[j] > lane[j] || x[j] != x[j] ? x[j] : lane[j];
}

/* Largest element; NaN if there is one. */
static real REAL_NAME(row_max)(const real *x, int64_t n) {
    real lane[LANES], group[LANES];
    for (int j = 0; j < LANES; j++) lane[j] = -R(INFINITY);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) REAL_NAME(max_group)(lane, x + i);
    REAL_NAME(fill_up)(group, x + i, n - i, -R(INFINITY));
    REAL_NAME(max_group)(lane, group);
    _Pragma("GCC unroll 8") for (int width = LANES / 2; width >= 1; width /= 2) {
#pragma omp simd
        for (int j = 0; j < width; j++) {
            const real a = lane[j], b = lane[j + width];
            lane[j] = b > a || b != b ? b : a;
        }
    }
    return lane[0];
}

static inline void REAL_NAME(exp_group)(real *lane, real *y, const real *x, real shift) {
#pragma omp simd
    for (int j = 0; j < LANES; j++) {
        const real e = R_EXP(x[j] - shift);
        y[j] = e;
        lane[j] += e;
    }
}

/* y = exp(x - shift); returns the sum. Lanes go over to f64 before they lose digits. */
static double REAL_NAME(exp_row)(real *y, const real *x, real shift, int64_t n) {
    real group[LANES];
    double sum = 0;
    int64_t i = 0;
    while (i + LANES <= n) {
        real lane[LANES] = {0};
        int64_t stop = n - i < SPAN ? n : i + SPAN;
        for (; i + LANES <= stop; i += LANES) REAL_NAME(exp_group)(lane, y + i, x + i, shift);
        sum += (double)REAL_NAME(join_sum)(lane);
    }
    real lane[LANES] = {0};
    REAL_NAME(fill_up)(group, x + i, n - i, -R(INFINITY));
    REAL_NAME(exp_group)(lane, group, group, shift);
    memcpy(y + i, group, (size_t)(n - i) * sizeof *y);
    return sum + (double)REAL_NAME(join_sum)(lane);
}

static void REAL_NAME(softmax_row)(real *y, const real *x, int64_t n, bool logarithm) {
    const real largest = REAL_NAME(row_max)(x, n);
    const double sum = REAL_NAME(exp_row)(y, x, largest, n);
    if (logarithm) {
        const real shift = (real)log(sum);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = x[i] - largest - shift;
    } else {
        const real factor = (real)(1.0 / sum);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] *= factor;
    }
}

/* sum of g, or of g*y */
static double REAL_NAME(weighted_sum)(const real *g, const real *y, int64_t n, bool logarithm) {
    double sum = 0;
    int64_t i = 0;
    while (i + LANES <= n) {
        real lane[LANES] = {0};
        int64_t stop = n - i < SPAN ? n : i + SPAN;
        for (; i + LANES <= stop; i += LANES) {
#pragma omp simd
            for (int j = 0; j < LANES; j++) lane[j] += logarithm ? g[i + j] : g[i + j] * y[i + j];
        }
        sum += (double)REAL_NAME(join_sum)(lane);
    }
    for (; i < n; i++) sum += (double)(logarithm ? g[i] : g[i] * y[i]);
    return sum;
}

static void REAL_NAME(softmax_grad_row)(real *gx, const real *g, const real *y, int64_t n,
                                        bool logarithm) {
    const real sum = (real)REAL_NAME(weighted_sum)(g, y, n, logarithm);
    if (logarithm) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) gx[i] = g[i] - R_EXP(y[i]) * sum;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) gx[i] = y[i] * (g[i] - sum);
    }
}

/* ---- entries ---------------------------------------------------------------------------- */

CT_PART REAL_NAME(softmax_rows)(ct_part part, real *to, const real *from, int64_t n,
                                bool logarithm) {
    for (int64_t i = part.begin; i < part.end; i++) {
        REAL_NAME(softmax_row)(to + i * n, from + i * n, n, logarithm);
    }
}

bool REAL_KERNEL(softmax)(ct_tensor *y, const ct_tensor *x, bool logarithm) {
    int64_t n = x->shape.dim[x->shape.ndim - 1], count = ct_count(x);
    int64_t rows = n ? count / n : 0;
    real *to = ct_cpu_data(y);
    const real *from = ct_cpu_data(x);
    CT_IN_PARTS(ct_cpu_threads(count * COST), rows,
                REAL_NAME(softmax_rows)(part, to, from, n, logarithm));
    return true;
}

CT_PART REAL_NAME(softmax_rows_grad)(ct_part part, real *to, const real *g, const real *y,
                                     int64_t n, bool logarithm) {
    for (int64_t i = part.begin; i < part.end; i++) {
        REAL_NAME(softmax_grad_row)(to + i * n, g + i * n, y + i * n, n, logarithm);
    }
}

bool REAL_KERNEL(softmax_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y,
                               bool logarithm) {
    int64_t n = y->shape.dim[y->shape.ndim - 1], count = ct_count(y);
    int64_t rows = n ? count / n : 0;
    real *to = ct_cpu_data(gx);
    const real *gradient = ct_cpu_data(g), *value = ct_cpu_data(y);
    CT_IN_PARTS(ct_cpu_threads(count * COST), rows,
                REAL_NAME(softmax_rows_grad)(part, to, gradient, value, n, logarithm));
    return true;
}
