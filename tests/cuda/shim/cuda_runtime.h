/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for CUDA's header of this name, so that tensor/cuda's sources compile as C++ for the
 * host, for tests. A launch runs the grid there and then, block by block; the threads of a block
 * are fibers, so that barriers, shared memory and warp functions work (launch.cpp). While the
 * stream is captured nothing runs: it is recorded, to run when the graph is launched (graph.cpp).
 * Only what the kernels use is here.
 *
 * CT_SHIM_ORDER: order in which threads and blocks run: forward (default), reversed, or a number,
 * the seed of a shuffle. CT_SHIM_MEMORY: MiB of the device (default 4096). CT_SHIM_DEVICES: how
 * many there are (default 1). CT_SHIM_LOG: file to which the names of launched kernels are added.
 */
#ifndef CT_SHIM_CUDA_RUNTIME_H
#define CT_SHIM_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <functional>

#define CT_CUDA_SHIM 1

/* ---- the language ----------------------------------------------------------------------- */

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict
/* One block runs at a time, so that a block's memory is the function's. In a section of its own,
 * to be filled with NaN before each block: nothing that an earlier block left is read unseen. */
#define __shared__ static __attribute__((section("ct_shim_shared")))

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned of_x = 1, unsigned of_y = 1, unsigned of_z = 1)
        : x(of_x), y(of_y), z(of_z) {}
};
struct uint2 {
    unsigned x, y;
};
struct uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};

/* Where the running thread is. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
enum { warpSize = 32 };

extern const char *ct_shim_kernel; /* name of what is launched */
void *ct_shim_shared_memory(void); /* dynamic shared memory of the block */

/* ---- synchronisation -------------------------------------------------------------------- */

void __syncthreads(void);
int __syncthreads_or(int predicate);
int __syncthreads_and(int predicate);
int __syncthreads_count(int predicate);
static inline void __threadfence(void) {}
static inline void __threadfence_block(void) {}

/* All threads of the mask meet; out[lane] is what each brought. */
void ct_shim_meet(unsigned mask, uint64_t bits, uint64_t out[32]);
/* The running thread's lane; stops the test if the mask has not lane `from`. */
int ct_shim_lane(void);
void ct_shim_check_lane(unsigned mask, int from);

static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    uint64_t out[32];
    ct_shim_meet(mask, 0, out);
}

template <typename T> static inline T ct_shim_take(unsigned mask, T value, int from) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0, out[32];
    memcpy(&bits, &value, sizeof value);
    ct_shim_check_lane(mask, from);
    ct_shim_meet(mask, bits, out);
    memcpy(&value, &out[from], sizeof value);
    return value;
}
template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    return ct_shim_take(mask, value, ct_shim_lane() / width * width + lane % width);
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    int here = ct_shim_lane(), from = here ^ bits;
    return ct_shim_take(mask, value, from / width > here / width ? here : from);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
    int here = ct_shim_lane(), from = here + (int)by;
    return ct_shim_take(mask, value, from / width != here / width ? here : from);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
    int here = ct_shim_lane(), from = here - (int)by;
    return ct_shim_take(mask, value, from < here / width * width ? here : from);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    uint64_t out[32];
    unsigned votes = 0;
    ct_shim_meet(mask, predicate != 0, out);
    for (int i = 0; i < 32; i++) {
        if (mask >> i & 1 && out[i]) votes |= 1u << i;
    }
    return votes;
}
static inline int __any_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, predicate) != 0;
}
static inline int __all_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, predicate) == mask;
}

/* ---- atomics on integers: there are none on floats, whose order would be left to chance ---- */

#define CT_SHIM_ATOMIC(name, T, result)         \
    static inline T name(T *address, T value) { \
        T old = *address;                       \
        *address = result;                      \
        return old;                             \
    }
#define CT_SHIM_ATOMICS(T)                                       \
    CT_SHIM_ATOMIC(atomicAdd, T, (T)(old + value))               \
    CT_SHIM_ATOMIC(atomicMax, T, old > value ? old : value)      \
    CT_SHIM_ATOMIC(atomicMin, T, old < value ? old : value)      \
    CT_SHIM_ATOMIC(atomicOr, T, old | value)                     \
    CT_SHIM_ATOMIC(atomicExch, T, value)                         \
    static inline T atomicCAS(T *address, T expected, T value) { \
        T old = *address;                                        \
        if (old == expected) *address = value;                   \
        return old;                                              \
    }
CT_SHIM_ATOMICS(int)
CT_SHIM_ATOMICS(unsigned)
CT_SHIM_ATOMICS(unsigned long long)

/* ---- arithmetic ------------------------------------------------------------------------- */

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float rsqrt(float x) { return rsqrtf(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
template <typename T> static inline T __ldg(const T *address) { return *address; }
template <typename T> static inline T min(T a, T b) { return b < a ? b : a; }
template <typename T> static inline T max(T a, T b) { return a < b ? b : a; }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline int __float_as_int(float x) {
    int y;
    memcpy(&y, &x, 4);
    return y;
}
static inline float __int_as_float(int x) {
    float y;
    memcpy(&y, &x, 4);
    return y;
}
static inline unsigned __float_as_uint(float x) {
    unsigned y;
    memcpy(&y, &x, 4);
    return y;
}
static inline float __uint_as_float(unsigned x) {
    float y;
    memcpy(&y, &x, 4);
    return y;
}
static inline long long __double_as_longlong(double x) {
    long long y;
    memcpy(&y, &x, 8);
    return y;
}
static inline double __longlong_as_double(long long x) {
    double y;
    memcpy(&y, &x, 8);
    return y;
}

/* ---- the runtime ------------------------------------------------------------------------ */

typedef enum {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorIllegalState = 401,
    cudaErrorNotReady = 600,
    cudaErrorNotSupported = 801,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureWrongThread = 908,
} cudaError_t;
typedef enum {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
} cudaMemcpyKind;
typedef struct {
    char bytes[16];
} cudaUUID_t;
typedef struct {
    char name[256];
    int major, minor, multiProcessorCount;
    cudaUUID_t uuid;
} cudaDeviceProp;
typedef enum {
    cudaMemPoolAttrReleaseThreshold = 4,
    cudaMemPoolAttrReservedMemCurrent = 5,
} cudaMemPoolAttr;
typedef enum { cudaGraphMemAttrReservedMemCurrent = 2 } cudaGraphMemAttributeType;
typedef enum { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 } cudaFuncAttribute;
typedef struct ct_shim_stream *cudaStream_t;
typedef struct ct_shim_event *cudaEvent_t;
typedef struct ct_shim_pool *cudaMemPool_t;
typedef struct ct_shim_graph *cudaGraph_t;
typedef struct ct_shim_runnable *cudaGraphExec_t;
typedef enum { cudaStreamCaptureModeThreadLocal = 1 } cudaStreamCaptureMode;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };

const char *cudaGetErrorString(cudaError_t status);
const char *cudaGetErrorName(cudaError_t status);
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaMallocAsync(void **data, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void *data, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *data, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaMallocHost(void **data, size_t bytes);
cudaError_t cudaFreeHost(void *data);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *runnable, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphUpload(cudaGraphExec_t runnable, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t runnable, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t runnable);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaDeviceGraphMemTrim(int device);
cudaError_t cudaDeviceGetGraphMemAttribute(int device, cudaGraphMemAttributeType attribute,
                                           void *value);

/* Kernels that use more than 48 KiB of dynamic shared memory must say so first. */
cudaError_t ct_shim_set_shared_limit(const void *kernel, int bytes);
template <typename... P>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int value) {
    return ct_shim_set_shared_limit((const void *)kernel, value);
}

/* ---- launches --------------------------------------------------------------------------- */

typedef struct {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    void *attrs;
    unsigned numAttrs;
} cudaLaunchConfig_t;

/* Also for NCCL's stand-in, which is a library of its own. */
#define CT_SHIM_SEEN __attribute__((visibility("default")))

/* Does what the stream is told: now, or, while it is captured, when the graph is launched. */
CT_SHIM_SEEN cudaError_t ct_shim_do(std::function<cudaError_t()> operation);
/* Whether a graph is what does it. */
CT_SHIM_SEEN bool ct_shim_runs_graph(void);
/* cudaErrorStreamCaptureUnsupported, and the capture is spoiled, while there is one: for what
 * cannot be recorded. */
CT_SHIM_SEEN cudaError_t ct_shim_cannot_record(void);
/* The stream is as if what it was told never ended, or no more so. */
CT_SHIM_SEEN void ct_shim_stall(bool stalled);

/* Calls run() as each thread of the grid. */
cudaError_t ct_shim_launch(const cudaLaunchConfig_t *config, const void *kernel,
                           std::function<void()> run);

/* The arguments are copied, as CUDA does. */
template <typename... P, typename... A>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...),
                                             A &&...argument) {
    return ct_shim_launch(config, (const void *)kernel,
                          [kernel, ... value = static_cast<P>(argument)] { kernel(value...); });
}

/* The host's access to device memory, under the address sanitizer: not but between these. */
CT_SHIM_SEEN void ct_shim_device_begin(void);
CT_SHIM_SEEN void ct_shim_device_end(void);

#endif
