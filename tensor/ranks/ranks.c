/* SPDX-License-Identifier: Apache-2.0 */
/* Joining the ranks that mpirun or srun started. */
#include "tensor/ranks/ranks.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "tensor/core/check.h"
#include "tensor/core/error.h"
#include "tensor/device/cuda_library.h"
#include "tensor/device/library.h"
#include "tensor/ranks/begun.h"
#include "tensor/ranks/transport.h"

static const ct_mpi *transport;
static bool started, ended;

const ct_mpi *ct_transport(void) { return transport; }

/* How many processes were started together, and the variable that says so: Open MPI's mpirun,
 * MPICH's and srun set one each. PMIx says that it did, not how many: 0. 1 where nobody did. */
static int started_together(const char **said_by) {
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *size = getenv(*said_by = sizes[i]);
        if (size) return atoi(size) > 1 ? atoi(size) : 1;
    }
    return getenv("PMIX_RANK") ? 0 : 1;
}

static const ct_mpi *join(void) {
    char path[CT_LIBRARY_PATH];
    const char *why = NULL;
    const char *name = ct_library_find("libcotangent_mpi.so", "CT_MPI_LIBRARY", path);
    void *library = dlopen(name, RTLD_NOW | RTLD_GLOBAL); /* MPI's plugins look for its symbols */
    if (!library) {
        return ct_fail("ranks: started by mpirun or srun, but MPI support was not loaded (%s); it "
                       "is built where mpicc is found",
                       dlerror());
    }
    ct_mpi_open_function *open = (ct_mpi_open_function *)dlsym(library, "ct_mpi_open");
    const int *version = dlsym(library, "ct_mpi_version");
    if (!open || !version || *version != CT_MPI_LIBRARY_VERSION) {
        return ct_fail("ranks: %s is of another version of this program: build it again", name);
    }
    const ct_mpi *mpi = open(&why);
    return mpi ? mpi : ct_fail("ranks: MPI did not start: %s", why);
}

bool ct_ranks_start(void) {
    const char *said_by;
    int count = started_together(&said_by);
    if (started || count == 1) return true;
    const ct_mpi *mpi = join();
    if (!mpi) return false;
    started = true;
    if (count && mpi->ranks != count) {
        return ct_fail_bool("ranks: %d processes were started (%s), but MPI knows of %d: what "
                            "started them, mpirun or srun --mpi, is not of the MPI that MPI "
                            "support was built with (mpicc)",
                            count, said_by, mpi->ranks);
    }
    transport = mpi->ranks > 1 ? mpi : NULL;
    return true;
}

/* The others of a sum that was begun and not ended wait in it for this rank, which failed. */
void ct_ranks_end(void) {
    if (transport && !ended && (ct_sums_are_begun() || !ct_ok())) transport->abort(1);
    const ct_backend *cuda = ct_cuda_backend_if_open();
    if (transport && cuda) cuda->ranks_end();
    if (transport && !ended) transport->end();
    ended = true;
    transport = NULL;
}

int ct_rank(void) { return transport ? transport->rank : 0; }
int ct_ranks(void) { return transport ? transport->ranks : 1; }
int64_t ct_ranks_sent(void) { return transport ? transport->sent : 0; }
const char *ct_rank_host(void) { return transport ? transport->host : ""; }

void ct_ranks_abort(int status) {
    if (transport) transport->abort(status);
}

/* ---- what a whole batch is ------------------------------------------------------------------- */

static _Thread_local bool over_ranks;

bool ct_over_ranks(void) { return over_ranks && transport; }

bool ct_set_over_ranks(bool over) {
    bool was = over_ranks;
    over_ranks = over;
    return was;
}
