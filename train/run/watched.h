/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms for TensorBoard: of gradients by module, and of attention weights. */
#ifndef CT_WATCHED_H
#define CT_WATCHED_H

#include "train/run/event_file.h"
#include "train/run/experiment.h"

typedef struct ct_watched ct_watched;
/* NULL and an error when out of memory. */
ct_watched *ct_watched_create(const ct_experiment *experiment);
void ct_watched_destroy(ct_watched *watched);
/* Takes the gradients that the parameters have now, in place of those taken before. */
bool ct_watched_gradients(ct_watched *watched);
/* Writes those, "gradients/image.fc" for each module of a chain and each loss, and the attention
 * weights, "attention/image.attend", of up to 64 images and captions of a split in evaluation, and
 * drawn over pictures (train/run/drawn.h). */
bool ct_watched_write(const ct_watched *watched, ct_event_file *events, int64_t step,
                      const ct_split *split);

#endif
