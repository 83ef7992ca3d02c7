/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and adding at indices, joining and padding. */
#include "tests/test.h"

/* 0, 1, 2, ... of a shape: every element tells where it comes from. */
static ct_tensor *numbered(ct_dtype dtype, ct_shape shape) {
    return ct_tensor_reshape(ct_arange(dtype, CT_CPU, ct_shape_count(shape)), shape);
}

static ct_tensor *index_of(ct_shape shape, const double *values) {
    return ct_from_doubles(CT_I64, CT_CPU, shape, values);
}

static void assert_values(const ct_tensor *x, ct_shape shape, const double *values) {
    assert_no_error();
    ck_assert_msg(ct_shape_equal(x->shape, shape), "%s, expected %s", ct_tensor_text(x),
                  ct_shape_text(shape));
    for (int64_t i = 0; i < ct_count(x); i++) {
        ck_assert_msg(ct_get(x, i) == values[i], "element %lld is %g, expected %g", (long long)i,
                      ct_get(x, i), values[i]);
    }
}

/* Element of a 3-d tensor. */
static double at(const ct_tensor *x, int64_t i, int64_t j, int64_t k) {
    return ct_get(x, (i * x->shape.dim[1] + j) * x->shape.dim[2] + k);
}

START_TEST(selects_along_every_axis) {
    static const double list[] = {2, 0, 2, 1};
    for (int dtype = 0; dtype < CT_DTYPE_COUNT; dtype++) {
        for (int axis = 0; axis < 3; axis++) {
            for (int turned = 0; turned < 2; turned++) {
                CT_SCOPE {
                    ct_tensor *x = numbered(dtype, CT_SHAPE(3, 4, 5));
                    if (turned) x = ct_tensor_transpose(x, 0, 2);
                    ct_tensor *index = index_of(CT_SHAPE(4), list);
                    if (turned) index = ct_tensor_cast(index, CT_I32);
                    ct_tensor *y = ct_tensor_index_select(x, axis, index);
                    assert_no_error();
                    ck_assert_int_eq(ct_dim(y, axis), 4);
                    for (int64_t i = 0; i < ct_dim(y, 0); i++) {
                        for (int64_t j = 0; j < ct_dim(y, 1); j++) {
                            for (int64_t k = 0; k < ct_dim(y, 2); k++) {
                                int64_t from[] = {i, j, k};
                                from[axis] = (int64_t)list[from[axis]];
                                ck_assert(at(y, i, j, k) == at(x, from[0], from[1], from[2]));
                            }
                        }
                    }
                }
            }
        }
    }
}
END_TEST

START_TEST(adds_in_the_order_of_the_index) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        CT_SCOPE {
            ct_tensor *y = ct_zeros(dtype, CT_CPU, CT_SHAPE(3, 2));
            ct_tensor *index = index_of(CT_SHAPE(4), (double[]){1, 2, 1, 1});
            ck_assert(ct_tensor_index_add_to(y, 0, index, numbered(dtype, CT_SHAPE(4, 2))));
            assert_values(y, CT_SHAPE(3, 2), (double[]){0, 0, 10, 13, 2, 3});
            /* columns, into a view */
            ct_tensor *wide = ct_zeros(dtype, CT_CPU, CT_SHAPE(2, 6));
            ct_tensor *view = ct_tensor_slice(wide, 1, 1, 6, 2);
            ck_assert(ct_tensor_index_add_to(view, -1, index, numbered(dtype, CT_SHAPE(2, 4))));
            assert_values(wide, CT_SHAPE(2, 6), (double[]){0, 0, 0, 5, 0, 1, 0, 0, 0, 17, 0, 5});
        }
    }
    CT_SCOPE {
        /* 1 + 2^-24 - 1 in f32 is 0 in this order only */
        ct_tensor *y = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1));
        ct_tensor *x = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(3), (double[]){1, 0x1p-25, -1});
        ck_assert(ct_tensor_index_add_to(y, 0, index_of(CT_SHAPE(3), (double[]){0, 0, 0}), x));
        ck_assert(ct_item(y) == 0);
    }
}
END_TEST

START_TEST(threads_do_not_change_bits) {
    CT_SCOPE {
        ct_tensor *index = ct_empty(CT_I64, CT_CPU, CT_SHAPE(3000));
        for (int64_t i = 0; i < 3000; i++) ((int64_t *)ct_data(index))[i] = i * 7919 % 50;
        ct_tensor *x = ct_tensor_unary(CT_UNARY_sin, numbered(CT_F32, CT_SHAPE(3000, 300)), 0, 0);
        ct_tensor *y[3];
        for (int i = 0; i < 3; i++) {
            ct_set_threads(1 + 2 * i);
            y[i] = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(50, 300));
            ck_assert(ct_tensor_index_add_to(y[i], 0, index, x));
            ck_assert(memcmp(ct_data(y[i]), ct_data(y[0]), 50 * 300 * 4) == 0);
        }
        ct_tensor *expected = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(50, 300));
        double *to = ct_data(expected);
        const float *from = ct_data(x);
        for (int64_t i = 0; i < 3000 * 300; i++) {
            to[i / 300 * 7919 % 50 * 300 + i % 300] += (double)from[i];
        }
        assert_close(ct_tensor_cast(y[0], CT_F64), expected, 0, 1e-4, "index_add");
        ct_set_threads(0);
    }
}
END_TEST

START_TEST(gathers_and_scatters) {
    static const double along_0[] = {1, 0, 1, 0, 1, 1}, along_1[] = {2, 0, 0, 1};
    for (int dtype = 0; dtype < CT_DTYPE_COUNT; dtype++) {
        CT_SCOPE {
            ct_tensor *x = numbered(dtype, CT_SHAPE(2, 3));
            assert_values(ct_tensor_gather(x, 0, index_of(CT_SHAPE(2, 3), along_0)), CT_SHAPE(2, 3),
                          (double[]){3, 1, 5, 0, 4, 5});
            assert_values(ct_tensor_gather(x, 1, index_of(CT_SHAPE(2, 2), along_1)), CT_SHAPE(2, 2),
                          (double[]){2, 0, 3, 4});
            ct_tensor *turned = ct_tensor_transpose(numbered(dtype, CT_SHAPE(3, 2)), 0, 1);
            ct_tensor *index = ct_tensor_cast(index_of(CT_SHAPE(2, 2), along_1), CT_I32);
            assert_values(ct_tensor_gather(turned, 1, index), CT_SHAPE(2, 2),
                          (double[]){4, 0, 1, 3});
        }
    }
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        CT_SCOPE {
            ct_tensor *y = ct_full(dtype, CT_CPU, CT_SHAPE(2, 3), 10);
            ct_tensor *index = index_of(CT_SHAPE(2, 3), along_0);
            ck_assert(ct_tensor_scatter_add_to(y, 0, index, numbered(dtype, CT_SHAPE(2, 3))));
            assert_values(y, CT_SHAPE(2, 3), (double[]){13, 11, 10, 10, 14, 17});
            ct_tensor *wide = ct_zeros(dtype, CT_CPU, CT_SHAPE(3, 2));
            ck_assert(ct_tensor_scatter_add_to(ct_tensor_transpose(wide, 0, 1), 1,
                                               index_of(CT_SHAPE(2, 2), along_1),
                                               numbered(dtype, CT_SHAPE(2, 2))));
            assert_values(wide, CT_SHAPE(3, 2), (double[]){1, 2, 0, 3, 0, 0});
        }
    }
}
END_TEST

START_TEST(nothing_selected) {
    CT_SCOPE {
        ct_tensor *x = numbered(CT_F32, CT_SHAPE(2, 3));
        ct_tensor *none = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(0));
        ct_tensor *y = ct_tensor_index_select(x, 1, none);
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(2, 0)));
        ck_assert(ct_tensor_index_add_to(x, 1, none, y));
        assert_values(x, CT_SHAPE(2, 3), (double[]){0, 1, 2, 3, 4, 5});
    }
}
END_TEST

START_TEST(joins_and_pads) {
    for (int dtype = 0; dtype < CT_DTYPE_COUNT; dtype++) {
        CT_SCOPE {
            ct_tensor *a = numbered(dtype, CT_SHAPE(2, 2));
            ct_tensor *b = ct_tensor_transpose(numbered(dtype, CT_SHAPE(1, 2)), 0, 1);
            ct_tensor *none = ct_zeros(dtype, CT_CPU, CT_SHAPE(2, 0));
            ct_tensor *list[] = {a, none, b, a};
            assert_values(ct_tensor_concat(list, 4, 1), CT_SHAPE(2, 5),
                          (double[]){0, 1, 0, 0, 1, 2, 3, 1, 2, 3});
            list[1] = ct_tensor_transpose(a, 0, 1);
            assert_values(ct_tensor_concat(list, 2, -2), CT_SHAPE(4, 2),
                          (double[]){0, 1, 2, 3, 0, 2, 1, 3});
            assert_values(ct_tensor_pad(a, 1, 1, 2, 9), CT_SHAPE(2, 5),
                          (double[]){9, 0, 1, 9, 9, 9, 2, 3, 9, 9});
            assert_values(ct_tensor_pad(a, 0, 0, 1, 7), CT_SHAPE(3, 2),
                          (double[]){0, 1, 2, 3, 7, 7});
        }
    }
}
END_TEST

START_TEST(errors) {
    CT_SCOPE {
        ct_tensor *x = numbered(CT_F32, CT_SHAPE(2, 3));
        ct_tensor *index = index_of(CT_SHAPE(2), (double[]){0, 3});
        ck_assert(!ct_tensor_index_select(x, 1, index));
        assert_error("index_select: index 3 at position 1 is outside 0..2");
        ck_assert(!ct_tensor_index_select(x, 0, index_of(CT_SHAPE(1), (double[]){-1})));
        assert_error("index_select: index -1 at position 0 is outside 0..1");
        ck_assert(!ct_tensor_index_select(x, 0, x));
        assert_error("index_select: the index is f32 (2,3), expected 1 dimension");
        ck_assert(!ct_tensor_index_select(x, 0, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2))));
        assert_error("index_select: the index is f32 (2), expected i64 or i32");
        ck_assert(!ct_tensor_index_select(x, 5, index));
        assert_error("index_select: axis 5");
        ck_assert(!ct_tensor_index_add_to(x, 1, index, x));
        assert_error("index_add: what is added is (2,3), expected (2,2)");
        ct_tensor *two = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 2));
        ck_assert(!ct_tensor_index_add_to(x, 1, index, two));
        assert_error("index_add: index 3 at position 1 is outside 0..2");
        assert_values(x, CT_SHAPE(2, 3), (double[]){0, 1, 2, 3, 4, 5});
        ct_tensor *square = index_of(CT_SHAPE(2, 2), (double[]){0, 1, 2, 3});
        ck_assert(!ct_tensor_gather(x, 0, square));
        assert_error("gather: the index is (2,2), which differs from (2,3) elsewhere than along");
        ck_assert(!ct_tensor_gather(x, 1, square));
        assert_error("gather: index 3 at position 3 is outside 0..2");
        ck_assert(!ct_tensor_scatter_add_to(x, 1, square, two));
        assert_error("scatter_add: index 3 at position 3 is outside 0..2");
        ct_tensor *list[] = {x, two};
        ck_assert(!ct_tensor_concat(list, 2, 0));
        assert_error("concat: (2,3) and (2,2) differ elsewhere than along axis 0");
        list[1] = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 3));
        ck_assert(!ct_tensor_concat(list, 2, 0));
        assert_error("concat: dtypes differ");
        ck_assert(!ct_tensor_concat(list, 0, 0));
        assert_error("concat: nothing to join");
        ck_assert(!ct_tensor_pad(x, 0, -1, 0, 0));
        assert_error("pad: -1 before and 0 after");
    }
}
END_TEST

TEST_MAIN("index", selects_along_every_axis, adds_in_the_order_of_the_index,
          threads_do_not_change_bits, gathers_and_scatters, nothing_selected, joins_and_pads,
          errors)
