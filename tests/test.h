/* SPDX-License-Identifier: Apache-2.0 */
/* What every test file includes: Check, and a main that runs one suite.
 *
 *     START_TEST(adds) { ... } END_TEST
 *     TEST_MAIN("pointwise", adds, ...)
 */
#ifndef CT_TEST_H
#define CT_TEST_H

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tensor/tensor.h"

/* Fails with the library's message if the thread has an error. */
#define assert_no_error() ck_assert_msg(ct_ok(), "unexpected error: %s", ct_error())

/* The thread has an error and its message contains `text`; clears it. */
#define assert_error(text)                                                                    \
    do {                                                                                      \
        ck_assert_msg(!ct_ok(), "expected an error containing '%s'", (text));                 \
        ck_assert_msg(strstr(ct_error(), (text)) != NULL, "error '%s' does not contain '%s'", \
                      ct_error(), (text));                                                    \
        ct_error_clear();                                                                     \
    } while (0)

/* |a - b| <= relative * max|b| + absolute for every element; shapes equal. */
static inline void assert_close(const ct_tensor *a, const ct_tensor *b, double relative,
                                double absolute, const char *what) {
    assert_no_error();
    ck_assert_msg(a && b, "%s: a tensor is NULL", what);
    ck_assert_msg(ct_shape_equal(a->shape, b->shape), "%s: shape %s, expected %s", what,
                  ct_tensor_text(a), ct_tensor_text(b));
    CT_SCOPE {
        /* one check a tensor, not one an element: Check writes down every one */
        ct_tensor *wide_a = ct_tensor_cast(a, CT_F64), *wide_b = ct_tensor_cast(b, CT_F64);
        const double *got = ct_data(ct_tensor_to_device(wide_a, CT_CPU));
        const double *expected = ct_data(ct_tensor_to_device(wide_b, CT_CPU));
        assert_no_error();
        double largest = 0;
        int64_t count = ct_count(b);
        for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(expected[i]));
        for (int64_t i = 0; i < count; i++) {
            double error = fabs(got[i] - expected[i]);
            if (error <= relative * largest + absolute) continue;
            ck_abort_msg("%s: element %lld is %.17g, expected %.17g (error %.3g)", what,
                         (long long)i, got[i], expected[i], error);
        }
    }
}

/* CT_ISA names kernels that this processor cannot run: exit status 77, a skipped test. */
static inline bool isa_missing(void) {
    if (!getenv("CT_ISA")) return false;
    CT_SCOPE { ct_scalar(CT_F32, CT_CPU, 0); }
    bool missing = ct_error() && strstr(ct_error(), "lacks the instructions");
    ct_error_clear();
    return missing;
}

/* Where a test computes that runs on several devices: CT_TEST_DEVICE, the CPU without it. */
static inline ct_device test_device(void) {
    const char *name = getenv("CT_TEST_DEVICE");
    return name && strcmp(name, ct_device_name(CT_CUDA)) == 0 ? CT_CUDA : CT_CPU;
}

/* CT_TEST_GPU: CUDA is a GPU here (suite gpu), not the shim (suite cuda). */
static inline bool on_gpu(void) { return getenv("CT_TEST_GPU") != NULL; }

/* Whether the sizes and step counts are those for a GPU. CT_TEST_SMALL: not there either, under a
 * tool that makes all slow (scripts/sanitize-gpu). */
static inline bool at_full_size(void) { return on_gpu() && !getenv("CT_TEST_SMALL"); }

static inline bool finds_no_gpu(void) {
    if (ct_device_open(CT_CUDA)) return false;
    bool missing = strstr(ct_error(), "no NVIDIA driver is installed") ||
                   strstr(ct_error(), "no CUDA-capable device is detected");
    if (missing) fprintf(stderr, "skipped: %s\n", ct_error());
    ct_error_clear();
    return missing;
}

/* A test that needs a GPU runs where none is: exit status 77, a skipped test. Only then: with a
 * GPU, a backend that does not open is a failure of the tests. */
static inline bool gpu_missing(void) {
    if (!on_gpu()) return false;
    const char *forks = getenv("CK_FORK");
    if (forks && strcmp(forks, "no") == 0) return finds_no_gpu();
    pid_t child =
        fork(); /* what CUDA sets up does not outlive a fork, which Check does for tests */
    if (child == 0) _exit(finds_no_gpu() ? 77 : 0);
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 77;
}

/* CT_TEST_ANOMALY: in anomaly mode, where the program has one (autograd/autograd.h). */
void ct_set_anomaly_mode(bool on) __attribute__((weak));

/* The exit status of a program with these tests. */
static inline int ct_run_case(const char *name, TCase *tcase) {
    if (getenv("CT_TEST_ANOMALY") && ct_set_anomaly_mode) ct_set_anomaly_mode(true);
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

static inline int ct_run_suite(const char *name, const TTest *const *tests, size_t count) {
    if (isa_missing() || gpu_missing()) return 77;
    TCase *tcase = tcase_create(name);
    for (size_t i = 0; i < count; i++) tcase_add_test(tcase, tests[i]);
    return ct_run_case(name, tcase);
}

#define TEST_MAIN(name, ...)                                            \
    int main(void) {                                                    \
        const TTest *tests[] = {__VA_ARGS__};                           \
        return ct_run_suite(name, tests, sizeof tests / sizeof *tests); \
    }

/* A test that runs `loops` times, _i counting from 0, as one runs for each of an array of cases. */
typedef struct {
    const TTest *test;
    size_t loops;
} looped_test;

static inline int run_looped_suite(const char *name, const looped_test *tests, size_t count) {
    if (isa_missing() || gpu_missing()) return 77;
    TCase *tcase = tcase_create(name);
    for (size_t i = 0; i < count; i++) {
        tcase_add_loop_test(tcase, tests[i].test, 0, (int)tests[i].loops);
    }
    return ct_run_case(name, tcase);
}

#define LOOPED_TEST_MAIN(name, ...)                                         \
    int main(void) {                                                        \
        const looped_test tests[] = {__VA_ARGS__};                          \
        return run_looped_suite(name, tests, sizeof tests / sizeof *tests); \
    }

#endif
