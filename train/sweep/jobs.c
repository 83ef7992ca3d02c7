/* SPDX-License-Identifier: Apache-2.0 */
#include "train/sweep/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "autograd/profile.h"
#include "train/config/difference.h"
#include "train/report/run.h"
#include "train/run/console.h"
#include "train/run/experiment.h"
#include "train/run/stop.h"

/* ---- folders ----------------------------------------------------------------------------- */

static bool has(const ct_job *job, const char *name) {
    char *path = ct_path(job->run->config->run_folder, name);
    bool is_there = path && access(path, F_OK) == 0;
    free(path);
    return is_there;
}

static bool is_same_run(const ct_job *job) {
    const char *folder = job->run->config->run_folder;
    char *path = ct_path(folder, "config.ini");
    ct_config *there = path ? ct_config_read(path, NULL, 0) : NULL;
    ct_config_difference found;
    int differ = there ? ct_config_compare(there, job->run->config, &found) : -1;
    ct_config_destroy(there);
    free(path);
    if (differ > 0) {
        ct_fail(
            "--sweep: %s holds a run with %s = %s, not %s: take another [run] folder, or remove "
            "that one",
            folder, found.key, *found.value[0] ? found.value[0] : "(none)",
            *found.value[1] ? found.value[1] : "(none)");
    }
    return differ == 0;
}

bool ct_job_look(ct_job *job, const ct_sweep_run *run) {
    *job = (ct_job){.run = run};
    bool results = has(job, "results.json"), state = has(job, "last.safetensors");
    job->state = results ? CT_JOB_DONE : state ? CT_JOB_STOPPED : CT_JOB_WAITS;
    if (job->state == CT_JOB_WAITS) return ct_ok(); /* whatever its configuration was */
    return has(job, "config.ini")
               ? is_same_run(job)
               : ct_fail_bool(
                     "--sweep: %s holds a run without its config.ini: remove it, or take another "
                     "[run] folder",
                     run->config->run_folder);
}

bool ct_job_describe(const ct_job *job) {
    const ct_config *config = job->run->config;
    if (job->state != CT_JOB_WAITS) return true;
    char *path = ct_path(config->run_folder, "config.ini");
    bool done = path && ct_make_folders(config->run_folder) &&
                ct_file_write(path, config->text, strlen(config->text));
    free(path);
    return done;
}

void ct_job_free(ct_job *job) { free(job->why); }

/* ---- processes --------------------------------------------------------------------------- */

typedef struct {
    ct_job *job; /* NULL: nobody works here */
    pid_t process;
    long log_begins; /* what it prints, in log.txt */
    time_t started;
} place;

typedef struct {
    ct_job *jobs;
    int count, next, done; /* done: also those that failed */
    int before;            /* done when it began */
    double started;
    ct_jobs_options options;
    place *places;
    char program[4096];
    sigset_t signals; /* that are blocked outside a start */
    bool told;        /* those at work that they are to stop */
} crew;

static bool wrong_log(const char *path) {
    return ct_fail_bool("%s: cannot be opened: %s", path, strerror(errno));
}

/* In the new process. It ends with the sweep, however that ends: also by a signal to stop before it
 * is `train`, when it would be taken for the sweep's own. */
static void become(const crew *c, const ct_job *job, int log, pid_t sweep) {
    const char *arguments[8] = {"train", job->run->config->run_folder};
    int count = 2;
    arguments[count++] = job->state == CT_JOB_STOPPED ? "--resume" : "--overwrite";
    if (c->options.weights && job->state != CT_JOB_STOPPED) {
        arguments[count++] = "--init";
        arguments[count++] = c->options.weights;
        if (c->options.other_graph) arguments[count++] = "--other-graph";
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != sweep) _exit(2);
    ct_stop_unwatch();
    sigprocmask(SIG_SETMASK, &c->signals, NULL);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(c->program, (char *const *)arguments);
    _exit(127);
}

/* The new process, to which no signal comes before it has its own handlers; -1: none. */
static pid_t fork_for(crew *c, const ct_job *job, int log) {
    pid_t sweep = getpid();
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &c->signals);
    pid_t process = fork();
    int wrong = errno;
    if (process == 0) become(c, job, log, sweep);
    sigprocmask(SIG_SETMASK, &c->signals, NULL);
    errno = wrong;
    return process;
}

static bool start(crew *c, place *p, ct_job *job) {
    char *path = ct_path(job->run->config->run_folder, "log.txt");
    *p = (place){.job = job, .started = time(NULL)};
    if (!path) return false;
    int fresh = job->state == CT_JOB_STOPPED ? 0 : O_TRUNC;
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | fresh, 0666);
    bool opened = log >= 0 || wrong_log(path);
    free(path);
    if (!opened) return false;
    p->log_begins = lseek(log, 0, SEEK_END);
    p->process = fork_for(c, job, log);
    int wrong = errno;
    close(log);
    return p->process > 0 || ct_fail_bool("no process can be made: %s", strerror(wrong));
}

/* ---- how one ended ----------------------------------------------------------------------- */

/* The last of its lines that begins with "train: ", as errors do; from malloc, or NULL. */
static char *last_words(const place *p) {
    static const char begin[] = "train: ";
    char *path = ct_path(p->job->run->config->run_folder, "log.txt"), *found = NULL;
    size_t size = 0;
    char *text = path ? ct_file_read(path, &size) : NULL, *rest = text, *line;
    if (text && p->log_begins > 0 && (size_t)p->log_begins <= size) rest += p->log_begins;
    while (rest && (line = strsep(&rest, "\n"))) {
        if (strncmp(line, begin, sizeof begin - 1) == 0) found = line + sizeof begin - 1;
    }
    found = found ? strdup(found) : NULL;
    free(text);
    free(path);
    ct_error_clear(); /* of a log that cannot be read: then nothing is said of it */
    return found;
}

static void explain(const place *p, int status) {
    char *why = NULL;
    int made = 0;
    if (WIFSIGNALED(status)) {
        made =
            asprintf(&why, "ended by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (!(why = last_words(p))) {
        made = asprintf(&why, "exit status %d", WEXITSTATUS(status));
    }
    p->job->why = made < 0 ? NULL : why;
}

/* "  test rsum 312.4" */
static void say_result(const ct_job *job, char text[64]) {
    ct_run_record *record = ct_run_record_read(job->run->config->run_folder);
    const char *split;
    json_t *value;
    *text = '\0';
    json_object_foreach(record ? record->results : NULL, split, value) {
        double sum;
        if (!ct_record_number(value, "rsum", &sum)) continue;
        snprintf(text, 64, "  %.32s rsum %.1f", split, sum);
        break;
    }
    ct_run_record_free(record);
    ct_error_clear();
}

static void say_end(const crew *c, const place *p) {
    const ct_job *job = p->job;
    long seconds = (long)(time(NULL) - p->started);
    char result[64] = "";
    if (job->state == CT_JOB_DONE) say_result(job, result);
    ct_console_line("%d/%d  %s%s  (%ld:%02ld)%s%s", c->done, c->count, job->run->name, result,
                    seconds / 60, seconds % 60,
                    job->state == CT_JOB_FAILED    ? "  failed: "
                    : job->state == CT_JOB_STOPPED ? "  interrupted"
                    : job->state == CT_JOB_WAITS   ? "  interrupted, nothing saved"
                                                   : "",
                    job->why ? job->why : "");
}

static void end(crew *c, place *p, int status) {
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool interrupted = !good && ct_stop_asked();
    ct_job *job = p->job;
    if (good && has(job, "results.json")) job->state = CT_JOB_DONE;
    else if (interrupted) job->state = has(job, "last.safetensors") ? CT_JOB_STOPPED : CT_JOB_WAITS;
    else {
        explain(p, status);
        job->state = CT_JOB_FAILED;
    }
    c->done += !interrupted;
    say_end(c, p);
    p->job = NULL;
}

/* ---- progress ---------------------------------------------------------------------------- */

static void show_progress(const crew *c) {
    char names[256] = "";
    for (int i = 0; i < c->options.at_once; i++) {
        size_t used = strlen(names);
        if (!c->places[i].job) continue;
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                 c->places[i].job->run->name);
    }
    int ended = c->done - c->before;
    double each = ended ? (ct_profile_clock() - c->started) / ended : 0;
    ct_console_progress_of_runs(c->done, c->count, names, each * (c->count - c->done));
}

/* ---- all --------------------------------------------------------------------------------- */

static int at_work(const crew *c) {
    int count = 0;
    for (int i = 0; i < c->options.at_once; i++) count += c->places[i].job != NULL;
    return count;
}

/* It is as one that failed. */
static void could_not_start(crew *c, place *p) {
    const char *why = ct_error();
    p->job->state = CT_JOB_FAILED;
    p->job->why = why ? strdup(why) : NULL;
    ct_error_clear();
    c->done++;
    say_end(c, p);
    p->job = NULL;
}

static void fill(crew *c) {
    for (int i = 0; i < c->options.at_once; i++) {
        place *p = &c->places[i];
        while (!p->job && !ct_stop_asked()) {
            while (c->next < c->count && c->jobs[c->next].state == CT_JOB_DONE) c->next++;
            if (c->next == c->count) return;
            if (!start(c, p, &c->jobs[c->next++])) could_not_start(c, p);
        }
    }
}

static void tell_to_stop(crew *c) {
    for (int i = 0; i < c->options.at_once; i++) {
        if (c->places[i].job) kill(c->places[i].process, SIGTERM);
    }
    c->told = true;
}

static void see_who_ended(crew *c) {
    for (int i = 0; i < c->options.at_once; i++) {
        place *p = &c->places[i];
        int status;
        if (p->job && waitpid(p->process, &status, WNOHANG) == p->process) end(c, p, status);
    }
}

/* Ctrl-C reaches those at work, too: to be asked by SIGTERM besides is the same to them. */
static void work(crew *c) {
    for (;;) {
        fill(c);
        if (!at_work(c)) return;
        if (ct_stop_asked() && !c->told) tell_to_stop(c);
        show_progress(c);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        see_who_ended(c);
    }
}

bool ct_jobs_run(ct_job *jobs, int count, ct_jobs_options options) {
    crew c = {.jobs = jobs, .count = count, .options = options};
    ssize_t length = readlink("/proc/self/exe", c.program, sizeof c.program - 1);
    if (length < 0) return ct_fail_bool("--sweep: /proc/self/exe: %s", strerror(errno));
    if (options.at_once > count) c.options.at_once = count;
    c.places = calloc((size_t)c.options.at_once, sizeof *c.places);
    if (!c.places) return ct_fail_bool("--sweep: out of memory");
    for (int i = 0; i < count; i++) c.done += jobs[i].state == CT_JOB_DONE;
    c.before = c.done;
    c.started = ct_profile_clock();
    /* Ignored, as whoever started the sweep may have it, no end is seen. */
    signal(SIGCHLD, SIG_DFL);
    ct_stop_watch();
    work(&c);
    ct_console_end_progress();
    ct_stop_unwatch();
    free(c.places);
    return true;
}
