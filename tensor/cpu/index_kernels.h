/* SPDX-License-Identifier: Apache-2.0 */
/* Additions at indices for one type: a template, included by cpu/index.c after real_f32.h or
 * real_f64.h. */

bool REAL_KERNEL(index_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    around a = around_axis(y, axis);
    if (!check_indices("index_add", index, a.size)) return false;
    const int64_t *j = ct_cpu_data(index);
    int64_t count = ct_count(index), blocks = (a.inner + COLUMNS - 1) / COLUMNS;
    real *sums = ct_cpu_data(y);
    const real *terms = ct_cpu_data(x);
    int threads = ct_cpu_threads(ct_count(x));
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t task = 0; task < a.outer * blocks; task++) {
        int64_t outer = task / blocks, first = task % blocks * COLUMNS;
        int64_t columns = a.inner - first < COLUMNS ? a.inner - first : COLUMNS;
        for (int64_t i = 0; i < count; i++) {
            real *to = sums + (outer * a.size + j[i]) * a.inner + first;
            const real *from = terms + (outer * count + i) * a.inner + first;
#pragma omp simd
            for (int64_t k = 0; k < columns; k++) to[k] += from[k];
        }
    }
    return true;
}

bool REAL_KERNEL(scatter_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x) {
    around a = around_axis(y, axis);
    if (!check_indices("scatter_add", index, a.size)) return false;
    int64_t count = x->shape.dim[axis], line = count * a.inner;
    int threads = ct_cpu_threads(ct_count(x));
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t outer = 0; outer < a.outer; outer++) {
        const int64_t *j = (const int64_t *)ct_cpu_data(index) + outer * line;
        real *to = (real *)ct_cpu_data(y) + outer * a.size * a.inner;
        const real *from = (const real *)ct_cpu_data(x) + outer * line;
        for (int64_t i = 0; i < count; i++) {
            for (int64_t k = 0; k < a.inner; k++) {
                to[j[i * a.inner + k] * a.inner + k] += from[i * a.inner + k];
            }
        }
    }
    return true;
}
