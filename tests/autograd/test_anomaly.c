/* SPDX-License-Identifier: Apache-2.0 */
/* Anomaly mode tells of a value that is computed by ct_tensor_* calls from what requires a gradient
 * and then used as a constant: where a gradient is cut by mistake. One test an operation: none
 * computes unnoticed, and none complains of itself. */
#include "autograd/gradcheck.h"
#include "tests/autograd/autograd_test.h"

/* ---- honest mistakes -------------------------------------------------------------------- */

static ct_tensor *raw_unary(ct_tensor *x) { return ct_tensor_unary(CT_UNARY_sigmoid, x, 0, 0); }
static ct_tensor *raw_scale(ct_tensor *x) { return ct_tensor_scale(x, 2); }
static ct_tensor *raw_product(ct_tensor *x) { return ct_tensor_mul(vector(1, 2, 3), x); }
static ct_tensor *raw_sum(ct_tensor *x) { return ct_tensor_reduce(CT_SUM, x, CT_ALL_AXES, false); }
static ct_tensor *raw_softmax(ct_tensor *x) { return ct_tensor_softmax(x, -1, false); }
static ct_tensor *raw_copy(ct_tensor *x) { return ct_tensor_copy(x); }
static ct_tensor *raw_view(ct_tensor *x) { return ct_tensor_slice(x, 0, 1, 2, 1); }
static ct_tensor *raw_reshape(ct_tensor *x) { return ct_tensor_reshape(x, CT_SHAPE(3, 1)); }

/* By way of an operation that records nothing, as all that it is given are constants. */
static ct_tensor *raw_then_recorded(ct_tensor *x) { return ct_exp(ct_tensor_scale(x, 2)); }

static ct_tensor *raw_in_place(ct_tensor *x) {
    ct_tensor *sum = vector(0, 0, 0);
    ck_assert(ct_tensor_add_to(sum, 1, x));
    return sum;
}

static ct_tensor *raw_copy_to_part(ct_tensor *x) {
    ct_tensor *both = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 3));
    ck_assert(ct_tensor_copy_to(ct_tensor_slice(both, 0, 1, 2, 1), x));
    return both;
}

static const struct {
    const char *by;
    ct_tensor *(*compute)(ct_tensor *x);
} mistakes[] = {
    {"sigmoid", raw_unary},   {"mul_scalar", raw_scale},  {"mul", raw_product},
    {"reduce", raw_sum},      {"softmax", raw_softmax},   {"copy", raw_copy},
    {"view", raw_view},       {"view", raw_reshape},      {"mul_scalar", raw_then_recorded},
    {"add_to", raw_in_place}, {"copy", raw_copy_to_part},
};
enum { MISTAKES = sizeof mistakes / sizeof *mistakes };

/* x: a leaf, or computed from one. */
static void expect_named(int i, ct_tensor *x) {
    char expected[200];
    ct_tensor *constant = mistakes[i].compute(x);
    snprintf(expected, sizeof expected,
             "anomaly: input 1 of 'mul', %s, is a constant, but '%s' computed it",
             ct_tensor_text(constant), mistakes[i].by);
    ct_mul(x, constant);
    assert_error(expected);
    ct_mul(vector(1, 2, 3), constant); /* is no part of a graph */
    assert_no_error();
}

START_TEST(what_cuts_a_gradient_is_named) {
    CT_SCOPE {
        ct_set_anomaly_mode(true);
        ct_tensor *x = leaf(1, 2, 3);
        expect_named(_i, x);
        expect_named(_i, ct_exp(x));
        expect_named(_i, ct_slice(ct_concat2(x, x, 0), 0, 2, 5, 1));
        ck_assert(!ct_backward(ct_sum_all(mistakes[_i].compute(x))));
        assert_error("from what requires a gradient without being recorded");
    }
    assert_no_error();
}
END_TEST

/* ---- what is meant ---------------------------------------------------------------------- */

START_TEST(constants_that_are_meant_are_not) {
    CT_SCOPE {
        ct_set_anomaly_mode(true);
        ct_tensor *x = leaf(1, 2, 3), *y = ct_exp(x), *constant = NULL;
        ct_mul(x, mistakes[_i].compute(ct_detach(x)));
        ct_mul(x, ct_detach(mistakes[_i].compute(y)));
        CT_NO_GRAD
        constant = mistakes[_i].compute(y);
        ct_mul(x, constant);
        ct_mul(x, ct_tensor_scale(constant, 2));
        ct_mul(x, ct_require_grad(mistakes[_i].compute(y))); /* a leaf of its own */
        assert_no_error();
        ct_set_anomaly_mode(false);
        constant = mistakes[_i].compute(y);
        ct_mul(x, constant);
        ct_set_anomaly_mode(true);
        ct_mul(x, constant); /* computed while nobody looked */
    }
    assert_no_error();
}
END_TEST

START_TEST(what_has_no_gradient_is_no_mistake) {
    CT_SCOPE {
        ct_set_anomaly_mode(true);
        ct_tensor *x = leaf(1, 2, 3), *y = ct_exp(x);
        ct_tensor *larger = ct_tensor_compare(CT_COMPARE_greater, y, ct_scalar(CT_F64, CT_CPU, 3));
        ct_mul(y, ct_tensor_cast(larger, CT_F64));
        ct_index_select(y, 0, ct_tensor_reshape(ct_tensor_argmax(y, 0), CT_SHAPE(1)));
        ct_forget_grad(x);
        ct_mul(y, ct_tensor_scale(x, 2)); /* frozen */
        ck_assert_double_gt(ct_item(ct_tensor_reduce(CT_SUM, y, CT_ALL_AXES, false)), 0);
        ct_require_grad(x);
        ck_assert(ct_backward(ct_sum_all(ct_square(x))));
        ct_mul(x, ct_tensor_scale(ct_grad(x), 2)); /* a gradient has none */
        ck_assert(ct_tensor_add_to(x, -0.1, ct_grad(x)));
        ct_mul(x, ct_square(x));
    }
    assert_no_error();
}
END_TEST

static ct_tensor *cutting(void *context, ct_tensor *const *inputs, int count) {
    (void)context;
    (void)count;
    return ct_mul(inputs[0], ct_tensor_scale(inputs[0], 2));
}

START_TEST(checkpoints_are_looked_into) {
    CT_SCOPE {
        ct_set_anomaly_mode(true);
        ct_tensor *x = leaf(1, 2, 3), *loss = ct_sum_all(ct_checkpoint(cutting, NULL, &x, 1));
        assert_no_error(); /* the second run records */
        ck_assert(!ct_backward(loss));
        assert_error("anomaly: input 1 of 'mul', f64 (3), is a constant, but 'mul_scalar'");
    }
    assert_no_error();
}
END_TEST

/* ---- every operation -------------------------------------------------------------------- */

static bool is_real(const ct_sample_input *input) {
    return input->kind == CT_SAMPLE_REAL || input->kind == CT_SAMPLE_DISTINCT;
}

static ct_tensor *make_input(const ct_sample_input *input) {
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, input->shape);
    int64_t count = ct_count(x);
    bool whole = input->kind == CT_SAMPLE_INDEX || input->kind == CT_SAMPLE_MASK;
    for (int64_t i = 0; i < count; i++) {
        double at = ((double)i + 0.5) / (double)count;
        double value = input->lo + at * (input->hi - input->lo);
        ct_set(x, i, whole ? floor(value) : value);
    }
    ct_dtype dtype = input->kind == CT_SAMPLE_INDEX  ? CT_I64
                     : input->kind == CT_SAMPLE_MASK ? CT_U8
                                                     : CT_F64;
    return ct_tensor_cast(x, dtype);
}

/* With leaves that require a gradient nothing is said; the same computed from views of them, which
 * are constants, is not recorded, and all of it is noticed where it meets a leaf. */
static void check_sample(void *context, const ct_sample *sample) {
    ct_tensor *leaves[CT_SAMPLE_INPUTS], *cut[CT_SAMPLE_INPUTS];
    ct_tensor *y[CT_SAMPLE_OUTPUTS], *z[CT_SAMPLE_OUTPUTS], *one = ct_scalar(CT_F64, CT_CPU, 1);
    ct_require_grad(one);
    for (int i = 0; i < sample->inputs; i++) {
        leaves[i] = cut[i] = make_input(&sample->input[i]);
        if (!is_real(&sample->input[i])) continue;
        if (ct_count(leaves[i]) == 0) return; /* nothing to compute from */
        ct_require_grad(leaves[i]);
        cut[i] = ct_tensor_expand(leaves[i], leaves[i]->shape);
    }
    int outputs = sample->function(leaves, sample->options, y);
    ck_assert_msg(ct_ok(), "%s, case %s: %s", (const char *)context, sample->name, ct_error());
    ck_assert_int_eq(sample->function(cut, sample->options, z), outputs);
    for (int i = 0; i < outputs; i++) {
        if (!ct_requires_grad(y[i]) || ct_count(y[i]) == 0) continue;
        assert_no_error();
        ct_mul(z[i], one);
        ck_assert_msg(!ct_ok(), "%s, case %s: output %d went unnoticed", (const char *)context,
                      sample->name, i);
        assert_error("anomaly: input 0 of 'mul'");
    }
    assert_no_error();
}

START_TEST(operation) {
    const ct_op *op = ct_op_at(_i);
    CT_SCOPE {
        ct_set_anomaly_mode(true);
        ck_assert_int_gt(ct_each_sample(op, check_sample, (void *)op->name), 0);
    }
    assert_no_error();
}
END_TEST

LOOPED_TEST_MAIN("anomaly", {what_cuts_a_gradient_is_named, MISTAKES},
                 {constants_that_are_meant_are_not, MISTAKES},
                 {what_has_no_gradient_is_no_mistake, 1}, {checkpoints_are_looked_into, 1},
                 {operation, ct_op_count()})
