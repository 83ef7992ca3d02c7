/* SPDX-License-Identifier: Apache-2.0 */
/* What a report says in words and numbers. Internal to train/report/. */
#ifndef CT_REPORT_TABLES_H
#define CT_REPORT_TABLES_H

#include "train/evaluate/resample.h"
#include "train/report/run.h"

/* The few numbers that one asks for first. */
void ct_facts_write(FILE *page, const ct_run_record *run);
/* Finds the intervals of a split's recalls; false: there are none, or, with an error, without
 * memory. */
typedef bool (*ct_intervals_of)(const void *context, const char *split,
                                ct_interval intervals[CT_RECALLS]);
/* Recalls of each split with what was ranked; of a run without results those of its best
 * validation. Below each is its interval, where that is of the same recalls. */
void ct_recalls_write(FILE *page, const ct_run_record *run, ct_intervals_of find,
                      const void *context);
/* The configuration, a list a section; what is not the default stands out. */
void ct_settings_write(FILE *page, const ct_run_record *run);
/* Versions, machine, time and memory. */
void ct_machine_write(FILE *page, const ct_run_record *run);

/* A recall, in percent, or a rank: "-" if the object has none. */
void ct_recall_write(FILE *page, const json_t *object, const char *path, int decimals);

#endif
