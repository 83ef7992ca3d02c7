/* SPDX-License-Identifier: Apache-2.0 */
/* Dropout (Srivastava et al. 2014), drawn from the default generator in training. */
#include "nn/core/module.h"

typedef struct {
    double p;
} dropout_self;

static const ct_module_class dropout_class = {"dropout", ct_dropout};

ct_module *ct_dropout_create(double p) {
    if (!(p >= 0 && p < 1)) return ct_fail("dropout: probability %g, expected 0 <= p < 1", p);
    dropout_self self = {p};
    return ct_module_create_as(&dropout_class, &self, sizeof self);
}

ct_tensor *ct_dropout(ct_module *dropout, ct_tensor *x) {
    if (!ct_module_is("dropout", dropout, &dropout_class)) return NULL;
    const dropout_self *self = ct_module_self(dropout);
    return ct_dropout_with(x, dropout->training ? self->p : 0, ct_default_rng(), "dropout");
}
