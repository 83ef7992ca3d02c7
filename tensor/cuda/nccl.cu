/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives of what is on devices, by NCCL, in turn with all else on the stream. It is loaded,
 * and ranks are joined, with the first of them: one device needs no NCCL. */
#include "tensor/cuda/cuda.h"

#ifndef CT_HAS_NCCL

static bool is_missing() {
    return ct_host->fail_bool("ranks: the CUDA backend was built without NCCL, by which GPUs share "
                              "a batch");
}

bool ct_cuda_all_gather(ct_tensor *, const ct_tensor *) { return is_missing(); }
bool ct_cuda_all_reduce(ct_tensor *const *, int) { return is_missing(); }
bool ct_cuda_reduce_scatter(ct_tensor *, const ct_tensor *) { return is_missing(); }
bool ct_cuda_broadcast(ct_tensor *, int) { return is_missing(); }
void ct_cuda_ranks_end() {}
bool ct_cuda_wait_for_ranks() { return true; }

#else

#include <dlfcn.h>
#include <nccl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- the library ------------------------------------------------------------------------ */

#define EACH_FUNCTION(X)     \
    X(ncclGetUniqueId)       \
    X(ncclCommInitRank)      \
    X(ncclCommDestroy)       \
    X(ncclCommAbort)         \
    X(ncclCommGetAsyncError) \
    X(ncclGroupStart)        \
    X(ncclGroupEnd)          \
    X(ncclAllGather)         \
    X(ncclAllReduce)         \
    X(ncclReduceScatter)     \
    X(ncclBroadcast)         \
    X(ncclGetErrorString)    \
    X(ncclGetLastError)

static struct {
#define MEMBER(name) decltype(&::name) name;
    EACH_FUNCTION(MEMBER)
} nccl;

static ncclComm_t communicator; /* NULL: not joined */
static bool is_lost;            /* a rank was: there is none any more */

static bool find_functions(void *library) {
#define FIND(name)                                                                                \
    if (!(nccl.name = (decltype(nccl.name))dlsym(library, #name))) {                              \
        return ct_host->fail_bool("ranks: the NCCL that was found has no " #name ": it is older " \
                                  "than %d.%d",                                                   \
                                  NCCL_MAJOR, NCCL_MINOR);                                        \
    }
    EACH_FUNCTION(FIND)
    return true;
}

/* CT_NCCL_LIBRARY: another file. */
static bool load() {
    const char *given = getenv("CT_NCCL_LIBRARY");
    void *library = dlopen(given && *given ? given : "libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return ct_host->fail_bool("ranks: GPUs share a batch by NCCL, which was not loaded (%s)",
                                  dlerror());
    }
    return find_functions(library);
}

static bool nccl_ok(ncclResult_t status, const char *call) {
    if (status == ncclSuccess) return true;
    return ct_host->fail_bool("ranks: %s: %s (%s)", call, nccl.ncclGetErrorString(status),
                              nccl.ncclGetLastError(communicator));
}
#define NCCL(name, ...) nccl_ok(nccl.name(__VA_ARGS__), #name)

/* ---- joining ---------------------------------------------------------------------------- */

/* What a rank tells the others before it waits for them in NCCL. */
struct introduction {
    cudaUUID_t device;
    bool is_ready;
};

/* No two ranks may compute on one device. All see the same, and so all say it. */
static bool check_devices(const introduction *all, const ct_mpi *ranks) {
    int devices = 0;
    for (int b = 0; b < ranks->ranks; b++) {
        for (int a = 0; a < b; a++) {
            if (memcmp(&all[a].device, &all[b].device, sizeof all->device) != 0) continue;
            CT_CUDA(cudaGetDeviceCount(&devices));
            return ct_host->fail_bool("ranks: ranks %d and %d are on one GPU, where each needs its "
                                      "own: on %s are %d ranks and %d GPUs",
                                      a, b, ranks->host, ranks->places, devices);
        }
    }
    return true;
}

/* False on all ranks if it is on one. */
static bool meet(const ct_mpi *ranks, bool is_ready) {
    int device = 0;
    cudaDeviceProp properties = {};
    is_ready = is_ready && CT_CUDA(cudaGetDevice(&device)) &&
               CT_CUDA(cudaGetDeviceProperties(&properties, device));
    introduction mine = {properties.uuid, is_ready};
    introduction *all = static_cast<introduction *>(calloc((size_t)ranks->ranks, sizeof *all));
    if (!all) return ct_host->fail_bool("ranks: out of memory");
    const char *wrong = ranks->gather(&mine, all, sizeof mine);
    bool ok = wrong ? ct_host->fail_bool("ranks: MPI says: %s", wrong) : is_ready;
    for (int r = 0; ok && r < ranks->ranks; r++) {
        ok = all[r].is_ready || ct_host->fail_bool("ranks: rank %d could not use NCCL", r);
    }
    ok = ok && check_devices(all, ranks);
    free(all);
    return ok;
}

/* What NCCL is told where the user does not. The addresses of a recording have memory only while it
 * runs, and NCCL would look it up before; sums that NVLink's switches make are not the same bits
 * each time. */
static void set_defaults() {
    setenv("NCCL_GRAPH_REGISTER", "0", false);
    setenv("NCCL_NVLS_ENABLE", "0", false);
}

static bool join() {
    if (communicator) return true;
    if (is_lost) return ct_host->fail_bool("ranks: one was lost before");
    if (!ct_cuda_may_wait("ranks")) return false;
    const ct_mpi *ranks = ct_host->transport();
    ncclUniqueId id = {};
    set_defaults();
    bool is_ready = load() && (ranks->rank != 0 || NCCL(ncclGetUniqueId, &id));
    if (!meet(ranks, is_ready)) return false;
    const char *wrong = ranks->broadcast(&id, sizeof id, 0);
    if (wrong) return ct_host->fail_bool("ranks: MPI says: %s", wrong);
    ct_cuda_take_device();
    bool joined = NCCL(ncclCommInitRank, &communicator, ranks->ranks, id, ranks->rank);
    if (!joined) communicator = nullptr;
    return joined;
}

/* NCCL waits for the end of graphs that its collectives are in: such a one is left to the end of
 * the process. */
void ct_cuda_ranks_end() {
    if (!communicator) return;
    if (ct_cuda_wait_for_ranks() && !ct_cuda_has_recordings()) NCCL(ncclCommDestroy, communicator);
    communicator = nullptr;
    is_lost = true;
}

/* What is under way with a rank that is no more never ends; NCCL notices some of it. */
bool ct_cuda_wait_for_ranks() {
    while (communicator) {
        cudaError_t status = cudaStreamQuery(ct_cuda_stream);
        if (status != cudaErrorNotReady) return ct_cuda_ok(status, "cudaStreamQuery");
        cudaGetLastError(); /* it is none */
        ncclResult_t seen = ncclSuccess;
        if (!NCCL(ncclCommGetAsyncError, communicator, &seen) ||
            !nccl_ok(seen == ncclInProgress ? ncclSuccess : seen, "a rank was lost")) {
            nccl.ncclCommAbort(communicator);
            communicator = nullptr;
            is_lost = true;
            return false;
        }
        sched_yield();
    }
    return true;
}

/* ---- collectives ------------------------------------------------------------------------ */

static ncclDataType_t type_of(const ct_tensor *x) {
    return x->dtype == CT_F32 ? ncclFloat32 : x->dtype == CT_F64 ? ncclFloat64 : ncclInt64;
}

static size_t count_of(const ct_tensor *x) { return (size_t)ct_cuda_count(x); }

bool ct_cuda_all_gather(ct_tensor *all, const ct_tensor *x) {
    return join() &&
           NCCL(ncclAllGather, ct_cuda_data<char>(x), ct_cuda_data<char>(all),
                count_of(x) * ct_cuda_size(x->dtype), ncclInt8, communicator, ct_cuda_stream);
}

/* In one group, which NCCL makes few kernels of. */
bool ct_cuda_all_reduce(ct_tensor *const *x, int count) {
    if (!join() || !NCCL(ncclGroupStart)) return false;
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        char *data = ct_cuda_data<char>(x[i]);
        ok = NCCL(ncclAllReduce, data, data, count_of(x[i]), type_of(x[i]), ncclSum, communicator,
                  ct_cuda_stream);
    }
    return NCCL(ncclGroupEnd) && ok;
}

bool ct_cuda_reduce_scatter(ct_tensor *part, const ct_tensor *x) {
    return join() && NCCL(ncclReduceScatter, ct_cuda_data<char>(x), ct_cuda_data<char>(part),
                          count_of(part), type_of(x), ncclSum, communicator, ct_cuda_stream);
}

bool ct_cuda_broadcast(ct_tensor *x, int from) {
    char *data = ct_cuda_data<char>(x);
    return join() && NCCL(ncclBroadcast, data, data, count_of(x) * ct_cuda_size(x->dtype), ncclInt8,
                          from, communicator, ct_cuda_stream);
}

#endif
