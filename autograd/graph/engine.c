/* SPDX-License-Identifier: Apache-2.0 */
/* Backward: collects the nodes behind the outputs, then lets each hand its gradients on, newest
 * first. A node is newer than all it depends on, so its own gradient is complete by then; and the
 * order is that of the forward pass reversed, whatever the shape of the graph, so sums of gradients
 * always have the same order. Nothing recurses. */
#include <stdlib.h>

#include "autograd/graph/graph.h"
#include "autograd/graph/timing.h"
#include "tensor/core/trace.h"

typedef struct {
    ct_node *node;
    size_t found; /* breaks ties between nodes of different threads */
} entry;

/* A leaf with hooks. */
typedef struct {
    ct_variable *leaf;
    int64_t awaited; /* edges to it of nodes that have not had their turn */
    bool touched;    /* its gradient was added to, its hooks not yet called */
} awaited_leaf;

typedef struct run run;
struct run {
    run *outer; /* the backward that this one runs inside of (ct_checkpoint) */
    entry *entries;
    size_t count, capacity;
    awaited_leaf *leaves; /* of the outermost run alone */
    size_t leaf_count, leaf_capacity;
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
    if (atomic_load(&node->run) == r) return true;
    if (node->sequence <= r->floor) {
        return ct_fail_bool("checkpoint: the function uses the result of '%s', which was computed "
                            "before it and is not among its inputs",
                            name);
    }
    if (!grow((void **)&r->entries, r->count, &r->capacity, sizeof *r->entries)) return false;
    const void *nobody = NULL;
    if (!atomic_compare_exchange_strong(&node->run, &nobody, r)) {
        return ct_fail_bool("backward: another backward is inside '%s'", name);
    }
    atomic_fetch_add(&node->refs, 1);
    r->entries[r->count] = (entry){node, r->count};
    r->count++;
    if (node->used) {
        return ct_fail_bool("backward: the graph of '%s' was already used; pass retain_graph",
                            name);
    }
    if (node->incomplete) {
        return ct_fail_bool("backward: '%s' could not save what its gradient needs", name);
    }
    return true;
}

static int newest_first(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->node->sequence != y->node->sequence) {
        return x->node->sequence > y->node->sequence ? -1 : 1;
    }
    return x->found < y->found ? -1 : 1;
}

static run *outermost(run *r) {
    while (r->outer) r = r->outer;
    return r;
}

/* The entry of a leaf with hooks, a new one if need be; *found is NULL for one without. */
static bool find_leaf(run *r, ct_variable *leaf, int64_t awaited, awaited_leaf **found) {
    *found = NULL;
    for (size_t i = 0; i < r->leaf_count && !*found; i++) {
        if (r->leaves[i].leaf == leaf) *found = &r->leaves[i];
    }
    if (*found || !ct_leaf_has_hooks(leaf)) return true;
    if (!grow((void **)&r->leaves, r->leaf_count, &r->leaf_capacity, sizeof *r->leaves)) {
        return false;
    }
    atomic_fetch_add(&leaf->refs, 1);
    *found = &r->leaves[r->leaf_count++];
    **found = (awaited_leaf){leaf, awaited, false};
    return true;
}

/* An edge on which a gradient may come. Those inside a checkpoint count by the checkpoint's own
 * edges to the leaves that its function knows of. */
static bool await_edge(run *r, ct_variable *variable) {
    if (variable->node) return reach(r, variable->node);
    if (r->outer) return true;
    awaited_leaf *leaf;
    if (!find_leaf(r, variable, 0, &leaf)) return false;
    if (leaf) leaf->awaited++;
    return true;
}

static bool collect(run *r, ct_tensor *const *outputs, int count) {
    for (int i = 0; i < count; i++) {
        const ct_variable *variable = ct_variable_of(outputs[i]);
        if (variable->node && !reach(r, variable->node)) return false;
    }
    for (size_t done = 0; done < r->count; done++) {
        const ct_node *node = r->entries[done].node;
        for (int i = 0; i < node->inputs; i++) {
            if (ct_needs_grad(node, i) && !await_edge(r, node->edge[i].variable)) return false;
        }
    }
    if (r->count) qsort(r->entries, r->count, sizeof *r->entries, newest_first);
    return true;
}

/* ---- handing gradients on --------------------------------------------------------------- */

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
    awaited_leaf *leaf;
    if (!ct_leaf_add(variable, g)) return false;
    /* a new entry is of a leaf that no edge told of: complete at the end */
    if (!find_leaf(outermost(r), variable, INT64_MAX, &leaf)) return false;
    if (leaf) leaf->touched = true;
    return true;
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

/* What operations gave was looked at by itself: this is the sum, or what backward was given. */
static bool check_sums(const ct_node *node) {
    for (int i = 0; ct_anomaly_mode() && i < node->outputs; i++) {
        if (!node->gradient[i] || !ct_tensor_has_nonfinite(node->gradient[i])) continue;
        return ct_fail_bool(
            "anomaly: the sum of the gradients of output %d of '%s' has a NaN or an "
            "infinity",
            i, node->op->name);
    }
    return true;
}

/* Where ct_retain_grad asked for it, an output's gradient is also that of a leaf. */
static bool retain_gradients(const ct_node *node) {
    for (int i = 0; node->retained && i < node->outputs; i++) {
        ct_tensor *g = node->gradient[i];
        if (g && node->retained[i] && !ct_leaf_add(node->retained[i], g)) return false;
    }
    return true;
}

static bool process_in_scope(run *r, ct_node *node) {
    for (int i = 0; i < node->inputs; i++) node->input_gradient[i] = NULL;
    if (!has_gradient(node)) return ct_ok();
    if (!check_sums(node)) return false;
    if (!retain_gradients(node) || !ct_check_saved(node)) return false;
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

ct_tensor *ct_saved_to_overwrite(const ct_node *node, int i) {
    const run *r = atomic_load(&node->run);
    ct_tensor *x = ct_saved(node, i);
    return r && !r->retain && ct_is_exclusive(x) ? x : NULL;
}

static bool settle(ct_variable *variable) {
    return !variable || variable->node || ct_leaf_settle(variable);
}

static bool settle_all(const ct_node *node) {
    for (int i = 0; node->retained && i < node->outputs; i++) {
        if (!settle(node->retained[i])) return false;
    }
    for (int i = 0; i < node->inputs; i++) {
        if (node->input_gradient[i] && !settle(node->edge[i].variable)) return false;
    }
    return true;
}

static bool process(run *r, ct_node *node) {
    bool done = false;
    CT_SCOPE { done = process_in_scope(r, node); }
    for (int i = 0; i < node->outputs; i++) node->gradient[i] = NULL;
    return done && settle_all(node);
}

/* ---- hooks ------------------------------------------------------------------------------ */

static bool call_hooks(awaited_leaf *leaf) {
    leaf->touched = false;
    run *during = innermost; /* a backward that a hook runs is not inside of this one */
    innermost = NULL;
    ct_leaf_run_hooks(leaf->leaf);
    innermost = during;
    return ct_ok();
}

/* A node has had its turn: leaves that wait for no other are complete. */
static bool complete_leaves(run *r, const ct_node *node) {
    for (int i = 0; r->leaf_count && i < node->inputs; i++) {
        if (!ct_needs_grad(node, i) || node->edge[i].variable->node) continue;
        for (size_t k = 0; k < r->leaf_count; k++) {
            awaited_leaf *leaf = &r->leaves[k];
            if (leaf->leaf != node->edge[i].variable || --leaf->awaited > 0) continue;
            if (leaf->touched && !call_hooks(leaf)) return false;
        }
    }
    return true;
}

/* Leaves that no edge told of: outputs themselves, what an operation's own backward reached, those
 * that got a hook meanwhile. */
static bool complete_others(run *r) {
    for (size_t i = 0; i < r->leaf_count; i++) {
        if (r->leaves[i].touched && !call_hooks(&r->leaves[i])) return false;
    }
    return true;
}

static void forget_leaves(run *r) {
    for (size_t i = 0; i < r->leaf_count; i++) ct_variable_release(r->leaves[i].leaf);
    free(r->leaves);
}

/* ---- a whole backward ------------------------------------------------------------------- */

static bool check_output(int i, const ct_tensor *y, const ct_tensor *g) {
    if (!ct_given("backward", y)) return false;
    if (!ct_requires_grad(y) && ct_traced(y)) {
        return ct_fail_bool("backward: output %d, %s, was computed by '%s' from what requires a "
                            "gradient without being recorded (ct_tensor_X where ct_X would be)",
                            i, ct_tensor_text(y), ct_traced(y));
    }
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
        done = process(r, node) && complete_leaves(r, node);
        if (!done) break;
        r->entries[i].node = NULL;
        if (!r->retain) {
            node->used = true;
            ct_node_drop(node);
        }
        atomic_store(&node->run, NULL); /* from here on it may be another thread's */
        ct_node_release(node);
    }
    return done && complete_others(r);
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
        atomic_store(&node->run, NULL);
        ct_node_release(node);
    }
}

bool ct_backward_above(uint64_t floor, ct_tensor *const *outputs, ct_tensor *const *gradients,
                       int count, bool retain_graph) {
    if (!ct_ok()) return false;
    if (count < 1) return ct_fail_bool("backward: %d outputs, expected at least one", count);
    if (!ct_check_list("backward", "outputs", outputs, count)) return false;
    for (int i = 0; i < count; i++) {
        if (!check_output(i, outputs[i], gradients ? gradients[i] : NULL)) return false;
    }
    run r = {.outer = innermost, .retain = retain_graph, .floor = floor};
    innermost = &r;
    bool was = ct_set_grad_enabled(false);
    bool done = walk(&r, outputs, gradients, count);
    if (!done) abandon(&r);
    free(r.entries);
    forget_leaves(&r);
    innermost = r.outer;
    ct_set_grad_enabled(was);
    return done && ct_ok();
}

bool ct_backward_from(ct_tensor *const *outputs, ct_tensor *const *gradients, int count,
                      bool retain_graph) {
    return ct_backward_above(0, outputs, gradients, count, retain_graph);
}

bool ct_backward(ct_tensor *loss) { return ct_backward_above(0, &loss, NULL, 1, false); }
