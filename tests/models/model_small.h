/* SPDX-License-Identifier: Apache-2.0 */
/* A model of every kind at a size that takes no time, and a batch for it. */
#ifndef CT_MODEL_SMALL_H
#define CT_MODEL_SMALL_H

#include "tests/models/model_fixture.h"

enum { B = 5, N = 4, F = 6, V = 12, T = 7, IMAGES = 9 };
static const ct_model_sizes sizes = {
    .regions = N, .features = F, .vocabulary = V, .images = IMAGES};
static const int64_t lengths_of[B] = {7, 3, 5, 2, 6};

#define IMAGE(policy)                                                                     \
    "[image]\nfc = linear width=8\nnorm = l2norm\ngcn = gcn x 2\nnorm2 = l2norm\n" policy \
    "pool = mean + gru\nbn = batchnorm momentum=0.5\n"
#define TEXT(policy) "[text]\nembed = words width=6\n" policy "pool = gru\nbn = batchnorm\n"
#define LOSS                                                                       \
    "[loss]\nretrieval = hinge negatives=sum intra_modal=yes\n"                    \
    "instance = classifier hidden=7\ndecoder = convcap width=4 hidden=3 layers=2 " \
    "kernel=3 dropout=0\n"
#define POLICY "attend = policy_attention actions=5\n"
#define BOTH "discrete_policy = 1\ncontinuous_policy = 1\n"
#define FULL IMAGE(POLICY) TEXT(POLICY) LOSS BOTH

/* ---- noise that depends on its place only --------------------------------------------------- */

/* So that draws added or left out, and padding, do not shift the others: element (b,s,h,a) of a
 * draw is a function of these and of the draw's name. */
static inline bool placed_noise(void *context, const char *name, ct_tensor *out) {
    (void)context;
    uint32_t key[2] = {0, strstr(name, ".z") ? 1u : 0u};
    for (const char *p = name; *p; p++) key[0] = key[0] * 31 + (unsigned char)*p;
    int64_t actions = ct_ndim(out) == 4 ? ct_dim(out, 3) : 1, count = ct_count(out);
    int64_t heads = ct_dim(out, 2), steps = ct_dim(out, 1);
    for (int64_t i = 0; i < count; i++) {
        int64_t a = i % actions, h = i / actions % heads, s = i / actions / heads % steps;
        int64_t b = i / actions / heads / steps;
        uint32_t counter[4] = {(uint32_t)b, (uint32_t)s, (uint32_t)h, (uint32_t)a}, bits[4];
        ct_philox(counter, key, bits);
        double u = (bits[0] + 0.5) / 4294967296.0, v = (bits[1] + 0.5) / 4294967296.0;
        ct_set(out, i, key[1] ? sqrt(-2 * log(u)) * cos(6.283185307179586 * v) : u);
    }
    return true;
}

static inline ct_rng placed_rng(void) {
    ct_rng rng = ct_rng_create(3, 0);
    rng.replay = placed_noise;
    return rng;
}

/* ---- a model and a batch -------------------------------------------------------------------- */

/* The batch norms in the graph convolutions start at gain 0: moved, so that all takes part. */
static inline bool shake(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    ct_rng *rng = context;
    if (buffer || !strstr(name, ".W.1.")) return true;
    return ct_init_uniform(tensor, 0.2, 0.8, rng);
}

static inline ct_model *model_of(const char *text, ct_dtype dtype) {
    ct_seed(5);
    ct_model *model = fixture_model(text, sizes);
    assert_no_error();
    ct_rng rng = ct_rng_create(6, 0);
    ck_assert(ct_module_to_dtype(ct_model_module(model), dtype));
    ck_assert(ct_module_visit(ct_model_module(model), shake, &rng));
    return model;
}

/* `extra` columns of padding behind the longest caption */
static inline ct_batch batch_of(ct_dtype dtype, int extra) {
    ct_rng rng = ct_rng_create(7, 0);
    int64_t classes[B], words[B * (T + 3)] = {0};
    for (int64_t b = 0; b < B; b++) {
        classes[b] = (3 * b + 1) % IMAGES;
        for (int64_t t = 0; t < lengths_of[b]; t++)
            words[b * (T + extra) + t] = t == 0 ? 1
                                         : t == lengths_of[b] - 1
                                             ? 2
                                             : 3 + (int64_t)ct_random_below(&rng, V - 3);
    }
    return (ct_batch){
        .images = ct_random_normal(&rng, "images", dtype, test_device(), CT_SHAPE(B, N, F)),
        .words = ct_from_data(CT_I64, test_device(), CT_SHAPE(B, T + extra), words),
        .lengths = ct_from_data(CT_I64, test_device(), CT_SHAPE(B), lengths_of),
        .classes = ct_from_data(CT_I64, test_device(), CT_SHAPE(B), classes),
    };
}

static inline ct_losses losses_of(ct_model *model, int extra, int64_t epoch) {
    ct_rng rng = placed_rng();
    ct_batch batch = batch_of(CT_F64, extra);
    ct_losses losses = ct_model_losses(model, &batch, epoch, &rng);
    assert_no_error();
    return losses;
}

/* every module that looks beyond one word */
#define WIDE(policy)                                                                    \
    "[text]\nembed = words width=6\nconv = conv1d kernel=3\nself = attention heads=2\n" \
    "bnw = batchnorm\nln = layernorm\npos = positions\nat = positions steps=10\n"       \
    "enc = transformer heads=2 hidden=5 activation=gelu norm=first\n" policy            \
    "pool = mean + max + lstm width=6 + bigru width=6\nfc = linear width=8\n"

#endif
