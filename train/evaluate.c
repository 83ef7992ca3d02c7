#include "train/evaluate.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 64 << 20 };

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

/* ---- similarities in blocks -------------------------------------------------------------- */

/* f64 scores of images first .. first+rows-1 against all captions, the mean over the models;
 * an error if any is not a number. */
static const double *score_block(const ct_embeddings *models, int count, int64_t first,
                                 int64_t rows) {
    ct_tensor *mean = NULL;
    for (int m = 0; m < count; m++) {
        ct_tensor *images = ct_tensor_slice(models[m].images, 0, first, first + rows, 1);
        ct_tensor *score = ct_similarity(images, models[m].captions, models[m].measure);
        if (score && ct_tensor_has_nonfinite(score)) {
            return ct_fail("evaluate: model %d gives NaN or infinite similarities", m + 1);
        }
        score = ct_tensor_scale(ct_tensor_cast(score, CT_F64), 1.0 / count);
        if (mean) {
            ct_tensor_add_to(mean, 1, score);
        } else {
            mean = score;
        }
    }
    mean = ct_tensor_contiguous(mean);
    return mean ? ct_data(mean) : NULL;
}

typedef struct {
    const ct_embeddings *models;
    int count;
    const int64_t *image_of;
    int64_t images, captions;
    double *own_score;                /* (C): of a caption with its image */
    int64_t *i2t_rank, *t2i_rank;     /* results */
    int64_t *i2t_top, *t2i_top;
    double *t2i_top_score;
} ranking;

/* First pass: an image's row holds all it needs for image to text, and its captions' own scores. */
static void rank_captions_of(ranking *r, int64_t image, const double *score) {
    double best_own = -HUGE_VAL;
    int64_t top = 0;
    for (int64_t c = 0; c < r->captions; c++) {
        if (r->image_of[c] == image) {
            r->own_score[c] = score[c];
            if (score[c] > best_own) best_own = score[c];
        }
        if (score[c] > score[top]) top = c;
        if (score[c] > r->t2i_top_score[c]) {
            r->t2i_top_score[c] = score[c];
            r->t2i_top[c] = image;
        }
    }
    int64_t rank = 0;
    for (int64_t c = 0; c < r->captions; c++) {
        rank += score[c] >= best_own && r->image_of[c] != image;
    }
    r->i2t_rank[image] = rank;
    r->i2t_top[image] = top;
}

/* Second pass, once every caption's own score is known. */
static void rank_images_for(ranking *r, int64_t image, const double *score) {
    for (int64_t c = 0; c < r->captions; c++) {
        r->t2i_rank[c] += score[c] >= r->own_score[c] && r->image_of[c] != image;
    }
}

static bool for_each_image(ranking *r, void (*visit)(ranking *, int64_t, const double *)) {
    int64_t bytes_a_row = r->captions * (int64_t)sizeof(double);
    int64_t block = BLOCK_BYTES / (bytes_a_row ? bytes_a_row : 1);
    if (block < 1) block = 1;
    for (int64_t first = 0; first < r->images; first += block) {
        int64_t rows = r->images - first < block ? r->images - first : block;
        CT_SCOPE {
            const double *score = score_block(r->models, r->count, first, rows);
            if (!score) return false;
            for (int64_t i = 0; i < rows; i++) visit(r, first + i, score + i * r->captions);
        }
    }
    return true;
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
                                "has %lld and %lld", m + 1, (long long)i->shape.dim[0],
                                (long long)c->shape.dim[0], (long long)images,
                                (long long)captions);
        }
    }
    char *seen = calloc((size_t)images + 1, 1);
    if (!seen) return ct_fail_bool("evaluate: out of memory");
    bool fits = true;
    for (int64_t c = 0; c < captions && fits; c++) {
        fits = image_of[c] >= 0 && image_of[c] < images;
        if (fits) seen[image_of[c]] = 1;
    }
    if (!fits) ct_fail("evaluate: a caption's image is outside 0..%lld", (long long)images - 1);
    for (int64_t i = 0; i < images && fits; i++) {
        fits = seen[i];
        if (!fits) ct_fail("evaluate: image %lld has no caption", (long long)i);
    }
    free(seen);
    return fits;
}

/* ---- evaluation -------------------------------------------------------------------------- */

static void copy_ranks(int64_t *to, const int64_t *from, int64_t count) {
    for (int64_t i = 0; to && i < count; i++) to[i] = from[i];
}

bool ct_evaluate_retrieval(const ct_embeddings *models, int count, const int64_t *image_of,
                           ct_retrieval *metrics, ct_retrieval_details details) {
    if (!check_embeddings(models, count, image_of)) return false;
    ranking r = {.models = models, .count = count, .image_of = image_of,
                 .images = ct_dim(models[0].images, 0),
                 .captions = ct_dim(models[0].captions, 0)};
    size_t i = (size_t)r.images, c = (size_t)r.captions;
    int64_t *ranks = calloc(2 * (i + c) + 1, sizeof *ranks);
    double *scores = calloc(2 * c + 1, sizeof *scores);
    bool done = false;
    if (!ranks || !scores) {
        ct_fail("evaluate: out of memory");
    } else {
        r.i2t_rank = ranks;
        r.i2t_top = ranks + i;
        r.t2i_rank = ranks + 2 * i;
        r.t2i_top = ranks + 2 * i + c;
        r.own_score = scores;
        r.t2i_top_score = scores + c;
        for (size_t k = 0; k < c; k++) r.t2i_top_score[k] = -HUGE_VAL;
        done = for_each_image(&r, rank_captions_of) && for_each_image(&r, rank_images_for);
    }
    if (done) {
        copy_ranks(details.i2t_rank, r.i2t_rank, r.images);
        copy_ranks(details.i2t_top, r.i2t_top, r.images);
        copy_ranks(details.t2i_rank, r.t2i_rank, r.captions);
        copy_ranks(details.t2i_top, r.t2i_top, r.captions);
        metrics->i2t = ct_recalls_of(r.i2t_rank, r.images);
        metrics->t2i = ct_recalls_of(r.t2i_rank, r.captions);
        metrics->rsum = metrics->i2t.r1 + metrics->i2t.r5 + metrics->i2t.r10 + metrics->t2i.r1 +
                        metrics->t2i.r5 + metrics->t2i.r10;
    }
    free(ranks);
    free(scores);
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
            part[m] = (ct_embeddings){
                ct_tensor_slice(models[m].images, 0, first, first + size, 1),
                ct_tensor_index_select(models[m].captions, 0, index), models[m].measure};
        }
        done = ct_ok() && ct_evaluate_retrieval(part, count, part_of, metrics,
                                                (ct_retrieval_details){0});
    }
    free(rows);
    free(part);
    return done;
}

bool ct_evaluate_folds(const ct_embeddings *models, int count, const int64_t *image_of, int folds,
                       ct_retrieval *metrics) {
    if (!check_embeddings(models, count, image_of)) return false;
    int64_t images = ct_dim(models[0].images, 0);
    if (folds < 1 || images % folds != 0) {
        return ct_fail_bool("evaluate: %lld images do not divide into %d folds",
                            (long long)images, folds);
    }
    ct_retrieval sum = {0};
    for (int f = 0; f < folds; f++) {
        ct_retrieval part;
        if (!evaluate_part(models, count, image_of, f * (images / folds), images / folds, &part)) {
            return false;
        }
        add_recalls(&sum.i2t, &part.i2t, 1.0 / folds);
        add_recalls(&sum.t2i, &part.t2i, 1.0 / folds);
        sum.rsum += part.rsum / folds;
    }
    *metrics = sum;
    return true;
}
