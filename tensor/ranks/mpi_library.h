/* SPDX-License-Identifier: Apache-2.0 */
/* MPI is reached through a shared library of its own (tensor/mpi/), loaded under mpirun or srun
 * alone, so that programs start on machines without an MPI. This is all that the two sides know of
 * each other. Internal to tensor/.
 */
#ifndef CT_MPI_LIBRARY_H
#define CT_MPI_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Raised with every change of ct_mpi. */
enum { CT_MPI_LIBRARY_VERSION = 3 };

/* What is moved is bytes, as many on all ranks; each function is called by all of them, in the same
 * order, from one thread. They return NULL, or what MPI says is wrong, valid until the next call.
 */
typedef struct {
    int rank, ranks;
    const char *host;
    int place, places; /* this rank's number among those on its host, and how many these are */
    int64_t sent;      /* bytes that this rank gave for the others, of all functions */
    /* `mine` of each rank, in their order, on all of them: ranks * bytes. */
    const char *(*gather)(const void *mine, void *all, int bytes);
    /* Part k of `mine` (ranks * bytes) goes to rank k, whose part of rank r is part r of `theirs`.
     */
    const char *(*exchange)(const void *mine, void *theirs, int bytes);
    const char *(*broadcast)(void *data, int bytes, int from);
    const char *(*wait)(void); /* until all are here */
    /* gather and exchange, begun: what they are given is theirs until `ended` says so. Those begun
     * of either kind are in the same order on all ranks, whatever else is called in between. In a
     * gather, `mine` NULL is what `all` has in this rank's place. */
    const char *(*gather_begin)(const void *mine, void *all, int bytes, int64_t *begun);
    const char *(*exchange_begin)(const void *mine, void *theirs, int bytes, int64_t *begun);
    /* Whether one has ended; `wait`: not before it has. MPI moves data within its functions. */
    const char *(*ended)(int64_t *begun, bool wait, bool *yes);
    void (*abort)(int status); /* ends all ranks; does not return */
    void (*end)(void);
} ct_mpi;

/* The library's symbols: "ct_mpi_version", an int, CT_MPI_LIBRARY_VERSION when it was built; and
 * "ct_mpi_open", which joins the ranks, once a process; NULL with a reason. */
typedef const ct_mpi *ct_mpi_open_function(const char **why);

#endif
