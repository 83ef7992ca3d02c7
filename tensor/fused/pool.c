/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling of pictures: maxima and means over windows. */
#include "tensor/core/shape.h"
#include "tensor/fused/check.h"

/* What maximum and mean have in common. */
typedef struct {
    int64_t kernel, stride, padding, dilation;
    bool ceil_mode;
} windows;

static windows windows_of_max(ct_tensor_max_pool2d_options o) {
    return (windows){o.kernel, o.stride, o.padding, o.dilation, o.ceil_mode};
}

static windows windows_of_mean(ct_tensor_avg_pool2d_options o) {
    return (windows){o.kernel, o.stride, o.padding, 1, o.ceil_mode};
}

/* How many windows begin before the padding below a side of `size` ends; 0 if none fits. */
static int64_t places(int64_t size, const windows *w) {
    int64_t padded = ct_size_sum(size, ct_size_product(2, w->padding));
    int64_t count = ct_conv_positions(padded, w->kernel, w->stride, w->dilation);
    if (count == 0 || !w->ceil_mode) return count;
    int64_t span = w->dilation * (w->kernel - 1) + 1; /* at most `padded` */
    bool rest = (padded - span) % w->stride != 0;
    return rest && ct_size_product(count, w->stride) < size + w->padding ? count + 1 : count;
}

static bool check_windows(const char *op, const windows *w) {
    bool good = w->kernel >= 1 && w->stride >= 1 && w->dilation >= 1 && w->padding >= 0;
    int64_t span = good ? ct_size_sum(ct_size_product(w->dilation, w->kernel - 1), 1) : 0;
    if (good && w->padding <= span / 2) return true;
    return ct_fail_bool("%s: kernel %lld, stride %lld, dilation %lld, padding %lld: expected at "
                        "least 1, and a padding of 0 to half of what a window spans",
                        op, (long long)w->kernel, (long long)w->stride, (long long)w->dilation,
                        (long long)w->padding);
}

/* A picture that has a place for a window, and all sizes that kernels add or multiply fit. */
static bool check_picture(const char *op, ct_shape shape, ct_dtype dtype) {
    if (!ct_check_ndims(op, shape.ndim)) return false;
    if (shape.ndim == 4 && shape.dim[2] >= 1 && shape.dim[3] >= 1) {
        return ct_check_sizes(op, shape, dtype);
    }
    return ct_fail_bool("%s: x is %s, expected (B,C,H,W) with sides of at least 1", op,
                        ct_shape_text(shape));
}

/* The shape of what pooling pictures of this shape gives; ndim 0 and an error if that cannot be. */
static ct_shape pooled_shape(const char *op, ct_shape shape, ct_dtype dtype, const windows *w) {
    if (!check_windows(op, w) || !check_picture(op, shape, dtype)) return CT_SCALAR_SHAPE;
    int64_t around = ct_size_product(2, w->padding);
    ct_shape padded = CT_SHAPE(shape.dim[0], shape.dim[1], ct_size_sum(shape.dim[2], around),
                               ct_size_sum(shape.dim[3], around));
    if (!ct_check_sizes(op, padded, dtype)) return CT_SCALAR_SHAPE;
    int64_t rows = places(shape.dim[2], w), columns = places(shape.dim[3], w);
    if (rows > 0 && columns > 0) return CT_SHAPE(shape.dim[0], shape.dim[1], rows, columns);
    ct_fail_bool("%s: pictures of %s, padded by %lld, are smaller than a kernel of %lld with "
                 "dilation %lld",
                 op, ct_shape_text(shape), (long long)w->padding, (long long)w->kernel,
                 (long long)w->dilation);
    return CT_SCALAR_SHAPE;
}

/* ---- maximum ---------------------------------------------------------------------------- */

ct_tensor *ct_tensor_max_pool2d(const ct_tensor *x, ct_tensor_max_pool2d_options options,
                                ct_tensor **index) {
    static const char op[] = "max_pool2d";
    if (index) *index = NULL;
    if (!ct_check_ndim(op, "x", x, 4)) return NULL;
    windows w = windows_of_max(options);
    ct_shape shape = pooled_shape(op, x->shape, x->dtype, &w);
    if (shape.ndim == 0) return NULL;
    CT_SCOPE {
        bool ok = true;
        x = ct_dense(x, &ok);
        ct_tensor *y = ok ? ct_empty_like(x, shape) : NULL;
        ct_tensor *at = y && index ? ct_empty(CT_I64, y->device, shape) : NULL;
        if (!y || (index && !at) || !ct_backend_of(y->device)->max_pool2d(y, at, x, options)) {
            return NULL;
        }
        if (index) *index = ct_escape(at);
        return ct_escape(y);
    }
    return NULL;
}

static bool check_index(const char *op, const ct_tensor *g, const ct_tensor *index) {
    if (!ct_check_input(op, index)) return false;
    if (index->dtype == CT_I64 && index->device == g->device &&
        ct_shape_equal(index->shape, g->shape)) {
        return true;
    }
    return ct_fail_bool("%s: index is %s on %s, expected i64 %s on %s", op, ct_tensor_text(index),
                        ct_device_name(index->device), ct_shape_text(g->shape),
                        ct_device_name(g->device));
}

/* g is there, of what pooling pictures of `shape` gives. */
static bool check_g(const char *op, const ct_tensor *g, ct_shape shape, const windows *w) {
    if (!ct_check_ndim(op, "g", g, 4)) return false;
    ct_shape expected = pooled_shape(op, shape, g->dtype, w);
    return expected.ndim > 0 && ct_check_shape(op, "g", g, g, expected);
}

ct_tensor *ct_tensor_max_pool2d_grad(const ct_tensor *g, const ct_tensor *index, ct_shape shape,
                                     ct_tensor_max_pool2d_options options) {
    static const char op[] = "max_pool2d gradient";
    windows w = windows_of_max(options);
    if (!check_g(op, g, shape, &w) || !check_index(op, g, index)) return NULL;
    CT_SCOPE {
        bool ok = true;
        g = ct_dense(g, &ok);
        index = ct_dense(index, &ok);
        ct_tensor *gx = ok ? ct_empty_like(g, shape) : NULL;
        if (!gx || !ct_backend_of(gx->device)->max_pool2d_grad(gx, g, index, options)) return NULL;
        return ct_escape(gx);
    }
    return NULL;
}

/* ---- mean ------------------------------------------------------------------------------- */

static ct_tensor *means(const ct_tensor *x, ct_shape shape, ct_tensor_avg_pool2d_options options) {
    CT_SCOPE {
        bool ok = true;
        x = ct_dense(x, &ok);
        ct_tensor *y = ok ? ct_empty_like(x, shape) : NULL;
        if (!y || !ct_backend_of(y->device)->avg_pool2d(y, x, options)) return NULL;
        return ct_escape(y);
    }
    return NULL;
}

static ct_tensor *means_grad(const ct_tensor *g, ct_shape shape,
                             ct_tensor_avg_pool2d_options options) {
    CT_SCOPE {
        bool ok = true;
        g = ct_dense(g, &ok);
        ct_tensor *gx = ok ? ct_empty_like(g, shape) : NULL;
        if (!gx || !ct_backend_of(gx->device)->avg_pool2d_grad(gx, g, options)) return NULL;
        return ct_escape(gx);
    }
    return NULL;
}

ct_tensor *ct_tensor_avg_pool2d(const ct_tensor *x, ct_tensor_avg_pool2d_options options) {
    if (!ct_check_ndim("avg_pool2d", "x", x, 4)) return NULL;
    windows w = windows_of_mean(options);
    ct_shape shape = pooled_shape("avg_pool2d", x->shape, x->dtype, &w);
    return shape.ndim > 0 ? means(x, shape, options) : NULL;
}

ct_tensor *ct_tensor_avg_pool2d_grad(const ct_tensor *g, ct_shape shape,
                                     ct_tensor_avg_pool2d_options options) {
    windows w = windows_of_mean(options);
    if (!check_g("avg_pool2d gradient", g, shape, &w)) return NULL;
    return means_grad(g, shape, options);
}

/* Kernel 0, as the kernels have it. */
static const ct_tensor_avg_pool2d_options adaptive = {.kernel = 0};

/* Pictures of `shape` and a size that there can be means of; window i of `rows` begins at
 * i H / rows, of which the product must fit. */
static bool check_adaptive(const char *op, ct_shape shape, ct_dtype dtype, int64_t rows,
                           int64_t columns) {
    if (!check_picture(op, shape, dtype)) return false;
    if (rows < 1 || columns < 1) {
        return ct_fail_bool("%s: to %lld rows and %lld columns, expected at least 1", op,
                            (long long)rows, (long long)columns);
    }
    return ct_check_sizes(op, CT_SHAPE(ct_size_sum(rows, 1), shape.dim[2]), dtype) &&
           ct_check_sizes(op, CT_SHAPE(ct_size_sum(columns, 1), shape.dim[3]), dtype);
}

ct_tensor *ct_tensor_adaptive_avg_pool2d(const ct_tensor *x, int64_t rows, int64_t columns) {
    static const char op[] = "adaptive_avg_pool2d";
    if (!ct_check_ndim(op, "x", x, 4) || !check_adaptive(op, x->shape, x->dtype, rows, columns)) {
        return NULL;
    }
    return means(x, CT_SHAPE(x->shape.dim[0], x->shape.dim[1], rows, columns), adaptive);
}

ct_tensor *ct_tensor_adaptive_avg_pool2d_grad(const ct_tensor *g, ct_shape shape) {
    static const char op[] = "adaptive_avg_pool2d gradient";
    if (!ct_check_ndim(op, "g", g, 4) ||
        !check_adaptive(op, shape, g->dtype, g->shape.dim[2], g->shape.dim[3]) ||
        !ct_check_shape(op, "g", g, g,
                        CT_SHAPE(shape.dim[0], shape.dim[1], g->shape.dim[2], g->shape.dim[3]))) {
        return NULL;
    }
    return means_grad(g, shape, adaptive);
}
