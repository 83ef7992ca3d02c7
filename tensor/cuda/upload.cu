/* SPDX-License-Identifier: Apache-2.0 */
/* Copies from host memory on a stream of their own, beside what the other computes. */
#include <stdlib.h>

#include "tensor/cuda/cuda.h"

static cudaStream_t copying; /* of all uploads: there is one way to the device */

/* What each stream waits for of the other. */
struct upload {
    cudaEvent_t sent; /* the copies are made */
    cudaEvent_t done; /* what they overwrite is no longer read, and was allocated */
};

void *ct_cuda_host_allocate(size_t bytes) {
    void *data = nullptr;
    ct_cuda_take_device();
    cudaError_t status = cudaMallocHost(&data, bytes);
    if (status == cudaSuccess) return data;
    cudaGetLastError(); /* it is no one else's */
    ct_host->fail("host_allocate: no page-locked memory for %.1f MiB (%s)",
                  (double)bytes / (1 << 20), cudaGetErrorString(status));
    return nullptr;
}

void ct_cuda_host_free(void *data) { CT_CUDA(cudaFreeHost(data)); }

void *ct_cuda_upload_create() {
    if (!copying && !CT_CUDA(cudaStreamCreateWithFlags(&copying, cudaStreamNonBlocking))) {
        return nullptr;
    }
    upload *u = static_cast<upload *>(calloc(1, sizeof *u));
    if (!u) {
        ct_host->fail("upload: out of memory");
        return nullptr;
    }
    if (CT_CUDA(cudaEventCreateWithFlags(&u->sent, cudaEventDisableTiming)) &&
        CT_CUDA(cudaEventCreateWithFlags(&u->done, cudaEventDisableTiming)) &&
        CT_CUDA(cudaEventRecord(u->done, ct_cuda_stream))) {
        return u;
    }
    ct_cuda_upload_destroy(u);
    return nullptr;
}

void ct_cuda_upload_destroy(void *of) {
    upload *u = static_cast<upload *>(of);
    if (u->sent) {
        CT_CUDA(cudaEventSynchronize(u->sent));
        CT_CUDA(cudaEventDestroy(u->sent));
    }
    if (u->done) CT_CUDA(cudaEventDestroy(u->done));
    free(u);
}

bool ct_cuda_upload_begin(void *of) {
    return CT_CUDA(cudaStreamWaitEvent(copying, static_cast<upload *>(of)->done, 0));
}

bool ct_cuda_upload_copy(void *, void *to, const void *from, size_t bytes) {
    return CT_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, copying));
}

bool ct_cuda_upload_end(void *of) {
    return CT_CUDA(cudaEventRecord(static_cast<upload *>(of)->sent, copying));
}

bool ct_cuda_upload_wait(void *of) {
    return CT_CUDA(cudaEventSynchronize(static_cast<upload *>(of)->sent));
}

bool ct_cuda_upload_receive(void *of) {
    return ct_cuda_may_take("upload_receive") &&
           CT_CUDA(cudaStreamWaitEvent(ct_cuda_stream, static_cast<upload *>(of)->sent, 0));
}

bool ct_cuda_upload_done(void *of) {
    return ct_cuda_may_take("upload_done") &&
           CT_CUDA(cudaEventRecord(static_cast<upload *>(of)->done, ct_cuda_stream));
}
