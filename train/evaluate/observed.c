/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate/observed.h"

#include <stdlib.h>
#include <string.h>

#include "nn/observe.h"

int64_t ct_spread(int64_t k, int64_t count, int64_t all) { return (2 * k + 1) * all / (2 * count); }

/* Of the thread, between begin and end. */
typedef struct {
    const ct_observation *of;
    ct_observations *seen;
} looking;
static _Thread_local looking now;

static int64_t length_of(const ct_observation *o, int64_t row, int64_t steps) {
    if (!o->length) return steps;
    return o->length[row] < steps ? o->length[row] : steps;
}

/* (rows, steps, heads) as it is. */
static void take_policy(ct_seen_weights *w, const double *value) {
    memcpy(w->weight, value, (size_t)(w->rows * w->steps * w->heads) * sizeof *value);
}

/* Of (rows, heads, queries, keys) the mean over the queries that count. */
static void take_attention(ct_seen_weights *w, const double *value) {
    for (int64_t row = 0; row < w->rows; row++) {
        for (int64_t head = 0; head < w->heads; head++, value += w->steps * w->steps) {
            for (int64_t key = 0; key < w->steps; key++) {
                double sum = 0;
                for (int64_t q = 0; q < w->length[row]; q++) sum += value[q * w->steps + key];
                w->weight[(row * w->steps + key) * w->heads + head] = sum / (double)w->length[row];
            }
        }
    }
}

static bool take(const ct_observation *o, ct_seen_weights *w, ct_tensor *value) {
    bool policy = ct_ndim(value) == 3;
    w->captions = o->captions;
    w->rows = o->rows;
    w->heads = ct_dim(value, policy ? 2 : 1);
    w->steps = ct_dim(value, policy ? 1 : 3);
    size_t rows = (size_t)w->rows;
    w->which = malloc(2 * rows * sizeof *w->which + 1);
    w->weight = malloc(rows * (size_t)(w->steps * w->heads) * sizeof *w->weight + 1);
    if (!w->which || !w->weight) return ct_fail_bool("out of memory");
    w->length = w->which + rows;
    memcpy(w->which, o->which, rows * sizeof *w->which);
    for (int64_t row = 0; row < w->rows; row++) w->length[row] = length_of(o, row, w->steps);
    value = ct_tensor_to_device(ct_tensor_cast(value, CT_F64), CT_CPU);
    value = value ? ct_contiguous(value) : NULL;
    if (!value) return false;
    if (policy) take_policy(w, ct_data(value));
    else take_attention(w, ct_data(value));
    return true;
}

/* (B,S,H), or (B,H,S,S) of a sequence that attends to itself. */
static bool fits(const ct_observation *o, const char *what, const ct_tensor *value) {
    int dims = ct_ndim(value);
    return strcmp(what, "weights") == 0 && (dims == 3 || dims == 4) &&
           ct_dim(value, 0) == o->rows && (dims == 3 || ct_dim(value, 2) == ct_dim(value, 3));
}

static void see(void *context, const ct_module *module, const char *what, ct_tensor *value) {
    const looking *l = context;
    const ct_observation *o = l->of;
    ct_observations *seen = l->seen;
    if (seen->count == CT_MOST_OBSERVED || !fits(o, what, value)) return;
    ct_seen_weights *w = &seen->weights[seen->count];
    const ct_module *root = ct_model_module(o->experiment->model);
    CT_SCOPE {
        seen->count++;
        if (!ct_module_path(root, module, w->path, sizeof w->path) || !take(o, w, value)) break;
    }
}

void ct_observe_begin(const ct_observation *observation, ct_observations *seen) {
    now = (looking){observation, seen};
    *seen = (ct_observations){0};
    ct_set_observer(see, &now);
}

void ct_observe_end(void) { ct_set_observer(NULL, NULL); }

bool ct_observe(const ct_experiment *experiment, const ct_split *split, bool captions, int64_t most,
                ct_observations *seen) {
    int64_t all = captions ? split->caption_count : split->image_count;
    int64_t rows = all < most ? all : most;
    int64_t *which = malloc((size_t)(2 * rows + 1) * sizeof *which), *length = which + rows;
    if (!which) return ct_fail_bool("out of memory");
    for (int64_t k = 0; k < rows; k++) {
        which[k] = ct_spread(k, rows, all);
        if (captions) length[k] = split->encoded[which[k]].length;
    }
    ct_observation o = {experiment, captions, rows, which, captions ? length : NULL};
    CT_SCOPE {
        ct_observe_begin(&o, seen);
        ct_embed_some(experiment, split, captions, which, rows);
        ct_observe_end();
    }
    free(which);
    return ct_ok();
}

void ct_observations_free(ct_observations *seen) {
    for (int i = 0; i < seen->count; i++) {
        free(seen->weights[i].which);
        free(seen->weights[i].weight);
    }
    seen->count = 0;
}

const char *ct_step_word(const ct_experiment *e, const ct_caption *caption, int64_t s) {
    const int64_t *ids = caption->read ? caption->read : caption->ids;
    int64_t count = caption->read ? caption->read_count : caption->length;
    return s < count ? ct_vocabulary_word(e->vocabulary, ids[s]) : "";
}
