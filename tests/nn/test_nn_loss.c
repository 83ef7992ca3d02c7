/* SPDX-License-Identifier: Apache-2.0 */
/* Losses, distributions, initialisers, schedules: values from formulas, statistics, refusals. */
#include "nn/nn.h"
#include "tests/test.h"

static ct_tensor *numbers(ct_shape shape, const double *values) {
    return ct_from_doubles(CT_F64, CT_CPU, shape, values);
}

static ct_tensor *labels_of(ct_shape shape, const int64_t *values) {
    return ct_from_data(CT_I64, CT_CPU, shape, values);
}

static void check_value(const char *what, ct_tensor *x, double expected, double tolerance) {
    assert_no_error();
    double value = ct_item(x);
    ck_assert_msg(fabs(value - expected) <= tolerance, "%s: %.17g, expected %.17g", what, value,
                  expected);
}

/* ---- losses ----------------------------------------------------------------------------- */

static double log_softmax(const double *x, int count, int label) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += exp(x[i]);
    return x[label] - log(sum);
}

START_TEST(cross_entropy_is_its_formula) {
    const double logits[] = {0.5, -1, 2, 0.1, 0.2, 0.3, -2, 1, 0, 4, 4, 4};
    const int64_t label[] = {2, 0, 1, 1};
    double row[4], smooth[4];
    for (int i = 0; i < 4; i++) {
        row[i] = -log_softmax(logits + 3 * i, 3, (int)label[i]);
        smooth[i] = 0.7 * row[i];
        for (int v = 0; v < 3; v++) smooth[i] -= 0.3 / 3 * log_softmax(logits + 3 * i, 3, v);
    }
    CT_SCOPE {
        ct_tensor *x = numbers(CT_SHAPE(2, 2, 3), logits), *y = labels_of(CT_SHAPE(2, 2), label);
        ct_cross_entropy_options options = ct_cross_entropy_defaults();
        check_value("mean", ct_cross_entropy(x, y, NULL), (row[0] + row[1] + row[2] + row[3]) / 4,
                    1e-14);
        options.smoothing = 0.3;
        check_value("smoothing", ct_cross_entropy(x, y, &options),
                    (smooth[0] + smooth[1] + smooth[2] + smooth[3]) / 4, 1e-14);
        options = (ct_cross_entropy_options){.reduction = CT_REDUCE_SUM};
        check_value("sum", ct_cross_entropy(x, y, &options), row[0] + row[1] + row[2] + row[3],
                    1e-14);
        options = (ct_cross_entropy_options){.ignore = true, .ignore_index = 1};
        check_value("ignore", ct_cross_entropy(x, y, &options), (row[0] + row[1]) / 2, 1e-14);
        options.reduction = CT_REDUCE_NONE;
        assert_close(ct_cross_entropy(x, y, &options),
                     numbers(CT_SHAPE(2, 2), (double[]){row[0], row[1], 0, 0}), 1e-14, 0, "rows");
        options = ct_cross_entropy_defaults();
        options.ignore = true;
        ct_tensor *none = labels_of(CT_SHAPE(2, 2), (int64_t[]){-100, -100, -100, -100});
        ct_require_grad(x);
        ct_tensor *loss = ct_cross_entropy(x, none, &options);
        check_value("nothing counted", loss, 0, 0);
        ck_assert(ct_backward(loss));
        ck_assert(!ct_tensor_has_nonfinite(ct_grad(x)));
    }
}
END_TEST

START_TEST(cross_entropy_refusals) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ct_cross_entropy_options options = ct_cross_entropy_defaults();
        ck_assert_ptr_null(ct_cross_entropy(x, labels_of(CT_SHAPE(2), (int64_t[]){0, 3}), NULL));
        ck_assert(!ct_ok());
        ct_error_clear();
        ck_assert_ptr_null(ct_cross_entropy(x, labels_of(CT_SHAPE(3), (int64_t[]){0, 1, 1}), NULL));
        ck_assert(!ct_ok());
        ct_error_clear();
        ck_assert_ptr_null(ct_cross_entropy(x, NULL, NULL));
        assert_error("labels is NULL");
        options.smoothing = 2;
        ck_assert_ptr_null(
            ct_cross_entropy(x, labels_of(CT_SHAPE(2), (int64_t[]){0, 1}), &options));
        assert_error("cross_entropy: smoothing is 2, expected 0 to 1");
        options = ct_cross_entropy_defaults();
        options.reduction = 7;
        ck_assert_ptr_null(
            ct_cross_entropy(x, labels_of(CT_SHAPE(2), (int64_t[]){0, 1}), &options));
        assert_error("cross_entropy: reduction is 7");
    }
}
END_TEST

START_TEST(bce_is_stable) {
    CT_SCOPE {
        const double logits[] = {0, 2, -3, 800, -800, 800};
        const double targets[] = {1, 0.25, 0, 1, 0, 0};
        const double expected[] = {
            log(2), 0.25 * log1p(exp(-2)) + 0.75 * log1p(exp(2)), log1p(exp(-3)), 0, 0, 800};
        ct_tensor *x = ct_require_grad(numbers(CT_SHAPE(6), logits));
        ct_tensor *t = numbers(CT_SHAPE(6), targets);
        ct_tensor *rows = ct_bce_with_logits(x, t, CT_REDUCE_NONE);
        assert_close(rows, numbers(CT_SHAPE(6), expected), 0, 1e-13, "rows");
        ct_backward(ct_bce_with_logits(x, t, CT_REDUCE_SUM));
        double slope[6];
        for (int i = 0; i < 6; i++) slope[i] = 1 / (1 + exp(-logits[i])) - targets[i];
        assert_close(ct_grad(x), numbers(CT_SHAPE(6), slope), 0, 1e-14, "slope, also at 0");
        ck_assert_ptr_null(ct_bce_with_logits(x, ct_slice(t, 0, 0, 5, 1), CT_REDUCE_SUM));
        assert_error("logits f64 (6) and targets f64 (5)");
    }
}
END_TEST

START_TEST(mse_reductions) {
    CT_SCOPE {
        ct_tensor *a = numbers(CT_SHAPE(3), (double[]){1, 2, 3});
        ct_tensor *b = numbers(CT_SHAPE(3), (double[]){1, 4, 0});
        check_value("mean", ct_mse(a, b, CT_REDUCE_MEAN), 13.0 / 3, 1e-15);
        check_value("sum", ct_mse(a, b, CT_REDUCE_SUM), 13, 0);
        assert_close(ct_mse(a, b, CT_REDUCE_NONE), numbers(CT_SHAPE(3), (double[]){0, 4, 9}), 0, 0,
                     "none");
        ck_assert_ptr_null(ct_mse(a, ct_unsqueeze(b, 0), CT_REDUCE_SUM));
        assert_error("prediction f64 (3) and target f64 (1,3)");
    }
}
END_TEST

/* ---- distributions ---------------------------------------------------------------------- */

START_TEST(categorical_draws_its_probabilities) {
    ct_set_anomaly_mode(false); /* a logit is infinite */
    enum { N = 20000 };
    const double p[] = {0.1, 0, 0.6, 0.3};
    for (int wide = 0; wide < 2; wide++) {
        int seen[4] = {0};
        ct_rng rng = ct_rng_create(6, 0);
        CT_SCOPE {
            ct_tensor *logits = ct_tensor_cast(
                numbers(CT_SHAPE(4), (double[]){log(p[0]), -INFINITY, log(p[2]), log(p[3])}),
                wide ? CT_F64 : CT_F32);
            ct_tensor *rows = ct_expand(ct_unsqueeze(logits, 0), CT_SHAPE(N, 4));
            ct_tensor *index = ct_categorical_sample(rows, &rng, "action");
            assert_no_error();
            ck_assert(ct_shape_equal(index->shape, CT_SHAPE(N)) && index->dtype == CT_I64);
            const int64_t *drawn = ct_data(index);
            for (int i = 0; i < N; i++) seen[drawn[i]]++;
        }
        ck_assert_int_eq(seen[1], 0);
        for (int k = 0; k < 4; k++) {
            double deviation = sqrt(N * p[k] * (1 - p[k]));
            ck_assert_msg(fabs(seen[k] - N * p[k]) <= 4 * deviation, "%d of %g", seen[k], N * p[k]);
        }
    }
    CT_SCOPE {
        ct_rng rng = ct_rng_create(6, 0);
        ck_assert_ptr_null(ct_categorical_sample(ct_scalar(CT_F32, CT_CPU, 1), &rng, "action"));
        assert_error("logits are f32 (), expected (...,K)");
    }
}
END_TEST

/* Replays one number for every draw. */
static bool constant_noise(void *context, const char *name, ct_tensor *out) {
    ck_assert_str_eq(name, "v");
    return ct_tensor_fill(out, *(double *)context);
}

START_TEST(categorical_at_the_ends) {
    double v = 0;
    ct_rng rng = ct_rng_create(0, 0);
    rng.replay = constant_noise;
    rng.replay_context = &v;
    CT_SCOPE {
        ct_tensor *logits = numbers(CT_SHAPE(4), (double[]){-INFINITY, 0.3, 0.7, -INFINITY});
        ck_assert(ct_item(ct_categorical_sample(logits, &rng, "v")) == 1);
        for (int i = 0; i < 2; i++) {
            v = i ? 1 - 0x1p-53 : 1; /* 1 is never drawn, but may be replayed after rounding */
            ck_assert(ct_item(ct_categorical_sample(logits, &rng, "v")) == 2);
        }
    }
}
END_TEST

START_TEST(categorical_entropy_and_log_prob) {
    ct_set_anomaly_mode(false); /* a logit is infinite */
    CT_SCOPE {
        const double p[] = {0.1, 0.6, 0.3};
        ct_tensor *logits =
            numbers(CT_SHAPE(2, 3), (double[]){log(p[0]), log(p[1]), log(p[2]), 5, -INFINITY, 5});
        double entropy = -(p[0] * log(p[0]) + p[1] * log(p[1]) + p[2] * log(p[2]));
        ct_require_grad(logits);
        ct_tensor *h = ct_categorical_entropy(logits);
        assert_close(h, numbers(CT_SHAPE(2), (double[]){entropy, log(2)}), 1e-14, 0, "entropy");
        ct_backward(ct_sum_all(h));
        ck_assert(!ct_tensor_has_nonfinite(ct_grad(logits)));
        ct_tensor *value = labels_of(CT_SHAPE(2), (int64_t[]){2, 0});
        assert_close(ct_categorical_log_prob(logits, value),
                     numbers(CT_SHAPE(2), (double[]){log(0.3), log(0.5)}), 1e-14, 0, "log_prob");
    }
}
END_TEST

START_TEST(gumbel_softmax_straight_through) {
    ct_rng soft_rng = ct_rng_create(8, 2), hard_rng = ct_rng_create(8, 2);
    CT_SCOPE {
        const double values[] = {0.2, 1, -0.5, 0.3, 0.3, 2};
        ct_tensor *a = ct_require_grad(numbers(CT_SHAPE(2, 3), values));
        ct_tensor *b = ct_require_grad(numbers(CT_SHAPE(2, 3), values));
        ct_tensor *weights = numbers(CT_SHAPE(2, 3), (double[]){1, -2, 3, 0.5, 0.1, 4});
        ct_tensor *soft = ct_gumbel_softmax(a, 0.8, false, &soft_rng, "g");
        ct_tensor *hard = ct_gumbel_softmax(b, 0.8, true, &hard_rng, "g");
        assert_no_error();
        for (int i = 0; i < 2; i++) {
            int best = 0;
            for (int k = 1; k < 3; k++) {
                if (ct_get(soft, i * 3 + k) > ct_get(soft, i * 3 + best)) best = k;
            }
            for (int k = 0; k < 3; k++) ck_assert(ct_get(hard, i * 3 + k) == (k == best));
        }
        ct_backward(ct_sum_all(ct_mul(soft, weights)));
        ct_backward(ct_sum_all(ct_mul(hard, weights)));
        assert_close(ct_grad(b), ct_grad(a), 1e-14, 0, "gradient");
        ck_assert_ptr_null(ct_gumbel_softmax(a, 0, true, &hard_rng, "g"));
        assert_error("temperature 0");
    }
}
END_TEST

START_TEST(normal_moments) {
    enum { N = 20000 };
    CT_SCOPE {
        ct_rng rng = ct_rng_create(9, 0);
        ct_tensor *mean = ct_require_grad(numbers(CT_SHAPE(2), (double[]){1, -3}));
        ct_tensor *std = numbers(CT_SHAPE(2), (double[]){0.5, 2});
        ct_tensor *rows = ct_expand(mean, CT_SHAPE(N, 2));
        ct_tensor *x = ct_normal_sample(rows, std, &rng, "z");
        assert_no_error();
        ck_assert(!ct_requires_grad(x));
        for (int c = 0; c < 2; c++) {
            double sum = 0, squares = 0, m = ct_get(mean, c), s = ct_get(std, c);
            for (int i = 0; i < N; i++) {
                double value = ct_get(x, i * 2 + c);
                sum += value;
                squares += (value - m) * (value - m);
            }
            ck_assert(fabs(sum / N - m) < 4 * s / sqrt(N));
            ck_assert(fabs(squares / N - s * s) < 4 * s * s * sqrt(2.0 / N));
        }
        rng.offset = 0;
        ct_tensor *y = ct_normal_rsample(rows, std, &rng, "z");
        assert_close(y, x, 0, 0, "the same draw");
        ck_assert(ct_requires_grad(y));
        ct_tensor *entropy = ct_normal_entropy(std);
        ck_assert(fabs(ct_get(entropy, 1) - (0.5 * log(2 * M_PI * M_E) + log(2))) < 1e-14);
    }
}
END_TEST

/* ---- initialisers ----------------------------------------------------------------------- */

typedef struct {
    double mean, std, largest;
} moments;

static moments measure(const ct_tensor *x) {
    moments m = {0};
    double count = (double)ct_count(x);
    for (int64_t i = 0; i < ct_count(x); i++) {
        m.mean += ct_get(x, i) / count;
        m.std += ct_get(x, i) * ct_get(x, i) / count;
        m.largest = fmax(m.largest, fabs(ct_get(x, i)));
    }
    m.std = sqrt(m.std - m.mean * m.mean);
    return m;
}

static void check_uniform(const ct_tensor *x, double bound) {
    moments m = measure(x);
    ck_assert_msg(m.largest <= bound * 1.0000001 && m.largest > 0.98 * bound, "largest %g of %g",
                  m.largest, bound);
    ck_assert(fabs(m.std - bound / sqrt(3)) < 0.02 * bound);
}

static void check_normal(const ct_tensor *x, double std) {
    moments m = measure(x);
    ck_assert_msg(fabs(m.std - std) < 0.03 * std, "std %g, expected %g", m.std, std);
    ck_assert(fabs(m.mean) < 0.05 * std && m.largest > 2.5 * std);
}

START_TEST(initialisers) {
    for (int wide = 0; wide < 2; wide++) {
        CT_SCOPE {
            ct_rng rng = ct_rng_create(10, 0);
            /* fan_in 25 * 4, fan_out 100 * 4 */
            ct_tensor *x = ct_empty(wide ? CT_F64 : CT_F32, CT_CPU, CT_SHAPE(100, 25, 4));
            ck_assert(ct_init_xavier_uniform(x, 2, &rng));
            check_uniform(x, 2 * sqrt(6.0 / 500));
            ck_assert(ct_init_xavier_normal(x, 1, &rng));
            check_normal(x, sqrt(2.0 / 500));
            ck_assert(ct_init_kaiming_uniform(x, sqrt(5), &rng));
            check_uniform(x, 0.1);
            ck_assert(ct_init_kaiming_normal(x, 0, &rng));
            check_normal(x, sqrt(2.0 / 100));
            ck_assert(ct_init_uniform(x, 2, 3, &rng));
            moments m = measure(x);
            ck_assert(fabs(m.mean - 2.5) < 0.02 && fabs(m.std - sqrt(1.0 / 12)) < 0.01);
            ck_assert(ct_init_constant(x, 1.5));
            ck_assert(ct_get(x, 9999) == 1.5);
            ck_assert(!ct_init_xavier_uniform(ct_reshape(x, CT_SHAPE(-1)), 1, &rng));
            assert_error("expected a weight (out,in,...)");
            ck_assert(!ct_init_uniform(x, 3, 2, &rng));
            assert_error("range 3 to 2");
            ck_assert(!ct_init_normal(x, 0, -1, &rng));
            assert_error("standard deviation -1");
            ck_assert(!ct_init_uniform(x, 0, INFINITY, &rng));
            assert_error("range 0 to inf");
            ck_assert(!ct_init_normal(x, NAN, 1, &rng));
            assert_error("mean nan");
            ck_assert(!ct_init_xavier_normal(x, NAN, &rng));
            assert_error("init_");
            ck_assert(!ct_init_kaiming_uniform(x, NAN, &rng));
            assert_error("init_");
        }
    }
}
END_TEST

/* ---- schedules -------------------------------------------------------------------------- */

START_TEST(schedules) {
    ck_assert(ct_schedule_step(0.2, 0, 15, 0.5) == 0.2);
    ck_assert(ct_schedule_step(0.2, 14, 15, 0.5) == 0.2);
    ck_assert(ct_schedule_step(0.2, 15, 15, 0.5) == 0.1);
    ck_assert(ct_schedule_step(0.2, 31, 15, 0.5) == 0.05);
    ck_assert(ct_schedule_step(0.2, 31, 0, 0.5) == 0.2);
    ck_assert(fabs(ct_schedule_cosine(1, 0, 10, 0.2) - 1) < 1e-15);
    ck_assert(fabs(ct_schedule_cosine(1, 5, 10, 0.2) - 0.6) < 1e-15);
    ck_assert(ct_schedule_cosine(1, 10, 10, 0.2) == 0.2);
    ck_assert(ct_schedule_cosine(1, 99, 10, 0.2) == 0.2);
    ck_assert(ct_schedule_cosine(1, 0, 0, 0.2) == 0.2);
    ck_assert(ct_schedule_warmup(1, 0, 4) == 0.25);
    ck_assert(ct_schedule_warmup(1, 3, 4) == 1);
    ck_assert(ct_schedule_warmup(1, 4, 4) == 1);
    ck_assert(ct_schedule_warmup(1, 0, 0) == 1);
}
END_TEST

static void no_rate(double rate, const char *message) {
    ck_assert(rate == 0);
    assert_error(message);
}

START_TEST(schedules_refuse) {
    static const double wrong[] = {NAN, INFINITY, -1};
    for (int i = 0; i < 3; i++) {
        double x = wrong[i];
        no_rate(ct_schedule_step(x, 1, 2, 0.5), "schedule_step: lr is ");
        no_rate(ct_schedule_step(1, 1, 2, x), "schedule_step: factor is ");
        no_rate(ct_schedule_cosine(x, 1, 2, 0), "schedule_cosine: lr is ");
        no_rate(ct_schedule_cosine(1, 1, 2, x), "schedule_cosine: floor is ");
        no_rate(ct_schedule_warmup(x, 1, 2), "schedule_warmup: lr is ");
    }
    no_rate(ct_schedule_step(1, -1, 2, 0.5), "schedule_step: step is -1, expected 0 or more");
    no_rate(ct_schedule_step(1, 1, -2, 0.5), "schedule_step: every is -2");
    no_rate(ct_schedule_cosine(1, -1, 2, 0), "schedule_cosine: step is -1");
    no_rate(ct_schedule_cosine(1, 1, -2, 0), "schedule_cosine: steps is -2");
    no_rate(ct_schedule_warmup(1, -1, 2), "schedule_warmup: step is -1");
    no_rate(ct_schedule_warmup(1, 1, -2), "schedule_warmup: warmup is -2");
}
END_TEST

TEST_MAIN("nn loss", cross_entropy_is_its_formula, cross_entropy_refusals, bce_is_stable,
          mse_reductions, categorical_draws_its_probabilities, categorical_at_the_ends,
          categorical_entropy_and_log_prob, gumbel_softmax_straight_through, normal_moments,
          initialisers, schedules, schedules_refuse)
