/* SPDX-License-Identifier: Apache-2.0 */
/* Departures of the released code within the model, told apart by the values of both settings: each
 * against a plain computation or recorded values. Those in data and runs: test_compat_run.c. */
#include "tests/models/model_small.h"

/* ---- small models ---------------------------------------------------------------------------- */

#define PLAIN_TEXT "[text]\nembed = words width=6\npool = mean\n"
#define HINGE "[loss]\nretrieval = hinge\n"
#define POLICIES HINGE "discrete_policy = 1\ncontinuous_policy = 1\n"

/* A model of f64 with one key of [compat] set. */
static ct_model *model_with(const char *text, const char *key) {
    char whole[2048];
    snprintf(whole, sizeof whole, "%s[compat]\n%s\n", text, key);
    return model_of(whole, CT_F64);
}

static double at(const ct_tensor *x, int64_t i, int64_t j, int64_t k) {
    return ct_get(x, (i * ct_dim(x, 1) + j) * ct_dim(x, 2) + k);
}

static ct_tensor *parameter(ct_model *model, const char *name) {
    ct_tensor *x = ct_module_tensor(ct_model_module(model), name);
    ck_assert_msg(x != NULL, "no parameter '%s'", name);
    return x;
}

/* What is drawn under a name by placed_rng. */
static ct_tensor *noise_of(const char *name, ct_shape shape) {
    ct_tensor *noise = ct_empty(CT_F64, CT_CPU, shape);
    placed_noise(NULL, name, noise);
    return noise;
}

#define near(got, expected) ck_assert_double_eq_tol(got, expected, 1e-12 * (1 + fabs(expected)))

/* ---- norms ----------------------------------------------------------------------------------- */

/* The mean over regions of x / |x|, |x| over a region's features or a feature's regions. */
static double mean_of_normalised(const ct_tensor *x, int64_t b, int64_t f, bool regions) {
    double mean = 0;
    for (int64_t n = 0; n < N; n++) {
        double square = 0;
        for (int64_t i = 0; i < (regions ? N : F); i++)
            square += pow(regions ? at(x, b, i, f) : at(x, b, n, i), 2);
        if (square > 0) mean += at(x, b, n, f) / sqrt(square) / N;
    }
    return mean;
}

START_TEST(l2norm_over_features_or_regions) {
    for (int released = 0; released < 2; released++) {
        ct_model *model = model_with("[image]\nnorm = l2norm\npool = mean\n" PLAIN_TEXT HINGE,
                                     released ? "l2norm = regions" : "l2norm = features");
        CT_SCOPE {
            ct_tensor *x = batch_of(CT_F64, 0).images;
            for (int64_t n = 0; n < N; n++) ct_set(x, n * F, 0);     /* a feature of image 0 */
            for (int64_t f = 0; f < F; f++) ct_set(x, N * F + f, 0); /* a region of image 1 */
            ct_tensor *y = ct_model_embed_images(model, x, NULL);
            for (int64_t i = 0; i < B * F; i++) {
                if (released && i == 0) ck_assert(isnan(ct_get(y, i))); /* no epsilon: 0/0 */
                else near(ct_get(y, i), mean_of_normalised(x, i / F, i % F, released));
            }
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* tanh tells a vector from its normalised self. */
START_TEST(first_l2norm_is_kept_or_skipped) {
    for (int released = 0; released < 2; released++) {
        ct_model *model = model_with(
            "[image]\nfirst = l2norm\nact = tanh\nnorm = l2norm\npool = mean\n" PLAIN_TEXT HINGE,
            released ? "first_l2norm = skip" : "first_l2norm = keep");
        CT_SCOPE {
            ct_tensor *x = batch_of(CT_F64, 0).images, *h = ct_tensor_copy(x);
            for (int64_t v = 0; v < B * N; v++) {
                double square = 0;
                for (int64_t f = 0; f < F; f++) square += pow(ct_get(x, v * F + f), 2);
                for (int64_t f = 0; f < F; f++)
                    ct_set(h, v * F + f,
                           tanh(ct_get(x, v * F + f) / (released ? 1 : sqrt(square))));
            }
            ct_tensor *y = ct_model_embed_images(model, x, NULL);
            for (int64_t i = 0; i < B * F; i++)
                near(ct_get(y, i), mean_of_normalised(h, i / F, i % F, false));
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* Momentum 0.5; running statistics start at mean 0 and variance 1. */
START_TEST(image_batchnorm_evaluates_by_running_or_batch) {
    for (int released = 0; released < 2; released++) {
        ct_model *model = model_with(
            "[image]\npool = mean\nbn = batchnorm momentum=0.5\n" PLAIN_TEXT HINGE,
            released ? "image_batchnorm_eval = batch" : "image_batchnorm_eval = running");
        ct_module_train(ct_model_module(model), false);
        CT_SCOPE {
            ct_tensor *x = ct_tensor_reduce(CT_MEAN, batch_of(CT_F64, 0).images, 1u << 1, false);
            ct_tensor *y = ct_model_embed_images(model, batch_of(CT_F64, 0).images, NULL);
            for (int64_t f = 0; f < F; f++) {
                double mean = 0, square = 0;
                for (int64_t b = 0; b < B; b++) mean += ct_get(x, b * F + f) / B;
                for (int64_t b = 0; b < B; b++) square += pow(ct_get(x, b * F + f) - mean, 2);
                double shift = released ? mean : 0, variance = released ? square / B : 1;
                for (int64_t b = 0; b < B; b++)
                    near(ct_get(y, b * F + f),
                         (ct_get(x, b * F + f) - shift) / sqrt(variance + 1e-5));
                near(ct_get(parameter(model, "image.bn.running_mean"), f), shift / 2);
                near(ct_get(parameter(model, "image.bn.running_var"), f),
                     released ? 0.5 + square / (B - 1) / 2 : 1);
            }
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* ---- policies -------------------------------------------------------------------------------- */

#define IMAGE_POLICY(options) \
    "[image]\nattend = policy_attention actions=5" options "\npool = mean\n" PLAIN_TEXT POLICIES

static ct_policy_output sampled(ct_model *model) {
    ct_rng rng = placed_rng();
    ct_graph_state state = ct_model_state(model, &rng);
    ct_model_run_images(model, batch_of(CT_F64, 0).images, &state);
    assert_no_error();
    return state.policy;
}

/* sigma = exp(softplus(0.3)/2) everywhere; log Normal(mu + sigma n; mu, sigma) depends on n. */
START_TEST(log_density_at_the_applied_or_a_second_sample) {
    double sigma = exp(log1p(exp(0.3)) / 2), half_log_two_pi = 0.91893853320467274;
    for (int released = 0; released < 2; released++) {
        ct_model *model = model_with(IMAGE_POLICY(""), released ? "continuous_sample = second"
                                                                : "continuous_sample = applied");
        ct_tensor_fill(parameter(model, "image.attend.rho.weight"), 0);
        ct_tensor_fill(parameter(model, "image.attend.rho.bias"), 0.3);
        CT_SCOPE {
            ct_policy_output policy = sampled(model);
            ct_tensor *applied = noise_of("img_enc.z1", CT_SHAPE(B, N, 2));
            ct_tensor *second = noise_of("img_enc.z2", CT_SHAPE(B, N, 2));
            for (int64_t i = 0; i < B * N * 2; i++) {
                double n = ct_get(released ? second : applied, i);
                double z = ct_get(policy.index, i) / 5 + sigma * ct_get(applied, i);
                near(ct_get(policy.log_continuous, i), -n * n / 2 - log(sigma) - half_log_two_pi);
                near(ct_get(policy.weight, i), 20 / (1 + exp(-z)));
            }
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* Logits are 0.3 a: y = softmax((logits + gumbel)/0.8), or softmax(logits). */
static void check_choice(const char *options, bool gumbel) {
    ct_model *model = model_with(options, "preset = released\nl2norm = features");
    ct_tensor_fill(parameter(model, "image.attend.logits.weight"), 0);
    for (int64_t i = 0; i < 10; i++)
        ct_set(parameter(model, "image.attend.logits.bias"), i, 0.3 * (double)(i % 5));
    CT_SCOPE {
        ct_policy_output policy = sampled(model);
        ct_tensor *uniform = noise_of("img_enc.gumbel_u", CT_SHAPE(B, N, 2, 5));
        ct_tensor *choice = noise_of("img_enc.choice", CT_SHAPE(B, N, 2));
        for (int64_t i = 0; i < B * N * 2; i++) {
            double y[5], sum = 0, below = 0;
            for (int a = 0; a < 5; a++) {
                double noise = -log(-log(ct_get(uniform, i * 5 + a) + 1e-20) + 1e-20);
                y[a] = exp(gumbel ? (0.3 * a + noise) / 0.8 : 0.3 * a);
                sum += y[a];
            }
            int k = 0;
            while (k < 4 && ct_get(choice, i) * sum >= below + y[k]) below += y[k++];
            ck_assert_int_eq((int)ct_get(policy.index, i), k);
            near(ct_get(policy.log_discrete, i), log(y[k] / sum));
        }
    }
    ct_model_destroy(model);
}

START_TEST(discrete_by_gumbel_or_categorical) {
    check_choice(IMAGE_POLICY(""), true); /* the default, with the preset too */
    check_choice(IMAGE_POLICY(" discrete=gumbel"), true);
    check_choice(IMAGE_POLICY(" discrete=categorical"), false);
}
END_TEST

/* - sum over heads from `first` on of the mean over samples and steps of log_probability *
 * advantage; lengths NULL: all steps count */
static double loss_by_hand(const ct_tensor *log_probability, const ct_tensor *advantage,
                           const int64_t *lengths, int64_t first) {
    double sum = 0, count = 0;
    for (int64_t b = 0; b < B; b++) {
        int64_t steps = lengths ? lengths[b] : ct_dim(log_probability, 1);
        count += (double)steps;
        for (int64_t s = 0; s < steps; s++)
            for (int64_t h = first; h < ct_dim(log_probability, 2); h++)
                sum -= at(log_probability, b, s, h) * ct_get(advantage, b);
    }
    return sum / count;
}

/* A step's losses, and what both policies left. */
typedef struct {
    ct_losses losses;
    ct_policy_output image, text;
} policy_step;

static policy_step step_of(ct_model *model, int extra) {
    policy_step step = {.losses = losses_of(model, extra, 0)};
    ct_rng rng = placed_rng();
    ct_batch batch = batch_of(CT_F64, extra);
    ct_graph_state text = ct_model_state(model, &rng), image = ct_model_state(model, &rng);
    ct_model_run_captions(model, &batch, &text);
    ct_model_run_images(model, batch.images, &image);
    assert_no_error();
    step.image = image.policy;
    step.text = text.policy;
    return step;
}

START_TEST(image_continuous_loss_of_all_or_the_last_head) {
    for (int released = 0; released < 2; released++) {
        ct_model *model = model_with(FULL, released ? "image_continuous_heads = last"
                                                    : "image_continuous_heads = all");
        CT_SCOPE {
            policy_step step = step_of(model, 0);
            ct_tensor *const *term = step.losses.term, *advantage = step.losses.advantage;
            near(ct_item(term[CT_LOSS_CONTINUOUS_IMAGE]),
                 loss_by_hand(step.image.log_continuous, advantage, NULL, released ? 1 : 0));
            near(ct_item(term[CT_LOSS_DISCRETE_IMAGE]),
                 loss_by_hand(step.image.log_discrete, advantage, NULL, 0));
            near(ct_item(term[CT_LOSS_CONTINUOUS_TEXT]),
                 loss_by_hand(step.text.log_continuous, advantage, lengths_of, 0));
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* Two columns of padding behind the longest caption. */
START_TEST(text_policy_over_words_or_padding_too) {
    ct_model *words = model_with(FULL, "text_policy_steps = words");
    ct_model *padded = model_with(FULL, "text_policy_steps = padded");
    CT_SCOPE {
        policy_step by_words = step_of(words, 2), by_all = step_of(padded, 2);
        static const ct_loss_term terms[] = {CT_LOSS_DISCRETE_TEXT, CT_LOSS_CONTINUOUS_TEXT};
        for (int k = 0; k < 2; k++) {
            ct_tensor *log_words = k ? by_words.text.log_continuous : by_words.text.log_discrete;
            ct_tensor *log_all = k ? by_all.text.log_continuous : by_all.text.log_discrete;
            near(ct_item(by_words.losses.term[terms[k]]),
                 loss_by_hand(log_words, by_words.losses.advantage, lengths_of, 0));
            near(ct_item(by_all.losses.term[terms[k]]),
                 loss_by_hand(log_all, by_all.losses.advantage, NULL, 0));
            for (int64_t b = 0; b < B; b++) /* what follows a caption does not reach it */
                for (int64_t s = 0; s < lengths_of[b]; s++)
                    near(at(log_all, b, s, 0), at(log_words, b, s, 0));
        }
        assert_close(by_all.losses.caption_embeddings, by_words.losses.caption_embeddings, 1e-12,
                     1e-14, "caption embeddings"); /* the pool sees words alone either way */
    }
    ct_model_destroy(words);
    ct_model_destroy(padded);
}
END_TEST

/* ---- reward ---------------------------------------------------------------------------------- */

/* S (B,B) of l2-normalised rows: cosine, or order -|max(0, b - a)| */
static void similarity_by_hand(ct_tensor *a, ct_tensor *b, bool order, double s[B][B]) {
    CT_SCOPE {
        ct_tensor *u = ct_l2_normalize(a, 1), *v = ct_l2_normalize(b, 1);
        int64_t width = ct_dim(a, 1);
        for (int i = 0; i < B; i++)
            for (int j = 0; j < B; j++) {
                double dot = 0, square = 0;
                for (int64_t d = 0; d < width; d++) {
                    double x = ct_get(u, i * width + d), y = ct_get(v, j * width + d);
                    dot += x * y;
                    square += y > x ? (y - x) * (y - x) : 0;
                }
                s[i][j] = order ? -sqrt(square) : dot;
            }
    }
}

/* With B = 5 each R@5 and R@10 is 1. */
static void reward_by_hand(double s[B][B], double *reward) {
    double recalls = 4;
    for (int i = 0; i < B; i++) {
        int to_captions = 0, to_images = 0;
        for (int j = 0; j < B; j++) {
            to_captions += s[i][j] > s[i][i];
            to_images += s[j][i] > s[i][i];
        }
        recalls += ((to_captions == 0) + (to_images == 0)) / (double)B;
        reward[i] = 1.0 / (to_captions + 1) + 1.0 / (to_images + 1);
    }
    for (int i = 0; i < B; i++) reward[i] += recalls;
}

START_TEST(reward_by_the_configured_measure_or_cosine) {
    double rewards[2][B];
    for (int released = 0; released < 2; released++) {
        ct_model *model =
            model_with(FULL "measure = order\n",
                       released ? "reward_measure = cosine" : "reward_measure = configured");
        CT_SCOPE {
            ct_losses losses = losses_of(model, 0, 0);
            double s[B][B];
            similarity_by_hand(losses.image_embeddings, losses.caption_embeddings, !released, s);
            reward_by_hand(s, rewards[released]);
            for (int i = 0; i < B; i++) near(ct_get(losses.reward, i), rewards[released][i]);
        }
        ct_model_destroy(model);
    }
    ck_assert_mem_ne(rewards[0], rewards[1], sizeof *rewards);
}
END_TEST

START_TEST(baseline_is_the_mean_or_leaves_one_out) {
    static const char *const texts[] = {FULL, FULL "baseline = mean\n",
                                        FULL "baseline = leave_one_out\n"};
    for (int k = 0; k < 3; k++) {
        ct_model *model = model_with(texts[k], "preset = released\nclasses = data");
        CT_SCOPE {
            ct_losses losses = losses_of(model, 0, 0);
            double sum = 0;
            for (int i = 0; i < B; i++) sum += ct_get(losses.reward, i);
            for (int i = 0; i < B; i++) {
                double own = ct_get(losses.reward, i);
                double baseline = k < 2 ? sum / B : (sum - own) / (B - 1);
                near(ct_get(losses.advantage, i), own - 0.5 * baseline);
            }
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* ---- retrieval ------------------------------------------------------------------------------- */

/* Each query's largest [margin + S_ij - anchor]_+ off the diagonal, summed. */
static double hinge_by_hand(double s[B][B], double margin, bool by_column, bool column_anchor) {
    double total = 0;
    for (int q = 0; q < B; q++) {
        double largest = 0;
        for (int o = 0; o < B; o++) {
            int i = by_column ? o : q, j = by_column ? q : o;
            double anchor = column_anchor ? s[j][j] : s[i][i];
            if (i != j) largest = fmax(largest, margin + s[i][j] - anchor);
        }
        total += largest;
    }
    return total;
}

START_TEST(intra_modal_hardest_of_row_or_column) {
    double values[2];
    for (int released = 0; released < 2; released++) {
        ct_model *model = model_with(
            IMAGE("")
                TEXT("") "[loss]\nretrieval = hinge margin=2 intra_modal=yes\nmeasure = order\n",
            released ? "intra_modal_hardest = column" : "intra_modal_hardest = row");
        CT_SCOPE {
            ct_losses losses = losses_of(model, 0, 0);
            ct_tensor *u = losses.image_embeddings, *v = losses.caption_embeddings;
            double s[B][B];
            similarity_by_hand(u, v, true, s);
            double loss = hinge_by_hand(s, 2, false, false) + hinge_by_hand(s, 2, true, true);
            similarity_by_hand(u, u, true, s);
            loss += hinge_by_hand(s, 2, released, false);
            similarity_by_hand(v, v, true, s);
            loss += hinge_by_hand(s, 2, released, false);
            near(ct_item(losses.term[CT_LOSS_RETRIEVAL]), loss);
            values[released] = loss;
        }
        ct_model_destroy(model);
    }
    ck_assert(fabs(values[0] - values[1]) > 1e-3);
}
END_TEST

/* Embeddings that are the inputs: recorded ones give the recorded loss and gradients. */
START_TEST(order_gradient_is_finite_or_nan) {
    ct_set_anomaly_mode(false); /* it is NaN in the released code */
    golden g = golden_open("contrastive_loss", CT_F64);
    for (int released = 0; released < 2; released++) {
        char text[512];
        snprintf(text, sizeof text,
                 "[image]\npool = mean\n[text]\nembed = words width=5\n"
                 "pool = mean\n[loss]\nretrieval = hinge intra_modal=yes\nmeasure = order\n"
                 "normalise = no\n[compat]\npreset = released\n%s",
                 released ? "" : "order_gradient = finite\n");
        ct_model *model = fixture_model(
            text, (ct_model_sizes){.regions = 1, .features = 5, .vocabulary = 5, .images = 6});
        assert_no_error();
        CT_SCOPE {
            ct_tensor *images = golden_leaf(&g, "raw.in.im");
            ct_tensor *captions = golden_leaf(&g, "raw.in.s");
            const int64_t ones[6] = {1, 1, 1, 1, 1, 1};
            ct_batch batch = {.images = ct_unsqueeze(images, 1),
                              .vectors = ct_unsqueeze(captions, 1),
                              .lengths = ct_from_data(CT_I64, test_device(), CT_SHAPE(6), ones)};
            ct_losses losses = ct_model_losses(model, &batch, 0, NULL);
            golden_check(&g, losses.term[CT_LOSS_TOTAL], "raw.dcpg.order.max.out.loss");
            ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
            if (!released) golden_check(&g, ct_grad(images), "raw.dcpg.order.max.grad_safe.im");
            if (!released) golden_check(&g, ct_grad(captions), "raw.dcpg.order.max.grad_safe.s");
            for (int64_t i = 0; released && i < 30; i++)
                ck_assert(isnan(ct_get(ct_grad(images), i)) && isnan(ct_get(ct_grad(captions), i)));
        }
        ct_model_destroy(model);
    }
    golden_close(&g);
}
END_TEST

/* ---- the other losses ------------------------------------------------------------------------ */

/* The mean cross-entropy of tokens 1 .. length-1 of each caption, or of `length` too: padding. */
static double decoder_by_hand(const ct_tensor *logits, const int64_t *words, bool pad) {
    double sum = 0, count = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 1; t < lengths_of[b] + pad && t < T; t++, count++) {
            double total = 0;
            for (int64_t v = 0; v < V; v++) total += exp(at(logits, b, t - 1, v));
            sum += log(total) - at(logits, b, t - 1, words[b * T + t]);
        }
    return sum / count;
}

START_TEST(decoder_targets_are_words_or_one_padding_too) {
    for (int released = 0; released < 2; released++) {
        ct_model *model = model_with(FULL, released ? "decoder_targets = words_and_pad"
                                                    : "decoder_targets = words");
        CT_SCOPE {
            ct_losses losses = losses_of(model, 0, 0);
            ct_batch batch = batch_of(CT_F64, 0);
            ct_rng rng = placed_rng();
            ct_tensor *vectors =
                ct_embedding_with(parameter(model, "text.embed.weight"), batch.words, -1);
            ct_tensor *states =
                ct_decoder_states(model->decoder, &model->loss, vectors,
                                  ct_model_ranked(model, losses.caption_embeddings), &rng);
            ct_tensor *logits = ct_linear(ct_module_child(model->decoder, "output"), states);
            ct_tensor *words = ct_tensor_to_device(batch.words, CT_CPU);
            near(ct_item(losses.term[CT_LOSS_DECODER]),
                 decoder_by_hand(logits, ct_data(words), released));
        }
        ct_model_destroy(model);
    }
}
END_TEST

/* The classifier's outputs, and the number of the training image in row 0. */
START_TEST(classes_from_the_data_or_released) {
    static const struct {
        const char *option, *compat;
        int64_t outputs, first;
    } rows[] = {
        {"", "classes = data", IMAGES, 0},           {"", "classes = released", 113288, 1},
        {"", "preset = released", 113288, 1},        {" classes=13", "classes = data", 13, 0},
        {" classes=13", "preset = released", 13, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "[image]\npool = mean\n" PLAIN_TEXT "[loss]\ninstance = classifier hidden=2%s\n",
                 rows[i].option);
        ct_model *model = model_with(text, rows[i].compat);
        ck_assert_int_eq(ct_count(parameter(model, "classifier.output.bias")), rows[i].outputs);
        ck_assert_int_eq(ct_model_first_class(model), rows[i].first);
        ct_model_destroy(model);
    }
}
END_TEST

/* ---- the optimiser --------------------------------------------------------------------------- */

typedef struct {
    ct_model *model;
    double others, decoder; /* squares of the gradients */
} gradient_squares;

static bool add_squares(void *context, const char *name, ct_tensor *x, bool buffer) {
    gradient_squares *sum = context;
    ct_tensor *gradient = buffer ? NULL : ct_grad(x);
    double *square = strncmp(name, "decoder.", 8) ? &sum->others : &sum->decoder;
    for (int64_t i = 0; gradient && i < ct_count(gradient); i++)
        *square += pow(ct_get(gradient, i), 2);
    return true;
}

/* One step of gradient descent at rate 1, set up as train does, with the norm clipped at 0.5. The
 * decoder counts `counts` times in the norm, and moves by `times` its clipped gradient. */
static void check_decoder_update(const char *key, int counts, int times) {
    ct_model *model = model_with(FULL, key);
    ct_module *module = ct_model_module(model);
    ct_optimizer *sgd = ct_sgd_create(module, &(ct_sgd_options){.lr = 1});
    ck_assert(ct_model_group_parameters(model, sgd));
    ct_optimizer_clip_norm(sgd, 0.5);
    CT_SCOPE {
        ck_assert(ct_backward(losses_of(model, 0, 0).term[CT_LOSS_TOTAL]));
        gradient_squares sum = {.model = model};
        ct_module_visit(module, add_squares, &sum);
        double norm = sqrt(sum.others + counts * sum.decoder), scale = 0.5 / (norm + 1e-6);
        ck_assert(scale < 1 && sum.decoder > 0);
        ct_tensor *of_decoder = parameter(model, "decoder.output.bias");
        ct_tensor *of_image = parameter(model, "image.fc.bias");
        ct_tensor *decoder = ct_tensor_copy(of_decoder), *image = ct_tensor_copy(of_image);
        ct_tensor *to_decoder = ct_tensor_copy(ct_grad(of_decoder));
        ct_tensor *to_image = ct_tensor_copy(ct_grad(of_image));
        ck_assert(ct_optimizer_step(sgd));
        near(ct_optimizer_grad_norm(sgd), norm);
        double factor = times * pow(scale, times);
        for (int64_t i = 0; i < V; i++)
            near(ct_get(of_decoder, i), ct_get(decoder, i) - factor * ct_get(to_decoder, i));
        for (int64_t i = 0; i < 8; i++)
            near(ct_get(of_image, i), ct_get(image, i) - scale * ct_get(to_image, i));
        assert_no_error();
    }
    ct_optimizer_destroy(sgd);
    ct_model_destroy(model);
}

START_TEST(decoder_parameters_are_trained_or_fixed) {
    check_decoder_update("decoder_parameters = trained", 1, 1);
    check_decoder_update("decoder_parameters = fixed", 0, 0);
}
END_TEST

START_TEST(decoder_is_updated_once_or_twice) {
    check_decoder_update("decoder_updates = once", 1, 1);
    check_decoder_update("decoder_updates = twice", 2, 2);
}
END_TEST

TEST_MAIN("compat", l2norm_over_features_or_regions, first_l2norm_is_kept_or_skipped,
          image_batchnorm_evaluates_by_running_or_batch,
          log_density_at_the_applied_or_a_second_sample, discrete_by_gumbel_or_categorical,
          image_continuous_loss_of_all_or_the_last_head, text_policy_over_words_or_padding_too,
          reward_by_the_configured_measure_or_cosine, baseline_is_the_mean_or_leaves_one_out,
          intra_modal_hardest_of_row_or_column, order_gradient_is_finite_or_nan,
          decoder_targets_are_words_or_one_padding_too, classes_from_the_data_or_released,
          decoder_parameters_are_trained_or_fixed, decoder_is_updated_once_or_twice)
