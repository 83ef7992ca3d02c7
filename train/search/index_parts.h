/* SPDX-License-Identifier: Apache-2.0 */
/* What the making of an index and its file share. Internal to train/search/index*.c. */
#ifndef CT_INDEX_PARTS_H
#define CT_INDEX_PARTS_H

#include "train/search/index.h"

/* What of a model an index is of. */
typedef struct {
    ct_measure measure;
    int64_t width;
    char fingerprint[24];
} ct_index_model;

bool ct_index_model_of(const ct_experiment *experiment, ct_index_model *model);
/* One of a model, with room for so many splits; it has none. */
ct_index *ct_index_create(const ct_index_model *model, int splits);
/* As ct_index_open. */
ct_index *ct_index_read(const ct_index_model *model, const char *path);
/* "0123456789abcdef": of the model's graph, vocabulary, parameters and buffers, and of the settings
 * that change its embeddings. */
bool ct_index_fingerprint(const ct_experiment *experiment, char text[24]);
/* Finds first_caption, by image_of. */
bool ct_index_number_captions(ct_index_split *split);

#endif
