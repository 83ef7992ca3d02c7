/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs that share memory with what is written: the result is as if they had been copied before.
 */
#include "tests/tensor/kernel_test.h"

/* Below and above what is done in vectors, blocks, tiles and by several threads. */
static const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 17, 33, 64, 100, 129, 260};

static ct_tensor *numbered(ct_dtype dtype, ct_shape shape) {
    ct_tensor *x = ct_arange(dtype, CT_CPU, ct_shape_count(shape));
    return ct_tensor_reshape(x, shape);
}

/* Pairs of views of a square matrix: what is written, what is read. */
typedef struct {
    const char *name;
    void (*views)(ct_tensor *x, ct_tensor **to, ct_tensor **from);
} layout;

static void same(ct_tensor *x, ct_tensor **to, ct_tensor **from) { *to = *from = x; }
static void turned(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    *to = x;
    *from = ct_tensor_transpose(x, 0, 1);
}
static void to_turned(ct_tensor *x, ct_tensor **to, ct_tensor **from) { turned(x, from, to); }
static void both_turned(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    *to = ct_tensor_transpose(x, 0, 1);
    *from = ct_tensor_transpose(x, 0, 1);
}
static void shift(ct_tensor *x, int axis, ct_tensor **to, ct_tensor **from) {
    int64_t n = ct_dim(x, axis);
    *to = ct_tensor_slice(x, axis, 1, n, 1);
    *from = ct_tensor_slice(x, axis, 0, n - 1, 1);
}
static void rows_down(ct_tensor *x, ct_tensor **to, ct_tensor **from) { shift(x, 0, to, from); }
static void rows_up(ct_tensor *x, ct_tensor **to, ct_tensor **from) { shift(x, 0, from, to); }
static void columns_on(ct_tensor *x, ct_tensor **to, ct_tensor **from) { shift(x, 1, to, from); }
static void columns_back(ct_tensor *x, ct_tensor **to, ct_tensor **from) { shift(x, 1, from, to); }
static void flat_on(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    shift(ct_tensor_reshape(x, CT_SHAPE(-1)), 0, to, from);
}
static void flat_back(ct_tensor *x, ct_tensor **to, ct_tensor **from) { flat_on(x, from, to); }
static void a_row_of_it(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    *to = x;
    *from = ct_tensor_slice(x, 0, ct_dim(x, 0) / 2, ct_dim(x, 0) / 2 + 1, 1);
}
static void a_column_of_it(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    *to = x;
    *from = ct_tensor_slice(x, 1, 0, 1, 1);
}
static void half_steps(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    int64_t half = ct_dim(x, 0) / 2;
    *to = ct_tensor_slice(x, 0, 0, half, 1);
    *from = ct_tensor_slice(x, 0, 0, 2 * half, 2);
}
static void columns_apart(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    int64_t half = ct_dim(x, 1) / 2;
    *to = ct_tensor_slice(x, 1, 0, half, 1);
    *from = ct_tensor_slice(x, 1, half, 2 * half, 1);
}

/* Blocks of 3 of every 6: of the first block, and of one whose last lies in the next row's first.
 */
static void over_the_edge(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    ct_tensor *flat = ct_tensor_reshape(x, CT_SHAPE(-1));
    int64_t rows = (ct_count(x) - 4) / 6;
    if (rows < 2) return same(x, to, from);
    for (int i = 0; i < 2; i++) {
        ct_tensor *part = ct_tensor_slice(flat, 0, 4 * i, 4 * i + 6 * rows, 1);
        *(i ? from : to) = ct_tensor_slice(ct_tensor_reshape(part, CT_SHAPE(rows, 6)), 1, 0, 3, 1);
    }
}
static void under_the_edge(ct_tensor *x, ct_tensor **to, ct_tensor **from) {
    over_the_edge(x, from, to);
}

static const layout layouts[] = {
    {"same", same},
    {"transposed", turned},
    {"to transposed", to_turned},
    {"both transposed", both_turned},
    {"rows down", rows_down},
    {"rows up", rows_up},
    {"columns on", columns_on},
    {"columns back", columns_back},
    {"elements on", flat_on},
    {"elements back", flat_back},
    {"a row of it", a_row_of_it},
    {"a column of it", a_column_of_it},
    {"every second row", half_steps},
    {"columns apart", columns_apart},
    {"over the edge", over_the_edge},
    {"under the edge", under_the_edge},
};

typedef bool (*write_function)(ct_tensor *to, const ct_tensor *from);

static bool add(ct_tensor *to, const ct_tensor *from) { return ct_tensor_add_to(to, 0.5, from); }

/* Writes as given, and from a copy into another matrix. */
static void check_write(write_function write, const char *op, ct_dtype dtype, const layout *l,
                        int64_t n) {
    char name[80];
    snprintf(name, sizeof name, "%s, %s, %lld", op, l->name, (long long)n);
    CT_SCOPE {
        ct_tensor *x = numbered(dtype, CT_SHAPE(n, n)), *y = ct_tensor_copy(x);
        ct_tensor *to, *from, *expected_to, *expected_from;
        l->views(x, &to, &from);
        l->views(y, &expected_to, &expected_from);
        ck_assert(write(to, from));
        ck_assert(write(expected_to, ct_tensor_copy(expected_from)));
        assert_close(x, y, 0, 0, name);
    }
}

START_TEST(pointwise) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_write(add, "add_to", CT_F32, &layouts[_i], sizes[i]);
        check_write(add, "add_to", CT_F64, &layouts[_i], sizes[i]);
        check_write(ct_tensor_copy_to, "copy_to", CT_F32, &layouts[_i], sizes[i]);
        check_write(ct_tensor_copy_to, "copy_to", CT_I64, &layouts[_i], sizes[i]);
        check_write(ct_tensor_copy_to, "copy_to", CT_U8, &layouts[_i], sizes[i]);
    }
}
END_TEST

/* ---- the same memory by other names ----------------------------------------------------- */

/* Elements of one size read as another type while they are written. */
START_TEST(memory_given_twice) {
    static int32_t memory[70000], expected[70000];
    (void)_i;
    CT_SCOPE {
        for (int i = 0; i < 70000; i++) {
            memory[i] = i;
            expected[i] = i ? i - 1 : 0;
        }
        ct_shape shape = CT_SHAPE(69999);
        ct_tensor *from = ct_from_memory(CT_I32, shape, memory, NULL, NULL);
        ct_tensor *to = ct_from_memory(CT_I32, shape, memory + 1, NULL, NULL);
        ck_assert(ct_tensor_copy_to(to, from));
        ck_assert(memcmp(memory, expected, sizeof memory) == 0);
        /* i64 from the i32 in whose place it is written */
        for (int i = 0; i < 70000; i++) memory[i] = i;
        from = ct_from_memory(CT_I32, CT_SHAPE(35000), memory, NULL, NULL);
        to = ct_from_memory(CT_I64, CT_SHAPE(35000), memory, NULL, NULL);
        ck_assert(ct_tensor_copy_to(to, from));
        for (int i = 0; i < 35000; i += 13) ck_assert_int_eq(((int64_t *)ct_data(to))[i], i);
    }
}
END_TEST

/* ---- products --------------------------------------------------------------------------- */

START_TEST(products) {
    const ct_dtype dtypes[] = {CT_F32, CT_F64};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CT_SCOPE {
            ct_rng rng = ct_rng_create(3, 0);
            ct_shape square = CT_SHAPE(sizes[i], sizes[i]);
            ct_tensor *x = ct_random_normal(&rng, "x", dtypes[_i & 1], CT_CPU, square);
            ct_tensor *b = ct_random_normal(&rng, "b", dtypes[_i & 1], CT_CPU, square);
            ct_tensor *y = ct_tensor_copy(x), *a = ct_tensor_copy(x);
            ct_tensor *view = _i & 2 ? ct_tensor_transpose(x, 0, 1) : x;
            if (_i & 2) a = ct_tensor_transpose(a, 0, 1);
            ck_assert(ct_tensor_matmul_to(x, 1, view, b, 0.5));
            ck_assert(ct_tensor_matmul_to(x, 1, b, view, 0));
            ck_assert(ct_tensor_matmul_to(y, 1, a, b, 0.5));
            ct_tensor *second = ct_tensor_copy(y);
            if (_i & 2) second = ct_tensor_transpose(second, 0, 1);
            ck_assert(ct_tensor_matmul_to(y, 1, b, second, 0));
            assert_close(x, y, 0, 0, "matmul_to");
        }
    }
}
END_TEST

/* ---- additions at indices --------------------------------------------------------------- */

static bool add_rows(ct_tensor *to, const ct_tensor *from) {
    int64_t n = ct_dim(from, 0);
    ct_tensor *reversed =
        ct_tensor_sub(ct_scalar(CT_F64, CT_CPU, (double)(n - 1)), ct_arange(CT_F64, CT_CPU, n));
    return ct_tensor_index_add_to(to, 0, ct_tensor_cast(reversed, CT_I64), from);
}

static bool scatter(ct_tensor *to, const ct_tensor *from) {
    ct_tensor *first = ct_zeros(CT_I64, CT_CPU, from->shape);
    return ct_tensor_scatter_add_to(to, 0, first, from);
}

START_TEST(at_indices) {
    if (layouts[_i].views == a_row_of_it || layouts[_i].views == a_column_of_it) return;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_write(add_rows, "index_add", CT_F64, &layouts[_i], sizes[i]);
        check_write(scatter, "scatter_add", CT_F64, &layouts[_i], sizes[i]);
    }
}
END_TEST

START_TEST(index_in_the_place_of_the_result) {
    (void)_i;
    CT_SCOPE {
        static union {
            int64_t index[4];
            double value[4];
        } memory = {.index = {3, 2, 1, 0}};
        ct_tensor *index = ct_from_memory(CT_I64, CT_SHAPE(4), memory.index, NULL, NULL);
        ct_tensor *y = ct_from_memory(CT_F64, CT_SHAPE(4), memory.value, NULL, NULL);
        ck_assert(ct_tensor_index_add_to(y, 0, index, ct_full(CT_F64, CT_CPU, CT_SHAPE(4), 1)));
        for (int i = 0; i < 4; i++) ck_assert(ct_get(y, i) == 1);
    }
}
END_TEST

/* ---- what cannot be written ------------------------------------------------------------- */

START_TEST(views_of_shared_places) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *x = numbered(CT_F32, CT_SHAPE(4, 4)),
                  *one = ct_full(CT_F32, CT_CPU, CT_SHAPE(1), 1);
        ct_tensor wide = *ct_tensor_expand(x, CT_SHAPE(3, 4, 4)), odd = *x, diagonal = *x;
        odd.stride[0] = 2; /* rows of 4, 2 apart */
        diagonal.shape = CT_SHAPE(3, 3);
        diagonal.stride[0] = diagonal.stride[1] = 2;
        ct_tensor *shared[] = {&wide, &odd, &diagonal};
        for (int i = 0; i < 3; i++) {
            ct_tensor *y = shared[i];
            ct_tensor *index = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(ct_dim(y, 0)));
            bool done[] = {ct_tensor_fill(y, 1),
                           ct_tensor_scale_in_place(y, 2),
                           ct_tensor_add_to(y, 1, one),
                           ct_tensor_copy_to(y, one),
                           ct_set(y, 0, 1),
                           ct_tensor_index_add_to(y, 0, index, ct_zeros(CT_F32, CT_CPU, y->shape)),
                           ct_tensor_matmul_to(
                               y, 1, ct_zeros(CT_F32, CT_CPU, y->shape),
                               ct_zeros(CT_F32, CT_CPU, CT_SHAPE(ct_dim(y, -1), ct_dim(y, -1))),
                               0)};
            for (size_t j = 0; j < sizeof done / sizeof *done; j++) {
                ck_assert_msg(!done[j], "view %d was written by function %zu", i, j);
            }
            assert_error("fill: cannot write to");
        }
        for (int i = 0; i < 16; i++) ck_assert(ct_get(x, i) == i);
    }
}
END_TEST

/* Strides of a batch of transposed slices: every element has its place. */
START_TEST(views_that_can_be_written) {
    (void)_i;
    CT_SCOPE {
        ct_tensor *x = numbered(CT_F32, CT_SHAPE(5, 6, 7, 8));
        ct_tensor *y = ct_tensor_slice(ct_tensor_slice(x, 1, 1, 6, 2), 3, 3, 8, 3);
        ck_assert(ct_tensor_fill(ct_tensor_permute(y, (int[]){3, 1, 0, 2}), -1));
        for (int64_t i = 0; i < ct_count(y); i++) ck_assert(ct_get(y, i) == -1);
        ck_assert(ct_tensor_fill(ct_tensor_expand(x, CT_SHAPE(1, 5, 6, 7, 8)), 2));
        ck_assert(ct_tensor_fill(
            ct_tensor_expand(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1)), CT_SHAPE(0)), 2));
        assert_no_error();
    }
}
END_TEST

LOOPED_TEST_MAIN("overlap", {pointwise, sizeof layouts / sizeof *layouts}, {memory_given_twice, 1},
                 {products, 4}, {at_indices, sizeof layouts / sizeof *layouts},
                 {index_in_the_place_of_the_result, 1}, {views_of_shared_places, 1},
                 {views_that_can_be_written, 1})
