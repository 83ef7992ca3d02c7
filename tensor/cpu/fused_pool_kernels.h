/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling for one type: a template, included by cpu/fused_pool.c after real_f32.h or real_f64.h. */

/* ---- maximum ---------------------------------------------------------------------------- */

/* A row of windows, of which one element each is at in[w*stride], w from inside.first on: what is
 * larger than the maximum so far takes its place. `at` (or NULL): their positions, of which that of
 * in[0] is `position`. The first element is taken whatever it is. */
static inline void REAL_NAME(take_larger)(real *best, int64_t *at, const real *in, span inside,
                                          int64_t stride, int64_t position) {
    if (!at) {
        for (int64_t w = inside.first; w < inside.end; w++) {
            real value = in[w * stride];
            best[w] = value > best[w] || value != value ? value : best[w];
        }
        return;
    }
    for (int64_t w = inside.first; w < inside.end; w++) {
        real value = in[w * stride];
        bool larger = value > best[w] || value != value || at[w] < 0;
        best[w] = larger ? value : best[w];
        at[w] = larger ? position + w * stride : at[w];
    }
}

CT_PART REAL_NAME(max_planes)(ct_part part, ct_tensor *y, ct_tensor *index, const ct_tensor *x,
                              ct_tensor_max_pool2d_options o) {
    int64_t height = x->shape.dim[2], width = x->shape.dim[3];
    int64_t rows = y->shape.dim[2], columns = y->shape.dim[3];
    const real *from = ct_cpu_data(x);
    real *to = ct_cpu_data(y);
    int64_t *positions = ct_cpu_data_or_null(index);
    for (int64_t row = part.begin; row < part.end; row++) {
        const real *picture = from + row / rows * height * width;
        real *best = to + row * columns;
        int64_t *at = positions ? positions + row * columns : NULL;
        int64_t top = row % rows * o.stride - o.padding;
        for (int64_t w = 0; w < columns; w++) best[w] = -(real)INFINITY;
        for (int64_t w = 0; at && w < columns; w++) at[w] = -1;
        for (int64_t p = 0; p < o.kernel; p++) {
            int64_t line = top + p * o.dilation;
            if (line < 0 || line >= height) continue;
            for (int64_t q = 0; q < o.kernel; q++) {
                int64_t left = q * o.dilation - o.padding;
                REAL_NAME(take_larger)
                (best, at, picture + line * width + left, span_of(columns, left, o.stride, width),
                 o.stride, line * width + left);
            }
        }
    }
}

bool REAL_KERNEL(max_pool2d)(ct_tensor *y, ct_tensor *index, const ct_tensor *x,
                             ct_tensor_max_pool2d_options options) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(x)), y->shape.dim[0] * y->shape.dim[1] * y->shape.dim[2],
                REAL_NAME(max_planes)(part, y, index, x, options));
    return true;
}

CT_PART REAL_NAME(max_grad_planes)(ct_part part, ct_tensor *gx, const ct_tensor *g,
                                   const ct_tensor *index) {
    int64_t size = gx->shape.dim[2] * gx->shape.dim[3], places = g->shape.dim[2] * g->shape.dim[3];
    const real *from = ct_cpu_data(g);
    const int64_t *at = ct_cpu_data(index);
    real *to = ct_cpu_data(gx);
    for (int64_t plane = part.begin; plane < part.end; plane++) {
        real *picture = to + plane * size;
        for (int64_t i = 0; i < size; i++) picture[i] = 0;
        for (int64_t i = plane * places; i < (plane + 1) * places; i++) {
            if (at[i] >= 0 && at[i] < size) picture[at[i]] += from[i];
        }
    }
}

bool REAL_KERNEL(max_pool2d_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *index,
                                  ct_tensor_max_pool2d_options options) {
    (void)options; /* the index says it all */
    CT_IN_PARTS(ct_cpu_threads(ct_count(gx)), gx->shape.dim[0] * gx->shape.dim[1],
                REAL_NAME(max_grad_planes)(part, gx, g, index));
    return true;
}

/* ---- mean ------------------------------------------------------------------------------- */

/* Sums in f64, in the order of rows and columns. */
CT_PART REAL_NAME(mean_planes)(ct_part part, ct_tensor *y, const ct_tensor *x,
                               ct_tensor_avg_pool2d_options o) {
    int64_t height = x->shape.dim[2], width = x->shape.dim[3];
    int64_t rows = y->shape.dim[2], columns = y->shape.dim[3];
    const real *from = ct_cpu_data(x);
    real *to = ct_cpu_data(y);
    for (int64_t row = part.begin; row < part.end; row++) {
        const real *picture = from + row / rows * height * width;
        ct_window lines = ct_window_at(o, row % rows, height, rows);
        for (int64_t w = 0; w < columns; w++) {
            ct_window inside = ct_window_at(o, w, width, columns);
            double sum = 0;
            for (int64_t i = lines.first; i < lines.end; i++) {
                for (int64_t j = inside.first; j < inside.end; j++) sum += picture[i * width + j];
            }
            to[row * columns + w] = (real)(sum / (double)ct_window_divisor(o, lines, inside));
        }
    }
}

bool REAL_KERNEL(avg_pool2d)(ct_tensor *y, const ct_tensor *x,
                             ct_tensor_avg_pool2d_options options) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(x)), y->shape.dim[0] * y->shape.dim[1] * y->shape.dim[2],
                REAL_NAME(mean_planes)(part, y, x, options));
    return true;
}

CT_PART REAL_NAME(mean_grad_planes)(ct_part part, ct_tensor *gx, const ct_tensor *g,
                                    ct_tensor_avg_pool2d_options o) {
    int64_t height = gx->shape.dim[2], width = gx->shape.dim[3];
    int64_t rows = g->shape.dim[2], columns = g->shape.dim[3];
    const real *from = ct_cpu_data(g);
    real *to = ct_cpu_data(gx);
    for (int64_t plane = part.begin; plane < part.end; plane++) {
        real *picture = to + plane * height * width;
        for (int64_t i = 0; i < height * width; i++) picture[i] = 0;
        for (int64_t k = 0; k < rows * columns; k++) {
            ct_window lines = ct_window_at(o, k / columns, height, rows);
            ct_window inside = ct_window_at(o, k % columns, width, columns);
            real share =
                from[plane * rows * columns + k] / (real)ct_window_divisor(o, lines, inside);
            for (int64_t i = lines.first; i < lines.end; i++) {
                for (int64_t j = inside.first; j < inside.end; j++) picture[i * width + j] += share;
            }
        }
    }
}

bool REAL_KERNEL(avg_pool2d_grad)(ct_tensor *gx, const ct_tensor *g,
                                  ct_tensor_avg_pool2d_options options) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(gx)), gx->shape.dim[0] * gx->shape.dim[1],
                REAL_NAME(mean_grad_planes)(part, gx, g, options));
    return true;
}
