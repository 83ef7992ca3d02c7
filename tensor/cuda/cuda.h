/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA kernels, one family a file, as in tensor/cpu/. Internal to tensor/cuda/.
 *
 * The conventions of these files are in docs/cuda.md; what a kernel may assume of its arguments is
 * written in tensor/device/kernels.def. The same sources are compiled for the host by the tests.
 */
#ifndef CT_CUDA_H
#define CT_CUDA_H

#include <cuda_runtime.h>

#include "tensor/device/cuda_library.h"

/* The program's functions: ct_host->fail_bool("..."). */
extern const ct_host_functions *ct_host;

/* Everything runs in order on one stream. */
extern cudaStream_t ct_cuda_stream;

/* Makes the device, of which a rank has one, this thread's: to CUDA it is the first in each. */
void ct_cuda_take_device();

/* ---- statuses --------------------------------------------------------------------------- */

/* True for success; otherwise an error that names the call: CT_CUDA(cudaMemcpyAsync(...)). */
#define CT_CUDA(call) ct_cuda_ok((ct_cuda_take_device(), (call)), #call)
bool ct_cuda_ok(cudaError_t status, const char *call);

/* ---- launches --------------------------------------------------------------------------- */

/* Runs kernel(arguments...) on the stream with so many bytes of dynamic shared memory; true if it
 * was launched. A kernel with commas in its template arguments is put in parentheses. */
#define CT_LAUNCH(kernel, grid, block, shared_bytes, ...) \
    ct_cuda_launch(#kernel, kernel, grid, block, shared_bytes, __VA_ARGS__)

template <typename... Parameter, typename... Argument>
static inline bool ct_cuda_launch(const char *name, void (*kernel)(Parameter...), dim3 grid,
                                  dim3 block, size_t shared_bytes, Argument &&...argument) {
    ct_cuda_take_device();
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = ct_cuda_stream;
#ifdef CT_CUDA_SHIM
    ct_shim_kernel = name; /* for its messages */
#endif
    return ct_cuda_ok(cudaLaunchKernelEx(&config, kernel, static_cast<Parameter>(argument)...),
                      name);
}

/* Threads of a block where nothing speaks for another number: a multiple of a warp always. */
enum { CT_WARP = 32, CT_THREADS = 256 };

/* Blocks of CT_THREADS for `count` (at least 1) elements, no more than fill the device: kernels
 * loop over the rest. */
unsigned ct_cuda_blocks(int64_t count);

/* for (int64_t i = ct_first(); i < count; i += ct_step()): a kernel's elements. */
static __device__ inline int64_t ct_first() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}
static __device__ inline int64_t ct_step() { return (int64_t)gridDim.x * blockDim.x; }

/* Dynamic shared memory as an array of T, inside a kernel: CT_SHARED(real, row). */
#ifndef CT_CUDA_SHIM
#define CT_SHARED(T, name)                                            \
    extern __shared__ __align__(16) unsigned char ct_shared_memory[]; \
    T *name = reinterpret_cast<T *>(ct_shared_memory)
#else
#define CT_SHARED(T, name) T *name = static_cast<T *>(ct_shim_shared_memory())
#endif

/* ---- tensors ---------------------------------------------------------------------------- */

static inline size_t ct_cuda_size(ct_dtype dtype) {
    return dtype == CT_F64 || dtype == CT_I64   ? 8
           : dtype == CT_F32 || dtype == CT_I32 ? 4
           : dtype == CT_U8                     ? 1
                                                : 2;
}

static inline int64_t ct_cuda_count(const ct_tensor *x) {
    int64_t count = 1;
    for (int i = 0; i < x->shape.ndim; i++) count *= x->shape.dim[i];
    return count;
}

/* First element of a tensor; NULL for NULL. */
template <typename T> static inline T *ct_cuda_data(const ct_tensor *x) {
    if (!x) return nullptr;
    char *storage = static_cast<char *>(x->storage->data);
    return reinterpret_cast<T *>(storage + (size_t)x->offset * ct_cuda_size(x->dtype));
}

/* Row-major without gaps. */
bool ct_cuda_is_contiguous(const ct_tensor *x);

/* ---- memory (memory.cu) ----------------------------------------------------------------- */

bool ct_cuda_start(char *name, size_t size); /* the device, its stream, its pool; writes a name */
void *ct_cuda_allocate(size_t bytes);
void ct_cuda_free(void *data, size_t bytes); /* (capture.cu) */
bool ct_cuda_from_host(void *to, const void *from, size_t bytes);
bool ct_cuda_to_host(void *to, const void *from, size_t bytes);
int64_t ct_cuda_memory_peak(); /* 0 with an error if it is not known */
/* Waits, and gives what the pool and the graphs keep for the next time back to the device, so that
 * either may have it. */
bool ct_cuda_trim();
/* The error that there is not so much memory: it says how much is held and free. */
void ct_cuda_fail_memory(const char *operation, size_t bytes);

/* Device memory that a kernel needs for the time of a call: given back, in stream order, when it
 * goes out of scope. `data` is NULL, with an error, if there is none. */
struct ct_scratch {
    void *data;
    size_t bytes;
    explicit ct_scratch(size_t size) : data(ct_cuda_allocate(size ? size : 1)), bytes(size) {}
    ~ct_scratch() {
        if (data) ct_cuda_free(data, bytes);
    }
    ct_scratch(const ct_scratch &) = delete;
    ct_scratch &operator=(const ct_scratch &) = delete;
};

/* ---- while a capture is recorded (capture.cu) ------------------------------------------- */

bool ct_cuda_is_recording();
/* False with an error that names the operation, and the recording fails, while there is one: for
 * what waits for the device, and for what the device reads from the host. */
bool ct_cuda_may_wait(const char *operation);
bool ct_cuda_may_take(const char *operation);
/* For a draw of so many counters: makes *offset count from **base, on the device, while a capture
 * is recorded; *base is NULL otherwise. False with an error for a generator other than the
 * capture's. */
bool ct_cuda_record_draw(uint64_t seed, uint64_t stream, uint64_t counters, uint64_t *offset,
                         const uint64_t **base);
/* Of every allocation. */
bool ct_cuda_record_allocation(void *data, size_t bytes);

/* ---- what only a kernel can notice ------------------------------------------------------ */

/* A kernel cannot fail, and waiting for it would stop the stream at every step. It writes down
 * the first thing that is wrong and does something harmless; the next call that reads from the
 * device gives the error. */
enum ct_report_kind {
    CT_REPORT_NONE,
    CT_REPORT_INDEX_SELECT, /* the messages are those of the CPU, in memory.cu */
    CT_REPORT_INDEX_ADD,
    CT_REPORT_GATHER,
    CT_REPORT_SCATTER_ADD,
    CT_REPORT_CROSS_ENTROPY,
    CT_REPORT_POLICY_HEAD,
    CT_REPORT_ADAM,
    CT_REPORT_SGD,
    CT_REPORT_COUNT
};

struct ct_report {
    int kind;
    long long value, position, limit;
};

extern ct_report *ct_cuda_report; /* on the device: an argument for kernels */

static __device__ inline void ct_report_wrong(ct_report *report, int kind, int64_t value,
                                              int64_t position, int64_t limit) {
    if (atomicCAS(&report->kind, (int)CT_REPORT_NONE, kind) != CT_REPORT_NONE) return;
    report->value = value;
    report->position = position;
    report->limit = limit;
}

/* ---- the kernels ------------------------------------------------------------------------ */

/* Of tensor/device/kernels.def. A CT_REAL_KERNEL's file defines the template, with `real` float or
 * double, and says CT_BOTH_REALS(name) after it; the choice between the two is table.cu's. */
#define CT_KERNEL(name, parameters, arguments) bool ct_cuda_##name parameters;
#define CT_REAL_KERNEL(name, of, parameters, arguments)      \
    template <typename real> bool ct_cuda_##name parameters; \
    bool ct_cuda_##name parameters;
#include "tensor/device/kernels.def"

#define CT_BOTH_REALS(name)                                         \
    template decltype(ct_cuda_##name<float>) ct_cuda_##name<float>; \
    template decltype(ct_cuda_##name<double>) ct_cuda_##name<double>

/* matmul.cu */
bool ct_cuda_open_cublas(); /* else with the first product */
bool ct_cuda_set_precision(ct_precision wanted);

/* upload.cu */
void *ct_cuda_host_allocate(size_t bytes);
void ct_cuda_host_free(void *data);
void *ct_cuda_upload_create();
void ct_cuda_upload_destroy(void *upload);
bool ct_cuda_upload_begin(void *upload);
bool ct_cuda_upload_copy(void *upload, void *to, const void *from, size_t bytes);
bool ct_cuda_upload_end(void *upload);
bool ct_cuda_upload_wait(void *upload);
bool ct_cuda_upload_receive(void *upload);
bool ct_cuda_upload_done(void *upload);

/* capture.cu */
bool ct_cuda_capture_begin(const ct_rng *rng);
ct_recording *ct_cuda_capture_end(bool keep, const ct_rng *rng);
bool ct_cuda_capture_run(ct_recording *recording, uint64_t offset);
void ct_cuda_capture_destroy(ct_recording *recording);
bool ct_cuda_has_recordings();

/* nccl.cu */
bool ct_cuda_all_gather(ct_tensor *all, const ct_tensor *x);
bool ct_cuda_all_reduce(ct_tensor *const *x, int count);
bool ct_cuda_reduce_scatter(ct_tensor *part, const ct_tensor *x);
bool ct_cuda_broadcast(ct_tensor *x, int from);
void ct_cuda_ranks_end();
/* Until the stream has done what it was told, where ranks were joined: one that was lost is an
 * error, as it would keep the others waiting. At once where there is one. */
bool ct_cuda_wait_for_ranks();

#endif
