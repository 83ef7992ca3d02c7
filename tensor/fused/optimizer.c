/* SPDX-License-Identifier: Apache-2.0 */
/* Adam and SGD over a list of parameters: the numbers of an update, and checks. */
#include <math.h>

#include "tensor/fused/check.h"

void ct_adam_rates(double rates[CT_ADAM_RATES], double lr, int64_t step,
                   const ct_tensor_adam_options *options) {
    rates[0] = lr / (1 - pow(options->beta1, (double)step));
    rates[1] = 1 / sqrt(1 - pow(options->beta2, (double)step));
    rates[2] = options->decoupled ? 1 - lr * options->weight_decay : 1;
}

void ct_sgd_rates(double rates[CT_SGD_RATES], double lr, bool first,
                  const ct_tensor_sgd_options *options) {
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

bool ct_tensor_adam(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                    ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                    ct_tensor_adam_options options) {
    const ct_tensor *first;
    if (!check_params("adam", params, grads, rates, CT_ADAM_RATES, count, options.clip.norm,
                      &first)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!grads[i]) continue;
        if (!check_companion("adam", "exp_avg", i, params[i], exp_avg[i]) ||
            !check_companion("adam", "exp_avg_sq", i, params[i], exp_avg_sq[i])) {
            return false;
        }
    }
    return !first || ct_backend_of(first->device)
                         ->adam(params, grads, exp_avg, exp_avg_sq, rates, count, options);
}

bool ct_tensor_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                   ct_tensor *const *rates, int count, ct_tensor_sgd_options options) {
    const ct_tensor *first;
    if (!check_params("sgd", params, grads, rates, CT_SGD_RATES, count, options.clip.norm,
                      &first)) {
        return false;
    }
    for (int i = 0; i < count && options.momentum != 0; i++) {
        if (grads[i] && !check_companion("sgd", "the momentum buffer", i, params[i], buffers[i])) {
            return false;
        }
    }
    return !first ||
           ct_backend_of(first->device)->sgd(params, grads, buffers, rates, count, options);
}
