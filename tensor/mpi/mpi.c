/* SPDX-License-Identifier: Apache-2.0 */
/* The transport between ranks, by MPI: all of the program that knows of it. */
#include <mpi.h>

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

static const char *gather(const void *mine, void *all, int bytes) {
    return said(MPI_Allgather(mine, bytes, MPI_BYTE, all, bytes, MPI_BYTE, MPI_COMM_WORLD));
}

static const char *exchange(const void *mine, void *theirs, int bytes) {
    return said(MPI_Alltoall(mine, bytes, MPI_BYTE, theirs, bytes, MPI_BYTE, MPI_COMM_WORLD));
}

static const char *broadcast(void *data, int bytes, int from) {
    return said(MPI_Bcast(data, bytes, MPI_BYTE, from, MPI_COMM_WORLD));
}

static const char *wait(void) { return said(MPI_Barrier(MPI_COMM_WORLD)); }

static void end_all(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

static void end(void) { MPI_Finalize(); }

static char host[MPI_MAX_PROCESSOR_NAME] = "?";

static ct_mpi opened = {
    .host = host,
    .gather = gather,
    .exchange = exchange,
    .broadcast = broadcast,
    .wait = wait,
    .abort = end_all,
    .end = end,
};

const ct_mpi *ct_mpi_open(const char **why) {
    int given, length;
    int error = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given);
    if (error == MPI_SUCCESS) error = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (error == MPI_SUCCESS) error = MPI_Comm_rank(MPI_COMM_WORLD, &opened.rank);
    if (error == MPI_SUCCESS) error = MPI_Comm_size(MPI_COMM_WORLD, &opened.ranks);
    if (error == MPI_SUCCESS) error = MPI_Get_processor_name(host, &length);
    *why = said(error);
    return error == MPI_SUCCESS ? &opened : NULL;
}
