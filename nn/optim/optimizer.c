/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers: Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019), SGD with momentum.
 *
 * The parameter list is fixed when the optimiser is made. States come into being with a
 * parameter's first gradient, as in PyTorch: a parameter that never got one has none.
 *
 * A step is made of what the host does (which step it is, the learning rate), what the device does,
 * and the count. Only the middle part may be recorded and repeated: the numbers that change from
 * step to step are in `rates`, which the first part writes. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/core/module.h"

typedef struct {
    char *name;
    ct_tensor *parameter; /* kept */
    bool excluded, repeated;
    double lr_factor;
    int64_t steps;
    int updates;          /* by the last ct_optimizer_update: 0, 1, 2 if repeated */
    ct_tensor *moment[2]; /* Adam: exp_avg, exp_avg_sq; SGD: momentum_buffer */
} slot;

typedef enum { ADAM, SGD } algorithm;

struct ct_optimizer {
    algorithm algorithm;
    ct_module *module;
    slot *slots;
    int count;
    ct_tensor_adam_options adam;
    ct_tensor_sgd_options sgd;
    double lr, clip;
    ct_tensor *norm;  /* f64 scalar where the parameters are: of the last step */
    ct_tensor *rates; /* f64 (slots * UPDATES * RATES): of the next step */
    double *host_rates;
};

enum { UPDATES = 2, RATES = CT_ADAM_RATES };
static_assert((int)CT_SGD_RATES <= (int)RATES, "room for either");

static const char *const moment_names[2][2] = {
    [ADAM] = {"exp_avg", "exp_avg_sq"},
    [SGD] = {"momentum_buffer", NULL},
};

/* ---- creation --------------------------------------------------------------------------- */

static bool collect_parameters(ct_optimizer *optimizer) {
    ct_state state;
    if (!ct_state_collect(optimizer->module, &state)) return false;
    optimizer->slots = calloc((size_t)state.count + 1, sizeof *optimizer->slots);
    if (!optimizer->slots) ct_fail("optimizer: out of memory");
    for (int i = 0; optimizer->slots && i < state.count; i++) {
        if (state.items[i].entry->buffer) continue;
        slot *s = &optimizer->slots[optimizer->count++];
        s->name = state.items[i].name;
        s->parameter = ct_keep(state.items[i].entry->tensor);
        s->lr_factor = 1;
        state.items[i].name = NULL; /* now the slot's */
    }
    ct_state_free(&state);
    return optimizer->slots != NULL;
}

static ct_optimizer *create(algorithm kind, ct_module *module, double lr) {
    if (!module) return ct_ok() ? ct_fail("optimizer: module is NULL") : NULL;
    ct_optimizer *optimizer = calloc(1, sizeof *optimizer);
    if (!optimizer) return ct_fail("optimizer: out of memory");
    optimizer->algorithm = kind;
    optimizer->module = module;
    optimizer->lr = lr;
    if (collect_parameters(optimizer)) return optimizer;
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

static bool not_negative(const char *op, const char *field, double value) {
    return ct_nn_option(op, field, value, value >= 0 && isfinite(value), "0 or more");
}

static bool is_beta(const char *op, const char *field, double value) {
    return ct_nn_option(op, field, value, value >= 0 && value < 1, "0 or more, below 1");
}

static ct_optimizer *create_adam(const char *op, ct_module *module, const ct_adam_options *o,
                                 bool decoupled) {
    if (!not_negative(op, "lr", o->lr) || !is_beta(op, "beta1", o->beta1) ||
        !is_beta(op, "beta2", o->beta2) || !not_negative(op, "eps", o->eps) ||
        !not_negative(op, "weight_decay", o->weight_decay)) {
        return NULL;
    }
    ct_optimizer *optimizer = create(ADAM, module, o->lr);
    if (!optimizer) return NULL;
    optimizer->adam = (ct_tensor_adam_options){.beta1 = o->beta1,
                                               .beta2 = o->beta2,
                                               .eps = o->eps,
                                               .weight_decay = o->weight_decay,
                                               .decoupled = decoupled};
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
    if (!not_negative("sgd", "lr", o.lr) || !not_negative("sgd", "momentum", o.momentum) ||
        !not_negative("sgd", "weight_decay", o.weight_decay)) {
        return NULL;
    }
    if (o.nesterov && o.momentum == 0) {
        return ct_fail("sgd: Nesterov momentum needs a momentum above 0");
    }
    ct_optimizer *optimizer = create(SGD, module, o.lr);
    if (!optimizer) return NULL;
    optimizer->sgd = (ct_tensor_sgd_options){
        .momentum = o.momentum, .weight_decay = o.weight_decay, .nesterov = o.nesterov};
    return optimizer;
}

static void drop_moments(slot *s) {
    for (int k = 0; k < 2; k++) {
        ct_release(s->moment[k]);
        s->moment[k] = NULL;
    }
    s->steps = 0;
}

void ct_optimizer_destroy(ct_optimizer *optimizer) {
    if (!optimizer) return;
    for (int i = 0; i < optimizer->count; i++) {
        free(optimizer->slots[i].name);
        ct_release(optimizer->slots[i].parameter);
        drop_moments(&optimizer->slots[i]);
    }
    free(optimizer->slots);
    ct_release(optimizer->norm);
    ct_release(optimizer->rates);
    free(optimizer->host_rates);
    free(optimizer);
}

/* ---- options ---------------------------------------------------------------------------- */

/* Does `change` to every parameter whose name starts with prefix; an error naming `op` if there is
 * none. */
static bool change_named(ct_optimizer *optimizer, const char *op, const char *prefix,
                         void (*change)(slot *s, double value), double value) {
    if (!optimizer || !prefix) return ct_ok() ? ct_fail_bool("%s: NULL given", op) : false;
    bool found = false;
    for (int i = 0; i < optimizer->count; i++) {
        if (strncmp(optimizer->slots[i].name, prefix, strlen(prefix)) != 0) continue;
        change(&optimizer->slots[i], value);
        found = true;
    }
    return found || ct_fail_bool("%s: no parameter's name starts with '%s'", op, prefix);
}

static void exclude(slot *s, double value) {
    (void)value;
    s->excluded = true;
    drop_moments(s);
}

static void repeat(slot *s, double value) {
    (void)value;
    s->repeated = true;
}

static void scale_lr(slot *s, double value) { s->lr_factor = value; }

bool ct_optimizer_exclude(ct_optimizer *optimizer, const char *prefix) {
    return change_named(optimizer, "optimizer_exclude", prefix, exclude, 0);
}

bool ct_optimizer_repeat(ct_optimizer *optimizer, const char *prefix) {
    return change_named(optimizer, "optimizer_repeat", prefix, repeat, 0);
}

bool ct_optimizer_scale_lr(ct_optimizer *optimizer, const char *prefix, double factor) {
    if (optimizer && prefix && !(factor >= 0)) {
        return ct_fail_bool("optimizer_scale_lr: factor %g of '%s', expected 0 or more", factor,
                            prefix);
    }
    return change_named(optimizer, "optimizer_scale_lr", prefix, scale_lr, factor);
}

void ct_optimizer_clip_norm(ct_optimizer *optimizer, double norm) {
    if (optimizer) optimizer->clip = norm > 0 ? norm : 0;
}

double ct_optimizer_grad_norm(const ct_optimizer *optimizer) {
    return optimizer && optimizer->norm ? ct_item(optimizer->norm) : 0;
}

void ct_optimizer_set_lr(ct_optimizer *optimizer, double lr) {
    if (optimizer) optimizer->lr = lr;
}

double ct_optimizer_lr(const ct_optimizer *optimizer) { return optimizer ? optimizer->lr : 0; }

/* ---- the numbers of a step -------------------------------------------------------------- */

static ct_tensor *kept_empty(ct_device device, ct_shape shape) {
    ct_tensor *x = NULL;
    CT_SCOPE { x = ct_keep(ct_empty(CT_F64, device, shape)); }
    return x;
}

/* The norm and the rates, where the parameters are: made anew if those were moved. */
static bool place_numbers(ct_optimizer *optimizer) {
    ct_device device = optimizer->count ? optimizer->slots[0].parameter->device : CT_CPU;
    if (optimizer->rates && optimizer->rates->device == device) return true;
    ct_release(optimizer->norm);
    ct_release(optimizer->rates);
    optimizer->norm = kept_empty(device, CT_SCALAR_SHAPE);
    optimizer->rates = kept_empty(device, CT_SHAPE(optimizer->count * UPDATES * RATES));
    if (!optimizer->host_rates) {
        size_t bytes = (size_t)optimizer->count * UPDATES * RATES * sizeof(double);
        optimizer->host_rates = malloc(bytes + 1);
        if (!optimizer->host_rates) return ct_fail_bool("optimizer: out of memory");
    }
    return optimizer->norm && optimizer->rates && ct_tensor_fill(optimizer->norm, 0);
}

bool ct_optimizer_prepare(ct_optimizer *optimizer) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_prepare: optimizer is NULL") : false;
    if (!ct_ok() || !place_numbers(optimizer)) return false;
    double *rates = optimizer->host_rates;
    for (int i = 0; i < optimizer->count; i++) {
        const slot *s = &optimizer->slots[i];
        double lr = optimizer->lr * s->lr_factor;
        for (int k = 0; k < UPDATES; k++, rates += RATES) {
            rates[RATES - 1] = 0; /* SGD has none */
            if (optimizer->algorithm == ADAM) {
                ct_adam_rates(rates, lr, s->steps + 1 + k, &optimizer->adam);
            } else {
                ct_sgd_rates(rates, lr, !s->moment[0] && k == 0, &optimizer->sgd);
            }
        }
    }
    return ct_write(optimizer->rates, optimizer->host_rates);
}

/* ---- the update ------------------------------------------------------------------------- */

/* What one step works on: the parameters that have a gradient, side by side, those that are
 * repeated last. */
typedef struct {
    slot **slots;
    ct_tensor **parameters, **grads, **moment[2], **rates; /* grads has room for repeated ones
                                                            * twice */
    int count, once;                                       /* all; those that are not repeated */
} batch;

static bool batch_allocate(batch *b, int count) {
    size_t n = (size_t)count + 1;
    *b = (batch){.slots = calloc(n, sizeof *b->slots),
                 .parameters = calloc(n, sizeof *b->parameters),
                 .grads = calloc(2 * n, sizeof *b->grads),
                 .moment = {calloc(n, sizeof(ct_tensor *)), calloc(n, sizeof(ct_tensor *))},
                 .rates = calloc(n, sizeof *b->rates)};
    return (b->slots && b->parameters && b->grads && b->moment[0] && b->moment[1] && b->rates) ||
           ct_fail_bool("optimizer_step: out of memory");
}

static void batch_free(batch *b) {
    free(b->slots);
    free(b->parameters);
    free(b->grads);
    free(b->moment[0]);
    free(b->moment[1]);
    free(b->rates);
}

/* The parameter's moment k, zero if there was none. */
static ct_tensor *moment_of(slot *s, int k) {
    if (s->moment[k]) return s->moment[k];
    if (ct_capture_is_open()) {
        return ct_fail("optimizer: the first step that updates '%s' cannot be recorded", s->name);
    }
    CT_SCOPE {
        s->moment[k] =
            ct_keep(ct_zeros(s->parameter->dtype, s->parameter->device, s->parameter->shape));
    }
    return s->moment[k];
}

static bool gather(ct_optimizer *optimizer, bool repeated, batch *b) {
    for (int i = 0; i < optimizer->count; i++) {
        slot *s = &optimizer->slots[i];
        if (s->excluded || s->repeated != repeated) continue;
        if (ct_module_tensor(optimizer->module, s->name) != s->parameter) {
            return ct_fail_bool("optimizer_step: parameter '%s' was converted or removed after "
                                "the optimiser was made",
                                s->name);
        }
        ct_tensor *grad = ct_grad(s->parameter);
        if (!grad) continue;
        b->slots[b->count] = s;
        b->parameters[b->count] = s->parameter;
        b->grads[b->count] = ct_tensor_contiguous(grad);
        if (!b->grads[b->count++]) return false;
    }
    return true;
}

static bool gather_all(ct_optimizer *optimizer, batch *b) {
    if (!gather(optimizer, false, b)) return false;
    b->once = b->count;
    return gather(optimizer, true, b);
}

static bool gather_moments(const ct_optimizer *optimizer, batch *b) {
    int moments = optimizer->algorithm == ADAM ? 2 : optimizer->sgd.momentum > 0 ? 1 : 0;
    for (int i = 0; i < b->count; i++) {
        for (int k = 0; k < moments; k++) {
            b->moment[k][i] = moment_of(b->slots[i], k);
            if (!b->moment[k][i]) return false;
        }
    }
    return true;
}

/* Views of the numbers of the parameters' update k. */
static bool gather_rates(const ct_optimizer *optimizer, int k, batch *b) {
    int64_t width = optimizer->algorithm == ADAM ? CT_ADAM_RATES : CT_SGD_RATES;
    for (int i = 0; i < b->count; i++) {
        int64_t at = ((b->slots[i] - optimizer->slots) * UPDATES + k) * RATES;
        b->rates[i] = ct_tensor_slice(optimizer->rates, 0, at, at + width, 1);
        if (!b->rates[i]) return false;
    }
    return true;
}

/* On the CPU reading the norm costs nothing; elsewhere a gradient that is not finite is noticed by
 * the update, which does nothing then. */
static bool measure_norm(const ct_optimizer *optimizer, const batch *b) {
    if (b->count == 0) return ct_tensor_fill(optimizer->norm, 0);
    int twice = b->count - b->once;
    for (int i = 0; i < twice; i++) b->grads[b->count + i] = b->grads[b->once + i];
    ct_tensor *norm = ct_tensor_global_norm(b->grads, b->count + twice);
    if (!norm || !ct_tensor_copy_to(optimizer->norm, norm)) return false;
    if (norm->device != CT_CPU || isfinite(ct_item(norm))) return true;
    for (int i = 0; i < b->count; i++) {
        if (ct_tensor_has_nonfinite(b->grads[i])) {
            return ct_fail_bool("optimizer_step: the gradient of '%s' is not finite",
                                b->slots[i]->name);
        }
    }
    return ct_fail_bool("optimizer_step: the gradient norm is %g", ct_item(norm));
}

/* Updates parameters from .. to - 1, whose gradients are scaled by the clip factor `times` over. */
static bool update_some(const ct_optimizer *optimizer, const batch *b, int from, int to,
                        int times) {
    int count = to - from;
    ct_clip clip = {optimizer->norm, optimizer->clip, times};
    if (count == 0) return true;
    if (optimizer->algorithm == ADAM) {
        ct_tensor_adam_options options = optimizer->adam;
        options.clip = clip;
        return ct_tensor_adam(b->parameters + from, b->grads + from, b->moment[0] + from,
                              b->moment[1] + from, b->rates + from, count, options);
    }
    ct_tensor_sgd_options options = optimizer->sgd;
    options.clip = clip;
    return ct_tensor_sgd(b->parameters + from, b->grads + from, b->moment[0] + from,
                         b->rates + from, count, options);
}

static bool update(const ct_optimizer *optimizer, batch *b) {
    if (!gather_rates(optimizer, 0, b) || !update_some(optimizer, b, 0, b->once, 1)) return false;
    if (b->once == b->count) return true;
    /* PyTorch scales the one gradient at each listing, before both updates. */
    return update_some(optimizer, b, b->once, b->count, 2) && gather_rates(optimizer, 1, b) &&
           update_some(optimizer, b, b->once, b->count, 2);
}

bool ct_optimizer_update(ct_optimizer *optimizer) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_update: optimizer is NULL") : false;
    if (!ct_ok()) return false; /* the gradients may be those of half a backward */
    if (!optimizer->rates) {
        return ct_fail_bool("optimizer_update: ct_optimizer_prepare comes first");
    }
    batch b;
    bool ok = batch_allocate(&b, optimizer->count);
    if (ok) {
        CT_SCOPE {
            ok = gather_all(optimizer, &b) && measure_norm(optimizer, &b) &&
                 gather_moments(optimizer, &b) && update(optimizer, &b);
        }
    }
    for (int i = 0; i < optimizer->count; i++) optimizer->slots[i].updates = 0;
    for (int i = 0; ok && i < b.count; i++) {
        b.slots[i]->updates = b.slots[i]->repeated ? 2 : 1;
        ct_zero_grad(b.slots[i]->parameter);
    }
    batch_free(&b);
    return ok;
}

void ct_optimizer_count(ct_optimizer *optimizer) {
    for (int i = 0; optimizer && i < optimizer->count; i++) {
        optimizer->slots[i].steps += optimizer->slots[i].updates;
    }
}

bool ct_optimizer_step(ct_optimizer *optimizer) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_step: optimizer is NULL") : false;
    if (!ct_optimizer_prepare(optimizer) || !ct_optimizer_update(optimizer)) return false;
    ct_optimizer_count(optimizer);
    return true;
}

/* ---- state ------------------------------------------------------------------------------ */

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
    for (int i = 0; i < optimizer->count; i++) {
        slot *s = &optimizer->slots[i];
        for (int k = 0; k < 2; k++) {
            const char *kind = moment_names[optimizer->algorithm][k];
            if (s->moment[k] && !visit_tensor(kind, s->name, s->moment[k], visit, context)) {
                return false;
            }
        }
        if (optimizer->algorithm != ADAM || s->steps == 0) continue;
        CT_SCOPE {
            ct_tensor *steps = ct_from_data(CT_I64, CT_CPU, CT_SCALAR_SHAPE, &s->steps);
            if (!steps || !visit_tensor("step", s->name, steps, visit, context)) return false;
        }
    }
    return true;
}

/* The parameter's slot if text is "KIND.NAME" of one. */
static slot *slot_named(ct_optimizer *optimizer, const char *kind, const char *text) {
    size_t length = kind ? strlen(kind) : 0;
    if (!kind || strncmp(text, kind, length) != 0 || text[length] != '.') return NULL;
    for (int i = 0; i < optimizer->count; i++) {
        if (strcmp(optimizer->slots[i].name, text + length + 1) == 0) return &optimizer->slots[i];
    }
    return NULL;
}

bool ct_optimizer_set_state(ct_optimizer *optimizer, const char *name, const ct_tensor *value) {
    if (!optimizer || !name || !value) {
        return ct_ok() ? ct_fail_bool("optimizer_set_state: NULL given") : false;
    }
    slot *s = optimizer->algorithm == ADAM ? slot_named(optimizer, "step", name) : NULL;
    if (s) {
        double steps = ct_count(value) == 1 ? ct_item(value) : -1;
        if (!(steps >= 0)) {
            return ct_fail_bool("optimizer_set_state: '%s' is %s, expected one number", name,
                                ct_tensor_text(value));
        }
        s->steps = (int64_t)steps;
        return true;
    }
    for (int k = 0; k < 2; k++) {
        s = slot_named(optimizer, moment_names[optimizer->algorithm][k], name);
        if (!s) continue;
        if (!ct_dtype_is_float(value->dtype) ||
            !ct_state_shapes_fit(s->parameter->shape, value->shape)) {
            return ct_fail_bool("optimizer_set_state: '%s' is %s, expected %s", name,
                                ct_tensor_text(value), ct_tensor_text(s->parameter));
        }
        return moment_of(s, k) && ct_state_assign(s->moment[k], value);
    }
    return ct_fail_bool("optimizer_set_state: nothing is called '%s'", name);
}
