/* SPDX-License-Identifier: Apache-2.0 */
/* Adam, AdamW and SGD over several parameters against plain loops over the formulas. */
#include "tests/tensor/fused_test.h"

enum { PARAMS = 4, STEPS = 5, SKIPPED = 2 };

/* One parameter is larger than the chunks that threads take; one has no gradient. */
static const int64_t sizes[PARAMS] = {12, 40001, 7, 1};

typedef struct {
    ct_tensor *params[PARAMS], *grads[PARAMS], *m[PARAMS], *v[PARAMS];
} state;

static state make_state(ct_dtype dtype, uint64_t seed) {
    state s = {0};
    for (int i = 0; i < PARAMS; i++) {
        ct_shape shape = CT_SHAPE(sizes[i]);
        s.params[i] = ct_tensor_cast(test_tensor(&seed, shape, -1, 1), dtype);
        s.grads[i] = ct_tensor_cast(test_tensor(&seed, shape, -1, 1), dtype);
        s.m[i] = ct_zeros(dtype, CT_CPU, shape);
        s.v[i] = ct_zeros(dtype, CT_CPU, shape);
    }
    s.grads[SKIPPED] = NULL;
    return s;
}

/* The gradient of step t: the first one, turned and grown a little. */
static void next_gradients(state *s) {
    for (int i = 0; i < PARAMS; i++) {
        if (s->grads[i]) ck_assert(ct_tensor_scale_in_place(s->grads[i], -1.3));
    }
}

static state copy_of(const state *s) {
    state copy = *s;
    for (int i = 0; i < PARAMS; i++) {
        copy.params[i] = ct_tensor_copy(s->params[i]);
        copy.m[i] = ct_tensor_copy(s->m[i]);
        copy.v[i] = ct_tensor_copy(s->v[i]);
    }
    return copy;
}

/* The options of a case, and the numbers that come as tensors. */
typedef struct {
    double lr, norm; /* norm 0: none is given */
    ct_tensor_adam_options options;
} adam_case;
typedef struct {
    double lr, norm;
    ct_tensor_sgd_options options;
} sgd_case;

static double scale_of(double norm, ct_clip clip) {
    double factor = clip.limit / (norm + 1e-6);
    return norm == 0 || clip.limit == 0 || factor >= 1 ? 1 : pow(factor, clip.times);
}

static bool run_adam(state *s, const int64_t *step, adam_case c) {
    ct_tensor *rates[PARAMS];
    for (int i = 0; i < PARAMS; i++) {
        double numbers[CT_ADAM_RATES];
        ct_adam_rates(numbers, c.lr, step[i], &c.options);
        rates[i] = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(CT_ADAM_RATES), numbers);
    }
    if (c.norm != 0) c.options.clip.norm = ct_scalar(CT_F64, CT_CPU, c.norm);
    return ct_tensor_adam(s->params, s->grads, s->m, s->v, rates, PARAMS, c.options);
}

static bool run_sgd(state *s, bool first, sgd_case c) {
    ct_tensor *rates[PARAMS], *none[PARAMS] = {0};
    for (int i = 0; i < PARAMS; i++) {
        double numbers[CT_SGD_RATES];
        ct_sgd_rates(numbers, c.lr, first, &c.options);
        rates[i] = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(CT_SGD_RATES), numbers);
    }
    if (c.norm != 0) c.options.clip.norm = ct_scalar(CT_F64, CT_CPU, c.norm);
    return ct_tensor_sgd(s->params, s->grads, c.options.momentum != 0 ? s->m : none, rates, PARAMS,
                         c.options);
}

static void reference_adam(state *s, const int64_t *step, adam_case c) {
    ct_tensor_adam_options o = c.options;
    for (int i = 0; i < PARAMS; i++) {
        if (!s->grads[i]) continue;
        double *p = ct_data(s->params[i]), *m = ct_data(s->m[i]), *v = ct_data(s->v[i]);
        const double *grad = ct_data(s->grads[i]);
        for (int64_t k = 0; k < sizes[i]; k++) {
            double g = grad[k] * scale_of(c.norm, o.clip);
            if (o.decoupled) p[k] -= c.lr * o.weight_decay * p[k];
            if (!o.decoupled) g += o.weight_decay * p[k];
            m[k] = o.beta1 * m[k] + (1 - o.beta1) * g;
            v[k] = o.beta2 * v[k] + (1 - o.beta2) * g * g;
            double m_hat = m[k] / (1 - pow(o.beta1, (double)step[i]));
            double v_hat = v[k] / (1 - pow(o.beta2, (double)step[i]));
            p[k] -= c.lr * m_hat / (sqrt(v_hat) + o.eps);
        }
    }
}

static void reference_sgd(state *s, bool first, sgd_case c) {
    ct_tensor_sgd_options o = c.options;
    for (int i = 0; i < PARAMS; i++) {
        if (!s->grads[i]) continue;
        double *p = ct_data(s->params[i]), *b = ct_data(s->m[i]);
        const double *grad = ct_data(s->grads[i]);
        for (int64_t k = 0; k < sizes[i]; k++) {
            double g = grad[k] * scale_of(c.norm, o.clip) + o.weight_decay * p[k], d = g;
            if (o.momentum != 0) {
                b[k] = first ? g : o.momentum * b[k] + g;
                d = o.nesterov ? g + o.momentum * b[k] : b[k];
            }
            p[k] -= c.lr * d;
        }
    }
}

static void assert_states(const state *got, const state *expected, double tolerance) {
    for (int i = 0; i < PARAMS; i++) {
        assert_close(got->params[i], expected->params[i], tolerance, tolerance, "parameter");
        assert_close(got->m[i], expected->m[i], tolerance, tolerance, "m");
        assert_close(got->v[i], expected->v[i], tolerance, tolerance, "v");
    }
}

static const adam_case adam_cases[] = {
    {0.01, 0, {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}},
    {0.02,
     5,
     {.beta1 = 0.8,
      .beta2 = 0.95,
      .eps = 1e-6,
      .weight_decay = 0.1,
      .clip = {.limit = 1.5, .times = 1}}},
    {0.02, 5, {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .clip = {.limit = 1.5, .times = 2}}},
    {0.02,
     5,
     {.beta1 = 0.9,
      .beta2 = 0.99,
      .eps = 1e-8,
      .weight_decay = 0.2,
      .decoupled = true,
      .clip = {.limit = 6, .times = 1}}},
};

START_TEST(adam) {
    CT_SCOPE {
        state s = make_state(CT_F64, 1), expected = copy_of(&s), s32 = make_state(CT_F32, 1);
        for (int64_t t = 1; t <= STEPS; t++) {
            int64_t steps[PARAMS] = {t, t, t, t + 3}; /* one that had steps before */
            ck_assert(run_adam(&s, steps, adam_cases[_i]));
            ck_assert(run_adam(&s32, steps, adam_cases[_i]));
            reference_adam(&expected, steps, adam_cases[_i]);
            next_gradients(&s);
            next_gradients(&s32);
        }
        assert_states(&s, &expected, 1e-12);
        assert_states(&s32, &expected, 1e-5);
        state untouched = make_state(CT_F64, 1);
        assert_same_bits(s.params[SKIPPED], untouched.params[SKIPPED], "without a gradient");
    }
}
END_TEST

static const sgd_case sgd_cases[] = {
    {0.1, 0, {.momentum = 0}},
    {0.1, 2, {.weight_decay = 0.2, .clip = {.limit = 1, .times = 1}}},
    {0.03, 0, {.momentum = 0.9}},
    {0.03,
     3,
     {.momentum = 0.8, .weight_decay = 0.02, .nesterov = true, .clip = {.limit = 2, .times = 2}}},
};

START_TEST(sgd) {
    CT_SCOPE {
        state s = make_state(CT_F64, 2), expected = copy_of(&s), s32 = make_state(CT_F32, 2);
        bool momentum = sgd_cases[_i].options.momentum != 0;
        for (int i = 0; i < PARAMS && momentum; i++) { /* a new buffer may hold anything */
            if (i != SKIPPED) ct_tensor_fill(s.m[i], NAN);
        }
        for (int64_t t = 0; t < STEPS; t++) {
            ck_assert(run_sgd(&s, t == 0, sgd_cases[_i]));
            ck_assert(run_sgd(&s32, t == 0, sgd_cases[_i]));
            reference_sgd(&expected, t == 0, sgd_cases[_i]);
            next_gradients(&s);
            next_gradients(&s32);
        }
        assert_states(&s, &expected, 1e-12);
        assert_states(&s32, &expected, 1e-5);
    }
}
END_TEST

START_TEST(does_nothing_where_the_norm_is_not_finite) {
    const double norms[] = {NAN, INFINITY};
    const int64_t steps[PARAMS] = {1, 1, 1, 1};
    CT_SCOPE {
        state s = make_state(CT_F32, 6), before = copy_of(&s);
        adam_case by_adam = {0.1, norms[_i % 2], adam_cases[_i / 2].options};
        ck_assert(!run_adam(&s, steps, by_adam));
        assert_error("adam: a gradient is not finite: nothing was updated");
        sgd_case by_sgd = {0.1, norms[_i % 2], sgd_cases[_i / 2].options};
        ck_assert(!run_sgd(&s, true, by_sgd));
        assert_error("sgd: a gradient is not finite: nothing was updated");
        for (int i = 0; i < PARAMS; i++) {
            assert_same_bits(s.params[i], before.params[i], "parameter");
            assert_same_bits(s.m[i], before.m[i], "m");
        }
    }
}
END_TEST

START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        state s[2] = {make_state(CT_F32, 3), make_state(CT_F32, 3)};
        int64_t steps[PARAMS] = {1, 1, 1, 1};
        int before = ct_threads();
        for (int k = 0; k < 2; k++) {
            ct_set_threads(k + 1);
            ck_assert(run_adam(&s[k], steps, adam_cases[1]));
        }
        ct_set_threads(before);
        for (int i = 0; i < PARAMS; i++) {
            assert_same_bits(s[0].params[i], s[1].params[i], "parameter");
            assert_same_bits(s[0].v[i], s[1].v[i], "v");
        }
    }
}
END_TEST

START_TEST(mixed_dtypes_and_nothing) {
    CT_SCOPE {
        state s = make_state(CT_F64, 4), half = make_state(CT_F32, 4), expected = copy_of(&s);
        int64_t steps[PARAMS] = {1, 1, 1, 1};
        s.params[1] = half.params[1];
        s.grads[1] = half.grads[1];
        s.m[1] = half.m[1];
        s.v[1] = half.v[1];
        ck_assert(run_adam(&s, steps, adam_cases[0]));
        expected.grads[1] = ct_tensor_cast(half.grads[1], CT_F64);
        reference_adam(&expected, steps, adam_cases[0]);
        assert_states(&s, &expected, 1e-6);
        for (int i = 0; i < PARAMS; i++) s.grads[i] = NULL;
        ck_assert(run_adam(&s, steps, adam_cases[0]));
        ck_assert(ct_tensor_adam(NULL, NULL, NULL, NULL, NULL, 0, adam_cases[0].options));
        assert_no_error();
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        state s = make_state(CT_F64, 5), bad = s;
        const int64_t steps[PARAMS] = {1, 1, 1, 1};
        bad.grads[1] = s.grads[0];
        ck_assert(!run_adam(&bad, steps, adam_cases[0]));
        assert_error("adam: the gradient of parameter 1 is f64 (12) on cpu, expected contiguous "
                     "f64 (40001)");
        bad = s;
        bad.v[3] = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1));
        ck_assert(!run_adam(&bad, steps, adam_cases[0]));
        assert_error("exp_avg_sq of parameter 3 is f32 (1)");
        bad = s;
        bad.params[0] = test_strided(s.params[0]);
        ck_assert(!run_adam(&bad, steps, adam_cases[0]));
        assert_error("parameter 0, f64 (12), is not contiguous");
        bad = s;
        bad.m[0] = NULL;
        ck_assert(!run_sgd(&bad, true, sgd_cases[2]));
        assert_error("sgd: the momentum buffer of parameter 0 is NULL");
        bad.params[0] = NULL;
        ck_assert(!run_sgd(&bad, true, sgd_cases[0]));
        assert_error("NULL");
    }
}
END_TEST

START_TEST(refuses_bad_numbers) {
    CT_SCOPE {
        state s = make_state(CT_F64, 7);
        ct_tensor *short_rates[PARAMS], *no_rates[PARAMS] = {0};
        for (int i = 0; i < PARAMS; i++) short_rates[i] = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2));
        ct_tensor_adam_options adam_options = adam_cases[0].options;
        ck_assert(!ct_tensor_adam(s.params, s.grads, s.m, s.v, short_rates, PARAMS, adam_options));
        assert_error("adam: a parameter's rates is f64 (2) on cpu, expected f64, 3 contiguous");
        ck_assert(!ct_tensor_adam(s.params, s.grads, s.m, s.v, no_rates, PARAMS, adam_options));
        assert_error("adam: a parameter's rates is NULL");
        ct_tensor_sgd_options sgd_options = {.clip.norm =
                                                 ct_zeros(CT_F32, CT_CPU, CT_SCALAR_SHAPE)};
        ck_assert(!ct_tensor_sgd(s.params, s.grads, s.m, short_rates, PARAMS, sgd_options));
        assert_error("sgd: the norm is f32 () on cpu, expected f64");
    }
}
END_TEST

/* Which of two updates came last would depend on the threads. */
START_TEST(refuses_shared_memory) {
    const int64_t step[PARAMS] = {1, 1, 1, 1};
    CT_SCOPE {
        state s = make_state(CT_F32, 5);
        ct_tensor *one_more = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(sizes[1] + 1));
        switch (_i) {
        case 0: s.grads[0] = s.params[0]; break;
        case 1: s.m[0] = s.params[0]; break;
        case 2: s.m[0] = s.grads[0]; break;
        case 3:
            s.params[1] = ct_tensor_slice(one_more, 0, 1, INT64_MAX, 1);
            s.grads[1] = ct_tensor_slice(one_more, 0, 0, -1, 1);
            break;
        }
        ck_assert(!run_adam(&s, step, adam_cases[0]));
        assert_error("adam: parameters, their gradients and their state share memory");
        ck_assert(!run_sgd(&s, false, (sgd_case){.lr = 0.1, .options.momentum = 0.9}));
        assert_error("sgd: parameters, their gradients and their state share memory");
    }
}
END_TEST

LOOPED_TEST_MAIN("optimizers", {adam, sizeof adam_cases / sizeof *adam_cases},
                 {sgd, sizeof sgd_cases / sizeof *sgd_cases}, {threads_do_not_matter, 1},
                 {does_nothing_where_the_norm_is_not_finite, 4}, {mixed_dtypes_and_nothing, 1},
                 {refuses_bad_input, 1}, {refuses_bad_numbers, 1}, {refuses_shared_memory, 4})
