/* SPDX-License-Identifier: Apache-2.0 */
/* Not installed. */
#ifndef CT_AUTOGRAD_NORM_H
#define CT_AUTOGRAD_NORM_H

#include "tensor/tensor.h"

/* ct_batch_norm_with, and within CT_OVER_RANKS, f64 (1) on x's device, how many values a channel
 * has on all ranks, which have different numbers; NULL otherwise. */
ct_tensor *ct_batch_norm_counted(ct_tensor *x, int axis, ct_tensor *weight, ct_tensor *bias,
                                 double eps, ct_tensor **mean, ct_tensor **variance,
                                 ct_tensor **count);

#endif
