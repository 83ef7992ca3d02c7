/* SPDX-License-Identifier: Apache-2.0 */
/* 1-d convolution against a plain loop over its formula. */
#include "tests/tensor/fused_test.h"

typedef struct {
    int64_t batch, steps, in, out, kernel;
    ct_tensor_conv1d_options options; /* before, after, stride, dilation */
} conv_case;

static const conv_case cases[] = {
    {2, 7, 3, 4, 3, {0, 0, 1, 1}}, {2, 7, 3, 4, 5, {4, 0, 1, 1}}, /* causal */
    {3, 9, 2, 5, 3, {1, 1, 2, 1}}, {2, 10, 3, 2, 3, {2, 3, 3, 2}},
    {1, 1, 1, 1, 1, {0, 0, 1, 1}}, {2, 3, 2, 3, 5, {2, 2, 1, 1}}, /* longer than x */
    {2, 8, 3, 4, 1, {0, 0, 2, 1}}, {2, 6, 2, 2, 2, {0, 0, 4, 3}},
    {2, 3, 2, 2, 3, {6, 6, 1, 5}}, /* two of the taps read nothing but padding */
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct {
    ct_tensor *x, *weight, *bias, *g;
    ct_tensor_conv1d_options options;
} inputs;

static int64_t steps_out(const conv_case *c) {
    int64_t span = c->options.dilation * (c->kernel - 1) + 1;
    return (c->steps + c->options.before + c->options.after - span) / c->options.stride + 1;
}

static inputs make_inputs(const conv_case *c) {
    uint64_t state = 12;
    return (inputs){.x = test_tensor(&state, CT_SHAPE(c->batch, c->steps, c->in), -1, 1),
                    .weight = test_tensor(&state, CT_SHAPE(c->out, c->in, c->kernel), -1, 1),
                    .bias = test_tensor(&state, CT_SHAPE(c->out), -1, 1),
                    .g = test_tensor(&state, CT_SHAPE(c->batch, steps_out(c), c->out), -1, 1),
                    .options = c->options};
}

static ct_tensor *reference(const inputs *in) {
    int64_t batch = in->x->shape.dim[0], steps = in->x->shape.dim[1], columns = in->x->shape.dim[2];
    int64_t out = in->weight->shape.dim[0], kernel = in->weight->shape.dim[2];
    ct_tensor *result = ct_zeros(CT_F64, CT_CPU, in->g->shape);
    double *y = ct_data(result), *x = ct_data(in->x), *w = ct_data(in->weight);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t t = 0; t < in->g->shape.dim[1]; t++) {
            for (int64_t o = 0; o < out; o++) {
                double sum = in->bias ? ((double *)ct_data(in->bias))[o] : 0;
                for (int64_t k = 0; k < kernel; k++) {
                    int64_t from =
                        t * in->options.stride - in->options.before + k * in->options.dilation;
                    if (from < 0 || from >= steps) continue;
                    const double *row = x + (b * steps + from) * columns;
                    for (int64_t c = 0; c < columns; c++) {
                        sum += w[(o * columns + c) * kernel + k] * row[c];
                    }
                }
                y[(b * in->g->shape.dim[1] + t) * out + o] = sum;
            }
        }
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
            ct_tensor *y = ct_tensor_conv1d(in.x, in.weight, in.bias, in.options);
            assert_close(y, reference(&in), 1e-13, 1e-13, "y");
            ct_tensor *gx, *gw, *gb;
            ct_tensor_conv1d_grad(in.g, in.x, in.weight, in.options, &gx, &gw, &gb);
            assert_gradient(gx, in.x, loss, &in, "x");
            assert_gradient(gw, in.weight, loss, &in, "weight");
            if (biased) assert_gradient(gb, in.bias, loss, &in, "bias");
            ct_tensor *alone;
            ct_tensor_conv1d_grad(in.g, in.x, in.weight, in.options, NULL, &alone, NULL);
            assert_same_bits(alone, gw, "weight alone");
        }
    }
}
END_TEST

START_TEST(f32_agrees) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        ct_tensor *x = ct_tensor_cast(in.x, CT_F32), *w = ct_tensor_cast(in.weight, CT_F32);
        ct_tensor *b = ct_tensor_cast(in.bias, CT_F32), *g = ct_tensor_cast(in.g, CT_F32);
        assert_close(ct_tensor_conv1d(x, w, b, in.options), reference(&in), 1e-6, 1e-6, "y");
        ct_tensor *gx, *gw, *gb, *gx32, *gw32, *gb32;
        ct_tensor_conv1d_grad(in.g, in.x, in.weight, in.options, &gx, &gw, &gb);
        ct_tensor_conv1d_grad(g, x, w, in.options, &gx32, &gw32, &gb32);
        assert_close(gx32, gx, 1e-6, 1e-6, "x");
        assert_close(gw32, gw, 1e-6, 1e-6, "weight");
        assert_close(gb32, gb, 1e-6, 1e-6, "bias");
    }
}
END_TEST

/* Large enough for products in several parts: a sequence does not depend on those beside it. */
START_TEST(sequences_apart) {
    CT_SCOPE {
        conv_case wide = {5, 40, 600, 2, 7, {6, 0, 1, 1}};
        inputs in = make_inputs(&wide), one = in;
        ct_tensor *y = ct_tensor_conv1d(in.x, in.weight, in.bias, in.options);
        ct_tensor *gx, *gw, *gb, *sum = NULL;
        ct_tensor_conv1d_grad(in.g, in.x, in.weight, in.options, &gx, &gw, &gb);
        for (int64_t i = 0; i < wide.batch; i++) {
            one.x = ct_tensor_slice(in.x, 0, i, i + 1, 1);
            one.g = ct_tensor_slice(in.g, 0, i, i + 1, 1);
            assert_close(ct_tensor_slice(y, 0, i, i + 1, 1),
                         ct_tensor_conv1d(one.x, one.weight, one.bias, one.options), 1e-12, 1e-12,
                         "y");
            ct_tensor *x_part, *w_part, *b_part;
            ct_tensor_conv1d_grad(one.g, one.x, one.weight, one.options, &x_part, &w_part, &b_part);
            assert_close(ct_tensor_slice(gx, 0, i, i + 1, 1), x_part, 1e-12, 1e-12, "x");
            sum = sum ? ct_tensor_add(sum, w_part) : w_part;
        }
        assert_close(gw, sum, 1e-12, 1e-12, "weight");
    }
}
END_TEST

/* Products' sums have the BLAS's order, so only one without a sum is compared: K = 1, Cin = 1. */
START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        conv_case big = {64, 100, 1, 9, 1, {3, 2, 2, 1}};
        inputs in = make_inputs(&big);
        ct_tensor *y[2];
        int before = ct_threads();
        for (int k = 0; k < 2; k++) {
            ct_set_threads(k + 1);
            y[k] = ct_tensor_conv1d(in.x, in.weight, NULL, in.options);
        }
        ct_set_threads(before);
        assert_same_bits(y[0], y[1], "y");
    }
}
END_TEST

START_TEST(strided_inputs) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[3]);
        ct_tensor *y = ct_tensor_conv1d(in.x, in.weight, in.bias, in.options);
        ct_tensor *x = test_strided(in.x), *w = test_strided(in.weight), *g = test_strided(in.g);
        assert_same_bits(ct_tensor_conv1d(x, w, test_strided(in.bias), in.options), y, "y");
        ct_tensor *gx, *gw, *gb, *gx2, *gw2, *gb2;
        ct_tensor_conv1d_grad(in.g, in.x, in.weight, in.options, &gx, &gw, &gb);
        ct_tensor_conv1d_grad(g, x, w, in.options, &gx2, &gw2, &gb2);
        assert_same_bits(gx2, gx, "x");
        assert_same_bits(gw2, gw, "weight");
    }
}
END_TEST

/* ---- packed sequences ------------------------------------------------------------------------ */

enum { SEQUENCES = 5, LONGEST = 6, ROWS = 17 };
static const int64_t lengths_of[SEQUENCES] = {3, 6, 1, 3, 4};

/* The rows of packed x that are one sequence's, in its order. */
static ct_tensor *rows_of(const ct_tensor *x, const ct_tensor *sequences, int64_t sequence) {
    int64_t index[LONGEST], count = 0;
    for (int64_t i = 0; i < ROWS; i++)
        if (((int64_t *)ct_data(sequences))[i] == sequence) index[count++] = i;
    ct_tensor *rows = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(count), index);
    return ct_tensor_index_select(x, 0, rows);
}

static const ct_tensor_conv1d_options keeping[] = {
    {2, 0, 1, 1}, {1, 1, 1, 1}, {0, 2, 1, 1}, {3, 3, 1, 3}, {12, 0, 1, 6}};
enum { KEEPING = sizeof keeping / sizeof *keeping };

/* Each sequence as a convolution of it alone gives it, and the gradients. */
START_TEST(packed_as_each_alone) {
    CT_SCOPE {
        uint64_t state = 5;
        ct_tensor_conv1d_options o = keeping[_i];
        ct_tensor *lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(SEQUENCES), lengths_of);
        ct_tensor *sequences = ct_packed_sequences(lengths, CT_CPU);
        ct_tensor *x = test_tensor(&state, CT_SHAPE(ROWS, 3), -1, 1);
        ct_tensor *w = test_tensor(&state, CT_SHAPE(4, 3, 3), -1, 1);
        ct_tensor *b = test_tensor(&state, CT_SHAPE(4), -1, 1);
        ct_tensor *g = test_tensor(&state, CT_SHAPE(ROWS, 4), -1, 1);
        ct_tensor *y = ct_tensor_conv1d_packed(x, lengths, w, b, o), *gx, *gw, *gb;
        ct_tensor_conv1d_packed_grad(g, x, lengths, w, o, &gx, &gw, &gb);
        assert_no_error();
        ct_tensor *sum_w = NULL, *sum_b = NULL;
        for (int64_t s = 0; s < SEQUENCES; s++) {
            ct_tensor *one = ct_tensor_unsqueeze(rows_of(x, sequences, s), 0);
            ct_tensor *g_one = ct_tensor_unsqueeze(rows_of(g, sequences, s), 0);
            ct_tensor *y_one = ct_tensor_conv1d(one, w, b, o), *x_part, *w_part, *b_part;
            ct_tensor_conv1d_grad(g_one, one, w, o, &x_part, &w_part, &b_part);
            assert_close(rows_of(y, sequences, s), ct_tensor_squeeze(y_one, 0), 1e-13, 1e-13, "y");
            assert_close(rows_of(gx, sequences, s), ct_tensor_squeeze(x_part, 0), 1e-13, 1e-13,
                         "x");
            sum_w = sum_w ? ct_tensor_add(sum_w, w_part) : w_part;
            sum_b = sum_b ? ct_tensor_add(sum_b, b_part) : b_part;
        }
        assert_close(gw, sum_w, 1e-13, 1e-13, "weight");
        assert_close(gb, sum_b, 1e-13, 1e-13, "bias");
    }
}
END_TEST

START_TEST(packed_refuses_bad_input) {
    CT_SCOPE {
        ct_tensor *lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(SEQUENCES), lengths_of);
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(ROWS, 3));
        ct_tensor *w = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4, 3, 3));
        ck_assert(
            !ct_tensor_conv1d_packed(x, lengths, w, NULL, (ct_tensor_conv1d_options){1, 0, 1, 1}));
        assert_error(
            "conv1d_packed: before 1, after 0, stride 1, dilation 1 and a kernel of 3 do not keep");
        ck_assert(
            !ct_tensor_conv1d_packed(x, lengths, w, NULL, (ct_tensor_conv1d_options){2, 2, 2, 1}));
        assert_error("stride 2");
        x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(ROWS + 1, 3));
        ck_assert(
            !ct_tensor_conv1d_packed(x, lengths, w, NULL, (ct_tensor_conv1d_options){2, 0, 1, 1}));
        assert_error("conv1d_packed: x is f32 (18,3), but lengths are of 17 steps together");
        ck_assert(
            !ct_tensor_conv1d_packed(x, NULL, w, NULL, (ct_tensor_conv1d_options){2, 0, 1, 1}));
        assert_error("conv1d_packed");
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        ct_tensor_conv1d_options plain = {0, 0, 1, 1};
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 4, 3)), *gx, *gw, *gb;
        ct_tensor *w = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(5, 2, 3));
        ck_assert(!ct_tensor_conv1d(x, w, NULL, plain));
        assert_error("conv1d: weight is f32 (5,2,3), expected (5,3,3)");
        w = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(5, 3, 5));
        ck_assert(!ct_tensor_conv1d(x, w, NULL, plain));
        assert_error("f32 (2,4,3), padded by 0 and 0, is shorter than the kernel of f32 (5,3,5)");
        ck_assert(!ct_tensor_conv1d(x, w, NULL, (ct_tensor_conv1d_options){4, 0, 0, 1}));
        assert_error("stride 0");
        ck_assert(!ct_tensor_conv1d(x, w, x, (ct_tensor_conv1d_options){4, 0, 1, 1}));
        assert_error("bias is f32 (2,4,3), expected (5)");
        ct_tensor_conv1d_grad(x, x, w, (ct_tensor_conv1d_options){4, 0, 1, 1}, &gx, &gw, &gb);
        ck_assert(!gx && !gw && !gb);
        assert_error("g is f32 (2,4,3), expected (2,4,5)");
        ct_tensor *none = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 4, 3)); /* no sequences is fine */
        ct_tensor *y = ct_tensor_conv1d(none, w, NULL, (ct_tensor_conv1d_options){4, 0, 1, 1});
        assert_no_error();
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(0, 4, 5)));
    }
}
END_TEST

LOOPED_TEST_MAIN("conv1d", {equals_plain_loop, CASES}, {f32_agrees, CASES}, {sequences_apart, 1},
                 {threads_do_not_matter, 1}, {strided_inputs, 1}, {refuses_bad_input, 1},
                 {packed_as_each_alone, KEEPING}, {packed_refuses_bad_input, 1})
