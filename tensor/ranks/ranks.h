/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks: processes 0 to N-1, started by `mpirun -n N` or srun, that compute on one batch, each on
 * its rows, rank r on those after rank r-1's (docs/scaling.md).
 *
 * Without ct_ranks_start, or started alone, a process is rank 0 of 1, and the collectives below are
 * copies, on any device. Each of them is called by all ranks, in the same order, with tensors of
 * the same shape, dtype and device, from the thread that called ct_ranks_start. Sums are the same
 * bits on all ranks: on the CPU in the order of ranks, f32 in f64, whenever as many ranks compute;
 * on cuda, where collectives are in turn with all else that is asked of it and wait for nothing, in
 * NCCL's order. Results belong to the innermost scope. NULL or false, with an error, for NULL, for
 * what is of another dtype or not contiguous where that is asked, or if the ranks are not reached.
 */
#ifndef CT_RANKS_H
#define CT_RANKS_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* Joins the ranks if mpirun or srun started several; nothing to do otherwise, or a second time.
 * False and an error that says what is missing. */
bool ct_ranks_start(void);
/* Leaves them, at the program's end; all ranks call it, once. With an error that was not cleared,
 * or a sum that was begun and not ended, it ends them all instead: they wait for this one. */
void ct_ranks_end(void);
int ct_rank(void);              /* 0 to ct_ranks() - 1 */
int ct_ranks(void);             /* 1 or more */
int64_t ct_ranks_sent(void);    /* bytes that this rank sent to others so far, by MPI */
const char *ct_rank_host(void); /* the name of this rank's machine; "" without ct_ranks_start */

/* ---- what a whole batch is ------------------------------------------------------------------- */

/* Within the block what this thread computes on are a rank's rows of a batch that all ranks share
 * in equal parts, forward and backward: batch norm is over all rows, and of what is drawn
 * (tensor/ops/random.h) a rank gets its rows of what is drawn for all. Blocks nest; leaving by
 * return is fine. */
bool ct_over_ranks(void);          /* within one, and there are several ranks */
bool ct_set_over_ranks(bool over); /* returns what it was */
static inline void ct_restore_over_ranks(const bool *was) { ct_set_over_ranks(*was); }
#define CT_OVER_RANKS \
    CT_OVER_RANKS_AT_(__LINE__) /* the line: nested ones have names of their own */
#define CT_OVER_RANKS_AT_(line) CT_OVER_RANKS_LINE_(line)
#define CT_OVER_RANKS_LINE_(line) CT_OVER_RANKS_NAMED_(ct_over_was_##line, ct_over_once_##line)
#define CT_OVER_RANKS_NAMED_(was, once)                                                     \
    for (bool was                                                                           \
         __attribute__((cleanup(ct_restore_over_ranks), unused)) = ct_set_over_ranks(true), \
                                                        once = true;                        \
         once; once = false)

/* ---- collectives ----------------------------------------------------------------------------- */

/* Waits until all ranks have come here. */
bool ct_ranks_wait(void);
/* Whether all say yes: for what all do or none, as running a capture with collectives in it. False
 * with an error if they are not reached. */
bool ct_ranks_agree(bool yes);
/* x, contiguous f32, f64 or i64 of any shape, becomes the sum of all ranks' on each of them. */
bool ct_tensor_all_reduce(ct_tensor *x);
/* All ranks' x (B,..) of any dtype, one after the other: (N B,..). */
ct_tensor *ct_tensor_all_gather(const ct_tensor *x);
/* The sum of all ranks' x (N B,..), f32, f64 or i64, of which each gets its rows: (B,..). */
ct_tensor *ct_tensor_reduce_scatter(const ct_tensor *x);
/* x, contiguous, becomes what it is on rank `from`, 0 to ct_ranks() - 1. */
bool ct_tensor_broadcast(ct_tensor *x, int from);

CT_END_DECLS

#endif
