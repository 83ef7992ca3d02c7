/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over ranks that are made while something else is computed. Not installed.
 *
 * All ranks begin the same ones in the same order; what other collectives they call in between is
 * no matter. They are moved on within the functions below, and within any other collective. */
#ifndef CT_BEGUN_H
#define CT_BEGUN_H

#include "tensor/core/types.h"

typedef struct ct_begun_sum ct_begun_sum;

/* x, contiguous f32 or f64 on the CPU, one dimension of a multiple of ct_ranks() elements, is to
 * become the sum of all ranks', as by ct_tensor_all_reduce; it is not to be touched until then.
 * `wire`: as what the numbers travel, f32 or bf16, if that is shorter than x's dtype: each rank's
 * share is rounded to it, they are added up in f64, and the sum is rounded. NULL and an error
 * otherwise, or if the ranks are not reached. */
ct_begun_sum *ct_sum_begin(ct_tensor *x, ct_dtype wire);
/* Moves on those that can be, without waiting. */
bool ct_sums_go_on(void);
/* Waits for a sum and all that were begun before it, and frees it. NULL is false. */
bool ct_sum_end(ct_begun_sum *sum);
/* Whether one was begun and not ended. */
bool ct_sums_are_begun(void);

#endif
