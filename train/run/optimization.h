/* SPDX-License-Identifier: Apache-2.0 */
/* The optimiser that [train] describes, and its learning rate. */
#ifndef CT_OPTIMIZATION_H
#define CT_OPTIMIZATION_H

#include "train/config/config.h"

/* With its clipping, its parts at rates of their own and what the model leaves out. The model
 * outlives it. NULL and an error otherwise. */
ct_optimizer *ct_configured_optimizer(const ct_config *config, ct_model *model);

/* Of step `step` (from 0) in epoch `epoch` (from 0) of a training of `steps` steps. */
double ct_configured_lr(const ct_config *config, int64_t epoch, int64_t step, int64_t steps);

#endif
