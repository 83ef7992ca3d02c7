/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions, running sums and sorting against plain loops in f64. */
#include <float.h>

#include "tests/tensor/kernel_test.h"

/* The reduction as a loop over all elements, in order, in f64; also the sum of |terms|. */
static void plain_reduce(ct_reduce_kind kind, const ct_tensor *x, uint32_t axes, double *y,
                         double *size) {
    ct_shape shape = x->shape;
    int64_t count = ct_count(x), outputs = 1, step[CT_MAX_DIMS];
    for (int i = shape.ndim - 1; i >= 0; i--) {
        step[i] = axes & 1u << i ? 0 : outputs;
        if (step[i]) outputs *= shape.dim[i];
    }
    for (int64_t i = 0; i < outputs; i++) {
        y[i] = kind == CT_PROD ? 1 : kind == CT_MAX ? -INFINITY : kind == CT_MIN ? INFINITY : 0;
        size[i] = 0;
    }
    ct_tensor *wide = ct_tensor_cast(x, CT_F64);
    const double *v = ct_data(wide);
    for (int64_t i = 0; i < count; i++) {
        int64_t to = 0, rest = i;
        for (int d = shape.ndim - 1; d >= 0; d--) {
            to += rest % shape.dim[d] * step[d];
            rest /= shape.dim[d];
        }
        if (kind == CT_MAX) y[to] = fmax(y[to], v[i]);
        if (kind == CT_MIN) y[to] = fmin(y[to], v[i]);
        if (kind == CT_PROD) y[to] *= v[i];
        if (kind == CT_SUM || kind == CT_MEAN) y[to] += v[i];
        size[to] += fabs(v[i]);
    }
    for (int64_t i = 0; i < outputs; i++) {
        if (kind == CT_PROD) size[i] = fabs(y[i]);
        if (kind == CT_MAX || kind == CT_MIN) size[i] = 0;
        if (kind == CT_MEAN) y[i] /= (double)count / (double)outputs;
        if (kind == CT_MEAN) size[i] /= (double)count / (double)outputs;
    }
}

/* A sum in lanes of at most 128 additions, then f64, is within 64 roundings of the exact one. */
static void check_reduce(ct_reduce_kind kind, const ct_tensor *x, uint32_t axes) {
    static double expected[70000], size[70000];
    ct_tensor *y = ct_tensor_reduce(kind, x, axes, true);
    assert_no_error();
    ck_assert_int_eq(ct_ndim(y), ct_ndim(x));
    plain_reduce(kind, x, axes, expected, size);
    double epsilon = x->dtype == CT_F32 ? FLT_EPSILON : DBL_EPSILON;
    ct_tensor *wide = ct_tensor_cast(y, CT_F64);
    const double *got = ct_data(wide);
    for (int64_t i = 0; i < ct_count(y); i++) {
        if (fabs(got[i] - expected[i]) <= 64 * epsilon * size[i] + FLT_TRUE_MIN) continue;
        ck_abort_msg("reduction %d of %s over axes %x: element %lld is %.17g, expected %.17g", kind,
                     ct_tensor_text(x), axes, (long long)i, got[i], expected[i]);
    }
    ct_tensor *dropped = ct_tensor_reduce(kind, x, axes, false);
    ck_assert(ct_count(dropped) == ct_count(y));
    ck_assert(memcmp(ct_data(dropped), ct_data(y), (size_t)ct_count(y) * ct_dtype_size(y->dtype)) ==
              0);
}

START_TEST(every_set_of_axes) {
    static const ct_shape shapes[] = {
        {0, {0}},       {1, {1}},          {1, {31}},           {1, {33}},
        {1, {257}},     {2, {31, 33}},     {2, {3, 1000}},      {2, {1000, 3}},
        {3, {5, 1, 7}}, {3, {4, 36, 130}}, {4, {2, 3, 65, 66}}, {3, {17, 513, 2}},
        {1, {20000}},   {2, {700, 600}},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (ct_reduce_kind kind = CT_SUM; kind <= CT_PROD; kind++) {
            for (uint32_t axes = 0; axes < 1u << shapes[s].ndim; axes++) {
                for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
                    if (ct_shape_count(shapes[s]) > 65536 && axes == 0) continue;
                    CT_SCOPE { check_reduce(kind, noise(dtype, shapes[s], 1, 99), axes); }
                }
            }
        }
    }
}
END_TEST

START_TEST(views) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        for (uint32_t axes = 0; axes < 8; axes++) {
            CT_SCOPE {
                ct_tensor *x = noise(dtype, CT_SHAPE(6, 40, 70), 1, 99);
                check_reduce(CT_SUM, ct_tensor_permute(x, (int[]){2, 0, 1}), axes);
                check_reduce(CT_MAX, ct_tensor_permute(x, (int[]){1, 2, 0}), axes);
                check_reduce(CT_SUM, ct_tensor_slice(x, 2, 1, 60, 3), axes);
                check_reduce(CT_MIN, ct_tensor_slice(x, 1, 3, 40, 2), axes);
                ct_tensor *column = ct_tensor_slice(x, 2, 5, 6, 1);
                check_reduce(CT_MEAN, ct_tensor_expand(column, CT_SHAPE(6, 40, 100)), axes);
                ct_tensor *row = ct_tensor_slice(x, 0, 5, 6, 1);
                check_reduce(CT_SUM, ct_tensor_expand(row, CT_SHAPE(9, 40, 70)), axes);
            }
        }
    }
}
END_TEST

START_TEST(long_sum_is_accurate) {
    CT_SCOPE {
        /* 0.1f two million times: adding one by one in f32 would be off by percents */
        ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(2000, 1000), 0.1);
        double exact = 2e6 * (double)0.1f;
        double sum = ct_item(ct_tensor_reduce(CT_SUM, x, CT_ALL_AXES, false));
        ck_assert_msg(fabs(sum - exact) <= exact * 16 * FLT_EPSILON, "%.9g, expected %.9g", sum,
                      exact);
        ct_tensor *columns = ct_tensor_reduce(CT_SUM, x, 1, false);
        ck_assert(fabs(ct_get(columns, 7) - exact / 1000) <= exact / 1000 * 16 * FLT_EPSILON);
    }
}
END_TEST

START_TEST(threads_do_not_change_bits) {
    static const ct_shape shapes[] = {
        {1, {3000001}}, {2, {5000, 300}}, {2, {300, 5000}}, {3, {64, 300, 36}}, {2, {100000, 7}}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        CT_SCOPE {
            ct_tensor *x = noise(CT_F32, shapes[s], 1, 99);
            for (uint32_t axes = 1; axes < 1u << shapes[s].ndim; axes++) {
                ct_set_threads(1);
                ct_tensor *one = ct_tensor_reduce(CT_SUM, x, axes, false);
                for (int threads = 2; threads <= 5; threads++) {
                    ct_set_threads(threads);
                    ct_tensor *more = ct_tensor_reduce(CT_SUM, x, axes, false);
                    assert_same_bits(more, one, ct_tensor_text(x));
                }
            }
            ct_set_threads(1);
            double norm = ct_item(ct_tensor_global_norm(&x, 1));
            ct_set_threads(3);
            ck_assert(ct_item(ct_tensor_global_norm(&x, 1)) == norm);
        }
    }
}
END_TEST

START_TEST(nothing_to_reduce) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 0));
        ck_assert(ct_get(ct_tensor_reduce(CT_SUM, x, 2, false), 1) == 0);
        ck_assert(ct_get(ct_tensor_reduce(CT_PROD, x, 2, false), 1) == 1);
        ck_assert(isnan(ct_get(ct_tensor_reduce(CT_MEAN, x, 2, false), 1)));
        ck_assert(ct_count(ct_tensor_reduce(CT_MAX, x, 1, false)) == 0);
        assert_no_error();
        ck_assert(!ct_tensor_reduce(CT_MAX, x, 2, false));
        assert_error("max: nothing to choose from in f32 (2,0)");
        ck_assert(!ct_tensor_argmin(x, 1));
        assert_error("argmin: nothing to choose from in f32 (2,0)");
        ck_assert(!ct_tensor_reduce(CT_SUM, x, 4, false));
        assert_error("sum: axes 0x4 name a dimension that f32 (2,0) has not");
        ck_assert(!ct_tensor_reduce(CT_SUM, ct_zeros(CT_I64, CT_CPU, CT_SHAPE(2)), 1, false));
        assert_error("sum: expected f32 or f64, got i64 (2)");
    }
}
END_TEST

START_TEST(nan_and_infinity) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        for (int64_t at = 0; at < 200; at += 37) {
            CT_SCOPE {
                ct_tensor *x = noise(dtype, CT_SHAPE(200), 1, 99);
                ck_assert(!ct_tensor_has_nonfinite(x));
                ct_set(x, at, NAN);
                ck_assert(isnan(ct_item(ct_tensor_reduce(CT_MAX, x, 1, false))));
                ck_assert(isnan(ct_item(ct_tensor_reduce(CT_MIN, x, 1, false))));
                ck_assert(isnan(ct_item(ct_tensor_reduce(CT_SUM, x, 1, false))));
                ck_assert(ct_item(ct_tensor_argmax(x, 0)) == (double)at);
                ck_assert(ct_item(ct_tensor_argmin(x, 0)) != (double)at);
                ck_assert(ct_tensor_has_nonfinite(x));
                ct_set(x, at, -INFINITY);
                ck_assert(ct_item(ct_tensor_reduce(CT_MIN, x, 1, false)) == -INFINITY);
                ck_assert(ct_tensor_has_nonfinite(ct_tensor_cast(x, CT_F16)));
                ck_assert(!ct_tensor_has_nonfinite(ct_tensor_cast(x, CT_I32)));
            }
        }
    }
}
END_TEST

START_TEST(sums_back_to_a_broadcast_shape) {
    CT_SCOPE {
        ct_tensor *x = noise(CT_F64, CT_SHAPE(3, 4, 5), 1, 99);
        static const ct_shape shapes[] = {{3, {3, 4, 5}}, {2, {4, 5}}, {1, {5}},       {0, {0}},
                                          {3, {3, 1, 5}}, {2, {4, 1}}, {3, {1, 1, 1}}, {1, {1}}};
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            ct_tensor *y = ct_tensor_sum_to(x, shapes[s]);
            assert_no_error();
            ck_assert(ct_shape_equal(y->shape, shapes[s]));
            ct_tensor *expected = ct_zeros(CT_F64, CT_CPU, shapes[s]);
            ct_tensor *wide = ct_tensor_expand(expected, x->shape);
            double *to = ct_data(expected);
            for (int64_t i = 0; i < 60; i++) {
                to[i / 20 * wide->stride[0] + i / 5 % 4 * wide->stride[1] +
                   i % 5 * wide->stride[2]] += ct_get(x, i);
            }
            assert_close(y, expected, 1e-15, 0, "sum_to");
        }
        ck_assert(!ct_tensor_sum_to(x, CT_SHAPE(3, 5)));
        assert_error("sum_to: (3,5) does not broadcast to (3,4,5)");
    }
}
END_TEST

START_TEST(arg_max_and_min) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        for (int axis = 0; axis < 3; axis++) {
            CT_SCOPE {
                /* few different values: the first of equals counts */
                ct_tensor *x = noise(dtype, CT_SHAPE(7, 31, 33), 3, 99);
                x = ct_tensor_unary(CT_UNARY_round, x, 0, 0);
                ct_tensor *last = ct_tensor_transpose(x, axis, 2);
                ct_tensor *most = ct_tensor_argmax(x, axis), *least = ct_tensor_argmin(x, axis);
                assert_no_error();
                most = ct_tensor_transpose(ct_tensor_unsqueeze(most, axis), axis, 2);
                least = ct_tensor_transpose(ct_tensor_unsqueeze(least, axis), axis, 2);
                int64_t n = ct_dim(last, 2);
                for (int64_t i = 0; i < ct_count(most); i++) {
                    int64_t high = 0, low = 0;
                    for (int64_t j = 1; j < n; j++) {
                        if (ct_get(last, i * n + j) > ct_get(last, i * n + high)) high = j;
                        if (ct_get(last, i * n + j) < ct_get(last, i * n + low)) low = j;
                    }
                    ck_assert(ct_get(most, i) == (double)high && ct_get(least, i) == (double)low);
                }
            }
        }
    }
}
END_TEST

START_TEST(running_sums) {
    for (int axis = -3; axis < 0; axis++) {
        for (int reverse = 0; reverse < 2; reverse++) {
            CT_SCOPE {
                ct_tensor *x = noise(CT_F32, CT_SHAPE(5, 9, 33), 1, 99);
                x = ct_tensor_permute(x, (int[]){1, 2, 0});
                ct_tensor *y = ct_tensor_transpose(ct_tensor_cumsum(x, axis, reverse), axis, 2);
                ct_tensor *last = ct_tensor_transpose(x, axis, 2);
                assert_no_error();
                int64_t n = ct_dim(last, 2);
                for (int64_t i = 0; i < ct_count(x); i += n) {
                    double sum = 0;
                    for (int64_t j = 0; j < n; j++) {
                        int64_t at = i + (reverse ? n - 1 - j : j);
                        sum += ct_get(last, at);
                        ck_assert(ct_get(y, at) == (double)(float)sum);
                    }
                }
            }
        }
    }
}
END_TEST

START_TEST(sorting_is_stable) {
    static const int64_t sizes[] = {0, 1, 2, 3, 31, 257, 1000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int descending = 0; descending < 2; descending++) {
            for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
                CT_SCOPE {
                    ct_tensor *x = ct_tensor_scale(noise(dtype, CT_SHAPE(sizes[s], 3), 1, 99), 5);
                    x = ct_tensor_transpose(ct_tensor_unary(CT_UNARY_round, x, 0, 0), 0, 1);
                    ct_tensor *y = ct_tensor_argsort(x, descending);
                    assert_no_error();
                    ck_assert(ct_shape_equal(y->shape, x->shape) && y->dtype == CT_I64);
                    for (int64_t i = 0; i < 3 * sizes[s]; i++) {
                        if (i % sizes[s] == 0) continue;
                        int64_t row = i / sizes[s] * sizes[s];
                        int64_t a = (int64_t)ct_get(y, i - 1), b = (int64_t)ct_get(y, i);
                        double va = ct_get(x, row + a), vb = ct_get(x, row + b);
                        ck_assert(va == vb ? a < b : descending ? va > vb : va < vb);
                    }
                }
            }
        }
    }
}
END_TEST

START_TEST(sorting_puts_nan_as_largest) {
    CT_SCOPE {
        static const double value[] = {NAN, 2, INFINITY, 1};
        ct_tensor *x = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(4), value);
        static const double up[] = {3, 1, 2, 0}, down[] = {0, 2, 1, 3};
        for (int i = 0; i < 4; i++) {
            ck_assert(ct_get(ct_tensor_argsort(x, false), i) == up[i]);
            ck_assert(ct_get(ct_tensor_argsort(x, true), i) == down[i]);
        }
    }
}
END_TEST

START_TEST(global_norm) {
    CT_SCOPE {
        ct_tensor *x[] = {noise(CT_F32, CT_SHAPE(100, 33), 1, 99),
                          noise(CT_F32, CT_SHAPE(5), 1, 98),
                          ct_tensor_transpose(noise(CT_F32, CT_SHAPE(65, 31), 1, 99), 0, 1)};
        double sum = 0;
        for (int t = 0; t < 3; t++) {
            for (int64_t i = 0; i < ct_count(x[t]); i++) sum += ct_get(x[t], i) * ct_get(x[t], i);
        }
        ct_tensor *norm = ct_tensor_global_norm(x, 3);
        ck_assert(norm->dtype == CT_F64);
        ck_assert(fabs(ct_item(norm) - sqrt(sum)) < 1e-13 * sqrt(sum));
        ck_assert(ct_item(ct_tensor_global_norm(NULL, 0)) == 0);
        /* squares of these are beyond f32 */
        ct_tensor *large = ct_full(CT_F32, CT_CPU, CT_SHAPE(4), 1e30);
        ck_assert(fabs(ct_item(ct_tensor_global_norm(&large, 1)) / 2e30 - 1) < 1e-7);
    }
}
END_TEST

TEST_MAIN("reduce", every_set_of_axes, views, long_sum_is_accurate, threads_do_not_change_bits,
          nothing_to_reduce, nan_and_infinity, sums_back_to_a_broadcast_shape, arg_max_and_min,
          running_sums, sorting_is_stable, sorting_puts_nan_as_largest, global_norm)
