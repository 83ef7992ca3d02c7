/* SPDX-License-Identifier: Apache-2.0 */
/* Two-dimensional convolution over pictures, channels first. */
#include <math.h>

#include "nn/core/module.h"

const ct_module_class ct_conv2d_class = {"conv2d", ct_conv2d};

ct_conv2d_options ct_conv2d_defaults(void) {
    return (ct_conv2d_options){.stride = 1, .dilation = 1, .groups = 1, .bias = true};
}

static bool check_options(const ct_conv2d_options *o, int64_t in, int64_t out) {
    return ct_nn_size("conv2d", "stride", o->stride) &&
           ct_nn_size("conv2d", "dilation", o->dilation) &&
           ct_nn_option("conv2d", "padding", (double)o->padding,
                        o->padding >= 0 && o->padding <= INT32_MAX, "0 to 2147483647") &&
           ct_nn_option("conv2d", "groups", (double)o->groups,
                        o->groups >= 1 && in % o->groups == 0 && out % o->groups == 0,
                        "a divisor of both numbers of channels");
}

ct_module *ct_conv2d_create(int64_t in, int64_t out, int64_t kernel,
                            const ct_conv2d_options *options) {
    ct_conv2d_options o = options ? *options : ct_conv2d_defaults();
    if (!ct_nn_size("conv2d", "in", in) || !ct_nn_size("conv2d", "out", out) ||
        !ct_nn_size("conv2d", "kernel", kernel) || !check_options(&o, in, out)) {
        return NULL;
    }
    ct_tensor_conv2d_options self = {o.padding, o.padding, o.stride, o.dilation, o.groups};
    ct_module *conv = ct_module_create_as(&ct_conv2d_class, &self, sizeof self);
    ct_shape shape = CT_SHAPE(out, in / o.groups, kernel, kernel);
    double bound = 1 / sqrt((double)(in / o.groups) * (double)kernel * (double)kernel);
    bool ok = conv && ct_module_uniform(conv, "weight", shape, bound) &&
              (!o.bias || ct_module_uniform(conv, "bias", CT_SHAPE(out), bound));
    return ct_module_if(conv, ok);
}

ct_tensor *ct_conv2d(ct_module *conv, ct_tensor *x) {
    if (!ct_module_is("conv2d", conv, &ct_conv2d_class)) return NULL;
    const ct_tensor_conv2d_options *options = ct_module_self(conv);
    return ct_conv2d_with(x, ct_module_own(conv, "weight"), ct_module_own(conv, "bias"), *options);
}

/* ---- with the batch norm behind it ------------------------------------------------------- */

static bool is_recorded(ct_module *conv, ct_module *norm, ct_tensor *x, ct_tensor *added) {
    const ct_tensor *const inputs[] = {x,
                                       added,
                                       ct_module_own(conv, "weight"),
                                       ct_module_own(conv, "bias"),
                                       ct_module_own(norm, "weight"),
                                       ct_module_own(norm, "bias")};
    for (size_t i = 0; ct_grad_enabled() && i < sizeof inputs / sizeof *inputs; i++) {
        if (inputs[i] && ct_requires_grad(inputs[i])) return true;
    }
    return false;
}

static ct_tensor *one_after_the_other(ct_module *conv, ct_module *norm, ct_tensor *x,
                                      ct_tensor *added, ct_activation activation) {
    ct_tensor *y = ct_batch_norm(norm, ct_conv2d(conv, x));
    if (y && added && !ct_shape_equal(y->shape, added->shape)) {
        return ct_fail("conv2d_norm: added is %s, expected the shape of %s", ct_tensor_text(added),
                       ct_tensor_text(y));
    }
    if (y && added) y = ct_add(y, added);
    if (activation == CT_RELU) return ct_relu(y);
    return activation == CT_RELU6 ? ct_relu6(y) : y;
}

/* scale (conv(x) - mean) + shift = (scale weight) x + (scale (bias - mean) + shift). This is done
 * anew each time: it takes as long as reading the weights twice, and they may have changed. */
static ct_tensor *folded(ct_module *conv, ct_module *norm, ct_tensor *x, ct_tensor *added,
                         ct_activation activation) {
    ct_tensor *weight = ct_module_own(conv, "weight"), *bias = ct_module_own(conv, "bias");
    const ct_batch_norm_options *options = ct_module_self(norm);
    ct_tensor *variance =
        ct_tensor_unary(CT_UNARY_add_scalar, ct_module_own(norm, "running_var"), options->eps, 0);
    ct_tensor *scale = ct_tensor_mul(ct_module_own(norm, "weight"),
                                     ct_tensor_unary(CT_UNARY_rsqrt, variance, 0, 0));
    ct_tensor *mean = ct_module_own(norm, "running_mean");
    ct_tensor *from = bias ? ct_tensor_sub(bias, mean) : ct_tensor_unary(CT_UNARY_neg, mean, 0, 0);
    ct_tensor *shift = ct_tensor_add(ct_tensor_mul(scale, from), ct_module_own(norm, "bias"));
    ct_shape channels = CT_SHAPE(weight->shape.dim[0], 1, 1, 1);
    ct_tensor *scaled = ct_tensor_mul(weight, scale ? ct_tensor_reshape(scale, channels) : NULL);
    const ct_tensor_conv2d_options *self = ct_module_self(conv);
    return ct_tensor_conv2d_activated(x, scaled, shift, added, activation, *self);
}

ct_tensor *ct_conv2d_norm(ct_module *conv, ct_module *norm, ct_tensor *x, ct_tensor *added,
                          ct_activation activation) {
    static const char op[] = "conv2d_norm";
    if (!ct_module_is(op, conv, &ct_conv2d_class) ||
        !ct_module_is(op, norm, &ct_batch_norm_class) ||
        !ct_nn_option(op, "activation", (double)activation, (unsigned)activation <= CT_RELU6,
                      "one of ct_activation")) {
        return NULL;
    }
    bool fixed = ct_batch_norm_is_fixed(norm, ct_module_own(conv, "weight")->shape.dim[0]);
    CT_SCOPE {
        return ct_escape(fixed && !is_recorded(conv, norm, x, added)
                             ? folded(conv, norm, x, added, activation)
                             : one_after_the_other(conv, norm, x, added, activation));
    }
    return NULL;
}
