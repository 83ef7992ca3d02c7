/* SPDX-License-Identifier: Apache-2.0 */
/* Captions are computed packed, without padding, where nobody asks for what stands there: a step is
 * the same as of the padded batch. */
#include "models/register.h"
#include "tests/models/model_small.h"

/* ---- a step, packed or padded --------------------------------------------------------------- */

/* A loss, the gradients of all parameters and the running statistics. */
enum { MOST_RESULTS = 160 };
typedef struct {
    char name[MOST_RESULTS][64];
    ct_tensor *of[MOST_RESULTS];
    int count, gradients;
} results;

static void add_result(results *all, const char *name, const ct_tensor *x) {
    ck_assert_int_lt(all->count, MOST_RESULTS);
    snprintf(all->name[all->count], sizeof *all->name, "%s", name);
    all->of[all->count++] = x ? ct_tensor_copy(x) : NULL;
}

static bool take(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    results *all = context;
    add_result(all, name, buffer ? tensor : ct_grad(tensor));
    all->gradients += !buffer && ct_grad(tensor);
    return true;
}

/* A mask of targets that says what the lengths say: for its sake nothing is packed. */
static void mask_targets(ct_batch *batch) {
    int64_t steps = ct_dim(batch->words, 1);
    ct_tensor *mask = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(B, steps));
    for (int64_t i = 0; i < B * steps; i++) ct_set(mask, i, i % steps < lengths_of[i / steps]);
    batch->target_mask = mask;
}

/* Drawn from a generator, so that it shows whether draws are the same. */
static results step(const char *text, bool packed, bool training) {
    ct_model *model = model_of(text, CT_F64);
    ct_module_train(ct_model_module(model), training);
    results all = {0};
    ct_batch batch = batch_of(CT_F64, 2);
    if (!packed) mask_targets(&batch);
    ct_rng rng = ct_rng_create(4, 0), other = ct_rng_create(5, 0);
    ct_graph_state state = {.rng = &other, .training = training};
    ct_model_run_captions(model, &batch, &state);
    ck_assert_int_eq(state.packs, packed);
    ct_losses losses = ct_model_losses(model, &batch, 0, &rng);
    assert_no_error();
    for (int i = 0; i < CT_LOSS_COUNT; i++)
        if (losses.term[i]) add_result(&all, ct_loss_name(i), losses.term[i]);
    add_result(&all, "captions", losses.caption_embeddings);
    if (losses.caption_weights)
        add_result(
            &all, "weights",
            ct_tensor_mul(losses.caption_weights, ct_step_mask(&state, losses.caption_weights)));
    ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
    ct_module_visit(ct_model_module(model), take, &all);
    ct_model_destroy(model);
    return all;
}

/* To rounding of sums in another order. A bias before a batch norm has a gradient of 0 but for
 * rounding. */
static void same_step(const char *text, bool training) {
    CT_SCOPE {
        results packed = step(text, true, training), padded = step(text, false, training);
        ck_assert_int_eq(packed.count, padded.count);
        ck_assert_int_gt(packed.gradients, 5);
        for (int i = 0; i < packed.count; i++) {
            ck_assert_msg(!packed.of[i] == !padded.of[i], "%s", packed.name[i]);
            if (packed.of[i])
                assert_close(packed.of[i], padded.of[i], 1e-12, 1e-13, packed.name[i]);
        }
        assert_no_error();
    }
}

#define WORDS "[text]\nembed = words width=6\n"
#define CHAIN(modules) IMAGE("") WORDS modules LOSS
static const char *const texts[] = {
    FULL,
    IMAGE(POLICY) WIDE(POLICY) LOSS BOTH,
    CHAIN("fc = linear width=8\nact = gelu\nnorm = l2norm\npool = gru\n"),
    CHAIN("drop = dropout p=0.3\nbn1 = batchnorm\nln = layernorm\npool = lstm width=8 layers=2\n"),
    CHAIN("conv = conv1d width=8 kernel=3\nwide = conv1d width=8 kernel=5 dilation=2\n"
          "back = conv1d width=8 kernel=2 causal=yes\npool = bigru\n"),
    CHAIN("self = attention heads=2 dropout=0.2\nfc = linear width=8\n"
          "enc = transformer heads=2 dropout=0.2\npool = mean + max + gru\n"),
    CHAIN("at = positions\nself = attention heads=3 causal=yes residual=no\nfc = linear width=8\n"
          "enc = transformer heads=4 hidden=5 activation=gelu norm=first causal=yes x 2\n"
          "ln = layernorm\npool = mean + max\n"),
    CHAIN("at = positions steps=9\nenc = transformer heads=2 dropout=0.2 norm=first\n"
          "fc = linear width=8\npool = mean\n"),
    CHAIN("sum = linear width=6 + attention heads=2 + relu\nfc = linear width=8\npool = gru\n"),
    CHAIN("fc = linear width=8\npool = gru\nbehind = linear width=8\ndrop = dropout p=0.3\n"
          "bn1 = batchnorm\n"),
    IMAGE("") WORDS "attend = policy_attention actions=5 discrete=none\npool = gru width=8\n" LOSS
                    "continuous_policy = 1\n",
    IMAGE("") WORDS "attend = policy_attention actions=5 discrete=categorical\n"
                    "pool = gru width=8\n" LOSS BOTH "[compat]\ncontinuous_sample = second\n",
};
enum { TEXTS = sizeof texts / sizeof *texts };

START_TEST(training_is_the_same) { same_step(texts[_i], true); }
END_TEST

START_TEST(evaluation_is_the_same) { same_step(texts[_i], false); }
END_TEST

/* ---- when --------------------------------------------------------------------------------- */

static bool packs(const char *text, int64_t length) {
    ct_model *model = model_of(text, CT_F64);
    bool packed = false;
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F64, 0);
        if (length) {
            int64_t lengths[B];
            for (int b = 0; b < B; b++) lengths[b] = length;
            batch.lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), lengths);
        }
        ct_graph_state state = {.rng = ct_default_rng(), .training = true};
        ck_assert(ct_model_run_captions(model, &batch, &state));
        packed = state.packs;
    }
    ct_model_destroy(model);
    return packed;
}

#define PADDED "[compat]\ntext_policy_steps = padded\n"
START_TEST(only_where_padding_is_not_asked_for) {
    ck_assert(packs(FULL, 0));
    ck_assert(packs(FULL, T - 1));
    ck_assert(!packs(FULL, T));        /* there is none */
    ck_assert(!packs(FULL PADDED, 0)); /* the released policy runs over it */
    ck_assert(packs(CHAIN("pool = gru width=8\n") PADDED, 0)); /* no policy does */
}
END_TEST

/* ---- modules of one's own ---- */

static bool create_seeing(const ct_module_site *site, ct_module **module, int64_t *out) {
    (void)site, (void)module, (void)out;
    return true;
}

/* Is given steps, zero beyond the lengths. */
static ct_tensor *run_seeing(const ct_module_site *site, ct_module *module,
                             const ct_module_input *input) {
    (void)site, (void)module;
    ck_assert(ct_shape_equal(input->x->shape, CT_SHAPE(B, T + 2, 6)));
    for (int64_t i = 0; i < B * (T + 2); i++) {
        bool real = i % (T + 2) < lengths_of[i / (T + 2)];
        ck_assert_int_eq(ct_get(input->x, i * 6) != 0, real);
    }
    return ct_add_scalar(input->x, 1);
}

START_TEST(modules_of_ones_own_are_given_steps) {
    static const ct_module_kind seeing = {
        .name = "seeing", .create = create_seeing, .forward = run_seeing};
    ck_assert(ct_register_module(&seeing));
    ct_model *model = model_of(
        CHAIN("see = seeing\nfc = linear width=6\nagain = seeing\npool = gru width=8\n"), CT_F64);
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F64, 2);
        ct_graph_state state = {.rng = ct_default_rng(), .training = true};
        ct_model_run_captions(model, &batch, &state);
        ck_assert(state.packs);
        assert_no_error();
    }
    ct_model_destroy(model);
}
END_TEST

LOOPED_TEST_MAIN("model packing", {training_is_the_same, TEXTS}, {evaluation_is_the_same, TEXTS},
                 {only_where_padding_is_not_asked_for, 1}, {modules_of_ones_own_are_given_steps, 1})
