/* SPDX-License-Identifier: Apache-2.0 */
/* 2-d convolution against a plain loop over its formula. */
#include "tensor/cpu/onednn.h"
#include "tests/tensor/fused_test.h"

typedef struct {
    int64_t batch, in, height, width, out, kernel_h, kernel_w;
    ct_tensor_conv2d_options options; /* before, after, stride, dilation, groups */
} conv_case;

static const conv_case cases[] = {
    {2, 3, 5, 6, 4, 3, 3, {0, 0, 1, 1, 1}},
    {2, 3, 5, 6, 4, 3, 3, {1, 1, 1, 1, 1}},
    {2, 4, 7, 5, 6, 3, 2, {1, 2, 2, 1, 2}},
    {1, 4, 6, 7, 4, 3, 3, {0, 1, 2, 1, 4}},
    {2, 2, 9, 8, 6, 3, 3, {2, 2, 1, 2, 2}},
    {3, 5, 4, 4, 2, 1, 1, {0, 0, 1, 1, 1}},
    {2, 6, 4, 4, 3, 1, 1, {0, 0, 2, 1, 3}},
    {1, 1, 1, 1, 1, 1, 1, {0, 0, 1, 1, 1}},
    {2, 2, 3, 2, 3, 5, 4, {2, 2, 1, 1, 1}}, /* larger than x */
    {1, 2, 8, 8, 2, 2, 2, {0, 0, 3, 5, 1}},
    {2, 2, 4, 4, 2, 1, 1, {1, 1, 1, 1, 1}},
    {1, 1, 2, 2, 1, 1, 1, {3, 3, 2, 1, 1}}, /* positions that see nothing but zeros */
    {1, 1, 17, 16, 1, 3, 3, {1, 1, 1, 1, 1}},
    {1, 1, 16, 16, 2, 1, 1, {0, 0, 1, 1, 1}},
    {5, 6, 3, 3, 4, 3, 3, {1, 1, 1, 1, 2}},
    {1, 1, 2, 2, 130, 1, 1, {0, 0, 1, 1, 1}},
    {2, 3, 5, 6, 4, 1, 1, {0, 1, 1, 1, 1}},
    /* every channel by itself */
    {2, 3, 9, 7, 3, 5, 5, {2, 2, 2, 1, 3}},
    {2, 2, 8, 9, 2, 3, 3, {1, 2, 3, 2, 2}},
    {1, 2, 11, 6, 2, 2, 3, {3, 0, 4, 2, 2}},
    {1, 2, 12, 12, 2, 3, 3, {1, 1, 5, 1, 2}},
    {3, 2, 7, 7, 2, 3, 3, {1, 1, 1, 1, 2}},
    {2, 2, 2, 3, 2, 5, 5, {4, 4, 2, 1, 2}},
    {1, 2, 13, 12, 2, 3, 3, {1, 1, 1, 1, 2}},
    {1, 3, 4, 4, 3, 1, 1, {0, 0, 2, 1, 3}},
    {1, 2, 3, 3, 2, 2, 2, {0, 0, 1, 2, 2}},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct {
    ct_tensor *x, *weight, *bias, *g;
    ct_tensor_conv2d_options options;
} inputs;

static int64_t places(const conv_case *c, int64_t size, int64_t kernel) {
    int64_t span = c->options.dilation * (kernel - 1) + 1;
    return (size + c->options.before + c->options.after - span) / c->options.stride + 1;
}

static inputs make_inputs(const conv_case *c) {
    uint64_t state = 12;
    int64_t rows = places(c, c->height, c->kernel_h), columns = places(c, c->width, c->kernel_w);
    ct_shape weight = CT_SHAPE(c->out, c->in / c->options.groups, c->kernel_h, c->kernel_w);
    return (inputs){.x = test_tensor(&state, CT_SHAPE(c->batch, c->in, c->height, c->width), -1, 1),
                    .weight = test_tensor(&state, weight, -1, 1),
                    .bias = test_tensor(&state, CT_SHAPE(c->out), -1, 1),
                    .g = test_tensor(&state, CT_SHAPE(c->batch, c->out, rows, columns), -1, 1),
                    .options = c->options};
}

/* One output: channel o at (h,w) of picture b. */
static double at(const inputs *in, int64_t b, int64_t o, int64_t h, int64_t w) {
    const int64_t *size = in->x->shape.dim, *kernel = in->weight->shape.dim;
    const double *x = ct_data(in->x), *weight = ct_data(in->weight);
    int64_t top = h * in->options.stride - in->options.before;
    int64_t left = w * in->options.stride - in->options.before;
    double sum = in->bias ? ((double *)ct_data(in->bias))[o] : 0;
    for (int64_t c = 0; c < kernel[1]; c++) {
        int64_t channel = o / (kernel[0] / in->options.groups) * kernel[1] + c;
        const double *plane = x + (b * size[1] + channel) * size[2] * size[3];
        for (int64_t k = 0; k < kernel[2] * kernel[3]; k++) {
            int64_t row = top + k / kernel[3] * in->options.dilation;
            int64_t column = left + k % kernel[3] * in->options.dilation;
            if (row < 0 || row >= size[2] || column < 0 || column >= size[3]) continue;
            sum += weight[(o * kernel[1] + c) * kernel[2] * kernel[3] + k] *
                   plane[row * size[3] + column];
        }
    }
    return sum;
}

static ct_tensor *reference(const inputs *in) {
    ct_tensor *result = ct_zeros(CT_F64, CT_CPU, in->g->shape);
    const int64_t *size = result->shape.dim, count = ct_count(result);
    double *y = ct_data(result);
    for (int64_t i = 0; i < count; i++) {
        int64_t w = i % size[3], h = i / size[3] % size[2], o = i / size[3] / size[2] % size[1];
        y[i] = at(in, i / size[3] / size[2] / size[1], o, h, w);
    }
    return result;
}

static double loss(void *context) {
    const inputs *in = context;
    double value = 0;
    CT_SCOPE { value = test_dot(reference(in), in->g); }
    return value;
}

START_TEST(equals_plain_loop) {
    for (int biased = 0; biased < 2; biased++) {
        CT_SCOPE {
            inputs in = make_inputs(&cases[_i]);
            if (!biased) in.bias = NULL;
            ct_tensor *y = ct_tensor_conv2d(in.x, in.weight, in.bias, in.options);
            assert_close(y, reference(&in), 1e-13, 1e-13, "y");
            ct_tensor *gx, *gw, *gb, *alone;
            ct_tensor_conv2d_grad(in.g, in.x, in.weight, in.options, &gx, &gw, &gb);
            assert_gradient(gx, in.x, loss, &in, "x");
            assert_gradient(gw, in.weight, loss, &in, "weight");
            if (biased) assert_gradient(gb, in.bias, loss, &in, "bias");
            ct_tensor_conv2d_grad(in.g, in.x, in.weight, in.options, NULL, &alone, NULL);
            assert_same_bits(alone, gw, "weight alone");
            ct_tensor_conv2d_grad(in.g, in.x, in.weight, in.options, &alone, NULL, NULL);
            assert_same_bits(alone, gx, "x alone");
        }
    }
}
END_TEST

START_TEST(f32_agrees) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        ct_tensor *x = ct_tensor_cast(in.x, CT_F32), *w = ct_tensor_cast(in.weight, CT_F32);
        ct_tensor *b = ct_tensor_cast(in.bias, CT_F32), *g = ct_tensor_cast(in.g, CT_F32);
        assert_close(ct_tensor_conv2d(x, w, b, in.options), reference(&in), 1e-6, 2e-6, "y");
        ct_tensor *gx, *gw, *gb, *gx32, *gw32, *gb32;
        ct_tensor_conv2d_grad(in.g, in.x, in.weight, in.options, &gx, &gw, &gb);
        ct_tensor_conv2d_grad(g, x, w, in.options, &gx32, &gw32, &gb32);
        assert_close(gx32, gx, 1e-6, 2e-6, "x");
        assert_close(gw32, gw, 1e-6, 1e-5, "weight"); /* sums of up to 108 products below 1 */
        assert_close(gb32, gb, 1e-6, 1e-5, "bias");
    }
}
END_TEST

/* NaN where it was, else within the bounds. */
static double activated(double y, ct_activation activation) {
    if (activation != CT_NO_ACTIVATION && y < 0) y = 0;
    return activation == CT_RELU6 && y > 6 ? 6 : y;
}

/* One pass more gives what the passes one after the other do, to the last bit in f64. */
START_TEST(activated_is_conv2d_then_the_rest) {
    for (int a = 0; a <= CT_RELU6; a++) {
        for (int with = 0; with < 2; with++) {
            CT_SCOPE {
                inputs in = make_inputs(&cases[_i]);
                ct_tensor *x = ct_tensor_unary(CT_UNARY_mul_scalar, in.x, 5, 0);
                ct_set(x, 0, NAN);
                ct_tensor *y = ct_tensor_conv2d(x, in.weight, in.bias, in.options);
                ct_tensor *g = ct_tensor_transpose(
                    ct_tensor_contiguous(ct_tensor_transpose(in.g, 2, 3)), 2, 3);
                ct_tensor *to = ct_tensor_conv2d_activated(x, in.weight, in.bias, with ? g : NULL,
                                                           (ct_activation)a, in.options);
                if (with) y = ct_tensor_add(y, in.g);
                assert_no_error();
                for (int64_t i = 0; i < ct_count(y); i++) {
                    double expected = activated(ct_get(y, i), (ct_activation)a);
                    ck_assert_msg(isnan(expected) ? isnan(ct_get(to, i))
                                                  : ct_get(to, i) == expected,
                                  "element %d: %g, expected %g", (int)i, ct_get(to, i), expected);
                }
            }
        }
    }
}
END_TEST

START_TEST(activated_refuses) {
    CT_SCOPE {
        const ct_tensor_conv2d_options plain = {0, 0, 1, 1, 1};
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 4, 3, 3));
        ct_tensor *w = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(6, 4, 2, 2));
        ck_assert(!ct_tensor_conv2d_activated(x, w, NULL, x, CT_RELU, plain));
        assert_error("conv2d: added is f32 (2,4,3,3), expected (2,6,2,2)");
        ck_assert(!ct_tensor_conv2d_activated(x, w, NULL, NULL, (ct_activation)3, plain));
        assert_error("conv2d: activation 3: expected one of ct_activation");
    }
}
END_TEST

/* So large that the pictures are taken in several parts, the last one smaller. */
START_TEST(in_parts) {
    CT_SCOPE {
        conv_case large = {11, 24, 44, 44, 2, 3, 3, {1, 1, 1, 1, 1}}; /* 3.3 MB a picture in f64 */
        inputs in = make_inputs(&large), one = in;
        ct_tensor *y = ct_tensor_conv2d(in.x, in.weight, in.bias, in.options);
        ct_tensor *gx, *gw, *gb, *sum = NULL;
        ct_tensor_conv2d_grad(in.g, in.x, in.weight, in.options, &gx, &gw, &gb);
        for (int64_t i = 0; i < large.batch; i++) {
            one.x = ct_tensor_slice(in.x, 0, i, i + 1, 1);
            one.g = ct_tensor_slice(in.g, 0, i, i + 1, 1);
            assert_close(ct_tensor_slice(y, 0, i, i + 1, 1),
                         ct_tensor_conv2d(one.x, one.weight, one.bias, one.options), 1e-12, 1e-14,
                         "y");
            ct_tensor *x_part, *w_part, *b_part;
            ct_tensor_conv2d_grad(one.g, one.x, one.weight, one.options, &x_part, &w_part, &b_part);
            assert_no_error();
            assert_close(ct_tensor_slice(gx, 0, i, i + 1, 1), x_part, 1e-12, 1e-14, "gx");
            sum = sum ? ct_tensor_add(sum, w_part) : w_part;
        }
        assert_close(gw, sum, 1e-11, 1e-11, "gw");
    }
}
END_TEST

/* The same bits for any number of threads. */
START_TEST(threads_change_nothing) {
    CT_SCOPE {
        const conv_case large[] = {{3, 8, 40, 40, 8, 3, 3, {1, 1, 1, 1, 2}},
                                   {9, 16, 7, 7, 24, 3, 3, {1, 1, 1, 1, 1}},
                                   {4, 16, 20, 20, 24, 1, 1, {0, 0, 1, 1, 1}},
                                   {4, 16, 20, 20, 16, 3, 3, {1, 1, 2, 1, 16}}};
        inputs in = make_inputs(&large[_i]);
        ct_tensor *y[2], *gx[2], *gw[2];
        for (int k = 0; k < 2; k++) {
            ct_set_threads(k ? 3 : 1);
            y[k] = ct_tensor_conv2d(in.x, in.weight, NULL, in.options);
            ct_tensor_conv2d_grad(in.g, in.x, in.weight, in.options, &gx[k], &gw[k], NULL);
        }
        assert_same_bits(y[1], y[0], "y");
        assert_same_bits(gx[1], gx[0], "gx");
        assert_same_bits(gw[1], gw[0], "gw");
    }
}
END_TEST

/* Equal to `most`, NaNs in the same places; returns how many. */
static int assert_close_but_nans(ct_tensor *actual, ct_tensor *expected, double most,
                                 const char *what) {
    int nans = 0;
    for (int64_t i = 0; i < ct_count(expected); i++) {
        double a = ct_get(actual, i), e = ct_get(expected, i);
        nans += isnan(e);
        ck_assert_msg(isnan(e) ? isnan(a) : fabs(a - e) <= most, "%s %d: %g, expected %g", what,
                      (int)i, a, e);
    }
    return nans;
}

/* oneDNN, where the build has it, gives what our own kernels do within rounding, the same bits
 * each time, and no NaN is lost; what it computed with is said. Sums have up to 400 terms of at
 * most 1, those of weights' gradients up to 1,260. */
START_TEST(onednn_agrees) {
    if (!ct_onednn_version()) return;
    ck_assert(strstr(ct_machine_text(), ct_onednn_version()) != NULL);
    const conv_case some[] = {{3, 16, 20, 21, 24, 3, 3, {1, 1, 1, 1, 1}},
                              {2, 3, 30, 31, 16, 7, 7, {3, 3, 2, 1, 1}},
                              {5, 40, 7, 7, 32, 1, 1, {0, 0, 1, 1, 1}},
                              {2, 8, 9, 10, 12, 3, 2, {0, 1, 2, 2, 4}},
                              /* a product, of more than ct_onednn_least_product */
                              {1, 64, 20, 21, 64, 1, 1, {0, 0, 1, 1, 1}}};
    CT_SCOPE {
        inputs in = make_inputs(&some[_i]);
        ct_tensor *x = ct_tensor_cast(in.x, CT_F32), *w = ct_tensor_cast(in.weight, CT_F32);
        ct_tensor *b = ct_tensor_cast(in.bias, CT_F32), *g = ct_tensor_cast(in.g, CT_F32);
        ct_tensor *y[3], *gx[3], *gw[3];
        ct_set(x, 0, NAN);
        for (int k = 0; k < 3; k++) {
            ct_onednn_allow(k > 0);
            y[k] = ct_tensor_conv2d_activated(x, w, b, g, CT_RELU, in.options);
            ct_tensor_conv2d_grad(g, x, w, in.options, &gx[k], &gw[k], NULL);
        }
        assert_no_error();
        assert_same_bits(y[2], y[1], "y again");
        assert_same_bits(gx[2], gx[1], "gx again");
        assert_same_bits(gw[2], gw[1], "gw again");
        ck_assert_int_gt(assert_close_but_nans(y[1], y[0], 3e-5, "y"), 0);
        ck_assert_int_eq(assert_close_but_nans(gx[1], gx[0], 3e-5, "gx"), 0);
        ck_assert_int_gt(assert_close_but_nans(gw[1], gw[0], 1e-4, "gw"), 0);
    }
}
END_TEST

START_TEST(refusals) {
    CT_SCOPE {
        const ct_tensor_conv2d_options plain = {0, 0, 1, 1, 1};
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 4, 3, 3)), *gx, *gw, *gb;
        ct_tensor *w = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(6, 4, 2, 2));
        ck_assert(!ct_tensor_conv2d(x, ct_tensor_slice(w, 1, 0, 3, 1), NULL, plain));
        assert_error("conv2d: weight is f32 (6,3,2,2), expected (6,4,2,2)");
        ck_assert(
            !ct_tensor_conv2d(x, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(6, 4, 4, 2)), NULL, plain));
        assert_error("is smaller than the kernel of f32 (6,4,4,2)");
        ck_assert(!ct_tensor_conv2d(x, w, NULL, (ct_tensor_conv2d_options){0, 0, 1, 1, 4}));
        assert_error("conv2d: 4 groups do not divide 4 input and 6 output channels");
        const ct_tensor_conv2d_options wrong[] = {
            {-1, 0, 1, 1, 1}, {0, 0, 0, 1, 1}, {0, 0, 1, 0, 1}, {0, 0, 1, 1, 0}, {0, -1, 1, 1, 1}};
        for (int i = 0; i < 5; i++) {
            ck_assert(!ct_tensor_conv2d(x, w, NULL, wrong[i]));
            assert_error("expected no negative padding, the others at least 1");
        }
        ck_assert(!ct_tensor_conv2d(x, w, NULL,
                                    (ct_tensor_conv2d_options){INT64_MAX, INT64_MAX, 1, 1, 1}));
        assert_error("conv2d");
        ck_assert(!ct_tensor_conv2d(x, w, x, plain));
        assert_error("conv2d: bias");
        ck_assert(!ct_tensor_conv2d(NULL, w, NULL, plain));
        assert_error("conv2d");
        ct_tensor_conv2d_grad(x, x, w, plain, &gx, &gw, &gb);
        assert_error("conv2d gradient: g is");
        ck_assert(!gx && !gw && !gb);
    }
}
END_TEST

LOOPED_TEST_MAIN("conv2d", {equals_plain_loop, CASES}, {f32_agrees, CASES}, {in_parts, 1},
                 {activated_is_conv2d_then_the_rest, CASES}, {activated_refuses, 1},
                 {threads_change_nothing, 4}, {onednn_agrees, 5}, {refusals, 1})
