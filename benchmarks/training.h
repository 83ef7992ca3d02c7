/* SPDX-License-Identifier: Apache-2.0 */
/* A training as `train` runs it, step by step, for benchmarks. */
#ifndef CT_BENCHMARK_TRAINING_H
#define CT_BENCHMARK_TRAINING_H

#include "train/data/batches.h"
#include "train/run/experiment.h"
#include "train/run/optimization.h"
#include "train/run/steps.h"

typedef struct {
    ct_config *config;
    ct_experiment *experiment;
    ct_batches *batches;
    ct_optimizer *optimizer;
    ct_interval *interval;
    ct_steps *steps;
    ct_progress progress; /* its epoch is past every option that changes with time */
    int64_t epoch, batch; /* the next one */
} ct_timed_training;

/* Of a configuration file with `count` overrides. False and an error otherwise; close it either
 * way. */
bool ct_timed_training_open(ct_timed_training *t, const char *file, const char *const *overrides,
                            int count);
void ct_timed_training_close(ct_timed_training *t);
/* The next batch on the model's device, in the innermost scope; epoch after epoch. */
bool ct_timed_training_batch(ct_timed_training *t, ct_batch *batch);
/* A whole step: the next batch, and all that `train` does of a step with it. */
bool ct_timed_training_step(ct_timed_training *t);
/* Forward with losses, in the innermost scope: the total, or NULL and an error. */
ct_tensor *ct_timed_training_forward(ct_timed_training *t, const ct_batch *batch);
/* Multiplications and additions of a step: three times those of forward, at captions of mean
 * length. */
double ct_timed_training_flops(const ct_timed_training *t);

#endif
