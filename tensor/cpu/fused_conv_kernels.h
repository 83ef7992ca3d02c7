/* SPDX-License-Identifier: Apache-2.0 */
/* Unfolding pictures, and the adjoints, for one type: a template, included by cpu/fused_conv.c
 * after real_f32.h or real_f64.h. */

CT_PART REAL_NAME(unfold_planes)(ct_part part, ct_tensor *u, const ct_tensor *x,
                                 ct_tensor_conv2d_options options) {
    int64_t kernel_h = u->shape.dim[2], kernel_w = u->shape.dim[3];
    int64_t height = x->shape.dim[2], width = x->shape.dim[3];
    int64_t rows = u->shape.dim[4], columns = u->shape.dim[5], stride = options.stride;
    const real *from = ct_cpu_data(x);
    real *to = ct_cpu_data(u);
    for (int64_t plane = part.begin; plane < part.end; plane++) {
        int64_t q = plane % kernel_w, p = plane / kernel_w % kernel_h;
        int64_t left = q * options.dilation - options.before, top = p * options.dilation;
        span inside = span_of(columns, left, stride, width);
        const real *picture = from + plane / (kernel_h * kernel_w) * height * width;
        for (int64_t h = 0; h < rows; h++) {
            real *out = to + (plane * rows + h) * columns;
            int64_t y = h * stride + top - options.before;
            int64_t first = y >= 0 && y < height ? inside.first : columns;
            int64_t end = y >= 0 && y < height ? inside.end : columns;
            const real *in = picture + y * width + left;
            for (int64_t w = 0; w < first; w++) out[w] = 0;
            for (int64_t w = first; w < end; w++) out[w] = in[w * stride];
            for (int64_t w = end; w < columns; w++) out[w] = 0;
        }
    }
}

bool REAL_KERNEL(unfold2d)(ct_tensor *u, const ct_tensor *x, ct_tensor_conv2d_options options) {
    const int64_t *size = u->shape.dim;
    CT_IN_PARTS(ct_cpu_threads(ct_count(u)), size[0] * size[1] * size[2] * size[3],
                REAL_NAME(unfold_planes)(part, u, x, options));
    return true;
}

/* A plane of x is one thread's. */
CT_PART REAL_NAME(fold_planes)(ct_part part, ct_tensor *x, const ct_tensor *u,
                               ct_tensor_conv2d_options options) {
    int64_t kernel_h = u->shape.dim[2], kernel_w = u->shape.dim[3];
    int64_t height = x->shape.dim[2], width = x->shape.dim[3];
    int64_t rows = u->shape.dim[4], columns = u->shape.dim[5], stride = options.stride;
    const real *from = ct_cpu_data(u);
    real *to = ct_cpu_data(x);
    for (int64_t plane = part.begin; plane < part.end; plane++) {
        real *picture = to + plane * height * width;
        for (int64_t i = 0; i < height * width; i++) picture[i] = 0;
        for (int64_t k = 0; k < kernel_h * kernel_w; k++) {
            int64_t left = k % kernel_w * options.dilation - options.before;
            int64_t top = k / kernel_w * options.dilation - options.before;
            span inside = span_of(columns, left, stride, width);
            span within = span_of(rows, top, stride, height);
            for (int64_t h = within.first; h < within.end; h++) {
                const real *in = from + ((plane * kernel_h * kernel_w + k) * rows + h) * columns;
                real *out = picture + (h * stride + top) * width + left;
                for (int64_t w = inside.first; w < inside.end; w++) out[w * stride] += in[w];
            }
        }
    }
}

bool REAL_KERNEL(fold2d)(ct_tensor *x, const ct_tensor *u, ct_tensor_conv2d_options options) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(u)), x->shape.dim[0] * x->shape.dim[1],
                REAL_NAME(fold_planes)(part, x, u, options));
    return true;
}

/* Whole planes of y, each with its channel's bias. */
CT_PART REAL_NAME(activate_planes)(ct_part part, ct_tensor *y, const ct_tensor *bias,
                                   const ct_tensor *added, ct_activation activation) {
    int64_t channels = y->shape.dim[1], inner = y->shape.dim[2];
    const real *b = ct_cpu_data_or_null(bias), *more = ct_cpu_data_or_null(added);
    const real low = activation == CT_NO_ACTIVATION ? -R(INFINITY) : R(0);
    const real high = activation == CT_RELU6 ? R(6) : R(INFINITY);
    for (int64_t plane = part.begin; plane < part.end; plane++) {
        real *to = (real *)ct_cpu_data(y) + plane * inner;
        const real *with = more ? more + plane * inner : NULL, shift = b ? b[plane % channels] : 0;
        if (with) {
#pragma omp simd
            for (int64_t i = 0; i < inner; i++) {
                real v = to[i] + shift + with[i];
                to[i] = R_WITHIN(v, low, high);
            }
        } else {
#pragma omp simd
            for (int64_t i = 0; i < inner; i++) {
                real v = to[i] + shift;
                to[i] = R_WITHIN(v, low, high);
            }
        }
    }
}

bool REAL_KERNEL(activate)(ct_tensor *y, const ct_tensor *bias, const ct_tensor *added,
                           ct_activation activation) {
    CT_IN_PARTS(ct_cpu_threads(ct_count(y)), y->shape.dim[0] * y->shape.dim[1],
                REAL_NAME(activate_planes)(part, y, bias, added, activation));
    return true;
}
