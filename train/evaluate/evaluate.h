/* SPDX-License-Identifier: Apache-2.0 */
/* Retrieval metrics: recall at 1, 5 and 10, median and mean rank, both ways.
 *
 * Protocol (VSE++, section 4): every image has any number of captions. Image to
 * text: the rank of the best of an image's captions among all captions. Text to image: the rank of
 * the caption's image among all images. An image without a caption is found in place of others by
 * captions, and asks for nothing itself. Ranks start at 0 and count the wrong answers that score at
 * least as high as the right one: ties count against the model, so that one which gives
 * everything the same score has rank last, not first. medr is floor(median rank) + 1, meanr the
 * mean rank + 1; rsum is the sum of the six recalls, in percent.
 */
#ifndef CT_EVALUATE_H
#define CT_EVALUATE_H

#include "models/matching.h"

typedef struct {
    double r1, r5, r10, medr, meanr;
} ct_recalls;

typedef struct {
    ct_recalls i2t, t2i;
    double rsum;
    int64_t images, captions; /* ranked together; of folds, in each on average */
    int64_t distractors;      /* of the images: those without a caption */
} ct_retrieval;

/* One model's embeddings, already normalised as its measure wants: images (I,D), captions (C,D). */
typedef struct {
    ct_tensor *images, *captions;
    ct_measure measure;
} ct_embeddings;

/* 0-based ranks and best answers; any pointer may be NULL. */
typedef struct {
    int64_t *i2t_rank, *i2t_top; /* (I): rank, -1 without a caption, and the best caption */
    int64_t *t2i_rank, *t2i_top; /* (C): rank, and the best image */
} ct_retrieval_details;

/* Metrics of one model, or of an ensemble: the mean of `count` models' similarities. image_of (C)
 * is each caption's image row. Similarities are computed
 * in tiles of 32 MB (f32; an ensemble takes a few times that), whatever the sizes. Equal embeddings
 * score alike to the last bit. */
bool ct_evaluate_retrieval(const ct_embeddings *models, int count, const int64_t *image_of,
                           ct_retrieval *metrics, ct_retrieval_details details);

/* The mean of the metrics of `folds` equal, consecutive parts of the images, each ranked within
 * itself (COCO 1K: folds = 5 on 5,000 images). The number of images must divide. */
bool ct_evaluate_folds(const ct_embeddings *models, int count, const int64_t *image_of, int folds,
                       ct_retrieval *metrics);

/* What is ranked together, and whether as the published program reports it (`[compat]
 * evaluation_report`): its rsum of several folds is six times the mean recall from image to text,
 * and its ensembles under the order measure are their first model alone. */
typedef struct {
    int folds; /* below 2: all images at once */
    bool released;
} ct_evaluation;
bool ct_evaluate(const ct_embeddings *models, int count, const int64_t *image_of, ct_evaluation how,
                 ct_retrieval *metrics);

/* What is asked of captions and images that are to be ranked in folds: images that divide, and a
 * caption in each part. Errors begin with `what`. */
bool ct_evaluate_check_folds(const char *what, const int64_t *image_of, int64_t images,
                             int64_t captions, int folds);

/* Metrics of given ranks (sorted in place). */
ct_recalls ct_recalls_of(int64_t *ranks, int64_t count);

#endif
