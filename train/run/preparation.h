/* SPDX-License-Identifier: Apache-2.0 */
/* What a training needs, opened before its first step and before anything is written. Whatever can
 * be found wrong in what the user gave is found here, with what validation and the evaluation at
 * the end will ask of their splits: hours later would be too late. --dry-run ends behind it. */
#ifndef CT_PREPARATION_H
#define CT_PREPARATION_H

#include "train/data/batches.h"
#include "train/run/run_folder.h"

typedef struct {
    ct_run_mode mode;
    const char *weights; /* a file to start from (ct_experiment_load); NULL: random values */
    bool other_graph;    /* its graph may be another than the configured one */
    int64_t steps;       /* stop when so many have been trained; 0: train to the end */
    const char
        *dump_folder; /* where every step leaves what it computed (train/run/dump.h), or NULL */
} ct_train_options;

typedef struct {
    ct_experiment *experiment;
    ct_split *dev, **tests; /* tests: one for each of config->test_splits; NULL: recorded batches */
    ct_batches *batches;
    ct_optimizer *optimizer;
} ct_prepared;

/* False and an error otherwise; ended by ct_prepared_end either way. */
bool ct_prepare(ct_prepared *prepared, ct_config *config, const ct_train_options *options);
void ct_prepared_end(ct_prepared *prepared);

/* Says what of the data is left out, and by which key: rare words, ends of captions, images of dev,
 * captions that fill no batch. Where most words are unknown, that is a warning. */
void ct_prepared_say(const ct_prepared *prepared);

/* Steps of all epochs. */
int64_t ct_prepared_steps(const ct_prepared *prepared);

/* Whether recorded noise lasts for the steps that are to be trained when `done` are. */
bool ct_prepared_noise(const ct_prepared *prepared, const ct_train_options *options, int64_t done);

#endif
