/* SPDX-License-Identifier: Apache-2.0 */
/* Every module and loss of nn/: gradients of inputs and parameters. */
#include "tests/module_gradcheck.h"

/* Two outputs as one. */
static ct_tensor *both(ct_tensor *a, ct_tensor *b) {
    return ct_concat2(ct_reshape(a, CT_SHAPE(-1)), ct_reshape(b, CT_SHAPE(-1)), 0);
}

/* ---- modules ---------------------------------------------------------------------------- */

START_TEST(linear) {
    check_forward("linear", ct_linear_create(4, 3, true), CT_SHAPE(2, 5, 4));
    check_forward("linear without bias", ct_linear_create(4, 3, false), CT_SHAPE(5, 4));
    check_forward("linear, weight norm", ct_weight_norm_apply(ct_linear_create(4, 3, true)),
                  CT_SHAPE(5, 4));
}
END_TEST

START_TEST(embedding) {
    CT_SCOPE {
        ct_tensor *index = integers(CT_SHAPE(2, 3), (int64_t[]){0, 2, 2, 3, 0, 2});
        subject s = {
            .module = prepared(ct_embedding_create(5, 3)), .input = {index}, .output = forward};
        check("embedding", s);
    }
}
END_TEST

static ct_tensor *gru_output(const subject *s) {
    ct_tensor *h;
    ct_tensor *y = ct_gru(s->module, s->input[0], s->input[1], s->input[2], &h);
    return both(y, h);
}

START_TEST(gru) {
    check_forward("gru", ct_gru_create(3, 4, NULL), CT_SHAPE(2, 4, 3));
    check_forward("gru without bias", ct_gru_create(3, 4, &(ct_rnn_options){.layers = 1}),
                  CT_SHAPE(2, 4, 3));
    CT_SCOPE {
        ct_rnn_options options = {.layers = 2, .bidirectional = true, .bias = true, .dropout = 0.3};
        subject s = {.module = prepared(ct_gru_create(3, 2, &options)),
                     .input = {real(CT_SHAPE(3, 4, 3), 1), real(CT_SHAPE(4, 3, 2), 2),
                               integers(CT_SHAPE(3), (int64_t[]){2, 4, 1})},
                     .output = gru_output};
        check("gru, 2 layers, both ways, lengths", s);
    }
}
END_TEST

static ct_tensor *lstm_output(const subject *s) {
    ct_tensor *h, *c;
    ct_tensor *y = ct_lstm(s->module, s->input[0], s->input[1], s->input[2], s->input[3], &h, &c);
    return both(y, both(h, c));
}

START_TEST(lstm) {
    check_forward("lstm", ct_lstm_create(3, 4, NULL), CT_SHAPE(2, 4, 3));
    CT_SCOPE {
        ct_rnn_options options = {.layers = 2, .bidirectional = true, .bias = true, .dropout = 0.3};
        subject s = {.module = prepared(ct_lstm_create(3, 2, &options)),
                     .input = {real(CT_SHAPE(3, 4, 3), 1), real(CT_SHAPE(4, 3, 2), 2),
                               real(CT_SHAPE(4, 3, 2), 3),
                               integers(CT_SHAPE(3), (int64_t[]){2, 4, 1})},
                     .output = lstm_output};
        check("lstm, 2 layers, both ways, lengths", s);
    }
}
END_TEST

static ct_tensor *cell_output(const subject *s) {
    return ct_gru_cell(s->module, s->input[0], s->input[1]);
}

START_TEST(gru_cell) {
    check_forward("gru_cell from zero", ct_gru_cell_create(3, 4), CT_SHAPE(2, 3));
    CT_SCOPE {
        subject s = {.module = prepared(ct_gru_cell_create(3, 4)),
                     .input = {real(CT_SHAPE(2, 3), 1), real(CT_SHAPE(2, 4), 2)},
                     .output = cell_output};
        check("gru_cell", s);
    }
}
END_TEST

static ct_tensor *graph_output(const subject *s) {
    return ct_graph_conv(s->module, s->input[0], s->input[1]);
}

START_TEST(graphs) {
    CT_SCOPE {
        subject s = {.module = prepared(ct_graph_conv_create(3, 2, true)),
                     .input = {real(CT_SHAPE(2, 4, 3), 1), real(CT_SHAPE(2, 4, 4), 2)},
                     .output = graph_output};
        check("graph_conv", s);
    }
    CT_SCOPE {
        subject s = {.module = prepared(ct_graph_conv_create(3, 2, false)),
                     .input = {real(CT_SHAPE(2, 4, 3), 1), real(CT_SHAPE(4, 4), 2)},
                     .output = graph_output};
        check("graph_conv, one graph, no bias", s);
    }
}
END_TEST

static ct_tensor *attention_output(const subject *s) {
    return ct_attention(s->module, s->input[0], s->input[1], s->input[2], s->input[3]);
}

START_TEST(attention) {
    ct_attention_options options = {.heads = 2, .causal = true, .dropout = 0.2};
    check_forward("attention, causal, dropout", ct_attention_create(4, &options),
                  CT_SHAPE(2, 3, 4));
    CT_SCOPE {
        /* The second row's keys are all forbidden. */
        const uint8_t forbidden[] = {0, 1, 0, 0, 1, 1, 1, 1};
        ct_tensor *mask = ct_from_data(CT_U8, test_device(), CT_SHAPE(2, 1, 1, 4), forbidden);
        subject s = {.module =
                         prepared(ct_attention_create(4, &(ct_attention_options){.heads = 2})),
                     .input = {real(CT_SHAPE(2, 3, 4), 1), real(CT_SHAPE(2, 4, 4), 2),
                               real(CT_SHAPE(2, 4, 4), 3), mask},
                     .output = attention_output};
        check("attention, query/key/value, mask", s);
    }
}
END_TEST

static ct_tensor *masked_norm_output(const subject *s) {
    return ct_batch_norm_masked(s->module, s->input[0], s->input[1]);
}

START_TEST(norms) {
    ct_batch_norm_options channels_last = ct_batch_norm_defaults(),
                          batch_statistics = channels_last;
    channels_last.axis = -1;
    batch_statistics.statistics = CT_BATCH_STATISTICS;
    check_forward("batch_norm (B,C)", ct_batch_norm_create(3, NULL), CT_SHAPE(4, 3));
    check_forward("batch_norm (B,C,L)", ct_batch_norm_create(3, NULL), CT_SHAPE(2, 3, 4));
    check_forward("batch_norm, channels last", ct_batch_norm_create(3, &channels_last),
                  CT_SHAPE(2, 4, 3));
    ct_module *norm = ct_batch_norm_create(3, NULL);
    ct_module_train(norm, false);
    check_forward("batch_norm, evaluation", norm, CT_SHAPE(4, 3));
    norm = ct_batch_norm_create(3, &batch_statistics);
    ct_module_train(norm, false);
    check_forward("batch_norm, batch statistics", norm, CT_SHAPE(4, 3));
    CT_SCOPE {
        ct_tensor *mask =
            ct_from_data(CT_U8, test_device(), CT_SHAPE(5, 1), (uint8_t[]){1, 0, 1, 1, 0});
        norm = ct_batch_norm_create(3, &channels_last);
        subject s = {.module = prepared(norm),
                     .input = {real(CT_SHAPE(5, 3), 1), mask},
                     .output = masked_norm_output};
        check("batch_norm, masked", s);
    }
    check_forward("layer_norm", ct_layer_norm_create(4, NULL), CT_SHAPE(2, 3, 4));
    check_forward("l2_norm", ct_l2_normalize_create(-1), CT_SHAPE(2, 3, 4));
    check_forward("l2_norm over regions", ct_l2_normalize_create(1), CT_SHAPE(2, 3, 4));
}
END_TEST

START_TEST(convolutions) {
    ct_conv1d_options wide = {.stride = 2, .dilation = 2, .padding = 1, .bias = true};
    ct_conv1d_options causal = {.stride = 1, .dilation = 1, .causal = true};
    check_forward("conv1d", ct_conv1d_create(3, 2, 3, &wide), CT_SHAPE(2, 8, 3));
    check_forward("conv1d, causal, no bias", ct_conv1d_create(3, 2, 3, &causal), CT_SHAPE(2, 5, 3));
    ct_conv2d_options grouped = {
        .stride = 2, .dilation = 1, .padding = 1, .groups = 2, .bias = true};
    check_forward("conv2d", ct_conv2d_create(2, 3, 3, NULL), CT_SHAPE(2, 2, 4, 5));
    check_forward("conv2d, groups", ct_conv2d_create(2, 4, 3, &grouped), CT_SHAPE(2, 2, 5, 4));
    check_forward("conv1d, weight norm", ct_weight_norm_apply(ct_conv1d_create(3, 2, 3, NULL)),
                  CT_SHAPE(2, 5, 3));
}
END_TEST

START_TEST(pictures) {
    check_forward("max_pool2d", ct_max_pool2d_create(2, 2, NULL), CT_SHAPE(2, 2, 4, 5));
    check_forward("avg_pool2d", ct_avg_pool2d_create(3, 2, &(ct_avg_pool2d_options){1, true, true}),
                  CT_SHAPE(2, 2, 4, 5));
    check_forward("adaptive_avg_pool2d", ct_adaptive_avg_pool2d_create(2, 3), CT_SHAPE(2, 2, 4, 5));
    check_forward("batch norm of pictures", ct_batch_norm_create(2, NULL), CT_SHAPE(2, 2, 3, 2));
    check_forward("residual_block", ct_residual_block_create(2, 2, NULL), CT_SHAPE(2, 2, 3, 4));
    check_forward("residual_block, bottleneck, strided",
                  ct_residual_block_create(2, 1, &(ct_residual_block_options){2, true}),
                  CT_SHAPE(2, 2, 4, 3));
    check_forward("patch_embedding", ct_patch_embedding_create(2, 3, 2), CT_SHAPE(2, 2, 4, 2));
}
END_TEST

static ct_tensor *transformer_output(const subject *s) {
    return ct_transformer_layer(s->module, s->input[0], s->input[1]);
}

START_TEST(transformers) {
    ct_transformer_layer_options options = ct_transformer_layer_defaults();
    options.causal = true;
    options.dropout = 0.2;
    check_forward("transformer_layer, causal, dropout",
                  ct_transformer_layer_create(4, 2, 6, &options), CT_SHAPE(2, 3, 4));
    options = ct_transformer_layer_defaults();
    options.norm_first = true;
    options.activation = "gelu";
    CT_SCOPE {
        const uint8_t padding[] = {0, 0, 0, 0, 0, 1};
        ct_tensor *mask = ct_from_data(CT_U8, test_device(), CT_SHAPE(2, 1, 1, 3), padding);
        subject s = {.module = prepared(ct_transformer_layer_create(4, 2, 6, &options)),
                     .input = {real(CT_SHAPE(2, 3, 4), 0), mask},
                     .output = transformer_output};
        check("transformer_layer, norm first, padding", s);
    }
    check_forward("position_embedding", ct_position_embedding_create(5, 2), CT_SHAPE(2, 3, 2));
}
END_TEST

START_TEST(chains) {
    static const char *const names[] = {"relu",  "tanh",        "sigmoid",  "gelu",
                                        "silu",  "softplus",    "elu",      "leaky_relu",
                                        "relu6", "hardsigmoid", "hardswish"};
    for (int i = 0; i < 11; i++) {
        ct_module *chain = ct_sequential_create();
        char what[64];
        snprintf(what, sizeof what, "sequential, dropout, %s", names[i]);
        ct_module_add(chain, "in", ct_linear_create(3, 4, true));
        ct_module_add(chain, "activation", ct_activation_create(names[i]));
        ct_module_add(chain, "dropout", ct_dropout_create(0.25));
        ct_module_add(chain, "out", ct_linear_create(4, 2, true));
        check_forward(what, chain, CT_SHAPE(3, 3));
    }
}
END_TEST

/* ---- losses ----------------------------------------------------------------------------- */

static ct_tensor *cross_entropy_output(const subject *s) {
    ct_cross_entropy_options options = {.smoothing = s->option, .ignore = true, .ignore_index = 1};
    return ct_cross_entropy(s->input[0], s->input[1], &options);
}

static ct_tensor *cross_entropy_rows(const subject *s) {
    ct_cross_entropy_options options = {.reduction = CT_REDUCE_NONE};
    return ct_cross_entropy(s->input[0], s->input[1], &options);
}

static ct_tensor *bce_output(const subject *s) {
    return ct_bce_with_logits(s->input[0], s->input[1], CT_REDUCE_MEAN);
}

static ct_tensor *mse_output(const subject *s) {
    return ct_mse(s->input[0], s->input[1], CT_REDUCE_SUM);
}

START_TEST(losses) {
    CT_SCOPE {
        ct_tensor *labels = integers(CT_SHAPE(2, 3), (int64_t[]){0, 3, 1, 2, 1, 0});
        ct_tensor *logits = real(CT_SHAPE(2, 3, 4), 1);
        check("cross_entropy, ignore",
              (subject){.input = {logits, labels}, .output = cross_entropy_output});
        ct_zero_grad(logits);
        check("cross_entropy, smoothing",
              (subject){.input = {logits, labels}, .option = 0.2, .output = cross_entropy_output});
        ct_zero_grad(logits);
        check("cross_entropy, rows",
              (subject){.input = {logits, labels}, .output = cross_entropy_rows});
        check("bce_with_logits", (subject){.input = {real_between(CT_SHAPE(3, 4), -3, 3, 2),
                                                     real_between(CT_SHAPE(3, 4), 0.1, 0.9, 3)},
                                           .output = bce_output});
        check("mse", (subject){.input = {real(CT_SHAPE(3, 4), 2), real(CT_SHAPE(3, 4), 3)},
                               .output = mse_output});
    }
}
END_TEST

/* ---- distributions ---------------------------------------------------------------------- */

static ct_tensor *log_prob_output(const subject *s) {
    return ct_categorical_log_prob(s->input[0], s->input[1]);
}

static ct_tensor *entropy_output(const subject *s) { return ct_categorical_entropy(s->input[0]); }

static ct_tensor *gumbel_output(const subject *s) {
    return ct_gumbel_softmax(s->input[0], 0.8, false, ct_default_rng(), "gumbel");
}

static ct_tensor *rsample_output(const subject *s) {
    return ct_normal_rsample(s->input[0], s->input[1], ct_default_rng(), "z");
}

static ct_tensor *normal_output(const subject *s) {
    return ct_normal_log_prob(s->input[0], s->input[1], s->input[2]);
}

static ct_tensor *normal_entropy_output(const subject *s) { return ct_normal_entropy(s->input[0]); }

START_TEST(distributions) {
    CT_SCOPE {
        ct_tensor *value = integers(CT_SHAPE(2, 3), (int64_t[]){0, 3, 1, 2, 1, 0});
        check("categorical_log_prob",
              (subject){.input = {real(CT_SHAPE(2, 3, 4), 1), value}, .output = log_prob_output});
        check("categorical_entropy",
              (subject){.input = {real(CT_SHAPE(2, 3, 4), 1)}, .output = entropy_output});
        check("gumbel_softmax",
              (subject){.input = {real(CT_SHAPE(2, 3, 4), 1)}, .output = gumbel_output});
        check("normal_rsample",
              (subject){.input = {real(CT_SHAPE(3, 4), 1), real_between(CT_SHAPE(3, 1), 0.5, 2, 2)},
                        .output = rsample_output});
        check("normal_log_prob", (subject){.input = {real(CT_SHAPE(3, 4), 1), real(CT_SHAPE(4), 2),
                                                     real_between(CT_SHAPE(3, 4), 0.5, 2, 3)},
                                           .output = normal_output});
        check("normal_entropy", (subject){.input = {real_between(CT_SHAPE(3, 4), 0.5, 2, 3)},
                                          .output = normal_entropy_output});
    }
}
END_TEST

TEST_MAIN("nn gradcheck", linear, embedding, gru, lstm, gru_cell, graphs, attention, norms,
          convolutions, pictures, transformers, chains, losses, distributions)
