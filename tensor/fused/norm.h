/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of batch norm, for the one over ranks. Not installed. */
#ifndef CT_FUSED_NORM_H
#define CT_FUSED_NORM_H

#include "tensor/fused/fused.h"

/* ct_tensor_batch_norm's mean, variance and rstd (C), without its result. */
ct_norm_result ct_batch_norm_statistics(const ct_tensor *x, int axis, double eps);

#endif
