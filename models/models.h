/* SPDX-License-Identifier: Apache-2.0 */
/* Image-text models as configured graphs of nn modules, and what trains them.
 *
 * A description is the [image], [text], [loss] and [compat] sections of a configuration file, as
 * ordered entries. It is turned into a model whose parameters are sized from the data:
 *
 *     [image]                          ; a chain of modules, in this order; the key is the name
 *     fc     = linear width=1024
 *     norm   = l2norm
 *     gcn    = gcn x 4
 *     norm2  = l2norm
 *     attend = policy_attention heads=2 actions=500 temperature=0.8 scale=20
 *     pool   = mean + gru
 *     bn     = batchnorm momentum=0.01
 *
 *     [text]
 *     embed  = words width=300
 *     attend = policy_attention heads=2 actions=500
 *     pool   = gru width=1024
 *     bn     = batchnorm momentum=0.01
 *
 *     [loss]
 *     retrieval         = hinge margin=0.2 negatives=hardest intra_modal=yes
 *     discrete_policy   = 1
 *     continuous_policy = 1
 *     instance          = classifier hidden=512
 *     decoder           = convcap width=512 hidden=256 layers=3 kernel=5 dropout=0.1
 *
 * Modules and losses of a program's own: models/register.h.
 * Formulas, modules, options and switches: docs/model.md. The embeddings a model gives are not yet
 * l2-normalised over their width unless the chain's last module does it; every loss, reward and
 * ranking normalises them (`normalise = no` in [loss] leaves them, VSRN's no_imgnorm).
 */
#ifndef CT_MODELS_H
#define CT_MODELS_H

#include "models/matching.h"
#include "nn/nn.h"

CT_BEGIN_DECLS

/* ---- description -------------------------------------------------------------------------- */

typedef struct {
    const char *section, *key, *value;
    int line; /* in the file, for messages; 0 if the value was given by --set */
} ct_description_entry;

typedef struct {
    const char *file; /* for messages: "config.ini:12: ..." */
    const ct_description_entry *entries;
    int count;
} ct_description;

/* What the data determines. */
typedef struct {
    int64_t regions;               /* N, regions an image */
    int64_t features;              /* F, numbers a region */
    int64_t vocabulary;            /* V, including <pad> 0, <start> 1, <end> 2, <unk> 3 */
    int64_t images;                /* training images: each is a class of the instance loss */
    const ct_tensor *word_vectors; /* (V,E) f32 for `words vectors=...`, or NULL: learned */
    const uint8_t *word_known;     /* with word_vectors, V flags: 1 = has a fixed vector; the others
                                    * share one learned vector */
} ct_model_sizes;

typedef struct ct_model ct_model;

/* Where [image] begins with `pictures`, a picture enters as three planes of size x size values of 0
 * to 1: images are (B,3,size*size). How a picture comes to that square, for who reads it: */
typedef enum {
    CT_FIT_CROP,    /* the shorter side becomes `resize`, and the middle is cut out */
    CT_FIT_STRETCH, /* both sides become `size` */
    CT_FIT_PAD      /* the longer side becomes `size`, the rest is the mean colour */
} ct_picture_fitting;
typedef struct {
    int64_t size, resize;
    ct_picture_fitting fit;
    bool bicubic;   /* else bilinear */
    double mean[3]; /* of red, green, blue */
} ct_picture_form;

/* Parameters f32 on the CPU, initial values drawn from the default generator. NULL and an error
 * "FILE:LINE: what was expected" for a wrong graph; an unknown module, option or value names the
 * nearest known one. */
ct_model *ct_model_create(const ct_description *description, ct_model_sizes sizes);
void ct_model_destroy(ct_model *model);
/* Root module, the model's; NULL for NULL. Children "image", "text", and "classifier", "decoder",
 * "losses" where configured. */
ct_module *ct_model_module(ct_model *model);
int64_t ct_model_width(const ct_model *model); /* D, of both embeddings */
ct_measure ct_model_measure(const ct_model *model);
/* Applies to an optimiser of the model's module what [compat] says of the decoder's parameters:
 * under `decoder_parameters = fixed` they get gradients but no updates, under `decoder_updates =
 * twice` two a step. False and an error if the optimiser has no such parameters. */
bool ct_model_group_parameters(const ct_model *model, ct_optimizer *optimizer);
/* The first training image's class in the instance loss: 0, or 1 under `classes = released`. */
int64_t ct_model_first_class(const ct_model *model);
/* The most tokens of a caption, <start> included, that the decoder reads and predicts; 0 without a
 * decoder. */
int64_t ct_model_decoder_tokens(const ct_model *model);
/* Copies the path of `words vectors=PATH`; false if there is none (no error) or it does not fit. */
bool ct_description_word_vectors(const ct_description *description, char *path, size_t size);
/* Whether [image] begins with `pictures`, and how they enter; false if not (no error), or, with an
 * error, if its options are wrong. */
bool ct_description_pictures(const ct_description *description, ct_picture_form *form);
/* Writes to *released whether `key` of [compat] ("tokens") is set to what the released code does,
 * by itself or by `preset = released`. False and an error, naming file and line, if the section is
 * wrong. */
bool ct_compat_released(const ct_description *description, const char *key, bool *released);
/* Key i of [compat], from 0, its two values "OURS|RELEASED", and whether the preset switches it;
 * false behind the last. */
bool ct_compat_key(int i, const char **key, const char **choices, bool *in_preset);
/* True for the sections of a model description: [image], [text], [loss], [compat]. */
bool ct_model_section(const char *section);

/* Where ranks share a batch (ct_model_losses): whether each rank compares only its own rows with
 * all, instead of computing the whole similarity matrix (docs/scaling.md). Terms, gradients, reward
 * and advantage add up to the same but for rounding. Default false. False and an error for NULL. */
bool ct_model_local_loss(ct_model *model, bool local);
/* Activation checkpointing: in training, the modules called `name` ("gcn": all of gcn.0, gcn.1, ..;
 * "image.gcn"; "decoder": the text decoder with its loss) keep only their inputs and are run again
 * in backward: less memory, the same bits, and their forward pass twice. False with an error that
 * suggests the nearest name if there is none. The batch must stay until backward. */
bool ct_model_checkpoint(ct_model *model, const char *name);

/* ---- computing ---------------------------------------------------------------------------- */

/* One training batch: pair i is image i and caption i. Captions start with <start> and end with
 * <end>; lengths count both.
 *
 * Lengths on the CPU are checked, and steps beyond them are left out where that spares work.
 * Lengths where the words are, on a device, are not read: all that depends on them is computed
 * there, for all T steps, and shapes depend on (B,T) alone, so that a step can be captured and
 * replayed with other lengths. They are then taken to be right: who makes them (the encoder,
 * train/data/data.h) sees to that. Results are the same but for rounding. */
typedef struct {
    ct_tensor *images;      /* (B,N,F); pictures (B,3,size*size), or what the front makes of them */
    ct_tensor *words;       /* (B,T) i64 word ids, 0 beyond a length; NULL if vectors are given */
    ct_tensor *vectors;     /* (B,T,E) word vectors given directly (recorded steps), or NULL */
    ct_tensor *lengths;     /* (B) i64, 1..T, on the CPU or where the words are */
    ct_tensor *classes;     /* (B) i64 the training image's row plus ct_model_first_class, for the
                             * instance loss and same_image=ignored, or NULL */
    ct_tensor *targets;     /* (B,M) i64 the decoder's tokens where they are not `words`, or NULL */
    ct_tensor *target_mask; /* (B,M) of the embeddings' dtype, 1 where a target counts, or NULL */
} ct_batch;

/* Embeddings in the module's present mode. `rng` is drawn from by policies (names
 * "img_enc.gumbel_u", ".choice", ".z1", ".z2" and "txt_enc...") and by dropout in training; NULL
 * is the thread's default generator. */
ct_tensor *ct_model_embed_images(ct_model *model, ct_tensor *images, ct_rng *rng);
ct_tensor *ct_model_embed_captions(ct_model *model, const ct_batch *batch, ct_rng *rng);

/* The front of [image]: `pictures` and a backbone of which nothing is trained (finetune=no). It
 * always gives the same regions (N,F) for a picture, so they may be computed once and given as
 * ct_batch.images in place of the pictures. False, no error, without one. */
bool ct_model_front(const ct_model *model, int64_t *regions, int64_t *features);
/* Its modules, borrowed, in the order in which they run, from 0: the regions depend on nothing
 * else. NULL, no error, after the last. */
ct_module *ct_model_front_module(const ct_model *model, int i);
/* (B,3,size*size) -> (B,N,F), a constant. NULL and an error without a front. */
ct_tensor *ct_model_run_front(ct_model *model, ct_tensor *images);
/* Reads the files of the backbones' `weights=`: to be called once, unless the model's weights come
 * from a file of its own. True too if there are none; errors as of ct_backbone_load. */
bool ct_model_load_backbones(ct_model *model);

/* Embeddings (B,D) as losses and rankings take them: l2-normalised rows, or unchanged under
 * `normalise = no`. Similarity for a ranking: ct_similarity(ranked, ranked, ct_model_measure). NULL
 * gives NULL. */
ct_tensor *ct_model_ranked(const ct_model *model, ct_tensor *embeddings);

/* Loss terms of a step; a term that is not configured is NULL. Terms that a program registered
 * (models/register.h) are listed apart. */
typedef enum {
    CT_LOSS_TOTAL,
    CT_LOSS_RETRIEVAL,
    CT_LOSS_DISCRETE_IMAGE,
    CT_LOSS_DISCRETE_TEXT,
    CT_LOSS_CONTINUOUS_IMAGE,
    CT_LOSS_CONTINUOUS_TEXT,
    CT_LOSS_INSTANCE_IMAGE,
    CT_LOSS_INSTANCE_TEXT,
    CT_LOSS_DECODER,
    CT_LOSS_COUNT
} ct_loss_term;
const char *ct_loss_name(ct_loss_term term); /* "retrieval" */

enum { CT_MOST_OWN_LOSSES = 8 };
/* The key of [loss] of registered term i, in the file's order, borrowed; NULL after the last. */
const char *ct_model_own_loss(const ct_model *model, int i);

typedef struct {
    ct_tensor *term[CT_LOSS_COUNT];     /* scalars, unweighted; TOTAL: the weighted sum of all */
    ct_tensor *own[CT_MOST_OWN_LOSSES]; /* scalars, unweighted; NULL under weight 0 */
    ct_tensor *image_embeddings, *caption_embeddings; /* (B,D), as ct_model_embed_* give them */
    ct_tensor *reward, *advantage;                    /* (B), constants; NULL without policy */
    ct_tensor *image_weights, *caption_weights;       /* (B,S,H) attention, constants; or NULL */
} ct_losses;

/* Text encoder first, then image, reward, losses. `epoch` (from 0) decides options that change
 * with time: `retrieval = hinge negatives=hardest sum_epochs=1` sums over all negatives in the
 * first epoch.
 * Within CT_OVER_RANKS (tensor/ranks/ranks.h) `batch` has this rank's rows, as many as every other
 * rank's and captions as wide; the terms are its shares of the whole batch's, which add up to them;
 * reward and advantage are the whole batch's. Terms of one's own are shared as their kind says
 * (models/register.h, ct_loss_sharing). */
ct_losses ct_model_losses(ct_model *model, const ct_batch *batch, int64_t epoch, ct_rng *rng);

/* The phase that an epoch belongs to: for batches of one shape, the steps of all epochs of a phase
 * run the same operations. */
int64_t ct_model_phase(const ct_model *model, int64_t epoch);

/* Reward and advantage (B) from S (B,B), no gradient (docs/model.md, "Reward"). The advantage is
 * the reward less `weight` times the baseline, the mean of all rewards, or, leave_one_out, of the
 * other samples' (0 if there are none). In the innermost scope; NULL with an error for other
 * shapes.
 */
ct_tensor *ct_retrieval_reward(const ct_tensor *similarity);
ct_tensor *ct_reward_advantage(const ct_tensor *reward, bool leave_one_out, double weight);

/* ---- looking at a model ------------------------------------------------------------------- */

/* Why the embedding of an image, or of a caption, is not finite: a batch of one is run in
 * evaluation mode, and `text` gets the first module whose result is not finite, and the reason ("at
 * [image] norm (l2norm) feature 3 is 0 in all its regions, ..."). False, no error, if all results
 * are finite, or if the module's own parameters are not: then the sample is not to blame. False and
 * an error if the sample does not fit the model. */
bool ct_model_explain(ct_model *model, const ct_batch *sample, bool caption, char *text,
                      size_t size);

typedef struct {
    const char *part;   /* "image", "text", "loss" */
    const char *name;   /* "gcn.0" */
    const char *module; /* "region_gcn" */
    ct_shape output;    /* for a batch of `batch` pairs and captions of `words` words */
    int64_t parameters;
    double flops;      /* multiply-adds times 2 of the forward pass at those sizes */
    bool checkpointed; /* ct_model_checkpoint: the forward pass is done twice in training */
} ct_model_row;
/* Rows from malloc, freed by the caller with free(); their strings belong to the model. NULL with
 * an error without memory. */
ct_model_row *ct_model_table(const ct_model *model, int64_t batch, int64_t words, int *count);

/* How a trained model computes its embeddings: a line for each module with all its options, then
 * measure, normalisation and switches: "[image] fc = linear width=1024 bias=yes\n...". Two models
 * with the same text differ only in their parameters or in what matters to training alone. From
 * malloc; NULL and an error for a NULL model or when out of memory. */
char *ct_model_text(const ct_model *model);

/* ---- names -------------------------------------------------------------------------------- */

/* The released code's state-dict name ("img_enc.Rs_GCN_1.g.weight") of one of ours, into `out`;
 * false if it has none. */
bool ct_released_name(const ct_model *model, const char *name, char *out, size_t size);
/* Files of its state dictionaries, converted checkpoints and recorded cases ("param.NAME") alike,
 * for ct_module_save_as and ct_module_load_as. Reading ignores the parameters that the released
 * code has and does not use; classifier and decoder, which its checkpoints lack, may be missing.
 * Writing gives 1x1 convolutions their third dimension. Given word vectors are in no such file.
 * The model outlives the form. */
ct_state_form ct_released_form(const ct_model *model);

CT_END_DECLS

#endif
