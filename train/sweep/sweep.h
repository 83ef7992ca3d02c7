/* SPDX-License-Identifier: Apache-2.0 */
/* --sweep: one run for each combination of some settings' values, and what they came to.
 *
 *     plan     which runs            check    what can be found wrong with them before
 *     jobs     the runs at work      summary  table, JSON, page
 */
#ifndef CT_SWEEP_H
#define CT_SWEEP_H

#include "train/run/trainer.h"

typedef struct {
    const char *text;             /* "train.lr=1e-3,5e-4 run.seed=1..5" */
    const char *const *overrides; /* that the configuration was read with (--set) */
    int override_count;
    int at_once;         /* runs at the same time */
    const char *weights; /* as in ct_train_options, for each run */
    bool other_graph;
} ct_sweep_options;

/* Trains the runs that have not ended yet, each in its own folder below config->run_folder; one
 * that has begun goes on. Refuses before anything is run or written what a configuration shows to
 * be wrong, models that cannot be built, and folders that hold other runs. CT_TRAIN_FAILED and an
 * error also if a run failed: the others are run all the same. */
ct_train_outcome ct_sweep_command(const ct_config *config, const ct_sweep_options *options);

#endif
