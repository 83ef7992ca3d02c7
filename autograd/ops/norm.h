/* SPDX-License-Identifier: Apache-2.0 */
/* Not installed. */
#ifndef CT_AUTOGRAD_NORM_H
#define CT_AUTOGRAD_NORM_H

#include "tensor/tensor.h"

/* ct_batch_norm_with, and how many values a channel has, within CT_OVER_RANKS those of all ranks.
 */
ct_tensor *ct_batch_norm_counted(ct_tensor *x, int axis, ct_tensor *weight, ct_tensor *bias,
                                 double eps, ct_tensor **mean, ct_tensor **variance,
                                 int64_t *count);

#endif
