/* SPDX-License-Identifier: Apache-2.0 */
/* Joining tensors: concat and stack. Each input's gradient is a view of its part. */
#include <stdlib.h>

#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

static int option_axis(const ct_node *node) { return *(const int *)ct_node_options(node); }

/* ---- concat ----------------------------------------------------------------------------- */

static bool concat_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    int axis = option_axis(node);
    int64_t start = 0;
    for (int i = 0; i < node->inputs; i++) {
        int64_t stop = start + ct_input_shape(node, i).dim[axis];
        if (ct_needs_grad(node, i)) {
            gx[i] = ct_tensor_slice(g[0], axis, start, stop, 1);
            if (!gx[i]) return false;
        }
        start = stop;
    }
    return true;
}

static int call_concat(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_concat(x, 3, *(const int *)options));
}

static int call_concat_one(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_concat(x, 1, *(const int *)options));
}

static int call_concat_twice(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_concat2(x[0], x[0], *(const int *)options));
}

static void concat_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_3(sampler, "rows", call_concat, &first, ct_sample_real(CT_SHAPE(1, 3)),
                ct_sample_real(CT_SHAPE(2, 3)), ct_sample_real(CT_SHAPE(3, 3)));
    ct_sample_3(sampler, "last axis", call_concat, &last, ct_sample_real(CT_SHAPE(2, 2, 1)),
                ct_sample_real(CT_SHAPE(2, 2, 3)), ct_sample_real(CT_SHAPE(2, 2, 2)));
    ct_sample_3(sampler, "empty among others", call_concat, &first, ct_sample_real(CT_SHAPE(2, 3)),
                ct_sample_real(CT_SHAPE(0, 3)), ct_sample_real(CT_SHAPE(1, 3)));
    ct_sample_3(sampler, "all empty", call_concat, &last, ct_sample_real(CT_SHAPE(0, 3)),
                ct_sample_real(CT_SHAPE(0, 1)), ct_sample_real(CT_SHAPE(0, 2)));
    ct_sample_1(sampler, "one element", call_concat_one, &first, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "a tensor twice", call_concat_twice, &last,
                ct_sample_real(CT_SHAPE(2, 3)));
}

static const ct_op concat_op = {"concat", concat_backward, concat_samples};

ct_tensor *ct_concat(ct_tensor *const *tensors, int count, int axis) {
    ct_tensor *y = ct_tensor_concat(tensors, count, axis);
    ct_node *node = ct_record(&concat_op, count, tensors, 1, &y);
    if (!node) return y;
    axis = axis < 0 ? axis + y->shape.ndim : axis;
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

ct_tensor *ct_concat2(ct_tensor *a, ct_tensor *b, int axis) {
    return ct_concat((ct_tensor *[]){a, b}, 2, axis);
}

/* ---- stack ------------------------------------------------------------------------------ */

static bool stack_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    int axis = option_axis(node);
    for (int i = 0; i < node->inputs; i++) {
        if (!ct_needs_grad(node, i)) continue;
        ct_tensor *part = ct_tensor_slice(g[0], axis, i, i + 1, 1);
        gx[i] = part ? ct_tensor_squeeze(part, axis) : NULL;
        if (!gx[i]) return false;
    }
    return true;
}

static int call_stack(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_stack(x, 3, *(const int *)options));
}

static void stack_samples(ct_sampler *sampler) {
    const int first = 0, last = -1;
    ct_sample_input matrix = ct_sample_real(CT_SHAPE(2, 3)), empty = ct_sample_real(CT_SHAPE(0, 3)),
                    scalar = ct_sample_real(CT_SCALAR_SHAPE), one = ct_sample_real(CT_SHAPE(1));
    ct_sample_3(sampler, "first axis", call_stack, &first, matrix, matrix, matrix);
    ct_sample_3(sampler, "last axis", call_stack, &last, matrix, matrix, matrix);
    ct_sample_3(sampler, "scalars", call_stack, &first, scalar, scalar, scalar);
    ct_sample_3(sampler, "one element", call_stack, &last, one, one, one);
    ct_sample_3(sampler, "empty", call_stack, &first, empty, empty, empty);
}

static const ct_op stack_op = {"stack", stack_backward, stack_samples};

static ct_tensor *join_along_new_axis(ct_tensor *const *tensors, int count, int axis) {
    ct_tensor **wide = calloc((size_t)count, sizeof *wide);
    if (!wide) return ct_fail("stack: out of memory");
    ct_tensor *y = NULL;
    CT_SCOPE {
        bool same = true;
        for (int i = 0; i < count && same; i++) {
            same = ct_given("stack", tensors[i]) &&
                   (ct_shape_equal(tensors[i]->shape, tensors[0]->shape) ||
                    ct_fail_bool("stack: shapes differ: %s and %s", ct_tensor_text(tensors[0]),
                                 ct_tensor_text(tensors[i])));
            if (same) wide[i] = ct_tensor_unsqueeze(tensors[i], axis);
        }
        if (same) y = ct_escape(ct_tensor_concat(wide, count, axis));
    }
    free(wide);
    return y;
}

ct_tensor *ct_stack(ct_tensor *const *tensors, int count, int axis) {
    if (count < 1) return ct_fail("stack: %d tensors, expected at least one", count);
    if (!ct_check_list("stack", "tensors", tensors, count)) return NULL;
    ct_tensor *y = join_along_new_axis(tensors, count, axis);
    ct_node *node = ct_record(&stack_op, count, tensors, 1, &y);
    if (!node) return y;
    axis = axis < 0 ? axis + y->shape.ndim : axis;
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

const ct_op *ct_join_op(int i) {
    static const ct_op *const ops[] = {&concat_op, &stack_op, NULL};
    return ops[i];
}
