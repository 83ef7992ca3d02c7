/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate/judgments.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/core/nearest.h"
#include "tensor/io/json.h"
#include "train/data/distinct.h"

/* ---- reading ----------------------------------------------------------------------------- */

/* What is being read, for messages. */
typedef struct {
    const char *path, *direction, *query;
} place;

/* "12" from 0 to count - 1, as a number is written: "012" would be a second key of one query; else
 * -1. */
static int64_t row_number(const char *text, int64_t count) {
    char *end;
    long long row = strtoll(text, &end, 10);
    bool digits = *text && strspn(text, "0123456789") == strlen(text) && (*text != '0' || !text[1]);
    return digits && !*end && row < count ? row : -1;
}

static bool fail_query(place at, const char *expected, int64_t count) {
    return ct_fail_bool("%s: %s, \"%s\": expected %s from 0 to %lld", at.path, at.direction,
                        at.query, expected, (long long)count - 1);
}

static bool read_right(place at, const json_t *list, int64_t answers, int64_t *right) {
    size_t count = json_array_size(list);
    if (!count) return fail_query(at, "a list of answers", answers);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        right[i] = json_is_integer(item) ? json_integer_value(item) : -1;
        if (right[i] < 0 || right[i] >= answers) return fail_query(at, "answers", answers);
        for (size_t k = 0; k < i; k++) {
            if (right[k] == right[i]) return fail_query(at, "each answer once,", answers);
        }
    }
    return true;
}

static bool make_room(ct_judged *judged, json_t *object, const char *path) {
    const char *key;
    json_t *list;
    size_t queries = json_object_size(object), right = 0;
    json_object_foreach(object, key, list) right += json_array_size(list);
    judged->query = calloc(queries + 1, sizeof *judged->query);
    judged->begin = calloc(queries + 1, sizeof *judged->begin);
    judged->right = calloc(right + 1, sizeof *judged->right);
    return (judged->query && judged->begin && judged->right) ||
           ct_fail_bool("%s: out of memory", path);
}

static bool read_direction(ct_judged *judged, json_t *root, place at, int64_t queries,
                           int64_t answers) {
    json_t *object = json_object_get(root, at.direction), *list;
    if (!object) return true;
    if (!json_is_object(object)) {
        return ct_fail_bool("%s: %s: expected {\"QUERY\": [ANSWER, ...], ...}", at.path,
                            at.direction);
    }
    if (!make_room(judged, object, at.path)) return false;
    int64_t used = 0;
    json_object_foreach(object, at.query, list) {
        int64_t query = row_number(at.query, queries);
        if (query < 0) return fail_query(at, "queries", queries);
        if (!read_right(at, list, answers, judged->right + used)) return false;
        judged->query[judged->count++] = query;
        used += (int64_t)json_array_size(list);
        judged->begin[judged->count] = used;
    }
    return true;
}

static bool members_are_known(json_t *root, const char *path) {
    static const char *const known[] = {"name", "image_to_text", "text_to_image"};
    const char *key;
    json_t *unused;
    json_object_foreach(root, key, unused) {
        bool is_known = false;
        for (int i = 0; i < 3; i++) is_known = is_known || strcmp(key, known[i]) == 0;
        if (!is_known) {
            return ct_fail_bool("%s: unknown member \"%s\"%s", path, key,
                                ct_did_you_mean(key, known, 3));
        }
    }
    return true;
}

bool ct_judgments_read(ct_judgments *j, const char *path, int64_t images, int64_t captions) {
    json_error_t error;
    *j = (ct_judgments){0};
    size_t bytes = 0;
    char *text = ct_file_read(path, &bytes);
    if (!text) return false;
    json_t *root = ct_json_read(text, bytes, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!root) return ct_fail_bool("%s:%d: %s", path, error.line, error.text);
    const char *name = json_string_value(json_object_get(root, "name"));
    bool done = name || ct_fail_bool("%s: expected {\"name\": \"...\", \"image_to_text\": {...}, "
                                     "\"text_to_image\": {...}}",
                                     path);
    if (done && !*name) done = ct_fail_bool("%s: expected a \"name\" that is not empty", path);
    if (done) j->name = strdup(name);
    done = done && members_are_known(root, path) &&
           (j->name || ct_fail_bool("%s: out of memory", path)) &&
           read_direction(&j->i2t, root, (place){path, "image_to_text", NULL}, images, captions) &&
           read_direction(&j->t2i, root, (place){path, "text_to_image", NULL}, captions, images);
    json_decref(root);
    if (done && !j->i2t.count && !j->t2i.count) {
        done = ct_fail_bool("%s: judges nothing: expected \"image_to_text\" or \"text_to_image\"",
                            path);
    }
    return done;
}

static void free_judged(ct_judged *judged) {
    free(judged->query);
    free(judged->begin);
    free(judged->right);
}

void ct_judgments_free(ct_judgments *j) {
    free_judged(&j->i2t);
    free_judged(&j->t2i);
    free(j->name);
    *j = (ct_judgments){0};
}

/* ---- scores ------------------------------------------------------------------------------ */

/* One direction of an evaluation. Answers that are the same are scored once: they tie. */
typedef struct {
    const ct_embeddings *models;
    int count;
    bool to_images;
    ct_distinct same;    /* of the answers */
    ct_tensor **answers; /* of each model: the distinct ones */
} scoring;

static ct_tensor *side(const ct_embeddings *model, bool images) {
    return images ? model->images : model->captions;
}

static bool open_scoring(scoring *s) {
    const ct_tensor **all = calloc((size_t)s->count, sizeof *all);
    s->answers = calloc((size_t)s->count, sizeof *s->answers);
    bool done = (all && s->answers) || ct_fail_bool("evaluate: out of memory");
    for (int m = 0; done && m < s->count; m++) all[m] = side(&s->models[m], s->to_images);
    done = done && ct_distinct_tensors(&s->same, all, s->count);
    for (int m = 0; done && m < s->count; m++) {
        s->answers[m] = ct_distinct_take(&s->same, side(&s->models[m], s->to_images));
        done = s->answers[m] != NULL;
    }
    free(all);
    return done;
}

/* (queries,distinct answers) f64 on the CPU: the mean over the models. */
static ct_tensor *score(const scoring *s, const int64_t *query, int64_t queries) {
    ct_tensor *mean = NULL, *which = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(queries), query);
    for (int m = 0; which && m < s->count; m++) {
        ct_tensor *all = side(&s->models[m], !s->to_images), *answers = s->answers[m];
        ct_tensor *asked = ct_tensor_index_select(all, 0, ct_tensor_to_device(which, all->device));
        ct_tensor *x = s->to_images ? ct_similarity(answers, asked, s->models[m].measure)
                                    : ct_similarity(asked, answers, s->models[m].measure);
        if (x && s->to_images) x = ct_tensor_transpose(x, 0, 1);
        x = x ? ct_tensor_to_device(ct_tensor_cast(x, CT_F64), CT_CPU) : NULL;
        if (x && ct_tensor_has_nonfinite(x)) {
            return ct_fail("evaluate: model %d gives NaN or infinite similarities", m + 1);
        }
        x = x ? ct_tensor_scale(x, 1.0 / s->count) : NULL;
        if (!x || (mean && !ct_tensor_add_to(mean, 1, x))) return NULL;
        if (!mean) mean = x;
    }
    return mean ? ct_tensor_contiguous(mean) : NULL;
}

/* ---- places ------------------------------------------------------------------------------ */

static int compare_falling(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The places (from 1) of `count` right answers, the best first, among all whose scores are
 * score[same.of[answer]]; `own` has room for their scores. */
static void find_places(const scoring *s, const double *score, const int64_t *right, int64_t count,
                        double *own, int64_t *places) {
    for (int64_t j = 0; j < count; j++) own[j] = score[s->same.of[right[j]]];
    qsort(own, (size_t)count, sizeof *own, compare_falling);
    for (int64_t j = 0; j < count; j++) {
        int64_t as_high = 0, mine = 0;
        for (int64_t d = 0; d < s->same.count; d++) {
            if (score[d] >= own[j]) as_high += s->same.begin[d + 1] - s->same.begin[d];
        }
        for (int64_t k = 0; k < count; k++) mine += own[k] >= own[j];
        places[j] = as_high - mine + j + 1; /* wrong ones first */
    }
}

static void add_query(ct_judged_recalls *sum, const int64_t *places, int64_t r) {
    double found = 0, precision = 0;
    for (int64_t j = 0; j < r && places[j] <= r; j++) {
        found++;
        precision += (double)(j + 1) / (double)places[j];
    }
    sum->map_at_r += precision / (double)r;
    sum->r_precision += found / (double)r;
    sum->r1 += places[0] <= 1;
    sum->r5 += places[0] <= 5;
    sum->r10 += places[0] <= 10;
    sum->queries++;
}

static void finish(ct_judged_recalls *sum) {
    double *const parts[] = {&sum->map_at_r, &sum->r_precision, &sum->r1, &sum->r5, &sum->r10};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i] *= 100.0 / (double)sum->queries;
    }
}

/* The most right answers of a query. */
static int64_t most_right(const ct_judged *judged) {
    int64_t most = 0;
    for (int64_t q = 0; q < judged->count; q++) {
        int64_t count = judged->begin[q + 1] - judged->begin[q];
        if (count > most) most = count;
    }
    return most;
}

/* ---- one direction ----------------------------------------------------------------------- */

static bool add_block(const scoring *s, const ct_judged *judged, int64_t first, int64_t end,
                      double *own, int64_t *places, ct_judged_recalls *sum) {
    ct_tensor *scores = score(s, judged->query + first, end - first);
    const double *row = scores ? ct_data(scores) : NULL;
    for (int64_t q = first; row && q < end; q++, row += s->same.count) {
        int64_t begin = judged->begin[q], r = judged->begin[q + 1] - begin;
        find_places(s, row, judged->right + begin, r, own, places);
        add_query(sum, places, r);
    }
    return scores != NULL;
}

static bool add_queries(const scoring *s, const ct_judged *judged, ct_judged_recalls *sum) {
    enum { BLOCK_SCORES = 1 << 22 };
    int64_t most = most_right(judged), step = BLOCK_SCORES / (s->same.count + 1) + 1;
    double *own = malloc((size_t)most * sizeof *own);
    int64_t *places = malloc((size_t)most * sizeof *places);
    bool done = (own && places) || ct_fail_bool("evaluate: out of memory");
    for (int64_t first = 0; done && first < judged->count; first += step) {
        int64_t end = first + step < judged->count ? first + step : judged->count;
        CT_SCOPE { done = add_block(s, judged, first, end, own, places, sum); }
    }
    free(own);
    free(places);
    return done;
}

static bool evaluate_direction(const ct_embeddings *models, int count, bool to_images,
                               const ct_judged *judged, ct_judged_recalls *out) {
    *out = (ct_judged_recalls){0};
    if (!judged->count) return true;
    scoring s = {.models = models, .count = count, .to_images = to_images};
    bool done = false;
    CT_SCOPE { done = open_scoring(&s) && add_queries(&s, judged, out); }
    ct_distinct_free(&s.same);
    free(s.answers);
    if (done) finish(out);
    return done;
}

bool ct_evaluate_judgments(const ct_embeddings *models, int count, const ct_judgments *j,
                           ct_judged_recalls *i2t, ct_judged_recalls *t2i) {
    ct_device device = models[0].images->device;
    ct_precision precision = ct_precision_of(device);
    bool done = ct_set_precision(device, CT_PRECISION_FP32) &&
                evaluate_direction(models, count, false, &j->i2t, i2t) &&
                evaluate_direction(models, count, true, &j->t2i, t2i);
    ct_set_precision(device, precision);
    return done;
}

static json_t *direction_json(const ct_judged_recalls *r) {
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "queries", (json_int_t)r->queries,
                     "map_at_r", r->map_at_r, "r_precision", r->r_precision, "r1", r->r1, "r5",
                     r->r5, "r10", r->r10);
}

json_t *ct_judgments_json(const ct_judgments *j, const ct_judged_recalls *i2t,
                          const ct_judged_recalls *t2i) {
    json_t *object = json_pack("{s:s}", "name", j->name);
    bool whole = object && (!i2t->queries || ct_json_set(object, "i2t", direction_json(i2t))) &&
                 (!t2i->queries || ct_json_set(object, "t2i", direction_json(t2i)));
    if (whole) return object;
    json_decref(object);
    return ct_fail("out of memory");
}
