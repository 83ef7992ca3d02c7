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

const ct_op *ct_picture_op(int i) {
    static const ct_op *const ops[] = {&conv2d_op, NULL};
    return ops[i];
}
