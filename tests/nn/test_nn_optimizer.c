/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers: what they touch, clipping, state, refusals. Their arithmetic: test_nn_golden. */
#include "nn/nn.h"
#include "tests/test.h"

static ct_module *two_layers(void) {
    ct_module *net = ct_module_create("net");
    ct_module_add(net, "a", ct_linear_create(2, 2, true));
    ct_module_add(net, "b", ct_linear_create(2, 1, true));
    ct_module_to_dtype(net, CT_F64);
    assert_no_error();
    return net;
}

static void set_grad(ct_module *net, const char *name, double value) {
    CT_SCOPE {
        ct_tensor *x = ct_module_tensor(net, name);
        ck_assert(ct_set_grad(x, ct_full(x->dtype, CT_CPU, x->shape, value)));
    }
}

static double value(ct_module *net, const char *name) {
    return ct_get(ct_module_tensor(net, name), 0);
}

static ct_optimizer *adam_at(ct_module *net, double lr) {
    ct_adam_options options = ct_adam_defaults();
    options.lr = lr;
    return ct_adam_create(net, &options);
}

static ct_optimizer *adamw_at(ct_module *net, double lr) {
    ct_adamw_options options = ct_adamw_defaults();
    options.lr = lr;
    return ct_adamw_create(net, &options);
}

START_TEST(skips_what_has_no_gradient) {
    ct_module *net = two_layers();
    ct_optimizer *adam = adamw_at(net, 0.1);
    double a = value(net, "a.weight"), b = value(net, "b.weight");
    set_grad(net, "a.weight", 1);
    ck_assert(ct_optimizer_step(adam));
    /* Bias-corrected, the first step is lr times the gradient's sign, after decay. */
    ck_assert(fabs(value(net, "a.weight") - (a - 0.1 * 0.01 * a - 0.1)) < 1e-7);
    ck_assert(value(net, "b.weight") == b);
    ck_assert_ptr_null(ct_grad(ct_module_tensor(net, "a.weight")));
    ck_assert(ct_optimizer_grad_norm(adam) == 2);
    /* b's first step comes second: bias correction counts each parameter's own steps. */
    set_grad(net, "b.weight", -3);
    ck_assert(ct_optimizer_step(adam));
    ck_assert(fabs(value(net, "b.weight") - (b - 0.1 * 0.01 * b + 0.1)) < 1e-7);
    ck_assert(ct_optimizer_step(adam)); /* no gradient at all */
    ck_assert(ct_optimizer_grad_norm(adam) == 0);
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
}
END_TEST

START_TEST(leaves_a_group_as_it_is) {
    ct_module *net = two_layers();
    ct_optimizer *sgd = ct_sgd_create(net, &(ct_sgd_options){.lr = 1});
    ck_assert(ct_optimizer_group_updates(sgd, "b.*", 0));
    double a = value(net, "a.bias"), b = value(net, "b.bias");
    set_grad(net, "a.bias", 3);
    set_grad(net, "b.bias", 400);
    ct_optimizer_clip_norm(sgd, 100);
    ck_assert(ct_optimizer_step(sgd));
    ck_assert(fabs(ct_optimizer_grad_norm(sgd) - 3 * sqrt(2)) < 1e-14);
    ck_assert(fabs(value(net, "a.bias") - (a - 3)) < 1e-14);
    ck_assert(value(net, "b.bias") == b);
    ck_assert(!ct_optimizer_group_updates(sgd, "c.*", 0));
    assert_error("no parameter's name matches 'c.*'");
    ct_optimizer_destroy(sgd);
    ct_module_destroy(net);
}
END_TEST

START_TEST(learns_parts_at_rates_of_their_own) {
    for (int adam = 0; adam < 2; adam++) {
        ct_module *net = two_layers();
        ct_optimizer *optimizer = adam ? ct_adam_create(net, NULL) : ct_sgd_create(net, NULL);
        ck_assert(ct_optimizer_group_lr(optimizer, "a.weight", 0.25));
        ck_assert(ct_optimizer_group_lr(optimizer, "b.*", 0));
        ct_optimizer_set_lr(optimizer, 0.1);
        double weight = value(net, "a.weight"), bias = value(net, "a.bias"),
               b = value(net, "b.bias");
        set_grad(net, "a.weight", 1);
        set_grad(net, "a.bias", 1);
        set_grad(net, "b.bias", 1);
        ck_assert(ct_optimizer_step(optimizer));
        /* Adam's first step: lr times the gradient's sign, but for eps */
        ck_assert(fabs(value(net, "a.weight") - (weight - 0.025)) < 1e-8);
        ck_assert(fabs(value(net, "a.bias") - (bias - 0.1)) < 1e-8);
        ck_assert(value(net, "b.bias") == b);
        ck_assert(!ct_optimizer_group_lr(optimizer, "c.*", 1));
        assert_error("no parameter's name matches 'c.*'");
        ck_assert(!ct_optimizer_group_lr(optimizer, "a.*", -1));
        assert_error("optimizer_group_lr: factor is -1, expected 0 or more");
        ct_optimizer_destroy(optimizer);
        ct_module_destroy(net);
    }
}
END_TEST

/* Decay without biases, whatever the optimiser does with it; the gradient is zero. */
START_TEST(decays_by_group) {
    for (int kind = 0; kind < 3; kind++) {
        ct_module *net = two_layers();
        ct_adamw_options adam = ct_adamw_defaults();
        adam.lr = adam.weight_decay = 0.1;
        ct_sgd_options sgd = {.lr = 0.1, .weight_decay = 0.1};
        ct_optimizer *optimizer = kind == 0   ? ct_adam_create(net, &adam)
                                  : kind == 1 ? ct_adamw_create(net, &adam)
                                              : ct_sgd_create(net, &sgd);
        ck_assert(ct_optimizer_group_weight_decay(optimizer, "*.bias", 0));
        ck_assert(ct_optimizer_group_weight_decay(optimizer, "b.w*", 0.5));
        ck_assert(ct_optimizer_group_lr(optimizer, "b.*", 0.5)); /* groups add up */
        static const char *const names[] = {"a.weight", "a.bias", "b.weight", "b.bias"};
        static const double decay[] = {0.1, 0, 0.5, 0}, rate[] = {0.1, 0.1, 0.05, 0.05};
        double before[4];
        for (int i = 0; i < 4; i++) {
            before[i] = value(net, names[i]);
            set_grad(net, names[i], 0);
        }
        ck_assert(ct_optimizer_step(optimizer));
        for (int i = 0; i < 4; i++) {
            /* Adam makes a step of one rate of what the decay adds to the gradient */
            double sign = decay[i] == 0 ? 0 : before[i] > 0 ? 1 : -1;
            double down = kind == 0 ? sign : decay[i] * before[i];
            ck_assert_msg(fabs(value(net, names[i]) - (before[i] - rate[i] * down)) < 1e-6,
                          "optimiser %d, %s: %g from %g", kind, names[i], value(net, names[i]),
                          before[i]);
        }
        ct_optimizer_destroy(optimizer);
        ct_module_destroy(net);
    }
}
END_TEST

START_TEST(groups_are_checked) {
    ct_module *net = two_layers();
    ct_optimizer *sgd = ct_sgd_create(net, NULL);
    ck_assert(!ct_optimizer_group_weight_decay(sgd, "*.bais", 0));
    assert_error("optimizer_group_weight_decay: no parameter's name matches '*.bais'");
    ck_assert(!ct_optimizer_group_weight_decay(sgd, "*", NAN));
    assert_error("weight_decay is nan");
    ck_assert(!ct_optimizer_group_updates(sgd, "*", -1));
    assert_error("updates is -1, expected 0 to 100");
    ck_assert(!ct_optimizer_group_lr(sgd, NULL, 1));
    assert_error("pattern is NULL");
    ck_assert(!ct_optimizer_group_lr(NULL, "*", 1));
    assert_error("optimizer is NULL");
    ct_optimizer_destroy(sgd);
    ct_module_destroy(net);
}
END_TEST

START_TEST(clips_over_all_parameters) {
    ct_module *net = two_layers();
    ct_optimizer *sgd = ct_sgd_create(net, &(ct_sgd_options){.lr = 1});
    ct_optimizer_clip_norm(sgd, 2);
    double a = value(net, "a.bias"), b = value(net, "b.bias");
    set_grad(net, "a.bias", 3);
    set_grad(net, "b.bias", 4);
    double total = sqrt(9 + 9 + 16), scale = 2 / (total + 1e-6);
    ck_assert(ct_optimizer_step(sgd));
    ck_assert(fabs(ct_optimizer_grad_norm(sgd) - total) < 1e-14);
    ck_assert(fabs(value(net, "a.bias") - (a - 3 * scale)) < 1e-14);
    ck_assert(fabs(value(net, "b.bias") - (b - 4 * scale)) < 1e-14);
    ct_optimizer_destroy(sgd);
    ct_module_destroy(net);
}
END_TEST

/* What PyTorch does to a parameter that stands twice in the list, by hand. */
typedef struct {
    double value, m, v;
    int steps;
} by_hand;

static void adam_by_hand(by_hand *p, double gradient) {
    p->steps++;
    p->m = 0.9 * p->m + 0.1 * gradient;
    p->v = 0.999 * p->v + 0.001 * gradient * gradient;
    double m = p->m / (1 - pow(0.9, p->steps)), v = p->v / (1 - pow(0.999, p->steps));
    p->value -= 0.1 * m / (sqrt(v) + 1e-8);
}

START_TEST(repeats_what_is_listed_twice) {
    ct_module *net = two_layers();
    ct_optimizer *adam = adam_at(net, 0.1);
    ck_assert(ct_optimizer_group_updates(adam, "b.*", 2));
    ct_optimizer_clip_norm(adam, 2);
    by_hand a = {.value = value(net, "a.bias")}, b = {.value = value(net, "b.bias")};
    const double gradients[3][2] = {{3, 4}, {0.1, -0.2}, {-5, 1}}; /* the second is not clipped */
    for (int step = 0; step < 3; step++) {
        double of_a = gradients[step][0], of_b = gradients[step][1];
        set_grad(net, "a.bias", of_a); /* two elements */
        set_grad(net, "b.bias", of_b); /* one, that counts as two */
        ck_assert(ct_optimizer_step(adam));
        double norm = sqrt(2 * of_a * of_a + 2 * of_b * of_b), scale = fmin(1, 2 / (norm + 1e-6));
        ck_assert_double_eq_tol(ct_optimizer_grad_norm(adam), norm, 1e-14);
        adam_by_hand(&a, scale * of_a);
        adam_by_hand(&b, scale * scale * of_b);
        adam_by_hand(&b, scale * scale * of_b);
        ck_assert_double_eq_tol(value(net, "a.bias"), a.value, 1e-13);
        ck_assert_double_eq_tol(value(net, "b.bias"), b.value, 1e-13);
        ck_assert_ptr_null(ct_grad(ct_module_tensor(net, "b.bias")));
    }
    ck_assert(!ct_optimizer_group_updates(adam, "c.*", 2));
    assert_error("no parameter's name matches 'c.*'");
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
}
END_TEST

/* Any number of times, beside others that are updated otherwise. */
START_TEST(updates_three_times) {
    ct_module *net = two_layers();
    ct_optimizer *sgd = ct_sgd_create(net, &(ct_sgd_options){.lr = 1, .weight_decay = 0.25});
    ck_assert(ct_optimizer_group_updates(sgd, "b.*", 3));
    ck_assert(ct_optimizer_group_updates(sgd, "a.weight", 0));
    ck_assert(ct_optimizer_group_weight_decay(sgd, "b.weight", 0));
    ct_optimizer_clip_norm(sgd, 1);
    double a = value(net, "a.bias"), b = value(net, "b.bias"), w = value(net, "b.weight");
    set_grad(net, "a.bias", 2);
    set_grad(net, "b.bias", 3);
    set_grad(net, "b.weight", 4);
    set_grad(net, "a.weight", 100);
    ck_assert(ct_optimizer_step(sgd));
    double norm = sqrt(2 * 4 + 3 * 9 + 3 * 2 * 16), scale = 1 / (norm + 1e-6);
    ck_assert_double_eq_tol(ct_optimizer_grad_norm(sgd), norm, 1e-13);
    ck_assert_double_eq_tol(value(net, "a.bias"), a - (2 * scale + 0.25 * a), 1e-14);
    ck_assert_double_eq_tol(value(net, "b.weight"), w - 3 * 4 * pow(scale, 3), 1e-14);
    for (int k = 0; k < 3; k++) b -= 3 * pow(scale, 3) + 0.25 * b;
    ck_assert_double_eq_tol(value(net, "b.bias"), b, 1e-14);
    ct_optimizer_destroy(sgd);
    ct_module_destroy(net);
}
END_TEST

/* The second update of the first step goes on with the momentum of the first. */
START_TEST(repeats_sgd_with_momentum) {
    ct_module *net = two_layers();
    ct_optimizer *sgd = ct_sgd_create(net, &(ct_sgd_options){.lr = 1, .momentum = 0.5});
    ck_assert(ct_optimizer_group_updates(sgd, "b.*", 2));
    double b = value(net, "b.bias");
    set_grad(net, "b.bias", 3);
    ck_assert(ct_optimizer_step(sgd));
    ck_assert_double_eq_tol(value(net, "b.bias"), b - 3 - (0.5 * 3 + 3), 1e-14);
    ct_optimizer_group_updates(sgd, "b.*", 0);
    set_grad(net, "b.bias", 3);
    ck_assert(ct_optimizer_step(sgd));
    ck_assert_double_eq_tol(value(net, "b.bias"), b - 7.5, 1e-14);
    ct_optimizer_destroy(sgd);
    ct_module_destroy(net);
}
END_TEST

/* The parts of a step, with a step counted that was done by someone else, as a repeated one is. */
START_TEST(a_step_in_parts) {
    ct_module *net[2] = {two_layers(), two_layers()};
    ct_optimizer *adam[2];
    for (int k = 0; k < 2; k++) {
        ct_module_add(net[k], "c", ct_linear_create(1, 1, true)); /* never gets a gradient */
        ct_module_to_dtype(net[k], CT_F64);
        adam[k] = adam_at(net[k], 0.1);
        ct_optimizer_clip_norm(adam[k], 2);
        ck_assert(ct_optimizer_group_updates(adam[k], "b.*", 2));
        ct_tensor_fill(ct_module_tensor(net[k], "a.bias"), 1);
        ct_tensor_fill(ct_module_tensor(net[k], "b.bias"), 1);
    }
    for (int step = 0; step < 4; step++) {
        for (int k = 0; k < 2; k++) {
            set_grad(net[k], "a.bias", 3 - step);
            set_grad(net[k], "b.bias", step - 1.5);
            ct_optimizer_set_lr(adam[k], 0.1 / (1 + step));
        }
        ck_assert(ct_optimizer_step(adam[0]));
        ck_assert(ct_optimizer_prepare(adam[1]) && ct_optimizer_update(adam[1]));
        ct_optimizer_count(adam[1]);
        ck_assert(value(net[0], "a.bias") == value(net[1], "a.bias"));
        ck_assert(value(net[0], "b.bias") == value(net[1], "b.bias"));
    }
    for (int k = 0; k < 2; k++) ct_optimizer_destroy(adam[k]);
    ct_optimizer *early = ct_adam_create(net[0], NULL);
    ck_assert(!ct_optimizer_update(early));
    assert_error("ct_optimizer_prepare comes first");
    ct_optimizer_destroy(early);
    for (int k = 0; k < 2; k++) ct_module_destroy(net[k]);
}
END_TEST

/* ---- state ------------------------------------------------------------------------------ */

static bool copy_state(void *context, const char *name, ct_tensor *x, bool buffer) {
    ck_assert(buffer);
    bool ok = false;
    CT_SCOPE { ok = ct_optimizer_set_state(context, name, ct_tensor_copy(x)); }
    ck_assert_msg(ok, "%s", ct_error());
    return true;
}

static bool copy_values(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)buffer;
    return ct_tensor_copy_to(ct_module_tensor(context, name), x);
}

static void some_steps(ct_module *net, ct_optimizer *optimizer, int from, int to) {
    for (int i = from; i < to; i++) {
        set_grad(net, "a.weight", sin(i));
        set_grad(net, "b.bias", cos(3 * i));
        if (i % 2) set_grad(net, "b.weight", 0.3 * i);
        ck_assert(ct_optimizer_step(optimizer));
    }
}

static ct_optimizer *of_kind(int kind, ct_module *net) {
    if (kind == 0) {
        ct_adam_options options = ct_adam_defaults();
        options.weight_decay = 0.1;
        return ct_adam_create(net, &options);
    }
    if (kind == 1) return adamw_at(net, 0.01);
    return ct_sgd_create(net, &(ct_sgd_options){.lr = 1e-3, .momentum = 0.9, .nesterov = true});
}

static bool same_values(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)buffer;
    assert_close(ct_module_tensor(context, name), x, 0, 0, name);
    return true;
}

START_TEST(resumes_exactly) {
    for (int kind = 0; kind < 3; kind++) {
        ct_module *net = two_layers(), *again = two_layers();
        ct_optimizer *optimizer = of_kind(kind, net), *resumed = of_kind(kind, again);
        some_steps(net, optimizer, 0, 3);
        ck_assert(ct_module_visit(net, copy_values, again));
        ck_assert(ct_optimizer_visit(optimizer, copy_state, resumed));
        some_steps(net, optimizer, 3, 6);
        some_steps(again, resumed, 3, 6);
        ck_assert(ct_module_visit(net, same_values, again));
        ct_optimizer_destroy(optimizer);
        ct_optimizer_destroy(resumed);
        ct_module_destroy(net);
        ct_module_destroy(again);
    }
}
END_TEST

START_TEST(refuses_wrong_state) {
    ct_module *net = two_layers();
    ct_optimizer *adam = ct_adam_create(net, NULL);
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3));
        ck_assert(!ct_optimizer_set_state(adam, "exp_avg.a.weight", x));
        assert_error("'exp_avg.a.weight' is f64 (3), expected f64 (2,2)");
        ck_assert(!ct_optimizer_set_state(adam, "step.a.weight", x));
        assert_error("expected one number");
        ck_assert(!ct_optimizer_set_state(adam, "exp_avg.c.weight", x));
        assert_error("'exp_avg.c.weight'");
        ck_assert(!ct_optimizer_set_state(adam, "momentum_buffer.a.weight", x));
        assert_error("'momentum_buffer.a.weight'");
        some_steps(net, adam, 0, 1);
        ck_assert(!ct_optimizer_visit(adam, NULL, NULL));
        assert_error("optimizer_visit: the function is NULL");
    }
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
}
END_TEST

/* ---- refusals --------------------------------------------------------------------------- */

START_TEST(refuses_gradients_that_are_not_finite) {
    ct_module *net = two_layers();
    ct_optimizer *adam = ct_adam_create(net, NULL);
    double a = value(net, "a.weight");
    set_grad(net, "a.weight", 1);
    set_grad(net, "b.bias", NAN);
    ck_assert(!ct_optimizer_step(adam));
    assert_error("gradient of 'b.bias' is not finite");
    ck_assert(value(net, "a.weight") == a);
    set_grad(net, "b.bias", 1);
    ck_assert(ct_optimizer_step(adam));
    ck_assert(fabs(value(net, "a.weight") - (a - 1e-3)) < 1e-9);
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
}
END_TEST

START_TEST(notices_converted_parameters) {
    ct_module *net = two_layers();
    ct_optimizer *adam = ct_adam_create(net, NULL);
    ct_module_to_dtype(net, CT_F32);
    ck_assert(!ct_optimizer_step(adam));
    assert_error("'a.weight' was converted or removed");
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
}
END_TEST

/* Zero is a value like any other, and NULL the defaults. */
START_TEST(takes_options_literally) {
    ct_module *net = two_layers();
    ct_adamw_options still = ct_adamw_defaults();
    still.weight_decay = 0;
    ct_adam_options signs = ct_adam_defaults(); /* no memory: lr times the gradient's sign */
    signs.lr = 0.1;
    signs.beta1 = signs.beta2 = signs.eps = 0;
    ct_optimizer *optimizer[] = {
        ct_adamw_create(net, &still), ct_adamw_create(net, NULL), ct_adam_create(net, &signs),
        ct_sgd_create(net, &(ct_sgd_options){.lr = 0, .momentum = 0.9}), ct_sgd_create(net, NULL)};
    const double rate[] = {1e-3, 1e-3, 0.1, 0, 1e-3}, decay[] = {0, 0.01, 0, 0, 0};
    const double gradient[] = {-2, 0.5}, sgd[] = {0, 0, 0, 0, 1};
    for (int k = 0; k < 5; k++) {
        for (int step = 0; step < 2; step++) {
            double a = value(net, "a.weight"), g = gradient[step];
            set_grad(net, "a.weight", g);
            ck_assert_msg(ct_optimizer_lr(optimizer[k]) == rate[k], "optimiser %d", k);
            ck_assert(ct_optimizer_step(optimizer[k]));
            /* Adam's second step is by hand only without memory */
            if (step == 1 && k < 2) continue;
            double towards = sgd[k] != 0 ? g : g > 0 ? 1 : -1;
            double expected = a - rate[k] * (decay[k] * a + towards);
            ck_assert_msg(fabs(value(net, "a.weight") - expected) < 1e-10,
                          "optimiser %d, step %d: %.17g, expected %.17g", k, step,
                          value(net, "a.weight"), expected);
        }
        ct_optimizer_destroy(optimizer[k]);
    }
    ct_module_destroy(net);
}
END_TEST

static void refuse_adam(ct_module *net, size_t field, double value, const char *message) {
    ct_adam_options options = ct_adam_defaults();
    memcpy((char *)&options + field, &value, sizeof value);
    ck_assert_ptr_null(ct_adam_create(net, &options));
    assert_error(message);
    ck_assert_ptr_null(ct_adamw_create(net, &options));
    assert_error(message);
}

START_TEST(refuses_wrong_options) {
    ct_module *net = two_layers();
    refuse_adam(net, offsetof(ct_adam_options, lr), -1, ": lr is -1, expected 0 or more");
    refuse_adam(net, offsetof(ct_adam_options, lr), NAN, ": lr is nan");
    refuse_adam(net, offsetof(ct_adam_options, lr), INFINITY, ": lr is inf");
    refuse_adam(net, offsetof(ct_adam_options, beta1), -0.1, ": beta1 is -0.1, expected 0 or more");
    refuse_adam(net, offsetof(ct_adam_options, beta2), 1,
                ": beta2 is 1, expected 0 or more, below");
    refuse_adam(net, offsetof(ct_adam_options, eps), -1e-8, ": eps is -1e-08");
    refuse_adam(net, offsetof(ct_adam_options, weight_decay), -1, ": weight_decay is -1");
    ck_assert_ptr_null(ct_sgd_create(net, &(ct_sgd_options){.momentum = -1}));
    assert_error("sgd: momentum is -1, expected 0 or more");
    ck_assert_ptr_null(ct_sgd_create(net, &(ct_sgd_options){.nesterov = true}));
    assert_error("Nesterov");
    ck_assert_ptr_null(ct_sgd_create(NULL, NULL));
    assert_error("module is NULL");
    ck_assert(!ct_optimizer_step(NULL));
    assert_error("optimizer is NULL");
    ct_module_destroy(net);
}
END_TEST

/* What is said later than at creation: refused, and all stays as it was. */
START_TEST(refuses_wrong_rates) {
    ct_module *net = two_layers();
    ct_optimizer *adam = adam_at(net, 0.1);
    static const double wrong[] = {NAN, -1, -INFINITY, INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ct_optimizer_set_lr(adam, wrong[i]);
        assert_error("optimizer_set_lr: lr is ");
        ck_assert(ct_optimizer_lr(adam) == 0.1);
        ck_assert(!ct_optimizer_group_lr(adam, "*", wrong[i]));
        assert_error("optimizer_group_lr: factor is ");
        if (wrong[i] > 0) continue; /* an infinite norm clips nothing */
        ct_optimizer_clip_norm(adam, wrong[i]);
        assert_error("optimizer_clip_norm: norm is ");
    }
    set_grad(net, "a.weight", 1);
    ck_assert(ct_optimizer_step(adam)); /* unclipped, at the rate it had */
    ck_assert(ct_optimizer_grad_norm(adam) == 2);
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
}
END_TEST

/* A whole training: a small network learns exclusive or. */
START_TEST(learns_xor) {
    ct_seed(4);
    ct_module *net = ct_sequential_create();
    ct_module_add(net, "hidden", ct_linear_create(2, 8, true));
    ct_module_add(net, "tanh", ct_activation_create("tanh"));
    ct_module_add(net, "out", ct_linear_create(8, 1, true));
    ct_optimizer *adam = adam_at(net, 0.05);
    double loss = INFINITY;
    for (int step = 0; step < 300; step++) {
        CT_SCOPE {
            ct_tensor *x =
                ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(4, 2), (double[]){0, 0, 0, 1, 1, 0, 1, 1});
            ct_tensor *t = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(4, 1), (double[]){0, 1, 1, 0});
            ct_tensor *l = ct_bce_with_logits(ct_forward(net, x), t, CT_REDUCE_MEAN);
            loss = ct_item(l);
            ct_backward(l);
            ct_optimizer_step(adam);
        }
    }
    assert_no_error();
    ck_assert_msg(loss < 0.02, "loss %g", loss);
    ct_optimizer_destroy(adam);
    ct_module_destroy(net);
}
END_TEST

TEST_MAIN("nn optimizer", skips_what_has_no_gradient, leaves_a_group_as_it_is,
          learns_parts_at_rates_of_their_own, decays_by_group, groups_are_checked,
          clips_over_all_parameters, repeats_what_is_listed_twice, repeats_sgd_with_momentum,
          updates_three_times, a_step_in_parts, resumes_exactly, refuses_wrong_state,
          refuses_gradients_that_are_not_finite, notices_converted_parameters,
          takes_options_literally, refuses_wrong_options, refuses_wrong_rates, learns_xor)
