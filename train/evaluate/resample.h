/* SPDX-License-Identifier: Apache-2.0 */
/* How sure recalls are, and whether those of two models differ: from the ranks of one evaluation,
 * by drawing images again, each with its captions (Efron and Tibshirani 1993, chapters 13 and 15).
 * Among what an image or a caption was ranked stays as it was.
 */
#ifndef CT_RESAMPLE_H
#define CT_RESAMPLE_H

#include <stdint.h>

#include "tensor/tensor.h"

/* R@1, R@5, R@10 from image to text, then from text to image, and their sum. */
enum { CT_RECALLS = 7 };

/* Ranks of a split, as ct_evaluate_retrieval gives them. */
typedef struct {
    const int64_t *i2t_rank, *t2i_rank; /* (images): -1 without a caption; (captions) */
    const int64_t *image_of;            /* (captions) */
    int64_t images, captions;
} ct_query_ranks;

typedef struct {
    double value, low, high; /* in percent: the recall, and the ends of its interval */
} ct_interval;

/* 95% intervals by the percentiles of `resamples` bootstrap samples of the images. */
bool ct_recall_intervals(const ct_query_ranks *ranks, int64_t resamples, uint64_t seed,
                         ct_interval intervals[CT_RECALLS]);

typedef struct {
    ct_interval difference; /* of b's recall from a's, by the same bootstrap samples */
    double p; /* of a difference as large either way, were the models exchangeable on each image */
} ct_recall_change;

/* Two models on one split. p by `resamples` random exchanges of both models' answers for an image
 * and its captions: (1 + how often the difference is as large) / (1 + resamples). */
bool ct_recall_changes(const ct_query_ranks *a, const ct_query_ranks *b, int64_t resamples,
                       uint64_t seed, ct_recall_change changes[CT_RECALLS]);

#endif
