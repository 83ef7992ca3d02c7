/* SPDX-License-Identifier: Apache-2.0 */
/* Relations between the regions of an image: VSRN's graph convolution. */
#include "models/matching.h"
#include "autograd/matching.h"

/* Gain and bias of the last norm 0: the layer starts as the identity. */
static bool start_as_identity(ct_module *norm) {
    return norm && ct_init_constant(ct_module_tensor(norm, "weight"), 0) &&
           ct_init_constant(ct_module_tensor(norm, "bias"), 0);
}

ct_module *ct_region_gcn_create(int64_t width, int64_t inner) {
    if (width < 1 || width > INT32_MAX || inner < 1 || inner > INT32_MAX) {
        return ct_fail("region_gcn: width %lld, inner %lld: expected 1 to %d", (long long)width,
                       (long long)inner, INT32_MAX);
    }
    ct_module *gcn = ct_module_create("region_gcn");
    ct_module_add(gcn, "g", ct_linear_create(width, inner, true));
    ct_module *w = ct_module_add(gcn, "W", ct_sequential_create());
    ct_module_add(w, "0", ct_linear_create(inner, width, true));
    ct_batch_norm_options options = ct_batch_norm_defaults();
    options.axis = -1;
    ct_module *norm = ct_module_add(w, "1", ct_batch_norm_create(width, &options));
    ct_module_add(gcn, "theta", ct_linear_create(width, inner, true));
    ct_module_add(gcn, "phi", ct_linear_create(width, inner, true));
    if (ct_ok() && start_as_identity(norm)) {
        ct_module_set_forward(gcn, ct_region_gcn);
        return gcn;
    }
    ct_module_destroy(gcn);
    return NULL;
}

/* g, theta and phi of v, side by side: three layers that read the same, in one product. */
static ct_tensor *project(ct_module *gcn, ct_tensor *v) {
    static const char *const names[] = {"g", "theta", "phi"};
    ct_tensor *weight[3], *bias[3];
    for (int i = 0; i < 3; i++) {
        ct_module *layer = ct_module_child(gcn, names[i]);
        weight[i] = ct_module_tensor(layer, "weight");
        bias[i] = ct_module_tensor(layer, "bias");
    }
    return ct_linear_joined(v, weight, bias, 3);
}

ct_tensor *ct_region_gcn(ct_module *gcn, ct_tensor *v) {
    if (!ct_module_expect("region_gcn", gcn, ct_region_gcn)) return NULL;
    if (!v) return ct_ok() ? ct_fail("region_gcn: v is NULL") : NULL;
    if (ct_ndim(v) != 3) {
        return ct_fail("region_gcn: v is %s, expected 3 dimensions", ct_tensor_text(v));
    }
    CT_SCOPE {
        ct_tensor *y = ct_region_relations(project(gcn, v));
        return ct_escape(ct_add(v, ct_forward(ct_module_child(gcn, "W"), y)));
    }
    return NULL;
}
