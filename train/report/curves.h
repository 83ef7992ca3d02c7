/* SPDX-License-Identifier: Apache-2.0 */
/* Which figures metrics.jsonl becomes. Internal to train/report/. */
#ifndef CT_REPORT_CURVES_H
#define CT_REPORT_CURVES_H

#include "train/report/run.h"

/* Writes a figure for each quantity of the runs' logs: loss and its terms, reward, recalls,
 * learning rate, gradient norm, and whatever number else a line has. Of one run, what belongs
 * together shares a figure (image and text, R@1 to R@10); of several, each has a curve in every
 * figure. False and an error when out of memory. */
bool ct_curves_write(FILE *page, ct_run_record *const *runs, int count);

#endif
