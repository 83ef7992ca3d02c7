/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/findings.h"

#include <stdlib.h>
#include <string.h>

#include "train/evaluate/regions.h"

/* ---- making ------------------------------------------------------------------------------ */

static bool rank(ct_findings *f) {
    int64_t images = f->split->image_count, captions = f->split->caption_count;
    int64_t *room = calloc((size_t)(2 * images + 2 * captions + 1), sizeof *room);
    if (!room) return ct_fail_bool("out of memory");
    f->detail = (ct_retrieval_details){room, room + images, room + 2 * images,
                                       room + 2 * images + captions};
    ct_retrieval metrics;
    return ct_evaluate_retrieval(&f->embeddings, 1, f->split->image_of, &metrics, f->detail);
}

static bool embed(ct_findings *f) {
    CT_SCOPE {
        ct_tensor *images, *captions;
        if (!ct_embed_split(f->experiment, f->split, &images, &captions)) return false;
        f->embeddings = (ct_embeddings){ct_keep(images), ct_keep(captions),
                                        ct_model_measure(f->experiment->model)};
    }
    return ct_ok();
}

ct_findings *ct_findings_make(const ct_experiment *e, const char *split) {
    ct_findings *f = calloc(1, sizeof *f);
    if (!f) return ct_fail("out of memory");
    f->experiment = e;
    f->split = ct_experiment_split(e, split, CT_SPLIT_WHOLE);
    if (f->split && embed(f) && rank(f)) {
        f->shown = ct_region_pictures(f->split);
        return f;
    }
    ct_findings_free(f);
    return NULL;
}

void ct_findings_free(ct_findings *f) {
    if (!f) return;
    ct_images_close(f->shown);
    ct_release(f->embeddings.images);
    ct_release(f->embeddings.captions);
    free(f->detail.i2t_rank);
    ct_split_destroy(f->split);
    free(f);
}

const char *ct_findings_picture(const ct_findings *f, int64_t image) {
    if (f->shown) return f->shown->picture[image];
    return f->split->images->picture ? f->split->images->picture[image] : NULL;
}

const char *ct_findings_caption(const ct_findings *f, int64_t image) {
    for (int64_t c = 0; c < f->split->caption_count; c++) {
        if (f->split->image_of[c] == image) return f->split->captions[c];
    }
    return "";
}

/* ---- scores ------------------------------------------------------------------------------ */

static ct_tensor *rows(const ct_tensor *of, const int64_t *which, int64_t count) {
    ct_tensor *index = ct_from_data(CT_I64, of->device, CT_SHAPE(count), which);
    return index ? ct_tensor_index_select(of, 0, index) : NULL;
}

/* (images, captions) of f64 on the CPU; NULL for which: all. */
static ct_tensor *scores(const ct_findings *f, const int64_t *images, int64_t image_count,
                         const int64_t *captions, int64_t caption_count) {
    const ct_embeddings *e = &f->embeddings;
    ct_tensor *score = NULL;
    CT_NO_GRAD {
        ct_tensor *a = images ? rows(e->images, images, image_count) : e->images;
        ct_tensor *b = captions ? rows(e->captions, captions, caption_count) : e->captions;
        score = a && b ? ct_similarity(a, b, e->measure) : NULL;
    }
    score = score ? ct_tensor_cast(score, CT_F64) : NULL;
    score = score ? ct_tensor_to_device(score, CT_CPU) : NULL;
    return score ? ct_contiguous(score) : NULL;
}

int ct_findings_best(const ct_findings *f, bool caption, int64_t query, int most, ct_found *best) {
    int found = 0;
    CT_SCOPE {
        ct_tensor *score = caption ? scores(f, NULL, 0, &query, 1) : scores(f, &query, 1, NULL, 0);
        if (!score) return -1;
        const double *value = ct_data(score);
        for (int64_t i = 0; i < ct_count(score); i++) {
            if (found == most && value[i] <= best[found - 1].score) continue;
            int at = found < most ? found++ : found - 1;
            for (; at > 0 && best[at - 1].score < value[i]; at--) best[at] = best[at - 1];
            best[at] = (ct_found){i, value[i]};
        }
    }
    return found;
}

/* score[i] of image[i] with caption[i]. */
static bool score_pairs(const ct_findings *f, const int64_t *image, const int64_t *caption,
                        int64_t count, double *score) {
    enum { AT_ONCE = 64 };
    for (int64_t first = 0; first < count; first += AT_ONCE) {
        int64_t n = count - first < AT_ONCE ? count - first : AT_ONCE;
        CT_SCOPE {
            ct_tensor *all = scores(f, image + first, n, caption + first, n);
            if (!all) return false;
            for (int64_t i = 0; i < n; i++) score[first + i] = ct_get(all, i * n + i);
        }
    }
    return true;
}

/* ---- confusions -------------------------------------------------------------------------- */

/* Of every image the caption of its own that fits it best, and the score; -1 without a caption. */
static bool find_own(const ct_findings *f, int64_t *own, double *own_score) {
    int64_t captions = f->split->caption_count;
    int64_t *each = malloc((size_t)(captions + 1) * sizeof *each);
    double *score = malloc((size_t)(captions + 1) * sizeof *score);
    bool done = (each && score) || ct_fail_bool("out of memory");
    for (int64_t c = 0; done && c < captions; c++) each[c] = c;
    done = done && score_pairs(f, f->split->image_of, each, captions, score);
    for (int64_t i = 0; done && i < f->split->image_count; i++) own[i] = -1;
    for (int64_t c = 0; done && c < captions; c++) {
        int64_t i = f->split->image_of[c];
        if (own[i] >= 0 && score[c] <= own_score[i]) continue;
        own[i] = c;
        own_score[i] = score[c];
    }
    free(each);
    free(score);
    return done;
}

static int compare_margins(const void *a, const void *b) {
    const ct_confusion *x = a, *y = b;
    double left = x->found_score - x->right_score, right = y->found_score - y->right_score;
    if (left != right) return left < right ? 1 : -1;
    return (x->query > y->query) - (x->query < y->query);
}

/* Every query whose best answer is wrong; from malloc. */
static ct_confusion *all_confusions(const ct_findings *f, bool caption, int64_t *count) {
    int64_t captions = f->split->caption_count, images = f->split->image_count;
    int64_t queries = caption ? captions : images, room = queries + 1, n = 0;
    ct_confusion *all = malloc((size_t)room * sizeof *all);
    int64_t *index = malloc((size_t)(2 * room + images) * sizeof *index);
    double *score = malloc((size_t)(2 * room + images) * sizeof *score);
    bool done = (all && index && score) || ct_fail_bool("out of memory");
    int64_t *image = index, *text = index + room, *own = index + 2 * room;
    double *found = score, *right = score + room, *own_score = score + 2 * room;
    done = done && find_own(f, own, own_score);
    for (int64_t q = 0; done && q < queries; q++) {
        int64_t top = caption ? f->detail.t2i_top[q] : f->detail.i2t_top[q];
        int64_t mine = caption ? f->split->image_of[q] : own[q];
        if (mine < 0 || (caption ? top == mine : f->split->image_of[top] == q)) continue;
        image[n] = caption ? top : q;
        text[n] = caption ? q : top;
        all[n++] = (ct_confusion){q, top, mine, 0, 0};
    }
    done = done && score_pairs(f, image, text, n, found);
    for (int64_t k = 0; done && caption && k < n; k++) image[k] = all[k].right;
    if (caption) done = done && score_pairs(f, image, text, n, right);
    for (int64_t k = 0; done && k < n; k++) {
        all[k].found_score = found[k];
        all[k].right_score = caption ? right[k] : own_score[all[k].query];
    }
    free(index);
    free(score);
    if (!done) free(all);
    *count = n;
    return done ? all : NULL;
}

static bool is_shown(const ct_confusion *shown, int count, const ct_confusion *c) {
    for (int i = 0; i < count; i++) {
        if (shown[i].found == c->found || shown[i].right == c->right) return true;
    }
    return false;
}

int ct_findings_confusions(const ct_findings *f, bool caption, int most, ct_confusion *confusions) {
    int64_t count = 0;
    int shown = 0;
    ct_confusion *all = all_confusions(f, caption, &count);
    if (!all) return -1;
    qsort(all, (size_t)count, sizeof *all, compare_margins);
    for (int64_t i = 0; i < count && shown < most; i++) {
        if (!is_shown(confusions, shown, &all[i])) confusions[shown++] = all[i];
    }
    free(all);
    return shown;
}
