/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients over ranks, in one message a dtype: many small ones would each wait for all. */
#include "nn/optim/optimizer.h"

#include <stdlib.h>
#include <string.h>

/* Copies the gradients of a dtype one after the other into `flat`, or back; returns how many bytes
 * they are. flat NULL: nothing is copied. */
static size_t copy_all(const ct_optimizer *optimizer, ct_dtype dtype, char *flat, bool back) {
    size_t at = 0;
    for (int i = 0; i < optimizer->count; i++) {
        const ct_optimizer_slot *s = &optimizer->slots[i];
        const ct_tensor *grad = s->updates ? ct_grad(s->parameter) : NULL;
        if (!grad || grad->dtype != dtype) continue;
        size_t size = (size_t)ct_count(grad) * ct_dtype_size(dtype);
        if (flat && back) memcpy(ct_data(grad), flat + at, size);
        else if (flat) memcpy(flat + at, ct_data(grad), size);
        at += size;
    }
    return at;
}

static bool reduce_all(const ct_optimizer *optimizer, ct_dtype dtype) {
    size_t bytes = copy_all(optimizer, dtype, NULL, false);
    if (bytes == 0) return true;
    bool done = false;
    CT_SCOPE {
        int64_t count = (int64_t)(bytes / ct_dtype_size(dtype));
        ct_tensor *flat = ct_empty(dtype, CT_CPU, CT_SHAPE(count));
        if (!flat) break;
        copy_all(optimizer, dtype, ct_data(flat), false);
        done = ct_tensor_all_reduce(flat);
        if (done) copy_all(optimizer, dtype, ct_data(flat), true);
    }
    return done;
}

/* ct_grad's are contiguous buffers of their own after backward; one that ct_set_grad took is
 * contiguous, too, and may be somebody else's. */
static bool settle_all(const ct_optimizer *optimizer) {
    for (int i = 0; i < optimizer->count; i++) {
        ct_tensor *parameter = optimizer->slots[i].parameter, *grad = ct_grad(parameter);
        if (grad && grad->device != CT_CPU) {
            return ct_fail_bool("optimizer_all_reduce: '%s' is on %s; ranks share what is on the "
                                "CPU",
                                optimizer->slots[i].name, ct_device_name(grad->device));
        }
        if (!grad || ct_is_exclusive(grad)) continue;
        bool settled = false;
        CT_SCOPE {
            ct_tensor *copy = ct_tensor_copy(grad);
            settled = copy && ct_set_grad(parameter, copy);
        }
        if (!settled) return false;
    }
    return true;
}

bool ct_optimizer_all_reduce(ct_optimizer *optimizer) {
    if (!optimizer) {
        return ct_ok() ? ct_fail_bool("optimizer_all_reduce: optimizer is NULL") : false;
    }
    if (ct_ranks() == 1 || !ct_ok()) return ct_ok();
    return settle_all(optimizer) && reduce_all(optimizer, CT_F32) && reduce_all(optimizer, CT_F64);
}
