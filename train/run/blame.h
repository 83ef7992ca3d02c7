/* SPDX-License-Identifier: Apache-2.0 */
/* What is not finite has a cause: an image or a caption among what was read, or, where it is none
 * of them, the first operation that gave it. */
#ifndef CT_BLAME_H
#define CT_BLAME_H

#include "train/run/checkpoint.h"
#include "train/run/experiment.h"

/* After a step on `batch` failed: if a sample of it is to blame, the error becomes one that names
 * it and the reason, with the earlier error behind; else that stays, and if the step, computed
 * again from `before` (as the progress was), gives a NaN or an infinity, behind it the first of the
 * loss's terms and the first operation that do. Of a batch that ranks share each looks at its own
 * part. Whether a cause was found. */
bool ct_blame_step(const ct_experiment *experiment, const ct_batch *batch,
                   const ct_progress *before);

/* True if all embeddings (count,D) of samples first..first+count-1 of what was embedded are finite;
 * else an error that names the image or caption (`name` writes it) and the reason. */
typedef void ct_sample_name(const void *context, int64_t i, char *text, size_t size);
bool ct_blame_embeddings(const ct_experiment *experiment, const ct_tensor *embeddings,
                         const ct_batch *batch, bool captions, ct_sample_name *name,
                         const void *context);

#endif
