/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing element by element: where, masked fill, gated linear unit. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

/* The part of g where the mask is set (kept) or not, in the shape of an input. */
static ct_tensor *masked(const ct_tensor *mask, ct_tensor *g, bool set, ct_shape shape) {
    ct_tensor *zero = ct_scalar(g->dtype, g->device, 0);
    return ct_unbroadcast(set ? ct_tensor_where(mask, g, zero) : ct_tensor_where(mask, zero, g),
                          shape);
}

/* ---- where ------------------------------------------------------------------------------ */

static bool where_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    for (int i = 0; i < 2; i++) {
        if (!ct_needs_grad(node, i)) continue;
        gx[i] = masked(ct_saved(node, 0), g[0], i == 0, ct_input_shape(node, i));
        if (!gx[i]) return false;
    }
    return true;
}

static int call_where(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_where(x[0], x[1], x[2]));
}

static void where_samples(ct_sampler *sampler) {
    ct_shape matrix = CT_SHAPE(3, 4), one = CT_SHAPE(1, 1), empty = CT_SHAPE(0, 3);
    ct_sample_3(sampler, "matrix", call_where, NULL, ct_sample_mask(matrix), ct_sample_real(matrix),
                ct_sample_real(matrix));
    ct_sample_3(sampler, "broadcast", call_where, NULL, ct_sample_mask(CT_SHAPE(3, 1)),
                ct_sample_real(CT_SHAPE(4)), ct_sample_real(CT_SHAPE(2, 1, 1)));
    ct_sample_3(sampler, "one element", call_where, NULL, ct_sample_mask(one), ct_sample_real(one),
                ct_sample_real(CT_SCALAR_SHAPE));
    ct_sample_3(sampler, "empty", call_where, NULL, ct_sample_mask(empty), ct_sample_real(empty),
                ct_sample_real(CT_SHAPE(3)));
}

static const ct_op where_op = {"where", where_backward, where_samples};

ct_tensor *ct_where(ct_tensor *condition, ct_tensor *a, ct_tensor *b) {
    ct_tensor *y = ct_tensor_where(condition, a, b);
    ct_node *node = ct_record(&where_op, 2, (ct_tensor *[]){a, b}, 1, &y);
    ct_save(node, condition);
    return y;
}

/* ---- masked fill ------------------------------------------------------------------------ */

static bool masked_fill_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = masked(ct_saved(node, 0), g[0], false, g[0]->shape);
    return gx[0] != NULL;
}

static int call_masked_fill(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_masked_fill(x[0], x[1], -3));
}

static void masked_fill_samples(ct_sampler *sampler) {
    ct_shape matrix = CT_SHAPE(3, 4), one = CT_SHAPE(1, 1), empty = CT_SHAPE(0, 3);
    ct_sample_2(sampler, "matrix", call_masked_fill, NULL, ct_sample_real(matrix),
                ct_sample_mask(matrix));
    ct_sample_2(sampler, "broadcast", call_masked_fill, NULL, ct_sample_real(CT_SHAPE(2, 3, 4)),
                ct_sample_mask(CT_SHAPE(3, 1)));
    ct_sample_2(sampler, "one element", call_masked_fill, NULL, ct_sample_real(one),
                ct_sample_mask(CT_SCALAR_SHAPE));
    ct_sample_2(sampler, "empty", call_masked_fill, NULL, ct_sample_real(empty),
                ct_sample_mask(CT_SHAPE(3)));
}

static const ct_op masked_fill_op = {"masked_fill", masked_fill_backward, masked_fill_samples};

ct_tensor *ct_masked_fill(ct_tensor *x, ct_tensor *mask, double value) {
    if (!ct_given("masked_fill", x) || !ct_given("masked_fill", mask)) return NULL;
    if (mask->dtype != CT_U8) {
        return ct_fail("masked_fill: the mask is %s, expected u8", ct_tensor_text(mask));
    }
    ct_shape shape;
    if (!ct_broadcast_shape("masked_fill", x->shape, mask->shape, &shape)) return NULL;
    if (!ct_shape_equal(shape, x->shape)) {
        return ct_fail("masked_fill: the mask %s does not broadcast to %s", ct_tensor_text(mask),
                       ct_tensor_text(x));
    }
    ct_tensor *filler = ct_scalar(x->dtype, x->device, value);
    ct_tensor *y = ct_tensor_where(mask, filler, x);
    ct_node *node = ct_record(&masked_fill_op, 1, &x, 1, &y);
    ct_save(node, mask);
    return y;
}

/* ---- gated linear unit ------------------------------------------------------------------ */

static ct_tensor *first_half(const ct_tensor *x, int axis) {
    return ct_tensor_slice(x, axis, 0, x->shape.dim[axis] / 2, 1);
}

static ct_tensor *gate_of(const ct_tensor *x, int axis) {
    int64_t size = x->shape.dim[axis];
    return ct_tensor_unary(CT_UNARY_sigmoid, ct_tensor_slice(x, axis, size / 2, size, 1), 0, 0);
}

static bool glu_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    int axis = *(const int *)ct_node_options(node);
    const ct_tensor *x = ct_saved(node, 0);
    ct_tensor *value = first_half(x, axis), *gate = gate_of(x, axis);
    ct_tensor *to_value = ct_tensor_mul(g[0], gate);
    /* the derivative of the sigmoid only needs its value, which is the gate */
    ct_tensor *to_gate =
        ct_tensor_unary_grad(CT_UNARY_sigmoid, ct_tensor_mul(g[0], value), gate, gate, 0, 0);
    gx[0] = ct_tensor_concat((ct_tensor *[]){to_value, to_gate}, 2, axis);
    return gx[0] != NULL;
}

static int call_glu(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_glu(x[0], *(const int *)options));
}

static void glu_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_1(sampler, "last axis", call_glu, &last, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "first axis", call_glu, &first, ct_sample_real(CT_SHAPE(4, 3)));
    ct_sample_1(sampler, "cube", call_glu, &last, ct_sample_real(CT_SHAPE(2, 2, 6)));
    ct_sample_1(sampler, "to one element", call_glu, &first, ct_sample_real(CT_SHAPE(2)));
    ct_sample_1(sampler, "empty", call_glu, &last, ct_sample_real(CT_SHAPE(0, 4)));
}

static const ct_op glu_op = {"glu", glu_backward, glu_samples};

ct_tensor *ct_glu(ct_tensor *x, int axis) {
    if (!ct_given_float("glu", x)) return NULL;
    axis = ct_axis("glu", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    if (x->shape.dim[axis] % 2) {
        return ct_fail("glu: dimension %d of %s cannot be halved", axis, ct_tensor_text(x));
    }
    CT_SCOPE {
        ct_tensor *y = ct_escape(ct_tensor_mul(first_half(x, axis), gate_of(x, axis)));
        ct_node *node = ct_record(&glu_op, 1, &x, 1, &y);
        ct_save(node, x);
        ct_save_options(node, &axis, sizeof axis);
        return y;
    }
    return NULL;
}

const ct_op *ct_select_op(int i) {
    static const ct_op *const ops[] = {&where_op, &masked_fill_op, &glu_op, NULL};
    return ops[i];
}
