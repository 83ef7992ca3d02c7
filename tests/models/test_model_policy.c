/* SPDX-License-Identifier: Apache-2.0 */
/* Encoders with policy, reward and decoder against values recorded from the published code. */
#include "tests/models/model_fixture.h"

/* (B,H,S) recorded to (B,S,H) */
static ct_tensor *heads_last(ct_tensor *x) { return ct_tensor_copy(ct_tensor_transpose(x, 1, 2)); }

/* An array that the published code holds as (B,S,H) and calls (B,H,S). */
static ct_tensor *reinterpreted(ct_tensor *x) {
    return ct_tensor_reshape(x, CT_SHAPE(ct_dim(x, 0), ct_dim(x, 2), ct_dim(x, 1)));
}

static ct_tensor *steps_first(ct_tensor *x) { return ct_tensor_transpose(x, 0, 1); }

static ct_tensor *weighted(ct_tensor *x, ct_tensor *cotangent) {
    return ct_sum_all(ct_mul(x, cotangent));
}

typedef struct {
    const fixture_case *c;
    const ct_model *model;
    int gradients;
} gradient_check;

static bool check_gradient(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    gradient_check *check = context;
    char theirs[128];
    if (!fixture_name(check->c, check->model, name, theirs, sizeof theirs)) return true;
    if (buffer) {
        fixture_check(check->c, tensor, "buffer_after.%s", theirs);
    } else if (fixture_has(check->c, "grad.param.%s", theirs)) {
        fixture_check(check->c, ct_grad(tensor), "grad.param.%s", theirs);
        check->gradients++;
    } else {
        ck_assert_msg(ct_grad(tensor) == NULL, "%s has a gradient, expected none", theirs);
    }
    return true;
}

static bool check_buffer(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    gradient_check *check = context;
    char theirs[128];
    if (buffer && fixture_name(check->c, check->model, name, theirs, sizeof theirs))
        fixture_check(check->c, tensor, "eval.buffer_after.%s", theirs);
    return true;
}

/* What the policy left, against mid.* and out.* */
static void check_policy(const fixture_case *c, const ct_policy_output *policy, bool image) {
    double relative = c->dtype == CT_F64 ? 1e-9 : 1e-4;
    double absolute = c->dtype == CT_F64 ? 1e-12 : 1e-5;
    assert_close(policy->log_discrete, reinterpreted(fixture_get(c, "out.sampled_log")), relative,
                 absolute, "log_discrete");
    assert_close(policy->log_continuous, heads_last(fixture_get(c, "out.logprob")), relative,
                 absolute, "log_continuous");
    assert_close(policy->weight, steps_first(fixture_get(c, "mid.attention")), relative, absolute,
                 "weight");
    ct_tensor *actions = fixture_get(c, "out.actions");
    actions = image ? reinterpreted(actions) : heads_last(actions);
    ct_tensor *mu =
        ct_tensor_scale(ct_tensor_cast(policy->index, c->dtype), 1.0 / (double)fixture_int(c, "A"));
    assert_close(mu, actions, 0, 1e-7, "actions");
}

static ct_tensor *policy_objective(const fixture_case *c, ct_tensor *features,
                                   const ct_policy_output *policy) {
    ct_tensor *discrete = reinterpreted(fixture_get(c, "in.cotangent.sampled_log"));
    ct_tensor *continuous = heads_last(fixture_get(c, "in.cotangent.logprob"));
    ct_tensor *sum = weighted(features, fixture_get(c, "in.cotangent.features"));
    sum = ct_add(sum, weighted(policy->log_discrete, discrete));
    return ct_add(sum, weighted(policy->log_continuous, continuous));
}

/* ---- image ---------------------------------------------------------------------------------- */

static void policy_image(const char *name, ct_dtype dtype, bool first_norm) {
    fixture_case c = fixture_open(name, dtype, "img_enc.");
    char text[1024];
    int64_t width = fixture_int(&c, "D");
    snprintf(text, sizeof text,
             "[image]\nfc = linear width=%lld\nnorm = l2norm\ngcn = gcn x 4\nnorm2 = l2norm\n"
             "attend = policy_attention heads=2 actions=%lld\npool = mean + gru\n"
             "bn = batchnorm momentum=0.01\n"
             "[text]\nembed = words width=4\npool = gru\n"
             "[loss]\nretrieval = hinge\ndiscrete_policy = 1\ncontinuous_policy = 1\n"
             "[compat]\npreset = released\nfirst_l2norm = %s\n",
             (long long)width, (long long)fixture_int(&c, "A"), first_norm ? "keep" : "skip");
    ct_model *model = fixture_model(text, (ct_model_sizes){.regions = fixture_int(&c, "N"),
                                                           .features = fixture_int(&c, "F"),
                                                           .vocabulary = 5,
                                                           .images = 1});
    assert_no_error();
    fixture_load(&c, model, 56 + 15);
    CT_SCOPE {
        ct_rng rng = fixture_rng(&c);
        ct_graph_state state = {.rng = &rng, .training = true};
        ct_tensor *images = ct_require_grad(fixture_get(&c, "in.images"));
        ct_tensor *features = ct_model_run_images(model, images, &state);
        fixture_check(&c, features, "out.features");
        check_policy(&c, &state.policy, true);
        ct_tensor *loss = policy_objective(&c, features, &state.policy);
        fixture_check(&c, loss, "out.loss");
        ct_backward(loss);
        fixture_check(&c, ct_grad(images), "grad.in.images");
        gradient_check check = {&c, model, 0};
        ct_module_visit(ct_model_module(model), check_gradient, &check);
        ck_assert_int_eq(check.gradients, 56);
        assert_no_error();
    }
    fixture_load(&c, model, 56 + 15);
    ct_module_train(ct_model_module(model), false);
    CT_SCOPE {
        ct_graph_state state = {.training = false};
        fixture_check(&c, ct_model_run_images(model, fixture_get(&c, "in.images"), &state),
                      "eval.out.features");
        ct_tensor *mu = ct_tensor_scale(ct_tensor_cast(state.policy.index, dtype),
                                        1.0 / (double)fixture_int(&c, "A"));
        assert_close(mu, reinterpreted(fixture_get(&c, "eval.out.actions")), 0, 1e-7, "actions");
        gradient_check check = {&c, model, 0};
        ct_module_visit(ct_model_module(model), check_buffer, &check);
        assert_no_error();
    }
    ct_model_destroy(model);
    golden_close(&c.g);
}

START_TEST(image_with_policy) {
    policy_image("policy_image_f30k", CT_F64, false);
    policy_image("policy_image_coco", CT_F64, true);
}
END_TEST

START_TEST(image_with_policy_f32) {
    policy_image("policy_image_f30k", CT_F32, false);
    policy_image("policy_image_coco", CT_F32, true);
}
END_TEST

/* ---- text ----------------------------------------------------------------------------------- */

static void policy_text(ct_dtype dtype) {
    fixture_case c = fixture_open("policy_text", dtype, "txt_enc.");
    char text[1024];
    snprintf(text, sizeof text,
             "[image]\npool = mean\nfc = linear width=%lld\n"
             "[text]\nembed = words width=%lld\nattend = policy_attention actions=%lld\n"
             "pool = gru\nbn = batchnorm momentum=0.01\n"
             "[loss]\nretrieval = hinge\ndiscrete_policy = 1\ncontinuous_policy = 1\n"
             "[compat]\npreset = released\n",
             (long long)fixture_int(&c, "D"), (long long)fixture_int(&c, "E"),
             (long long)fixture_int(&c, "A"));
    ct_model *model = fixture_model(
        text, (ct_model_sizes){
                  .regions = 1, .features = 3, .vocabulary = fixture_int(&c, "V"), .images = 1});
    assert_no_error();
    fixture_load(&c, model, 15 + 3);
    CT_SCOPE {
        ct_rng rng = fixture_rng(&c);
        ct_graph_state state = {.rng = &rng, .training = true};
        ct_batch batch = {.vectors = fixture_get(&c, "in.language"),
                          .lengths = fixture_get(&c, "in.lengths")};
        ct_tensor *features = ct_model_run_captions(model, &batch, &state);
        fixture_check(&c, features, "out.features");
        check_policy(&c, &state.policy, false);
        ct_tensor *loss = policy_objective(&c, features, &state.policy);
        fixture_check(&c, loss, "out.loss");
        ct_backward(loss);
        gradient_check check = {&c, model, 0};
        ct_module_visit(ct_model_module(model), check_gradient, &check);
        ck_assert_int_eq(check.gradients, 14);
        assert_no_error();
    }
    fixture_load(&c, model, 15 + 3);
    ct_module_train(ct_model_module(model), false);
    CT_SCOPE {
        ct_graph_state state = {.training = false};
        ct_batch batch = {.vectors = fixture_get(&c, "in.language"),
                          .lengths = fixture_get(&c, "in.lengths")};
        fixture_check(&c, ct_model_run_captions(model, &batch, &state), "eval.out.features");
        gradient_check check = {&c, model, 0};
        ct_module_visit(ct_model_module(model), check_buffer, &check);
        assert_no_error();
    }
    ct_model_destroy(model);
    golden_close(&c.g);
}

START_TEST(text_with_policy) {
    policy_text(CT_F64);
    policy_text(CT_F32);
}
END_TEST

/* ---- reward --------------------------------------------------------------------------------- */

static void reward(ct_dtype dtype, int batch) {
    fixture_case c = fixture_open("reward", dtype, "");
    CT_SCOPE {
        ct_tensor *similarity =
            ct_tensor_matmul(fixture_get(&c, "b%d.in.im", batch),
                             ct_tensor_transpose(fixture_get(&c, "b%d.in.s", batch), 0, 1));
        ct_tensor *reward = ct_retrieval_reward(similarity);
        fixture_check(&c, reward, "b%d.out.reward", batch);
        fixture_check(&c, ct_reward_advantage(reward, false, 0.5), "b%d.out.advantage", batch);
    }
    golden_close(&c.g);
}

START_TEST(reward_and_advantage) {
    reward(CT_F64, 7);
    reward(CT_F64, 12);
    reward(CT_F32, 7);
    reward(CT_F32, 12);
}
END_TEST

/* ---- decoder -------------------------------------------------------------------------------- */

typedef struct {
    const fixture_case *c;
    bool load;
    int count;
} decoder_visit;

static bool visit_decoder(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    decoder_visit *visit = context;
    ct_model nameless = {0};
    char ours[64], theirs[128];
    (void)buffer;
    snprintf(ours, sizeof ours, "decoder.%s", name);
    ck_assert(ct_released_name(&nameless, ours, theirs, sizeof theirs));
    const char *published = theirs + strlen("caption_model.");
    visit->count++;
    if (visit->load)
        return ct_tensor_copy_to(
            tensor, ct_tensor_reshape(fixture_get(visit->c, "param.%s", published), tensor->shape));
    fixture_check(visit->c, ct_grad(tensor), "grad.param.%s", published);
    return true;
}

/* The masks are of so many first tokens each: as lengths, by which the decoder packs captions. */
static ct_tensor *lengths_of_masks(const ct_tensor *mask) {
    ct_tensor *lengths = ct_tensor_cast(ct_tensor_reduce(CT_SUM, mask, 2u, false), CT_I64);
    return ct_tensor_to_device(lengths, CT_CPU);
}

static void decoder(ct_dtype dtype, bool packed) {
    fixture_case c = fixture_open("convcap", dtype, "");
    ct_loss_config config = {.convcap = {.width = fixture_int(&c, "nfeats"),
                                         .hidden = 3,
                                         .layers = 3,
                                         .kernel = 5,
                                         .tokens = fixture_int(&c, "max_tokens")}};
    ct_module *module = ct_decoder_create(&config, fixture_int(&c, "E"), fixture_int(&c, "D"),
                                          fixture_int(&c, "V"));
    ct_module_to_dtype(module, dtype);
    ct_module_to_device(module, test_device());
    decoder_visit visit = {&c, true, 0};
    CT_SCOPE {
        ct_module_visit(module, visit_decoder, &visit);
        ck_assert_int_eq(visit.count, 24);
        ct_rng rng = ct_rng_create(1, 0);
        ct_tensor *vectors = ct_require_grad(fixture_get(&c, "in.language"));
        ct_tensor *embedding = ct_require_grad(fixture_get(&c, "in.text_embedding"));
        ct_tensor *mask = ct_tensor_cast(fixture_get(&c, "in.caption_masks"), dtype);
        ct_batch batch = {.targets = fixture_get(&c, "in.caption_labels"),
                          .target_mask = packed ? NULL : mask,
                          .lengths = packed ? lengths_of_masks(mask) : NULL};
        ct_compat compat = {0};
        ct_tensor *cut = ct_slice(vectors, 1, 0, fixture_int(&c, "max_tokens"), 1);
        CT_NO_GRAD {
            ct_tensor *states = ct_decoder_states(module, &config, cut, embedding, &rng);
            ct_tensor *logits = ct_linear(ct_module_child(module, "output"), states);
            fixture_check(&c, ct_tensor_copy(ct_tensor_transpose(logits, 1, 2)), "out.logits");
        }
        ct_tensor *loss =
            ct_decoder_loss(module, &config, &compat, &batch, vectors, embedding, &rng);
        fixture_check(&c, loss, "out.loss");
        ct_backward(loss);
        visit.load = false;
        ct_module_visit(module, visit_decoder, &visit);
        fixture_check(&c, ct_grad(vectors), "grad.in.language");
        fixture_check(&c, ct_grad(embedding), "grad.in.text_embedding");
        assert_no_error();
    }
    ct_module_destroy(module);
    golden_close(&c.g);
}

START_TEST(convolutional_decoder) {
    for (int packed = 0; packed < 2; packed++) {
        decoder(CT_F64, packed);
        decoder(CT_F32, packed);
    }
}
END_TEST

TEST_MAIN("model_policy", image_with_policy, image_with_policy_f32, text_with_policy,
          reward_and_advantage, convolutional_decoder)
