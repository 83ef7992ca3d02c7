/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of every layout, and conversions between all dtypes. */
#include "tests/tensor/kernel_test.h"

START_TEST(copies_of_every_layout) {
    for (int dtype = 0; dtype < CT_DTYPE_COUNT; dtype++) {
        CT_SCOPE {
            ct_tensor *x = ct_tensor_cast(ct_arange(CT_I32, CT_CPU, 70 * 90 * 3), dtype);
            x = ct_tensor_reshape(x, CT_SHAPE(70, 90, 3));
            for (int i = 0; i < 6; i++) {
                static const int axes[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                              {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
                ct_tensor *view = ct_tensor_permute(x, axes[i]);
                ct_tensor *copy = ct_tensor_copy(view);
                ck_assert(ct_is_contiguous(copy));
                for (int64_t j = 0; j < ct_count(x); j += 7) {
                    if (ct_get(view, j) != ct_get(copy, j)) ck_abort_msg("element %d", (int)j);
                }
                ct_tensor *back = ct_empty(dtype, CT_CPU, x->shape);
                ck_assert(ct_tensor_copy_to(ct_tensor_permute(back, axes[i]), copy));
                assert_same_bits(back, x, ct_dtype_name(dtype));
            }
        }
    }
}
END_TEST

START_TEST(casts_keep_small_integers) {
    for (int from = 0; from < CT_DTYPE_COUNT; from++) {
        for (int to = 0; to < CT_DTYPE_COUNT; to++) {
            CT_SCOPE {
                ct_tensor *y = ct_tensor_cast(ct_arange(from, CT_CPU, 256), to);
                assert_no_error();
                ct_tensor *x = ct_arange(CT_F64, CT_CPU, 256);
                assert_close(y, x, 0, 0, "cast");
            }
        }
    }
}
END_TEST

static double cast_once(double x, ct_dtype from, ct_dtype to) {
    double y = NAN;
    CT_SCOPE { y = ct_item(ct_tensor_cast(ct_scalar(from, CT_CPU, x), to)); }
    return y;
}

/* Nearest value with `digits` significant bits, ties to even, down to a smallest unit. */
static double nearest(double x, int digits, int smallest, double largest) {
    if (x == 0 || isnan(x) || isinf(x)) return x;
    int exponent;
    frexp(x, &exponent);
    int unit = exponent - digits < smallest ? smallest : exponent - digits;
    double y = ldexp(nearbyint(ldexp(x, -unit)), unit);
    return fabs(y) > largest ? copysign(INFINITY, x) : y;
}

START_TEST(half_types_round_to_nearest_even) {
    enum { COUNT = 20000 };
    static double value[COUNT];
    for (ct_dtype from = CT_F32; from <= CT_F64; from++) {
        uint64_t state = 12345;
        for (int i = 0; i < COUNT; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            double x = ldexp(1 + (double)(state >> 40) * 0x1p-24, (int)(state >> 33 & 63) - 32);
            if (i % 3 == 0) x = nearest(x, 12, -26, INFINITY); /* ties of f16 */
            if (i % 3 == 1) x = nearest(x, 9, -26, INFINITY);  /* ties of bf16 */
            if (i % 2) x = -x;
            value[i] = from == CT_F32 ? (float)x : x;
        }
        CT_SCOPE {
            ct_tensor *x = ct_from_doubles(from, CT_CPU, CT_SHAPE(COUNT), value);
            ct_tensor *f16 = ct_tensor_cast(ct_tensor_cast(x, CT_F16), CT_F64);
            ct_tensor *bf16 = ct_tensor_cast(ct_tensor_cast(x, CT_BF16), CT_F64);
            const double *half = ct_data(f16), *brain = ct_data(bf16);
            assert_no_error();
            for (int i = 0; i < COUNT; i++) {
                if (half[i] == nearest(value[i], 11, -24, 65504) &&
                    brain[i] == nearest(value[i], 8, -133, 3.39e38)) {
                    continue;
                }
                ck_abort_msg("%.17g became %.9g in f16, %.9g in bf16", value[i], half[i], brain[i]);
            }
        }
    }
    /* rounding to f32 first would make ties of these */
    ck_assert(cast_once(1 + 0x1p-8 + 0x1p-40, CT_F64, CT_BF16) == 1 + 0x1p-7);
    ck_assert(cast_once(1 + 0x1p-11 + 0x1p-40, CT_F64, CT_F16) == 1 + 0x1p-10);
    ck_assert(cast_once(1 + 0x3p-8 - 0x1p-40, CT_F64, CT_BF16) == 1 + 0x1p-7);
    ck_assert(isinf(cast_once(65520, CT_F32, CT_F16)));
    ck_assert(cast_once(65519, CT_F32, CT_F16) == 65504);
    ck_assert(isnan(cast_once(NAN, CT_F32, CT_F16)) && isnan(cast_once(NAN, CT_F64, CT_BF16)));
    ck_assert(cast_once(-INFINITY, CT_F32, CT_F16) == -INFINITY);
}
END_TEST

/* Every f16 and bf16 value comes back as it was. */
START_TEST(half_types_round_trip) {
    CT_SCOPE {
        uint16_t bits[65536], back[65536];
        for (int i = 0; i < 65536; i++) bits[i] = (uint16_t)i;
        for (ct_dtype dtype = CT_BF16; dtype <= CT_F16; dtype++) {
            ct_tensor *x = ct_from_data(dtype, CT_CPU, CT_SHAPE(65536), bits);
            ct_tensor *wide = ct_tensor_cast(x, CT_F32);
            ck_assert(ct_read(ct_tensor_cast(wide, dtype), back));
            for (int i = 0; i < 65536; i++) {
                if (isnan(((float *)ct_data(wide))[i])) continue;
                ck_assert_msg(back[i] == bits[i], "%s %04x came back as %04x", ct_dtype_name(dtype),
                              bits[i], back[i]);
            }
        }
    }
}
END_TEST

START_TEST(casts_to_integers_saturate) {
    ck_assert(cast_once(3e9, CT_F32, CT_I32) == 2147483647);
    ck_assert(cast_once(-3e9, CT_F64, CT_I32) == -2147483648.0);
    ck_assert(cast_once(-2147483648.0, CT_F64, CT_I32) == -2147483648.0);
    ck_assert(cast_once(1e30, CT_F64, CT_I64) == (double)INT64_MAX);
    ck_assert(cast_once(-1e30, CT_F32, CT_I64) == (double)INT64_MIN);
    ck_assert(cast_once(300, CT_F32, CT_U8) == 255 && cast_once(-5, CT_F64, CT_U8) == 0);
    ck_assert(cast_once(NAN, CT_F32, CT_I32) == 0 && cast_once(NAN, CT_F64, CT_I64) == 0);
    ck_assert(cast_once(-1.9, CT_F32, CT_I32) == -1 && cast_once(254.9, CT_F16, CT_U8) == 254);
}
END_TEST

TEST_MAIN("copy", copies_of_every_layout, casts_keep_small_integers,
          half_types_round_to_nearest_even, half_types_round_trip, casts_to_integers_saturate)
