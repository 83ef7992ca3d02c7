/* SPDX-License-Identifier: Apache-2.0 */
/* [loss]: what is trained, and with what weights. Internal to models/. */
#ifndef CT_MODELS_LOSS_H
#define CT_MODELS_LOSS_H

#include "models/graph/graph.h"

/* A term registered from outside (models/register.h). */
enum { CT_OWN_KEY = 64 };
typedef struct {
    const ct_loss_kind *kind;
    char key[CT_OWN_KEY];
    ct_option_value value[CT_MAX_OPTIONS];
    double weight;
    ct_module *module; /* belongs to the model; or NULL */
} ct_own_loss;

/* Weight 0: not configured, not computed. */
typedef struct {
    ct_own_loss own[CT_MOST_OWN_LOSSES]; /* the first `owns` */
    int owns;
    double retrieval, discrete_policy, continuous_policy, instance, decoder;
    ct_ranking_options ranking;
    int64_t sum_epochs;     /* all negatives in the first epochs, then as `ranking` says */
    bool ignore_same_image; /* captions of one image are not each other's negatives */
    int64_t instance_hidden, instance_classes; /* classes: outputs */
    struct {
        int64_t width, hidden, layers, kernel;
        int64_t tokens; /* of a caption that are read and predicted, at most */
        double dropout;
    } convcap;
    ct_measure measure;
    bool normalise, leave_one_out;
    double baseline_weight;
} ct_loss_config;

/* Outputs under `classes = released`: COCO's 113287 training images are numbered from 1. */
enum { CT_RELEASED_CLASSES = 113288 };

/* Reads the section; refuses policy losses without a policy to train and the reverse, and fewer
 * classes than `images` need. The chains are built. */
bool ct_loss_read(const ct_description *description, const ct_compat *compat,
                  const ct_graph_chain *image, const ct_graph_chain *text, int64_t images,
                  ct_loss_config *config);

/* ---- a rank's own rows against all: models/losses/local.c -----------------------------------
 *
 * Within CT_OVER_RANKS: images, captions (b,D) are the rank's, all_images, all_captions (B,D) all
 * ranks', gathered. What comes out adds up, over ranks, to what the whole matrix gives. */

/* This rank's part of ct_ranking_loss(all_images, all_captions, o): a scalar. o->left_out is (b,B),
 * its rows alone. */
ct_tensor *ct_local_ranking_loss(ct_tensor *images, ct_tensor *all_images, ct_tensor *captions,
                                 ct_tensor *all_captions, const ct_ranking_options *o);
/* The rank's rows (b,B) of ct_same_images, of its own numbers (b). */
ct_tensor *ct_local_same_images(const ct_tensor *numbers);
/* The ranks of all pairs (B), in the embeddings' dtype, of which each rank counts its own. */
bool ct_local_ranks(ct_tensor *images, ct_tensor *all_images, ct_tensor *captions,
                    ct_tensor *all_captions, ct_measure measure, ct_tensor **to_captions,
                    ct_tensor **to_images);
/* The reward (B) of such ranks: as ct_retrieval_reward of the similarities that they were counted
 * in. */
ct_tensor *ct_reward_of_ranks(const ct_tensor *to_captions, const ct_tensor *to_images);

/* ---- the released code's: models/released/order.c ------------------------------------------- */

/* CT_ORDER of a (N,D), b (M,D) with NaN gradients where two vectors are equal, as of a square root
 * at 0. */
ct_tensor *ct_released_order_similarity(ct_tensor *a, ct_tensor *b);

/* ---- terms registered from outside: models/losses/own.c ---------------------------------- */

/* The kind that an entry's value begins with; NULL, no error, if it is none. */
const ct_loss_kind *ct_loss_kind_find(const char *value);
/* Adds the term of an entry whose first part is a registered one's name. */
bool ct_own_loss_read(const ct_spec *spec, ct_loss_config *config);
/* A scalar of `input`, which lacks module and options. */
ct_tensor *ct_own_loss_compute(const ct_own_loss *own, ct_loss_input input);

/* ---- convolutional captioner: models/losses/decoder.c ---------------------------------------- */

/* `words` is the width of the word vectors, `width` that of the embedding. */
ct_module *ct_decoder_create(const ct_loss_config *config, int64_t words, int64_t width,
                             int64_t vocabulary);
/* vectors (B,M,E), embedding (B,D) -> (B,M,hidden): what the layer over the vocabulary reads. */
ct_tensor *ct_decoder_states(ct_module *decoder, const ct_loss_config *config, ct_tensor *vectors,
                             ct_tensor *embedding, ct_rng *rng);
/* Mean cross-entropy of the next token over the positions that count, scalar; of captions of more
 * than config->convcap.tokens, the first so many. vectors (B,T,E), or those of the batch's lengths
 * packed, (R,E). Where ranks share the batch, this one's share of the mean over the positions of
 * all. */
ct_tensor *ct_decoder_loss(ct_module *decoder, const ct_loss_config *config,
                           const ct_compat *compat, const ct_batch *batch, ct_tensor *vectors,
                           ct_tensor *embedding, ct_rng *rng);
double ct_decoder_flops(const ct_loss_config *config, double words, double width, double vocabulary,
                        double rows, double steps);

#endif
