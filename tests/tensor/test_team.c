/* SPDX-License-Identifier: Apache-2.0 */
/* One team of threads in a process, whoever computes: kernels, OpenBLAS, oneDNN. A second one would
 * take the cores from the first. */
#include <dirent.h>

#include "tests/tensor/kernel_test.h"

static int threads_of_process(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return 0;
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(tasks));) count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* Each large enough to be spread over threads. */
static void compute(ct_dtype dtype) {
    CT_SCOPE {
        ct_tensor *a = noise(dtype, CT_SHAPE(300, 200), 1, 1);
        ct_tensor *b = noise(dtype, CT_SHAPE(200, 250), 1, 2);
        ct_tensor_unary(CT_UNARY_tanh, ct_tensor_matmul(a, b), 0, 0);
        ct_tensor *many = noise(dtype, CT_SHAPE(64, 40, 40), 1, 3);
        ct_tensor_matmul(many, many); /* small ones, which stay OpenBLAS's */
        ct_tensor *pictures = noise(dtype, CT_SHAPE(4, 16, 28, 28), 1, 4);
        ct_tensor *weight = noise(dtype, CT_SHAPE(16, 16, 3, 3), 1, 5);
        ct_tensor_conv2d(pictures, weight, NULL,
                         (ct_tensor_conv2d_options){.stride = 1, .dilation = 1, .groups = 1});
        assert_no_error();
    }
}

START_TEST(one_team) {
    enum { THREADS = 3 };
    if (threads_of_process() != 1) return; /* no /proc, or a sanitizer's own thread */
    ct_set_threads(THREADS);
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        compute(dtype);
        ck_assert_int_eq(threads_of_process(), THREADS);
    }
    ct_set_threads(1);
    compute(CT_F32); /* libgomp may keep the others; there are no more */
    ck_assert_int_le(threads_of_process(), THREADS);
}
END_TEST

TEST_MAIN("team", one_team)
