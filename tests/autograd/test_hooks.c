/* SPDX-License-Identifier: Apache-2.0 */
/* When hooks are called during a backward, and gradients of computed tensors that are kept. */
#include "tests/autograd/autograd_test.h"

/* ---- as soon as a gradient is complete -------------------------------------------------- */

enum { MOST_EVENTS = 16 };

/* What happened in a backward, in order: names of operations' backwards and of leaves' hooks. */
typedef struct {
    const char *what[MOST_EVENTS];
    int count;
} journal;

static journal events;

static void happen(const char *what) {
    ck_assert_int_lt(events.count, MOST_EVENTS);
    events.what[events.count++] = what;
}

static void expect_events(int count, const char *const *expected) {
    assert_no_error();
    for (int i = 0; i < events.count && i < count; i++) {
        ck_assert_msg(strcmp(events.what[i], expected[i]) == 0, "event %d is '%s', expected '%s'",
                      i, events.what[i], expected[i]);
    }
    ck_assert_int_eq(events.count, count);
    events.count = 0;
}
#define EXPECT_EVENTS(...)                                                       \
    expect_events((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
                  (const char *[]){__VA_ARGS__})

static void note_hook(void *name, ct_tensor *x, ct_tensor *grad) {
    ck_assert_ptr_eq(ct_grad(x), grad);
    happen(name);
}

static ct_tensor *named_leaf(char *name) {
    ct_tensor *x = leaf(1, 2, 3);
    ck_assert_int_gt(ct_add_hook(x, note_hook, name), 0);
    return x;
}

/* a + b, whose backward makes itself known. */
typedef struct {
    const char *name;
    bool fails;
} noted_options;

static bool noted_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const noted_options *o = ct_node_options(node);
    happen(o->name);
    gx[0] = gx[1] = g[0];
    return !o->fails;
}

static ct_tensor *noted(const char *name, ct_tensor *a, ct_tensor *b) {
    static const ct_op op = {.name = "noted", .backward = noted_backward};
    ct_tensor *y = ct_tensor_add(a, b);
    ct_node *node = ct_record(&op, 2, (ct_tensor *[]){a, b}, 1, &y);
    noted_options o = {name, strcmp(name, "fails") == 0};
    ct_save_options(node, &o, sizeof o);
    return y;
}

START_TEST(hooks_come_as_soon_as_a_gradient_is_complete) {
    CT_SCOPE {
        ct_tensor *a = named_leaf("a"), *b = named_leaf("b"), *c = named_leaf("c");
        ct_tensor *first = noted("first", a, b), *second = noted("second", first, b);
        ct_tensor *third = noted("third", second, c);
        ck_assert(ct_backward(ct_sum_all(third)));
        EXPECT_EVENTS("third", "c", "second", "first", "a", "b");
        assert_vector(ct_grad(b), 2, 2, 2, "two edges");

        ck_assert(ct_backward(ct_sum_all(noted("twice", c, c)))); /* both edges of one node */
        EXPECT_EVENTS("twice", "c");
        ck_assert(ct_backward(ct_sum_all(ct_add(c, ct_scale(noted("older", a, a), 0)))));
        EXPECT_EVENTS("c", "older", "a");
    }
}
END_TEST

/* Gives its second input a gradient, its first one none. */
static bool half_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    happen("half");
    gx[1] = g[0];
    return true;
}

/* An operation that no gradient reaches has its turn all the same. */
START_TEST(operations_without_a_gradient_hold_nothing_up) {
    static const ct_op half = {.name = "half", .backward = half_backward};
    CT_SCOPE {
        ct_tensor *a = named_leaf("a"), *none = named_leaf("none"), *b = named_leaf("b");
        ct_tensor *unreached = noted("unreached", none, a), *y = ct_tensor_add(unreached, b);
        ct_record(&half, 2, (ct_tensor *[]){unreached, b}, 1, &y);
        ck_assert(ct_backward(ct_sum_all(ct_add(y, a))));
        EXPECT_EVENTS("half", "b", "a"); /* a's after the turn of what got nothing */
        ck_assert_ptr_null(ct_grad(none));
        ck_assert(ct_backward_from(&a, (ct_tensor *[]){vector(1, 1, 1)}, 1, false));
        EXPECT_EVENTS("a"); /* an output that is a leaf */
    }
}
END_TEST

START_TEST(no_hook_is_called_after_a_failure) {
    CT_SCOPE {
        ct_tensor *a = named_leaf("a"), *b = named_leaf("b"), *c = named_leaf("c");
        ct_tensor *y = noted("last", noted("fails", noted("never", a, b), b), c);
        ck_assert(!ct_backward(ct_sum_all(y)));
        assert_error("backward of 'noted' failed");
        EXPECT_EVENTS("last", "c", "fails");
        ck_assert(!ct_backward(ct_sum_all(noted("fails", noted("never", b, b), b))));
        ct_error_clear();
        EXPECT_EVENTS("fails");
        /* b's gradient was begun, then the failure: it is complete at no time */
        ck_assert(!ct_backward(ct_sum_all(noted("outer", noted("fails", a, b), b))));
        ct_error_clear();
        EXPECT_EVENTS("outer", "fails");
        ck_assert(ct_backward(ct_sum_all(noted("whole", a, b))));
        EXPECT_EVENTS("whole", "a", "b");
    }
}
END_TEST

static ct_tensor *noted_sum(void *context, ct_tensor *const *inputs, int count) {
    (void)count;
    return noted("inside", inputs[0], context);
}

/* A checkpoint's function uses leaves that its inputs do not show. */
START_TEST(checkpoints_hold_up_the_leaves_they_use_and_no_other) {
    CT_SCOPE {
        ct_tensor *w = named_leaf("w"), *v = named_leaf("v"), *x = named_leaf("x");
        ct_tensor *old = noted("old", x, v);
        ct_tensor *inner = ct_checkpoint(noted_sum, w, &old, 1);
        events.count = 0; /* the function's own forward notes nothing */
        ct_tensor *loss = ct_sum_all(noted("new", noted("middle", inner, w), v));
        ck_assert(ct_backward(loss));
        EXPECT_EVENTS("new", "middle", "inside", "w", "old", "x", "v");
        assert_vector(ct_grad(w), 2, 2, 2, "from within and from outside");
    }
}
END_TEST

static void run_backward(void *context, ct_tensor *x, ct_tensor *grad) {
    (void)x;
    (void)grad;
    bool was = ct_set_grad_enabled(true);
    ck_assert(ct_backward(ct_sum_all(ct_square(context))));
    ct_set_grad_enabled(was);
}

START_TEST(a_hook_may_run_a_backward_or_fail) {
    CT_SCOPE {
        ct_tensor *a = leaf(1, 2, 3), *b = named_leaf("b"), *c = named_leaf("c");
        int handle = ct_add_hook(a, run_backward, b);
        ck_assert(ct_backward(ct_sum_all(ct_add(a, ct_scale(c, 2)))));
        EXPECT_EVENTS("b", "c"); /* b's within a's */
        ct_remove_hook(a, handle);
    }
}
END_TEST

static void fail_hook(void *context, ct_tensor *x, ct_tensor *grad) {
    (void)context;
    (void)x;
    (void)grad;
    ct_fail("the hook's own error");
}

START_TEST(an_error_in_a_hook_ends_the_backward) {
    CT_SCOPE {
        ct_tensor *a = leaf(1, 2, 3), *b = named_leaf("b");
        ct_add_hook(a, fail_hook, NULL);
        ck_assert(!ct_backward(ct_sum_all(ct_add(a, noted("never", b, b)))));
        assert_error("the hook's own error");
        ck_assert_int_eq(events.count, 0);
    }
}
END_TEST

/* ---- gradients of computed tensors ------------------------------------------------------ */

START_TEST(retained_gradients_are_kept) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = ct_square(x), *z = ct_scale(y, 3);
        ck_assert_ptr_eq(ct_retain_grad(y), y);
        ck_assert_ptr_eq(ct_retain_grad(y), y); /* once more is no more */
        ck_assert_ptr_eq(ct_retain_grad(x), x);
        ck_assert_ptr_null(ct_grad(y));
        ct_tensor *loss = ct_retain_grad(ct_sum_all(ct_add(z, y)));
        ck_assert(ct_backward_from(&loss, NULL, 1, true));
        assert_vector(ct_grad(y), 4, 4, 4, "of both uses");
        assert_vector(ct_grad(x), 8, 16, 24, "goes on");
        ck_assert_double_eq(ct_item(ct_grad(loss)), 1);
        ck_assert_ptr_null(ct_grad(z));
        ck_assert(ct_tensor_scale_in_place(ct_grad(y), 0.5)); /* a buffer of its own */
        ck_assert(ct_backward(loss));
        assert_vector(ct_grad(y), 6, 6, 6, "added to");
        assert_vector(ct_grad(x), 16, 32, 48, "added to");
        ct_zero_grad(y);
        ck_assert_ptr_null(ct_grad(y));
        assert_no_error();
        ck_assert_ptr_null(ct_retain_grad(vector(1, 2, 3)));
        assert_error("retain_grad: f64 (3) was not computed from a tensor that requires");
        ck_assert_ptr_null(ct_retain_grad(NULL));
        assert_error("retain_grad: an input is NULL");
    }
}
END_TEST

START_TEST(a_retained_gradient_goes_with_its_tensor) {
    int64_t before = ct_memory_in_use(CT_CPU);
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *loss = NULL;
        int64_t leaves = ct_memory_in_use(CT_CPU);
        CT_SCOPE { loss = ct_keep(ct_sum_all(ct_retain_grad(ct_square(x)))); }
        ck_assert(ct_backward(loss));
        ct_release(loss);
        assert_vector(ct_grad(x), 2, 4, 6, "the leaf's");
        ct_zero_grad(x);
        ck_assert_int_eq(ct_memory_in_use(CT_CPU), leaves);
        CT_SCOPE { ct_retain_grad(ct_square(x)); } /* no backward at all */
    }
    ck_assert_int_eq(ct_memory_in_use(CT_CPU), before);
    assert_no_error();
}
END_TEST

TEST_MAIN("hooks", hooks_come_as_soon_as_a_gradient_is_complete,
          operations_without_a_gradient_hold_nothing_up, no_hook_is_called_after_a_failure,
          checkpoints_hold_up_the_leaves_they_use_and_no_other, a_hook_may_run_a_backward_or_fail,
          an_error_in_a_hook_ends_the_backward, retained_gradients_are_kept,
          a_retained_gradient_goes_with_its_tensor)
