/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/device/team.h"

#include <omp.h>
#include <pthread.h>
#include <stdio.h>

/* The failure that counts: of the first part that has one. */
typedef struct {
    pthread_mutex_t lock;
    int part; /* the number of parts: none */
    char error[1024];
} failure;

static void work_in_scope(ct_team_work *work, void *context, int part, failure *first) {
    bool done = false;
    CT_SCOPE { done = work(context, part); }
    if (done && ct_ok()) return;
    pthread_mutex_lock(&first->lock);
    if (part < first->part) {
        first->part = part;
        snprintf(first->error, sizeof first->error, "%s", ct_error());
    }
    pthread_mutex_unlock(&first->lock);
    ct_error_clear(); /* of this thread: its next work is another caller's */
}

int ct_team_size(void) { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

bool ct_team(int parts, ct_team_work *work, void *context) {
    if (!ct_ok()) return false;
    failure first = {.lock = PTHREAD_MUTEX_INITIALIZER, .part = parts};
    int most = ct_team_size(), threads = parts < most ? parts : most;
    if (threads == 1) {
        for (int i = 0; i < parts; i++) work_in_scope(work, context, i, &first);
    } else {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int i = 0; i < parts; i++) work_in_scope(work, context, i, &first);
    }
    return first.part == parts || ct_fail_bool("%s", first.error);
}
