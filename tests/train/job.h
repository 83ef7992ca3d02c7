/* SPDX-License-Identifier: Apache-2.0 */
/* `train` as a job that goes on beside the test: for the suites train and cli. */
#ifndef CT_TEST_JOB_H
#define CT_TEST_JOB_H

#include <signal.h>
#include <stdarg.h>

#include "tests/train/program.h"

/* Starts `train tiny.ini OPTIONS` in a process of its own, what it prints in FOLDER/out. `hangup`:
 * what SIGHUP does there. Whatever the test was started with (nohup), the other signals end it. */
static inline pid_t start_with(const char *folder, const char *options, void (*hangup)(int)) {
    static const int ending[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    char command[2048];
    snprintf(command, sizeof command, "exec '%s' %s/tiny.ini %s > %s/out 2>&1", getenv("CT_TRAIN"),
             folder, options, folder);
    unlink(in_folder(folder, "out")); /* an earlier one's */
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0); /* its children are reached with it: kill(-child, ...), as by Ctrl-C */
        for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) signal(ending[i], SIG_DFL);
        signal(SIGHUP, hangup);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(99);
    }
    ck_assert_int_gt(child, 0);
    return child;
}

static inline pid_t start(const char *folder, const char *options) {
    return start_with(folder, options, SIG_DFL);
}

static inline void assert_printed(const char *folder, const char *text) {
    char *output = ct_file_read(in_folder(folder, "out"), NULL);
    assert_no_error();
    ck_assert_msg(strstr(output, text) != NULL, "'%s' not in\n%s", text, output);
    free(output);
}

/* Waits until it has printed a text; it has ended before if that is not to come. */
static inline void wait_for(const char *folder, pid_t child, const char *text) {
    for (;;) {
        usleep(5000);
        bool ended = kill(child, 0) != 0;
        char *output = access(in_folder(folder, "out"), F_OK) == 0
                           ? ct_file_read(in_folder(folder, "out"), NULL)
                           : NULL;
        bool there = output && strstr(output, text);
        if (ended && !there) ck_abort_msg("'%s' not in\n%s", text, output ? output : "");
        free(output);
        if (there) return;
    }
}

/* Its exit status, or 128 + the signal that ended it. */
static inline int end_of(pid_t child) {
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs `train tiny.ini OPTIONS` to its end. */
static inline int train(const char *folder, const char *options, char *output) {
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    return run_train(arguments, output);
}

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2), unused));
static int shell(const char *format, ...) {
    char command[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
