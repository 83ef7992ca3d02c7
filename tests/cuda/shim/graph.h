/* SPDX-License-Identifier: Apache-2.0 */
/* Between the parts of the shim: what graphs ask of the device, and the other way. */
#ifndef CT_SHIM_GRAPH_H
#define CT_SHIM_GRAPH_H

#include "cuda_runtime.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) ((void)(data), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) ((void)(data), (void)(bytes))
#endif

/* streams.cpp: true if the stream is not the first: its work waits for somebody to wait for it. */
bool ct_shim_postpone(cudaStream_t stream, std::function<cudaError_t()> operation);
/* streams.cpp: whether the first stream's device is the running thread's. */
bool ct_shim_on_device(void);

/* graph.cpp: true if the stream is captured; whether that was recorded, *status says. */
bool ct_shim_record_malloc(void **data, size_t bytes, cudaError_t *status);
bool ct_shim_record_free(void *data, cudaError_t *status);

/* runtime.cpp: memory of a graph begins to be there, not initialised, and is there no more. */
cudaError_t ct_shim_appear(void *data, size_t bytes);
cudaError_t ct_shim_vanish(void *data);
/* No kernel touches this block (cuBLAS's own memory): it stays poisoned, which takes long of a
 * large one. */
void ct_shim_reserve(void *data);
/* What graphs use in turn is as large as the largest needs; false if there is not so much. */
bool ct_shim_reserve_for_graphs(size_t bytes);

#endif
