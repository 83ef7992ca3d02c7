/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/data.h"

enum {
    RING = 3,            /* one batch in use, two ahead */
    STREAM = 0x6c6f6164, /* of random numbers: "load" */
    EPOCH_SHIFT = 32,    /* an epoch's order begins at random offset epoch << 32 */
};

struct ct_loader {
    const ct_split *split;
    int64_t batch, batches;
    bool shuffle;
    uint64_t seed;
    ct_device device;
    int64_t *order;           /* caption numbers of the epoch */
    ct_host_batch ring[RING]; /* batch i is made in ring[i % RING] */
    void *raw;                /* features of one image as they are in the file */
    bool started;             /* the caller's: a thread is there */
    int64_t taken;            /* the caller's: next batch to give */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock: batches below `made` are ready, those below `freed` are no longer used */
    int64_t made, freed;
    bool stop;
    char error[512]; /* "" : none */
};

/* ---- making batches (in the thread) ------------------------------------------------------ */

static bool fill(const ct_loader *loader, int64_t number, ct_host_batch *batch) {
    const ct_split *split = loader->split;
    int64_t first = number * loader->batch, left = split->caption_count - first;
    int64_t features = split->images->shape.dim[1] * split->images->shape.dim[2];
    batch->size = left < loader->batch ? left : loader->batch;
    for (int64_t i = 0; i < batch->size; i++) {
        int64_t caption = loader->order[first + i], image = split->image_of[caption];
        batch->captions[i] = caption;
        batch->classes[i] = image;
        if (!ct_split_read_image(split, image, batch->images + i * features, loader->raw)) {
            return false;
        }
    }
    ct_caption_batch_fill(&batch->text, split->encoder, split->encoded, batch->captions,
                          batch->size);
    return true;
}

/* Waits until there is room for batch `number`; false when told to stop. */
static bool wait_for_room(ct_loader *loader, int64_t number) {
    pthread_mutex_lock(&loader->lock);
    while (!loader->stop && number - loader->freed >= RING) {
        pthread_cond_wait(&loader->changed, &loader->lock);
    }
    bool stop = loader->stop;
    pthread_mutex_unlock(&loader->lock);
    return !stop;
}

static void *make_batches(void *context) {
    ct_loader *loader = context;
    int64_t number = loader->made;
    while (number < loader->batches && wait_for_room(loader, number)) {
        bool done = fill(loader, number, &loader->ring[number % RING]);
        pthread_mutex_lock(&loader->lock);
        if (done) loader->made = ++number;
        else snprintf(loader->error, sizeof loader->error, "%s", ct_error());
        pthread_cond_signal(&loader->changed);
        pthread_mutex_unlock(&loader->lock);
        if (!done) break;
    }
    return NULL;
}

/* ---- the caller's side ------------------------------------------------------------------- */

static void stop_thread(ct_loader *loader) {
    if (!loader->started) return;
    pthread_mutex_lock(&loader->lock);
    loader->stop = true;
    pthread_cond_signal(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    pthread_join(loader->thread, NULL);
    loader->started = false;
}

static bool allocate_batch(ct_host_batch *batch, const ct_split *split, ct_device device,
                           size_t size, size_t features) {
    batch->images = ct_host_allocate(device, size * features * sizeof *batch->images);
    batch->classes = malloc(size * sizeof *batch->classes);
    batch->captions = malloc(size * sizeof *batch->captions);
    return batch->images && batch->classes && batch->captions &&
           ct_caption_batch_create(&batch->text, split->encoder, (int64_t)size, split->longest);
}

static void free_batch(ct_host_batch *batch, ct_device device) {
    ct_host_free(device, batch->images);
    free(batch->classes);
    free(batch->captions);
    ct_caption_batch_free(&batch->text);
}

static bool allocate(ct_loader *loader) {
    const ct_split *split = loader->split;
    size_t features = (size_t)(split->images->shape.dim[1] * split->images->shape.dim[2]);
    int64_t size = loader->batch < split->caption_count ? loader->batch : split->caption_count;
    loader->order = malloc((size_t)split->caption_count * sizeof *loader->order);
    loader->raw = malloc(features * sizeof(float));
    bool done = loader->order && loader->raw;
    for (int i = 0; done && i < RING; i++) {
        done = allocate_batch(&loader->ring[i], split, loader->device, (size_t)size, features);
    }
    if (done || !ct_ok()) return done;
    return ct_fail_bool("loader: out of memory for batches of %" PRId64 " images of %zu features",
                        size, features);
}

ct_loader *ct_loader_create(const ct_split *split, int64_t batch, bool shuffle, bool drop_last,
                            uint64_t seed, ct_device device) {
    if (!split || !ct_ok()) return NULL;
    if (batch < 1) return ct_fail("loader: batches of %" PRId64 ", expected at least 1", batch);
    if (!split->encoded) return ct_fail("loader: the captions of %s are not encoded", split->name);
    ct_loader *loader = calloc(1, sizeof *loader);
    if (!loader) return ct_fail("loader: out of memory");
    loader->split = split;
    loader->batch = batch;
    loader->batches = (split->caption_count + (drop_last ? 0 : batch - 1)) / batch;
    loader->shuffle = shuffle;
    loader->seed = seed;
    loader->device = device;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->changed, NULL);
    if (allocate(loader)) return loader;
    ct_loader_destroy(loader);
    return NULL;
}

void ct_loader_destroy(ct_loader *loader) {
    if (!loader) return;
    stop_thread(loader);
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->lock);
    for (int i = 0; i < RING; i++) free_batch(&loader->ring[i], loader->device);
    free(loader->raw);
    free(loader->order);
    free(loader);
}

int64_t ct_loader_batches(const ct_loader *loader) { return loader ? loader->batches : 0; }

/* A thread with all signals blocked: Ctrl-C is for the main thread. */
static bool start_thread(ct_loader *loader) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&loader->thread, NULL, make_batches, loader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    loader->started = !failed;
    return !failed || ct_fail_bool("loader: cannot start a thread: %s", strerror(failed));
}

bool ct_loader_start(ct_loader *loader, int64_t epoch, int64_t first) {
    if (!loader || !ct_ok()) return false;
    if (epoch < 0 || epoch >= (int64_t)1 << (63 - EPOCH_SHIFT) || first < 0 ||
        first > loader->batches) {
        return ct_fail_bool("loader: batch %" PRId64 " of epoch %" PRId64 ", expected 0 to %" PRId64
                            " of an epoch from 0",
                            first, epoch, loader->batches);
    }
    stop_thread(loader);
    int64_t count = loader->split->caption_count;
    for (int64_t i = 0; i < count; i++) loader->order[i] = i;
    if (loader->shuffle) {
        ct_rng rng = ct_rng_create(loader->seed, STREAM);
        rng.offset = (uint64_t)epoch << EPOCH_SHIFT;
        ct_random_permutation(&rng, count, loader->order);
    }
    loader->taken = loader->made = loader->freed = first;
    loader->stop = false;
    loader->error[0] = 0;
    return start_thread(loader);
}

const ct_host_batch *ct_loader_next(ct_loader *loader) {
    if (!loader || !ct_ok()) return NULL;
    if (!loader->started) return ct_fail("loader: ct_loader_start comes before ct_loader_next");
    pthread_mutex_lock(&loader->lock);
    loader->freed = loader->taken;
    pthread_cond_signal(&loader->changed);
    bool end = loader->taken == loader->batches;
    while (!end && loader->made <= loader->taken && !loader->error[0]) {
        pthread_cond_wait(&loader->changed, &loader->lock);
    }
    bool ready = !end && loader->made > loader->taken;
    if (!end && !ready) ct_fail("%s", loader->error);
    pthread_mutex_unlock(&loader->lock);
    return ready ? &loader->ring[loader->taken++ % RING] : NULL;
}
