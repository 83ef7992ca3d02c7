/* SPDX-License-Identifier: Apache-2.0 */
#include "train/search/search.h"

#include <stdlib.h>
#include <string.h>

/* Scores that are made at once: few, so that their memory is used again. */
enum { BLOCK_SCORES = 1 << 17, FEWEST_ROWS = 1024 };

typedef struct {
    const ct_searched *models;
    int count;
    ct_index_side side;
    int64_t questions, top;
    ct_answer *best; /* (questions,top): of each a heap, the worst of the best at its root */
    int64_t *held;   /* (questions) */
} search;

/* Below 0: a is the better one. No two are equal. */
static int compare(const void *a, const void *b) {
    const ct_answer *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    if (x->split != y->split) return x->split - y->split;
    return (x->row > y->row) - (x->row < y->row);
}

/* ---- the best so far --------------------------------------------------------------------- */

static void sift_up(ct_answer *heap, int64_t at, ct_answer x) {
    for (; at > 0 && compare(&heap[(at - 1) / 2], &x) < 0; at = (at - 1) / 2) {
        heap[at] = heap[(at - 1) / 2];
    }
    heap[at] = x;
}

static void sift_down(ct_answer *heap, int64_t count, ct_answer x) {
    int64_t at = 0;
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child + 1 < count && compare(&heap[child], &heap[child + 1]) < 0) child++;
        if (child >= count || compare(&x, &heap[child]) >= 0) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = x;
}

static void offer(const search *s, int64_t question, ct_answer x) {
    ct_answer *heap = s->best + question * s->top;
    int64_t *held = &s->held[question];
    if (*held < s->top) sift_up(heap, (*held)++, x);
    else if (compare(&x, heap) < 0) sift_down(heap, *held, x);
}

/* ---- scores ------------------------------------------------------------------------------ */

/* A sentence is a caption to images, a picture an image to captions. */
static ct_score_kind kind_of(ct_measure measure, ct_index_side side) {
    if (measure == CT_COSINE) return CT_SCORE_PRODUCT;
    return side == CT_INDEX_IMAGES ? CT_SCORE_ORDER_TURNED : CT_SCORE_ORDER;
}

/* (Q,rows) on the CPU, f32 of one model, the mean of several in f64. */
static ct_tensor *score_block(const search *s, int split, int64_t first, int64_t end) {
    ct_tensor *mean = NULL;
    for (int m = 0; m < s->count; m++) {
        const ct_index *index = s->models[m].index;
        ct_tensor *rows = ct_tensor_slice(index->splits[split].rows[s->side], 0, first, end, 1);
        ct_tensor *score =
            ct_tensor_row_scores(s->models[m].questions, rows, kind_of(index->measure, s->side));
        if (score && ct_tensor_has_nonfinite(score)) {
            return ct_fail("%s: scores that are not finite: its embeddings are no numbers, or too "
                           "large",
                           index->path ? index->path : index->splits[split].name);
        }
        score = score ? ct_tensor_to_device(score, CT_CPU) : NULL;
        if (s->count == 1 || !score) return score;
        score = ct_tensor_scale(ct_tensor_cast(score, CT_F64), 1.0 / s->count);
        if (!mean) mean = score;
        else if (!ct_tensor_add_to(mean, 1, score)) return NULL;
    }
    return mean;
}

static bool search_block(const search *s, int split, int64_t first, int64_t end) {
    ct_tensor *scores = score_block(s, split, first, end);
    if (!scores) return false;
    const float *f32 = scores->dtype == CT_F32 ? ct_data(scores) : NULL;
    const double *f64 = f32 ? NULL : ct_data(scores);
    int64_t rows = end - first;
    for (int64_t q = 0; q < s->questions; q++) {
        for (int64_t r = 0; r < rows; r++) {
            double score = f32 ? (double)f32[q * rows + r] : f64[q * rows + r];
            bool hopeless =
                s->held[q] == s->top && score < s->best[q * s->top].score; /* most of them */
            if (!hopeless) offer(s, q, (ct_answer){score, split, first + r});
        }
    }
    return true;
}

static bool search_split(const search *s, int split) {
    const ct_tensor *rows = s->models[0].index->splits[split].rows[s->side];
    int64_t count = rows ? ct_dim(rows, 0) : 0, step = BLOCK_SCORES / s->questions;
    if (step < FEWEST_ROWS) step = FEWEST_ROWS;
    for (int64_t first = 0; first < count; first += step) {
        int64_t end = first + step < count ? first + step : count;
        CT_SCOPE {
            if (!search_block(s, split, first, end)) return false;
        }
    }
    return true;
}

/* ---- all --------------------------------------------------------------------------------- */

static int64_t rows_of(const ct_index *index, ct_index_side side) {
    int64_t count = 0;
    for (int i = 0; i < index->count; i++) {
        const ct_tensor *rows = index->splits[i].rows[side];
        if (rows) count += ct_dim(rows, 0);
    }
    return count;
}

/* Pictures that are skipped by one configuration and not by another would be taken for others. */
static bool same_rows(const search *s) {
    const ct_index *first = s->models[0].index;
    for (int m = 1; m < s->count; m++) {
        const ct_index *other = s->models[m].index;
        for (int i = 0; i < first->count; i++) {
            const ct_tensor *a = first->splits[i].rows[s->side],
                            *b = other->splits[i].rows[s->side];
            if ((a ? ct_dim(a, 0) : 0) == (b ? ct_dim(b, 0) : 0)) continue;
            return ct_fail_bool("%s: the models do not see the same images of it",
                                first->splits[i].name);
        }
    }
    return true;
}

static bool search_all(search *s) {
    if (!same_rows(s)) return false;
    for (int i = 0; i < s->models[0].index->count; i++) {
        if (!search_split(s, i)) return false;
    }
    for (int64_t q = 0; q < s->questions; q++) {
        qsort(s->best + q * s->top, (size_t)s->held[q], sizeof *s->best, compare);
    }
    return true;
}

ct_answer *ct_search(const ct_searched *models, int count, ct_index_side side, int64_t top,
                     int64_t *found) {
    search s = {models, count, side, ct_dim(models[0].questions, 0), top, NULL, NULL};
    int64_t rows = rows_of(models[0].index, side);
    if (s.top > rows) s.top = rows;
    *found = s.top;
    s.best = malloc((size_t)(s.questions * s.top + 1) * sizeof *s.best);
    s.held = calloc((size_t)s.questions + 1, sizeof *s.held);
    bool done = (s.best && s.held) || ct_fail_bool("out of memory");
    done = done && (s.questions == 0 || s.top == 0 || search_all(&s));
    free(s.held);
    if (done) return s.best;
    free(s.best);
    return NULL;
}
