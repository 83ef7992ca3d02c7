/* SPDX-License-Identifier: Apache-2.0 */
/* Ranking hinge and order similarity: the pairs of kernels of tensor/matching/matching.h. */
#include "autograd/check/samples.h"
#include "autograd/graph/graph.h"
#include "autograd/matching.h"

/* ---- ranking hinge ---------------------------------------------------------------------- */

static bool hinge_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_hinge_options *o = ct_node_options(node);
    gx[0] = ct_tensor_hinge_grad(g[0], ct_saved(node, 0), *o);
    return gx[0] != NULL;
}

static int call_hinge(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_hinge(x[0], *(const ct_hinge_options *)options));
}

static void hinge_samples(ct_sampler *sampler) {
    const struct {
        const char *name;
        int64_t size;
        ct_hinge_options options;
    } cases[] = {
        {"all, own row", 4, {0.2, false, CT_HINGE_ROW, CT_HINGE_ROW}},
        {"all, own column", 4, {0.2, false, CT_HINGE_COLUMN, CT_HINGE_ROW}},
        {"hardest of row", 5, {0.2, true, CT_HINGE_ROW, CT_HINGE_ROW}},
        {"hardest of column", 5, {0.2, true, CT_HINGE_COLUMN, CT_HINGE_COLUMN}},
        {"hardest of column, own row", 5, {0.2, true, CT_HINGE_ROW, CT_HINGE_COLUMN}},
        {"one element", 1, {0.2, true, CT_HINGE_ROW, CT_HINGE_ROW}},
        {"empty", 0, {0.2, false, CT_HINGE_ROW, CT_HINGE_ROW}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ct_sample_1(sampler, cases[i].name, call_hinge, &cases[i].options,
                    ct_sample_distinct(CT_SHAPE(cases[i].size, cases[i].size)));
    }
}

static const ct_op hinge_op = {"hinge", hinge_backward, hinge_samples};

ct_tensor *ct_hinge(ct_tensor *similarity, ct_hinge_options options) {
    ct_tensor *y = ct_tensor_hinge(similarity, options);
    ct_node *node = ct_record(&hinge_op, 1, &similarity, 1, &y);
    ct_save(node, similarity);
    ct_save_options(node, &options, sizeof options);
    return y;
}

/* ---- order similarity ------------------------------------------------------------------- */

static bool order_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_tensor_order_similarity_grad(g[0], ct_saved(node, 0), ct_saved(node, 1), ct_saved(node, 2),
                                    &gx[0], &gx[1]);
    return gx[0] && gx[1];
}

static int call_order(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_order_similarity(x[0], x[1]));
}

static void order_samples(ct_sampler *sampler) {
    ct_sample_2(sampler, "pairs", call_order, NULL, ct_sample_real(CT_SHAPE(3, 4)),
                ct_sample_real(CT_SHAPE(2, 4)));
    ct_sample_2(sampler, "one element", call_order, NULL, ct_sample_between(CT_SHAPE(1, 1), -1, 0),
                ct_sample_between(CT_SHAPE(1, 1), 1, 2));
    ct_sample_2(sampler, "in order: zero", call_order, NULL,
                ct_sample_between(CT_SHAPE(2, 3), 1, 2), ct_sample_between(CT_SHAPE(2, 3), -1, 0));
    ct_sample_2(sampler, "empty", call_order, NULL, ct_sample_real(CT_SHAPE(0, 3)),
                ct_sample_real(CT_SHAPE(2, 3)));
}

static const ct_op order_op = {"order_similarity", order_backward, order_samples};

ct_tensor *ct_order_similarity(ct_tensor *a, ct_tensor *b) {
    ct_tensor *y = ct_tensor_order_similarity(a, b);
    ct_node *node = ct_record(&order_op, 2, (ct_tensor *[]){a, b}, 1, &y);
    ct_save(node, a);
    ct_save(node, b);
    ct_save(node, y);
    return y;
}

const ct_op *ct_ranking_op(int i) {
    static const ct_op *const ops[] = {&hinge_op, &order_op, NULL};
    return ops[i];
}
