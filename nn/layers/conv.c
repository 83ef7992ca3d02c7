/* SPDX-License-Identifier: Apache-2.0 */
/* One-dimensional convolution over sequences, channels last. */
#include <math.h>

#include "nn/core/module.h"

ct_module *ct_conv1d_create(int64_t in, int64_t out, int64_t kernel, ct_conv1d_options config) {
    if (config.stride == 0) config.stride = 1;
    if (config.dilation == 0) config.dilation = 1;
    if (in < 1 || out < 1 || kernel < 1 || config.stride < 1 || config.dilation < 1 ||
        config.padding < 0) {
        return ct_fail("conv1d: %lld -> %lld channels, kernel %lld, stride %lld, dilation %lld, "
                       "padding %lld: expected positive sizes",
                       (long long)in, (long long)out, (long long)kernel, (long long)config.stride,
                       (long long)config.dilation, (long long)config.padding);
    }
    ct_tensor_conv1d_options self = {.before = config.padding,
                                     .after = config.padding,
                                     .stride = config.stride,
                                     .dilation = config.dilation};
    if (config.causal) {
        self.before = config.dilation * (kernel - 1);
        self.after = 0;
    }
    ct_module *conv = ct_module_create_as("conv1d", &self, sizeof self, ct_conv1d);
    double bound = 1 / sqrt((double)(in * kernel));
    bool ok = conv && ct_module_uniform(conv, "weight", CT_SHAPE(out, in, kernel), bound) &&
              (config.no_bias || ct_module_uniform(conv, "bias", CT_SHAPE(out), bound));
    return ct_module_if(conv, ok);
}

ct_tensor *ct_conv1d(ct_module *conv, ct_tensor *x) {
    if (!ct_module_is("conv1d", conv, "conv1d")) return NULL;
    const ct_tensor_conv1d_options *options = ct_module_self(conv);
    return ct_conv1d_with(x, ct_module_weight(conv), ct_module_own(conv, "bias"), *options);
}
