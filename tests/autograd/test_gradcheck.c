/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation of the registry against finite differences in f64, one test an operation. Prints
 * each with how many cases it was checked on and the largest error. */
#include "autograd/gradcheck.h"
#include "tests/test.h"

START_TEST(operation) {
    const ct_op *op = ct_op_at(_i);
    ck_assert_ptr_nonnull(op);
    double largest = 0;
    int cases = 0;
    ct_gradcheck_options options = {.seed = 7, .device = test_device(), .largest_error = &largest};
    bool agrees = ct_gradcheck_op(op, options, &cases);
    printf("gradcheck %-20s %3d cases, largest error %.1e\n", op->name, cases, largest);
    fflush(stdout);
    ck_assert_msg(agrees, "%s", ct_error());
    ck_assert_int_ge(cases, 3 * 3);
    assert_no_error();
}
END_TEST

/* The other cases that an operation must have, by what their inputs look like. */
typedef struct {
    bool empty, one_element, matrix;
} coverage;

static void look(void *context, const ct_sample *sample) {
    coverage *seen = context;
    for (int i = 0; i < sample->inputs; i++) {
        ct_shape shape = sample->input[i].shape;
        int64_t count = ct_shape_count(shape);
        seen->empty = seen->empty || count == 0;
        seen->one_element = seen->one_element || count == 1;
        seen->matrix = seen->matrix || (shape.ndim >= 2 && count > 1);
    }
}

START_TEST(every_operation_has_the_odd_cases) {
    for (int i = 0; i < ct_op_count(); i++) {
        const ct_op *op = ct_op_at(i);
        coverage seen = {0};
        ck_assert_int_gt(ct_each_sample(op, look, &seen), 0);
        /* batch statistics of an empty batch do not exist */
        bool needs_empty = strcmp(op->name, "batch_norm") != 0;
        ck_assert_msg(seen.empty || !needs_empty, "'%s' has no empty sample", op->name);
        /* two elements at least, and three */
        bool parts = !strcmp(op->name, "glu") || !strcmp(op->name, "region_relations");
        ck_assert_msg(seen.one_element || parts, "'%s' has no sample of one element", op->name);
        ck_assert_msg(seen.matrix, "'%s' has no sample whose strides can differ", op->name);
    }
}
END_TEST

START_TEST(names_are_unique_and_found) {
    for (int i = 0; i < ct_op_count(); i++) {
        ck_assert_ptr_eq(ct_find_op(ct_op_at(i)->name), ct_op_at(i));
    }
    ck_assert_ptr_null(ct_op_at(-1));
    ck_assert_ptr_null(ct_op_at(ct_op_count()));
    ck_assert_ptr_null(ct_find_op("no such operation"));
    for (int i = 0; i < CT_UNARY_COUNT; i++) ck_assert_ptr_nonnull(ct_find_op(ct_unary_name(i)));
    for (int i = 0; i < CT_BINARY_COUNT; i++) ck_assert_ptr_nonnull(ct_find_op(ct_binary_name(i)));
}
END_TEST

/* ---- the check itself: it must see what is wrong ---------------------------------------- */

static bool double_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    gx[0] = ct_tensor_scale(g[0], 2.001);
    return gx[0] != NULL;
}

static const ct_op double_op = {.name = "double", .backward = double_backward};

static int call_double(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    y[0] = ct_tensor_scale(x[0], 2);
    ct_record(&double_op, 1, x, 1, y);
    return 1;
}

/* Ignores strides. */
static int call_flat_copy(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    y[0] = ct_from_data(CT_F64, CT_CPU, x[0]->shape, ct_data(x[0]));
    ct_record(ct_find_op("contiguous"), 1, x, 1, y);
    return 1;
}

static int call_change(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    y[0] = ct_scale(x[0], 3); /* which saves nothing */
    ct_tensor_scale_in_place(x[0], ct_requires_grad(x[0]) ? 0.5 : 1);
    return 1;
}

static int call_null(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)x;
    (void)options;
    y[0] = NULL;
    return 0;
}

static void expect(ct_sample_function function, const char *message) {
    ct_sample sample = {"wrong", function, NULL, 1, {{CT_SAMPLE_REAL, CT_SHAPE(2, 3), -1, 1}}};
    ck_assert(!ct_gradcheck("test", &sample, (ct_gradcheck_options){.seed = 1}));
    assert_error(message);
}

START_TEST(sees_errors) {
    expect(call_double, "gradcheck: test, case wrong, contiguous: gradient of input 0, element 0");
    expect(call_flat_copy, "transposed: output 0, element 1");
    expect(call_change, "input 0 was changed");
    expect(call_null, "no output");
    ck_assert(!ct_gradcheck_op(&double_op, (ct_gradcheck_options){.seed = 1}, NULL));
    assert_error("gradcheck: operation 'double' has no samples");
}
END_TEST

LOOPED_TEST_MAIN("gradcheck", {operation, ct_op_count()}, {every_operation_has_the_odd_cases, 1},
                 {names_are_unique_and_found, 1}, {sees_errors, 1})
