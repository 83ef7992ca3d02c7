/* SPDX-License-Identifier: Apache-2.0 */
/* Activation checkpointing of functions: values and gradients of a plain run, in less memory. */
#include "tests/autograd/autograd_test.h"

typedef struct {
    ct_tensor *weight; /* known to the function, not among its inputs */
    ct_rng rng;
    int runs;
} block;

static ct_tensor *run_block(void *context, ct_tensor *const *inputs, int count) {
    block *b = context;
    b->runs++;
    ct_tensor *h = ct_tanh(ct_linear_with(inputs[0], b->weight, count > 1 ? inputs[1] : NULL));
    return ct_add(ct_dropout_with(h, 0.4, &b->rng, "block"), inputs[0]);
}

typedef struct {
    ct_tensor *y, *x, *weight, *bias, *after;
} block_result;

/* Two blocks in a row, plain or checkpointed, and the gradients; `after` is drawn next. */
static block_result run_blocks(bool checkpointed) {
    ct_rng rng = ct_rng_create(2, 0);
    ct_shape rows = CT_SHAPE(4, 5), square = CT_SHAPE(5, 5);
    ct_tensor *x = ct_require_grad(ct_random_normal(&rng, "x", CT_F64, CT_CPU, rows));
    ct_tensor *w = ct_require_grad(ct_random_normal(&rng, "w", CT_F64, CT_CPU, square));
    ct_tensor *bias = ct_require_grad(ct_random_normal(&rng, "b", CT_F64, CT_CPU, CT_SHAPE(5)));
    block b = {w, ct_rng_create(3, 0), 0};
    ct_tensor *y = ct_sin(x);
    for (int i = 0; i < 2; i++) {
        ct_tensor *inputs[] = {y, bias};
        y = checkpointed ? ct_checkpoint(run_block, &b, inputs, 2) : run_block(&b, inputs, 2);
    }
    ck_assert(ct_backward(ct_sum_all(ct_square(y))));
    ck_assert_int_eq(b.runs, checkpointed ? 4 : 2);
    ct_tensor *after = ct_random_uniform(&b.rng, "after", CT_F64, CT_CPU, rows);
    return (block_result){y, ct_grad(x), ct_grad(w), ct_grad(bias), after};
}

START_TEST(checkpoints_equal_the_plain_run) {
    CT_SCOPE {
        block_result plain = run_blocks(false), twice = run_blocks(true);
        assert_close(twice.y, plain.y, 0, 0, "values");
        assert_close(twice.x, plain.x, 1e-15, 0, "gradient of the input");
        assert_close(twice.weight, plain.weight, 1e-15, 0, "gradient of the captured weight");
        assert_close(twice.bias, plain.bias, 1e-15, 0, "gradient of the bias");
        assert_close(twice.after, plain.after, 0, 0, "the generator goes on where it was");
    }
    assert_no_error();
}
END_TEST

/* Of x and y: tanh(x), its index of the largest, nothing, x y. */
static bool several(void *context, ct_tensor *const *input, int inputs, ct_tensor **output) {
    ck_assert_int_eq(inputs, 3);
    ck_assert_ptr_null(input[2]);
    output[0] = ct_tanh(input[0]);
    output[1] = ct_tensor_argmax(input[0], 1);
    output[3] = ct_scale(ct_mul(input[0], input[1]), *(const double *)context);
    return output[3] != NULL;
}

/* x is used before, in and after the checkpoint: the sum has its order. */
START_TEST(checkpoints_may_have_several_results) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(2, 0);
        ct_shape shape = CT_SHAPE(3, 4);
        ct_tensor *leaf = ct_random_normal(&rng, "x", CT_F64, CT_CPU, shape), *g[2];
        ct_require_grad(leaf);
        for (int again = 0; again < 2; again++) {
            double factor = 3;
            ct_tensor *x = ct_exp(leaf), *y[4] = {NULL}, *input[] = {x, ct_sin(x), NULL};
            ck_assert(again ? ct_checkpoint_several(several, &factor, sizeof factor, 3, input, 4, y)
                            : several(&factor, input, 3, y));
            factor = 0; /* it was copied */
            ck_assert(!ct_requires_grad(y[1]) && !y[2]);
            ck_assert_int_eq(y[1]->dtype, CT_I64);
            ct_tensor *sum = ct_add(ct_mul(y[0], y[3]), ct_square(x));
            ck_assert(ct_backward(ct_sum_all(sum)));
            g[again] = ct_tensor_copy(ct_grad(leaf));
            ct_zero_grad(leaf);
        }
        assert_close(g[1], g[0], 0, 0, "gradient");
        ct_tensor *y;
        ck_assert(!ct_checkpoint_several(several, NULL, 8, 1, &leaf, 1, &y));
        assert_error("checkpoint: the context is NULL");
        ck_assert(!ct_checkpoint_several(several, NULL, 0, 1, &leaf, 9, &y));
        assert_error("checkpoint: 9 results, expected 1 to 8");
    }
}
END_TEST

static ct_tensor *nested(void *context, ct_tensor *const *inputs, int count) {
    return ct_checkpoint(run_block, context, inputs, count);
}

/* Inputs that need no gradient, a parameter that does; a checkpoint in a checkpoint; without
 * recording. */
START_TEST(checkpoints_record_for_captured_parameters) {
    CT_SCOPE {
        ct_tensor *w = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(3, 3), 0.1)), *g[2];
        ct_tensor *x = ct_tensor_reshape(vector(1, 2, 3), CT_SHAPE(1, 3));
        for (int i = 0; i < 2; i++) {
            block b = {w, ct_rng_create(3, 0), 0};
            ct_tensor *y = i ? ct_checkpoint(nested, &b, &x, 1) : run_block(&b, &x, 1);
            ck_assert(ct_backward(ct_sum_all(y)));
            g[i] = ct_tensor_copy(ct_grad(w));
            ct_zero_grad(w);
        }
        assert_close(g[1], g[0], 1e-15, 0, "nested");
        hook_log log = {0};
        ct_add_hook(w, log_hook, &log);
        block b = {w, ct_rng_create(3, 0), 0};
        ct_tensor *outside = ct_sum_all(w); /* older: its gradient comes after the checkpoint's */
        ct_tensor *y = ct_checkpoint(run_block, &b, &x, 1);
        ck_assert(ct_backward(ct_add(ct_sum_all(y), outside)));
        ck_assert_int_eq(log.calls, 1);
        ck_assert_double_eq_tol(log.first, ct_get(g[0], 0) + 1, 1e-14);
        CT_NO_GRAD
        y = ct_checkpoint(run_block, &b, &x, 1);
        ck_assert(!ct_requires_grad(y));
        ct_forget_grad(w);
        ck_assert(!ct_requires_grad(ct_checkpoint(run_block, &b, &x, 1)));
    }
    assert_no_error();
}
END_TEST

static ct_tensor *first_input(void *context, ct_tensor *const *inputs, int count) {
    (void)context;
    (void)count;
    return inputs[0];
}

static ct_tensor *times_context(void *context, ct_tensor *const *inputs, int count) {
    (void)count;
    return ct_mul(inputs[0], context);
}

static ct_tensor *fails_again(void *context, ct_tensor *const *inputs, int count) {
    (void)count;
    int *runs = context;
    return ++*runs == 1 ? ct_square(inputs[0]) : ct_sum_all(inputs[0]);
}

START_TEST(odd_checkpoints) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *computed = ct_square(x);
        ck_assert(ct_backward(ct_sum_all(ct_checkpoint(first_input, NULL, &x, 1))));
        assert_vector(ct_grad(x), 1, 1, 1, "identity");
        ct_tensor *y = ct_checkpoint(times_context, computed, &x, 1);
        ck_assert(!ct_backward(ct_sum_all(y)));
        assert_error("checkpoint: the function uses the result of 'square', which was computed "
                     "before it and is not among its inputs");
        int runs = 0;
        ck_assert(!ct_backward(ct_sum_all(ct_checkpoint(fails_again, &runs, &x, 1))));
        assert_error("checkpoint: the function gave (3), at its second run ()");
        ct_tensor *none = NULL;
        ck_assert_ptr_null(ct_checkpoint(times_context, computed, &none, 1));
        assert_error("mul: an input is NULL");
    }
}
END_TEST

/* w x, x, and both again. */
static bool constant_results(void *context, ct_tensor *const *input, int inputs,
                             ct_tensor **output) {
    ct_tensor *const *w = context;
    ck_assert_int_eq(inputs, 1);
    output[0] = output[2] = ct_mul(*w, input[0]);
    output[1] = output[3] = input[0];
    return output[0] != NULL;
}

/* A constant that the function gives back stays the caller's, and results may be one tensor. */
START_TEST(results_may_be_an_input_or_each_other) {
    static const int outputs[] = {2, 2, 4};
    CT_SCOPE {
        ct_tensor *w = leaf(1, 2, 3), *x = vector(4, 5, 6), *y[4];
        for (int i = 0; i < 3; i++) {
            ck_assert_msg(
                ct_checkpoint_several(constant_results, &w, sizeof w, 1, &x, outputs[i], y), "%s",
                ct_error());
            ck_assert(!ct_requires_grad(x));
            ct_tensor *sum = x;
            for (int k = 0; k < outputs[i]; k++) sum = ct_add(sum, y[k]);
            ck_assert_msg(ct_backward(ct_sum_all(sum)), "%s", ct_error());
        }
        assert_vector(ct_grad(w), 16, 20, 24, "4 x");
    }
    assert_no_error();
}
END_TEST

/* Less is alive between forward and backward. */
START_TEST(checkpoints_save_memory) {
    CT_SCOPE {
        ct_tensor *w = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(50, 50), 0.01));
        ct_tensor *x = ct_full(CT_F64, CT_CPU, CT_SHAPE(20, 50), 1);
        int64_t used[2];
        for (int i = 0; i < 2; i++) {
            int64_t before = ct_memory_in_use(CT_CPU);
            block b = {w, ct_rng_create(3, 0), 0};
            ct_tensor *y = NULL;
            CT_SCOPE {
                y = ct_keep(i ? ct_checkpoint(run_block, &b, &x, 1) : run_block(&b, &x, 1));
            }
            used[i] = ct_memory_in_use(CT_CPU) - before;
            ct_release(y);
        }
        ck_assert_int_eq(used[1], 20 * 50 * 8);           /* y */
        ck_assert_int_eq(used[0], 20 * 50 * (2 * 8 + 1)); /* y, tanh's result, what was kept */
    }
    assert_no_error();
}
END_TEST

TEST_MAIN("checkpoint", checkpoints_equal_the_plain_run, checkpoints_may_have_several_results,
          checkpoints_record_for_captured_parameters, odd_checkpoints,
          results_may_be_an_input_or_each_other, checkpoints_save_memory)
