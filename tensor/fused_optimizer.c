/* Adam and SGD over a list of parameters: checks. */
#include "tensor/fused_check.h"

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

/* All parameters that have a gradient: sound, on one device, with gradients of their shape. */
static bool check_params(const char *op, ct_tensor *const *params, ct_tensor *const *grads,
                         int count, const ct_tensor **first) {
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
        if (!check_companion(op, "the gradient", i, params[i], grads[i])) return false;
    }
    return true;
}

bool ct_tensor_adam(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                    ct_tensor *const *exp_avg_sq, const int64_t *steps, int count,
                    ct_adam_options options) {
    const ct_tensor *first;
    if (!check_params("adam", params, grads, count, &first)) return false;
    for (int i = 0; i < count; i++) {
        if (!grads[i]) continue;
        if (!check_companion("adam", "exp_avg", i, params[i], exp_avg[i]) ||
            !check_companion("adam", "exp_avg_sq", i, params[i], exp_avg_sq[i])) {
            return false;
        }
        if (steps[i] < 1) {
            return ct_fail_bool("adam: step %lld of parameter %d, expected at least 1",
                                (long long)steps[i], i);
        }
    }
    return !first || ct_fused_of(first)->adam(params, grads, exp_avg, exp_avg_sq, steps, count,
                                              options);
}

bool ct_tensor_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                   const bool *first_step, int count, ct_sgd_options options) {
    const ct_tensor *first;
    if (!check_params("sgd", params, grads, count, &first)) return false;
    for (int i = 0; i < count && options.momentum != 0; i++) {
        if (grads[i] && !check_companion("sgd", "the momentum buffer", i, params[i], buffers[i])) {
            return false;
        }
    }
    return !first || ct_fused_of(first)->sgd(params, grads, buffers, first_step, count, options);
}
