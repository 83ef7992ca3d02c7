/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors that share memory, where one of them is written. Internal to tensor/.
 *
 * A kernel reads and writes in an order of its own, by blocks and threads. It may write an element
 * of which it has read all that it needs: the same view as input and output of a pointwise kernel.
 * Any other sharing is found here; the input is then copied first (tensor/ops/operand.h), or
 * refused. */
#ifndef CT_OPS_OVERLAP_H
#define CT_OPS_OVERLAP_H

#include "tensor/core/types.h"

/* Every element of y has a place of its own; else an error naming op. */
bool ct_check_writable(const char *op, const ct_tensor *y);

/* The very same elements in the same order. */
bool ct_is_same_view(const ct_tensor *a, const ct_tensor *b);

/* Whether any byte may be in both: never false where one is; true at times for interleaved views
 * whose strides have little to do with each other. */
bool ct_overlaps(const ct_tensor *a, const ct_tensor *b);

#endif
