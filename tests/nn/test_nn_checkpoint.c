/* SPDX-License-Identifier: Apache-2.0 */
/* Modules inside ct_checkpoint: a training step is the same as without, whatever a module keeps or
 * draws in its forward pass. */
#include "nn/nn.h"
#include "tests/test.h"

static ct_tensor *run_module(void *module, ct_tensor *const *inputs, int count) {
    (void)count;
    return ct_forward(module, inputs[0]);
}

/* Draws from the default generator, twice. */
static ct_module *make_net(void) {
    ct_seed(11);
    ct_module *net = ct_sequential_create();
    ct_module_add(net, "in", ct_linear_create(4, 5, true));
    ct_module_add(net, "norm", ct_batch_norm_create(5, NULL));
    ct_module_add(net, "drop", ct_dropout_create(0.4));
    ct_module_add(net, "out", ct_linear_create(5, 6, true));
    ct_module_add(net, "drop_again", ct_dropout_create(0.3));
    ct_module_to_dtype(net, CT_F64);
    return net;
}

typedef struct {
    ct_module *net;
    ct_tensor *y, *x;
    double next; /* what the default generator draws afterwards */
} step;

typedef enum { PLAIN, CHECKPOINTED, NESTED } how_run;

static ct_tensor *run_nested(void *module, ct_tensor *const *inputs, int count) {
    return ct_checkpoint(run_module, module, inputs, count);
}

/* Two batches through one net before backward: the second's draws come after the first's. */
static step train(how_run how) {
    step s = {.net = make_net()};
    ct_rng rng = ct_rng_create(1, 2);
    s.x = ct_require_grad(ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(6, 4)));
    ct_tensor *y[2];
    for (int i = 0; i < 2; i++) {
        ct_tensor *x = ct_scale(s.x, i + 1);
        y[i] = how == PLAIN ? ct_forward(s.net, x)
                            : ct_checkpoint(how == NESTED ? run_nested : run_module, s.net, &x, 1);
    }
    s.y = ct_add(y[0], y[1]);
    ck_assert_msg(ct_backward(ct_sum_all(ct_square(s.y))), "%s", ct_error());
    s.next = ct_random_double(ct_default_rng());
    return s;
}

static void expect_same(const step *a, const step *b) {
    static const char *const names[] = {"norm.running_mean", "norm.running_var",
                                        "norm.num_batches_tracked"};
    static const char *const parameters[] = {"in.weight", "norm.weight", "norm.bias", "out.bias"};
    assert_close(a->y, b->y, 0, 0, "values");
    assert_close(ct_grad(a->x), ct_grad(b->x), 1e-15, 0, "gradient of the input");
    for (int i = 0; i < 4; i++) {
        assert_close(ct_grad(ct_module_tensor(a->net, parameters[i])),
                     ct_grad(ct_module_tensor(b->net, parameters[i])), 1e-14, 1e-14, parameters[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_close(ct_module_tensor(a->net, names[i]), ct_module_tensor(b->net, names[i]), 0, 0,
                     names[i]);
    }
    ck_assert(a->next == b->next);
}

START_TEST(a_checkpointed_step_is_the_plain_one) {
    CT_SCOPE {
        step plain = train(PLAIN), checkpointed = train((how_run)(_i + 1));
        ck_assert_double_eq(ct_item(ct_module_tensor(plain.net, "norm.num_batches_tracked")), 2);
        expect_same(&checkpointed, &plain);
        ct_module_destroy(plain.net);
        ct_module_destroy(checkpointed.net);
    }
    assert_no_error();
}
END_TEST

/* From two streams of one seed, the second where the first one's draws end. */
static ct_tensor *drop_twice(void *context, ct_tensor *const *inputs, int count) {
    ct_rng *rng = context;
    (void)count;
    ct_tensor *once = ct_dropout_with(inputs[0], 0.5, &rng[0], "first");
    return ct_dropout_with(once, 0.5, &rng[1], "second");
}

START_TEST(draws_of_two_streams_come_again) {
    (void)_i;
    CT_SCOPE {
        ct_rng rng[2] = {ct_rng_create(5, 0), ct_rng_create(5, 1)}, ahead = rng[0];
        ct_tensor *x = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(64), 3));
        ct_dropout_with(x, 0.5, &ahead, "first");
        rng[1].offset = ahead.offset;
        ct_tensor *y = ct_checkpoint(drop_twice, rng, &x, 1);
        ck_assert_msg(ct_backward(ct_sum_all(y)), "%s", ct_error());
        assert_close(ct_grad(x), ct_tensor_scale(y, 1.0 / 3), 1e-15, 0, "mask");
    }
}
END_TEST

typedef struct {
    ct_rng *rng;
    int runs;
} failing;

static ct_tensor *fail_again(void *context, ct_tensor *const *inputs, int count) {
    failing *f = context;
    ct_tensor *y = ct_dropout_with(inputs[0], 0.5, f->rng, "drop");
    (void)count;
    return f->runs++ ? NULL : y;
}

/* What is drawn behind a checkpoint whose second run failed is new. */
START_TEST(draws_go_on_after_a_failure) {
    (void)_i;
    CT_SCOPE {
        ct_rng rng = ct_rng_create(5, 0), plain = rng;
        ct_tensor *x = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(8), 3));
        failing f = {.rng = &rng};
        ck_assert(!ct_backward(ct_sum_all(ct_checkpoint(fail_again, &f, &x, 1))));
        ck_assert_int_eq(f.runs, 2);
        ct_error_clear();
        ct_dropout_with(x, 0.5, &plain, "drop");
        assert_close(ct_random_uniform(&rng, "u", CT_F64, CT_CPU, CT_SHAPE(8)),
                     ct_random_uniform(&plain, "u", CT_F64, CT_CPU, CT_SHAPE(8)), 0, 0, "next");
        ck_assert(rng.offset == plain.offset);
    }
}
END_TEST

LOOPED_TEST_MAIN("nn checkpoint", {a_checkpointed_step_is_the_plain_one, NESTED},
                 {draws_of_two_streams_come_again, 1}, {draws_go_on_after_a_failure, 1})
