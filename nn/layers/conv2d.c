/* SPDX-License-Identifier: Apache-2.0 */
/* Two-dimensional convolution over pictures, channels first. */
#include <math.h>

#include "nn/core/module.h"

static const ct_module_class conv2d_class = {"conv2d", ct_conv2d};

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
    ct_module *conv = ct_module_create_as(&conv2d_class, &self, sizeof self);
    ct_shape shape = CT_SHAPE(out, in / o.groups, kernel, kernel);
    double bound = 1 / sqrt((double)(in / o.groups) * (double)kernel * (double)kernel);
    bool ok = conv && ct_module_uniform(conv, "weight", shape, bound) &&
              (!o.bias || ct_module_uniform(conv, "bias", CT_SHAPE(out), bound));
    return ct_module_if(conv, ok);
}

ct_tensor *ct_conv2d(ct_module *conv, ct_tensor *x) {
    if (!ct_module_is("conv2d", conv, &conv2d_class)) return NULL;
    const ct_tensor_conv2d_options *options = ct_module_self(conv);
    return ct_conv2d_with(x, ct_module_own(conv, "weight"), ct_module_own(conv, "bias"), *options);
}
