/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution over a given graph. */
#include <math.h>

#include "nn/core/module.h"

static const ct_module_class graph_conv_class = {"graph_conv", NULL};

ct_module *ct_graph_conv_create(int64_t in, int64_t out, bool bias) {
    if (!ct_nn_size("graph_conv", "inputs", in) || !ct_nn_size("graph_conv", "outputs", out)) {
        return NULL;
    }
    ct_module *conv = ct_module_create_as(&graph_conv_class, NULL, 0);
    double bound = 1 / sqrt((double)in);
    bool ok = conv && ct_module_uniform(conv, "weight", CT_SHAPE(out, in), bound) &&
              (!bias || ct_module_uniform(conv, "bias", CT_SHAPE(out), bound));
    return ct_module_if(conv, ok);
}

ct_tensor *ct_graph_conv(ct_module *conv, ct_tensor *x, ct_tensor *adjacency) {
    if (!ct_module_is("graph_conv", conv, &graph_conv_class)) return NULL;
    CT_SCOPE {
        ct_tensor *projected = ct_linear_with(x, ct_module_own(conv, "weight"), NULL);
        ct_tensor *bias = ct_module_own(conv, "bias");
        ct_tensor *y = ct_matmul(adjacency, projected);
        return ct_escape(bias ? ct_add(y, bias) : y);
    }
    return NULL;
}
