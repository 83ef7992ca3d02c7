/* SPDX-License-Identifier: Apache-2.0 */
/* Values and gradients at the ends of a dtype's range. */
#include "tests/autograd/autograd_test.h"

typedef struct {
    ct_dtype dtype;
    double factor;
} extreme;

static const extreme extremes[] = {
    {CT_F32, 1e-36},  {CT_F32, 1e-23},  {CT_F32, 1e20},  {CT_F32, 1e37},  {CT_F32, 1},
    {CT_F64, 1e-300}, {CT_F64, 1e-170}, {CT_F64, 1e170}, {CT_F64, 1e300},
};

/* |factor x| = factor |x|, and the gradient does not depend on the factor. */
START_TEST(norm) {
    const extreme *e = &extremes[_i];
    CT_SCOPE {
        const double x[] = {3, 4, 0, 0, 1, -2, 2, 0};
        double scaled[8];
        for (int i = 0; i < 8; i++) scaled[i] = e->factor * x[i];
        ct_tensor *leaf =
            ct_require_grad(ct_from_doubles(e->dtype, CT_CPU, CT_SHAPE(2, 4), scaled));
        ct_tensor *y = ct_norm(leaf, 1);
        assert_no_error();
        ck_assert_double_eq_tol(ct_get(y, 0) / e->factor, 5, 1e-5);
        ck_assert_double_eq_tol(ct_get(y, 1) / e->factor, 3, 1e-5);
        ck_assert(ct_backward(ct_sum_all(y)));
        for (int i = 0; i < 8; i++) {
            ck_assert_double_eq_tol(ct_get(ct_grad(leaf), i), x[i] / (i < 4 ? 5 : 3), 1e-5);
        }
    }
}
END_TEST

START_TEST(norm_of_numbers_that_are_none) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *x =
            ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(3, 2), (double[]){INFINITY, 1, NAN, 1, 0, 0});
        ct_tensor *y = ct_norm(x, 1);
        ck_assert(isinf(ct_get(y, 0)) && isnan(ct_get(y, 1)) && ct_get(y, 2) == 0);
        ck_assert(ct_count(ct_norm(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 0)), 1)) == 2);
        assert_no_error();
    }
}
END_TEST

/* Two equal numbers m: m + log 2, and half the gradient each; beside them one far smaller. */
START_TEST(log_sum_exp) {
    (void)_i;
    const extreme cases[] = {{CT_F64, 1e39}, {CT_F64, -1e39}, {CT_F64, 1e300}, {CT_F64, -1e308},
                             {CT_F32, 1e30}, {CT_F32, -3e38}, {CT_F32, 3e38},  {CT_F64, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CT_SCOPE {
            double m = cases[i].factor, below = cases[i].dtype == CT_F64 ? -1.5e308 : -3.3e38;
            ct_tensor *x = ct_require_grad(
                ct_from_doubles(cases[i].dtype, CT_CPU, CT_SHAPE(3), (double[]){m, below, m}));
            ct_tensor *y = ct_log_sum_exp(x, 0);
            assert_no_error();
            ck_assert_double_eq_tol(ct_item(y) / m, (m + log(2)) / m, 1e-6);
            ck_assert(ct_backward(y));
            ck_assert_double_eq_tol(ct_get(ct_grad(x), 0), 0.5, 1e-6);
            ck_assert_double_eq(ct_get(ct_grad(x), 1), 0);
        }
    }
}
END_TEST

START_TEST(log_sum_exp_of_nothing_likely) {
    (void)_i;
    const ct_dtype dtypes[] = {CT_F32, CT_F64};
    for (int i = 0; i < 2; i++) {
        CT_SCOPE {
            ct_tensor *x = ct_require_grad(ct_full(dtypes[i], CT_CPU, CT_SHAPE(3), -INFINITY));
            ct_tensor *y = ct_log_sum_exp(x, 0);
            ck_assert(ct_item(y) == -INFINITY);
            ck_assert(ct_backward(y));
            for (int k = 0; k < 3; k++) ck_assert(ct_get(ct_grad(x), k) == 0);
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("range", {norm, sizeof extremes / sizeof *extremes},
                 {norm_of_numbers_that_are_none, 1}, {log_sum_exp, 1},
                 {log_sum_exp_of_nothing_likely, 1})
