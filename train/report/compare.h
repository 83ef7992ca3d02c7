/* SPDX-License-Identifier: Apache-2.0 */
/* Runs side by side. Internal to train/report/ and train/sweep/. */
#ifndef CT_REPORT_COMPARE_H
#define CT_REPORT_COMPARE_H

#include "train/report/run.h"

/* Runs whose configurations differ in the seed and in what changes nothing that is computed, at
 * most, are one group: group[i] is the number of run i's, from 0 in the order of first runs. How
 * many. */
int ct_compare_groups(ct_run_record *const *runs, int count, int *group);

/* Recalls of every split, a row a run, and of a group of several runs mean and standard deviation
 * (of a sample, n - 1). */
void ct_compare_recalls(FILE *page, ct_run_record *const *runs, int count, const int *group);

/* Mean and standard deviation (n - 1; 0 of a single run) of the number at `path` of a split's
 * recalls over the runs of group `of`; how many of them have it. */
int ct_compare_spread(ct_run_record *const *runs, int count, const int *group, int of,
                      const char *split, const char *path, double *mean, double *deviation);

/* The settings in which the runs differ. */
void ct_compare_settings(FILE *page, ct_run_record *const *runs, int count);

#endif
