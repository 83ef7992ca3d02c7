/* SPDX-License-Identifier: Apache-2.0 */
/* The fused LSTM against a plain loop over the formulas, one sequence after the other. */
#include "tests/tensor/fused_test.h"

typedef struct {
    int64_t batch, steps, in, hidden;
    const int64_t *lengths;
    bool reverse, has_state, has_bias;
} lstm_case;

static const lstm_case cases[] = {
    {3, 5, 4, 6, NULL, false, true, true},
    {3, 5, 4, 6, NULL, true, true, true},
    {1, 1, 3, 2, NULL, false, false, false},
    {5, 6, 3, 5, (int64_t[]){2, 6, 1, 4, 4}, false, true, true},
    {5, 6, 3, 5, (int64_t[]){2, 6, 1, 4, 4}, true, true, true},
    {5, 8, 3, 5, (int64_t[]){3, 2, 5, 2, 3}, true, false, true}, /* all shorter than T */
    {4, 6, 3, 5, (int64_t[]){4, 4, 4, 4}, true, true, false},    /* even, shorter than T */
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct {
    ct_tensor *x, *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh, *lengths;
    bool reverse;
    ct_tensor *cy, *ch, *cc; /* loss: sum(y * cy) + sum(h_last * ch) + sum(c_last * cc) */
} inputs;

static inputs make_inputs(const lstm_case *c, ct_dtype dtype) {
    uint64_t state = 11;
    int64_t b = c->batch, h = c->hidden;
    inputs in = {
        .x = test_tensor(&state, CT_SHAPE(b, c->steps, c->in), -1, 1),
        .h0 = test_tensor(&state, CT_SHAPE(b, h), -1, 1),
        .c0 = test_tensor(&state, CT_SHAPE(b, h), -1, 1),
        .w_ih = test_tensor(&state, CT_SHAPE(4 * h, c->in), -1, 1),
        .w_hh = test_tensor(&state, CT_SHAPE(4 * h, h), -1, 1),
        .b_ih = test_tensor(&state, CT_SHAPE(4 * h), -1, 1),
        .b_hh = test_tensor(&state, CT_SHAPE(4 * h), -1, 1),
        .cy = test_tensor(&state, CT_SHAPE(b, c->steps, h), -1, 1),
        .ch = test_tensor(&state, CT_SHAPE(b, h), -1, 1),
        .cc = test_tensor(&state, CT_SHAPE(b, h), -1, 1),
        .lengths = test_lengths(b, c->lengths),
        .reverse = c->reverse,
    };
    if (!c->has_state) in.h0 = in.c0 = NULL;
    if (!c->has_bias) in.b_ih = in.b_hh = NULL;
    if (dtype == CT_F64) return in;
    ct_tensor **all[] = {&in.x,    &in.h0,   &in.c0, &in.w_ih, &in.w_hh,
                         &in.b_ih, &in.b_hh, &in.cy, &in.ch,   &in.cc};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = test_cast(*all[i], dtype);
    return in;
}

static ct_recurrent_inputs network(const inputs *in) {
    return (ct_recurrent_inputs){.x = in->x,
                                 .h0 = in->h0,
                                 .c0 = in->c0,
                                 .w_ih = in->w_ih,
                                 .w_hh = in->w_hh,
                                 .b_ih = in->b_ih,
                                 .b_hh = in->b_hh,
                                 .lengths = in->lengths,
                                 .reverse = in->reverse};
}

static ct_recurrent_result run(const inputs *in) { return ct_tensor_lstm(network(in)); }

static ct_recurrent_grad run_grad(const inputs *in, const ct_recurrent_result *result) {
    ct_recurrent_output_grad g = {.y = in->cy, .h_last = in->ch, .c_last = in->cc};
    return ct_tensor_lstm_grad(network(in), result, g, true);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* Gate g of unit k: W_i x + b_i + W_h h + b_h. */
static double gate(const inputs *in, const double *x, const double *h, int64_t g, int64_t k) {
    int64_t width = in->w_hh->shape.dim[1], columns = in->w_ih->shape.dim[1], row = g * width + k;
    const double *wi = ct_data(in->w_ih), *wh = ct_data(in->w_hh);
    double sum = 0;
    if (in->b_ih) sum = ((double *)ct_data(in->b_ih))[row] + ((double *)ct_data(in->b_hh))[row];
    for (int64_t c = 0; c < columns; c++) sum += wi[row * columns + c] * x[c];
    for (int64_t c = 0; c < width; c++) sum += wh[row * width + c] * h[c];
    return sum;
}

static void reference_step(const inputs *in, const double *x, double *h, double *c) {
    int64_t width = in->w_hh->shape.dim[1];
    double next[64];
    for (int64_t k = 0; k < width; k++) {
        double i = sigmoid(gate(in, x, h, 0, k)), f = sigmoid(gate(in, x, h, 1, k));
        double g = tanh(gate(in, x, h, 2, k)), o = sigmoid(gate(in, x, h, 3, k));
        c[k] = f * c[k] + i * g;
        next[k] = o * tanh(c[k]);
    }
    memcpy(h, next, (size_t)width * sizeof *h);
}

static ct_recurrent_result reference(const inputs *in) {
    int64_t batch = in->x->shape.dim[0], steps = in->x->shape.dim[1];
    int64_t columns = in->x->shape.dim[2], width = in->w_hh->shape.dim[1];
    ct_shape state = CT_SHAPE(batch, width);
    ct_recurrent_result result = {.y = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(batch, steps, width)),
                                  .h_last = ct_zeros(CT_F64, CT_CPU, state),
                                  .c_last = ct_zeros(CT_F64, CT_CPU, state)};
    if (in->h0) {
        ct_tensor_copy_to(result.h_last, in->h0);
        ct_tensor_copy_to(result.c_last, in->c0);
    }
    double *y = ct_data(result.y);
    const double *x = ct_data(in->x);
    for (int64_t b = 0; b < batch; b++) {
        int64_t length = in->lengths ? ((int64_t *)ct_data(in->lengths))[b] : steps;
        double *h = (double *)ct_data(result.h_last) + b * width;
        double *c = (double *)ct_data(result.c_last) + b * width;
        for (int64_t s = 0; s < length; s++) {
            int64_t t = b * steps + (in->reverse ? length - 1 - s : s);
            reference_step(in, x + t * columns, h, c);
            memcpy(y + t * width, h, (size_t)width * sizeof *h);
        }
    }
    return result;
}

START_TEST(equals_plain_loop) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i], CT_F64);
        ct_recurrent_result result = run(&in), expected = reference(&in);
        assert_close(result.y, expected.y, 0, 1e-12, "y");
        assert_close(result.h_last, expected.h_last, 0, 1e-12, "h_last");
        assert_close(result.c_last, expected.c_last, 0, 1e-12, "c_last");
    }
}
END_TEST

static double loss(void *context) {
    const inputs *in = context;
    double value = 0;
    CT_SCOPE {
        ct_recurrent_result result = reference(in);
        value = test_dot(result.y, in->cy) + test_dot(result.h_last, in->ch) +
                test_dot(result.c_last, in->cc);
    }
    return value;
}

START_TEST(gradients) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i], CT_F64);
        ct_recurrent_result result = run(&in);
        ct_recurrent_grad grad = run_grad(&in, &result);
        assert_gradient(grad.x, in.x, loss, &in, "x");
        assert_gradient(grad.w_ih, in.w_ih, loss, &in, "w_ih");
        assert_gradient(grad.w_hh, in.w_hh, loss, &in, "w_hh");
        ck_assert(!in.h0 == !grad.h0 && !in.c0 == !grad.c0 && !in.b_ih == !grad.b_ih);
        if (in.h0) assert_gradient(grad.h0, in.h0, loss, &in, "h0");
        if (in.c0) assert_gradient(grad.c0, in.c0, loss, &in, "c0");
        if (in.b_ih) assert_gradient(grad.b_ih, in.b_ih, loss, &in, "b_ih");
        if (in.b_hh) assert_gradient(grad.b_hh, in.b_hh, loss, &in, "b_hh");
        inputs last = in; /* the other gradients may be missing */
        last.cy = last.cc = NULL;
        ct_recurrent_grad only = run_grad(&last, &result);
        last.cy = ct_zeros(CT_F64, CT_CPU, in.cy->shape);
        last.cc = ct_zeros(CT_F64, CT_CPU, in.cc->shape);
        assert_same_bits(only.x, run_grad(&last, &result).x, "x from h_last alone");
    }
}
END_TEST

START_TEST(nothing_beyond_the_length) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[4], CT_F64);
        int64_t steps = in.x->shape.dim[1], columns = in.x->shape.dim[2], width = 5;
        ct_recurrent_result result = run(&in);
        ct_recurrent_grad grad = run_grad(&in, &result);
        assert_no_error();
        for (int64_t t = 0; t < 5 * steps; t++) {
            if (t % steps < cases[4].lengths[t / steps]) continue;
            for (int64_t c = 0; c < width; c++) ck_assert(ct_get(result.y, t * width + c) == 0);
            for (int64_t c = 0; c < columns; c++) ck_assert(ct_get(grad.x, t * columns + c) == 0);
        }
    }
}
END_TEST

START_TEST(f32_agrees) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i], CT_F64), in32 = make_inputs(&cases[_i], CT_F32);
        ct_recurrent_result result = run(&in), result32 = run(&in32);
        ct_recurrent_grad grad = run_grad(&in, &result), grad32 = run_grad(&in32, &result32);
        assert_close(result32.y, result.y, 0, 1e-5, "y");
        assert_close(result32.c_last, result.c_last, 1e-5, 1e-6, "c_last");
        assert_close(grad32.x, grad.x, 2e-5, 1e-6, "x");
        assert_close(grad32.w_ih, grad.w_ih, 2e-5, 1e-6, "w_ih");
        assert_close(grad32.w_hh, grad.w_hh, 2e-5, 1e-6, "w_hh");
    }
}
END_TEST

/* One step on one input without a state: no product has a sum whose order is the BLAS's. */
START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        lstm_case big = {300, 1, 1, 131, NULL, false, false, true};
        inputs in = make_inputs(&big, CT_F32);
        int before = ct_threads();
        ct_set_threads(1);
        ct_recurrent_result one = run(&in);
        ct_recurrent_grad grad_one = run_grad(&in, &one);
        ct_set_threads(2);
        ct_recurrent_result two = run(&in);
        ct_recurrent_grad grad_two = run_grad(&in, &two);
        ct_set_threads(before);
        assert_same_bits(one.y, two.y, "y");
        assert_same_bits(one.c_last, two.c_last, "c_last");
        assert_same_bits(grad_one.b_ih, grad_two.b_ih, "b_ih");
    }
}
END_TEST

START_TEST(packed_rows_are_the_same) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i], CT_F64), packed = in;
        if (!in.lengths) return;
        packed.x = test_packed(in.x, in.lengths);
        packed.cy = test_packed(in.cy, in.lengths);
        test_recurrent a = {.result = run(&in)}, b = {.result = run(&packed)};
        a.grad = run_grad(&in, &a.result);
        b.grad = run_grad(&packed, &b.result);
        ct_recurrent_inputs given = network(&in);
        assert_same_packed(&given, a, b);
    }
}
END_TEST

/* Batches that threads divide among themselves, each with its sequences through all steps: more and
 * fewer threads than parts to be had, even and uneven lengths, parts whose steps end early. */
START_TEST(parts_are_the_whole) {
    enum { BATCH = 70, STEPS = 6 };
    int64_t length[BATCH];
    const int64_t *mixed = test_mixed_lengths(length, BATCH, STEPS);
    const lstm_case big[] = {
        {BATCH, STEPS, 3, 40, NULL, false, true, true},
        {BATCH, STEPS, 3, 40, NULL, true, false, true},
        {BATCH, STEPS + 2, 3, 40, mixed, false, true, true},
        {BATCH, STEPS, 3, 40, mixed, true, false, false},
    };
    CT_SCOPE {
        inputs in = make_inputs(&big[_i], CT_F64);
        ct_recurrent_output_grad g = {.y = in.cy, .h_last = in.ch, .c_last = in.cc};
        test_recurrent one =
            assert_same_on_threads(network(&in), g, ct_tensor_lstm, ct_tensor_lstm_grad);
        assert_close(one.result.y, reference(&in).y, 1e-12, 1e-13, "y");
    }
}
END_TEST

START_TEST(empty_batch) {
    CT_SCOPE {
        inputs in = make_inputs(&(lstm_case){0, 3, 4, 5, NULL, false, true, true}, CT_F32);
        ct_recurrent_result result = run(&in);
        ct_recurrent_grad grad = run_grad(&in, &result);
        assert_no_error();
        ck_assert(ct_shape_equal(result.y->shape, CT_SHAPE(0, 3, 5)));
        assert_close(grad.w_ih, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(20, 4)), 0, 0, "w_ih");
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[0], CT_F64), bad = in;
        bad.w_hh = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(18, 6));
        ck_assert(run(&bad).y == NULL);
        assert_error("lstm: w_hh is f64 (18,6), expected (24,6)");
        bad = in;
        bad.c0 = NULL;
        ck_assert(run(&bad).y == NULL);
        assert_error("one of h0, c0 is NULL");
        bad = in;
        bad.lengths = test_lengths(3, (int64_t[]){1, 2, 9});
        ck_assert(run(&bad).y == NULL);
        assert_error("length 9 of sequence 2, expected 1 to 5");
        ct_recurrent_result result = run(&in);
        bad = in;
        bad.cc = in.cy;
        ck_assert(run_grad(&bad, &result).x == NULL);
        assert_error("g_c_last is f64 (3,5,6), expected (3,6)");
    }
}
END_TEST

LOOPED_TEST_MAIN("lstm", {equals_plain_loop, CASES}, {gradients, CASES}, {f32_agrees, CASES},
                 {nothing_beyond_the_length, 1}, {packed_rows_are_the_same, CASES},
                 {threads_do_not_matter, 1}, {parts_are_the_whole, 4}, {empty_batch, 1},
                 {refuses_bad_input, 1})
