/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of the answers of a search: rows of a table, or JSON. */
#ifndef CT_ANSWERS_H
#define CT_ANSWERS_H

#include <jansson.h>

#include "train/search/search.h"

/* A line each: place, score, split, number of the image, its picture and first caption, or the
 * caption that was found. */
void ct_answers_print(const ct_index *index, ct_index_side side, const ct_answer *answers,
                      int64_t count);
/* [{"score", "split", "image", "picture", "caption"}, ...], without what there is not; an error
 * where there is no memory for it. */
json_t *ct_answers_json(const ct_index *index, ct_index_side side, const ct_answer *answers,
                        int64_t count);

/* JSON is UTF-8, which a file's name need not be: bytes of one that is not are '?'. */
json_t *ct_text_json(const char *text);

#endif
