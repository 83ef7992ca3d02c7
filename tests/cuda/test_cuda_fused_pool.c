/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling on CUDA tensors against the CPU: the same bits, for sums are taken in one order. */
#include "tests/cuda/cuda_test.h"

/* n, channels, height, width, and the options. */
static const struct {
    int64_t n, channels, height, width;
    ct_tensor_max_pool2d_options options;
} cases[] = {
    {1, 1, 1, 1, {1, 1, 0, 1, false}}, {2, 3, 7, 9, {2, 2, 0, 1, false}},
    {2, 5, 8, 7, {3, 2, 1, 1, true}},  {1, 4, 9, 9, {2, 3, 1, 2, false}},
    {0, 3, 5, 5, {3, 1, 1, 1, false}}, {2, 1, 2, 33, {2, 1, 1, 3, false}},
    {1, 2, 6, 5, {5, 2, 2, 1, true}},  {16, 64, 57, 56, {3, 2, 1, 1, false}},
};
enum { CASES = sizeof cases / sizeof *cases, LARGE = 1 };

typedef ct_tensor *place(const ct_tensor *x);

static void check_maxima(const ct_tensor *x, ct_tensor_max_pool2d_options o, place *on) {
    ct_tensor *index, *of_index;
    ct_tensor *y = ct_tensor_max_pool2d(x, o, &index);
    assert_as_cpu(ct_tensor_max_pool2d(on(x), o, &of_index), y, 0, "max_pool2d");
    assert_as_cpu(of_index, index, 0, "index");
    assert_as_cpu(ct_tensor_max_pool2d(on(x), o, NULL), y, 0, "max_pool2d without index");
    ct_tensor *g = noise(x->dtype, y->shape, 1, 2);
    assert_as_cpu(ct_tensor_max_pool2d_grad(on(g), of_index, x->shape, o),
                  ct_tensor_max_pool2d_grad(g, index, x->shape, o), 0, "max_pool2d gradient");
}

static void check_means(const ct_tensor *x, ct_tensor_max_pool2d_options o, place *on) {
    for (int counted = 0; counted < 2; counted++) {
        ct_tensor_avg_pool2d_options mean = {o.kernel, o.stride, o.padding, o.ceil_mode, counted};
        if (o.padding > o.kernel / 2) mean.padding = 0;
        ct_tensor *y = ct_tensor_avg_pool2d(x, mean), *g = noise(x->dtype, y->shape, 1, 3);
        assert_as_cpu(ct_tensor_avg_pool2d(on(x), mean), y, 0, "avg_pool2d");
        assert_as_cpu(ct_tensor_avg_pool2d_grad(on(g), x->shape, mean),
                      ct_tensor_avg_pool2d_grad(g, x->shape, mean), 0, "avg_pool2d gradient");
    }
    const int64_t sizes[][2] = {{1, 1}, {3, 4}, {11, 2}};
    for (int i = 0; i < 3; i++) {
        ct_tensor *y = ct_tensor_adaptive_avg_pool2d(x, sizes[i][0], sizes[i][1]);
        ct_tensor *g = noise(x->dtype, y->shape, 1, 4);
        assert_as_cpu(ct_tensor_adaptive_avg_pool2d(on(x), sizes[i][0], sizes[i][1]), y, 0,
                      "adaptive_avg_pool2d");
        assert_as_cpu(ct_tensor_adaptive_avg_pool2d_grad(on(g), x->shape),
                      ct_tensor_adaptive_avg_pool2d_grad(g, x->shape), 0,
                      "adaptive_avg_pool2d gradient");
    }
}

START_TEST(as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            ct_tensor *x = noise(
                reals[d],
                CT_SHAPE(cases[_i].n, cases[_i].channels, cases[_i].height, cases[_i].width), 1, 1);
            check_maxima(x, cases[_i].options, on_cuda);
            check_maxima(x, cases[_i].options, misaligned);
            check_means(x, cases[_i].options, on_cuda);
            for (int64_t i = 0; i < ct_count(x); i += 3) ct_set(x, i, i % 2 ? NAN : -INFINITY);
            check_maxima(x, cases[_i].options, on_cuda);
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda pool", {as_on_the_cpu, cases_here(CASES, LARGE)})
