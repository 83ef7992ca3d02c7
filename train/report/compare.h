/* SPDX-License-Identifier: Apache-2.0 */
/* Runs side by side. Internal to train/report/ and train/sweep/. */
#ifndef CT_REPORT_COMPARE_H
#define CT_REPORT_COMPARE_H

#include "train/report/run.h"

/* Runs whose configurations differ in the seed and in what changes nothing that is computed, at
 * most, are one group: group[i] is the number of run i's, from 0 in the order of first runs. How
 * many. */
int ct_compare_groups(ct_run_record *const *runs, int count, int *group);

/* What is compared, and what it is called. */
typedef struct {
    ct_run_record *const *runs;
    int count, groups;
    int *group;         /* of each run, as above */
    const char **label; /* of each run: its name, or where two have one name its folder, without
                         * what all begin with */
    char **group_label; /* of each group: what its runs' labels have in common, "lr=1e-3" */
    char **mean_label;  /* of each group: "lr=1e-3, mean of 5" */
} ct_compared;

/* False and an error when out of memory; ended by ct_compared_end either way. The runs outlive it.
 */
bool ct_compared_begin(ct_compared *compared, ct_run_record *const *runs, int count);
void ct_compared_end(ct_compared *compared);
/* More runs than a reader looks at one by one: the groups' means come first. */
bool ct_compared_many(const ct_compared *compared);
/* Of how many runs a group is. */
int ct_compared_size(const ct_compared *compared, int group);

/* Recalls of every split, a row a run, and of a group of several runs mean and standard deviation
 * (of a sample, n - 1); of many runs those of the groups, and each run's in a part that is opened.
 */
void ct_compare_recalls(FILE *page, const ct_compared *compared);

/* Mean and standard deviation (n - 1; 0 of a single run) of the number at `path` of a split's
 * recalls over the runs of group `of`; how many of them have it. */
int ct_compare_spread(ct_run_record *const *runs, int count, const int *group, int of,
                      const char *split, const char *path, double *mean, double *deviation);

/* The settings in which the runs differ: a column a run, of many runs a row. */
void ct_compare_settings(FILE *page, const ct_compared *compared);

#endif
