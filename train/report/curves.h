/* SPDX-License-Identifier: Apache-2.0 */
/* Which figures metrics.jsonl becomes. Internal to train/report/. */
#ifndef CT_REPORT_CURVES_H
#define CT_REPORT_CURVES_H

#include "train/report/compare.h"

/* Writes a figure for each quantity of a run's log: loss and its terms, reward, recalls, learning
 * rate, gradient norm, and whatever number else a line has. What belongs together shares a figure
 * (image and text, R@1 to R@10). False and an error when out of memory. */
bool ct_curves_write(FILE *page, ct_run_record *run);

/* The same of several runs on common axes, a figure for each quantity alone. Runs of a group have
 * one colour; where they have logged at the same steps, the mean of several is drawn, and each of
 * them faintly. Of many runs the groups are named once, above all figures. */
bool ct_curves_compare(FILE *page, const ct_compared *compared);

#endif
