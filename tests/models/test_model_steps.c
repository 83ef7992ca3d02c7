/* SPDX-License-Identifier: Apache-2.0 */
/* Whole training steps of the policy model and of VSRN against values recorded from the published
 * code: embeddings, loss terms, gradients, parameters after Adam, buffers, evaluation. */
#include "tests/models/model_recorded.h"

enum { MOST_STEPS = 3 };

typedef struct {
    const fixture_case *c;
    const ct_model *model;
    int step;                     /* 0: the file has one step, whose names have no prefix */
    double clips[MOST_STEPS + 1]; /* factor on the gradients of each step so far */
    int visited;
} step_check;

static void prefix_of(const step_check *check, int step, char *out, size_t size) {
    if (check->step) snprintf(out, size, "step%d.", step);
    else *out = 0;
}

static bool check_gradient(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    step_check *check = context;
    char theirs[128], prefix[16];
    if (buffer || !fixture_name(check->c, check->model, name, theirs, sizeof theirs)) return true;
    prefix_of(check, check->step, prefix, sizeof prefix);
    if (!fixture_has(check->c, "%sgrad.param.%s", prefix, theirs)) {
        ck_assert_msg(ct_grad(tensor) == NULL, "%s has a gradient, expected none", theirs);
        return true;
    }
    fixture_check(check->c, ct_grad(tensor), "%sgrad.param.%s", prefix, theirs);
    check->visited++;
    return true;
}

/* Adam divides by |g|: in f32 an element whose clipped gradient was ever below 1e-5 can be off by
 * the learning rate a step, and only that is asked of it. */
static bool update_is_noise(const step_check *check, const char *theirs, int64_t element) {
    for (int step = check->step ? 1 : 0; step <= check->step; step++) {
        char prefix[16];
        prefix_of(check, step, prefix, sizeof prefix);
        ct_tensor *gradient = fixture_get(check->c, "%sgrad.param.%s", prefix, theirs);
        if (fabs(ct_get(gradient, element)) * check->clips[step] <= 1e-5) return true;
    }
    return false;
}

static void check_parameter_f32(const step_check *check, const char *theirs, const ct_tensor *got,
                                const ct_tensor *expected, const ct_tensor *start) {
    double lr = atof(fixture_text(check->c, "lr"));
    int steps = check->step ? check->step : 1;
    for (int64_t i = 0; i < ct_count(got); i++) {
        double value = ct_get(got, i);
        if (update_is_noise(check, theirs, i))
            ck_assert_double_le(fabs(value - ct_get(start, i)), 1.01 * lr * steps + 1e-7);
        else
            ck_assert_msg(fabs(value - ct_get(expected, i)) <= 1e-6,
                          "%s element %lld is %.9g, expected %.9g", theirs, (long long)i, value,
                          ct_get(expected, i));
    }
}

static void check_parameter(const step_check *check, const char *theirs, const char *prefix,
                            const ct_tensor *got) {
    bool listed = fixture_has(check->c, "%sparam_after.%s", prefix, theirs);
    CT_SCOPE {
        ct_tensor *start = fixture_get(check->c, "param.%s", theirs);
        ct_tensor *expected =
            listed ? fixture_get(check->c, "%sparam_after.%s", prefix, theirs) : start;
        ct_tensor *same = ct_tensor_reshape(got, expected->shape);
        if (!listed) {
            assert_close(same, expected, 0, 0, theirs);
        } else if (check->c->dtype == CT_F32) {
            check_parameter_f32(check, theirs, same, expected, start);
        } else {
            double factor = strstr(theirs, ".W.0.bias") ? 10 : 1;
            assert_close(same, expected, factor * 1e-9, factor * 1e-12, theirs);
        }
    }
}

static bool check_after(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    step_check *check = context;
    char theirs[128], prefix[16];
    if (!fixture_name(check->c, check->model, name, theirs, sizeof theirs)) return true;
    prefix_of(check, check->step, prefix, sizeof prefix);
    check->visited++;
    if (!buffer) {
        check_parameter(check, theirs, prefix, tensor);
    } else if (check->c->dtype == CT_F32 && check->step > 1 && strstr(theirs, "W.1.running_mean")) {
        /* it averages the bias before the batch norm, whose updates are noise */
        assert_close(tensor, fixture_get(check->c, "%sbuffer_after.%s", prefix, theirs), 0, 1e-4,
                     theirs);
    } else {
        fixture_check(check->c, tensor, "%sbuffer_after.%s", prefix, theirs);
    }
    return true;
}

static bool check_eval_buffer(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    step_check *check = context;
    char theirs[128];
    if (buffer && fixture_name(check->c, check->model, name, theirs, sizeof theirs))
        fixture_check(check->c, tensor, "eval.buffer_after.%s", theirs);
    return true;
}

static ct_optimizer *adam_of(const fixture_case *c, ct_model *model) {
    ct_adam_options options = ct_adam_defaults();
    options.lr = atof(fixture_text(c, "lr"));
    ct_optimizer *adam = ct_adam_create(ct_model_module(model), &options);
    ct_optimizer_clip_norm(adam, 2.0);
    ck_assert(ct_model_group_parameters(model, adam));
    return adam;
}

/* After backward: gradients, norm, update, buffers. */
static void finish_step(step_check *check, ct_optimizer *adam, int gradients, int state) {
    ct_module *module = ct_model_module((ct_model *)check->model);
    char prefix[16];
    prefix_of(check, check->step, prefix, sizeof prefix);
    check->visited = 0;
    ct_module_visit(module, check_gradient, check);
    ck_assert_int_eq(check->visited, gradients);
    ck_assert(ct_optimizer_step(adam));
    double norm = ct_optimizer_grad_norm(adam);
    fixture_check(check->c, ct_scalar(CT_F64, CT_CPU, norm), "%sout.total_grad_norm", prefix);
    check->clips[check->step] = fmin(1, 2.0 / (norm + 1e-6));
    check->visited = 0;
    ct_module_visit(module, check_after, check);
    ck_assert_int_eq(check->visited, state);
    assert_no_error();
}

/* ---- the policy model ----------------------------------------------------------------------- */

static ct_batch dcpg_batch(const fixture_case *c) {
    return (ct_batch){.images = fixture_get(c, "in.images"),
                      .vectors = fixture_get(c, "in.language"),
                      .lengths = fixture_get(c, "in.lengths"),
                      .classes = fixture_get(c, "in.idx"),
                      .targets = fixture_get(c, "in.caption_labels"),
                      .target_mask = ct_tensor_cast(fixture_get(c, "in.caption_masks"), c->dtype)};
}

enum { DCPG_STATE = 99 + 18, DCPG_GRADIENTS = 98 };

static void dcpg_evaluation(const fixture_case *c, ct_model *model) {
    fixture_load(c, model, DCPG_STATE);
    ct_module_train(ct_model_module(model), false);
    CT_SCOPE {
        ct_batch batch = dcpg_batch(c);
        ct_tensor *captions = ct_model_embed_captions(model, &batch, NULL);
        ct_tensor *images = ct_model_embed_images(model, batch.images, NULL);
        fixture_check(c, ct_model_ranked(model, captions), "eval.out.cap_emb");
        fixture_check(c, ct_model_ranked(model, images), "eval.out.img_emb");
        step_check check = {.c = c, .model = model};
        ct_module_visit(ct_model_module(model), check_eval_buffer, &check);
        assert_no_error();
    }
    ct_module_train(ct_model_module(model), true);
}

static void dcpg_step(const char *name, ct_dtype dtype, const char *compat) {
    fixture_case c = fixture_open(name, dtype, "");
    ct_model *model = dcpg_model(&c, compat);
    dcpg_evaluation(&c, model);
    fixture_load(&c, model, DCPG_STATE);
    ct_optimizer *adam = adam_of(&c, model);
    CT_SCOPE {
        ct_rng rng = fixture_rng(&c);
        ct_batch batch = dcpg_batch(&c);
        ct_losses losses = ct_model_losses(model, &batch, 0, &rng);
        assert_no_error();
        fixture_check(&c, losses.image_embeddings, "out.img_emb");
        fixture_check(&c, losses.caption_embeddings, "out.cap_emb");
        fixture_check(&c, losses.advantage, "out.advantage");
        static const char *const recorded[CT_LOSS_COUNT] = {
            [CT_LOSS_TOTAL] = "total",
            [CT_LOSS_RETRIEVAL] = "retrieval",
            [CT_LOSS_DISCRETE_IMAGE] = "img_rl1",
            [CT_LOSS_DISCRETE_TEXT] = "text_rl1",
            [CT_LOSS_CONTINUOUS_IMAGE] = "img_rl2",
            [CT_LOSS_CONTINUOUS_TEXT] = "text_rl2",
            [CT_LOSS_INSTANCE_IMAGE] = "t_id",
            [CT_LOSS_INSTANCE_TEXT] = "i_id",
            [CT_LOSS_DECODER] = "text_decoder",
        };
        for (int i = 0; i < CT_LOSS_COUNT; i++)
            fixture_check(&c, losses.term[i], "loss.%s", recorded[i]);
        ct_backward(losses.term[CT_LOSS_TOTAL]);
        step_check check = {.c = &c, .model = model};
        finish_step(&check, adam, DCPG_GRADIENTS, DCPG_STATE);
    }
    ct_optimizer_destroy(adam);
    ct_model_destroy(model);
    golden_close(&c.g);
}

static const char preset[] = "preset = released\n";

START_TEST(policy_step) {
    dcpg_step("dcpg_step_f30k", CT_F64, preset);
    dcpg_step("dcpg_step_coco", CT_F64, preset);
}
END_TEST

START_TEST(policy_step_f32) {
    dcpg_step("dcpg_step_f30k", CT_F32, preset);
    dcpg_step("dcpg_step_coco", CT_F32, preset);
}
END_TEST

/* What the preset switches of a training step, one by one. */
START_TEST(policy_step_by_single_keys) {
    dcpg_step("dcpg_step_f30k", CT_F64,
              "l2norm = regions\ncontinuous_sample = second\nimage_continuous_heads = last\n"
              "text_policy_steps = padded\ndecoder_parameters = fixed\n"
              "image_batchnorm_eval = batch\ndecoder_targets = words_and_pad\n"
              "intra_modal_hardest = column\nreward_measure = cosine\nclasses = released\n"
              "order_gradient = nan\n");
}
END_TEST

/* ---- VSRN ----------------------------------------------------------------------------------- */

static ct_batch vsrn_batch(const fixture_case *c, int step) {
    return (ct_batch){.images = fixture_get(c, "step%d.in.images", step),
                      .words = fixture_get(c, "step%d.in.captions", step),
                      .lengths = fixture_get(c, "step%d.in.lengths", step)};
}

/* 5e-3 in f32 after three updates, of which the ones before batch norms are noise */
static void vsrn_evaluation(const fixture_case *c, ct_model *model, int step, const char *what) {
    ct_module_train(ct_model_module(model), false);
    CT_SCOPE {
        ct_batch batch = vsrn_batch(c, step);
        ct_tensor *captions = ct_model_ranked(model, ct_model_embed_captions(model, &batch, NULL));
        ct_tensor *images =
            ct_model_ranked(model, ct_model_embed_images(model, batch.images, NULL));
        if (c->dtype == CT_F32 && !strcmp(what, "eval_after")) {
            assert_close(images, fixture_get(c, "%s.out.img_emb", what), 0, 5e-3, what);
            assert_close(captions, fixture_get(c, "%s.out.cap_emb", what), 0, 5e-3, what);
        } else {
            fixture_check(c, images, "%s.out.img_emb", what);
            fixture_check(c, captions, "%s.out.cap_emb", what);
        }
    }
    ct_module_train(ct_model_module(model), true);
}

static void vsrn_variant(const fixture_case *c, bool norm, bool absolute, int state,
                         const char *what) {
    ct_model *model = vsrn_model(c, norm, absolute);
    fixture_load(c, model, state);
    vsrn_evaluation(c, model, 1, what);
    ct_model_destroy(model);
}

static void vsrn_steps(const char *name, ct_dtype dtype, int parameters, int buffers) {
    fixture_case c = fixture_open(name, dtype, "");
    vsrn_variant(&c, true, true, parameters + buffers, "eval_use_abs");
    vsrn_variant(&c, false, false, parameters + buffers, "eval_no_imgnorm");
    ct_model *model = vsrn_model(&c, true, false);
    fixture_load(&c, model, parameters + buffers);
    vsrn_evaluation(&c, model, 1, "eval");
    ct_optimizer *adam = adam_of(&c, model);
    step_check check = {.c = &c, .model = model};
    for (check.step = 1; check.step <= MOST_STEPS; check.step++) CT_SCOPE {
            ct_batch batch = vsrn_batch(&c, check.step);
            ct_losses losses = ct_model_losses(model, &batch, 0, NULL);
            assert_no_error();
            fixture_check(&c, losses.image_embeddings, "step%d.out.img_emb", check.step);
            fixture_check(&c, losses.caption_embeddings, "step%d.out.cap_emb", check.step);
            fixture_check(&c, losses.term[CT_LOSS_TOTAL], "step%d.out.loss", check.step);
            ct_backward(losses.term[CT_LOSS_TOTAL]);
            finish_step(&check, adam, parameters, parameters + buffers);
        }
    vsrn_evaluation(&c, model, 3, "eval_after");
    ct_optimizer_destroy(adam);
    ct_model_destroy(model);
    golden_close(&c.g);
}

START_TEST(vsrn) {
    vsrn_steps("vsrn_step_f30k", CT_F64, 53, 15);
    vsrn_steps("vsrn_step_coco", CT_F64, 51, 12);
}
END_TEST

START_TEST(vsrn_f32) {
    vsrn_steps("vsrn_step_f30k", CT_F32, 53, 15);
    vsrn_steps("vsrn_step_coco", CT_F32, 51, 12);
}
END_TEST

TEST_MAIN("model_steps", policy_step, policy_step_f32, policy_step_by_single_keys, vsrn, vsrn_f32)
