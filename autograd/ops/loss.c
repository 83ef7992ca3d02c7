/* SPDX-License-Identifier: Apache-2.0 */
/* Losses: the pair of kernels of tensor/fused/fused.h. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

typedef struct {
    int64_t ignore_index;
    double smoothing;
} cross_entropy_options;

/* Logits are the largest tensor of many a model: where nothing else needs them any more, their
 * gradient takes their place. */
static bool cross_entropy_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const cross_entropy_options *o = ct_node_options(node);
    ct_tensor *rows = ct_tensor_reshape(g[0], CT_SHAPE(ct_count(g[0])));
    ct_tensor *labels = ct_saved(node, 1), *log_sum_exp = ct_saved(node, 2);
    ct_tensor *grad = ct_saved_to_overwrite(node, 0);
    if (!grad || !ct_is_contiguous(grad)) {
        grad = ct_tensor_cross_entropy_grad(rows, ct_saved(node, 0), labels, log_sum_exp,
                                            o->ignore_index, o->smoothing);
    } else if (!ct_tensor_cross_entropy_grad_in_place(rows, grad, labels, log_sum_exp,
                                                      o->ignore_index, o->smoothing)) {
        return false;
    }
    gx[0] = grad ? ct_tensor_reshape(grad, ct_input_shape(node, 0)) : NULL;
    return gx[0] != NULL;
}

static int call_cross_entropy(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const cross_entropy_options *o = options;
    return ct_sample_result(y, ct_cross_entropy_rows(x[0], x[1], o->ignore_index, o->smoothing));
}

static void cross_entropy_samples(ct_sampler *sampler) {
    const cross_entropy_options plain = {-100, 0}, smooth = {-100, 0.1}, ignoring = {0, 0.2};
    ct_sample_2(sampler, "rows", call_cross_entropy, &plain, ct_sample_real(CT_SHAPE(4, 5)),
                ct_sample_index(CT_SHAPE(4), 5));
    ct_sample_2(sampler, "smoothing", call_cross_entropy, &smooth, ct_sample_real(CT_SHAPE(4, 5)),
                ct_sample_index(CT_SHAPE(4), 5));
    ct_sample_2(sampler, "ignored labels", call_cross_entropy, &ignoring,
                ct_sample_real(CT_SHAPE(2, 4, 3)), ct_sample_index(CT_SHAPE(2, 4), 3));
    ct_sample_2(sampler, "one row", call_cross_entropy, &plain, ct_sample_real(CT_SHAPE(3)),
                ct_sample_index(CT_SCALAR_SHAPE, 3));
    ct_sample_2(sampler, "one element", call_cross_entropy, &plain, ct_sample_real(CT_SHAPE(1, 1)),
                ct_sample_index(CT_SHAPE(1), 1));
    ct_sample_2(sampler, "empty", call_cross_entropy, &plain, ct_sample_real(CT_SHAPE(0, 5)),
                ct_sample_index(CT_SHAPE(0), 5));
}

static const ct_op cross_entropy_op = {"cross_entropy_rows", cross_entropy_backward,
                                       cross_entropy_samples};

static bool labels_fit(const ct_tensor *logits, const ct_tensor *labels) {
    if (!ct_given("cross_entropy", logits) || !ct_given("cross_entropy", labels)) return false;
    ct_shape rows = logits->shape;
    rows.ndim--;
    if (rows.ndim >= 0 && ct_shape_equal(rows, labels->shape)) return true;
    return ct_fail_bool("cross_entropy: logits %s, labels %s: expected (..,V) and (..)",
                        ct_tensor_text(logits), ct_tensor_text(labels));
}

ct_tensor *ct_cross_entropy_rows(ct_tensor *logits, ct_tensor *labels, int64_t ignore_index,
                                 double smoothing) {
    if (!labels_fit(logits, labels)) return NULL;
    ct_tensor *rows = ct_as_rows(logits), *log_sum_exp = NULL;
    ct_tensor *flat = ct_tensor_reshape(labels, CT_SHAPE(ct_count(labels)));
    ct_tensor *loss = ct_tensor_cross_entropy(rows, flat, ignore_index, smoothing, &log_sum_exp);
    ct_tensor *y = loss ? ct_tensor_reshape(loss, labels->shape) : NULL;
    ct_node *node = ct_record(&cross_entropy_op, 1, &logits, 1, &y);
    ct_save(node, rows);
    ct_save(node, flat);
    ct_save(node, log_sum_exp);
    cross_entropy_options o = {ignore_index, smoothing};
    ct_save_options(node, &o, sizeof o);
    return y;
}

const ct_op *ct_loss_op(int i) {
    static const ct_op *const ops[] = {&cross_entropy_op, NULL};
    return ops[i];
}
