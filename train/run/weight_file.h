/* SPDX-License-Identifier: Apache-2.0 */
/* Files of weights: what they say of the model that they are of, reading and writing them.
 *
 * Beside the tensors of a safetensors file its metadata hold what their shapes do not tell:
 * "cotangent.vocabulary" ("58 words, 0123456789abcdef", with a hash of the words in their order),
 * "cotangent.graph" (ct_model_text) and "cotangent.data" ("regions 36 features 2048 images 29000",
 * those of the training split). Files of other programs and of earlier versions have none of it.
 */
#ifndef CT_WEIGHT_FILE_H
#define CT_WEIGHT_FILE_H

#include "train/run/experiment.h"

/* What weights are used for. Those to be trained on in another graph are not asked whether they are
 * of this one. */
typedef enum {
    CT_WEIGHTS_TO_USE,
    CT_WEIGHTS_TO_TRAIN,
    CT_WEIGHTS_FOR_OTHER_GRAPH
} ct_weights_purpose;

/* A NULL-ended list key, value, ... for ct_safetensors_save. Valid as long as it and the
 * experiment are. */
typedef struct {
    char vocabulary[64], data[128];
    char *graph;
    const char *list[16];
} ct_weight_notes;
/* False and an error when out of memory. Free with ct_weight_notes_free either way. */
bool ct_weight_notes_make(const ct_experiment *experiment, ct_weight_notes *notes);
void ct_weight_notes_free(ct_weight_notes *notes);

/* Adds all parameters and buffers of a module, with their names, to a hash. */
bool ct_weights_hash(ct_module *module, uint64_t *hash);

/* What a file tells of the sizes of its model: fields of experiment->sizes that it says nothing of
 * stay as they are (images: at least 1). Word vectors that the model keeps are taken from it too.
 * False and an error if the file cannot be read, or says that it is of another vocabulary. */
bool ct_weight_file_sizes(ct_experiment *experiment, const char *path);

/* Loads weights into the model: all or nothing, every misfit listed; weights of another vocabulary
 * are an error, and so are those of another graph, unless that is the purpose: then a line says
 * so, as one says that the file names no vocabulary. It has our names (a training state too, whose
 * weights are taken), or the released code's state-dict names (ct_released_form); then a line on
 * the console names the parts that it lacks. */
bool ct_experiment_load(const ct_experiment *experiment, const char *path,
                        ct_weights_purpose purpose);
/* Writes the model's weights under our names. */
bool ct_experiment_save(const ct_experiment *experiment, const char *path);
/* The same under [run] names; with the released ones a line names what has none. */
bool ct_experiment_export(const ct_experiment *experiment, const char *path);

#endif
