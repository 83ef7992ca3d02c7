/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of one's own, anomaly mode, gradients that differences cannot check. */
#include "autograd/gradcheck.h"
#include "autograd/matching.h"
#include "tests/autograd/autograd_test.h"

/* ---- operations of one's own ------------------------------------------------------------ */

static bool cube_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_tensor *x = ct_saved(node, 0);
    gx[0] = ct_tensor_mul(g[0], ct_tensor_scale(ct_tensor_mul(x, x), 3));
    return gx[0] != NULL;
}

static void cube_samples(ct_sampler *sampler);
static const ct_op cube = {.name = "cube", .backward = cube_backward, .samples = cube_samples};

static ct_tensor *my_cube(ct_tensor *x) {
    ct_tensor *y = ct_tensor_mul(x, ct_tensor_mul(x, x));
    ct_node *node = ct_record(&cube, 1, &x, 1, &y);
    ct_save(node, x);
    return y;
}

static int call_cube(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    y[0] = my_cube(x[0]);
    return y[0] != NULL;
}

static void cube_samples(ct_sampler *sampler) {
    ct_sample sample = {"matrix", call_cube, NULL, 1, {{CT_SAMPLE_REAL, CT_SHAPE(3, 4), -2, 2}}};
    ct_add_sample(sampler, &sample);
}

START_TEST(an_operation_of_ones_own) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3);
        ck_assert(ct_backward(ct_sum_all(ct_scale(my_cube(x), 2))));
        assert_vector(ct_grad(x), 6, 24, 54, "6 x^2");
        ck_assert_ptr_null(my_cube(NULL));
        assert_error("mul: an input is NULL");
    }
    int count = ct_op_count(), cases = 0;
    ck_assert(ct_register_op(&cube));
    ck_assert_int_eq(ct_op_count(), count + 1);
    ck_assert_ptr_eq(ct_op_at(count), &cube);
    ck_assert_ptr_eq(ct_find_op("cube"), &cube);
    ck_assert_msg(ct_gradcheck_op(&cube, (ct_gradcheck_options){0}, &cases), "%s", ct_error());
    ck_assert_int_eq(cases, 3);
    ck_assert(!ct_register_op(&cube));
    assert_error("register: there is already an operation 'cube'");
    ck_assert(!ct_register_op(&(ct_op){.name = "mul", .backward = cube_backward}));
    assert_error("already an operation 'mul'");
    ck_assert(!ct_register_op(&(ct_op){.name = "nothing"}));
    assert_error("needs a name and a backward function");
}
END_TEST

/* Backward functions that do what they should not. */
static bool wrong_shape(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    gx[1] = ct_tensor_unsqueeze(g[0], 0);
    return true;
}

static bool wrong_dtype(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    gx[0] = ct_tensor_cast(g[0], CT_F32);
    return true;
}

static bool gives_up(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    (void)g;
    (void)gx;
    return false;
}

/* Zero for the first input by leaving it out; a tensor that the node owns for the second. */
static bool hands_out_what_it_saved(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)g;
    gx[1] = ct_saved(node, 0);
    return true;
}

static ct_tensor *with_backward(bool (*backward)(ct_node *, ct_tensor *const *, ct_tensor **),
                                ct_op *op, ct_tensor *a, ct_tensor *b) {
    *op = (ct_op){.name = "mine", .backward = backward};
    ct_tensor *y = ct_tensor_add(a, b);
    ct_node *node = ct_record(op, 2, (ct_tensor *[]){a, b}, 1, &y);
    CT_SCOPE { ct_save(node, vector(7, 8, 9)); }
    return y;
}

START_TEST(wrong_gradients_are_named) {
    CT_SCOPE {
        ct_op op;
        ct_tensor *a = leaf(1, 2, 3), *b = leaf(1, 2, 3), *x = ct_scale(a, 2);
        ck_assert(!ct_backward(ct_sum_all(with_backward(wrong_shape, &op, x, b))));
        assert_error("backward of 'mine': the gradient of input 1 is f64 (1,3) on cpu, expected "
                     "f64 (3)");
        ck_assert(!ct_backward(ct_sum_all(with_backward(wrong_dtype, &op, x, b))));
        assert_error("backward of 'mine': the gradient of input 0 is f32 (3) on cpu, expected f64");
        ck_assert(!ct_backward(ct_sum_all(with_backward(gives_up, &op, x, b))));
        assert_error("backward of 'mine' failed");
        ck_assert(ct_backward(ct_sum_all(ct_scale(x, 1)))); /* nothing of it stuck to x */
        assert_vector(ct_grad(a), 2, 2, 2, "after errors");
    }
}
END_TEST

START_TEST(what_a_node_owns_is_not_taken) {
    CT_SCOPE {
        ct_op op;
        ct_tensor *a = leaf(1, 2, 3), *b = leaf(1, 2, 3), *x = ct_scale(a, 2);
        ct_tensor *loss = ct_sum_all(with_backward(hands_out_what_it_saved, &op, x, b));
        for (int i = 1; i <= 3; i++) {
            ck_assert(ct_backward_from(&loss, NULL, 1, true));
            assert_vector(ct_grad(b), 7 * i, 8 * i, 9 * i, "saved tensor as gradient");
            ck_assert_ptr_null(ct_grad(a)); /* zero: nothing came */
        }
    }
    assert_no_error();
}
END_TEST

START_TEST(an_output_must_be_new) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = ct_square(x);
        ck_assert_ptr_null(ct_record(&cube, 1, &x, 1, &y));
        assert_error("cube: output 0 is a tensor that already has a place in a graph");
        ck_assert_ptr_null(ct_record(&cube, 1, &y, 1, &x));
        assert_error("cube: output 0 is a tensor that already has a place in a graph");
        ct_tensor *index = ct_arange(CT_I64, CT_CPU, 3); /* integers have no gradient */
        ck_assert_ptr_null(ct_record(&cube, 1, &x, 1, &index));
        assert_no_error();
    }
}
END_TEST

typedef struct {
    char text[200];
    int *released;
} large_options;

static bool large_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const large_options *o = ct_node_options(node);
    ck_assert_str_eq(o->text, "kept");
    ck_assert_ptr_null(ct_saved(node, 2));
    for (int i = 0; i < 9; i++) {
        if (i != 2) ck_assert_double_eq(ct_item(ct_saved(node, i)), i);
    }
    ck_assert_ptr_null(ct_saved(node, 9));
    ck_assert_ptr_null(ct_saved(node, -1));
    ck_assert(!ct_needs_grad(node, 1) && !ct_needs_grad(node, 7));
    gx[0] = g[0];
    return true;
}

static void count_release(void *options) { ++*((large_options *)options)->released; }

START_TEST(nodes_carry_options_and_many_tensors) {
    int released = 0;
    static const ct_op op = {.name = "large", .backward = large_backward};
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = vector(1, 2, 3);
        ct_node *node = ct_record(&op, 2, (ct_tensor *[]){x, y}, 1, &y);
        large_options o = {"kept", &released};
        ct_save_options(node, "short", 6);
        ct_save_options(node, &o, sizeof o);
        ct_on_node_free(node, count_release);
        for (int i = 0; i < 9; i++) ct_save(node, i == 2 ? NULL : ct_scalar(CT_F64, CT_CPU, i));
        ck_assert(ct_backward(ct_sum_all(y)));
        assert_vector(ct_grad(x), 1, 1, 1, "passed on");
        ck_assert_int_eq(released, 0);
    }
    ck_assert_int_eq(released, 1);
    assert_no_error();
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------ */

/* What is alive of a gate until backward: result and input, nothing made on the way. */
START_TEST(a_gate_saves_its_input_alone) {
    CT_SCOPE {
        ct_tensor *x = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(20, 50), 0.5));
        int64_t before = ct_memory_in_use(CT_CPU);
        ct_tensor *y = ct_glu(x, -1);
        ck_assert_int_eq(ct_memory_in_use(CT_CPU) - before, 20 * 25 * 8);
        ck_assert(ct_backward(ct_sum_all(y)));
    }
    assert_no_error();
}
END_TEST

typedef enum { NOBODY, CALLER, NEXT_BACKWARD, OTHER_NODE } logits_needed_by;

/* Gradient of x, of logits x w; *more is the most that was ever
 * there beyond what was there before backward. */
static ct_tensor *through_logits(ct_tensor *x, ct_tensor *w, logits_needed_by who, int64_t *more) {
    ct_tensor *loss = NULL, *logits = NULL;
    CT_SCOPE {
        ct_tensor *labels = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(x->shape.dim[0]));
        ct_tensor *y = ct_matmul(x, w);
        if (who == CALLER) logits = ct_keep(y);
        /* older than the loss's node, it has its turn after it */
        ct_tensor *square = who == OTHER_NODE ? ct_sum_all(ct_square(y)) : NULL;
        loss = ct_sum_all(ct_cross_entropy_rows(y, labels, -1, 0.1));
        loss = ct_keep(square ? ct_add(ct_scale(square, 0), loss) : loss);
    }
    int64_t before = ct_memory_in_use(CT_CPU);
    ck_assert(ct_backward_from(&loss, NULL, 1, who == NEXT_BACKWARD));
    *more = ct_memory_peak(CT_CPU) - before;
    if (who == CALLER) assert_close(logits, ct_tensor_matmul(x, w), 0, 0, "logits");
    ct_tensor *g = ct_tensor_copy(ct_grad(x));
    if (who == NEXT_BACKWARD) {
        ck_assert(ct_backward(loss));
        assert_close(ct_grad(x), ct_tensor_scale(g, 2), 0, 0, "second backward");
    }
    ct_release(logits);
    ct_release(loss);
    ct_zero_grad(x);
    return g;
}

/* The gradient of logits takes their place, but where they are needed. */
START_TEST(logits_give_their_place_to_their_gradient) {
    enum { ROWS = 8, CLASSES = 4096, BYTES = ROWS * CLASSES * 8 };
    CT_SCOPE {
        ct_rng rng = ct_rng_create(4, 0);
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(ROWS, 3));
        ct_tensor *w = ct_random_normal(&rng, "w", CT_F64, CT_CPU, CT_SHAPE(3, CLASSES));
        ck_assert(ct_require_grad(x) != NULL);
        int64_t more;
        ct_tensor *g = through_logits(x, w, NOBODY, &more);
        ck_assert_int_lt(more, BYTES);
        for (logits_needed_by who = CALLER; who <= OTHER_NODE; who++) {
            assert_close(through_logits(x, w, who, &more), g, 0, 0, "gradient");
            ck_assert_int_ge(more, BYTES);
        }
    }
    assert_no_error();
}
END_TEST

/* ---- anomaly mode ----------------------------------------------------------------------- */

START_TEST(anomaly_mode_names_the_operation) {
    CT_SCOPE {
        ct_tensor *x = leaf(0, 1, 4);
        ct_set_anomaly_mode(true);
        ct_log(x);
        assert_error("anomaly: output 0 of 'log' has a NaN or an infinity");
        CT_NO_GRAD
        ct_reciprocal(x);
        assert_error("anomaly: output 0 of 'reciprocal' has a NaN or an infinity");
        /* the value is finite, its derivative at 0 is not */
        ct_tensor *y = ct_pow_scalar(x, 0.5);
        assert_no_error();
        ck_assert(!ct_backward(ct_sum_all(y)));
        assert_error("anomaly: the gradient of input 0 of 'pow_scalar' has a NaN or an infinity");
        /* each of two gradients is finite */
        ct_tensor *zero = ct_neg(leaf(0, 0, 0));
        y = ct_add(ct_scale(zero, 1.7e308), ct_scale(zero, 1.7e308));
        ck_assert(!ct_backward(ct_sum_all(y)));
        assert_error("anomaly: the sum of the gradients of output 0 of 'neg' has a NaN");
        y = ct_exp(x);
        ck_assert(!ct_backward_from(&y, (ct_tensor *[]){vector(1, NAN, 1)}, 1, false));
        assert_error("anomaly: the sum of the gradients of output 0 of 'exp' has a NaN");
        ct_set_anomaly_mode(false);
        ck_assert(ct_backward(ct_sum_all(ct_pow_scalar(x, 0.5))));
        ck_assert(isinf(ct_get(ct_grad(x), 0)));
    }
    assert_no_error();
}
END_TEST

/* ---- what differences cannot check ------------------------------------------------------ */

START_TEST(cast_goes_both_ways) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *single = ct_cast(x, CT_F32);
        ct_tensor *half = ct_cast(single, CT_BF16), *back = ct_cast(half, CT_F32);
        ck_assert_int_eq(single->dtype, CT_F32);
        ck_assert(ct_backward(ct_sum_all(ct_square(back))));
        assert_vector(ct_grad(x), 2, 4, 6, "through f32 and bf16");
        ck_assert(!ct_requires_grad(ct_cast(x, CT_I64)));
    }
    assert_no_error();
}
END_TEST

START_TEST(embed_skips_the_padding_row) {
    CT_SCOPE {
        ct_tensor *w = ct_require_grad(ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3, 1)));
        ct_tensor *index = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(2, 2), (int64_t[]){0, 2, 2, 1});
        ck_assert(ct_backward(ct_sum_all(ct_embedding_with(w, index, 2))));
        assert_vector(ct_tensor_reshape(ct_grad(w), CT_SHAPE(3)), 1, 1, 0, "row 2 is padding");
    }
    assert_no_error();
}
END_TEST

START_TEST(a_row_of_minus_infinity_has_no_gradient) {
    CT_SCOPE {
        ct_tensor *x = leaf(-INFINITY, -INFINITY, -INFINITY), *y = ct_log_sum_exp(x, 0);
        ck_assert(isinf(ct_item(y)) && ct_item(y) < 0);
        ck_assert(ct_backward(y));
        assert_vector(ct_grad(x), 0, 0, 0, "log_sum_exp");
        ct_tensor *zero = leaf(0, 0, 0);
        ck_assert(ct_backward(ct_norm(zero, 0)));
        assert_vector(ct_grad(zero), 0, 0, 0, "norm at 0");
        ct_tensor *tie = leaf(2, 2, 1);
        ck_assert(ct_backward(ct_max(tie, 0)));
        assert_vector(ct_grad(tie), 0.5, 0.5, 0, "equal maxima share");
    }
    assert_no_error();
}
END_TEST

/* log N(z; mu, sigma) of a given z by plain operations; mu goes straight through: its value is k/A,
 * its gradient that of sum_a (a/A) y_a. */
static ct_tensor *log_normal_by_hand(ct_tensor *logits, ct_tensor *rho, ct_policy_noise noise,
                                     ct_policy_options o, const ct_policy_actions *head) {
    int64_t actions = logits->shape.dim[2];
    ct_tensor *tiny = ct_tensor_unary(CT_UNARY_add_scalar, noise.uniform, 1e-20, 0);
    ct_tensor *inner = ct_tensor_scale(ct_tensor_unary(CT_UNARY_log, tiny, 0, 0), -1);
    ct_tensor *shifted = ct_tensor_unary(CT_UNARY_add_scalar, inner, 1e-20, 0);
    ct_tensor *gumbel = ct_tensor_scale(ct_tensor_unary(CT_UNARY_log, shifted, 0, 0), -1);
    ct_tensor *y = ct_softmax(ct_scale(ct_add(logits, gumbel), 1 / o.temperature), 2);
    ct_tensor *levels = ct_tensor_scale(ct_arange(CT_F64, CT_CPU, actions), 1.0 / (double)actions);
    ct_tensor *expected = ct_sum(ct_mul(y, levels), 2);
    ct_tensor *level = ct_tensor_scale(ct_tensor_cast(head->index, CT_F64), 1.0 / (double)actions);
    ct_tensor *mu = ct_add(level, ct_sub(expected, ct_detach(expected)));
    ct_tensor *sigma = ct_exp(ct_scale(rho, 0.5));
    ct_tensor *z = ct_detach(ct_add(mu, ct_mul(sigma, (ct_tensor *)noise.normal)));
    ct_tensor *square = ct_square(ct_div(ct_sub(z, mu), sigma));
    double constant = -0.5 * log(2 * M_PI);
    return ct_add_scalar(ct_add(ct_scale(square, -0.5), ct_scale(rho, -0.5)), constant);
}

START_TEST(policy_head_equals_plain_operations) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(4, 0);
        ct_shape heads = CT_SHAPE(6, 2), all = CT_SHAPE(6, 2, 5);
        ct_tensor *logits = ct_random_normal(&rng, "logits", CT_F64, CT_CPU, all);
        ct_tensor *rho = ct_random_normal(&rng, "rho", CT_F64, CT_CPU, heads);
        ct_tensor *g = ct_random_normal(&rng, "g", CT_F64, CT_CPU, heads);
        ct_policy_noise noise = {
            .uniform = ct_random_uniform(&rng, "u", CT_F64, CT_CPU, all),
            .choice = ct_random_uniform(&rng, "v", CT_F64, CT_CPU, heads),
            .normal = ct_random_normal(&rng, "n", CT_F64, CT_CPU, heads),
        };
        ct_policy_options o = {0.8, 20, true};
        ct_policy_actions head = {0};
        ct_tensor *value[2], *g_logits[2], *g_rho[2];
        for (int i = 0; i < 2; i++) {
            ct_tensor *l = ct_require_grad(ct_detach(logits)), *r = ct_require_grad(ct_detach(rho));
            if (i == 0) head = ct_policy_head(l, r, noise, o);
            value[i] = i ? log_normal_by_hand(l, r, noise, o, &head) : head.log_continuous;
            ck_assert(ct_backward_from(&value[i], &g, 1, false));
            g_logits[i] = ct_grad(l);
            g_rho[i] = ct_grad(r);
        }
        assert_close(value[0], value[1], 1e-12, 0, "log_continuous");
        assert_close(g_logits[0], g_logits[1], 1e-11, 0, "gradient of the logits");
        assert_close(g_rho[0], g_rho[1], 1e-11, 0, "gradient of rho");
        ck_assert(!ct_requires_grad(head.weight) && !ct_requires_grad(head.index));
    }
    assert_no_error();
}
END_TEST

TEST_MAIN("autograd operations", an_operation_of_ones_own, wrong_gradients_are_named,
          what_a_node_owns_is_not_taken, an_output_must_be_new,
          nodes_carry_options_and_many_tensors, a_gate_saves_its_input_alone,
          logits_give_their_place_to_their_gradient, anomaly_mode_names_the_operation,
          cast_goes_both_ways, embed_skips_the_padding_row, a_row_of_minus_infinity_has_no_gradient,
          policy_head_equals_plain_operations)
