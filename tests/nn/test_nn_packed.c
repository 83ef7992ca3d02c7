/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that look at whole sequences: packed, they give what they give of the padded batch, draw
 * the same numbers, and hand on the same gradients. */
#include "nn/packed.h"
#include "tests/test.h"

enum { B = 4, T = 6, R = 13, E = 4 };
static const int64_t lengths_of[B] = {3, 5, 1, 4};

static ct_module *f64(ct_module *module) {
    ct_module_to_dtype(module, CT_F64);
    assert_no_error();
    return module;
}

static ct_tensor *lengths(void) { return ct_from_data(CT_I64, CT_CPU, CT_SHAPE(B), lengths_of); }

/* (B,1,1,T): 1 where there is padding. */
static ct_tensor *padding(void) {
    uint8_t behind[B * T];
    for (int i = 0; i < B * T; i++) behind[i] = i % T >= lengths_of[i / T];
    return ct_from_data(CT_U8, CT_CPU, CT_SHAPE(B, 1, 1, T), behind);
}

static ct_tensor *rows_of(ct_tensor *x) {
    ct_tensor *positions = ct_packed_positions(lengths(), T, CT_CPU);
    return ct_index_select(ct_reshape(x, CT_SHAPE(B * T, E)), 0, positions);
}

typedef ct_tensor *layer_function(ct_module *module, ct_tensor *x, ct_rng *rng);

static ct_tensor *attention_padded(ct_module *module, ct_tensor *x, ct_rng *rng) {
    return ct_attention_from(module, x, x, x, padding(), rng);
}
static ct_tensor *attention_packed(ct_module *module, ct_tensor *x, ct_rng *rng) {
    return ct_attention_packed(module, x, lengths(), T, rng);
}
static ct_tensor *layer_padded(ct_module *module, ct_tensor *x, ct_rng *rng) {
    return ct_transformer_layer_from(module, x, padding(), rng);
}
static ct_tensor *layer_packed(ct_module *module, ct_tensor *x, ct_rng *rng) {
    return ct_transformer_layer_packed(module, x, lengths(), T, rng);
}
static ct_tensor *positions_padded(ct_module *module, ct_tensor *x, ct_rng *rng) {
    (void)rng;
    return ct_position_embedding(module, x);
}
static ct_tensor *positions_packed(ct_module *module, ct_tensor *x, ct_rng *rng) {
    (void)rng;
    return ct_position_embedding_packed(module, x, lengths());
}

typedef struct {
    ct_tensor *gradient[32];
    int count;
} gradients;

static bool take(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    gradients *all = context;
    (void)name, (void)buffer;
    ck_assert_int_lt(all->count, 32);
    all->gradient[all->count++] = ct_grad(tensor) ? ct_tensor_copy(ct_grad(tensor)) : NULL;
    ct_zero_grad(tensor);
    return true;
}

/* To rounding of sums in another order. The layer is the caller's. */
static void check_same(ct_module *module, layer_function *padded, layer_function *packed) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0), one = ct_rng_create(4, 0), other = one;
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(B, T, E));
        ct_tensor *g = ct_random_normal(&rng, "g", CT_F64, CT_CPU, CT_SHAPE(R, E));
        ct_tensor *rows = ct_require_grad(rows_of(x));
        ct_require_grad(x);
        gradients expected = {.count = 0}, found = {.count = 0};
        ct_tensor *y = rows_of(padded(module, x, &one));
        ck_assert(ct_backward(ct_sum_all(ct_mul(y, g))));
        ct_module_visit(module, take, &expected);
        ct_tensor *z = packed(module, rows, &other);
        ck_assert(ct_backward(ct_sum_all(ct_mul(z, g))));
        ct_module_visit(module, take, &found);
        assert_no_error();
        assert_close(z, y, 1e-13, 1e-14, "values");
        assert_close(ct_grad(rows), rows_of(ct_grad(x)), 1e-12, 1e-13, "gradient of x");
        ck_assert_int_eq(found.count, expected.count);
        for (int i = 0; i < found.count; i++)
            assert_close(found.gradient[i], expected.gradient[i], 1e-12, 1e-13, "gradient");
        ck_assert_uint_eq(one.offset, other.offset);
    }
    ct_module_destroy(module);
}

START_TEST(attention_is_the_same) {
    for (int causal = 0; causal < 2; causal++) {
        ct_attention_options options = {.heads = 2, .dropout = 0.3, .causal = causal};
        check_same(f64(ct_attention_create(E, &options)), attention_padded, attention_packed);
    }
}
END_TEST

START_TEST(transformer_layers_are_the_same) {
    for (int i = 0; i < 4; i++) {
        ct_transformer_layer_options options = ct_transformer_layer_defaults();
        options.dropout = 0.3;
        options.norm_first = i / 2;
        options.causal = i % 2;
        options.activation = "gelu";
        check_same(f64(ct_transformer_layer_create(E, 2, 5, &options)), layer_padded, layer_packed);
    }
}
END_TEST

START_TEST(position_embeddings_are_the_same) {
    check_same(f64(ct_position_embedding_create(T, E)), positions_padded, positions_packed);
}
END_TEST

/* A sequence alone: what the others hold does not enter. */
START_TEST(sequences_do_not_see_each_other) {
    ct_module *m = f64(ct_transformer_layer_create(E, 2, 5, NULL));
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0);
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(R, E));
        ct_tensor *sequence = ct_packed_sequences(lengths(), CT_CPU);
        ct_tensor *others = ct_full(CT_I64, CT_CPU, CT_SHAPE(R, 1), 1);
        others = ct_tensor_compare(CT_COMPARE_not_equal, ct_tensor_unsqueeze(sequence, 1), others);
        ct_tensor *y = ct_transformer_layer_packed(m, x, lengths(), T, NULL);
        ct_tensor *z =
            ct_transformer_layer_packed(m, ct_masked_fill(x, others, 7), lengths(), T, NULL);
        assert_close(ct_masked_fill(z, others, 0), ct_masked_fill(y, others, 0), 1e-15, 1e-15,
                     "rows");
        ck_assert(fabs(ct_get(z, 0) - ct_get(y, 0)) < 1e-15); /* the first row is of sequence 1 */
    }
    ct_module_destroy(m);
}
END_TEST

START_TEST(refusals) {
    ct_module *attention = f64(ct_attention_create(E, NULL));
    ct_module *layer = f64(ct_transformer_layer_create(E, 2, 5, NULL));
    ct_module *positions = f64(ct_position_embedding_create(4, E));
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(R, E)), *l = lengths();
        ct_tensor *fewer = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(R - 1, E));
        ck_assert_ptr_null(ct_attention_packed(attention, fewer, l, T, NULL));
        assert_error("attention_packed: x is f64 (12,4), expected (13,4)");
        ck_assert_ptr_null(ct_attention_packed(attention, x, l, 4, NULL));
        assert_error("packed_positions: length 5 of sequence 1, expected 1 to 4");
        ck_assert_ptr_null(ct_attention_packed(layer, x, l, T, NULL));
        assert_error("attention_packed: ");
        ck_assert_ptr_null(ct_attention_packed(attention, NULL, l, T, NULL));
        assert_error("attention_packed: x is NULL");
        ck_assert_ptr_null(ct_transformer_layer_packed(layer, fewer, l, T, NULL));
        assert_error("attention_packed: x is f64 (12,4), expected (13,4)");
        ck_assert_ptr_null(ct_transformer_layer_packed(layer, padding(), l, T, NULL));
        assert_error("transformer_layer_packed: x is u8 (4,1,1,6), expected 2 dimensions");
        ck_assert_ptr_null(ct_position_embedding_packed(positions, fewer, l));
        assert_error("position_embedding_packed: x is f64 (12,4), expected (13,4)");
        ck_assert_ptr_null(ct_position_embedding_packed(positions, x, l)); /* 5 steps, 4 learned */
        assert_error("index_select: ");
    }
    ct_module_destroy(attention);
    ct_module_destroy(layer);
    ct_module_destroy(positions);
}
END_TEST

TEST_MAIN("nn packed", attention_is_the_same, transformer_layers_are_the_same,
          position_embeddings_are_the_same, sequences_do_not_see_each_other, refusals)
