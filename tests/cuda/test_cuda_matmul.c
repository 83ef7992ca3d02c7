/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products of CUDA tensors against the CPU: every layout of the operands, batches, results
 * with gaps, empty sizes, and the arithmetics. */
#include "tests/cuda/cuda_test.h"

/* Two matrices of the same values whose sums have one order or another: k terms of size 1/3. */
static void check_product(const ct_tensor *a, const ct_tensor *b) {
    assert_as_cpu(ct_tensor_matmul(on_cuda(a), on_cuda(b)), ct_tensor_matmul(a, b),
                  close_enough(a->dtype), "matmul");
}

/* A (rows, columns) matrix: row-major, transposed, with room between rows or columns, with gaps. */
enum { BY_ROWS, BY_COLUMNS, WIDE_ROWS, WIDE_COLUMNS, GAPS, ONE_ROW, LAYS };

static ct_tensor *matrix(int how, ct_dtype dtype, int64_t rows, int64_t columns, uint64_t seed) {
    ct_tensor *x;
    switch (how) {
    case BY_COLUMNS:
        return ct_tensor_transpose(noise(dtype, CT_SHAPE(columns, rows), 1, seed), 0, 1);
    case WIDE_ROWS:
        x = noise(dtype, CT_SHAPE(rows + 2, columns + 5), 1, seed);
        return ct_tensor_slice(ct_tensor_slice(x, 1, 3, 3 + columns, 1), 0, 1, 1 + rows, 1);
    case WIDE_COLUMNS:
        x = ct_tensor_transpose(noise(dtype, CT_SHAPE(columns, rows + 4), 1, seed), 0, 1);
        return ct_tensor_slice(x, 0, 2, 2 + rows, 1);
    case GAPS: return laid_out(noise(dtype, CT_SHAPE(rows, columns), 1, seed), STRIDED);
    case ONE_ROW: /* for all */
        return ct_tensor_expand(noise(dtype, CT_SHAPE(1, columns), 1, seed),
                                CT_SHAPE(rows, columns));
    default: return noise(dtype, CT_SHAPE(rows, columns), 1, seed);
    }
}

static const int64_t sizes[][3] = {
    {1, 1, 1},    {1, 33, 7},   {33, 1, 7}, {33, 31, 1}, {1, 1, 257},
    {31, 33, 65}, {5, 1025, 3}, {0, 3, 4},  {3, 0, 4},   {3, 4, 0},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

START_TEST(every_layout_as_on_the_cpu) {
    int64_t m = sizes[_i][0], n = sizes[_i][1], k = sizes[_i][2];
    for (int i = 0; i < 2 * LAYS * LAYS; i++) {
        CT_SCOPE {
            if (m * n * k == 0 && i > 1) break;
            check_product(matrix(i / 2 % LAYS, reals[i % 2], m, k, 1),
                          matrix(i / 2 / LAYS, reals[i % 2], k, n, 2));
        }
    }
}
END_TEST

/* ---- batches ---------------------------------------------------------------------------- */

/* Operands of every kind of batch: rows of one longer matrix, equal distances, a shared operand,
 * two that are shared along different dimensions, dimensions in another order. */
static void batch(int i, ct_dtype dtype, const ct_tensor **a, const ct_tensor **b) {
    const int heads[] = {0, 2, 1, 3};
    switch (i) {
    case 0: /* one longer matrix */
        *a = noise(dtype, CT_SHAPE(4, 3, 5, 33), 1, 1);
        *b = noise(dtype, CT_SHAPE(33, 7), 1, 2);
        return;
    case 1: /* shared, and rows that do not follow on each other */
        *a = ct_tensor_transpose(noise(dtype, CT_SHAPE(4, 33, 5), 1, 1), 1, 2);
        *b = noise(dtype, CT_SHAPE(1, 33, 7), 1, 2);
        return;
    case 2:
        *a = noise(dtype, CT_SHAPE(31, 33), 1, 1);
        *b = noise(dtype, CT_SHAPE(4, 33, 7), 1, 2);
        return;
    case 3:
        *a = noise(dtype, CT_SHAPE(3, 1, 5, 6), 1, 1);
        *b = noise(dtype, CT_SHAPE(4, 6, 7), 1, 2);
        return;
    case 4: /* heads */
        *a = ct_tensor_permute(noise(dtype, CT_SHAPE(2, 5, 3, 8), 1, 1), heads);
        *b = ct_tensor_transpose(ct_tensor_permute(noise(dtype, CT_SHAPE(2, 9, 3, 8), 1, 2), heads),
                                 2, 3);
        return;
    case 5: /* with gaps, and shared: packed once */
        *a = ct_tensor_slice(noise(dtype, CT_SHAPE(1, 5, 12), 1, 1), 2, 0, 12, 2);
        *b = ct_tensor_slice(noise(dtype, CT_SHAPE(300, 6, 7), 1, 2), 0, 0, 300, 3);
        return;
    default: /* empty, and with nothing to sum */
        *a = noise(dtype, CT_SHAPE(i == 6 ? 0 : 2, 5, i == 7 ? 0 : 6), 1, 1);
        *b = noise(dtype, CT_SHAPE(i == 7 ? 0 : 6, 7), 1, 2);
    }
}
enum { BATCHES = 8 };

START_TEST(batches_as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            const ct_tensor *a, *b;
            batch(_i, reals[d], &a, &b);
            check_product(a, b);
        }
    }
}
END_TEST

/* c = alpha a b + beta c on rows with room between them, which stays as it is. */
START_TEST(results_with_gaps_as_on_the_cpu) {
    const double factors[][2] = {{1, 0}, {1, 1}, {-0.5, 0.25}, {2, 0}};
    for (int i = 0; i < 2 * 4 * 3; i++) {
        CT_SCOPE {
            double alpha = factors[i / 2 % 4][0], beta = factors[i / 2 % 4][1];
            int64_t k = i / 8 == 2 ? 0 : 33;
            ct_dtype dtype = reals[i % 2];
            ct_tensor *room = noise(dtype, CT_SHAPE(3, 6, 40), 1, 3), *cuda = on_cuda(room);
            if (beta == 0) ct_tensor_fill(room, NAN), ct_tensor_fill(cuda, NAN);
            ct_tensor *c = ct_tensor_slice(ct_tensor_slice(room, 2, 1, 32, 1), 1, 0, 5, 1);
            ct_tensor *cuda_c = ct_view(cuda, c->shape, c->stride, 1);
            const ct_tensor *a = noise(dtype, CT_SHAPE(3, 5, k), 1, 1);
            ct_shape shape_b = i / 8 == 1 ? CT_SHAPE(3, k, 31) : CT_SHAPE(k, 31);
            const ct_tensor *b = noise(dtype, shape_b, 1, 2);
            require(ct_tensor_matmul_to(c, alpha, a, b, beta), "%s", ct_error());
            require(ct_tensor_matmul_to(cuda_c, alpha, on_cuda(a), on_cuda(b), beta), "%s",
                    ct_error());
            assert_as_cpu(cuda, room, close_enough(dtype), "matmul_to");
        }
    }
}
END_TEST

/* ---- arithmetics ------------------------------------------------------------------------ */

static void use(ct_precision precision) {
    require(ct_set_precision(CT_CUDA, precision), "%s", ct_error());
}

static const ct_tensor *rounded(const ct_tensor *x) {
    return x->dtype == CT_F32 ? ct_tensor_cast(ct_tensor_cast(x, CT_BF16), CT_F32) : x;
}

/* Of sums of `terms` products of bf16 numbers in f32: a GPU's matrix units cut off what they add to
 * its last place, where others round. */
static double summed_in_f32(ct_dtype dtype, int64_t terms) {
    return close_enough(dtype) + (dtype == CT_F32 && on_gpu() ? (double)terms * 0x1p-23 : 0);
}

/* bf16: the product of the rounded operands, summed in f32, in every layout and batch. */
START_TEST(bf16_rounds_operands) {
    use(CT_PRECISION_BF16);
    for (int i = 0; i < 2 * (LAYS * LAYS + BATCHES); i++) {
        CT_SCOPE {
            const ct_tensor *a, *b;
            int how = i / 2;
            if (how < LAYS * LAYS) {
                a = matrix(how % LAYS, reals[i % 2], 31, 65, 1);
                b = matrix(how / LAYS, reals[i % 2], 65, 33, 2);
            } else {
                batch(how - LAYS * LAYS, reals[i % 2], &a, &b);
            }
            assert_as_cpu(ct_tensor_matmul(on_cuda(a), on_cuda(b)),
                          ct_tensor_matmul(rounded(a), rounded(b)),
                          summed_in_f32(a->dtype, ct_dim(a, -1)), "bf16");
        }
    }
}
END_TEST

/* Operands that were rounded before give the same bits, in any precision; the copy lies as the
 * operand did, and is made for f32 in bf16 alone. */
START_TEST(rounded_operands_are_multiplied_as_they_are) {
    for (int i = 0; i < LAYS * LAYS + BATCHES; i++) {
        CT_SCOPE {
            const ct_tensor *a, *b;
            if (i < LAYS * LAYS) {
                a = on_cuda(matrix(i % LAYS, CT_F32, 31, 65, 1));
                b = on_cuda(matrix(i / LAYS, CT_F32, 65, 33, 2));
            } else {
                batch(i - LAYS * LAYS, CT_F32, &a, &b);
                a = on_cuda(a), b = on_cuda(b);
            }
            use(CT_PRECISION_BF16);
            const ct_tensor *expected = on_cpu(ct_tensor_matmul(a, b));
            const ct_tensor *first = ct_matmul_operand(a), *second = ct_matmul_operand(b);
            require(first && first->dtype == CT_BF16 && ct_shape_equal(first->shape, a->shape),
                    "%s", ct_error());
            assert_same_on_both(ct_tensor_matmul(first, second), expected, "rounded before");
            assert_same_on_both(ct_tensor_matmul(a, second), expected, "one rounded before");
            use(CT_PRECISION_FP32);
            assert_same_on_both(ct_tensor_matmul(first, second), expected, "in fp32");
            ct_tensor *c = ct_full(CT_F32, CT_CUDA, expected->shape, 1);
            require(ct_tensor_matmul_to(c, 1, first, second, -1), "%s", ct_error());
            assert_as_cpu(c, ct_tensor_unary(CT_UNARY_add_scalar, expected, -1, 0),
                          summed_in_f32(CT_F32, ct_dim(a, -1)), "to");
            require(ct_matmul_operand(a) == a, "copied in fp32");
        }
    }
}
END_TEST

START_TEST(operands_lie_as_before) {
    CT_SCOPE {
        use(CT_PRECISION_BF16);
        const ct_tensor *x = on_cuda(matrix(BY_COLUMNS, CT_F32, 31, 65, 1));
        const ct_tensor *y = ct_matmul_operand(x);
        ck_assert(y->stride[0] == 1 && y->stride[1] == 31);
        y = ct_matmul_operand(on_cuda(matrix(WIDE_COLUMNS, CT_F32, 31, 65, 1)));
        ck_assert(y->stride[0] == 1 && y->stride[1] == 31);
        y = ct_matmul_operand(on_cuda(matrix(WIDE_ROWS, CT_F32, 31, 65, 1)));
        ck_assert(y->stride[0] == 65 && y->stride[1] == 1);
        y = ct_matmul_operand(ct_tensor_expand(x, CT_SHAPE(3, 31, 65)));
        ck_assert(y->stride[0] == 0 && y->stride[1] == 1 && y->stride[2] == 31);
        x = on_cuda(noise(CT_F64, CT_SHAPE(2, 3), 1, 1));
        ck_assert(ct_matmul_operand(x) == x && !ct_matmul_operand(NULL));
    }
}
END_TEST

/* tf32: off by the rounding of operands to 10 bits, no less and no more; f64 is not. Of a size that
 * cuBLAS hands to the matrix units. */
START_TEST(tf32_rounds_operands) {
    use(CT_PRECISION_TF32);
    CT_SCOPE {
        const ct_tensor *a = noise(CT_F32, CT_SHAPE(256, 512), 1, 1);
        const ct_tensor *b = noise(CT_F32, CT_SHAPE(512, 256), 1, 2);
        const ct_tensor *exact = ct_tensor_matmul(a, b);
        const ct_tensor *y = ct_tensor_matmul(on_cuda(a), on_cuda(b));
        assert_as_cpu(y, exact, on_gpu() ? 0x1p-8 : 0x1p-10, "tf32"); /* which may cut off */
        const ct_tensor *error = ct_tensor_sub(on_cpu(y), exact);
        double largest = ct_item(ct_tensor_reduce(CT_MAX, error, CT_ALL_AXES, false));
        require(largest > 1e-5, "tf32: the largest error is %g", largest);
        check_product(ct_tensor_cast(a, CT_F64), ct_tensor_cast(b, CT_F64));
        use(CT_PRECISION_FP32);
        check_product(a, b);
    }
}
END_TEST

START_TEST(cpu_has_a_precision_of_its_own) {
    use(CT_PRECISION_TF32);
    ck_assert_int_eq(ct_precision_of(CT_CPU), CT_PRECISION_FP32);
    ck_assert(!ct_set_precision(CT_CPU, CT_PRECISION_TF32));
    assert_error("precision tf32: device cpu multiplies in fp32 or bf16");
    ck_assert_int_eq(ct_precision_of(CT_CPU), CT_PRECISION_FP32);
}
END_TEST

LOOPED_TEST_MAIN("cuda matmul", {every_layout_as_on_the_cpu, SIZES},
                 {batches_as_on_the_cpu, BATCHES}, {results_with_gaps_as_on_the_cpu, 1},
                 {bf16_rounds_operands, 1}, {rounded_operands_are_multiplied_as_they_are, 1},
                 {operands_lie_as_before, 1}, {tf32_rounds_operands, 1},
                 {cpu_has_a_precision_of_its_own, 1})
