/* SPDX-License-Identifier: Apache-2.0 */
/* Training steps whose captions' lengths are on the device, where nothing may be read: losses,
 * gradients and running statistics are those of the CPU, which leaves padded steps out; captured,
 * such a step is run again with other captions. */
#include "tests/models/model_small.h"

/* ---- models of every kind that looks at lengths --------------------------------------------- */

#define POOLED "[image]\nfc = linear width=8\npool = mean\n" /* as wide as the captions below */
#define TEXT_POOL(pool) "[text]\nembed = words width=6\npool = " pool "\n"
#define RELEASED(switches) FULL "[compat]\n" switches

static const char *const models_of_lengths[] = {
    POOLED TEXT_POOL("gru layers=2") LOSS,
    POOLED TEXT_POOL("lstm layers=2") LOSS,
    POOLED TEXT_POOL("bigru layers=2") LOSS,
    POOLED TEXT_POOL("bigru layers=2 merge=concat") LOSS,
    POOLED "[text]\nembed = words width=8\npool = mean\n" LOSS,
    POOLED "[text]\nembed = words width=8\npool = max\n" LOSS,
    POOLED "[text]\nembed = words width=6\nself = attention heads=2\npool = gru\n" LOSS,
    POOLED "[text]\nembed = words width=6\nself = attention heads=2 causal=yes residual=no\n"
           "pool = bigru\n" LOSS,
    POOLED "[text]\nembed = words width=6\nconv = conv1d kernel=3\npool = gru\n" LOSS,
    POOLED "[text]\nembed = words width=6\nbn = batchnorm\npool = gru\n" LOSS,
    IMAGE(POLICY) WIDE(POLICY) LOSS BOTH,
    POOLED "[text]\nembed = words width=6\nattend = policy_attention discrete=none\npool = gru\n"
           "[loss]\nretrieval = hinge\ncontinuous_policy = 1\n",
    POOLED "[text]\nembed = words width=6\nattend = policy_attention actions=5 continuous=no "
           "discrete=categorical\npool = gru\n[loss]\nretrieval = hinge\ndiscrete_policy = 1\n",
    FULL,
    RELEASED("text_policy_steps = padded\n"),
    RELEASED("decoder_targets = words_and_pad\n"),
    RELEASED("continuous_sample = second\n"),
    RELEASED("preset = released\n"),
};
enum { MODELS = sizeof models_of_lengths / sizeof *models_of_lengths };

/* ---- batches -------------------------------------------------------------------------------- */

typedef enum { UNEVEN, ALL_LONGEST, ONE_OF_ONE, LENGTHS } lengths_kind;
static const int64_t lengths_kinds[LENGTHS][B] = {
    {7, 3, 5, 2, 6}, {7, 7, 7, 7, 7}, {4, 1, 6, 2, 6} /* all shorter than T */};

/* Word vectors given directly are noise beyond the lengths, too. */
static ct_batch batch_with(lengths_kind kind, bool vectors) {
    const int64_t *length = lengths_kinds[kind];
    ct_rng rng = ct_rng_create(8, 0);
    ct_batch batch = batch_of(CT_F64, 0);
    int64_t words[B * T] = {0};
    for (int64_t i = 0; i < B * T; i++) {
        if (i % T < length[i / T]) words[i] = 1 + (int64_t)ct_random_below(&rng, V - 1);
    }
    batch.words = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B, T), words);
    batch.lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), length);
    if (vectors)
        batch.vectors = ct_random_normal(&rng, "vectors", CT_F64, CT_CPU, CT_SHAPE(B, T, 6));
    return batch;
}

/* Targets that are not the words, fewer than these, and a mask with gaps. */
static void set_targets(ct_batch *batch, bool mask) {
    enum { M = 5 };
    int64_t targets[B * M];
    double counts[B * M];
    for (int64_t i = 0; i < B * M; i++) {
        targets[i] = i * 5 % V;
        counts[i] = i % 3 != 1;
    }
    batch->targets = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B, M), targets);
    if (mask) batch->target_mask = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(B, M), counts);
}

static ct_batch to_cuda(const ct_batch *batch) {
    ct_batch moved = *batch;
    ct_tensor **tensors[] = {&moved.images,  &moved.words,   &moved.vectors,    &moved.lengths,
                             &moved.classes, &moved.targets, &moved.target_mask};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (*tensors[i]) *tensors[i] = ct_tensor_to_device(*tensors[i], CT_CUDA);
    assert_no_error();
    return moved;
}

/* ---- a step on both ------------------------------------------------------------------------- */

static ct_losses step_of(ct_model *model, const ct_batch *batch) {
    ct_rng rng = placed_rng();
    ct_losses losses = ct_model_losses(model, batch, 0, &rng);
    ck_assert_msg(ct_backward(losses.term[CT_LOSS_TOTAL]), "%s", ct_error());
    return losses;
}

static void assert_same_losses(const ct_losses *got, const ct_losses *expected) {
    for (int i = 0; i < CT_LOSS_COUNT; i++) {
        ck_assert_int_eq(got->term[i] != NULL, expected->term[i] != NULL);
        if (expected->term[i])
            assert_close(got->term[i], expected->term[i], 1e-10, 0, ct_loss_name(i));
    }
    assert_close(got->caption_embeddings, expected->caption_embeddings, 1e-10, 0, "captions");
}

typedef struct {
    ct_module *expected;
    int gradients;
} comparison;

/* A parameter's gradient or a buffer. The gradient of a bias before a batch norm is 0: both sides
 * hold rounding noise. */
static bool compare(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    comparison *c = context;
    ct_tensor *other = ct_module_tensor(c->expected, name);
    if (buffer) {
        assert_close(tensor, other, 1e-10, 0, name);
    } else if (ct_grad(other)) {
        double noise = strstr(name, ".W.0.bias") ? 1e-11 : 1e-12;
        assert_close(ct_grad(tensor), ct_grad(other), 1e-10, noise, name);
        c->gradients++;
    } else {
        ck_assert_msg(!ct_grad(tensor), "%s has a gradient", name);
    }
    return true;
}

static void assert_same_step(const char *text, const ct_batch *batch) {
    ct_model *cpu = model_of(text, CT_F64), *cuda = model_of(text, CT_F64);
    ck_assert(ct_module_to_device(ct_model_module(cuda), CT_CUDA));
    ct_batch moved = to_cuda(batch);
    ct_losses expected = step_of(cpu, batch), got = step_of(cuda, &moved);
    assert_same_losses(&got, &expected);
    comparison c = {ct_model_module(cpu), 0};
    ct_module_visit(ct_model_module(cuda), compare, &c);
    ck_assert_int_gt(c.gradients, 5);
    assert_no_error();
    ct_model_destroy(cpu);
    ct_model_destroy(cuda);
}

START_TEST(every_kind_of_lengths) {
    for (int kind = 0; kind < LENGTHS; kind++) CT_SCOPE {
            ct_batch batch = batch_with(kind, false);
            assert_same_step(models_of_lengths[_i], &batch);
        }
}
END_TEST

START_TEST(vectors_in_place_of_words) {
    CT_SCOPE {
        ct_batch batch = batch_with(ONE_OF_ONE, true);
        assert_same_step(FULL, &batch);
        assert_same_step(IMAGE(POLICY) WIDE(POLICY) LOSS BOTH, &batch);
    }
}
END_TEST

START_TEST(targets_that_are_not_the_words) {
    for (int mask = 0; mask < 2; mask++) CT_SCOPE {
            ct_batch batch = batch_with(UNEVEN, false);
            set_targets(&batch, mask);
            assert_same_step(FULL, &batch);
            assert_same_step(RELEASED("decoder_targets = words_and_pad\n"), &batch);
        }
}
END_TEST

/* Read there; where a caption has no token to predict, the decoder's loss is of padded captions. */
START_TEST(lengths_on_the_host) {
    for (int kind = 0; kind < LENGTHS; kind++) CT_SCOPE {
            ct_model *cpu = model_of(FULL, CT_F64), *cuda = model_of(FULL, CT_F64);
            ck_assert(ct_module_to_device(ct_model_module(cuda), CT_CUDA));
            ct_batch batch = batch_with(kind, false), moved = to_cuda(&batch);
            moved.lengths = batch.lengths;
            ct_losses expected = step_of(cpu, &batch), got = step_of(cuda, &moved);
            assert_same_losses(&got, &expected);
            ct_model_destroy(cpu);
            ct_model_destroy(cuda);
        }
}
END_TEST

/* ---- a step captured ------------------------------------------------------------------------ */

/* Where a step leaves its results: tensors that were there before it. */
enum { MOST_PARAMETERS = 128 };
typedef struct {
    ct_tensor *parameter[MOST_PARAMETERS], *gradient[MOST_PARAMETERS];
    int count;
    ct_tensor *term[CT_LOSS_COUNT], *captions;
} results;

static bool add_result(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)name;
    results *r = context;
    if (buffer) return true;
    ck_assert_int_lt(r->count, MOST_PARAMETERS);
    r->parameter[r->count] = tensor;
    r->gradient[r->count++] = ct_zeros(tensor->dtype, tensor->device, tensor->shape);
    return true;
}

static results results_of(ct_model *model) {
    results r = {.captions = ct_zeros(CT_F64, CT_CUDA, CT_SHAPE(B, ct_model_width(model)))};
    for (int i = 0; i < CT_LOSS_COUNT; i++) r.term[i] = ct_scalar(CT_F64, CT_CUDA, 0);
    ct_module_visit(ct_model_module(model), add_result, &r);
    assert_no_error();
    return r;
}

static void step_into(results *r, ct_model *model, const ct_batch *batch, ct_rng *rng) {
    CT_SCOPE {
        ct_losses losses = ct_model_losses(model, batch, 0, rng);
        ct_backward(losses.term[CT_LOSS_TOTAL]);
        for (int i = 0; i < CT_LOSS_COUNT; i++)
            if (losses.term[i]) ct_tensor_copy_to(r->term[i], losses.term[i]);
        ct_tensor_copy_to(r->captions, losses.caption_embeddings);
        for (int i = 0; i < r->count; i++) {
            if (ct_grad(r->parameter[i]))
                ct_tensor_copy_to(r->gradient[i], ct_grad(r->parameter[i]));
            ct_zero_grad(r->parameter[i]);
        }
    }
    assert_no_error();
}

static void assert_same_results(const results *got, const results *expected) {
    assert_close(got->captions, expected->captions, 0, 0, "captions");
    for (int i = 0; i < CT_LOSS_COUNT; i++)
        assert_close(got->term[i], expected->term[i], 0, 0, ct_loss_name(i));
    for (int i = 0; i < got->count; i++)
        assert_close(got->gradient[i], expected->gradient[i], 0, 0, "a gradient");
}

/* Captured with the captions of one kind of lengths, run with all kinds: the bits of the step done
 * at once. */
START_TEST(captured_steps) {
    ct_model *model = model_of(models_of_lengths[_i], CT_F64);
    ck_assert(ct_module_to_device(ct_model_module(model), CT_CUDA));
    CT_SCOPE {
        const ct_rng start = ct_rng_create(3, 0);
        results expected[LENGTHS], got = results_of(model);
        ct_batch batch[LENGTHS];
        for (int kind = 0; kind < LENGTHS; kind++) {
            ct_batch host = batch_with(kind, false);
            ct_rng rng = start;
            batch[kind] = to_cuda(&host);
            expected[kind] = results_of(model);
            step_into(&expected[kind], model, &batch[kind], &rng);
        }
        ct_batch input = to_cuda(&batch[UNEVEN]);
        ct_rng rng = start;
        ck_assert(ct_capture_begin(CT_CUDA, &rng));
        step_into(&got, model, &input, &rng);
        ct_capture *capture = ct_capture_end();
        ck_assert_msg(capture != NULL, "%s", ct_error());
        for (int k = 1; k <= LENGTHS; k++) {
            int kind = k % LENGTHS;
            rng = start;
            ct_tensor_copy_to(input.words, batch[kind].words);
            ct_tensor_copy_to(input.lengths, batch[kind].lengths);
            ck_assert_msg(ct_capture_run(capture, &rng), "%s", ct_error());
            assert_same_results(&got, &expected[kind]);
        }
        ck_assert_double_ne(ct_item(expected[0].term[0]), ct_item(expected[1].term[0]));
        ct_capture_destroy(capture);
        assert_no_error();
    }
    ct_model_destroy(model);
}
END_TEST

/* ---- what stands beyond a length ------------------------------------------------------------ */

/* NaN there enters no state, no last state and no gradient. */
START_TEST(nothing_is_taken_from_padding) {
    for (int k = 0; k < 4; k++) CT_SCOPE {
            bool lstm = k % 2, reverse = k / 2;
            int64_t gates = lstm ? 4 : 3;
            ct_rng rng = ct_rng_create(3, 0);
            ct_tensor *x = ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(B, T, 3));
            for (int64_t i = 0; i < B * T * 3; i++)
                if (i / 3 % T >= lengths_of[i / 3 / T]) ct_set(x, i, NAN);
            ct_tensor *w[2] = {
                ct_random_normal(&rng, "w", CT_F64, CT_CUDA, CT_SHAPE(gates * 4, 3)),
                ct_random_normal(&rng, "w", CT_F64, CT_CUDA, CT_SHAPE(gates * 4, 4))};
            ct_tensor *lengths = ct_from_data(CT_I64, CT_CUDA, CT_SHAPE(B), lengths_of);
            ct_tensor *h = NULL, *c = NULL, *y;
            x = ct_require_grad(ct_tensor_to_device(x, CT_CUDA));
            for (int i = 0; i < 2; i++) ct_require_grad(w[i]);
            y = lstm ? ct_lstm_with(x, NULL, NULL, w[0], w[1], NULL, NULL, lengths, reverse, &h, &c)
                     : ct_gru_with(x, NULL, w[0], w[1], NULL, NULL, lengths, reverse, &h);
            ct_tensor *all = ct_add(ct_sum_all(y), ct_sum_all(h));
            ck_assert(ct_backward(c ? ct_add(all, ct_sum_all(c)) : all));
            ct_tensor *finite[] = {y, h, c ? c : h, ct_grad(x), ct_grad(w[0]), ct_grad(w[1])};
            for (size_t i = 0; i < sizeof finite / sizeof *finite; i++)
                ck_assert_msg(!ct_tensor_has_nonfinite(finite[i]), "%d: tensor %zu", k, i);
            for (int64_t i = 0; i < B * T * 3; i++)
                if (i / 3 % T >= lengths_of[i / 3 / T]) ck_assert(ct_get(ct_grad(x), i) == 0);
            assert_no_error();
        }
}
END_TEST

START_TEST(padding_gets_no_gradient) {
    ct_model *model = model_of(IMAGE(POLICY) WIDE(POLICY) LOSS BOTH, CT_F64);
    ct_module *module = ct_model_module(model);
    CT_SCOPE {
        ct_batch batch = batch_with(UNEVEN, false);
        ck_assert(ct_module_to_device(module, CT_CUDA));
        batch = to_cuda(&batch);
        step_of(model, &batch);
        ct_tensor *gradient = ct_grad(ct_module_tensor(module, "text.embed.weight"));
        for (int64_t e = 0; e < 6; e++) ck_assert(ct_get(gradient, e) == 0);
        assert_no_error();
    }
    ct_model_destroy(model);
}
END_TEST

/* ---- what is refused ------------------------------------------------------------------------ */

START_TEST(bad_batches) {
    ct_model *model = model_of(FULL, CT_F64);
    CT_SCOPE {
        ck_assert(ct_module_to_device(ct_model_module(model), CT_CUDA));
        ct_batch host = batch_with(UNEVEN, false), batch = to_cuda(&host);
        batch.words = host.words;
        ck_assert_ptr_null(ct_model_embed_captions(model, &batch, NULL));
        assert_error("lengths are on cuda, words on cpu");
        batch = to_cuda(&host);
        batch.words = ct_tensor_slice(batch.words, 1, 0, 1, 1);
        ck_assert_ptr_null(ct_model_losses(model, &batch, 0, NULL).term[CT_LOSS_TOTAL]);
        assert_error("no caption has a token to predict");
    }
    ct_model_destroy(model);
}
END_TEST

LOOPED_TEST_MAIN("cuda lengths", {every_kind_of_lengths, MODELS}, {vectors_in_place_of_words, 1},
                 {targets_that_are_not_the_words, 1}, {lengths_on_the_host, 1},
                 {captured_steps, MODELS}, {nothing_is_taken_from_padding, 1},
                 {padding_gets_no_gradient, 1}, {bad_batches, 1})
