/* SPDX-License-Identifier: Apache-2.0 */
/* What the runs of a sweep came to. Internal to train/sweep/. */
#ifndef CT_SWEEP_SUMMARY_H
#define CT_SWEEP_SUMMARY_H

#include "train/sweep/jobs.h"

/* Of the runs that are done: prints a table for each split, mean and standard deviation (n - 1) of
 * the recalls over the seeds of each setting; writes sweep.json, with the other runs and why they
 * are not done, and the page sweep.html (train/report/compare.h) into `folder`. */
bool ct_sweep_summary(const ct_sweep *sweep, const ct_job *jobs, const char *folder);

#endif
