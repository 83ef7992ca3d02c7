/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions on CUDA tensors against the CPU. Unfolding and folding pictures: the same bits, for
 * elements are moved, or added in one order. */
#include "tests/cuda/cuda_test.h"

/* n, steps, channels, kernel, and the options. */
static const struct {
    int64_t n, steps, channels, kernel;
    ct_tensor_conv1d_options options;
} cases[] = {
    {1, 1, 1, 1, {0, 0, 1, 1}},      {2, 7, 33, 3, {2, 0, 1, 1}},  {3, 31, 31, 5, {2, 2, 2, 1}},
    {2, 33, 64, 3, {4, 0, 1, 2}},    {1, 9, 257, 2, {0, 0, 3, 4}}, {2, 5, 1000, 3, {1, 1, 1, 1}},
    {0, 5, 3, 2, {0, 0, 1, 1}},      {2, 5, 0, 2, {0, 0, 1, 1}},   {4, 40, 4, 3, {9, 9, 4, 3}},
    {50, 200, 100, 3, {1, 1, 1, 1}},
};
enum { CASES = sizeof cases / sizeof *cases, LARGE = 1 };

typedef ct_tensor *place(const ct_tensor *x);

static void check(ct_dtype dtype, int i, place *on) {
    enum { OUT = 5 };
    ct_tensor_conv1d_options o = cases[i].options;
    int64_t n = cases[i].n, channels = cases[i].channels, kernel = cases[i].kernel;
    ct_tensor *x = noise(dtype, CT_SHAPE(n, cases[i].steps, channels), 1, 1), *of_x = on(x);
    ct_tensor *w = noise(dtype, CT_SHAPE(OUT, channels, kernel), 1, 2), *of_w = on(w);
    ct_tensor *b = noise(dtype, CT_SHAPE(OUT), 1, 3), *of_b = on(b);
    ct_tensor *y = ct_tensor_conv1d(x, w, b, o);
    /* sums of so many products of numbers up to 1, in another order */
    double rounding = dtype == CT_F32 ? 1.2e-7 : 2.3e-16;
    double products = (double)(1 + channels * kernel), rows = (double)(1 + ct_count(y) / OUT);
    assert_as_cpu(ct_tensor_conv1d(of_x, of_w, of_b, o), y, rounding * products, "y");
    ct_tensor *g = noise(dtype, y->shape, 1, 4), *gx, *gw, *gb, *of_gx, *of_gw, *of_gb;
    ct_tensor_conv1d_grad(g, x, w, o, &gx, &gw, &gb);
    ct_tensor_conv1d_grad(on(g), of_x, of_w, o, &of_gx, &of_gw, &of_gb);
    assert_as_cpu(of_gx, gx, rounding * OUT * (double)kernel, "gx");
    assert_as_cpu(of_gw, gw, rounding * rows, "gw");
    assert_as_cpu(of_gb, gb, rounding * rows, "gb");
}

START_TEST(as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            check(reals[d], _i, on_cuda);
            check(reals[d], _i, misaligned);
        }
    }
}
END_TEST

START_TEST(packed_as_on_the_cpu) {
    enum { ROWS = 11, IN = 33, OUT = 5 };
    static const int64_t lengths_of[] = {2, 4, 1, 4};
    const ct_tensor_conv1d_options causal = {4, 0, 1, 2}, centred = {1, 1, 1, 1};
    for (int d = 0; d < 4; d++) {
        CT_SCOPE {
            ct_dtype dtype = reals[d % 2];
            ct_tensor_conv1d_options o = d < 2 ? causal : centred;
            ct_tensor *lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(4), lengths_of);
            ct_tensor *x = noise(dtype, CT_SHAPE(ROWS, IN), 1, 1), *of_x = on_cuda(x);
            ct_tensor *w = noise(dtype, CT_SHAPE(OUT, IN, 3), 1, 2), *of_w = on_cuda(w);
            ct_tensor *g = noise(dtype, CT_SHAPE(ROWS, OUT), 1, 3), *gx, *gw, *of_gx, *of_gw;
            double rounding = (dtype == CT_F32 ? 1.2e-7 : 2.3e-16) * 3 * IN;
            assert_as_cpu(ct_tensor_conv1d_packed(of_x, lengths, of_w, NULL, o),
                          ct_tensor_conv1d_packed(x, lengths, w, NULL, o), rounding, "y");
            ct_tensor_conv1d_packed_grad(g, x, lengths, w, o, &gx, &gw, NULL);
            ct_tensor_conv1d_packed_grad(on_cuda(g), of_x, lengths, of_w, o, &of_gx, &of_gw, NULL);
            assert_as_cpu(of_gx, gx, rounding, "gx");
            assert_as_cpu(of_gw, gw, rounding, "gw");
        }
    }
}
END_TEST

/* Of pictures: n, channels, height, width, kernel, and the options. */
static const struct {
    int64_t n, channels, height, width, kernel_h, kernel_w;
    ct_tensor_conv2d_options options;
} pictures[] = {
    {1, 1, 1, 1, 1, 1, {0, 0, 1, 1, 1}},    {2, 3, 7, 9, 3, 3, {1, 1, 1, 1, 1}},
    {2, 5, 8, 7, 3, 2, {0, 1, 2, 1, 1}},    {1, 4, 9, 9, 2, 3, {2, 2, 3, 2, 1}},
    {0, 3, 5, 5, 3, 3, {1, 1, 1, 1, 1}},    {2, 1, 2, 2, 1, 1, {3, 3, 2, 1, 1}},
    {8, 64, 56, 56, 3, 3, {1, 1, 1, 1, 1}},
};
enum { PICTURES = sizeof pictures / sizeof *pictures };

static int64_t places(int64_t size, int64_t kernel, ct_tensor_conv2d_options o) {
    return (size + o.before + o.after - o.dilation * (kernel - 1) - 1) / o.stride + 1;
}

static void check_pictures(ct_dtype dtype, int i, place *on) {
    const ct_backend *cpu = ct_backend_of(CT_CPU);
    const ct_backend *cuda = ct_backend_of(CT_CUDA);
    ct_tensor_conv2d_options o = pictures[i].options;
    int64_t n = pictures[i].n, channels = pictures[i].channels;
    int64_t kernel_h = pictures[i].kernel_h, kernel_w = pictures[i].kernel_w;
    int64_t height = pictures[i].height, width = pictures[i].width;
    ct_shape unfolded = CT_SHAPE(n, channels, kernel_h, kernel_w, places(height, kernel_h, o),
                                 places(width, kernel_w, o));
    ct_tensor *x = noise(dtype, CT_SHAPE(n, channels, height, width), 1, 1), *of_x = on(x);
    ct_tensor *u = noise(dtype, unfolded, 1, 2), *of_u = on(u);
    require(cpu->fold2d(x, u, o) && cuda->fold2d(of_x, of_u, o), "fold2d: %s", ct_error());
    assert_as_cpu(of_x, x, 0, "fold2d");
    require(cpu->unfold2d(u, x, o) && cuda->unfold2d(of_u, of_x, o), "unfold2d: %s", ct_error());
    assert_as_cpu(of_u, u, 0, "unfold2d");
}

START_TEST(pictures_as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            check_pictures(reals[d], _i, on_cuda);
            check_pictures(reals[d], _i, misaligned);
        }
    }
}
END_TEST

/* A convolution of every channel by itself, and its gradients; sums are added in other orders. */
static void check_depthwise(ct_dtype dtype, int i, place *on) {
    ct_tensor_conv2d_options o = pictures[i].options;
    int64_t n = pictures[i].n, channels = o.groups = pictures[i].channels;
    int64_t kernel_h = pictures[i].kernel_h, kernel_w = pictures[i].kernel_w;
    int64_t height = pictures[i].height, width = pictures[i].width;
    ct_tensor *x = noise(dtype, CT_SHAPE(n, channels, height, width), 1, 1), *of_x = on(x);
    ct_tensor *w = noise(dtype, CT_SHAPE(channels, 1, kernel_h, kernel_w), 1, 2), *of_w = on(w);
    ct_tensor *b = noise(dtype, CT_SHAPE(channels), 1, 3), *of_b = on(b);
    ct_tensor *y = ct_tensor_conv2d(x, w, b, o), *of_y = ct_tensor_conv2d(of_x, of_w, of_b, o);
    double tolerance = dtype == CT_F32 ? 2e-6 : 1e-14;
    assert_as_cpu(of_y, y, tolerance, "y");
    y = ct_tensor_conv2d_activated(x, w, b, y, CT_RELU6, o);
    of_y = ct_tensor_conv2d_activated(of_x, of_w, of_b, of_y, CT_RELU6, o);
    assert_as_cpu(of_y, y, tolerance, "y activated");
    ct_tensor *g = noise(dtype, y->shape, 1, 4), *gx, *gw, *of_gx, *of_gw;
    ct_tensor_conv2d_grad(g, x, w, o, &gx, &gw, NULL);
    ct_tensor_conv2d_grad(on(g), of_x, of_w, o, &of_gx, &of_gw, NULL);
    assert_as_cpu(of_gx, gx, tolerance, "gx");
    assert_as_cpu(of_gw, gw, tolerance * (double)(1 + ct_count(y)), "gw");
}

START_TEST(depthwise_as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            check_depthwise(reals[d], _i, on_cuda);
            check_depthwise(reals[d], _i, misaligned);
        }
    }
}
END_TEST

START_TEST(activates_as_the_cpu_does) {
    for (int d = 0; d < 2; d++) {
        for (int a = 0; a <= CT_RELU6; a++) {
            for (int given = 0; given < 4; given++) {
                CT_SCOPE {
                    ct_shape shape = CT_SHAPE(2, 3, 35);
                    ct_tensor *y = noise(reals[d], shape, 5, 1);
                    ct_set(y, 0, NAN);
                    ct_tensor *bias = given & 1 ? noise(reals[d], CT_SHAPE(3), 5, 2) : NULL;
                    ct_tensor *added = given & 2 ? noise(reals[d], shape, 5, 3) : NULL;
                    ct_tensor *of_y = on_cuda(y);
                    ct_activation kind = (ct_activation)a;
                    require(ct_backend_of(CT_CPU)->activate(y, bias, added, kind) &&
                                ct_backend_of(CT_CUDA)->activate(of_y, bias ? on_cuda(bias) : NULL,
                                                                 added ? on_cuda(added) : NULL,
                                                                 kind),
                            "activate: %s", ct_error());
                    assert_as_cpu(of_y, y, 0, "activate");
                }
            }
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda conv", {as_on_the_cpu, cases_here(CASES, LARGE)}, {packed_as_on_the_cpu, 1},
                 {pictures_as_on_the_cpu, cases_here(PICTURES, LARGE)},
                 {depthwise_as_on_the_cpu, cases_here(PICTURES, LARGE)},
                 {activates_as_the_cpu_does, 1})
