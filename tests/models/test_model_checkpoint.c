/* SPDX-License-Identifier: Apache-2.0 */
/* Modules that are run again in backward: the bits of a step without, in less memory. */
#include "tests/models/model_small.h"

/* Dropout in both chains and in the decoder, whose draws come in turn. */
#define DROPPING                                                                            \
    "[image]\nfc = linear width=8\ndrop = dropout p=0.3\n"                                  \
    "enc = transformer heads=2 dropout=0.2\ngcn = gcn x 2\n" POLICY                         \
    "pool = mean + gru\nbn = batchnorm\n[text]\nembed = words width=6\ndrop = dropout\n"    \
    "conv = conv1d kernel=3\natt = attention heads=2 dropout=0.2\nbnw = batchnorm\n" POLICY \
    "pool = bigru width=8\n[loss]\nretrieval = hinge\n"                                     \
    "decoder = convcap width=4 hidden=3 layers=2 kernel=3 dropout=0.2\n" BOTH

/* The gradients of all parameters and the running statistics, one after the other. */
typedef struct {
    double *value;
    size_t count;
} numbers;

static void append(numbers *all, const ct_tensor *x) {
    size_t count = (size_t)ct_count(x);
    all->value = realloc(all->value, (all->count + count) * sizeof *all->value);
    ck_assert(all->value && ct_read(ct_tensor_cast(x, CT_F64), all->value + all->count));
    all->count += count;
}

static bool collect(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)name;
    ct_tensor *x = buffer ? tensor : ct_grad(tensor);
    if (x) append(context, x);
    return true;
}

/* Two steps' worth: the second draws where the first has left the generator. */
static numbers step(const char *text, const char *const *names, int count, ct_dtype dtype) {
    numbers all = {0};
    CT_SCOPE {
        ct_model *model = model_of(text, dtype);
        for (int i = 0; i < count; i++) ck_assert(ct_model_checkpoint(model, names[i]));
        ct_batch batch = batch_of(dtype, 1);
        ct_rng rng = ct_rng_create(9, 0);
        for (int i = 0; i < 2; i++) {
            ct_losses losses = ct_model_losses(model, &batch, i, &rng);
            ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
            append(&all, losses.term[CT_LOSS_TOTAL]);
            append(&all, losses.image_weights);
            append(&all, losses.caption_weights);
        }
        ct_module_visit(ct_model_module(model), collect, &all);
        ct_model_destroy(model);
    }
    assert_no_error();
    return all;
}

static void same_bits(const char *text, const char *const *names, int count, ct_dtype dtype) {
    numbers plain = step(text, NULL, 0, dtype), again = step(text, names, count, dtype);
    ck_assert_uint_eq(plain.count, again.count);
    ck_assert_msg(!memcmp(plain.value, again.value, plain.count * sizeof *plain.value), "%s",
                  names[0]);
    free(plain.value);
    free(again.value);
}

START_TEST(bits_stay) {
    static const char *const all[] = {"fc",   "gcn",      "drop",    "attend", "pool", "bn",
                                      "conv", "text.bnw", "decoder", "enc",    "att"};
    enum { ALL = sizeof all / sizeof *all };
    for (int i = 0; i < ALL; i++) same_bits(DROPPING, &all[i], 1, CT_F32);
    same_bits(DROPPING, all, ALL, CT_F32);
    same_bits(DROPPING, all, ALL, CT_F64);
}
END_TEST

#define ENCODED(kind) IMAGE("enc = " kind " heads=2 dropout=0.3\n") TEXT("") LOSS

/* The loss of a step, which draws from the generator given alone. */
static double drawn_loss(ct_model *model) {
    ct_batch batch = batch_of(CT_F32, 0);
    ct_rng rng = ct_rng_create(9, 0), before = *ct_default_rng();
    ct_losses losses = ct_model_losses(model, &batch, 0, &rng);
    ck_assert_msg(ct_backward(losses.term[CT_LOSS_TOTAL]), "%s", ct_error());
    ck_assert_uint_gt(rng.offset, 0);
    ck_assert_uint_eq(ct_default_rng()->offset, before.offset);
    return ct_item(losses.term[CT_LOSS_TOTAL]);
}

START_TEST(draws_are_from_the_generator_given) {
    static const char *const text[] = {ENCODED("attention"), ENCODED("transformer")};
    CT_SCOPE {
        ct_model *model = model_of(text[_i / 2], CT_F32);
        if (_i % 2) ck_assert(ct_model_checkpoint(model, "enc"));
        double loss = drawn_loss(model);
        ck_assert_double_eq(drawn_loss(model), loss);
        ct_model_destroy(model);
    }
    assert_no_error();
}
END_TEST

/* What a step has left when backward begins. */
static int64_t kept(const char *name) {
    int64_t kept = 0;
    CT_SCOPE {
        ct_model *model = model_of(FULL, CT_F32);
        if (name) ck_assert(ct_model_checkpoint(model, name));
        ct_batch batch = batch_of(CT_F32, 0);
        ct_rng rng = ct_rng_create(9, 0);
        int64_t before = ct_memory_in_use(CT_CPU);
        ct_losses losses = ct_model_losses(model, &batch, 0, &rng);
        kept = ct_memory_in_use(CT_CPU) - before;
        ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
        ct_model_destroy(model);
    }
    assert_no_error();
    return kept;
}

START_TEST(less_is_kept) {
    int64_t all = kept(NULL);
    static const char *const names[] = {"image.gcn.1", "gcn", "decoder", "image.attend"};
    for (int i = 0; i < 4; i++) ck_assert_int_lt(kept(names[i]), all);
    ck_assert_int_lt(kept("gcn"), kept("image.gcn.1"));
}
END_TEST

START_TEST(the_table_says_which) {
    ct_model *model = model_of(FULL, CT_F32);
    ck_assert(ct_model_checkpoint(model, "gcn") && ct_model_checkpoint(model, "decoder"));
    int count, marked = 0;
    ct_model_row *rows = ct_model_table(model, 2, 3, &count);
    for (int i = 0; i < count; i++) marked += rows[i].checkpointed;
    ck_assert_int_eq(marked, 3);
    free(rows);
    ct_model_destroy(model);
}
END_TEST

START_TEST(unknown_names_are_refused) {
    ct_model *model = model_of(FULL, CT_F32);
    static const struct {
        const char *name, *error;
    } wrong[] = {
        {"gnc", "the model has no module 'gnc' that can be run again"},
        {"decodr", "did you mean 'decoder'?"},
        {"text.gcn", "'text.gcn'"},
        {"gc", "'gc'"},
        {"embed", "'embed'"}, /* it begins its chain */
        {"", "''"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert(!ct_model_checkpoint(model, wrong[i].name));
        assert_error(wrong[i].error);
    }
    ck_assert(!ct_model_checkpoint(model, NULL));
    assert_error("model_checkpoint: the name is NULL");
    ct_model_destroy(model);
}
END_TEST

LOOPED_TEST_MAIN("model_checkpoint", {bits_stay, 1}, {draws_are_from_the_generator_given, 4},
                 {less_is_kept, 1}, {the_table_says_which, 1}, {unknown_names_are_refused, 1})
