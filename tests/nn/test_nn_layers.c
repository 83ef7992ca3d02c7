/* SPDX-License-Identifier: Apache-2.0 */
/* Layers against plain loops over their formulas, and their modes and refusals. */
#include "nn/nn.h"
#include "tests/test.h"

static ct_tensor *real(ct_shape shape, uint64_t stream) {
    ct_rng rng = ct_rng_create(21, stream);
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, shape);
    ct_init_uniform(x, -1, 1, &rng);
    return x;
}

static ct_module *f64(ct_module *module) {
    ct_module_to_dtype(module, CT_F64);
    assert_no_error();
    return module;
}

/* Element (i,j) of a parameter with `columns` columns. */
static double at(ct_module *module, const char *name, int64_t columns, int64_t i, int64_t j) {
    return ct_get(ct_module_tensor(module, name), i * columns + j);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* ---- initial values ---------------------------------------------------------------------- */

/* All within the bound, reaching 95% of it, mean near 0. */
static void check_range(ct_module *module, const char *name, double bound) {
    ct_tensor *x = ct_module_tensor(module, name);
    double largest = 0, sum = 0;
    for (int64_t i = 0; i < ct_count(x); i++) {
        largest = fmax(largest, fabs(ct_get(x, i)));
        sum += ct_get(x, i);
    }
    double count = (double)ct_count(x);
    ck_assert_msg(largest <= bound * 1.0000001 && largest > 0.95 * bound,
                  "%s: largest %g of bound %g", name, largest, bound);
    ck_assert_msg(fabs(sum / count) < 5 * bound / sqrt(3 * count), "%s: mean %g", name,
                  sum / count);
}

START_TEST(initial_values_are_pytorchs) {
    ct_seed(5);
    ct_module *m = ct_linear_create(100, 80, true);
    check_range(m, "weight", 0.1);
    check_range(m, "bias", 0.1);
    ct_module_destroy(m);
    m = ct_conv2d_create(20, 80, 5, &(ct_conv2d_options){1, 1, .groups = 5, .bias = true});
    check_range(m, "weight", 0.1);
    check_range(m, "bias", 0.1);
    ct_module_destroy(m);
    m = ct_conv1d_create(20, 80, 5, NULL);
    check_range(m, "weight", 0.1);
    check_range(m, "bias", 0.1);
    ct_module_destroy(m);
    m = ct_gru_create(30, 64, &(ct_rnn_options){.layers = 2, .bias = true});
    check_range(m, "weight_ih_l0", 0.125);
    check_range(m, "weight_hh_l1", 0.125);
    check_range(m, "bias_hh_l1", 0.125);
    ct_module_destroy(m);
    m = ct_lstm_create(30, 64, &(ct_rnn_options){.layers = 1, .bidirectional = true, .bias = true});
    check_range(m, "weight_ih_l0_reverse", 0.125);
    check_range(m, "bias_ih_l0", 0.125);
    ct_module_destroy(m);
    m = ct_gru_cell_create(30, 64);
    check_range(m, "weight_hh", 0.125);
    ct_module_destroy(m);
    m = ct_attention_create(60, &(ct_attention_options){.heads = 3});
    check_range(m, "in_proj_weight", sqrt(6.0 / 240));
    check_range(m, "out_proj.weight", 1 / sqrt(60));
    ck_assert(ct_get(ct_module_tensor(m, "out_proj.bias"), 3) == 0);
    ck_assert(ct_get(ct_module_tensor(m, "in_proj_bias"), 3) == 0);
    ct_module_destroy(m);
}
END_TEST

START_TEST(the_seed_decides_initial_values) {
    double value[3];
    for (int i = 0; i < 3; i++) {
        ct_seed(i == 2 ? 8 : 7);
        ct_module *m = ct_embedding_create(4, 3);
        value[i] = ct_get(ct_module_tensor(m, "weight"), 5);
        ct_module_destroy(m);
    }
    ck_assert(value[0] == value[1] && value[0] != value[2]);
}
END_TEST

/* ---- embedding -------------------------------------------------------------------------- */

START_TEST(padding_row_stays_zero) {
    ct_module *m = ct_embedding_create(4, 3);
    ct_embedding_set_padding(m, 1);
    CT_SCOPE {
        ct_tensor *index = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(2, 2), (int64_t[]){1, 0, 3, 1});
        ct_tensor *y = ct_embedding(m, index);
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(2, 2, 3)));
        ck_assert(ct_get(y, 0) == 0 && ct_get(y, 3) == at(m, "weight", 3, 0, 0));
        ct_backward(ct_sum_all(y));
        ct_tensor *grad = ct_grad(ct_module_tensor(m, "weight"));
        const double expected[] = {1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1};
        assert_close(grad, ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(4, 3), expected), 0, 0,
                     "gradient");
    }
    ct_embedding_set_padding(m, 4);
    assert_error("row 4 of weight f32 (4,3)");
    ct_module_destroy(m);
}
END_TEST

/* ---- LSTM ------------------------------------------------------------------------------- */

enum { B = 3, T = 4, C = 3, H = 2 };

/* One direction of one row, straight from the formulas. */
static void naive_lstm(ct_module *m, const char *suffix, int in, const double *x, int64_t length,
                       bool reverse, double h[H], double c[H], double *y, int stride) {
    char w_ih[40], w_hh[40], b_ih[40], b_hh[40];
    snprintf(w_ih, sizeof w_ih, "weight_ih_%s", suffix);
    snprintf(w_hh, sizeof w_hh, "weight_hh_%s", suffix);
    snprintf(b_ih, sizeof b_ih, "bias_ih_%s", suffix);
    snprintf(b_hh, sizeof b_hh, "bias_hh_%s", suffix);
    for (int64_t step = 0; step < length; step++) {
        int64_t t = reverse ? length - 1 - step : step;
        double gate[4 * H];
        for (int g = 0; g < 4 * H; g++) {
            gate[g] = at(m, b_ih, 1, g, 0) + at(m, b_hh, 1, g, 0);
            for (int j = 0; j < in; j++) gate[g] += at(m, w_ih, in, g, j) * x[t * in + j];
            for (int j = 0; j < H; j++) gate[g] += at(m, w_hh, H, g, j) * h[j];
        }
        for (int j = 0; j < H; j++) {
            c[j] = sigmoid(gate[H + j]) * c[j] + sigmoid(gate[j]) * tanh(gate[2 * H + j]);
            h[j] = sigmoid(gate[3 * H + j]) * tanh(c[j]);
            y[t * stride + j] = h[j];
        }
    }
}

START_TEST(lstm_is_its_formulas) {
    ct_rnn_options options = {.layers = 2, .bidirectional = true, .bias = true, .dropout = 0.9};
    ct_module *m = f64(ct_lstm_create(C, H, &options));
    ct_module_train(m, false); /* no dropout */
    CT_SCOPE {
        ct_tensor *x = real(CT_SHAPE(B, T, C), 1), *h0 = real(CT_SHAPE(4, B, H), 2);
        ct_tensor *c0 = real(CT_SHAPE(4, B, H), 3), *h_last, *c_last;
        const int64_t length[B] = {2, 4, 1};
        ct_tensor *lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), length);
        ct_tensor *y = ct_lstm(m, x, h0, c0, lengths, &h_last, &c_last);
        assert_no_error();
        double out[B * T * 2 * H] = {0}, h_n[4 * B * H], c_n[4 * B * H], in[T * C];
        ct_read(h0, h_n);
        ct_read(c0, c_n);
        for (int b = 0; b < B; b++) {
            double middle[T * 2 * H] = {0};
            for (int i = 0; i < T * C; i++) in[i] = ct_get(x, b * T * C + i);
            for (int k = 0; k < 4; k++) {
                static const char *const suffix[] = {"l0", "l0_reverse", "l1", "l1_reverse"};
                double *to = k < 2 ? middle : out + b * T * 2 * H;
                naive_lstm(m, suffix[k], k < 2 ? C : 2 * H, k < 2 ? in : middle, length[b], k & 1,
                           h_n + (k * B + b) * H, c_n + (k * B + b) * H, to + (k & 1) * H, 2 * H);
            }
        }
        assert_close(y, ct_from_data(CT_F64, CT_CPU, CT_SHAPE(B, T, 2 * H), out), 1e-13, 1e-14,
                     "y");
        assert_close(h_last, ct_from_data(CT_F64, CT_CPU, CT_SHAPE(4, B, H), h_n), 1e-13, 1e-14,
                     "h_last");
        assert_close(c_last, ct_from_data(CT_F64, CT_CPU, CT_SHAPE(4, B, H), c_n), 1e-13, 1e-14,
                     "c_last");
    }
    ct_module_destroy(m);
}
END_TEST

START_TEST(recurrent_refusals) {
    ct_module *gru = ct_gru_create(3, 2, NULL);
    ct_module *lstm = ct_lstm_create(3, 2, NULL);
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 5, 3)), *h = NULL;
        ck_assert_ptr_null(ct_gru(gru, ct_slice(x, 2, 0, 2, 1), NULL, NULL, &h));
        assert_error("gru: x is f32 (2,5,2), expected (B,T,3)");
        ck_assert_ptr_null(ct_gru(gru, ct_select(x, 0, 0), NULL, NULL, NULL));
        assert_error("gru: x is f32 (5,3), expected 3 dimensions");
        ct_tensor *wrong = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 2));
        ck_assert_ptr_null(ct_gru(gru, x, wrong, NULL, NULL));
        assert_error("h0 is f32 (2,2), expected (1,2,2)");
        ck_assert_ptr_null(ct_lstm(lstm, x, ct_unsqueeze(wrong, 0), NULL, NULL, NULL, NULL));
        assert_error("give both or neither");
        ct_tensor *lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(2), (int64_t[]){6, 1});
        ck_assert_ptr_null(ct_gru(gru, x, NULL, lengths, &h));
        ck_assert(!ct_ok());
        ct_error_clear();
    }
    ct_module_destroy(gru);
    ct_module_destroy(lstm);
    ck_assert_ptr_null(ct_gru_create(3, 0, NULL));
    assert_error("gru: hidden is 0, expected 1 to 2147483647");
    ck_assert_ptr_null(ct_lstm_create(3, 4, &(ct_rnn_options){.layers = 1, .dropout = 1}));
    assert_error("lstm: dropout is 1, expected 0 <= dropout < 1");
    ck_assert_ptr_null(ct_gru_create(3, 4, &(ct_rnn_options){.layers = 1000}));
    assert_error("gru: layers is 1000, expected 1 to 32");
}
END_TEST

/* What the last layer gives is not dropped: no element of it is 0, and one layer drops nothing. */
START_TEST(nothing_is_dropped_after_the_last_layer) {
    for (int layers = 1; layers <= 3; layers++) {
        ct_rnn_options options = {.layers = layers, .bias = true, .dropout = 0.5};
        ct_module *gru = ct_gru_create(3, 8, &options), *lstm = ct_lstm_create(3, 8, &options);
        CT_SCOPE {
            ct_tensor *x = ct_tensor_cast(real(CT_SHAPE(2, 5, 3), 1), CT_F32);
            ct_tensor *y[2] = {ct_gru(gru, x, NULL, NULL, NULL),
                               ct_lstm(lstm, x, NULL, NULL, NULL, NULL, NULL)};
            for (int i = 0; i < 2; i++) {
                ck_assert_int_eq(ct_count(y[i]), 80);
                for (int64_t k = 0; k < 80; k++) ck_assert(ct_get(y[i], k) != 0);
            }
            ct_tensor *again = ct_gru(gru, x, NULL, NULL, NULL);
            ck_assert((ct_get(again, 79) == ct_get(y[0], 79)) == (layers == 1));
        }
        ct_module_destroy(gru);
        ct_module_destroy(lstm);
    }
    assert_no_error();
}
END_TEST

START_TEST(gru_drops_between_layers_in_training_only) {
    ct_module *m =
        ct_gru_create(3, 8, &(ct_rnn_options){.layers = 2, .bias = true, .dropout = 0.5});
    CT_SCOPE {
        ct_tensor *x = ct_tensor_cast(real(CT_SHAPE(2, 5, 3), 1), CT_F32);
        ct_tensor *a = ct_gru(m, x, NULL, NULL, NULL), *b = ct_gru(m, x, NULL, NULL, NULL);
        ck_assert(ct_get(a, 79) != ct_get(b, 79));
        ct_module_train(m, false);
        a = ct_gru(m, x, NULL, NULL, NULL);
        b = ct_gru(m, x, NULL, NULL, NULL);
        assert_close(a, b, 0, 0, "evaluation");
    }
    ct_module_destroy(m);
}
END_TEST

/* ---- attention -------------------------------------------------------------------------- */

enum { E = 4, HEADS = 2, TQ = 3, TK = 5, D = E / HEADS };

static void naive_project(ct_module *m, int part, const ct_tensor *x, int64_t row, double out[E]) {
    for (int i = 0; i < E; i++) {
        out[i] = ct_get(ct_module_tensor(m, "in_proj_bias"), part * E + i);
        for (int j = 0; j < E; j++) {
            out[i] += at(m, "in_proj_weight", E, part * E + i, j) * ct_get(x, row * E + j);
        }
    }
}

/* allowed[i][j] for batch b; writes (TQ,E). */
static void naive_attention(ct_module *m, const ct_tensor *q, const ct_tensor *k,
                            const ct_tensor *v, int b, bool allowed[TQ][TK], double *out) {
    for (int i = 0; i < TQ; i++) {
        double query[E], joined[E] = {0};
        naive_project(m, 0, q, b * TQ + i, query);
        for (int head = 0; head < HEADS; head++) {
            double weight[TK], total = 0;
            for (int j = 0; j < TK; j++) {
                double key[E], dot = 0;
                naive_project(m, 1, k, b * TK + j, key);
                for (int d = 0; d < D; d++) dot += query[head * D + d] * key[head * D + d];
                weight[j] = allowed[i][j] ? exp(dot / sqrt(D)) : 0;
                total += weight[j];
            }
            for (int j = 0; j < TK && total > 0; j++) {
                double value[E];
                naive_project(m, 2, v, b * TK + j, value);
                for (int d = 0; d < D; d++) {
                    joined[head * D + d] += weight[j] / total * value[head * D + d];
                }
            }
        }
        for (int o = 0; o < E; o++) {
            double sum = ct_get(ct_module_tensor(m, "out_proj.bias"), o);
            for (int j = 0; j < E; j++) sum += at(m, "out_proj.weight", E, o, j) * joined[j];
            out[i * E + o] = sum;
        }
    }
}

static void check_attention(bool causal, bool masked) {
    ct_attention_options options = {.heads = HEADS, .causal = causal};
    ct_module *m = f64(ct_attention_create(E, &options));
    ct_rng rng = ct_rng_create(1, 1);
    ct_init_uniform(ct_module_tensor(m, "in_proj_bias"), -1, 1, &rng);
    ct_init_uniform(ct_module_tensor(m, "out_proj.bias"), -1, 1, &rng);
    CT_SCOPE {
        ct_tensor *q = real(CT_SHAPE(2, TQ, E), 1), *k = real(CT_SHAPE(2, TK, E), 2);
        ct_tensor *v = real(CT_SHAPE(2, TK, E), 3);
        /* Batch 1 may attend nothing at all. */
        const uint8_t forbidden[2 * TK] = {0, 1, 0, 0, 1, 1, 1, 1, 1, 1};
        ct_tensor *mask = ct_from_data(CT_U8, CT_CPU, CT_SHAPE(2, 1, 1, TK), forbidden);
        double expected[2 * TQ * E];
        for (int b = 0; b < 2; b++) {
            bool allowed[TQ][TK];
            for (int i = 0; i < TQ; i++) {
                for (int j = 0; j < TK; j++) {
                    allowed[i][j] = (!causal || j <= i) && (!masked || !forbidden[b * TK + j]);
                }
            }
            naive_attention(m, q, k, v, b, allowed, expected + b * TQ * E);
        }
        ct_tensor *y = ct_attention(m, q, k, v, masked ? mask : NULL);
        assert_close(y, ct_from_data(CT_F64, CT_CPU, CT_SHAPE(2, TQ, E), expected), 1e-13, 1e-14,
                     "attention");
    }
    ct_module_destroy(m);
}

START_TEST(attention_is_its_formula) {
    check_attention(false, false);
    check_attention(true, false);
    check_attention(false, true);
    check_attention(true, true);
}
END_TEST

START_TEST(attention_refusals) {
    ck_assert_ptr_null(ct_attention_create(5, &(ct_attention_options){.heads = 2}));
    assert_error("attention: width 5 in 2 heads");
    ct_module *m = ct_attention_create(4, &(ct_attention_options){.heads = 2});
    CT_SCOPE {
        ct_tensor *q = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3, 4));
        ct_tensor *k = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 5, 4));
        ck_assert_ptr_null(ct_attention(m, q, k, q, NULL));
        assert_error("key f32 (2,5,4), value f32 (2,3,4)");
        ck_assert_ptr_null(ct_attention(m, q, k, k, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 5))));
        assert_error("mask is f32 (3,5), expected u8");
    }
    ct_module_destroy(m);
}
END_TEST

/* ---- graphs, convolution ------------------------------------------------------------------ */

START_TEST(graph_conv_is_its_formula) {
    ct_module *m = f64(ct_graph_conv_create(3, 2, true));
    CT_SCOPE {
        ct_tensor *x = real(CT_SHAPE(2, 4, 3), 1), *a = real(CT_SHAPE(4, 4), 2);
        double expected[2 * 4 * 2];
        for (int b = 0; b < 2; b++) {
            for (int i = 0; i < 4; i++) {
                for (int o = 0; o < 2; o++) {
                    double sum = at(m, "bias", 1, o, 0);
                    for (int j = 0; j < 4; j++) {
                        for (int c = 0; c < 3; c++) {
                            sum += ct_get(a, i * 4 + j) * ct_get(x, (b * 4 + j) * 3 + c) *
                                   at(m, "weight", 3, o, c);
                        }
                    }
                    expected[(b * 4 + i) * 2 + o] = sum;
                }
            }
        }
        assert_close(ct_graph_conv(m, x, a),
                     ct_from_data(CT_F64, CT_CPU, CT_SHAPE(2, 4, 2), expected), 1e-13, 1e-14,
                     "graph_conv");
    }
    ct_module_destroy(m);
}
END_TEST

/* y[t][o] = bias[o] + sum over k, c of weight[o][c][k] x[t*stride + k*dilation - before][c] */
static void check_conv(ct_conv1d_options config, int64_t before, int64_t steps) {
    ct_module *m = f64(ct_conv1d_create(2, 3, 3, &config));
    int64_t stride = config.stride;
    int64_t dilation = config.dilation;
    CT_SCOPE {
        ct_tensor *x = real(CT_SHAPE(1, 7, 2), 1);
        double expected[32 * 3];
        for (int64_t t = 0; t < steps; t++) {
            for (int o = 0; o < 3; o++) {
                double sum = config.bias ? at(m, "bias", 1, o, 0) : 0;
                for (int k = 0; k < 3; k++) {
                    int64_t from = t * stride + k * dilation - before;
                    for (int c = 0; c < 2 && from >= 0 && from < 7; c++) {
                        sum += at(m, "weight", 6, o, c * 3 + k) * ct_get(x, from * 2 + c);
                    }
                }
                expected[t * 3 + o] = sum;
            }
        }
        assert_close(ct_conv1d(m, x), ct_from_data(CT_F64, CT_CPU, CT_SHAPE(1, steps, 3), expected),
                     1e-13, 1e-14, "conv1d");
    }
    ct_module_destroy(m);
}

START_TEST(conv1d_is_its_formula) {
    check_conv((ct_conv1d_options){.stride = 1, .dilation = 1, .bias = true}, 0, 5);
    check_conv((ct_conv1d_options){.stride = 1, .dilation = 1, .padding = 1}, 1, 7);
    check_conv((ct_conv1d_options){.padding = 2, .stride = 2, .dilation = 2, .bias = true}, 2, 4);
    check_conv(
        (ct_conv1d_options){.stride = 1, .dilation = 2, .padding = 9, .causal = true, .bias = true},
        4, 7);
    ck_assert_ptr_null(ct_conv1d_create(2, 3, 0, NULL));
    assert_error("kernel is 0");
}
END_TEST

/* ---- options ------------------------------------------------------------------------------- */

/* A field at zero is zero: running statistics that stay, channels along the first axis. */
/* Padding on all sides, and each group's own channels: 3x3 sums of ones. */
START_TEST(conv2d_pads_and_groups) {
    const double expected[] = {4, 6, 4, 6, 9, 6, 4, 6, 4};
    ct_conv2d_options options = ct_conv2d_defaults();
    options.padding = 1;
    options.groups = 2;
    ct_module *conv = f64(ct_conv2d_create(2, 2, 3, &options));
    CT_SCOPE {
        ct_tensor_fill(ct_module_tensor(conv, "weight"), 1);
        ct_set(ct_module_tensor(conv, "bias"), 0, 0);
        ct_set(ct_module_tensor(conv, "bias"), 1, 0.5);
        ct_tensor *x = ct_full(CT_F64, CT_CPU, CT_SHAPE(1, 2, 3, 3), 1), *y = ct_conv2d(conv, x);
        assert_no_error();
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(1, 2, 3, 3)));
        for (int i = 0; i < 18; i++) {
            ck_assert_double_eq_tol(ct_get(y, i), expected[i % 9] + (i < 9 ? 0 : 0.5), 1e-14);
        }
        ck_assert_ptr_null(ct_conv2d(conv, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(1, 3, 3, 3))));
        assert_error("conv2d: 2 groups do not divide 3 input");
    }
    ct_module_destroy(conv);
    options.groups = 3;
    ck_assert_ptr_null(ct_conv2d_create(2, 2, 3, &options));
    assert_error("conv2d: groups is 3, expected a divisor of both numbers of channels");
}
END_TEST

START_TEST(options_are_taken_literally) {
    ct_batch_norm_options options = ct_batch_norm_defaults();
    options.momentum = options.eps = 0;
    options.axis = 0;
    ct_module *m = f64(ct_batch_norm_create(2, &options));
    CT_SCOPE {
        ct_tensor *x = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(2, 2), (double[]){1, 3, 8, 12});
        ct_tensor *y = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(2, 2), (double[]){-1, 1, -1, 1});
        assert_close(ct_batch_norm(m, x), y, 0, 0, "y");
        ck_assert(ct_get(ct_module_tensor(m, "running_mean"), 1) == 0);
        ck_assert(ct_get(ct_module_tensor(m, "running_var"), 1) == 1);
        ck_assert(ct_item(ct_module_tensor(m, "num_batches_tracked")) == 1);
    }
    ct_module_destroy(m);
    m = f64(ct_layer_norm_create(2, &(ct_layer_norm_options){.eps = 0}));
    CT_SCOPE {
        ct_tensor *x = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(1, 2), (double[]){8, 12});
        ct_tensor *y = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(1, 2), (double[]){-1, 1});
        assert_close(ct_layer_norm(m, x), y, 0, 0, "y");
    }
    ct_module_destroy(m);
}
END_TEST

/* ---- normalisation, dropout ----------------------------------------------------------------- */

START_TEST(batch_norm_modes) {
    ct_batch_norm_options options = {
        .momentum = 0.5, .eps = 1e-5, .axis = 1, .statistics = CT_BATCH_STATISTICS};
    ct_module *m = f64(ct_batch_norm_create(2, &options));
    ct_module_train(m, false);
    CT_SCOPE {
        /* channel means 2 and 10, biased variances 1 and 4, unbiased 2 and 8 */
        ct_tensor *x = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(2, 2), (double[]){1, 8, 3, 12});
        ct_tensor *y = ct_batch_norm(m, x);
        double a = 1 / sqrt(1 + 1e-5), b = 2 / sqrt(4 + 1e-5);
        assert_close(y, ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(2, 2), (double[]){-a, -b, a, b}),
                     1e-14, 0, "y");
        ct_tensor *mean = ct_module_tensor(m, "running_mean");
        ct_tensor *variance = ct_module_tensor(m, "running_var");
        ck_assert(fabs(ct_get(mean, 0) - 1) < 1e-14 && fabs(ct_get(mean, 1) - 5) < 1e-14);
        ck_assert(fabs(ct_get(variance, 0) - 1.5) < 1e-14);
        ck_assert(fabs(ct_get(variance, 1) - 4.5) < 1e-14);
        ck_assert(ct_item(ct_module_tensor(m, "num_batches_tracked")) == 1);
        ck_assert_ptr_null(ct_batch_norm(m, ct_slice(x, 0, 0, 1, 1)));
        assert_error("f64 (1,2) has 1 values a channel");
        ck_assert_ptr_null(ct_batch_norm(m, ct_slice(x, 1, 0, 1, 1)));
        assert_error("expected 2 channels");
        ck_assert_ptr_null(ct_batch_norm(m, ct_tensor_cast(x, CT_F32)));
        assert_error("running statistics are f64");
        ck_assert(ct_item(ct_module_tensor(m, "num_batches_tracked")) == 1);
    }
    ct_module_destroy(m);
    m = f64(ct_batch_norm_create(2, NULL));
    ct_module_train(m, false);
    CT_SCOPE {
        ct_tensor *x = real(CT_SHAPE(1, 2), 1);
        ct_tensor *y = ct_batch_norm(m, x);
        assert_close(y, ct_scale(x, 1 / sqrt(1 + 1e-5)), 1e-14, 0, "evaluation of one row");
        ck_assert(ct_item(ct_module_tensor(m, "num_batches_tracked")) == 0);
    }
    ct_module_destroy(m);
}
END_TEST

/* The rows that count, alone, through the plain layer; the others hold NaN. */
START_TEST(masked_batch_norm_is_that_of_its_rows) {
    ct_set_anomaly_mode(false); /* what is masked out is NaN */
    ct_batch_norm_options channels_last = ct_batch_norm_defaults();
    channels_last.axis = -1;
    for (int training = 0; training < 2; training++) CT_SCOPE {
            ct_module *plain = f64(ct_batch_norm_create(3, &channels_last));
            ct_module *masked = f64(ct_batch_norm_create(3, &channels_last));
            ct_module_train(plain, training);
            ct_module_train(masked, training);
            const uint8_t counts[] = {1, 0, 1, 1, 0, 1};
            ct_tensor *mask = ct_from_data(CT_U8, CT_CPU, CT_SHAPE(6, 1), counts);
            ct_tensor *rows = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(4), (int64_t[]){0, 2, 3, 5});
            ct_tensor *x = ct_where(mask, real(CT_SHAPE(6, 3), 1), ct_scalar(CT_F64, CT_CPU, NAN));
            ct_tensor *expected = ct_batch_norm(plain, ct_index_select(x, 0, rows));
            ct_tensor *y = ct_batch_norm_masked(masked, x, mask);
            assert_close(ct_index_select(y, 0, rows), expected, 1e-14, 0, "y");
            ck_assert(ct_get(y, 3) == 0 && ct_get(y, 14) == 0);
            static const char *const buffers[] = {"running_mean", "running_var",
                                                  "num_batches_tracked"};
            for (int i = 0; i < 3; i++) {
                assert_close(ct_module_tensor(masked, buffers[i]),
                             ct_module_tensor(plain, buffers[i]), 1e-14, 0, buffers[i]);
            }
            ck_assert_ptr_null(ct_batch_norm_masked(masked, x, ct_slice(mask, 0, 0, 5, 1)));
            assert_error("x is f64 (6,3) and its mask u8 (5,1), expected (R,C) and (R,1)");
            ct_module_destroy(plain);
            ct_module_destroy(masked);
        }
}
END_TEST

START_TEST(layer_norm_is_its_formula) {
    ct_module *m = f64(ct_layer_norm_create(4, &(ct_layer_norm_options){.eps = 0.1}));
    CT_SCOPE {
        ct_tensor *x = real(CT_SHAPE(3, 4), 1);
        double expected[12];
        for (int i = 0; i < 3; i++) {
            double mean = 0, variance = 0;
            for (int j = 0; j < 4; j++) mean += ct_get(x, i * 4 + j) / 4;
            for (int j = 0; j < 4; j++) variance += pow(ct_get(x, i * 4 + j) - mean, 2) / 4;
            for (int j = 0; j < 4; j++) {
                expected[i * 4 + j] = (ct_get(x, i * 4 + j) - mean) / sqrt(variance + 0.1);
            }
        }
        assert_close(ct_layer_norm(m, x), ct_from_data(CT_F64, CT_CPU, CT_SHAPE(3, 4), expected),
                     1e-13, 1e-14, "layer_norm");
    }
    ct_module_destroy(m);
}
END_TEST

START_TEST(dropout_keeps_the_mean) {
    ct_module *m = ct_dropout_create(0.2);
    ct_seed(3);
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(10000), 1);
        ct_tensor *y = ct_dropout(m, x);
        int zeros = 0;
        for (int i = 0; i < 10000; i++) {
            double value = ct_get(y, i);
            ck_assert(value == 0 || fabs(value - 1.25) < 1e-6);
            zeros += value == 0;
        }
        /* 2000 expected, standard deviation 40 */
        ck_assert_int_gt(zeros, 1800);
        ck_assert_int_lt(zeros, 2200);
        ct_module_train(m, false);
        assert_close(ct_dropout(m, x), x, 0, 0, "evaluation");
    }
    ct_module_destroy(m);
    ck_assert_ptr_null(ct_dropout_create(1));
    assert_error("dropout: probability 1");
}
END_TEST

TEST_MAIN("nn layers", initial_values_are_pytorchs, the_seed_decides_initial_values,
          padding_row_stays_zero, lstm_is_its_formulas, recurrent_refusals,
          nothing_is_dropped_after_the_last_layer, gru_drops_between_layers_in_training_only,
          attention_is_its_formula, attention_refusals, graph_conv_is_its_formula,
          conv1d_is_its_formula, conv2d_pads_and_groups, options_are_taken_literally,
          batch_norm_modes, masked_batch_norm_is_that_of_its_rows, layer_norm_is_its_formula,
          dropout_keeps_the_mean)
