/* SPDX-License-Identifier: Apache-2.0 */
/* The fused GRU against a plain loop over the formulas, one sequence after the other. */
#include "tests/tensor/fused_test.h"

typedef struct {
    int64_t batch, steps, in, hidden;
    const int64_t *lengths;
    bool reverse, has_h0, has_bias;
} gru_case;

static const gru_case cases[] = {
    {3, 5, 4, 6, NULL, false, true, true},
    {3, 5, 4, 6, NULL, true, true, true},
    {1, 1, 3, 2, NULL, false, false, false},
    {2, 1, 3, 5, NULL, true, true, false},
    {1, 7, 2, 3, NULL, false, true, true},
    {4, 6, 3, 5, (int64_t[]){6, 5, 3, 1}, false, true, true},
    {5, 6, 3, 5, (int64_t[]){2, 6, 1, 4, 4}, false, true, true},
    {5, 6, 3, 5, (int64_t[]){2, 6, 1, 4, 4}, true, true, true},
    {5, 8, 3, 5, (int64_t[]){3, 2, 5, 2, 3}, true, false, true}, /* all shorter than T */
    {4, 6, 3, 5, (int64_t[]){4, 4, 4, 4}, true, true, false},    /* even, shorter than T */
    {3, 4, 2, 3, (int64_t[]){4, 4, 4}, false, false, true},      /* lengths that change nothing */
    {1, 6, 3, 4, (int64_t[]){2}, true, true, true},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct {
    ct_tensor *x, *h0, *w_ih, *w_hh, *b_ih, *b_hh, *lengths;
    bool reverse;
    ct_tensor *cy, *ch; /* weights of the loss: sum(y * cy) + sum(h_last * ch) */
} inputs;

static inputs make_inputs(const gru_case *c, ct_dtype dtype) {
    uint64_t state = 7;
    int64_t b = c->batch, h = c->hidden;
    inputs in = {
        .x = test_tensor(&state, CT_SHAPE(b, c->steps, c->in), -1, 1),
        .h0 = test_tensor(&state, CT_SHAPE(b, h), -1, 1),
        .w_ih = test_tensor(&state, CT_SHAPE(3 * h, c->in), -1, 1),
        .w_hh = test_tensor(&state, CT_SHAPE(3 * h, h), -1, 1),
        .b_ih = test_tensor(&state, CT_SHAPE(3 * h), -1, 1),
        .b_hh = test_tensor(&state, CT_SHAPE(3 * h), -1, 1),
        .cy = test_tensor(&state, CT_SHAPE(b, c->steps, h), -1, 1),
        .ch = test_tensor(&state, CT_SHAPE(b, h), -1, 1),
        .lengths = test_lengths(b, c->lengths),
        .reverse = c->reverse,
    };
    if (!c->has_h0) in.h0 = NULL;
    if (!c->has_bias) in.b_ih = in.b_hh = NULL;
    if (dtype == CT_F64) return in;
    ct_tensor **all[] = {&in.x, &in.h0, &in.w_ih, &in.w_hh, &in.b_ih, &in.b_hh, &in.cy, &in.ch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = test_cast(*all[i], dtype);
    return in;
}

static ct_recurrent_inputs network(const inputs *in) {
    return (ct_recurrent_inputs){.x = in->x,
                                 .h0 = in->h0,
                                 .w_ih = in->w_ih,
                                 .w_hh = in->w_hh,
                                 .b_ih = in->b_ih,
                                 .b_hh = in->b_hh,
                                 .lengths = in->lengths,
                                 .reverse = in->reverse};
}

static ct_recurrent_result run(const inputs *in) { return ct_tensor_gru(network(in)); }

static ct_recurrent_grad run_grad(const inputs *in, const ct_recurrent_result *result) {
    ct_recurrent_output_grad g = {.y = in->cy, .h_last = in->ch};
    return ct_tensor_gru_grad(network(in), result, g, true);
}

/* row k of w times v, plus b[k] */
static double affine(const double *w, const double *v, int64_t width, const double *b, int64_t k) {
    double sum = b ? b[k] : 0;
    for (int64_t c = 0; c < width; c++) sum += w[k * width + c] * v[c];
    return sum;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* One step of one sequence: h (H) in place. */
static void reference_step(const inputs *in, const double *x, double *h) {
    int64_t width = in->w_hh->shape.dim[1], columns = in->w_ih->shape.dim[1];
    const double *wi = ct_data(in->w_ih), *wh = ct_data(in->w_hh);
    const double *bi = in->b_ih ? ct_data(in->b_ih) : NULL;
    const double *bh = in->b_hh ? ct_data(in->b_hh) : NULL;
    double next[64];
    for (int64_t k = 0; k < width; k++) {
        double r = sigmoid(affine(wi, x, columns, bi, k) + affine(wh, h, width, bh, k));
        int64_t kz = width + k, kn = 2 * width + k;
        double z = sigmoid(affine(wi, x, columns, bi, kz) + affine(wh, h, width, bh, kz));
        double n = tanh(affine(wi, x, columns, bi, kn) + r * affine(wh, h, width, bh, kn));
        next[k] = (1 - z) * n + z * h[k];
    }
    memcpy(h, next, (size_t)width * sizeof *h);
}

static ct_recurrent_result reference(const inputs *in) {
    int64_t batch = in->x->shape.dim[0], steps = in->x->shape.dim[1];
    int64_t columns = in->x->shape.dim[2], width = in->w_hh->shape.dim[1];
    ct_recurrent_result result = {.y = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(batch, steps, width)),
                                  .h_last = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(batch, width))};
    double *y = ct_data(result.y), *last = ct_data(result.h_last);
    const double *x = ct_data(in->x);
    for (int64_t b = 0; b < batch; b++) {
        int64_t length = in->lengths ? ((int64_t *)ct_data(in->lengths))[b] : steps;
        double *h = last + b * width;
        if (in->h0) memcpy(h, (double *)ct_data(in->h0) + b * width, (size_t)width * sizeof *h);
        for (int64_t s = 0; s < length; s++) {
            int64_t t = b * steps + (in->reverse ? length - 1 - s : s);
            reference_step(in, x + t * columns, h);
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
    }
}
END_TEST

static double loss(void *context) {
    const inputs *in = context;
    double value = 0;
    CT_SCOPE {
        ct_recurrent_result result = reference(in);
        value = test_dot(result.y, in->cy) + test_dot(result.h_last, in->ch);
    }
    return value;
}

/* Against differences of the plain loop, not of the function itself. */
START_TEST(gradients) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i], CT_F64);
        ct_recurrent_result result = run(&in);
        ct_recurrent_grad grad = run_grad(&in, &result);
        assert_gradient(grad.x, in.x, loss, &in, "x");
        assert_gradient(grad.w_ih, in.w_ih, loss, &in, "w_ih");
        assert_gradient(grad.w_hh, in.w_hh, loss, &in, "w_hh");
        ck_assert(!in.h0 == !grad.h0 && !in.b_ih == !grad.b_ih && !in.b_hh == !grad.b_hh);
        if (in.h0) assert_gradient(grad.h0, in.h0, loss, &in, "h0");
        if (in.b_ih) assert_gradient(grad.b_ih, in.b_ih, loss, &in, "b_ih");
        if (in.b_hh) assert_gradient(grad.b_hh, in.b_hh, loss, &in, "b_hh");
    }
}
END_TEST

START_TEST(nothing_beyond_the_length) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[6], CT_F64);
        int64_t steps = in.x->shape.dim[1], columns = in.x->shape.dim[2], width = 5;
        for (int64_t t = 0; t < 5 * steps; t++) { /* values there must not matter, even NaN */
            if (t % steps < cases[6].lengths[t / steps]) continue;
            for (int64_t c = 0; c < columns; c++) ct_set(in.x, t * columns + c, NAN);
        }
        ct_recurrent_result result = run(&in);
        ct_recurrent_grad grad = run_grad(&in, &result);
        assert_no_error();
        ck_assert(!ct_tensor_has_nonfinite(result.y) && !ct_tensor_has_nonfinite(grad.w_ih));
        for (int64_t t = 0; t < 5 * steps; t++) {
            if (t % steps < cases[6].lengths[t / steps]) continue;
            for (int64_t c = 0; c < width; c++) ck_assert(ct_get(result.y, t * width + c) == 0);
            for (int64_t c = 0; c < columns; c++) ck_assert(ct_get(grad.x, t * columns + c) == 0);
        }
    }
}
END_TEST

START_TEST(one_gradient_or_none) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[7], CT_F64);
        ct_recurrent_result result = run(&in);
        inputs only_y = in, only_last = in;
        only_y.ch = only_last.cy = NULL;
        ct_recurrent_grad both = run_grad(&in, &result);
        ct_recurrent_grad y = run_grad(&only_y, &result), last = run_grad(&only_last, &result);
        assert_close(ct_tensor_add(y.x, last.x), both.x, 1e-13, 1e-13, "x");
        assert_close(ct_tensor_add(y.w_hh, last.w_hh), both.w_hh, 1e-13, 1e-13, "w_hh");
        assert_close(ct_tensor_add(y.h0, last.h0), both.h0, 1e-13, 1e-13, "h0");
        ct_recurrent_output_grad g = {.y = in.cy, .h_last = in.ch};
        ct_recurrent_grad no_x = ct_tensor_gru_grad(network(&in), &result, g, false);
        ck_assert(no_x.x == NULL);
        assert_same_bits(no_x.w_ih, both.w_ih, "w_ih without x");
    }
}
END_TEST

START_TEST(strided_inputs) {
    for (int i = 0; i < 2; i++) {
        CT_SCOPE {
            inputs in = make_inputs(&cases[i ? 6 : 0], CT_F64), strided = in;
            ct_tensor **all[] = {&strided.x,    &strided.h0,   &strided.w_ih, &strided.w_hh,
                                 &strided.b_ih, &strided.b_hh, &strided.cy,   &strided.ch};
            for (size_t k = 0; k < sizeof all / sizeof *all; k++) *all[k] = test_strided(*all[k]);
            ct_recurrent_result result = run(&in), other = run(&strided);
            assert_same_bits(other.y, result.y, "y");
            ct_recurrent_grad grad = run_grad(&in, &result),
                              other_grad = run_grad(&strided, &other);
            assert_same_bits(other_grad.x, grad.x, "x");
            assert_same_bits(other_grad.w_ih, grad.w_ih, "w_ih");
            assert_same_bits(other_grad.h0, grad.h0, "h0");
        }
    }
}
END_TEST

/* f32 rounds at 6e-8; errors grow over the steps of a recurrence by about their number. */
START_TEST(f32_agrees) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i], CT_F64), in32 = make_inputs(&cases[_i], CT_F32);
        ct_recurrent_result result = run(&in), result32 = run(&in32);
        ct_recurrent_grad grad = run_grad(&in, &result), grad32 = run_grad(&in32, &result32);
        ck_assert(result32.y->dtype == CT_F32 && grad32.w_hh->dtype == CT_F32);
        assert_close(result32.y, result.y, 0, 1e-5, "y");
        assert_close(grad32.x, grad.x, 2e-5, 1e-6, "x");
        assert_close(grad32.w_ih, grad.w_ih, 2e-5, 1e-6, "w_ih");
        assert_close(grad32.w_hh, grad.w_hh, 2e-5, 1e-6, "w_hh");
        if (in.b_ih) assert_close(grad32.b_hh, grad.b_hh, 2e-5, 1e-6, "b_hh");
    }
}
END_TEST

/* Large enough for the gate kernels to be shared among threads. One step on one input without a
 * state, so that no product has a sum in it: the order of those is the BLAS's own. */
START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        gru_case big = {300, 1, 1, 131, NULL, false, false, true};
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
        assert_same_bits(grad_one.b_ih, grad_two.b_ih, "b_ih");
        assert_same_bits(grad_one.b_hh, grad_two.b_hh, "b_hh");
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
    const gru_case big[] = {
        {BATCH, STEPS, 3, 40, NULL, false, true, true},
        {BATCH, STEPS, 3, 40, NULL, true, false, true},
        {BATCH, STEPS + 2, 3, 40, mixed, false, true, true},
        {BATCH, STEPS, 3, 40, mixed, true, false, false},
    };
    CT_SCOPE {
        inputs in = make_inputs(&big[_i], CT_F64);
        ct_recurrent_output_grad g = {.y = in.cy, .h_last = in.ch};
        test_recurrent one =
            assert_same_on_threads(network(&in), g, ct_tensor_gru, ct_tensor_gru_grad);
        assert_close(one.result.y, reference(&in).y, 1e-12, 1e-13, "y");
    }
}
END_TEST

START_TEST(empty_batch) {
    CT_SCOPE {
        inputs in = make_inputs(&(gru_case){0, 3, 4, 5, NULL, false, true, true}, CT_F32);
        ct_recurrent_result result = run(&in);
        ct_recurrent_grad grad = run_grad(&in, &result);
        assert_no_error();
        ck_assert(ct_shape_equal(result.y->shape, CT_SHAPE(0, 3, 5)));
        ck_assert(ct_shape_equal(grad.x->shape, CT_SHAPE(0, 3, 4)));
        assert_close(grad.w_hh, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(15, 5)), 0, 0, "w_hh");
        assert_close(grad.b_ih, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(15)), 0, 0, "b_ih");
        in.lengths = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(0));
        ck_assert(run(&in).y != NULL);
        assert_no_error();
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[0], CT_F64), bad = in;
        bad.w_ih = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(18, 5));
        ck_assert(run(&bad).y == NULL);
        assert_error("gru: w_ih is f64 (18,5), expected (18,4)");
        bad = in;
        bad.h0 = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 6));
        ck_assert(run(&bad).y == NULL);
        assert_error("h0 is f64 (2,6), expected (3,6)");
        bad = in;
        bad.b_hh = NULL;
        ck_assert(run(&bad).y == NULL);
        assert_error("one of b_ih, b_hh is NULL");
        bad = in;
        bad.x = ct_tensor_cast(in.x, CT_F32);
        ck_assert(run(&bad).y == NULL);
        assert_error("dtypes differ");
        bad = in;
        bad.lengths = test_lengths(3, (int64_t[]){5, 6, 1});
        ck_assert(run(&bad).y == NULL);
        assert_error("length 6 of sequence 1, expected 1 to 5");
        bad.lengths = test_lengths(3, (int64_t[]){5, 0, 1});
        ck_assert(run(&bad).y == NULL);
        assert_error("length 0 of sequence 1");
        bad.lengths = test_lengths(2, (int64_t[]){5, 1});
        ck_assert(run(&bad).y == NULL);
        assert_error("lengths is i64 (2), expected i64 (3)");
        bad = in;
        bad.x = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3, 0, 4));
        ck_assert(run(&bad).y == NULL);
        assert_error("which has no steps");
        bad = in;
        bad.lengths = test_lengths(3, (int64_t[]){5, 2, 1});
        bad.x = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(9, 4));
        ck_assert(run(&bad).y == NULL);
        assert_error("gru: x is f64 (9,4), but lengths are of 8 steps together");
        bad.lengths = NULL;
        ck_assert(run(&bad).y == NULL);
        assert_error("gru: x is f64 (9,4), expected 3 dimensions");
        bad.x = NULL;
        ck_assert(run(&bad).y == NULL);
        assert_error("NULL");
        ct_recurrent_result result = run(&in);
        bad = in;
        bad.cy = in.ch;
        ck_assert(run_grad(&bad, &result).x == NULL);
        assert_error("g_y is f64 (3,6), expected (3,5,6)");
    }
}
END_TEST

LOOPED_TEST_MAIN("gru", {equals_plain_loop, CASES}, {gradients, CASES}, {f32_agrees, CASES},
                 {nothing_beyond_the_length, 1}, {packed_rows_are_the_same, CASES},
                 {one_gradient_or_none, 1}, {strided_inputs, 1}, {threads_do_not_matter, 1},
                 {parts_are_the_whole, 4}, {empty_batch, 1}, {refuses_bad_input, 1})
