/* SPDX-License-Identifier: Apache-2.0 */
/* The text decoder: a convolutional captioner (Aneja, Deshpande, Schwing, CVPR 2018) of
 * weight-normalised layers, conditioned on the caption embedding. Its loss is low if the caption
 * can be reconstructed from the embedding, word by word. */
#include <math.h>
#include <stdio.h>

#include "models/losses/loss.h"
#include "nn/packed.h"

/* ---- building ------------------------------------------------------------------------------- */

/* weight ~ N(0, sqrt(variance)), bias 0, then split into weight_g and weight_v. */
static ct_module *normal_start(ct_module *module, double variance) {
    if (!module) return NULL;
    if (ct_init_normal(ct_module_tensor(module, "weight"), 0, sqrt(variance), ct_default_rng()) &&
        ct_init_constant(ct_module_tensor(module, "bias"), 0) && ct_weight_norm_apply(module))
        return module;
    ct_module_destroy(module);
    return NULL;
}

static bool add_linear(ct_module *decoder, const char *name, int64_t in, int64_t out,
                       double dropout) {
    ct_module *linear = normal_start(ct_linear_create(in, out, true), (1 - dropout) / (double)in);
    return linear && ct_module_add(decoder, name, linear);
}

static bool add_convolutions(ct_module *decoder, const ct_loss_config *config) {
    int64_t width = config->convcap.width, kernel = config->convcap.kernel;
    ct_conv1d_options options = ct_conv1d_defaults();
    options.causal = true;
    ct_module *convs = ct_module_add(decoder, "convs", ct_module_create("convs"));
    for (int64_t i = 0; i < config->convcap.layers; i++) {
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)i);
        int64_t in = i ? width : 2 * width;
        double variance = 4 * (1 - config->convcap.dropout) / (double)(kernel * in);
        ct_module *conv = normal_start(ct_conv1d_create(in, 2 * width, kernel, &options), variance);
        if (!convs || !conv || !ct_module_add(convs, name, conv)) return false;
    }
    return true;
}

ct_module *ct_decoder_create(const ct_loss_config *config, int64_t words, int64_t width,
                             int64_t vocabulary) {
    int64_t inner = config->convcap.width, hidden = config->convcap.hidden;
    double dropout = config->convcap.dropout;
    ct_module *decoder = ct_module_create("convcap");
    if (decoder && add_linear(decoder, "words", words, inner, dropout) &&
        add_linear(decoder, "condition", width, inner, dropout) &&
        add_linear(decoder, "residual", 2 * inner, inner, dropout) &&
        add_convolutions(decoder, config) &&
        add_linear(decoder, "hidden", inner, hidden, dropout) &&
        add_linear(decoder, "output", hidden, vocabulary, dropout))
        return decoder;
    ct_module_destroy(decoder);
    return NULL;
}

/* ---- forward -------------------------------------------------------------------------------- */

/* Captions (B,tokens,..), or, with `lengths`, packed. */
typedef struct {
    ct_module *decoder;
    const ct_loss_config *config;
    ct_rng *rng;
    int64_t batch, tokens;
    ct_tensor *lengths; /* (B) i64 on the CPU, as of ct_packed_positions; NULL: padded */
    ct_tensor *positions, *sequences; /* if packed: (R) i64, for each row */
} reading;

static ct_tensor *dropped(const reading *r, ct_tensor *x) {
    double p = r->config->convcap.dropout;
    if (!ct_module_training(r->decoder)) return x;
    if (!r->lengths) return ct_dropout_with(x, p, r->rng, "decoder.dropout");
    ct_shape whole = CT_SHAPE(r->batch, r->tokens, ct_dim(x, 1));
    return ct_dropout_rows_with(x, r->positions, whole, p, r->rng, "decoder.dropout");
}

/* Each caption's vector beside the e of each of its tokens. */
static ct_tensor *beside(const reading *r, ct_tensor *e, ct_tensor *vector) {
    ct_tensor *each = r->lengths ? ct_index_select(vector, 0, r->sequences)
                                 : ct_expand(ct_unsqueeze(vector, 1), e->shape);
    return ct_concat2(e, each, -1);
}

static ct_tensor *convolved(const reading *r, int64_t layer, ct_tensor *x) {
    ct_module *conv = ct_module_child_at(ct_module_child(r->decoder, "convs"), (int)layer, NULL);
    return r->lengths ? ct_conv1d_packed(conv, x, r->lengths) : ct_conv1d(conv, x);
}

static ct_tensor *states_of(const reading *r, ct_tensor *vectors, ct_tensor *embedding) {
    ct_module *decoder = r->decoder;
    ct_tensor *e = ct_linear(ct_module_child(decoder, "words"), vectors);
    ct_tensor *c = ct_relu(ct_linear(ct_module_child(decoder, "condition"), embedding));
    if (!e || !c) return NULL;
    ct_tensor *x = beside(r, e, c);
    for (int64_t i = 0; i < r->config->convcap.layers; i++) {
        ct_tensor *residual = i ? x : ct_linear(ct_module_child(decoder, "residual"), x);
        ct_tensor *y = ct_glu(convolved(r, i, dropped(r, x)), -1);
        x = ct_scale(ct_add(y, residual), sqrt(0.5));
    }
    x = ct_linear(ct_module_child(decoder, "hidden"), x);
    return dropped(r, x);
}

ct_tensor *ct_decoder_states(ct_module *decoder, const ct_loss_config *config, ct_tensor *vectors,
                             ct_tensor *embedding, ct_rng *rng) {
    reading padded = {.decoder = decoder, .config = config, .rng = rng};
    return states_of(&padded, vectors, embedding);
}

/* ---- loss ----------------------------------------------------------------------------------- */
/* Position t of a caption predicts token t+1; it counts if that token does. */

/* What the loss is computed from. */
typedef struct {
    reading reading;
    const ct_batch *batch;
    bool pad;                     /* one padding target after <end> counts as well */
    ct_tensor *vectors, *targets; /* (B,T,E), or packed, and (B,tokens) i64 */
    ct_packing packing;           /* if the vectors are packed: by the batch's lengths */
    ct_tensor *embedding;
} work;

/* Columns 0 .. tokens-1 of (B,M) or (B,M,E). */
static ct_tensor *first_columns(ct_tensor *x, int64_t tokens) {
    return ct_dim(x, 1) > tokens ? ct_slice(x, 1, 0, tokens, 1) : x;
}

static bool is_packed(const work *w) { return ct_ndim(w->vectors) == 2; }

/* The vectors, cut or padded with zeros to (B,tokens,E). */
static ct_tensor *fitting_vectors(const work *w) {
    ct_tensor *vectors = is_packed(w) ? ct_unpack_steps(&w->packing, w->vectors) : w->vectors;
    int64_t have = ct_dim(vectors, 1), tokens = w->reading.tokens;
    return have < tokens ? ct_pad(vectors, 1, 0, tokens - have, 0) : first_columns(vectors, tokens);
}

/* The vectors of each caption's first counts[b] positions, packed. */
static ct_tensor *vectors_of(const work *w, const ct_tensor *counts) {
    bool packed = is_packed(w);
    int64_t steps = packed ? w->packing.steps : ct_dim(w->vectors, 1);
    ct_tensor *at = ct_packed_positions(counts, steps, w->targets->device);
    if (at && packed) at = ct_tensor_index_select(w->packing.rows, 0, at);
    ct_tensor *rows =
        packed ? w->vectors : ct_reshape(w->vectors, CT_SHAPE(-1, ct_dim(w->vectors, 2)));
    return at ? ct_index_select(rows, 0, at) : NULL;
}

/* The tokens that the positions predict, all but the last of each caption: (B*(tokens-1)). */
static ct_tensor *next_tokens(const work *w) {
    ct_tensor *next = ct_tensor_slice(w->targets, 1, 1, w->reading.tokens, 1);
    return next ? ct_tensor_reshape(next, CT_SHAPE(-1)) : NULL;
}

enum { IGNORED = -1 };

/* How many targets count over all ranks: a scalar of the dtype and device of x. */
static ct_tensor *counted_by_all(const ct_tensor *x, const ct_tensor *targets, bool ignore) {
    ct_tensor *count = ct_scalar(x->dtype, x->device, (double)ct_count(targets));
    if (ignore) {
        ct_tensor *ignored = ct_full(CT_I64, targets->device, CT_SCALAR_SHAPE, IGNORED);
        ct_tensor *counts = ct_tensor_compare(CT_COMPARE_not_equal, targets, ignored);
        counts = counts ? ct_tensor_cast(counts, x->dtype) : NULL;
        count = ct_tensor_reduce(CT_SUM, counts, CT_ALL_AXES, false);
    }
    return count && ct_tensor_all_reduce(count) ? count : NULL;
}

static ct_tensor *loss_of(const work *w, ct_tensor *states, ct_tensor *targets, bool ignore) {
    ct_cross_entropy_options options = ct_cross_entropy_defaults();
    options.ignore = ignore;
    options.ignore_index = IGNORED;
    bool shared = ct_over_ranks();
    if (shared) options.reduction = CT_REDUCE_SUM; /* this rank's share of the mean over all */
    ct_tensor *logits = ct_linear(ct_module_child(w->reading.decoder, "output"), states);
    ct_tensor *loss = ct_cross_entropy(logits, targets, &options);
    return loss && shared ? ct_div(loss, counted_by_all(loss, targets, ignore)) : loss;
}

/* How many positions of each caption count, if these are its first ones, the host knows how many,
 * and every caption has a token to predict; else NULL, no error. */
static ct_tensor *counted(const work *w) {
    const ct_tensor *lengths = w->batch->lengths;
    if (w->batch->target_mask || !lengths || ct_lengths_on_device(lengths) ||
        ct_count(lengths) != w->reading.batch)
        return NULL;
    ct_tensor *counts = ct_tensor_copy(lengths);
    int64_t *count = counts ? ct_data(counts) : NULL;
    for (int64_t b = 0; count && b < w->reading.batch; b++) {
        count[b] += w->pad;
        if (count[b] > w->reading.tokens) count[b] = w->reading.tokens;
        if (--count[b] < 1) return NULL;
    }
    return counts;
}

/* Only the positions that count are computed. */
static ct_tensor *packed_loss(work *w, ct_tensor *counts) {
    reading *r = &w->reading;
    ct_device device = w->targets->device;
    r->lengths = counts;
    r->positions = ct_packed_positions(counts, r->tokens, device);
    r->sequences = ct_packed_sequences(counts, device);
    ct_tensor *targets_at = ct_packed_positions(counts, r->tokens - 1, device);
    if (!r->positions || !r->sequences || !targets_at) return NULL;
    ct_tensor *states = states_of(r, vectors_of(w, counts), w->embedding);
    return loss_of(w, states, ct_tensor_index_select(next_tokens(w), 0, targets_at), false);
}

/* u8 (B,tokens-1): whether tokens 1, 2, ... count. */
static ct_tensor *which_count(const work *w) {
    int64_t tokens = w->reading.tokens;
    const ct_tensor *mask = w->batch->target_mask;
    if (!mask)
        return ct_steps_within(w->batch->lengths, w->pad ? 0 : 1, tokens - 1, w->targets->device);
    return ct_tensor_compare(CT_COMPARE_not_equal, ct_tensor_slice(mask, 1, 1, tokens, 1),
                             ct_scalar(mask->dtype, mask->device, 0));
}

/* Lengths on a device are not read: then some are taken to count. */
static bool any_counts(const work *w, const ct_tensor *counts) {
    if (w->reading.tokens < 2) return false;
    if (!counts || ct_lengths_on_device(w->batch->lengths)) return true;
    const ct_tensor *numbers = ct_tensor_cast(counts, CT_F32);
    return ct_item(ct_tensor_reduce(CT_MAX, numbers, CT_ALL_AXES, false)) > 0;
}

/* Over all B*(tokens-1) positions; those that do not count are IGNORED. */
static ct_tensor *padded_loss(const work *w) {
    int64_t tokens = w->reading.tokens;
    ct_tensor *counts = tokens > 1 ? which_count(w) : NULL;
    if (!any_counts(w, counts)) return ct_fail("decoder: no caption has a token to predict");
    ct_tensor *states = states_of(&w->reading, fitting_vectors(w), w->embedding);
    if (!states || !counts) return NULL;
    states = ct_slice(states, 1, 0, tokens - 1, 1);
    states = ct_reshape(states, CT_SHAPE(-1, ct_dim(states, 2)));
    ct_tensor *ignored = ct_full(CT_I64, counts->device, CT_SCALAR_SHAPE, IGNORED);
    counts = ct_tensor_reshape(counts, CT_SHAPE(-1));
    return loss_of(w, states, ct_tensor_where(counts, next_tokens(w), ignored), true);
}

static int64_t longest(const ct_tensor *lengths) {
    const int64_t *length = ct_data(lengths);
    int64_t most = 0;
    for (int64_t b = 0; b < ct_count(lengths); b++)
        if (length[b] > most) most = length[b];
    return most;
}

ct_tensor *ct_decoder_loss(ct_module *decoder, const ct_loss_config *config,
                           const ct_compat *compat, const ct_batch *batch, ct_tensor *vectors,
                           ct_tensor *embedding, ct_rng *rng) {
    ct_tensor *targets = batch->targets ? batch->targets : batch->words;
    if (!targets) return ct_fail("decoder: the batch has neither words nor targets");
    if (batch->target_mask && !ct_shape_equal(batch->target_mask->shape, targets->shape))
        return ct_fail("decoder: target_mask is %s, targets %s", ct_tensor_text(batch->target_mask),
                       ct_tensor_text(targets));
    targets = first_columns(targets, config->convcap.tokens);
    if (!targets) return NULL;
    work w = {.reading = {.decoder = decoder,
                          .config = config,
                          .rng = rng,
                          .batch = ct_dim(targets, 0),
                          .tokens = ct_dim(targets, 1)},
              .batch = batch,
              .pad = compat->released[CT_COMPAT_PAD_TARGET],
              .vectors = vectors,
              .targets = targets,
              .embedding = embedding};
    if (is_packed(&w) &&
        !ct_packing_make(&w.packing, batch->lengths, longest(batch->lengths), targets->device)) {
        return NULL;
    }
    ct_tensor *counts = counted(&w);
    return counts ? packed_loss(&w, counts) : padded_loss(&w);
}

double ct_decoder_flops(const ct_loss_config *config, double words, double width, double vocabulary,
                        double rows, double steps) {
    double inner = (double)config->convcap.width, hidden = (double)config->convcap.hidden;
    double layers = (double)config->convcap.layers, kernel = (double)config->convcap.kernel;
    /* the first layer reads twice the width */
    double convolutions = (layers + 1) * inner * 2 * inner * kernel;
    double token =
        words * inner + 2 * inner * inner + convolutions + inner * hidden + hidden * vocabulary;
    return 2 * rows * (steps * token + width * inner);
}
