/* SPDX-License-Identifier: Apache-2.0 */
/* Parts by hand: continuous policy, pools, gradients, word vectors, reward; bad batches. */
#include "tests/models/model_small.h"

/* From the recorded noise n and the log-probability, sigma and mu can be told: log pi_c =
 * -n^2/2 - log sigma - log(2 pi)/2 and weight = 20 sigmoid(mu + sigma n). */
START_TEST(continuous_policy_by_hand) {
    ct_model *model = model_of("[image]\nattend = policy_attention discrete=none\npool = mean\n"
                               "[text]\nembed = words width=6\npool = mean\n"
                               "[loss]\nretrieval = hinge\ncontinuous_policy = 1\n",
                               CT_F64);
    CT_SCOPE {
        ct_module *module = ct_model_module(model);
        ct_tensor_fill(ct_module_tensor(module, "image.attend.rho.weight"), 0);
        ct_tensor_fill(ct_module_tensor(module, "image.attend.rho.bias"), 0.3);
        double sigma = exp(log1p(exp(0.3)) / 2);
        ct_batch batch = batch_of(CT_F64, 0);
        ct_rng rng = placed_rng();
        ct_graph_state sampled = ct_model_state(model, &rng), chosen = {.training = false};
        ct_model_run_images(model, batch.images, &sampled);
        ct_model_run_images(model, batch.images, &chosen);
        assert_no_error();
        ct_tensor *noise = ct_empty(CT_F64, CT_CPU, CT_SHAPE(B, N, 2));
        placed_noise(NULL, "img_enc.z1", noise);
        for (int64_t i = 0; i < ct_count(noise); i++) {
            double n = ct_get(noise, i), half_log_two_pi = 0.91893853320467274;
            double gate = ct_get(sampled.policy.weight, i) / 20;
            double mean = log(gate / (1 - gate)) - sigma * n;
            double still = ct_get(chosen.policy.weight, i) / 20;
            ck_assert_double_eq_tol(ct_get(sampled.policy.log_continuous, i),
                                    -n * n / 2 - log(sigma) - half_log_two_pi, 1e-12);
            ck_assert_double_eq_tol(mean, log(still / (1 - still)), 1e-9);
            ck_assert(mean > 0 && mean < 1);
        }
    }
    ct_model_destroy(model);
}
END_TEST

/* ---- positions ------------------------------------------------------------------------------ */

/* Sines are added as the formula says; more steps than there are learned positions of are refused.
 */
START_TEST(positions_by_hand) {
    ct_model *model = model_of("[image]\npos = positions\npool = max\n" TEXT("") LOSS, CT_F64);
    ct_model *few =
        model_of("[image]\npos = positions steps=3\npool = max\n" TEXT("") LOSS, CT_F64);
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(1, N, F));
        ct_tensor *y = ct_model_embed_images(model, x, NULL);
        assert_no_error();
        for (int64_t i = 0; i < F; i++) {
            double most = -1;
            for (int t = 0; t < N; t++) {
                double angle = t / pow(10000, (double)(i / 2 * 2) / F);
                most = fmax(most, i % 2 ? cos(angle) : sin(angle));
            }
            ck_assert_double_eq_tol(ct_get(y, i), most, 1e-12);
        }
        ck_assert_ptr_null(ct_model_embed_images(few, x, NULL));
        assert_error("position_embedding: x is f64 (1,4,6), expected (B,T,6) with at most 3 steps");
    }
    ct_model_destroy(model);
    ct_model_destroy(few);
}
END_TEST

/* ---- pools ---------------------------------------------------------------------------------- */

static ct_model *text_model(const char *pool) {
    char text[512];
    snprintf(text, sizeof text,
             "[image]\npool = mean\n[text]\nembed = words width=6\npool = %s\n"
             "[loss]\nretrieval = hinge\n",
             pool);
    return model_of(text, CT_F64);
}

/* Word w is the vector of -w, <pad> is large: it must not be seen. */
START_TEST(pools_over_words_alone) {
    for (int maximum = 0; maximum < 2; maximum++) {
        ct_model *model = text_model(maximum ? "max" : "mean");
        CT_SCOPE {
            ct_tensor *weight = ct_module_tensor(ct_model_module(model), "text.embed.weight");
            for (int64_t i = 0; i < V * 6; i++) ct_set(weight, i, i < 6 ? 1e6 : -(double)(i / 6));
            const int64_t words[] = {4, 8, 0, 5, 0, 0};
            ct_batch batch = {.words = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(2, 3), words),
                              .lengths =
                                  ct_from_data(CT_I64, CT_CPU, CT_SHAPE(2), (int64_t[]){2, 1})};
            ct_tensor *pooled = ct_model_embed_captions(model, &batch, NULL);
            assert_no_error();
            ck_assert_double_eq(ct_get(pooled, 0), maximum ? -4 : -6);
            ck_assert_double_eq(ct_get(pooled, 6), -5);
        }
        ct_model_destroy(model);
    }
}
END_TEST

static bool silence_forwards(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context, (void)buffer;
    return !strstr(name, "text.pool.") || strstr(name, "_reverse") || ct_tensor_fill(tensor, 0);
}

/* With the forward direction silent, its half of the result is 0, and the mean is not. */
START_TEST(bigru_joins_both_directions) {
    ct_model *concat = text_model("bigru width=6 merge=concat");
    ct_model *mean = text_model("bigru width=6");
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F64, 0);
        ct_module_visit(ct_model_module(concat), silence_forwards, NULL);
        ct_module_visit(ct_model_module(mean), silence_forwards, NULL);
        ct_tensor *both = ct_model_embed_captions(concat, &batch, NULL);
        ct_tensor *half = ct_model_embed_captions(mean, &batch, NULL);
        assert_no_error();
        for (int64_t i = 0; i < B * 6; i++) {
            ck_assert((ct_get(both, i) == 0) == (i % 6 < 3));
            ck_assert_double_ne(ct_get(half, i), 0);
        }
    }
    ct_model_destroy(concat);
    ct_model_destroy(mean);
}
END_TEST

/* ---- gradients against finite differences --------------------------------------------------- */

typedef struct {
    ct_model *model;
    int checked;
} difference_check;

static double total_of(ct_model *model) {
    double total = NAN;
    CT_SCOPE {
        CT_NO_GRAD
        total = ct_item(losses_of(model, 0, 0).term[CT_LOSS_TOTAL]);
    }
    return total;
}

/* A few elements of every parameter. The kinks of relu and hinge are met with probability 0; a
 * gradient that is 0 but for rounding (a bias before a batch norm) passes by the absolute part. */
static bool check_differences(void *context, const char *name, ct_tensor *x, bool buffer) {
    difference_check *check = context;
    if (buffer) return true;
    ct_tensor *gradient = ct_grad(x);
    ck_assert_msg(gradient != NULL, "%s has no gradient", name);
    double largest = 0, step = 1e-6;
    int64_t count = ct_count(x);
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(ct_get(gradient, i)));
    for (int k = 0; k < 4; k++) {
        int64_t i = (7 * k + 3) % count;
        double value = ct_get(x, i);
        ct_set(x, i, value + step);
        double above = total_of(check->model);
        ct_set(x, i, value - step);
        double below = total_of(check->model);
        ct_set(x, i, value);
        double numeric = (above - below) / (2 * step), analytic = ct_get(gradient, i);
        ck_assert_msg(fabs(numeric - analytic) <= 1e-5 * largest + 1e-7,
                      "%s element %lld: %.12g, by differences %.12g", name, (long long)i, analytic,
                      numeric);
        check->checked++;
    }
    return true;
}

static void gradients_match(const char *text) {
    ct_model *model = model_of(text, CT_F64);
    CT_SCOPE {
        ck_assert(ct_backward(losses_of(model, 0, 0).term[CT_LOSS_TOTAL]));
        difference_check check = {model, 0};
        ct_module_visit(ct_model_module(model), check_differences, &check);
        ck_assert_int_gt(check.checked, 50);
        assert_no_error();
    }
    ct_model_destroy(model);
}

/* The continuous part is left out: its gradient is by definition not that of its value (straight
 * through, at a sample held fixed). */
START_TEST(gradients_of_whole_models) {
    gradients_match(IMAGE("") TEXT("") LOSS);
    gradients_match(IMAGE("enc = transformer heads=4 x 2\n") WIDE("") LOSS);
    gradients_match(IMAGE("") TEXT("") LOSS "measure = order\n");
    gradients_match(IMAGE("attend = policy_attention actions=5 continuous=no\n") TEXT(
        "attend = policy_attention actions=5 continuous=no\n") LOSS "discrete_policy = 1\n");
}
END_TEST

/* ---- word vectors --------------------------------------------------------------------------- */

START_TEST(fixed_word_vectors) {
    uint8_t known[V] = {0};
    known[0] = known[5] = known[7] = 1;
    CT_SCOPE {
        ct_rng rng = ct_rng_create(1, 0);
        ct_model_sizes with = sizes;
        with.word_vectors = ct_random_normal(&rng, "v", CT_F32, CT_CPU, CT_SHAPE(V, 6));
        with.word_known = known;
        ct_model *model = fixture_model(IMAGE("") "[text]\nembed = words vectors=x\npool = gru\n"
                                                  "[loss]\nretrieval = hinge\n",
                                        with);
        assert_no_error();
        ct_batch batch = {
            .words = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(1, 5), (int64_t[]){5, 4, 7, 9, 0}),
            .lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(1), (int64_t[]){5})};
        ct_graph_state state = {.training = true};
        ct_model_run_captions(model, &batch, &state);
        assert_no_error();
        ct_tensor *unknown = ct_module_tensor(ct_model_module(model), "text.embed.unknown");
        for (int64_t e = 0; e < 6; e++) {
            const ct_tensor *got = state.word_vectors, *vectors = with.word_vectors;
            ck_assert_double_eq(ct_get(got, e), ct_get(vectors, 5 * 6 + e));
            ck_assert_double_eq(ct_get(got, 6 + e), ct_get(unknown, e));
            ck_assert_double_eq(ct_get(got, 12 + e), ct_get(vectors, 7 * 6 + e));
            ck_assert_double_eq(ct_get(got, 18 + e), ct_get(unknown, e));
            ck_assert_double_eq(ct_get(got, 24 + e), 0); /* <pad>, whatever its vector */
        }
        ck_assert(ct_backward(ct_sum_all(state.word_vectors)));
        assert_close(ct_grad(unknown), ct_full(CT_F32, CT_CPU, CT_SHAPE(1, 6), 2), 0, 0,
                     "gradient of the shared vector"); /* two unknown words */
        ct_model_destroy(model);

        with.word_known = NULL;
        ck_assert_ptr_null(fixture_model(IMAGE("") "[text]\nembed = words vectors=x\npool = gru\n"
                                                   "[loss]\nretrieval = hinge\n",
                                         with));
        assert_error("expected f32 (12,E) with flags");
    }
}
END_TEST

/* ---- decoder -------------------------------------------------------------------------------- */

/* What the decoder reads and predicts of a caption is cut: cut captions give the same. */
START_TEST(decoder_reads_so_many_tokens) {
    enum { TOKENS = 4 };
    ct_model *model = model_of(IMAGE("") TEXT("") "[loss]\ndecoder = convcap width=4 hidden=3 "
                                                  "layers=2 kernel=3 dropout=0 tokens=4\n",
                               CT_F64);
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F64, 0);
        ct_tensor *embedding = ct_model_embed_captions(model, &batch, NULL);
        ct_tensor *weight = ct_module_tensor(ct_model_module(model), "text.embed.weight");
        ct_tensor *vectors = ct_embedding_with(weight, batch.words, -1);
        ct_rng rng = placed_rng();
        ct_tensor *whole = ct_decoder_loss(model->decoder, &model->loss, &model->compat, &batch,
                                           vectors, embedding, &rng);
        int64_t lengths[B];
        for (int64_t b = 0; b < B; b++)
            lengths[b] = lengths_of[b] < TOKENS ? lengths_of[b] : TOKENS;
        batch.words = ct_tensor_copy(ct_tensor_slice(batch.words, 1, 0, TOKENS, 1));
        batch.lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), lengths);
        ct_tensor *cut = ct_decoder_loss(model->decoder, &model->loss, &model->compat, &batch,
                                         ct_slice(vectors, 1, 0, TOKENS, 1), embedding, &rng);
        assert_no_error();
        assert_close(whole, cut, 1e-14, 0, "decoder loss");
        /* by a mask too */
        batch = batch_of(CT_F64, 0);
        double mask[B * T];
        for (int64_t i = 0; i < B * T; i++) mask[i] = i % T > 0 && i % T < lengths_of[i / T];
        batch.target_mask = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(B, T), mask);
        assert_close(ct_decoder_loss(model->decoder, &model->loss, &model->compat, &batch, vectors,
                                     embedding, &rng),
                     cut, 1e-14, 0, "decoder loss by a mask");
    }
    ct_model_destroy(model);
}
END_TEST

enum { MOST_GRADIENTS = 64 };
typedef struct {
    ct_tensor *of[MOST_GRADIENTS];
    int count;
} gradients;

static bool take_gradient(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)name;
    gradients *all = context;
    if (buffer) return true;
    ck_assert_int_lt(all->count, MOST_GRADIENTS);
    all->of[all->count++] = ct_grad(tensor) ? ct_tensor_copy(ct_grad(tensor)) : NULL;
    return ct_zero_grad(tensor), true;
}

/* The decoder's loss and all gradients: by lengths, which is packed, or by a mask that says the
 * same and is padded. */
static ct_tensor *decoder_loss(ct_model *model, bool packed, gradients *all) {
    ct_batch batch = batch_of(CT_F64, 2);
    bool pad = model->compat.released[CT_COMPAT_PAD_TARGET];
    double mask[B * (T + 2)];
    for (int64_t i = 0; i < B * (T + 2); i++) mask[i] = i % (T + 2) < lengths_of[i / (T + 2)] + pad;
    if (!packed)
        batch.target_mask = ct_from_doubles(CT_F64, test_device(), CT_SHAPE(B, T + 2), mask);
    ct_rng rng = ct_rng_create(4, 0);
    ct_tensor *weight = ct_module_tensor(ct_model_module(model), "text.embed.weight");
    ct_tensor *vectors = ct_embedding_with(weight, batch.words, -1);
    ct_tensor *embedding = ct_slice(ct_reshape(vectors, CT_SHAPE(B, -1)), 1, 0, 8, 1);
    ct_tensor *loss = ct_decoder_loss(model->decoder, &model->loss, &model->compat, &batch, vectors,
                                      embedding, &rng);
    ck_assert(ct_backward(loss));
    ct_module_visit(ct_model_module(model), take_gradient, all);
    return loss;
}

START_TEST(decoder_is_the_same_packed_and_padded) {
    static const char *const losses[] = {"dropout=0.3", "dropout=0.3 tokens=4",
                                         "dropout=0 kernel=5"};
    for (int i = 0; i < 6; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "%s[loss]\ndecoder = convcap width=4 hidden=3 layers=2 %s\n"
                 "[compat]\ndecoder_targets = %s\n",
                 IMAGE("") TEXT(""), losses[i % 3], i < 3 ? "words" : "words_and_pad");
        ct_model *model = model_of(text, CT_F64);
        CT_SCOPE {
            gradients of_packed = {0}, of_padded = {0};
            ct_tensor *packed = decoder_loss(model, true, &of_packed);
            ct_tensor *padded = decoder_loss(model, false, &of_padded);
            assert_no_error();
            assert_close(packed, padded, 1e-12, 0, "loss");
            int compared = 0;
            for (int k = 0; k < of_packed.count; k++) {
                ck_assert(!of_packed.of[k] == !of_padded.of[k]);
                if (!of_packed.of[k]) continue;
                assert_close(of_packed.of[k], of_padded.of[k], 1e-12, 1e-14, "gradient");
                compared++;
            }
            ck_assert_int_eq(compared,
                             22); /* seven layers of weight_g, weight_v and bias; the words */
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* ---- bad input ------------------------------------------------------------------------------ */

static void refused(ct_model *model, ct_batch batch, const char *message) {
    ct_rng rng = placed_rng();
    ct_losses losses = ct_model_losses(model, &batch, 0, &rng);
    ck_assert_ptr_null(losses.term[CT_LOSS_TOTAL]);
    assert_error(message);
}

START_TEST(bad_batches_are_refused) {
    ct_model *model = model_of(FULL, CT_F64);
    CT_SCOPE {
        ct_batch good = batch_of(CT_F64, 0), bad = good;
        bad.images = NULL;
        refused(model, bad, "images are NULL");
        bad.images = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(B, N, F + 1));
        refused(model, bad, "images are f64 (5,4,7), expected (B,N,6)");
        bad.images = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(B - 1, N, F));
        refused(model, bad, "4 images but 5 captions");
        bad = good;
        bad.words = NULL;
        refused(model, bad, "neither words nor vectors");
        bad.vectors = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(B, T, 5));
        refused(model, bad, "vectors are f64 (5,7,5), expected (B,T,6)");
        bad = good;
        bad.lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), (int64_t[]){7, 3, 0, 2, 6});
        refused(model, bad, "length 0 of caption 2, expected 1 to 7");
        bad.lengths = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(2));
        refused(model, bad, "lengths are i64 (2), expected i64 (5)");
        bad = good;
        bad.classes = NULL;
        refused(model, bad, "needs the batch's classes");
        bad = good;
        bad.target_mask = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(B, 2));
        refused(model, bad, "decoder: target_mask is f64 (5,2), targets i64 (5,7)");
        bad.target_mask = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(B, T));
        refused(model, bad, "no caption has a token to predict");
        ck_assert_ptr_null(ct_retrieval_reward(ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 3))));
        assert_error("similarity is f64 (2,3), expected (B,B)");
        ck_assert_ptr_null(ct_reward_advantage(NULL, false, 0.5));
        assert_error("reward is NULL");
    }
    ct_model_destroy(model);
}
END_TEST

/* Similarities whose row i has i entries above its own, and whose columns have 11 - j. */
START_TEST(reward_of_known_ranks) {
    enum { Q = 12 };
    CT_SCOPE {
        double s[Q * Q];
        for (int i = 0; i < Q; i++)
            for (int j = 0; j < Q; j++) s[i * Q + j] = j < i ? 2 : j == i ? 1 : 0;
        ct_tensor *reward = ct_retrieval_reward(ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(Q, Q), s));
        assert_no_error();
        double recalls = 2 * (1 + 5 + 10) / 12.0; /* ranks 0..11 both ways */
        for (int i = 0; i < Q; i++)
            ck_assert_double_eq_tol(ct_get(reward, i), 1.0 / (i + 1) + 1.0 / (Q - i) + recalls,
                                    1e-12);
    }
}
END_TEST

START_TEST(advantage_baselines) {
    CT_SCOPE {
        ct_tensor *reward = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3), (double[]){1, 2, 6});
        assert_close(ct_reward_advantage(reward, false, 0.5),
                     ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3), (double[]){-0.5, 0.5, 4.5}),
                     1e-15, 0, "mean");
        assert_close(ct_reward_advantage(reward, true, 0.5),
                     ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3), (double[]){-1, 0.25, 5.25}),
                     1e-15, 0, "leave one out");
        assert_close(ct_reward_advantage(reward, false, 1),
                     ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3), (double[]){-2, -1, 3}), 1e-15, 0,
                     "the whole mean");
        ct_tensor *alone = ct_full(CT_F64, CT_CPU, CT_SHAPE(1), 4);
        assert_close(ct_reward_advantage(alone, true, 0.5), alone, 0, 0, "one sample");
    }
}
END_TEST

TEST_MAIN("model_parts", continuous_policy_by_hand, positions_by_hand, pools_over_words_alone,
          bigru_joins_both_directions, gradients_of_whole_models, fixed_word_vectors,
          decoder_reads_so_many_tokens, decoder_is_the_same_packed_and_padded,
          bad_batches_are_refused, reward_of_known_ranks, advantage_baselines)
