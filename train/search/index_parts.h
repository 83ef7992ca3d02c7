/* SPDX-License-Identifier: Apache-2.0 */
/* What the making of an index and its file share. Internal to train/search/index*.c. */
#ifndef CT_INDEX_PARTS_H
#define CT_INDEX_PARTS_H

#include "train/search/index.h"

/* One with the model's measure and fingerprint, and room for so many splits; it has none. */
ct_index *ct_index_create(const ct_experiment *experiment, int splits);
/* "0123456789abcdef": of the model's graph, vocabulary, parameters and buffers, and of the settings
 * that change its embeddings. */
bool ct_index_fingerprint(const ct_experiment *experiment, char text[24]);
/* Finds first_caption, by image_of. */
bool ct_index_number_captions(ct_index_split *split);

#endif
