/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent layers over a sequence and convolution over time: the fused pairs of
 * tensor/fused/fused.h. */
#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

static bool option_flag(const ct_node *node) { return *(const bool *)ct_node_options(node); }

/* ---- GRU -------------------------------------------------------------------------------- */

enum { GRU_INPUTS = 6, LSTM_INPUTS = 7 };

/* Saved: the six inputs, lengths, the result. */
static bool gru_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_recurrent_inputs in = {.x = ct_saved(node, 0),
                              .h0 = ct_saved(node, 1),
                              .w_ih = ct_saved(node, 2),
                              .w_hh = ct_saved(node, 3),
                              .b_ih = ct_saved(node, 4),
                              .b_hh = ct_saved(node, 5),
                              .lengths = ct_saved(node, 6),
                              .reverse = option_flag(node)};
    ct_recurrent_result result = {
        .y = ct_saved(node, 7), .h_last = ct_saved(node, 8), .saved = ct_saved(node, 9)};
    ct_recurrent_output_grad from = {.y = g[0], .h_last = g[1]};
    ct_recurrent_grad grad = ct_tensor_gru_grad(in, &result, from, ct_needs_grad(node, 0));
    ct_tensor *all[] = {grad.x, grad.h0, grad.w_ih, grad.w_hh, grad.b_ih, grad.b_hh};
    for (int i = 0; i < GRU_INPUTS; i++) gx[i] = all[i];
    return gx[2] != NULL;
}

/* Which of the optional inputs a sample gives. */
typedef struct {
    bool state, bias, reverse;
    /* beside: where x is; packed: x is, its lengths those of packed_lengths */
    enum { NO_LENGTHS, LENGTHS_ON_HOST, LENGTHS_BESIDE, PACKED } lengths;
} recurrent_call;

enum { PACKED_ROWS = 11 };
static ct_tensor *packed_lengths(void) {
    static const int64_t lengths[] = {2, 4, 1, 4};
    return ct_from_data(CT_I64, CT_CPU, CT_SHAPE(4), lengths);
}

/* Inputs: x, w_ih, w_hh, b_ih, b_hh, h0, [c0,] lengths. */
static ct_tensor *lengths_of(const recurrent_call *call, ct_tensor *x) {
    if (call->lengths == NO_LENGTHS) return NULL;
    if (call->lengths == PACKED) return packed_lengths();
    return call->lengths == LENGTHS_BESIDE ? x : ct_tensor_to_device(x, CT_CPU);
}

static int call_gru(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const recurrent_call *call = options;
    y[0] = ct_gru_with(x[0], call->state ? x[5] : NULL, x[1], x[2], call->bias ? x[3] : NULL,
                       call->bias ? x[4] : NULL, lengths_of(call, x[6]), call->reverse, &y[1]);
    return y[0] ? 2 : 0;
}

typedef struct {
    const char *name;
    int64_t batch, steps, in, hidden;
    recurrent_call call;
} recurrent_case;

static const recurrent_case recurrent_cases[] = {
    {"plain", 2, 3, 3, 2, {false, true, false, NO_LENGTHS}},
    {"from a state", 2, 3, 3, 2, {true, true, false, NO_LENGTHS}},
    {"lengths", 3, 4, 2, 2, {true, true, false, LENGTHS_ON_HOST}},
    {"lengths, reverse", 3, 4, 2, 2, {true, true, true, LENGTHS_ON_HOST}},
    {"lengths beside x", 3, 4, 2, 2, {true, true, false, LENGTHS_BESIDE}},
    {"lengths beside x, reverse", 3, 4, 2, 2, {true, true, true, LENGTHS_BESIDE}},
    {"lengths beside x, no state", 3, 4, 2, 2, {false, true, true, LENGTHS_BESIDE}},
    {"packed", 4, 4, 2, 2, {true, true, false, PACKED}},
    {"packed, reverse", 4, 4, 2, 2, {true, true, true, PACKED}},
    {"packed, no state", 4, 4, 3, 2, {false, true, true, PACKED}},
    {"reverse", 2, 3, 2, 2, {false, true, true, NO_LENGTHS}},
    {"without bias", 2, 2, 3, 2, {true, false, false, NO_LENGTHS}},
    {"one element", 1, 1, 1, 1, {true, true, false, NO_LENGTHS}},
    {"no rows", 0, 2, 3, 2, {true, true, false, LENGTHS_BESIDE}},
};

static void recurrent_samples(ct_sampler *sampler, ct_sample_function function, int64_t gates,
                              int states) {
    for (size_t i = 0; i < sizeof recurrent_cases / sizeof *recurrent_cases; i++) {
        const recurrent_case *c = &recurrent_cases[i];
        int64_t rows = gates * c->hidden;
        bool packed = c->call.lengths == PACKED;
        ct_shape x = packed ? CT_SHAPE(PACKED_ROWS, c->in) : CT_SHAPE(c->batch, c->steps, c->in);
        ct_sample sample = {c->name,
                            function,
                            &c->call,
                            6 + states,
                            {ct_sample_real(x), ct_sample_between(CT_SHAPE(rows, c->in), -1, 1),
                             ct_sample_between(CT_SHAPE(rows, c->hidden), -1, 1),
                             ct_sample_between(CT_SHAPE(rows), -1, 1),
                             ct_sample_between(CT_SHAPE(rows), -1, 1)}};
        for (int s = 0; s < states; s++) {
            sample.input[5 + s] = ct_sample_between(CT_SHAPE(c->batch, c->hidden), -1, 1);
        }
        sample.input[5 + states] =
            (ct_sample_input){CT_SAMPLE_INDEX, CT_SHAPE(c->batch), 1, (double)(c->steps + 1)};
        ct_add_sample(sampler, &sample);
    }
}

static void gru_samples(ct_sampler *sampler) { recurrent_samples(sampler, call_gru, 3, 1); }

static const ct_op gru_op = {"gru", gru_backward, gru_samples};

ct_tensor *ct_gru_with(ct_tensor *x, ct_tensor *h0, ct_tensor *w_ih, ct_tensor *w_hh,
                       ct_tensor *b_ih, ct_tensor *b_hh, ct_tensor *lengths, bool reverse,
                       ct_tensor **h_last) {
    ct_recurrent_result result = ct_tensor_gru((ct_recurrent_inputs){.x = x,
                                                                     .h0 = h0,
                                                                     .w_ih = w_ih,
                                                                     .w_hh = w_hh,
                                                                     .b_ih = b_ih,
                                                                     .b_hh = b_hh,
                                                                     .lengths = lengths,
                                                                     .reverse = reverse});
    ct_tensor *input[GRU_INPUTS] = {x, h0, w_ih, w_hh, b_ih, b_hh};
    ct_tensor *output[] = {result.y, h_last ? result.h_last : NULL};
    ct_node *node = ct_record(&gru_op, GRU_INPUTS, input, 2, output);
    for (int i = 0; i < GRU_INPUTS; i++) ct_save(node, input[i]);
    ct_save(node, lengths);
    ct_save(node, result.y);
    ct_save(node, result.h_last);
    ct_save(node, result.saved);
    ct_save_options(node, &reverse, sizeof reverse);
    if (h_last) *h_last = result.h_last;
    return result.y;
}

/* ---- LSTM ------------------------------------------------------------------------------- */

static bool lstm_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_recurrent_inputs in = {.x = ct_saved(node, 0),
                              .h0 = ct_saved(node, 1),
                              .c0 = ct_saved(node, 2),
                              .w_ih = ct_saved(node, 3),
                              .w_hh = ct_saved(node, 4),
                              .b_ih = ct_saved(node, 5),
                              .b_hh = ct_saved(node, 6),
                              .lengths = ct_saved(node, 7),
                              .reverse = option_flag(node)};
    ct_recurrent_result result = {.y = ct_saved(node, 8),
                                  .h_last = ct_saved(node, 9),
                                  .c_last = ct_saved(node, 10),
                                  .saved = ct_saved(node, 11)};
    ct_recurrent_output_grad from = {.y = g[0], .h_last = g[1], .c_last = g[2]};
    ct_recurrent_grad grad = ct_tensor_lstm_grad(in, &result, from, ct_needs_grad(node, 0));
    ct_tensor *all[] = {grad.x, grad.h0, grad.c0, grad.w_ih, grad.w_hh, grad.b_ih, grad.b_hh};
    for (int i = 0; i < LSTM_INPUTS; i++) gx[i] = all[i];
    return gx[3] != NULL;
}

static int call_lstm(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const recurrent_call *call = options;
    y[0] = ct_lstm_with(x[0], call->state ? x[5] : NULL, call->state ? x[6] : NULL, x[1], x[2],
                        call->bias ? x[3] : NULL, call->bias ? x[4] : NULL, lengths_of(call, x[7]),
                        call->reverse, &y[1], &y[2]);
    return y[0] ? 3 : 0;
}

static void lstm_samples(ct_sampler *sampler) { recurrent_samples(sampler, call_lstm, 4, 2); }

static const ct_op lstm_op = {"lstm", lstm_backward, lstm_samples};

ct_tensor *ct_lstm_with(ct_tensor *x, ct_tensor *h0, ct_tensor *c0, ct_tensor *w_ih,
                        ct_tensor *w_hh, ct_tensor *b_ih, ct_tensor *b_hh, ct_tensor *lengths,
                        bool reverse, ct_tensor **h_last, ct_tensor **c_last) {
    ct_recurrent_result result = ct_tensor_lstm((ct_recurrent_inputs){.x = x,
                                                                      .h0 = h0,
                                                                      .c0 = c0,
                                                                      .w_ih = w_ih,
                                                                      .w_hh = w_hh,
                                                                      .b_ih = b_ih,
                                                                      .b_hh = b_hh,
                                                                      .lengths = lengths,
                                                                      .reverse = reverse});
    ct_tensor *input[LSTM_INPUTS] = {x, h0, c0, w_ih, w_hh, b_ih, b_hh};
    ct_tensor *output[] = {result.y, h_last ? result.h_last : NULL, c_last ? result.c_last : NULL};
    ct_node *node = ct_record(&lstm_op, LSTM_INPUTS, input, 3, output);
    for (int i = 0; i < LSTM_INPUTS; i++) ct_save(node, input[i]);
    ct_save(node, lengths);
    ct_save(node, result.y);
    ct_save(node, result.h_last);
    ct_save(node, result.c_last);
    ct_save(node, result.saved);
    ct_save_options(node, &reverse, sizeof reverse);
    if (h_last) *h_last = result.h_last;
    if (c_last) *c_last = result.c_last;
    return result.y;
}

/* ---- convolution ------------------------------------------------------------------------ */

static bool conv1d_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor_conv1d_options *o = ct_node_options(node);
    ct_tensor_conv1d_grad(g[0], ct_saved(node, 0), ct_saved(node, 1), *o,
                          ct_needs_grad(node, 0) ? &gx[0] : NULL, &gx[1],
                          ct_needs_grad(node, 2) ? &gx[2] : NULL);
    return gx[1] != NULL;
}

static int call_conv1d(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(
        y, ct_conv1d_with(x[0], x[1], x[2], *(const ct_tensor_conv1d_options *)options));
}

static int call_conv1d_plain(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(
        y, ct_conv1d_with(x[0], x[1], NULL, *(const ct_tensor_conv1d_options *)options));
}

static void conv1d_samples(ct_sampler *sampler) {
    const ct_tensor_conv1d_options plain = {0, 0, 1, 1}, causal = {4, 0, 1, 2},
                                   strided = {1, 1, 2, 1};
    ct_sample_input weight = ct_sample_real(CT_SHAPE(2, 3, 3)), bias = ct_sample_real(CT_SHAPE(2));
    ct_sample_input x = ct_sample_real(CT_SHAPE(2, 5, 3));
    ct_sample_3(sampler, "plain", call_conv1d, &plain, x, weight, bias);
    ct_sample_3(sampler, "causal, dilated", call_conv1d, &causal, x, weight, bias);
    ct_sample_3(sampler, "strided", call_conv1d, &strided, x, weight, bias);
    ct_sample_2(sampler, "without bias", call_conv1d_plain, &strided, x, weight);
    ct_sample_3(sampler, "one element", call_conv1d, &plain, ct_sample_real(CT_SHAPE(1, 1, 1)),
                ct_sample_real(CT_SHAPE(1, 1, 1)), ct_sample_real(CT_SHAPE(1)));
    ct_sample_3(sampler, "no rows", call_conv1d, &plain, ct_sample_real(CT_SHAPE(0, 5, 3)), weight,
                bias);
    ct_sample_3(sampler, "to no channels", call_conv1d, &plain, x,
                ct_sample_real(CT_SHAPE(0, 3, 3)), ct_sample_real(CT_SHAPE(0)));
}

static const ct_op conv1d_op = {"conv1d", conv1d_backward, conv1d_samples};

ct_tensor *ct_conv1d_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias,
                          ct_tensor_conv1d_options options) {
    ct_tensor *y = ct_tensor_conv1d(x, weight, bias, options);
    ct_node *node = ct_record(&conv1d_op, 3, (ct_tensor *[]){x, weight, bias}, 1, &y);
    ct_save(node, x);
    ct_save(node, weight);
    ct_save_options(node, &options, sizeof options);
    return y;
}

/* ---- convolution of packed sequences ------------------------------------------------------ */

static bool conv1d_packed_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_tensor_conv1d_options *o = ct_node_options(node);
    ct_tensor_conv1d_packed_grad(g[0], ct_saved(node, 0), ct_saved(node, 1), ct_saved(node, 2), *o,
                                 ct_needs_grad(node, 0) ? &gx[0] : NULL, &gx[1],
                                 ct_needs_grad(node, 2) ? &gx[2] : NULL);
    return gx[1] != NULL;
}

static int call_conv1d_packed(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_conv1d_packed_with(x[0], packed_lengths(), x[1], x[2],
                                                     *(const ct_tensor_conv1d_options *)options));
}

static void conv1d_packed_samples(ct_sampler *sampler) {
    const ct_tensor_conv1d_options causal = {2, 0, 1, 1}, centred = {1, 1, 1, 1},
                                   dilated = {2, 4, 1, 3};
    ct_sample_input weight = ct_sample_real(CT_SHAPE(2, 3, 3)), bias = ct_sample_real(CT_SHAPE(2));
    ct_sample_input x = ct_sample_real(CT_SHAPE(PACKED_ROWS, 3));
    ct_sample_3(sampler, "causal", call_conv1d_packed, &causal, x, weight, bias);
    ct_sample_3(sampler, "centred", call_conv1d_packed, &centred, x, weight, bias);
    ct_sample_3(sampler, "dilated", call_conv1d_packed, &dilated, x, weight, bias);
    ct_sample_3(sampler, "to one channel", call_conv1d_packed, &causal, x,
                ct_sample_real(CT_SHAPE(1, 3, 3)), ct_sample_real(CT_SHAPE(1)));
    ct_sample_3(sampler, "to no channels", call_conv1d_packed, &causal, x,
                ct_sample_real(CT_SHAPE(0, 3, 3)), ct_sample_real(CT_SHAPE(0)));
    ct_sample_3(sampler, "of no channels", call_conv1d_packed, &causal,
                ct_sample_real(CT_SHAPE(PACKED_ROWS, 0)), ct_sample_real(CT_SHAPE(2, 0, 3)), bias);
}

static const ct_op conv1d_packed_op = {"conv1d_packed", conv1d_packed_backward,
                                       conv1d_packed_samples};

ct_tensor *ct_conv1d_packed_with(ct_tensor *x, ct_tensor *lengths, ct_tensor *weight,
                                 ct_tensor *bias, ct_tensor_conv1d_options options) {
    ct_tensor *y = ct_tensor_conv1d_packed(x, lengths, weight, bias, options);
    ct_node *node = ct_record(&conv1d_packed_op, 3, (ct_tensor *[]){x, weight, bias}, 1, &y);
    ct_save(node, x);
    ct_save(node, lengths);
    ct_save(node, weight);
    ct_save_options(node, &options, sizeof options);
    return y;
}

const ct_op *ct_sequence_op(int i) {
    static const ct_op *const ops[] = {&gru_op, &lstm_op, &conv1d_op, &conv1d_packed_op, NULL};
    return ops[i];
}
