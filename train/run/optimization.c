/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/optimization.h"

#include <stdio.h>
#include <string.h>

#include "tensor/core/excuse.h"
#include "train/run/together.h"

/* Entries "image.attend:0.1" of [train] lr_factors: a module of the graph, with all below it. */
static bool scale_learning_rates(const ct_config *c, ct_optimizer *optimizer) {
    for (int i = 0; i < c->lr_factor_count; i++) {
        char name[129], rest;
        double factor;
        if (sscanf(c->lr_factors[i], "%126[^:]:%lf%c", name, &factor, &rest) != 2 ||
            !(factor >= 0 && factor <= 1e6)) {
            return ct_fail_bool("%s: [train] lr_factors: '%s', expected NAME:FACTOR, a factor from "
                                "0 to 1e6",
                                c->file, c->lr_factors[i]);
        }
        strcat(name, ".*");
        if (ct_optimizer_group_lr(optimizer, name, factor)) continue;
        ct_error_clear();
        return ct_fail_bool("%s: [train] lr_factors: the model has no part '%.*s' with parameters",
                            c->file, (int)strlen(name) - 2, name);
    }
    return true;
}

static ct_optimizer *create(const ct_config *c, ct_module *module) {
    if (strcmp(c->optimizer, "sgd") == 0) {
        ct_sgd_options options = {
            .lr = c->lr, .momentum = c->momentum, .weight_decay = c->weight_decay};
        return ct_sgd_create(module, &options);
    }
    ct_adam_options options = ct_adam_defaults();
    options.lr = c->lr;
    options.weight_decay = c->weight_decay;
    bool decoupled = strcmp(c->optimizer, "adamw") == 0;
    return (decoupled ? ct_adamw_create : ct_adam_create)(module, &options);
}

/* "same": as they are, which no f64 is longer than. */
static bool set_wire(const ct_config *c, ct_optimizer *optimizer) {
    bool f32 = strcmp(c->gradient_wire, "f32") == 0, bf16 = strcmp(c->gradient_wire, "bf16") == 0;
    return ct_optimizer_wire(optimizer, f32    ? CT_F32
                                        : bf16 ? CT_BF16
                                               : CT_F64) ||
           ct_error_prefix("%s: [run] gradient_wire: ", c->file);
}

/* On one host a bucket costs calls of MPI, which the same cores make: fewer of them. */
static bool set_bucket(ct_optimizer *optimizer) {
    enum { BYTES = 4 << 20 };
    return !ct_together_on_one_host() || ct_optimizer_bucket(optimizer, BYTES);
}

ct_optimizer *ct_configured_optimizer(const ct_config *c, ct_model *model) {
    ct_module *module = ct_model_module(model);
    ct_optimizer *optimizer = create(c, module);
    if (!optimizer) return NULL;
    ct_optimizer_clip_norm(optimizer, c->clip_norm);
    if (ct_model_group_parameters(model, optimizer) && scale_learning_rates(c, optimizer) &&
        set_wire(c, optimizer) && set_bucket(optimizer)) {
        return optimizer;
    }
    ct_optimizer_destroy(optimizer);
    return NULL;
}

double ct_configured_lr(const ct_config *c, int64_t epoch, int64_t step, int64_t steps) {
    double lr = c->lr;
    if (strcmp(c->schedule, "step") == 0) {
        lr = ct_schedule_step(lr, epoch, c->lr_update, c->lr_factor);
    } else if (strcmp(c->schedule, "cosine") == 0) {
        lr = ct_schedule_cosine(lr, step, steps, 0);
    }
    return ct_schedule_warmup(lr, step, c->warmup_steps);
}
