/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures from files to numbers, one or many, by several threads. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/check.h"
#include "train/pictures/decode.h"
#include "train/pictures/view.h"

enum { MOST_THREADS = 1024 };

/* Who looks, while a file is decoded. */
typedef struct {
    const ct_picture_view *view;
    const ct_picture_draw *draw;
    ct_looked_at at;
} looker;

/* Also notes the picture's size. */
static int reduction(void *context, int width, int height) {
    looker *l = context;
    l->at.width = width;
    l->at.height = height;
    return ct_picture_reduction(l->view, l->draw, width, height);
}

static bool load(ct_picture_source *source, const ct_picture_view *view,
                 const ct_picture_draw *draw, float *out) {
    ct_picture picture = {0};
    looker l = {.view = view, .draw = draw, .at = {.picture = &picture}};
    if (view->reduce) source->reduce = reduction;
    source->context = &l;
    bool done = ct_picture_read_source(source, &picture);
    l.at.reduced = source->reduced;
    l.at.orientation = source->orientation;
    if (l.at.reduced == 1) {
        l.at.width = picture.width;
        l.at.height = picture.height;
    }
    done = done && ct_picture_look_at(&l.at, view, draw, out);
    ct_picture_free(&picture);
    return done;
}

bool ct_picture_load(const char *path, const ct_picture_view *view, const ct_picture_draw *draw,
                     float *out) {
    if (!ct_check_pointer("picture_load", "path", path) ||
        !ct_check_pointer("picture_load", "out", out) || !ct_picture_view_check(view) ||
        !ct_picture_draw_check(draw) || !ct_ok()) {
        return false;
    }
    ct_picture_source source = {.name = path, .most_pixels = view->most_pixels};
    return load(&source, view, draw, out);
}

/* ---- by several threads ------------------------------------------------------------------ */

typedef struct {
    const char *const *paths;
    int64_t count;
    const ct_picture_view *view;
    const ct_picture_draw *draws;
    bool *broken;
    float *out;

    pthread_mutex_t lock;
    /* under the lock: */
    int64_t next;     /* to be loaded; they are handed out in order, */
    int64_t failed;   /* so that when one fails, those before it are at work: the first, or -1 */
    char error[4608]; /* its */
} batch;

static int64_t take(batch *b) {
    pthread_mutex_lock(&b->lock);
    int64_t i = b->failed < 0 && b->next < b->count ? b->next++ : -1;
    pthread_mutex_unlock(&b->lock);
    return i;
}

/* The thread's error becomes the batch's. */
static void note_error(batch *b, int64_t i) {
    pthread_mutex_lock(&b->lock);
    if (b->failed < 0 || i < b->failed) {
        b->failed = i;
        snprintf(b->error, sizeof b->error, "%s", ct_error());
    }
    pthread_mutex_unlock(&b->lock);
    ct_error_clear();
}

static void load_one(batch *b, int64_t i) {
    int64_t values = 3 * b->view->size * b->view->size;
    ct_picture_source source = {.name = b->paths[i], .most_pixels = b->view->most_pixels};
    const ct_picture_draw *draw = b->draws ? &b->draws[i] : NULL;
    bool done = load(&source, b->view, draw, b->out + i * values);
    bool skip = !done && b->broken && source.broken;
    if (b->broken) b->broken[i] = skip;
    if (skip) {
        ct_error_clear();
        memset(b->out + i * values, 0, (size_t)values * sizeof *b->out);
    } else if (!done) {
        note_error(b, i);
    }
}

static void *work(void *context) {
    batch *b = context;
    for (int64_t i; (i = take(b)) >= 0;) load_one(b, i);
    return NULL;
}

/* Threads with all signals blocked: Ctrl-C is for the main thread. Fewer where no more can be had:
 * the caller is one. */
static int start_threads(batch *b, pthread_t *thread, int wanted) {
    sigset_t all, before;
    int count = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (count < wanted && pthread_create(&thread[count], NULL, work, b) == 0) count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return count;
}

static bool check_batch(const char *const *paths, int64_t count, int threads,
                        const ct_picture_view *view, const ct_picture_draw *draws,
                        const float *out) {
    if (!ct_ok() || !ct_check_list("pictures_load", "paths", paths, count) ||
        !ct_check_list("pictures_load", "out", out, count) || !ct_picture_view_check(view)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!ct_check_pointer("pictures_load", "a path", paths[i]) ||
            !ct_picture_draw_check(draws ? &draws[i] : NULL)) {
            return false;
        }
    }
    return (threads >= 1 && threads <= MOST_THREADS) ||
           ct_fail_bool("pictures_load: %d threads, expected 1 to %d", threads, MOST_THREADS);
}

bool ct_pictures_load(const char *const *paths, int64_t count, int threads,
                      const ct_picture_view *view, const ct_picture_draw *draws, bool *broken,
                      float *out) {
    if (!check_batch(paths, count, threads, view, draws, out)) return false;
    batch b = {.paths = paths,
               .count = count,
               .view = view,
               .draws = draws,
               .broken = broken,
               .out = out,
               .failed = -1};
    pthread_t thread[MOST_THREADS];
    pthread_mutex_init(&b.lock, NULL);
    int others = start_threads(&b, thread, (int)(threads < count ? threads : count) - 1);
    work(&b);
    for (int i = 0; i < others; i++) pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&b.lock);
    return b.failed < 0 || ct_fail_bool("%s", b.error);
}
