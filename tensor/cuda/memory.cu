/* SPDX-License-Identifier: Apache-2.0 */
/* The device: its stream, its memory, copies to and from it, errors. */
#include <stdio.h>
#include <string.h>

#include "tensor/cuda/cuda.h"

const ct_host_functions *ct_host;
cudaStream_t ct_cuda_stream;
ct_report *ct_cuda_report;

static int device;     /* where all is */
static int processors; /* streaming multiprocessors of it */

/* ---- statuses --------------------------------------------------------------------------- */

bool ct_cuda_ok(cudaError_t status, const char *call) {
    if (status == cudaSuccess) return true;
    int name = (int)strcspn(call, "( ");
    if (call[0] == '(') name = (int)strlen(call); /* (kernel<a, b>) */
    return ct_host->fail_bool("cuda: %.*s: %s (%s)", name, call, cudaGetErrorString(status),
                              cudaGetErrorName(status));
}

/* ---- the device ------------------------------------------------------------------------- */

void ct_cuda_take_device() {
    static thread_local int taken; /* CUDA's own first choice is 0 */
    if (taken != device && cudaSetDevice(device) == cudaSuccess) taken = device;
}

/* That which the program made current, or of several ranks on a host each its own. */
static bool choose_device(int devices) {
    const ct_mpi *ranks = ct_host->transport();
    if (!ranks) return CT_CUDA(cudaGetDevice(&device));
    device = ranks->place % devices;
    return CT_CUDA(cudaSetDevice(device));
}

/* Freed memory stays in the pool: the next step asks for it again. */
static bool keep_pool_memory() {
    cudaMemPool_t pool;
    uint64_t all = UINT64_MAX;
    return CT_CUDA(cudaDeviceGetDefaultMemPool(&pool, device)) &&
           CT_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all));
}

/* "cuda (NVIDIA H100 80GB HBM3, 9.0, CUDA 13.0)" */
static bool name_device(char *name, size_t size) {
    cudaDeviceProp properties;
    int version = 0;
    if (!CT_CUDA(cudaGetDeviceProperties(&properties, device)) ||
        !CT_CUDA(cudaRuntimeGetVersion(&version))) {
        return false;
    }
    processors = properties.multiProcessorCount;
    snprintf(name, size, "cuda (%s, %d.%d, CUDA %d.%d)", properties.name, properties.major,
             properties.minor, version / 1000, version % 1000 / 10);
    return true;
}

bool ct_cuda_start(char *name, size_t size) {
    int devices = 0;
    cudaError_t status = cudaGetDeviceCount(&devices);
    if (status != cudaSuccess || devices == 0) {
        return ct_host->fail_bool("cuda: no NVIDIA GPU can be used (%s)",
                                  cudaGetErrorString(status));
    }
    return choose_device(devices) && name_device(name, size) &&
           CT_CUDA(cudaStreamCreateWithFlags(&ct_cuda_stream, cudaStreamNonBlocking)) &&
           keep_pool_memory() &&
           CT_CUDA(
               cudaMallocAsync((void **)&ct_cuda_report, sizeof *ct_cuda_report, ct_cuda_stream)) &&
           CT_CUDA(cudaMemsetAsync(ct_cuda_report, 0, sizeof *ct_cuda_report, ct_cuda_stream));
}

unsigned ct_cuda_blocks(int64_t count) {
    int64_t blocks = (count + CT_THREADS - 1) / CT_THREADS, most = 16 * (int64_t)processors;
    return (unsigned)(blocks < most ? blocks : most);
}

/* ---- memory ----------------------------------------------------------------------------- */

void ct_cuda_fail_memory(const char *operation, size_t bytes) {
    double mib = 1 << 20;
    size_t available = 0, total = 0;
    if (!CT_CUDA(cudaMemGetInfo(&available, &total))) return;
    ct_host->fail("%s: no memory on the device for %.1f MiB (tensors hold %.1f MiB, %.1f of "
                  "%.1f MiB are free)",
                  operation, (double)bytes / mib, (double)ct_host->memory_in_use(CT_CUDA) / mib,
                  (double)available / mib, (double)total / mib);
}

static int64_t most_held; /* by the pool and the graphs together; they give nothing back but here */

static bool note_held(cudaMemPool_t *pool) {
    uint64_t pooled = 0, recorded = 0;
    if (!CT_CUDA(cudaDeviceGetDefaultMemPool(pool, device)) ||
        !CT_CUDA(cudaMemPoolGetAttribute(*pool, cudaMemPoolAttrReservedMemCurrent, &pooled)) ||
        !CT_CUDA(cudaDeviceGetGraphMemAttribute(device, cudaGraphMemAttrReservedMemCurrent,
                                                &recorded))) {
        return false;
    }
    int64_t held = (int64_t)(pooled + recorded);
    if (held > most_held) most_held = held;
    return true;
}

bool ct_cuda_trim() {
    cudaMemPool_t pool;
    return ct_cuda_may_wait("memory_trim") && ct_cuda_wait_for_ranks() && note_held(&pool) &&
           CT_CUDA(cudaStreamSynchronize(ct_cuda_stream)) && CT_CUDA(cudaMemPoolTrimTo(pool, 0)) &&
           CT_CUDA(cudaDeviceGraphMemTrim(device));
}

int64_t ct_cuda_memory_peak() {
    cudaMemPool_t pool;
    note_held(&pool);
    return most_held;
}

static cudaError_t allocate(void **data, size_t bytes) {
    ct_cuda_take_device();
    cudaError_t status = cudaMallocAsync(data, bytes, ct_cuda_stream);
    if (status != cudaErrorMemoryAllocation || ct_cuda_is_recording()) return status;
    cudaGetLastError(); /* it is no one else's */
    ct_cuda_trim();
    return cudaMallocAsync(data, bytes, ct_cuda_stream);
}

void *ct_cuda_allocate(size_t bytes) {
    void *data = nullptr;
    cudaError_t status = allocate(&data, bytes);
    if (status == cudaSuccess) return ct_cuda_record_allocation(data, bytes) ? data : nullptr;
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        ct_cuda_fail_memory("allocate", bytes);
    } else {
        ct_cuda_ok(status, "cudaMallocAsync");
    }
    return nullptr;
}

/* ---- copies ----------------------------------------------------------------------------- */

/* From pageable memory this returns when `from` has been read. */
bool ct_cuda_from_host(void *to, const void *from, size_t bytes) {
    return ct_cuda_may_take("from_host") &&
           CT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, ct_cuda_stream));
}

/* The CPU kernels' messages, which these are to be the same as. */
static void fail_reported(const ct_report &found) {
    static const char *const index_op[CT_REPORT_COUNT] = {nullptr, "index_select", "index_add",
                                                          "gather", "scatter_add"};
    if (found.kind == CT_REPORT_CROSS_ENTROPY) {
        ct_host->fail("cross entropy: label %lld of row %lld is out of range for %lld classes",
                      found.value, found.position, found.limit);
    } else if (found.kind == CT_REPORT_POLICY_HEAD) {
        ct_host->fail("policy head: index %lld of action %lld, expected 0 to %lld", found.value,
                      found.position, found.limit - 1);
    } else if (found.kind == CT_REPORT_ADAM || found.kind == CT_REPORT_SGD) {
        ct_host->fail("%s: a gradient is not finite: nothing was updated",
                      found.kind == CT_REPORT_ADAM ? "adam" : "sgd");
    } else {
        ct_host->fail("%s: index %lld at position %lld is outside 0..%lld", index_op[found.kind],
                      found.value, found.position, found.limit - 1);
    }
}

/* Waits for everything before; false with an error if a kernel reported one. */
bool ct_cuda_to_host(void *to, const void *from, size_t bytes) {
    ct_report found;
    if (!ct_cuda_may_wait("to_host") || !ct_cuda_wait_for_ranks()) return false;
    if (!CT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, ct_cuda_stream)) ||
        !CT_CUDA(cudaMemcpyAsync(&found, ct_cuda_report, sizeof found, cudaMemcpyDeviceToHost,
                                 ct_cuda_stream)) ||
        !CT_CUDA(cudaStreamSynchronize(ct_cuda_stream))) {
        return false;
    }
    if (found.kind == CT_REPORT_NONE) return true;
    CT_CUDA(cudaMemsetAsync(ct_cuda_report, 0, sizeof found, ct_cuda_stream));
    fail_reported(found);
    return false;
}

bool ct_cuda_is_contiguous(const ct_tensor *x) {
    int64_t expected = 1;
    for (int i = x->shape.ndim - 1; i >= 0; i--) {
        if (x->shape.dim[i] != 1 && x->stride[i] != expected) return ct_cuda_count(x) == 0;
        expected *= x->shape.dim[i];
    }
    return true;
}
