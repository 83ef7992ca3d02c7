/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/mpi/patience.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_uint calls; /* begun and ended: odd while one waits */
static long patience;     /* seconds */
static int own_rank;
static const char *own_host;

/* Seconds are counted one by one: none passes while this process is stopped, too. */
static void *watch(void *unused) {
    (void)unused;
    unsigned call = 0;
    for (long seconds = 0; seconds < patience; seconds++) {
        sleep(1);
        unsigned now = atomic_load(&calls);
        if (now % 2 == 0 || now != call) seconds = -1;
        call = now;
    }
    fprintf(stderr,
            "%s: rank %d on %s: other ranks have not answered for %ld seconds "
            "(CT_RANKS_PATIENCE): one stands still, or the network is cut\n",
            program_invocation_short_name, own_rank, own_host, patience);
    fflush(stderr);
    _exit(2);
}

/* Signals are for the threads that there were. */
static int start_thread(void) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error) pthread_detach(thread);
    return error;
}

const char *ct_patience_start(int rank, const char *host) {
    const char *wanted = getenv("CT_RANKS_PATIENCE");
    char *end = NULL;
    enum { LATER = 2 };
    patience = wanted ? strtol(wanted, &end, 10) : 600;
    if (wanted && (end == wanted || *end || patience < 0 || patience > INT_MAX)) {
        return "CT_RANKS_PATIENCE is no number of seconds";
    }
    if (patience == 0) return NULL;
    if (rank > 0) patience += LATER;
    own_rank = rank;
    own_host = host;
    return start_thread() ? "no thread can be started" : NULL;
}

void ct_patience_begin(void) { atomic_fetch_add(&calls, 1); }
void ct_patience_end(void) { atomic_fetch_add(&calls, 1); }
