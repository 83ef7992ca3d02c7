/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate/evaluate.h"

#include <stdlib.h>

#include "train/evaluate/ranking.h"

/* ---- metrics of ranks -------------------------------------------------------------------- */

static int compare_ranks(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

ct_recalls ct_recalls_of(int64_t *ranks, int64_t count) {
    if (count == 0) return (ct_recalls){0};
    qsort(ranks, (size_t)count, sizeof *ranks, compare_ranks);
    int64_t below[3] = {0}, sum = 0;
    const int64_t limit[3] = {1, 5, 10};
    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < 3; k++) below[k] += ranks[i] < limit[k];
        sum += ranks[i];
    }
    /* floor of the median: of an even count, of the mean of the middle two */
    int64_t median = (ranks[(count - 1) / 2] + ranks[count / 2]) / 2;
    return (ct_recalls){
        .r1 = 100.0 * (double)below[0] / (double)count,
        .r5 = 100.0 * (double)below[1] / (double)count,
        .r10 = 100.0 * (double)below[2] / (double)count,
        .medr = (double)median + 1,
        .meanr = (double)sum / (double)count + 1,
    };
}

/* ---- checks ------------------------------------------------------------------------------ */

static bool check_embeddings(const ct_embeddings *models, int count, const int64_t *image_of) {
    if (count < 1) return ct_fail_bool("evaluate: no model");
    int64_t images = ct_dim(models[0].images, 0), captions = ct_dim(models[0].captions, 0);
    for (int m = 0; m < count; m++) {
        const ct_tensor *i = models[m].images, *c = models[m].captions;
        if (!i || !c) return ct_fail_bool("evaluate: embeddings are NULL");
        if (i->shape.ndim != 2 || c->shape.ndim != 2 || i->shape.dim[1] != c->shape.dim[1]) {
            return ct_fail_bool("evaluate: expected images (I,D) and captions (C,D), got %s and %s",
                                ct_tensor_text(i), ct_tensor_text(c));
        }
        if (i->shape.dim[0] != images || c->shape.dim[0] != captions) {
            return ct_fail_bool("evaluate: model %d has %lld images and %lld captions, the first "
                                "has %lld and %lld",
                                m + 1, (long long)i->shape.dim[0], (long long)c->shape.dim[0],
                                (long long)images, (long long)captions);
        }
    }
    if (captions < 1) return ct_fail_bool("evaluate: no caption");
    for (int64_t c = 0; c < captions; c++) {
        if (image_of[c] >= 0 && image_of[c] < images) continue;
        return ct_fail_bool("evaluate: a caption's image is outside 0..%lld",
                            (long long)images - 1);
    }
    return true;
}

/* ---- evaluation -------------------------------------------------------------------------- */

static void copy_ranks(int64_t *to, const int64_t *from, int64_t count) {
    for (int64_t i = 0; to && i < count; i++) to[i] = from[i];
}

/* Ranks of images that have a caption, moved to the front; how many. */
static int64_t drop_distractors(int64_t *rank, int64_t images) {
    int64_t kept = 0;
    for (int64_t i = 0; i < images; i++) {
        if (rank[i] >= 0) rank[kept++] = rank[i];
    }
    return kept;
}

bool ct_evaluate_retrieval(const ct_embeddings *models, int count, const int64_t *image_of,
                           ct_retrieval *metrics, ct_retrieval_details details) {
    if (!check_embeddings(models, count, image_of)) return false;
    int64_t images = ct_dim(models[0].images, 0), captions = ct_dim(models[0].captions, 0);
    int64_t *rank = malloc((size_t)(images + captions + 1) * sizeof *rank);
    if (!rank) return ct_fail_bool("evaluate: out of memory");
    ct_retrieval_details ranks = {rank, details.i2t_top, rank + images, details.t2i_top};
    bool done = ct_rank_split(models, count, image_of, CT_TILE_SCORES, ranks);
    if (done) {
        copy_ranks(details.i2t_rank, ranks.i2t_rank, images);
        copy_ranks(details.t2i_rank, ranks.t2i_rank, captions);
        int64_t asking = drop_distractors(ranks.i2t_rank, images);
        ct_recalls a = ct_recalls_of(ranks.i2t_rank, asking);
        ct_recalls b = ct_recalls_of(ranks.t2i_rank, captions);
        *metrics = (ct_retrieval){.i2t = a,
                                  .t2i = b,
                                  .rsum = a.r1 + a.r5 + a.r10 + b.r1 + b.r5 + b.r10,
                                  .images = images,
                                  .captions = captions,
                                  .distractors = images - asking};
    }
    free(rank);
    return done;
}

/* ---- folds ------------------------------------------------------------------------------- */

static void add_recalls(ct_recalls *sum, const ct_recalls *x, double factor) {
    sum->r1 += factor * x->r1;
    sum->r5 += factor * x->r5;
    sum->r10 += factor * x->r10;
    sum->medr += factor * x->medr;
    sum->meanr += factor * x->meanr;
}

bool ct_evaluate_check_folds(const char *what, const int64_t *image_of, int64_t images,
                             int64_t captions, int folds) {
    if (folds < 1 || images % folds != 0) {
        return ct_fail_bool("%s: %lld images do not divide into %d folds ([evaluate] folds)", what,
                            (long long)images, folds);
    }
    int64_t size = images / folds, empty = 0;
    bool *asked = calloc((size_t)folds, sizeof *asked);
    if (!asked) return ct_fail_bool("%s: out of memory", what);
    for (int64_t c = 0; c < captions; c++) asked[image_of[c] / size] = true;
    while (empty < folds && asked[empty]) empty++;
    free(asked);
    if (empty == folds) return true;
    return ct_fail_bool("%s: images %lld to %lld, one of the folds, have no caption ([evaluate] "
                        "folds)",
                        what, (long long)(empty * size), (long long)((empty + 1) * size - 1));
}

/* Metrics of images first .. first+size-1 with their captions alone. */
static bool evaluate_part(const ct_embeddings *models, int count, const int64_t *image_of,
                          int64_t first, int64_t size, ct_retrieval *metrics) {
    int64_t captions = ct_dim(models[0].captions, 0), kept = 0;
    int64_t *rows = malloc((size_t)captions * 2 * sizeof *rows + 1);
    ct_embeddings *part = malloc((size_t)count * sizeof *part);
    bool done = false;
    CT_SCOPE {
        if (!rows || !part) {
            ct_fail("evaluate: out of memory");
            break;
        }
        int64_t *part_of = rows + captions;
        for (int64_t c = 0; c < captions; c++) {
            if (image_of[c] < first || image_of[c] >= first + size) continue;
            rows[kept] = c;
            part_of[kept++] = image_of[c] - first;
        }
        ct_tensor *index = ct_from_data(CT_I64, models[0].captions->device, CT_SHAPE(kept), rows);
        for (int m = 0; m < count; m++) {
            part[m] = (ct_embeddings){ct_tensor_slice(models[m].images, 0, first, first + size, 1),
                                      ct_tensor_index_select(models[m].captions, 0, index),
                                      models[m].measure};
        }
        done = ct_ok() &&
               ct_evaluate_retrieval(part, count, part_of, metrics, (ct_retrieval_details){0});
    }
    free(rows);
    free(part);
    return done;
}

bool ct_evaluate_folds(const ct_embeddings *models, int count, const int64_t *image_of, int folds,
                       ct_retrieval *metrics) {
    if (!check_embeddings(models, count, image_of)) return false;
    int64_t images = ct_dim(models[0].images, 0);
    int64_t captions = ct_dim(models[0].captions, 0);
    if (!ct_evaluate_check_folds("evaluate", image_of, images, captions, folds)) return false;
    ct_retrieval sum = {0};
    for (int f = 0; f < folds; f++) {
        ct_retrieval part;
        if (!evaluate_part(models, count, image_of, f * (images / folds), images / folds, &part)) {
            return false;
        }
        add_recalls(&sum.i2t, &part.i2t, 1.0 / folds);
        add_recalls(&sum.t2i, &part.t2i, 1.0 / folds);
        sum.rsum += part.rsum / folds;
        sum.distractors += part.distractors;
    }
    sum.images = images / folds;
    sum.captions = captions / folds;
    sum.distractors /= folds;
    *metrics = sum;
    return true;
}

bool ct_evaluate(const ct_embeddings *models, int count, const int64_t *image_of, ct_evaluation how,
                 ct_retrieval *metrics) {
    if (how.released && count > 1 && models[0].measure == CT_ORDER) count = 1;
    if (how.folds <= 1) {
        return ct_evaluate_retrieval(models, count, image_of, metrics, (ct_retrieval_details){0});
    }
    if (!ct_evaluate_folds(models, count, image_of, how.folds, metrics)) return false;
    if (how.released) metrics->rsum = 2 * (metrics->i2t.r1 + metrics->i2t.r5 + metrics->i2t.r10);
    return true;
}
