/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that take several neighbours at once, where tensors do not lie on 16 bytes, sizes are no
 * multiples of packs, or rows are broadcast: the CPU's bits, and nothing beside the result is
 * touched. */
#include "tests/cuda/cuda_test.h"

enum { BESIDE = 5 }; /* elements around a tensor */

/* x dense on the device, `by` elements into its storage. */
static ct_tensor *shifted(const ct_tensor *x, int64_t by) {
    int64_t count = ct_count(x);
    ct_tensor *all = ct_full(x->dtype, CT_CPU, CT_SHAPE(count + by + BESIDE), 77);
    ct_tensor_copy_to(ct_tensor_slice(all, 0, by, by + count, 1),
                      ct_tensor_reshape(x, CT_SHAPE(count)));
    ct_tensor *on_device = on_cuda(all);
    return on_device ? ct_view(on_device, x->shape, NULL, by) : NULL;
}

/* What is beside it is as it was. */
static void assert_as_expected(const ct_tensor *y, const ct_tensor *expected, const char *what) {
    int64_t count = ct_count(y), by = y->offset;
    assert_same_on_both(ct_tensor_copy(y), expected, what);
    int64_t one = 1;
    const ct_tensor *all = on_cpu(ct_view(y, CT_SHAPE(count + by + BESIDE), &one, 0));
    for (int64_t i = 0; i < count + by + BESIDE; i++) {
        bool beside = i < by || i >= by + count;
        require(!beside || ct_get(all, i) == 77, "%s: element %lld beside the result is %g", what,
                (long long)(i - by), ct_get(all, i));
    }
}

/* Shapes of two operands and the result, and where each lies. */
typedef struct {
    ct_shape a, b, y;
    int64_t at_a, at_b, at_y;
} pack_case;

static ct_tensor *wide(const ct_tensor *x, ct_shape shape) { return ct_tensor_expand(x, shape); }

static void check_real(const pack_case *c, ct_dtype dtype) {
    const ct_backend *cpu = ct_backend_of(CT_CPU), *cuda = ct_backend_of(CT_CUDA);
    ct_tensor *a = noise(dtype, c->a, 1, 1), *b = noise(dtype, c->b, 1, 2);
    ct_tensor *g = noise(dtype, c->y, 1, 3);
    ct_tensor *expected = ct_empty(dtype, CT_CPU, c->y), *start = ct_full(dtype, CT_CPU, c->y, 0.5);
    ct_tensor *cuda_a = wide(shifted(a, c->at_a), c->y), *cuda_b = wide(shifted(b, c->at_b), c->y);
    ct_tensor *cuda_g = shifted(g, c->at_y), *y = shifted(start, c->at_y);
    a = wide(a, c->y), b = wide(b, c->y);
    require(cpu->binary(CT_BINARY_sub, expected, a, b) &&
                cuda->binary(CT_BINARY_sub, y, cuda_a, cuda_b),
            "%s", ct_error());
    assert_as_expected(y, expected, "sub");
    require(cpu->binary_grad(CT_BINARY_mul, 0, expected, g, a, b) &&
                cuda->binary_grad(CT_BINARY_mul, 0, y, cuda_g, cuda_a, cuda_b),
            "%s", ct_error());
    assert_as_expected(y, expected, "gradient of mul");
    require(cpu->unary(CT_UNARY_relu, expected, a, 0, 0) &&
                cuda->unary(CT_UNARY_relu, y, cuda_a, 0, 0),
            "%s", ct_error());
    assert_as_expected(y, expected, "relu");
    require(cpu->unary_grad(CT_UNARY_square, expected, g, a, b, 0, 0) &&
                cuda->unary_grad(CT_UNARY_square, y, cuda_g, cuda_a, cuda_b, 0, 0),
            "%s", ct_error());
    assert_as_expected(y, expected, "gradient of square");
    require(cpu->add_to(expected, 2, b) && cuda->add_to(y, 2, cuda_b), "%s", ct_error());
    assert_as_expected(y, expected, "add_to");
    ct_tensor *less = ct_empty(CT_U8, CT_CPU, c->y);
    ct_tensor *cuda_less = shifted(ct_zeros(CT_U8, CT_CPU, c->y), c->at_b);
    require(cpu->compare(CT_COMPARE_less, less, a, b) &&
                cuda->compare(CT_COMPARE_less, cuda_less, cuda_a, cuda_b),
            "%s", ct_error());
    assert_as_expected(cuda_less, less, "less");
    require(cpu->where(expected, less, b, a) && cuda->where(y, cuda_less, cuda_b, cuda_a), "%s",
            ct_error());
    assert_as_expected(y, expected, "where");
}

static void check_moves(const pack_case *c, ct_dtype from, ct_dtype to) {
    const ct_backend *cpu = ct_backend_of(CT_CPU), *cuda = ct_backend_of(CT_CUDA);
    ct_tensor *a = ct_tensor_cast(noise(CT_F64, c->a, 50, 1), from);
    ct_tensor *expected = ct_empty(to, CT_CPU, c->y);
    ct_tensor *y = shifted(ct_zeros(to, CT_CPU, c->y), c->at_y);
    require(cpu->copy(expected, wide(a, c->y)) && cuda->copy(y, wide(shifted(a, c->at_a), c->y)),
            "%s", ct_error());
    assert_as_expected(y, expected, ct_dtype_name(to));
    require(cpu->fill(expected, 3) && cuda->fill(y, 3), "%s", ct_error());
    assert_as_expected(y, expected, "fill");
}

static void check(const pack_case *c) {
    CT_SCOPE {
        check_real(c, CT_F32);
        check_real(c, CT_F64);
        for (int from = 0; from < CT_DTYPE_COUNT; from++) {
            for (int to = 0; to < CT_DTYPE_COUNT; to++) {
                check_moves(c, (ct_dtype)from, (ct_dtype)to);
            }
        }
    }
}

/* Each operand on 16 bytes, or 1, 2 or 4 elements from there; all of them by the same, too. */
START_TEST(anywhere) {
    static const int64_t sizes[] = {1, 2, 31, 33, 257, 5000}, places[] = {0, 1, 2, 4};
    ct_shape shape = CT_SHAPE(sizes[_i]);
    for (int i = 0; i < 4 * 4 * 4; i++) {
        if (sizes[_i] == 5000 && i % 21) continue;
        pack_case c = {shape, shape, shape, places[i % 4], places[i / 4 % 4], places[i / 16]};
        check(&c);
    }
}
END_TEST

START_TEST(broadcast_rows) {
    static const int64_t widths[] = {1, 16, 31, 32, 33, 257};
    int64_t n = widths[_i];
    const pack_case cases[] = {
        {CT_SHAPE(5, n), CT_SHAPE(n), CT_SHAPE(5, n), 0, 0, 0},
        {CT_SHAPE(5, n), CT_SHAPE(5, 1), CT_SHAPE(5, n), 0, 0, 0},
        {CT_SHAPE(5, 1), CT_SHAPE(n), CT_SHAPE(5, n), 0, 0, 0},
        {CT_SHAPE(2, 1, n), CT_SHAPE(3, 1), CT_SHAPE(2, 3, n), 0, 0, 0},
        {CT_SHAPE(1), CT_SHAPE(5, n), CT_SHAPE(5, n), 0, 0, 0},
        {CT_SHAPE(5, n), CT_SHAPE(n), CT_SHAPE(5, n), 0, 1, 0},
        {CT_SHAPE(5, n), CT_SHAPE(n), CT_SHAPE(5, n), 4, 0, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}
END_TEST

/* Columns of a wider matrix: rows at a distance that is, or is not, a multiple of a pack. */
START_TEST(rows_apart) {
    for (int i = 0; i < 2 * 2 * 2; i++) {
        CT_SCOPE {
            int64_t columns = i & 1 ? 33 : 32, distance = i & 2 ? 64 : 65, start = i & 4 ? 1 : 0;
            ct_tensor *whole = noise(CT_F32, CT_SHAPE(9, distance), 1, 1), *all = on_cuda(whole);
            ct_tensor *x = ct_tensor_slice(whole, 1, start, start + columns, 1);
            ct_tensor *part = ct_tensor_slice(all, 1, start, start + columns, 1);
            assert_same_on_both(ct_tensor_copy(part), x, "copy");
            assert_same_on_both(ct_tensor_cast(part, CT_BF16), ct_tensor_cast(x, CT_BF16), "cast");
            assert_same_on_both(ct_tensor_scale(part, 3), ct_tensor_scale(x, 3), "scale");
            /* in place: what is between the rows stays */
            ct_tensor *row = noise(CT_F32, CT_SHAPE(columns), 1, 2);
            require(ct_tensor_add_to(part, 2, on_cuda(row)) && ct_tensor_add_to(x, 2, row) &&
                        ct_tensor_scale_in_place(part, 3) && ct_tensor_scale_in_place(x, 3),
                    "%s", ct_error());
            assert_same_on_both(all, whole, "in place");
            require(ct_tensor_fill(part, 3) && ct_tensor_fill(x, 3), "%s", ct_error());
            assert_same_on_both(all, whole, "fill");
            require(ct_tensor_copy_to(part, on_cuda(row)) && ct_tensor_copy_to(x, row), "%s",
                    ct_error());
            assert_same_on_both(all, whole, "copy_to");
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda packs", {anywhere, 6}, {broadcast_rows, 6}, {rows_apart, 1})
