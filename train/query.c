/* SPDX-License-Identifier: Apache-2.0 */
/* --index, and what searches it or splits: --query, --queries, --query-image, --interactive. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/excuse.h"
#include "tensor/io/json.h"
#include "tensor/io/text_stream.h"
#include "train/commands.h"
#include "train/data/text.h"
#include "train/run/console.h"
#include "train/search/answers.h"
#include "train/search/dialogue.h"

/* What is asked, and what the models do not know of it. */
typedef struct {
    const char *text; /* a sentence, or a picture's path */
    char *note;       /* lines that say it; NULL: nothing */
    json_t *unknown;  /* words */
} question;

typedef struct {
    const ct_query *options;
    ct_searched_splits splits; /* where there is no index */
    char *text, **lines;       /* of the file of sentences */
    int64_t all;               /* questions, of which at work are */
    question *questions;       /* `count` at most from */
    int64_t first, count;
    ct_searched *models;
    int model_count;
} asking;

/* ---- what is asked ----------------------------------------------------------------------- */

static bool read_lines(asking *a, const char *path) {
    size_t bytes = 0;
    a->text = ct_text_read(path, &bytes);
    a->lines = a->text ? ct_text_lines(a->text, bytes, &a->all) : NULL;
    if (a->lines && !a->all) ct_fail("%s: empty, expected a sentence a line", path);
    for (int64_t i = 0; a->lines && i < a->all && ct_ok(); i++) {
        if (!*a->lines[i]) ct_fail("%s:%lld: empty, expected a sentence", path, (long long)i + 1);
    }
    return ct_ok();
}

/* Of one model so many at a time, whatever the file has. Several models are asked one after
 * another, and what each makes of all questions is kept until the last has been. */
static bool take_questions(asking *a) {
    enum { AT_ONCE = 256 };
    const ct_query *o = a->options;
    if (o->file && !read_lines(a, o->file)) return false;
    if (!o->file) a->all = 1;
    a->count = a->model_count == 1 && a->all > AT_ONCE ? AT_ONCE : a->all;
    a->questions = calloc((size_t)a->count, sizeof *a->questions);
    return a->questions || ct_fail_bool("out of memory");
}

static void forget_notes(asking *a) {
    for (int64_t i = 0; a->questions && i < a->count; i++) {
        free(a->questions[i].note);
        json_decref(a->questions[i].unknown);
        a->questions[i] = (question){0};
    }
}

/* The ones from `first`. */
static void begin_questions(asking *a, int64_t first) {
    const ct_query *o = a->options;
    forget_notes(a);
    a->first = first;
    if (a->all - first < a->count) a->count = a->all - first;
    for (int64_t i = 0; i < a->count; i++) {
        question *q = &a->questions[i];
        q->text = o->file ? a->lines[first + i] : o->picture ? o->picture : o->sentence;
        q->unknown = json_array();
    }
}

static void forget(asking *a) {
    forget_notes(a);
    for (int m = 0; a->models && m < a->model_count; m++) {
        ct_index_close(a->models[m].index);
        ct_release(a->models[m].questions);
    }
    free(a->models);
    free(a->questions);
    free(a->lines);
    free(a->text);
    ct_searched_splits_free(&a->splits);
}

/* ---- what a model makes of it ------------------------------------------------------------ */

static bool add_note(question *q, const asking *a, const ct_experiment *e, char *const *unknown,
                     bool all) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    if (!out) return ct_fail_bool("out of memory");
    if (q->note) fprintf(out, "%s\n", q->note);
    if (a->model_count > 1) fprintf(out, "%s: ", e->config->run_folder);
    fprintf(out, "%s: ", all ? "none of these words is known" : "unknown");
    for (int i = 0; unknown[i]; i++) fprintf(out, "%s'%s'", i ? ", " : "", unknown[i]);
    if (all) fprintf(out, "; the order below means nothing");
    char *note = ct_text_stream_close(&stream, out);
    if (!note) return ct_fail_bool("out of memory");
    free(q->note);
    q->note = note;
    return true;
}

static bool is_listed(const json_t *list, const char *word) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(json_string_value(json_array_get(list, i)), word) == 0) return true;
    }
    return false;
}

/* What a model cannot know of a sentence. */
static bool note_unknown(question *q, const asking *a, const ct_experiment *e) {
    int count = 0, words = 0;
    char **unknown = ct_encoder_unknown(e->encoder, q->text, &count, &words);
    if (!unknown) return false;
    for (int i = 0; i < count; i++) {
        if (!is_listed(q->unknown, unknown[i])) {
            ct_json_append(q->unknown, json_string(unknown[i]));
        }
    }
    bool done = ct_ok() && (!count || add_note(q, a, e, unknown, count == words));
    ct_tokens_free(unknown);
    return done;
}

/* (1,D). Each alone: in a batch with others last bits would be others. */
static ct_tensor *embed_question(question *q, const asking *a, const ct_experiment *e) {
    if (a->options->picture) return ct_embed_picture(e, q->text);
    ct_tensor *y = ct_embed_sentences(e, &q->text, 1);
    return y && note_unknown(q, a, e) ? y : NULL;
}

/* An error of one of a file's sentences says which. */
static bool fail_line(const asking *a, int64_t line) {
    return a->options->file &&
           ct_error_prefix("%s:%lld: ", a->options->file, (long long)(a->first + line) + 1);
}

/* Where the index's rows are. */
static bool embed_questions(asking *a, ct_searched *model, const ct_experiment *e) {
    ct_device device = model->index->splits[0].rows[CT_INDEX_IMAGES]->device;
    CT_SCOPE {
        ct_tensor *all = ct_empty(CT_F32, device, CT_SHAPE(a->count, ct_model_width(e->model)));
        if (!all) return false;
        for (int64_t i = 0; i < a->count; i++) {
            CT_SCOPE {
                ct_tensor *y = embed_question(&a->questions[i], a, e);
                if (!y) return fail_line(a, i);
                y = ct_tensor_to_device(y, device);
                if (!y || !ct_tensor_copy_to(ct_tensor_slice(all, 0, i, i + 1, 1), y)) return false;
            }
        }
        ct_release(model->questions);
        model->questions = ct_keep(all);
    }
    return true;
}

/* ---- answers ----------------------------------------------------------------------------- */

static void print_side(const asking *a, ct_index_side side, const ct_answer *answers,
                       int64_t count) {
    if (!count) return;
    if (a->options->picture) {
        ct_console_line(side == CT_INDEX_IMAGES ? "images like it" : "captions that fit it");
    }
    ct_answers_print(a->models[a->model_count - 1].index, side, answers, count);
}

/* of[side]: found[side] answers a question. */
static void print_table(const asking *a, ct_answer *const of[2], const int64_t found[2]) {
    for (int64_t i = 0; i < a->count; i++) {
        const char *between = a->first + i ? "\n" : "";
        if (a->options->file) ct_console_line("%s%s", between, a->questions[i].text);
        if (a->questions[i].note) ct_console_line("%s", a->questions[i].note);
        for (int side = CT_INDEX_CAPTIONS; side >= CT_INDEX_IMAGES; side--) {
            print_side(a, (ct_index_side)side, of[side] + i * found[side], found[side]);
        }
    }
}

static bool print_json(const asking *a, ct_answer *const of[2], const int64_t found[2]) {
    const ct_index *index = a->models[a->model_count - 1].index;
    for (int64_t i = 0; i < a->count && ct_ok(); i++) {
        const question *q = &a->questions[i];
        json_t *object = json_object();
        ct_json_set(object, a->options->picture ? "query_image" : "query", ct_text_json(q->text));
        if (!a->options->picture) ct_json_set(object, "unknown", json_incref(q->unknown));
        static const char *const names[] = {"images", "captions"};
        for (int side = CT_INDEX_IMAGES; side <= CT_INDEX_CAPTIONS; side++) {
            if (side == CT_INDEX_CAPTIONS && !a->options->picture) continue;
            json_t *list = ct_answers_json(index, (ct_index_side)side, of[side] + i * found[side],
                                           found[side]);
            ct_json_set(object, names[side], list);
        }
        ct_console_json(object);
    }
    return ct_ok();
}

/* Images, and of a picture captions too. */
static bool answer(const asking *a) {
    ct_answer *of[2] = {NULL, NULL};
    int64_t found[2] = {0, 0};
    bool done = true;
    for (int side = CT_INDEX_IMAGES; side <= CT_INDEX_CAPTIONS && done; side++) {
        if (side == CT_INDEX_CAPTIONS && !a->options->picture) continue;
        of[side] = ct_search(a->models, a->model_count, (ct_index_side)side, a->options->top,
                             &found[side]);
        done = of[side] != NULL;
    }
    if (done && a->options->json) done = print_json(a, of, found);
    else if (done) print_table(a, of, found);
    free(of[0]);
    free(of[1]);
    return done;
}

/* ---- sentences that are typed ------------------------------------------------------------ */

/* A sentence that cannot be read is said, and the next one is awaited. */
static void converse(asking *a, const ct_experiment *e) {
    char *line;
    while ((line = ct_dialogue_line("sentence> "))) {
        begin_questions(a, 0);
        a->questions[0].text = line;
        if (*line && (!embed_questions(a, &a->models[0], e) || !answer(a))) {
            fprintf(stderr, "train: %s\n", ct_console_error(ct_error()));
            ct_error_clear();
        }
        free(line);
    }
}

/* ---- the commands ------------------------------------------------------------------------ */

typedef struct {
    ct_searched_splits splits;
    const char *path;
} indexing;

static bool ask(void *context, int number, const ct_experiment *e) {
    asking *a = context;
    const ct_query *o = a->options;
    ct_searched *model = &a->models[number];
    model->index = o->index ? ct_index_open(e, o->index) : ct_index_make(e, &a->splits, o->picture);
    if (!model->index) return false;
    for (int m = 0; m < number; m++) ct_index_keep(a->models[m].index, &a->splits);
    if (o->interactive) {
        converse(a, e);
        return true;
    }
    if (!number) begin_questions(a, 0);
    bool last = number + 1 == a->model_count;
    bool done = embed_questions(a, model, e) && (!last || answer(a));
    while (done && last && a->first + a->count < a->all) {
        begin_questions(a, a->first + a->count);
        done = embed_questions(a, model, e) && answer(a);
    }
    return done;
}

static bool write_index(void *context, int model, const ct_experiment *e) {
    (void)model;
    indexing *to = context;
    ct_index *index = ct_index_make(e, &to->splits, true);
    bool written = index && ct_index_write(index, to->path);
    for (int i = 0; written && i < index->count; i++) {
        const ct_index_split *s = &index->splits[i];
        ct_console_line("%s: %s, %lld images, %lld captions", to->path, s->name,
                        (long long)s->images, (long long)s->captions);
    }
    ct_index_close(index);
    return written;
}

/* The first that is searched: what is left out is taken out. */
static const char *const *first_split(const ct_searched_splits *splits) {
    return (const char *const *)splits->names;
}

bool ct_index_command(ct_config *config, const char *const *splits, int count, const char *path,
                      ct_weights weights) {
    indexing to = {.path = path};
    bool done = ct_searched_splits_find(&to.splits, config, splits, count) &&
                ct_one_trained(config, weights, "--index",
                               (ct_trained){first_split(&to.splits), write_index, &to});
    ct_searched_splits_free(&to.splits);
    return done;
}

bool ct_query_command(ct_config *config, const ct_query *options, ct_weights weights) {
    asking a = {.options = options, .model_count = ct_weights_models(weights)};
    const char *one = options->interactive ? "--interactive" : options->index ? "--in" : NULL;
    if (options->json) ct_console_lines_aside();
    a.models = calloc((size_t)a.model_count, sizeof *a.models);
    bool done = (a.models || ct_fail_bool("out of memory")) && take_questions(&a) &&
                (options->index ||
                 ct_searched_splits_find(&a.splits, config, options->splits, options->split_count));
    ct_trained trained = {first_split(&a.splits), ask, &a};
    done = done && (one ? ct_one_trained(config, weights, one, trained)
                        : ct_each_trained(config, weights, trained));
    forget(&a);
    return done;
}
