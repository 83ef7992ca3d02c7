/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA device's memory, its errors, and finding the backend. */
#include <dlfcn.h>

#include "tests/cuda/cuda_test.h"
#include "tensor/device/cuda_library.h"
#include "tensor/ranks/transport.h"

START_TEST(counts_what_is_held) {
    int64_t before = ct_memory_in_use(CT_CUDA);
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(1000));
        assert_no_error();
        ck_assert_int_eq(ct_memory_in_use(CT_CUDA), before + 4000);
        ct_tensor_slice(x, 0, 0, 10, 1);
        ck_assert_int_eq(ct_memory_in_use(CT_CUDA), before + 4000);
    }
    ck_assert_int_eq(ct_memory_in_use(CT_CUDA), before);
}
END_TEST

/* With what a kernel needs for itself: a product in bf16 rounds its operands into new memory. A
 * GPU's pool grows by 32 MiB at a time. */
START_TEST(knows_the_most_it_held) {
    CT_SCOPE {
        int64_t n = on_gpu() ? 8 << 20 : 10000, slack = on_gpu() ? 32 << 20 : 0;
        ct_tensor *x = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(2, n));
        ct_tensor *y = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(n, 2));
        int64_t before = ct_device_memory_peak(CT_CUDA);
        ck_assert_int_ge(before, 2 * 8 * n);
        ck_assert(ct_set_precision(CT_CUDA, CT_PRECISION_BF16));
        ct_tensor_matmul(x, y);
        int64_t most = ct_device_memory_peak(CT_CUDA);
        ck_assert_int_ge(most, before + 2 * 4 * n - slack);
        ck_assert(ct_memory_trim(CT_CUDA) && ct_memory_trim(CT_CPU));
        ct_full(CT_F32, CT_CUDA, CT_SHAPE(n / 2), 1); /* in what was given back */
        ck_assert_int_eq(ct_device_memory_peak(CT_CUDA), most);
        ck_assert_int_eq(ct_device_memory_peak(CT_CPU), ct_memory_peak(CT_CPU));
        assert_no_error();
    }
}
END_TEST

START_TEST(out_of_memory_says_how_much) {
    setenv("CT_SHIM_MEMORY", "8", 1); /* MiB */
    CT_SCOPE {
        ct_tensor *held = ct_zeros(CT_U8, CT_CUDA, CT_SHAPE(5 << 20));
        assert_no_error();
        int64_t more = on_gpu() ? (int64_t)1 << 40 : 1 << 20;
        ck_assert_ptr_null(ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(more)));
        assert_error(on_gpu() ? "no memory on the device for 4194304.0 MiB (tensors hold 5.0 MiB, "
                              : "no memory on the device for 4.0 MiB (tensors hold 5.0 MiB, 3.0 of "
                                "8.0 MiB are free)");
        ck_assert_ptr_nonnull(held);
    }
    CT_SCOPE { /* and afterwards it goes on */
        ck_assert_double_eq(ct_get(ct_full(CT_F32, CT_CUDA, CT_SHAPE(1 << 20), 3), 77), 3);
    }
    assert_no_error();
}
END_TEST

START_TEST(empty_tensors) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(0, 3));
        ct_tensor *y = ct_tensor_cast(ct_tensor_mul(x, x), CT_F64);
        ck_assert_int_eq(ct_count(ct_tensor_to_device(y, CT_CPU)), 0);
        assert_no_error();
    }
}
END_TEST

START_TEST(devices_do_not_mix) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2));
        ck_assert_ptr_null(ct_tensor_add(x, ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(2))));
        assert_error("add: devices differ: f32 (2) on cpu and f32 (2) on cuda");
    }
}
END_TEST

/* What a kernel noticed is known by then. */
START_TEST(waiting_gives_errors) {
    CT_SCOPE {
        ck_assert(ct_device_wait(CT_CUDA));
        ct_tensor *index = ct_full(CT_I64, CT_CUDA, CT_SHAPE(1), 7);
        ct_tensor_index_select(ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(3)), 0, index);
        assert_no_error();
        ck_assert(!ct_device_wait(CT_CUDA));
        assert_error("7");
    }
}
END_TEST

START_TEST(names_the_device) {
    ck_assert(ct_device_open(CT_CUDA));
    ck_assert_ptr_nonnull(strstr(ct_machine_text(), "cuda ("));
}
END_TEST

/* Each test is a process of its own, so that nothing is loaded yet. */
START_TEST(no_backend_is_one_clear_error) {
    setenv("CT_CUDA_LIBRARY", "/nowhere/cuda.so", 1);
    for (int i = 0; i < 2; i++) { /* the second time too */
        ck_assert(!ct_device_open(CT_CUDA));
        assert_error("cuda: the CUDA backend was not loaded (/nowhere/cuda.so: ");
    }
    CT_SCOPE {
        ck_assert_ptr_null(ct_zeros(CT_F32, CT_CUDA, CT_SHAPE(2)));
        assert_error("/nowhere/cuda.so");
        ck_assert_ptr_nonnull(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2)));
    }
    ck_assert_ptr_null(strstr(ct_machine_text(), "cuda"));
    assert_no_error();
}
END_TEST

START_TEST(an_earlier_error_stays_the_first) {
    setenv("CT_CUDA_LIBRARY", "/nowhere/cuda.so", 1);
    ct_fail("something else");
    ck_assert(!ct_device_open(CT_CUDA));
    assert_error("something else");
    ck_assert(!ct_device_open(CT_CUDA));
    assert_error("/nowhere/cuda.so");
}
END_TEST

START_TEST(another_library_is_refused) {
    setenv("CT_CUDA_LIBRARY", "libm.so.6", 1);
    ck_assert(!ct_device_open(CT_CUDA));
    assert_error("cuda: not a CUDA backend");
}
END_TEST

/* Opened with a table that says another version, and one of another size. */
START_TEST(another_version_is_refused) {
    if (!getenv("CT_CUDA_LIBRARY")) return; /* suite gpu: it lies beside the program */
    void *library = dlopen(getenv("CT_CUDA_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    ck_assert_ptr_nonnull(library);
    ct_cuda_open_function *open = (ct_cuda_open_function *)dlsym(library, "ct_cuda_open");
    ct_host_functions host = {.version = CT_CUDA_LIBRARY_VERSION,
                              .backend_size = sizeof(ct_backend),
                              .fail = ct_fail,
                              .fail_bool = ct_fail_bool,
                              .memory_in_use = ct_memory_in_use,
                              .tensor_text = ct_tensor_text,
                              .transport = ct_transport};
    ct_host_functions other = host, larger = host;
    other.version++;
    larger.backend_size += 8;
    ck_assert_ptr_null(open(&other));
    assert_error("cuda: the CUDA backend is of another version than this program");
    ck_assert_ptr_null(open(&larger));
    assert_error("another version");
    ck_assert_ptr_nonnull(open(&host));
    assert_no_error();
}
END_TEST

TEST_MAIN("cuda memory", counts_what_is_held, knows_the_most_it_held, out_of_memory_says_how_much,
          empty_tensors, devices_do_not_mix, waiting_gives_errors, names_the_device,
          no_backend_is_one_clear_error, an_earlier_error_stays_the_first,
          another_library_is_refused, another_version_is_refused)
