/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and adding at indices on CUDA tensors against the CPU: the same bits, the same errors. */
#include "tests/cuda/cuda_test.h"

/* x's shape; the axis; how many indices. */
static const struct {
    int64_t shape[3];
    int axis;
    int64_t count;
} cases[] = {
    {{7, 1, 1}, 0, 1},           {{5, 33, 1}, 0, 31},     {{3, 4, 31}, 1, 257},
    {{2, 3, 33}, 2, 65},         {{40, 1, 8}, 0, 1025},   {{1, 1, 9}, 2, 5000},
    {{2000, 1, 3}, 0, 1500},     {{3, 1, 257}, 0, 64},    {{0, 3, 4}, 1, 5},
    {{4, 3, 0}, 1, 5},           {{4, 3, 2}, 1, 0},       {{2, 16, 4}, 1, 2100},
    {{200003, 1, 3}, 0, 250007}, {{40, 1, 300}, 0, 3001},
};
enum { CASES = sizeof cases / sizeof *cases, LARGE = 2 };

/* Indices below `size`, some of them often and some never; `wrong`, if not negative, is the place
 * of one that is out of range. */
static ct_tensor *indices(ct_shape shape, int64_t size, int64_t wrong) {
    ct_tensor *x = noise(CT_F64, shape, 1, 7);
    double *v = ct_data(x);
    for (int64_t i = 0; i < ct_count(x); i++) v[i] = floor(v[i] * v[i] * (double)size);
    if (wrong >= 0 && wrong < ct_count(x)) v[wrong] = wrong % 2 ? -1 : (double)size;
    return ct_tensor_cast(x, CT_I64);
}

static ct_tensor *values(int i, ct_dtype dtype, int64_t along, uint64_t seed) {
    ct_shape shape = CT_SHAPE(cases[i].shape[0], cases[i].shape[1], cases[i].shape[2]);
    if (along >= 0) shape.dim[cases[i].axis] = along;
    return noise(dtype, shape, 100, seed);
}

START_TEST(reading_as_on_the_cpu) {
    int axis = cases[_i].axis;
    int64_t size = cases[_i].shape[axis], count = cases[_i].count;
    const ct_dtype dtypes[] = {CT_F32, CT_F64, CT_BF16, CT_I64, CT_U8};
    for (int d = 0; d < 5; d++) {
        CT_SCOPE {
            const ct_tensor *x = values(_i, dtypes[d], -1, 1);
            const ct_tensor *list = indices(CT_SHAPE(count), size, -1);
            assert_as_cpu(ct_tensor_index_select(on_cuda(x), axis, on_cuda(list)),
                          ct_tensor_index_select(x, axis, list), 0, "index_select");
            const ct_tensor *at = indices(values(_i, CT_F32, count, 2)->shape, size, -1);
            assert_as_cpu(ct_tensor_gather(on_cuda(x), axis, on_cuda(at)),
                          ct_tensor_gather(x, axis, at), 0, "gather");
        }
    }
}
END_TEST

START_TEST(adding_has_the_bits_of_the_cpu) {
    int axis = cases[_i].axis;
    int64_t size = cases[_i].shape[axis], count = cases[_i].count;
    for (int i = 0; i < 2 * 2; i++) {
        CT_SCOPE {
            ct_tensor *y = values(_i, i % 2 ? CT_F64 : CT_F32, -1, 1), *cuda = on_cuda(y);
            const ct_tensor *x = values(_i, y->dtype, count, 2);
            bool scatter = i / 2;
            const ct_tensor *at = indices(scatter ? x->shape : CT_SHAPE(count), size, -1);
            bool (*add)(ct_tensor *, int, const ct_tensor *, const ct_tensor *) =
                scatter ? ct_tensor_scatter_add_to : ct_tensor_index_add_to;
            add(y, axis, at, x);
            add(cuda, axis, on_cuda(at), on_cuda(x));
            assert_as_cpu(cuda, y, 0, scatter ? "scatter_add" : "index_add");
        }
    }
}
END_TEST

/* ---- out of range ----------------------------------------------------------------------- */

static bool run(int op, ct_tensor *x, const ct_tensor *at, const ct_tensor *terms) {
    switch (op) {
    case 0: return ct_tensor_index_select(x, 0, at) != NULL;
    case 1: return ct_tensor_gather(x, 0, at) != NULL;
    case 2: return ct_tensor_index_add_to(x, 0, at, terms);
    default: return ct_tensor_scatter_add_to(x, 0, at, terms);
    }
}

/* On the device the error comes with the next value that is read, and once. */
static void check_out_of_range(int op, int64_t count, int64_t columns, int64_t wrong) {
    bool list = op % 2 == 0; /* index_select and index_add take one for all columns */
    float row[3];
    char expected[200];
    ct_tensor *x = noise(CT_F32, CT_SHAPE(9, columns), 1, 1);
    const ct_tensor *terms = noise(CT_F32, CT_SHAPE(count, columns), 1, 2);
    const ct_tensor *at = indices(list ? CT_SHAPE(count) : CT_SHAPE(count, columns), 9, wrong);
    ct_tensor *cuda = on_cuda(x), *other = ct_full(CT_F32, CT_CUDA, CT_SHAPE(3), 7);
    require(!run(op, x, at, terms), "the CPU finds it");
    snprintf(expected, sizeof expected, "%s", ct_error());
    ct_error_clear();
    require(run(op, cuda, on_cuda(at), on_cuda(terms)), "no wait: %s", ct_error());
    require(!ct_read(other, row), "an error is due");
    require(strcmp(ct_error(), expected) == 0, "\"%s\", expected \"%s\"", ct_error(), expected);
    ct_error_clear();
    require(ct_read(other, row) && row[1] == 7, "%s", ct_error());
}

START_TEST(index_out_of_range_is_named) {
    const int64_t counts[] = {1, 31, 65, 1025};
    for (int i = 0; i < 4 * 2; i++) {
        CT_SCOPE {
            int64_t count = counts[i / 2];
            int64_t wrong = i % 2 ? count - 1 : count / 2;
            check_out_of_range(_i, count, 3, wrong);
            if (_i % 2 == 0) check_out_of_range(_i, count, 0, wrong); /* of empty rows */
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda index", {reading_as_on_the_cpu, cases_here(CASES, LARGE)},
                 {adding_has_the_bits_of_the_cpu, cases_here(CASES, LARGE)},
                 {index_out_of_range_is_named, 4})
