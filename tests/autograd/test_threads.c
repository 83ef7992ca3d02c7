/* SPDX-License-Identifier: Apache-2.0 */
/* What threads may share: leaves, constants, recorded graphs. Run under ThreadSanitizer, too
 * (.ci/run). */
#include <pthread.h>

#include "tests/autograd/autograd_test.h"

enum { THREADS = 4, ROUNDS = 50, SIZE = 40 };

/* A thread's part. */
typedef struct {
    ct_tensor *shared, *own, *constant;
    pthread_barrier_t *start;
    int refused, failures;
} part;

static void on_threads(void *(*run)(void *), part *parts) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, &parts[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* ---- one leaf, many graphs -------------------------------------------------------------- */

/* d/dw sum(w c) is c, of whole numbers: exact in any order. */
static void *add_gradients(void *context) {
    part *p = context;
    pthread_barrier_wait(p->start);
    for (int i = 0; i < ROUNDS; i++) {
        CT_SCOPE {
            ct_tensor *y = ct_mul(p->shared, p->constant);
            /* the leaf directly, through several operations, and as an input of one twice */
            ct_tensor *z = ct_add(ct_add(y, p->shared), ct_add(p->shared, p->shared));
            ct_backward(ct_sum_all(ct_add(z, ct_mul(p->own, p->constant))));
        }
    }
    p->failures = !ct_ok();
    return NULL;
}

START_TEST(no_gradient_of_a_shared_leaf_is_lost) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, THREADS);
    CT_SCOPE {
        ct_tensor *w = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 3));
        part parts[THREADS];
        for (int i = 0; i < THREADS; i++) {
            ct_tensor *constant = ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), i + 1);
            ct_tensor *own = ct_require_grad(ct_zeros(CT_F64, CT_CPU, CT_SHAPE(SIZE)));
            parts[i] = (part){w, own, constant, &start, 0, 0};
        }
        on_threads(add_gradients, parts);
        double sum = ROUNDS * (1 + 2 + 3 + 4 + THREADS * 3);
        assert_close(ct_grad(w), ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), sum), 0, 0, "shared");
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_eq(parts[i].failures, 0);
            assert_close(ct_grad(parts[i].own),
                         ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), ROUNDS * (i + 1)), 0, 0, "own");
        }
    }
    pthread_barrier_destroy(&start);
    assert_no_error();
}
END_TEST

/* ---- hooks ------------------------------------------------------------------------------ */

static void count_call(void *context, ct_tensor *x, ct_tensor *grad) {
    (void)x;
    (void)grad;
    ++*(_Atomic int *)context;
}

static void *hook_and_unhook(void *context) {
    part *p = context;
    pthread_barrier_wait(p->start);
    for (int i = 0; i < ROUNDS; i++) {
        static _Atomic int ignored;
        int handle = ct_add_hook(p->shared, count_call, &ignored);
        CT_SCOPE { ct_backward(ct_sum_all(ct_mul(p->shared, p->constant))); }
        ct_remove_hook(p->shared, handle);
    }
    p->failures = !ct_ok();
    return NULL;
}

START_TEST(every_backward_calls_the_hooks_of_a_shared_leaf) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, THREADS);
    _Atomic int calls = 0;
    CT_SCOPE {
        ct_tensor *w = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 3));
        ct_tensor *constant = ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 1);
        ct_add_hook(w, count_call, &calls);
        part parts[THREADS];
        for (int i = 0; i < THREADS; i++) parts[i] = (part){w, NULL, constant, &start, 0, 0};
        on_threads(hook_and_unhook, parts);
        ck_assert_int_eq(calls, THREADS * ROUNDS);
        for (int i = 0; i < THREADS; i++) ck_assert_int_eq(parts[i].failures, 0);
        ck_assert_double_eq(ct_get(ct_grad(w), 0), THREADS * ROUNDS);
    }
    pthread_barrier_destroy(&start);
    assert_no_error();
}
END_TEST

/* ---- one graph -------------------------------------------------------------------------- */

/* Records on the shared computed tensor, reads it, and walks it if no other thread does. */
static void *walk_shared(void *context) {
    part *p = context;
    pthread_barrier_wait(p->start);
    for (int i = 0; i < ROUNDS; i++) {
        CT_SCOPE {
            ct_tensor *loss = ct_sum_all(ct_mul(p->shared, p->constant));
            if (ct_backward_from(&loss, NULL, 1, true)) continue;
            bool refused = strstr(ct_error(), "another backward is inside") != NULL;
            p->refused += refused;
            p->failures += !refused;
            ct_error_clear();
        }
    }
    return NULL;
}

START_TEST(a_shared_graph_is_walked_by_one_at_a_time) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, THREADS);
    CT_SCOPE {
        ct_tensor *x = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 3));
        ct_tensor *shared = ct_scale(x, 2), *constant = ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 1);
        part parts[THREADS];
        for (int i = 0; i < THREADS; i++) {
            parts[i] = (part){shared, NULL, constant, &start, 0, 0};
        }
        on_threads(walk_shared, parts);
        int refused = 0;
        for (int i = 0; i < THREADS; i++) {
            refused += parts[i].refused;
            ck_assert_int_eq(parts[i].failures, 0);
        }
        double walked = THREADS * ROUNDS - refused;
        assert_close(ct_grad(x), ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 2 * walked), 0, 0,
                     "the gradients of those that were not refused");
    }
    pthread_barrier_destroy(&start);
    assert_no_error();
}
END_TEST

/* ---- references ------------------------------------------------------------------------ */

/* Tensors and graphs that one thread makes are let go of by another. */
static void *make_and_keep(void *context) {
    part *p = context;
    pthread_barrier_wait(p->start);
    for (int i = 0; i < ROUNDS; i++) {
        CT_SCOPE {
            ct_tensor *y = ct_keep(ct_square(ct_mul(p->shared, p->constant)));
            ct_tensor *old = p->own;
            p->own = y;
            ct_release(old);
        }
    }
    p->failures = !ct_ok();
    return NULL;
}

START_TEST(references_are_counted_across_threads) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, THREADS);
    int64_t before = ct_memory_in_use(CT_CPU);
    CT_SCOPE {
        ct_tensor *w = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 3));
        ct_tensor *constant = ct_full(CT_F64, CT_CPU, CT_SHAPE(SIZE), 1);
        part parts[THREADS];
        for (int i = 0; i < THREADS; i++) parts[i] = (part){w, NULL, constant, &start, 0, 0};
        on_threads(make_and_keep, parts);
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_eq(parts[i].failures, 0);
            ck_assert(ct_backward(ct_sum_all(parts[i].own)));
            ct_release(parts[i].own);
        }
        ck_assert_double_eq(ct_get(ct_grad(w), SIZE - 1), THREADS * 6);
    }
    ck_assert_int_eq(ct_memory_in_use(CT_CPU), before);
    pthread_barrier_destroy(&start);
    assert_no_error();
}
END_TEST

TEST_MAIN("threads", no_gradient_of_a_shared_leaf_is_lost,
          every_backward_calls_the_hooks_of_a_shared_leaf,
          a_shared_graph_is_walked_by_one_at_a_time, references_are_counted_across_threads)
