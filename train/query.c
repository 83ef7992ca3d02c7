/* SPDX-License-Identifier: Apache-2.0 */
/* --query, --query-image: the images that fit a sentence best; images and captions that fit a
 * picture. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/commands.h"
#include "train/run/console.h"

/* ---- splits ------------------------------------------------------------------------------ */

static const char features_end[] = "_ims.npy", pictures_end[] = "_pictures.txt";

/* A split that is searched, and the scores of its images and captions, summed over the models. */
typedef struct {
    char *name;
    bool left_out;
    ct_split *split;   /* as the last model has it; NULL before the first */
    ct_tensor *sum[2]; /* images (I), captions (C): f64 on the CPU, kept; or NULL */
} asked_split;
enum { IMAGES, CAPTIONS };

typedef struct {
    ct_question question;
    int top, models;
    asked_split *splits;
    int count;
    bool all; /* no split was named */
} query;

static bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}
static int is_features(const struct dirent *entry) {
    return ends_with(entry->d_name, features_end);
}
static int is_pictures(const struct dirent *entry) {
    return ends_with(entry->d_name, pictures_end);
}

static bool add_split(query *q, const char *name, size_t length) {
    q->splits[q->count].name = strndup(name, length);
    return q->splits[q->count++].name || ct_fail_bool("out of memory");
}

/* The one that is named, or all of the folder, by name. */
static bool find_splits(query *q, const ct_config *config, const char *name) {
    const char *folder = config->folder;
    struct dirent **entries = NULL;
    ct_picture_form form;
    bool pictures = ct_description_pictures(&config->model, &form);
    const char *end = pictures ? pictures_end : features_end;
    if (!ct_ok()) return false;
    int found =
        name ? 1 : scandir(folder, &entries, pictures ? is_pictures : is_features, alphasort);
    if (found < 0) return ct_fail_bool("%s: %s", folder, strerror(errno));
    q->all = !name;
    q->splits = calloc((size_t)found + 1, sizeof *q->splits);
    bool done = q->splits != NULL || ct_fail_bool("out of memory");
    for (int i = 0; i < found && done; i++) {
        const char *file = name ? name : entries[i]->d_name;
        done = add_split(q, file, strlen(file) - (name ? 0 : strlen(end)));
    }
    for (int i = 0; entries && i < found; i++) free(entries[i]);
    free(entries);
    if (!done || found) return done;
    return ct_fail_bool("%s: no images to search: expected a file SPLIT%s", folder, end);
}

static void forget(query *q) {
    for (int i = 0; q->splits && i < q->count; i++) {
        ct_release(q->splits[i].sum[IMAGES]);
        ct_release(q->splits[i].sum[CAPTIONS]);
        ct_split_destroy(q->splits[i].split);
        free(q->splits[i].name);
    }
    free(q->splits);
}

/* ---- scores ------------------------------------------------------------------------------ */

/* (n,1) of rows (n,D): the same for rows that are the same. */
static ct_tensor *score_rows(ct_tensor *all, ct_tensor *question, ct_measure measure, bool images) {
    ct_distinct same = {0};
    const ct_tensor *tensors[] = {all};
    bool found = ct_distinct_tensors(&same, tensors, 1);
    ct_tensor *rows = found ? ct_distinct_take(&same, all) : NULL;
    /* the measure of order is of an image and a caption, in this order */
    ct_tensor *score = NULL;
    if (rows && images) score = ct_similarity(rows, question, measure);
    else if (rows) score = ct_transpose(ct_similarity(question, rows, measure), 0, 1);
    score = score ? ct_distinct_spread(&same, ct_contiguous(score)) : NULL;
    ct_distinct_free(&same);
    return score;
}

static bool add_scores(ct_tensor **sum, const ct_experiment *e, ct_tensor *rows,
                       ct_tensor *question, bool images) {
    ct_tensor *score = score_rows(rows, question, ct_model_measure(e->model), images);
    score = score ? ct_tensor_reshape(score, CT_SHAPE(ct_dim(rows, 0))) : NULL;
    score = score ? ct_tensor_cast(score, CT_F64) : NULL;
    score = score ? ct_tensor_to_device(score, CT_CPU) : NULL;
    if (!score) return false;
    if (*sum) return ct_tensor_add_to(*sum, 1, score);
    *sum = ct_keep(score);
    return true;
}

static bool score_split(asked_split *asked, const ct_experiment *e, ct_tensor *question,
                        bool captions) {
    CT_SCOPE {
        ct_tensor *rows[2] = {NULL, NULL};
        captions = captions && asked->split->captions;
        return ct_embed_split(e, asked->split, &rows[IMAGES], captions ? &rows[CAPTIONS] : NULL) &&
               add_scores(&asked->sum[IMAGES], e, rows[IMAGES], question, true) &&
               (!captions || add_scores(&asked->sum[CAPTIONS], e, rows[CAPTIONS], question, false));
    }
    return false;
}

/* A split that cannot be searched is an error if it was named, and else left out, with a line. */
static bool ask_split(query *q, asked_split *asked, const ct_experiment *e, ct_tensor *question) {
    if (asked->left_out) return true;
    bool captions = q->question.picture;
    ct_split_destroy(asked->split);
    asked->split = ct_experiment_split(e, asked->name,
                                       captions ? CT_SPLIT_CAPTIONS_IF_ANY : CT_SPLIT_IMAGES_ALONE);
    bool done = asked->split && score_split(asked, e, question, captions);
    if (done || !q->all) return done;
    ct_console_line("left out: %s", ct_error());
    ct_error_clear();
    asked->left_out = true;
    return true;
}

/* What a model cannot know of a sentence. */
static bool say_unknown(const query *q, const ct_experiment *e) {
    int unknown = 0, words = 0;
    char *list = ct_encoder_unknown(e->encoder, q->question.sentence, &unknown, &words);
    if (!list) return false;
    const char *of = q->models > 1 ? e->config->run_folder : "", *colon = q->models > 1 ? ": " : "";
    if (unknown == words) {
        ct_console_line("%s%snone of these words is known: %s; the order below means nothing", of,
                        colon, list);
    } else if (unknown) {
        ct_console_line("%s%sunknown: %s", of, colon, list);
    }
    free(list);
    return true;
}

/* ---- answers ----------------------------------------------------------------------------- */

typedef struct {
    double score;
    int split;
    int64_t image;
} answer;

/* The best first; of equals the first. */
static int compare_answers(const void *a, const void *b) {
    const answer *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    if (x->split != y->split) return x->split - y->split;
    return (x->image > y->image) - (x->image < y->image);
}

/* All images, or captions, of all splits, the best first; from malloc. NULL and an error
 * otherwise. */
static answer *rank(const query *q, int what, int64_t *count) {
    *count = 0;
    for (int i = 0; i < q->count; i++) {
        if (q->splits[i].sum[what]) *count += ct_count(q->splits[i].sum[what]);
    }
    if (!*count) return what == IMAGES ? ct_fail("no images to search") : NULL;
    answer *answers = malloc((size_t)*count * sizeof *answers);
    if (!answers) return ct_fail("out of memory");
    int64_t at = 0;
    for (int i = 0; i < q->count; i++) {
        const ct_tensor *sum = q->splits[i].sum[what];
        const double *score = sum ? ct_data(sum) : NULL;
        for (int64_t k = 0; score && k < ct_count(sum); k++) {
            answers[at++] = (answer){score[k] / q->models, i, k};
        }
    }
    qsort(answers, (size_t)*count, sizeof *answers, compare_answers);
    return answers;
}

static const char *first_caption(const ct_split *split, int64_t image) {
    for (int64_t c = 0; c < split->caption_count; c++) {
        if (split->image_of[c] == image) return split->captions[c];
    }
    return "";
}

static void print_image(int place, const answer *a, const ct_split *split) {
    const ct_images *images = split->images;
    ct_console_line("%3d  %7.4f  %s %lld  %s%s%s", place, a->score, split->name,
                    (long long)a->image, images->picture ? images->picture[a->image] : "",
                    images->picture && split->caption_count ? "  " : "",
                    first_caption(split, a->image));
}

static void print_caption(int place, const answer *a, const ct_split *split) {
    ct_console_line("%3d  %7.4f  %s %lld  %s", place, a->score, split->name,
                    (long long)split->image_of[a->image], split->captions[a->image]);
}

static bool print_best(const query *q) {
    int64_t count;
    for (int what = q->question.picture ? CAPTIONS : IMAGES; what >= IMAGES && ct_ok(); what--) {
        answer *answers = rank(q, what, &count);
        if (answers && q->question.picture) {
            ct_console_line(what == IMAGES ? "images like it" : "captions that fit it");
        }
        for (int64_t i = 0; answers && i < q->top && i < count; i++) {
            const ct_split *split = q->splits[answers[i].split].split;
            if (what == IMAGES) print_image((int)i + 1, &answers[i], split);
            else print_caption((int)i + 1, &answers[i], split);
        }
        free(answers);
    }
    return ct_ok();
}

/* ---- the command ------------------------------------------------------------------------- */

static bool ask(void *context, int model, const ct_experiment *e) {
    query *q = context;
    bool done = true;
    if (ct_experiment_is_recorded(e)) { /* an error that says so */
        return ct_experiment_split(e, q->splits[0].name, CT_SPLIT_IMAGES_ALONE) != NULL;
    }
    CT_SCOPE {
        const char *picture = q->question.picture;
        ct_tensor *question = picture ? ct_embed_picture(e, picture)
                                      : ct_embed_sentences(e, &q->question.sentence, 1);
        done = question && (picture || say_unknown(q, e));
        for (int i = 0; i < q->count && done; i++) done = ask_split(q, &q->splits[i], e, question);
    }
    return done && (model + 1 < q->models || print_best(q));
}

bool ct_query_command(ct_config *config, const char *split, ct_question question, int top,
                      ct_weights weights) {
    query q = {.question = question, .top = top, .models = ct_weights_models(weights)};
    bool done = find_splits(&q, config, split) &&
                ct_each_trained(config, weights, (ct_trained){q.splits[0].name, ask, &q});
    forget(&q);
    return done;
}
