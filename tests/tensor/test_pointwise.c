/* SPDX-License-Identifier: Apache-2.0 */
/* Every pointwise operation against the C library in f64, in both types, over layouts and sizes. */
#include <float.h>

#include "tests/tensor/kernel_test.h"

enum { MOST = 4096 };

/* ---- what each unary operation is, written independently of tensor/ops/pointwise.def --------- */

static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

static double normal_density(double x) { return exp(-x * x / 2) / sqrt(2 * M_PI); }

static double normal_below(double x) { return erfc(-x / M_SQRT2) / 2; }

static double unary_value(ct_unary_kind kind, double x, double p, double q) {
    switch (kind) {
    case CT_UNARY_neg: return -x;
    case CT_UNARY_abs: return fabs(x);
    case CT_UNARY_sign: return (x > 0) - (x < 0);
    case CT_UNARY_floor: return floor(x);
    case CT_UNARY_round: return nearbyint(x);
    case CT_UNARY_exp: return exp(x);
    case CT_UNARY_expm1: return expm1(x);
    case CT_UNARY_log: return log(x);
    case CT_UNARY_log1p: return log1p(x);
    case CT_UNARY_sqrt: return sqrt(x);
    case CT_UNARY_rsqrt: return 1 / sqrt(x);
    case CT_UNARY_square: return x * x;
    case CT_UNARY_reciprocal: return 1 / x;
    case CT_UNARY_sin: return sin(x);
    case CT_UNARY_cos: return cos(x);
    case CT_UNARY_tanh: return tanh(x);
    case CT_UNARY_sigmoid: return sigmoid(x);
    case CT_UNARY_softplus: return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case CT_UNARY_relu: return fmax(x, 0);
    case CT_UNARY_relu6: return fmin(fmax(x, 0), 6);
    case CT_UNARY_hardsigmoid: return fmin(fmax(x + 3, 0), 6) / 6;
    case CT_UNARY_hardswish: return x * (fmin(fmax(x + 3, 0), 6) / 6);
    case CT_UNARY_leaky_relu: return x >= 0 ? x : p * x;
    case CT_UNARY_elu: return x >= 0 ? x : p * expm1(x);
    case CT_UNARY_silu: return x * sigmoid(x);
    case CT_UNARY_gelu: return x * normal_below(x);
    case CT_UNARY_erf: return erf(x);
    case CT_UNARY_add_scalar: return x + p;
    case CT_UNARY_mul_scalar: return x * p;
    case CT_UNARY_pow_scalar: return pow(x, p);
    case CT_UNARY_clamp: return fmin(fmax(x, p), q);
    case CT_UNARY_COUNT: break;
    }
    ck_abort_msg("no reference for unary operation %s", ct_unary_name(kind));
    return NAN;
}

static double unary_derivative(ct_unary_kind kind, double x, double p, double q) {
    double s = sigmoid(x);
    switch (kind) {
    case CT_UNARY_neg: return -1;
    case CT_UNARY_abs: return (x > 0) - (x < 0);
    case CT_UNARY_sign:
    case CT_UNARY_floor:
    case CT_UNARY_round: return 0;
    case CT_UNARY_exp:
    case CT_UNARY_expm1: return exp(x);
    case CT_UNARY_log: return 1 / x;
    case CT_UNARY_log1p: return 1 / (1 + x);
    case CT_UNARY_sqrt: return x > 0 ? 0.5 / sqrt(x) : 0;
    case CT_UNARY_rsqrt: return -0.5 / (x * sqrt(x));
    case CT_UNARY_square: return 2 * x;
    case CT_UNARY_reciprocal: return -1 / (x * x);
    case CT_UNARY_sin: return cos(x);
    case CT_UNARY_cos: return -sin(x);
    case CT_UNARY_tanh: return 1 / (cosh(x) * cosh(x));
    case CT_UNARY_sigmoid: return s * sigmoid(-x);
    case CT_UNARY_softplus: return s;
    case CT_UNARY_relu: return x > 0;
    case CT_UNARY_relu6: return x > 0 && x < 6;
    case CT_UNARY_hardsigmoid: return x > -3 && x < 3 ? 1.0 / 6 : 0;
    case CT_UNARY_hardswish: return x <= -3 ? 0 : x < 3 ? (2 * x + 3) / 6 : 1;
    case CT_UNARY_leaky_relu: return x > 0 ? 1 : p;
    case CT_UNARY_elu: return x > 0 ? 1 : p * exp(x);
    case CT_UNARY_silu: return s + x * s * sigmoid(-x);
    case CT_UNARY_gelu: return normal_below(x) + x * normal_density(x);
    case CT_UNARY_erf: return 2 / sqrt(M_PI) * exp(-x * x);
    case CT_UNARY_add_scalar: return 1;
    case CT_UNARY_mul_scalar: return p;
    case CT_UNARY_pow_scalar: return p * pow(x, p - 1);
    case CT_UNARY_clamp: return x >= p && x <= q;
    case CT_UNARY_COUNT: break;
    }
    ck_abort_msg("no reference for unary operation %s", ct_unary_name(kind));
    return NAN;
}

static double parameter_p(ct_unary_kind kind) {
    return kind == CT_UNARY_clamp ? -0.75 : kind == CT_UNARY_pow_scalar ? 2.5 : 0.375;
}

static const double parameter_q = 1.25;

/* The domain on which the table says its gradient is checked, and further out. */
static void domain(ct_unary_kind kind, double *low, double *high) {
    static const double table[][2] = {
#define CT_UNARY(name, nparams, value, derivative, lo, hi) {lo, hi},
#include "tensor/ops/pointwise.def"
    };
    *low = table[kind][0] < 0 ? 10 * table[kind][0] : table[kind][0] / 100;
    if (kind == CT_UNARY_log1p) *low = -0.999;
    *high = 10 * table[kind][1];
}

/* ---- comparing -------------------------------------------------------------------------- */

static double unit_in_last_place(ct_dtype dtype, double x) {
    x = fabs(x);
    if (dtype == CT_F64) return nextafter(x, INFINITY) - x;
    float f = (float)x;
    return f > FLT_MAX / 2 ? ldexp(1, 104) : (double)nextafterf(f, INFINITY) - (double)f;
}

/* (ck_assert in a long loop would be slow: it notes every check.)
 * |got - expected| <= ulps of max(|expected|, floor); infinities and NaN as expected's. */
static void check_value(const char *what, ct_dtype dtype, double x, double got, double expected,
                        double ulps, double floor_) {
    if (dtype == CT_F32) {
        float rounded = (float)expected;
        if (isinf(rounded) || (isinf(got) && fabs(expected) > 3.4028233e38)) expected = rounded;
    }
    if (isnan(expected) || isinf(expected)) {
        if (isnan(expected) ? isnan(got) : got == expected) return;
        ck_abort_msg("%s(%.9g) %s = %.9g, expected %.9g", what, x, ct_dtype_name(dtype), got,
                     expected);
    }
    double unit = unit_in_last_place(dtype, fmax(fabs(expected), floor_));
    if (fabs(got - expected) <= ulps * unit) return;
    ck_abort_msg("%s(%.9g) %s = %.17g, expected %.17g, %.2f units in the last place", what, x,
                 ct_dtype_name(dtype), got, expected, fabs(got - expected) / unit);
}

/* Evenly over a range, plus both ends. */
static ct_tensor *ramp(ct_dtype dtype, int64_t n, double low, double high) {
    double x[MOST];
    double step = (high - low) / (double)(n > 1 ? n - 1 : 1);
    for (int64_t i = 0; i < n; i++) x[i] = low + step * (double)i;
    return ct_from_doubles(dtype, CT_CPU, CT_SHAPE(n), x);
}

/* ---- accuracy --------------------------------------------------------------------------- */

/* Subtractions inside the formulas lose digits near their zeros; there the error is compared with
 * the size of what was subtracted. */
static double value_floor(ct_unary_kind kind, double x) {
    switch (kind) {
    case CT_UNARY_gelu: return fabs(x);
    case CT_UNARY_silu: return fabs(x) * FLT_MIN; /* the sigmoid is subnormal far below 0 */
    case CT_UNARY_add_scalar: return 1;
    default: return 0;
    }
}

START_TEST(unary_values) {
    for (int kind = 0; kind < CT_UNARY_COUNT; kind++) {
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            CT_SCOPE {
                double low, high, p = parameter_p(kind);
                domain(kind, &low, &high);
                ct_tensor *x = ramp(dtype, MOST, low, high);
                ct_tensor *y = ct_tensor_unary(kind, x, p, parameter_q);
                assert_no_error();
                for (int64_t i = 0; i < MOST; i++) {
                    double v = ct_get(x, i);
                    check_value(ct_unary_name(kind), dtype, v, ct_get(y, i),
                                unary_value(kind, v, p, parameter_q), 3, value_floor(kind, v));
                }
            }
        }
    }
}
END_TEST

/* A derivative's error is compared with 1 or its own size, and y's error goes into it. */
START_TEST(unary_derivatives) {
    for (int kind = 0; kind < CT_UNARY_COUNT; kind++) {
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            CT_SCOPE {
                double low, high, p = parameter_p(kind);
                domain(kind, &low, &high);
                ct_tensor *x = ramp(dtype, MOST, low, high);
                ct_tensor *y = ct_tensor_unary(kind, x, p, parameter_q);
                ct_tensor *g = ramp(dtype, MOST, 1, 2);
                ct_tensor *gx = ct_tensor_unary_grad(kind, g, x, y, p, parameter_q);
                assert_no_error();
                for (int64_t i = 0; i < MOST; i++) {
                    double v = ct_get(x, i);
                    double expected = ct_get(g, i) * unary_derivative(kind, v, p, parameter_q);
                    check_value(ct_unary_name(kind), dtype, v, ct_get(gx, i), expected, 16,
                                kind == CT_UNARY_silu ? fmax(1, fabs(v)) : 1);
                }
            }
        }
    }
}
END_TEST

/* The f32 functions of tensor/cpu/math.h over their whole range, in units in the last place. */
START_TEST(f32_functions_within_3_ulp) {
    static const struct {
        ct_unary_kind kind;
        double low, high;
    } ranges[] = {
        {CT_UNARY_exp, -103.5, 88.72}, {CT_UNARY_exp, -1e-3, 1e-3},   {CT_UNARY_expm1, -30, 88.72},
        {CT_UNARY_expm1, -1, 1},       {CT_UNARY_expm1, -1e-4, 1e-4}, {CT_UNARY_log, 0.5, 2},
        {CT_UNARY_log, 1e-3, 1e30},    {CT_UNARY_log, 1e-44, 1e-37},  {CT_UNARY_log1p, -0.99999, 3},
        {CT_UNARY_log1p, -1e-3, 1e-3}, {CT_UNARY_log1p, 1, 1e30},     {CT_UNARY_tanh, -12, 12},
        {CT_UNARY_tanh, -0.1, 0.1},    {CT_UNARY_sigmoid, -100, 100}, {CT_UNARY_sigmoid, -2, 2},
        {CT_UNARY_softplus, -90, 90},  {CT_UNARY_softplus, -2, 2},    {CT_UNARY_erf, -5, 5},
        {CT_UNARY_erf, -1.1, 1.1},     {CT_UNARY_erf, -1e-3, 1e-3},
    };
    enum { POINTS = 200003 };
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        CT_SCOPE {
            ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(POINTS));
            float *point = ct_data(x);
            for (int i = 0; i < POINTS; i++) {
                double t = (double)i / (POINTS - 1);
                point[i] = (float)(ranges[r].low + (ranges[r].high - ranges[r].low) * t);
            }
            const float *y = ct_data(ct_tensor_unary(ranges[r].kind, x, 0, 0));
            for (int i = 0; i < POINTS; i++) {
                check_value(ct_unary_name(ranges[r].kind), CT_F32, point[i], y[i],
                            unary_value(ranges[r].kind, point[i], 0, 0), 3, 0);
            }
        }
    }
}
END_TEST

START_TEST(limits_and_nan) {
    static const double x[] = {0.0,    -0.0,   INFINITY, -INFINITY, NAN,  FLT_MIN, -FLT_MIN, 1e-45,
                               1e-40,  1e30,   -1e30,    FLT_MAX,   88.7, 88.73,   89.5,     -87.4,
                               -103.9, -104.5, -1,       1,         -2,   0.5,     1e-8,     -1e-8};
    enum { COUNT = sizeof x / sizeof *x };
    for (int kind = 0; kind < CT_UNARY_COUNT; kind++) {
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            CT_SCOPE {
                ct_tensor *in = ct_from_doubles(dtype, CT_CPU, CT_SHAPE(COUNT), x);
                ct_tensor *y = ct_tensor_unary(kind, in, parameter_p(kind), parameter_q);
                for (int i = 0; i < COUNT; i++) {
                    double v = ct_get(in, i);
                    double expected = unary_value(kind, v, parameter_p(kind), parameter_q);
                    if (isnan(v)) expected = NAN;
                    if (kind == CT_UNARY_sign && isnan(v)) expected = 0;
                    if (isinf(v) && v < 0 &&
                        (kind == CT_UNARY_silu || kind == CT_UNARY_gelu ||
                         kind == CT_UNARY_hardswish)) {
                        expected = NAN; /* -inf * 0 */
                    }
                    check_value(ct_unary_name(kind), dtype, v, ct_get(y, i), expected, 3,
                                value_floor(kind, v));
                }
            }
        }
    }
}
END_TEST

/* ---- layouts and sizes ------------------------------------------------------------------ */

START_TEST(every_size_gives_the_same_bits) {
    static const int64_t sizes[] = {0, 1, 2, 7, 31, 33, 257, 511, 513, 1025};
    for (int kind = 0; kind < CT_UNARY_COUNT; kind++) {
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            CT_SCOPE {
                double low, high, p = parameter_p(kind);
                domain(kind, &low, &high);
                ct_tensor *x = ramp(dtype, MOST, low, high);
                ct_tensor *y = ct_tensor_unary(kind, x, p, parameter_q);
                for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                    ct_tensor *part = ct_tensor_slice(x, 0, 3, 3 + sizes[s], 1);
                    ct_tensor *expected = ct_tensor_slice(y, 0, 3, 3 + sizes[s], 1);
                    assert_same_bits(ct_tensor_unary(kind, part, p, parameter_q), expected,
                                     ct_unary_name(kind));
                }
            }
        }
    }
}
END_TEST

/* Views of several layouts, each with its elements also in a contiguous tensor. */
static int layouts(ct_dtype dtype, double low, double high, ct_tensor **views) {
    ct_tensor *x = ct_tensor_reshape(ramp(dtype, 2 * 31 * 33, low, high), CT_SHAPE(2, 31, 33));
    ct_tensor *row = ct_tensor_slice(x, 1, 5, 6, 1);
    int n = 0;
    views[n++] = x;
    views[n++] = ct_tensor_transpose(x, 1, 2);
    views[n++] = ct_tensor_permute(x, (int[]){2, 0, 1});
    views[n++] = ct_tensor_slice(x, 2, 1, 33, 3);
    views[n++] = ct_tensor_slice(x, 1, 2, 30, 2);
    views[n++] = ct_tensor_expand(row, CT_SHAPE(2, 40, 33));
    views[n++] = ct_tensor_expand(ct_tensor_slice(x, 2, 4, 5, 1), CT_SHAPE(2, 31, 600));
    views[n++] = ct_tensor_slice(x, 0, 0, 0, 1);
    return n;
}

START_TEST(every_layout_gives_the_same_bits) {
    for (int kind = 0; kind < CT_UNARY_COUNT; kind++) {
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            CT_SCOPE {
                double low, high, p = parameter_p(kind);
                ct_tensor *views[8];
                domain(kind, &low, &high);
                int count = layouts(dtype, low, high, views);
                for (int i = 0; i < count; i++) {
                    ct_tensor *plain = ct_tensor_copy(views[i]);
                    ct_tensor *y = ct_tensor_unary(kind, plain, p, parameter_q);
                    assert_same_bits(ct_tensor_unary(kind, views[i], p, parameter_q), y,
                                     ct_unary_name(kind));
                    ct_tensor *g = ct_tensor_expand(ct_scalar(dtype, CT_CPU, 1.5), plain->shape);
                    assert_same_bits(
                        ct_tensor_unary_grad(kind, g, views[i], y, p, parameter_q),
                        ct_tensor_unary_grad(kind, ct_tensor_copy(g), plain, y, p, parameter_q),
                        ct_unary_name(kind));
                }
            }
        }
    }
}
END_TEST

START_TEST(threads_do_not_change_bits) {
    CT_SCOPE {
        ct_tensor *x = ct_tensor_reshape(ct_arange(CT_F32, CT_CPU, 601 * 700), CT_SHAPE(601, 700));
        x = ct_tensor_transpose(ct_tensor_scale(x, 1e-4), 0, 1);
        ct_set_threads(1);
        ct_tensor *one = ct_tensor_unary(CT_UNARY_gelu, x, 0, 0);
        ct_tensor *plain = ct_tensor_unary(CT_UNARY_gelu, ct_tensor_copy(x), 0, 0);
        assert_same_bits(plain, one, "gelu of a large transposed tensor");
        ct_set_threads(2);
        assert_same_bits(ct_tensor_unary(CT_UNARY_gelu, x, 0, 0), one, "gelu");
        ct_set_threads(5);
        assert_same_bits(ct_tensor_unary(CT_UNARY_gelu, x, 0, 0), one, "gelu");
    }
}
END_TEST

/* ---- two inputs ------------------------------------------------------------------------- */

static double binary_value(ct_binary_kind kind, double a, double b) {
    switch (kind) {
    case CT_BINARY_add: return a + b;
    case CT_BINARY_sub: return a - b;
    case CT_BINARY_mul: return a * b;
    case CT_BINARY_div: return a / b;
    case CT_BINARY_pow: return pow(a, b);
    case CT_BINARY_maximum: return fmax(a, b);
    case CT_BINARY_minimum: return fmin(a, b);
    case CT_BINARY_COUNT: break;
    }
    ck_abort_msg("no reference for binary operation %s", ct_binary_name(kind));
    return NAN;
}

static double binary_derivative(ct_binary_kind kind, int which, double a, double b) {
    double half = a == b ? 0.5 : 0;
    switch (kind) {
    case CT_BINARY_add: return 1;
    case CT_BINARY_sub: return which ? -1 : 1;
    case CT_BINARY_mul: return which ? a : b;
    case CT_BINARY_div: return which ? -a / (b * b) : 1 / b;
    case CT_BINARY_pow: return which ? pow(a, b) * log(a) : b * pow(a, b - 1);
    case CT_BINARY_maximum: return which ? (b > a) + half : (a > b) + half;
    case CT_BINARY_minimum: return which ? (b < a) + half : (a < b) + half;
    case CT_BINARY_COUNT: break;
    }
    return NAN;
}

/* Element of x at a position of the broadcast shape. */
static double broadcast_get(const ct_tensor *x, ct_shape shape, int64_t position) {
    int64_t index = 0, step = 1;
    for (int i = 1; i <= x->shape.ndim; i++) {
        int64_t size = x->shape.dim[x->shape.ndim - i];
        int64_t here = position % shape.dim[shape.ndim - i];
        position /= shape.dim[shape.ndim - i];
        index += (size == 1 ? 0 : here) * step;
        step *= size;
    }
    return ct_get(x, index);
}

static ct_tensor *values(ct_dtype dtype, ct_shape shape, double low, double high) {
    return ct_tensor_reshape(ramp(dtype, ct_shape_count(shape), low, high), shape);
}

static void check_binary(int kind, const ct_tensor *a, const ct_tensor *b) {
    ct_tensor *y = ct_tensor_binary(kind, a, b);
    assert_no_error();
    ct_tensor *g = values(a->dtype, y->shape, 1, 2);
    ct_tensor *ga = ct_tensor_binary_grad(kind, 0, g, a, b);
    ct_tensor *gb = ct_tensor_binary_grad(kind, 1, g, a, b);
    assert_no_error();
    for (int64_t i = 0; i < ct_count(y); i++) {
        double u = broadcast_get(a, y->shape, i), v = broadcast_get(b, y->shape, i);
        const char *name = ct_binary_name(kind);
        check_value(name, a->dtype, u, ct_get(y, i), binary_value(kind, u, v), 1, 0);
        check_value(name, a->dtype, u, ct_get(ga, i),
                    ct_get(g, i) * binary_derivative(kind, 0, u, v), 8, 1);
        check_value(name, a->dtype, u, ct_get(gb, i),
                    ct_get(g, i) * binary_derivative(kind, 1, u, v), 8, 1);
    }
}

START_TEST(binary_broadcast) {
    static const ct_shape shapes[][2] = {
        {{2, {31, 33}}, {2, {31, 33}}},
        {{2, {31, 33}}, {1, {33}}},
        {{1, {33}}, {2, {31, 33}}},
        {{2, {31, 33}}, {2, {31, 1}}},
        {{3, {3, 1, 33}}, {3, {3, 7, 1}}},
        {{0, {0}}, {2, {5, 7}}},
        {{0, {0}}, {0, {0}}},
        {{2, {0, 3}}, {1, {3}}},
        {{2, {1, 3}}, {2, {0, 1}}},
        {{1, {257}}, {1, {1}}},
        {{4, {2, 3, 4, 5}}, {3, {3, 1, 5}}},
        {{2, {3, 600}}, {2, {3, 1}}},
    };
    for (int kind = 0; kind < CT_BINARY_COUNT; kind++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
                CT_SCOPE {
                    check_binary(kind, values(dtype, shapes[s][0], 0.5, 3),
                                 values(dtype, shapes[s][1], 0.75, 2));
                }
            }
        }
    }
}
END_TEST

START_TEST(binary_layouts) {
    for (int kind = 0; kind < CT_BINARY_COUNT; kind++) {
        CT_SCOPE {
            ct_tensor *a[8], *b[8];
            int count = layouts(CT_F32, 0.5, 3, a);
            layouts(CT_F32, 0.75, 2, b);
            for (int i = 0; i < count; i++) {
                ct_tensor *expected =
                    ct_tensor_binary(kind, ct_tensor_copy(a[i]), ct_tensor_copy(b[i]));
                assert_same_bits(ct_tensor_binary(kind, a[i], b[i]), expected,
                                 ct_binary_name(kind));
            }
        }
    }
}
END_TEST

START_TEST(maximum_passes_nan_on) {
    CT_SCOPE {
        ct_tensor *x = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2), (double[]){NAN, 1});
        ct_tensor *y = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2), (double[]){1, NAN});
        for (int i = 0; i < 2; i++) {
            ck_assert(isnan(ct_get(ct_tensor_binary(CT_BINARY_maximum, x, y), i)));
            ck_assert(isnan(ct_get(ct_tensor_binary(CT_BINARY_minimum, x, y), i)));
        }
    }
}
END_TEST

/* ---- comparisons, where, in place -------------------------------------------------------- */

static bool compare_value(ct_compare_kind kind, double a, double b) {
    switch (kind) {
    case CT_COMPARE_equal: return a == b;
    case CT_COMPARE_not_equal: return a != b;
    case CT_COMPARE_less: return a < b;
    case CT_COMPARE_less_equal: return a <= b;
    case CT_COMPARE_greater: return a > b;
    case CT_COMPARE_greater_equal: return a >= b;
    case CT_COMPARE_COUNT: break;
    }
    ck_abort_msg("no reference for comparison %s", ct_compare_name(kind));
    return false;
}

START_TEST(comparisons) {
    for (int kind = 0; kind < CT_COMPARE_COUNT; kind++) {
        for (int dtype = 0; dtype < CT_DTYPE_COUNT; dtype++) {
            CT_SCOPE {
                ct_tensor *a = ct_tensor_reshape(ct_arange(dtype, CT_CPU, 35), CT_SHAPE(5, 7));
                ct_tensor *b = ct_tensor_transpose(
                    ct_tensor_reshape(ct_arange(dtype, CT_CPU, 35), CT_SHAPE(7, 5)), 0, 1);
                ct_tensor *y = ct_tensor_compare(kind, a, b);
                assert_no_error();
                ck_assert(y->dtype == CT_U8);
                for (int64_t i = 0; i < 35; i++) {
                    bool expected = compare_value(kind, ct_get(a, i), ct_get(b, i));
                    ck_assert(ct_get(y, i) == expected);
                }
            }
        }
        CT_SCOPE {
            ct_tensor *nan = ct_scalar(CT_F32, CT_CPU, NAN);
            ct_tensor *one = ct_scalar(CT_F32, CT_CPU, 1);
            ck_assert(ct_item(ct_tensor_compare(kind, nan, one)) == compare_value(kind, NAN, 1));
        }
    }
}
END_TEST

START_TEST(where_every_dtype) {
    for (int dtype = 0; dtype < CT_DTYPE_COUNT; dtype++) {
        CT_SCOPE {
            ct_tensor *a = ct_tensor_reshape(ct_arange(dtype, CT_CPU, 35), CT_SHAPE(5, 7));
            ct_tensor *b = ct_tensor_slice(ct_arange(dtype, CT_CPU, 107), 0, 100, 107, 1);
            uint8_t bits[5] = {1, 0, 0, 255, 1};
            ct_tensor *condition = ct_from_data(CT_U8, CT_CPU, CT_SHAPE(5, 1), bits);
            ct_tensor *y = ct_tensor_where(condition, a, b);
            assert_no_error();
            for (int64_t i = 0; i < 35; i++) {
                double expected = bits[i / 7] ? (double)i : (double)(100 + i % 7);
                ck_assert_msg(ct_get(y, i) == expected, "%s: %g, expected %g", ct_tensor_text(y),
                              ct_get(y, i), expected);
            }
        }
    }
}
END_TEST

START_TEST(in_place) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        CT_SCOPE {
            ct_tensor *y = ct_tensor_reshape(ct_arange(dtype, CT_CPU, 6), CT_SHAPE(2, 3));
            ct_tensor *row = ct_from_doubles(dtype, CT_CPU, CT_SHAPE(3), (double[]){1, 2, 4});
            ck_assert(ct_tensor_add_to(y, 0.5, row));
            ck_assert(ct_tensor_scale_in_place(y, 2));
            assert_close(
                y, ct_from_doubles(dtype, CT_CPU, CT_SHAPE(2, 3), (double[]){1, 4, 8, 7, 10, 14}),
                0, 0, "y");
            /* through a transposed view, columns only */
            ct_tensor *column = ct_tensor_slice(ct_tensor_transpose(y, 0, 1), 0, 1, 2, 1);
            ck_assert(ct_tensor_add_to(column, -1, column));
            ck_assert(ct_tensor_fill(ct_tensor_slice(y, 1, 2, 3, 1), -3));
            assert_close(
                y, ct_from_doubles(dtype, CT_CPU, CT_SHAPE(2, 3), (double[]){1, 0, -3, 7, 0, -3}),
                0, 0, "y");
        }
    }
}
END_TEST

/* ---- errors ----------------------------------------------------------------------------- */

START_TEST(errors) {
    CT_SCOPE {
        ct_tensor *a = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ct_tensor *b = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4));
        ct_tensor *d = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3));
        ct_tensor *i = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(3));
        ck_assert(!ct_tensor_add(a, b));
        assert_error("add: shapes (2,3) and (4) do not broadcast");
        ck_assert(!ct_tensor_mul(a, d));
        assert_error("mul: dtypes differ: f32 (2,3) and f64 (3)");
        ck_assert(!ct_tensor_unary(CT_UNARY_exp, i, 0, 0));
        assert_error("exp: expected f32 or f64, got i64 (3)");
        ck_assert(!ct_tensor_add_to(b, 1, a));
        assert_error("add_to");
        ck_assert(!ct_tensor_fill(ct_tensor_expand(b, CT_SHAPE(2, 4)), 1));
        assert_error("fill: cannot write to f32 (2,4), a view (broadcast, perhaps)");
        ck_assert(!ct_tensor_copy_to(d, a));
        assert_error("copy_to: (2,3) does not broadcast to (3)");
        ck_assert(!ct_tensor_where(a, a, a));
        assert_error("where: the condition is f32 (2,3), expected u8");
        ck_assert(!ct_tensor_unary_grad(CT_UNARY_exp, a, b, b, 0, 0));
        assert_error("exp: shapes differ: (2,3) and (4)");
        ck_assert(!ct_tensor_to_device(a, CT_CUDA) || ct_ok());
        ct_error_clear();
        ck_assert(!ct_tensor_add(NULL, a));
        assert_error("add: an input is NULL");
    }
}
END_TEST

TEST_MAIN("pointwise", unary_values, unary_derivatives, f32_functions_within_3_ulp, limits_and_nan,
          every_size_gives_the_same_bits, every_layout_gives_the_same_bits,
          threads_do_not_change_bits, binary_broadcast, binary_layouts, maximum_passes_nan_on,
          comparisons, where_every_dtype, in_place, errors)
