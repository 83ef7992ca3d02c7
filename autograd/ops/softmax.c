/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax and its logarithm. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

typedef struct {
    int axis;
    bool logarithm;
} softmax_options;

static bool softmax_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const softmax_options *o = ct_node_options(node);
    gx[0] = ct_tensor_softmax_grad(g[0], ct_saved(node, 0), o->axis, o->logarithm);
    return gx[0] != NULL;
}

static int call_softmax(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const softmax_options *o = options;
    return ct_sample_result(y, o->logarithm ? ct_log_softmax(x[0], o->axis)
                                            : ct_softmax(x[0], o->axis));
}

static void samples(ct_sampler *sampler, bool logarithm) {
    const softmax_options first = {0, logarithm}, middle = {1, logarithm}, last = {-1, logarithm};
    ct_sample_1(sampler, "last axis", call_softmax, &last, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "first axis", call_softmax, &first, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "middle axis", call_softmax, &middle, ct_sample_real(CT_SHAPE(2, 3, 2)));
    ct_sample_1(sampler, "long row", call_softmax, &last, ct_sample_real(CT_SHAPE(37)));
    ct_sample_1(sampler, "large", call_softmax, &last, ct_sample_between(CT_SHAPE(4), 900, 902));
    ct_sample_1(sampler, "one element", call_softmax, &last, ct_sample_real(CT_SHAPE(1, 1)));
    ct_sample_1(sampler, "empty", call_softmax, &last, ct_sample_real(CT_SHAPE(0, 3)));
}

static void softmax_samples(ct_sampler *sampler) { samples(sampler, false); }
static void log_softmax_samples(ct_sampler *sampler) { samples(sampler, true); }

static const ct_op softmax_op = {"softmax", softmax_backward, softmax_samples};
static const ct_op log_softmax_op = {"log_softmax", softmax_backward, log_softmax_samples};

static ct_tensor *softmax(const ct_op *op, ct_tensor *x, int axis, bool logarithm) {
    ct_tensor *y = ct_tensor_softmax(x, axis, logarithm);
    ct_node *node = ct_record(op, 1, &x, 1, &y);
    ct_save(node, y);
    softmax_options o = {axis, logarithm};
    ct_save_options(node, &o, sizeof o);
    return y;
}

ct_tensor *ct_softmax(ct_tensor *x, int axis) { return softmax(&softmax_op, x, axis, false); }

ct_tensor *ct_log_softmax(ct_tensor *x, int axis) {
    return softmax(&log_softmax_op, x, axis, true);
}

const ct_op *ct_softmax_op(int i) {
    static const ct_op *const ops[] = {&softmax_op, &log_softmax_op, NULL};
    return ops[i];
}
