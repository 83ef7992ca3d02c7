/* SPDX-License-Identifier: Apache-2.0 */
/* What a model finds, shown: queries with their answers, and confusions. Internal to train/report/.
 */
#ifndef CT_REPORT_RETRIEVAL_H
#define CT_REPORT_RETRIEVAL_H

#include <stdio.h>

#include "train/evaluate/observed.h"
#include "train/report/findings.h"

/* An image in a list of answers: its picture, or, without one, its number. */
bool ct_image_write(FILE *page, const ct_findings *findings, int64_t image, int side);

/* Captions with the images that they find, and images with the captions, spread evenly over the
 * split. False and an error when out of memory. */
bool ct_queries_write(FILE *page, const ct_findings *findings);
/* The widest confusions both ways. */
bool ct_confusions_write(FILE *page, const ct_findings *findings);

#endif
