/* SPDX-License-Identifier: Apache-2.0 */
/* What is under the collectives, and the end of all ranks. Not installed. */
#ifndef CT_TRANSPORT_H
#define CT_TRANSPORT_H

#include "tensor/core/types.h"
#include "tensor/ranks/mpi_library.h"

/* The library that moves bytes; NULL for rank 0 of 1. */
const ct_mpi *ct_transport(void);
/* NULL is true; else an error: "all_gather: MPI says ..." */
bool ct_transport_went_well(const char *op, const char *error);
/* theirs: `count` f32, f64 or i64 of each rank, one rank after the other; their sums, f32 in f64.
 */
void ct_add_up(ct_dtype dtype, const void *theirs, int64_t count, void *sum);

/* ct_tensor_all_reduce of each, at once: contiguous, of elements that can be added, on one device
 * that is not the CPU. There are several ranks. */
bool ct_all_reduce_on_device(const char *op, ct_tensor *const *x, int count);

/* Ends all ranks with a status, at once, where one of them cannot go on: the others may wait for
 * it. Returns where there is one rank. */
void ct_ranks_abort(int status);

#endif
