/* SPDX-License-Identifier: Apache-2.0 */
/* Backward: collects the nodes behind the outputs, then lets each hand its gradients on, newest
 * first. A node is newer than all it depends on, so its own gradient is complete by then; and the
 * order is that of the forward pass reversed, whatever the shape of the graph, so sums of gradients
 * always have the same order. Nothing recurses. */
#include <stdlib.h>

#include "autograd/graph/graph.h"
#include "autograd/profile.h"

typedef struct {
    ct_node *node;
    size_t found; /* breaks ties between nodes of different threads */
} entry;

typedef struct run run;
struct run {
    run *outer; /* the backward that this one runs inside of (ct_checkpoint) */
    entry *entries;
    size_t count, capacity;
    ct_variable **due; /* leaves whose hooks are to be called */
    size_t due_count, due_capacity;
    bool retain;
    uint64_t floor;
};

static _Thread_local run *innermost;

/* ---- collecting ------------------------------------------------------------------------- */

static bool grow(void **items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) return true;
    size_t larger = *capacity ? 2 * *capacity : 64;
    void *grown = realloc(*items, larger * size);
    if (!grown) return ct_fail_bool("backward: out of memory");
    *items = grown;
    *capacity = larger;
    return true;
}

static bool reach(run *r, ct_node *node) {
    const char *name = node->op->name;
    if (node->run == r) return true;
    if (node->sequence <= r->floor) {
        return ct_fail_bool("checkpoint: the function uses the result of '%s', which was computed "
                            "before it and is not among its inputs",
                            name);
    }
    if (node->run) return ct_fail_bool("backward: another backward is inside '%s'", name);
    if (node->used) {
        return ct_fail_bool("backward: the graph of '%s' was already used; pass retain_graph",
                            name);
    }
    if (node->incomplete) {
        return ct_fail_bool("backward: '%s' could not save what its gradient needs", name);
    }
    if (!grow((void **)&r->entries, r->count, &r->capacity, sizeof *r->entries)) return false;
    node->run = r;
    atomic_fetch_add(&node->refs, 1);
    r->entries[r->count] = (entry){node, r->count};
    r->count++;
    return true;
}

static int newest_first(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->node->sequence != y->node->sequence) {
        return x->node->sequence > y->node->sequence ? -1 : 1;
    }
    return x->found < y->found ? -1 : 1;
}

static bool collect(run *r, ct_tensor *const *outputs, int count) {
    for (int i = 0; i < count; i++) {
        ct_node *node = ct_variable_of(outputs[i])->node;
        if (node && !reach(r, node)) return false;
    }
    for (size_t done = 0; done < r->count; done++) {
        const ct_node *node = r->entries[done].node;
        for (int i = 0; i < node->inputs; i++) {
            if (!ct_needs_grad(node, i) || !node->edge[i].variable->node) continue;
            if (!reach(r, node->edge[i].variable->node)) return false;
        }
    }
    if (r->count) qsort(r->entries, r->count, sizeof *r->entries, newest_first);
    return true;
}

/* ---- handing gradients on --------------------------------------------------------------- */

static bool hooks_later(run *r, ct_variable *leaf) {
    if (!leaf->hook_count || leaf->hooks_due) return true;
    while (r->outer) r = r->outer;
    if (!grow((void **)&r->due, r->due_count, &r->due_capacity, sizeof *r->due)) return false;
    atomic_fetch_add(&leaf->refs, 1);
    leaf->hooks_due = true;
    r->due[r->due_count++] = leaf;
    return true;
}

static bool overlaps_itself(const ct_tensor *x) {
    for (int i = 0; i < x->shape.ndim; i++) {
        if (x->shape.dim[i] > 1 && x->stride[i] == 0) return true;
    }
    return false;
}

/* The first contribution is taken as it is: it may be shared (an operation may hand the same
 * tensor to several inputs, or pass its own gradient on), so it is only added to in place when
 * nothing else refers to it; else the sum becomes a buffer of our own. */
static bool add_gradient(ct_variable *variable, ct_tensor *g) {
    ct_tensor **sum = &variable->node->gradient[variable->output];
    if (!*sum) {
        *sum = ct_keep(g);
        return true;
    }
    if (ct_is_exclusive(*sum) && !overlaps_itself(*sum)) return ct_tensor_add_to(*sum, 1, g);
    ct_tensor *added = ct_tensor_add(*sum, g);
    if (!added) return false;
    ct_release(*sum);
    *sum = ct_keep(added);
    return true;
}

static bool hand_to(run *r, ct_variable *variable, ct_tensor *g) {
    if (variable->node) return add_gradient(variable, g);
    return ct_leaf_add(variable, g) && hooks_later(r, variable);
}

static bool check_gradient(const ct_node *node, int i, const ct_tensor *g) {
    const ct_edge *edge = &node->edge[i];
    if (!ct_shape_equal(g->shape, edge->shape) || g->dtype != edge->dtype ||
        g->device != edge->device) {
        return ct_fail_bool("backward of '%s': the gradient of input %d is %s on %s, expected %s "
                            "%s on %s",
                            node->op->name, i, ct_tensor_text(g), ct_device_name(g->device),
                            ct_dtype_name(edge->dtype), ct_shape_text(edge->shape),
                            ct_device_name(edge->device));
    }
    if (ct_anomaly_mode() && ct_tensor_has_nonfinite(g)) {
        return ct_fail_bool("anomaly: the gradient of input %d of '%s' has a NaN or an infinity", i,
                            node->op->name);
    }
    return true;
}

/* The node's scope takes over its outputs' gradients: they go with it. */
static bool has_gradient(ct_node *node) {
    bool has = false;
    for (int i = 0; i < node->outputs; i++) {
        ct_tensor *g = node->gradient[i];
        node->gradient[i] = NULL;
        if (g) has = (node->gradient[i] = ct_adopt(g)) != NULL;
    }
    return has;
}

static bool process_in_scope(run *r, ct_node *node) {
    for (int i = 0; i < node->inputs; i++) node->input_gradient[i] = NULL;
    if (!has_gradient(node)) return ct_ok();
    double start = ct_profile_running() ? ct_profile_clock() : 0;
    if (!node->op->backward(node, node->gradient, node->input_gradient)) {
        return ct_fail_bool("backward of '%s' failed", node->op->name);
    }
    if (ct_profile_running()) ct_profile_backward(node->op, start);
    for (int i = 0; i < node->inputs; i++) {
        ct_tensor *g = node->input_gradient[i];
        if (!g || !ct_needs_grad(node, i)) continue;
        if (!check_gradient(node, i, g) || !hand_to(r, node->edge[i].variable, g)) return false;
    }
    return ct_ok();
}

static bool settle(ct_variable *variable) {
    return !variable || variable->node || ct_leaf_settle(variable);
}

static bool process(run *r, ct_node *node) {
    bool done = false;
    CT_SCOPE { done = process_in_scope(r, node); }
    for (int i = 0; i < node->outputs; i++) node->gradient[i] = NULL;
    for (int i = 0; done && i < node->inputs; i++) {
        if (node->input_gradient[i]) done = settle(node->edge[i].variable);
    }
    return done;
}

/* ---- a whole backward ------------------------------------------------------------------- */

static bool check_output(int i, const ct_tensor *y, const ct_tensor *g) {
    if (!ct_given("backward", y)) return false;
    if (!ct_requires_grad(y)) {
        return ct_fail_bool("backward: output %d, %s, was not computed from a tensor that requires "
                            "a gradient",
                            i, ct_tensor_text(y));
    }
    if (!g && ct_count(y) != 1) {
        return ct_fail_bool("backward: output %d is %s: only of one element can the gradient be "
                            "left out (see ct_backward_from)",
                            i, ct_tensor_text(y));
    }
    if (g &&
        (!ct_shape_equal(g->shape, y->shape) || g->dtype != y->dtype || g->device != y->device)) {
        return ct_fail_bool("backward: the gradient of output %d is %s on %s, expected %s on %s", i,
                            ct_tensor_text(g), ct_device_name(g->device), ct_tensor_text(y),
                            ct_device_name(y->device));
    }
    return true;
}

static bool seed(run *r, ct_tensor *const *outputs, ct_tensor *const *gradients, int count) {
    for (int i = 0; i < count; i++) {
        ct_tensor *y = outputs[i], *g = gradients ? gradients[i] : NULL;
        if (!g) g = ct_full(y->dtype, y->device, y->shape, 1);
        if (!g || !hand_to(r, ct_variable_of(y), g)) return false;
    }
    return true;
}

static bool walk(run *r, ct_tensor *const *outputs, ct_tensor *const *gradients, int count) {
    bool done = false;
    CT_SCOPE { done = collect(r, outputs, count) && seed(r, outputs, gradients, count); }
    for (int i = 0; done && i < count; i++) done = settle(ct_variable_of(outputs[i]));
    for (size_t i = 0; done && i < r->count; i++) {
        ct_node *node = r->entries[i].node;
        done = process(r, node);
        if (!done) break;
        r->entries[i].node = NULL;
        node->run = NULL;
        if (!r->retain) {
            node->used = true;
            ct_node_drop(node);
        }
        ct_node_release(node);
    }
    return done;
}

/* After an error: nodes that were not reached lose the gradients that wait in them. */
static void abandon(run *r) {
    for (size_t i = 0; i < r->count; i++) {
        ct_node *node = r->entries[i].node;
        if (!node) continue;
        for (int k = 0; k < node->outputs; k++) {
            ct_release(node->gradient[k]);
            node->gradient[k] = NULL;
        }
        node->run = NULL;
        ct_node_release(node);
    }
}

static void finish_leaves(run *r, bool done) {
    for (size_t i = 0; i < r->due_count; i++) {
        r->due[i]->hooks_due = false;
        if (done) ct_leaf_run_hooks(r->due[i]);
        ct_variable_release(r->due[i]);
    }
    free(r->due);
}

bool ct_backward_above(uint64_t floor, ct_tensor *const *outputs, ct_tensor *const *gradients,
                       int count, bool retain_graph) {
    if (!ct_ok()) return false;
    if (count < 1) return ct_fail_bool("backward: %d outputs, expected at least one", count);
    for (int i = 0; i < count; i++) {
        if (!check_output(i, outputs[i], gradients ? gradients[i] : NULL)) return false;
    }
    run r = {.outer = innermost, .retain = retain_graph, .floor = floor};
    innermost = &r;
    bool was = ct_set_grad_enabled(false);
    bool done = walk(&r, outputs, gradients, count);
    if (!done) abandon(&r);
    free(r.entries);
    innermost = r.outer;
    finish_leaves(&r, done);
    ct_set_grad_enabled(was);
    return done && ct_ok();
}

bool ct_backward_from(ct_tensor *const *outputs, ct_tensor *const *gradients, int count,
                      bool retain_graph) {
    return ct_backward_above(0, outputs, gradients, count, retain_graph);
}

bool ct_backward(ct_tensor *loss) { return ct_backward_above(0, &loss, NULL, 1, false); }
