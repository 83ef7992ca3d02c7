/* SPDX-License-Identifier: Apache-2.0 */
/* The runs of a sweep at work, each in a process of its own: what ends one (a crash, too little
 * memory) is no matter of the others, and its bits are those of the run alone. Internal to
 * train/sweep/. */
#ifndef CT_SWEEP_JOBS_H
#define CT_SWEEP_JOBS_H

#include "train/sweep/plan.h"

typedef enum {
    CT_JOB_WAITS,   /* nothing of it is saved */
    CT_JOB_STOPPED, /* it has a checkpoint to go on from */
    CT_JOB_DONE,    /* it has results */
    CT_JOB_FAILED   /* in this sweep: `why` */
} ct_job_state;

typedef struct {
    const ct_sweep_run *run;
    ct_job_state state;
    char *why; /* from malloc, or NULL */
} ct_job;

/* Looks into the run's folder. False and an error if what is there is another run's. */
bool ct_job_look(ct_job *job, const ct_sweep_run *run);
/* Makes its folder and writes its configuration there, if nothing of it is saved. */
bool ct_job_describe(const ct_job *job);
/* Frees what the job holds, not itself. */
void ct_job_free(ct_job *job);

typedef struct {
    int at_once;         /* so many at a time, at most */
    const char *weights; /* that they start from, or NULL (train/run/preparation.h) */
    bool other_graph;
} ct_jobs_options;

/* Runs what is not done, in their order; what one prints is in log.txt of its folder. Being asked
 * to stop (train/run/stop.h), asks those at work, waits until they have saved, and starts no other.
 * That one fails, or cannot be started, is said in its job. False and an error if none can be. */
bool ct_jobs_run(ct_job *jobs, int count, ct_jobs_options options);

#endif
