/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients over ranks where they are on a device, which adds them up in place and in turn with all
 * else: nothing waits, and a recorded step has it within. */
#include "nn/optim/optimizer.h"

#include <stdlib.h>

#include "tensor/ranks/transport.h"

/* The parameter's gradient, where it is that of nobody else (one that ct_set_grad took may be). */
static ct_tensor *own_gradient(const ct_optimizer_slot *slot) {
    ct_tensor *grad = ct_grad(slot->parameter);
    if (ct_is_exclusive(grad)) return grad;
    bool settled = false;
    CT_SCOPE {
        ct_tensor *copy = ct_tensor_copy(grad);
        settled = copy && ct_set_grad(slot->parameter, copy);
    }
    return settled ? ct_grad(slot->parameter) : NULL;
}

bool ct_optimizer_on_device(const ct_optimizer *optimizer) {
    return optimizer->count > 0 && optimizer->slots[0].parameter->device != CT_CPU;
}

bool ct_optimizer_all_reduce_on_device(const ct_optimizer *optimizer) {
    ct_tensor **grads = malloc((size_t)(optimizer->count + 1) * sizeof *grads);
    if (!grads) return ct_fail_bool("optimizer_all_reduce: out of memory");
    bool ok = true;
    int count = 0;
    for (int i = 0; ok && i < optimizer->count; i++) {
        const ct_optimizer_slot *slot = &optimizer->slots[i];
        if (!slot->updates || !ct_grad(slot->parameter)) continue;
        grads[count] = own_gradient(slot);
        ok = grads[count++] != NULL;
    }
    ok = ok && ct_all_reduce_on_device("optimizer_all_reduce", grads, count);
    free(grads);
    return ok;
}
