/* SPDX-License-Identifier: Apache-2.0 */
/* What transformers are made of: attention of given parameters, positions, patches, branches left
 * out at random. PyTorch's values are in suite golden. */
#include "nn/nn.h"
#include "tests/test.h"

static ct_module *f64(ct_module *module) {
    ct_module_to_dtype(module, CT_F64);
    assert_no_error();
    return module;
}

/* Of given parameters, here those of a module: the same bits. */
START_TEST(attention_with_given_parameters) {
    ct_attention_options options = {.heads = 2, .causal = true};
    ct_module *m = f64(ct_attention_create(4, &options));
    CT_SCOPE {
        ct_tensor *x = ct_random_normal(ct_default_rng(), "x", CT_F64, CT_CPU, CT_SHAPE(2, 3, 4));
        ct_attention_parameters p = {
            ct_module_tensor(m, "in_proj_weight"), ct_module_tensor(m, "in_proj_bias"),
            ct_module_tensor(m, "out_proj.weight"), ct_module_tensor(m, "out_proj.bias")};
        assert_close(ct_attention_with(x, x, x, NULL, p, options), ct_attention(m, x, x, x, NULL),
                     0, 0, "attention");
        p.in_bias = p.out_bias;
        ck_assert_ptr_null(ct_attention_with(x, x, x, NULL, p, options));
        assert_error("attention: in_bias is f64 (4), expected (12)");
        p.out_weight = NULL;
        ck_assert_ptr_null(ct_attention_with(x, x, x, NULL, p, options));
        assert_error("attention: out_weight");
    }
    ct_module_destroy(m);
}
END_TEST

/* ---- positions -------------------------------------------------------------------------- */

START_TEST(sinusoids_are_their_formula) {
    for (int64_t width = 5; width <= 6; width++) CT_SCOPE {
            ct_tensor *y = ct_sinusoidal_positions(CT_F64, CT_CPU, 300, width);
            ct_tensor *f32 = ct_sinusoidal_positions(CT_F32, CT_CPU, 300, width);
            assert_no_error();
            ck_assert(ct_shape_equal(y->shape, CT_SHAPE(300, width)) && f32->dtype == CT_F32);
            for (int64_t i = 0; i < 300 * width; i++) {
                int64_t column = i % width;
                double angle =
                    (double)(i / width) / pow(10000, (double)(column - column % 2) / (double)width);
                double expected = column % 2 ? cos(angle) : sin(angle);
                ck_assert_double_eq_tol(ct_get(y, i), expected, 1e-12);
                ck_assert_double_eq_tol(ct_get(f32, i), expected, 6e-8);
            }
        }
    ck_assert_ptr_null(ct_sinusoidal_positions(CT_I64, CT_CPU, 3, 4));
    assert_error("sinusoidal_positions: dtype is i64, expected f32 or f64");
}
END_TEST

START_TEST(positions_are_added) {
    ct_module *m = f64(ct_position_embedding_create(3, 2));
    CT_SCOPE {
        for (int i = 0; i < 6; i++) ct_set(ct_module_tensor(m, "weight"), i, i);
        ct_tensor *y = ct_position_embedding(m, ct_full(CT_F64, CT_CPU, CT_SHAPE(1, 2, 2), 10));
        assert_close(y,
                     ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(1, 2, 2), (double[]){10, 11, 12, 13}),
                     0, 0, "position_embedding");
        ck_assert_ptr_null(ct_position_embedding(m, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(1, 4, 2))));
        assert_error("position_embedding: x is f64 (1,4,2), expected (B,T,2) with at most 3 steps");
    }
    ct_module_destroy(m);
    m = ct_patch_embedding_create(3, 2, 4);
    CT_SCOPE {
        ck_assert_ptr_null(ct_patch_embedding(m, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1, 3, 8, 6))));
        assert_error("expected (B,C,H,W) with sides that are multiples of 4");
    }
    ct_module_destroy(m);
}
END_TEST

/* Dropout is drawn in training alone, and leaves the mean. */
START_TEST(transformer_layer_drops_in_training) {
    ct_transformer_layer_options options = ct_transformer_layer_defaults();
    options.dropout = 0.5;
    ct_module *layer = f64(ct_transformer_layer_create(4, 2, 8, &options));
    CT_SCOPE {
        ct_tensor *x = ct_random_normal(ct_default_rng(), "x", CT_F64, CT_CPU, CT_SHAPE(2, 3, 4));
        ct_module_train(layer, false);
        ct_tensor *y = ct_transformer_layer(layer, x, NULL);
        assert_close(ct_forward(layer, x), y, 0, 0, "evaluated again");
        ct_module_train(layer, true);
        ct_tensor *a = ct_forward(layer, x), *b = ct_forward(layer, x);
        assert_no_error();
        ck_assert(memcmp(ct_data(a), ct_data(b), 24 * sizeof(double)) != 0);
        ct_rng one = *ct_default_rng(), same = one;
        a = ct_transformer_layer_from(layer, x, NULL, &one);
        assert_close(ct_transformer_layer_from(layer, x, NULL, &same), a, 0, 0, "generator given");
        ck_assert_uint_eq(one.offset, same.offset);
        assert_close(ct_transformer_layer_from(layer, x, NULL, NULL), a, 0, 0, "the default one");
        ck_assert_uint_eq(ct_default_rng()->offset, one.offset);
        ck_assert_ptr_null(
            ct_transformer_layer(layer, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 3, 5)), NULL));
        assert_error("expected (B,T,4)");
        ck_assert_ptr_null(ct_transformer_layer(layer, x, x));
        assert_error("attention: mask is f64 (2,3,4), expected u8");
    }
    ct_module_destroy(layer);
}
END_TEST

/* Each sample whole or not at all; its gradient is what it was multiplied by. */
START_TEST(drop_path_drops_samples) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0);
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(1000, 2, 3));
        ct_require_grad(x);
        ct_tensor *y = ct_drop_path_with(x, 0.2, &rng, "path");
        ck_assert(ct_backward(ct_sum_all(y)));
        int zeros = 0;
        for (int i = 0; i < 6000; i++) {
            double factor = ct_get(ct_grad(x), i);
            ck_assert(factor == 0 || fabs(factor - 1.25) < 1e-15);
            ck_assert(factor == ct_get(ct_grad(x), i / 6 * 6));
            ck_assert_double_eq(ct_get(y, i), factor * ct_get(x, i));
            zeros += factor == 0;
        }
        /* 1200 expected, standard deviation 6 * 12.6 */
        ck_assert_int_gt(zeros, 840);
        ck_assert_int_lt(zeros, 1560);
        ck_assert_ptr_eq(ct_drop_path_with(x, 0, &rng, "path"), x);
        ck_assert_ptr_null(ct_drop_path_with(x, 1.5, NULL, "path"));
        assert_error("probability 1.5");
        ck_assert_ptr_null(ct_drop_path_with(ct_scalar(CT_F64, CT_CPU, 1), 0.5, NULL, "path"));
        assert_error("drop_path: x is f64 (), expected (B,...)");
        ck_assert_ptr_null(ct_drop_path_with(NULL, 0.5, NULL, "path"));
        assert_error("drop_path: x is NULL");
    }
}
END_TEST

TEST_MAIN("nn transformer", attention_with_given_parameters, sinusoids_are_their_formula,
          positions_are_added, transformer_layer_drops_in_training, drop_path_drops_samples)
