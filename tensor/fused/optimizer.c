/* SPDX-License-Identifier: Apache-2.0 */
/* Adam and SGD over a list of parameters: the numbers of an update, and checks. */
#include <math.h>
#include <stdlib.h>

#include "tensor/fused/check.h"

static bool check_rates(const char *op, const double *rates, const void *options) {
    return ct_check_pointer(op, "rates", rates) && ct_check_pointer(op, "options", options);
}

void ct_adam_rates(double rates[CT_ADAM_RATES], double lr, int64_t step,
                   const ct_tensor_adam_options *options) {
    if (!check_rates("adam_rates", rates, options)) return;
    rates[0] = lr / (1 - pow(options->beta1, (double)step));
    rates[1] = 1 / sqrt(1 - pow(options->beta2, (double)step));
    rates[2] = options->decoupled ? 1 - lr * options->weight_decay : 1;
}

void ct_sgd_rates(double rates[CT_SGD_RATES], double lr, bool first,
                  const ct_tensor_sgd_options *options) {
    if (!check_rates("sgd_rates", rates, options)) return;
    rates[0] = lr;
    rates[1] = first ? 0 : options->momentum;
}

/* A tensor that is updated along with, or read for, a parameter. */
static bool check_companion(const char *op, const char *name, int i, const ct_tensor *param,
                            const ct_tensor *x) {
    if (!x) return ct_fail_bool("%s: %s of parameter %d is NULL", op, name, i);
    if (x->dtype == param->dtype && x->device == param->device && ct_is_contiguous(x) &&
        ct_shape_equal(x->shape, param->shape)) {
        return true;
    }
    return ct_fail_bool("%s: %s of parameter %d is %s%s on %s, expected contiguous %s on %s", op,
                        name, i, ct_is_contiguous(x) ? "" : "not contiguous, ", ct_tensor_text(x),
                        ct_device_name(x->device), ct_tensor_text(param),
                        ct_device_name(param->device));
}

/* A parameter's rates, or the norm. */
static bool check_numbers(const char *op, const char *name, const ct_tensor *x, int64_t count,
                          ct_device device) {
    if (!x) return ct_fail_bool("%s: %s is NULL", op, name);
    if (x->dtype == CT_F64 && x->device == device && ct_is_contiguous(x) && ct_count(x) == count) {
        return true;
    }
    return ct_fail_bool("%s: %s is %s on %s, expected f64, %lld contiguous, on %s", op, name,
                        ct_tensor_text(x), ct_device_name(x->device), (long long)count,
                        ct_device_name(device));
}

/* All parameters that have a gradient: sound, on one device, with gradients of their shape. */
static bool check_params(const char *op, ct_tensor *const *params, ct_tensor *const *grads,
                         ct_tensor *const *rates, int64_t rate_count, int count,
                         const ct_tensor *norm, const ct_tensor **first) {
    *first = NULL;
    if (!ct_check_list(op, "parameters", params, count) ||
        !ct_check_list(op, "gradients", grads, count) ||
        !ct_check_list(op, "rates", rates, count)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!grads[i]) continue;
        if (!ct_check_float(op, params[i])) return false;
        if (!ct_is_contiguous(params[i])) {
            return ct_fail_bool("%s: parameter %d, %s, is not contiguous", op, i,
                                ct_tensor_text(params[i]));
        }
        if (!*first) *first = params[i];
        if (params[i]->device != (*first)->device) {
            return ct_fail_bool("%s: parameter %d is on %s, others on %s", op, i,
                                ct_device_name(params[i]->device),
                                ct_device_name((*first)->device));
        }
        if (!check_companion(op, "the gradient", i, params[i], grads[i]) ||
            !check_numbers(op, "a parameter's rates", rates[i], rate_count, (*first)->device)) {
            return false;
        }
    }
    return !*first || !norm || check_numbers(op, "the norm", norm, 1, (*first)->device);
}

/* A run of bytes that an update reads or writes. */
typedef struct {
    const char *first, *end;
    bool written;
} block;

static block block_of(const ct_tensor *x, bool written) {
    if (ct_count(x) == 0) return (block){NULL, NULL, false};
    int64_t size = (int64_t)ct_dtype_size(x->dtype);
    const char *first = (const char *)x->storage->data + x->offset * size;
    return (block){first, first + ct_count(x) * size, written};
}

static int by_address(const void *a, const void *b) {
    const block *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* In the order of addresses, no block begins before the end of one that it may not touch. */
static bool are_apart(block *blocks, int count) {
    const char *end = NULL, *written_end = NULL;
    qsort(blocks, (size_t)count, sizeof *blocks, by_address);
    for (int i = 0; i < count; i++) {
        const block *b = &blocks[i];
        const char *before = b->written ? end : written_end;
        if (b->first == b->end) continue;
        if (before && b->first < before) return false;
        if (!end || b->end > end) end = b->end;
        if (b->written && (!written_end || b->end > written_end)) written_end = b->end;
    }
    return true;
}

/* What is updated shares no memory with anything else, so that the order of updates is nothing to
 * the result. `state`: two lists, NULL for one that there is not. */
static bool check_apart(const char *op, ct_tensor *const *params, ct_tensor *const *grads,
                        ct_tensor *const *const state[2], int count) {
    block *blocks = malloc((4 * (size_t)count + 1) * sizeof *blocks);
    int used = 0;
    if (!blocks) return ct_fail_bool("%s: out of memory", op);
    for (int i = 0; i < count; i++) {
        if (!grads[i]) continue;
        blocks[used++] = block_of(params[i], true);
        blocks[used++] = block_of(grads[i], false);
        for (int j = 0; j < 2; j++) {
            if (state[j]) blocks[used++] = block_of(state[j][i], true);
        }
    }
    bool apart = are_apart(blocks, used);
    free(blocks);
    return apart || ct_fail_bool("%s: parameters, their gradients and their state share memory "
                                 "(a parameter that is listed twice?)",
                                 op);
}

static void mark_written(ct_tensor *const *params, ct_tensor *const *grads,
                         ct_tensor *const *const state[2], int count) {
    for (int i = 0; i < count; i++) {
        if (!grads[i]) continue;
        ct_mark_written(params[i]);
        for (int j = 0; j < 2; j++) {
            if (state[j]) ct_mark_written(state[j][i]);
        }
    }
}

static bool check_clip(const char *op, const ct_clip *clip) {
    bool clips = clip->norm && clip->limit != 0;
    if (clip->limit >= 0 && (clip->times >= 1 || !clips)) return true;
    return ct_fail_bool("%s: clipping to %g, %d times, expected 0 or more, 1 or more", op,
                        clip->limit, clip->times);
}

static bool check_adam(const ct_tensor_adam_options *o) {
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1)) {
        return ct_fail_bool("adam: betas are %g and %g, expected 0 or more, below 1", o->beta1,
                            o->beta2);
    }
    return ct_check_not_negative("adam", "eps", o->eps) &&
           ct_check_not_negative("adam", "weight_decay", o->weight_decay) &&
           check_clip("adam", &o->clip);
}

static bool check_sgd(const ct_tensor_sgd_options *o) {
    return ct_check_not_negative("sgd", "momentum", o->momentum) &&
           ct_check_not_negative("sgd", "weight_decay", o->weight_decay) &&
           check_clip("sgd", &o->clip);
}

bool ct_tensor_adam(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                    ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                    ct_tensor_adam_options options) {
    const ct_tensor *first;
    if (!check_adam(&options) || !check_params("adam", params, grads, rates, CT_ADAM_RATES, count,
                                               options.clip.norm, &first)) {
        return false;
    }
    if (!ct_check_list("adam", "exp_avg", exp_avg, count) ||
        !ct_check_list("adam", "exp_avg_sq", exp_avg_sq, count)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!grads[i]) continue;
        if (!check_companion("adam", "exp_avg", i, params[i], exp_avg[i]) ||
            !check_companion("adam", "exp_avg_sq", i, params[i], exp_avg_sq[i])) {
            return false;
        }
    }
    ct_tensor *const *const state[2] = {exp_avg, exp_avg_sq};
    if (!check_apart("adam", params, grads, state, count)) return false;
    mark_written(params, grads, state, count);
    return !first || ct_backend_of(first->device)
                         ->adam(params, grads, exp_avg, exp_avg_sq, rates, count, options);
}

bool ct_tensor_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                   ct_tensor *const *rates, int count, ct_tensor_sgd_options options) {
    const ct_tensor *first;
    if (!check_sgd(&options) || !check_params("sgd", params, grads, rates, CT_SGD_RATES, count,
                                              options.clip.norm, &first)) {
        return false;
    }
    if (options.momentum != 0 && !ct_check_list("sgd", "momentum buffers", buffers, count)) {
        return false;
    }
    for (int i = 0; i < count && options.momentum != 0; i++) {
        if (grads[i] && !check_companion("sgd", "the momentum buffer", i, params[i], buffers[i])) {
            return false;
        }
    }
    ct_tensor *const *const state[2] = {options.momentum != 0 ? buffers : NULL, NULL};
    if (!check_apart("sgd", params, grads, state, count)) return false;
    mark_written(params, grads, state, count);
    return !first ||
           ct_backend_of(first->device)->sgd(params, grads, buffers, rates, count, options);
}
