/* SPDX-License-Identifier: Apache-2.0 */
/* One-dimensional convolution over sequences, channels last. */
#include <math.h>

#include "nn/core/module.h"
#include "nn/packed.h"

const ct_module_class ct_conv1d_class = {"conv1d", ct_conv1d};

ct_conv1d_options ct_conv1d_defaults(void) {
    return (ct_conv1d_options){.stride = 1, .dilation = 1, .bias = true};
}

static bool check_options(const ct_conv1d_options *o) {
    return ct_nn_size("conv1d", "stride", o->stride) &&
           ct_nn_size("conv1d", "dilation", o->dilation) &&
           ct_nn_option("conv1d", "padding", (double)o->padding,
                        o->padding >= 0 && o->padding <= INT32_MAX, "0 to 2147483647");
}

ct_module *ct_conv1d_create(int64_t in, int64_t out, int64_t kernel,
                            const ct_conv1d_options *options) {
    ct_conv1d_options o = options ? *options : ct_conv1d_defaults();
    if (!ct_nn_size("conv1d", "in", in) || !ct_nn_size("conv1d", "out", out) ||
        !ct_nn_size("conv1d", "kernel", kernel)) {
        return NULL;
    }
    if (!check_options(&o)) return NULL;
    ct_tensor_conv1d_options self = {
        .before = o.padding, .after = o.padding, .stride = o.stride, .dilation = o.dilation};
    if (o.causal) {
        self.before = o.dilation * (kernel - 1);
        self.after = 0;
    }
    ct_module *conv = ct_module_create_as(&ct_conv1d_class, &self, sizeof self);
    double bound = 1 / sqrt((double)(in * kernel));
    bool ok = conv && ct_module_uniform(conv, "weight", CT_SHAPE(out, in, kernel), bound) &&
              (!o.bias || ct_module_uniform(conv, "bias", CT_SHAPE(out), bound));
    return ct_module_if(conv, ok);
}

ct_tensor *ct_conv1d(ct_module *conv, ct_tensor *x) {
    if (!ct_module_is("conv1d", conv, &ct_conv1d_class)) return NULL;
    const ct_tensor_conv1d_options *options = ct_module_self(conv);
    return ct_conv1d_with(x, ct_module_weight(conv), ct_module_own(conv, "bias"), *options);
}

ct_tensor *ct_conv1d_packed(ct_module *conv, ct_tensor *x, ct_tensor *lengths) {
    if (!ct_module_is("conv1d_packed", conv, &ct_conv1d_class)) return NULL;
    const ct_tensor_conv1d_options *options = ct_module_self(conv);
    return ct_conv1d_packed_with(x, lengths, ct_module_weight(conv), ct_module_own(conv, "bias"),
                                 *options);
}
