/* SPDX-License-Identifier: Apache-2.0 */
/* Loops of l2 norm and weight norm for one type: a template, included by cpu/fused_norm.c after
 * real_f32.h or real_f64.h. */

/* ---- l2 norm ---------------------------------------------------------------------------- */

/* Once more where the sum of squares has left the range: of x divided by its largest magnitude. */
static void REAL_NAME(l2_divided)(real *y, real *norm, const real *x, int64_t n, int64_t distance) {
    real largest = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        const real a = R_FABS(x[i * distance]);
        largest = a > largest || a != a ? a : largest;
    }
    if (!REAL_NAME(ct_can_divide)(largest)) return;
    for (int64_t i = 0; i < n; i++) {
        const real v = x[i * distance] / largest;
        squares += v * v;
    }
    const real length = R_SQRT(squares);
    *norm = largest * length;
    for (int64_t i = 0; i < n; i++) y[i * distance] = x[i * distance] / largest / length;
}

static void REAL_NAME(l2_row)(real *y, real *norm, const real *x, int64_t n) {
    real squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++) squares += x[i] * x[i];
    *norm = R_SQRT(squares);
    const real scale = *norm == R(0) ? R(0) : R(1) / *norm;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale;
    if (REAL_NAME(ct_squares_lost)(squares)) REAL_NAME(l2_divided)(y, norm, x, n, 1);
}

/* A block of columns, the norms over n rows. */
static void REAL_NAME(l2_columns)(real *y, real *norm, const real *x, int64_t n, int64_t distance,
                                  int64_t columns) {
    real squares[COLUMN_BLOCK] = {0}, scale[COLUMN_BLOCK];
    for (int64_t r = 0; r < n; r++) {
        const real *row = x + r * distance;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) squares[c] += row[c] * row[c];
    }
    for (int64_t c = 0; c < columns; c++) {
        norm[c] = R_SQRT(squares[c]);
        scale[c] = norm[c] == R(0) ? R(0) : R(1) / norm[c];
    }
    for (int64_t r = 0; r < n; r++) {
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) y[r * distance + c] = x[r * distance + c] * scale[c];
    }
    for (int64_t c = 0; c < columns; c++) {
        if (!REAL_NAME(ct_squares_lost)(squares[c])) continue;
        REAL_NAME(l2_divided)(y + c, norm + c, x + c, n, distance);
    }
}

/* The gradient where one over the norm is not in the range. */
static void REAL_NAME(l2_divided_grad)(real *gx, const real *g, const real *y, real product,
                                       real norm, int64_t n, int64_t distance) {
    for (int64_t r = 0; r < n; r++) {
        int64_t i = r * distance;
        gx[i] = (g[i] - y[i] * product) / norm;
    }
}

/* gx = (g - y (g . y)) / norm, 0 where the norm is. */
static void REAL_NAME(l2_row_grad)(real *gx, const real *g, const real *y, real norm, int64_t n) {
    real product = 0;
#pragma omp simd reduction(+ : product)
    for (int64_t i = 0; i < n; i++) product += g[i] * y[i];
    const real scale = norm == R(0) ? R(0) : R(1) / norm;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) gx[i] = (g[i] - y[i] * product) * scale;
    if (scale - scale != R(0)) REAL_NAME(l2_divided_grad)(gx, g, y, product, norm, n, 1);
}

static void REAL_NAME(l2_columns_grad)(real *gx, const real *g, const real *y, const real *norm,
                                       int64_t n, int64_t distance, int64_t columns) {
    real product[COLUMN_BLOCK] = {0}, scale[COLUMN_BLOCK];
    for (int64_t r = 0; r < n; r++) {
        const real *gr = g + r * distance, *yr = y + r * distance;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) product[c] += gr[c] * yr[c];
    }
    for (int64_t c = 0; c < columns; c++) scale[c] = norm[c] == R(0) ? R(0) : R(1) / norm[c];
    for (int64_t r = 0; r < n; r++) {
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            int64_t i = r * distance + c;
            gx[i] = (g[i] - y[i] * product[c]) * scale[c];
        }
    }
    for (int64_t c = 0; c < columns; c++) {
        if (scale[c] - scale[c] == R(0)) continue;
        REAL_NAME(l2_divided_grad)(gx + c, g + c, y + c, product[c], norm[c], n, distance);
    }
}

CT_PART REAL_NAME(l2_blocks)(ct_part part, ct_tensor *y, ct_tensor *norm, const ct_tensor *x) {
    int64_t n = x->shape.dim[1], inner = x->shape.dim[2];
    int64_t blocks = (inner + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    real *to = ct_cpu_data(y), *norms = ct_cpu_data(norm);
    const real *from = ct_cpu_data(x);
    for (int64_t k = part.begin; k < part.end; k++) {
        int64_t o = k / blocks, c = k % blocks * COLUMN_BLOCK, start = o * n * inner + c;
        int64_t columns = inner - c < COLUMN_BLOCK ? inner - c : COLUMN_BLOCK;
        if (inner == 1) {
            REAL_NAME(l2_row)(to + start, norms + o, from + start, n);
        } else {
            REAL_NAME(l2_columns)
            (to + start, norms + o * inner + c, from + start, n, inner, columns);
        }
    }
}

bool REAL_KERNEL(l2_normalize)(ct_tensor *y, ct_tensor *norm, const ct_tensor *x) {
    int64_t blocks = (x->shape.dim[2] + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    CT_IN_PARTS(ct_cpu_threads(ct_count(x)), x->shape.dim[0] * blocks,
                REAL_NAME(l2_blocks)(part, y, norm, x));
    return true;
}

CT_PART REAL_NAME(l2_blocks_grad)(ct_part part, ct_tensor *gx, const ct_tensor *g,
                                  const ct_tensor *y, const ct_tensor *norm) {
    int64_t n = y->shape.dim[1], inner = y->shape.dim[2];
    int64_t blocks = (inner + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    real *to = ct_cpu_data(gx);
    const real *gd = ct_cpu_data(g), *yd = ct_cpu_data(y), *norms = ct_cpu_data(norm);
    for (int64_t k = part.begin; k < part.end; k++) {
        int64_t o = k / blocks, c = k % blocks * COLUMN_BLOCK, start = o * n * inner + c;
        int64_t columns = inner - c < COLUMN_BLOCK ? inner - c : COLUMN_BLOCK;
        if (inner == 1) {
            REAL_NAME(l2_row_grad)(to + start, gd + start, yd + start, norms[o], n);
        } else {
            REAL_NAME(l2_columns_grad)
            (to + start, gd + start, yd + start, norms + o * inner + c, n, inner, columns);
        }
    }
}

bool REAL_KERNEL(l2_normalize_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y,
                                    const ct_tensor *norm) {
    int64_t blocks = (y->shape.dim[2] + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    CT_IN_PARTS(ct_cpu_threads(ct_count(y)), y->shape.dim[0] * blocks,
                REAL_NAME(l2_blocks_grad)(part, gx, g, y, norm));
    return true;
}

/* ---- rows of given norms ----------------------------------------------------------------- */

CT_PART REAL_NAME(weight_rows)(ct_part part, ct_tensor *y, ct_tensor *norm, const ct_tensor *v,
                               const ct_tensor *scale) {
    int64_t n = v->shape.dim[1];
    const real *from = ct_cpu_data(v), *factor = ct_cpu_data(scale);
    real *norms = ct_cpu_data(norm);
    for (int64_t r = part.begin; r < part.end; r++) {
        real *to = (real *)ct_cpu_data(y) + r * n;
        REAL_NAME(l2_row)(to, norms + r, from + r * n, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] *= factor[r];
    }
}

bool REAL_KERNEL(weight_norm)(ct_tensor *y, ct_tensor *norm, const ct_tensor *v,
                              const ct_tensor *scale) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(v)), v->shape.dim[0],
                REAL_NAME(weight_rows)(part, y, norm, v, scale));
    return true;
}

/* The gradient where one over the norm is not in the range. */
static real REAL_NAME(weight_divided_grad)(real *gv, const real *g, const real *v, real scale,
                                           real norm, int64_t n) {
    real product = 0;
    for (int64_t i = 0; i < n; i++) product += g[i] * (v[i] / norm);
    for (int64_t i = 0; i < n; i++) gv[i] = (g[i] - v[i] / norm * product) * scale / norm;
    return product;
}

/* u = v / norm: gv = (g - u (g . u)) scale / norm, and g . u is returned; 0 where the norm is. */
static real REAL_NAME(weight_row_grad)(real *gv, const real *g, const real *v, real scale,
                                       real norm, int64_t n) {
    const real over = norm == R(0) ? R(0) : R(1) / norm;
    if (over - over != R(0)) return REAL_NAME(weight_divided_grad)(gv, g, v, scale, norm, n);
    real product = 0;
#pragma omp simd reduction(+ : product)
    for (int64_t i = 0; i < n; i++) product += g[i] * (v[i] * over);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) gv[i] = (g[i] - v[i] * over * product) * scale * over;
    return product;
}

CT_PART REAL_NAME(weight_rows_grad)(ct_part part, ct_tensor *gv, ct_tensor *gscale,
                                    const ct_tensor *g, const ct_tensor *v, const ct_tensor *scale,
                                    const ct_tensor *norm) {
    int64_t n = v->shape.dim[1];
    const real *of = ct_cpu_data(g), *from = ct_cpu_data(v);
    const real *factor = ct_cpu_data(scale), *norms = ct_cpu_data(norm);
    real *to = ct_cpu_data(gv), *sums = ct_cpu_data(gscale);
    for (int64_t r = part.begin; r < part.end; r++) {
        sums[r] = REAL_NAME(weight_row_grad)(to + r * n, of + r * n, from + r * n, factor[r],
                                             norms[r], n);
    }
}

bool REAL_KERNEL(weight_norm_grad)(ct_tensor *gv, ct_tensor *gscale, const ct_tensor *g,
                                   const ct_tensor *v, const ct_tensor *scale,
                                   const ct_tensor *norm) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(v)), v->shape.dim[0],
                REAL_NAME(weight_rows_grad)(part, gv, gscale, g, v, scale, norm));
    return true;
}
