/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves: tensors whose gradient is collected, and their hooks. */
#include <stdlib.h>
#include <string.h>

#include "autograd/graph/graph.h"
#include "tensor/core/trace.h"

ct_tensor *ct_require_grad(ct_tensor *x) {
    if (!ct_given("require_grad", x)) return NULL;
    if (x->dtype != CT_F32 && x->dtype != CT_F64) {
        return ct_fail("require_grad: expected f32 or f64, got %s", ct_tensor_text(x));
    }
    ct_variable *variable = ct_variable_make(x);
    if (!variable) return NULL;
    variable->requires_grad = true;
    ct_trace_end(x); /* the graph begins here, wherever the value came from */
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

/* Where x's gradient is collected: its variable, or what ct_retain_grad gave it; NULL if it is
 * not. */
static ct_variable *collector_of(const ct_tensor *x) {
    ct_variable *variable = ct_variable_of(x);
    return variable && variable->retained ? variable->retained : variable;
}

ct_tensor *ct_grad(const ct_tensor *x) {
    ct_variable *variable = collector_of(x);
    if (!variable) return NULL;
    pthread_mutex_lock(&variable->lock);
    ct_tensor *grad = variable->grad;
    pthread_mutex_unlock(&variable->lock);
    return grad;
}

/* Puts a gradient, or NULL, in the place of a variable's; the reference goes over. */
static void replace_grad(ct_variable *variable, ct_tensor *grad) {
    pthread_mutex_lock(&variable->lock);
    ct_tensor *old = variable->grad;
    variable->grad = grad;
    pthread_mutex_unlock(&variable->lock);
    ct_release(old);
}

void ct_zero_grad(ct_tensor *x) {
    ct_variable *variable = collector_of(x);
    if (variable) replace_grad(variable, NULL);
}

ct_tensor *ct_retain_grad(ct_tensor *x) {
    if (!ct_given("retain_grad", x)) return NULL;
    ct_variable *variable = ct_variable_of(x);
    if (!variable || !variable->requires_grad) {
        return ct_fail("retain_grad: %s was not computed from a tensor that requires a gradient",
                       ct_tensor_text(x));
    }
    ct_node *node = variable->node;
    if (!node || variable->retained) return x;
    if (!node->retained) node->retained = calloc((size_t)node->outputs, sizeof *node->retained);
    ct_variable *retained = node->retained ? ct_variable_create(x) : NULL;
    if (!retained) return ct_fail("retain_grad: out of memory");
    atomic_fetch_add(&retained->refs, 1); /* the node's and the variable's */
    node->retained[variable->output] = variable->retained = retained;
    return x;
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
            replace_grad(leaf, ct_keep(plain));
        }
        return copied;
    }
    replace_grad(leaf, ct_keep(grad));
    return true;
}

ct_tensor *ct_leaf_take(ct_tensor *x) {
    ct_variable *leaf = ct_variable_of(x);
    if (!leaf) return NULL;
    pthread_mutex_lock(&leaf->lock);
    ct_tensor *grad = leaf->grad;
    leaf->grad = NULL;
    pthread_mutex_unlock(&leaf->lock);
    return ct_adopt(grad);
}

/* A leaf's gradient is changed in place, here and by optimisers: it must be a buffer that nobody
 * else sees. */
static bool is_settled(const ct_tensor *grad) {
    return ct_is_exclusive(grad) && ct_is_contiguous(grad) && !grad->autograd;
}

static bool add_to_leaf(ct_variable *leaf, ct_tensor *g) {
    if (!leaf->tensor) return true; /* nobody can ask for it any more */
    if (leaf->grad && is_settled(leaf->grad)) return ct_tensor_add_to(leaf->grad, 1, g);
    ct_tensor *grad = leaf->grad ? ct_tensor_add(leaf->grad, g) : g;
    if (!grad) return false;
    ct_release(leaf->grad);
    leaf->grad = ct_keep(grad);
    return true;
}

bool ct_leaf_add(ct_variable *leaf, ct_tensor *g) {
    pthread_mutex_lock(&leaf->lock);
    bool added = add_to_leaf(leaf, g);
    pthread_mutex_unlock(&leaf->lock);
    return added;
}

static bool settle_leaf(ct_variable *leaf) {
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

bool ct_leaf_settle(ct_variable *leaf) {
    pthread_mutex_lock(&leaf->lock);
    bool settled = settle_leaf(leaf);
    pthread_mutex_unlock(&leaf->lock);
    return settled;
}

/* ---- hooks ------------------------------------------------------------------------------ */

/* The new hook's handle; 0 and an error if memory is short. */
static int append_hook(ct_variable *variable, ct_grad_hook hook, void *context) {
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

int ct_add_hook(ct_tensor *leaf, ct_grad_hook hook, void *context) {
    if (!ct_given("add_hook", leaf)) return 0;
    ct_variable *variable = ct_variable_of(leaf);
    if (!variable || !variable->requires_grad || variable->node || !hook) {
        ct_fail("add_hook: %s is not a leaf that requires a gradient, or the hook is NULL",
                ct_tensor_text(leaf));
        return 0;
    }
    pthread_mutex_lock(&variable->lock);
    int handle = append_hook(variable, hook, context);
    pthread_mutex_unlock(&variable->lock);
    return handle;
}

void ct_remove_hook(ct_tensor *leaf, int handle) {
    ct_variable *variable = ct_variable_of(leaf);
    if (!variable) return;
    pthread_mutex_lock(&variable->lock);
    int i = 0;
    while (i < variable->hook_count && variable->hooks[i].handle != handle) i++;
    if (i < variable->hook_count) {
        size_t after = (size_t)(--variable->hook_count - i);
        memmove(&variable->hooks[i], &variable->hooks[i + 1], after * sizeof(ct_hook));
    }
    pthread_mutex_unlock(&variable->lock);
}

bool ct_leaf_has_hooks(ct_variable *leaf) {
    pthread_mutex_lock(&leaf->lock);
    bool has = leaf->hook_count > 0;
    pthread_mutex_unlock(&leaf->lock);
    return has;
}

/* The first hook whose handle is greater than `last`; false if there is none, or nothing to call
 * it with. Handles grow along the list. */
static bool next_hook(ct_variable *leaf, int last, ct_hook *hook, ct_tensor **x, ct_tensor **grad) {
    pthread_mutex_lock(&leaf->lock);
    int i = 0;
    while (i < leaf->hook_count && leaf->hooks[i].handle <= last) i++;
    bool found = leaf->tensor && leaf->grad && i < leaf->hook_count;
    if (found) {
        *hook = leaf->hooks[i];
        *x = leaf->tensor;
        *grad = leaf->grad;
    }
    pthread_mutex_unlock(&leaf->lock);
    return found;
}

/* A hook may remove itself or add others; those added now are called too. No lock is held. */
void ct_leaf_run_hooks(ct_variable *leaf) {
    ct_hook hook = {0};
    ct_tensor *x, *grad;
    while (next_hook(leaf, hook.handle, &hook, &x, &grad)) {
        CT_SCOPE { hook.call(hook.context, x, grad); }
    }
}
