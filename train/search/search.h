/* SPDX-License-Identifier: Apache-2.0 */
/* The best answers of an index: every row is scored, and the order is that of the scores. */
#ifndef CT_SEARCH_H
#define CT_SEARCH_H

#include "train/search/index.h"

/* One model's index and its embeddings of what is asked: (Q,D). */
typedef struct {
    ct_index *index;
    ct_tensor *questions;
} ct_searched;

typedef struct {
    double score; /* the mean over the models */
    int split;
    int64_t row; /* an image or a caption of it */
} ct_answer;

/* The best images, or captions, for each question, at most `top`: the best first, of equals the
 * first of the index. The models' questions are f32 where their rows are, and their indexes are of
 * the same splits. (Q,*found) from malloc; *found 0 where there is nothing to find. NULL and an
 * error otherwise. */
ct_answer *ct_search(const ct_searched *models, int count, ct_index_side side, int64_t top,
                     int64_t *found);

#endif
