/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/restart.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "models/models.h"

/* Threads that wait for work spin first: some tens of microseconds, which is what waking them
 * takes. Where another program wants the core, longer costs far more than it saves
 * (docs/performance.md, "Threads"). */
static bool bound_spinning(void) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return false;
    return setenv("GOMP_SPINCOUNT", "300", 1) == 0;
}

static bool choose_blas_kernels(void) {
    const char *kernels = ct_better_blas_kernels();
    return kernels && setenv("OPENBLAS_CORETYPE", kernels, 1) == 0;
}

/* Neither sets what is set: started again, the program goes on. If it cannot be started, all that
 * is lost is time. */
void ct_restart_well(char **argv) {
    bool spinning = bound_spinning(), kernels = choose_blas_kernels();
    char program[4096]; /* its path, not the link: the process keeps its name */
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (!(spinning || kernels) || length < 0) return;
    program[length] = '\0';
    execv(program, argv);
}
