/* SPDX-License-Identifier: Apache-2.0 */
/* What an experiment's model computes: host batches as its tensors, embeddings, recalls. */
#include <stdio.h>
#include <stdlib.h>

#include "train/run/blame.h"
#include "train/run/experiment.h"
#include "train/run/front.h"
#include "train/run/together.h"

/* ---- batches ---------------------------------------------------------------------------- */

static void set_captions(ct_batch *batch, const ct_caption_batch *text) {
    int64_t b = text->size, targets = text->target_words;
    batch->words = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(b, text->words), text->ids);
    batch->lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(b), text->lengths);
    if (!targets) return;
    batch->targets = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(b, targets), text->targets);
}

/* The tensors of a batch where the model is; all but the lengths: evaluation leaves padded steps
 * out, and in training (train/data/batches.c) they follow. */
static void to_model(const ct_experiment *e, ct_batch *batch) {
    ct_tensor **tensors[] = {&batch->images,  &batch->words,   &batch->vectors,
                             &batch->classes, &batch->targets, &batch->target_mask};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors && e->device != CT_CPU; i++) {
        if (*tensors[i]) *tensors[i] = ct_tensor_to_device(*tensors[i], e->device);
    }
}

ct_batch ct_batch_from_host(const ct_experiment *e, const ct_host_batch *host) {
    int64_t n = e->sizes.regions, f = e->sizes.features, b = host->size;
    ct_tensor *images = ct_from_data(CT_F32, CT_CPU, CT_SHAPE(b, n, f), host->images);
    if (e->config->dtype != CT_F32) images = ct_tensor_cast(images, e->config->dtype);
    ct_tensor *classes = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(b), host->classes);
    int64_t *number = classes ? ct_data(classes) : NULL;
    for (int64_t i = 0; number && i < b; i++) number[i] += ct_model_first_class(e->model);
    ct_batch batch = {.images = images, .classes = classes};
    set_captions(&batch, &host->text);
    to_model(e, &batch);
    return batch;
}

bool ct_experiment_recorded(const ct_experiment *e, int64_t step, ct_batch *batch) {
    if (!ct_recorded_batch(e->recorded, step, batch)) return false;
    ct_tensor **reals[] = {&batch->images, &batch->vectors, &batch->target_mask};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        if (*reals[i]) *reals[i] = ct_tensor_cast(*reals[i], e->config->dtype);
    }
    to_model(e, batch);
    return ct_ok();
}

/* ---- embedding --------------------------------------------------------------------------- */

/* The sequence drawn in evaluation does not matter (policies take their best action), but the
 * training generator must not move. */
static ct_rng evaluation_rng(const ct_experiment *e) {
    return ct_rng_create((uint64_t)e->config->seed, 0);
}

/* Images `which` (NULL: the first) in f32. Features are read, not mapped: mapped pages would count
 * as this program's memory. */
static ct_tensor *read_images(const ct_images *from, const int64_t *which, int64_t count) {
    ct_tensor *images = ct_empty(CT_F32, CT_CPU, CT_SHAPE(count, from->regions, from->width));
    bool read = images && ct_images_read(from, which, count, NULL, ct_data(images));
    return read ? images : NULL;
}

/* Which images or captions of a split are embedded, for messages. */
typedef struct {
    const ct_split *split;
    const ct_caption *captions; /* sentences of no split */
    const int64_t *which;       /* NULL: the first ones */
} embedded;

static void name_image(const void *context, int64_t i, char *text, size_t size) {
    const embedded *of = context;
    ct_images_name(of->split->images, of->which[i], text, size);
}

static void name_caption(const void *context, int64_t i, char *text, size_t size) {
    const embedded *of = context;
    if (!of->split) snprintf(text, size, "the sentence");
    else {
        snprintf(text, size, "%s/%s_caps.txt: caption '%s'", of->split->folder, of->split->name,
                 of->split->captions[of->which[i]]);
    }
}

/* (count,D) of images that were read; `name` and `context` as ct_blame_embeddings takes them. */
static ct_tensor *embed_read(const ct_experiment *e, ct_tensor *images,
                             void (*name)(const void *, int64_t, char *, size_t),
                             const void *context) {
    ct_rng rng = evaluation_rng(e);
    ct_batch batch = {.images = images ? ct_tensor_cast(images, e->config->dtype) : NULL};
    to_model(e, &batch);
    ct_tensor *y = batch.images ? ct_model_embed_images(e->model, batch.images, &rng) : NULL;
    y = y ? ct_model_ranked(e->model, y) : NULL;
    return ct_blame_embeddings(e, y, &batch, false, name, context) ? y : NULL;
}

static ct_tensor *embed_images(const ct_experiment *e, const ct_split *split, const int64_t *which,
                               int64_t count) {
    embedded of = {.split = split, .which = which};
    return embed_read(e, read_images(split->images, which, count), name_image, &of);
}

/* Embeddings (count,D) of the captions `which`, or the first ones if it is NULL. */
static ct_tensor *embed_encoded(const ct_experiment *e, embedded of, int64_t count) {
    const ct_caption *captions = of.captions;
    const int64_t *which = of.which;
    int64_t longest = 1;
    for (int64_t i = 0; i < count; i++) {
        int64_t length = captions[which ? which[i] : i].length;
        if (length > longest) longest = length;
    }
    ct_caption_batch text;
    if (!ct_caption_batch_create(&text, e->encoder, count, longest)) return NULL;
    ct_caption_batch_fill(&text, e->encoder, captions, which, count);
    ct_batch batch = {0};
    set_captions(&batch, &text);
    ct_caption_batch_free(&text);
    ct_rng rng = evaluation_rng(e);
    to_model(e, &batch);
    ct_tensor *y = ct_model_ranked(e->model, ct_model_embed_captions(e->model, &batch, &rng));
    return ct_blame_embeddings(e, y, &batch, true, name_caption, &of) ? y : NULL;
}

static ct_tensor *embed_captions(const ct_experiment *e, const ct_split *split,
                                 const int64_t *which, int64_t count) {
    return embed_encoded(e, (embedded){split, split->encoded, which}, count);
}

/* Images or captions that are embedded at once, always the same ones together: a BLAS takes what is
 * left of rows that its kernels do not divide by other kernels, and sums over padded steps round as
 * they are padded, so that in another batch last bits would be others, and now and then a rank. */
enum { EMBEDDED_AT_ONCE = 128 };

/* All ranks' rows, each of which is 0 on all but one. */
static bool add_ranks(ct_tensor *x) { return ct_ranks() == 1 || ct_tensor_all_reduce(x); }

/* Embeddings (rows,D) of a split's images or captions, `block` of them at a time. What is the same
 * is embedded once. */
static ct_tensor *embed_rows(const ct_experiment *e, const ct_split *split,
                             const ct_distinct *distinct, int64_t block,
                             ct_tensor *(*embed)(const ct_experiment *, const ct_split *,
                                                 const int64_t *, int64_t)) {
    int64_t width = ct_model_width(e->model);
    ct_tensor *out = ct_zeros(e->config->dtype, e->device, CT_SHAPE(distinct->count, width));
    bool done = out != NULL;
    for (int64_t first = 0; done && first < distinct->count; first += block) {
        int64_t left = distinct->count - first, count = left < block ? left : block;
        if (first / block % ct_ranks() != ct_rank()) continue; /* another rank's */
        CT_SCOPE {
            ct_tensor *y = embed(e, split, distinct->first + first, count);
            ct_tensor *rows = ct_tensor_slice(out, 0, first, first + count, 1);
            done = y && ct_tensor_copy_to(rows, y);
        }
    }
    return ct_together_well(done) && add_ranks(out) ? ct_distinct_spread(distinct, out) : NULL;
}

/* Under `image_batchnorm_eval = batch` an image's embedding is that of its batch: all are embedded
 * as they come, [evaluate] batch of them at a time. */
static ct_tensor *embed_split_images(const ct_experiment *e, const ct_split *split) {
    bool of_batch;
    if (!ct_compat_released(&e->config->model, "image_batchnorm_eval", &of_batch)) return NULL;
    const ct_distinct *same = &split->same_images;
    if (!of_batch && same->of) return embed_rows(e, split, same, EMBEDDED_AT_ONCE, embed_images);
    int64_t block = of_batch ? e->config->evaluate_batch : EMBEDDED_AT_ONCE;
    ct_distinct each = {0};
    bool made = ct_distinct_none(&each, split->image_count);
    ct_tensor *images = made ? embed_rows(e, split, &each, block, embed_images) : NULL;
    ct_distinct_free(&each);
    return images;
}

static ct_tensor *embed_split_captions(const ct_experiment *e, const ct_split *split) {
    ct_distinct same = {0};
    bool found = ct_captions_distinct(split->encoded, split->caption_count, &same);
    ct_tensor *captions =
        found ? embed_rows(e, split, &same, EMBEDDED_AT_ONCE, embed_captions) : NULL;
    ct_distinct_free(&same);
    return captions;
}

bool ct_embed_split(const ct_experiment *e, const ct_split *split, ct_tensor **images,
                    ct_tensor **captions) {
    ct_module *module = ct_model_module(e->model);
    bool training = ct_module_training(module), done = false;
    ct_module_train(module, false);
    CT_NO_GRAD {
        *images = embed_split_images(e, split);
        if (captions) *captions = *images ? embed_split_captions(e, split) : NULL;
        done = *images && (!captions || *captions);
    }
    ct_module_train(module, training);
    return done;
}

ct_tensor *ct_embed_some(const ct_experiment *e, const ct_split *split, bool captions,
                         const int64_t *which, int64_t count) {
    ct_module *module = ct_model_module(e->model);
    bool training = ct_module_training(module);
    ct_tensor *y = NULL;
    ct_module_train(module, false);
    CT_NO_GRAD {
        y = captions ? embed_captions(e, split, which, count)
                     : embed_images(e, split, which, count);
    }
    ct_module_train(module, training);
    return y;
}

bool ct_embed_batch(const ct_experiment *e, const ct_batch *batch, ct_tensor **images,
                    ct_tensor **captions) {
    ct_module *module = ct_model_module(e->model);
    bool training = ct_module_training(module);
    ct_module_train(module, false);
    CT_NO_GRAD {
        ct_rng rng = evaluation_rng(e);
        ct_tensor *y = ct_model_embed_captions(e->model, batch, &rng);
        *captions = ct_model_ranked(e->model, y);
        y = ct_model_embed_images(e->model, batch->images, &rng);
        *images = ct_model_ranked(e->model, y);
    }
    ct_module_train(module, training);
    return *images && *captions;
}

ct_tensor *ct_embed_sentences(const ct_experiment *e, const char *const *sentences, int count) {
    ct_caption *captions = calloc((size_t)count + 1, sizeof *captions);
    bool encoded = captions != NULL || ct_fail_bool("out of memory");
    for (int i = 0; encoded && i < count; i++) {
        encoded = ct_encode(e->encoder, sentences[i], &captions[i]);
    }
    ct_module *module = ct_model_module(e->model);
    bool training = ct_module_training(module);
    ct_tensor *y = NULL;
    ct_module_train(module, false);
    CT_NO_GRAD
    if (encoded) y = embed_encoded(e, (embedded){.captions = captions}, count);
    ct_module_train(module, training);
    for (int i = 0; captions && i < count; i++) ct_caption_free(&captions[i]);
    free(captions);
    return y;
}

static void name_picture(const void *path, int64_t i, char *text, size_t size) {
    (void)i;
    snprintf(text, size, "%s", (const char *)path);
}

/* (1,D) of a picture as a split of this model has it. */
static ct_tensor *embed_one(const ct_experiment *e, ct_tensor *images, const char *picture) {
    int64_t regions, features;
    if (ct_front_counts(e, &regions, &features)) images = ct_front_of(e, images);
    return embed_read(e, images, name_picture, picture);
}

static bool sees_pictures(const ct_experiment *e, const char *picture) {
    return e->pictures ||
           ct_fail_bool("%s: this model reads features, not pictures: [image] begins with "
                        "'pictures' for those",
                        picture);
}

/* (1,D) of a picture that was read, in evaluation mode; NULL for one that was not. */
static ct_tensor *embed_alone(const ct_experiment *e, ct_tensor *x, const char *picture) {
    ct_module *module = ct_model_module(e->model);
    bool training = ct_module_training(module);
    ct_tensor *y = NULL;
    ct_module_train(module, false);
    CT_NO_GRAD
    if (x) y = embed_one(e, x, picture);
    ct_module_train(module, training);
    return y;
}

ct_tensor *ct_embed_picture(const ct_experiment *e, const char *picture) {
    if (!sees_pictures(e, picture)) return NULL;
    ct_images *one = ct_images_find(picture, &e->view, 1);
    if (one && one->count != 1) ct_fail("%s: a folder, expected a picture", picture);
    ct_tensor *x = one && ct_ok() ? read_images(one, NULL, 1) : NULL;
    ct_images_close(one);
    return embed_alone(e, x, picture);
}

ct_tensor *ct_embed_decoded(const ct_experiment *e, const ct_picture *picture, const char *name) {
    if (!sees_pictures(e, name)) return NULL;
    ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(1, 3, e->view.size * e->view.size));
    bool seen = x && ct_picture_look(picture, &e->view, NULL, ct_data(x));
    return embed_alone(e, seen ? x : NULL, name);
}

bool ct_evaluate_split(const ct_experiment *e, const ct_split *split, bool reported,
                       ct_retrieval *metrics) {
    ct_evaluation how = {.folds = (int)e->config->folds};
    if (reported && !ct_compat_released(&e->config->model, "evaluation_report", &how.released)) {
        return false;
    }
    bool done = false;
    CT_SCOPE {
        ct_tensor *images, *captions;
        if (!ct_embed_split(e, split, &images, &captions)) break;
        ct_embeddings one = {images, captions, ct_model_measure(e->model)};
        done = ct_evaluate(&one, 1, split->image_of, how, metrics);
    }
    return done;
}
