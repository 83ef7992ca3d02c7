/* SPDX-License-Identifier: Apache-2.0 */
/* The transport between ranks, by MPI: all of the program that knows of it. */
#include <assert.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/mpi/patience.h"
#include "tensor/ranks/mpi_library.h"

#define SEEN __attribute__((visibility("default")))
SEEN const ct_mpi *ct_mpi_open(const char **why);
SEEN extern const int ct_mpi_version;
const int ct_mpi_version = CT_MPI_LIBRARY_VERSION;

static const char *said(int error) {
    static char text[MPI_MAX_ERROR_STRING];
    int length;
    if (error == MPI_SUCCESS) return NULL;
    return MPI_Error_string(error, text, &length) == MPI_SUCCESS ? text : "an MPI call failed";
}

static ct_mpi opened;
/* What is begun is apart, each kind in an order of its own. */
static MPI_Comm gathers, exchanges;

static void count(int bytes) { opened.sent += (int64_t)bytes * (opened.ranks - 1); }

static const char *gather(const void *mine, void *all, int bytes) {
    count(bytes);
    ct_patience_begin();
    int error = MPI_Allgather(mine, bytes, MPI_BYTE, all, bytes, MPI_BYTE, MPI_COMM_WORLD);
    ct_patience_end();
    return said(error);
}

static const char *exchange(const void *mine, void *theirs, int bytes) {
    count(bytes);
    ct_patience_begin();
    int error = MPI_Alltoall(mine, bytes, MPI_BYTE, theirs, bytes, MPI_BYTE, MPI_COMM_WORLD);
    ct_patience_end();
    return said(error);
}

static const char *broadcast(void *data, int bytes, int from) {
    if (from == opened.rank) count(bytes);
    ct_patience_begin();
    int error = MPI_Bcast(data, bytes, MPI_BYTE, from, MPI_COMM_WORLD);
    ct_patience_end();
    return said(error);
}

/* For what takes as long as it takes, before a training. */
static const char *wait(void) { return said(MPI_Barrier(MPI_COMM_WORLD)); }

/* A request is a pointer in one MPI and an int in another. */
static_assert(sizeof(MPI_Request) <= sizeof(int64_t), "a request fits");

static const char *gather_begin(const void *mine, void *all, int bytes, int64_t *begun) {
    MPI_Request request;
    count(bytes);
    int error = MPI_Iallgather(mine ? mine : MPI_IN_PLACE, bytes, MPI_BYTE, all, bytes, MPI_BYTE,
                               gathers, &request);
    memcpy(begun, &request, sizeof request);
    return said(error);
}

static const char *exchange_begin(const void *mine, void *theirs, int bytes, int64_t *begun) {
    MPI_Request request;
    count(bytes);
    int error = MPI_Ialltoall(mine, bytes, MPI_BYTE, theirs, bytes, MPI_BYTE, exchanges, &request);
    memcpy(begun, &request, sizeof request);
    return said(error);
}

static const char *ended(int64_t *begun, bool until_it_has, bool *yes) {
    MPI_Request request;
    int flag = 1;
    memcpy(&request, begun, sizeof request);
    if (until_it_has) ct_patience_begin();
    int error = until_it_has ? MPI_Wait(&request, MPI_STATUS_IGNORE)
                             : MPI_Test(&request, &flag, MPI_STATUS_IGNORE);
    if (until_it_has) ct_patience_end();
    memcpy(begun, &request, sizeof request);
    *yes = flag;
    return said(error);
}

static void end_all(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

static void end(void) { MPI_Finalize(); }

static char host[MPI_MAX_PROCESSOR_NAME] = "?";

static ct_mpi opened = {
    .host = host,
    .gather = gather,
    .exchange = exchange,
    .broadcast = broadcast,
    .wait = wait,
    .gather_begin = gather_begin,
    .exchange_begin = exchange_begin,
    .ended = ended,
    .abort = end_all,
    .end = end,
};

/* Those that may share memory are on one host. */
static int find_place(void) {
    MPI_Comm here;
    int error = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    if (error != MPI_SUCCESS) return error;
    error = MPI_Comm_rank(here, &opened.place);
    if (error == MPI_SUCCESS) error = MPI_Comm_size(here, &opened.places);
    MPI_Comm_free(&here);
    return error;
}

/* Open MPI started by srun without PMIx ends the process in MPI_Init, with a page of advice. */
static const char *cannot_start(void) {
#ifdef OPEN_MPI
    if (getenv("SLURM_STEP_NUM_TASKS") && !getenv("OMPI_COMM_WORLD_SIZE") && !getenv("PMIX_RANK") &&
        !getenv("PMI_SIZE")) {
        return "srun started several processes (SLURM_STEP_NUM_TASKS) that do not know each other: "
               "srun --mpi=pmix";
    }
#endif
    return NULL;
}

const ct_mpi *ct_mpi_open(const char **why) {
    int given, length;
    *why = cannot_start();
    if (*why) return NULL;
    int error = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given);
    if (error == MPI_SUCCESS) error = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (error == MPI_SUCCESS) error = MPI_Comm_dup(MPI_COMM_WORLD, &gathers);
    if (error == MPI_SUCCESS) error = MPI_Comm_dup(MPI_COMM_WORLD, &exchanges);
    if (error == MPI_SUCCESS) error = MPI_Comm_rank(MPI_COMM_WORLD, &opened.rank);
    if (error == MPI_SUCCESS) error = MPI_Comm_size(MPI_COMM_WORLD, &opened.ranks);
    if (error == MPI_SUCCESS) error = MPI_Get_processor_name(host, &length);
    if (error == MPI_SUCCESS) error = find_place();
    *why = error == MPI_SUCCESS ? ct_patience_start(opened.rank, host) : said(error);
    return *why ? NULL : &opened;
}
