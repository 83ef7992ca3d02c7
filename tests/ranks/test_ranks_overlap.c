/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients that are added up over ranks while backward computes others. */
#include "tests/ranks/ranks_test.h"

#include "nn/nn.h"
#include "tensor/ranks/begun.h"

/* ---- a network whose parameters come in all ways ----------------------------------------- */

enum { WIDTH = 5, ROWS = 3, SMALL_BUCKET = 96, STEPS = 5 };

typedef struct {
    ct_module *net;
    ct_optimizer *optimizer;
} training;

static training training_of(ct_dtype dtype) {
    static const char *const names[] = {"first", "twice", "again", "seldom", "never"};
    ct_seed(4);
    training t = {ct_module_create("net"), NULL};
    for (int i = 0; i < 5; i++) {
        ct_module_add(t.net, names[i], ct_linear_create(WIDTH, WIDTH, true));
    }
    ck_assert(ct_module_to_dtype(t.net, dtype));
    t.optimizer = ct_adam_create(t.net, NULL);
    ct_optimizer_clip_norm(t.optimizer, 0.5);
    assert_no_error();
    return t;
}

static void training_end(training *t) {
    ct_optimizer_destroy(t->optimizer);
    ct_module_destroy(t->net);
}

static ct_tensor *run_again(void *context, ct_tensor *const *inputs, int count) {
    (void)count;
    return ct_tanh(ct_linear(ct_module_child(context, "again"), inputs[0]));
}

static ct_tensor *loss_of(training *t, int step) {
    ct_dtype dtype = ct_module_tensor(t->net, "first.weight")->dtype;
    ct_rng rng = ct_rng_create(9, (uint64_t)(step * ct_ranks() + ct_rank()));
    ct_tensor *x = ct_random_normal(&rng, "x", dtype, CT_CPU, CT_SHAPE(ROWS, WIDTH));
    ct_tensor *h = ct_tanh(ct_linear(ct_module_child(t->net, "first"), x));
    ct_module *twice = ct_module_child(t->net, "twice");
    h = ct_tanh(ct_linear(twice, h));
    h = ct_checkpoint(run_again, t->net, &h, 1);
    h = ct_linear(twice, h);
    if (step % 3 == 2) h = ct_linear(ct_module_child(t->net, "seldom"), ct_tanh(h));
    return ct_mean_all(ct_square(h));
}

typedef struct {
    training *other;
    bool gradients;
    int compared;
} comparison;

static bool same_tensor(void *context, const char *name, ct_tensor *x, bool buffer) {
    comparison *c = context;
    ct_tensor *y = ct_module_tensor(c->other->net, name);
    (void)buffer;
    if (c->gradients) {
        ck_assert_msg(!ct_grad(x) == !ct_grad(y), "%s", name);
        if (!ct_grad(x)) return true;
        x = ct_grad(x), y = ct_grad(y);
    }
    assert_close(x, y, 0, 0, name);
    c->compared++;
    return true;
}

static int same_on_both(training *a, training *b, bool gradients) {
    comparison c = {b, gradients, 0};
    ck_assert(ct_module_visit(a->net, same_tensor, &c));
    return c.compared;
}

static bool same_as_rank_0(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)context;
    (void)buffer;
    CT_SCOPE {
        ct_tensor *theirs = ct_tensor_copy(x);
        ck_assert(ct_tensor_broadcast(theirs, 0));
        assert_close(x, theirs, 0, 0, name);
    }
    return true;
}

/* ---- the same bits ----------------------------------------------------------------------- */

static void backward_apart(training *t, int step) {
    ck_assert(ct_backward(loss_of(t, step)));
    ck_assert(ct_optimizer_all_reduce(t->optimizer));
}

/* Returns whether some sum was on its way when backward ended. */
static bool backward_together(training *t, int step) {
    ck_assert(ct_optimizer_all_reduce_begin(t->optimizer));
    ck_assert(ct_backward(loss_of(t, step)));
    bool begun = ct_sums_are_begun();
    ck_assert(ct_optimizer_all_reduce(t->optimizer));
    ck_assert(!ct_sums_are_begun());
    return begun;
}

/* Parameters used twice, run again in backward, used seldom, never: bit for bit what a sum after
 * backward gives, whatever the buckets, on all ranks. */
START_TEST(buckets_in_backward_give_the_bits_of_one_sum) {
    static const struct {
        ct_dtype dtype;
        int64_t bucket;
    } cases[] = {{CT_F64, SMALL_BUCKET}, {CT_F32, SMALL_BUCKET}, {CT_F64, 1}, {CT_F64, 1 << 20}};
    training apart = training_of(cases[_i].dtype), together = training_of(cases[_i].dtype);
    ck_assert(ct_optimizer_bucket(together.optimizer, cases[_i].bucket));
    int begun = 0;
    for (int step = 0; step < STEPS; step++) {
        CT_SCOPE {
            backward_apart(&apart, step);
            begun += backward_together(&together, step);
            ck_assert_int_eq(same_on_both(&together, &apart, true), step % 3 == 2 ? 8 : 6);
            ck_assert(ct_optimizer_step(apart.optimizer) && ct_optimizer_step(together.optimizer));
            ck_assert_int_eq(same_on_both(&together, &apart, false), 10);
            ck_assert(ct_module_visit(together.net, same_as_rank_0, NULL));
        }
    }
    /* each but the first, where the order is not known, and the one after `seldom` was used, which
     * is awaited again */
    if (ct_ranks() > 1) ck_assert_int_eq(begun, STEPS - 2);
    training_end(&apart);
    training_end(&together);
}
END_TEST

/* Several backwards before a step: only the last one hands gradients over. */
START_TEST(gradients_of_several_batches_are_added_up_once) {
    training apart = training_of(CT_F64), together = training_of(CT_F64);
    ck_assert(ct_optimizer_bucket(together.optimizer, SMALL_BUCKET));
    for (int step = 0; step < STEPS; step++) {
        CT_SCOPE {
            ck_assert(ct_backward(loss_of(&apart, 100 + step)));
            ck_assert(ct_backward(loss_of(&together, 100 + step)));
            backward_apart(&apart, step);
            backward_together(&together, step);
            same_on_both(&together, &apart, true);
            ck_assert(ct_optimizer_step(apart.optimizer) && ct_optimizer_step(together.optimizer));
        }
    }
    training_end(&apart);
    training_end(&together);
}
END_TEST

/* A gradient that was looked at and kept stays what it was. */
START_TEST(kept_gradients_stay) {
    training t = training_of(CT_F64);
    ct_tensor *weight = ct_module_tensor(t.net, "first.weight"), *kept = NULL, *copy = NULL;
    CT_SCOPE {
        for (int step = 0; step < 3; step++) {
            backward_together(&t, step);
            if (step == 1) kept = ct_keep(ct_grad(weight)), copy = ct_tensor_copy(kept);
            ck_assert(ct_optimizer_step(t.optimizer));
        }
        assert_close(kept, copy, 0, 0, "kept");
    }
    ct_release(kept);
    training_end(&t);
}
END_TEST

/* On one rank alone: the others get its gradient, with and without buckets. */
START_TEST(a_gradient_of_some_ranks_is_the_sum_of_theirs) {
    training t = training_of(CT_F64);
    ct_tensor *never = ct_module_tensor(t.net, "never.bias");
    for (int step = 0; step < 4; step++) {
        CT_SCOPE {
            if (ct_rank() == ct_ranks() - 1)
                ck_assert(ct_set_grad(never, ct_full(CT_F64, CT_CPU, CT_SHAPE(WIDTH), step + 1)));
            if (step % 2) backward_together(&t, step);
            else backward_apart(&t, step);
            ck_assert_ptr_nonnull(ct_grad(never));
            for (int64_t i = 0; i < WIDTH; i++) ck_assert(ct_get(ct_grad(never), i) == step + 1);
            ck_assert_ptr_null(ct_grad(ct_module_tensor(t.net, "never.weight")));
            ck_assert(ct_optimizer_step(t.optimizer));
            ck_assert(ct_module_visit(t.net, same_as_rank_0, NULL));
        }
    }
    training_end(&t);
}
END_TEST

/* ---- what is refused --------------------------------------------------------------------- */

START_TEST(a_gradient_on_its_way_is_not_added_to) {
    if (ct_ranks() == 1) return;
    training t = training_of(CT_F64);
    CT_SCOPE {
        ck_assert(ct_optimizer_all_reduce_begin(t.optimizer));
        ck_assert(!ct_optimizer_all_reduce_begin(t.optimizer));
        assert_error("the last one was not finished by ct_optimizer_all_reduce");
        ck_assert(ct_backward(loss_of(&t, 0)));
        ck_assert(!ct_backward(loss_of(&t, 0)));
        assert_error("a second backward added to the gradient of 'again.");
        ck_assert(!ct_optimizer_wire(t.optimizer, CT_U8));
        assert_error("gradients travel as f64, f32 or bf16, not as u8");
        ck_assert(!ct_optimizer_bucket(t.optimizer, 0));
        assert_error("optimizer_bucket: bytes is 0");
    }
    training_end(&t);
}
END_TEST

/* ---- shorter numbers on the wire --------------------------------------------------------- */

/* Element i of rank r. */
static double value(int64_t r, int64_t i) { return sin(1.0 + (double)(31 * r + i)); }

/* bf16 has 8 bits, so that rounding to it moves a number by 2^-8 of its size at most: each share,
 * then the sum, together by 2^-7 of the shares' sizes. f32 has 24: 2^-23. What the sums themselves
 * are rounded by, of f64 to f32, comes on top. */
static void check_wire(ct_dtype dtype, ct_dtype wire, double bound, int64_t size) {
    const int64_t count = 240 * 12; /* a multiple of all numbers of ranks */
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F64, CT_CPU, CT_SHAPE(count));
        for (int64_t i = 0; i < count; i++) ct_set(x, i, value(ct_rank(), i));
        x = ct_tensor_cast(x, dtype);
        int64_t sent = ct_ranks_sent();
        uint64_t writes = ct_write_count(x);
        ck_assert(ct_sum_end(ct_sum_begin(x, wire)));
        ck_assert((ct_write_count(x) > writes) == (ct_ranks() > 1));
        /* the least there can be: two halves of (N-1)/N */
        ck_assert_int_eq(ct_ranks_sent() - sent,
                         2 * (ct_ranks() - 1) * (count / ct_ranks()) * size);
        double worst = 0;
        for (int64_t i = 0; i < count; i++) {
            double sum = 0, sizes = 0;
            for (int r = 0; r < ct_ranks(); r++) sum += value(r, i), sizes += fabs(value(r, i));
            worst = fmax(worst, fabs(ct_get(x, i) - sum) / sizes);
        }
        ck_assert_double_le(worst, bound);
        if (ct_ranks() > 1) ck_assert_double_gt(worst, bound / 100); /* it was rounded */
        same_as_rank_0(NULL, "sum", x, false);
    }
}

START_TEST(sums_travel_as_shorter_numbers) {
    check_wire(CT_F32, CT_BF16, 1.0 / 128 + 1e-7, 2);
    check_wire(CT_F64, CT_BF16, 1.0 / 128 + 1e-7, 2);
    check_wire(CT_F64, CT_F32, 1.0 / (1 << 23) + 1e-14, 4);
    check_wire(CT_F32, CT_F64, 1.0 / (1 << 23) + 1e-14, 4);
}
END_TEST

/* A network trained with bf16 on the wire comes to the same loss, nearly; all ranks to one. */
START_TEST(training_takes_shorter_numbers) {
    training exact = training_of(CT_F32), rounded = training_of(CT_F32);
    ck_assert(ct_optimizer_wire(rounded.optimizer, CT_BF16));
    double loss[2] = {0};
    for (int step = 0; step < 20; step++) {
        CT_SCOPE {
            backward_together(&exact, 3 * step);
            backward_together(&rounded, 3 * step);
            ck_assert(ct_optimizer_step(exact.optimizer) && ct_optimizer_step(rounded.optimizer));
            ck_assert(ct_module_visit(rounded.net, same_as_rank_0, NULL));
            loss[0] = ct_item(loss_of(&exact, 0));
            loss[1] = ct_item(loss_of(&rounded, 0));
        }
    }
    ck_assert_double_le(fabs(loss[1] - loss[0]), 0.02 * loss[0]);
    training_end(&exact);
    training_end(&rounded);
}
END_TEST

RANKS_MAIN("ranks overlap", {buckets_in_backward_give_the_bits_of_one_sum, 4},
           {gradients_of_several_batches_are_added_up_once, 1}, {kept_gradients_stay, 1},
           {a_gradient_of_some_ranks_is_the_sum_of_theirs, 1}, {sums_travel_as_shorter_numbers, 1},
           {training_takes_shorter_numbers, 1}, {a_gradient_on_its_way_is_not_added_to, 1})
