/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, conversions, fills and random numbers on CUDA against the CPU, all to the same bits. */
#include "tests/cuda/cuda_test.h"

/* Values that conversions may get wrong: ends of ranges, ties, subnormals. */
static ct_tensor *hard_values(ct_dtype dtype, int64_t rows, int64_t columns) {
    static const double hard[] = {
        0,         -0.0,    1,          -1,         0.5,           2.5,
        255.5,     256,     65504,      65520,      1e-7,          6e-8,
        3e38,      -3e38,   1e300,      2147483647, 2147483648.0,  -2147483649.0,
        9.3e18,    -9.3e18, 1.00390625, 1.0078125,  1.0 + 0x1p-40, INFINITY,
        -INFINITY, NAN};
    enum { HARD = sizeof hard / sizeof *hard };
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, CT_SHAPE(rows, columns));
    double *v = ct_data(x);
    for (int64_t i = 0; i < rows * columns; i++) v[i] = hard[(i * 7 + i / HARD) % HARD];
    return ct_tensor_cast(x, dtype);
}

static ct_tensor *copied(const ct_tensor *x, ct_dtype dtype, ct_device device) {
    ct_tensor *y = ct_empty(dtype, device, x->shape);
    return ct_tensor_copy_to(y, x) ? y : NULL;
}

START_TEST(converts_as_the_cpu) {
    ct_dtype from = (ct_dtype)(_i / CT_DTYPE_COUNT), to = (ct_dtype)(_i % CT_DTYPE_COUNT);
    for (int s = 0; s < ODD_SIZES; s++) {
        for (int how = 0; how < LAYOUTS; how++) {
            CT_SCOPE {
                ct_tensor *values = hard_values(from, 3, odd_size(s, 3));
                const ct_tensor *x = laid_out(values, (test_layout)how);
                assert_same_on_both(copied(on_cuda(x), to, CT_CUDA), copied(x, to, CT_CPU), "copy");
            }
        }
    }
}
END_TEST

/* Views of a tensor with five dimensions: every pair of them changed places, slices, broadcasts. */
START_TEST(copies_any_strides) {
    static const ct_dtype dtypes[] = {CT_U8, CT_F16, CT_F32, CT_F64};
    for (int d = 0; d < 4; d++) {
        for (int pair = 0; pair < 25; pair++) {
            CT_SCOPE {
                ct_tensor *x =
                    ct_tensor_cast(noise(CT_F64, CT_SHAPE(2, 33, 3, 40, 5), 100, 3), dtypes[d]);
                const ct_tensor *turned = ct_tensor_transpose(x, pair / 5, pair % 5);
                assert_same_on_both(ct_tensor_copy(on_cuda(turned)), ct_tensor_copy(turned),
                                    "transposed");
                const ct_tensor *part = ct_tensor_slice(turned, pair % 5, 1, 40, 2);
                assert_same_on_both(ct_tensor_copy(on_cuda(part)), ct_tensor_copy(part), "slice");
                const ct_tensor *wide = ct_tensor_expand(
                    ct_tensor_unsqueeze(part, 0),
                    CT_SHAPE(2, part->shape.dim[0], part->shape.dim[1], part->shape.dim[2],
                             part->shape.dim[3], part->shape.dim[4]));
                assert_same_on_both(ct_tensor_copy(on_cuda(wide)), ct_tensor_copy(wide), "wide");
            }
        }
    }
}
END_TEST

/* Into a part of a larger tensor: what lies around stays. */
START_TEST(writes_only_its_own) {
    for (int how = 0; how < 2; how++) {
        CT_SCOPE {
            ct_tensor *y = noise(CT_F32, CT_SHAPE(70, 90), 1, 8), *cuda = on_cuda(y);
            const ct_tensor *x = laid_out(noise(CT_F32, CT_SHAPE(33, 65), 1, 9), (test_layout)how);
            ct_tensor *parts[] = {y, cuda};
            for (int i = 0; i < 2; i++) {
                ct_tensor *rows = ct_tensor_slice(parts[i], 0, 3, 69, 2);
                ct_tensor *part = ct_tensor_slice(rows, 1, 7, 72, 1);
                require(ct_tensor_copy_to(part, i ? on_cuda(x) : x), "%s", ct_error());
                require(ct_tensor_fill(ct_tensor_slice(part, 1, 3, 5, 1), 7), "%s", ct_error());
            }
            assert_same_on_both(cuda, y, "part");
        }
    }
}
END_TEST

START_TEST(moves_between_devices) {
    for (int s = 0; s < ODD_SIZES; s++) {
        for (int how = 0; how < LAYOUTS; how++) {
            CT_SCOPE {
                const ct_tensor *x = noise(CT_F32, CT_SHAPE(3, odd_size(s, 3)), 1, 2);
                x = laid_out(x, (test_layout)how);
                ct_tensor *there = ct_tensor_to_device(x, CT_CUDA);
                assert_same_on_both(there, ct_tensor_copy(x), "there");
                assert_same_bits(ct_tensor_to_device(on_cuda(x), CT_CPU), x, "back");
                ct_tensor *wide = ct_zeros(CT_F64, CT_CUDA, CT_SHAPE(2, 3, odd_size(s, 3)));
                require(ct_tensor_copy_to(wide, x), "%s", ct_error());
                ct_tensor *expected = ct_zeros(CT_F64, CT_CPU, wide->shape);
                ct_tensor_copy_to(expected, x);
                assert_same_on_both(wide, expected, "converted and spread");
            }
        }
    }
}
END_TEST

START_TEST(fills_as_the_cpu) {
    static const double values[] = {0, -0.0, 1.5, -3, 300, 1e300, INFINITY, NAN};
    for (int d = 0; d < CT_DTYPE_COUNT; d++) {
        for (int s = 0; s < ODD_SIZES; s++) {
            for (int v = 0; v < 8; v++) {
                CT_SCOPE {
                    ct_shape shape = CT_SHAPE(odd_size(s, 1));
                    assert_same_on_both(ct_full((ct_dtype)d, CT_CUDA, shape, values[v]),
                                        ct_full((ct_dtype)d, CT_CPU, shape, values[v]), "fill");
                }
            }
        }
    }
}
END_TEST

START_TEST(counts_as_the_cpu) {
    for (int d = 0; d < CT_DTYPE_COUNT; d++) {
        for (int s = 0; s < ODD_SIZES; s++) {
            CT_SCOPE {
                assert_same_on_both(ct_arange((ct_dtype)d, CT_CUDA, odd_size(s, 1)),
                                    ct_arange((ct_dtype)d, CT_CPU, odd_size(s, 1)), "arange");
            }
        }
    }
}
END_TEST

START_TEST(reads_and_sets_elements) {
    CT_SCOPE {
        ct_tensor *x = ct_from_doubles(CT_F32, CT_CUDA, CT_SHAPE(2, 2), (double[]){1, 2, 3, 4});
        ct_tensor *turned = ct_tensor_transpose(x, 0, 1);
        ck_assert_double_eq(ct_get(turned, 1), 3);
        ck_assert(ct_set(turned, 1, 9));
        ck_assert_double_eq(ct_get(x, 2), 9);
        ck_assert_double_eq(ct_item(ct_scalar(CT_I64, CT_CUDA, 42)), 42);
        assert_no_error();
        ck_assert_ptr_null(ct_data(x));
        assert_error("this one is on cuda");
    }
}
END_TEST

START_TEST(draws_the_same_bits) {
    static const uint64_t offsets[] = {0, 5, 0xfffffffeu, UINT64_MAX - 1};
    for (int d = 0; d < 2; d++) {
        for (int s = 0; s < ODD_SIZES; s++) {
            for (int o = 0; o < 4; o++) {
                CT_SCOPE {
                    ct_rng cpu = {
                        .seed = 0x123456789abcu, .stream = 77 + (uint64_t)o, .offset = offsets[o]};
                    ct_rng cuda = cpu;
                    ct_dtype dtype = d ? CT_F64 : CT_F32;
                    ct_shape shape = CT_SHAPE(odd_size(s, 1));
                    assert_same_on_both(ct_random_uniform(&cuda, "u", dtype, CT_CUDA, shape),
                                        ct_random_uniform(&cpu, "u", dtype, CT_CPU, shape),
                                        "uniform");
                    assert_same_on_both(ct_random_normal(&cuda, "z", dtype, CT_CUDA, shape),
                                        ct_random_normal(&cpu, "z", dtype, CT_CPU, shape),
                                        "normal");
                    assert_same_on_both(ct_random_bernoulli(&cuda, "b", 0.3, dtype, CT_CUDA, shape),
                                        ct_random_bernoulli(&cpu, "b", 0.3, dtype, CT_CPU, shape),
                                        "bernoulli");
                    ct_tensor *rows =
                        ct_from_data(CT_I64, CT_CPU, CT_SHAPE(4), (int64_t[]){5, 0, 5, 2});
                    shape = CT_SHAPE(2, 3, 4 * odd_size(s, 1));
                    assert_same_on_both(
                        ct_random_normal_rows(&cuda, "z", dtype, CT_CUDA, shape, 2,
                                              ct_tensor_to_device(rows, CT_CUDA)),
                        ct_random_normal_rows(&cpu, "z", dtype, CT_CPU, shape, 2, rows), "rows");
                    require(cpu.offset == cuda.offset, "offsets differ");
                }
            }
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda copy", {converts_as_the_cpu, CT_DTYPE_COUNT *CT_DTYPE_COUNT},
                 {copies_any_strides, 1}, {writes_only_its_own, 1}, {moves_between_devices, 1},
                 {fills_as_the_cpu, 1}, {counts_as_the_cpu, 1}, {reads_and_sets_elements, 1},
                 {draws_the_same_bits, 1})
