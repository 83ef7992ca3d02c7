/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for NCCL's header of this name: what tensor/cuda uses of it, and nccl.cpp does. */
#ifndef CT_SHIM_NCCL_H
#define CT_SHIM_NCCL_H

#include "cuda_runtime.h"

enum { NCCL_MAJOR = 2, NCCL_MINOR = 28 };

typedef enum {
    ncclSuccess = 0,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7,
} ncclResult_t;
typedef enum { ncclInt8 = 0, ncclInt64 = 4, ncclFloat32 = 7, ncclFloat64 = 8 } ncclDataType_t;
typedef enum { ncclSum = 0 } ncclRedOp_t;
typedef struct ct_shim_ranks *ncclComm_t;
typedef struct {
    char internal[128];
} ncclUniqueId;

#define SEEN __attribute__((visibility("default")))
extern "C" {
SEEN const char *ncclGetErrorString(ncclResult_t result);
SEEN const char *ncclGetLastError(ncclComm_t comm);
SEEN ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
SEEN ncclResult_t ncclCommInitRank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank);
SEEN ncclResult_t ncclCommDestroy(ncclComm_t comm);
SEEN ncclResult_t ncclCommAbort(ncclComm_t comm);
SEEN ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error);
SEEN ncclResult_t ncclGroupStart(void);
SEEN ncclResult_t ncclGroupEnd(void);
SEEN ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type,
                                ncclComm_t comm, cudaStream_t stream);
SEEN ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                                ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
SEEN ncclResult_t ncclReduceScatter(const void *from, void *to, size_t count, ncclDataType_t type,
                                    ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
SEEN ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type,
                                int root, ncclComm_t comm, cudaStream_t stream);
}

#endif
