/* SPDX-License-Identifier: Apache-2.0 */
/* Every pointwise operation on CUDA tensors against the CPU: both types, odd sizes, layouts,
 * broadcasting. */
#include "tests/cuda/cuda_test.h"

/* For each dtype, odd size and layout: a matrix of that many elements' noise in (-scale, scale). */
typedef void check_matrix(const ct_tensor *x, ct_dtype dtype, test_layout how, const void *context);

static void each_matrix(check_matrix *check, double scale, const void *context) {
    for (int d = 0; d < 2; d++) {
        for (int s = 0; s < ODD_SIZES; s++) {
            for (int how = 0; how < LAYOUTS; how++) {
                CT_SCOPE {
                    int64_t rows = s == ODD_SIZES - 1 ? 40 : 3;
                    ct_shape shape = CT_SHAPE(rows, odd_size(s, rows));
                    ct_tensor *x = noise(reals[d], shape, scale, 1 + (uint64_t)s);
                    check(laid_out(x, (test_layout)how), reals[d], (test_layout)how, context);
                }
            }
        }
    }
}

/* ---- one input -------------------------------------------------------------------------- */

/* Into the domain of a formula: log wants positive numbers. */
static ct_tensor *in_domain(const ct_tensor *x, double lo, double hi) {
    ct_tensor *scaled = ct_tensor_scale(x, (hi - lo) / 2);
    return ct_tensor_unary(CT_UNARY_add_scalar, scaled, (lo + hi) / 2, 0);
}

static const struct {
    double lo, hi;
} unary_domain[] = {
#define CT_UNARY(name, nparams, value, derivative, lo, hi) {lo, hi},
#include "tensor/ops/pointwise.def"
};

static void check_unary(const ct_tensor *values, ct_dtype dtype, test_layout how,
                        const void *context) {
    ct_unary_kind kind = *(const ct_unary_kind *)context;
    const char *name = ct_unary_name(kind);
    const ct_tensor *x =
        laid_out(in_domain(values, unary_domain[kind].lo, unary_domain[kind].hi), how);
    ct_tensor *y = ct_tensor_unary(kind, x, 0.7, 0.9);
    assert_as_cpu(ct_tensor_unary(kind, on_cuda(x), 0.7, 0.9), y, close_enough(dtype), name);
    const ct_tensor *g = values;
    ct_tensor *gx = ct_tensor_unary_grad(kind, g, x, y, 0.7, 0.9);
    assert_as_cpu(ct_tensor_unary_grad(kind, on_cuda(g), on_cuda(x), on_cuda(y), 0.7, 0.9), gx,
                  close_enough(dtype), name);
}

START_TEST(unary_as_on_the_cpu) {
    ct_unary_kind kind = (ct_unary_kind)_i;
    each_matrix(check_unary, 1, &kind);
}
END_TEST

/* One at a time, for each has its own size. */
START_TEST(unary_at_the_limits) {
    const double limits[] = {0, -0.0, INFINITY, -INFINITY, NAN, 1e-37, 1e30, -1e30, 100, -100};
    ct_unary_kind kind = (ct_unary_kind)_i;
    for (int i = 0; i < 2 * 10; i++) {
        CT_SCOPE {
            ct_dtype dtype = reals[i % 2];
            ct_tensor *x = ct_full(dtype, CT_CPU, CT_SCALAR_SHAPE, limits[i / 2]);
            assert_as_cpu(ct_tensor_unary(kind, on_cuda(x), 0.7, 0.9),
                          ct_tensor_unary(kind, x, 0.7, 0.9), close_enough(dtype),
                          ct_unary_name(kind));
        }
    }
}
END_TEST

/* ---- two inputs ------------------------------------------------------------------------- */

static const struct {
    double lo, hi;
} binary_domain[] = {
#define CT_BINARY(name, value, da, db, lo, hi) {lo, hi},
#include "tensor/ops/pointwise.def"
};

static void check_binary(const ct_tensor *values, ct_dtype dtype, test_layout how,
                         const void *context) {
    ct_binary_kind kind = *(const ct_binary_kind *)context;
    const char *name = ct_binary_name(kind);
    double lo = binary_domain[kind].lo, hi = binary_domain[kind].hi;
    const ct_tensor *a = laid_out(in_domain(values, lo, hi), how);
    const ct_tensor *others[] = {
        in_domain(noise(dtype, a->shape, 1, 99), lo, hi), /* dense, whatever a is */
        in_domain(noise(dtype, CT_SHAPE(a->shape.dim[1]), 1, 98), lo, hi),
        in_domain(noise(dtype, CT_SHAPE(a->shape.dim[0], 1), 1, 97), lo, hi),
        in_domain(noise(dtype, CT_SCALAR_SHAPE, 1, 96), lo, hi),
    };
    for (int i = 0; i < 4; i++) {
        const ct_tensor *b = others[i];
        assert_as_cpu(ct_tensor_binary(kind, on_cuda(a), on_cuda(b)), ct_tensor_binary(kind, a, b),
                      close_enough(dtype), name);
        for (int which = 0; which < 2; which++) {
            assert_as_cpu(
                ct_tensor_binary_grad(kind, which, on_cuda(values), on_cuda(a), on_cuda(b)),
                ct_tensor_binary_grad(kind, which, values, a, b), close_enough(dtype), name);
        }
    }
}

START_TEST(binary_as_on_the_cpu) {
    ct_binary_kind kind = (ct_binary_kind)_i;
    each_matrix(check_binary, 1, &kind);
}
END_TEST

static void check_compare(const ct_tensor *values, ct_dtype dtype, test_layout how,
                          const void *context) {
    ct_compare_kind kind = *(const ct_compare_kind *)context;
    (void)dtype;
    const ct_dtype dtypes[] = {CT_F32, CT_F64, CT_I32, CT_I64, CT_U8};
    for (int d = 0; d < 5; d++) {
        /* few different values, so that some are equal */
        const ct_tensor *a = laid_out(ct_tensor_cast(values, dtypes[d]), how);
        const ct_tensor *b = ct_tensor_cast(noise(CT_F64, a->shape, 3, 5), dtypes[d]);
        assert_as_cpu(ct_tensor_compare(kind, on_cuda(a), on_cuda(b)),
                      ct_tensor_compare(kind, a, b), 0, ct_compare_name(kind));
    }
}

START_TEST(compare_as_on_the_cpu) {
    ct_compare_kind kind = (ct_compare_kind)_i;
    each_matrix(check_compare, 3, &kind);
}
END_TEST

/* ---- where, add_to ---------------------------------------------------------------------- */

static void check_where(const ct_tensor *values, ct_dtype dtype, test_layout how,
                        const void *context) {
    (void)dtype, (void)context;
    ct_tensor *zero = ct_scalar(values->dtype, CT_CPU, 0);
    const ct_tensor *condition = ct_tensor_compare(CT_COMPARE_less, values, zero);
    for (int d = 0; d < CT_DTYPE_COUNT; d++) {
        const ct_tensor *a = laid_out(ct_tensor_cast(values, (ct_dtype)d), how);
        const ct_tensor *b = ct_full((ct_dtype)d, CT_CPU, CT_SCALAR_SHAPE, 7);
        ct_tensor *y = ct_tensor_where(on_cuda(condition), on_cuda(a), on_cuda(b));
        assert_as_cpu(y, ct_tensor_where(condition, a, b), 0, "where");
    }
}

static void check_add_to(const ct_tensor *values, ct_dtype dtype, test_layout how,
                         const void *context) {
    (void)context;
    ct_tensor *y = ct_tensor_copy(values), *row = noise(dtype, CT_SHAPE(1), 1, 4);
    ct_tensor *cuda = on_cuda(y);
    ct_tensor_add_to(y, -0.3, laid_out(values, how));
    ct_tensor_add_to(y, 2, row);
    ct_tensor_add_to(cuda, -0.3, on_cuda(laid_out(values, how)));
    ct_tensor_add_to(cuda, 2, on_cuda(row));
    assert_as_cpu(cuda, y, close_enough(dtype), "add_to");
}

START_TEST(where_and_add_to_as_on_the_cpu) {
    each_matrix(check_where, 100, NULL);
    each_matrix(check_add_to, 1, NULL);
}
END_TEST

LOOPED_TEST_MAIN("cuda pointwise", {unary_as_on_the_cpu, CT_UNARY_COUNT},
                 {unary_at_the_limits, CT_UNARY_COUNT}, {binary_as_on_the_cpu, CT_BINARY_COUNT},
                 {compare_as_on_the_cpu, CT_COMPARE_COUNT}, {where_and_add_to_as_on_the_cpu, 1})
