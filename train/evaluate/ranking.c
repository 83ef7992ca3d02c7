/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate/ranking.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is ranked ---------------------------------------------------------------------- */

/* The similarity matrix is never whole: it is made in tiles, a group of consecutive images by the
 * captions of a group. Captions stand in the order of their images, so that the tiles on the
 * diagonal hold all the right answers: with those first, every tile is made once, and the right
 * answer's score is a number of the very matrix that it is compared with. */
typedef struct {
    const ct_embeddings *models;
    int count;
    ct_dtype dtype; /* of the scores: a model's own, or f64 for the mean of several */
    int64_t images, captions, tile_scores;
    int64_t *caption_at; /* (C): the caption at a place of that order */
    int64_t *first;      /* (I+1): the place where an image's captions begin */
    int64_t *group;      /* the image with which a group begins, then I */
    int64_t groups;
    ct_tensor **in_order; /* (count): captions in that order */
    void *own;            /* (C) by place: a caption's score with its image */
    void *best_own;       /* (I): the best of an image's captions */
    int32_t *t2i_rank;    /* (C) by place */
    ct_retrieval_details out;
    double *top_score; /* (I), then (C): of the best answers so far; NULL if none is asked for */
} ranking;

/* By counting; captions that are in order stay where they are. */
static void order_captions(ranking *r, const int64_t *image_of) {
    for (int64_t c = 0; c < r->captions; c++) r->first[image_of[c] + 1]++;
    for (int64_t i = 0; i < r->images; i++) r->first[i + 1] += r->first[i];
    for (int64_t c = 0; c < r->captions; c++) r->caption_at[r->first[image_of[c]]++] = c;
    for (int64_t i = r->images; i > 0; i--) r->first[i] = r->first[i - 1];
    r->first[0] = 0;
}

/* As few groups as keep tiles small; an image and all its captions are in one group. */
static void make_groups(ranking *r) {
    double tiles = (double)r->images * (double)r->captions / (double)r->tile_scores;
    int64_t parts = tiles > 1 ? (int64_t)ceil(sqrt(tiles)) : 1;
    int64_t most_images = (r->images + parts - 1) / parts;
    int64_t most_captions = (r->captions + parts - 1) / parts;
    for (int64_t begin = 0, end; begin < r->images; begin = end) {
        r->group[r->groups++] = begin;
        end = begin + 1;
        while (end < r->images && end - begin < most_images &&
               r->first[end + 1] - r->first[begin] <= most_captions) {
            end++;
        }
    }
    r->group[r->groups] = r->images;
}

static ct_tensor *captions_in_order(const ranking *r, ct_tensor *captions) {
    bool in_order = true;
    for (int64_t c = 0; c < r->captions && in_order; c++) in_order = r->caption_at[c] == c;
    if (in_order) return captions;
    ct_tensor *index = ct_from_data(CT_I64, captions->device, CT_SHAPE(r->captions), r->caption_at);
    return index ? ct_tensor_index_select(captions, 0, index) : NULL;
}

/* ---- one tile ---------------------------------------------------------------------------- */

typedef struct {
    int64_t image, images, place, captions; /* first and how many */
    bool diagonal;                          /* it holds its images' own captions */
    const void *score;                      /* (images,captions) */
} tile;

/* The scores of a tile, the mean over the models, on the host; an error if any is not a number. */
static bool score_tile(const ranking *r, tile *t) {
    ct_tensor *mean = NULL;
    for (int m = 0; m < r->count; m++) {
        ct_tensor *images =
            ct_tensor_slice(r->models[m].images, 0, t->image, t->image + t->images, 1);
        ct_tensor *captions =
            ct_tensor_slice(r->in_order[m], 0, t->place, t->place + t->captions, 1);
        ct_tensor *score = ct_similarity(images, captions, r->models[m].measure);
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

/* Counts, for each image, the captions that score at least as high as its own best, and for each
 * caption the images that score at least as high as its own: right answers included. The loops of
 * an evaluation, for f32 and f64. */
#define DEFINE_COUNTING(real)                                                             \
    static void find_own_##real(const ranking *r, const tile *t) {                        \
        const real *score = t->score;                                                     \
        real *own = r->own, *best = r->best_own;                                          \
        for (int64_t i = t->image; i < t->image + t->images; i++, score += t->captions) { \
            best[i] = -(real)HUGE_VAL;                                                    \
            for (int64_t p = r->first[i]; p < r->first[i + 1]; p++) {                     \
                own[p] = score[p - t->place];                                             \
                if (own[p] > best[i]) best[i] = own[p];                                   \
            }                                                                             \
        }                                                                                 \
    }                                                                                     \
    static void count_##real(const ranking *r, const tile *t) {                           \
        const real *own = (const real *)r->own + t->place, *score = t->score;             \
        int32_t *t2i = r->t2i_rank + t->place;                                            \
        for (int64_t i = t->image; i < t->image + t->images; i++, score += t->captions) { \
            real best = ((const real *)r->best_own)[i];                                   \
            int32_t above = 0;                                                            \
            for (int64_t p = 0; p < t->captions; p++) {                                   \
                above += score[p] >= best;                                                \
                t2i[p] += score[p] >= own[p];                                             \
            }                                                                             \
            r->out.i2t_rank[i] += above;                                                  \
        }                                                                                 \
    }                                                                                     \
    /* An image's own captions do not count for its rank. */                              \
    static void uncount_own_##real(const ranking *r) {                                    \
        const real *own = r->own, *best = r->best_own;                                    \
        for (int64_t i = 0; i < r->images; i++) {                                         \
            for (int64_t p = r->first[i]; p < r->first[i + 1]; p++) {                     \
                r->out.i2t_rank[i] -= own[p] >= best[i];                                  \
            }                                                                             \
        }                                                                                 \
    }
DEFINE_COUNTING(float)
DEFINE_COUNTING(double)

static double score_at(const ranking *r, const tile *t, int64_t image, int64_t place) {
    int64_t at = image * t->captions + place;
    return r->dtype == CT_F32 ? ((const float *)t->score)[at] : ((const double *)t->score)[at];
}

/* Of equal scores the first answer is the best, whatever the order of the tiles. */
static void keep_top(double *best, int64_t *top, double score, int64_t answer) {
    if (score < *best || (score == *best && answer > *top)) return;
    *best = score;
    *top = answer;
}

static void find_tops(const ranking *r, const tile *t) {
    double *i2t = r->top_score, *t2i = r->top_score + r->images;
    for (int64_t i = 0; i < t->images; i++) {
        for (int64_t p = 0; p < t->captions; p++) {
            double score = score_at(r, t, i, p);
            int64_t image = t->image + i, caption = r->caption_at[t->place + p];
            if (r->out.i2t_top) {
                keep_top(&i2t[image], &r->out.i2t_top[image], score, caption);
            }
            if (r->out.t2i_top) {
                keep_top(&t2i[caption], &r->out.t2i_top[caption], score, image);
            }
        }
    }
}

static bool rank_tile(const ranking *r, int64_t images, int64_t captions) {
    int64_t image = r->group[images], image_end = r->group[images + 1];
    int64_t place = r->first[r->group[captions]], place_end = r->first[r->group[captions + 1]];
    tile t = {.image = image,
              .images = image_end - image,
              .place = place,
              .captions = place_end - place,
              .diagonal = images == captions};
    bool f32 = r->dtype == CT_F32;
    CT_SCOPE {
        if (!score_tile(r, &t)) return false;
        if (t.diagonal) (f32 ? find_own_float : find_own_double)(r, &t);
        (f32 ? count_float : count_double)(r, &t);
        if (r->top_score) find_tops(r, &t);
    }
    return true;
}

/* The diagonal first. */
static bool rank_tiles(ranking *r) {
    for (int64_t k = 0; k < r->groups; k++) {
        if (!rank_tile(r, k, k)) return false;
    }
    for (int64_t i = 0; i < r->groups; i++) {
        for (int64_t c = 0; c < r->groups; c++) {
            if (c != i && !rank_tile(r, i, c)) return false;
        }
    }
    (r->dtype == CT_F32 ? uncount_own_float : uncount_own_double)(r);
    return true;
}

/* ---- all --------------------------------------------------------------------------------- */

/* Room for everything in `r`, which holds the sizes: one block, freed by the caller; NULL and an
 * error otherwise. Everything is 0. */
static void *make_room(ranking *r) {
    size_t i = (size_t)r->images, c = (size_t)r->captions;
    size_t top = r->out.i2t_top || r->out.t2i_top ? i + c : 0;
    int64_t *room = calloc(3 * i + 3 * c + top + (size_t)r->count + 4, sizeof *room);
    if (!room) return ct_fail("evaluate: out of memory");
    int64_t *at = room;
    r->caption_at = at, at += c;
    r->first = at, at += i + 1;
    r->group = at, at += i + 1;
    r->best_own = at, at += i;
    r->own = at, at += c;
    r->t2i_rank = (int32_t *)at, at += c;
    r->in_order = (ct_tensor **)at, at += r->count;
    r->top_score = top ? (double *)at : NULL;
    for (size_t k = 0; k < top; k++) r->top_score[k] = -HUGE_VAL;
    return room;
}

static bool rank_all(ranking *r, const int64_t *image_of) {
    memset(r->out.i2t_rank, 0, (size_t)r->images * sizeof *r->out.i2t_rank);
    order_captions(r, image_of);
    make_groups(r);
    CT_SCOPE {
        for (int m = 0; m < r->count; m++) {
            r->in_order[m] = captions_in_order(r, r->models[m].captions);
            if (!r->in_order[m]) return false;
        }
        if (!rank_tiles(r)) return false;
    }
    for (int64_t p = 0; p < r->captions; p++) {
        r->out.t2i_rank[r->caption_at[p]] = r->t2i_rank[p] - 1; /* its own image counted */
    }
    return true;
}

bool ct_rank_split(const ct_embeddings *models, int count, const int64_t *image_of,
                   int64_t tile_scores, ct_retrieval_details out) {
    ranking r = {.models = models,
                 .count = count,
                 .tile_scores = tile_scores,
                 .out = out,
                 .dtype = count == 1 ? models[0].images->dtype : CT_F64,
                 .images = ct_dim(models[0].images, 0),
                 .captions = ct_dim(models[0].captions, 0)};
    /* Scores are compared for equality and order: they are products in fp32 however the model
     * computes. */
    ct_device device = models[0].images->device;
    ct_precision precision = ct_precision_of(device);
    void *room = make_room(&r);
    bool done = room && ct_set_precision(device, CT_PRECISION_FP32) && rank_all(&r, image_of);
    ct_set_precision(device, precision);
    free(room);
    return done;
}
