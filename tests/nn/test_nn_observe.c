/* SPDX-License-Identifier: Apache-2.0 */
/* Observers of what modules compute, and where a module is. */
#include "nn/observe.h"
#include "tests/test.h"

typedef struct {
    const ct_module *module;
    int times;
    ct_tensor *weights; /* of the last time, kept */
} sight;

static void see(void *context, const ct_module *module, const char *what, ct_tensor *value) {
    sight *s = context;
    ck_assert_str_eq(what, "weights");
    s->module = module;
    s->times++;
    ct_release(s->weights);
    s->weights = ct_keep(ct_tensor_copy(value));
}

enum { B = 2, T = 5, E = 6, HEADS = 3 };

/* softmax(q k^T / sqrt(width)) of one head, from the module's own parameters. */
static void naive_weights(ct_module *m, const ct_tensor *x, int64_t b, int head, double *out) {
    ct_tensor *weight = ct_module_tensor(m, "in_proj_weight"),
              *bias = ct_module_tensor(m, "in_proj_bias");
    enum { WIDTH = E / HEADS };
    double projected[2][T][WIDTH];
    for (int part = 0; part < 2; part++) {
        for (int t = 0; t < T; t++) {
            for (int k = 0; k < WIDTH; k++) {
                int64_t row = part * E + head * WIDTH + k;
                double sum = ct_get(bias, row);
                for (int i = 0; i < E; i++)
                    sum += ct_get(weight, row * E + i) * ct_get(x, (b * T + t) * E + i);
                projected[part][t][k] = sum;
            }
        }
    }
    for (int q = 0; q < T; q++) {
        double total = 0;
        for (int k = 0; k < T; k++) {
            double score = 0;
            for (int i = 0; i < WIDTH; i++) score += projected[0][q][i] * projected[1][k][i];
            total += out[q * T + k] = exp(score / sqrt((double)WIDTH));
        }
        for (int k = 0; k < T; k++) out[q * T + k] /= total;
    }
}

START_TEST(attention_shows_its_weights) {
    ct_seed(3);
    ct_module *m = ct_attention_create(E, &(ct_attention_options){.heads = HEADS, .dropout = 0.5});
    ck_assert(ct_module_to_dtype(m, CT_F64));
    sight s = {0};
    CT_SCOPE {
        ct_rng rng = ct_rng_create(5, 0);
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(B, T, E));
        ct_attention(m, x, x, x, NULL);
        ck_assert_int_eq(s.times, 0); /* nobody looks */
        ct_set_observer(see, &s);
        ct_attention(m, x, x, x, NULL); /* in training: before dropout */
        ct_set_observer(NULL, NULL);
        ct_attention(m, x, x, x, NULL);
        assert_no_error();
        ck_assert_int_eq(s.times, 1);
        ck_assert_ptr_eq(s.module, m);
        ck_assert_int_eq(ct_count(s.weights), B * HEADS * T * T);
        for (int64_t b = 0; b < B; b++) {
            for (int head = 0; head < HEADS; head++) {
                double expected[T * T];
                naive_weights(m, x, b, head, expected);
                for (int i = 0; i < T * T; i++)
                    ck_assert_double_eq_tol(ct_get(s.weights, (b * HEADS + head) * T * T + i),
                                            expected[i], 1e-13);
            }
        }
    }
    ct_release(s.weights);
    ct_module_destroy(m);
}
END_TEST

/* A module of one's own is seen as those of the library are. */
START_TEST(own_modules_are_seen) {
    ct_module *m = ct_module_create("mine");
    sight s = {0};
    CT_SCOPE {
        ct_tensor *x = ct_scalar(CT_F64, CT_CPU, 2);
        ct_set_observer(see, &s);
        ct_observed(m, "weights", x);
        ct_observed(NULL, "weights", x);
        ct_observed(m, NULL, x);
        ct_observed(m, "weights", NULL);
        ct_set_observer(NULL, NULL);
        ck_assert_int_eq(s.times, 1);
        ck_assert_double_eq(ct_item(s.weights), 2);
    }
    assert_no_error();
    ct_release(s.weights);
    ct_module_destroy(m);
}
END_TEST

START_TEST(a_module_has_a_path) {
    char text[16];
    ct_module *net = ct_module_create("net"), *other = ct_module_create("other");
    ct_module *list = ct_module_add(net, "rnn", ct_module_create("list"));
    ct_module *gru = ct_module_add(list, "0", ct_gru_create(2, 2, NULL));
    ck_assert(ct_module_path(net, gru, text, sizeof text));
    ck_assert_str_eq(text, "rnn.0");
    ck_assert(ct_module_path(list, gru, text, sizeof text));
    ck_assert_str_eq(text, "0");
    ck_assert(ct_module_path(net, net, text, sizeof text));
    ck_assert_str_eq(text, "");
    ck_assert(ct_module_path(net, gru, text, 6));
    assert_no_error();
    ck_assert(!ct_module_path(net, gru, text, 5));
    ck_assert_ptr_nonnull(strstr(ct_error(), "5 bytes"));
    ct_error_clear();
    ck_assert(!ct_module_path(other, gru, text, sizeof text));
    ck_assert_ptr_nonnull(strstr(ct_error(), "not below"));
    ct_error_clear();
    ck_assert(!ct_module_path(gru, net, text, sizeof text));
    ct_error_clear();
    ct_module_destroy(net);
    ct_module_destroy(other);
}
END_TEST

TEST_MAIN("nn observe", attention_shows_its_weights, own_modules_are_seen, a_module_has_a_path)
