/* SPDX-License-Identifier: Apache-2.0 */
/* --evaluate: recalls of a split, how sure they are, judgments of what else fits, and two models
 * beside each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/io/json.h"
#include "train/commands.h"
#include "train/evaluate/judgments.h"
#include "train/evaluate/resample.h"
#include "train/run/console.h"
#include "train/run/run_log.h"
#include "train/search/answers.h"

/* Embeddings of a split by each model; kept. All models see the same captions of it. */
typedef struct {
    const char *name;
    ct_weights weights;
    const ct_evaluate_options *options;
    ct_embeddings *models;
    int count;
    int64_t *image_of;       /* caption -> image */
    ct_judgments *judgments; /* of options->judgments */
    int64_t images, captions;
} evaluation;

/* The first model's captions are copied; another's must be the same: one configuration may leave
 * out or join images that another does not. */
static bool take_captions(evaluation *v, int model, const ct_split *split) {
    size_t bytes = (size_t)split->caption_count * sizeof *v->image_of;
    if (!model) {
        v->images = split->image_count;
        v->captions = split->caption_count;
        v->image_of = malloc(bytes);
        if (!v->image_of) return ct_fail_bool("out of memory");
        memcpy(v->image_of, split->image_of, bytes);
        return true;
    }
    const char *const *paths = v->weights.paths;
    if (split->image_count != v->images || split->caption_count != v->captions) {
        return ct_fail_bool("%s: %lld images with %lld captions for %s, %lld images with %lld "
                            "captions for %s: expected the same for all models",
                            v->name, (long long)v->images, (long long)v->captions, paths[0],
                            (long long)split->image_count, (long long)split->caption_count,
                            paths[model]);
    }
    return memcmp(v->image_of, split->image_of, bytes) == 0 ||
           ct_fail_bool("%s: captions are of other images for %s than for %s: expected the same "
                        "for all models",
                        v->name, paths[model], paths[0]);
}

/* As soon as it is known how many images and captions there are: before they are embedded. */
static bool read_judgments(const evaluation *v) {
    const ct_evaluate_options *o = v->options;
    for (int i = 0; i < o->judgment_count; i++) {
        if (!ct_judgments_read(&v->judgments[i], o->judgments[i], v->images, v->captions)) {
            return false;
        }
    }
    return true;
}

static bool embed_for_evaluation(void *context, int model, const ct_experiment *e) {
    evaluation *v = context;
    ct_split *split = ct_experiment_ranked_split(e, v->name);
    bool done = false;
    CT_SCOPE {
        ct_tensor *images, *captions;
        if (!split || !take_captions(v, model, split) || (!model && !read_judgments(v))) break;
        if (!ct_embed_split(e, split, &images, &captions)) break;
        v->models[model] =
            (ct_embeddings){ct_keep(images), ct_keep(captions), ct_model_measure(e->model)};
        done = ct_ok();
    }
    ct_split_destroy(split);
    return done;
}

/* ---- the recalls ------------------------------------------------------------------------- */

/* {"split", "images", "captions", "models": [...], "report", "i2t", "t2i", "rsum"}; with folds also
 * "folds", and "all": the same recalls of all images at once. */
static json_t *recalls_json(const ct_config *config, const evaluation *v, bool released,
                            const ct_retrieval *rows) {
    json_t *models = json_array(), *root = ct_retrieval_json(&rows[0]);
    for (int i = 0; i < v->weights.count; i++) {
        ct_json_append(models, ct_text_json(v->weights.paths[i]));
    }
    if (!v->weights.count) ct_json_append(models, ct_text_json(config->run_folder));
    json_t *what = json_pack("{s:s, s:I, s:I, s:o, s:s}", "split", v->name, "images",
                             (json_int_t)v->images, "captions", (json_int_t)v->captions, "models",
                             models, "report", released ? "released" : "right");
    if (config->folds > 1) {
        ct_json_set(what, "folds", json_integer(config->folds));
        ct_json_set(what, "all", ct_retrieval_json(&rows[1]));
    }
    ct_json_join(what, root);
    return what;
}

static bool report_recalls(const ct_config *config, const evaluation *v, json_t **object) {
    int folds = (int)config->folds;
    bool released;
    ct_retrieval rows[2];
    if (!ct_compat_released(&config->model, "evaluation_report", &released)) return false;
    for (int i = 0; i < 1 + (folds > 1); i++) {
        ct_evaluation how = {i ? 1 : folds, released};
        if (!ct_evaluate(v->models, v->count, v->image_of, how, &rows[i])) return false;
    }
    char all[64], parts[64];
    snprintf(all, sizeof all, "%s", v->name);
    snprintf(parts, sizeof parts, "%s, %d folds", v->name, folds);
    const char *names[2] = {folds > 1 ? parts : all, all};
    if (v->count > 1) ct_console_line("mean similarity of %d models", v->count);
    ct_console_table(names, rows, 1 + (folds > 1));
    *object = recalls_json(config, v, released, rows);
    return true;
}

/* ---- judgments --------------------------------------------------------------------------- */

static void print_judged(const char *direction, const ct_judged_recalls *r) {
    if (!r->queries) return;
    ct_console_line("  %-14s %8lld queries   mAP@R %5.1f   R-P %5.1f   R@1 %5.1f   R@5 %5.1f   "
                    "R@10 %5.1f",
                    direction, (long long)r->queries, r->map_at_r, r->r_precision, r->r1, r->r5,
                    r->r10);
}

static json_t *report_judgments(const evaluation *v, const ct_judgments *j) {
    ct_judged_recalls i2t, t2i;
    if (!ct_evaluate_judgments(v->models, v->count, j, &i2t, &t2i)) return NULL;
    ct_console_line("%s", j->name);
    print_judged("image -> text", &i2t);
    print_judged("text -> image", &t2i);
    return ct_judgments_json(j, &i2t, &t2i);
}

static bool report_all_judgments(const evaluation *v, json_t *object) {
    if (!v->options->judgment_count) return true;
    json_t *list = json_array();
    ct_json_set(object, "judgments", list);
    for (int i = 0; i < v->options->judgment_count; i++) {
        json_t *one = report_judgments(v, &v->judgments[i]);
        if (!one) return false;
        ct_json_append(list, one);
    }
    return true;
}

/* ---- how sure they are ------------------------------------------------------------------- */

static const char *const recall_names[CT_RECALLS] = {"image -> text R@1",
                                                     "image -> text R@5",
                                                     "image -> text R@10",
                                                     "text -> image R@1",
                                                     "text -> image R@5",
                                                     "text -> image R@10",
                                                     "rsum"};
static const char *const recall_keys[] = {"r1", "r5", "r10"};

/* {"i2t": {"r1": ..., "r5", "r10"}, "t2i": {...}, "rsum": ...} of one value for each recall. */
static json_t *by_recall(int64_t resamples, json_t *const values[CT_RECALLS]) {
    json_t *object = json_pack("{s:I}", "resamples", (json_int_t)resamples);
    for (int way = 0; way < 2; way++) {
        json_t *one = json_object();
        for (int k = 0; k < 3; k++) {
            ct_json_set(one, recall_keys[k], values[3 * way + k]);
        }
        ct_json_set(object, way ? "t2i" : "i2t", one);
    }
    ct_json_set(object, "rsum", values[CT_RECALLS - 1]);
    return object;
}

/* Ranks of one model, or of the mean similarity of several, among all images at once; the block
 * that they are in is *room, from malloc. */
static bool find_ranks(const evaluation *v, int first, int count, ct_query_ranks *ranks,
                       int64_t **room) {
    ct_retrieval metrics;
    int64_t *block = *room = malloc((size_t)(v->images + v->captions) * sizeof *block);
    if (!block) return ct_fail_bool("out of memory");
    ct_retrieval_details details = {.i2t_rank = block, .t2i_rank = block + v->images};
    *ranks = (ct_query_ranks){block, block + v->images, v->image_of, v->images, v->captions};
    return ct_evaluate_retrieval(v->models + first, count, v->image_of, &metrics, details);
}

static bool report_intervals(const ct_config *config, const evaluation *v, json_t *object) {
    ct_query_ranks ranks;
    int64_t *room, resamples = v->options->resamples;
    ct_interval x[CT_RECALLS];
    json_t *values[CT_RECALLS];
    if (!resamples) return true;
    bool done = find_ranks(v, 0, v->count, &ranks, &room) &&
                ct_recall_intervals(&ranks, resamples, (uint64_t)config->seed, x);
    free(room);
    if (!done) return false;
    ct_console_line("95%% intervals, %lld bootstrap samples of the images with their captions",
                    (long long)resamples);
    for (int k = 0; k < CT_RECALLS; k++) {
        ct_console_line("  %-20s %6.1f   %6.1f to %6.1f", recall_names[k], x[k].value, x[k].low,
                        x[k].high);
        values[k] = json_pack("[f, f]", x[k].low, x[k].high);
    }
    ct_json_set(object, "intervals", by_recall(resamples, values));
    return true;
}

/* ---- two models -------------------------------------------------------------------------- */

enum { RESAMPLES = 10000 }; /* of pairs, where --bootstrap says nothing */

static const char *change_note(double p) {
    return p < 0.001 ? "  ***" : p < 0.01 ? "  **" : p < 0.05 ? "  *" : "";
}

static json_t *print_changes(const ct_recall_change *x, int64_t resamples) {
    json_t *values[CT_RECALLS];
    ct_console_line("the second less the first: 95%% intervals by %lld bootstrap samples of the "
                    "images, p by as many exchanges of the models",
                    (long long)resamples);
    for (int k = 0; k < CT_RECALLS; k++) {
        const ct_interval *d = &x[k].difference;
        ct_console_line("  %-20s %+6.1f   %+6.1f to %+6.1f   p = %.4f%s", recall_names[k], d->value,
                        d->low, d->high, x[k].p, change_note(x[k].p));
        values[k] = json_pack("{s:f, s:f, s:f, s:f}", "difference", d->value, "low", d->low, "high",
                              d->high, "p", x[k].p);
    }
    return by_recall(resamples, values);
}

static bool report_changes(const ct_config *config, const evaluation *v, json_t *object) {
    ct_query_ranks ranks[2];
    int64_t *room[2] = {NULL, NULL};
    int64_t resamples = v->options->resamples ? v->options->resamples : RESAMPLES;
    ct_recall_change changes[CT_RECALLS];
    bool done = find_ranks(v, 0, 1, &ranks[0], &room[0]) &&
                find_ranks(v, 1, 1, &ranks[1], &room[1]) &&
                ct_recall_changes(&ranks[0], &ranks[1], resamples, (uint64_t)config->seed, changes);
    free(room[0]);
    free(room[1]);
    if (done) ct_json_set(object, "paired", print_changes(changes, resamples));
    return done;
}

/* Each on all images at once. */
static bool report_pair(const ct_config *config, const evaluation *v, json_t **object) {
    const char *const *paths = v->weights.paths;
    ct_retrieval rows[2];
    for (int m = 0; m < 2; m++) {
        if (!ct_evaluate(&v->models[m], 1, v->image_of, (ct_evaluation){0}, &rows[m])) return false;
    }
    ct_console_table(paths, rows, 2);
    *object = json_pack("{s:s, s:I, s:I, s:[o, o], s:[o, o]}", "split", v->name, "images",
                        (json_int_t)v->images, "captions", (json_int_t)v->captions, "models",
                        ct_text_json(paths[0]), ct_text_json(paths[1]), "each",
                        ct_retrieval_json(&rows[0]), ct_retrieval_json(&rows[1]));
    return report_changes(config, v, *object);
}

/* ---- the command ------------------------------------------------------------------------- */

static bool write_report(json_t *object, const char *path) {
    char *text = ct_ok() ? ct_json_text(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    bool written = text ? ct_file_write(path, text, strlen(text))
                        : ct_fail_bool("%s: out of memory, or a path is not UTF-8", path);
    free(text);
    if (written) ct_console_line("%s", path);
    return written;
}

static bool report(const ct_config *config, const evaluation *v) {
    json_t *object = NULL;
    bool done = v->options->paired
                    ? report_pair(config, v, &object)
                    : report_recalls(config, v, &object) && report_all_judgments(v, object) &&
                          report_intervals(config, v, object);
    if (done && v->options->out && ct_rank() == 0) done = write_report(object, v->options->out);
    json_decref(object);
    return done;
}

bool ct_evaluate_command(ct_config *config, const char *name, ct_weights weights,
                         const ct_evaluate_options *options) {
    if (options->paired && weights.count != 2) {
        return ct_fail_bool("--paired takes two models, --weights names %d", weights.count);
    }
    evaluation v = {
        .name = name, .weights = weights, .options = options, .count = ct_weights_models(weights)};
    v.models = calloc((size_t)v.count, sizeof *v.models);
    v.judgments = calloc((size_t)options->judgment_count + 1, sizeof *v.judgments);
    ct_trained trained = {&name, embed_for_evaluation, &v};
    bool done = v.models && v.judgments
                    ? ct_each_trained(config, weights, trained) && report(config, &v)
                    : ct_fail_bool("out of memory");
    for (int i = 0; v.models && i < v.count; i++) {
        ct_release(v.models[i].images);
        ct_release(v.models[i].captions);
    }
    for (int i = 0; v.judgments && i < options->judgment_count; i++) {
        ct_judgments_free(&v.judgments[i]);
    }
    free(v.judgments);
    free(v.models);
    free(v.image_of);
    return done;
}
