/* SPDX-License-Identifier: Apache-2.0 */
#include "train/sweep/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "train/run/console.h"
#include "train/run/experiment.h"
#include "train/run/optimization.h"
#include "train/run/weight_file.h"

/* ---- in the process ---------------------------------------------------------------------- */

static bool is_of_data(const char *name) { return strncmp(name, "data.", 5) == 0; }
static bool is_no_seed(const char *name) { return strcmp(name, "run.seed") != 0; }

/* Whether two runs have the same values of all keys that count. */
static bool are_alike(const ct_sweep *s, const ct_sweep_run *a, const ct_sweep_run *b,
                      bool (*counts)(const char *name)) {
    for (int k = 0; k < s->key_count; k++) {
        if (counts(s->keys[k].name) && strcmp(a->value[k], b->value[k]) != 0) return false;
    }
    return true;
}

/* How pictures come to the model is a matter of the data that are opened, too. */
static bool see_alike(const ct_config *a, const ct_config *b) {
    ct_picture_form form[2];
    memset(form, 0, sizeof form);
    bool pictures = ct_description_pictures(&a->model, &form[0]);
    return ct_ok() && ct_description_pictures(&b->model, &form[1]) == pictures && ct_ok() &&
           form[0].size == form[1].size;
}

typedef struct {
    const ct_sweep *sweep;
    const ct_sweep_run *run; /* whose data are open */
    ct_experiment *experiment;
    const ct_jobs_options *options;
} checking;

/* Its model, on the data that are open if they are its own. */
static bool open_run(checking *c, const ct_sweep_run *run) {
    bool same = c->run && are_alike(c->sweep, c->run, run, is_of_data) &&
                see_alike(c->run->config, run->config);
    if (!ct_ok()) return false;
    run->config->writes_nothing = true;
    if (same) return ct_experiment_remodel(c->experiment, run->config);
    ct_experiment_close(c->experiment);
    c->run = run;
    c->experiment = ct_experiment_open(run->config, false);
    return c->experiment != NULL;
}

static bool check_run(checking *c, const ct_sweep_run *run) {
    const char *weights = c->options->weights;
    ct_weights_purpose purpose =
        c->options->other_graph ? CT_WEIGHTS_FOR_OTHER_GRAPH : CT_WEIGHTS_TO_TRAIN;
    if (!open_run(c, run) || (weights && !ct_experiment_load(c->experiment, weights, purpose)))
        return false;
    ct_optimizer *optimizer = ct_configured_optimizer(run->config, c->experiment->model);
    ct_optimizer_destroy(optimizer);
    return optimizer != NULL;
}

/* A setting's first run stands for those of other seeds. */
static bool is_checked(const ct_sweep *s, const ct_job *jobs, int number) {
    for (int i = 0; i < number; i++) {
        if (jobs[i].state != CT_JOB_DONE && are_alike(s, &s->runs[i], &s->runs[number], is_no_seed))
            return true;
    }
    return false;
}

/* The first run with which something is wrong, of which there is an error; NULL: there is none. */
static const ct_sweep_run *find_wrong(const ct_sweep *s, const ct_job *jobs,
                                      const ct_jobs_options *options) {
    checking c = {.sweep = s, .options = options};
    const ct_sweep_run *wrong = NULL;
    for (int i = 0; i < s->run_count && !wrong; i++) {
        if (jobs[i].state == CT_JOB_DONE || is_checked(s, jobs, i)) continue;
        if (!check_run(&c, &s->runs[i])) wrong = &s->runs[i];
    }
    ct_experiment_close(c.experiment);
    return wrong;
}

/* Says "+", or "-RUN: REASON", and ends. */
static void say_and_end(const ct_sweep *s, const ct_job *jobs, const ct_jobs_options *options,
                        int to) {
    static const char set[] = "--set ";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ct_console_set_level(CT_CONSOLE_QUIET);
    const ct_sweep_run *wrong = find_wrong(s, jobs, options);
    const char *reason = ct_error() ? ct_error() : "failed";
    if (strncmp(reason, set, sizeof set - 1) == 0) reason += sizeof set - 1;
    if (wrong) dprintf(to, "-%s: %s", wrong->name, reason);
    else dprintf(to, "+");
    _exit(0);
}

/* ---- from outside ------------------------------------------------------------------------ */

/* All that comes, as far as there is room. */
static void hear(int from, char *text, size_t size) {
    size_t used = 0;
    ssize_t got;
    do {
        got = read(from, text + used, size - 1 - used);
        if (got > 0) used += (size_t)got;
    } while (got > 0 || (got < 0 && errno == EINTR));
    text[used] = '\0';
}

static bool hear_out(pid_t process, int from) {
    char text[4096];
    int status = 0;
    hear(from, text, sizeof text);
    while (waitpid(process, &status, 0) < 0 && errno == EINTR) continue;
    if (*text == '+') return true;
    if (*text == '-') return ct_fail_bool("--sweep: %s", text + 1);
    return ct_fail_bool("--sweep: the process that checks its models was ended%s%s",
                        WIFSIGNALED(status) ? " by signal " : "",
                        WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "");
}

bool ct_sweep_check(const ct_sweep *s, const ct_job *jobs, const ct_jobs_options *options) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return ct_fail_bool("--sweep: no pipe can be made: %s", strerror(errno));
    pid_t process = fork();
    if (process == 0) say_and_end(s, jobs, options, ends[1]);
    int wrong = errno;
    close(ends[1]);
    bool good = process > 0 ? hear_out(process, ends[0])
                            : ct_fail_bool("--sweep: no process can be made: %s", strerror(wrong));
    close(ends[0]);
    return good;
}
