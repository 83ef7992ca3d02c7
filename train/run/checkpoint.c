/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- progress ----------------------------------------------------------------------------- */

/* Hexadecimal floats and plain integers: read back to the same bits. */
static void write_progress(char *text, size_t size, const ct_progress *p) {
    const ct_rng *init = ct_default_rng();
    snprintf(text, size,
             "%" PRId64 " %" PRId64 " %" PRId64 " %a %" PRId64 " %" PRId64 " %a "
             "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %d",
             p->epoch, p->batch, p->step, p->best_score, p->best_epoch, p->best_step, p->seconds,
             p->rng.seed, p->rng.stream, p->rng.offset, init->seed, init->stream, init->offset,
             p->validation_due);
}

static bool read_progress(const char *text, ct_progress *p, ct_rng *default_rng) {
    ct_progress read = *p;
    ct_rng init = *default_rng;
    int due = 0; /* which earlier programs did not save */
    int fields =
        sscanf(text,
               "%" SCNd64 " %" SCNd64 " %" SCNd64 " %la %" SCNd64 " %" SCNd64 " %la "
               "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %d",
               &read.epoch, &read.batch, &read.step, &read.best_score, &read.best_epoch,
               &read.best_step, &read.seconds, &read.rng.seed, &read.rng.stream, &read.rng.offset,
               &init.seed, &init.stream, &init.offset, &due);
    if (fields < 13) return false;
    read.validation_due = due != 0;
    *p = read;
    *default_rng = init;
    return true;
}

/* ---- files ------------------------------------------------------------------------------- */

bool ct_checkpoint_save(const char *path, ct_module *model, ct_optimizer *optimizer,
                        const ct_progress *progress, const char *config_text, const char *data_text,
                        const char *const *notes) {
    char position[512];
    write_progress(position, sizeof position, progress);
    const char *all[6 + 16 + 1] = {"progress", position, "config", config_text, "data", data_text};
    for (int i = 0; i < 16 && notes[i]; i++) all[6 + i] = notes[i];
    return ct_training_save(path,
                            &(ct_training){.module = model, .optimizer = optimizer, .notes = all});
}

static char *copy_metadata(ct_safetensors *file, const char *name) {
    const char *text = ct_safetensors_metadata(file, name);
    return text ? strdup(text) : NULL;
}

/* What the file says of where the run is; the default generator's state beside it. */
static bool progress_of(ct_safetensors *file, const char *path, ct_progress *progress,
                        ct_rng *default_rng) {
    const char *position = file ? ct_safetensors_metadata(file, "progress") : NULL;
    if (!file) return false;
    if (!position) {
        return ct_fail_bool("%s: not a training checkpoint (it has no progress record)", path);
    }
    return read_progress(position, progress, default_rng) ||
           ct_fail_bool("%s: its progress record is damaged", path);
}

bool ct_checkpoint_origin(const char *path, char **config_text, char **data_text,
                          ct_progress *progress) {
    ct_rng unused = *ct_default_rng();
    ct_safetensors *file = ct_safetensors_open(path);
    bool read = progress_of(file, path, progress, &unused);
    *config_text = file ? copy_metadata(file, "config") : NULL;
    *data_text = file ? copy_metadata(file, "data") : NULL;
    ct_safetensors_close(file);
    return read;
}

bool ct_checkpoint_load(const char *path, ct_module *model, ct_optimizer *optimizer,
                        ct_progress *progress) {
    ct_progress then = *progress;
    ct_rng default_rng = *ct_default_rng();
    ct_safetensors *file = ct_safetensors_open(path);
    bool read = progress_of(file, path, &then, &default_rng);
    ct_safetensors_close(file);
    if (!read) return false;
    if (!ct_training_load(path, &(ct_training){.module = model, .optimizer = optimizer})) {
        return false;
    }
    *progress = then;
    *ct_default_rng() = default_rng;
    return true;
}

static ct_state_naming name_of_encoder(const void *context, const char *ours, char *theirs,
                                       size_t size) {
    (void)context;
    bool encoder = strncmp(ours, "image.", 6) == 0 || strncmp(ours, "text.", 5) == 0;
    if (encoder) snprintf(theirs, size, "%s", ours);
    return encoder ? CT_STATE_NAMED : CT_STATE_LEFT_OUT;
}

static bool any(const void *context, const char *theirs) {
    (void)context;
    (void)theirs;
    return true;
}

bool ct_checkpoint_load_encoders(const char *path, ct_module *model) {
    static const char *const prefixes[] = {"model.", NULL};
    ct_state_form form = {.name = name_of_encoder, .ignored = any, .prefixes = prefixes};
    return ct_module_load_as(model, path, &form, NULL);
}
