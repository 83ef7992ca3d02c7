/* SPDX-License-Identifier: Apache-2.0 */
/* Trained models: what --weights names. */
#ifndef CT_TRAINED_H
#define CT_TRAINED_H

#include "train/run/experiment.h"

/* Each is a file of weights for the configuration, or the folder of a run, which has a
 * configuration of its own; none: the configuration's own run. */
typedef struct {
    const char *const *paths;
    int count;
} ct_weights;

/* How many models that is, at least 1. */
int ct_weights_models(ct_weights weights);

/* What trained models are opened for: visit is called with each, `model` counting from 0. */
typedef struct {
    const char *const *split; /* that they are used on; NULL: on none. A visit may name another for
                               * the next model */
    bool (*visit)(void *context, int model, const ct_experiment *experiment);
    void *context;
} ct_trained;

/* Opens one model after the other (ct_experiment_open_trained) and visits it; what was opened is
 * closed before the next. A run's folder is read under its own graph, vocabulary and dtype, but
 * with the data folder and dev split of `config`, so that all see the same captions. False and an
 * error if one cannot be opened, is given twice, or if visit returns false. */
bool ct_each_trained(ct_config *config, ct_weights weights, ct_trained trained);

/* The same for a command (named for the message) that takes one model. */
bool ct_one_trained(ct_config *config, ct_weights weights, const char *command, ct_trained trained);

#endif
