/* SPDX-License-Identifier: Apache-2.0 */
/* The state of an optimiser, under names. */
#include "nn/optim/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const moment_names[2][2] = {
    [CT_OPTIMIZER_ADAM] = {"exp_avg", "exp_avg_sq"},
    [CT_OPTIMIZER_SGD] = {"momentum_buffer", NULL},
};

static bool visit_tensor(const char *kind, const char *name, ct_tensor *x, ct_state_visitor visit,
                         void *context) {
    char *text;
    if (asprintf(&text, "%s.%s", kind, name) < 0) {
        return ct_fail_bool("optimizer_visit: out of memory");
    }
    bool ok = visit(context, text, x, true);
    free(text);
    return ok;
}

bool ct_optimizer_visit(ct_optimizer *optimizer, ct_state_visitor visit, void *context) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_visit: optimizer is NULL") : false;
    if (!visit) return ct_fail_bool("optimizer_visit: the function is NULL");
    for (int i = 0; i < optimizer->count; i++) {
        ct_optimizer_slot *s = &optimizer->slots[i];
        for (int k = 0; k < 2; k++) {
            const char *kind = moment_names[optimizer->kind][k];
            if (s->moment[k] && !visit_tensor(kind, s->name, s->moment[k], visit, context)) {
                return false;
            }
        }
        if (optimizer->kind != CT_OPTIMIZER_ADAM || s->steps == 0) continue;
        CT_SCOPE {
            ct_tensor *steps = ct_from_data(CT_I64, CT_CPU, CT_SCALAR_SHAPE, &s->steps);
            if (!steps || !visit_tensor("step", s->name, steps, visit, context)) return false;
        }
    }
    return ct_ok();
}

/* The parameter's slot if text is "KIND.NAME" of one. */
static ct_optimizer_slot *slot_named(ct_optimizer *optimizer, const char *kind, const char *text) {
    size_t length = kind ? strlen(kind) : 0;
    if (!kind || strncmp(text, kind, length) != 0 || text[length] != '.') return NULL;
    for (int i = 0; i < optimizer->count; i++) {
        if (strcmp(optimizer->slots[i].name, text + length + 1) == 0) return &optimizer->slots[i];
    }
    return NULL;
}

/* Where a tensor of the state belongs: a slot's moment, or its step count. */
typedef struct {
    ct_optimizer_slot *slot;
    int moment; /* -1: the step count */
} place;

enum { STEPS = -1 };

/* A double holds each whole number so far, and the next one. */
static const double most_steps = 0x1p53 - 1;

static bool is_step_count(const char *where, const char *name, const ct_tensor *value) {
    if (ct_count(value) != 1) {
        return ct_fail_bool("%s: '%s' is %s, expected one number", where, name,
                            ct_tensor_text(value));
    }
    double steps = ct_item(value);
    return (steps >= 0 && steps <= most_steps && steps == floor(steps)) ||
           ct_fail_bool("%s: '%s' is %.16g, expected a whole number from 0 to %.0f", where, name,
                        steps, most_steps);
}

static bool find_place(ct_optimizer *optimizer, const char *where, const char *name,
                       const ct_tensor *value, place *at) {
    bool counts = optimizer->kind == CT_OPTIMIZER_ADAM;
    at->slot = counts ? slot_named(optimizer, "step", name) : NULL;
    at->moment = STEPS;
    if (at->slot) return is_step_count(where, name, value);
    while (!at->slot && ++at->moment < 2) {
        at->slot = slot_named(optimizer, moment_names[optimizer->kind][at->moment], name);
    }
    if (!at->slot) return ct_fail_bool("%s: nothing is called '%s'", where, name);
    return (ct_dtype_is_float(value->dtype) &&
            ct_state_shapes_fit(at->slot->parameter->shape, value->shape)) ||
           ct_fail_bool("%s: '%s' is %s, expected %s", where, name, ct_tensor_text(value),
                        ct_tensor_text(at->slot->parameter));
}

bool ct_optimizer_fits_state(ct_optimizer *optimizer, const char *where, const char *name,
                             const ct_tensor *value) {
    place at;
    return find_place(optimizer, where, name, value, &at);
}

bool ct_optimizer_set_state(ct_optimizer *optimizer, const char *name, const ct_tensor *value) {
    place at;
    if (!optimizer || !name || !value) {
        return ct_ok() ? ct_fail_bool("optimizer_set_state: NULL given") : false;
    }
    if (!find_place(optimizer, "optimizer_set_state", name, value, &at)) return false;
    if (at.moment == STEPS) {
        at.slot->steps = (int64_t)ct_item(value);
        return true;
    }
    return ct_optimizer_moment(at.slot, at.moment) &&
           ct_state_assign(at.slot->moment[at.moment], value);
}
