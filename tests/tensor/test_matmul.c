/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products against a plain f64 loop: every layout of the operands, batches, empty sizes. */
#include <float.h>

#include "tensor/cpu/onednn.h"
#include "tests/tensor/kernel_test.h"

/* alpha a b + beta c, element by element; c NULL for nothing. f64. */
static ct_tensor *plain_product(double alpha, const ct_tensor *a, const ct_tensor *b, double beta,
                                const ct_tensor *c, ct_shape shape) {
    int last = shape.ndim - 1;
    int64_t m = shape.dim[last - 1], n = shape.dim[last], k = ct_dim(a, -1);
    ct_shape wide_a = shape, wide_b = shape;
    wide_a.dim[last] = k;
    wide_b.dim[last - 1] = k;
    ct_tensor *y = ct_empty(CT_F64, CT_CPU, shape);
    const ct_tensor *copy_a = ct_tensor_cast(ct_tensor_expand(a, wide_a), CT_F64);
    const ct_tensor *copy_b = ct_tensor_cast(ct_tensor_expand(b, wide_b), CT_F64);
    const ct_tensor *copy_c = c ? ct_tensor_cast(c, CT_F64) : NULL;
    const double *va = ct_data(copy_a), *vb = ct_data(copy_b);
    const double *vc = copy_c ? ct_data(copy_c) : NULL;
    double *to = ct_data(y);
    for (int64_t i = 0; i < ct_count(y); i++) {
        int64_t batch = i / (m * n), row = i / n % m, column = i % n;
        double sum = 0;
        for (int64_t j = 0; j < k; j++) {
            sum += va[(batch * m + row) * k + j] * vb[(batch * k + j) * n + column];
        }
        to[i] = alpha * sum + (vc && beta != 0 ? beta * vc[i] : 0);
    }
    return y;
}

/* Each of the k terms is rounded about twice; elements are of size sqrt(k)/3, errors add up like a
 * random walk: 8 sqrt(k) roundings of 1 is far above what a right product shows. */
static void check_product(const ct_tensor *a, const ct_tensor *b, ct_shape shape) {
    ct_tensor *y = ct_tensor_matmul(a, b);
    assert_no_error();
    double epsilon = a->dtype == CT_F32 ? FLT_EPSILON : DBL_EPSILON;
    double bound = 8 * sqrt((double)ct_dim(a, -1) + 1) * epsilon;
    assert_close(ct_tensor_cast(y, CT_F64), plain_product(1, a, b, 0, NULL, shape), 0, bound,
                 "matmul");
}

/* A (.., rows, columns) matrix in one of several layouts with the same shape. */
enum { ROW_MAJOR, TRANSPOSED, WIDE_ROWS, WIDE_COLUMNS, GAPS, LAYOUTS };

static ct_tensor *matrix(int layout, ct_dtype dtype, int64_t rows, int64_t columns, uint64_t seed) {
    ct_tensor *x;
    switch (layout) {
    case TRANSPOSED:
        return ct_tensor_transpose(noise(dtype, CT_SHAPE(columns, rows), 1, seed), 0, 1);
    case WIDE_ROWS:
        x = noise(dtype, CT_SHAPE(rows + 2, columns + 5), 1, seed);
        return ct_tensor_slice(ct_tensor_slice(x, 1, 3, 3 + columns, 1), 0, 1, 1 + rows, 1);
    case WIDE_COLUMNS:
        x = ct_tensor_transpose(noise(dtype, CT_SHAPE(columns, rows + 4), 1, seed), 0, 1);
        return ct_tensor_slice(x, 0, 2, 2 + rows, 1);
    case GAPS:
        x = noise(dtype, CT_SHAPE(rows, 2 * columns), 1, seed);
        return ct_tensor_slice(x, 1, 0, 2 * columns, 2);
    default: return noise(dtype, CT_SHAPE(rows, columns), 1, seed);
    }
}

START_TEST(every_layout) {
    static const int64_t sizes[][3] = {{1, 1, 1},   {1, 33, 7},   {33, 1, 7},  {33, 31, 1},
                                       {1, 1, 257}, {31, 33, 65}, {5, 257, 2}, {130, 70, 40}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int la = 0; la < LAYOUTS; la++) {
            for (int lb = 0; lb < LAYOUTS; lb++) {
                for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
                    CT_SCOPE {
                        int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
                        check_product(matrix(la, dtype, m, k, 1), matrix(lb, dtype, k, n, 2),
                                      CT_SHAPE(m, n));
                    }
                }
            }
        }
    }
}
END_TEST

/* The same matrices, with columns contiguous. */
static ct_tensor *column_major(const ct_tensor *x) {
    return ct_tensor_transpose(ct_tensor_copy(ct_tensor_transpose(x, -1, -2)), -1, -2);
}

START_TEST(batches) {
    static const struct {
        ct_shape a, b, y;
    } cases[] = {
        {{3, {7, 5, 6}}, {3, {7, 6, 4}}, {3, {7, 5, 4}}},
        {{3, {7, 5, 6}}, {2, {6, 4}}, {3, {7, 5, 4}}},
        {{2, {5, 6}}, {3, {7, 6, 4}}, {3, {7, 5, 4}}},
        {{3, {1, 5, 6}}, {3, {7, 6, 4}}, {3, {7, 5, 4}}},
        {{4, {2, 1, 5, 6}}, {4, {1, 3, 6, 4}}, {4, {2, 3, 5, 4}}},
        {{4, {2, 3, 5, 6}}, {3, {3, 6, 4}}, {4, {2, 3, 5, 4}}},
        {{4, {2, 3, 5, 6}}, {3, {1, 6, 4}}, {4, {2, 3, 5, 4}}},
        {{3, {40, 36, 64}}, {3, {40, 64, 36}}, {3, {40, 36, 36}}},
        {{3, {9, 1, 6}}, {3, {9, 6, 1}}, {3, {9, 1, 1}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            CT_SCOPE {
                ct_tensor *a = noise(dtype, cases[i].a, 1, 3), *b = noise(dtype, cases[i].b, 1, 4);
                check_product(a, b, cases[i].y);
                ct_tensor *at = column_major(a), *bt = column_major(b);
                check_product(at, b, cases[i].y);
                check_product(a, bt, cases[i].y);
                check_product(at, bt, cases[i].y);
            }
        }
    }
}
END_TEST

START_TEST(strided_batches) {
    CT_SCOPE {
        /* heads in the middle: (batch, length, heads, width) as (batch, heads, length, width) */
        ct_tensor *x = noise(CT_F32, CT_SHAPE(3, 10, 4, 8), 1, 5);
        x = ct_tensor_permute(x, (int[]){0, 2, 1, 3});
        ct_tensor *y = noise(CT_F32, CT_SHAPE(3, 9, 4, 8), 1, 6);
        y = ct_tensor_permute(y, (int[]){0, 2, 3, 1});
        check_product(x, y, CT_SHAPE(3, 4, 10, 9));
        /* batch innermost: neither stride of the matrices is 1 */
        ct_tensor *z = ct_tensor_permute(noise(CT_F32, CT_SHAPE(8, 9, 4), 1, 7), (int[]){2, 0, 1});
        check_product(x, z, CT_SHAPE(3, 4, 10, 9));
        /* every second row of every batch: no longer one matrix */
        ct_tensor *rows = ct_tensor_slice(noise(CT_F32, CT_SHAPE(6, 10, 8), 1, 8), 1, 1, 10, 2);
        check_product(rows, noise(CT_F32, CT_SHAPE(8, 5), 1, 9), CT_SHAPE(6, 5, 5));
        /* overlapping rows (a window that slides by one) */
        ct_tensor *line = noise(CT_F32, CT_SHAPE(40), 1, 10);
        ct_tensor *row = ct_tensor_expand(line, CT_SHAPE(3, 40));
        check_product(row, noise(CT_F32, CT_SHAPE(40, 6), 1, 11), CT_SHAPE(3, 6));
    }
}
END_TEST

START_TEST(empty_sizes) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        CT_SCOPE {
            ct_tensor *none = ct_tensor_matmul(ct_zeros(dtype, CT_CPU, CT_SHAPE(0, 3)),
                                               ct_zeros(dtype, CT_CPU, CT_SHAPE(3, 4)));
            ck_assert(ct_shape_equal(none->shape, CT_SHAPE(0, 4)));
            ct_tensor *zero = ct_tensor_matmul(ct_zeros(dtype, CT_CPU, CT_SHAPE(5, 2, 0)),
                                               ct_zeros(dtype, CT_CPU, CT_SHAPE(0, 4)));
            assert_close(zero, ct_zeros(dtype, CT_CPU, CT_SHAPE(5, 2, 4)), 0, 0, "k = 0");
            ct_tensor *c = ct_full(dtype, CT_CPU, CT_SHAPE(2, 4), 3);
            ct_tensor *a = ct_zeros(dtype, CT_CPU, CT_SHAPE(2, 0));
            ct_tensor *b = ct_zeros(dtype, CT_CPU, CT_SHAPE(0, 4));
            ck_assert(ct_tensor_matmul_to(c, 1, a, b, 0.5));
            assert_close(c, ct_full(dtype, CT_CPU, CT_SHAPE(2, 4), 1.5), 0, 0, "beta c");
            ck_assert(ct_tensor_fill(c, NAN) && ct_tensor_matmul_to(c, 1, a, b, 0));
            assert_close(c, ct_zeros(dtype, CT_CPU, CT_SHAPE(2, 4)), 0, 0, "beta = 0");
            ck_assert(ct_count(ct_tensor_matmul(ct_zeros(dtype, CT_CPU, CT_SHAPE(0, 2, 3)),
                                                ct_zeros(dtype, CT_CPU, CT_SHAPE(3, 4)))) == 0);
            assert_no_error();
        }
    }
}
END_TEST

static void check_in_place(ct_tensor *c, const ct_tensor *a, const ct_tensor *b) {
    ct_tensor *expected = plain_product(0.75, a, b, -0.5, c, c->shape);
    ck_assert(ct_tensor_matmul_to(c, 0.75, a, b, -0.5));
    double epsilon = c->dtype == CT_F32 ? FLT_EPSILON : DBL_EPSILON;
    assert_close(ct_tensor_cast(c, CT_F64), expected, 0,
                 8 * sqrt((double)ct_dim(a, -1) + 1) * epsilon, "matmul_to");
}

START_TEST(in_place) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        CT_SCOPE {
            ct_tensor *a = noise(dtype, CT_SHAPE(6, 20, 30), 1, 1);
            ct_tensor *b = noise(dtype, CT_SHAPE(30, 10), 1, 2);
            check_in_place(noise(dtype, CT_SHAPE(6, 20, 10), 1, 3), a, b);
            /* into some columns of a wider result */
            ct_tensor *wide = noise(dtype, CT_SHAPE(6, 20, 25), 1, 4);
            ct_tensor *before = ct_tensor_copy(wide);
            check_in_place(ct_tensor_slice(wide, 2, 7, 17, 1), a, b);
            assert_close(ct_tensor_slice(wide, 2, 0, 7, 1), ct_tensor_slice(before, 2, 0, 7, 1), 0,
                         0, "columns before");
            assert_close(ct_tensor_slice(wide, 2, 17, 25, 1), ct_tensor_slice(before, 2, 17, 25, 1),
                         0, 0, "columns after");
            /* into one step of (batch, step, width), as the recurrent layers do */
            ct_tensor *steps = noise(dtype, CT_SHAPE(20, 3, 10), 1, 5);
            ct_tensor *step = ct_tensor_squeeze(ct_tensor_slice(steps, 1, 1, 2, 1), 1);
            check_in_place(step, ct_tensor_squeeze(ct_tensor_slice(a, 0, 2, 3, 1), 0), b);
            /* sum over a batch by one product with the batch in the inner size */
            ct_tensor *g = noise(dtype, CT_SHAPE(120, 10), 1, 6);
            ct_tensor *rows = ct_tensor_reshape(a, CT_SHAPE(120, 30));
            ct_tensor *columns = ct_tensor_transpose(rows, 0, 1);
            check_in_place(noise(dtype, CT_SHAPE(30, 10), 1, 7), columns, g);
        }
    }
}
END_TEST

START_TEST(any_number_of_threads) {
    for (int threads = 1; threads <= 4; threads++) {
        ct_set_threads(threads);
        ck_assert_int_eq(ct_threads(), threads);
        CT_SCOPE {
            static const int64_t sizes[][4] = {{64, 36, 50, 36},   {3, 200, 150, 100},
                                               {1, 300, 100, 200}, {1, 20, 900, 300},
                                               {2, 1000, 7, 400},  {5, 130, 131, 129}};
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                int64_t batch = sizes[i][0], m = sizes[i][1], n = sizes[i][2], k = sizes[i][3];
                ct_tensor *a = noise(CT_F32, CT_SHAPE(batch, m, k), 1, 1);
                ct_tensor *b = noise(CT_F32, CT_SHAPE(batch, k, n), 1, 2);
                check_product(a, b, CT_SHAPE(batch, m, n));
                check_product(column_major(a), column_major(b), CT_SHAPE(batch, m, n));
            }
        }
    }
    ck_assert(strstr(ct_machine_text(), "OpenBLAS") != NULL);
    ck_assert(strstr(ct_machine_text(), "cpu (") != NULL);
}
END_TEST

/* c = 2 a b + beta c where c holds a NaN: nothing of it is left with beta 0. */
static void check_accumulation(const ct_tensor *a, const ct_tensor *b, int64_t m, int64_t n) {
    double bound = 16 * sqrt((double)ct_dim(a, -1) + 1) * FLT_EPSILON;
    ct_tensor *c = ct_full(CT_F32, CT_CPU, CT_SHAPE(m, n), NAN);
    ct_tensor_matmul_to(c, 2, a, b, 0);
    ct_tensor *once = plain_product(2, a, b, 0, NULL, CT_SHAPE(m, n));
    assert_close(ct_tensor_cast(c, CT_F64), once, 0, bound, "overwritten");
    ct_tensor_matmul_to(c, 2, a, b, -0.5);
    assert_close(ct_tensor_cast(c, CT_F64), ct_tensor_scale(once, 0.5), 0, bound, "accumulated");
}

/* Memory at each of four alignments must not change a bit. */
static void check_repeated(const ct_tensor *a, const ct_tensor *b) {
    ct_tensor *first = ct_tensor_contiguous(ct_tensor_matmul(a, b));
    int64_t m = ct_dim(a, 0), n = ct_dim(b, 1), count = m * n;
    for (int64_t offset = 1; offset <= 4; offset++) {
        ct_tensor *room = ct_empty(CT_F32, CT_CPU, CT_SHAPE(count + offset));
        ct_tensor *part = ct_tensor_slice(room, 0, offset, offset + count, 1);
        ct_tensor *c = ct_tensor_reshape(part, CT_SHAPE(m, n));
        ct_tensor_matmul_to(c, 1, a, b, 0);
        assert_no_error();
        ck_assert_mem_eq(ct_data(c), ct_data(first), (size_t)count * sizeof(float));
    }
}

/* Products of a size that the rule gives to oneDNN where there is one, and the same by OpenBLAS. */
START_TEST(by_either_library) {
    enum { M = 96, N = 83, K = 77 };
    bool there = isfinite(ct_onednn_least_product());
    ck_assert(!there || (double)M * N * K >= ct_onednn_least_product());
    ck_assert(!there || strstr(ct_machine_text(), " for f32 products from ") != NULL);
    for (int allowed = 0; allowed < 2; allowed++) {
        ct_onednn_allow(allowed);
        ck_assert_int_eq(isfinite(ct_onednn_least_product()) != 0, there && allowed);
        for (int la = 0; la < LAYOUTS; la++) {
            for (int lb = 0; lb < LAYOUTS; lb++) {
                CT_SCOPE {
                    ct_tensor *a = matrix(la, CT_F32, M, K, 1), *b = matrix(lb, CT_F32, K, N, 2);
                    check_product(a, b, CT_SHAPE(M, N));
                    check_accumulation(a, b, M, N);
                    check_repeated(a, b);
                }
            }
        }
    }
}
END_TEST

/* Run with OPENBLAS_CORETYPE=Prescott, too: what a processor gets that OpenBLAS does not know. */
START_TEST(kernels_without_avx_are_told) {
    const char *set = getenv("OPENBLAS_CORETYPE");
    bool prescott = set && strcmp(set, "Prescott") == 0;
    setenv("OPENBLAS_CORETYPE", set ? set : "Haswell", 1);
    ck_assert_ptr_null(ct_better_blas_kernels()); /* the user has chosen */
    ck_assert_ptr_null(strstr(ct_machine_text(), "OPENBLAS_CORETYPE"));
    unsetenv("OPENBLAS_CORETYPE");
    const char *better = ct_better_blas_kernels();
    ck_assert_int_eq(better != NULL, strstr(ct_machine_text(), "set OPENBLAS_CORETYPE=") != NULL);
    if (!prescott || !__builtin_cpu_supports("avx2")) return;
    ck_assert_str_eq(better, __builtin_cpu_supports("avx512bw") ? "SkylakeX" : "Haswell");
    ck_assert_ptr_nonnull(strstr(ct_machine_text(), "Prescott kernels (slow here: set"));
}
END_TEST

/* bf16 operands: the product of their values, in f32. */
START_TEST(bf16_operands) {
    const ct_shape shapes[][2] = {{CT_SHAPE(31, 33), CT_SHAPE(33, 7)},
                                  {CT_SHAPE(2, 1, 5, 6), CT_SHAPE(3, 6, 4)},
                                  {CT_SHAPE(4, 0), CT_SHAPE(0, 3)}};
    for (int i = 0; i < 3; i++) {
        CT_SCOPE {
            ct_tensor *a = ct_tensor_cast(noise(CT_F32, shapes[i][0], 1, 1), CT_BF16);
            ct_tensor *b = ct_tensor_cast(noise(CT_F32, shapes[i][1], 1, 2), CT_BF16);
            ct_tensor *wide_a = ct_tensor_cast(a, CT_F32), *wide_b = ct_tensor_cast(b, CT_F32);
            assert_same_bits(ct_tensor_matmul(a, b), ct_tensor_matmul(wide_a, wide_b), "bf16");
            ct_tensor *turned = ct_tensor_contiguous(ct_tensor_transpose(a, -1, -2));
            assert_same_bits(ct_tensor_matmul(ct_tensor_transpose(turned, -1, -2), b),
                             ct_tensor_matmul(wide_a, wide_b), "bf16, transposed");
            ck_assert(!ct_tensor_matmul(wide_a, b));
            assert_error("matmul: dtypes differ: f32");
            ct_tensor *c = ct_zeros(CT_BF16, CT_CPU, ct_tensor_matmul(a, b)->shape);
            ck_assert(!ct_tensor_matmul_to(c, 1, a, b, 0));
            assert_error("matmul_to: the result is bf16 on cpu, expected f32 on cpu");
        }
    }
}
END_TEST

/* ---- in bf16 ---------------------------------------------------------------------------- */

static bool has_bf16(void) { return isfinite(ct_onednn_least_bf16_product()) != 0; }

START_TEST(precisions) {
    ck_assert(!ct_set_precision(CT_CPU, CT_PRECISION_TF32));
    assert_error("precision tf32: device cpu multiplies in fp32 or bf16");
    ck_assert_int_eq(ct_set_precision(CT_CPU, CT_PRECISION_BF16), has_bf16());
    if (!has_bf16()) {
        assert_error("precision bf16: device cpu multiplies in bf16 by oneDNN, which ");
        ck_assert_int_eq(ct_precision_of(CT_CPU), CT_PRECISION_FP32);
        return;
    }
    const char *most = getenv("DNNL_MAX_CPU_ISA");
    ck_assert(!most || strcmp(most, "AVX2") != 0);
    ck_assert(strstr(ct_machine_text(), ", products in bf16; ") != NULL);
    ct_onednn_allow(false);
    ck_assert(!ct_set_precision(CT_CPU, CT_PRECISION_BF16));
    assert_error("by oneDNN, which is not there");
    ck_assert_int_eq(ct_precision_of(CT_CPU), CT_PRECISION_BF16);
    ck_assert(ct_set_precision(CT_CPU, CT_PRECISION_FP32));
    ck_assert_ptr_null(strstr(ct_machine_text(), "products in bf16"));
}
END_TEST

/* False, and said, where the CPU has no products in bf16. */
static bool use_bf16(void) {
    bool can = ct_set_precision(CT_CPU, CT_PRECISION_BF16);
    if (!can) fprintf(stderr, "skipped: %s\n", ct_error());
    ct_error_clear();
    return can;
}

static const ct_tensor *rounded(const ct_tensor *x) {
    return ct_tensor_cast(ct_tensor_cast(x, CT_BF16), CT_F64);
}

/* As check_product: a product of two bf16 numbers is exact in f32. */
static void check_rounded(const ct_tensor *a, const ct_tensor *b) {
    ct_tensor *y = ct_tensor_matmul(a, b);
    assert_no_error();
    double bound = 8 * sqrt((double)ct_dim(a, -1) + 1) * FLT_EPSILON;
    ct_tensor *exact = plain_product(1, rounded(a), rounded(b), 0, NULL, y->shape);
    assert_close(ct_tensor_cast(y, CT_F64), exact, 0, bound, "in bf16");
    assert_same_bits(ct_tensor_matmul(ct_matmul_operand(a), ct_matmul_operand(b)), y, "before");
    ct_tensor *c = ct_full(CT_F32, CT_CPU, y->shape, NAN);
    ck_assert(ct_tensor_matmul_to(c, 2, a, b, 0) && ct_tensor_matmul_to(c, -1, a, b, 0.5));
    assert_close(ct_tensor_cast(c, CT_F64), ct_zeros(CT_F64, CT_CPU, y->shape), 0, 4 * bound,
                 "accumulated");
}

/* Smaller and larger than what is made by bf16 instructions, on one thread and on several. */
START_TEST(every_layout_in_bf16) {
    static const int64_t sizes[][3] = {
        {1, 1, 1}, {31, 33, 65}, {96, 83, 77}, {1, 515, 513}, {515, 1, 513}};
    if (!use_bf16()) return;
    for (int i = 0; i < 5 * LAYOUTS * LAYOUTS; i++) {
        CT_SCOPE {
            const int64_t *size = sizes[i / (LAYOUTS * LAYOUTS)];
            int la = i % LAYOUTS, lb = i / LAYOUTS % LAYOUTS;
            ct_tensor *a = matrix(la, CT_F32, size[0], size[2], 1);
            ct_tensor *b = matrix(lb, CT_F32, size[2], size[1], 2);
            ct_set_threads(1 + i % 3);
            check_rounded(a, b);
            check_repeated(a, b);
        }
    }
}
END_TEST

START_TEST(batches_in_bf16) {
    const ct_shape shapes[][2] = {{CT_SHAPE(4, 96, 83), CT_SHAPE(83, 77)},
                                  {CT_SHAPE(2, 1, 96, 83), CT_SHAPE(3, 83, 77)},
                                  {CT_SHAPE(96, 83), CT_SHAPE(5, 83, 77)},
                                  {CT_SHAPE(7, 5, 6), CT_SHAPE(7, 6, 4)},
                                  {CT_SHAPE(2, 0, 6), CT_SHAPE(6, 4)}};
    if (!use_bf16()) return;
    for (int i = 0; i < 5; i++) {
        CT_SCOPE {
            ct_tensor *a = noise(CT_F32, shapes[i][0], 1, 1),
                      *b = noise(CT_F32, shapes[i][1], 1, 2);
            check_rounded(a, b);
            check_rounded(column_major(a), column_major(b));
        }
    }
}
END_TEST

/* A NaN or an infinity in a row of a is one in that row of the result, and in no other. */
START_TEST(nonfinite_in_bf16) {
    if (!use_bf16()) return;
    for (int i = 0; i < 2; i++) {
        CT_SCOPE {
            ct_tensor *a = noise(CT_F32, CT_SHAPE(96, 83), 1, 1);
            ct_tensor *b = ct_full(CT_F32, CT_CPU, CT_SHAPE(83, 77), 1);
            float bad = i ? INFINITY : NAN;
            ((float *)ct_data(a))[5 * 83 + 7] = bad;
            const float *y = ct_data(ct_tensor_matmul(a, b));
            for (int k = 0; k < 96 * 77; k++) {
                if (k / 77 == 5 ? !isfinite(y[k]) && (i == 1) == isinf(y[k]) : isfinite(y[k])) {
                    continue;
                }
                ck_abort_msg("element %d is %g", k, (double)y[k]);
            }
        }
    }
}
END_TEST

START_TEST(errors) {
    CT_SCOPE {
        ct_tensor *a = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(128, 36, 2048));
        ct_tensor *b = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1024, 300));
        ck_assert(!ct_tensor_matmul(a, b));
        assert_error("matmul: inner sizes differ: (128,36,2048) x (1024,300)");
        ct_tensor *v = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4));
        ck_assert(!ct_tensor_matmul(v, b));
        assert_error("matmul: expected at least 2 dimensions each: (4) x (1024,300)");
        ct_tensor *c = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3, 4));
        ck_assert(!ct_tensor_matmul(c, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(5, 4, 1))));
        assert_error("matmul: batch sizes do not broadcast: (2,3,4) x (5,4,1)");
        ck_assert(!ct_tensor_matmul(c, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(4, 1))));
        assert_error("matmul: dtypes differ: f32 (2,3,4) and f64 (4,1)");
        ct_tensor *y = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3, 5));
        ck_assert(!ct_tensor_matmul_to(y, 1, c, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4, 6)), 0));
        assert_error("matmul_to: the result is (2,3,5), expected (2,3,6) for (2,3,4) x (4,6)");
        ct_tensor *turned = ct_tensor_transpose(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 5, 3)), 1, 2);
        ck_assert(!ct_tensor_matmul_to(turned, 1, c, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4, 5)), 0));
        assert_error("matmul_to: the rows of the result f32 (2,3,5) are not contiguous");
        ck_assert(!ct_tensor_matmul(NULL, b));
        assert_error("matmul: an input is NULL");
    }
}
END_TEST

TEST_MAIN("matmul", every_layout, batches, strided_batches, empty_sizes, in_place,
          any_number_of_threads, by_either_library, kernels_without_avx_are_told, bf16_operands,
          precisions, every_layout_in_bf16, batches_in_bf16, nonfinite_in_bf16, errors)
