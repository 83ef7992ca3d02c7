/* SPDX-License-Identifier: Apache-2.0 */
/* What a ct_model is. Internal to models/. */
#ifndef CT_MODELS_MODEL_H
#define CT_MODELS_MODEL_H

#include "models/losses/loss.h"
#include "tensor/core/check.h"

struct ct_model {
    ct_model_sizes sizes; /* word_vectors, word_known: NULL, they belong to the caller */
    ct_compat compat;
    ct_loss_config loss;
    ct_graph_chain image, text;
    ct_module *module;     /* owns all below */
    ct_module *classifier; /* hidden, output; or NULL */
    ct_module *decoder;    /* or NULL */
    bool decoder_checkpointed;
    bool local_loss; /* ct_model_local_loss */
};

/* Makes the modules of the registered losses: models/losses/own.c */
bool ct_own_losses_build(ct_model *model);

/* The model is there; else an error naming op. */
bool ct_model_given(const char *op, const ct_model *model);
/* Words or vectors and lengths of a batch are there and fit; else an error. */
bool ct_model_check_captions(const ct_batch *batch);
/* What a run begins with. rng NULL: the thread's default generator. */
ct_graph_state ct_model_state(const ct_model *model, ct_rng *rng);
/* Images (B,N,F) or captions to embeddings, leaving in `state` what the losses need. */
ct_tensor *ct_model_run_images(const ct_model *model, ct_tensor *images, ct_graph_state *state);
ct_tensor *ct_model_run_captions(const ct_model *model, const ct_batch *batch,
                                 ct_graph_state *state);

#endif
