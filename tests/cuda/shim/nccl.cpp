/* SPDX-License-Identifier: Apache-2.0 */
/* NCCL on MPI: what the shim's stream is told is moved through the host when its turn comes. A
 * library of its own, as NCCL is, which CT_NCCL_LIBRARY names.
 *
 * What would keep GPUs waiting for ever ends all ranks with a sentence: collectives that differ, or
 * of which some ranks recorded theirs, and a communicator that ends while graphs use it.
 * CT_SHIM_NCCL_LOST=yes: from the next collective on it is as if another rank were lost. */
#include <memory>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <vector>

#include "nccl.h"

struct ct_shim_ranks {
    MPI_Comm comm;
    int rank, ranks;
    std::shared_ptr<int> used = std::make_shared<int>(); /* by graphs, too */
    bool is_lost;
};

[[noreturn]] static void stop(const char *why) {
    fprintf(stderr, "nccl shim: %s\n", why);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

const char *ncclGetErrorString(ncclResult_t result) {
    return result == ncclSuccess           ? "no error"
           : result == ncclInvalidArgument ? "invalid argument"
           : result == ncclInvalidUsage    ? "invalid usage"
           : result == ncclInProgress      ? "operation in progress"
                                           : "remote process exited or there was a network error";
}

const char *ncclGetLastError(ncclComm_t) { return ""; }

/* ---- communicators ---------------------------------------------------------------------- */

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    snprintf(id->internal, sizeof id->internal, "of one run");
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank) {
    ncclUniqueId made;
    ncclGetUniqueId(&made);
    if (strcmp(made.internal, id.internal) != 0) return ncclInvalidArgument;
    if (ct_shim_cannot_record() != cudaSuccess) return ncclInvalidUsage;
    *comm = new ct_shim_ranks;
    (*comm)->is_lost = false;
    MPI_Comm_dup(MPI_COMM_WORLD, &(*comm)->comm);
    MPI_Comm_rank((*comm)->comm, &(*comm)->rank);
    MPI_Comm_size((*comm)->comm, &(*comm)->ranks);
    return (*comm)->rank == rank && (*comm)->ranks == ranks ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    if (comm->used.use_count() > 1) stop("ncclCommDestroy waits for graphs that use it, for ever");
    MPI_Comm_free(&comm->comm);
    delete comm;
    return ncclSuccess;
}

/* Of ranks that do not answer: nothing is said to them. */
ncclResult_t ncclCommAbort(ncclComm_t comm) {
    ct_shim_stall(false);
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error) {
    *error = comm->is_lost ? ncclRemoteError : ncclSuccess;
    return ncclSuccess;
}

/* ---- collectives ------------------------------------------------------------------------ */

enum operation { ALL_GATHER, ALL_REDUCE, REDUCE_SCATTER, BROADCAST };

struct collective {
    operation op;
    const void *from;
    void *to;
    size_t count; /* as it was given */
    ncclDataType_t type;
    int root;
    ncclComm_t comm;
};

static size_t size_of(ncclDataType_t type) {
    return type == ncclInt8 ? 1 : type == ncclFloat32 ? 4 : 8;
}

static void check_all_alike(const collective &c) {
    const long long mine[] = {c.op, (long long)c.count, c.type, c.root, ct_shim_runs_graph()};
    const int numbers = sizeof mine / sizeof *mine;
    std::vector<long long> all((size_t)(numbers * c.comm->ranks));
    MPI_Allgather(mine, numbers, MPI_LONG_LONG, all.data(), numbers, MPI_LONG_LONG, c.comm->comm);
    for (int r = 0; r < c.comm->ranks; r++) {
        const long long *theirs = all.data() + r * numbers;
        if (memcmp(mine, theirs, sizeof mine - sizeof *mine) != 0) stop("collectives differ");
        if (mine[numbers - 1] != theirs[numbers - 1]) {
            stop("a collective is recorded on some ranks and not on others");
        }
    }
}

/* Last rank first, each sum rounded: not as on the CPU, of which nothing may depend. */
template <typename T>
static void add_up(char *sum, const char *theirs, size_t count, size_t distance, int ranks) {
    for (size_t i = 0; i < count; i++) {
        T total = 0;
        for (int r = ranks; r-- > 0;) {
            total += reinterpret_cast<const T *>(theirs + (size_t)r * distance)[i];
        }
        reinterpret_cast<T *>(sum)[i] = total;
    }
}

static void add_up(const collective &c, char *sum, const char *theirs, size_t distance) {
    int ranks = c.comm->ranks;
    if (c.type == ncclFloat32) add_up<float>(sum, theirs, c.count, distance, ranks);
    else if (c.type == ncclFloat64) add_up<double>(sum, theirs, c.count, distance, ranks);
    else add_up<int64_t>(sum, theirs, c.count, distance, ranks);
}

static cudaError_t move(const collective &c) {
    check_all_alike(c);
    size_t bytes = c.count * size_of(c.type), ranks = (size_t)c.comm->ranks;
    size_t given = c.op == REDUCE_SCATTER ? ranks * bytes : bytes;
    if (given * ranks > INT32_MAX) stop("more than a test should move");
    std::vector<char> mine(given), theirs(given * ranks), sum(bytes);
    ct_shim_device_begin();
    memcpy(mine.data(), c.from, given);
    ct_shim_device_end();
    MPI_Allgather(mine.data(), (int)given, MPI_BYTE, theirs.data(), (int)given, MPI_BYTE,
                  c.comm->comm);
    const char *result = theirs.data();
    size_t received = c.op == ALL_GATHER ? given * ranks : bytes;
    if (c.op == BROADCAST) result += (size_t)c.root * given;
    if (c.op == ALL_REDUCE || c.op == REDUCE_SCATTER) {
        size_t first = c.op == REDUCE_SCATTER ? (size_t)c.comm->rank * bytes : 0;
        add_up(c, sum.data(), theirs.data() + first, given);
        result = sum.data();
    }
    ct_shim_device_begin();
    memcpy(c.to, result, received);
    ct_shim_device_end();
    return cudaSuccess;
}

static int groups; /* open ones */
static std::vector<collective> grouped;

/* In its turn on the stream: the copy in a graph holds the communicator. */
static ncclResult_t enqueue(const collective &c) {
    if (groups) {
        grouped.push_back(c);
        return ncclSuccess;
    }
    const char *lost = getenv("CT_SHIM_NCCL_LOST");
    if (lost && strcmp(lost, "yes") == 0) {
        c.comm->is_lost = true;
        ct_shim_stall(true);
        return ncclSuccess;
    }
    std::shared_ptr<int> use = c.comm->used;
    return ct_shim_do([c, use] { return move(c); }) == cudaSuccess ? ncclSuccess : ncclInvalidUsage;
}

ncclResult_t ncclGroupStart(void) {
    groups++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void) {
    if (groups == 0) return ncclInvalidUsage;
    if (--groups) return ncclSuccess;
    std::vector<collective> all;
    all.swap(grouped);
    ncclResult_t result = ncclSuccess;
    for (const collective &c : all) {
        if (result == ncclSuccess) result = enqueue(c);
    }
    return result;
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t) {
    return enqueue({ALL_GATHER, from, to, count, type, 0, comm});
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t, ncclComm_t comm, cudaStream_t) {
    return enqueue({ALL_REDUCE, from, to, count, type, 0, comm});
}

ncclResult_t ncclReduceScatter(const void *from, void *to, size_t count, ncclDataType_t type,
                               ncclRedOp_t, ncclComm_t comm, cudaStream_t) {
    return enqueue({REDUCE_SCATTER, from, to, count, type, 0, comm});
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t) {
    return enqueue({BROADCAST, from, to, count, type, root, comm});
}
