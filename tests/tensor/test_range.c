/* SPDX-License-Identifier: Apache-2.0 */
/* Norms over the whole range of a dtype: what numbers times a factor give follows from what the
 * numbers give. */
#include "tensor/matching/matching.h"
#include "tests/tensor/kernel_test.h"

/* Squares of the first and the last ones are far out of the range. */
static const double factors_f32[] = {1e-36, 1e-30, 1e-23, 1e-20, 1e-18, 1e19, 1e20, 1e30, 1e37};
static const double factors_f64[] = {1e-300, 1e-200, 1e-160, 1e160, 1e200, 1e300};
enum {
    F32 = sizeof factors_f32 / sizeof *factors_f32,
    F64 = sizeof factors_f64 / sizeof *factors_f64
};

static ct_dtype dtype_of(int i) { return i < F32 ? CT_F32 : CT_F64; }
static double factor_of(int i) { return i < F32 ? factors_f32[i] : factors_f64[i - F32]; }
static double tolerance(ct_dtype dtype) { return dtype == CT_F32 ? 1e-5 : 1e-12; }

static const int64_t matrices[][2] = {{1, 1}, {3, 7}, {40, 33}, {2, 300}, {300, 2}};

/* x times a factor, as f64: results are compared where all of them fit. */
static ct_tensor *times(const ct_tensor *x, double factor) {
    return ct_tensor_scale(ct_tensor_cast(x, CT_F64), factor);
}

static void check_l2(const ct_tensor *x, int axis, ct_dtype dtype, double factor) {
    ct_tensor *large = ct_tensor_cast(times(x, factor), dtype), *norm, *large_norm;
    ct_tensor *y = ct_tensor_l2_normalize(x, axis, &norm);
    ct_tensor *large_y = ct_tensor_l2_normalize(large, axis, &large_norm);
    assert_close(large_y, y, tolerance(dtype), 0, "l2norm");
    assert_close(times(large_norm, 1 / factor), norm, tolerance(dtype), 0, "l2norm: the norm");
    ct_tensor *g = noise(CT_F64, x->shape, 1, 7);
    ct_tensor *gx = ct_tensor_l2_normalize_grad(g, y, norm, axis);
    ct_tensor *large_gx =
        ct_tensor_l2_normalize_grad(ct_tensor_cast(g, dtype), large_y, large_norm, axis);
    assert_close(times(large_gx, factor), gx, tolerance(dtype), tolerance(dtype),
                 "l2norm gradient");
}

START_TEST(l2_normalize) {
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        CT_SCOPE {
            ct_shape shape = CT_SHAPE(matrices[i][0], matrices[i][1]);
            ct_tensor *x = noise(CT_F64, shape, 1, 3);
            check_l2(x, 0, dtype_of(_i), factor_of(_i));
            check_l2(x, 1, dtype_of(_i), factor_of(_i));
        }
    }
}
END_TEST

/* The smallest numbers there are, and a norm of which one over it is not in the range. */
START_TEST(l2_of_subnormal_numbers) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *x = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(1, 2), (double[]){3e-40, -4e-40});
        ct_tensor *g = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(1, 2), (double[]){1e-6, 0});
        ct_tensor *norm, *y = ct_tensor_l2_normalize(x, 1, &norm);
        ct_tensor *gx = ct_tensor_l2_normalize_grad(g, y, norm, 1);
        assert_no_error();
        ck_assert_double_eq_tol(ct_get(y, 0), 0.6, 1e-5);
        ck_assert_double_eq_tol(ct_get(y, 1), -0.8, 1e-5);
        ck_assert_double_eq_tol(ct_get(gx, 0) / 1e33, 0.64 * 1e-6 / 5e-40 / 1e33, 1e-4);
    }
}
END_TEST

START_TEST(l2_of_numbers_that_are_none) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *x =
            ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2, 2), (double[]){1, NAN, INFINITY, 1});
        for (int axis = 0; axis < 2; axis++) {
            ct_tensor *norm, *y = ct_tensor_l2_normalize(x, axis, &norm);
            ck_assert(isnan(ct_get(y, 1)) && isnan(ct_get(norm, axis == 0)));
            ck_assert(isinf(ct_get(norm, axis)));
        }
    }
}
END_TEST

START_TEST(order_similarity) {
    ct_dtype dtype = dtype_of(_i);
    double factor = factor_of(_i);
    CT_SCOPE {
        ct_tensor *a = noise(CT_F64, CT_SHAPE(9, 40), 1, 3);
        ct_tensor *b = noise(CT_F64, CT_SHAPE(5, 40), 1, 4);
        ct_tensor *g = noise(CT_F64, CT_SHAPE(9, 5), 1, 5);
        ct_tensor *s = ct_tensor_order_similarity(a, b), *ga, *gb, *large_ga, *large_gb;
        ct_tensor *large_a = ct_tensor_cast(times(a, factor), dtype);
        ct_tensor *large_b = ct_tensor_cast(times(b, factor), dtype);
        ct_tensor *large_s = ct_tensor_order_similarity(large_a, large_b);
        assert_close(times(large_s, 1 / factor), s, tolerance(dtype), 0, "order similarity");
        ct_tensor_order_similarity_grad(g, a, b, s, &ga, &gb);
        ct_tensor_order_similarity_grad(ct_tensor_cast(g, dtype), large_a, large_b, large_s,
                                        &large_ga, &large_gb);
        assert_close(large_ga, ga, tolerance(dtype), 0, "gradient of a");
        assert_close(large_gb, gb, tolerance(dtype), 0, "gradient of b");
    }
}
END_TEST

LOOPED_TEST_MAIN("range", {l2_normalize, F32 + F64}, {l2_of_subnormal_numbers, 1},
                 {l2_of_numbers_that_are_none, 1}, {order_similarity, F32 + F64})
