/* SPDX-License-Identifier: Apache-2.0 */
/* Loops of batch norm and layer norm for one type: a template, included by
 * cpu/fused_norm.c after real_f32.h or real_f64.h.
 *
 * Sums over rows are taken in chunks of ROW_CHUNK rows (one chunk's sums by one thread, in `real`),
 * and the chunks' sums added in f64 in their order: whole rows are streamed, rounding stays small,
 * and the order does not depend on the number of threads.
 */

/* ---- sums over rows --------------------------------------------------------------------- */

/* sum[c] = sum over chunks of part[chunk][c] */
static void REAL_NAME(add_chunks)(real *sum, const real *parts, int64_t chunks, int64_t distance,
                                  int64_t columns) {
    for (int64_t c = 0; c < columns; c += COLUMN_BLOCK) {
        int64_t n = columns - c < COLUMN_BLOCK ? columns - c : COLUMN_BLOCK;
        double total[COLUMN_BLOCK] = {0};
        for (int64_t k = 0; k < chunks; k++) {
            const real *part = parts + k * distance + c;
            for (int64_t i = 0; i < n; i++) total[i] += part[i];
        }
        for (int64_t i = 0; i < n; i++) sum[c + i] = (real)total[i];
    }
}

/* ---- batch norm, channels last ---------------------------------------------------------- */

/* Mean and sum of squared distances from it, of one chunk of rows. */
static void REAL_NAME(chunk_moments)(real *mean, real *squares, const real *x, int64_t rows,
                                     int64_t columns) {
    memset(mean, 0, (size_t)columns * sizeof *mean);
    memset(squares, 0, (size_t)columns * sizeof *squares);
    for (int64_t r = 0; r < rows; r++) {
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) mean[c] += x[r * columns + c];
    }
    const real scale = R(1) / (real)rows;
    for (int64_t c = 0; c < columns; c++) mean[c] *= scale;
    for (int64_t r = 0; r < rows; r++) {
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            real d = x[r * columns + c] - mean[c];
            squares[c] += d * d;
        }
    }
}

static void REAL_NAME(write_statistics)(int64_t c, double m, double v, double eps, ct_tensor *mean,
                                        ct_tensor *variance, ct_tensor *rstd) {
    ((real *)ct_cpu_data(mean))[c] = (real)m;
    ((real *)ct_cpu_data(variance))[c] = (real)v;
    ((real *)ct_cpu_data(rstd))[c] = (real)(1 / sqrt(v + eps));
}

/* The moments of all rows from those of chunks (Chan, Golub, LeVeque 1979). */
static void REAL_NAME(join_moments)(const real *parts, int64_t rows, int64_t columns, int64_t c,
                                    double *mean, double *variance) {
    double m = 0, squares = 0, count = 0;
    for (int64_t r = 0; r < rows; r += ROW_CHUNK, parts += 2 * columns) {
        double n = (double)(rows - r < ROW_CHUNK ? rows - r : ROW_CHUNK), total = count + n;
        double d = parts[c] - m;
        m += d * n / total;
        squares += parts[columns + c] + d * d * count * n / total;
        count = total;
    }
    *mean = m;
    *variance = squares / count;
}

CT_PART REAL_NAME(moments_of_chunks)(ct_part part, real *parts, const real *x, int64_t rows,
                                     int64_t columns) {
    for (int64_t k = part.begin; k < part.end; k++) {
        int64_t r = k * ROW_CHUNK, n = rows - r < ROW_CHUNK ? rows - r : ROW_CHUNK;
        real *to = parts + 2 * k * columns;
        REAL_NAME(chunk_moments)(to, to + columns, x + r * columns, n, columns);
    }
}

static bool REAL_NAME(statistics_rows)(ct_tensor *mean, ct_tensor *variance, ct_tensor *rstd,
                                       const ct_tensor *x_rows, double eps) {
    int64_t rows = x_rows->shape.dim[0], columns = x_rows->shape.dim[1];
    int64_t chunks = (rows + ROW_CHUNK - 1) / ROW_CHUNK;
    size_t bytes = (size_t)(2 * chunks * columns) * sizeof(real);
    const real *x = ct_cpu_data(x_rows);
    real *parts = ct_cpu_allocate(bytes);
    if (!parts) return false;
    CT_IN_PARTS(ct_cpu_threads(rows * columns), chunks,
                REAL_NAME(moments_of_chunks)(part, parts, x, rows, columns));
    for (int64_t c = 0; c < columns; c++) {
        double m, v;
        REAL_NAME(join_moments)(parts, rows, columns, c, &m, &v);
        REAL_NAME(write_statistics)(c, m, v, eps, mean, variance, rstd);
    }
    ct_cpu_free(parts, bytes);
    return true;
}

/* y = (x - mean) * scale + bias */
CT_PART REAL_NAME(apply_rows)(ct_part part, real *y, const real *x, const real *mean,
                              const real *scale, const real *bias, int64_t columns) {
    for (int64_t r = part.begin; r < part.end; r++) {
        const real *from = x + r * columns;
        real *to = y + r * columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) to[c] = (from[c] - mean[c]) * scale[c] + bias[c];
    }
}

/* Sums of g and of g * (x - mean) over one chunk of rows. */
static void REAL_NAME(chunk_grad)(real *sum, real *product, const real *g, const real *x,
                                  const real *mean, int64_t rows, int64_t columns) {
    memset(sum, 0, (size_t)columns * sizeof *sum);
    memset(product, 0, (size_t)columns * sizeof *product);
    for (int64_t r = 0; r < rows; r++) {
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            real gr = g[r * columns + c];
            sum[c] += gr;
            product[c] += gr * (x[r * columns + c] - mean[c]);
        }
    }
}

CT_PART REAL_NAME(sums_of_chunks)(ct_part part, real *parts, const real *g, const real *x,
                                  const real *mean, int64_t rows, int64_t columns) {
    for (int64_t k = part.begin; k < part.end; k++) {
        int64_t r = k * ROW_CHUNK, n = rows - r < ROW_CHUNK ? rows - r : ROW_CHUNK;
        real *to = parts + 2 * k * columns;
        REAL_NAME(chunk_grad)
        (to, to + columns, g + r * columns, x + r * columns, mean, n, columns);
    }
}

/* Sums of g into g_bias, of g * xhat into g_weight. */
static bool REAL_NAME(grad_sums_rows)(real *g_weight, real *g_bias, const real *g, const real *x,
                                      const real *mean, const real *rstd, int64_t rows,
                                      int64_t columns) {
    int64_t chunks = (rows + ROW_CHUNK - 1) / ROW_CHUNK;
    size_t bytes = (size_t)(2 * chunks * columns + 1) * sizeof(real);
    real *parts = ct_cpu_allocate(bytes);
    if (!parts) return false;
    CT_IN_PARTS(ct_cpu_threads(rows * columns), chunks,
                REAL_NAME(sums_of_chunks)(part, parts, g, x, mean, rows, columns));
    REAL_NAME(add_chunks)(g_bias, parts, chunks, 2 * columns, columns);
    REAL_NAME(add_chunks)(g_weight, parts + columns, chunks, 2 * columns, columns);
    for (int64_t c = 0; c < columns; c++) g_weight[c] *= rstd[c];
    ct_cpu_free(parts, bytes);
    return true;
}

/* gx = scale * (g - shift - slope * (x - mean)) */
CT_PART REAL_NAME(grad_rows)(ct_part part, real *gx, const real *g, const real *x, const real *mean,
                             const real *scale, const real *shift, const real *slope,
                             int64_t columns) {
    for (int64_t r = part.begin; r < part.end; r++) {
        const real *gr = g + r * columns, *xr = x + r * columns;
        real *to = gx + r * columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            to[c] = scale[c] * (gr[c] - shift[c] - slope[c] * (xr[c] - mean[c]));
        }
    }
}

/* ---- batch norm, channels in the middle ------------------------------------------------- */

CT_PART REAL_NAME(statistics_blocks)(ct_part part, ct_tensor *mean, ct_tensor *variance,
                                     ct_tensor *rstd, const ct_tensor *x, double eps) {
    int64_t outer = x->shape.dim[0], channels = x->shape.dim[1], inner = x->shape.dim[2];
    const real *data = ct_cpu_data(x);
    for (int64_t c = part.begin; c < part.end; c++) {
        double sum = 0, squares = 0, count = (double)(outer * inner);
        for (int64_t o = 0; o < outer; o++) {
            const real *block = data + (o * channels + c) * inner;
            for (int64_t i = 0; i < inner; i++) sum += block[i];
        }
        for (int64_t o = 0; o < outer; o++) {
            const real *block = data + (o * channels + c) * inner;
            for (int64_t i = 0; i < inner; i++) {
                double d = block[i] - sum / count;
                squares += d * d;
            }
        }
        REAL_NAME(write_statistics)(c, sum / count, squares / count, eps, mean, variance, rstd);
    }
}

CT_PART REAL_NAME(apply_blocks)(ct_part part, real *y, const real *x, const real *mean,
                                const real *scale, const real *bias, int64_t channels,
                                int64_t inner) {
    for (int64_t b = part.begin; b < part.end; b++) {
        int64_t c = b % channels;
        const real m = mean[c], s = scale[c], shift = bias[c];
#pragma omp simd
        for (int64_t i = b * inner; i < (b + 1) * inner; i++) y[i] = (x[i] - m) * s + shift;
    }
}

CT_PART REAL_NAME(grad_sums_blocks)(ct_part part, real *g_weight, real *g_bias, const real *g,
                                    const real *x, const real *mean, const real *rstd,
                                    int64_t outer, int64_t channels, int64_t inner) {
    for (int64_t c = part.begin; c < part.end; c++) {
        double sum = 0, product = 0;
        for (int64_t o = 0; o < outer; o++) {
            int64_t start = (o * channels + c) * inner;
            for (int64_t i = start; i < start + inner; i++) {
                sum += g[i];
                product += (double)g[i] * (x[i] - mean[c]);
            }
        }
        g_bias[c] = (real)sum;
        g_weight[c] = (real)(product * rstd[c]);
    }
}

CT_PART REAL_NAME(grad_blocks)(ct_part part, real *gx, const real *g, const real *x,
                               const real *mean, const real *scale, const real *shift,
                               const real *slope, int64_t channels, int64_t inner) {
    for (int64_t b = part.begin; b < part.end; b++) {
        int64_t c = b % channels;
        const real m = mean[c], s = scale[c], k0 = shift[c], k1 = slope[c];
#pragma omp simd
        for (int64_t i = b * inner; i < (b + 1) * inner; i++) {
            gx[i] = s * (g[i] - k0 - k1 * (x[i] - m));
        }
    }
}

/* ---- batch norm ------------------------------------------------------------------------- */

bool REAL_KERNEL(batch_norm_statistics)(ct_tensor *mean, ct_tensor *variance, ct_tensor *rstd,
                                        const ct_tensor *x, double eps) {
    if (x->shape.dim[2] == 1) return REAL_NAME(statistics_rows)(mean, variance, rstd, x, eps);
    CT_IN_PARTS(ct_cpu_threads(ct_count(x)), x->shape.dim[1],
                REAL_NAME(statistics_blocks)(part, mean, variance, rstd, x, eps));
    return true;
}

bool REAL_KERNEL(batch_norm_join)(ct_tensor *count, ct_tensor *mean, ct_tensor *variance,
                                  ct_tensor *rstd, const ct_tensor *parts, double eps) {
    int64_t channels = mean->shape.dim[0];
    for (int64_t c = 0; c < channels; c++) {
        double m, v;
        *(double *)ct_cpu_data(count) =
            ct_join_moments(ct_cpu_data(parts), parts->shape.dim[0], channels, c, &m, &v);
        REAL_NAME(write_statistics)(c, m, v, eps, mean, variance, rstd);
    }
    return true;
}

bool REAL_KERNEL(batch_norm_apply)(ct_tensor *y, const ct_tensor *x, const ct_tensor *mean,
                                   const ct_tensor *rstd, const ct_tensor *weight,
                                   const ct_tensor *bias) {
    int64_t outer = x->shape.dim[0], channels = x->shape.dim[1], inner = x->shape.dim[2];
    size_t bytes = (size_t)(2 * channels + 1) * sizeof(real);
    real *scale = ct_cpu_allocate(bytes);
    if (!scale) return false;
    real *shift = scale + channels;
    const real *r = ct_cpu_data(rstd), *w = ct_cpu_data_or_null(weight);
    const real *b = ct_cpu_data_or_null(bias);
    for (int64_t c = 0; c < channels; c++) {
        scale[c] = w ? r[c] * w[c] : r[c];
        shift[c] = b ? b[c] : R(0);
    }
    real *to = ct_cpu_data(y);
    const real *from = ct_cpu_data(x), *m = ct_cpu_data(mean);
    int threads = ct_cpu_threads(outer * channels * inner);
    if (inner == 1) {
        CT_IN_PARTS(threads, outer,
                    REAL_NAME(apply_rows)(part, to, from, m, scale, shift, channels));
    } else {
        CT_IN_PARTS(threads, outer * channels,
                    REAL_NAME(apply_blocks)(part, to, from, m, scale, shift, channels, inner));
    }
    ct_cpu_free(scale, bytes);
    return true;
}

/* With batch statistics: gx = w rstd (g - mean(g) - xhat mean(g xhat)). */
bool REAL_KERNEL(batch_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                                  const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                                  const ct_tensor *rstd, const ct_tensor *weight,
                                  bool batch_statistics) {
    int64_t outer = x->shape.dim[0], channels = x->shape.dim[1], inner = x->shape.dim[2];
    const real *gd = ct_cpu_data(g), *xd = ct_cpu_data(x), *m = ct_cpu_data(mean);
    const real *r = ct_cpu_data(rstd), *w = ct_cpu_data_or_null(weight);
    real *gw = ct_cpu_data(g_weight), *gb = ct_cpu_data(g_bias), *to = ct_cpu_data(gx);
    size_t bytes = (size_t)(3 * channels + 1) * sizeof(real);
    real *scale = ct_cpu_allocate(bytes);
    if (!scale) return false;
    real *shift = scale + channels, *slope = shift + channels;
    bool ok = true;
    int threads = ct_cpu_threads(outer * channels * inner);
    if (inner == 1) {
        ok = REAL_NAME(grad_sums_rows)(gw, gb, gd, xd, m, r, outer, channels);
    } else {
        CT_IN_PARTS(
            threads, channels,
            REAL_NAME(grad_sums_blocks)(part, gw, gb, gd, xd, m, r, outer, channels, inner));
    }
    real share = batch_statistics ? R(1) / (real)(outer * inner) : R(0);
    for (int64_t c = 0; ok && c < channels; c++) {
        scale[c] = w ? r[c] * w[c] : r[c];
        shift[c] = gb[c] * share;
        slope[c] = gw[c] * share * r[c];
    }
    if (ok && inner == 1) {
        CT_IN_PARTS(threads, outer,
                    REAL_NAME(grad_rows)(part, to, gd, xd, m, scale, shift, slope, channels));
    } else if (ok) {
        CT_IN_PARTS(
            threads, outer * channels,
            REAL_NAME(grad_blocks)(part, to, gd, xd, m, scale, shift, slope, channels, inner));
    }
    ct_cpu_free(scale, bytes);
    return ok;
}

/* ---- layer norm ------------------------------------------------------------------------- */

static void REAL_NAME(layer_norm_row)(real *y, real *mean, real *rstd, const real *x, const real *w,
                                      const real *b, int64_t width, double eps) {
    real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < width; c++) sum += x[c];
    const real m = sum / (real)width;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < width; c++) squares += (x[c] - m) * (x[c] - m);
    const real s = (real)(1 / sqrt((double)squares / (double)width + eps));
    *mean = m;
    *rstd = s;
#pragma omp simd
    for (int64_t c = 0; c < width; c++) y[c] = (x[c] - m) * s;
    if (w) {
#pragma omp simd
        for (int64_t c = 0; c < width; c++) y[c] *= w[c];
    }
    if (b) {
#pragma omp simd
        for (int64_t c = 0; c < width; c++) y[c] += b[c];
    }
}

CT_PART REAL_NAME(layer_norm_rows)(ct_part part, ct_tensor *y, ct_tensor *mean, ct_tensor *rstd,
                                   const ct_tensor *x, const ct_tensor *weight,
                                   const ct_tensor *bias, double eps) {
    int64_t width = x->shape.dim[1];
    real *to = ct_cpu_data(y), *m = ct_cpu_data(mean), *s = ct_cpu_data(rstd);
    const real *from = ct_cpu_data(x), *w = ct_cpu_data_or_null(weight);
    const real *b = ct_cpu_data_or_null(bias);
    for (int64_t r = part.begin; r < part.end; r++) {
        REAL_NAME(layer_norm_row)(to + r * width, m + r, s + r, from + r * width, w, b, width, eps);
    }
}

bool REAL_KERNEL(layer_norm)(ct_tensor *y, ct_tensor *mean, ct_tensor *rstd, const ct_tensor *x,
                             const ct_tensor *weight, const ct_tensor *bias, double eps) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(x)), x->shape.dim[0],
                REAL_NAME(layer_norm_rows)(part, y, mean, rstd, x, weight, bias, eps));
    return true;
}

/* gx = rstd (gw - mean(gw) - xhat mean(gw xhat)), gw = g * weight; sums of g and g xhat. */
static void REAL_NAME(layer_norm_row_grad)(real *gx, real *sum_product, real *sum, const real *g,
                                           const real *x, const real *w, real m, real s,
                                           int64_t width) {
    real mean_g = 0, mean_product = 0;
#pragma omp simd reduction(+ : mean_g, mean_product)
    for (int64_t c = 0; c < width; c++) {
        real gw = w ? g[c] * w[c] : g[c];
        mean_g += gw;
        mean_product += gw * (x[c] - m);
    }
    mean_g /= (real)width;
    mean_product *= s / (real)width;
#pragma omp simd
    for (int64_t c = 0; c < width; c++) {
        real gw = w ? g[c] * w[c] : g[c];
        gx[c] = s * (gw - mean_g - (x[c] - m) * s * mean_product);
    }
    if (!sum) return;
#pragma omp simd
    for (int64_t c = 0; c < width; c++) {
        sum[c] += g[c];
        sum_product[c] += g[c] * (x[c] - m) * s;
    }
}

/* `parts`, two rows of sums a chunk, is NULL where they are not wanted. */
CT_PART REAL_NAME(layer_norm_chunks_grad)(ct_part part, ct_tensor *gx, real *parts,
                                          const ct_tensor *g, const ct_tensor *x,
                                          const ct_tensor *mean, const ct_tensor *rstd,
                                          const ct_tensor *weight) {
    int64_t rows = x->shape.dim[0], width = x->shape.dim[1];
    real *to = ct_cpu_data(gx);
    const real *gd = ct_cpu_data(g), *xd = ct_cpu_data(x), *w = ct_cpu_data_or_null(weight);
    const real *m = ct_cpu_data(mean), *s = ct_cpu_data(rstd);
    for (int64_t k = part.begin; k < part.end; k++) {
        int64_t stop = (k + 1) * ROW_CHUNK < rows ? (k + 1) * ROW_CHUNK : rows;
        real *product = parts ? parts + 2 * k * width : NULL;
        real *sum = parts ? product + width : NULL;
        if (parts) memset(product, 0, (size_t)(2 * width) * sizeof *product);
        for (int64_t r = k * ROW_CHUNK; r < stop; r++) {
            REAL_NAME(layer_norm_row_grad)
            (to + r * width, product, sum, gd + r * width, xd + r * width, w, m[r], s[r], width);
        }
    }
}

bool REAL_KERNEL(layer_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                                  const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                                  const ct_tensor *rstd, const ct_tensor *weight) {
    int64_t rows = x->shape.dim[0], width = x->shape.dim[1];
    int64_t chunks = (rows + ROW_CHUNK - 1) / ROW_CHUNK;
    size_t bytes = (size_t)(2 * chunks * width + 1) * sizeof(real);
    real *parts = g_weight ? ct_cpu_allocate(bytes) : NULL;
    if (g_weight && !parts) return false;
    CT_IN_PARTS(ct_cpu_threads(rows * width), chunks,
                REAL_NAME(layer_norm_chunks_grad)(part, gx, parts, g, x, mean, rstd, weight));
    if (!parts) return true;
    REAL_NAME(add_chunks)(ct_cpu_data(g_weight), parts, chunks, 2 * width, width);
    REAL_NAME(add_chunks)(ct_cpu_data(g_bias), parts + width, chunks, 2 * width, width);
    ct_cpu_free(parts, bytes);
    return true;
}
