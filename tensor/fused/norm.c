/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm, layer norm, division by the norm: shapes and allocation. */
#include "tensor/fused/check.h"
#include "tensor/fused/norm.h"

/* x as a dense (outer, channels, inner) view, with axis resolved; NULL with an error. */
static ct_tensor *around(const char *op, const ct_tensor *x, int axis) {
    if (!ct_check_float(op, x)) return NULL;
    axis = ct_axis(op, axis, x->shape.ndim);
    bool ok = axis >= 0;
    const ct_tensor *dense = ok ? ct_dense(x, &ok) : NULL;
    return dense ? ct_view(dense, ct_around_axis(x->shape, axis), NULL, dense->offset) : NULL;
}

/* Checks an optional (channels) input and makes it dense. */
static bool channel_input(const char *op, const char *name, const ct_tensor *x,
                          const ct_tensor **input, int64_t channels) {
    bool ok = ct_check_optional(op, name, x, *input, CT_SHAPE(channels));
    if (ok) *input = ct_dense(*input, &ok);
    return ok;
}

/* ---- batch norm ------------------------------------------------------------------------- */

static ct_tensor *apply(const char *op, const ct_tensor *x, int axis, const ct_tensor *mean,
                        const ct_tensor *rstd, const ct_tensor *weight, const ct_tensor *bias) {
    ct_tensor *view = around(op, x, axis);
    if (!view || !ct_check_input(op, mean) || !ct_check_input(op, rstd)) return NULL;
    int64_t channels = view->shape.dim[1];
    if (!channel_input(op, "mean", x, &mean, channels) ||
        !channel_input(op, "rstd", x, &rstd, channels) ||
        !channel_input(op, "weight", x, &weight, channels) ||
        !channel_input(op, "bias", x, &bias, channels)) {
        return NULL;
    }
    ct_tensor *y = ct_empty_like(x, x->shape);
    ct_tensor *y_view = y ? ct_tensor_reshape(y, view->shape) : NULL;
    if (!y_view) return NULL;
    return ct_backend_of(y->device)->batch_norm_apply(y_view, view, mean, rstd, weight, bias)
               ? y
               : NULL;
}

ct_norm_result ct_batch_norm_statistics(const ct_tensor *x, int axis, double eps) {
    ct_norm_result none = {0}, result = {0};
    CT_SCOPE {
        ct_tensor *view = around("batch norm", x, axis);
        if (!view || !ct_check_not_negative("batch norm", "eps", eps)) return none;
        if (ct_count(view) == 0) {
            ct_fail("batch norm: %s is empty and has no statistics", ct_tensor_text(x));
            return none;
        }
        ct_shape channels = CT_SHAPE(view->shape.dim[1]);
        result.mean = ct_empty_like(x, channels);
        result.variance = ct_empty_like(x, channels);
        result.rstd = ct_empty_like(x, channels);
        if (!result.mean || !result.variance || !result.rstd) return none;
        if (!ct_backend_of(x->device)->batch_norm_statistics(result.mean, result.variance,
                                                             result.rstd, view, eps)) {
            return none;
        }
        ct_escape_all((ct_tensor **const[]){&result.mean, &result.variance, &result.rstd}, 3);
        return result;
    }
    return none;
}

ct_norm_result ct_tensor_batch_norm(const ct_tensor *x, int axis, const ct_tensor *weight,
                                    const ct_tensor *bias, double eps) {
    ct_norm_result none = {0};
    CT_SCOPE {
        ct_norm_result result = ct_batch_norm_statistics(x, axis, eps);
        if (!result.rstd) return none;
        result.y = apply("batch norm", x, axis, result.mean, result.rstd, weight, bias);
        if (!result.y) return none;
        ct_escape_all(
            (ct_tensor **const[]){&result.y, &result.mean, &result.variance, &result.rstd}, 4);
        return result;
    }
    return none;
}

ct_tensor *ct_tensor_batch_norm_apply(const ct_tensor *x, int axis, const ct_tensor *mean,
                                      const ct_tensor *rstd, const ct_tensor *weight,
                                      const ct_tensor *bias) {
    CT_SCOPE { return ct_escape(apply("batch norm", x, axis, mean, rstd, weight, bias)); }
    return NULL;
}

ct_norm_grad ct_tensor_batch_norm_grad(const ct_tensor *g, const ct_tensor *x, int axis,
                                       const ct_tensor *mean, const ct_tensor *rstd,
                                       const ct_tensor *weight, bool batch_statistics) {
    static const char op[] = "batch norm gradient";
    ct_norm_grad none = {0}, grad = {0};
    CT_SCOPE {
        ct_tensor *x_view = around(op, x, axis);
        ct_tensor *g_view =
            x_view && ct_check_shape(op, "g", x, g, x->shape) ? around(op, g, axis) : NULL;
        if (!g_view || !ct_check_input(op, mean) || !ct_check_input(op, rstd)) return none;
        int64_t channels = x_view->shape.dim[1];
        if (!channel_input(op, "mean", x, &mean, channels) ||
            !channel_input(op, "rstd", x, &rstd, channels) ||
            !channel_input(op, "weight", x, &weight, channels)) {
            return none;
        }
        grad.x = ct_empty_like(x, x->shape);
        grad.weight = ct_empty_like(x, CT_SHAPE(channels));
        grad.bias = ct_empty_like(x, CT_SHAPE(channels));
        ct_tensor *gx_view = grad.x ? ct_tensor_reshape(grad.x, x_view->shape) : NULL;
        if (!gx_view || !grad.weight || !grad.bias) return none;
        if (!ct_backend_of(x->device)->batch_norm_grad(gx_view, grad.weight, grad.bias, g_view,
                                                       x_view, mean, rstd, weight,
                                                       batch_statistics)) {
            return none;
        }
        if (!weight) grad.weight = grad.bias = NULL;
        ct_escape_all((ct_tensor **const[]){&grad.x, &grad.weight, &grad.bias}, 3);
        return grad;
    }
    return none;
}

/* ---- layer norm ------------------------------------------------------------------------- */

/* x's shape without its last dimension. */
static ct_shape row_shape(const ct_tensor *x) {
    ct_shape shape = x->shape;
    shape.ndim--;
    return shape;
}

/* x as dense rows (rows, C); NULL with an error. */
static ct_tensor *last_axis_rows(const char *op, const ct_tensor *x) {
    ct_tensor *view = around(op, x, -1);
    return view ? ct_tensor_squeeze(view, 2) : NULL;
}

ct_norm_result ct_tensor_layer_norm(const ct_tensor *x, const ct_tensor *weight,
                                    const ct_tensor *bias, double eps) {
    ct_norm_result none = {0}, result = {0};
    CT_SCOPE {
        ct_tensor *rows = last_axis_rows("layer norm", x);
        if (!rows || !ct_check_not_negative("layer norm", "eps", eps)) return none;
        int64_t width = rows->shape.dim[1];
        if (!channel_input("layer norm", "weight", x, &weight, width) ||
            !channel_input("layer norm", "bias", x, &bias, width)) {
            return none;
        }
        result.y = ct_empty_like(x, x->shape);
        result.mean = ct_empty_like(x, row_shape(x));
        result.rstd = ct_empty_like(x, row_shape(x));
        if (!result.y || !result.mean || !result.rstd) return none;
        if (!ct_backend_of(x->device)->layer_norm(result.y, result.mean, result.rstd, rows, weight,
                                                  bias, eps)) {
            return none;
        }
        ct_escape_all((ct_tensor **const[]){&result.y, &result.mean, &result.rstd}, 3);
        return result;
    }
    return none;
}

ct_norm_grad ct_tensor_layer_norm_grad(const ct_tensor *g, const ct_tensor *x,
                                       const ct_tensor *mean, const ct_tensor *rstd,
                                       const ct_tensor *weight) {
    static const char op[] = "layer norm gradient";
    ct_norm_grad none = {0}, grad = {0};
    CT_SCOPE {
        ct_tensor *rows = last_axis_rows(op, x);
        if (!rows || !ct_check_shape(op, "g", x, g, x->shape) ||
            !ct_check_shape(op, "mean", x, mean, row_shape(x)) ||
            !ct_check_shape(op, "rstd", x, rstd, row_shape(x)) ||
            !channel_input(op, "weight", x, &weight, rows->shape.dim[1])) {
            return none;
        }
        bool ok = true;
        g = ct_dense(g, &ok);
        mean = ct_dense(mean, &ok);
        rstd = ct_dense(rstd, &ok);
        grad.x = ct_empty_like(x, x->shape);
        if (weight) {
            grad.weight = ct_empty_like(x, weight->shape);
            grad.bias = ct_empty_like(x, weight->shape);
            ok = ok && grad.weight && grad.bias;
        }
        ok = ok && grad.x &&
             ct_backend_of(x->device)->layer_norm_grad(grad.x, grad.weight, grad.bias, g, rows,
                                                       mean, rstd, weight);
        if (!ok) return none;
        ct_escape_all((ct_tensor **const[]){&grad.x, &grad.weight, &grad.bias}, 3);
        return grad;
    }
    return none;
}

/* ---- l2 norm ---------------------------------------------------------------------------- */

static ct_shape norm_shape(const ct_tensor *x, int axis) {
    ct_shape shape = x->shape;
    shape.dim[axis] = 1;
    return shape;
}

ct_tensor *ct_tensor_l2_normalize(const ct_tensor *x, int axis, ct_tensor **norm) {
    ct_tensor *y = NULL;
    if (!ct_check_pointer("l2norm", "norm", norm)) return NULL;
    *norm = NULL;
    CT_SCOPE {
        ct_tensor *view = around("l2norm", x, axis);
        if (!view) break;
        y = ct_empty_like(x, x->shape);
        *norm = ct_empty_like(x, norm_shape(x, axis < 0 ? axis + x->shape.ndim : axis));
        ct_tensor *y_view = y ? ct_tensor_reshape(y, view->shape) : NULL;
        if (!y_view || !*norm || !ct_backend_of(x->device)->l2_normalize(y_view, *norm, view)) {
            y = *norm = NULL;
        }
        ct_escape(y);
        ct_escape(*norm);
    }
    return y;
}

ct_tensor *ct_tensor_l2_normalize_grad(const ct_tensor *g, const ct_tensor *y,
                                       const ct_tensor *norm, int axis) {
    static const char op[] = "l2norm gradient";
    ct_tensor *gx = NULL;
    CT_SCOPE {
        ct_tensor *view = around(op, y, axis);
        if (!view || !ct_check_shape(op, "g", y, g, y->shape)) break;
        ct_shape shape = norm_shape(y, axis < 0 ? axis + y->shape.ndim : axis);
        if (!ct_check_shape(op, "norm", y, norm, shape)) break;
        bool ok = true;
        g = ct_dense(g, &ok);
        norm = ct_dense(norm, &ok);
        ct_tensor *result = ct_empty_like(y, y->shape);
        ct_tensor *out = result ? ct_tensor_reshape(result, view->shape) : NULL;
        if (ok && out && ct_backend_of(y->device)->l2_normalize_grad(out, g, view, norm)) {
            gx = ct_escape(result);
        }
    }
    return gx;
}

/* ---- rows of given norms ----------------------------------------------------------------- */

static bool check_scaled_rows(const char *op, const ct_tensor *v, const ct_tensor *scale) {
    return ct_check_ndim(op, "v", v, 2) && ct_check_float(op, v) &&
           ct_check_shape(op, "scale", v, scale, CT_SHAPE(v->shape.dim[0]));
}

ct_tensor *ct_tensor_weight_norm(const ct_tensor *v, const ct_tensor *scale, ct_tensor **norm) {
    static const char op[] = "weight_norm";
    if (!ct_check_pointer(op, "norm", norm)) return NULL;
    *norm = NULL;
    CT_SCOPE {
        if (!check_scaled_rows(op, v, scale)) break;
        bool ok = true;
        const ct_tensor *rows = ct_dense(v, &ok), *factors = ct_dense(scale, &ok);
        ct_tensor *y = ct_empty_like(v, v->shape), *norms = ct_empty_like(v, scale->shape);
        if (!ok || !y || !norms ||
            !ct_backend_of(v->device)->weight_norm(y, norms, rows, factors)) {
            break;
        }
        *norm = ct_escape(norms);
        return ct_escape(y);
    }
    return NULL;
}

ct_tensor *ct_tensor_weight_norm_grad(const ct_tensor *g, const ct_tensor *v,
                                      const ct_tensor *scale, const ct_tensor *norm,
                                      ct_tensor **gscale) {
    static const char op[] = "weight_norm gradient";
    if (!ct_check_pointer(op, "gscale", gscale)) return NULL;
    *gscale = NULL;
    CT_SCOPE {
        if (!check_scaled_rows(op, v, scale) || !ct_check_shape(op, "g", v, g, v->shape) ||
            !ct_check_shape(op, "norm", v, norm, scale->shape)) {
            break;
        }
        bool ok = true;
        const ct_tensor *of = ct_dense(g, &ok), *rows = ct_dense(v, &ok);
        const ct_tensor *factors = ct_dense(scale, &ok), *norms = ct_dense(norm, &ok);
        ct_tensor *gv = ct_empty_like(v, v->shape), *sums = ct_empty_like(v, scale->shape);
        if (!ok || !gv || !sums ||
            !ct_backend_of(v->device)->weight_norm_grad(gv, sums, of, rows, factors, norms)) {
            break;
        }
        *gscale = ct_escape(sums);
        return ct_escape(gv);
    }
    return NULL;
}
