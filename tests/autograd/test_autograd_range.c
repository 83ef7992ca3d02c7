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

/* Those that saturate, against the C library's in long double: values, and derivatives. */
static long double softplus_of(long double x) { return fmaxl(x, 0) + log1pl(expl(-fabsl(x))); }
static long double sigmoid_of(long double x) {
    return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
}
static long double tanh_slope_of(long double x) { return 1 / (coshl(x) * coshl(x)); }
static long double sigmoid_slope_of(long double x) { return sigmoid_of(x) * sigmoid_of(-x); }

typedef struct {
    ct_tensor *(*function)(ct_tensor *x);
    long double (*value)(long double x), (*slope)(long double x);
} saturating;
static const saturating functions[] = {{ct_sigmoid, sigmoid_of, sigmoid_slope_of},
                                       {ct_softplus, softplus_of, sigmoid_of},
                                       {ct_tanh, tanhl, tanh_slope_of}};

START_TEST(saturates) {
    const saturating *f = &functions[_i];
    const double at[] = {0,    1e-38, -1e-38, 1e-8, 0.3,  -0.3,  9,        -9,
                         20,   -20,   40,     -40,  87,   -87,   -103,     709,
                         -709, -745,  1e4,    -1e4, 1e38, -1e38, INFINITY, -INFINITY};
    enum { COUNT = sizeof at / sizeof *at };
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        CT_SCOPE {
            ct_tensor *x = ct_require_grad(ct_from_doubles(dtype, CT_CPU, CT_SHAPE(COUNT), at));
            ct_tensor *y = f->function(x), *ones = ct_full(dtype, CT_CPU, CT_SHAPE(COUNT), 1);
            ck_assert(ct_backward_from(&y, &ones, 1, false));
            double relative = dtype == CT_F32 ? 1e-6 : 1e-13;
            double least = dtype == CT_F32 ? 1.5e-38 : 2.3e-308; /* may be flushed to 0 below */
            for (int i = 0; i < COUNT; i++) {
                long double v = ct_get(x, i), value = f->value(v), slope = f->slope(v);
                double got = ct_get(y, i), gradient = ct_get(ct_grad(x), i);
                if (isinf(value)) ck_assert_msg(got == (double)value, "at %g: %g", at[i], got);
                else
                    ck_assert_msg(fabsl(got - value) <= relative * fabsl(value) + least,
                                  "at %g: %.9g, expected %.9Lg", at[i], got, value);
                /* 1 - y^2 and y (1 - y) are differences: right beside 1 */
                ck_assert_msg(fabsl(gradient - slope) <= 2 * relative,
                              "slope at %g: %.9g, expected %.9Lg", at[i], gradient, slope);
            }
        }
    }
}
END_TEST

/* log sum exp, softmax and log softmax are differences from the largest: what is added to all
 * changes nothing. And the variance, and what divides by its root, of what is not centred. */
START_TEST(variance_of_large_numbers) {
    const extreme cases[] = {{CT_F32, 1e18}, {CT_F32, 1e-15}, {CT_F64, 1e150}, {CT_F64, 1e-140}};
    const extreme *e = &cases[_i];
    const double x[] = {1, -2, 3, 5, 0.5, -1, 2, 7};
    CT_SCOPE {
        ct_tensor *plain = ct_from_doubles(e->dtype, CT_CPU, CT_SHAPE(2, 4), x);
        ct_tensor *large = ct_tensor_scale(plain, e->factor);
        ct_tensor *one = ct_full(e->dtype, CT_CPU, CT_SHAPE(4), 1);
        ct_tensor *zero = ct_zeros(e->dtype, CT_CPU, CT_SHAPE(4));
        double relative = e->dtype == CT_F32 ? 1e-5 : 1e-13;
        assert_close(ct_layer_norm_with(large, one, zero, 0),
                     ct_layer_norm_with(plain, one, zero, 0), relative, 0, "layer norm");
        assert_close(ct_batch_norm_with(large, 1, one, zero, 0, NULL, NULL),
                     ct_batch_norm_with(plain, 1, one, zero, 0, NULL, NULL), relative, 0,
                     "batch norm");
        ct_tensor *std = ct_sqrt(ct_variance(large, 1, true));
        assert_close(ct_tensor_scale(std, 1 / e->factor), ct_sqrt(ct_variance(plain, 1, true)),
                     relative, 0, "standard deviation");
    }
}
END_TEST

LOOPED_TEST_MAIN("range", {saturates, sizeof functions / sizeof *functions},
                 {variance_of_large_numbers, 4}, {norm, sizeof extremes / sizeof *extremes},
                 {norm_of_numbers_that_are_none, 1}, {log_sum_exp, 1},
                 {log_sum_exp_of_nothing_likely, 1})
