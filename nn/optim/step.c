/* SPDX-License-Identifier: Apache-2.0 */
/* A step of an optimiser. A parameter's state is created with its first gradient, as in PyTorch: a
 * parameter that never got one has none.
 *
 * A step has three parts: what the host computes (the number of the step, the learning rate), what
 * the device does, and counting. Only the middle part may be recorded and repeated: numbers that
 * change from step to step are in `rates`, which the first part writes. */
#include "nn/optim/optimizer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { RATES = CT_ADAM_RATES };
static_assert((int)CT_SGD_RATES <= (int)RATES, "room for either");

double ct_optimizer_grad_norm(const ct_optimizer *optimizer) {
    return optimizer && optimizer->norm ? ct_item(optimizer->norm) : 0;
}

/* ---- the numbers of a step -------------------------------------------------------------- */

static ct_tensor *kept_empty(ct_device device, ct_shape shape) {
    ct_tensor *x = NULL;
    CT_SCOPE { x = ct_keep(ct_empty(CT_F64, device, shape)); }
    return x;
}

/* The norm and the rates, where the parameters are: made anew if those were moved, or if memory was
 * short the last time. */
static bool place_numbers(ct_optimizer *optimizer) {
    int64_t count = (int64_t)optimizer->count * optimizer->most_updates * RATES;
    ct_device device = optimizer->count ? optimizer->slots[0].parameter->device : CT_CPU;
    bool whole = optimizer->norm && optimizer->rates && optimizer->host_rates;
    if (whole && optimizer->rates->device == device) return true;
    ct_release(optimizer->norm);
    ct_release(optimizer->rates);
    optimizer->norm = kept_empty(device, CT_SCALAR_SHAPE);
    optimizer->rates = kept_empty(device, CT_SHAPE(count));
    if (!optimizer->host_rates) {
        optimizer->host_rates = malloc((size_t)count * sizeof(double) + 1);
        if (!optimizer->host_rates) return ct_fail_bool("optimizer: out of memory");
    }
    return optimizer->norm && optimizer->rates && ct_tensor_fill(optimizer->norm, 0);
}

/* For the slot's update k in the next step. */
static void write_rates(const ct_optimizer *optimizer, const ct_optimizer_slot *s, int k,
                        double rates[RATES]) {
    double lr = optimizer->lr * s->lr_factor;
    rates[RATES - 1] = 0; /* SGD has none */
    if (optimizer->kind == CT_OPTIMIZER_ADAM) {
        ct_tensor_adam_options options = optimizer->adam;
        options.weight_decay = s->weight_decay;
        ct_adam_rates(rates, lr, s->steps + 1 + k, &options);
    } else {
        ct_sgd_rates(rates, lr, !s->moment[0] && k == 0, &optimizer->sgd);
    }
}

bool ct_optimizer_prepare(ct_optimizer *optimizer) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_prepare: optimizer is NULL") : false;
    if (!ct_ok() || !place_numbers(optimizer)) return false;
    double *rates = optimizer->host_rates;
    for (int i = 0; i < optimizer->count; i++) {
        for (int k = 0; k < optimizer->most_updates; k++, rates += RATES) {
            write_rates(optimizer, &optimizer->slots[i], k, rates);
        }
    }
    return ct_write(optimizer->rates, optimizer->host_rates);
}

/* ---- the update ------------------------------------------------------------------------- */

/* What a step works on: the parameters that have a gradient, those that are updated alike next to
 * each other, those with more updates later. */
typedef struct {
    ct_optimizer_slot **slots;
    ct_tensor **parameters, **moment[2], **rates;
    ct_tensor **grads; /* has room for each as often as it is updated */
    int count;
} batch;

static bool batch_allocate(batch *b, const ct_optimizer *optimizer) {
    size_t n = (size_t)optimizer->count + 1, most = (size_t)optimizer->most_updates;
    *b = (batch){.slots = calloc(n, sizeof *b->slots),
                 .parameters = calloc(n, sizeof *b->parameters),
                 .grads = calloc(most * n, sizeof *b->grads),
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

ct_tensor *ct_optimizer_moment(ct_optimizer_slot *s, int k) {
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

static bool gather(const ct_optimizer *optimizer, batch *b) {
    for (int i = 0; i < optimizer->count; i++) {
        ct_optimizer_slot *s = optimizer->order[i];
        if (s->updates == 0) continue;
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

static bool gather_moments(const ct_optimizer *optimizer, batch *b) {
    int moments = optimizer->kind == CT_OPTIMIZER_ADAM ? 2 : optimizer->sgd.momentum > 0 ? 1 : 0;
    for (int i = 0; i < b->count; i++) {
        for (int k = 0; k < moments; k++) {
            b->moment[k][i] = ct_optimizer_moment(b->slots[i], k);
            if (!b->moment[k][i]) return false;
        }
    }
    return true;
}

/* Views of the rates for the parameters' update k. */
static bool gather_rates(const ct_optimizer *optimizer, int k, batch *b) {
    int64_t width = optimizer->kind == CT_OPTIMIZER_ADAM ? CT_ADAM_RATES : CT_SGD_RATES;
    for (int i = 0; i < b->count; i++) {
        int64_t at = ((b->slots[i] - optimizer->slots) * optimizer->most_updates + k) * RATES;
        b->rates[i] = ct_tensor_slice(optimizer->rates, 0, at, at + width, 1);
        if (!b->rates[i]) return false;
    }
    return true;
}

/* On the CPU, reading the norm costs nothing; elsewhere the update notices a gradient that is not
 * finite, and does nothing. */
static bool measure_norm(const ct_optimizer *optimizer, const batch *b) {
    if (b->count == 0) return ct_tensor_fill(optimizer->norm, 0);
    int listed = b->count;
    for (int k = 1; k < optimizer->most_updates; k++) {
        for (int i = 0; i < b->count; i++) {
            if (b->slots[i]->updates > k) b->grads[listed++] = b->grads[i];
        }
    }
    ct_tensor *norm = ct_tensor_global_norm(b->grads, listed);
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

/* Updates parameters from .. to - 1, which are updated alike. As in PyTorch, a gradient is scaled
 * once for each time its parameter is listed, before all updates. */
static bool update_alike(const ct_optimizer *optimizer, const batch *b, int from, int to) {
    const ct_optimizer_slot *first = b->slots[from];
    ct_clip clip = {optimizer->norm, optimizer->clip, first->updates};
    if (optimizer->kind == CT_OPTIMIZER_ADAM) {
        ct_tensor_adam_options options = optimizer->adam;
        options.weight_decay = first->weight_decay;
        options.clip = clip;
        return ct_tensor_adam(b->parameters + from, b->grads + from, b->moment[0] + from,
                              b->moment[1] + from, b->rates + from, to - from, options);
    }
    ct_tensor_sgd_options options = optimizer->sgd;
    options.weight_decay = first->weight_decay;
    options.clip = clip;
    return ct_tensor_sgd(b->parameters + from, b->grads + from, b->moment[0] + from,
                         b->rates + from, to - from, options);
}

/* The end of the run of parameters that are updated like number `from`. */
static int end_of_alike(const batch *b, int from) {
    const ct_optimizer_slot *first = b->slots[from];
    int to = from + 1;
    while (to < b->count && b->slots[to]->updates == first->updates &&
           b->slots[to]->weight_decay == first->weight_decay) {
        to++;
    }
    return to;
}

static bool update(const ct_optimizer *optimizer, batch *b) {
    int most = b->count ? b->slots[b->count - 1]->updates : 0;
    for (int k = 0; k < most; k++) {
        if (!gather_rates(optimizer, k, b)) return false;
        for (int from = 0, to; from < b->count; from = to) {
            to = end_of_alike(b, from);
            if (b->slots[from]->updates > k && !update_alike(optimizer, b, from, to)) return false;
        }
    }
    return true;
}

bool ct_optimizer_update(ct_optimizer *optimizer) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_update: optimizer is NULL") : false;
    if (!ct_ok()) return false; /* a backward may have failed half-way */
    if (!optimizer->rates) {
        return ct_fail_bool("optimizer_update: ct_optimizer_prepare comes first");
    }
    batch b;
    bool ok = false;
    if (batch_allocate(&b, optimizer)) {
        CT_SCOPE {
            ok = gather(optimizer, &b) && measure_norm(optimizer, &b) &&
                 gather_moments(optimizer, &b) && update(optimizer, &b);
        }
    }
    for (int i = 0; i < optimizer->count; i++) optimizer->slots[i].done = 0;
    for (int i = 0; ok && i < b.count; i++) {
        b.slots[i]->done = b.slots[i]->updates;
        ct_zero_grad(b.slots[i]->parameter);
    }
    batch_free(&b);
    return ok;
}

void ct_optimizer_count(ct_optimizer *optimizer) {
    for (int i = 0; optimizer && i < optimizer->count; i++) {
        optimizer->slots[i].steps += optimizer->slots[i].done;
    }
}

bool ct_optimizer_step(ct_optimizer *optimizer) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_step: optimizer is NULL") : false;
    if (!ct_optimizer_prepare(optimizer) || !ct_optimizer_update(optimizer)) return false;
    ct_optimizer_count(optimizer);
    return true;
}
