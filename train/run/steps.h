/* SPDX-License-Identifier: Apache-2.0 */
/* Training steps: forward, backward, the optimiser's. On a device that can record, a step is
 * recorded (tensor/device/capture.h) and repeated for the batches of its shape: asking for its
 * thousands of small kernels one by one would take longer than they do. */
#ifndef CT_STEPS_H
#define CT_STEPS_H

#include "train/run/checkpoint.h"
#include "train/run/dump.h"
#include "train/run/interval.h"
#include "train/run/watched.h"

typedef struct {
    const ct_experiment *experiment;
    ct_optimizer *optimizer; /* its learning rate is set before each step */
    ct_interval *interval;   /* receives each step's losses */
    ct_dump *dump;           /* or NULL; what is dumped is not recorded */
    ct_watched *watched;     /* or NULL */
} ct_steps_options;

typedef struct ct_steps ct_steps;
/* All that it is given outlives it. */
ct_steps *ct_steps_create(ct_steps_options config);
void ct_steps_destroy(ct_steps *steps);
/* A step on `batch`, which is counted in the interval and, but for the random numbers drawn, not in
 * `progress`. Does not wait for a device, but for the first step of a kind. */
bool ct_steps_take(ct_steps *steps, const ct_batch *batch, ct_progress *progress);
/* Whether the last step came as far as its gradients being those of the whole batch: what fails
 * from there on fails on all ranks that share it. */
bool ct_steps_are_shared(const ct_steps *steps);
/* Whether the gradients of the steps from now on are taken for `watched`; those of recorded steps
 * are not. */
void ct_steps_watch(ct_steps *steps, bool watches);
/* How many of the steps taken repeated a recorded one. */
int64_t ct_steps_repeated(const ct_steps *steps);

#endif
