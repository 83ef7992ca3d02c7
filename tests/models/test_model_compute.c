/* SPDX-License-Identifier: Apache-2.0 */
/* What a step computes: switches and options told apart, padding, ablations. */
#include "tests/models/model_small.h"

/* ---- switches, told apart ------------------------------------------------------------------- */

/* What of a step a switch is to change. */
enum {
    IMAGE_EMBEDDING = 1 << CT_LOSS_COUNT,
    CAPTION_EMBEDDING = IMAGE_EMBEDDING << 1,
    REWARD = IMAGE_EMBEDDING << 2,
    EVAL_IMAGE = IMAGE_EMBEDDING << 3,
    EVAL_CAPTION = IMAGE_EMBEDDING << 4,
    OUTPUTS = CT_LOSS_COUNT + 5
};

static void outputs_of(const char *text, ct_tensor **out) {
    ct_model *model = model_of(text, CT_F64);
    ct_losses losses = losses_of(model, 0, 0);
    for (int i = 0; i < CT_LOSS_COUNT; i++) out[i] = losses.term[i];
    out[CT_LOSS_COUNT] = losses.image_embeddings;
    out[CT_LOSS_COUNT + 1] = losses.caption_embeddings;
    out[CT_LOSS_COUNT + 2] = losses.reward;
    ct_batch batch = batch_of(CT_F64, 0);
    ct_module_train(ct_model_module(model), false);
    out[CT_LOSS_COUNT + 3] = ct_model_embed_images(model, batch.images, NULL);
    out[CT_LOSS_COUNT + 4] = ct_model_embed_captions(model, &batch, NULL);
    assert_no_error();
    ct_model_destroy(model);
}

static bool same(const ct_tensor *a, const ct_tensor *b) {
    if (!a || !b) return a == b;
    for (int64_t i = 0; i < ct_count(a); i++)
        if (fabs(ct_get(a, i) - ct_get(b, i)) > 1e-12 * (1 + fabs(ct_get(b, i)))) return false;
    return true;
}

/* Exactly the outputs in `changes` (but for the total) differ between the two descriptions;
 * `free` ones may. */
static void tell_apart(const char *what, const char *a, const char *b, unsigned changes,
                       unsigned free_to) {
    CT_SCOPE {
        ct_tensor *one[OUTPUTS], *two[OUTPUTS];
        outputs_of(a, one);
        outputs_of(b, two);
        for (int i = CT_LOSS_TOTAL + 1; i < OUTPUTS; i++) {
            if (free_to >> i & 1) continue;
            ck_assert_msg(same(one[i], two[i]) == !(changes >> i & 1), "%s: output %d (%s) %s",
                          what, i, i < CT_LOSS_COUNT ? ct_loss_name(i) : "embedding or reward",
                          same(one[i], two[i]) ? "is the same" : "differs");
        }
    }
}

enum { EVERYTHING = ~0u };

START_TEST(released_switches_are_told_apart) {
    const unsigned losses_of_images =
        EVERYTHING & ~(CAPTION_EMBEDDING | EVAL_CAPTION | IMAGE_EMBEDDING | EVAL_IMAGE);
    const struct {
        const char *key, *text;
        unsigned changes, may_change;
    } rows[] = {
        {"l2norm = regions", FULL, IMAGE_EMBEDDING | EVAL_IMAGE, losses_of_images},
        {"first_l2norm = skip", FULL, IMAGE_EMBEDDING | EVAL_IMAGE, losses_of_images},
        {"continuous_sample = second", FULL,
         1 << CT_LOSS_CONTINUOUS_IMAGE | 1 << CT_LOSS_CONTINUOUS_TEXT, 0},
        {"image_continuous_heads = last", FULL, 1 << CT_LOSS_CONTINUOUS_IMAGE, 0},
        {"text_policy_steps = padded", FULL,
         1 << CT_LOSS_DISCRETE_TEXT | 1 << CT_LOSS_CONTINUOUS_TEXT, 0},
        {"decoder_parameters = fixed", FULL, 0, 0},
        {"image_batchnorm_eval = batch", FULL, EVAL_IMAGE, 0},
        {"decoder_targets = words_and_pad", FULL, 1 << CT_LOSS_DECODER, 0},
        {"intra_modal_hardest = column",
         IMAGE("") TEXT("") "[loss]\nretrieval = hinge margin=2 intra_modal=yes\nmeasure = order\n",
         1 << CT_LOSS_RETRIEVAL, 0},
        {"reward_measure = cosine", FULL "measure = order\n", REWARD,
         1 << CT_LOSS_DISCRETE_IMAGE | 1 << CT_LOSS_DISCRETE_TEXT | 1 << CT_LOSS_CONTINUOUS_IMAGE |
             1 << CT_LOSS_CONTINUOUS_TEXT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[2048];
        snprintf(text, sizeof text, "%s[compat]\n%s\n", rows[i].text, rows[i].key);
        tell_apart(rows[i].key, rows[i].text, text, rows[i].changes, rows[i].may_change);
    }
}
END_TEST

START_TEST(loss_options_are_told_apart) {
    const unsigned policies = 1 << CT_LOSS_DISCRETE_IMAGE | 1 << CT_LOSS_DISCRETE_TEXT |
                              1 << CT_LOSS_CONTINUOUS_IMAGE | 1 << CT_LOSS_CONTINUOUS_TEXT;
    tell_apart("baseline", FULL, FULL "baseline = leave_one_out\n", policies, 0);
    tell_apart("baseline_weight", FULL, FULL "baseline_weight = 1\n", policies, 0);
    tell_apart("normalise", FULL, FULL "normalise = no\n",
               1 << CT_LOSS_RETRIEVAL | 1 << CT_LOSS_INSTANCE_IMAGE | 1 << CT_LOSS_INSTANCE_TEXT |
                   1 << CT_LOSS_DECODER,
               policies | REWARD);
    tell_apart("measure", FULL, FULL "measure = order\n", 1 << CT_LOSS_RETRIEVAL,
               policies | REWARD);
    /* in evaluation these embeddings happen to be positive */
    tell_apart("abs", FULL, IMAGE(POLICY) "abs = abs\n" TEXT(POLICY) LOSS BOTH, IMAGE_EMBEDDING,
               EVERYTHING & ~(CAPTION_EMBEDDING | EVAL_CAPTION | IMAGE_EMBEDDING));
}
END_TEST

START_TEST(weights_scale_the_total) {
    ct_model *model = model_of(
        IMAGE(POLICY)
            TEXT(POLICY) "[loss]\nretrieval = hinge weight=2\ndiscrete_policy = 3\n"
                         "continuous_policy = 0\ninstance = classifier hidden=7 weight=0.5\n"
                         "decoder = convcap width=4 hidden=3 layers=1 weight=0\n",
        CT_F64);
    CT_SCOPE {
        ct_losses losses = losses_of(model, 0, 0);
        ck_assert_ptr_null(losses.term[CT_LOSS_CONTINUOUS_IMAGE]);
        ck_assert_ptr_null(losses.term[CT_LOSS_CONTINUOUS_TEXT]);
        ck_assert_ptr_null(losses.term[CT_LOSS_DECODER]);
        double sum = 2 * ct_item(losses.term[CT_LOSS_RETRIEVAL]) +
                     3 * ct_item(losses.term[CT_LOSS_DISCRETE_IMAGE]) +
                     3 * ct_item(losses.term[CT_LOSS_DISCRETE_TEXT]) +
                     0.5 * ct_item(losses.term[CT_LOSS_INSTANCE_IMAGE]) +
                     0.5 * ct_item(losses.term[CT_LOSS_INSTANCE_TEXT]);
        ck_assert_double_eq_tol(ct_item(losses.term[CT_LOSS_TOTAL]), sum, 1e-12 * fabs(sum));
    }
    ct_model_destroy(model);
}
END_TEST

START_TEST(first_epochs_sum_over_negatives) {
    ct_model *model =
        model_of(IMAGE("") TEXT("") "[loss]\nretrieval = hinge sum_epochs=2\n", CT_F64);
    ct_model *sum =
        model_of(IMAGE("") TEXT("") "[loss]\nretrieval = hinge negatives=sum\n", CT_F64);
    ct_model *hardest = model_of(IMAGE("") TEXT("") "[loss]\nretrieval = hinge\n", CT_F64);
    CT_SCOPE {
        for (int64_t epoch = 0; epoch < 4; epoch++) {
            double loss = ct_item(losses_of(model, 0, epoch).term[CT_LOSS_TOTAL]);
            ct_model *like = epoch < 2 ? sum : hardest;
            ck_assert_double_eq(loss, ct_item(losses_of(like, 0, epoch).term[CT_LOSS_TOTAL]));
        }
        ck_assert_double_gt(ct_item(losses_of(sum, 0, 0).term[CT_LOSS_TOTAL]),
                            ct_item(losses_of(hardest, 0, 0).term[CT_LOSS_TOTAL]));
    }
    ct_model_destroy(model);
    ct_model_destroy(sum);
    ct_model_destroy(hardest);
}
END_TEST

static double loss_of(ct_model *model, const ct_batch *batch, ct_losses *losses) {
    ct_rng rng = placed_rng();
    *losses = ct_model_losses(model, batch, 0, &rng);
    assert_no_error();
    return ct_item(losses->term[CT_LOSS_RETRIEVAL]);
}

/* Images 1 and 3 of the batch are one. */
START_TEST(captions_of_one_image_are_negatives_unless_said) {
    static const char intra[] = "[loss]\nretrieval = hinge negatives=sum intra_modal=yes\n";
    static const char ignored[] =
        "[loss]\nretrieval = hinge negatives=sum intra_modal=yes same_image=ignored\n";
    char text[2][1024];
    snprintf(text[0], sizeof text[0], "%s%s%s", IMAGE(""), TEXT(""), intra);
    snprintf(text[1], sizeof text[1], "%s%s%s", IMAGE(""), TEXT(""), ignored);
    ct_model *model = model_of(text[0], CT_F64), *without = model_of(text[1], CT_F64);
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F64, 0);
        const int64_t rows[B] = {4, 2, 0, 2, 1};
        batch.classes = ct_from_data(CT_I64, test_device(), CT_SHAPE(B), rows);
        ct_losses one, other;
        double all = loss_of(model, &batch, &one), fewer = loss_of(without, &batch, &other);
        ct_ranking_options options = {.margin = 0.2, .intra_modal = true};
        ct_tensor *images = ct_model_ranked(model, one.image_embeddings);
        ct_tensor *captions = ct_model_ranked(model, one.caption_embeddings);
        ck_assert_double_eq_tol(all, ct_item(ct_ranking_loss(images, captions, &options)), 1e-12);
        options.left_out = ct_same_images(batch.classes);
        ck_assert_double_eq_tol(fewer, ct_item(ct_ranking_loss(images, captions, &options)), 1e-12);
        ck_assert_double_lt(fewer, all);
        batch.classes = NULL;
        ct_rng rng = placed_rng();
        ct_model_losses(without, &batch, 0, &rng);
        assert_error("'same_image=ignored' needs the batch's classes");
    }
    ct_model_destroy(model);
    ct_model_destroy(without);
}
END_TEST

/* ---- padding -------------------------------------------------------------------------------- */

static void padding_changes_nothing(const char *text) {
    ct_model *model = model_of(text, CT_F64);
    CT_SCOPE {
        ct_losses tight = losses_of(model, 0, 0), loose = losses_of(model, 3, 0);
        assert_close(loose.caption_embeddings, tight.caption_embeddings, 1e-12, 1e-14, "captions");
        for (int i = 0; i < CT_LOSS_COUNT; i++)
            if (tight.term[i])
                assert_close(loose.term[i], tight.term[i], 1e-12, 1e-14, ct_loss_name(i));
    }
    ct_model_destroy(model);
}

START_TEST(padding_does_not_matter) {
    padding_changes_nothing(FULL);
    padding_changes_nothing(IMAGE(POLICY) WIDE(POLICY) LOSS BOTH);
}
END_TEST

/* ---- ablations ------------------------------------------------------------------------------ */

static bool has_gradient(ct_model *model, const char *name) {
    ct_tensor *tensor = ct_module_tensor(ct_model_module(model), name);
    ck_assert_msg(tensor != NULL, "no parameter '%s'", name);
    ct_tensor *gradient = ct_grad(tensor);
    for (int64_t i = 0; gradient && i < ct_count(gradient); i++)
        if (ct_get(gradient, i) != 0) return true;
    return false;
}

static bool has_parameter(ct_model *model, const char *name) {
    return ct_module_tensor(ct_model_module(model), name) != NULL;
}

static bool all_have_gradients(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context, (void)tensor;
    /* a bias before a batch norm has gradient 0 but for rounding */
    ck_assert_msg(buffer || ct_grad(tensor), "%s got no gradient", name);
    return true;
}

/* Three optimiser steps; the last backward's gradients stay for looking at. */
static ct_model *trained(const char *text, unsigned terms) {
    ct_model *model = model_of(text, CT_F32);
    ct_adam_options options = ct_adam_defaults();
    options.lr = 1e-2;
    ct_optimizer *adam = ct_adam_create(ct_model_module(model), &options);
    ct_rng rng = ct_rng_create(9, 0);
    for (int step = 0; step < 4; step++) CT_SCOPE {
            ct_batch batch = batch_of(CT_F32, 0);
            ct_losses losses = ct_model_losses(model, &batch, 0, &rng);
            assert_no_error();
            for (int i = 1; i < CT_LOSS_COUNT; i++)
                ck_assert_msg((losses.term[i] != NULL) == (terms >> i & 1), "%s is %s",
                              ct_loss_name(i), losses.term[i] ? "there" : "missing");
            ck_assert(isfinite(ct_item(losses.term[CT_LOSS_TOTAL])));
            ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
            ct_module_visit(ct_model_module(model), all_have_gradients, NULL);
            if (step < 3) ck_assert(ct_optimizer_step(adam));
            assert_no_error();
        }
    ct_optimizer_destroy(adam);
    return model;
}

#define ABLATED(options, losses)                              \
    IMAGE("attend = policy_attention actions=5" options "\n") \
    TEXT("attend = policy_attention actions=5" options "\n") "[loss]\nretrieval = hinge\n" losses

enum {
    HINGE = 1 << CT_LOSS_RETRIEVAL,
    DISCRETE = 1 << CT_LOSS_DISCRETE_IMAGE | 1 << CT_LOSS_DISCRETE_TEXT,
    CONTINUOUS = 1 << CT_LOSS_CONTINUOUS_IMAGE | 1 << CT_LOSS_CONTINUOUS_TEXT
};

START_TEST(discrete_only) {
    ct_model *model = trained(ABLATED(" continuous=no", "discrete_policy = 1\n"), HINGE | DISCRETE);
    ck_assert(has_gradient(model, "image.attend.logits.weight"));
    ck_assert(has_gradient(model, "text.attend.gru.weight_hh_l0"));
    ck_assert(!has_parameter(model, "image.attend.rho.weight"));
    CT_SCOPE { /* weights are 20 sigmoid(k/5), k = 0..4 */
        ct_batch batch = batch_of(CT_F32, 0);
        ct_rng rng = ct_rng_create(9, 0);
        ct_losses losses = ct_model_losses(model, &batch, 0, &rng);
        for (int64_t i = 0; i < ct_count(losses.image_weights); i++) {
            double weight = ct_get(losses.image_weights, i) / 20;
            double k = 5 * log(weight / (1 - weight));
            ck_assert_double_eq_tol(k, round(k), 1e-4);
            ck_assert(k > -0.5 && k < 4.5);
        }
    }
    ct_model_destroy(model);
}
END_TEST

START_TEST(continuous_only) {
    ct_model *model =
        trained(ABLATED(" discrete=none", "continuous_policy = 1\n"), HINGE | CONTINUOUS);
    ck_assert(has_gradient(model, "image.attend.mean.weight"));
    ck_assert(has_gradient(model, "text.attend.rho.weight"));
    ck_assert(!has_parameter(model, "image.attend.logits.weight"));
    ct_module_train(ct_model_module(model), false);
    CT_SCOPE { /* evaluation: 20 sigmoid(mu), mu in (0,1) */
        ct_batch batch = batch_of(CT_F32, 0);
        ct_losses losses = ct_model_losses(model, &batch, 0, NULL);
        for (int64_t i = 0; i < ct_count(losses.image_weights); i++) {
            double weight = ct_get(losses.image_weights, i);
            ck_assert(weight > 10 && weight < 14.63);
        }
    }
    ct_model_destroy(model);
}
END_TEST

START_TEST(categorical_policy) {
    ct_model *model =
        trained(ABLATED(" discrete=categorical", "discrete_policy = 1\ncontinuous_policy = 1\n"),
                HINGE | DISCRETE | CONTINUOUS);
    ck_assert(has_gradient(model, "image.attend.logits.weight"));
    ck_assert(has_gradient(model, "image.attend.rho.weight"));
    ct_model_destroy(model);
}
END_TEST

START_TEST(no_policy) {
    ct_model *model = trained(IMAGE("") TEXT("") "[loss]\nretrieval = hinge\n", HINGE);
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F32, 0);
        ct_losses losses = ct_model_losses(model, &batch, 0, NULL);
        assert_no_error();
        ck_assert_ptr_null(losses.reward);
        ck_assert_ptr_null(losses.image_weights);
    }
    ct_model_destroy(model);
}
END_TEST

START_TEST(policy_on_one_side) {
    ct_model *model = trained(IMAGE(POLICY) TEXT("") "[loss]\nretrieval = hinge\n" BOTH,
                              HINGE | 1 << CT_LOSS_DISCRETE_IMAGE | 1 << CT_LOSS_CONTINUOUS_IMAGE);
    ct_model_destroy(model);
}
END_TEST

START_TEST(what_is_explained_is_checked) {
    ct_model *model = model_of(FULL, CT_F32);
    char text[64];
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F32, 0), wrong = batch;
        ck_assert(!ct_model_explain(model, &batch, true, text, sizeof text));
        assert_no_error(); /* all is finite */
        wrong.lengths = ct_tensor_cast(batch.lengths, CT_I32);
        ck_assert(!ct_model_explain(model, &wrong, true, text, sizeof text));
        assert_error("model: lengths are i32 (5), expected i64 (5)");
        wrong.lengths = ct_tensor_slice(batch.lengths, 0, 0, 2, 1);
        ck_assert(!ct_model_explain(model, &wrong, true, text, sizeof text));
        assert_error("model: lengths are i64 (2), expected i64 (5)");
        wrong = (ct_batch){0};
        ck_assert(!ct_model_explain(model, &wrong, true, text, sizeof text));
        assert_error("model: the batch has neither words nor vectors");
        ck_assert(!ct_model_explain(model, &wrong, false, text, sizeof text));
        assert_error("model_explain: the image is NULL");
    }
    ct_model_destroy(model);
}
END_TEST

TEST_MAIN("model_compute", released_switches_are_told_apart, loss_options_are_told_apart,
          weights_scale_the_total, first_epochs_sum_over_negatives,
          captions_of_one_image_are_negatives_unless_said, padding_does_not_matter, discrete_only,
          continuous_only, categorical_policy, no_policy, policy_on_one_side,
          what_is_explained_is_checked)
