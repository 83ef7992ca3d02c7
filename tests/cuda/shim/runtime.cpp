/* SPDX-License-Identifier: Apache-2.0 */
/* The device of the shim: memory that only kernels and copies may touch, and the rest of the
 * runtime's functions that the backend calls. */
#include <map>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph.h"

/* ---- memory ----------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
struct piece {
    size_t bytes;
    bool of_graph;    /* whose memory it is */
    bool is_reserved; /* no kernel touches it */
};
static struct {
    std::map<char *, piece> blocks; /* that are there now */
    size_t used;                    /* by those that are not of graphs */
    size_t for_graphs;              /* kept for them */
    size_t kept;                    /* by the pool: the most used since it was trimmed */
} memory;

static size_t memory_size() {
    const char *mib = getenv("CT_SHIM_MEMORY");
    return (size_t)(mib && *mib ? atoi(mib) : 4096) << 20;
}

/* Blocks of the heap, with the sanitizer's borders around each; poisoned while the host runs. */
static void poison(char *data, size_t bytes, bool poisoned) {
    if (poisoned) {
        ASAN_POISON_MEMORY_REGION(data, bytes);
    } else {
        ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    }
}

static void poison_all(bool poisoned) {
    for (const auto &b : memory.blocks) {
        if (!b.second.is_reserved) poison(b.first, b.second.bytes, poisoned);
    }
}

/* Of the block that holds `address`, if one does. */
static void poison_at(const void *address, bool poisoned) {
    auto after = memory.blocks.upper_bound((char *)address);
    if (after == memory.blocks.begin()) return;
    auto b = std::prev(after);
    if (address < b->first + b->second.bytes) poison(b->first, b->second.bytes, poisoned);
}

void ct_shim_device_begin(void) {
    pthread_mutex_lock(&lock);
    poison_all(false);
}

void ct_shim_device_end(void) {
    poison_all(true);
    pthread_mutex_unlock(&lock);
}

void ct_shim_reserve(void *data) {
    pthread_mutex_lock(&lock);
    auto found = memory.blocks.find((char *)data);
    if (found != memory.blocks.end()) found->second.is_reserved = true;
    pthread_mutex_unlock(&lock);
}

static size_t available() { return memory_size() - memory.used - memory.for_graphs; }

/* Not initialised, as on a device: filled with NaN. */
cudaError_t cudaMallocAsync(void **data, size_t bytes, cudaStream_t) {
    cudaError_t status;
    if (ct_shim_record_malloc(data, bytes, &status)) return status;
    pthread_mutex_lock(&lock);
    if (bytes > available() || posix_memalign(data, 256, bytes) != 0) *data = nullptr;
    if (*data) {
        memset(*data, 0xff, bytes);
        ASAN_POISON_MEMORY_REGION(*data, bytes);
        memory.blocks[(char *)*data] = {bytes, false, false};
        memory.used += bytes;
        if (memory.used > memory.kept) memory.kept = memory.used;
    }
    pthread_mutex_unlock(&lock);
    return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeAsync(void *data, cudaStream_t) {
    cudaError_t status;
    if (ct_shim_record_free(data, &status)) return status;
    pthread_mutex_lock(&lock);
    auto found = memory.blocks.find((char *)data);
    bool known = found != memory.blocks.end() && !found->second.of_graph;
    if (known) {
        memory.used -= found->second.bytes;
        memory.blocks.erase(found);
        free(data);
    }
    pthread_mutex_unlock(&lock);
    return known ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t ct_shim_appear(void *data, size_t bytes) {
    pthread_mutex_lock(&lock);
    bool is_new = memory.blocks.emplace((char *)data, piece{bytes, true, false}).second;
    if (is_new) {
        ASAN_UNPOISON_MEMORY_REGION(data, bytes);
        memset(data, 0xff, bytes);
        ASAN_POISON_MEMORY_REGION(data, bytes);
    }
    pthread_mutex_unlock(&lock);
    return is_new ? cudaSuccess : cudaErrorInvalidValue;
}

/* What is read too late is NaN where there is no sanitizer to see it. */
cudaError_t ct_shim_vanish(void *data) {
    pthread_mutex_lock(&lock);
    auto found = memory.blocks.find((char *)data);
    bool known = found != memory.blocks.end();
    if (known) {
        ASAN_UNPOISON_MEMORY_REGION(data, found->second.bytes);
        memset(data, 0xff, found->second.bytes);
        ASAN_POISON_MEMORY_REGION(data, found->second.bytes);
        memory.blocks.erase(found);
    }
    pthread_mutex_unlock(&lock);
    return known ? cudaSuccess : cudaErrorInvalidValue;
}

bool ct_shim_reserve_for_graphs(size_t bytes) {
    if (bytes > available() + memory.for_graphs) return false;
    if (bytes > memory.for_graphs) memory.for_graphs = bytes;
    return true;
}

cudaError_t cudaDeviceGraphMemTrim(int) {
    memory.for_graphs = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetGraphMemAttribute(int, cudaGraphMemAttributeType, void *value) {
    *static_cast<uint64_t *>(value) = memory.for_graphs;
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) {
    memory.kept = memory.used;
    return cudaSuccess;
}

/* To the host at once or not at all: whoever asks waits for it. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    auto copy = [=] {
        pthread_mutex_lock(&lock);
        poison_at(to, false);
        poison_at(from, false);
        memcpy(to, from, bytes);
        poison_at(to, true);
        poison_at(from, true);
        pthread_mutex_unlock(&lock);
        return cudaSuccess;
    };
    if (ct_shim_postpone(stream, copy)) return cudaSuccess;
    cudaError_t status = kind == cudaMemcpyDeviceToHost ? ct_shim_cannot_record() : cudaSuccess;
    return status == cudaSuccess ? ct_shim_do(copy) : status;
}

cudaError_t cudaMemsetAsync(void *data, int value, size_t bytes, cudaStream_t) {
    return ct_shim_do([=] {
        pthread_mutex_lock(&lock);
        poison_at(data, false);
        memset(data, value, bytes);
        poison_at(data, true);
        pthread_mutex_unlock(&lock);
        return cudaSuccess;
    });
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    *total = memory_size();
    *free = available();
    return cudaSuccess;
}

/* ---- the rest --------------------------------------------------------------------------- */

const char *cudaGetErrorName(cudaError_t status) {
    switch (status) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalState: return "cudaErrorIllegalState";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureWrongThread: return "cudaErrorStreamCaptureWrongThread";
    }
    return "unknown error";
}

const char *cudaGetErrorString(cudaError_t status) {
    switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorIllegalState: return "the operation cannot be performed in the present state";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureWrongThread:
        return "attempt to terminate a thread-local capture sequence from another thread";
    }
    return "unknown error";
}

cudaError_t cudaGetLastError(void) { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int *count) {
    const char *devices = getenv("CT_SHIM_DEVICES");
    *count = devices && *devices ? atoi(devices) : 1;
    return cudaSuccess;
}

static thread_local int current;

cudaError_t cudaGetDevice(int *device) {
    *device = current;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    int count;
    cudaGetDeviceCount(&count);
    if (device < 0 || device >= count) return cudaErrorInvalidDevice;
    current = device;
    return cudaSuccess;
}

/* One processor: grids are small, so that kernels' loops over the rest run. */
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
    *properties = {"the host's shim", 0, 0, 1, {{(char)device}}};
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int) {
    *pool = nullptr;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *) { return cudaSuccess; }

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *value) {
    *static_cast<uint64_t *>(value) = memory.kept;
    return cudaSuccess;
}

static bool is_stalled;

void ct_shim_stall(bool stalled) { is_stalled = stalled; }

cudaError_t cudaStreamQuery(cudaStream_t) {
    return is_stalled ? cudaErrorNotReady : ct_shim_cannot_record();
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
    if (!is_stalled) return ct_shim_cannot_record();
    fprintf(stderr, "cuda shim: the host waits for a stream that never ends\n");
    abort();
}
