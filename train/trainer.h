/* Training: from a configuration to a run folder with checkpoints, metrics and results. */
#ifndef CT_TRAINER_H
#define CT_TRAINER_H

#include "train/checkpoint.h"
#include "train/experiment.h"

typedef enum {
    CT_RUN_NEW,       /* an error if the folder already holds a run */
    CT_RUN_RESUME,    /* goes on from last.safetensors */
    CT_RUN_OVERWRITE  /* removes what the earlier run left, then starts */
} ct_run_mode;

typedef enum { CT_TRAIN_FAILED, CT_TRAIN_DONE, CT_TRAIN_INTERRUPTED } ct_train_outcome;

/* Trains to the end, or until SIGINT or SIGTERM: then the state is saved and
 * CT_TRAIN_INTERRUPTED returned. On CT_TRAIN_FAILED the error is set, and what was saved before stays. */
/* `weights`: a file to start from (ct_experiment_load), or NULL: random initial values. */
ct_train_outcome ct_train_run(ct_config *config, ct_run_mode mode, const char *weights);

#endif
