/* SPDX-License-Identifier: Apache-2.0 */
/* What of a sweep's runs can be found wrong before the first of them. Internal to train/sweep/. */
#ifndef CT_SWEEP_CHECK_H
#define CT_SWEEP_CHECK_H

#include "train/sweep/jobs.h"

/* Builds the model and the optimiser of every setting that is not done, on the training split, and
 * loads the weights that they start from: a wrong name of a module would else be found when its
 * turn comes, hours later. Seeds change nothing of that. False and an error that names the first
 * run with which something is wrong.
 *
 * A process of its own does it, whose memory, a device's too, is free when the runs begin. */
bool ct_sweep_check(const ct_sweep *sweep, const ct_job *jobs, const ct_jobs_options *options);

#endif
