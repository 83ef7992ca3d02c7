/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients where differences cannot check them: at kinks, ties, zeros and far out. The numbers are
 * PyTorch's, written down; nothing here is computed from the formulas that are tested. */
#include "tests/autograd/autograd_test.h"

/* Values that fill whole vectors and leave some over: the loops' bodies and their ends. */
enum { WIDTH = 37 };

static ct_tensor *filled(ct_dtype dtype, double value) {
    ct_tensor *x = ct_full(CT_F64, CT_CPU, CT_SHAPE(WIDTH), value);
    return ct_require_grad(ct_tensor_to_device(ct_tensor_cast(x, dtype), test_device()));
}

/* What one gradient is, everywhere: also where that is an infinity or NaN. */
static void expect_gradient(ct_tensor *x, double expected, const char *what) {
    ck_assert_msg(ct_grad(x) != NULL, "%s: %s", what, ct_ok() ? "no gradient" : ct_error());
    double tolerance = x->dtype == CT_F32 ? 1e-6 : 1e-14;
    for (int64_t i = 0; i < ct_count(x); i++) {
        double got = ct_get(ct_grad(x), i);
        bool same = isfinite(expected) ? fabs(got - expected) <= tolerance * fmax(1, fabs(expected))
                                       : (isnan(expected) ? isnan(got) : got == expected);
        if (!same)
            ck_abort_msg("%s, %s: %.9g, expected %.9g", what, ct_dtype_name(x->dtype), got,
                         expected);
    }
}

/* ---- one input -------------------------------------------------------------------------- */

static const struct {
    ct_unary_kind kind;
    double p, q, x, gradient;
} unary_points[] = {
    {CT_UNARY_abs, 0, 0, 0, 0},
    {CT_UNARY_sign, 0, 0, 0, 0},
    {CT_UNARY_floor, 0, 0, 1, 0},
    {CT_UNARY_round, 0, 0, 0.5, 0},
    {CT_UNARY_exp, 0, 0, -1000, 0},
    {CT_UNARY_expm1, 0, 0, 0, 1},
    {CT_UNARY_log, 0, 0, 0, INFINITY},
    {CT_UNARY_log1p, 0, 0, -1, INFINITY},
    {CT_UNARY_log1p, 0, 0, 0, 1},
    {CT_UNARY_sqrt, 0, 0, 0, INFINITY},
    {CT_UNARY_sqrt, 0, 0, 4, 0.25},
    {CT_UNARY_sqrt, 0, 0, -1, NAN},
    {CT_UNARY_rsqrt, 0, 0, 0, -INFINITY},
    {CT_UNARY_square, 0, 0, 0, 0},
    {CT_UNARY_reciprocal, 0, 0, 0, -INFINITY},
    {CT_UNARY_tanh, 0, 0, 0, 1},
    {CT_UNARY_tanh, 0, 0, 1000, 0},
    {CT_UNARY_sigmoid, 0, 0, 0, 0.25},
    {CT_UNARY_sigmoid, 0, 0, -1000, 0},
    {CT_UNARY_sigmoid, 0, 0, 1000, 0},
    {CT_UNARY_softplus, 0, 0, 0, 0.5},
    {CT_UNARY_softplus, 0, 0, 1000, 1},
    {CT_UNARY_softplus, 0, 0, -1000, 0},
    {CT_UNARY_relu, 0, 0, 0, 0},
    {CT_UNARY_relu, 0, 0, -0.0, 0},
    {CT_UNARY_relu6, 0, 0, 0, 0},
    {CT_UNARY_relu6, 0, 0, 6, 0},
    {CT_UNARY_hardsigmoid, 0, 0, -3, 0},
    {CT_UNARY_hardsigmoid, 0, 0, 3, 0},
    {CT_UNARY_hardswish, 0, 0, -3, 0},
    {CT_UNARY_hardswish, 0, 0, 3, 1},
    {CT_UNARY_hardswish, 0, 0, -1000, 0},
    {CT_UNARY_leaky_relu, 0.1, 0, 0, 0.1},
    {CT_UNARY_elu, 1.5, 0, 0, 1.5},
    {CT_UNARY_elu, 1.5, 0, -1000, 0},
    {CT_UNARY_silu, 0, 0, 0, 0.5},
    {CT_UNARY_silu, 0, 0, 1000, 1},
    {CT_UNARY_silu, 0, 0, -1000, 0},
    {CT_UNARY_gelu, 0, 0, 0, 0.5},
    {CT_UNARY_gelu, 0, 0, 1000, 1},
    {CT_UNARY_gelu, 0, 0, -1000, 0},
    {CT_UNARY_erf, 0, 0, 0, 1.1283791670955126},
    {CT_UNARY_pow_scalar, 0, 0, 0, 0},
    {CT_UNARY_pow_scalar, 0, 0, -2, 0},
    {CT_UNARY_pow_scalar, 0.5, 0, 0, INFINITY},
    {CT_UNARY_pow_scalar, 1, 0, 0, 1},
    {CT_UNARY_pow_scalar, 2, 0, 0, 0},
    {CT_UNARY_pow_scalar, 2, 0, -2, -4},
    {CT_UNARY_pow_scalar, 3, 0, -2, 12},
    {CT_UNARY_pow_scalar, -1, 0, 0, -INFINITY},
    {CT_UNARY_pow_scalar, 0.5, 0, -1, NAN},
    {CT_UNARY_clamp, -1, 2, -1, 1}, /* both ends belong to the range */
    {CT_UNARY_clamp, -1, 2, 2, 1},
    {CT_UNARY_clamp, -1, 2, 2.5, 0},
    {CT_UNARY_clamp, -1, 2, -1.5, 0},
};

START_TEST(unary_gradients_at_points) {
    CT_SCOPE {
        for (int wide = 0; wide < 2; wide++) {
            ct_tensor *x = filled(wide ? CT_F64 : CT_F32, unary_points[_i].x);
            ct_unary_kind kind = unary_points[_i].kind;
            ct_backward(ct_sum_all(ct_unary(kind, x, unary_points[_i].p, unary_points[_i].q)));
            char what[80];
            snprintf(what, sizeof what, "%s(%g; %g)", ct_unary_name(kind), unary_points[_i].x,
                     unary_points[_i].p);
            expect_gradient(x, unary_points[_i].gradient, what);
        }
    }
    assert_no_error();
}
END_TEST

/* ---- two inputs ------------------------------------------------------------------------- */

static const struct {
    ct_binary_kind kind;
    double a, b, to_a, to_b;
} binary_points[] = {
    {CT_BINARY_maximum, 2, 2, 0.5, 0.5},
    {CT_BINARY_maximum, 0, -0.0, 0.5, 0.5},
    {CT_BINARY_maximum, 3, 2, 1, 0},
    {CT_BINARY_maximum, 2, 3, 0, 1},
    {CT_BINARY_minimum, 2, 2, 0.5, 0.5},
    {CT_BINARY_minimum, 3, 2, 0, 1},
    {CT_BINARY_minimum, 2, 3, 1, 0},
    {CT_BINARY_mul, 0, 3, 3, 0},
    {CT_BINARY_div, 0, 2, 0.5, 0},
    {CT_BINARY_div, 1, 0, INFINITY, -INFINITY},
    {CT_BINARY_pow, 0, 2, 0, 0},
    {CT_BINARY_pow, 0, 1, 1, 0},
    {CT_BINARY_pow, 0, 0.5, INFINITY, 0},
    {CT_BINARY_pow, 0, 0, 0, 0},
    {CT_BINARY_pow, 0, -1, -INFINITY, -INFINITY},
    {CT_BINARY_pow, 2, 0, 0, 0.69314718055994531},
    {CT_BINARY_pow, -2, 3, 12, NAN},
    {CT_BINARY_pow, -2, 0, 0, NAN},
};

START_TEST(binary_gradients_at_points) {
    CT_SCOPE {
        for (int wide = 0; wide < 2; wide++) {
            ct_dtype dtype = wide ? CT_F64 : CT_F32;
            ct_tensor *a = filled(dtype, binary_points[_i].a);
            ct_tensor *b = filled(dtype, binary_points[_i].b);
            ct_backward(ct_sum_all(ct_binary(binary_points[_i].kind, a, b)));
            char what[80];
            snprintf(what, sizeof what, "%s(%g, %g)", ct_binary_name(binary_points[_i].kind),
                     binary_points[_i].a, binary_points[_i].b);
            expect_gradient(a, binary_points[_i].to_a, what);
            expect_gradient(b, binary_points[_i].to_b, what);
        }
    }
    assert_no_error();
}
END_TEST

/* ---- rows ------------------------------------------------------------------------------- */

typedef ct_tensor *(*row_function)(ct_tensor *x, int axis);

static ct_tensor *biased_variance(ct_tensor *x, int axis) { return ct_variance(x, axis, false); }

static ct_tensor *product(ct_tensor *x, int axis) {
    return ct_reduce(CT_PROD, x, 1u << (axis + x->shape.ndim), false);
}

static const struct {
    const char *what;
    row_function of;
    double x[3], gradient[3];
} rows[] = {
    {"max of three equal", ct_max, {2, 2, 2}, {1. / 3, 1. / 3, 1. / 3}},
    {"max of two equal", ct_max, {2, 1, 2}, {0.5, 0, 0.5}},
    {"min of two equal", ct_min, {2, 1, 1}, {0, 0.5, 0.5}},
    {"product with a zero", product, {0, 2, 3}, {6, 0, 0}},
    {"product with two zeros", product, {0, 2, 0}, {0, 0, 0}},
    {"product", product, {2, 3, 5}, {15, 10, 6}},
    {"norm at 0", ct_norm, {0, 0, 0}, {0, 0, 0}},
    {"norm", ct_norm, {3, 0, 4}, {0.6, 0, 0.8}},
    {"variance of equals", biased_variance, {7, 7, 7}, {0, 0, 0}},
    {"log_sum_exp of equals", ct_log_sum_exp, {1, 1, 1}, {1. / 3, 1. / 3, 1. / 3}},
    {"log_sum_exp with -inf", ct_log_sum_exp, {0, -INFINITY, 0}, {0.5, 0, 0.5}},
    {"log_sum_exp of -inf", ct_log_sum_exp, {-INFINITY, -INFINITY, -INFINITY}, {0, 0, 0}},
    {"log_sum_exp, one far below", ct_log_sum_exp, {0, 0, -1000}, {0.5, 0.5, 0}},
};

START_TEST(row_gradients_at_points) {
    CT_SCOPE {
        for (int wide = 0; wide < 2; wide++) {
            ct_tensor *x =
                ct_from_doubles(wide ? CT_F64 : CT_F32, CT_CPU, CT_SHAPE(1, 3), rows[_i].x);
            x = ct_require_grad(ct_tensor_to_device(x, test_device()));
            ck_assert_msg(ct_backward(ct_sum_all(rows[_i].of(x, -1))), "%s", ct_error());
            assert_close(ct_grad(x),
                         ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(1, 3), rows[_i].gradient),
                         wide ? 1e-14 : 1e-6, 0, rows[_i].what);
        }
    }
}
END_TEST

START_TEST(the_variance_of_one_element_does_not_move) {
    CT_SCOPE {
        ct_tensor *x = filled(CT_F64, 3);
        ck_assert(ct_backward(ct_sum_all(biased_variance(ct_unsqueeze(x, 1), 1))));
        expect_gradient(x, 0, "biased");
        ck_assert_ptr_null(ct_variance(ct_unsqueeze(x, 1), 1, true));
        assert_error("variance: dimension 1 of f64 (37,1) has too few elements");
    }
}
END_TEST

#define COUNT(array) (sizeof(array) / sizeof *(array))

LOOPED_TEST_MAIN("points", {unary_gradients_at_points, COUNT(unary_points)},
                 {binary_gradients_at_points, COUNT(binary_points)},
                 {row_gradients_at_points, COUNT(rows)},
                 {the_variance_of_one_element_does_not_move, 1})
