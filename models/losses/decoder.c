/* SPDX-License-Identifier: Apache-2.0 */
/* The text decoder: a convolutional captioner (Aneja, Deshpande, Schwing, CVPR 2018) of
 * weight-normalised layers, conditioned on the caption embedding; it asks of the embedding that the
 * caption can be told from it, word by word. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/losses/loss.h"

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

static ct_tensor *dropped(const ct_module *decoder, const ct_loss_config *config, ct_tensor *x,
                          ct_rng *rng) {
    if (!ct_module_training(decoder)) return x;
    return ct_dropout_with(x, config->convcap.dropout, rng, "decoder.dropout");
}

ct_tensor *ct_decoder_states(ct_module *decoder, const ct_loss_config *config, ct_tensor *vectors,
                             ct_tensor *embedding, ct_rng *rng) {
    ct_tensor *e = ct_linear(ct_module_child(decoder, "words"), vectors);
    ct_tensor *c = ct_relu(ct_linear(ct_module_child(decoder, "condition"), embedding));
    if (!e || !c) return NULL;
    ct_tensor *x = ct_concat2(e, ct_expand(ct_unsqueeze(c, 1), e->shape), 2);
    ct_module *convs = ct_module_child(decoder, "convs");
    for (int64_t i = 0; i < config->convcap.layers; i++) {
        ct_tensor *residual = i ? x : ct_linear(ct_module_child(decoder, "residual"), x);
        ct_module *conv = ct_module_child_at(convs, (int)i, NULL);
        ct_tensor *y = ct_glu(ct_conv1d(conv, dropped(decoder, config, x, rng)), 2);
        x = ct_scale(ct_add(y, residual), sqrt(0.5));
    }
    x = ct_linear(ct_module_child(decoder, "hidden"), x);
    return dropped(decoder, config, x, rng);
}

/* ---- which positions count ------------------------------------------------------------------ */

/* Position t of a caption predicts token t+1; it counts if that token does. */
typedef struct {
    int64_t *from, *to; /* rows in the flattened (B,M) states and targets */
    int64_t count;
} ct_positions;

static void by_lengths(ct_positions *positions, const ct_tensor *lengths, bool pad,
                       int64_t tokens) {
    const int64_t *length = ct_data(lengths);
    for (int64_t b = 0; b < ct_count(lengths); b++)
        for (int64_t t = 0; t + 1 < tokens && t + 1 < length[b] + pad; t++) {
            positions->from[positions->count] = b * tokens + t;
            positions->to[positions->count++] = b * tokens + t + 1;
        }
}

static bool by_mask(ct_positions *positions, const ct_tensor *mask, int64_t batch, int64_t tokens) {
    ct_tensor *numbers = ct_tensor_cast(mask, CT_F64);
    double *value = malloc((size_t)(batch * tokens + 1) * sizeof *value);
    bool read = numbers && value && ct_read(numbers, value);
    for (int64_t i = 0; read && i < batch * tokens; i++) {
        if (i % tokens == 0 || value[i] == 0) continue;
        positions->from[positions->count] = i - 1;
        positions->to[positions->count++] = i;
    }
    free(value);
    return read;
}

static bool index_tensors(const ct_positions *positions, ct_device device, ct_tensor **from,
                          ct_tensor **to) {
    if (positions->count == 0) return ct_fail_bool("decoder: no caption has a token to predict");
    *from = ct_from_data(CT_I64, device, CT_SHAPE(positions->count), positions->from);
    *to = ct_from_data(CT_I64, device, CT_SHAPE(positions->count), positions->to);
    return *from && *to;
}

/* Columns 0 .. tokens-1 of (B,M) or (B,M,E). */
static ct_tensor *first_columns(ct_tensor *x, int64_t tokens) {
    return ct_dim(x, 1) > tokens ? ct_slice(x, 1, 0, tokens, 1) : x;
}

static bool positions_that_count(const ct_batch *batch, const ct_compat *compat,
                                 const ct_tensor *targets, ct_tensor **from, ct_tensor **to) {
    int64_t rows = ct_dim(targets, 0), tokens = ct_dim(targets, 1);
    int64_t *room = malloc((size_t)(2 * rows * tokens + 1) * sizeof *room);
    if (!room) return ct_fail_bool("decoder: out of memory");
    ct_positions positions = {room, room + rows * tokens, 0};
    bool found = true;
    if (batch->target_mask) {
        found = by_mask(&positions, first_columns(batch->target_mask, tokens), rows, tokens);
    } else {
        by_lengths(&positions, batch->lengths, compat->released[CT_COMPAT_PAD_TARGET], tokens);
    }
    found = found && index_tensors(&positions, targets->device, from, to);
    free(room);
    return found;
}

/* ---- loss ----------------------------------------------------------------------------------- */

/* (B,T,E) cut or padded with zeros to (B,tokens,E) */
static ct_tensor *fit(ct_tensor *vectors, int64_t tokens) {
    int64_t have = ct_dim(vectors, 1);
    return have < tokens ? ct_pad(vectors, 1, 0, tokens - have, 0) : first_columns(vectors, tokens);
}

/* states (B,M,hidden) and targets (B,M) to the rows that count, (R,hidden) and (R). */
static bool rows_that_count(const ct_batch *batch, const ct_compat *compat, ct_tensor **states,
                            ct_tensor **targets) {
    ct_tensor *from = NULL, *to = NULL;
    if (!positions_that_count(batch, compat, *targets, &from, &to)) return false;
    ct_tensor *rows = ct_reshape(*states, CT_SHAPE(-1, ct_dim(*states, 2)));
    ct_tensor *flat = ct_tensor_reshape(*targets, CT_SHAPE(-1));
    *states = ct_index_select(rows, 0, from);
    *targets = flat ? ct_tensor_index_select(flat, 0, to) : NULL;
    return *states && *targets;
}

/* The same where lengths are on a device: all B*(M-1) rows, those that do not count IGNORED. */
enum { IGNORED = -1 };
static bool all_rows(const ct_batch *batch, const ct_compat *compat, ct_tensor **states,
                     ct_tensor **targets) {
    ct_device device = (*targets)->device;
    int64_t tokens = ct_dim(*targets, 1);
    bool pad = compat->released[CT_COMPAT_PAD_TARGET];
    if (tokens < 2) return ct_fail_bool("decoder: no caption has a token to predict");
    ct_tensor *counts;
    if (batch->target_mask) {
        ct_tensor *mask = ct_tensor_slice(batch->target_mask, 1, 1, tokens, 1);
        counts = ct_tensor_compare(CT_COMPARE_not_equal, mask,
                                   ct_scalar(batch->target_mask->dtype, device, 0));
    } else {
        counts = ct_steps_within(batch->lengths, pad ? 0 : 1, tokens - 1);
    }
    ct_tensor *next = ct_tensor_slice(*targets, 1, 1, tokens, 1);
    ct_tensor *ignored = ct_full(CT_I64, device, CT_SCALAR_SHAPE, IGNORED);
    *targets = ct_tensor_reshape(ct_tensor_where(counts, next, ignored), CT_SHAPE(-1));
    *states = ct_reshape(ct_slice(*states, 1, 0, tokens - 1, 1), CT_SHAPE(-1, ct_dim(*states, 2)));
    return *states && *targets;
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
    ct_tensor *states =
        ct_decoder_states(decoder, config, fit(vectors, ct_dim(targets, 1)), embedding, rng);
    if (!states) return NULL;
    /* the layer as wide as the vocabulary sees only the rows that count, where these are known */
    bool known = !ct_lengths_on_device(batch->lengths);
    if (!(known ? rows_that_count : all_rows)(batch, compat, &states, &targets)) return NULL;
    ct_tensor *logits = ct_linear(ct_module_child(decoder, "output"), states);
    ct_cross_entropy_options options = ct_cross_entropy_defaults();
    options.ignore = !known;
    options.ignore_index = IGNORED;
    return ct_cross_entropy(logits, targets, &options);
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
