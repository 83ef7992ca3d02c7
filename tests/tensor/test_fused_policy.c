/* SPDX-License-Identifier: Apache-2.0 */
/* The policy head against a plain loop over its formulas. */
#include "tensor/matching/matching.h"
#include "tests/tensor/fused_test.h"

typedef struct {
    int64_t rows, heads, actions;
    bool perturbed, second_normal;
} policy_case;

static const policy_case cases[] = {
    {4, 2, 7, true, false}, {4, 2, 7, true, true},   {3, 1, 9, false, false},
    {1, 1, 1, true, true},  {5, 3, 33, false, true}, {6, 2, 500, true, false},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct {
    ct_tensor *logits, *rho;
    ct_policy_noise noise;
    ct_policy_options options;
    ct_tensor *gd, *gc; /* loss: sum(log_discrete * gd) + sum(log_continuous * gc) */
    /* what the gradient treats as constants, once drawn */
    ct_tensor *index, *sample, *y;
} inputs;

/* Numbers that f32 has too: -log(u) near u = 1 magnifies the rounding of u. */
static ct_tensor *rounded(uint64_t *state, ct_shape shape, double lo, double hi) {
    return ct_tensor_cast(ct_tensor_cast(test_tensor(state, shape, lo, hi), CT_F32), CT_F64);
}

static inputs make_inputs(const policy_case *c) {
    uint64_t state = 6;
    ct_shape heads = CT_SHAPE(c->rows, c->heads), all = CT_SHAPE(c->rows, c->heads, c->actions);
    inputs in = {.logits = rounded(&state, all, -2, 2),
                 .rho = rounded(&state, heads, 0, 1),
                 .options = {.temperature = 0.8, .scale = 20, .perturbed = c->perturbed},
                 .gd = rounded(&state, heads, -1, 1),
                 .gc = rounded(&state, heads, -1, 1)};
    in.noise.uniform = c->perturbed ? rounded(&state, all, 0, 1) : NULL;
    in.noise.choice = rounded(&state, heads, 0, 1);
    in.noise.normal = rounded(&state, heads, -2, 2);
    in.noise.normal_2 = c->second_normal ? rounded(&state, heads, -2, 2) : NULL;
    return in;
}

static double at(const ct_tensor *x, int64_t i) { return ((double *)ct_data(x))[i]; }

/* y of head i, into y (A). */
static void reference_softmax(const inputs *in, int64_t i, double *y) {
    int64_t n = in->logits->shape.dim[2];
    double sum = 0;
    for (int64_t a = 0; a < n; a++) {
        double x = at(in->logits, i * n + a);
        if (in->options.perturbed) {
            double u = at(in->noise.uniform, i * n + a);
            x = (x - log(-log(u + 1e-20) + 1e-20)) / in->options.temperature;
        }
        y[a] = exp(x);
        sum += y[a];
    }
    for (int64_t a = 0; a < n; a++) y[a] /= sum;
}

static int64_t reference_draw(const double *y, int64_t n, double v) {
    double sum = 0;
    for (int64_t a = 0; a < n; a++) {
        sum += y[a];
        if (sum > v) return a;
    }
    return n - 1;
}

static double log_normal(double x, double mu, double sigma) {
    return -pow((x - mu) / sigma, 2) / 2 - log(sigma) - log(2 * M_PI) / 2;
}

START_TEST(equals_plain_loop) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        int64_t n = in.logits->shape.dim[2];
        ct_policy_result result = ct_tensor_policy_head(in.logits, in.rho, in.noise, in.options);
        assert_no_error();
        for (int64_t i = 0; i < ct_count(in.rho); i++) {
            double y[512];
            reference_softmax(&in, i, y);
            int64_t k = reference_draw(y, n, at(in.noise.choice, i));
            double mu = (double)k / (double)n, sigma = exp(at(in.rho, i) / 2);
            double z = mu + sigma * at(in.noise.normal, i), z2 = z;
            if (in.noise.normal_2) z2 = mu + sigma * at(in.noise.normal_2, i);
            ck_assert_int_eq((int)((int64_t *)ct_data(result.index))[i], (int)k);
            for (int64_t a = 0; a < n; a++) {
                ck_assert_double_eq_tol(at(result.y, i * n + a), y[a], 1e-14);
            }
            ck_assert_double_eq_tol(at(result.log_discrete, i), log(y[k]), 1e-12);
            ck_assert_double_eq_tol(at(result.weight, i), 20 / (1 + exp(-z)), 1e-12);
            ck_assert_double_eq_tol(at(result.sample, i), z2, 1e-12);
            ck_assert_double_eq_tol(at(result.log_continuous, i), log_normal(z2, mu, sigma), 1e-12);
        }
    }
}
END_TEST

/* With the drawn index and sample held, and mu replaced by what its straight-through gradient is
 * that of: its value plus the change of sum_a (a/A) y[a]. */
static double surrogate(void *context) {
    const inputs *in = context;
    int64_t n = in->logits->shape.dim[2];
    double total = 0;
    for (int64_t i = 0; i < ct_count(in->rho); i++) {
        double y[512];
        int64_t k = ((int64_t *)ct_data(in->index))[i];
        reference_softmax(in, i, y);
        double mu = (double)k / (double)n, sigma = exp(at(in->rho, i) / 2);
        for (int64_t a = 0; a < n; a++) {
            mu += (double)a / (double)n * (y[a] - at(in->y, i * n + a));
        }
        total += at(in->gd, i) * log(y[k]);
        total += at(in->gc, i) * log_normal(at(in->sample, i), mu, sigma);
    }
    return total;
}

START_TEST(gradients) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        ct_policy_result result = ct_tensor_policy_head(in.logits, in.rho, in.noise, in.options);
        in.index = result.index;
        in.sample = result.sample;
        in.y = result.y;
        ct_tensor *g_logits, *g_rho, *discrete, *continuous, *unused;
        ct_tensor_policy_head_grad(in.gd, in.gc, in.rho, &result, in.options, &g_logits, &g_rho);
        if (cases[_i].actions < 500) {
            assert_gradient(g_logits, in.logits, surrogate, &in, "logits");
        }
        assert_gradient(g_rho, in.rho, surrogate, &in, "rho");
        ct_tensor_policy_head_grad(in.gd, NULL, in.rho, &result, in.options, &discrete, &unused);
        ct_tensor_policy_head_grad(NULL, in.gc, in.rho, &result, in.options, &continuous, &unused);
        assert_close(ct_tensor_add(discrete, continuous), g_logits, 1e-13, 1e-15, "one or both");
    }
}
END_TEST

START_TEST(given_index) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[0]);
        int64_t k[] = {0, 6, 3, 2, 2, 1, 5, 4};
        in.noise.index = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(4, 2), k);
        in.noise.choice = NULL;
        ct_policy_result result = ct_tensor_policy_head(in.logits, in.rho, in.noise, in.options);
        assert_close(result.index, in.noise.index, 0, 0, "index");
        for (int64_t i = 0; i < 8; i++) {
            ck_assert_double_eq_tol(at(result.log_discrete, i), log(at(result.y, i * 7 + k[i])),
                                    1e-12);
        }
    }
}
END_TEST

/* u = 0 and the largest u below 1 give the longest steps that Gumbel noise can take; a probability
 * too small for its type still has a logarithm; v = 1 (or rounding) still draws something. */
START_TEST(extremes) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        CT_SCOPE {
            double logits[] = {0, 0, 0, 0, 2000, -2000}, uniform[] = {0, 1 - 0x1p-24, 0.5, 0, 0, 0};
            ct_policy_noise noise = {
                .uniform = ct_from_doubles(dtype, CT_CPU, CT_SHAPE(2, 1, 3), uniform),
                .choice = ct_from_doubles(dtype, CT_CPU, CT_SHAPE(2, 1), (double[]){1, 1}),
                .normal = ct_zeros(dtype, CT_CPU, CT_SHAPE(2, 1))};
            ct_policy_options options = {.temperature = 0.8, .scale = 20, .perturbed = true};
            ct_tensor *x = ct_from_doubles(dtype, CT_CPU, CT_SHAPE(2, 1, 3), logits);
            ct_tensor *rho = ct_zeros(dtype, CT_CPU, CT_SHAPE(2, 1));
            ct_policy_result result = ct_tensor_policy_head(x, rho, noise, options);
            assert_no_error();
            ck_assert(ct_get(result.index, 1) == 1); /* the only one that has a probability */
            ck_assert(!ct_tensor_has_nonfinite(result.y));
            int64_t last[] = {2, 2};
            noise.index = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(2, 1), last);
            result = ct_tensor_policy_head(x, rho, noise, options);
            /* gumbel: -log(46.05) = -3.83, 16.64, 0.367 */
            ck_assert_double_eq_tol(ct_get(result.log_discrete, 0), (0.36651 - 16.63553) / 0.8,
                                    1e-3);
            ck_assert_double_eq_tol(ct_get(result.log_discrete, 1), -4000 / 0.8, 1e-3);
        }
    }
}
END_TEST

START_TEST(f32_agrees) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]), in32 = in;
        in32.noise.uniform = test_cast(in.noise.uniform, CT_F32);
        in32.noise.choice = test_cast(in.noise.choice, CT_F32);
        in32.noise.normal = test_cast(in.noise.normal, CT_F32);
        in32.noise.normal_2 = test_cast(in.noise.normal_2, CT_F32);
        ct_tensor *logits = ct_tensor_cast(in.logits, CT_F32);
        ct_tensor *rho = ct_tensor_cast(in.rho, CT_F32);
        ct_tensor *gd = ct_tensor_cast(in.gd, CT_F32), *gc = ct_tensor_cast(in.gc, CT_F32);
        ct_policy_result a = ct_tensor_policy_head(in.logits, in.rho, in.noise, in.options);
        ct_policy_result b = ct_tensor_policy_head(logits, rho, in32.noise, in.options);
        assert_close(b.index, a.index, 0, 0, "index");
        assert_close(b.y, a.y, 1e-5, 0, "y");
        assert_close(b.log_discrete, a.log_discrete, 1e-5, 1e-6, "log_discrete");
        assert_close(b.log_continuous, a.log_continuous, 1e-6, 1e-6, "log_continuous");
        assert_close(b.weight, a.weight, 1e-6, 0, "weight");
        ct_tensor *gl, *gr, *gl32, *gr32;
        ct_tensor_policy_head_grad(in.gd, in.gc, in.rho, &a, in.options, &gl, &gr);
        ct_tensor_policy_head_grad(gd, gc, rho, &b, in.options, &gl32, &gr32);
        assert_close(gl32, gl, 1e-5, 1e-6, "logits");
        assert_close(gr32, gr, 1e-5, 1e-6, "rho");
    }
}
END_TEST

START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        inputs in = make_inputs(&(policy_case){40, 2, 101, true, false});
        ct_policy_result result[2];
        ct_tensor *g_logits[2], *g_rho[2];
        int before = ct_threads();
        for (int k = 0; k < 2; k++) {
            ct_set_threads(k + 1);
            result[k] = ct_tensor_policy_head(in.logits, in.rho, in.noise, in.options);
            ct_tensor_policy_head_grad(in.gd, in.gc, in.rho, &result[k], in.options, &g_logits[k],
                                       &g_rho[k]);
        }
        ct_set_threads(before);
        assert_same_bits(result[0].y, result[1].y, "y");
        assert_same_bits(result[0].log_discrete, result[1].log_discrete, "log_discrete");
        assert_same_bits(g_logits[0], g_logits[1], "logits");
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[0]);
        ct_policy_noise noise = in.noise;
        noise.uniform = NULL;
        ck_assert(!ct_tensor_policy_head(in.logits, in.rho, noise, in.options).y);
        assert_error("NULL");
        noise = in.noise;
        noise.choice = in.logits;
        ck_assert(!ct_tensor_policy_head(in.logits, in.rho, noise, in.options).y);
        assert_error("policy head: choice noise is f64 (4,2,7), expected (4,2)");
        noise = in.noise;
        noise.index = ct_full(CT_I64, CT_CPU, CT_SHAPE(4, 2), 7);
        ck_assert(!ct_tensor_policy_head(in.logits, in.rho, noise, in.options).y);
        assert_error("index 7 of action 0, expected 0 to 6");
        noise.index = in.rho;
        ck_assert(!ct_tensor_policy_head(in.logits, in.rho, noise, in.options).y);
        assert_error("index is f64 (4,2)");
        ct_policy_options options = in.options;
        options.temperature = 0;
        ck_assert(!ct_tensor_policy_head(in.logits, in.rho, in.noise, options).y);
        assert_error("temperature 0");
        ck_assert(!ct_tensor_policy_head(in.rho, in.rho, in.noise, in.options).y);
        assert_error("logits is f64 (4,2), expected 3 dimensions");
        ct_policy_result result = ct_tensor_policy_head(in.logits, in.rho, in.noise, in.options);
        ct_tensor *g_logits, *g_rho;
        ct_tensor_policy_head_grad(in.logits, NULL, in.rho, &result, in.options, &g_logits, &g_rho);
        ck_assert(!g_logits && !g_rho);
        assert_error("g_discrete is f64 (4,2,7), expected (4,2)");
    }
}
END_TEST

LOOPED_TEST_MAIN("policy head", {equals_plain_loop, CASES}, {gradients, CASES}, {f32_agrees, CASES},
                 {given_index, 1}, {extremes, 1}, {threads_do_not_matter, 1},
                 {refuses_bad_input, 1})
