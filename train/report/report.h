/* SPDX-License-Identifier: Apache-2.0 */
/* --report: a page of HTML about a run. It holds all that it shows: no other file, no network and
 * no script.
 *
 *     run      what the run left in its folder          curves   which figures its log becomes
 *     plot     a figure of curves                       tables   recalls, configuration, machine
 *     graph    the configured graph                     findings what the model finds in a split
 *     retrieval  that, shown                            attention  weights of regions and words
 *     pictures as JPEG within the page
 *     page     the page around it, page.html            html     text on its way into it
 *     compare  recalls and settings of several runs
 */
#ifndef CT_REPORT_H
#define CT_REPORT_H

#include "train/report/run.h"

/* Writes the page about the run of config->run_folder, under the configuration that lies there, to
 * `path`, or, if that is NULL, to report.html in the run's folder. The same run gives the same
 * bytes. A run at work, or one that was stopped, has a page of what there is so far; where the data
 * are not there, it says so in the place of queries, unless `split` is given: then that is an
 * error. False and an error, too, if the folder is none of a run or the page cannot be written. */
bool ct_report_command(const ct_config *config, const char *split, const char *path);

/* The same of that run and `count` others, by their folders: recalls with mean and spread over
 * seeds, where the configurations differ, and curves on common axes; by default to comparison.html
 * in the first run's folder. An error, too, if a run is given twice. */
bool ct_comparison_command(ct_config *config, const char *const *others, int count,
                           const char *path);

/* That page of runs that have been read, as they come. */
bool ct_comparison_save(const char *path, const char *title, ct_run_record *const *runs, int count);

#endif
