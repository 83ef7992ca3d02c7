/* SPDX-License-Identifier: Apache-2.0 */
/* Module kinds of transformers: attention, a layer of an encoder, positions. */
#include "models/modules/modules.h"
#include "nn/packed.h"

/* *mask (B,1,1,T): 1 where a word may not be attended; NULL where every step is real. */
static bool padding_mask(const ct_graph_state *state, const ct_tensor *x, ct_tensor **mask) {
    *mask = NULL;
    if (!state->lengths) return true;
    int64_t steps = ct_dim(x, 1);
    ct_tensor *padding = ct_steps_beyond(state->lengths, 0, steps, x->device);
    *mask = ct_tensor_reshape(padding, CT_SHAPE(ct_dim(x, 0), 1, 1, steps));
    return *mask != NULL;
}

static bool check_heads(const ct_graph_node *node, int heads) {
    if (node->in % heads == 0) return true;
    return ct_fail_at(node->place, "%d heads do not divide the width %lld", heads,
                      (long long)node->in) != NULL;
}

/* ---- attention ------------------------------------------------------------------------------ */

enum { ATTENTION_HEADS, ATTENTION_DROPOUT, ATTENTION_CAUSAL, ATTENTION_RESIDUAL };
static const ct_option attention_options[] = {
    {"heads", CT_OPTION_INTEGER, "4", 1, 1024, NULL},
    {"dropout", CT_OPTION_REAL, "0", 0, 0.99, NULL},
    {"causal", CT_OPTION_FLAG, "no", 0, 0, NULL},
    {"residual", CT_OPTION_FLAG, "yes", 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool attention_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    int heads = (int)ct_number(node, ATTENTION_HEADS);
    if (!check_heads(node, heads)) return false;
    ct_attention_options options = {.heads = heads,
                                    .dropout = ct_number(node, ATTENTION_DROPOUT),
                                    .causal = ct_flag(node, ATTENTION_CAUSAL)};
    return ct_graph_own(node, ct_attention_create(node->in, &options));
}

static ct_tensor *attended(const ct_graph_node *node, const ct_graph_state *state, ct_tensor *x) {
    if (ct_is_packed(node, state))
        return ct_attention_packed(node->module, x, state->lengths, state->packing.steps,
                                   state->rng);
    ct_tensor *mask = NULL;
    if (!padding_mask(state, x, &mask)) return NULL;
    return ct_attention_from(node->module, x, x, x, mask, state->rng);
}

static ct_tensor *attention_forward(const ct_graph_node *node, ct_graph_state *state,
                                    ct_tensor *x) {
    ct_tensor *y = attended(node, state, x);
    return ct_flag(node, ATTENTION_RESIDUAL) ? ct_add(x, y) : y;
}

static double attention_flops(const ct_graph_node *node, double rows, double steps) {
    double width = (double)node->in;
    return 2 * rows * (4 * steps * width * width + 2 * steps * steps * width);
}

const ct_graph_kind ct_kind_attention = {.name = "attention",
                                         .place = CT_NEEDS_SEQUENCE | CT_TAKES_PACKED,
                                         .options = attention_options,
                                         .create = attention_create,
                                         .forward = attention_forward,
                                         .flops = attention_flops};

/* ---- transformer: a layer of an encoder ------------------------------------------------------ */

enum {
    TRANSFORMER_HEADS,
    TRANSFORMER_HIDDEN,
    TRANSFORMER_DROPOUT,
    TRANSFORMER_ACTIVATION,
    TRANSFORMER_NORM,
    TRANSFORMER_CAUSAL
};
enum { NORM_LAST, NORM_FIRST };
static const char *const transformer_activations[] = {"relu", "gelu"};
static const ct_option transformer_options[] = {
    {"heads", CT_OPTION_INTEGER, "4", 1, 1024, NULL},
    {"hidden", CT_OPTION_INTEGER, NULL, 1, 1 << 20, NULL},
    {"dropout", CT_OPTION_REAL, "0", 0, 0.99, NULL},
    {"activation", CT_OPTION_CHOICE, "relu", 0, 0, "relu|gelu"},
    {"norm", CT_OPTION_CHOICE, "last", 0, 0, "last|first"},
    {"causal", CT_OPTION_FLAG, "no", 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static int64_t transformer_hidden(const ct_graph_node *node) {
    return ct_number_or(node, TRANSFORMER_HIDDEN, 4 * node->in);
}

static bool transformer_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    int heads = (int)ct_number(node, TRANSFORMER_HEADS);
    if (!check_heads(node, heads)) return false;
    ct_transformer_layer_options options = ct_transformer_layer_defaults();
    options.activation = transformer_activations[(int)ct_number(node, TRANSFORMER_ACTIVATION)];
    options.dropout = ct_number(node, TRANSFORMER_DROPOUT);
    options.norm_first = (int)ct_number(node, TRANSFORMER_NORM) == NORM_FIRST;
    options.causal = ct_flag(node, TRANSFORMER_CAUSAL);
    return ct_graph_own(
        node, ct_transformer_layer_create(node->in, heads, transformer_hidden(node), &options));
}

static ct_tensor *transformer_forward(const ct_graph_node *node, ct_graph_state *state,
                                      ct_tensor *x) {
    if (ct_is_packed(node, state))
        return ct_transformer_layer_packed(node->module, x, state->lengths, state->packing.steps,
                                           state->rng);
    ct_tensor *mask = NULL;
    if (!padding_mask(state, x, &mask)) return NULL;
    return ct_transformer_layer_from(node->module, x, mask, state->rng);
}

static double transformer_flops(const ct_graph_node *node, double rows, double steps) {
    double width = (double)node->in, hidden = (double)transformer_hidden(node);
    return attention_flops(node, rows, steps) + 4 * rows * steps * width * hidden;
}

const ct_graph_kind ct_kind_transformer = {.name = "transformer",
                                           .place = CT_NEEDS_SEQUENCE | CT_TAKES_PACKED,
                                           .options = transformer_options,
                                           .create = transformer_create,
                                           .forward = transformer_forward,
                                           .flops = transformer_flops};

/* ---- positions ------------------------------------------------------------------------------- */

enum { POSITIONS_STEPS };
static const ct_option positions_options[] = {
    {"steps", CT_OPTION_INTEGER, NULL, 1, 1 << 20, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool positions_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    if (!node->value[POSITIONS_STEPS].given) return true;
    int64_t steps = (int64_t)ct_number(node, POSITIONS_STEPS);
    return ct_graph_own(node, ct_position_embedding_create(steps, node->in));
}

static ct_tensor *packed_positions(const ct_graph_node *node, const ct_graph_state *state,
                                   ct_tensor *x) {
    if (node->module) return ct_position_embedding_packed(node->module, x, state->lengths);
    ct_tensor *sines = ct_sinusoidal_positions(x->dtype, x->device, state->packing.steps, node->in);
    ct_tensor *step = ct_packed_steps(state->lengths, x->device);
    return sines && step ? ct_add(x, ct_tensor_index_select(sines, 0, step)) : NULL;
}

static ct_tensor *positions_forward(const ct_graph_node *node, ct_graph_state *state,
                                    ct_tensor *x) {
    if (ct_is_packed(node, state)) return packed_positions(node, state, x);
    if (node->module) return ct_position_embedding(node->module, x);
    return ct_add(x, ct_sinusoidal_positions(x->dtype, x->device, ct_dim(x, 1), node->in));
}

const ct_graph_kind ct_kind_positions = {.name = "positions",
                                         .place = CT_NEEDS_SEQUENCE | CT_TAKES_PACKED,
                                         .options = positions_options,
                                         .create = positions_create,
                                         .forward = positions_forward,
                                         .flops = ct_no_flops};
