/* SPDX-License-Identifier: Apache-2.0 */
/* Running a chain of modules: each in a scope of its own, so that only what its gradient needs
 * stays, or not even that. */
#include <stdlib.h>
#include <string.h>

#include "models/graph/graph.h"

int ct_graph_start(const ct_graph_chain *chain, const ct_tensor *images, int64_t features) {
    const ct_graph_node *first = &chain->node[0];
    bool pictures = first->kind->place & CT_GIVES_PICTURES;
    bool three = ct_ndim(images) == 3;
    int64_t regions = three ? ct_dim(images, 1) : 0, width = three ? ct_dim(images, 2) : 0;
    int64_t side = first->out_side;
    if (!pictures && three && width == features) return 0;
    if (pictures && three && regions == 3 && width == side * side) return 0;
    if (chain->front && three && regions == chain->regions &&
        width == chain->node[chain->front - 1].out)
        return chain->front;
    if (pictures)
        ct_fail("model: images are %s, expected pictures (B,3,%lld)", ct_tensor_text(images),
                (long long)(side * side));
    else
        ct_fail("model: images are %s, expected (B,N,%lld)", ct_tensor_text(images),
                (long long)features);
    return -1;
}

/* ---- what a module gives -------------------------------------------------------------------- */

enum { RESULT, LOG_DISCRETE, LOG_CONTINUOUS, WEIGHT, INDEX, VALID, WORD_VECTORS, GIVEN };

/* Beside its result: what modules may leave in the state. */
static void left_in(const ct_graph_state *state, ct_tensor *given[GIVEN]) {
    const ct_policy_output *policy = &state->policy;
    given[LOG_DISCRETE] = policy->log_discrete;
    given[LOG_CONTINUOUS] = policy->log_continuous;
    given[WEIGHT] = policy->weight;
    given[INDEX] = policy->index;
    given[VALID] = policy->valid;
    given[WORD_VECTORS] = state->word_vectors;
}

static ct_tensor *run(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    CT_SCOPE {
        ct_tensor *before[GIVEN], *after[GIVEN];
        left_in(state, before);
        after[RESULT] = ct_escape(node->kind->forward(node, state, x));
        left_in(state, after);
        for (int i = RESULT + 1; i < GIVEN; i++)
            if (after[i] != before[i]) ct_escape(after[i]);
        return after[RESULT];
    }
    return NULL;
}

/* ---- computed again in backward ------------------------------------------------------------- */

/* One module's turn. Inputs are x and the lengths. The first run draws from the step's generator,
 * which need not be there any more when the second repeats its draws. */
typedef struct {
    const ct_graph_node *node;
    ct_rng *rng; /* NULL after the first run */
    ct_rng again;
    bool training;
    bool packs;
    int64_t padded_steps; /* where it packs */
    int64_t *steps;       /* where the first run says how many of the policy's count */
} turn;

static bool take_turn(void *context, ct_tensor *const *input, int inputs, ct_tensor **output) {
    (void)inputs;
    turn *t = context;
    bool first = t->rng != NULL;
    ct_graph_state state = {
        .lengths = input[1], .rng = first ? t->rng : &t->again, .training = t->training};
    t->rng = NULL;
    state.packs = t->packs;
    if (t->packs && !ct_packing_make(&state.packing, input[1], t->padded_steps, input[0]->device)) {
        return false;
    }
    output[RESULT] = t->node->kind->forward(t->node, &state, input[0]);
    left_in(&state, output);
    if (first) *t->steps = state.policy.steps;
    return output[RESULT] != NULL;
}

static ct_tensor *run_twice(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    int64_t steps = 0;
    turn t = {.node = node,
              .rng = state->rng,
              .again = *state->rng,
              .training = state->training,
              .packs = state->packs,
              .padded_steps = state->packing.steps,
              .steps = &steps};
    ct_tensor *given[GIVEN], *input[] = {x, state->lengths};
    if (!ct_checkpoint_several(take_turn, &t, sizeof t, 2, input, GIVEN, given)) return NULL;
    if (!given[WEIGHT]) return given[RESULT];
    state->policy = (ct_policy_output){.log_discrete = given[LOG_DISCRETE],
                                       .log_continuous = given[LOG_CONTINUOUS],
                                       .weight = ct_detach(given[WEIGHT]),
                                       .index = given[INDEX],
                                       .valid = given[VALID] ? ct_detach(given[VALID]) : NULL,
                                       .steps = steps};
    return given[RESULT];
}

/* ---- a chain -------------------------------------------------------------------------------- */

/* x as its next reader has it: packed or not. What is packed has an axis less. */
static ct_tensor *laid(const ct_graph_state *state, ct_tensor *x, bool packed) {
    if (!x || !state->packs || packed == (ct_ndim(x) == 2)) return x;
    return (packed ? ct_pack_steps : ct_unpack_steps)(&state->packing, x);
}

static ct_tensor *input_of(const ct_graph_node *node, const ct_graph_state *state, ct_tensor *x) {
    return node->pooled ? x : laid(state, x, ct_is_packed(node, state));
}

/* What parts of a sum give may be laid differently, unless they pool. */
static ct_tensor *sum_of(const ct_graph_node *node, const ct_graph_state *state, ct_tensor *x,
                         ct_tensor *y) {
    bool pools = node->pooled || node->kind->place & CT_POOLS;
    return ct_add(x, pools || !x ? y : laid(state, y, ct_ndim(x) == 2));
}

/* Anomaly mode names an operation: here it is known of which module. */
static ct_tensor *fail_in(const ct_graph_chain *chain, const ct_graph_node *node) {
    static const char anomaly[] = "anomaly: ";
    size_t length = sizeof anomaly - 1;
    if (!ct_error() || strncmp(ct_error(), anomaly, length) != 0) return NULL;
    char *what = strdup(ct_error() + length);
    if (!what) return NULL;
    ct_error_clear();
    ct_fail("%sat [%s] %s (%s): %s", anomaly, chain->section, node->name, node->kind->name, what);
    free(what);
    return NULL;
}

ct_tensor *ct_graph_forward(const ct_graph_chain *chain, ct_graph_state *state, ct_tensor *x) {
    return ct_graph_forward_part(chain, 0, chain->nodes, state, x);
}

ct_tensor *ct_graph_forward_part(const ct_graph_chain *chain, int first, int end,
                                 ct_graph_state *state, ct_tensor *x) {
    ct_tensor *input = x;
    for (int i = first; i < end; i++) {
        const ct_graph_node *node = &chain->node[i];
        if (!node->adds) input = x;
        bool twice = node->checkpointed && ct_grad_enabled();
        ct_tensor *y = (twice ? run_twice : run)(node, state, input_of(node, state, input));
        x = node->adds ? sum_of(node, state, x, y) : y;
        if (!x) return fail_in(chain, node);
    }
    return x;
}
