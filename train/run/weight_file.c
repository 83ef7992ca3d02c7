/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/weight_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/word_table.h"
#include "train/run/console.h"

#define VOCABULARY "cotangent.vocabulary"
#define GRAPH "cotangent.graph"
#define DATA "cotangent.data"

/* ---- what is said ------------------------------------------------------------------------ */

static void name_vocabulary(const ct_vocabulary *vocabulary, char *text, size_t size) {
    uint64_t hash = CT_HASH_START;
    int64_t words = ct_vocabulary_size(vocabulary);
    for (int64_t i = 0; i < words; i++) {
        const char *word = ct_vocabulary_word(vocabulary, i);
        hash = ct_hash(hash, word, strlen(word) + 1);
    }
    snprintf(text, size, "%" PRId64 " words, %016" PRIx64, words, hash);
}

bool ct_weight_notes_make(const ct_experiment *e, ct_weight_notes *notes) {
    *notes = (ct_weight_notes){.graph = ct_model_text(e->model)};
    if (!notes->graph) return false;
    snprintf(notes->data, sizeof notes->data,
             "regions %" PRId64 " features %" PRId64 " images %" PRId64, e->sizes.regions,
             e->sizes.features, e->sizes.images);
    int n = 0;
    const char **list = notes->list;
    list[n++] = GRAPH;
    list[n++] = notes->graph;
    list[n++] = DATA;
    list[n++] = notes->data;
    if (!e->vocabulary) return true; /* recorded batches */
    name_vocabulary(e->vocabulary, notes->vocabulary, sizeof notes->vocabulary);
    list[n++] = VOCABULARY;
    list[n++] = notes->vocabulary;
    return true;
}

void ct_weight_notes_free(ct_weight_notes *notes) {
    free(notes->graph);
    *notes = (ct_weight_notes){0};
}

/* ---- what tells them from others --------------------------------------------------------- */

static bool hash_tensor(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)buffer;
    uint64_t *hash = context;
    CT_SCOPE {
        ct_tensor *x = ct_tensor_contiguous(ct_tensor_to_device(tensor, CT_CPU));
        if (!x) return false;
        *hash = ct_hash_words(*hash, name, strlen(name));
        *hash = ct_hash_words(*hash, ct_data(x), (size_t)ct_count(x) * ct_dtype_size(x->dtype));
    }
    return true;
}

bool ct_weights_hash(ct_module *module, uint64_t *hash) {
    return ct_module_visit(module, hash_tensor, hash);
}

/* ---- whose they are ---------------------------------------------------------------------- */

static bool other_vocabulary(const ct_experiment *e, const char *path, const char *theirs,
                             const char *ours, ct_weights_purpose purpose) {
    const char *way_out =
        purpose != CT_WEIGHTS_TO_USE
            ? "train with theirs, [data] vocabulary = FOLDER/vocabulary.json of their run"
            : "give the folder of their run instead (--weights FOLDER), where theirs is";
    return ct_fail_bool("%s: these weights are of another vocabulary (%s) than %s (%s): %s", path,
                        theirs, e->vocabulary_name, ours, way_out);
}

static bool check_vocabulary(const ct_experiment *e, ct_safetensors *file, const char *path,
                             ct_weights_purpose purpose) {
    const char *theirs = ct_safetensors_metadata(file, VOCABULARY);
    char ours[64];
    if (!e->vocabulary || !theirs) return true;
    name_vocabulary(e->vocabulary, ours, sizeof ours);
    return strcmp(theirs, ours) == 0 || other_vocabulary(e, path, theirs, ours, purpose);
}

static void say_unknown(const ct_experiment *e, ct_safetensors *file, const char *path) {
    if (!e->vocabulary || ct_safetensors_metadata(file, VOCABULARY)) return;
    ct_console_line("%s: does not say which vocabulary it is of: taken to be of %s", path,
                    e->vocabulary_name);
}

/* The first line in which two texts differ, of each; false if they are equal. */
static bool first_difference(const char **a, const char **b) {
    while (**a || **b) {
        size_t in_a = strcspn(*a, "\n"), in_b = strcspn(*b, "\n");
        if (in_a != in_b || memcmp(*a, *b, in_a) != 0) return true;
        *a += in_a + (*a)[in_a] / '\n';
        *b += in_b + (*b)[in_b] / '\n';
    }
    return false;
}

static void write_line(char *out, size_t size, const char *line) {
    if (*line) snprintf(out, size, "'%.*s'", (int)strcspn(line, "\n"), line);
    else snprintf(out, size, "nothing more");
}

static void other_graph(const char *path, const char *theirs, const char *ours,
                        ct_weights_purpose purpose) {
    if (purpose == CT_WEIGHTS_FOR_OTHER_GRAPH) {
        ct_console_line("%s: was trained as %s, now %s", path, theirs, ours);
        return;
    }
    const char *way_out =
        purpose == CT_WEIGHTS_TO_TRAIN
            ? "give the graph as it was, or say with --other-graph that it is meant"
            : "give the folder of their run instead (--weights FOLDER), or the graph as it was";
    ct_fail("%s: these weights were trained in another graph, as %s, here %s: %s", path, theirs,
            ours, way_out);
}

static bool check_graph(const ct_experiment *e, ct_safetensors *file, const char *path,
                        ct_weights_purpose purpose) {
    const char *theirs = ct_safetensors_metadata(file, GRAPH);
    if (!theirs) return true;
    char *text = ct_model_text(e->model), line[2][256];
    const char *ours = text;
    bool same = text && !first_difference(&theirs, &ours);
    if (text && !same) {
        write_line(line[0], sizeof line[0], theirs);
        write_line(line[1], sizeof line[1], ours);
        other_graph(path, line[0], line[1], purpose);
    }
    free(text);
    return ct_ok();
}

/* ---- sizes ------------------------------------------------------------------------------- */

/* "text.embed.vectors" under our names, or those of a training state. */
static ct_tensor *text_tensor(ct_safetensors *file, const ct_description *model, const char *what) {
    const char *first = NULL;
    for (int i = 0; !first && i < model->count; i++) {
        if (strcmp(model->entries[i].section, "text") == 0) first = model->entries[i].key;
    }
    char name[256];
    snprintf(name, sizeof name, "model.text.%s.%s", first ? first : "", what);
    const char *found = name + strlen("model.");
    if (!ct_safetensors_has(file, found)) found = name;
    return ct_safetensors_has(file, found) ? ct_safetensors_get(file, found) : NULL;
}

/* Of word vectors that a model keeps: they are in its weights, and need no other file. */
static bool take_word_vectors(ct_experiment *e, ct_safetensors *file, const char *path) {
    ct_tensor *vectors = text_tensor(file, &e->config->model, "vectors");
    ct_tensor *unknown = text_tensor(file, &e->config->model, "is_unknown");
    if (!vectors || !unknown) return ct_ok();
    int64_t words = ct_dim(vectors, 0);
    if (ct_ndim(vectors) != 2 || !ct_shape_equal(unknown->shape, CT_SHAPE(words, 1))) {
        return ct_fail_bool("%s: word vectors %s and flags %s do not go together", path,
                            ct_tensor_text(vectors), ct_tensor_text(unknown));
    }
    e->word_known = malloc((size_t)words + 1);
    if (!e->word_known) return ct_fail_bool("%s: out of memory", path);
    for (int64_t i = 0; i < words; i++) e->word_known[i] = ct_get(unknown, i) == 0;
    e->word_vectors = ct_keep(ct_tensor_cast(vectors, CT_F32));
    e->sizes.word_vectors = e->word_vectors;
    e->sizes.word_known = e->word_known;
    return e->word_vectors != NULL;
}

/* Outputs of the classifier, where the file does not say how many images it was made for; the
 * encoders need no such number. */
static int64_t images_of(const ct_experiment *e, ct_safetensors *file) {
    static const char *const names[] = {"classifier.output.weight",
                                        "model.classifier.output.weight", "classifier2.weight"};
    bool from_one = false;
    ct_compat_released(&e->config->model, "classes", &from_one);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!ct_safetensors_has(file, names[i])) continue;
        int64_t classes = ct_dim(ct_safetensors_get(file, names[i]), 0) - from_one;
        return classes > 0 ? classes : 1;
    }
    return 1;
}

static bool take_sizes(ct_experiment *e, ct_safetensors *file, const char *path) {
    const char *data = ct_safetensors_metadata(file, DATA);
    int64_t regions, features, images;
    if (!data) {
        e->sizes.images = images_of(e, file);
        return take_word_vectors(e, file, path);
    }
    if (sscanf(data, "regions %" SCNd64 " features %" SCNd64 " images %" SCNd64, &regions,
               &features, &images) != 3 ||
        regions < 1 || features < 1 || images < 1) {
        return ct_fail_bool("%s: its metadata " DATA " are '%.80s', expected regions, features and "
                            "images",
                            path, data);
    }
    e->sizes.regions = regions;
    e->sizes.features = features;
    e->sizes.images = images;
    return take_word_vectors(e, file, path);
}

bool ct_weight_file_sizes(ct_experiment *e, const char *path) {
    bool taken = false;
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        taken =
            file && check_vocabulary(e, file, path, CT_WEIGHTS_TO_USE) && take_sizes(e, file, path);
        ct_safetensors_close(file);
    }
    return taken;
}

/* ---- loading and saving ------------------------------------------------------------------ */

/* A file's names say whose they are: the released code's begin with its encoders. */
static bool are_released(ct_safetensors *file) {
    static const char *const beginnings[] = {"img_enc.", "txt_enc.", "param.img_enc.",
                                             "param.txt_enc."};
    static const char wrapper[] = "module.";
    for (int i = 0; i < ct_safetensors_count(file); i++) {
        const char *name = ct_safetensors_name(file, i);
        if (strncmp(name, wrapper, strlen(wrapper)) == 0) name += strlen(wrapper);
        for (int k = 0; k < 4; k++) {
            if (strncmp(name, beginnings[k], strlen(beginnings[k])) == 0) return true;
        }
    }
    return false;
}

static bool load(const ct_experiment *e, const char *path, bool released) {
    /* a training state has them beside those of the optimiser */
    static const char *const of_state[] = {"model.", NULL};
    ct_state_form form = {.prefixes = of_state};
    if (released) form = ct_released_form(e->model);
    char *missing;
    if (!ct_module_load_as(ct_model_module(e->model), path, &form, &missing)) return false;
    if (missing) ct_console_line("%s: has no %s: left as at the start", path, missing);
    free(missing);
    return true;
}

bool ct_experiment_load(const ct_experiment *e, const char *path, ct_weights_purpose purpose) {
    ct_safetensors *file = ct_safetensors_open(path);
    bool good = file && check_vocabulary(e, file, path, purpose) &&
                load(e, path, are_released(file)) && check_graph(e, file, path, purpose);
    if (good) say_unknown(e, file, path);
    ct_safetensors_close(file);
    return good;
}

static bool save(const ct_experiment *e, const char *path, ct_state_form form) {
    ct_weight_notes notes;
    char *left_out = NULL;
    bool saved = ct_weight_notes_make(e, &notes);
    const char *metadata[24] = {"format", "pt"};
    for (int i = 0; notes.list[i]; i++) metadata[2 + i] = notes.list[i];
    form.metadata = metadata;
    saved = saved && ct_module_save_as(ct_model_module(e->model), path, &form, &left_out);
    if (left_out) ct_console_line("%s: without %s: no released name", path, left_out);
    free(left_out);
    ct_weight_notes_free(&notes);
    return saved;
}

bool ct_experiment_save(const ct_experiment *e, const char *path) {
    return save(e, path, (ct_state_form){0});
}

bool ct_experiment_export(const ct_experiment *e, const char *path) {
    bool ours = strcmp(e->config->names, "ours") == 0;
    return save(e, path, ours ? (ct_state_form){0} : ct_released_form(e->model));
}
