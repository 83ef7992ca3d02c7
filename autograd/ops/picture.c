/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on pictures (B,C,H,W): the pairs of kernels of tensor/fused/fused.h. */
#include "autograd/check/samples.h"
#include "autograd/graph/graph.h"

static bool conv2d_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor_conv2d_options *o = ct_node_options(node);
    bool wanted[3];
    for (int i = 0; i < 3; i++) wanted[i] = ct_needs_grad(node, i);
    ct_tensor_conv2d_grad(g[0], ct_saved(node, 0), ct_saved(node, 1), *o, wanted[0] ? &gx[0] : NULL,
                          wanted[1] ? &gx[1] : NULL, wanted[2] ? &gx[2] : NULL);
    return (gx[0] || !wanted[0]) && (gx[1] || !wanted[1]) && (gx[2] || !wanted[2]);
}

static int call_conv2d(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(
        y, ct_conv2d_with(x[0], x[1], x[2], *(const ct_tensor_conv2d_options *)options));
}

static int call_conv2d_plain(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(
        y, ct_conv2d_with(x[0], x[1], NULL, *(const ct_tensor_conv2d_options *)options));
}

static void conv2d_samples(ct_sampler *sampler) {
    const ct_tensor_conv2d_options plain = {0, 0, 1, 1, 1}, wide = {1, 2, 2, 2, 1},
                                   grouped = {1, 1, 1, 1, 2}, depthwise = {0, 1, 2, 1, 4};
    ct_sample_input x = ct_sample_real(CT_SHAPE(2, 4, 5, 6)), bias = ct_sample_real(CT_SHAPE(4));
    ct_sample_input weight = ct_sample_real(CT_SHAPE(4, 4, 3, 2));
    ct_sample_3(sampler, "plain", call_conv2d, &plain, x, weight, bias);
    ct_sample_3(sampler, "strided, dilated", call_conv2d, &wide, x, weight, bias);
    ct_sample_3(sampler, "groups", call_conv2d, &grouped, x, ct_sample_real(CT_SHAPE(4, 2, 3, 3)),
                bias);
    ct_sample_3(sampler, "depthwise", call_conv2d, &depthwise, x,
                ct_sample_real(CT_SHAPE(4, 1, 3, 3)), bias);
    ct_sample_3(sampler, "1x1", call_conv2d, &plain, x, ct_sample_real(CT_SHAPE(4, 4, 1, 1)), bias);
    ct_sample_2(sampler, "without bias", call_conv2d_plain, &wide, x, weight);
    ct_sample_3(sampler, "one element", call_conv2d, &plain, ct_sample_real(CT_SHAPE(1, 1, 1, 1)),
                ct_sample_real(CT_SHAPE(1, 1, 1, 1)), ct_sample_real(CT_SHAPE(1)));
    ct_sample_3(sampler, "no pictures", call_conv2d, &plain, ct_sample_real(CT_SHAPE(0, 4, 5, 6)),
                weight, bias);
}

static const ct_op conv2d_op = {"conv2d", conv2d_backward, conv2d_samples};

ct_tensor *ct_conv2d_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias,
                          ct_tensor_conv2d_options options) {
    ct_tensor *y = ct_tensor_conv2d(x, weight, bias, options);
    ct_node *node = ct_record(&conv2d_op, 3, (ct_tensor *[]){x, weight, bias}, 1, &y);
    ct_save(node, x);
    ct_save(node, weight);
    ct_save_options(node, &options, sizeof options);
    return y;
}

/* ---- pooling ---------------------------------------------------------------------------- */

static bool max_pool2d_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor_max_pool2d_options *o = ct_node_options(node);
    gx[0] = ct_tensor_max_pool2d_grad(g[0], ct_saved(node, 0), ct_input_shape(node, 0), *o);
    return gx[0] != NULL;
}

static int call_max_pool2d(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_max_pool2d(x[0], *(const ct_tensor_max_pool2d_options *)options));
}

static void max_pool2d_samples(ct_sampler *sampler) {
    const ct_tensor_max_pool2d_options plain = {2, 2, 0, 1, false}, over = {3, 2, 1, 1, false},
                                       up = {3, 2, 1, 1, true}, wide = {2, 1, 1, 2, false};
    ct_sample_input x = ct_sample_distinct(CT_SHAPE(2, 2, 5, 6));
    ct_sample_1(sampler, "plain", call_max_pool2d, &plain, x);
    ct_sample_1(sampler, "overlapping, padded", call_max_pool2d, &over, x);
    ct_sample_1(sampler, "rounded up", call_max_pool2d, &up, x);
    ct_sample_1(sampler, "dilated", call_max_pool2d, &wide, x);
    ct_sample_1(sampler, "one element", call_max_pool2d, &over,
                ct_sample_distinct(CT_SHAPE(1, 1, 1, 1)));
    ct_sample_1(sampler, "no pictures", call_max_pool2d, &plain,
                ct_sample_distinct(CT_SHAPE(0, 2, 5, 6)));
}

static const ct_op max_pool2d_op = {"max_pool2d", max_pool2d_backward, max_pool2d_samples};

/* The positions are noted only where a gradient will want them. */
ct_tensor *ct_max_pool2d(ct_tensor *x, ct_tensor_max_pool2d_options options) {
    ct_tensor *index = NULL;
    bool noted = ct_grad_enabled() && ct_requires_grad(x);
    ct_tensor *y = ct_tensor_max_pool2d(x, options, noted ? &index : NULL);
    ct_node *node = ct_record(&max_pool2d_op, 1, &x, 1, &y);
    ct_save(node, index);
    ct_save_options(node, &options, sizeof options);
    return y;
}

static bool avg_pool2d_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor_avg_pool2d_options *o = ct_node_options(node);
    gx[0] = ct_tensor_avg_pool2d_grad(g[0], ct_input_shape(node, 0), *o);
    return gx[0] != NULL;
}

static int call_avg_pool2d(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_avg_pool2d(x[0], *(const ct_tensor_avg_pool2d_options *)options));
}

static void avg_pool2d_samples(ct_sampler *sampler) {
    const ct_tensor_avg_pool2d_options plain = {2, 2, 0, false, true}, with = {3, 2, 1, true, true},
                                       without = {3, 2, 1, true, false};
    ct_sample_input x = ct_sample_real(CT_SHAPE(2, 2, 5, 6));
    ct_sample_1(sampler, "plain", call_avg_pool2d, &plain, x);
    ct_sample_1(sampler, "padding counted, rounded up", call_avg_pool2d, &with, x);
    ct_sample_1(sampler, "padding not counted", call_avg_pool2d, &without, x);
    ct_sample_1(sampler, "one element", call_avg_pool2d, &with,
                ct_sample_real(CT_SHAPE(1, 1, 1, 1)));
    ct_sample_1(sampler, "no pictures", call_avg_pool2d, &plain,
                ct_sample_real(CT_SHAPE(0, 2, 5, 6)));
}

static const ct_op avg_pool2d_op = {"avg_pool2d", avg_pool2d_backward, avg_pool2d_samples};

ct_tensor *ct_avg_pool2d(ct_tensor *x, ct_tensor_avg_pool2d_options options) {
    ct_tensor *y = ct_tensor_avg_pool2d(x, options);
    ct_node *node = ct_record(&avg_pool2d_op, 1, &x, 1, &y);
    ct_save_options(node, &options, sizeof options);
    return y;
}

static bool adaptive_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_adaptive_avg_pool2d_grad(g[0], ct_input_shape(node, 0));
    return gx[0] != NULL;
}

static int call_adaptive(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const int64_t *size = options;
    return ct_sample_result(y, ct_adaptive_avg_pool2d(x[0], size[0], size[1]));
}

static void adaptive_samples(ct_sampler *sampler) {
    const int64_t one[2] = {1, 1}, fewer[2] = {3, 4}, more[2] = {7, 9};
    ct_sample_input x = ct_sample_real(CT_SHAPE(2, 2, 5, 6));
    ct_sample_1(sampler, "to one", call_adaptive, one, x);
    ct_sample_1(sampler, "to fewer", call_adaptive, fewer, x);
    ct_sample_1(sampler, "to more", call_adaptive, more, x);
    ct_sample_1(sampler, "one element", call_adaptive, one, ct_sample_real(CT_SHAPE(1, 1, 1, 1)));
    ct_sample_1(sampler, "no pictures", call_adaptive, fewer, ct_sample_real(CT_SHAPE(0, 2, 5, 6)));
}

static const ct_op adaptive_op = {"adaptive_avg_pool2d", adaptive_backward, adaptive_samples};

ct_tensor *ct_adaptive_avg_pool2d(ct_tensor *x, int64_t rows, int64_t columns) {
    ct_tensor *y = ct_tensor_adaptive_avg_pool2d(x, rows, columns);
    ct_record(&adaptive_op, 1, &x, 1, &y);
    return y;
}

const ct_op *ct_picture_op(int i) {
    static const ct_op *const ops[] = {&conv2d_op, &max_pool2d_op, &avg_pool2d_op, &adaptive_op,
                                       NULL};
    return ops[i];
}
