/* SPDX-License-Identifier: Apache-2.0 */
/* What every command works on: a configuration with its vocabulary, model and splits. */
#ifndef CT_EXPERIMENT_H
#define CT_EXPERIMENT_H

#include "train/config/config.h"
#include "train/data/data.h"
#include "train/evaluate/evaluate.h"
#include "train/data/recorded.h"

typedef struct {
    ct_config *config;         /* borrowed */
    ct_device device;          /* the model's and its batches' */
    ct_vocabulary *vocabulary; /* NULL: batches are recorded, and none is configured */
    char *vocabulary_name;     /* the file it was read from, or the captions it was built of */
    ct_encoder *encoder;       /* NULL: batches are recorded */
    ct_split *train;           /* NULL: batches are recorded, or none is trained on */
    ct_recorded *recorded;     /* batches, noise; NULL: neither is */
    bool pictures;             /* images are pictures, seen as `view` says (train/run/front.h) */
    ct_picture_view view;
    ct_model_sizes sizes;    /* that the model was made for */
    ct_tensor *word_vectors; /* (V,E), or NULL */
    uint8_t *word_known;
    ct_model *model;
} ct_experiment;

/* Opens the training split, or recorded batches in its place, and recorded noise; reads or builds
 * the vocabulary (from the run folder's vocabulary.json if there is one and `use_run_vocabulary`),
 * reads word vectors, seeds the default generator and builds the model in the configured dtype on
 * the configured device (auto: on cuda if tensors can be there), whose products from now on have
 * the configured precision.
 * NULL and an error otherwise. */
ct_experiment *ct_experiment_open(ct_config *config, bool use_run_vocabulary);
/* Builds the model of another configuration in place of this one's, on the same data: what is wrong
 * with it, if anything, as opening it would say. False and an error then; the experiment can still
 * be closed. */
bool ct_experiment_remodel(ct_experiment *experiment, ct_config *config);
/* Opens trained weights (a file) to be used on a split, and loads them (train/run/weight_file.h).
 * Nothing that only training needs is opened: sizes and word vectors are read from the weights, the
 * vocabulary from the run folder. Of weights that do not say their sizes, the split's are theirs
 * (NULL: the training split's); without a vocabulary in the run folder it is the configured one. */
ct_experiment *ct_experiment_open_trained(ct_config *config, const char *weights,
                                          const char *split);
/* Once the model's weights are those that training starts from: what its front makes of the
 * training pictures takes their place, if it has one (train/run/front.h). */
bool ct_experiment_take_front(ct_experiment *experiment);
void ct_experiment_close(ct_experiment *experiment);
/* Whether batches are recorded in place of splits. */
bool ct_experiment_is_recorded(const ct_experiment *experiment);

/* What a split is opened for: images and captions, both of which must be there; images with the
 * captions that they may have, or none; or images alone, whose captions are at most shown. But for
 * the last, the dev split is cut to config->dev_captions. */
typedef enum { CT_SPLIT_WHOLE, CT_SPLIT_CAPTIONS_IF_ANY, CT_SPLIT_IMAGES_ALONE } ct_split_use;
/* A split with its captions encoded (but for images alone). With recorded batches there is none: an
 * error. */
ct_split *ct_experiment_split(const ct_experiment *experiment, const char *name, ct_split_use use);

/* The same of one that is to be ranked: an error if it does not divide into [evaluate] folds. */
ct_split *ct_experiment_ranked_split(const ct_experiment *experiment, const char *name);

/* A host batch as tensors in the configured dtype on the experiment's device (but for the lengths:
 * those are on the CPU, see ct_batch), in the innermost scope. */
ct_batch ct_batch_from_host(const ct_experiment *experiment, const ct_host_batch *batch);
/* The same of recorded batch `step` (from 0). */
bool ct_experiment_recorded(const ct_experiment *experiment, int64_t step, ct_batch *batch);

/* Embeddings of all images (I,D) and captions (C,D) of a split in evaluation mode, as rankings
 * take them (ct_model_ranked); on the experiment's device, in the innermost scope. `captions` may
 * be NULL. Of several ranks all come here: each computes a part, and all get the whole. */
bool ct_embed_split(const ct_experiment *experiment, const ct_split *split, ct_tensor **images,
                    ct_tensor **captions);
/* The same of images, or captions, `which` of a split: (count,D). They are a batch of their own. */
ct_tensor *ct_embed_some(const ct_experiment *experiment, const ct_split *split, bool captions,
                         const int64_t *which, int64_t count);
/* The same of the pairs of a batch: both (B,D). */
bool ct_embed_batch(const ct_experiment *experiment, const ct_batch *batch, ct_tensor **images,
                    ct_tensor **captions);
/* The same of sentences: (count,D). */
ct_tensor *ct_embed_sentences(const ct_experiment *experiment, const char *const *sentences,
                              int count);

/* The same of a file of a picture, in no split: (1,D). An error if the model reads features. */
ct_tensor *ct_embed_picture(const ct_experiment *experiment, const char *picture);
/* The same of one that was decoded; `name` is for messages. */
ct_tensor *ct_embed_decoded(const ct_experiment *experiment, const ct_picture *picture,
                            const char *name);

/* Embeds and ranks a split; folds of config->folds where it is above 1. `reported`: as `[compat]
 * evaluation_report` says, which is for what is printed, not for choosing a model. Of several ranks
 * all come here, and each does a part. */
bool ct_evaluate_split(const ct_experiment *experiment, const ct_split *split, bool reported,
                       ct_retrieval *metrics);

/* Makes a folder and those above it that are not there. */
bool ct_make_folders(const char *path);

/* "FOLDER/NAME" from malloc; NULL and an error when out of memory. */
char *ct_path(const char *folder, const char *name);

#endif
