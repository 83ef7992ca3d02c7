/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives with a gradient. Every rank's loss is a share of the whole L = L_0 + ... + L_N-1, so
 * what a rank's tensor is to all ranks' shares adds up: the gradient of a gathered tensor is
 * reduce-scattered, that of a sum is a sum. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

/* ---- all_gather -------------------------------------------------------------------------- */

static bool all_gather_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    gx[0] = ct_tensor_reduce_scatter(g[0]);
    return gx[0] != NULL;
}

static int call_all_gather(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_all_gather(x[0]));
}

static void all_gather_samples(ct_sampler *sampler) {
    ct_sample_1(sampler, "rows", call_all_gather, NULL, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "one element", call_all_gather, NULL, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "empty", call_all_gather, NULL, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op all_gather_op = {"all_gather", all_gather_backward, all_gather_samples};

ct_tensor *ct_all_gather(ct_tensor *x) {
    if (!ct_given("all_gather", x)) return NULL;
    ct_tensor *y = ct_tensor_all_gather(x);
    ct_record(&all_gather_op, 1, &x, 1, &y);
    return y;
}

/* ---- all_reduce -------------------------------------------------------------------------- */

static ct_tensor *summed(const ct_tensor *x) {
    ct_tensor *sum = ct_tensor_copy(x);
    return sum && ct_tensor_all_reduce(sum) ? sum : NULL;
}

static bool all_reduce_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    gx[0] = summed(g[0]);
    return gx[0] != NULL;
}

static int call_all_reduce(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_all_reduce(x[0]));
}

static void all_reduce_samples(ct_sampler *sampler) {
    ct_sample_1(sampler, "matrix", call_all_reduce, NULL, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "one element", call_all_reduce, NULL, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "empty", call_all_reduce, NULL, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op all_reduce_op = {"all_reduce", all_reduce_backward, all_reduce_samples};

ct_tensor *ct_all_reduce(ct_tensor *x) {
    if (!ct_given_float("all_reduce", x)) return NULL;
    ct_tensor *y = summed(x);
    ct_record(&all_reduce_op, 1, &x, 1, &y);
    return y;
}

const ct_op *ct_ranks_op(int i) {
    static const ct_op *const ops[] = {&all_gather_op, &all_reduce_op, NULL};
    return ops[i];
}
