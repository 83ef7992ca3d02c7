/* SPDX-License-Identifier: Apache-2.0 */
/* The shim itself: barriers, warps, shared memory do what they do on a device, and what is wrong in
 * a kernel is noticed. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "cuda_runtime.h"

template <typename... P, typename... A>
static cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                          A... argument) {
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    ct_shim_kernel = "test";
    return cudaLaunchKernelEx(&config, kernel, argument...);
}

enum { COUNT = 96 };

/* ---- what works ------------------------------------------------------------------------- */

/* y[i] = x[COUNT - 1 - i], by way of shared memory; without its barrier it depends on the order. */
static void reverse(const int *x, int *y, bool barrier) {
    __shared__ int all[COUNT];
    int i = (int)threadIdx.x;
    all[i] = x[blockIdx.x * COUNT + threadIdx.x];
    if (barrier) __syncthreads();
    y[blockIdx.x * COUNT + threadIdx.x] = all[COUNT - 1 - i];
}

static int wrong_after_reverse(bool barrier) {
    int x[3 * COUNT], y[3 * COUNT], wrong = 0;
    for (int i = 0; i < 3 * COUNT; i++) x[i] = i;
    ck_assert_int_eq(launch(reverse, 3, COUNT, 0, x, y, barrier), cudaSuccess);
    for (int i = 0; i < 3 * COUNT; i++) wrong += y[i] != i / COUNT * COUNT + COUNT - 1 - i % COUNT;
    return wrong;
}

START_TEST(barriers_hold_and_missing_ones_show) {
    static const char *const orders[] = {"forward", "reversed", "3"};
    setenv("CT_SHIM_ORDER", orders[_i], 1);
    ck_assert_int_eq(wrong_after_reverse(true), 0);
    ck_assert_int_gt(wrong_after_reverse(false), 0);
}
END_TEST

static void warps(int *out) {
    int i = (int)threadIdx.x, lane = i % 32, *y = out + 8 * i;
    y[0] = __shfl_sync(0xffffffffu, i, 5);
    y[1] = __shfl_xor_sync(0xffffffffu, i, 3);
    y[2] = __shfl_down_sync(0xffffffffu, i, 30);
    y[3] = __shfl_up_sync(0xffffffffu, i, 2);
    y[4] = (int)__ballot_sync(0xffffffffu, lane % 2);
    y[5] = __shfl_sync(0xffffffffu, i, 1, 8);
    y[6] = __syncthreads_count(i < 40);
    unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
    y[7] = __shfl_sync(half, i, lane < 16 ? 3 : 20);
}

START_TEST(warp_functions) {
    static int out[8 * COUNT];
    ck_assert_int_eq(launch(warps, 1, COUNT, 0, out), cudaSuccess);
    for (int i = 0; i < COUNT; i++) {
        int *y = out + 8 * i, lane = i % 32, base = i - lane;
        ck_assert_int_eq(y[0], base + 5);
        ck_assert_int_eq(y[1], base + (lane ^ 3));
        ck_assert_int_eq(y[2], lane + 30 < 32 ? i + 30 : i);
        ck_assert_int_eq(y[3], lane >= 2 ? i - 2 : i);
        ck_assert_uint_eq((unsigned)y[4], 0xaaaaaaaau);
        ck_assert_int_eq(y[5], base + lane / 8 * 8 + 1);
        ck_assert_int_eq(y[6], 40);
        ck_assert_int_eq(y[7], base + (lane < 16 ? 3 : 20));
    }
}
END_TEST

/* Some threads end before a barrier that the others use. */
static void early_end(int *y) {
    if (threadIdx.x % 2) return;
    for (int round = 0; round < 5; round++) {
        __syncthreads();
        y[threadIdx.x]++;
    }
}

static void grid_of_three(unsigned *y) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    atomicAdd(&y[block * 24 + thread], 1u);
}

START_TEST(threads_and_blocks) {
    static int y[COUNT];
    ck_assert_int_eq(launch(early_end, 1, COUNT, 0, y), cudaSuccess);
    for (int i = 0; i < COUNT; i++) ck_assert_int_eq(y[i], i % 2 ? 0 : 5);
    static unsigned z[30 * 24];
    ck_assert_int_eq(launch(grid_of_three, dim3(2, 3, 5), dim3(4, 3, 2), 0, z), cudaSuccess);
    for (int i = 0; i < 30 * 24; i++) ck_assert_uint_eq(z[i], 1);
}
END_TEST

static void see_shared(float *y) {
    __shared__ float fixed[4];
    float *dynamic = (float *)ct_shim_shared_memory();
    y[0] = fixed[1];
    y[1] = dynamic[3];
    fixed[1] = dynamic[3] = 7; /* what the next block must not see */
}

START_TEST(shared_memory_is_not_initialised) {
    float y[2] = {0, 0};
    ck_assert_int_eq(launch(see_shared, 2, 1, 16, y), cudaSuccess);
    ck_assert(isnan(y[0]) && isnan(y[1]));
}
END_TEST

/* ---- capture and graphs ----------------------------------------------------------------- */

static float *on_device(float value) {
    float *x;
    ck_assert_int_eq(cudaMallocAsync((void **)&x, sizeof value, nullptr), cudaSuccess);
    cudaMemcpyAsync(x, &value, sizeof value, cudaMemcpyHostToDevice, nullptr);
    return x;
}

static float read_back(const float *x) {
    float value = NAN;
    cudaMemcpyAsync(&value, x, sizeof value, cudaMemcpyDeviceToHost, nullptr);
    return value;
}

static void begin_capture() {
    cudaError_t status = cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal);
    ck_assert_int_eq(status, cudaSuccess);
}

static void add(float *y, const float *x, float factor) { *y += factor * *x; }

START_TEST(graphs_do_what_was_recorded) {
    float *x = on_device(3), *y = on_device(1), *room, factor = 2;
    cudaGraph_t graph;
    cudaGraphExec_t runnable, second;
    begin_capture();
    ck_assert_int_eq(cudaMallocAsync((void **)&room, 4, nullptr), cudaSuccess);
    ck_assert_int_eq(cudaMemsetAsync(room, 0, 4, nullptr), cudaSuccess);
    ck_assert_int_eq(launch(add, 1, 1, 0, room, x, factor), cudaSuccess);
    ck_assert_int_eq(launch(add, 1, 1, 0, y, room, 1.0f), cudaSuccess);
    ck_assert_int_eq(cudaFreeAsync(y, nullptr), cudaErrorInvalidValue); /* not the graph's */
    ck_assert_int_eq(cudaFreeAsync(room, nullptr), cudaSuccess);
    ck_assert_int_eq(cudaFreeAsync(room, nullptr), cudaErrorInvalidValue);
    factor = 5; /* an argument is as it was */
    ck_assert_int_eq(cudaStreamEndCapture(nullptr, &graph), cudaSuccess);
    ck_assert(read_back(y) == 1);
    ck_assert_int_eq(cudaGraphInstantiate(&runnable, graph, 0), cudaSuccess);
    ck_assert_int_eq(cudaGraphInstantiate(&second, graph, 0), cudaErrorNotSupported);
    ck_assert_int_eq(cudaGraphDestroy(graph), cudaSuccess);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(cudaGraphLaunch(runnable, nullptr), cudaSuccess);
    ck_assert(read_back(y) == 1 + 3 * 2 * 3);
    ck_assert_int_eq(cudaFreeAsync(room, nullptr), cudaErrorInvalidValue); /* it is gone */
    ck_assert_int_eq(cudaGraphExecDestroy(runnable), cudaSuccess);
    ck_assert_int_eq(cudaGraphExecDestroy(runnable), cudaErrorInvalidValue);
    ck_assert_int_eq(cudaGraphLaunch(runnable, nullptr), cudaErrorInvalidValue);
    ck_assert_int_eq(cudaGraphDestroy(graph), cudaErrorInvalidValue);
    cudaFreeAsync(x, nullptr);
    cudaFreeAsync(y, nullptr);
}
END_TEST

static void copy(float *y, const float *x) { *y = *x; }

/* NaN in every launch, whatever the last one left there. */
START_TEST(memory_of_graphs_is_not_initialised) {
    float *x = on_device(3), *y = on_device(1), *room;
    cudaGraph_t graph;
    cudaGraphExec_t runnable;
    begin_capture();
    cudaMallocAsync((void **)&room, 4, nullptr);
    launch(copy, 1, 1, 0, y, room);
    launch(copy, 1, 1, 0, room, x);
    cudaFreeAsync(room, nullptr);
    ck_assert_int_eq(cudaStreamEndCapture(nullptr, &graph), cudaSuccess);
    ck_assert_int_eq(cudaGraphInstantiate(&runnable, graph, 0), cudaSuccess);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(cudaGraphLaunch(runnable, nullptr), cudaSuccess);
        ck_assert(isnan(read_back(y)));
    }
    cudaGraphExecDestroy(runnable);
    cudaGraphDestroy(graph);
    cudaFreeAsync(x, nullptr);
    cudaFreeAsync(y, nullptr);
}
END_TEST

/* What is allocated in a graph and stays is there for the launch after, which fails. */
START_TEST(memory_that_a_graph_keeps) {
    float *room;
    cudaGraph_t graph;
    cudaGraphExec_t runnable;
    begin_capture();
    cudaMallocAsync((void **)&room, 4, nullptr);
    ck_assert_int_eq(cudaStreamEndCapture(nullptr, &graph), cudaSuccess);
    cudaGraphInstantiate(&runnable, graph, 0);
    ck_assert_int_eq(cudaGraphLaunch(runnable, nullptr), cudaSuccess);
    ck_assert_int_eq(cudaGraphLaunch(runnable, nullptr), cudaErrorInvalidValue);
    cudaGraphExecDestroy(runnable);
    cudaGraphDestroy(graph);
}
END_TEST

/* _i: what no capture takes; it ends that one, and the stream works again. */
START_TEST(what_spoils_a_capture) {
    float *x = on_device(3), value;
    cudaGraph_t graph;
    begin_capture();
    cudaError_t status =
        _i == 0 ? cudaStreamSynchronize(nullptr)
                : cudaMemcpyAsync(&value, x, sizeof value, cudaMemcpyDeviceToHost, nullptr);
    ck_assert_int_eq(status, cudaErrorStreamCaptureUnsupported);
    ck_assert_int_eq(launch(copy, 1, 1, 0, x, x), cudaErrorStreamCaptureInvalidated);
    ck_assert_int_eq(cudaStreamEndCapture(nullptr, &graph), cudaErrorStreamCaptureInvalidated);
    ck_assert_ptr_null(graph);
    ck_assert_int_eq(cudaStreamSynchronize(nullptr), cudaSuccess);
    ck_assert(read_back(x) == 3);
    cudaFreeAsync(x, nullptr);
}
END_TEST

START_TEST(graphs_that_are_left_show) {
    cudaGraph_t graph;
    begin_capture();
    ck_assert_int_eq(cudaStreamEndCapture(nullptr, &graph), cudaSuccess);
}
END_TEST

/* ---- what is refused -------------------------------------------------------------------- */

static void nothing() {}

START_TEST(launches_that_no_device_takes) {
    ck_assert_int_eq(launch(nothing, 1, 1024, 0), cudaSuccess);
    ck_assert_int_eq(launch(nothing, 0, 1, 0), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(launch(nothing, 1, 1025, 0), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(launch(nothing, dim3(1, 65536), 1, 0), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(launch(nothing, 1, 1, 50000), cudaErrorInvalidConfiguration);
    ck_assert_int_eq(
        cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 50000),
        cudaSuccess);
    ck_assert_int_eq(launch(nothing, 1, 1, 50000), cudaSuccess);
}
END_TEST

/* ---- what ends the program -------------------------------------------------------------- */

static void stuck_at_barrier() {
    if (threadIdx.x < 32) __syncwarp();
    else if (threadIdx.x == 40) __syncwarp(); /* for the rest of its warp */
    __syncthreads();
}

static void stuck_in_warp() {
    if (threadIdx.x == 3) __shfl_sync(0xffffffffu, 1, 0);
}

static void outside_its_mask() { __ballot_sync(0xfu, 1); }

static void from_outside() {
    if (threadIdx.x < 4) __shfl_sync(0xfu, 1, 9);
}

START_TEST(threads_that_wait_for_ever) {
    void (*const kernels[])() = {stuck_at_barrier, stuck_in_warp, outside_its_mask, from_outside};
    launch(kernels[_i], 1, 64, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda shim");
    TCase *tcase = tcase_create("cuda shim");
    tcase_add_loop_test(tcase, barriers_hold_and_missing_ones_show, 0, 3);
    tcase_add_test(tcase, warp_functions);
    tcase_add_test(tcase, threads_and_blocks);
    tcase_add_test(tcase, shared_memory_is_not_initialised);
    tcase_add_test(tcase, launches_that_no_device_takes);
    tcase_add_test(tcase, graphs_do_what_was_recorded);
    tcase_add_test(tcase, memory_of_graphs_is_not_initialised);
    tcase_add_test(tcase, memory_that_a_graph_keeps);
    tcase_add_loop_test(tcase, what_spoils_a_capture, 0, 2);
    tcase_add_exit_test(tcase, graphs_that_are_left_show, 1);
    tcase_add_loop_test_raise_signal(tcase, threads_that_wait_for_ever, SIGABRT, 0, 4);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
