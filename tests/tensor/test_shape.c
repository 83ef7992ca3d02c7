/* SPDX-License-Identifier: Apache-2.0 */
/* What is no shape, or the shape of no tensor, is refused by whatever takes or computes one. */
#include "tests/test.h"

static const int64_t most = INT64_MAX, half = INT64_C(1) << 62, wide = INT64_C(1) << 40;

static ct_tensor *some(ct_shape shape) { return ct_zeros(CT_F32, CT_CPU, shape); }

/* ---- shapes that are given -------------------------------------------------------------- */

/* Each called with shapes that are none. */
static bool call_empty(ct_shape s) { return ct_empty(CT_F32, CT_CPU, s) != NULL; }
static bool call_zeros(ct_shape s) { return ct_zeros(CT_F32, CT_CPU, s) != NULL; }
static bool call_full(ct_shape s) { return ct_full(CT_F32, CT_CPU, s, 1) != NULL; }
static bool call_data(ct_shape s) { return ct_from_data(CT_F32, CT_CPU, s, "four") != NULL; }
static bool call_doubles(ct_shape s) {
    return ct_from_doubles(CT_F32, CT_CPU, s, (double[]){1}) != NULL;
}
static bool call_memory(ct_shape s) {
    static float data[1];
    return ct_from_memory(CT_F32, s, data, NULL, NULL) != NULL;
}
static bool call_reshape(ct_shape s) { return ct_tensor_reshape(some(CT_SHAPE(1)), s) != NULL; }
static bool call_expand(ct_shape s) { return ct_tensor_expand(some(CT_SHAPE(1)), s) != NULL; }
static bool call_sum_to(ct_shape s) { return ct_tensor_sum_to(some(CT_SHAPE(1, 1)), s) != NULL; }
static bool call_broadcast(ct_shape s) {
    ct_shape out;
    return ct_broadcast_shape("broadcast", s, CT_SHAPE(1), &out);
}
static bool call_broadcast_second(ct_shape s) {
    ct_shape out;
    return ct_broadcast_shape("broadcast", CT_SHAPE(1), s, &out);
}
static bool call_count(ct_shape s) { return ct_shape_count(s) != 0; }
static bool call_uniform(ct_shape s) {
    ct_rng rng = ct_rng_create(1, 0);
    return ct_random_uniform(&rng, "u", CT_F32, CT_CPU, s) != NULL;
}

static bool (*const takes_shape[])(ct_shape) = {
    call_empty,   call_zeros,  call_full,   call_data,      call_doubles,          call_memory,
    call_reshape, call_expand, call_sum_to, call_broadcast, call_broadcast_second, call_count,
    call_uniform,
};

static const ct_shape no_shapes[] = {
    {.ndim = -1},
    {.ndim = INT32_MIN},
    {.ndim = CT_MAX_DIMS + 1},
    {.ndim = INT32_MAX},
    {2, {-2, 1}},
    {2, {INT64_MIN, 1}},
    {3, {INT64_C(1) << 32, INT64_C(1) << 32, 1}}, /* 2^64, 0 where it wraps around */
    {3, {INT64_C(1) << 32, INT64_C(1) << 31, 1}}, /* 2^63, the smallest number */
    {4, {INT64_C(1) << 40, INT64_C(1) << 40, 1, 1}},
};

START_TEST(no_shape_is_taken) {
    CT_SCOPE {
        for (size_t i = 0; i < sizeof no_shapes / sizeof *no_shapes; i++) {
            ck_assert_msg(!takes_shape[_i](no_shapes[i]), "shape %zu was taken", i);
            ck_assert_msg(!ct_ok(), "shape %zu: no error", i);
            ct_error_clear();
        }
    }
}
END_TEST

START_TEST(no_shape_has_a_text_and_equals_none) {
    (void)_i;
    const ct_shape nine = {.ndim = 9}, negative = {.ndim = -1};
    ck_assert_str_eq(ct_shape_text(nine), "(9 dimensions)");
    ck_assert_str_eq(ct_shape_text(negative), "(-1 dimensions)");
    ck_assert(!ct_shape_equal(nine, nine) && !ct_shape_equal(negative, negative));
    ck_assert_int_eq(ct_axis("test", 0, INT32_MAX), -1);
    assert_error("test: 2147483647 dimensions, expected 0 to 8");
    ck_assert_int_eq(ct_axis("test", INT32_MIN, 3), -1);
    assert_error("test: axis -2147483648");
}
END_TEST

START_TEST(minus_one_keeps_a_size) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *x = some(CT_SHAPE(3, 1, 2));
        ct_tensor *y = ct_tensor_expand(x, CT_SHAPE(4, -1, 5, -1));
        assert_no_error();
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(4, 3, 5, 2)));
        ck_assert(!ct_tensor_expand(x, CT_SHAPE(-1, 3, 1, 2)));
        assert_error("expand: negative size in shape (-1,3,1,2)");
        ck_assert(!ct_tensor_expand(x, CT_SHAPE(3, -2, 2)));
        assert_error("expand:");
    }
}
END_TEST

/* ---- shapes that are computed ----------------------------------------------------------- */

START_TEST(reshape_does_not_wrap_around) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *none = some(CT_SHAPE(0));
        ck_assert(!ct_tensor_reshape(none, CT_SHAPE(INT64_C(1) << 32, INT64_C(1) << 32)));
        assert_error("reshape: shape (4294967296,4294967296) is too large");
        ck_assert(!ct_tensor_reshape(none, CT_SHAPE(INT64_C(1) << 32, INT64_C(1) << 32, -1)));
        assert_error("reshape: shape");
        ck_assert(ct_tensor_reshape(none, CT_SHAPE(7, -1)) != NULL);
        assert_no_error();
    }
}
END_TEST

START_TEST(slices_by_any_numbers) {
    (void)_i;
    static const struct {
        int64_t start, stop, step, count, first;
    } cases[] = {
        {0, 10, INT64_MAX, 1, 0},
        {3, 10, INT64_MAX, 1, 3},
        {0, INT64_MAX, INT64_MAX, 1, 0},
        {INT64_MIN, INT64_MAX, 1, 10, 0},
        {INT64_MAX, INT64_MIN, 1, 0, 0},
        {2, 10, INT64_MAX - 7, 1, 2},
        {-1, INT64_MAX, INT64_MAX, 1, 9},
        {0, 10, 9, 2, 0},
        {0, 10, 10, 1, 0},
        {0, 10, 11, 1, 0},
    };
    CT_SCOPE {
        ct_tensor *x = ct_arange(CT_F32, CT_CPU, 10);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            ct_tensor *y = ct_tensor_slice(x, 0, cases[i].start, cases[i].stop, cases[i].step);
            assert_no_error();
            ck_assert_int_eq(ct_count(y), cases[i].count);
            if (cases[i].count) ck_assert(ct_get(y, 0) == (double)cases[i].first);
        }
        /* no stride wraps around, though no second element is asked for */
        ct_tensor *rows =
            ct_tensor_slice(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(10, 3)), 0, 0, 10, most);
        ck_assert(rows->stride[0] > 0 && rows->stride[0] <= 30);
        ck_assert(!ct_tensor_slice(x, 0, 0, 10, INT64_MIN));
        assert_error("slice: step");
    }
}
END_TEST

START_TEST(joining_and_padding_add_up) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *large = ct_tensor_expand(some(CT_SHAPE(1)), CT_SHAPE(half / 4));
        ct_tensor *two[] = {large, large};
        ck_assert(!ct_tensor_concat(two, 2, 0));
        assert_error("concat:");
        ct_tensor *x = some(CT_SHAPE(3));
        const int64_t around[][2] = {{most, 0},     {0, most}, {most, most}, {half, half},
                                     {most - 2, 1}, {-1, 0},   {0, -1},      {INT64_MIN, 0}};
        for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
            ck_assert(!ct_tensor_pad(x, 0, around[i][0], around[i][1], 0));
            assert_error("pad:");
        }
        ck_assert(!ct_arange(CT_I64, CT_CPU, -1));
        assert_error("arange: negative size in shape (-1)");
        ck_assert(!ct_arange(CT_F32, CT_CPU, most));
        assert_error("arange: shape (9223372036854775807) is too large");
        /* a size of 0 hides no other: views of it would wrap around */
        ck_assert_ptr_null(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, most, 8)));
        assert_error("empty: shape (0,9223372036854775807,8) is too large");
    }
}
END_TEST

START_TEST(products_of_views_are_too_large) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *one = ct_scalar(CT_F32, CT_CPU, 1);
        ct_tensor *a = ct_tensor_expand(one, CT_SHAPE(wide, 1));
        ct_tensor *b = ct_tensor_expand(one, CT_SHAPE(1, wide));
        ck_assert(!ct_tensor_add(a, b));
        assert_error("add: shape (1099511627776,1099511627776) is too large");
        ck_assert(!ct_tensor_matmul(a, b));
        assert_error("(1099511627776,1099511627776) is too large");
    }
}
END_TEST

START_TEST(convolution_windows) {
    (void)_i;
    static const ct_tensor_conv1d_options refused[] = {
        {.before = -1, .stride = 1, .dilation = 1},
        {.after = -1, .stride = 1, .dilation = 1},
        {.before = INT64_MIN, .stride = 1, .dilation = 1},
        {.stride = 0, .dilation = 1},
        {.stride = -1, .dilation = 1},
        {.stride = 1, .dilation = 0},
        {.stride = 1, .dilation = INT64_MIN},
        {.stride = 1, .dilation = INT64_MAX},
        {.stride = 1, .dilation = INT64_MAX / 2 + 2}, /* twice that wraps around to 2 */
        {.before = INT64_MAX, .stride = 1, .dilation = 1},
        {.after = INT64_MAX, .stride = 1, .dilation = 1},
        {.before = INT64_MAX, .after = INT64_MAX, .stride = 1, .dilation = 1},
        {.before = INT64_MAX / 2 + 1, .after = INT64_MAX / 2 + 1, .stride = 1, .dilation = 1},
        {.before = INT64_MAX - 2, .stride = INT64_MAX, .dilation = 1},
    };
    CT_SCOPE {
        ct_tensor *x = some(CT_SHAPE(2, 5, 2)), *weight = some(CT_SHAPE(3, 2, 3));
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            ck_assert_msg(!ct_tensor_conv1d(x, weight, NULL, refused[i]), "options %zu", i);
            assert_error("conv1d:");
        }
        ct_tensor_conv1d_options far = {.stride = INT64_MAX, .dilation = 1};
        ct_tensor *y = ct_tensor_conv1d(x, weight, NULL, far);
        assert_no_error();
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(2, 1, 3)));
    }
}
END_TEST

LOOPED_TEST_MAIN("shape", {no_shape_is_taken, sizeof takes_shape / sizeof *takes_shape},
                 {no_shape_has_a_text_and_equals_none, 1}, {minus_one_keeps_a_size, 1},
                 {reshape_does_not_wrap_around, 1}, {slices_by_any_numbers, 1},
                 {joining_and_padding_add_up, 1}, {products_of_views_are_too_large, 1},
                 {convolution_windows, 1})
