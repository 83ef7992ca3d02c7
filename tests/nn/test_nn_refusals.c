/* SPDX-License-Identifier: Apache-2.0 */
/* Layers refuse sizes and options that make no sense, and name them. */
#include "nn/nn.h"
#include "tests/test.h"

static void refused(ct_module *module, const char *message) {
    ck_assert_ptr_null(module);
    assert_error(message);
}

START_TEST(wrong_options_are_named) {
    ct_rnn_options rnn = ct_rnn_defaults();
    rnn.layers = 0;
    refused(ct_gru_create(3, 4, &rnn), "gru: layers is 0, expected 1 to 32");
    refused(ct_lstm_create(3, 4, &(ct_rnn_options){.layers = 33}), "lstm: layers is 33");
    refused(ct_gru_create(3, 4, &(ct_rnn_options){.layers = 1, .dropout = NAN}), "dropout is nan");
    refused(ct_attention_create(4, &(ct_attention_options){0}), "attention: heads is 0");
    refused(ct_attention_create(4, &(ct_attention_options){.heads = 1, .dropout = 1}),
            "attention: dropout is 1");
    refused(ct_batch_norm_create(2, &(ct_batch_norm_options){.momentum = 2}),
            "batch_norm: momentum is 2, expected 0 to 1");
    refused(ct_batch_norm_create(2, &(ct_batch_norm_options){.eps = -1e-5}),
            "batch_norm: eps is -1e-05, expected 0 or more");
    refused(ct_batch_norm_create(2, &(ct_batch_norm_options){.statistics = 7}),
            "batch_norm: statistics is 7");
    refused(ct_layer_norm_create(2, &(ct_layer_norm_options){.eps = -1}), "layer_norm: eps is -1");
    refused(ct_attention_create(5, &(ct_attention_options){.heads = 2}),
            "attention: width 5 in 2 heads: expected a multiple");
    ct_transformer_layer_options layer = ct_transformer_layer_defaults();
    layer.activation = "gleu";
    refused(ct_transformer_layer_create(4, 2, 8, &layer), "activation: unknown 'gleu'");
    layer = ct_transformer_layer_defaults();
    layer.dropout = 1;
    refused(ct_transformer_layer_create(4, 2, 8, &layer),
            "transformer_layer: dropout is 1, expected 0 <= dropout < 1");
    refused(ct_transformer_layer_create(4, 3, 8, NULL), "attention: width 4 in 3 heads");
    refused(ct_max_pool2d_create(2, 2, &(ct_max_pool2d_options){2, 1, false}),
            "max_pool2d: padding is 2, expected 0 to half of what the kernel spans");
    refused(ct_max_pool2d_create(2, 2, &(ct_max_pool2d_options){0}), "max_pool2d: dilation is 0");
    refused(ct_avg_pool2d_create(3, 2, &(ct_avg_pool2d_options){-1, false, false}),
            "avg_pool2d: padding is -1");
    ct_conv1d_options conv = ct_conv1d_defaults();
    conv.stride = 0;
    refused(ct_conv1d_create(2, 3, 3, &conv), "conv1d: stride is 0, expected 1 to 2147483647");
    conv = ct_conv1d_defaults();
    conv.dilation = -1;
    refused(ct_conv1d_create(2, 3, 3, &conv), "conv1d: dilation is -1");
    conv = ct_conv1d_defaults();
    conv.padding = -1;
    refused(ct_conv1d_create(2, 3, 3, &conv), "conv1d: padding is -1");
}
END_TEST

/* Of every size of every layer: those that are none, and those of which a product overflows. */
START_TEST(wrong_sizes_are_named) {
    static const int64_t wrong[] = {0,         -1,       INT64_C(1) << 31, INT64_C(1) << 62,
                                    INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t n = wrong[i];
        refused(ct_linear_create(n, 2, true), "linear: inputs is ");
        refused(ct_linear_create(2, n, false), "linear: outputs is ");
        refused(ct_embedding_create(n, 2), "embedding: count is ");
        refused(ct_embedding_create(2, n), "embedding: width is ");
        refused(ct_gru_create(n, 2, NULL), "gru: in is ");
        refused(ct_gru_create(2, n, NULL), "gru: hidden is ");
        refused(ct_lstm_create(n, 2, NULL), "lstm: in is ");
        refused(ct_lstm_create(2, n, NULL), "lstm: hidden is ");
        refused(ct_gru_cell_create(n, 2), "gru_cell: in is ");
        refused(ct_gru_cell_create(2, n), "gru_cell: hidden is ");
        refused(ct_graph_conv_create(n, 2, true), "graph_conv: inputs is ");
        refused(ct_graph_conv_create(2, n, true), "graph_conv: outputs is ");
        refused(ct_attention_create(n, NULL), "attention: width is ");
        refused(ct_batch_norm_create(n, NULL), "batch_norm: channels is ");
        refused(ct_layer_norm_create(n, NULL), "layer_norm: width is ");
        refused(ct_conv1d_create(n, 2, 1, NULL), "conv1d: in is ");
        refused(ct_conv1d_create(2, n, 1, NULL), "conv1d: out is ");
        refused(ct_conv1d_create(2, 2, n, NULL), "conv1d: kernel is ");
        refused(ct_transformer_layer_create(n, 1, 2, NULL), "transformer_layer: width is ");
        refused(ct_transformer_layer_create(2, 1, n, NULL), "transformer_layer: hidden is ");
        refused(ct_position_embedding_create(n, 2), "position_embedding: steps is ");
        refused(ct_position_embedding_create(2, n), "position_embedding: width is ");
        refused(ct_patch_embedding_create(3, 2, n), "patch_embedding: patch is ");
        refused(ct_max_pool2d_create(n, 2, NULL), "max_pool2d: kernel is ");
        refused(ct_max_pool2d_create(2, n, NULL), "max_pool2d: stride is ");
        refused(ct_avg_pool2d_create(n, 2, NULL), "avg_pool2d: kernel is ");
        refused(ct_adaptive_avg_pool2d_create(n, 2), "adaptive_avg_pool2d: rows is ");
        refused(ct_adaptive_avg_pool2d_create(2, n), "adaptive_avg_pool2d: columns is ");
        ct_conv1d_options conv = ct_conv1d_defaults();
        conv.causal = true;
        conv.dilation = n;
        refused(ct_conv1d_create(2, 2, 5, &conv), "conv1d: dilation is ");
    }
    /* each within its range, all together beyond what a tensor can have */
    refused(ct_linear_create(INT32_MAX, INT32_MAX, true), "too large");
    refused(ct_gru_create(INT32_MAX, INT32_MAX, NULL), "too large");
    refused(ct_attention_create(INT32_MAX, NULL), "too large");
    refused(ct_conv1d_create(INT32_MAX, INT32_MAX, INT32_MAX, NULL), "too large");
}
END_TEST

START_TEST(wrong_numbers_are_named) {
    static const double wrong[] = {NAN, INFINITY, -INFINITY, -0.5};
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(2, 2), 1);
        ct_tensor *one = ct_full(CT_F32, CT_CPU, CT_SHAPE(2), 1);
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            double p = wrong[i];
            refused(ct_dropout_create(p), "dropout: probability ");
            refused(ct_gru_create(2, 2, &(ct_rnn_options){.layers = 1, .dropout = p}),
                    "gru: dropout is ");
            refused(ct_batch_norm_create(2, &(ct_batch_norm_options){.eps = p}),
                    "batch_norm: eps is ");
            refused(ct_batch_norm_create(2, &(ct_batch_norm_options){.momentum = p}),
                    "batch_norm: momentum is ");
            refused(ct_layer_norm_create(2, &(ct_layer_norm_options){.eps = p}),
                    "layer_norm: eps is ");
            ck_assert_ptr_null(ct_layer_norm_with(x, one, one, p));
            assert_error("layer norm: eps is ");
            ck_assert_ptr_null(ct_batch_norm_with(x, 1, one, one, p, NULL, NULL));
            assert_error("batch norm: eps is ");
            ck_assert_ptr_null(ct_batch_norm_fixed(x, 1, one, one, one, one, p));
            assert_error("batch_norm_fixed: eps is ");
            ck_assert_ptr_null(ct_dropout_with(x, p, ct_default_rng(), "d"));
            assert_error("dropout: probability ");
        }
    }
}
END_TEST

TEST_MAIN("nn refusals", wrong_options_are_named, wrong_sizes_are_named, wrong_numbers_are_named)
