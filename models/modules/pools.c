/* SPDX-License-Identifier: Apache-2.0 */
/* Module kinds that reduce a sequence to one vector: mean, max, gru, lstm, bigru. */
#include "models/modules/modules.h"

static double row_flops(const ct_graph_node *node, double rows, double steps) {
    return rows * steps * (double)node->in;
}

/* ---- mean, max: over the real steps --------------------------------------------------------- */

static ct_tensor *packed_mean(const ct_graph_state *state, ct_tensor *x) {
    ct_tensor *sequence = ct_packed_sequences(state->lengths, x->device);
    ct_tensor *length = ct_tensor_to_device(state->lengths, x->device);
    ct_tensor *count = length ? ct_tensor_unsqueeze(ct_tensor_cast(length, x->dtype), 1) : NULL;
    return ct_div(ct_segment_sum(x, sequence, state->packing.batch), count);
}

static ct_tensor *mean_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    if (ct_is_packed(node, state)) return packed_mean(state, x);
    if (!state->lengths) return ct_mean(x, 1);
    ct_tensor *mask = ct_step_mask(state, x);
    ct_tensor *count = ct_tensor_reduce(CT_SUM, mask, 1u << 1, false); /* (B,1) */
    return ct_div(ct_sum(ct_mul(x, mask), 1), count);
}

const ct_graph_kind ct_kind_mean = {.name = "mean",
                                    .place = CT_NEEDS_SEQUENCE | CT_POOLS | CT_TAKES_PACKED,
                                    .options = ct_no_options,
                                    .create = ct_same_width,
                                    .forward = mean_forward,
                                    .flops = row_flops};

static ct_tensor *max_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)node;
    if (!state->lengths) return ct_max(x, 1);
    ct_tensor *padding = ct_steps_beyond(state->lengths, 0, ct_dim(x, 1), x->device);
    return ct_max(ct_masked_fill(x, ct_tensor_unsqueeze(padding, 2), -1e30), 1);
}

const ct_graph_kind ct_kind_max = {.name = "max",
                                   .place = CT_NEEDS_SEQUENCE | CT_POOLS,
                                   .options = ct_no_options,
                                   .create = ct_same_width,
                                   .forward = max_forward,
                                   .flops = row_flops};

/* ---- gru, lstm: the last state of the last layer -------------------------------------------- */

enum { RNN_WIDTH, RNN_LAYERS, RNN_MERGE, MERGE_MEAN = 0 };
static const ct_option rnn_options[] = {
    {"width", CT_OPTION_INTEGER, NULL, 1, 1 << 20, NULL},
    {"layers", CT_OPTION_INTEGER, "1", 1, 16, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static int64_t rnn_width(const ct_graph_node *node, const ct_graph_context *context) {
    return ct_number_or(node, RNN_WIDTH, context->pool_width ? context->pool_width : node->in);
}

static double rnn_flops(const ct_graph_node *node, double gates, double hidden, double directions,
                        double rows, double steps) {
    double layers = ct_number(node, RNN_LAYERS), in = (double)node->in;
    double inner = (layers - 1) * directions * hidden;
    return 2 * rows * steps * directions * gates * hidden * (in + inner + layers * hidden);
}

static bool gru_create(ct_graph_node *node, const ct_graph_context *context) {
    node->out = rnn_width(node, context);
    ct_rnn_options options = ct_rnn_defaults();
    options.layers = (int)ct_number(node, RNN_LAYERS);
    return ct_graph_own(node, ct_gru_create(node->in, node->out, &options));
}

static ct_tensor *gru_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    ct_tensor *last = NULL;
    ct_gru(node->module, x, NULL, state->lengths, &last);
    return last ? ct_select(last, 0, ct_dim(last, 0) - 1) : NULL;
}

static double gru_flops(const ct_graph_node *node, double rows, double steps) {
    return rnn_flops(node, 3, (double)node->out, 1, rows, steps);
}

const ct_graph_kind ct_kind_gru = {.name = "gru",
                                   .place = CT_NEEDS_SEQUENCE | CT_POOLS | CT_TAKES_PACKED,
                                   .options = rnn_options,
                                   .create = gru_create,
                                   .forward = gru_forward,
                                   .flops = gru_flops};

static bool lstm_create(ct_graph_node *node, const ct_graph_context *context) {
    node->out = rnn_width(node, context);
    ct_rnn_options options = ct_rnn_defaults();
    options.layers = (int)ct_number(node, RNN_LAYERS);
    return ct_graph_own(node, ct_lstm_create(node->in, node->out, &options));
}

static ct_tensor *lstm_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    ct_tensor *last = NULL;
    ct_lstm(node->module, x, NULL, NULL, state->lengths, &last, NULL);
    return last ? ct_select(last, 0, ct_dim(last, 0) - 1) : NULL;
}

static double lstm_flops(const ct_graph_node *node, double rows, double steps) {
    return rnn_flops(node, 4, (double)node->out, 1, rows, steps);
}

const ct_graph_kind ct_kind_lstm = {.name = "lstm",
                                    .place = CT_NEEDS_SEQUENCE | CT_POOLS | CT_TAKES_PACKED,
                                    .options = rnn_options,
                                    .create = lstm_create,
                                    .forward = lstm_forward,
                                    .flops = lstm_flops};

/* ---- bigru: the last states of both directions, averaged or side by side --------------------- */

static const ct_option bigru_options[] = {
    {"width", CT_OPTION_INTEGER, NULL, 1, 1 << 20, NULL}, /* of the result */
    {"layers", CT_OPTION_INTEGER, "1", 1, 16, NULL},
    {"merge", CT_OPTION_CHOICE, "mean", 0, 0, "mean|concat"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static int64_t bigru_hidden(const ct_graph_node *node) {
    return ct_number(node, RNN_MERGE) == MERGE_MEAN ? node->out : node->out / 2;
}

static bool bigru_create(ct_graph_node *node, const ct_graph_context *context) {
    node->out = rnn_width(node, context);
    if (ct_number(node, RNN_MERGE) != MERGE_MEAN && node->out % 2)
        return ct_fail_at(node->place, "width is %lld, expected an even number for merge=concat",
                          (long long)node->out) != NULL;
    ct_rnn_options options = ct_rnn_defaults();
    options.layers = (int)ct_number(node, RNN_LAYERS);
    options.bidirectional = true;
    return ct_graph_own(node, ct_gru_create(node->in, bigru_hidden(node), &options));
}

static ct_tensor *bigru_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    ct_tensor *last = NULL; /* (layers*2,B,hidden) */
    ct_gru(node->module, x, NULL, state->lengths, &last);
    if (!last) return NULL;
    int64_t states = ct_dim(last, 0);
    ct_tensor *forwards = ct_select(last, 0, states - 2);
    ct_tensor *backwards = ct_select(last, 0, states - 1);
    if (ct_number(node, RNN_MERGE) != MERGE_MEAN) return ct_concat2(forwards, backwards, 1);
    return ct_scale(ct_add(forwards, backwards), 0.5);
}

static double bigru_flops(const ct_graph_node *node, double rows, double steps) {
    return rnn_flops(node, 3, (double)bigru_hidden(node), 2, rows, steps);
}

const ct_graph_kind ct_kind_bigru = {.name = "bigru",
                                     .place = CT_NEEDS_SEQUENCE | CT_POOLS | CT_TAKES_PACKED,
                                     .options = bigru_options,
                                     .create = bigru_create,
                                     .forward = bigru_forward,
                                     .flops = bigru_flops};
