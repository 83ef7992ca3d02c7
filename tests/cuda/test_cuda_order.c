/* SPDX-License-Identifier: Apache-2.0 */
/* Arg max and min, running sums and sorting of CUDA tensors against the CPU. */
#include "tests/cuda/cuda_test.h"

/* Lines for a thread, a warp, a block; tiles of a sort that are not full; many merges. */
static const int64_t shapes[][2] = {
    {1, 1},   {3, 31},   {2, 33},    {3, 257}, {2, 1024},   {2, 1025},
    {33, 64}, {1, 3000}, {4099, 33}, {0, 5},   {30011, 33}, {2, 300007},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, LARGE = 2 };

/* Few different values, among them NaN, both zeros and infinities: equal ones keep their order. */
static ct_tensor *with_ties(ct_dtype dtype, ct_shape shape) {
    const double values[] = {NAN, 0, -0.0, INFINITY, -INFINITY, 1, -1, 2, -2, 1e-30, -3, 3};
    ct_tensor *x = noise(CT_F64, shape, 12, 5);
    double *v = ct_data(x);
    for (int64_t i = 0; i < ct_count(x); i++) v[i] = values[(int)fabs(v[i]) % 12];
    return ct_tensor_cast(x, dtype);
}

/* For each type and layout, with ties and without: the shape of this test. */
static void each_matrix(int shape, bool ties_too, void (*check)(const ct_tensor *x)) {
    for (int i = 0; i < 2 * LAYOUTS * (ties_too ? 2 : 1); i++) {
        CT_SCOPE {
            ct_shape size = CT_SHAPE(shapes[shape][0], shapes[shape][1]);
            ct_dtype dtype = reals[i % 2];
            ct_tensor *x = i / 2 / LAYOUTS ? with_ties(dtype, size) : noise(dtype, size, 1, 3);
            check(laid_out(x, (test_layout)(i / 2 % LAYOUTS)));
        }
    }
}

static void check_arg_reduce(const ct_tensor *x) {
    for (int axis = 0; axis < 2; axis++) {
        if (x->shape.dim[axis] == 0) continue;
        assert_as_cpu(ct_tensor_argmax(on_cuda(x), axis), ct_tensor_argmax(x, axis), 0, "argmax");
        assert_as_cpu(ct_tensor_argmin(on_cuda(x), axis), ct_tensor_argmin(x, axis), 0, "argmin");
    }
}

START_TEST(arg_reduce_as_on_the_cpu) { each_matrix(_i, true, check_arg_reduce); }
END_TEST

static void check_cumsum(const ct_tensor *x) {
    for (int axis = 0; axis < 2; axis++) {
        for (int reverse = 0; reverse < 2; reverse++) {
            assert_as_cpu(ct_tensor_cumsum(on_cuda(x), axis, reverse),
                          ct_tensor_cumsum(x, axis, reverse), close_enough(x->dtype), "cumsum");
        }
    }
}

START_TEST(cumsum_as_on_the_cpu) { each_matrix(_i, false, check_cumsum); }
END_TEST

static void check_argsort(const ct_tensor *x) {
    for (int descending = 0; descending < 2; descending++) {
        assert_as_cpu(ct_tensor_argsort(on_cuda(x), descending), ct_tensor_argsort(x, descending),
                      0, descending ? "descending" : "ascending");
    }
}

START_TEST(argsort_as_on_the_cpu) { each_matrix(_i, true, check_argsort); }
END_TEST

LOOPED_TEST_MAIN("cuda order", {arg_reduce_as_on_the_cpu, cases_here(SHAPES, LARGE)},
                 {cumsum_as_on_the_cpu, cases_here(SHAPES, LARGE)},
                 {argsort_as_on_the_cpu, cases_here(SHAPES, LARGE)})
