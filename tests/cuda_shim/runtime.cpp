/* The device of the shim: memory that only kernels and copies may touch, and the rest of the
 * runtime's functions that the backend calls. */
#include <pthread.h>
#include <stdlib.h>
#include <unordered_map>

#include "cuda_runtime.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

/* ---- memory ----------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    std::unordered_map<void *, size_t> blocks;
    size_t used;
} memory;

static size_t memory_size() {
    const char *mib = getenv("CT_SHIM_MEMORY");
    return (size_t)(mib && *mib ? atoi(mib) : 4096) << 20;
}

/* Blocks of the heap, with the sanitizer's borders around each; poisoned while the host runs. */
static void poison(bool poisoned) {
    (void)poisoned;
#ifdef __SANITIZE_ADDRESS__
    for (const auto &b : memory.blocks) {
        if (poisoned) {
            ASAN_POISON_MEMORY_REGION(b.first, b.second);
        } else {
            ASAN_UNPOISON_MEMORY_REGION(b.first, b.second);
        }
    }
#endif
}

void ct_shim_device_begin(void) {
    pthread_mutex_lock(&lock);
    poison(false);
}

void ct_shim_device_end(void) {
    poison(true);
    pthread_mutex_unlock(&lock);
}

/* Not initialised, as on a device: filled with NaN. */
cudaError_t cudaMallocAsync(void **data, size_t bytes, cudaStream_t) {
    ct_shim_device_begin();
    bool there = bytes <= memory_size() - memory.used;
    if (!there || posix_memalign(data, 256, bytes) != 0) *data = nullptr;
    if (*data) {
        memset(*data, 0xff, bytes);
        memory.blocks[*data] = bytes;
        memory.used += bytes;
    }
    ct_shim_device_end();
    return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeAsync(void *data, cudaStream_t) {
    ct_shim_device_begin();
    auto found = memory.blocks.find(data);
    bool known = found != memory.blocks.end();
    if (known) {
        memory.used -= found->second;
        memory.blocks.erase(found);
        free(data);
    }
    ct_shim_device_end();
    return known ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
    ct_shim_device_begin();
    memcpy(to, from, bytes);
    ct_shim_device_end();
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *data, int value, size_t bytes, cudaStream_t) {
    ct_shim_device_begin();
    memset(data, value, bytes);
    ct_shim_device_end();
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    *total = memory_size();
    *available = *total - memory.used;
    return cudaSuccess;
}

/* ---- the rest --------------------------------------------------------------------------- */

const char *cudaGetErrorName(cudaError_t status) {
    switch (status) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    }
    return "unknown error";
}

const char *cudaGetErrorString(cudaError_t status) {
    switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    }
    return "unknown error";
}

cudaError_t cudaGetLastError(void) { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}

/* One processor: grids are small, so that kernels' loops over the rest run. */
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int) {
    *properties = {"the host's shim", 0, 0, 1};
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int) {
    *pool = nullptr;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *) { return cudaSuccess; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    *stream = nullptr;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
