/* SPDX-License-Identifier: Apache-2.0 */
/* Weight normalisation (Salimans and Kingma 2016): weight = g v / |v|, one norm an output. */
#include "nn/core/module.h"

/* Norms of v over all dimensions but the first, shape (out,1,...). */
static ct_tensor *output_norms(const ct_tensor *v) {
    uint32_t axes = 0;
    for (int i = 1; i < v->shape.ndim; i++) axes |= 1u << i;
    ct_tensor *squares = ct_tensor_unary(CT_UNARY_square, v, 0, 0);
    return ct_tensor_unary(CT_UNARY_sqrt, ct_tensor_reduce(CT_SUM, squares, axes, true), 0, 0);
}

ct_module *ct_weight_norm_apply(ct_module *module) {
    if (!module) return ct_ok() ? ct_fail("weight_norm: module is NULL") : NULL;
    ct_tensor *weight = ct_module_own(module, "weight");
    bool known = module->class == &ct_linear_class || module->class == &ct_conv1d_class;
    if (!known || !weight) {
        return ct_fail("weight_norm: %s (%s): expected a linear or conv1d with a weight",
                       ct_module_label(module), module->type);
    }
    bool ok = false;
    CT_SCOPE {
        ok = ct_module_parameter(module, "weight_g", output_norms(weight)) &&
             ct_module_parameter(module, "weight_v", weight);
    }
    if (!ok) {
        ct_module_remove(module, "weight_g");
        return NULL;
    }
    ct_module_remove(module, "weight");
    return module;
}

ct_tensor *ct_module_weight(ct_module *module) {
    ct_tensor *v = ct_module_own(module, "weight_v");
    return v ? ct_weight_norm(v, ct_module_own(module, "weight_g"))
             : ct_module_own(module, "weight");
}
