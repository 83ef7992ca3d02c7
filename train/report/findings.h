/* SPDX-License-Identifier: Apache-2.0 */
/* What a trained model finds in a split, for a report. Internal to train/report/. */
#ifndef CT_REPORT_FINDINGS_H
#define CT_REPORT_FINDINGS_H

#include "train/run/experiment.h"

typedef struct {
    const ct_experiment *experiment; /* borrowed */
    ct_split *split;
    ct_embeddings embeddings;    /* kept */
    ct_retrieval_details detail; /* ranks and best answers, in one block */
    ct_images *shown;            /* pictures of the split's images where it has features; or NULL */
} ct_findings;

/* Opens, embeds and ranks a split of the model's data folder. NULL and an error if it cannot be. */
ct_findings *ct_findings_make(const ct_experiment *experiment, const char *split);
void ct_findings_free(ct_findings *findings);

/* The file of an image's picture, or NULL: the image itself, or, of features, what
 * {split}_pictures.txt names for it. */
const char *ct_findings_picture(const ct_findings *findings, int64_t image);
/* The first caption of an image; "" without. */
const char *ct_findings_caption(const ct_findings *findings, int64_t image);

typedef struct {
    int64_t index; /* of an image, or of a caption */
    double score;
} ct_found;

/* The best answers to a caption (images) or to an image (captions), the best first, of equals the
 * first: at most `most`. How many; -1 and an error when out of memory. */
int ct_findings_best(const ct_findings *findings, bool caption, int64_t query, int most,
                     ct_found *best);

/* A query with a wrong answer above its right ones. */
typedef struct {
    int64_t query, found, right; /* right: the best of the right answers */
    double found_score, right_score;
} ct_confusion;

/* Those in which the wrong answer is furthest above the right one, each wrong answer and each right
 * one once; the widest first. How many; -1 and an error. */
int ct_findings_confusions(const ct_findings *findings, bool caption, int most,
                           ct_confusion *confusions);

#endif
