/* SPDX-License-Identifier: Apache-2.0 */
/* The batches a model is trained on, whatever they come from: the captions of the training split
 * (train/data/loader.c) or a file of recorded ones (train/data/recorded.c). */
#ifndef CT_BATCHES_H
#define CT_BATCHES_H

#include "train/run/experiment.h"

typedef struct ct_batches ct_batches;

/* The experiment outlives them. An error if there is not one whole batch. */
ct_batches *ct_batches_open(const ct_experiment *experiment);
void ct_batches_close(ct_batches *batches);
int64_t ct_batches_count(const ct_batches *batches); /* of an epoch */
/* Goes to batch `first` of `epoch`; needed before the first ct_batches_next of each epoch. */
bool ct_batches_start(ct_batches *batches, int64_t epoch, int64_t first);
/* The next batch in the configured dtype on the experiment's device, its lengths too, in the
 * innermost scope. On a device it lies where the batch before did, wherever captions are as wide.
 * The caller counts: past the epoch's last batch is an error. */
bool ct_batches_next(ct_batches *batches, ct_batch *batch);
/* After a step was asked for: what the device can do of the next batch meanwhile. */
bool ct_batches_ahead(ct_batches *batches);

#endif
