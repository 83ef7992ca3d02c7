/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of modules, and activations as modules. */
#include <string.h>

#include "nn/core/module.h"
#include "tensor/core/nearest.h"

static ct_tensor *sequential_forward(ct_module *sequential, ct_tensor *x) {
    for (int i = 0; i < sequential->child_count; i++) x = ct_forward(sequential->child_list[i], x);
    return x;
}

static const ct_module_class sequential_class = {"sequential", sequential_forward};

ct_module *ct_sequential_create(void) { return ct_module_create_as(&sequential_class, NULL, 0); }

/* ---- activations ------------------------------------------------------------------------ */

/* PyTorch's defaults of those with a parameter. */
static const struct {
    const char *name;
    ct_unary_kind kind;
    double parameter;
} activations[] = {
    {"relu", CT_UNARY_relu, 0},
    {"tanh", CT_UNARY_tanh, 0},
    {"sigmoid", CT_UNARY_sigmoid, 0},
    {"gelu", CT_UNARY_gelu, 0},
    {"silu", CT_UNARY_silu, 0},
    {"softplus", CT_UNARY_softplus, 0},
    {"relu6", CT_UNARY_relu6, 0},
    {"hardsigmoid", CT_UNARY_hardsigmoid, 0},
    {"hardswish", CT_UNARY_hardswish, 0},
    {"elu", CT_UNARY_elu, 1},
    {"leaky_relu", CT_UNARY_leaky_relu, 0.01},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

typedef struct {
    int activation;
} activation_self;

static ct_tensor *activation_forward(ct_module *module, ct_tensor *x) {
    const activation_self *self = ct_module_self(module);
    int i = self->activation;
    return ct_unary(activations[i].kind, x, activations[i].parameter, 0);
}

static const ct_module_class activation_class = {"activation", activation_forward};

ct_module *ct_activation_create(const char *name) {
    const char *known[ACTIVATIONS];
    for (int i = 0; i < ACTIVATIONS; i++) {
        known[i] = activations[i].name;
        if (name && strcmp(name, known[i]) == 0) {
            activation_self self = {i};
            return ct_module_create_as(&activation_class, &self, sizeof self);
        }
    }
    if (!name) return ct_fail("activation: no name given");
    return ct_fail("activation: unknown '%s'%s", name, ct_did_you_mean(name, known, ACTIVATIONS));
}
