/* SPDX-License-Identifier: Apache-2.0 */
/* Additions at indices for one type: a template, included by cpu/index.c after real_f32.h or
 * real_f64.h. */

/* A task is a block of columns at one outer position. */
CT_PART REAL_NAME(add_blocks)(ct_part part, ct_tensor *y, around a, const ct_tensor *index,
                              const ct_tensor *x, int64_t blocks) {
    const int64_t *j = ct_cpu_data(index), count = ct_count(index);
    real *sums = ct_cpu_data(y);
    const real *terms = ct_cpu_data(x);
    for (int64_t task = part.begin; task < part.end; task++) {
        int64_t outer = task / blocks, first = task % blocks * COLUMNS;
        int64_t columns = a.inner - first < COLUMNS ? a.inner - first : COLUMNS;
        for (int64_t i = 0; i < count; i++) {
            real *to = sums + (outer * a.size + j[i]) * a.inner + first;
            const real *from = terms + (outer * count + i) * a.inner + first;
#pragma omp simd
            for (int64_t k = 0; k < columns; k++) to[k] += from[k];
        }
    }
}

bool REAL_KERNEL(index_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    around a = around_axis(y, axis);
    if (!check_indices("index_add", index, a.size)) return false;
    int64_t blocks = (a.inner + COLUMNS - 1) / COLUMNS;
    CT_IN_PARTS(ct_cpu_threads(ct_count(x)), a.outer * blocks,
                REAL_NAME(add_blocks)(part, y, a, index, x, blocks));
    return true;
}

CT_PART REAL_NAME(scatter_rows)(ct_part part, ct_tensor *y, around a, const ct_tensor *index,
                                const ct_tensor *x, int64_t count) {
    int64_t line = count * a.inner;
    for (int64_t outer = part.begin; outer < part.end; outer++) {
        const int64_t *j = (const int64_t *)ct_cpu_data(index) + outer * line;
        real *to = (real *)ct_cpu_data(y) + outer * a.size * a.inner;
        const real *from = (const real *)ct_cpu_data(x) + outer * line;
        for (int64_t i = 0; i < count; i++) {
            for (int64_t k = 0; k < a.inner; k++) {
                to[j[i * a.inner + k] * a.inner + k] += from[i * a.inner + k];
            }
        }
    }
}

bool REAL_KERNEL(scatter_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    around a = around_axis(y, axis);
    if (!check_indices("scatter_add", index, a.size)) return false;
    CT_IN_PARTS(ct_cpu_threads(ct_count(x)), a.outer,
                REAL_NAME(scatter_rows)(part, y, a, index, x, x->shape.dim[axis]));
    return true;
}
