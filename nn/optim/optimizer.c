/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers: Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019), SGD with momentum.
 * Here: what they are made of, and their parameter groups. The parameter list is fixed when the
 * optimiser is made. */
#include "nn/optim/reducer.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>

/* ---- creation --------------------------------------------------------------------------- */

static bool collect_parameters(ct_optimizer *optimizer, double weight_decay) {
    ct_state state;
    if (!ct_state_collect(optimizer->module, &state)) return false;
    size_t room = (size_t)state.count + 1;
    optimizer->slots = calloc(room, sizeof *optimizer->slots);
    optimizer->order = calloc(room, sizeof(ct_optimizer_slot *));
    bool ok = optimizer->slots && optimizer->order;
    if (!ok) ct_fail("optimizer: out of memory");
    for (int i = 0; ok && i < state.count; i++) {
        if (state.items[i].entry->buffer) continue;
        ct_optimizer_slot *s = &optimizer->slots[optimizer->count];
        *s = (ct_optimizer_slot){.name = state.items[i].name,
                                 .parameter = ct_keep(state.items[i].entry->tensor),
                                 .lr_factor = 1,
                                 .weight_decay = weight_decay,
                                 .updates = 1};
        state.items[i].name = NULL; /* now the slot's */
        optimizer->order[optimizer->count++] = s;
    }
    ct_state_free(&state);
    return ok;
}

static ct_optimizer *create(ct_optimizer_kind kind, ct_module *module, double lr,
                            double weight_decay) {
    if (!module) return ct_ok() ? ct_fail("optimizer: module is NULL") : NULL;
    ct_optimizer *optimizer = calloc(1, sizeof *optimizer);
    if (!optimizer) return ct_fail("optimizer: out of memory");
    optimizer->kind = kind;
    optimizer->module = module;
    optimizer->lr = lr;
    optimizer->most_updates = 1;
    if (collect_parameters(optimizer, weight_decay)) return optimizer;
    ct_optimizer_destroy(optimizer);
    return NULL;
}

ct_adam_options ct_adam_defaults(void) {
    return (ct_adam_options){.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
}

ct_adamw_options ct_adamw_defaults(void) {
    ct_adamw_options options = ct_adam_defaults();
    options.weight_decay = 0.01;
    return options;
}

ct_sgd_options ct_sgd_defaults(void) { return (ct_sgd_options){.lr = 1e-3}; }

static bool is_beta(const char *op, const char *field, double value) {
    return ct_nn_option(op, field, value, value >= 0 && value < 1, "0 or more, below 1");
}

static ct_optimizer *create_adam(const char *op, ct_module *module, const ct_adam_options *o,
                                 bool decoupled) {
    if (!ct_check_not_negative(op, "lr", o->lr) || !is_beta(op, "beta1", o->beta1) ||
        !is_beta(op, "beta2", o->beta2) || !ct_check_not_negative(op, "eps", o->eps) ||
        !ct_check_not_negative(op, "weight_decay", o->weight_decay)) {
        return NULL;
    }
    ct_optimizer *optimizer = create(CT_OPTIMIZER_ADAM, module, o->lr, o->weight_decay);
    if (!optimizer) return NULL;
    optimizer->adam = (ct_tensor_adam_options){
        .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .decoupled = decoupled};
    return optimizer;
}

ct_optimizer *ct_adam_create(ct_module *module, const ct_adam_options *options) {
    const ct_adam_options defaults = ct_adam_defaults();
    return create_adam("adam", module, options ? options : &defaults, false);
}

ct_optimizer *ct_adamw_create(ct_module *module, const ct_adamw_options *options) {
    const ct_adamw_options defaults = ct_adamw_defaults();
    return create_adam("adamw", module, options ? options : &defaults, true);
}

ct_optimizer *ct_sgd_create(ct_module *module, const ct_sgd_options *options) {
    ct_sgd_options o = options ? *options : ct_sgd_defaults();
    if (!ct_check_not_negative("sgd", "lr", o.lr) ||
        !ct_check_not_negative("sgd", "momentum", o.momentum) ||
        !ct_check_not_negative("sgd", "weight_decay", o.weight_decay)) {
        return NULL;
    }
    if (o.nesterov && o.momentum == 0) {
        return ct_fail("sgd: Nesterov momentum needs a momentum above 0");
    }
    ct_optimizer *optimizer = create(CT_OPTIMIZER_SGD, module, o.lr, o.weight_decay);
    if (!optimizer) return NULL;
    optimizer->sgd = (ct_tensor_sgd_options){.momentum = o.momentum, .nesterov = o.nesterov};
    return optimizer;
}

void ct_optimizer_drop_moments(ct_optimizer_slot *slot) {
    for (int k = 0; k < 2; k++) {
        ct_release(slot->moment[k]);
        slot->moment[k] = NULL;
    }
    slot->steps = 0;
}

void ct_optimizer_forget(ct_optimizer *optimizer) {
    for (int i = 0; i < optimizer->count; i++) ct_optimizer_drop_moments(&optimizer->slots[i]);
}

static void drop_rates(ct_optimizer *optimizer) {
    ct_release(optimizer->rates);
    optimizer->rates = NULL;
    free(optimizer->host_rates);
    optimizer->host_rates = NULL;
}

void ct_optimizer_destroy(ct_optimizer *optimizer) {
    if (!optimizer) return;
    ct_reducer_destroy(optimizer->reducer);
    for (int i = 0; i < optimizer->count; i++) {
        free(optimizer->slots[i].name);
        ct_release(optimizer->slots[i].parameter);
    }
    ct_optimizer_forget(optimizer);
    free(optimizer->slots);
    free(optimizer->order);
    ct_release(optimizer->norm);
    drop_rates(optimizer);
    free(optimizer);
}

/* ---- parameter groups ------------------------------------------------------------------- */

/* Those that are updated alike come together: one kernel updates them. Else as they were added. */
static int by_update(const void *a, const void *b) {
    const ct_optimizer_slot *x = *(ct_optimizer_slot *const *)a;
    const ct_optimizer_slot *y = *(ct_optimizer_slot *const *)b;
    if (x->updates != y->updates) return x->updates < y->updates ? -1 : 1;
    if (x->weight_decay != y->weight_decay) return x->weight_decay < y->weight_decay ? -1 : 1;
    return x < y ? -1 : 1;
}

static void regroup(ct_optimizer *optimizer) {
    int most = 1;
    for (int i = 0; i < optimizer->count; i++) {
        if (optimizer->slots[i].updates > most) most = optimizer->slots[i].updates;
    }
    qsort(optimizer->order, (size_t)optimizer->count, sizeof(ct_optimizer_slot *), by_update);
    if (most != optimizer->most_updates) drop_rates(optimizer);
    optimizer->most_updates = most;
}

/* Does `change` to every parameter whose name matches; an error naming `op` if there is none. */
static bool change_group(ct_optimizer *optimizer, const char *op, const char *pattern,
                         void (*change)(ct_optimizer_slot *s, double value), double value) {
    bool found = false;
    for (int i = 0; i < optimizer->count; i++) {
        if (fnmatch(pattern, optimizer->slots[i].name, 0) != 0) continue;
        change(&optimizer->slots[i], value);
        found = true;
    }
    if (!found) return ct_fail_bool("%s: no parameter's name matches '%s'", op, pattern);
    regroup(optimizer);
    return true;
}

static bool is_given(const ct_optimizer *optimizer, const char *op, const char *pattern) {
    if (optimizer && pattern) return true;
    return ct_ok() && ct_fail_bool("%s: %s is NULL", op, optimizer ? "pattern" : "optimizer");
}

static void set_lr_factor(ct_optimizer_slot *s, double value) { s->lr_factor = value; }

bool ct_optimizer_group_lr(ct_optimizer *optimizer, const char *pattern, double factor) {
    static const char op[] = "optimizer_group_lr";
    return is_given(optimizer, op, pattern) && ct_check_not_negative(op, "factor", factor) &&
           change_group(optimizer, op, pattern, set_lr_factor, factor);
}

static void set_weight_decay(ct_optimizer_slot *s, double value) { s->weight_decay = value; }

bool ct_optimizer_group_weight_decay(ct_optimizer *optimizer, const char *pattern,
                                     double weight_decay) {
    static const char op[] = "optimizer_group_weight_decay";
    return is_given(optimizer, op, pattern) &&
           ct_check_not_negative(op, "weight_decay", weight_decay) &&
           change_group(optimizer, op, pattern, set_weight_decay, weight_decay);
}

static void set_updates(ct_optimizer_slot *s, double value) {
    s->updates = (int)value;
    if (s->updates == 0) ct_optimizer_drop_moments(s);
}

bool ct_optimizer_group_updates(ct_optimizer *optimizer, const char *pattern, int updates) {
    static const char op[] = "optimizer_group_updates";
    enum { MOST = 100 };
    return is_given(optimizer, op, pattern) &&
           ct_nn_option(op, "updates", updates, updates >= 0 && updates <= MOST, "0 to 100") &&
           change_group(optimizer, op, pattern, set_updates, updates);
}

/* ---- learning rate, clipping ------------------------------------------------------------- */

void ct_optimizer_clip_norm(ct_optimizer *optimizer, double norm) {
    static const char op[] = "optimizer_clip_norm";
    if (!ct_check_pointer(op, "the optimizer", optimizer)) return;
    if (ct_nn_option(op, "norm", norm, norm >= 0, "0 or more")) optimizer->clip = norm;
}

void ct_optimizer_set_lr(ct_optimizer *optimizer, double lr) {
    static const char op[] = "optimizer_set_lr";
    if (ct_check_pointer(op, "the optimizer", optimizer) && ct_check_not_negative(op, "lr", lr)) {
        optimizer->lr = lr;
    }
}

double ct_optimizer_lr(const ct_optimizer *optimizer) {
    return ct_check_pointer("optimizer_lr", "the optimizer", optimizer) ? optimizer->lr : 0;
}
