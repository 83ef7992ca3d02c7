/* SPDX-License-Identifier: Apache-2.0 */
/* Activation checkpointing: the function runs without recording, in backward again with it. */
#include <stdlib.h>

#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"
#include "tensor/core/trace.h"
#include "tensor/ops/draws.h"

typedef struct {
    ct_checkpoint_function function;
    void *context;
    int inputs;      /* the function's; the node has more: the leaves that the function knows of */
    ct_draws *draws; /* of the first run */
} checkpoint;

static _Thread_local bool recomputing;

bool ct_is_recomputing(void) { return recomputing; }

/* The saved inputs again: those that need a gradient as leaves of a graph of their own. */
static bool make_leaves(const ct_node *node, int count, ct_tensor **leaves) {
    for (int i = 0; i < count; i++) {
        if (!ct_saved(node, i)) continue;
        leaves[i] = ct_detach(ct_saved(node, i));
        if (ct_needs_grad(node, i) && !ct_require_grad(leaves[i])) return false;
    }
    return ct_ok();
}

static ct_tensor *run_again(const checkpoint *c, ct_tensor *const *leaves) {
    bool recorded = ct_set_grad_enabled(true), outer = recomputing;
    recomputing = true;
    ct_draws_repeat(c->draws);
    ct_tensor *y = c->function(c->context, leaves, c->inputs);
    ct_draws_end();
    recomputing = outer;
    ct_set_grad_enabled(recorded);
    return y;
}

static bool differentiate(ct_node *node, ct_tensor *const *g, ct_tensor **leaves, ct_tensor **gx) {
    const checkpoint *c = ct_node_options(node);
    if (!make_leaves(node, c->inputs, leaves)) return false;
    ct_sequence_after(node->sequence); /* also when another thread made the node */
    ct_tensor *y = run_again(c, leaves);
    if (!ct_given("checkpoint", y)) return false;
    if (!ct_shape_equal(y->shape, g[0]->shape)) {
        return ct_fail_bool("checkpoint: the function gave %s, at its second run %s",
                            ct_shape_text(g[0]->shape), ct_shape_text(y->shape));
    }
    if (!ct_requires_grad(y)) return true;
    if (!ct_backward_above(node->sequence, &y, g, 1, false)) return false;
    for (int i = 0; i < c->inputs; i++) {
        if (ct_needs_grad(node, i)) gx[i] = ct_leaf_take(leaves[i]);
    }
    return true;
}

static bool checkpoint_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_tensor **leaves = calloc((size_t)node->inputs + 1, sizeof *leaves);
    if (!leaves) return ct_fail_bool("checkpoint: out of memory");
    bool done = differentiate(node, g, leaves, gx);
    free(leaves);
    return done;
}

static ct_tensor *gated_with_dropout(void *context, ct_tensor *const *inputs, int count) {
    (void)context;
    (void)count;
    ct_rng rng = ct_rng_create(5, 0);
    ct_tensor *gated = ct_mul(ct_tanh(inputs[0]), ct_sigmoid(inputs[1]));
    return ct_dropout_with(ct_add(gated, inputs[0]), 0.3, &rng, "sample");
}

static int call_checkpoint(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_checkpoint(gated_with_dropout, NULL, x, 2));
}

static void checkpoint_samples(ct_sampler *sampler) {
    ct_sample_2(sampler, "matrix", call_checkpoint, NULL, ct_sample_real(CT_SHAPE(3, 4)),
                ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_2(sampler, "broadcast", call_checkpoint, NULL, ct_sample_real(CT_SHAPE(3, 4)),
                ct_sample_real(CT_SHAPE(4)));
    ct_sample_2(sampler, "one element", call_checkpoint, NULL, ct_sample_real(CT_SHAPE(1)),
                ct_sample_real(CT_SHAPE(1)));
    ct_sample_2(sampler, "empty", call_checkpoint, NULL, ct_sample_real(CT_SHAPE(0, 3)),
                ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op checkpoint_op = {"checkpoint", checkpoint_backward, checkpoint_samples};

const ct_op *ct_checkpoint_op(int i) { return i == 0 ? &checkpoint_op : NULL; }

static void release_draws(void *options) { ct_draws_destroy(((checkpoint *)options)->draws); }

/* f's result, a constant; `seen` gets what it used that requires a gradient. */
static ct_tensor *run_first(const checkpoint *c, ct_tensor *const *inputs, ct_input_list *seen) {
    ct_input_list *outer = ct_watch_inputs(seen);
    ct_draws_note(c->draws);
    ct_tensor *y = NULL;
    CT_SCOPE {
        CT_NO_GRAD
        y = ct_escape(c->function(c->context, inputs, c->inputs));
    }
    ct_draws_end();
    ct_watch_inputs(outer);
    if (y && y->autograd) y = ct_detach(y); /* one of its inputs */
    for (int i = 0; i < c->inputs; i++) ct_trace_to(y, ct_traced(inputs[i])); /* if it is traced */
    return ct_given("checkpoint", y) ? y : NULL;
}

static bool is_among(const ct_tensor *x, ct_tensor *const *list, int count) {
    for (int i = 0; i < count; i++) {
        if (list[i] == x) return true;
    }
    return false;
}

/* The node depends on the inputs, and on what else the function used (parameters of a module):
 * their gradients come from the second run, but that they come is seen by these edges. */
static ct_node *record(const checkpoint *c, ct_tensor *const *inputs, const ct_input_list *seen,
                       ct_tensor *y) {
    int count = c->inputs;
    ct_tensor **all = malloc(((size_t)count + seen->count + 1) * sizeof *all);
    if (!all) return ct_fail("checkpoint: out of memory");
    for (int i = 0; i < count; i++) all[i] = inputs[i];
    for (size_t i = 0; i < seen->count; i++) {
        if (!is_among(seen->items[i], inputs, c->inputs)) all[count++] = seen->items[i];
    }
    ct_node *node = ct_record(&checkpoint_op, count, all, 1, &y);
    for (int i = 0; node && i < count; i++) ct_save(node, all[i]);
    free(all);
    return node;
}

ct_tensor *ct_checkpoint(ct_checkpoint_function f, void *context, ct_tensor *const *inputs,
                         int count) {
    if (!ct_check_list("checkpoint", "inputs", inputs, count) ||
        (!f && !ct_fail_bool("checkpoint: the function is NULL"))) {
        return NULL;
    }
    checkpoint c = {f, context, count, ct_draws_create()};
    if (!c.draws) return NULL;
    ct_input_list seen = {0};
    ct_tensor *y = run_first(&c, inputs, &seen);
    ct_node *node = y ? record(&c, inputs, &seen, y) : NULL;
    ct_input_list_clear(&seen);
    if (!node) {
        ct_draws_destroy(c.draws);
        return ct_ok() ? y : NULL;
    }
    ct_save_options(node, &c, sizeof c);
    ct_on_node_free(node, release_draws);
    return y;
}
