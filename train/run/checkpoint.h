/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: safetensors files in the run folder.
 *
 * last.safetensors holds everything a resumed run needs to go on to the same bits: parameters
 * and buffers ("model.NAME"), optimiser state ("optimizer.NAME"), and in its metadata the
 * position (epoch, batch, step), the generators' states and the best score so far.
 * best.safetensors holds the parameters and buffers alone, under their own names. Both are written
 * whole under a temporary name and renamed: the previous one survives a kill or a full disk.
 */
#ifndef CT_CHECKPOINT_H
#define CT_CHECKPOINT_H

#include "nn/nn.h"

typedef struct {
    int64_t epoch, batch, step; /* the next batch to train on; steps done */
    double best_score;          /* -1: none yet */
    int64_t best_epoch, best_step;
    bool validation_due; /* of these steps: what was saved was so before it */
    double seconds;      /* trained so far */
    ct_rng rng;          /* of the policies and dropout */
} ct_progress;

/* `config_text` and `data_text`: what the run is made with (train/run/resume.h). `notes`: more
 * metadata, a NULL-ended list key, value, ... of at most 16 (train/run/weight_file.h). */
bool ct_checkpoint_save(const char *path, ct_module *model, ct_optimizer *optimizer,
                        const ct_progress *progress, const char *config_text, const char *data_text,
                        const char *const *notes);
/* Both, from malloc, each NULL if it is not in the file, and where the run is. Loads nothing. */
bool ct_checkpoint_origin(const char *path, char **config_text, char **data_text,
                          ct_progress *progress);
/* All or nothing: names, shapes and dtypes are checked before anything changes. */
bool ct_checkpoint_load(const char *path, ct_module *model, ct_optimizer *optimizer,
                        ct_progress *progress);
/* The same of the parameters and buffers of the children "image" and "text" alone, whatever else
 * the checkpoint and the model hold. */
bool ct_checkpoint_load_encoders(const char *path, ct_module *model);

#endif
