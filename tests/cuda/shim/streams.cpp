/* SPDX-License-Identifier: Apache-2.0 */
/* Streams beside the first, and events. What another stream is told is done as late as it may be:
 * when somebody waits for it. So whoever forgets to wait sees what was there before, and whoever
 * writes to host memory too early sees that copied. */
#include <deque>
#include <pthread.h>
#include <stdlib.h>

#include "graph.h"

struct ct_shim_stream {
    std::deque<std::function<cudaError_t()>> waiting;
    uint64_t done = 0;
};

/* Of the first stream, whose work is done when it is told: nothing to wait for. */
struct ct_shim_event {
    ct_shim_stream *stream = nullptr;
    uint64_t after = 0; /* how much of the stream's work it waits for */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int first_device = -1; /* the first stream's; -1: there is none */

/* The first is the one that is captured; the others live as long as the program. */
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    pthread_mutex_lock(&lock);
    *stream = first_device < 0 ? nullptr : new ct_shim_stream;
    if (first_device < 0) cudaGetDevice(&first_device);
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

bool ct_shim_on_device(void) {
    int device;
    return cudaGetDevice(&device) == cudaSuccess && (first_device < 0 || device == first_device);
}

bool ct_shim_postpone(cudaStream_t stream, std::function<cudaError_t()> operation) {
    if (!stream) return false;
    pthread_mutex_lock(&lock);
    stream->waiting.push_back(std::move(operation));
    pthread_mutex_unlock(&lock);
    return true;
}

static cudaError_t finish(ct_shim_stream *stream, uint64_t count) {
    cudaError_t status = cudaSuccess;
    pthread_mutex_lock(&lock);
    while (stream && stream->done < count && status == cudaSuccess) {
        status = stream->waiting.front()();
        stream->waiting.pop_front();
        stream->done++;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    *event = new ct_shim_event;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->stream = stream;
    event->after = stream ? stream->done + stream->waiting.size() : 0;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) { return finish(event->stream, event->after); }

/* Only the first stream ever waits for another. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    return stream ? cudaSuccess : finish(event->stream, event->after);
}

cudaError_t cudaMallocHost(void **data, size_t bytes) {
    *data = malloc(bytes);
    return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *data) {
    free(data);
    return cudaSuccess;
}
