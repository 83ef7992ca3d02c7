/* SPDX-License-Identifier: Apache-2.0 */
/* The attention weight of every region and every word, drawn. Internal to train/report/. */
#ifndef CT_REPORT_ATTENTION_H
#define CT_REPORT_ATTENTION_H

#include <stdio.h>

#include "train/report/findings.h"

/* Writes what the attention modules of both chains give to the regions of images and to the words
 * of captions that are evenly spread over the split, head by head, and a histogram of each head's
 * weights. A policy attention's are those of its best actions; of self-attention, what a step gets
 * from all steps on average. Regions are drawn over the picture where it is known which part each
 * is:
 *
 *     boxes.npy              (regions, 4) left, top, right, bottom, as parts of width and height
 *     {split}_boxes.npy      (images, regions, 4) the same
 *
 * of features in the data folder, and the square grid of a network for pictures. Says in a line
 * that a model has no attention. False and an error when out of memory or where the boxes do not
 * fit. */
bool ct_attention_write(FILE *page, const ct_findings *findings);

#endif
