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

/* As run_command, of mpirun. That of Open MPI 4.1 itself is now and then ended by SIGSEGV where
 * ranks end with an error, by a race in what it logs with: it is then asked again. */
static inline int run_mpirun(const char *command, char output[OUTPUT_SIZE]) {
    enum { TIMES = 3 };
    int status = run_command(command, output);
    for (int i = 1; i < TIMES && status != 0 && strstr(output, "pmix_server_log_fn"); i++) {
        fprintf(stderr, "mpirun crashed, and is asked again:\n%s", output);
        status = run_command(command, output);
    }
    return status;
}

/* Runs `train ARGUMENTS` on so many ranks; as run_train. */
static inline int run_ranks(int ranks, const char *arguments, char output[OUTPUT_SIZE]) {
    char command[8192];
    snprintf(command, sizeof command, "'%s' %d '%s' %s 2>&1", getenv("CT_RANKS_RUN"), ranks,
             getenv("CT_TRAIN"), arguments);
    return run_mpirun(command, output);
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

/* Every tensor of two runs' last checkpoints, the optimiser's among them. */
static inline void same_state(const char *folder, const char *a, const char *b, double relative) {
    CT_SCOPE {
        ct_safetensors *one =
            ct_safetensors_open(in_folder(in_folder(folder, a), "last.safetensors"));
        ct_safetensors *two =
            ct_safetensors_open(in_folder(in_folder(folder, b), "last.safetensors"));
        assert_no_error();
        int count = ct_safetensors_count(one);
        ck_assert_int_gt(count, 40);
        ck_assert_int_eq(count, ct_safetensors_count(two));
        for (int i = 0; i < count; i++) {
            const char *name = ct_safetensors_name(one, i);
            assert_close(ct_safetensors_get(one, name), ct_safetensors_get(two, name), relative,
                         relative, name);
        }
        ct_safetensors_close(one);
        ct_safetensors_close(two);
    }
}

#endif
