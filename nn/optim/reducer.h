/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients over ranks, in buckets. Internal to nn/optim. */
#ifndef CT_REDUCER_H
#define CT_REDUCER_H

#include "nn/optim/optimizer.h"

/* An optimiser's; NULL and an error if memory is short. It goes with the optimiser. */
ct_reducer *ct_reducer_of(ct_optimizer *optimizer);
void ct_reducer_destroy(ct_reducer *reducer);

void ct_reducer_set_wire(ct_reducer *reducer, ct_dtype wire);
void ct_reducer_set_bucket(ct_reducer *reducer, int64_t bytes);

/* The two halves of an all-reduce: before a backward, whose gradients are handed over as they
 * are completed, and after it. The second one alone does all. */
bool ct_reducer_begin(ct_reducer *reducer);
bool ct_reducer_end(ct_reducer *reducer);

#endif
