/* SPDX-License-Identifier: Apache-2.0 */
/* Hinge, order similarity and ranks of similarity matrices: shapes and allocation. */
#include "tensor/fused/check.h"

/* s is a square matrix; returns it dense, or NULL with an error. */
static const ct_tensor *square(const char *op, const ct_tensor *s) {
    if (!ct_check_ndim(op, "the similarity matrix", s, 2)) return NULL;
    if (s->shape.dim[0] != s->shape.dim[1]) {
        return ct_fail("%s: the similarity matrix is %s, expected a square", op, ct_tensor_text(s));
    }
    bool ok = true;
    return ct_dense(s, &ok);
}

ct_tensor *ct_tensor_hinge(const ct_tensor *s, ct_hinge_options options) {
    ct_tensor *loss = NULL;
    CT_SCOPE {
        const ct_tensor *dense = square("hinge", s);
        ct_tensor *y = dense ? ct_empty_like(s, CT_SCALAR_SHAPE) : NULL;
        if (y && ct_backend_of(s->device)->hinge(y, dense, options)) loss = ct_escape(y);
    }
    return loss;
}

ct_tensor *ct_tensor_hinge_grad(const ct_tensor *g, const ct_tensor *s, ct_hinge_options options) {
    ct_tensor *grad = NULL;
    CT_SCOPE {
        const ct_tensor *dense = square("hinge gradient", s);
        if (!dense || !ct_check_shape("hinge gradient", "g", s, g, CT_SCALAR_SHAPE)) break;
        ct_tensor *gs = ct_empty_like(s, s->shape);
        if (gs && ct_backend_of(s->device)->hinge_grad(gs, g, dense, options)) grad = ct_escape(gs);
    }
    return grad;
}

ct_tensor *ct_tensor_diagonal_ranks(const ct_tensor *s, bool by_column) {
    ct_tensor *ranks = NULL;
    CT_SCOPE {
        const ct_tensor *dense = square("diagonal ranks", s);
        ct_tensor *y = dense ? ct_empty(CT_I64, s->device, CT_SHAPE(s->shape.dim[0])) : NULL;
        if (y && ct_backend_of(s->device)->diagonal_ranks(y, dense, by_column))
            ranks = ct_escape(y);
    }
    return ranks;
}

/* a (N,D) and b (M,D), made dense. */
static bool check_pair(const char *op, const ct_tensor **a, const ct_tensor **b) {
    if (!ct_check_ndim(op, "a", *a, 2) || !ct_check_ndim(op, "b", *b, 2) ||
        !ct_check_same(op, *a, *b)) {
        return false;
    }
    if ((*a)->shape.dim[1] != (*b)->shape.dim[1]) {
        return ct_fail_bool("%s: widths differ: %s and %s", op, ct_tensor_text(*a),
                            ct_tensor_text(*b));
    }
    bool ok = true;
    *a = ct_dense(*a, &ok);
    *b = ct_dense(*b, &ok);
    return ok;
}

ct_tensor *ct_tensor_order_similarity(const ct_tensor *a, const ct_tensor *b) {
    ct_tensor *similarity = NULL;
    CT_SCOPE {
        if (!check_pair("order similarity", &a, &b)) break;
        ct_tensor *s = ct_empty_like(a, CT_SHAPE(a->shape.dim[0], b->shape.dim[0]));
        if (s && ct_backend_of(a->device)->order_similarity(s, a, b)) similarity = ct_escape(s);
    }
    return similarity;
}

void ct_tensor_order_similarity_grad(const ct_tensor *g, const ct_tensor *a, const ct_tensor *b,
                                     const ct_tensor *s, ct_tensor **ga, ct_tensor **gb) {
    static const char op[] = "order similarity gradient";
    ct_tensor *grad_a = NULL, *grad_b = NULL;
    CT_SCOPE {
        if (!check_pair(op, &a, &b)) break;
        ct_shape pairs = CT_SHAPE(a->shape.dim[0], b->shape.dim[0]);
        if (!ct_check_shape(op, "g", a, g, pairs) || !ct_check_shape(op, "s", a, s, pairs)) break;
        bool ok = true;
        g = ct_dense(g, &ok);
        s = ct_dense(s, &ok);
        ct_tensor *to_a = ga ? ct_empty_like(a, a->shape) : NULL;
        ct_tensor *to_b = gb ? ct_empty_like(b, b->shape) : NULL;
        if (!ok || (ga && !to_a) || (gb && !to_b)) break;
        if (!ct_backend_of(a->device)->order_similarity_grad(to_a, to_b, g, a, b, s)) break;
        grad_a = ct_escape(to_a);
        grad_b = ct_escape(to_b);
    }
    if (ga) *ga = grad_a;
    if (gb) *gb = grad_b;
}
