/* SPDX-License-Identifier: Apache-2.0 */
/* The losses of a training step (docs/model.md, "Losses"). */
#include <string.h>

#include "models/graph/model.h"

const char *ct_loss_name(ct_loss_term term) {
    static const char *const names[CT_LOSS_COUNT] = {
        [CT_LOSS_TOTAL] = "total",
        [CT_LOSS_RETRIEVAL] = "retrieval",
        [CT_LOSS_DISCRETE_IMAGE] = "discrete_image",
        [CT_LOSS_DISCRETE_TEXT] = "discrete_text",
        [CT_LOSS_CONTINUOUS_IMAGE] = "continuous_image",
        [CT_LOSS_CONTINUOUS_TEXT] = "continuous_text",
        [CT_LOSS_INSTANCE_IMAGE] = "instance_image",
        [CT_LOSS_INSTANCE_TEXT] = "instance_text",
        [CT_LOSS_DECODER] = "decoder",
    };
    return (unsigned)term < CT_LOSS_COUNT ? names[term] : NULL;
}

/* A step at work: embeddings as the losses take them, and what the policies left. */
typedef struct {
    ct_model *model;
    const ct_batch *batch;
    int64_t epoch;
    ct_graph_state image, text;
    ct_tensor *images, *captions;         /* of this rank */
    ct_tensor *all_images, *all_captions; /* of the whole batch: the same unless ranks share it */
} ct_step;

/* A mean over the whole batch, which every rank computes, or over as many rows on every rank, as
 * this rank's share of the whole's: the shares add up to it. */
static ct_tensor *share_of(ct_tensor *mean) {
    return ct_over_ranks() ? ct_scale(mean, 1.0 / ct_ranks()) : mean;
}

bool ct_model_local_loss(ct_model *model, bool local) {
    if (!ct_model_given("model_local_loss", model)) return false;
    model->local_loss = local;
    return true;
}

enum { PHASE_SUM, PHASE_CONFIGURED };

int64_t ct_model_phase(const ct_model *model, int64_t epoch) {
    if (!ct_model_given("model_phase", model)) return PHASE_SUM;
    return epoch < model->loss.sum_epochs ? PHASE_SUM : PHASE_CONFIGURED;
}

/* Each rank ranks its own rows alone. */
static bool is_local(const ct_step *step) { return step->model->local_loss && ct_over_ranks(); }

/* Which pairs are no negatives: of the rows that are ranked here. */
static ct_tensor *same_images(const ct_step *step) {
    const ct_tensor *classes = step->batch->classes;
    if (!classes) return ct_fail("model: 'same_image=ignored' needs the batch's classes");
    if (is_local(step)) return ct_local_same_images(classes);
    return ct_same_images(ct_over_ranks() ? ct_tensor_all_gather(classes) : classes);
}

static ct_tensor *retrieval(const ct_step *step) {
    ct_ranking_options options = step->model->loss.ranking;
    if (ct_model_phase(step->model, step->epoch) == PHASE_SUM) options.hardest = false;
    if (step->model->loss.ignore_same_image && !(options.left_out = same_images(step))) return NULL;
    if (is_local(step))
        return ct_local_ranking_loss(step->images, step->all_images, step->captions,
                                     step->all_captions, &options);
    return share_of(ct_ranking_loss(step->all_images, step->all_captions, &options));
}

/* ---- policies ------------------------------------------------------------------------------- */

/* (B), of the whole batch. */
static ct_tensor *reward_of(const ct_step *step) {
    bool cosine = step->model->compat.released[CT_COMPAT_COSINE_REWARD];
    ct_measure measure = cosine ? CT_COSINE : step->model->loss.measure;
    if (!is_local(step))
        return ct_retrieval_reward(ct_similarity(step->all_images, step->all_captions, measure));
    ct_tensor *to_captions, *to_images;
    bool ranked = ct_local_ranks(step->images, step->all_images, step->captions, step->all_captions,
                                 measure, &to_captions, &to_images);
    return ranked ? ct_reward_of_ranks(to_captions, to_images) : NULL;
}

static bool reward(const ct_step *step, ct_losses *losses) {
    CT_NO_GRAD {
        losses->reward = reward_of(step);
        losses->advantage = ct_reward_advantage(losses->reward, step->model->loss.leave_one_out,
                                                step->model->loss.baseline_weight);
    }
    return losses->advantage != NULL;
}

/* Those of the whole batch that are this rank's. */
static ct_tensor *own_rows(ct_tensor *x) {
    if (!x || !ct_over_ranks()) return x;
    int64_t rows = ct_dim(x, 0) / ct_ranks(), first = ct_rank() * rows;
    return ct_tensor_slice(x, 0, first, first + rows, 1);
}

/* - sum over heads of the mean over samples and steps of log_probability * advantage */
static ct_tensor *policy_loss(const ct_policy_output *policy, ct_tensor *log_probability,
                              ct_tensor *advantage) {
    if (!log_probability || !advantage) return NULL;
    bool shared = ct_over_ranks();
    ct_tensor *weight = ct_tensor_reshape(own_rows(advantage), CT_SHAPE(-1, 1, 1));
    if (policy->valid) weight = ct_tensor_mul(policy->valid, weight);
    ct_tensor *sum = ct_sum_all(ct_mul(log_probability, weight));
    if (!policy->valid && shared) return ct_scale(sum, -1.0 / (double)(policy->steps * ct_ranks()));
    if (policy->steps != CT_STEPS_ON_DEVICE && !shared)
        return ct_scale(sum, -1.0 / (double)policy->steps);
    ct_tensor *steps = ct_tensor_reduce(CT_SUM, policy->valid, CT_ALL_AXES, false);
    if (!steps || (shared && !ct_tensor_all_reduce(steps))) return NULL;
    return ct_div(ct_neg(sum), steps);
}

static ct_tensor *last_head(ct_tensor *log_probability) {
    int64_t heads = ct_dim(log_probability, 2);
    return ct_slice(log_probability, 2, heads - 1, heads, 1);
}

static bool policies(const ct_step *step, ct_losses *losses) {
    const ct_model *model = step->model;
    const ct_policy_output *image = &step->image.policy, *text = &step->text.policy;
    bool discrete = model->loss.discrete_policy > 0, continuous = model->loss.continuous_policy > 0;
    losses->image_weights = image->weight;
    losses->caption_weights = text->weight;
    if (!discrete && !continuous) return true;
    if (!reward(step, losses)) return false;
    if (discrete) {
        losses->term[CT_LOSS_DISCRETE_IMAGE] =
            policy_loss(image, image->log_discrete, losses->advantage);
        losses->term[CT_LOSS_DISCRETE_TEXT] =
            policy_loss(text, text->log_discrete, losses->advantage);
    }
    if (continuous) {
        ct_tensor *log_image = image->log_continuous;
        if (log_image && model->compat.released[CT_COMPAT_LAST_HEAD])
            log_image = last_head(log_image);
        losses->term[CT_LOSS_CONTINUOUS_IMAGE] = policy_loss(image, log_image, losses->advantage);
        losses->term[CT_LOSS_CONTINUOUS_TEXT] =
            policy_loss(text, text->log_continuous, losses->advantage);
    }
    return ct_ok();
}

/* ---- instance classes ----------------------------------------------------------------------- */

static ct_tensor *instance(const ct_model *model, ct_tensor *embedding, ct_tensor *classes) {
    ct_tensor *hidden = ct_relu(ct_linear(ct_module_child(model->classifier, "hidden"), embedding));
    ct_tensor *logits = ct_linear(ct_module_child(model->classifier, "output"), hidden);
    return share_of(ct_cross_entropy(logits, classes, NULL));
}

/* ---- decoder -------------------------------------------------------------------------------- */

/* Inputs: word vectors, the captions' embeddings, then the batch's tensors that it reads. */
enum { VECTORS, EMBEDDINGS, WORDS, LENGTHS, TARGETS, TARGET_MASK, DECODER_INPUTS };
typedef struct {
    const ct_model *model;
    ct_rng *rng; /* NULL after the first run: see models/graph/run.c */
    ct_rng again;
} decoding;

static bool decode(void *context, ct_tensor *const *input, int inputs, ct_tensor **output) {
    (void)inputs;
    decoding *d = context;
    ct_rng *rng = d->rng ? d->rng : &d->again;
    d->rng = NULL;
    ct_batch batch = {.words = input[WORDS],
                      .lengths = input[LENGTHS],
                      .targets = input[TARGETS],
                      .target_mask = input[TARGET_MASK]};
    output[0] = ct_decoder_loss(d->model->decoder, &d->model->loss, &d->model->compat, &batch,
                                input[VECTORS], input[EMBEDDINGS], rng);
    return output[0] != NULL;
}

/* In a scope of its own, so that only what the gradient needs stays, or not even that. */
static ct_tensor *decoder(const ct_step *step) {
    const ct_batch *batch = step->batch;
    ct_rng *rng = step->text.rng;
    decoding d = {step->model, rng, *rng};
    ct_tensor *input[DECODER_INPUTS] = {[VECTORS] = step->text.word_vectors,
                                        [EMBEDDINGS] = step->captions,
                                        [WORDS] = batch->words,
                                        [LENGTHS] = batch->lengths,
                                        [TARGETS] = batch->targets,
                                        [TARGET_MASK] = batch->target_mask};
    ct_tensor *loss = NULL;
    CT_SCOPE {
        bool twice = step->model->decoder_checkpointed && ct_grad_enabled();
        bool done =
            twice ? ct_checkpoint_several(decode, &d, sizeof d, DECODER_INPUTS, input, 1, &loss)
                  : decode(&d, input, DECODER_INPUTS, &loss);
        if (done) ct_escape(loss);
    }
    return ct_ok() ? loss : NULL;
}

/* ---- all ------------------------------------------------------------------------------------ */

static double weight_of(const ct_loss_config *config, int term) {
    switch (term) {
    case CT_LOSS_RETRIEVAL: return config->retrieval;
    case CT_LOSS_DISCRETE_IMAGE:
    case CT_LOSS_DISCRETE_TEXT: return config->discrete_policy;
    case CT_LOSS_CONTINUOUS_IMAGE:
    case CT_LOSS_CONTINUOUS_TEXT: return config->continuous_policy;
    case CT_LOSS_INSTANCE_IMAGE:
    case CT_LOSS_INSTANCE_TEXT: return config->instance;
    case CT_LOSS_DECODER: return config->decoder;
    default: return 0;
    }
}

static void add_weighted(ct_tensor **total, ct_tensor *term, double weight) {
    if (!term) return;
    ct_tensor *weighted = ct_scale(term, weight);
    *total = *total ? ct_add(*total, weighted) : weighted;
}

static ct_tensor *weighted_sum(const ct_loss_config *config, const ct_losses *losses) {
    ct_tensor *total = NULL;
    for (int i = CT_LOSS_TOTAL + 1; i < CT_LOSS_COUNT; i++)
        add_weighted(&total, losses->term[i], weight_of(config, i));
    for (int i = 0; i < config->owns; i++)
        add_weighted(&total, losses->own[i], config->own[i].weight);
    return total;
}

/* The whole batch's is computed as one process would: what is drawn and batch norms are of all
 * rows. */
static ct_tensor *own_term_of_all_rows(const ct_step *step, const ct_own_loss *own,
                                       ct_loss_input input) {
    input.images = step->all_images;
    input.captions = step->all_captions;
    bool over_ranks = ct_set_over_ranks(false);
    ct_tensor *term = ct_own_loss_compute(own, input);
    ct_set_over_ranks(over_ranks);
    return term;
}

static ct_tensor *own_term(const ct_step *step, const ct_own_loss *own, ct_loss_input input) {
    if (!ct_over_ranks()) return ct_own_loss_compute(own, input);
    switch (own->kind->sharing) {
    case CT_LOSS_MEAN_OF_ROWS: return share_of(ct_own_loss_compute(own, input));
    case CT_LOSS_OF_ALL_ROWS: return share_of(own_term_of_all_rows(step, own, input));
    default:
        return ct_fail("model: loss %s: a '%s' does not say how several ranks share it "
                       "(ct_loss_kind.sharing)",
                       own->key, own->kind->name);
    }
}

static bool own_terms(const ct_step *step, ct_losses *losses) {
    const ct_loss_config *config = &step->model->loss;
    ct_loss_input input = {.batch = step->batch,
                           .images = step->images,
                           .captions = step->captions,
                           .epoch = step->epoch,
                           .rng = step->text.rng,
                           .training = step->text.training};
    for (int i = 0; i < config->owns; i++) {
        if (config->own[i].weight == 0) continue;
        losses->own[i] = own_term(step, &config->own[i], input);
        if (!losses->own[i]) return false;
    }
    return true;
}

static bool embed(ct_step *step, ct_losses *losses) {
    ct_model *model = step->model;
    /* the text encoder first: recorded and repeated runs draw in this order */
    losses->caption_embeddings = ct_model_run_captions(model, step->batch, &step->text);
    losses->image_embeddings = ct_model_run_images(model, step->batch->images, &step->image);
    if (!losses->caption_embeddings || !losses->image_embeddings) return false;
    if (ct_dim(losses->image_embeddings, 0) != ct_dim(losses->caption_embeddings, 0))
        return ct_fail("model: %lld images but %lld captions, expected pairs",
                       (long long)ct_dim(losses->image_embeddings, 0),
                       (long long)ct_dim(losses->caption_embeddings, 0)) != NULL;
    step->images = ct_model_ranked(model, losses->image_embeddings);
    step->captions = ct_model_ranked(model, losses->caption_embeddings);
    bool shared = ct_over_ranks();
    step->all_images = shared ? ct_all_gather(step->images) : step->images;
    step->all_captions = shared ? ct_all_gather(step->captions) : step->captions;
    return step->all_images && step->all_captions;
}

static bool run(ct_step *step, ct_losses *losses) {
    ct_model *model = step->model;
    const ct_loss_config *config = &model->loss;
    ct_tensor **term = losses->term;
    if (!embed(step, losses)) return false;
    if (config->retrieval > 0) term[CT_LOSS_RETRIEVAL] = retrieval(step);
    if (!policies(step, losses)) return false;
    if (config->instance > 0) {
        if (!step->batch->classes)
            return ct_fail("model: the instance loss needs the batch's classes") != NULL;
        term[CT_LOSS_INSTANCE_IMAGE] = instance(model, step->images, step->batch->classes);
        term[CT_LOSS_INSTANCE_TEXT] = instance(model, step->captions, step->batch->classes);
    }
    if (config->decoder > 0) term[CT_LOSS_DECODER] = decoder(step);
    if (!own_terms(step, losses)) return false;
    term[CT_LOSS_TOTAL] = weighted_sum(config, losses);
    return ct_ok();
}

/* Lets all tensors of a ct_losses out of the scope. */
static void escape(ct_losses *losses) {
    ct_tensor *all[] = {losses->image_embeddings, losses->caption_embeddings,
                        losses->reward,           losses->advantage,
                        losses->image_weights,    losses->caption_weights};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ct_escape(all[i]);
    for (int i = 0; i < CT_LOSS_COUNT; i++) ct_escape(losses->term[i]);
    for (int i = 0; i < CT_MOST_OWN_LOSSES; i++) ct_escape(losses->own[i]);
}

ct_losses ct_model_losses(ct_model *model, const ct_batch *batch, int64_t epoch, ct_rng *rng) {
    ct_losses losses = {0};
    if (!model || !batch) {
        ct_fail("model_losses: the model or the batch is NULL");
        return losses;
    }
    CT_SCOPE {
        ct_step step = {.model = model,
                        .batch = batch,
                        .epoch = epoch,
                        .image = ct_model_state(model, rng),
                        .text = ct_model_state(model, rng)};
        if (!run(&step, &losses)) return (ct_losses){0};
        escape(&losses);
    }
    return losses;
}
