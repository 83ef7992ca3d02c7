/* SPDX-License-Identifier: Apache-2.0 */
/* Cross entropy against a plain loop over its formula. */
#include "tests/tensor/fused_test.h"

typedef struct {
    int64_t rows, classes;
    double smoothing;
} loss_case;

static const loss_case cases[] = {{4, 7, 0},   {1, 1, 0},    {5, 33, 0.1},
                                  {3, 2, 0.3}, {70, 501, 0}, {6, 129, 1}};
enum { CASES = sizeof cases / sizeof *cases, IGNORED = -100 };

typedef struct {
    ct_tensor *logits, *labels, *g;
    double smoothing;
} inputs;

static inputs make_inputs(const loss_case *c) {
    uint64_t state = 2;
    inputs in = {.logits = test_tensor(&state, CT_SHAPE(c->rows, c->classes), -4, 4),
                 .labels = ct_empty(CT_I64, CT_CPU, CT_SHAPE(c->rows)),
                 .g = test_tensor(&state, CT_SHAPE(c->rows), -1, 1),
                 .smoothing = c->smoothing};
    int64_t *label = ct_data(in.labels);
    for (int64_t r = 0; r < c->rows; r++) {
        label[r] = r % 4 == 2 ? IGNORED : (int64_t)test_random(&state, 0, (double)c->classes);
    }
    return in;
}

static ct_tensor *reference(const inputs *in) {
    int64_t rows = in->logits->shape.dim[0], classes = in->logits->shape.dim[1];
    ct_tensor *result = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(rows));
    const double *x = ct_data(in->logits);
    const int64_t *label = ct_data(in->labels);
    for (int64_t r = 0; r < rows; r++) {
        if (label[r] == IGNORED) continue;
        double sum = 0, mean = 0;
        for (int64_t v = 0; v < classes; v++) sum += exp(x[r * classes + v]);
        for (int64_t v = 0; v < classes; v++) mean += log(sum) - x[r * classes + v];
        mean /= (double)classes;
        double at_label = log(sum) - x[r * classes + label[r]];
        ((double *)ct_data(result))[r] = (1 - in->smoothing) * at_label + in->smoothing * mean;
    }
    return result;
}

static double total(void *context) {
    const inputs *in = context;
    double value = 0;
    CT_SCOPE { value = test_dot(reference(in), in->g); }
    return value;
}

START_TEST(equals_plain_loop) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        ct_tensor *lse,
            *loss = ct_tensor_cross_entropy(in.logits, in.labels, IGNORED, in.smoothing, &lse);
        assert_close(loss, reference(&in), 0, 1e-12, "loss");
        ct_tensor *grad =
            ct_tensor_cross_entropy_grad(in.g, in.logits, in.labels, lse, IGNORED, in.smoothing);
        if (cases[_i].rows < 70) assert_gradient(grad, in.logits, total, &in, "logits");
        for (int64_t i = 0; i < ct_count(grad); i++) {
            int64_t row = i / cases[_i].classes;
            if (row % 4 == 2) ck_assert_double_eq(ct_get(grad, i), 0);
        }
    }
}
END_TEST

START_TEST(f32_agrees) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        ct_tensor *x = ct_tensor_cast(in.logits, CT_F32), *g = ct_tensor_cast(in.g, CT_F32), *lse;
        ct_tensor *loss = ct_tensor_cross_entropy(x, in.labels, IGNORED, in.smoothing, &lse);
        assert_close(loss, reference(&in), 1e-6, 1e-6, "loss");
        ct_tensor *lse64;
        ct_tensor_cross_entropy(in.logits, in.labels, IGNORED, in.smoothing, &lse64);
        assert_close(
            ct_tensor_cross_entropy_grad(g, x, in.labels, lse, IGNORED, in.smoothing),
            ct_tensor_cross_entropy_grad(in.g, in.logits, in.labels, lse64, IGNORED, in.smoothing),
            1e-6, 1e-7, "gradient");
    }
}
END_TEST

/* The gradient over the logits is, to the bit, the one beside them. */
START_TEST(in_place_as_beside) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            ct_tensor *x = ct_tensor_cast(in.logits, dtype), *g = ct_tensor_cast(in.g, dtype), *lse;
            ct_tensor_cross_entropy(x, in.labels, IGNORED, in.smoothing, &lse);
            ct_tensor *beside =
                ct_tensor_cross_entropy_grad(g, x, in.labels, lse, IGNORED, in.smoothing);
            ck_assert(
                ct_tensor_cross_entropy_grad_in_place(g, x, in.labels, lse, IGNORED, in.smoothing));
            assert_close(x, beside, 0, 0, "gradient");
        }
        assert_no_error();
    }
}
END_TEST

START_TEST(in_place_refuses_shared_memory) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 3)), *lse;
        ct_tensor *labels = test_lengths(3, (int64_t[]){0, 1, 2});
        ct_tensor_cross_entropy(x, labels, IGNORED, 0, &lse);
        ct_tensor *row = ct_tensor_reshape(ct_tensor_slice(x, 0, 1, 2, 1), CT_SHAPE(3));
        ct_tensor *turned = ct_tensor_transpose(x, 0, 1);
        ck_assert(!ct_tensor_cross_entropy_grad_in_place(row, x, labels, lse, IGNORED, 0));
        assert_error("contiguous and apart");
        ck_assert(!ct_tensor_cross_entropy_grad_in_place(lse, turned, labels, lse, IGNORED, 0));
        assert_error("contiguous and apart");
    }
}
END_TEST

/* exp of these overflows, and a masked class is -inf. */
START_TEST(large_and_infinite_logits) {
    CT_SCOPE {
        for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
            double values[] = {1000, 999, -INFINITY, -1000, -1001, -INFINITY};
            ct_tensor *x = ct_from_doubles(dtype, CT_CPU, CT_SHAPE(2, 3), values), *lse;
            ct_tensor *labels = test_lengths(2, (int64_t[]){1, 0});
            ct_tensor *loss = ct_tensor_cross_entropy(x, labels, IGNORED, 0, &lse);
            double expected[] = {1 + log1p(exp(-1)), log1p(exp(-1))};
            /* the f32 log sum exp, near 1000, rounds at 3e-5 */
            double tolerance = dtype == CT_F32 ? 1e-4 : 1e-12;
            assert_close(loss, ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(2), expected), 0, tolerance,
                         "loss");
            ct_tensor *g = ct_full(dtype, CT_CPU, CT_SHAPE(2), 1);
            ct_tensor *grad = ct_tensor_cross_entropy_grad(g, x, labels, lse, IGNORED, 0);
            ck_assert(!ct_tensor_has_nonfinite(grad));
            ck_assert(ct_get(grad, 2) == 0 && ct_get(grad, 5) == 0);
            ct_set(x, 1, NAN);
            ck_assert(isnan(ct_get(ct_tensor_cross_entropy(x, labels, IGNORED, 0, &lse), 0)));
            assert_no_error();
        }
    }
}
END_TEST

/* Rows around a number beside which log sum exp is rounded to nothing: the differences are all that
 * counts. Multiples of `step`, which the dtype holds exactly there. */
typedef struct {
    double at, step;
    ct_dtype dtype;
} far_case;
static const far_case far_cases[] = {{1e8, 8, CT_F32},           {-1e8, 8, CT_F32},
                                     {1500, 0x1p-13, CT_F32},    {-0x1p120, 0x1p97, CT_F32},
                                     {1e15, 0.5, CT_F64},        {-1e15, 0.5, CT_F64},
                                     {0x1p1000, 0x1p948, CT_F64}};
enum { FAR_CASES = sizeof far_cases / sizeof *far_cases, FAR_ROWS = 3, FAR_CLASSES = 5 };
static const int far_steps[FAR_ROWS][FAR_CLASSES] = {
    {0, 0, 0, 0, 0}, {0, -1, -2, 0, -1}, {1, 0, 1, 0, 1}};
static const int64_t far_label[FAR_ROWS] = {1, 2, 0};

/* A row's loss and its gradient, in long double. */
static double far_row(int r, long double step, long double smoothing, double *gradient) {
    const int *steps = far_steps[r];
    long double sum = 0, mean = 0, share = smoothing / FAR_CLASSES;
    int largest = steps[0];
    for (int i = 1; i < FAR_CLASSES; i++) largest = steps[i] > largest ? steps[i] : largest;
    for (int i = 0; i < FAR_CLASSES; i++) {
        sum += expl(step * (steps[i] - largest));
        mean += step * (largest - steps[i]) / FAR_CLASSES;
    }
    for (int i = 0; i < FAR_CLASSES; i++) {
        long double hit = i == far_label[r] ? 1 - smoothing : 0;
        gradient[i] = (double)(expl(step * (steps[i] - largest)) / sum - share - hit);
    }
    long double at_label = step * (largest - steps[far_label[r]]);
    return (double)(logl(sum) + (1 - smoothing) * at_label + smoothing * mean);
}

START_TEST(far_from_zero) {
    const far_case *c = &far_cases[_i];
    ct_shape shape = CT_SHAPE(FAR_ROWS, FAR_CLASSES), rows = CT_SHAPE(FAR_ROWS);
    double tolerance = c->dtype == CT_F32 ? 2e-6 : 4e-15;
    for (int s = 0; s < 3; s++) {
        double smoothing = s * 0.5, x[FAR_ROWS][FAR_CLASSES], expected[FAR_ROWS];
        double gradient[FAR_ROWS][FAR_CLASSES];
        for (int r = 0; r < FAR_ROWS; r++) {
            for (int i = 0; i < FAR_CLASSES; i++) x[r][i] = c->at + c->step * far_steps[r][i];
            expected[r] = far_row(r, c->step, smoothing, gradient[r]);
        }
        CT_SCOPE {
            ct_tensor *logits = ct_from_doubles(c->dtype, CT_CPU, shape, &x[0][0]), *lse;
            assert_close(logits, ct_from_data(CT_F64, CT_CPU, shape, x), 0, 0, "exact");
            ct_tensor *labels = ct_from_data(CT_I64, CT_CPU, rows, far_label);
            ct_tensor *y = ct_tensor_cross_entropy(logits, labels, IGNORED, smoothing, &lse);
            assert_close(y, ct_from_data(CT_F64, CT_CPU, rows, expected), tolerance, 0, "loss");
            ct_tensor *g = ct_full(c->dtype, CT_CPU, rows, 1);
            ct_tensor *gx =
                ct_tensor_cross_entropy_grad(g, logits, labels, lse, IGNORED, smoothing);
            assert_close(gx, ct_from_data(CT_F64, CT_CPU, shape, gradient), 0, tolerance,
                         "gradient");
        }
    }
}
END_TEST

START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[4]);
        ct_tensor *x = ct_tensor_cast(in.logits, CT_F32), *g = ct_tensor_cast(in.g, CT_F32);
        ct_tensor *loss[2], *grad[2], *lse;
        int before = ct_threads();
        for (int k = 0; k < 2; k++) {
            ct_set_threads(k + 1);
            loss[k] = ct_tensor_cross_entropy(x, in.labels, IGNORED, 0.1, &lse);
            grad[k] = ct_tensor_cross_entropy_grad(g, x, in.labels, lse, IGNORED, 0.1);
        }
        ct_set_threads(before);
        assert_same_bits(loss[0], loss[1], "loss");
        assert_same_bits(grad[0], grad[1], "gradient");
    }
}
END_TEST

START_TEST(no_rows) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 5)), *lse;
        ct_tensor *labels = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(0));
        ct_tensor *loss = ct_tensor_cross_entropy(x, labels, IGNORED, 0, &lse);
        ck_assert(ct_tensor_cross_entropy_grad(loss, x, labels, lse, IGNORED, 0) != NULL);
        assert_no_error();
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3)), *lse;
        ct_tensor *labels = test_lengths(2, (int64_t[]){0, 3});
        ck_assert(ct_tensor_cross_entropy(x, labels, IGNORED, 0, &lse) == NULL);
        ck_assert(lse == NULL);
        assert_error("label 3 of row 1 is out of range for logits f32 (2,3)");
        labels = test_lengths(2, (int64_t[]){-1, 0});
        ck_assert(ct_tensor_cross_entropy(x, labels, IGNORED, 0, &lse) == NULL);
        assert_error("label -1 of row 0");
        ck_assert(ct_tensor_cross_entropy(x, labels, -1, 0, &lse) != NULL);
        assert_no_error();
        ck_assert(ct_tensor_cross_entropy(x, test_lengths(1, (int64_t[]){0}), -1, 0, &lse) == NULL);
        assert_error("labels is i64 (1), expected i64 (2)");
        ck_assert(ct_tensor_cross_entropy(x, x, -1, 0, &lse) == NULL);
        assert_error("labels is f32 (2,3), expected i64 (2)");
        ck_assert(ct_tensor_cross_entropy(NULL, labels, -1, 0, &lse) == NULL);
        assert_error("NULL");
        ck_assert(ct_tensor_cross_entropy(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 0)), labels, -1, 0,
                                          &lse) == NULL);
        assert_error("at least one class");
    }
}
END_TEST

LOOPED_TEST_MAIN("cross entropy", {equals_plain_loop, CASES}, {f32_agrees, CASES},
                 {in_place_as_beside, CASES}, {in_place_refuses_shared_memory, 1},
                 {large_and_infinite_logits, 1}, {far_from_zero, FAR_CASES},
                 {threads_do_not_matter, 1}, {no_rows, 1}, {refuses_bad_input, 1})
