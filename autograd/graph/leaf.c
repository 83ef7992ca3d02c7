/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves: tensors whose gradient is collected, and their hooks. */
#include <stdlib.h>
#include <string.h>

#include "autograd/graph/graph.h"

ct_tensor *ct_require_grad(ct_tensor *x) {
    if (!ct_given("require_grad", x)) return NULL;
    if (x->dtype != CT_F32 && x->dtype != CT_F64) {
        return ct_fail("require_grad: expected f32 or f64, got %s", ct_tensor_text(x));
    }
    ct_variable *variable = ct_variable_make(x);
    if (!variable) return NULL;
    variable->requires_grad = true;
    return x;
}

void ct_forget_grad(ct_tensor *x) {
    ct_variable *variable = ct_variable_of(x);
    if (!variable) return;
    if (variable->node) {
        ct_fail("forget_grad: %s was computed by '%s' and is not a leaf; ct_detach gives a "
                "constant",
                ct_tensor_text(x), variable->node->op->name);
        return;
    }
    variable->requires_grad = false;
    ct_zero_grad(x);
}

bool ct_requires_grad(const ct_tensor *x) {
    const ct_variable *variable = ct_variable_of(x);
    return variable && variable->requires_grad;
}

ct_tensor *ct_grad(const ct_tensor *x) {
    const ct_variable *variable = ct_variable_of(x);
    return variable ? variable->grad : NULL;
}

void ct_zero_grad(ct_tensor *x) {
    ct_variable *variable = ct_variable_of(x);
    if (!variable) return;
    ct_release(variable->grad);
    variable->grad = NULL;
}

bool ct_set_grad(ct_tensor *x, ct_tensor *grad) {
    if (!ct_given("set_grad", x)) return false;
    ct_variable *leaf = ct_variable_of(x);
    if (!leaf || !leaf->requires_grad || leaf->node) {
        return ct_fail_bool("set_grad: %s is not a leaf that requires a gradient",
                            ct_tensor_text(x));
    }
    if (grad && (!ct_shape_equal(grad->shape, x->shape) || grad->dtype != x->dtype ||
                 grad->device != x->device)) {
        return ct_fail_bool("set_grad: the gradient is %s on %s, expected %s on %s",
                            ct_tensor_text(grad), ct_device_name(grad->device), ct_tensor_text(x),
                            ct_device_name(x->device));
    }
    if (grad && (grad->autograd || !ct_is_contiguous(grad))) {
        bool copied = false;
        CT_SCOPE {
            ct_tensor *plain = ct_tensor_contiguous(grad);
            copied = plain != NULL;
            if (!copied) break;
            ct_zero_grad(x);
            leaf->grad = ct_keep(plain);
        }
        return copied;
    }
    ct_keep(grad);
    ct_zero_grad(x);
    leaf->grad = grad;
    return true;
}

ct_tensor *ct_leaf_take(ct_tensor *x) {
    ct_variable *leaf = ct_variable_of(x);
    if (!leaf || !leaf->grad) return NULL;
    ct_tensor *grad = leaf->grad;
    leaf->grad = NULL;
    return ct_adopt(grad);
}

/* A leaf's gradient is changed in place, here and by optimisers: it must be a buffer that nobody
 * else sees. */
static bool is_settled(const ct_tensor *grad) {
    return ct_is_exclusive(grad) && ct_is_contiguous(grad) && !grad->autograd;
}

bool ct_leaf_add(ct_variable *leaf, ct_tensor *g) {
    if (!leaf->tensor) return true; /* nobody can ask for it any more */
    if (leaf->grad && is_settled(leaf->grad)) return ct_tensor_add_to(leaf->grad, 1, g);
    ct_tensor *grad = leaf->grad ? ct_tensor_add(leaf->grad, g) : g;
    if (!grad) return false;
    ct_release(leaf->grad);
    leaf->grad = ct_keep(grad);
    return true;
}

bool ct_leaf_settle(ct_variable *leaf) {
    if (!leaf->grad || is_settled(leaf->grad)) return true;
    bool done = false;
    CT_SCOPE {
        ct_tensor *copy = ct_tensor_copy(leaf->grad);
        if (!copy) break;
        ct_release(leaf->grad);
        leaf->grad = ct_keep(copy);
        done = true;
    }
    return done;
}

/* ---- hooks ------------------------------------------------------------------------------ */

int ct_add_hook(ct_tensor *leaf, ct_grad_hook hook, void *context) {
    if (!ct_given("add_hook", leaf)) return 0;
    ct_variable *variable = ct_variable_of(leaf);
    if (!variable || !variable->requires_grad || variable->node || !hook) {
        ct_fail("add_hook: %s is not a leaf that requires a gradient, or the hook is NULL",
                ct_tensor_text(leaf));
        return 0;
    }
    size_t count = (size_t)variable->hook_count + 1;
    ct_hook *hooks = realloc(variable->hooks, count * sizeof *hooks);
    if (!hooks) {
        ct_fail("add_hook: out of memory");
        return 0;
    }
    variable->hooks = hooks;
    hooks[variable->hook_count++] = (ct_hook){++variable->last_handle, hook, context};
    return variable->last_handle;
}

void ct_remove_hook(ct_tensor *leaf, int handle) {
    ct_variable *variable = ct_variable_of(leaf);
    for (int i = 0; variable && i < variable->hook_count; i++) {
        if (variable->hooks[i].handle != handle) continue;
        size_t after = (size_t)(variable->hook_count - i - 1);
        memmove(&variable->hooks[i], &variable->hooks[i + 1], after * sizeof(ct_hook));
        variable->hook_count--;
        return;
    }
}

/* A hook may remove itself or add others; those added now are called too. */
void ct_leaf_run_hooks(ct_variable *leaf) {
    int i = 0;
    while (leaf->tensor && leaf->grad && i < leaf->hook_count) {
        ct_hook hook = leaf->hooks[i];
        CT_SCOPE { hook.call(hook.context, leaf->tensor, leaf->grad); }
        if (i < leaf->hook_count && leaf->hooks[i].handle == hook.handle) i++;
    }
}
