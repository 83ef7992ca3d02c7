/* SPDX-License-Identifier: Apache-2.0 */
/* Activation checkpointing: the function runs without recording, in backward again with it. */
#include <stdlib.h>
#include <string.h>

#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"
#include "tensor/core/trace.h"
#include "tensor/ops/draws.h"

typedef struct {
    ct_checkpoint_parts function;
    void *context; /* a copy, from malloc */
    int inputs;    /* the function's; the node has more: the leaves that the function knows of */
    int outputs;
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

static bool run_again(const checkpoint *c, ct_tensor *const *leaves, ct_tensor **y) {
    bool recorded = ct_set_grad_enabled(true), outer = recomputing;
    recomputing = true;
    ct_draws_repeat(c->draws);
    bool done = c->function(c->context, leaves, c->inputs, y);
    ct_draws_end();
    recomputing = outer;
    ct_set_grad_enabled(recorded);
    return done;
}

/* The results of the second run that depend on a leaf and have a gradient, put first; -1 and an
 * error if they are not those of the first. */
static int differentiable(const checkpoint *c, ct_tensor *const *g, ct_tensor **y,
                          ct_tensor **gradient) {
    int count = 0;
    for (int i = 0; i < c->outputs; i++) {
        if (!g[i]) continue;
        if (!ct_given("checkpoint", y[i])) return -1;
        if (!ct_shape_equal(y[i]->shape, g[i]->shape)) {
            ct_fail("checkpoint: the function gave %s, at its second run %s",
                    ct_shape_text(g[i]->shape), ct_shape_text(y[i]->shape));
            return -1;
        }
        if (!ct_requires_grad(y[i])) continue;
        gradient[count] = g[i];
        y[count++] = y[i];
    }
    return count;
}

/* What the gradient of input i is so far, if that is not a leaf, becomes what its leaf's begins
 * with: sums have the order that they have without a checkpoint, and its bits. */
static bool go_on_from_sum(const ct_node *node, int i, ct_tensor *leaf) {
    const ct_variable *variable = node->edge[i].variable;
    ct_tensor **sum =
        variable && variable->node ? &variable->node->gradient[variable->output] : NULL;
    if (!sum || !*sum) return true;
    bool set = ct_set_grad(leaf, *sum);
    ct_release(*sum);
    *sum = NULL;
    return set;
}

static bool differentiate(ct_node *node, ct_tensor *const *g, ct_tensor **leaves, ct_tensor **gx) {
    const checkpoint *c = ct_node_options(node);
    ct_tensor *y[CT_CHECKPOINT_OUTPUTS] = {NULL}, *gradient[CT_CHECKPOINT_OUTPUTS];
    if (!make_leaves(node, c->inputs, leaves)) return false;
    ct_sequence_after(node->sequence); /* also when another thread made the node */
    if (!run_again(c, leaves, y)) return ct_given("checkpoint", NULL);
    int count = differentiable(c, g, y, gradient);
    if (count <= 0) return count == 0;
    for (int i = 0; i < c->inputs; i++) {
        if (ct_needs_grad(node, i) && !go_on_from_sum(node, i, leaves[i])) return false;
    }
    if (!ct_backward_above(node->sequence, y, gradient, count, false)) return false;
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

static void release(void *options) {
    checkpoint *c = options;
    ct_draws_destroy(c->draws);
    free(c->context);
}

/* The function's results as views: what it gives may be an input, or twice the same tensor, while
 * the node's outputs are new ones. */
static void own_results(int count, ct_tensor **y) {
    for (int i = 0; i < count; i++) {
        if (y[i]) y[i] = ct_escape(ct_tensor_expand(y[i], y[i]->shape));
    }
}

/* f's results, constants; `seen` gets what it used that requires a gradient. */
static bool run_first(const checkpoint *c, ct_tensor *const *inputs, ct_input_list *seen,
                      ct_tensor **y) {
    ct_input_list *outer = ct_watch_inputs(seen);
    ct_draws_note(c->draws);
    bool done = false;
    CT_SCOPE {
        {
            CT_NO_GRAD
            done = c->function(c->context, inputs, c->inputs, y);
        }
        if (done) own_results(c->outputs, y); /* traced as what they are views of */
    }
    ct_draws_end();
    ct_watch_inputs(outer);
    for (int i = 0; done && i < c->outputs; i++) {
        for (int k = 0; k < c->inputs; k++) ct_trace_to(y[i], ct_traced(inputs[k]));
    }
    return done ? ct_ok() : ct_given("checkpoint", NULL);
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
                       ct_tensor *const *y) {
    int count = c->inputs;
    ct_tensor **all = malloc(((size_t)count + seen->count + 1) * sizeof *all);
    if (!all) return ct_fail("checkpoint: out of memory");
    for (int i = 0; i < count; i++) all[i] = inputs[i];
    for (size_t i = 0; i < seen->count; i++) {
        if (!is_among(seen->items[i], inputs, c->inputs)) all[count++] = seen->items[i];
    }
    ct_node *node = ct_record(&checkpoint_op, count, all, c->outputs, y);
    for (int i = 0; node && i < count; i++) ct_save(node, all[i]);
    free(all);
    return node;
}

static bool check(ct_checkpoint_parts f, const void *context, size_t size, int inputs,
                  ct_tensor *const *input, int outputs, ct_tensor *const *output) {
    static const char op[] = "checkpoint";
    if (!ct_check_list(op, "inputs", input, inputs) ||
        !ct_check_list(op, "results", output, outputs) ||
        (size && !ct_check_pointer(op, "the context", context))) {
        return false;
    }
    if (!f) return ct_fail_bool("%s: the function is NULL", op);
    return (outputs >= 1 && outputs <= CT_CHECKPOINT_OUTPUTS) ||
           ct_fail_bool("%s: %d results, expected 1 to %d", op, outputs, CT_CHECKPOINT_OUTPUTS);
}

/* The node of what was run, NULL where there is none; from then on it owns what c has. */
static ct_node *run_and_record(const checkpoint *c, ct_tensor *const *input, ct_tensor **output) {
    ct_input_list seen = {0};
    ct_node *node = NULL;
    if (run_first(c, input, &seen, output)) node = record(c, input, &seen, output);
    ct_input_list_clear(&seen);
    if (!node) return NULL;
    ct_save_options(node, c, sizeof *c);
    ct_on_node_free(node, release);
    return node;
}

bool ct_checkpoint_several(ct_checkpoint_parts f, const void *context, size_t size, int inputs,
                           ct_tensor *const *input, int outputs, ct_tensor **output) {
    if (!check(f, context, size, inputs, input, outputs, output)) return false;
    for (int i = 0; i < outputs; i++) output[i] = NULL;
    checkpoint c = {f, malloc(size + 1), inputs, outputs, ct_draws_create()};
    if (!c.context) ct_fail("checkpoint: out of memory");
    if (c.context && size) memcpy(c.context, context, size);
    if (!c.context || !c.draws || !run_and_record(&c, input, output)) release(&c);
    for (int i = 0; !ct_ok() && i < outputs; i++) output[i] = NULL;
    return ct_ok();
}

/* ---- one result ------------------------------------------------------------------------- */

typedef struct {
    ct_checkpoint_function function;
    void *context;
} single;

static bool run_single(void *context, ct_tensor *const *inputs, int count, ct_tensor **outputs) {
    const single *one = context;
    outputs[0] = one->function(one->context, inputs, count);
    return ct_given("checkpoint", outputs[0]);
}

ct_tensor *ct_checkpoint(ct_checkpoint_function f, void *context, ct_tensor *const *inputs,
                         int count) {
    single one = {f, context};
    ct_tensor *y = NULL;
    ct_checkpoint_several(f ? run_single : NULL, &one, sizeof one, count, inputs, 1, &y);
    return y;
}
