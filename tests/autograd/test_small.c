/* SPDX-License-Identifier: Apache-2.0 */
/* What one thread does is done without OpenMP: no team of threads is entered, which would take
 * longer than a small tensor does. Counted are calls of what gcc makes of a parallel region; those
 * of another compiler are not known here (77, skipped). */
#include <dlfcn.h>

#include "autograd/gradcheck.h"
#include "tests/test.h"

#ifdef __clang__
int main(void) { return 77; }
#else

typedef void parallel_region(void (*function)(void *), void *data, unsigned threads,
                             unsigned flags);
parallel_region GOMP_parallel;

static int teams;

void GOMP_parallel(void (*function)(void *), void *data, unsigned threads, unsigned flags) {
    void *found = dlsym(RTLD_NEXT, "GOMP_parallel");
    parallel_region *next;
    memcpy(&next, &found, sizeof next);
    teams++;
    next(function, data, threads, flags);
}

START_TEST(one_thread_enters_no_team) {
    const ct_op *op = ct_op_at(_i);
    int cases = 0;
    ct_set_threads(1);
    teams = 0;
    bool agrees = ct_gradcheck_op(op, (ct_gradcheck_options){.seed = 7}, &cases);
    ck_assert_msg(agrees, "%s", ct_error());
    ck_assert_int_gt(cases, 0);
    ck_assert_msg(teams == 0, "%s entered %d teams", op->name, teams);
}
END_TEST

/* x (rows,64) through forward and backward of operations of all families. */
static void compute(int64_t rows) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(1, 0);
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F32, CT_CPU, CT_SHAPE(rows, 64));
        ct_tensor *w = ct_random_normal(&rng, "w", CT_F32, CT_CPU, CT_SHAPE(64, 64));
        ct_tensor *b = ct_random_normal(&rng, "b", CT_F32, CT_CPU, CT_SHAPE(64));
        ct_require_grad(x);
        ct_require_grad(w);
        ct_require_grad(b);
        ct_tensor *y = ct_add(ct_softmax(ct_linear_with(x, w, b), -1), ct_l2_normalize(x, -1));
        y = ct_layer_norm_with(ct_transpose(y, 0, 1), NULL, NULL, 1e-5);
        y = ct_batch_norm_with(ct_contiguous(y), 0, NULL, NULL, 1e-5, NULL, NULL);
        ct_backward(ct_mean_all(ct_cumsum(y, 0)));
    }
    assert_no_error();
}

START_TEST(small_tensors_enter_no_team_and_large_ones_do) {
    ct_set_threads(2);
    teams = 0;
    compute(8);
    ck_assert_msg(teams == 0, "%d teams were entered", teams);
    compute(4096);
    ck_assert_int_gt(teams, 10);
}
END_TEST

int main(void) {
    TCase *tcase = tcase_create("small");
    tcase_add_loop_test(tcase, one_thread_enters_no_team, 0, ct_op_count());
    tcase_add_test(tcase, small_tensors_enter_no_team_and_large_ones_do);
    return ct_run_case("small", tcase);
}
#endif
