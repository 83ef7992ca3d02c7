/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks of right answers, which is where the time of an evaluation goes. Internal to evaluate.c. */
#ifndef CT_RANKING_H
#define CT_RANKING_H

#include "train/evaluate/evaluate.h"

/* Scores that are made at once: 32 MB in f32. What has no more is one product. */
enum { CT_TILE_SCORES = 8 << 20 };

/* Writes the ranks of every image (-1: it has no caption) and caption, and the best answers where
 * out's i2t_top, t2i_top are not NULL. The embeddings fit one another. Equal rows tie exactly.
 * About `tile_scores` similarities are in memory at a time. Of several ranks all come here, and
 * where there are several tiles and no best answers asked for, each does a part of them. */
bool ct_rank_split(const ct_embeddings *models, int count, const int64_t *image_of,
                   int64_t tile_scores, ct_retrieval_details out);

#endif
