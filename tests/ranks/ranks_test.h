/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that mpirun runs on several ranks at once, each of which checks what it sees. */
#ifndef CT_RANKS_TEST_H
#define CT_RANKS_TEST_H

#include "tests/test.h"
#include "tensor/ranks/transport.h"

/* Tests one after the other, without Check's forks, which MPI does not outlive. The others wait for
 * a rank that failed: it ends them. */
static inline int run_on_ranks(const char *name, const looped_test *tests, size_t count) {
    if (!ct_ranks_start()) {
        fprintf(stderr, "%s\n", ct_error());
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        for (int k = 0; k < (int)tests[i].loops; k++) {
            TCase *tcase = tcase_create(name);
            tcase_add_loop_test(tcase, tests[i].test, k, k + 1);
            if (ct_run_case(name, tcase) == 0) continue;
            fprintf(stderr, "rank %d of %d failed\n", ct_rank(), ct_ranks());
            ct_ranks_abort(1);
            return 1;
        }
    }
    ct_ranks_end();
    return 0;
}

#define RANKS_MAIN(name, ...)                                           \
    int main(void) {                                                    \
        const looped_test tests[] = {__VA_ARGS__};                      \
        return run_on_ranks(name, tests, sizeof tests / sizeof *tests); \
    }

/* This rank's part of the first axis. */
static inline ct_tensor *own_part(const ct_tensor *whole) {
    int64_t rows = whole->shape.dim[0] / ct_ranks();
    return ct_tensor_slice(whole, 0, ct_rank() * rows, (ct_rank() + 1) * rows, 1);
}

#endif
