/* SPDX-License-Identifier: Apache-2.0 */
/* Judgments of what else fits: several right answers to a query, as ECCV Caption (Chun et al. 2022)
 * and Crisscrossed Captions (Parekh et al. 2021) collected them for COCO's test split. A JSON file:
 *
 *     {"name": "ECCV Caption",
 *      "image_to_text": {"0": [0, 1, 2, 3, 4, 17], ...},     image: its captions
 *      "text_to_image": {"17": [0, 3], ...}}                 caption: its images
 *
 * Images and captions are rows of the split, from 0. Queries that are not in it are not asked;
 * either direction may be left out.
 *
 * Of a query with R right answers, of which the j-th best (from 1) stands at place p_j of the
 * ranking: mAP@R is the mean over j of j / p_j where p_j <= R, else 0; R-P the part of them with
 * p_j <= R; R@k whether p_1 <= k. Each is the mean over the queries, in percent. Wrong answers that
 * score as high as a right one stand before it, as in train/evaluate/evaluate.h.
 */
#ifndef CT_JUDGMENTS_H
#define CT_JUDGMENTS_H

#include <jansson.h>

#include "train/evaluate/evaluate.h"

/* Of one direction: right[begin[q]] to right[begin[q + 1] - 1] answer query[q]. */
typedef struct {
    int64_t count; /* of the queries; 0: the direction is not there */
    int64_t *query, *begin, *right;
} ct_judged;

typedef struct {
    char *name;
    ct_judged i2t, t2i;
} ct_judgments;

/* Reads a file for a split of so many images and captions. Errors name the file and the query.
 * Freed by ct_judgments_free either way. */
bool ct_judgments_read(ct_judgments *judgments, const char *path, int64_t images, int64_t captions);
void ct_judgments_free(ct_judgments *judgments);

typedef struct {
    int64_t queries;
    double map_at_r, r_precision, r1, r5, r10;
} ct_judged_recalls;

/* By one model, or the mean of `count` models' similarities. */
bool ct_evaluate_judgments(const ct_embeddings *models, int count, const ct_judgments *judgments,
                           ct_judged_recalls *i2t, ct_judged_recalls *t2i);

/* {"name", "i2t": {"queries", "map_at_r", "r_precision", "r1", "r5", "r10"}, "t2i": {...}} */
json_t *ct_judgments_json(const ct_judgments *judgments, const ct_judged_recalls *i2t,
                          const ct_judged_recalls *t2i);

#endif
