/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layer. */
#include <math.h>

#include "nn/core/module.h"

const ct_module_class ct_linear_class = {"linear", ct_linear};

ct_module *ct_linear_create(int64_t in, int64_t out, bool bias) {
    if (!ct_nn_size("linear", "inputs", in) || !ct_nn_size("linear", "outputs", out)) return NULL;
    ct_module *linear = ct_module_create_as(&ct_linear_class, NULL, 0);
    double bound = 1 / sqrt((double)in);
    bool ok = linear && ct_module_uniform(linear, "weight", CT_SHAPE(out, in), bound) &&
              (!bias || ct_module_uniform(linear, "bias", CT_SHAPE(out), bound));
    return ct_module_if(linear, ok);
}

ct_tensor *ct_linear(ct_module *linear, ct_tensor *x) {
    if (!ct_module_is("linear", linear, &ct_linear_class)) return NULL;
    return ct_linear_with(x, ct_module_weight(linear), ct_module_own(linear, "bias"));
}
