/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/experiment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/core/excuse.h"
#include "tensor/core/nearest.h"
#include "train/data/text.h"
#include "train/run/console.h"
#include "train/run/front.h"
#include "train/run/weight_file.h"

char *ct_path(const char *folder, const char *name) {
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? ct_fail("out of memory") : path;
}

/* ---- folders ----------------------------------------------------------------------------- */

bool ct_make_folders(const char *path) {
    char *copy = strdup(path);
    if (!copy) return ct_fail_bool("out of memory");
    bool made = true;
    for (char *slash = copy + 1; made; slash++) {
        bool end = *slash == '\0';
        if (*slash != '/' && !end) continue;
        *slash = '\0';
        made = mkdir(copy, 0777) == 0 || errno == EEXIST;
        if (end) break;
        *slash = '/';
    }
    free(copy);
    return made || ct_fail_bool("%s: the folder cannot be made: %s", path, strerror(errno));
}

/* ---- opening ----------------------------------------------------------------------------- */

static ct_split *open_split(const ct_experiment *e, const char *name, bool captions_if_any) {
    const ct_config *config = e->config;
    ct_split_options options = {.view = e->pictures ? &e->view : NULL,
                                .threads = ct_threads(),
                                .images_repeated = config->images_repeated,
                                .ids_are_names = strcmp(config->ids, "names") == 0,
                                .captions_if_any = captions_if_any,
                                .smallest = config->dtype == CT_F32 ? 1e-10 : 1e-18};
    /* a path where a name of a split is expected: pictures of no data folder */
    bool found = e->pictures && captions_if_any && strchr(name, '/');
    ct_split *split =
        found ? ct_split_find(name, options) : ct_split_open(config->folder, name, options);
    if (!split || ct_front_skip_broken(e, split)) return split;
    ct_split_destroy(split);
    return NULL;
}

static ct_vocabulary *build_vocabulary(const ct_config *config, char *const *captions,
                                       int64_t count) {
    return ct_vocabulary_build((const char *const *)captions, count, config->min_count);
}

/* Of the training captions, where nothing else is read of that split. */
static ct_vocabulary *vocabulary_of_captions(const ct_config *config, const char *path) {
    size_t bytes = 0;
    int64_t count = 0;
    char *text = ct_text_read(path, &bytes);
    char **captions = text ? ct_text_lines(text, bytes, &count) : NULL;
    ct_vocabulary *vocabulary = captions ? build_vocabulary(config, captions, count) : NULL;
    free(captions);
    free(text);
    return vocabulary;
}

/* From the run folder, if it has one and `of_run`; else as configured. e->train: NULL where the
 * training split is not opened. */
static bool open_vocabulary(ct_experiment *e, bool of_run) {
    const ct_config *config = e->config;
    char *path = ct_path(config->run_folder, "vocabulary.json");
    bool is_there = of_run && path && access(path, F_OK) == 0;
    if (!is_there) {
        free(path);
        path = NULL;
        if (*config->vocabulary) {
            path = strdup(config->vocabulary);
        } else if (asprintf(&path, "%s/%s_caps.txt", config->folder, config->train_split) < 0) {
            path = NULL;
        }
    }
    e->vocabulary_name = path;
    if (!path) return ct_fail_bool("out of memory");
    if (is_there || *config->vocabulary) e->vocabulary = ct_vocabulary_read(path);
    else if (!e->train) e->vocabulary = vocabulary_of_captions(config, path);
    else e->vocabulary = build_vocabulary(config, e->train->captions, e->train->caption_count);
    e->sizes.vocabulary = ct_vocabulary_size(e->vocabulary);
    return e->vocabulary != NULL;
}

/* The vectors are kept beside the data, for every run on it; a trained model has its own. */
static bool open_word_vectors(ct_experiment *e) {
    char path[4096];
    if (e->word_vectors) return true;
    if (!ct_description_word_vectors(&e->config->model, path, sizeof path)) return ct_ok();
    if (!e->vocabulary) {
        return ct_fail_bool("%s: word vectors of recorded captions need [data] vocabulary", path);
    }
    e->word_vectors = ct_word_vectors_read(path, e->vocabulary, e->config->folder, &e->word_known);
    e->sizes.word_vectors = e->word_vectors;
    e->sizes.word_known = e->word_known;
    return e->word_vectors != NULL;
}

static ct_encoder *open_encoder(const ct_experiment *e) {
    enum { RELEASED_LENGTH = 87 }; /* what the released loader pads to */
    const ct_description *model = &e->config->model;
    ct_encoding encoding = {.max_words = e->config->max_words, .known = e->word_known};
    bool padded;
    if (!ct_compat_released(model, "tokens", &encoding.released_tokens) ||
        !ct_compat_released(model, "unknown_words", &encoding.drop_unknown) ||
        !ct_compat_released(model, "decoder_targets", &encoding.pad_target) ||
        !ct_compat_released(model, "text_policy_steps", &padded)) {
        return NULL;
    }
    encoding.pad_words = e->config->pad_words ? e->config->pad_words : padded ? RELEASED_LENGTH : 0;
    return ct_encoder_create(e->vocabulary, encoding);
}

static bool open_split_data(ct_experiment *e, bool use_run_vocabulary) {
    const ct_config *config = e->config;
    e->train = open_split(e, config->train_split, false);
    if (!e->train || !open_vocabulary(e, use_run_vocabulary)) return false;
    e->sizes.regions = e->train->images->regions;
    e->sizes.features = e->train->images->width;
    e->sizes.images = e->train->image_count;
    return true;
}

/* What a trained model needs is in its run's folder: sizes and word vectors in the weights, the
 * vocabulary beside them. What weights of another program or version do not say is taken from the
 * split that they are used on (NULL: from the training split). */
static bool open_trained_data(ct_experiment *e, const char *weights, const char *split) {
    if (!open_vocabulary(e, true) || !ct_weight_file_sizes(e, weights)) return false;
    if (e->sizes.features) return true;
    if (e->pictures) {
        e->sizes.regions = 3;
        e->sizes.features = e->view.size * e->view.size;
        return true;
    }
    if (!split) split = e->config->train_split;
    return ct_split_sizes(e->config->folder, split, &e->sizes.regions, &e->sizes.features);
}

/* The words of recorded ids are only needed to look up word vectors. */
static bool open_recorded_data(ct_experiment *e) {
    bool from_one; /* classes; the model adds that one */
    if (!ct_recorded_sizes(e->recorded, &e->sizes) ||
        !ct_compat_released(&e->config->model, "classes", &from_one)) {
        return false;
    }
    if (from_one && e->sizes.images > 1) e->sizes.images--;
    const char *path = e->config->vocabulary;
    return !*path || (e->vocabulary = ct_vocabulary_read(path)) != NULL;
}

static bool open_device(ct_experiment *e) {
    const char *wanted = e->config->device;
    e->device = CT_CPU;
    if (strcmp(wanted, "cpu") == 0) return true;
    if (ct_device_open(CT_CUDA)) {
        e->device = CT_CUDA;
        return true;
    }
    char reason[1024]; /* "cuda: ..." */
    snprintf(reason, sizeof reason, "%s", ct_error());
    if (!ct_error_excuse()) return false;
    return strcmp(wanted, "auto") == 0 ||
           ct_fail_bool("[run] device = %s; cpu and auto run without", reason);
}

static bool set_precision(const ct_experiment *e) {
    const char *wanted = e->config->precision;
    ct_precision precision;
    ct_precision_from_name(wanted, &precision); /* one of the key's choices */
    if (precision != CT_PRECISION_FP32 && e->config->dtype != CT_F32) {
        return ct_fail_bool("[run] precision = %s: expected fp32 with dtype = %s", wanted,
                            ct_dtype_name(e->config->dtype));
    }
    return ct_set_precision(e->device, precision) || ct_error_prefix("[run] ");
}

static bool set_checkpoints(const ct_experiment *e) {
    const ct_config *c = e->config;
    for (int i = 0; i < c->checkpoint_count; i++) {
        if (ct_model_checkpoint(e->model, c->checkpoint[i])) continue;
        return ct_error_prefix("%s: [train] ", c->file);
    }
    return true;
}

/* `from_files`: backbones begin as their files say. */
static bool open_model(ct_experiment *e, bool from_files) {
    ct_seed((uint64_t)e->config->seed);
    e->model = ct_model_create(&e->config->model, e->sizes);
    ct_module *module = e->model ? ct_model_module(e->model) : NULL;
    return module && set_checkpoints(e) && ct_model_local_loss(e->model, e->config->local_loss) &&
           (!from_files || ct_model_load_backbones(e->model)) &&
           ct_module_to_dtype(module, e->config->dtype) &&
           (e->device == CT_CPU || ct_module_to_device(module, e->device));
}

/* What the data are for: training, or the use of trained weights on a split. */
typedef struct {
    bool use_run_vocabulary;
    const char *weights, *split; /* weights NULL: training */
} opening;

static bool open_data(ct_experiment *e, const opening *o) {
    bool recorded = ct_experiment_is_recorded(e);
    bool data = recorded     ? open_recorded_data(e)
                : o->weights ? open_trained_data(e, o->weights, o->split)
                             : open_split_data(e, o->use_run_vocabulary);
    if (!data || !open_word_vectors(e)) return false;
    if (recorded) return true;
    e->encoder = open_encoder(e);
    return e->encoder && (!e->train || ct_split_encode(e->train, e->encoder));
}

static bool open_all(ct_experiment *e, const opening *o) {
    if (!open_device(e) || !set_precision(e) || !ct_front_view(e)) return false;
    e->recorded = ct_recorded_open(e->config);
    bool starts = !o->weights && !o->use_run_vocabulary;
    if (!ct_ok() || !open_data(e, o) || !open_model(e, starts)) return false;
    return !ct_experiment_is_recorded(e) || ct_recorded_check(e->recorded, e->model);
}

static ct_experiment *open_experiment(ct_config *config, opening o) {
    ct_experiment *e = calloc(1, sizeof *e);
    if (!e) return ct_fail("out of memory");
    e->config = config;
    if (open_all(e, &o)) return e;
    ct_experiment_close(e);
    return NULL;
}

ct_experiment *ct_experiment_open(ct_config *config, bool use_run_vocabulary) {
    return open_experiment(config, (opening){.use_run_vocabulary = use_run_vocabulary});
}

bool ct_experiment_remodel(ct_experiment *e, ct_config *config) {
    ct_model_destroy(e->model);
    ct_release(e->word_vectors);
    free(e->word_known);
    e->model = NULL;
    e->word_vectors = NULL;
    e->word_known = NULL;
    e->sizes.word_vectors = NULL;
    e->sizes.word_known = NULL;
    e->config = config;
    return set_precision(e) && ct_front_view(e) && open_word_vectors(e) && open_model(e, true);
}

ct_experiment *ct_experiment_open_trained(ct_config *config, const char *weights,
                                          const char *split) {
    ct_experiment *e = open_experiment(config, (opening){.weights = weights, .split = split});
    if (!e || ct_experiment_load(e, weights, CT_WEIGHTS_TO_USE)) return e;
    ct_experiment_close(e);
    return NULL;
}

bool ct_experiment_take_front(ct_experiment *e) {
    if (!e->train || !ct_front_take(e, e->train)) return e->train == NULL;
    e->sizes.regions = e->train->images->regions;
    e->sizes.features = e->train->images->width;
    return true;
}

bool ct_experiment_is_recorded(const ct_experiment *e) {
    return ct_recorded_batches(e->recorded) > 0;
}

void ct_experiment_close(ct_experiment *e) {
    if (!e) return;
    ct_model_destroy(e->model);
    ct_release(e->word_vectors);
    free(e->word_known);
    free(e->vocabulary_name);
    ct_split_destroy(e->train);
    ct_recorded_close(e->recorded);
    ct_encoder_destroy(e->encoder);
    ct_vocabulary_destroy(e->vocabulary);
    free(e);
}

/* Regions and width as the model's training images have them, where that is known. */
static bool fits_model(const ct_experiment *e, const ct_split *split) {
    int64_t regions = split->images->regions, width = split->images->width;
    if (regions == e->sizes.regions && width == e->sizes.features) return true;
    if (!split->images->features.files) return true; /* pictures come to the model's size */
    return ct_fail_bool("%s: features of %lld regions x %lld numbers do not fit those "
                        "that are trained on, %lld x %lld",
                        split->images->path, (long long)regions, (long long)width,
                        (long long)e->sizes.regions, (long long)e->sizes.features);
}

static bool make_ready(const ct_experiment *e, ct_split *split, ct_split_use use) {
    bool cut = strcmp(split->name, e->config->dev_split) == 0 && e->config->dev_captions > 0;
    bool encode = split->captions && use != CT_SPLIT_IMAGES_ALONE;
    return ct_front_take(e, split) && fits_model(e, split) &&
           (!cut || use == CT_SPLIT_IMAGES_ALONE || ct_split_cut(split, e->config->dev_captions)) &&
           ct_split_check(split) && (!encode || ct_split_encode(split, e->encoder));
}

/* The error that a split cannot be opened says which one is nearly called so. */
static void suggest_split(const ct_experiment *e, const char *name) {
    char **names, *said = ct_error() ? strdup(ct_error()) : NULL, file[300];
    int count;
    snprintf(file, sizeof file, "%.255s%s", name, ct_split_end(e->pictures));
    if (ct_split_names(e->config->folder, e->pictures, &names, &count)) {
        bool there = false; /* then something else is wrong */
        for (int i = 0; i < count; i++) there |= !strcmp(names[i], name);
        const char *near = there ? NULL : ct_nearest(name, (const char *const *)names, count);
        if (near && said && strstr(said, file)) {
            ct_error_clear();
            ct_fail("%s; did you mean '%s'?", said, near);
        }
    }
    ct_split_names_free(names, count);
    free(said);
}

ct_split *ct_experiment_split(const ct_experiment *e, const char *name, ct_split_use use) {
    if (ct_experiment_is_recorded(e)) {
        return ct_fail("%s: batches are recorded, so that there is no split '%s': take [recorded] "
                       "file out",
                       e->config->recorded_file, name);
    }
    ct_split *split = open_split(e, name, use != CT_SPLIT_WHOLE);
    if (!split) suggest_split(e, name);
    if (!split || make_ready(e, split, use)) return split;
    ct_split_destroy(split);
    return NULL;
}

/* Wherever they stand: one that is asked for has twins that count as wrong. */
static void say_of_twins(const ct_split *split) {
    int64_t different = split->same_images.count, count = split->image_count;
    if (!split->same_images.of || different == count) return;
    ct_console_line(
        "%s: %lld images, %lld of them different: an image with the features of another "
        "one is a wrong answer to the other's captions",
        split->name, (long long)count, (long long)different);
}

ct_split *ct_experiment_ranked_split(const ct_experiment *e, const char *name) {
    ct_split *split = ct_experiment_split(e, name, CT_SPLIT_WHOLE);
    char *what = split ? ct_path(e->config->folder, name) : NULL;
    bool good = what && (e->config->folds <= 1 ||
                         ct_evaluate_check_folds(what, split->image_of, split->image_count,
                                                 split->caption_count, (int)e->config->folds));
    free(what);
    if (good) say_of_twins(split);
    if (good) return split;
    ct_split_destroy(split);
    return NULL;
}
