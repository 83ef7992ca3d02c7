/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax, log-softmax and their gradients on CUDA tensors against the CPU. */
#include "tests/cuda/cuda_test.h"

/* Each number of registers a thread, full and not; blocks; more rows than the grid has warps. */
static const int64_t shapes[][2] = {
    {1, 1},     {3, 31},  {3, 32},   {5, 33},     {3, 64},      {3, 65},
    {2, 257},   {2, 256}, {3, 1024}, {2, 1025},   {2, 5000},    {300, 36},
    {20, 1030}, {0, 5},   {5, 0},    {40000, 36}, {3000, 1030},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, LARGE = 2 };

static void check(const ct_tensor *x, bool logarithm) {
    const char *what = logarithm ? "log_softmax" : "softmax";
    double near = 4 * close_enough(x->dtype); /* several roundings, of an exponential among them */
    const ct_tensor *y = ct_tensor_softmax(x, -1, logarithm);
    assert_as_cpu(ct_tensor_softmax(on_cuda(x), -1, logarithm), y, near, what);
    const ct_tensor *g = noise(x->dtype, x->shape, 1, 9);
    assert_as_cpu(ct_tensor_softmax_grad(on_cuda(g), on_cuda(y), -1, logarithm),
                  ct_tensor_softmax_grad(g, y, -1, logarithm), near, what);
}

START_TEST(softmax_as_on_the_cpu) {
    for (int i = 0; i < 2 * 2 * 2; i++) {
        CT_SCOPE {
            ct_shape shape = CT_SHAPE(shapes[_i][0], shapes[_i][1]);
            check(noise(reals[i % 2], shape, i / 4 ? 80 : 3, 1), i / 2 % 2);
        }
    }
}
END_TEST

/* A row with one special value at either end, and one of nothing else. */
START_TEST(special_values_as_on_the_cpu) {
    const double special[] = {NAN, INFINITY, -INFINITY};
    const int64_t lengths[] = {2, 33, 257, 1025};
    for (int i = 0; i < 2 * 2 * 3 * 4; i++) {
        CT_SCOPE {
            int64_t n = lengths[i / 12];
            double value = special[i / 4 % 3];
            ct_tensor *x = noise(reals[i % 2], CT_SHAPE(4, n), 3, 1);
            ct_set(x, 0, value);
            ct_set(x, 2 * n - 1, value);
            ct_tensor_fill(ct_tensor_slice(x, 0, 3, 4, 1), value);
            check(x, i / 2 % 2);
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda softmax", {softmax_as_on_the_cpu, cases_here(SHAPES, LARGE)},
                 {special_values_as_on_the_cpu, 1})
