/* SPDX-License-Identifier: Apache-2.0 */
#include "train/sweep/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/run/console.h"
#include "train/run/run_lock.h"
#include "train/run/stop.h"
#include "train/sweep/check.h"
#include "train/sweep/jobs.h"
#include "train/sweep/summary.h"

static int count_of(const ct_job *jobs, int count, ct_job_state state) {
    int found = 0;
    for (int i = 0; i < count; i++) found += jobs[i].state == state;
    return found;
}

static void say_start(const ct_sweep *s, const ct_job *jobs, const char *folder) {
    int done = count_of(jobs, s->run_count, CT_JOB_DONE),
        stopped = count_of(jobs, s->run_count, CT_JOB_STOPPED);
    char earlier[96] = "";
    if (done || stopped) {
        snprintf(earlier, sizeof earlier, ", %d of them done before, %d to go on with", done,
                 stopped);
    }
    ct_console_line("%d runs in %s%s", s->run_count, folder, earlier);
}

/* Names the first that failed. */
static void fail_for(const ct_job *jobs, int count, int failed) {
    int i = 0;
    while (jobs[i].state != CT_JOB_FAILED) i++;
    char others[48] = "";
    if (failed > 1) snprintf(others, sizeof others, " and %d more", failed - 1);
    ct_fail("--sweep: %d of %d runs failed, %s%s: the same sweep again runs what is not done",
            failed, count, jobs[i].run->name, others);
}

static ct_train_outcome conclude(const ct_sweep *s, const ct_job *jobs, const char *folder) {
    if (!ct_sweep_summary(s, jobs, folder)) return CT_TRAIN_FAILED;
    int count = s->run_count, failed = count_of(jobs, count, CT_JOB_FAILED),
        done = count_of(jobs, count, CT_JOB_DONE);
    if (done + failed < count) {
        ct_console_result("interrupted: %d of %d runs done; the same sweep again goes on", done,
                          count);
        return CT_TRAIN_INTERRUPTED;
    }
    if (failed) fail_for(jobs, count, failed);
    return failed ? CT_TRAIN_FAILED : CT_TRAIN_DONE;
}

static ct_train_outcome run(const ct_sweep *s, ct_job *jobs, const char *folder,
                            const ct_jobs_options *options) {
    bool described = true;
    for (int i = 0; described && i < s->run_count; i++) described = ct_job_describe(&jobs[i]);
    if (!described) return CT_TRAIN_FAILED;
    say_start(s, jobs, folder);
    if (!ct_jobs_run(jobs, s->run_count, *options)) return CT_TRAIN_FAILED;
    return conclude(s, jobs, folder);
}

/* Under the sweep's lock, and once nothing can be found wrong with the runs and none of the folders
 * holds another one. */
static ct_train_outcome look_and_run(const ct_sweep *s, ct_job *jobs, const char *folder,
                                     const ct_sweep_options *options) {
    for (int i = 0; i < s->run_count; i++) {
        if (!ct_job_look(&jobs[i], &s->runs[i])) return CT_TRAIN_FAILED;
    }
    ct_jobs_options how = {options->at_once, options->weights, options->other_graph};
    if (!ct_sweep_check(s, jobs, &how)) return CT_TRAIN_FAILED;
    ct_run_lock *lock = ct_make_folders(folder) ? ct_run_lock_take(folder, "sweep.lock") : NULL;
    ct_train_outcome outcome = lock ? run(s, jobs, folder, &how) : CT_TRAIN_FAILED;
    ct_run_lock_release(lock);
    return outcome;
}

ct_train_outcome ct_sweep_command(const ct_config *config, const ct_sweep_options *options) {
    ct_sweep *s = ct_sweep_read(options->text, config, options->overrides, options->override_count);
    ct_job *jobs = s ? calloc((size_t)s->run_count, sizeof *jobs) : NULL;
    if (s && !jobs) ct_fail("--sweep: out of memory");
    ct_train_outcome outcome =
        jobs ? look_and_run(s, jobs, config->run_folder, options) : CT_TRAIN_FAILED;
    for (int i = 0; jobs && i < s->run_count; i++) ct_job_free(&jobs[i]);
    free(jobs);
    ct_sweep_free(s);
    return outcome;
}
