/* SPDX-License-Identifier: Apache-2.0 */
/* Running the built `train` on several ranks, in suite ranks. */
#ifndef CT_RANKS_PROGRAM_H
#define CT_RANKS_PROGRAM_H

#include "tests/train/program.h"

/* Whether mpirun and MPI support are there; says so if not. */
static inline bool can_run_ranks(void) {
    char command[1024];
    snprintf(command, sizeof command, "'%s' %s true", getenv("CT_RANKS_RUN"),
             getenv("CT_MPI_LIBRARY") ? "1" : "none");
    return WEXITSTATUS(system(command)) != 77;
}

/* Runs `train ARGUMENTS` on so many ranks; as run_train. */
static inline int run_ranks(int ranks, const char *arguments, char output[OUTPUT_SIZE]) {
    char command[8192];
    snprintf(command, sizeof command, "'%s' %d '%s' %s 2>&1", getenv("CT_RANKS_RUN"), ranks,
             getenv("CT_TRAIN"), arguments);
    return run_command(command, output);
}

static inline void trains(int ranks, const char *arguments) {
    static char output[OUTPUT_SIZE];
    int status = run_ranks(ranks, arguments, output);
    ck_assert_msg(status == 0, "%d ranks: status %d:\n%s", ranks, status, output);
}

/* f64, and SGD: of a gradient that is rounding noise Adam makes a whole step. */
static inline const char *in_doubles(const char *folder, const char *run, const char *more) {
    static char arguments[2048];
    snprintf(arguments, sizeof arguments,
             "%s/tiny.ini --set run.dtype=f64 --set train.optimizer=sgd --set run.folder=%s/%s %s",
             folder, folder, run, more);
    return arguments;
}

#endif
