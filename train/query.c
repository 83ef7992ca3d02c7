/* SPDX-License-Identifier: Apache-2.0 */
/* --query: the images that fit a sentence best. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/commands.h"
#include "train/run/console.h"

/* ---- splits ------------------------------------------------------------------------------ */

static const char features_end[] = "_ims.npy";

/* A split that is searched, and the scores of its images, summed over the models. */
typedef struct {
    char *name;
    bool left_out;
    ct_split *split; /* as the last model has it; NULL before the first */
    ct_tensor *sum;  /* (I) f64 on the CPU, kept */
} asked_split;

typedef struct {
    const char *sentence;
    int top, models;
    asked_split *splits;
    int count;
    bool all; /* no split was named */
} query;

static int is_features(const struct dirent *entry) {
    size_t length = strlen(entry->d_name), end = strlen(features_end);
    return length > end && strcmp(entry->d_name + length - end, features_end) == 0;
}

static bool add_split(query *q, const char *name, size_t length) {
    q->splits[q->count].name = strndup(name, length);
    return q->splits[q->count++].name || ct_fail_bool("out of memory");
}

/* The one that is named, or all of the folder, by name. */
static bool find_splits(query *q, const char *folder, const char *name) {
    struct dirent **entries = NULL;
    int found = name ? 1 : scandir(folder, &entries, is_features, alphasort);
    if (found < 0) return ct_fail_bool("%s: %s", folder, strerror(errno));
    q->all = !name;
    q->splits = calloc((size_t)found + 1, sizeof *q->splits);
    bool done = q->splits != NULL || ct_fail_bool("out of memory");
    for (int i = 0; i < found && done; i++) {
        const char *file = name ? name : entries[i]->d_name;
        done = add_split(q, file, strlen(file) - (name ? 0 : strlen(features_end)));
    }
    for (int i = 0; entries && i < found; i++) free(entries[i]);
    free(entries);
    if (!done || found) return done;
    return ct_fail_bool("%s: no images to search: expected a file SPLIT%s", folder, features_end);
}

static void forget(query *q) {
    for (int i = 0; q->splits && i < q->count; i++) {
        ct_release(q->splits[i].sum);
        ct_split_destroy(q->splits[i].split);
        free(q->splits[i].name);
    }
    free(q->splits);
}

/* ---- scores ------------------------------------------------------------------------------ */

/* (I) of images (I,D): the same for images that are the same. */
static ct_tensor *score_images(ct_tensor *images, ct_tensor *sentence, ct_measure measure) {
    ct_distinct same = {0};
    const ct_tensor *all[] = {images};
    bool found = ct_distinct_tensors(&same, all, 1);
    ct_tensor *rows = found ? ct_distinct_take(&same, images) : NULL;
    ct_tensor *score = rows ? ct_similarity(rows, sentence, measure) : NULL;
    score = score ? ct_distinct_spread(&same, score) : NULL;
    ct_distinct_free(&same);
    return score;
}

static bool add_scores(asked_split *asked, const ct_experiment *e, ct_tensor *sentence) {
    CT_SCOPE {
        ct_tensor *images;
        if (!ct_embed_split(e, asked->split, &images, NULL)) return false;
        ct_tensor *score = score_images(images, sentence, ct_model_measure(e->model));
        score = score ? ct_tensor_reshape(score, CT_SHAPE(asked->split->image_count)) : NULL;
        score = score ? ct_tensor_cast(score, CT_F64) : NULL;
        score = score ? ct_tensor_to_device(score, CT_CPU) : NULL;
        if (!score) return false;
        if (asked->sum) return ct_tensor_add_to(asked->sum, 1, score);
        asked->sum = ct_keep(score);
    }
    return true;
}

/* A split that cannot be searched is an error if it was named, and else left out, with a line. */
static bool ask_split(query *q, asked_split *asked, const ct_experiment *e, ct_tensor *sentence) {
    if (asked->left_out) return true;
    ct_split_destroy(asked->split);
    asked->split = ct_experiment_split(e, asked->name, CT_SPLIT_IMAGES_ALONE);
    bool done = asked->split && add_scores(asked, e, sentence);
    if (done || !q->all) return done;
    ct_console_line("left out: %s", ct_error());
    ct_error_clear();
    asked->left_out = true;
    return true;
}

/* What a model cannot know of a sentence. */
static bool say_unknown(const query *q, const ct_experiment *e) {
    int unknown = 0, words = 0;
    char *list = ct_encoder_unknown(e->encoder, q->sentence, &unknown, &words);
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

/* All images of all splits, the best first; from malloc. NULL and an error otherwise. */
static answer *rank(const query *q, int64_t *count) {
    *count = 0;
    for (int i = 0; i < q->count; i++) {
        if (!q->splits[i].left_out) *count += ct_count(q->splits[i].sum);
    }
    if (!*count) return ct_fail("no images to search");
    answer *answers = malloc((size_t)*count * sizeof *answers);
    if (!answers) return ct_fail("out of memory");
    int64_t at = 0;
    for (int i = 0; i < q->count; i++) {
        if (q->splits[i].left_out) continue;
        const double *score = ct_data(q->splits[i].sum);
        for (int64_t k = 0; k < ct_count(q->splits[i].sum); k++) {
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

static bool print_best(const query *q) {
    int64_t count;
    answer *answers = rank(q, &count);
    for (int64_t i = 0; answers && i < q->top && i < count; i++) {
        const answer *a = &answers[i];
        const ct_split *split = q->splits[a->split].split;
        ct_console_line("%3d  %7.4f  %s %lld  %s", (int)i + 1, a->score, split->name,
                        (long long)a->image, first_caption(split, a->image));
    }
    free(answers);
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
        ct_tensor *sentence = ct_embed_sentences(e, &q->sentence, 1);
        done = sentence && say_unknown(q, e);
        for (int i = 0; i < q->count && done; i++) done = ask_split(q, &q->splits[i], e, sentence);
    }
    return done && (model + 1 < q->models || print_best(q));
}

bool ct_query_command(ct_config *config, const char *split, const char *sentence, int top,
                      ct_weights weights) {
    query q = {.sentence = sentence, .top = top, .models = ct_weights_models(weights)};
    bool done = find_splits(&q, config->folder, split) &&
                ct_each_trained(config, weights, (ct_trained){q.splits[0].name, ask, &q});
    forget(&q);
    return done;
}
