/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors on memory: sizes, creation that computes nothing. What is created belongs to the
 * innermost scope; it is NULL with an error for what is no shape of the dtype, a device that is not
 * here, or without memory. */
#ifndef CT_CORE_TENSOR_H
#define CT_CORE_TENSOR_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

int ct_ndim(const ct_tensor *x); /* number of dimensions; 0 for NULL */
/* Size of dimension `axis`; negative counts from the end. 0 and an error when out of range. */
int64_t ct_dim(const ct_tensor *x, int axis);
int64_t ct_count(const ct_tensor *x);      /* number of elements; 0 for NULL */
bool ct_is_contiguous(const ct_tensor *x); /* row-major without gaps */

ct_tensor *ct_empty(ct_dtype dtype, ct_device device, ct_shape shape); /* not initialised */
/* Copies count(shape) row-major elements of `dtype` from host memory. */
ct_tensor *ct_from_data(ct_dtype dtype, ct_device device, ct_shape shape, const void *data);
/* A CPU tensor on memory that the caller provides (a memory-mapped file). `release(context)` is
 * called when the last tensor on it is gone; also when this function fails. */
ct_tensor *ct_from_memory(ct_dtype dtype, ct_shape shape, void *data, void (*release)(void *),
                          void *context);

/* Pointer to element (0,0,...) of a CPU tensor, into its storage, which may be written and lives as
 * long as tensors on it; NULL and an error for NULL or on another device. */
void *ct_data(const ct_tensor *x);

/* How often the storage of x, which views share, was written to in place (ct_tensor_add_to,
 * ct_tensor_copy_to, ct_set, optimisers, ...): what was read before can be told from what is there
 * now. Only grows. 0 for NULL. What is written through ct_data's pointer, or by a run of a capture,
 * is not seen; whoever writes through the pointer can tell by ct_mark_written (NULL is ignored). */
uint64_t ct_write_count(const ct_tensor *x);
void ct_mark_written(ct_tensor *x);

/* Bytes of tensor storage now in use by the process on a device, and the largest it has been. */
int64_t ct_memory_in_use(ct_device device);
int64_t ct_memory_peak(ct_device device);

CT_END_DECLS

#endif
