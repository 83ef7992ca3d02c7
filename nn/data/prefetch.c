/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/data/prefetch.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

enum {
    STREAM = 0x6c6f6164, /* of random numbers: "load" */
    EPOCH_SHIFT = 32,    /* an epoch's order begins at random offset epoch << 32 */
};

struct ct_prefetch {
    ct_prefetch_options options;
    int64_t batches;
    int64_t *order; /* example numbers of the epoch */
    bool started;   /* the caller's: a thread is there */
    int64_t epoch;  /* the caller's */
    int64_t taken;  /* the caller's: next batch to give */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock: batches below `made` are ready, those below `freed` are no longer used */
    int64_t made, freed;
    bool stop;
    char error[512]; /* "" : none */
};

/* ---- making batches (in the thread) ------------------------------------------------------ */

/* Batch i is made in slot i % CT_PREFETCH_SLOTS. */
static bool fill(const ct_prefetch *p, int64_t number) {
    const ct_prefetch_options *o = &p->options;
    int64_t first = number * o->batch, left = o->examples - first;
    return o->fill(o->context, (int)(number % CT_PREFETCH_SLOTS), p->epoch, p->order + first,
                   left < o->batch ? left : o->batch);
}

/* Waits until there is room for batch `number`; false when told to stop. */
static bool wait_for_room(ct_prefetch *p, int64_t number) {
    pthread_mutex_lock(&p->lock);
    while (!p->stop && number - p->freed >= CT_PREFETCH_SLOTS) {
        pthread_cond_wait(&p->changed, &p->lock);
    }
    bool stop = p->stop;
    pthread_mutex_unlock(&p->lock);
    return !stop;
}

static void *make_batches(void *context) {
    ct_prefetch *p = context;
    int64_t number = p->made;
    while (number < p->batches && wait_for_room(p, number)) {
        bool done = fill(p, number);
        pthread_mutex_lock(&p->lock);
        if (done) p->made = ++number;
        else snprintf(p->error, sizeof p->error, "%s", ct_error());
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->lock);
        if (!done) break;
    }
    return NULL;
}

/* ---- the caller's side ------------------------------------------------------------------- */

static void stop_thread(ct_prefetch *p) {
    if (!p->started) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    p->started = false;
}

ct_prefetch *ct_prefetch_create(const ct_prefetch_options *options) {
    const char *name = options->name;
    int64_t batch = options->batch, examples = options->examples;
    if (batch < 1) return ct_fail("%s: batches of %" PRId64 ", expected at least 1", name, batch);
    ct_prefetch *p = calloc(1, sizeof *p);
    int64_t *order = malloc((size_t)(examples + 1) * sizeof *order);
    if (!p || !order) {
        free(p);
        free(order);
        return ct_fail("%s: out of memory", name);
    }
    p->options = *options;
    p->order = order;
    p->batches = examples / batch + (!options->drop_last && examples % batch > 0);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    return p;
}

void ct_prefetch_destroy(ct_prefetch *p) {
    if (!p) return;
    stop_thread(p);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->order);
    free(p);
}

int64_t ct_prefetch_batches(const ct_prefetch *p) { return p ? p->batches : 0; }

/* A thread with all signals blocked: Ctrl-C is for the main thread. */
static bool start_thread(ct_prefetch *p) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&p->thread, NULL, make_batches, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    p->started = !failed;
    return !failed ||
           ct_fail_bool("%s: cannot start a thread: %s", p->options.name, strerror(failed));
}

static void draw_order(ct_prefetch *p, int64_t epoch) {
    for (int64_t i = 0; i < p->options.examples; i++) p->order[i] = i;
    if (!p->options.shuffle) return;
    ct_rng rng = ct_rng_create(p->options.seed, STREAM);
    rng.offset = (uint64_t)epoch << EPOCH_SHIFT;
    ct_random_permutation(&rng, p->options.examples, p->order);
}

bool ct_prefetch_start(ct_prefetch *p, int64_t epoch, int64_t first) {
    if (!p || !ct_ok()) return false;
    if (epoch < 0 || epoch >= (int64_t)1 << (63 - EPOCH_SHIFT) || first < 0 || first > p->batches) {
        return ct_fail_bool("%s: batch %" PRId64 " of epoch %" PRId64 ", expected 0 to %" PRId64
                            " of an epoch from 0",
                            p->options.name, first, epoch, p->batches);
    }
    stop_thread(p);
    draw_order(p, epoch);
    p->epoch = epoch;
    p->taken = p->made = p->freed = first;
    p->stop = false;
    p->error[0] = 0;
    return start_thread(p);
}

int ct_prefetch_next(ct_prefetch *p) {
    if (!p || !ct_ok()) return -1;
    if (!p->started) {
        const char *name = p->options.name;
        ct_fail("%s: ct_%s_start comes before ct_%s_next", name, name, name);
        return -1;
    }
    pthread_mutex_lock(&p->lock);
    p->freed = p->taken;
    pthread_cond_signal(&p->changed);
    bool end = p->taken == p->batches;
    while (!end && p->made <= p->taken && !p->error[0]) {
        pthread_cond_wait(&p->changed, &p->lock);
    }
    bool ready = !end && p->made > p->taken;
    if (!end && !ready) ct_fail("%s", p->error);
    pthread_mutex_unlock(&p->lock);
    return ready ? (int)(p->taken++ % CT_PREFETCH_SLOTS) : -1;
}

void ct_prefetch_position(const ct_prefetch *p, int64_t *epoch, int64_t *next) {
    *epoch = p->epoch;
    *next = p->taken;
}
