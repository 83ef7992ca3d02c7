/* SPDX-License-Identifier: Apache-2.0 */
/* The graph and backward: accumulation, reuse, lifetime, modes, hooks, errors. The operations' own
 * gradients are in test_gradcheck.c. */
#include <pthread.h>

#include "autograd/profile.h"
#include "tests/autograd/autograd_test.h"

/* ---- accumulation and reuse ------------------------------------------------------------- */

START_TEST(gradients_accumulate_until_dropped) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3);
        ck_assert_ptr_null(ct_grad(x));
        ck_assert(ct_backward(ct_sum_all(ct_square(x))));
        assert_vector(ct_grad(x), 2, 4, 6, "first");
        ck_assert(ct_backward(ct_sum_all(ct_scale(x, 10))));
        assert_vector(ct_grad(x), 12, 14, 16, "added");
        ct_zero_grad(x);
        ck_assert_ptr_null(ct_grad(x));
        ck_assert(ct_set_grad(x, vector(1, 1, 1)));
        ck_assert(ct_backward(ct_sum_all(x)));
        assert_vector(ct_grad(x), 2, 2, 2, "added to one that was set");
        ck_assert(ct_set_grad(x, NULL));
        ck_assert_ptr_null(ct_grad(x));
    }
    assert_no_error();
}
END_TEST

/* Both ways from x meet again; every edge carries a different factor. */
START_TEST(diamonds_and_reuse) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3);
        ct_tensor *a = ct_scale(x, 3), *b = ct_square(x), *c = ct_mul(a, b); /* 3 x^3 */
        ct_tensor *y = ct_add(ct_add(c, a), ct_mul(c, c));                   /* 3x^3 + 3x + 9x^6 */
        ck_assert(ct_backward(ct_sum_all(y)));
        assert_vector(ct_grad(x), 9 + 3 + 54, 36 + 3 + 54 * 32, 81 + 3 + 54 * 243, "diamond");

        ct_tensor *z = leaf(1, 2, 3);
        ct_tensor *twice = ct_add(z, z);
        ck_assert(ct_backward(ct_sum_all(ct_mul(twice, twice)))); /* 4 z^2 */
        assert_vector(ct_grad(z), 8, 16, 24, "the same input twice");
    }
    assert_no_error();
}
END_TEST

/* ct_add hands one and the same gradient to both inputs: neither may see the other's sums. */
START_TEST(shared_gradients_are_not_written_to) {
    CT_SCOPE {
        ct_tensor *a = leaf(1, 2, 3), *b = leaf(4, 5, 6);
        ck_assert(ct_backward(ct_sum_all(ct_square(ct_add(a, b)))));
        ck_assert_ptr_ne(ct_grad(a)->storage, ct_grad(b)->storage);
        ck_assert(ct_tensor_scale_in_place(ct_grad(a), 0));
        assert_vector(ct_grad(b), 10, 14, 18, "the other leaf");

        /* the intermediate u gets g from the sum first, then more */
        ct_tensor *x = leaf(1, 2, 3), *y = leaf(4, 5, 6);
        ct_tensor *u = ct_scale(x, 2), *v = ct_scale(y, 2);
        ct_tensor *more = ct_scale(u, 5), *sum = ct_add(u, v);
        ck_assert(ct_backward(ct_sum_all(ct_add(sum, ct_add(more, ct_mul(u, u))))));
        assert_vector(ct_grad(x), 12 + 8, 12 + 16, 12 + 24, "u's leaf");
        assert_vector(ct_grad(y), 2, 2, 2, "v's leaf");
    }
    assert_no_error();
}
END_TEST

START_TEST(given_gradients_stay_the_callers) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *g = vector(1, 10, 100), *h = vector(1, 1, 1);
        ct_tensor *y = ct_add(x, x), *outputs[] = {y, x, y}, *gradients[] = {g, g, h};
        ck_assert(ct_backward_from(outputs, gradients, 3, false));
        assert_vector(ct_grad(x), 2 + 1 + 2, 20 + 10 + 2, 200 + 100 + 2, "summed");
        ck_assert_ptr_ne(ct_grad(x)->storage, g->storage);
        ck_assert(ct_tensor_scale_in_place(ct_grad(x), 0));
        assert_vector(g, 1, 10, 100, "given gradient");

        ct_tensor *alone = leaf(1, 2, 3);
        ck_assert(ct_backward_from(&alone, &g, 1, false));
        ck_assert(ct_tensor_scale_in_place(ct_grad(alone), 0));
        assert_vector(g, 1, 10, 100, "given to a leaf");

        ct_tensor *set = leaf(1, 2, 3);
        ck_assert(ct_set_grad(set, g));
        ck_assert_ptr_eq(ct_grad(set), g);
        ck_assert(ct_backward(ct_sum_all(set)));
        assert_vector(ct_grad(set), 2, 11, 101, "added to the caller's");
        assert_vector(g, 1, 10, 100, "set by the caller");
    }
    assert_no_error();
}
END_TEST

START_TEST(only_what_nobody_else_sees_is_exclusive) {
    CT_SCOPE {
        ct_tensor *x = vector(1, 2, 3);
        ck_assert(ct_is_exclusive(x));
        ct_keep(x);
        ck_assert(!ct_is_exclusive(x)); /* another reference */
        ct_release(x);
        CT_SCOPE {
            ck_assert(!ct_is_exclusive(ct_tensor_unsqueeze(x, 0))); /* a view of x */
            ck_assert(!ct_is_exclusive(x));
        }
        ck_assert(ct_is_exclusive(x));
        double memory[3] = {0};
        ck_assert(!ct_is_exclusive(ct_from_memory(CT_F64, CT_SHAPE(3), memory, NULL, NULL)));
        ck_assert(!ct_is_exclusive(NULL));
    }
    assert_no_error();
}
END_TEST

START_TEST(a_leaf_of_odd_strides_gets_a_plain_gradient) {
    CT_SCOPE {
        ct_tensor *base =
            ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(2, 3), (double[]){1, 2, 3, 4, 5, 6});
        ct_tensor *x = ct_require_grad(ct_tensor_transpose(base, 0, 1));
        ck_assert(ct_backward(ct_sum_all(ct_square(ct_transpose(x, 0, 1)))));
        ck_assert(ct_is_contiguous(ct_grad(x)));
        assert_close(ct_grad(x), ct_tensor_scale(x, 2), 0, 0, "gradient");
        ck_assert(ct_backward(ct_sum_all(x))); /* an expanded view of one element */
        ck_assert(ct_tensor_scale_in_place(ct_grad(x), 1));
    }
    assert_no_error();
}
END_TEST

START_TEST(sums_do_not_depend_on_the_build) {
    CT_SCOPE {
        double first[64], again[64];
        for (int run = 0; run < 2; run++) {
            ct_rng rng = ct_rng_create(1, 0);
            ct_tensor *x =
                ct_require_grad(ct_random_normal(&rng, "x", CT_F32, CT_CPU, CT_SHAPE(64)));
            ct_tensor *sum = x;
            for (int i = 0; i < 9; i++) sum = ct_add(sum, ct_mul(ct_tanh(sum), ct_sin(x)));
            ck_assert(ct_backward(ct_sum_all(sum)));
            ck_assert(ct_read(ct_tensor_cast(ct_grad(x), CT_F64), run ? again : first));
        }
        ck_assert_mem_eq(first, again, sizeof first);
    }
}
END_TEST

/* ---- modes ------------------------------------------------------------------------------ */

static bool leaves_by_return(void) {
    CT_NO_GRAD
    return ct_grad_enabled();
    return true;
}

START_TEST(no_grad_records_nothing) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = NULL;
        CT_NO_GRAD {
            ck_assert(!ct_grad_enabled());
            CT_NO_GRAD
            y = ct_square(x);
            ck_assert(!ct_grad_enabled());
        }
        ck_assert(!leaves_by_return());
        ck_assert(ct_grad_enabled());
        ck_assert(!ct_requires_grad(y));
        ck_assert(ct_requires_grad(ct_square(x)));
        ck_assert(!ct_requires_grad(ct_square(vector(1, 2, 3))));
        ck_assert(!ct_requires_grad(NULL));
    }
    assert_no_error();
}
END_TEST

START_TEST(detach_cuts) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = ct_square(x), *constant = ct_detach(y);
        ck_assert(!ct_requires_grad(constant));
        ck_assert_ptr_eq(constant->storage, y->storage);
        ck_assert(ct_backward(ct_sum_all(ct_mul(constant, y)))); /* only one of the factors */
        assert_vector(ct_grad(x), 2, 16, 54, "detached factor");
        ck_assert_ptr_null(ct_detach(NULL));
        assert_error("detach: an input is NULL");
    }
}
END_TEST

START_TEST(forgotten_leaves_collect_nothing) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *w = leaf(1, 1, 1), *loss = ct_sum_all(ct_mul(x, w));
        ck_assert(ct_backward(ct_sum_all(ct_mul(x, w))));
        ct_forget_grad(w);
        ck_assert(!ct_requires_grad(w));
        ck_assert_ptr_null(ct_grad(w));
        ck_assert(ct_backward(loss)); /* recorded while w still collected */
        ck_assert_ptr_null(ct_grad(w));
        assert_vector(ct_grad(x), 2, 2, 2, "the other");
        ct_require_grad(w);
        ck_assert(ct_backward(ct_sum_all(ct_mul(x, w))));
        assert_vector(ct_grad(w), 1, 2, 3, "again");
        assert_no_error();
        ct_forget_grad(ct_square(x));
        assert_error("forget_grad: f64 (3) was computed by 'square'");
    }
}
END_TEST

/* ---- hooks ------------------------------------------------------------------------------ */

static void halve(void *context, ct_tensor *x, ct_tensor *grad) {
    (void)context;
    (void)x;
    ct_tensor_scale_in_place(grad, 0.5);
}

static void once(void *context, ct_tensor *x, ct_tensor *grad) {
    log_hook(context, x, grad);
    ct_remove_hook(x, ((hook_log *)context)->handle);
}

START_TEST(hooks_see_the_whole_gradient_once) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3);
        hook_log log = {0}, single = {0}, last = {0};
        single.handle = ct_add_hook(x, once, &single);
        int handle = ct_add_hook(x, log_hook, &log), half = ct_add_hook(x, halve, NULL);
        ck_assert_int_gt(ct_add_hook(x, log_hook, &last), 0);
        ck_assert(ct_backward(ct_sum_all(ct_add(ct_square(x), ct_mul(x, x))))); /* three ways */
        ck_assert_int_eq(log.calls, 1);
        ck_assert_ptr_eq(log.leaf, x);
        ck_assert_double_eq(log.first, 4);
        ck_assert_double_eq(last.first, 2);
        ct_remove_hook(x, half);
        ct_remove_hook(x, handle);
        ct_remove_hook(x, 1000);
        ck_assert(ct_backward(ct_sum_all(x)));
        ck_assert_int_eq(log.calls, 1);
        ck_assert_int_eq(last.calls, 2);
        ck_assert_double_eq(last.first, 3);
        ck_assert_int_eq(single.calls, 1);
        assert_no_error();
        ck_assert_int_eq(ct_add_hook(vector(1, 2, 3), log_hook, NULL), 0);
        assert_error("add_hook: f64 (3) is not a leaf");
    }
}
END_TEST

/* ---- lifetime --------------------------------------------------------------------------- */

START_TEST(graphs_outlive_the_scopes_they_were_made_in) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *kept = NULL, *loss = NULL;
        CT_SCOPE {
            ct_tensor *y = NULL;
            CT_SCOPE { y = ct_keep(ct_exp(ct_scale(x, 0.5))); }
            kept = ct_keep(ct_square(ct_adopt(y))); /* exp(x) */
        }
        CT_SCOPE { loss = ct_keep(ct_sum_all(ct_mul(kept, x))); } /* x exp(x) */
        ct_release(kept);
        ck_assert(ct_backward(loss));
        ct_release(loss);
        assert_vector(ct_grad(x), 2 * exp(1), 3 * exp(2), 4 * exp(3), "x exp(x)");
    }
    assert_no_error();
}
END_TEST

START_TEST(a_leaf_may_go_before_backward) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *loss = NULL;
        CT_SCOPE { loss = ct_keep(ct_sum_all(ct_mul(x, leaf(4, 5, 6)))); }
        ck_assert(ct_backward(loss));
        ct_release(loss);
        assert_vector(ct_grad(x), 4, 5, 6, "the leaf that stayed");
    }
    assert_no_error();
}
END_TEST

/* A two-layer step with everything that owns memory: saved tensors, hooks, checkpoints, errors. */
static void step(ct_tensor *w, ct_tensor *x, bool backward) {
    ct_tensor *h = ct_gelu(ct_linear_with(x, w, NULL));
    ct_tensor *loss =
        ct_mean_all(ct_square(ct_log_softmax(ct_layer_norm_with(h, NULL, NULL, 1e-5), 1)));
    if (backward) ck_assert(ct_backward(loss));
}

START_TEST(memory_comes_back) {
    int64_t before = ct_memory_in_use(CT_CPU);
    CT_SCOPE {
        ct_rng rng = ct_rng_create(1, 0);
        ct_tensor *w =
            ct_require_grad(ct_random_normal(&rng, "w", CT_F32, CT_CPU, CT_SHAPE(16, 16)));
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F32, CT_CPU, CT_SHAPE(8, 16));
        int64_t bytes = ct_memory_in_use(CT_CPU);
        for (int i = 0; i < 3; i++) {
            CT_SCOPE { step(w, x, false); }
            ck_assert_int_eq(ct_memory_in_use(CT_CPU), bytes);
        }
        CT_SCOPE { step(w, x, true); }
        bytes += 16 * 16 * 4; /* the gradient */
        for (int i = 0; i < 3; i++) {
            CT_SCOPE { step(w, x, true); }
            ck_assert_int_eq(ct_memory_in_use(CT_CPU), bytes);
        }
    }
    ck_assert_int_eq(ct_memory_in_use(CT_CPU), before);
    assert_no_error();
}
END_TEST

/* What a loss keeps alive: its graph before backward, only itself after. */
START_TEST(backward_frees_what_was_saved) {
    CT_SCOPE {
        ct_tensor *x = ct_require_grad(ct_full(CT_F32, CT_CPU, CT_SHAPE(1000), 0.5));
        int64_t before = ct_memory_in_use(CT_CPU);
        ct_tensor *loss = NULL, *retained = NULL;
        CT_SCOPE { loss = ct_keep(ct_sum_all(ct_square(ct_exp(ct_tanh(x))))); }
        ck_assert_int_eq(ct_memory_in_use(CT_CPU), before + 2 * 4000 + 4);
        ck_assert(ct_backward(loss));
        ck_assert_int_eq(ct_memory_in_use(CT_CPU), before + 4000 + 4); /* x's gradient */
        ct_zero_grad(x);
        CT_SCOPE { retained = ct_keep(ct_sum_all(ct_exp(x))); }
        ck_assert(ct_backward_from(&retained, NULL, 1, true));
        ck_assert_int_eq(ct_memory_in_use(CT_CPU), before + 4 + 4000 + 4000 + 4);
        ct_release(retained);
        ct_release(loss);
        ct_zero_grad(x);
        ck_assert_int_eq(ct_memory_in_use(CT_CPU), before);
    }
    assert_no_error();
}
END_TEST

enum { CHAIN = 100000 };

/* On a small stack: one frame a node would not fit. */
static void *long_chain(void *result) {
    CT_SCOPE {
        ct_tensor *x = ct_require_grad(ct_scalar(CT_F64, CT_CPU, 1)), *y = ct_keep(x);
        for (int i = 0; i < CHAIN; i++) {
            ct_tensor *next = NULL;
            CT_SCOPE { next = ct_keep(ct_add_scalar(y, 1)); }
            ct_release(y);
            y = next;
        }
        ct_tensor *outputs[] = {y};
        bool retained = ct_backward_from(outputs, NULL, 1, true);
        bool again = ct_backward(y);
        ct_tensor *unused = ct_keep(x);
        for (int i = 0; i < CHAIN; i++) { /* freed without a backward */
            ct_tensor *next = NULL;
            CT_SCOPE { next = ct_keep(ct_sin(unused)); }
            ct_release(unused);
            unused = next;
        }
        ct_release(unused);
        *(double *)result = retained && again ? ct_item(ct_grad(x)) : NAN;
        ct_release(y);
    }
    return NULL;
}

START_TEST(long_chains_do_not_recurse) {
    int64_t before = ct_memory_in_use(CT_CPU);
    pthread_t thread;
    pthread_attr_t attributes;
    double result = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    ck_assert_int_eq(pthread_create(&thread, &attributes, long_chain, &result), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    ck_assert_double_eq(result, 2);
    ck_assert_int_eq(ct_memory_in_use(CT_CPU), before);
}
END_TEST

static void *make_graph(void *context) {
    ct_tensor **xy = context;
    CT_SCOPE { xy[1] = ct_keep(ct_sum_all(ct_square(ct_sin(xy[0])))); }
    return NULL;
}

START_TEST(graphs_pass_between_threads) {
    CT_SCOPE {
        ct_tensor *xy[2] = {leaf(1, 2, 3), NULL};
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, make_graph, xy), 0);
        pthread_join(thread, NULL);
        ck_assert(ct_backward(ct_scale(xy[1], 3)));
        assert_vector(ct_grad(xy[0]), 3 * sin(2), 3 * sin(4), 3 * sin(6), "sin^2");
        ct_release(xy[1]);
    }
    assert_no_error();
}
END_TEST

/* ---- errors ----------------------------------------------------------------------------- */

START_TEST(backward_says_what_is_wrong) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = ct_square(x), *g = vector(1, 1, 1), *none = NULL;
        ck_assert(!ct_backward(y));
        assert_error("backward: output 0 is f64 (3): only of one element");
        ck_assert(!ct_backward(vector(1, 2, 3)));
        assert_error("backward: output 0, f64 (3), was not computed from a tensor that requires");
        ck_assert(!ct_backward(NULL));
        assert_error("backward: an input is NULL");
        ck_assert(!ct_backward_from(&y, &none, 0, false));
        assert_error("backward: 0 outputs");
        ct_tensor *wide = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(4));
        ck_assert(!ct_backward_from(&y, &wide, 1, false));
        assert_error("backward: the gradient of output 0 is f64 (4) on cpu, expected f64 (3)");
        ct_tensor *single = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3));
        ck_assert(!ct_backward_from(&y, &single, 1, false));
        assert_error("is f32 (3) on cpu, expected f64 (3)");
        ck_assert_ptr_null(ct_grad(x));

        ck_assert(ct_backward_from(&y, &g, 1, true));
        ck_assert(ct_backward_from(&y, &g, 1, false));
        assert_vector(ct_grad(x), 4, 8, 12, "retained");
        ck_assert(!ct_backward_from(&y, &g, 1, false));
        assert_error("backward: the graph of 'square' was already used; pass retain_graph");
        ck_assert(!ct_backward(ct_sum_all(y)));
        assert_error("the graph of 'square' was already used");
        assert_vector(ct_grad(x), 4, 8, 12, "errors add nothing");

        ct_fail("an earlier error");
        ck_assert(!ct_backward(ct_sum_all(x)));
        assert_error("an earlier error");
    }
}
END_TEST

START_TEST(leaves_say_what_is_wrong) {
    CT_SCOPE {
        ck_assert_ptr_null(ct_require_grad(NULL));
        assert_error("require_grad: an input is NULL");
        ck_assert_ptr_null(ct_require_grad(ct_arange(CT_I64, CT_CPU, 3)));
        assert_error("require_grad: expected f32 or f64, got i64 (3)");
        ct_tensor *x = leaf(1, 2, 3);
        ck_assert(!ct_set_grad(x, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2))));
        assert_error("set_grad: the gradient is f64 (2) on cpu, expected f64 (3)");
        ck_assert(!ct_set_grad(vector(1, 2, 3), vector(1, 2, 3)));
        assert_error("set_grad: f64 (3) is not a leaf");
        ck_assert(!ct_set_grad(ct_square(x), vector(1, 2, 3)));
        assert_error("set_grad: f64 (3) is not a leaf");
        ck_assert_ptr_null(ct_grad(ct_square(x)));
    }
}
END_TEST

/* Values and gradients are those of the layers one by one, and each has a gradient of its own. */
START_TEST(joined_layers_are_each_layer) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0);
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F64, CT_CPU, CT_SHAPE(2, 3, 5));
        ct_tensor *weight[2][2], *bias[2][2], *y[2];
        for (int i = 0; i < 2; i++) {
            int64_t out = i ? 4 : 2;
            ct_tensor *w = ct_random_normal(&rng, "w", CT_F64, CT_CPU, CT_SHAPE(out, 5));
            ct_tensor *b = ct_random_normal(&rng, "b", CT_F64, CT_CPU, CT_SHAPE(out));
            for (int way = 0; way < 2; way++) {
                weight[way][i] = ct_require_grad(ct_tensor_copy(w));
                bias[way][i] = ct_require_grad(ct_tensor_copy(b));
            }
        }
        y[0] = ct_linear_joined(x, weight[0], bias[0], 2);
        y[1] = ct_concat2(ct_linear_with(x, weight[1][0], bias[1][0]),
                          ct_linear_with(x, weight[1][1], bias[1][1]), 2);
        assert_close(y[0], y[1], 1e-14, 1e-14, "joined");
        for (int way = 0; way < 2; way++) ck_assert(ct_backward(ct_sum_all(ct_square(y[way]))));
        for (int i = 0; i < 2; i++) {
            assert_close(ct_grad(weight[0][i]), ct_grad(weight[1][i]), 1e-13, 1e-13, "weight");
            assert_close(ct_grad(bias[0][i]), ct_grad(bias[1][i]), 1e-13, 1e-13, "bias");
            ck_assert(ct_is_exclusive(ct_grad(weight[0][i])));
        }
    }
    assert_no_error();
}
END_TEST

START_TEST(segments_are_added_up) {
    CT_SCOPE {
        ct_tensor *x =
            ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3, 2), (double[]){1, 2, 3, 4, 5, 6});
        ct_tensor *segment = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(3), (int64_t[]){2, 0, 2});
        const double sums[] = {3, 4, 0, 0, 6, 8};
        assert_close(ct_segment_sum(x, segment, 3),
                     ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3, 2), sums), 0, 0, "segment_sum");
        ck_assert_ptr_null(ct_segment_sum(x, segment, 2));
        assert_error("index 2 at position 0 is outside 0..1");
        ck_assert_ptr_null(ct_segment_sum(x, segment, -1));
        assert_error("segment_sum: x is f64 (3,2), -1 segments: expected (R,..) and 0 or more");
        ck_assert_ptr_null(ct_segment_sum(NULL, segment, 1));
        assert_error("segment_sum: an input is NULL");
    }
}
END_TEST

START_TEST(operations_say_what_is_wrong) {
    CT_SCOPE {
        ct_tensor *x = ct_require_grad(ct_zeros(CT_F64, CT_CPU, CT_SHAPE(2, 3)));
        ck_assert_ptr_null(ct_sum(x, 2));
        assert_error("sum: axis 2 is outside");
        ck_assert_ptr_null(ct_sum(NULL, 0));
        assert_error("sum: an input is NULL");
        ck_assert_ptr_null(ct_linear_with(x, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3, 2)), NULL));
        assert_error("linear: x f64 (2,3), weight f64 (3,2), bias NULL: expected");
        ck_assert_ptr_null(ct_linear_joined(x, &x, NULL, CT_MOST_JOINED + 1));
        assert_error("linear: 9 layers, expected 1 to 8");
        ck_assert_ptr_null(ct_matmul(x, x));
        assert_error("matmul: inner sizes differ: (2,3) x (2,3)");
        ck_assert_ptr_null(ct_glu(x, 1));
        assert_error("glu: dimension 1 of f64 (2,3) cannot be halved");
        ck_assert_ptr_null(ct_select(x, 0, 2));
        assert_error("select: position 2 is outside dimension 0 of f64 (2,3)");
        ck_assert_ptr_null(ct_variance(ct_slice(x, 0, 0, 1, 1), 0, true));
        assert_error("variance: dimension 0 of f64 (1,3) has too few elements");
        ck_assert_ptr_null(ct_masked_fill(x, ct_zeros(CT_U8, CT_CPU, CT_SHAPE(4, 2, 3)), 0));
        assert_error("masked_fill: the mask u8 (4,2,3) does not broadcast to f64 (2,3)");
        ck_assert_ptr_null(ct_masked_fill(x, x, 0));
        assert_error("masked_fill: the mask is f64 (2,3), expected u8");
        ck_assert_ptr_null(ct_stack((ct_tensor *[]){x, ct_select(x, 0, 0)}, 2, 0));
        assert_error("stack: shapes differ: f64 (2,3) and f64 (3)");
        ck_assert_ptr_null(ct_weight_norm(x, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3))));
        assert_error("weight_norm: v f64 (2,3), g f64 (3)");
        ck_assert_ptr_null(ct_dropout_with(x, 1.5, NULL, "x"));
        assert_error("dropout: probability 1.5");
        ck_assert_ptr_null(ct_dropout_with(x, 0.5, NULL, "x"));
        assert_error("dropout: the generator is NULL");
        ct_tensor *labels = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(3));
        ck_assert_ptr_null(ct_cross_entropy_rows(x, labels, -1, 0));
        assert_error("cross_entropy: logits f64 (2,3), labels i64 (3)");
        ck_assert_ptr_null(ct_embedding_with(labels, labels, -1));
        assert_error("embedding: weight i64 (3)");
        ck_assert_ptr_null(ct_embedding_with(x, x, -1));
        assert_error("embedding: the index is f64 (2,3), expected i64 or i32");
        ct_set(labels, 1, 2);
        ck_assert_ptr_null(ct_embedding_with(x, labels, -1));
        assert_error("embedding: index_select: index 2 at position 1 is outside 0..1");
        ck_assert_ptr_null(ct_unary(CT_UNARY_COUNT, x, 0, 0));
        assert_error("unary: unknown kind");
        /* an error makes NULLs all the way and stays the first */
        ck_assert_ptr_null(ct_mean_all(ct_square(ct_sub(ct_matmul(x, x), x))));
        assert_error("matmul: inner sizes differ");
    }
}
END_TEST

/* ---- profile ---------------------------------------------------------------------------- */

START_TEST(a_profile_counts_calls_and_bytes) {
    int count;
    ck_assert_ptr_null(ct_profile_stop(&count));
    assert_error("profile: none was started");
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3);
        ct_profile_start(CT_CPU);
        ct_tensor *y = ct_mul(ct_square(x), ct_square(x));
        ck_assert(ct_backward(ct_sum_all(y)));
    }
    ct_profile_row *rows = ct_profile_stop(&count), *square = NULL;
    for (int i = 0; i < count; i++) {
        if (strcmp(rows[i].name, "square") == 0) square = &rows[i];
    }
    ck_assert_ptr_nonnull(square);
    ck_assert_int_eq(square->calls, 2);
    ck_assert_int_eq(square->bytes, 2 * (24 + 24));
    ck_assert(square->forward > 0 && square->backward > 0);
    free(rows);
    assert_no_error();
}
END_TEST

TEST_MAIN("autograd", gradients_accumulate_until_dropped, diamonds_and_reuse,
          shared_gradients_are_not_written_to, only_what_nobody_else_sees_is_exclusive,
          given_gradients_stay_the_callers, a_leaf_of_odd_strides_gets_a_plain_gradient,
          sums_do_not_depend_on_the_build, no_grad_records_nothing, detach_cuts,
          forgotten_leaves_collect_nothing, hooks_see_the_whole_gradient_once,
          graphs_outlive_the_scopes_they_were_made_in, a_leaf_may_go_before_backward,
          memory_comes_back, backward_frees_what_was_saved, long_chains_do_not_recurse,
          graphs_pass_between_threads, backward_says_what_is_wrong, leaves_say_what_is_wrong,
          joined_layers_are_each_layer, segments_are_added_up, operations_say_what_is_wrong,
          a_profile_counts_calls_and_bytes)
