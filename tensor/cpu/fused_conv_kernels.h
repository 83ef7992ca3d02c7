/* SPDX-License-Identifier: Apache-2.0 */
/* The adjoint of unfolding for one type: a template, included by cpu/fused_conv.c after
 * real_f32.h or real_f64.h. */

/* Each row of x gathers what came from it, in the order of k: no two threads write one row. */
CT_PART REAL_NAME(fold_steps)(ct_part part, ct_tensor *x, const ct_tensor *u,
                              ct_tensor_conv1d_options options) {
    int64_t steps = x->shape.dim[1], width = x->shape.dim[2];
    int64_t steps_out = u->shape.dim[1], kernel = u->shape.dim[2];
    const real *from = ct_cpu_data(u);
    real *to = ct_cpu_data(x);
    for (int64_t p = part.begin; p < part.end; p++) {
        int64_t i = p / steps, t = p % steps;
        real *out = to + p * width;
        memset(out, 0, (size_t)width * sizeof *out);
        for (int64_t k = 0; k < kernel; k++) {
            int64_t start = t + options.before - k * options.dilation;
            int64_t step = start / options.stride;
            if (start < 0 || start % options.stride != 0 || step >= steps_out) continue;
            const real *row = from + ((i * steps_out + step) * kernel + k) * width;
#pragma omp simd
            for (int64_t c = 0; c < width; c++) out[c] += row[c];
        }
    }
}

bool REAL_KERNEL(fold)(ct_tensor *x, const ct_tensor *u, ct_tensor_conv1d_options options) {
    if (x->shape.dim[2] == 0) return true; /* nothing to add, and perhaps no memory to point to */
    CT_IN_PARTS(ct_cpu_threads(ct_count(u)), x->shape.dim[0] * x->shape.dim[1],
                REAL_NAME(fold_steps)(part, x, u, options));
    return true;
}
