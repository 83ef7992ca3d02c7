/* SPDX-License-Identifier: Apache-2.0 */
/* Dropout (Srivastava et al. 2014), drawn from the default generator in training, and that of whole
 * samples of a branch (Huang et al. 2016). */
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

ct_tensor *ct_drop_path_with(ct_tensor *x, double p, ct_rng *rng, const char *name) {
    if (!ct_nn_input("drop_path", "x", x, -1)) return NULL;
    if (x->shape.ndim == 0)
        return ct_fail("drop_path: x is %s, expected (B,...)", ct_tensor_text(x));
    if (p == 0) return x;
    CT_SCOPE {
        ct_shape samples = x->shape;
        for (int d = 1; d < samples.ndim; d++) samples.dim[d] = 1;
        ct_tensor *whole = ct_full(x->dtype, x->device, samples, 1);
        if (!rng) rng = ct_default_rng();
        return ct_escape(ct_mul(x, ct_dropout_with(whole, p, rng, name)));
    }
    return NULL;
}
