/* SPDX-License-Identifier: Apache-2.0 */
/* What is of ranks on GPUs alone. test_ranks and test_ranks_model run there, too. */
#include "tests/ranks/ranks_test.h"

#include <pthread.h>

#include "tensor/device/backend.h"

static ct_tensor *numbers(ct_dtype dtype, int64_t count) {
    return ct_full(dtype, CT_CUDA, CT_SHAPE(count), ct_rank() + 1);
}

static double sum_of_ranks(void) { return ct_ranks() * (ct_ranks() + 1) / 2.0; }

/* ---- what is missing, before ranks are joined ------------------------------------------------ */

/* Wherever it is that NCCL is not: none of the ranks waits for that one. */
START_TEST(none_waits_for_a_rank_without_nccl) {
    char *nccl = strdup(getenv("CT_NCCL_LIBRARY"));
    if (_i == 0 || ct_rank() == 1) setenv("CT_NCCL_LIBRARY", "/none/libnccl.so", true);
    CT_SCOPE {
        ck_assert(!ct_tensor_all_reduce(numbers(CT_F32, 3)));
        if (_i == 0 || ct_rank() == 1) assert_error("by NCCL, which was not loaded");
        else assert_error("rank 1 could not use NCCL");
    }
    setenv("CT_NCCL_LIBRARY", nccl, true);
    free(nccl);
}
END_TEST

START_TEST(ranks_are_not_joined_in_a_recording) {
    CT_SCOPE {
        ct_tensor *x = numbers(CT_F32, 3);
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        ck_assert(!ct_tensor_all_reduce(x));
        ck_assert_ptr_null(ct_capture_end());
        assert_error("ranks: not while a capture is recorded");
    }
}
END_TEST

/* ---- devices --------------------------------------------------------------------------------- */

static void *compute(void *of) {
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F64, CT_CUDA, CT_SHAPE(5), 2);
        *(double *)of = ct_item(ct_tensor_reduce(CT_SUM, x, CT_ALL_AXES, false));
    }
    return NULL;
}

/* To CUDA a thread begins with the first device, whatever another has chosen. */
START_TEST(every_thread_computes_on_the_ranks_device) {
    double sum = 0;
    pthread_t thread;
    ck_assert(ct_device_open(CT_CUDA));
    ck_assert_int_eq(pthread_create(&thread, NULL, compute, &sum), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(sum == 10);
}
END_TEST

/* ---- recorded -------------------------------------------------------------------------------- */

START_TEST(collectives_are_repeated) {
    CT_SCOPE {
        ct_tensor *x = numbers(CT_F64, 6), *sum = numbers(CT_F64, 6), *all, *part;
        all = ct_zeros(CT_F64, CT_CUDA, CT_SHAPE(6 * ct_ranks()));
        part = ct_zeros(CT_F64, CT_CUDA, CT_SHAPE(6));
        ck_assert(ct_tensor_all_reduce(sum));
        ck_assert(ct_capture_begin(CT_CUDA, NULL));
        CT_SCOPE {
            ct_tensor_copy_to(sum, x);
            ct_tensor_all_reduce(sum);
            ct_tensor_copy_to(all, ct_tensor_all_gather(x));
            ct_tensor_copy_to(part, ct_tensor_reduce_scatter(all));
        }
        ct_capture *capture = ct_capture_end();
        ck_assert_msg(capture != NULL, "%s", ct_error());
        for (int run = 1; run < 4; run++) {
            ck_assert(ct_tensor_fill(x, run * (ct_rank() + 1)) && ct_capture_run(capture, NULL));
            ck_assert(ct_get(sum, 5) == run * sum_of_ranks());
            ck_assert(ct_get(all, ct_count(all) - 1) == run * ct_ranks());
            ck_assert(ct_get(part, 0) == run * ct_ranks() * (ct_rank() + 1));
        }
        ct_capture_destroy(capture);
        assert_no_error();
    }
}
END_TEST

/* ---- a rank that is lost --------------------------------------------------------------------- */

/* The last test. */
START_TEST(none_waits_for_a_rank_that_was_lost) {
    CT_SCOPE {
        ct_tensor *x = numbers(CT_F32, 3);
        setenv("CT_SHIM_NCCL_LOST", "yes", true);
        ck_assert(ct_tensor_all_reduce(x));
        ck_assert(isnan(ct_get(x, 0)));
        assert_error("ranks: a rank was lost: remote process exited or there was a network error");
        ck_assert(!ct_tensor_all_reduce(x));
        assert_error("ranks: one was lost before");
        unsetenv("CT_SHIM_NCCL_LOST");
    }
}
END_TEST

RANKS_MAIN("ranks cuda", {none_waits_for_a_rank_without_nccl, 2},
           {ranks_are_not_joined_in_a_recording, 1}, {every_thread_computes_on_the_ranks_device, 1},
           {collectives_are_repeated, 1}, {none_waits_for_a_rank_that_was_lost, 1})
