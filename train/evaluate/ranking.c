/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate/ranking.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/distinct.h"
#include "train/run/together.h"

/* ---- what is ranked ---------------------------------------------------------------------- */

/* Equal rows tie exactly: scores are those of distinct rows, each pair of them made by one product,
 * and stand for all rows that are equal. The matrix is never whole: it is made in tiles, first
 * those that hold right answers, for their scores, then all, which count what scores at least as
 * high; a tile that is made twice is made by the same product. */
typedef struct {
    int count;
    ct_dtype dtype; /* of the scores: a model's own, or f64 for the mean of several */
    int64_t images, captions;
    const int64_t *image_of;
    ct_distinct image, caption;       /* which of them are equal */
    ct_embeddings *distinct;          /* (count): those rows alone */
    int64_t image_step, caption_step; /* distinct rows of a tile */
    void *own;                        /* (C) by place: a caption's score with its image */
    void *best_own;                   /* (I): the best of an image's captions */
    int32_t *t2i_rank;                /* (C) by place */
    void *row;                        /* (C): a tile's row for all its captions */
    ct_retrieval_details out;
    double *top_score; /* (I), then (C): of the best answers so far; NULL if none is asked for */
    int part, parts;   /* of the tiles, what is counted here */
} ranking;

static ct_tensor **side(ct_embeddings *model, bool captions) {
    return captions ? &model->captions : &model->images;
}

/* Finds the equal rows of one side and leaves the distinct ones in r->distinct. */
static bool find_distinct(ranking *r, bool captions, ct_distinct *found) {
    const ct_tensor **all = calloc((size_t)r->count, sizeof *all);
    for (int m = 0; all && m < r->count; m++) all[m] = *side(&r->distinct[m], captions);
    bool done =
        all ? ct_distinct_tensors(found, all, r->count) : ct_fail_bool("evaluate: out of memory");
    for (int m = 0; done && m < r->count; m++) {
        ct_tensor **x = side(&r->distinct[m], captions);
        *x = ct_distinct_take(found, *x);
        done = *x != NULL;
    }
    free(all);
    return done;
}

/* As few tiles as keep them small. */
static void size_tiles(ranking *r, int64_t tile_scores) {
    double tiles = (double)r->image.count * (double)r->caption.count / (double)tile_scores;
    int64_t parts = tiles > 1 ? (int64_t)ceil(sqrt(tiles)) : 1;
    r->image_step = (r->image.count + parts - 1) / parts;
    r->caption_step = (r->caption.count + parts - 1) / parts;
}

/* ---- one tile ---------------------------------------------------------------------------- */

/* Distinct images and captions; their captions' places. */
typedef struct {
    int64_t image, images, caption, captions; /* first and how many */
    int64_t place, places;
    const void *score; /* (images,captions) */
} tile;

/* The scores of a tile, the mean over the models, on the host; an error if any is not a number. */
static bool score_tile(const ranking *r, tile *t) {
    ct_tensor *mean = NULL;
    for (int m = 0; m < r->count; m++) {
        const ct_embeddings *x = &r->distinct[m];
        ct_tensor *images = ct_tensor_slice(x->images, 0, t->image, t->image + t->images, 1);
        ct_tensor *captions =
            ct_tensor_slice(x->captions, 0, t->caption, t->caption + t->captions, 1);
        ct_tensor *score = ct_similarity(images, captions, x->measure);
        if (score && ct_tensor_has_nonfinite(score)) {
            return ct_fail_bool("evaluate: model %d gives NaN or infinite similarities", m + 1);
        }
        if (r->count > 1) {
            score = ct_tensor_scale(ct_tensor_cast(score, CT_F64), 1.0 / r->count);
        }
        if (mean) ct_tensor_add_to(mean, 1, score);
        else mean = score;
    }
    if (mean && mean->device != CT_CPU) mean = ct_tensor_to_device(mean, CT_CPU);
    mean = ct_tensor_contiguous(mean);
    t->score = mean ? ct_data(mean) : NULL;
    return ct_ok();
}

/* The distinct image that a caption at a place belongs to. */
static int64_t image_at(const ranking *r, int64_t place) {
    return r->image.of[r->image_of[r->caption.place[place]]];
}

static bool holds_own(const ranking *r, const tile *t) {
    for (int64_t p = t->place; p < t->place + t->places; p++) {
        int64_t image = image_at(r, p) - t->image;
        if (image >= 0 && image < t->images) return true;
    }
    return false;
}

/* Row i of a tile is of one distinct image; row_of spreads it over all captions of the tile.
 * Counting, for f32 and f64, is the loop of an evaluation: for each image the captions that score
 * at least as high as its own best, for each caption the images that score at least as high as its
 * own; right answers included. */
#define DEFINE_COUNTING(real)                                                                     \
    static void find_own_##real(const ranking *r, const tile *t) {                                \
        real *own = r->own, *best = r->best_own;                                                  \
        for (int64_t p = t->place; p < t->place + t->places; p++) {                               \
            int64_t caption = r->caption.place[p], image = image_at(r, p) - t->image;             \
            if (image < 0 || image >= t->images) continue;                                        \
            int64_t at = image * t->captions + r->caption.of[caption] - t->caption;               \
            own[p] = ((const real *)t->score)[at];                                                \
            real *of_image = &best[r->image_of[caption]];                                         \
            if (own[p] > *of_image) *of_image = own[p];                                           \
        }                                                                                         \
    }                                                                                             \
    static void no_own_##real(const ranking *r) {                                                 \
        for (int64_t i = 0; i < r->images; i++) ((real *)r->best_own)[i] = -(real)HUGE_VAL;       \
    }                                                                                             \
    static const real *row_of_##real(const ranking *r, const tile *t, int64_t i) {                \
        const real *score = (const real *)t->score + i * t->captions;                             \
        if (t->captions == t->places) return score;                                               \
        real *row = r->row;                                                                       \
        for (int64_t k = 0, p = 0; k < t->captions; k++) {                                        \
            int64_t end = r->caption.begin[t->caption + k + 1] - t->place;                        \
            while (p < end) row[p++] = score[k];                                                  \
        }                                                                                         \
        return row;                                                                               \
    }                                                                                             \
    static void count_##real(const ranking *r, const tile *t) {                                   \
        const real *own = (const real *)r->own + t->place;                                        \
        int32_t *t2i = r->t2i_rank + t->place;                                                    \
        for (int64_t k = 0; k < t->images; k++) {                                                 \
            const real *row = row_of_##real(r, t, k);                                             \
            int64_t first = r->image.begin[t->image + k], end = r->image.begin[t->image + k + 1]; \
            for (int64_t i = first; i < end; i++) {                                               \
                real best = ((const real *)r->best_own)[r->image.place[i]];                       \
                int32_t above = 0;                                                                \
                for (int64_t p = 0; p < t->places; p++) {                                         \
                    above += row[p] >= best;                                                      \
                    t2i[p] += row[p] >= own[p];                                                   \
                }                                                                                 \
                r->out.i2t_rank[r->image.place[i]] += above;                                      \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
    /* An image's own captions do not count for its rank. */                                      \
    static void uncount_own_##real(const ranking *r) {                                            \
        const real *own = r->own, *best = r->best_own;                                            \
        for (int64_t p = 0; p < r->captions; p++) {                                               \
            int64_t image = r->image_of[r->caption.place[p]];                                     \
            r->out.i2t_rank[image] -= own[p] >= best[image];                                      \
        }                                                                                         \
    }
DEFINE_COUNTING(float)
DEFINE_COUNTING(double)

static double score_at(const ranking *r, const tile *t, int64_t i) {
    return r->dtype == CT_F32 ? ((const float *)t->score)[i] : ((const double *)t->score)[i];
}

/* Of equal scores the first answer is the best, whatever the order of the tiles. */
static void keep_top(double *best, int64_t *top, double score, int64_t answer) {
    if (score < *best || (score == *best && answer > *top)) return;
    *best = score;
    *top = answer;
}

/* All images and captions that one score stands for. */
static void keep_tops(const ranking *r, int64_t image, int64_t caption, double score) {
    double *i2t = r->top_score, *t2i = r->top_score + r->images;
    for (int64_t k = r->image.begin[image]; r->out.i2t_top && k < r->image.begin[image + 1]; k++) {
        int64_t i = r->image.place[k];
        keep_top(&i2t[i], &r->out.i2t_top[i], score, r->caption.first[caption]);
    }
    for (int64_t k = r->caption.begin[caption]; r->out.t2i_top && k < r->caption.begin[caption + 1];
         k++) {
        int64_t c = r->caption.place[k];
        keep_top(&t2i[c], &r->out.t2i_top[c], score, r->image.first[image]);
    }
}

static void find_tops(const ranking *r, const tile *t) {
    for (int64_t i = 0; i < t->images; i++) {
        for (int64_t c = 0; c < t->captions; c++) {
            keep_tops(r, t->image + i, t->caption + c, score_at(r, t, i * t->captions + c));
        }
    }
}

/* ---- all tiles --------------------------------------------------------------------------- */

static void find_own(const ranking *r, const tile *t) {
    (r->dtype == CT_F32 ? find_own_float : find_own_double)(r, t);
}

static void count(const ranking *r, const tile *t) {
    (r->dtype == CT_F32 ? count_float : count_double)(r, t);
    if (r->top_score) find_tops(r, t);
}

static tile tile_at(const ranking *r, int64_t image, int64_t caption) {
    int64_t images = r->image.count - image, captions = r->caption.count - caption;
    tile t = {.image = image,
              .images = images < r->image_step ? images : r->image_step,
              .caption = caption,
              .captions = captions < r->caption_step ? captions : r->caption_step};
    t.place = r->caption.begin[t.caption];
    t.places = r->caption.begin[t.caption + t.captions] - t.place;
    return t;
}

/* What is done with a tile once its scores are there, or NULL; then with those that it is for. */
static bool each_tile(const ranking *r, bool (*wanted)(const ranking *, const tile *),
                      void (*first)(const ranking *, const tile *),
                      void (*then)(const ranking *, const tile *)) {
    for (int64_t i = 0; i < r->image.count; i += r->image_step) {
        for (int64_t c = 0; c < r->caption.count; c += r->caption_step) {
            tile t = tile_at(r, i, c);
            if (wanted && !wanted(r, &t)) continue;
            CT_SCOPE {
                if (!score_tile(r, &t)) return false;
                if (first) first(r, &t);
                if (then) then(r, &t);
            }
        }
    }
    return true;
}

/* The tiles that this rank counts, one of so many in turn. */
static bool is_own(const ranking *r, const tile *t) {
    int64_t across = (r->caption.count + r->caption_step - 1) / r->caption_step;
    int64_t number = t->image / r->image_step * across + t->caption / r->caption_step;
    return number % r->parts == r->part;
}

/* What all ranks have counted. */
static bool add_counts(const ranking *r) {
    bool added = false;
    CT_SCOPE {
        ct_tensor *images = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(r->images), r->out.i2t_rank);
        ct_tensor *places = ct_from_data(CT_I32, CT_CPU, CT_SHAPE(r->captions), r->t2i_rank);
        ct_tensor *captions = ct_tensor_cast(places, CT_I64);
        added = images && captions && ct_tensor_all_reduce(images) &&
                ct_tensor_all_reduce(captions) && ct_read(images, r->out.i2t_rank) &&
                ct_read(ct_tensor_cast(captions, CT_I32), r->t2i_rank);
    }
    return added;
}

/* Own scores are all ranks'; what is counted against them, each rank's in a part of the tiles. */
static bool rank_in_parts(ranking *r) {
    r->part = ct_rank();
    r->parts = ct_ranks();
    bool counted = each_tile(r, holds_own, find_own, NULL) && each_tile(r, is_own, NULL, count);
    return ct_together_well(counted) && add_counts(r);
}

static bool is_one_tile(const ranking *r) {
    return r->image_step == r->image.count && r->caption_step == r->caption.count;
}

static bool rank_here(const ranking *r) {
    return is_one_tile(r)
               ? each_tile(r, NULL, find_own, count)
               : each_tile(r, holds_own, find_own, NULL) && each_tile(r, NULL, NULL, count);
}

static bool rank_tiles(ranking *r) {
    bool shares = ct_ranks() > 1 && !is_one_tile(r) && !r->top_score;
    (r->dtype == CT_F32 ? no_own_float : no_own_double)(r);
    if (!(shares ? rank_in_parts(r) : rank_here(r))) return false;
    (r->dtype == CT_F32 ? uncount_own_float : uncount_own_double)(r);
    return true;
}

/* ---- all --------------------------------------------------------------------------------- */

/* Room for everything in `r`, which holds the sizes: one block, freed by the caller; NULL and an
 * error otherwise. Everything is 0. */
static void *make_room(ranking *r) {
    size_t i = (size_t)r->images, c = (size_t)r->captions;
    size_t top = r->out.i2t_top || r->out.t2i_top ? i + c : 0;
    double *room = calloc(i + 3 * c + top + 1, sizeof *room), *at = room;
    if (!room) return ct_fail("evaluate: out of memory");
    r->best_own = at, at += i;
    r->own = at, at += c;
    r->row = at, at += c;
    r->t2i_rank = (int32_t *)at, at += c;
    r->top_score = top ? at : NULL;
    for (size_t k = 0; k < top; k++) r->top_score[k] = -HUGE_VAL;
    return room;
}

/* An image without a caption asks for nothing: its rank is -1. */
static void write_ranks(const ranking *r) {
    for (int64_t p = 0; p < r->captions; p++) {
        r->out.t2i_rank[r->caption.place[p]] = r->t2i_rank[p] - 1; /* its own image counted */
    }
    for (int64_t i = 0; i < r->images; i++) {
        double best = r->dtype == CT_F32 ? ((float *)r->best_own)[i] : ((double *)r->best_own)[i];
        if (best == -HUGE_VAL) r->out.i2t_rank[i] = -1;
    }
}

static bool rank_all(ranking *r, int64_t tile_scores) {
    memset(r->out.i2t_rank, 0, (size_t)r->images * sizeof *r->out.i2t_rank);
    bool done = false;
    CT_SCOPE {
        if (!find_distinct(r, false, &r->image) || !find_distinct(r, true, &r->caption)) break;
        size_tiles(r, tile_scores);
        done = rank_tiles(r);
        if (done) write_ranks(r);
    }
    ct_distinct_free(&r->image);
    ct_distinct_free(&r->caption);
    return done;
}

bool ct_rank_split(const ct_embeddings *models, int count, const int64_t *image_of,
                   int64_t tile_scores, ct_retrieval_details out) {
    ranking r = {.count = count,
                 .image_of = image_of,
                 .out = out,
                 .dtype = count == 1 ? models[0].images->dtype : CT_F64,
                 .images = ct_dim(models[0].images, 0),
                 .captions = ct_dim(models[0].captions, 0)};
    /* Scores are compared for equality and order: they are products in fp32 however the model
     * computes. */
    ct_device device = models[0].images->device;
    ct_precision precision = ct_precision_of(device);
    void *room = make_room(&r);
    r.distinct = calloc((size_t)count, sizeof *r.distinct);
    if (r.distinct) memcpy(r.distinct, models, (size_t)count * sizeof *models);
    else ct_fail("evaluate: out of memory");
    bool done = room && r.distinct && ct_set_precision(device, CT_PRECISION_FP32) &&
                rank_all(&r, tile_scores);
    ct_set_precision(device, precision);
    free(r.distinct);
    free(room);
    return done;
}
