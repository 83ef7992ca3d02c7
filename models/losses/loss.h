/* SPDX-License-Identifier: Apache-2.0 */
/* [loss]: what is trained, and with what weights. Internal to models/. */
#ifndef CT_MODELS_LOSS_H
#define CT_MODELS_LOSS_H

#include "models/graph/graph.h"

/* Weight 0: not configured, not computed. */
typedef struct {
    double retrieval, discrete_policy, continuous_policy, instance, decoder;
    ct_ranking_options ranking;
    int64_t sum_epochs; /* all negatives in the first epochs, then as `ranking` says */
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

/* ---- convolutional captioner: models/losses/decoder.c
 * ---------------------------------------------- */

/* `words` is the width of the word vectors, `width` that of the embedding. */
ct_module *ct_decoder_create(const ct_loss_config *config, int64_t words, int64_t width,
                             int64_t vocabulary);
/* vectors (B,M,E), embedding (B,D) -> (B,M,hidden): what the layer over the vocabulary reads. */
ct_tensor *ct_decoder_states(ct_module *decoder, const ct_loss_config *config, ct_tensor *vectors,
                             ct_tensor *embedding, ct_rng *rng);
/* Mean cross-entropy of the next token over the positions that count, scalar; of captions of more
 * than config->convcap.tokens, the first so many. */
ct_tensor *ct_decoder_loss(ct_module *decoder, const ct_loss_config *config,
                           const ct_compat *compat, const ct_batch *batch, ct_tensor *vectors,
                           ct_tensor *embedding, ct_rng *rng);
double ct_decoder_flops(const ct_loss_config *config, double words, double width, double vocabulary,
                        double rows, double steps);

#endif
