/* SPDX-License-Identifier: Apache-2.0 */
#include "train/data/recorded.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tensors of one kind, "in." or "noise.", in a file. */
typedef struct {
    const char *path;
    ct_safetensors *file; /* NULL: there are none */
    bool numbered;        /* names begin with "step1." */
    int64_t steps;
} source;

struct ct_recorded {
    source batches, noise;
    int64_t vocabulary, classes; /* [recorded]; 0: not given */
    int64_t width;               /* of word vectors; -1: not known yet */
    int64_t replayed;            /* the step whose noise is replayed */
};

/* ---- tensors of a file ------------------------------------------------------------------- */

/* What a tensor must be: a dimension -1 may have any size, and is called by its letter. */
typedef enum { INTEGERS, REALS, NUMBERS } numbers;
typedef struct {
    const char *name;
    numbers type;
    ct_shape shape;
    const char *letters; /* "BNF" */
} wanted;

static const char *wanted_text(const wanted *w, char *text, size_t size) {
    static const char *const types[] = {
        [INTEGERS] = "i64", [REALS] = "floats", [NUMBERS] = "numbers"};
    int used = snprintf(text, size, "%s (", types[w->type]);
    for (int i = 0; i < w->shape.ndim; i++) {
        const char *comma = i ? "," : "";
        int64_t dim = w->shape.dim[i];
        char *at = text + used;
        size_t room = size - (size_t)used;
        used += dim < 0 ? snprintf(at, room, "%s%c", comma, w->letters[i])
                        : snprintf(at, room, "%s%" PRId64, comma, dim);
    }
    snprintf(text + used, size - (size_t)used, ")");
    return text;
}

static void full_name(const source *s, int64_t step, const char *name, char *out, size_t size) {
    if (s->numbered) snprintf(out, size, "step%" PRId64 ".%s", step + 1, name);
    else snprintf(out, size, "%s", name);
}

static bool has(const source *s, int64_t step, const char *name) {
    char full[160];
    full_name(s, step, name, full, sizeof full);
    return s->file && ct_safetensors_has(s->file, full);
}

static bool fits(const ct_tensor *x, const wanted *w) {
    bool type = w->type == INTEGERS ? x->dtype == CT_I64
                                    : w->type == NUMBERS || ct_dtype_is_float(x->dtype);
    bool shape = x->shape.ndim == w->shape.ndim;
    for (int i = 0; shape && i < w->shape.ndim; i++) {
        int64_t dim = w->shape.dim[i];
        shape = dim < 0 ? x->shape.dim[i] > 0 : x->shape.dim[i] == dim;
    }
    return type && shape;
}

static ct_tensor *take(const source *s, int64_t step, const wanted *w) {
    char full[160], text[160];
    full_name(s, step, w->name, full, sizeof full);
    wanted_text(w, text, sizeof text);
    if (!ct_safetensors_has(s->file, full)) {
        return ct_fail("%s: no tensor '%s', expected %s", s->path, full, text);
    }
    ct_tensor *x = ct_safetensors_get(s->file, full);
    if (!x || fits(x, w)) return x;
    return ct_fail("%s: '%s' is %s, expected %s", s->path, full, ct_tensor_text(x), text);
}

static bool in_range(const source *s, int64_t step, const char *name, const ct_tensor *x,
                     int64_t low, int64_t high) {
    const int64_t *value = x ? ct_data(x) : NULL;
    for (int64_t i = 0; value && i < ct_count(x); i++) {
        if (value[i] >= low && value[i] <= high) continue;
        char full[160];
        full_name(s, step, name, full, sizeof full);
        return ct_fail_bool("%s: '%s' holds %" PRId64 " at position %" PRId64 ", expected %" PRId64
                            " to %" PRId64,
                            s->path, full, value[i], i, low, high);
    }
    return value != NULL;
}

static bool is_finite(const source *s, int64_t step, const char *name, const ct_tensor *x) {
    if (!x || !ct_tensor_has_nonfinite(x)) return ct_ok();
    char full[160];
    full_name(s, step, name, full, sizeof full);
    return ct_fail_bool("%s: '%s' holds NaN or infinity", s->path, full);
}

/* ---- opening ----------------------------------------------------------------------------- */

/* K of "stepK.KIND...", 0 for "KIND...", -1 for another name. */
static int64_t step_of(const char *name, const char *kind) {
    int64_t step = 0;
    int used = 0;
    if (sscanf(name, "step%" SCNd64 ".%n", &step, &used) != 1 || !used || step < 1) used = 0;
    return strncmp(name + used, kind, strlen(kind)) == 0 ? (used ? step : 0) : -1;
}

/* What the file has of a kind ("in." or "noise."). */
static source find_steps(const char *path, ct_safetensors *file, const char *kind) {
    source s = {.path = path};
    for (int i = 0; i < ct_safetensors_count(file); i++) {
        int64_t step = step_of(ct_safetensors_name(file, i), kind);
        if (step < 0) continue;
        s.file = file;
        s.numbered = s.numbered || step > 0;
        s.steps = step > s.steps ? step : s.steps;
    }
    if (s.file && !s.numbered) s.steps = 1;
    return s;
}

static bool open_batches(ct_recorded *r, const char *path) {
    ct_safetensors *file = ct_safetensors_open(path);
    if (!file) return false;
    r->batches = find_steps(path, file, "in.");
    r->noise = find_steps(path, file, "noise.");
    if (r->batches.file) return true;
    r->noise.file = NULL;
    ct_safetensors_close(file);
    return ct_fail_bool("%s: no tensor 'in.images' or 'step1.in.images', expected recorded batches",
                        path);
}

static bool open_noise(ct_recorded *r, const char *path) {
    ct_safetensors *file = ct_safetensors_open(path);
    if (!file) return false;
    r->noise = find_steps(path, file, "noise.");
    if (r->noise.file) return true;
    ct_safetensors_close(file);
    return ct_fail_bool("%s: no tensor 'noise.*' or 'step1.noise.*', expected recorded noise",
                        path);
}

ct_recorded *ct_recorded_open(const ct_config *config) {
    const char *file = config->recorded_file, *noise = config->recorded_noise;
    if (!*file && !*noise) return NULL;
    ct_recorded *r = calloc(1, sizeof *r);
    if (!r) return ct_fail("recorded: out of memory");
    r->vocabulary = config->recorded_vocabulary_size;
    r->classes = config->recorded_classes;
    r->width = -1;
    if ((!*file || open_batches(r, file)) && (!*noise || open_noise(r, noise))) return r;
    ct_recorded_close(r);
    return NULL;
}

void ct_recorded_close(ct_recorded *r) {
    if (!r) return;
    if (r->noise.file && r->noise.file != r->batches.file) ct_safetensors_close(r->noise.file);
    if (r->batches.file) ct_safetensors_close(r->batches.file);
    free(r);
}

/* ---- batches ----------------------------------------------------------------------------- */

int64_t ct_recorded_batches(const ct_recorded *r) { return r ? r->batches.steps : 0; }

static bool take_captions(const ct_recorded *r, int64_t step, int64_t size, ct_batch *batch) {
    const source *s = &r->batches;
    wanted language = {"in.language", REALS, CT_SHAPE(size, -1, r->width), "BTE"};
    wanted captions = {"in.captions", INTEGERS, CT_SHAPE(size, -1), "BT"};
    if (has(s, step, language.name)) {
        batch->vectors = take(s, step, &language);
        if (!batch->vectors) return false;
    }
    if (batch->vectors && !has(s, step, captions.name)) return true;
    batch->words = take(s, step, &captions);
    return batch->words != NULL;
}

static bool take_targets(const ct_recorded *r, int64_t step, int64_t size, ct_batch *batch) {
    const source *s = &r->batches;
    wanted labels = {"in.caption_labels", INTEGERS, CT_SHAPE(size, -1), "BM"};
    if (has(s, step, labels.name) && !(batch->targets = take(s, step, &labels))) return false;
    const ct_tensor *targets = batch->targets ? batch->targets : batch->words;
    wanted masks = {"in.caption_masks", NUMBERS, CT_SHAPE(size, targets ? ct_dim(targets, 1) : -1),
                    "BM"};
    if (has(s, step, masks.name)) batch->target_mask = take(s, step, &masks);
    return ct_ok();
}

bool ct_recorded_batch(const ct_recorded *r, int64_t step, ct_batch *batch) {
    const source *s = &r->batches;
    *batch = (ct_batch){0};
    wanted images = {"in.images", REALS, CT_SHAPE(-1, -1, -1), "BNF"};
    if (!(batch->images = take(s, step, &images))) return false;
    int64_t size = ct_dim(batch->images, 0);
    wanted lengths = {"in.lengths", INTEGERS, CT_SHAPE(size), "B"};
    wanted classes = {"in.idx", INTEGERS, CT_SHAPE(size), "B"};
    if (!(batch->lengths = take(s, step, &lengths))) return false;
    if (has(s, step, classes.name) && !(batch->classes = take(s, step, &classes))) return false;
    return take_captions(r, step, size, batch) && take_targets(r, step, size, batch);
}

/* ---- sizes ------------------------------------------------------------------------------- */

/* A whole number of the file's metadata; 0: there is none. */
static int64_t metadata_number(const source *s, const char *key) {
    const char *text = ct_safetensors_metadata(s->file, key);
    int64_t number = 0;
    int used = 0;
    if (!text) return 0;
    if (sscanf(text, "%" SCNd64 "%n", &number, &used) == 1 && !text[used] && number > 0) {
        return number;
    }
    ct_fail("%s: metadata '%s' is '%s', expected a whole number from 1", s->path, key, text);
    return 0;
}

static int64_t largest(const ct_tensor *x) {
    const int64_t *value = ct_data(x);
    int64_t most = 0;
    for (int64_t i = 0; value && i < ct_count(x); i++) most = value[i] > most ? value[i] : most;
    return most;
}

bool ct_recorded_sizes(const ct_recorded *r, ct_model_sizes *sizes) {
    const source *s = &r->batches;
    int64_t classes = 1;
    for (int64_t i = 0; i < s->steps; i++) {
        CT_SCOPE {
            ct_batch batch;
            if (!ct_recorded_batch(r, i, &batch)) return false;
            int64_t most = batch.classes ? largest(batch.classes) : 0;
            if (most >= classes) classes = most < INT64_MAX ? most + 1 : most;
            if (i == 0) sizes->regions = ct_dim(batch.images, 1);
            if (i == 0) sizes->features = ct_dim(batch.images, 2);
        }
    }
    sizes->vocabulary = r->vocabulary ? r->vocabulary : metadata_number(s, "V");
    if (ct_ok() && !sizes->vocabulary) {
        return ct_fail_bool("%s: no metadata 'V', expected the vocabulary's size there or in "
                            "[recorded] vocabulary_size",
                            s->path);
    }
    int64_t given = r->classes ? r->classes : metadata_number(s, "num_classes");
    sizes->images = given ? given : classes;
    return ct_ok();
}

/* ---- checking ---------------------------------------------------------------------------- */

/* Width of the word vectors that the model reads: of its first module of captions. */
static int64_t word_width(const ct_model *model) {
    int count = 0;
    int64_t width = -1;
    ct_model_row *rows = ct_model_table(model, 1, 1, &count);
    for (int i = 0; rows && i < count && width < 0; i++) {
        if (strcmp(rows[i].part, "text") == 0) width = rows[i].output.dim[2];
    }
    free(rows);
    return width;
}

static bool check_captions(const ct_recorded *r, int64_t step, const ct_batch *batch,
                           int64_t vocabulary) {
    const source *s = &r->batches;
    const ct_tensor *words = batch->vectors ? batch->vectors : batch->words;
    return in_range(s, step, "in.lengths", batch->lengths, 1, ct_dim(words, 1)) &&
           (!batch->words || in_range(s, step, "in.captions", batch->words, 0, vocabulary - 1)) &&
           (!batch->targets ||
            in_range(s, step, "in.caption_labels", batch->targets, 0, vocabulary - 1));
}

/* What the heads of the model need of a batch. */
static bool check_heads(const ct_recorded *r, int64_t step, const ct_batch *batch,
                        ct_module *module) {
    const source *s = &r->batches;
    int64_t size = ct_dim(batch->images, 0);
    ct_tensor *classes = ct_module_tensor(module, "classifier.output.bias");
    if (classes && !batch->classes) {
        wanted w = {"in.idx", INTEGERS, CT_SHAPE(size), "B"};
        return take(s, step, &w) != NULL; /* not there: says so */
    }
    if (classes && !in_range(s, step, "in.idx", batch->classes, 0, ct_count(classes) - 1)) {
        return false;
    }
    if (ct_module_child(module, "decoder") && !batch->targets && !batch->words) {
        wanted w = {"in.caption_labels", INTEGERS, CT_SHAPE(size, -1), "BM"};
        return take(s, step, &w) != NULL;
    }
    return true;
}

bool ct_recorded_check(ct_recorded *r, ct_model *model) {
    const source *s = &r->batches;
    ct_model_sizes sizes = {0};
    if (!ct_recorded_sizes(r, &sizes)) return false;
    r->width = word_width(model);
    for (int64_t i = 0; i < s->steps; i++) {
        CT_SCOPE {
            ct_batch batch;
            wanted images = {"in.images", REALS, CT_SHAPE(-1, sizes.regions, sizes.features),
                             "BNF"};
            if (!take(s, i, &images) || !ct_recorded_batch(r, i, &batch) ||
                !is_finite(s, i, "in.images", batch.images) ||
                !is_finite(s, i, "in.language", batch.vectors) ||
                !check_captions(r, i, &batch, sizes.vocabulary) ||
                !check_heads(r, i, &batch, ct_model_module(model))) {
                return false;
            }
            if (ct_dim(batch.images, 0) < 2) {
                return ct_fail_bool("%s: batch %" PRId64 " has one pair, expected at least 2",
                                    s->path, i + 1);
            }
        }
    }
    return ct_ok();
}

/* ---- noise ------------------------------------------------------------------------------- */

static bool of_policy(const char *draw) {
    return strncmp(draw, "txt_enc.", 8) == 0 || strncmp(draw, "img_enc.", 8) == 0;
}

/* The recorded name and shape of a draw. Policies draw (B,S,H) and (B,S,H,A), of which the file has
 * (S,B*H) for the choice, (S,B*H,A) for the Gumbel noise and (S,B,H) for the rest; any other draw
 * is recorded as it is drawn. */
static wanted noise_wanted(const char *draw, ct_shape drawn, char *name, size_t size) {
    const char *dot = strrchr(draw, '.'), *what = dot ? dot + 1 : draw;
    bool choice = strcmp(what, "choice") == 0;
    snprintf(name, size, "noise.%.*s%s", (int)(what - draw), draw, choice ? "index_v" : what);
    wanted w = {name, REALS, drawn, ""};
    const int64_t *d = drawn.dim;
    if (!of_policy(draw)) return w;
    if (choice) w.shape = CT_SHAPE(d[1], d[0] * d[2]);
    else if (drawn.ndim == 4) w.shape = CT_SHAPE(d[1], d[0] * d[2], d[3]);
    else w.shape = CT_SHAPE(d[1], d[0], d[2]);
    return w;
}

/* A ct_rng_replay. */
static bool replay(void *context, const char *draw, ct_tensor *out) {
    const ct_recorded *r = context;
    const source *s = &r->noise;
    char name[128];
    wanted w = noise_wanted(draw, out->shape, name, sizeof name);
    if (!has(s, r->replayed, w.name)) {
        char full[160], text[160];
        full_name(s, r->replayed, w.name, full, sizeof full);
        return ct_fail_bool("%s: no tensor '%s', expected %s: other draws are recorded, and this "
                            "one is made too",
                            s->path, full, wanted_text(&w, text, sizeof text));
    }
    ct_tensor *noise = take(s, r->replayed, &w);
    if (noise && of_policy(draw)) {
        ct_shape by_step = out->shape;
        by_step.dim[0] = out->shape.dim[1];
        by_step.dim[1] = out->shape.dim[0];
        noise = ct_tensor_transpose(ct_tensor_reshape(noise, by_step), 0, 1);
    }
    return noise && ct_tensor_copy_to(out, noise);
}

int64_t ct_recorded_noise_steps(const ct_recorded *r) { return r ? r->noise.steps : 0; }

bool ct_recorded_replay(ct_recorded *r, int64_t step, ct_rng *rng) {
    if (!r || !r->noise.file) return true;
    if (step >= r->noise.steps) {
        return ct_fail_bool("%s: noise is recorded for %" PRId64
                            " steps, and there is a step %" PRId64
                            " to train: stop before it with --steps",
                            r->noise.path, r->noise.steps, step + 1);
    }
    r->replayed = step;
    rng->replay = replay;
    rng->replay_context = r;
    return true;
}
