/* SPDX-License-Identifier: Apache-2.0 */
/* Variables and nodes: making them, saving for backward, taking them apart. */
#include "autograd/graph/graph.h"
#include "autograd/graph/timing.h"
#include "tensor/core/storage.h"
#include "tensor/core/trace.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
    bool not_recording; /* so that a new thread records */
    bool anomaly;
    ct_input_list *seen; /* ct_watch_inputs */
    uint64_t sequence;   /* of the newest node this thread knows of */
    ct_variable *dead;   /* variables to be freed */
    bool freeing;
} thread;

bool ct_grad_enabled(void) { return !thread.not_recording; }

static bool needs(const ct_tensor *x) {
    const ct_variable *variable = ct_variable_of(x);
    return variable && variable->requires_grad;
}

/* While an anomaly could be that a value is computed and not recorded, such values are traced. */
static void set_tracing(void) { ct_trace(thread.anomaly && !thread.not_recording ? needs : NULL); }

bool ct_set_grad_enabled(bool enabled) {
    bool was = !thread.not_recording;
    thread.not_recording = !enabled;
    if (thread.anomaly) set_tracing();
    return was;
}

void ct_set_anomaly_mode(bool on) {
    thread.anomaly = on;
    set_tracing();
}

bool ct_anomaly_mode(void) { return thread.anomaly; }

ct_input_list *ct_watch_inputs(ct_input_list *seen) {
    ct_input_list *before = thread.seen;
    thread.seen = seen;
    return before;
}

void ct_input_list_clear(ct_input_list *list) {
    for (size_t i = 0; i < list->count; i++) ct_release(list->items[i]);
    free(list->items);
    *list = (ct_input_list){0};
}

static void see_input(ct_input_list *seen, ct_tensor *x) {
    for (size_t i = 0; i < seen->count; i++) {
        if (seen->items[i] == x) return;
    }
    if (seen->count == seen->capacity) {
        size_t capacity = seen->capacity ? 2 * seen->capacity : 16;
        ct_tensor **items = realloc(seen->items, capacity * sizeof *items);
        if (!items) {
            ct_fail("autograd: out of memory");
            return;
        }
        seen->items = items;
        seen->capacity = capacity;
    }
    seen->items[seen->count++] = ct_keep(x);
}

void ct_sequence_after(uint64_t sequence) {
    if (thread.sequence < sequence) thread.sequence = sequence;
}

/* ---- variables -------------------------------------------------------------------------- */

/* A gradient that comes later is not collected: nobody can ask for it. */
static void forget_tensor(ct_variable *variable) {
    pthread_mutex_lock(&variable->lock);
    variable->tensor = NULL;
    pthread_mutex_unlock(&variable->lock);
}

static void tensor_is_gone(void *autograd) {
    ct_variable *variable = autograd;
    forget_tensor(variable);
    if (variable->retained) forget_tensor(variable->retained);
    ct_variable_release(variable);
}

static void watch_tensors(void) { ct_tensor_on_free(tensor_is_gone); }

ct_variable *ct_variable_create(ct_tensor *x) {
    ct_variable *variable = calloc(1, sizeof *variable);
    if (!variable) return ct_fail("autograd: out of memory");
    atomic_init(&variable->refs, 1);
    pthread_mutex_init(&variable->lock, NULL);
    variable->tensor = x;
    return variable;
}

ct_variable *ct_variable_make(ct_tensor *x) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_tensors);
    if (!x->autograd) x->autograd = ct_variable_create(x);
    return x->autograd;
}

/* Freeing a variable may free the node behind it, then that node's inputs, and so on down a graph
 * of any depth: what dies meanwhile waits in a list instead of on the stack. */
void ct_variable_release(ct_variable *variable) {
    if (!variable || atomic_fetch_sub(&variable->refs, 1) != 1) return;
    variable->next_dead = thread.dead;
    thread.dead = variable;
    if (thread.freeing) return;
    thread.freeing = true;
    while (thread.dead) {
        ct_variable *dead = thread.dead;
        thread.dead = dead->next_dead;
        ct_release(dead->grad);
        ct_node_release(dead->node);
        ct_variable_release(dead->retained);
        free(dead->hooks);
        pthread_mutex_destroy(&dead->lock);
        free(dead);
    }
    thread.freeing = false;
}

/* ---- nodes ------------------------------------------------------------------------------ */

void ct_node_drop(ct_node *node) {
    for (int i = 0; i < node->saved_count; i++) ct_release(node->saved[i].value);
    node->saved_count = 0;
    for (int i = 0; i < node->inputs; i++) {
        ct_variable_release(node->edge[i].variable);
        node->edge[i].variable = NULL;
    }
}

void ct_node_release(ct_node *node) {
    if (!node || atomic_fetch_sub(&node->refs, 1) != 1) return;
    ct_node_drop(node);
    for (int i = 0; node->retained && i < node->outputs; i++) {
        ct_variable_release(node->retained[i]);
    }
    free(node->retained);
    if (node->release) node->release(node->options);
    if (node->saved != node->saved_here) free(node->saved);
    if (node->options != node->options_here) free(node->options);
    free(node);
}

/* One block: the node, its edges, its two lists of gradients. Its one reference is the caller's. */
static ct_node *node_create(const ct_op *op, int inputs, int outputs) {
    size_t edges = (size_t)inputs * sizeof(ct_edge);
    size_t lists = (size_t)(inputs + outputs) * sizeof(ct_tensor *);
    ct_node *node = calloc(1, sizeof *node + edges + lists);
    if (!node) return ct_fail("%s: out of memory", op->name);
    atomic_init(&node->refs, 1);
    node->op = op;
    node->inputs = inputs;
    node->outputs = outputs;
    node->edge = (ct_edge *)(node + 1);
    node->input_gradient = (ct_tensor **)((char *)node->edge + edges);
    node->gradient = node->input_gradient + inputs;
    node->saved = node->saved_here;
    node->saved_capacity = CT_NODE_SAVED;
    return node;
}

static void connect_inputs(ct_node *node, ct_tensor *const *input) {
    for (int i = 0; i < node->inputs; i++) {
        const ct_tensor *x = input[i];
        if (!x) continue;
        ct_edge *edge = &node->edge[i];
        edge->shape = x->shape;
        edge->dtype = x->dtype;
        edge->device = x->device;
        edge->place = x->storage;
        if (!needs(x)) continue;
        edge->variable = x->autograd;
        atomic_fetch_add(&edge->variable->refs, 1);
        if (edge->variable->node) ct_sequence_after(edge->variable->node->sequence);
    }
    node->sequence = ++thread.sequence;
}

static bool connect_output(ct_node *node, int i, ct_tensor *y) {
    if (!y || !ct_dtype_is_float(y->dtype)) return true;
    ct_variable *variable = ct_variable_make(y);
    if (!variable) return false;
    if (variable->node || variable->requires_grad) {
        return ct_fail_bool("%s: output %d is a tensor that already has a place in a graph; an "
                            "operation must return a new one",
                            node->op->name, i);
    }
    variable->requires_grad = true;
    variable->output = i;
    variable->node = node;
    atomic_fetch_add(&node->refs, 1);
    return true;
}

static bool outputs_finite(const ct_op *op, int outputs, ct_tensor *const *output) {
    for (int i = 0; i < outputs; i++) {
        if (!output[i] || !ct_tensor_has_nonfinite(output[i])) continue;
        return ct_fail_bool("anomaly: output %d of '%s' has a NaN or an infinity", i, op->name);
    }
    return true;
}

/* No gradient flows through a constant: one that was computed from what requires a gradient cuts
 * it. */
static bool cuts_nothing(const ct_op *op, int inputs, ct_tensor *const *input) {
    for (int i = 0; i < inputs; i++) {
        const char *kernel = needs(input[i]) ? NULL : ct_traced(input[i]);
        if (!kernel) continue;
        return ct_fail_bool("anomaly: input %d of '%s', %s, is a constant, but '%s' computed it "
                            "from what requires a gradient: none flows there. Record it (ct_X, not "
                            "ct_tensor_X), or say that it is a constant (ct_detach, CT_NO_GRAD)",
                            i, op->name, ct_tensor_text(input[i]), kernel);
    }
    return true;
}

ct_node *ct_record(const ct_op *op, int inputs, ct_tensor *const *input, int outputs,
                   ct_tensor *const *output) {
    if (!op || inputs < 0 || outputs < 0 || (inputs && !input) || (outputs && !output)) {
        return ct_fail("record: the operation or a list of tensors is NULL, or a count negative");
    }
    if (thread.anomaly && !outputs_finite(op, outputs, output)) return NULL;
    if (ct_profile_running()) ct_profile_forward(op, inputs, input, outputs, output);
    if (thread.not_recording && !thread.seen) return NULL;
    bool needed = false, made = false;
    for (int i = 0; i < inputs && !needed; i++) needed = needs(input[i]);
    for (int i = 0; i < outputs && !made; i++) made = output[i] != NULL;
    if (!needed || !made) return NULL;
    if (thread.not_recording) {
        for (int i = 0; i < inputs; i++) {
            if (needs(input[i])) see_input(thread.seen, input[i]);
        }
        return NULL;
    }
    if (thread.anomaly && !cuts_nothing(op, inputs, input)) return NULL;
    ct_node *node = node_create(op, inputs, outputs);
    if (!node) return NULL;
    connect_inputs(node, input);
    bool connected = true;
    for (int i = 0; i < outputs && connected; i++) connected = connect_output(node, i, output[i]);
    /* from here on the outputs alone hold the node: with none it goes */
    bool held = atomic_load(&node->refs) > 1;
    ct_node_release(node);
    return connected && held ? node : NULL;
}

/* ---- what a node carries ---------------------------------------------------------------- */

static bool make_room(ct_node *node) {
    if (node->saved_count < node->saved_capacity) return true;
    int capacity = 2 * node->saved_capacity;
    ct_saved_value *old = node->saved == node->saved_here ? NULL : node->saved;
    ct_saved_value *saved = realloc(old, (size_t)capacity * sizeof *saved);
    if (!saved) return ct_fail_bool("%s: out of memory", node->op->name);
    if (!old) memcpy(saved, node->saved_here, sizeof node->saved_here);
    node->saved = saved;
    node->saved_capacity = capacity;
    return true;
}

void ct_save(ct_node *node, const ct_tensor *x) {
    if (!node) return;
    /* a view of its own, because a tensor that was or becomes an output refers to its node */
    ct_tensor *view = x ? ct_tensor_expand(x, x->shape) : NULL;
    if ((x && !view) || !make_room(node)) {
        node->incomplete = true;
        return;
    }
    const ct_variable *variable = ct_variable_of(x);
    int output = variable && variable->node == node ? variable->output : -1;
    node->saved[node->saved_count++] =
        (ct_saved_value){ct_keep(view), ct_write_count(view), output};
}

ct_tensor *ct_saved(const ct_node *node, int i) {
    return node && i >= 0 && i < node->saved_count ? node->saved[i].value : NULL;
}

/* Who a saved tensor was, for messages. An input's storage was there when this one was saved, so
 * that an equal address is the same storage. */
static void name_saved(const ct_node *node, const ct_saved_value *saved, char name[32]) {
    int input = 0;
    while (input < node->inputs && node->edge[input].place != saved->value->storage) input++;
    if (saved->output >= 0) snprintf(name, 32, "output %d", saved->output);
    else if (input < node->inputs) snprintf(name, 32, "input %d", input);
    else snprintf(name, 32, "a tensor");
}

bool ct_check_saved(const ct_node *node) {
    for (int i = 0; i < node->saved_count; i++) {
        const ct_saved_value *saved = &node->saved[i];
        if (!saved->value || ct_write_count(saved->value) == saved->writes) continue;
        char name[32];
        name_saved(node, saved, name);
        return ct_fail_bool(
            "backward of '%s': %s, %s, was changed in place after '%s' had saved it",
            node->op->name, name, ct_tensor_text(saved->value), node->op->name);
    }
    return true;
}

void ct_save_options(ct_node *node, const void *options, size_t size) {
    if (!node || !ct_check_list(node->op->name, "options", options, (int64_t)size)) return;
    void *copy = size <= sizeof node->options_here ? node->options_here : malloc(size);
    if (!copy) {
        ct_fail("%s: out of memory", node->op->name);
        node->incomplete = true;
        return;
    }
    if (size) memcpy(copy, options, size); /* of none, options may be NULL */
    if (node->options != node->options_here) free(node->options);
    node->options = copy;
}

const void *ct_node_options(const ct_node *node) { return node ? node->options : NULL; }

void ct_on_node_free(ct_node *node, void (*release)(void *options)) {
    if (node) node->release = release;
}

bool ct_needs_grad(const ct_node *node, int input) {
    if (!node || input < 0 || input >= node->inputs) return false;
    const ct_variable *variable = node->edge[input].variable;
    return variable && variable->requires_grad;
}

ct_shape ct_input_shape(const ct_node *node, int input) {
    return node && input >= 0 && input < node->inputs ? node->edge[input].shape : CT_SCALAR_SHAPE;
}

/* ---- shared by the operations ----------------------------------------------------------- */

bool ct_given(const char *op, const ct_tensor *x) {
    return x ? true : ct_fail_bool("%s: an input is NULL", op);
}

bool ct_given_float(const char *op, const ct_tensor *x) {
    if (!ct_given(op, x)) return false;
    if (x->dtype == CT_F32 || x->dtype == CT_F64) return true;
    return ct_fail_bool("%s: expected f32 or f64, got %s", op, ct_tensor_text(x));
}

ct_tensor *ct_unbroadcast(ct_tensor *g, ct_shape shape) {
    return g && ct_shape_equal(g->shape, shape) ? g : ct_tensor_sum_to(g, shape);
}

ct_tensor *ct_as_rows(const ct_tensor *x) {
    if (!x) return NULL;
    int last = x->shape.ndim - 1;
    int64_t rows = 1;
    for (int i = 0; i < last; i++) rows *= x->shape.dim[i];
    return ct_tensor_reshape(x, CT_SHAPE(rows, last < 0 ? 1 : x->shape.dim[last]));
}
