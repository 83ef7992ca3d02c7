/* SPDX-License-Identifier: Apache-2.0 */
/* Every module and loss: gradients of inputs and parameters against central differences, in f64.
 * Prints one line a subject. */
#include "nn/nn.h"
#include "tests/test.h"

enum { INPUTS = 5, LEAVES = 48 };

typedef struct subject subject;
struct subject {
    ct_module *module; /* NULL for a loss */
    ct_tensor *input[INPUTS];
    ct_tensor *(*output)(const subject *s);
    double option;
};

typedef struct {
    ct_tensor *tensor[LEAVES];
    char name[LEAVES][64];
    int count;
} leaves;

static void add_leaf(leaves *all, const char *name, ct_tensor *x) {
    ck_assert_int_lt(all->count, LEAVES);
    snprintf(all->name[all->count], sizeof all->name[0], "%s", name);
    all->tensor[all->count++] = x;
}

static bool add_parameter(void *context, const char *name, ct_tensor *x, bool buffer) {
    if (!buffer) add_leaf(context, name, x);
    return true;
}

/* The output times fixed random numbers, summed. Same draws at every call. */
static ct_tensor *scalar_loss(const subject *s) {
    ct_seed(11);
    ct_tensor *y = s->output(s);
    if (!y) return NULL;
    ct_rng rng = ct_rng_create(12, 0);
    ct_tensor *weights = ct_random_normal(&rng, "weights", CT_F64, y->device, y->shape);
    return ct_sum_all(ct_mul(y, weights));
}

static double loss_with(const subject *s, ct_tensor *x, int64_t element, double value) {
    double loss = NAN;
    CT_SCOPE {
        CT_NO_GRAD {
            ct_set(x, element, value);
            loss = ct_item(scalar_loss(s));
        }
    }
    return loss;
}

/* Largest |analytic - numeric| / max(1, |numeric|) over one leaf. */
static double compare_leaf(const char *what, const subject *s, ct_tensor *x, const char *name) {
    const double step = 1e-6, tolerance = 1e-6;
    ct_tensor *grad = ct_grad(x);
    ck_assert_msg(grad != NULL, "%s: %s got no gradient", what, name);
    double worst = 0;
    for (int64_t i = 0; i < ct_count(x); i++) {
        double value = ct_get(x, i);
        double numeric =
            (loss_with(s, x, i, value + step) - loss_with(s, x, i, value - step)) / (2 * step);
        ct_set(x, i, value);
        double error = fabs(ct_get(grad, i) - numeric) / fmax(1, fabs(numeric));
        ck_assert_msg(error <= tolerance, "%s: %s[%lld]: gradient %.12g, by differences %.12g",
                      what, name, (long long)i, ct_get(grad, i), numeric);
        worst = fmax(worst, error);
    }
    assert_no_error();
    return worst;
}

static void check(const char *what, subject s) {
    assert_no_error();
    leaves all = {0};
    for (int i = 0; i < INPUTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "input %d", i);
        if (s.input[i] && ct_requires_grad(s.input[i])) add_leaf(&all, name, s.input[i]);
    }
    if (s.module) ct_module_visit(s.module, add_parameter, &all);
    CT_SCOPE { ck_assert_msg(ct_backward(scalar_loss(&s)), "%s: %s", what, ct_error()); }
    double worst = 0;
    int64_t elements = 0;
    for (int i = 0; i < all.count; i++) {
        worst = fmax(worst, compare_leaf(what, &s, all.tensor[i], all.name[i]));
        elements += ct_count(all.tensor[i]);
    }
    ck_assert_int_gt(elements, 0);
    printf("gradcheck %-32s %2d tensors %4lld elements, largest error %.1e\n", what, all.count,
           (long long)elements, worst);
    ct_module_destroy(s.module);
}

/* In f64, with every parameter at random: those that start at 0 or 1 would hide errors. */
static bool randomise(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)name;
    if (ct_dtype_is_float(x->dtype)) {
        ct_init_uniform(x, buffer ? 0.5 : -0.8, buffer ? 1.5 : 0.8, context);
    }
    return true;
}

static ct_module *prepared(ct_module *module) {
    ct_rng rng = ct_rng_create(3, 1);
    ct_module_to_dtype(module, CT_F64);
    ct_module_to_device(module, test_device());
    ct_module_visit(module, randomise, &rng);
    assert_no_error();
    return module;
}

static ct_tensor *real_between(ct_shape shape, double low, double high, uint64_t stream) {
    ct_rng rng = ct_rng_create(4, stream);
    ct_tensor *x = ct_empty(CT_F64, test_device(), shape);
    ct_init_uniform(x, low, high, &rng);
    return ct_require_grad(x);
}

static ct_tensor *real(ct_shape shape, uint64_t stream) {
    return real_between(shape, -1, 1, stream);
}

static ct_tensor *integers(ct_shape shape, const int64_t *values) {
    return ct_from_data(CT_I64, test_device(), shape, values);
}

/* Two outputs as one. */
static ct_tensor *both(ct_tensor *a, ct_tensor *b) {
    return ct_concat2(ct_reshape(a, CT_SHAPE(-1)), ct_reshape(b, CT_SHAPE(-1)), 0);
}

/* ---- modules ---------------------------------------------------------------------------- */

static ct_tensor *forward(const subject *s) { return ct_forward(s->module, s->input[0]); }

static void check_forward(const char *what, ct_module *module, ct_shape shape) {
    CT_SCOPE {
        subject s = {.module = prepared(module), .input = {real(shape, 0)}, .output = forward};
        check(what, s);
    }
}

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
    check_forward("region_gcn", ct_region_gcn_create(4, 4), CT_SHAPE(2, 3, 4));
    ct_module *gcn = ct_region_gcn_create(4, 3);
    ct_module_train(gcn, false);
    check_forward("region_gcn, evaluation, inner", gcn, CT_SHAPE(2, 3, 4));
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
    check_forward("conv1d, weight norm", ct_weight_norm_apply(ct_conv1d_create(3, 2, 3, NULL)),
                  CT_SHAPE(2, 5, 3));
}
END_TEST

START_TEST(chains) {
    static const char *const names[] = {"relu", "tanh",     "sigmoid", "gelu",
                                        "silu", "softplus", "elu",     "leaky_relu"};
    for (int i = 0; i < 8; i++) {
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

static ct_tensor *similarity_output(const subject *s) {
    return ct_similarity(s->input[0], s->input[1], s->option > 0 ? CT_ORDER : CT_COSINE);
}

static ct_tensor *ranking_output(const subject *s) {
    int bits = (int)s->option;
    ct_ranking_options options = {.margin = 0.2,
                                  .hardest = bits & 1,
                                  .intra_modal = bits & 2,
                                  .released_intra = bits & 4,
                                  .measure = bits & 8 ? CT_ORDER : CT_COSINE};
    return ct_ranking_loss(s->input[0], s->input[1], &options);
}

START_TEST(ranking) {
    for (int order = 0; order < 2; order++) {
        CT_SCOPE {
            subject s = {.input = {real(CT_SHAPE(3, 4), 1), real(CT_SHAPE(5, 4), 2)},
                         .option = order,
                         .output = similarity_output};
            check(order ? "similarity, order" : "similarity, cosine", s);
        }
    }
    for (int bits = 0; bits < 16; bits++) {
        char what[80];
        snprintf(what, sizeof what, "ranking %s%s%s%s", bits & 8 ? "order" : "cosine",
                 bits & 1 ? " hardest" : "", bits & 2 ? " within" : "",
                 bits & 4 ? " released" : "");
        CT_SCOPE {
            subject s = {.input = {real(CT_SHAPE(4, 3), 1), real(CT_SHAPE(4, 3), 2)},
                         .option = bits,
                         .output = ranking_output};
            check(what, s);
        }
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
          convolutions, chains, losses, ranking, distributions)
