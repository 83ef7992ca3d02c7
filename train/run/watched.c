/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/watched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/run/drawn.h"

typedef struct {
    char name[96]; /* "image.fc" */
    ct_histogram histogram;
} part;

struct ct_watched {
    const ct_experiment *experiment;
    part *parts;
    int count;
};

ct_watched *ct_watched_create(const ct_experiment *experiment) {
    ct_watched *w = calloc(1, sizeof *w);
    if (!w) return ct_fail("out of memory");
    w->experiment = experiment;
    return w;
}

void ct_watched_destroy(ct_watched *w) {
    if (!w) return;
    free(w->parts);
    free(w);
}

/* ---- gradients --------------------------------------------------------------------------- */

/* The first two parts of "image.fc.weight". */
static int module_length(const char *name) {
    const char *dot = strchr(name, '.'), *second = dot ? strchr(dot + 1, '.') : NULL;
    return second ? (int)(second - name) : (int)strlen(name);
}

static part *part_of(ct_watched *w, const char *name) {
    char module[sizeof w->parts->name];
    snprintf(module, sizeof module, "%.*s", module_length(name), name);
    for (int i = 0; i < w->count; i++) {
        if (strcmp(w->parts[i].name, module) == 0) return &w->parts[i];
    }
    part *more = realloc(w->parts, (size_t)(w->count + 1) * sizeof *more);
    if (!more) return ct_fail("out of memory");
    w->parts = more;
    part *one = &w->parts[w->count++];
    *one = (part){.name = ""};
    memcpy(one->name, module, sizeof module);
    return one;
}

typedef struct {
    ct_watched *watched;
    ct_histogram_pass *pass;
} gathering;

static bool take(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    const gathering *g = context;
    ct_tensor *gradient = buffer ? NULL : ct_grad(tensor);
    if (!gradient) return true;
    part *one = part_of(g->watched, name);
    return one && ct_histogram_of_tensor(&one->histogram, gradient, g->pass);
}

bool ct_watched_gradients(ct_watched *w) {
    ct_module *module = ct_model_module(w->experiment->model);
    w->count = 0;
    return ct_module_visit(module, take, &(gathering){w, ct_histogram_measure}) &&
           ct_module_visit(module, take, &(gathering){w, ct_histogram_count});
}

static bool write_gradients(const ct_watched *w, ct_event_file *events, int64_t step) {
    for (int i = 0; i < w->count; i++) {
        char tag[128];
        snprintf(tag, sizeof tag, "gradients/%s", w->parts[i].name);
        if (!ct_event_file_histogram(events, step, tag, &w->parts[i].histogram)) return false;
    }
    return true;
}

/* ---- attention --------------------------------------------------------------------------- */

/* Of the steps that count, all heads. */
static bool write_weights(ct_event_file *events, int64_t step, const ct_seen_weights *seen) {
    ct_histogram h = {.count = 0};
    char tag[128];
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t row = 0; row < seen->rows; row++) {
            const double *weights = seen->weight + row * seen->steps * seen->heads;
            (pass ? ct_histogram_count : ct_histogram_measure)(&h, weights,
                                                               seen->length[row] * seen->heads);
        }
    }
    snprintf(tag, sizeof tag, "attention/%s", seen->path);
    return ct_event_file_histogram(events, step, tag, &h);
}

static bool write_attention(const ct_watched *w, ct_event_file *events, int64_t step,
                            const ct_split *split, bool captions) {
    enum { ROWS = 64 };
    ct_observations seen = {0};
    bool done = ct_observe(w->experiment, split, captions, ROWS, &seen);
    for (int i = 0; done && i < seen.count; i++) {
        done = write_weights(events, step, &seen.weights[i]);
    }
    if (done && !captions) done = ct_drawn_write(events, step, w->experiment, split, &seen);
    ct_observations_free(&seen);
    return done;
}

bool ct_watched_write(const ct_watched *w, ct_event_file *events, int64_t step,
                      const ct_split *split) {
    return write_gradients(w, events, step) && write_attention(w, events, step, split, false) &&
           write_attention(w, events, step, split, true);
}
