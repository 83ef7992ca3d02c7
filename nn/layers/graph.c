/* SPDX-License-Identifier: Apache-2.0 */
/* Graph layers: relations between the regions of an image, and convolution over a given graph. */
#include <math.h>

#include "nn/core/module.h"

/* ---- region relations ------------------------------------------------------------------- */

static const ct_module_class region_gcn_class = {"region_gcn", ct_region_gcn};

ct_module *ct_region_gcn_create(int64_t width, int64_t inner) {
    if (width < 1 || inner < 1) {
        return ct_fail("region_gcn: width %lld, inner %lld: expected positive sizes",
                       (long long)width, (long long)inner);
    }
    ct_module *gcn = ct_module_create_as(&region_gcn_class, NULL, 0);
    if (!gcn) return NULL;
    ct_module_add(gcn, "g", ct_linear_create(width, inner, true));
    ct_module *w = ct_module_add(gcn, "W", ct_sequential_create());
    ct_module_add(w, "0", ct_linear_create(inner, width, true));
    ct_batch_norm_options options = ct_batch_norm_defaults();
    options.axis = -1;
    ct_module *norm = ct_batch_norm_create(width, &options);
    ct_module_add(w, "1", norm);
    ct_module_add(gcn, "theta", ct_linear_create(width, inner, true));
    ct_module_add(gcn, "phi", ct_linear_create(width, inner, true));
    if (!ct_ok()) return ct_module_if(gcn, false);
    /* Gain and bias 0: the layer starts as the identity. */
    bool ok = ct_init_constant(ct_module_own(norm, "weight"), 0) &&
              ct_init_constant(ct_module_own(norm, "bias"), 0);
    return ct_module_if(gcn, ok);
}

ct_tensor *ct_region_gcn(ct_module *gcn, ct_tensor *v) {
    if (!ct_module_is("region_gcn", gcn, &region_gcn_class) ||
        !ct_nn_input("region_gcn", "v", v, 3)) {
        return NULL;
    }
    ct_tensor *out = NULL;
    CT_SCOPE {
        ct_tensor *g = ct_linear(ct_module_child(gcn, "g"), v);
        ct_tensor *theta = ct_linear(ct_module_child(gcn, "theta"), v);
        ct_tensor *phi = ct_linear(ct_module_child(gcn, "phi"), v);
        ct_tensor *affinity = ct_matmul(theta, ct_transpose(phi, 1, 2));
        ct_tensor *y = ct_matmul(ct_scale(affinity, 1.0 / (double)v->shape.dim[1]), g);
        out = ct_keep(ct_add(v, ct_forward(ct_module_child(gcn, "W"), y)));
    }
    return ct_adopt(out);
}

/* ---- given graph ------------------------------------------------------------------------ */

static const ct_module_class graph_conv_class = {"graph_conv", NULL};

ct_module *ct_graph_conv_create(int64_t in, int64_t out, bool bias) {
    if (in < 1 || out < 1) {
        return ct_fail("graph_conv: %lld inputs, %lld outputs: expected positive sizes",
                       (long long)in, (long long)out);
    }
    ct_module *conv = ct_module_create_as(&graph_conv_class, NULL, 0);
    double bound = 1 / sqrt((double)in);
    bool ok = conv && ct_module_uniform(conv, "weight", CT_SHAPE(out, in), bound) &&
              (!bias || ct_module_uniform(conv, "bias", CT_SHAPE(out), bound));
    return ct_module_if(conv, ok);
}

ct_tensor *ct_graph_conv(ct_module *conv, ct_tensor *x, ct_tensor *adjacency) {
    if (!ct_module_is("graph_conv", conv, &graph_conv_class)) return NULL;
    ct_tensor *y = NULL;
    CT_SCOPE {
        ct_tensor *projected = ct_linear_with(x, ct_module_own(conv, "weight"), NULL);
        ct_tensor *bias = ct_module_own(conv, "bias");
        y = ct_matmul(adjacency, projected);
        y = ct_keep(bias ? ct_add(y, bias) : y);
    }
    return ct_adopt(y);
}
