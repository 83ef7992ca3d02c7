/* SPDX-License-Identifier: Apache-2.0 */
/* What the built `train` prints on a terminal. */
#ifndef CT_TEST_ON_TERMINAL_H
#define CT_TEST_ON_TERMINAL_H

#include <pty.h>
#include <sys/ioctl.h>

#include "tests/train/program.h"

/* Runs `train tiny.ini OPTIONS`, anew, on a terminal of so many columns, with `kind` as TERM
 * and NO_COLOR as given (NULL: not set); what it printed, which is overwritten by the next call. */
static inline const char *on_terminal(const char *folder, int columns, const char *kind,
                                      const char *no_color, const char *options) {
    static char output[OUTPUT_SIZE];
    char command[1024];
    snprintf(command, sizeof command, "rm -rf %s/run && exec '%s' %s/tiny.ini %s", folder,
             getenv("CT_TRAIN"), folder, options);
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
    int terminal, status;
    pid_t child = forkpty(&terminal, NULL, NULL, &size);
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setenv("TERM", kind, 1);
        if (no_color) setenv("NO_COLOR", no_color, 1);
        else unsetenv("NO_COLOR");
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(99);
    }
    size_t used = 0;
    ssize_t got; /* at the end reading fails */
    while (used + 1 < sizeof output &&
           (got = read(terminal, output + used, sizeof output - 1 - used)) > 0) {
        used += (size_t)got;
    }
    output[used] = '\0';
    close(terminal);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", output);
    return output;
}

#endif
