/* SPDX-License-Identifier: Apache-2.0 */
/* The file of an index: writing and reading it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "tensor/io/text_stream.h"
#include "train/data/text.h"
#include "train/run/weight_file.h"
#include "train/search/index_parts.h"

#define VERSION "cotangent.index"
#define MODEL "cotangent.model"
#define MEASURE "cotangent.measure"
#define SPLITS "cotangent.splits"
#define IMAGES "cotangent.images"

static const char *const row_names[] = {"images", "captions"};
enum { CAPTION_LINES, PICTURE_LINES };
static const char *const line_names[] = {"caption_text", "picture_text"};

static const char *measure_name(ct_measure measure) {
    return measure == CT_ORDER ? "order" : "cosine";
}

/* What else an embedding depends on and the graph does not say: how captions are cut, and how batch
 * norm evaluates. */
static bool hash_settings(const ct_experiment *e, uint64_t *hash) {
    const ct_config *c = e->config;
    bool of_batch;
    if (!ct_compat_released(&c->model, "image_batchnorm_eval", &of_batch)) return false;
    int64_t numbers[] = {c->max_words, c->pad_words, of_batch ? c->evaluate_batch : 0};
    *hash = ct_hash_words(*hash, numbers, sizeof numbers);
    return true;
}

bool ct_index_fingerprint(const ct_experiment *e, char text[24]) {
    ct_weight_notes notes;
    uint64_t hash = 0;
    bool done = ct_weight_notes_make(e, &notes);
    if (done) {
        hash = ct_hash_words(hash, notes.graph, strlen(notes.graph));
        hash = ct_hash_words(hash, notes.vocabulary, strlen(notes.vocabulary));
        done = hash_settings(e, &hash) && ct_weights_hash(ct_model_module(e->model), &hash);
    }
    ct_weight_notes_free(&notes);
    snprintf(text, 24, "%016" PRIx64, hash);
    return done;
}

bool ct_index_images_hash(const ct_split *split, int64_t count, char text[24]) {
    uint64_t hash;
    bool done = ct_images_fingerprint(split->images, count, &hash);
    snprintf(text, 24, "%016" PRIx64, hash);
    return done;
}

/* ---- writing ----------------------------------------------------------------------------- */

enum { TENSORS_A_SPLIT = 5 };

typedef struct {
    ct_named_tensor *tensors;
    int count;
    int split; /* whose they are */
} listed;

static bool add_tensor(listed *list, const char *name, const ct_tensor *x) {
    char *full = NULL;
    if (!x) return false;
    if (asprintf(&full, "%d.%s", list->split, name) < 0) return ct_fail_bool("out of memory");
    list->tensors[list->count++] = (ct_named_tensor){full, x};
    return true;
}

/* Lines as bytes; in the innermost scope. */
static ct_tensor *lines_tensor(char *const *lines, int64_t count, const char *path) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < count; i++) {
        if (strchr(lines[i], '\n')) return ct_fail("%s: a line break in '%s'", path, lines[i]);
        bytes += (int64_t)strlen(lines[i]) + 1;
    }
    ct_tensor *x = ct_empty(CT_U8, CT_CPU, CT_SHAPE(bytes));
    char *at = x ? ct_data(x) : NULL;
    for (int64_t i = 0; at && i < count; i++) {
        size_t length = strlen(lines[i]);
        memcpy(at, lines[i], length);
        at += length;
        *at++ = '\n';
    }
    return x;
}

static bool list_split(listed *list, const ct_index_split *s, const char *path) {
    for (int side = 0; side < 2; side++) {
        if (s->rows[side] && !add_tensor(list, row_names[side], s->rows[side])) return false;
    }
    if (s->caption) {
        ct_tensor *image_of = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(s->captions), s->image_of);
        ct_tensor *text = lines_tensor(s->caption, s->captions, path);
        if (!add_tensor(list, "image_of", image_of) ||
            !add_tensor(list, line_names[CAPTION_LINES], text)) {
            return false;
        }
    }
    return !s->picture ||
           add_tensor(list, line_names[PICTURE_LINES], lines_tensor(s->picture, s->images, path));
}

static bool name_split(const ct_index_split *s, const char *path, FILE *out) {
    fputs(s->name, out);
    return !strchr(s->name, '\n') || ct_fail_bool("%s: a line break in a name", path);
}

static bool name_images(const ct_index_split *s, const char *path, FILE *out) {
    (void)path;
    char hash[24];
    bool done = ct_index_images_hash(s->split, s->images, hash);
    fputs(hash, out);
    return done;
}

/* What `name` says of the splits, a line each; from malloc. */
static char *join_lines(const ct_index *index, const char *path,
                        bool (*name)(const ct_index_split *s, const char *path, FILE *out)) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    if (!out) return ct_fail("%s: out of memory", path);
    for (int i = 0; i < index->count; i++) {
        if (i) fputc('\n', out);
        if (!name(&index->splits[i], path, out)) break;
    }
    char *text = ct_text_stream_close(&stream, out);
    if (!text) ct_fail("%s: out of memory", path);
    if (ct_ok()) return text;
    free(text);
    return NULL;
}

static bool write_listed(const ct_index *index, const listed *list, const char *path) {
    char *names = join_lines(index, path, name_split);
    char *images = names ? join_lines(index, path, name_images) : NULL;
    const char *metadata[] = {VERSION, "1",
                              MODEL,   index->fingerprint,
                              MEASURE, measure_name(index->measure),
                              SPLITS,  names,
                              IMAGES,  images,
                              NULL};
    bool written = images && ct_safetensors_save(path, list->tensors, list->count, metadata);
    free(names);
    free(images);
    return written;
}

bool ct_index_write(const ct_index *index, const char *path) {
    size_t most = (size_t)index->count * TENSORS_A_SPLIT + 1;
    listed list = {.tensors = calloc(most, sizeof *list.tensors)};
    if (!list.tensors) return ct_fail_bool("%s: out of memory", path);
    bool written = true;
    CT_SCOPE {
        for (int i = 0; i < index->count && written; i++) {
            list.split = i;
            written = list_split(&list, &index->splits[i], path);
        }
        written = written && write_listed(index, &list, path);
    }
    for (int i = 0; i < list.count; i++) free((char *)list.tensors[i].name);
    free(list.tensors);
    return written && ct_ok();
}

/* ---- reading ----------------------------------------------------------------------------- */

typedef struct {
    const char *path;
    ct_safetensors *file;
    int split;
    int64_t width; /* of every row */
} reading;

/* A tensor of the split, of this dtype and so many dimensions; NULL without an error if it is not
 * there. In the innermost scope. */
static ct_tensor *take(const reading *r, const char *name, ct_dtype dtype, int ndim) {
    char full[64];
    snprintf(full, sizeof full, "%d.%s", r->split, name);
    if (!ct_safetensors_has(r->file, full)) return NULL;
    ct_tensor *x = ct_safetensors_get(r->file, full);
    if (!x || (x->dtype == dtype && ct_ndim(x) == ndim)) return x;
    return ct_fail("%s: '%s' is %s, expected %s in %d dimensions", r->path, full, ct_tensor_text(x),
                   ct_dtype_name(dtype), ndim);
}

static bool wrong(const reading *r, const char *what) {
    return ct_ok() ? ct_fail_bool("%s: split %d: %s", r->path, r->split, what) : false;
}

static bool take_rows(reading *r, ct_index_split *s) {
    for (int side = 0; side < 2; side++) {
        ct_tensor *x = take(r, row_names[side], CT_F16, 2);
        if (!x) continue;
        if (ct_dim(x, 1) != r->width) {
            return ct_fail_bool("%s: rows of %lld numbers, expected the model's %lld", r->path,
                                (long long)ct_dim(x, 1), (long long)r->width);
        }
        s->rows[side] = ct_keep(x);
    }
    if (!s->rows[CT_INDEX_IMAGES]) return wrong(r, "no images");
    s->images = ct_dim(s->rows[CT_INDEX_IMAGES], 0);
    return ct_ok();
}

/* Exactly `count` lines. Copied: a line gets its end. */
static char *const *take_lines(const reading *r, ct_index_split *s, int which, int64_t count) {
    ct_tensor *x = take(r, line_names[which], CT_U8, 1);
    if (!x) return NULL;
    size_t bytes = (size_t)ct_count(x);
    char *text = s->text[which] = malloc(bytes + 1);
    if (!text) return ct_fail("%s: out of memory", r->path);
    memcpy(text, ct_data(x), bytes);
    text[bytes] = '\0';
    int64_t lines = 0;
    if (strlen(text) != bytes || (which == CAPTION_LINES && u8_check((uint8_t *)text, bytes))) {
        wrong(r, "its captions or paths are no text");
        return NULL;
    }
    s->lines[which] = ct_text_lines(text, bytes, &lines);
    if (s->lines[which] && lines == count) return s->lines[which];
    wrong(r, "captions or paths are not as many as it has");
    return NULL;
}

static bool take_captions(const reading *r, ct_index_split *s) {
    ct_tensor *image_of = take(r, "image_of", CT_I64, 1), *rows = s->rows[CT_INDEX_CAPTIONS];
    if (!image_of) return ct_ok() && (!rows || wrong(r, "captions without their images"));
    s->captions = ct_dim(image_of, 0);
    s->image_of = ct_data(image_of); /* the file's, or a copy that the index keeps */
    if (rows && ct_dim(rows, 0) != s->captions) return wrong(r, "captions without their images");
    for (int64_t c = 0; c < s->captions; c++) {
        if (s->image_of[c] < 0 || s->image_of[c] >= s->images) {
            return wrong(r, "a caption of an image that it has not");
        }
    }
    s->kept = ct_keep(image_of);
    s->caption = take_lines(r, s, CAPTION_LINES, s->captions);
    return s->caption || wrong(r, "no captions");
}

static bool take_split(reading *r, ct_index_split *s, const char *name, size_t length) {
    bool done = false;
    *s = (ct_index_split){.name = strndup(name, length)};
    if (!s->name) return ct_fail_bool("%s: out of memory", r->path);
    CT_SCOPE {
        done = take_rows(r, s) && take_captions(r, s);
        if (done) s->picture = take_lines(r, s, PICTURE_LINES, s->images);
    }
    return done && ct_ok() && ct_index_number_captions(s);
}

static bool check_model(const ct_index *index, const reading *r) {
    const char *version = ct_safetensors_metadata(r->file, VERSION);
    const char *model = ct_safetensors_metadata(r->file, MODEL);
    const char *measure = ct_safetensors_metadata(r->file, MEASURE);
    if (!version || !model || !measure) {
        return ct_fail_bool("%s: no index: expected a file that --index wrote", r->path);
    }
    if (strcmp(version, "1") != 0) {
        return ct_fail_bool("%s: an index of version '%.16s', expected 1", r->path, version);
    }
    return (strcmp(model, index->fingerprint) == 0 &&
            strcmp(measure, measure_name(index->measure)) == 0) ||
           ct_fail_bool("%s: an index of another model (%.16s) than this one (%s): write this "
                        "one's with --index",
                        r->path, model, index->fingerprint);
}

static int count_lines(const char *text) {
    int lines = 1;
    for (; *text; text++) lines += *text == '\n';
    return lines;
}

/* Of as many splits as there are lines; what is no hash fits no images. */
static void take_hashes(ct_index *index, const char *lines) {
    for (int i = 0; lines && i < index->count; i++) {
        size_t length = strcspn(lines, "\n");
        ct_index_split *s = &index->splits[i];
        if (length < sizeof s->images_hash) memcpy(s->images_hash, lines, length);
        lines = lines[length] ? lines + length + 1 : NULL;
    }
}

ct_index *ct_index_open(const ct_experiment *e, const char *path) {
    ct_index_model model;
    return ct_index_model_of(e, &model) ? ct_index_read(&model, path) : NULL;
}

ct_index *ct_index_read(const ct_index_model *model, const char *path) {
    reading r = {.path = path, .file = ct_safetensors_open(path), .width = model->width};
    const char *names = r.file ? ct_safetensors_metadata(r.file, SPLITS) : NULL;
    ct_index *index = r.file ? ct_index_create(model, names ? count_lines(names) : 0) : NULL;
    if (!index) {
        ct_safetensors_close(r.file);
        return NULL;
    }
    index->file = r.file;
    index->path = strdup(path);
    bool done = (index->path || ct_fail_bool("%s: out of memory", path)) && check_model(index, &r);
    if (done && !names) done = ct_fail_bool("%s: an index without splits", path);
    for (; done && names; r.split++) {
        size_t length = strcspn(names, "\n");
        done = take_split(&r, &index->splits[index->count++], names, length);
        names = names[length] ? names + length + 1 : NULL;
    }
    if (done) take_hashes(index, ct_safetensors_metadata(r.file, IMAGES));
    if (done) return index;
    ct_index_close(index);
    return NULL;
}
