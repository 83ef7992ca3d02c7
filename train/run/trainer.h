/* SPDX-License-Identifier: Apache-2.0 */
/* Training: from a configuration to a run folder with checkpoints, metrics and results. */
#ifndef CT_TRAINER_H
#define CT_TRAINER_H

#include "train/run/preparation.h"

typedef enum {
    CT_TRAIN_FAILED,
    CT_TRAIN_DONE,
    CT_TRAIN_STOPPED,    /* after options.steps, before the end */
    CT_TRAIN_INTERRUPTED /* by a signal (train/run/stop.h) */
} ct_train_outcome;

/* Trains to the end, or until it is to stop: then the state is saved for CT_RUN_RESUME. On
 * CT_TRAIN_FAILED the error is set, and what was saved before stays. */
ct_train_outcome ct_train_run(ct_config *config, ct_train_options options);

#endif
