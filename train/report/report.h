/* SPDX-License-Identifier: Apache-2.0 */
/* --report: a page of HTML about a run. It holds all that it shows: no other file, no network and
 * no script.
 *
 *     run      what the run left in its folder          curves   which figures its log becomes
 *     plot     a figure of curves                       tables   recalls, configuration, machine
 *     graph    the configured graph                     page     the page around it, page.html
 *     html     text on its way into a page
 */
#ifndef CT_REPORT_H
#define CT_REPORT_H

#include "train/config/config.h"

/* Writes the page about the run of config->run_folder to `path`, or, if that is NULL, to
 * report.html in the run's folder. The same run gives the same bytes. A run at work, or one that
 * was stopped, has a page of what there is so far. False and an error if the folder is none of a
 * run or the page cannot be written. */
bool ct_report_command(ct_config *config, const char *path);

#endif
