/* SPDX-License-Identifier: Apache-2.0 */
/* What is added up over the steps between two lines of the log. The sums are where the model is,
 * so that a step does not wait for the device: they are read when the log is written. */
#ifndef CT_INTERVAL_H
#define CT_INTERVAL_H

#include "models/models.h"

/* Means over the steps since the last reset; 0 for a term that the model has not. */
typedef struct {
    double term[CT_LOSS_COUNT];
    double reward, reward_spread; /* of each batch: the mean, the standard deviation */
    int64_t steps;
} ct_interval_means;

typedef struct ct_interval ct_interval;
ct_interval *ct_interval_create(ct_device device);
void ct_interval_destroy(ct_interval *interval);
/* Adds a step's losses and reward, on the device; part of a step that may be recorded. */
bool ct_interval_add(ct_interval *interval, const ct_losses *losses);
/* A step was taken, be it anew or as a repetition of one that was recorded. */
void ct_interval_count(ct_interval *interval);
/* Waits for the device, and, of a batch that ranks share, for the others: all of them read at the
 * same step, and get the whole batch's. */
bool ct_interval_read(const ct_interval *interval, ct_interval_means *means);
bool ct_interval_reset(ct_interval *interval);

#endif
