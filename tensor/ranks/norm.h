/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm over the rows of all ranks. Not installed: ct_batch_norm_with uses it within
 * CT_OVER_RANKS. */
#ifndef CT_RANKS_NORM_H
#define CT_RANKS_NORM_H

#include "tensor/fused/fused.h"

/* As ct_tensor_batch_norm (tensor/fused/fused.h) of all ranks' rows together, of which ranks may
 * have different numbers: y are this rank's; mean, variance and rstd are the whole's, as is *count,
 * f64 (1) on x's device: how many values a channel has. */
ct_norm_result ct_batch_norm_over_ranks(const ct_tensor *x, int axis, const ct_tensor *weight,
                                        const ct_tensor *bias, double eps, ct_tensor **count);
/* x is the gradient of this rank's rows; weight and bias are what those add to the whole's. */
ct_norm_grad ct_batch_norm_over_ranks_grad(const ct_tensor *g, const ct_tensor *x, int axis,
                                           const ct_tensor *mean, const ct_tensor *rstd,
                                           const ct_tensor *weight, const ct_tensor *count);

#endif
