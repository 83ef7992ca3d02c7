/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors as text; what is expected is what numpy prints of the same values. */
#include "tests/test.h"

static void assert_prints(const ct_tensor *x, const char *expected, const char *last,
                          const char *what) {
    char *text = ct_print_text(x);
    assert_no_error();
    char *end = strstr(text, last);
    ck_assert_msg(end && end > text && !end[strlen(last)], "%s: printed\n%s", what, text);
    end[-1] = 0;
    ck_assert_msg(strcmp(text, expected) == 0, "%s: printed\n%s\nexpected\n%s", what, text,
                  expected);
    free(text);
}

static const struct {
    const char *what;
    ct_dtype dtype;
    ct_shape shape;
    double value[12];
    const char *text;
} cases[] = {
    {"whole numbers", CT_F32, CT_SHAPE(4), {1, 2, -3, 40}, "[ 1.  2. -3. 40.]"},
    {"fractions",
     CT_F32,
     CT_SHAPE(2, 2),
     {1, -2.5, 0.125, NAN},
     "[[ 1.    -2.5  ]\n"
     " [ 0.125    nan]]"},
    {"shortest in f32",
     CT_F32,
     CT_SHAPE(3),
     {0.1, 0.3333333333333333, 0.6666666666666666},
     "[0.1        0.33333334 0.6666667 ]"},
    {"shortest in f64",
     CT_F64,
     CT_SHAPE(3),
     {0.1, 0.3333333333333333, 3.141592653589793},
     "[0.1        0.33333333 3.14159265]"},
    {"shortest in f16",
     CT_F16,
     CT_SHAPE(3),
     {0.1, 0.3333333333333333, 100.2},
     "[9.998e-02 3.333e-01 1.002e+02]"},
    {"large", CT_F32, CT_SHAPE(2), {33554432, 99999992}, "[33554432. 99999992.]"},
    {"exponents",
     CT_F64,
     CT_SHAPE(3),
     {1, 25000000000.0, -3.25e-07},
     "[ 1.00e+00  2.50e+10 -3.25e-07]"},
    {"small", CT_F32, CT_SHAPE(3), {1e-05, 0, 2e-05}, "[1.e-05 0.e+00 2.e-05]"},
    {"a ratio over 1000", CT_F32, CT_SHAPE(3), {0.001, 1.5, 0}, "[1.0e-03 1.5e+00 0.0e+00]"},
    {"a ratio of 1000", CT_F32, CT_SHAPE(3), {0.001, 1, 0}, "[0.001 1.    0.   ]"},
    {"three digits of exponent", CT_F64, CT_SHAPE(2), {1e+100, 1}, "[1.e+100 1.e+000]"},
    {"infinite", CT_F64, CT_SHAPE(4), {INFINITY, -INFINITY, NAN, 1.25}, "[ inf -inf  nan 1.25]"},
    {"nothing finite", CT_F32, CT_SHAPE(2), {INFINITY, NAN}, "[inf nan]"},
    {"minus infinity alone", CT_F32, CT_SHAPE(2), {-INFINITY, NAN}, "[-inf  nan]"},
    {"nan among exponents",
     CT_F32,
     CT_SHAPE(3),
     {10000000000.0, NAN, -INFINITY},
     "[1.e+10    nan   -inf]"},
    {"zeros", CT_F32, CT_SHAPE(2), {0, -0.0}, "[ 0. -0.]"},
    {"cut", CT_F64, CT_SHAPE(2), {123.123456789123, 0.999999999}, "[123.12345679   1.        ]"},
    {"i32", CT_I32, CT_SHAPE(2), {-5, 12345}, "[   -5 12345]"},
    {"i64",
     CT_I64,
     CT_SHAPE(3, 1),
     {9007199254740992, -7, 0},
     "[[9007199254740992]\n"
     " [              -7]\n"
     " [               0]]"},
    {"u8",
     CT_U8,
     CT_SHAPE(2, 2),
     {0, 255, 7, 8},
     "[[  0 255]\n"
     " [  7   8]]"},
    {"three dimensions",
     CT_I64,
     CT_SHAPE(2, 2, 3),
     {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
     "[[[ 0  1  2]\n"
     "  [ 3  4  5]]\n"
     "\n"
     " [[ 6  7  8]\n"
     "  [ 9 10 11]]]"},
    {"four dimensions",
     CT_I64,
     CT_SHAPE(2, 2, 1, 2),
     {0, 1, 2, 3, 4, 5, 6, 7},
     "[[[[0 1]]\n"
     "\n"
     "  [[2 3]]]\n"
     "\n"
     "\n"
     " [[[4 5]]\n"
     "\n"
     "  [[6 7]]]]"},
    {"shortest in bf16", CT_BF16, CT_SHAPE(3), {0.1, 1.0 / 3, 0.5}, "[0.1   0.334 0.5  ]"},
    {"nothing", CT_F32, CT_SHAPE(2, 0), {0}, "[]"},
    {"a scalar", CT_F32, CT_SCALAR_SHAPE, {-0.25}, "-0.25"},
};

START_TEST(prints_as_numpy_does) {
    CT_SCOPE {
        const char *what = cases[_i].what;
        ct_tensor *x = ct_from_doubles(cases[_i].dtype, CT_CPU, cases[_i].shape, cases[_i].value);
        char last[96];
        snprintf(last, sizeof last, "%s on cpu\n", ct_tensor_text(x));
        assert_prints(x, cases[_i].text, last, what);
    }
}
END_TEST

static ct_tensor *counting(ct_dtype dtype, ct_shape shape, double unit) {
    ct_tensor *x = ct_arange(CT_F64, CT_CPU, ct_shape_count(shape));
    return ct_tensor_cast(ct_tensor_scale(ct_tensor_reshape(x, shape), unit), dtype);
}

static const struct {
    ct_dtype dtype;
    ct_shape shape;
    double unit;
    const char *text;
} counted[] = {
    {CT_F32, CT_SHAPE(40), 1,
     "[ 0.  1.  2.  3.  4.  5.  6.  7.  8.  9. 10. 11. 12. 13. 14. 15. 16. 17.\n"
     " 18. 19. 20. 21. 22. 23. 24. 25. 26. 27. 28. 29. 30. 31. 32. 33. 34. 35.\n"
     " 36. 37. 38. 39.]"},
    {CT_F32, CT_SHAPE(40), 0.125,
     "[0.    0.125 0.25  0.375 0.5   0.625 0.75  0.875 1.    1.125 1.25  1.375\n"
     " 1.5   1.625 1.75  1.875 2.    2.125 2.25  2.375 2.5   2.625 2.75  2.875\n"
     " 3.    3.125 3.25  3.375 3.5   3.625 3.75  3.875 4.    4.125 4.25  4.375\n"
     " 4.5   4.625 4.75  4.875]"},
    {CT_I64, CT_SHAPE(1001), 1, "[   0    1    2 ...  998  999 1000]"},
    {CT_I64, CT_SHAPE(42, 42), 1,
     "[[   0    1    2 ...   39   40   41]\n"
     " [  42   43   44 ...   81   82   83]\n"
     " [  84   85   86 ...  123  124  125]\n"
     " ...\n"
     " [1638 1639 1640 ... 1677 1678 1679]\n"
     " [1680 1681 1682 ... 1719 1720 1721]\n"
     " [1722 1723 1724 ... 1761 1762 1763]]"},
    {CT_I64, CT_SHAPE(3, 20, 20), 1,
     "[[[   0    1    2 ...   17   18   19]\n"
     "  [  20   21   22 ...   37   38   39]\n"
     "  [  40   41   42 ...   57   58   59]\n"
     "  ...\n"
     "  [ 340  341  342 ...  357  358  359]\n"
     "  [ 360  361  362 ...  377  378  379]\n"
     "  [ 380  381  382 ...  397  398  399]]\n"
     "\n"
     " [[ 400  401  402 ...  417  418  419]\n"
     "  [ 420  421  422 ...  437  438  439]\n"
     "  [ 440  441  442 ...  457  458  459]\n"
     "  ...\n"
     "  [ 740  741  742 ...  757  758  759]\n"
     "  [ 760  761  762 ...  777  778  779]\n"
     "  [ 780  781  782 ...  797  798  799]]\n"
     "\n"
     " [[ 800  801  802 ...  817  818  819]\n"
     "  [ 820  821  822 ...  837  838  839]\n"
     "  [ 840  841  842 ...  857  858  859]\n"
     "  ...\n"
     "  [1140 1141 1142 ... 1157 1158 1159]\n"
     "  [1160 1161 1162 ... 1177 1178 1179]\n"
     "  [1180 1181 1182 ... 1197 1198 1199]]]"},
    {CT_I32, CT_SHAPE(2, 1001), 1,
     "[[   0    1    2 ...  998  999 1000]\n"
     " [1001 1002 1003 ... 1999 2000 2001]]"},
    {CT_F32, CT_SHAPE(2, 2, 441), 0.25,
     "[[[0.0000e+00 2.5000e-01 5.0000e-01 ... 1.0950e+02 1.0975e+02 1.1000e+02]\n"
     "  [1.1025e+02 1.1050e+02 1.1075e+02 ... 2.1975e+02 2.2000e+02 2.2025e+02]]\n"
     "\n"
     " [[2.2050e+02 2.2075e+02 2.2100e+02 ... 3.3000e+02 3.3025e+02 3.3050e+02]\n"
     "  [3.3075e+02 3.3100e+02 3.3125e+02 ... 4.4025e+02 4.4050e+02 4.4075e+02]]]"},
};

START_TEST(wraps_lines_and_leaves_out_the_middle) {
    CT_SCOPE {
        ct_tensor *x = counting(counted[_i].dtype, counted[_i].shape, counted[_i].unit);
        char last[96];
        snprintf(last, sizeof last, "%s on cpu\n", ct_tensor_text(x));
        assert_prints(x, counted[_i].text, last, "counted");
    }
}
END_TEST

/* 1000 elements are printed whole, one more is not. */
START_TEST(shows_a_thousand) {
    CT_SCOPE {
        char *text = ct_print_text(ct_arange(CT_I64, CT_CPU, 1000));
        ck_assert_ptr_nonnull(strstr(text, " 500 "));
        ck_assert_ptr_null(strstr(text, "..."));
        free(text);
    }
}
END_TEST

START_TEST(prints_views_and_devices) {
    CT_SCOPE {
        ct_tensor *x = ct_arange(CT_I64, test_device(), 6);
        ct_tensor *t = ct_tensor_transpose(ct_tensor_reshape(x, CT_SHAPE(2, 3)), 0, 1);
        char last[64];
        snprintf(last, sizeof last, "i64 (3,2) on %s\n", ct_device_name(test_device()));
        assert_prints(t, "[[0 3]\n [1 4]\n [2 5]]", last, "transposed");
        int64_t ends[] = {INT64_MAX, INT64_MIN};
        assert_prints(ct_from_data(CT_I64, CT_CPU, CT_SHAPE(2), ends),
                      "[ 9223372036854775807 -9223372036854775808]", "i64 (2) on cpu\n", "ends");
        ct_tensor *row = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(1, 2), (double[]){1, 2});
        assert_prints(ct_tensor_expand(row, CT_SHAPE(2, 2)), "[[1. 2.]\n [1. 2.]]",
                      "f32 (2,2) on cpu\n", "expanded");
    }
}
END_TEST

START_TEST(writes_to_a_file) {
    CT_SCOPE {
        char *text = NULL;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size);
        ck_assert(ct_print(file, ct_scalar(CT_F64, CT_CPU, 2)) && ct_print(file, NULL));
        fclose(file);
        ck_assert_str_eq(text, "2.\nf64 () on cpu\nNULL\n");
        free(text);
        ck_assert(!ct_print(NULL, NULL));
        assert_error("print: the file is NULL");
        file = fopen("/dev/null", "r");
        ck_assert(!ct_print(file, ct_scalar(CT_F64, CT_CPU, 2)));
        assert_error("print: ");
        fclose(file);
    }
}
END_TEST

LOOPED_TEST_MAIN("print", {prints_as_numpy_does, sizeof cases / sizeof *cases},
                 {wraps_lines_and_leaves_out_the_middle, sizeof counted / sizeof *counted},
                 {shows_a_thousand, 1}, {prints_views_and_devices, 1}, {writes_to_a_file, 1})
