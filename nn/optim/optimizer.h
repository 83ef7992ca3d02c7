/* SPDX-License-Identifier: Apache-2.0 */
/* What an optimiser is made of. Internal to nn/optim. */
#ifndef CT_OPTIMIZER_H
#define CT_OPTIMIZER_H

#include "nn/core/module.h"

typedef enum { CT_OPTIMIZER_ADAM, CT_OPTIMIZER_SGD } ct_optimizer_kind;

/* A parameter, and what it is to the optimiser. */
typedef struct {
    char *name;
    ct_tensor *parameter; /* kept */
    double lr_factor, weight_decay;
    int updates; /* a step: 1, unless its group says otherwise */
    int64_t steps;
    int done;             /* updates by the last ct_optimizer_update */
    ct_tensor *moment[2]; /* Adam: exp_avg, exp_avg_sq; SGD: momentum_buffer */
} ct_optimizer_slot;

typedef struct ct_reducer ct_reducer; /* nn/optim/reducer.h */

struct ct_optimizer {
    ct_optimizer_kind kind;
    ct_module *module;
    ct_optimizer_slot *slots;
    ct_optimizer_slot **order; /* the slots, those that one kernel updates side by side */
    int count;
    int most_updates; /* of a slot, 1 at least */
    ct_tensor_adam_options adam;
    ct_tensor_sgd_options sgd;
    double lr, clip;
    ct_tensor *norm;  /* f64 scalar where the parameters are: of the last step */
    ct_tensor *rates; /* f64 (slots * most_updates * rates of one): of the next step */
    double *host_rates;
    ct_reducer *reducer; /* of gradients over ranks; NULL until it is first asked for */
};

/* The parameter's moment k, zero if there was none. */
ct_tensor *ct_optimizer_moment(ct_optimizer_slot *slot, int k);
void ct_optimizer_drop_moments(ct_optimizer_slot *slot);
/* All of them, and the steps: as if it had made none. */
void ct_optimizer_forget(ct_optimizer *optimizer);
/* Whether ct_optimizer_set_state would take it; else an error that begins with `where`. */
bool ct_optimizer_fits_state(ct_optimizer *optimizer, const char *where, const char *name,
                             const ct_tensor *value);

/* nn/optim/device_gradients.c: whether parameters, all on one device, are on another than the CPU;
 * ct_optimizer_all_reduce for such. */
bool ct_optimizer_on_device(const ct_optimizer *optimizer);
bool ct_optimizer_all_reduce_on_device(const ct_optimizer *optimizer);

#endif
