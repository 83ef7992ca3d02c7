/* SPDX-License-Identifier: Apache-2.0 */
/* The released code's state dictionaries: its names for our parameters, and its files. */
#include <stdio.h>
#include <string.h>

#include "models/graph/model.h"

/* Replaces the beginning `ours` of `name` by `theirs`; the rest must begin with a dot or end. */
static bool rename_prefix(const char *name, const char *ours, const char *theirs, char *out,
                          size_t size) {
    size_t length = strlen(ours);
    if (strncmp(name, ours, length) || (name[length] && name[length] != '.')) return false;
    return (size_t)snprintf(out, size, "%s%s", theirs, name + length) < size;
}

/* Below a policy attention: their GRU is a cell, whose names have no layer. */
static bool policy_name(const char *rest, const char *encoder, char *out, size_t size) {
    static const char *const names[][2] = {
        {"gru.weight_ih_l0", "rl_rnn.weight_ih"}, {"gru.weight_hh_l0", "rl_rnn.weight_hh"},
        {"gru.bias_ih_l0", "rl_rnn.bias_ih"},     {"gru.bias_hh_l0", "rl_rnn.bias_hh"},
        {"logits", "linear_rl_image_mus"},        {"rho", "linear_logvars"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char theirs[64];
        snprintf(theirs, sizeof theirs, "%s.%s", encoder, names[i][1]);
        if (rename_prefix(rest, names[i][0], theirs, out, size)) return true;
    }
    return false;
}

/* How many nodes of the same kind (pooled or not alike) stand at or before node i. */
static int occurrence(const ct_graph_chain *chain, int i) {
    int count = 0;
    for (int k = 0; k <= i; k++)
        count += chain->node[k].kind == chain->node[i].kind &&
                 chain->node[k].pooled == chain->node[i].pooled;
    return count;
}

/* What the released code calls node i, without the encoder; false if it has no such module. */
static bool node_name(const ct_graph_chain *chain, int i, char *out, size_t size) {
    const ct_graph_node *node = &chain->node[i];
    const char *kind = node->kind->name;
    int nth = occurrence(chain, i);
    const char *name = NULL;
    if (!strcmp(kind, "gcn") && nth <= 4) return snprintf(out, size, "Rs_GCN_%d", nth) > 0;
    if (nth > 1) return false;
    if (!strcmp(kind, "linear") && node->image && !node->pooled) name = "fc";
    if (!strcmp(kind, "words")) name = "embed";
    if (!strcmp(kind, "gru")) name = node->image ? "img_rnn" : "rnn";
    if (!strcmp(kind, "batchnorm") && node->pooled) name = "bn";
    return name && snprintf(out, size, "%s", name) > 0;
}

static bool chain_name(const ct_graph_chain *chain, const char *name, const char *encoder,
                       char *out, size_t size) {
    for (int i = 0; i < chain->nodes; i++) {
        const ct_graph_node *node = &chain->node[i];
        size_t length = strlen(node->name);
        if (strncmp(name, node->name, length) || name[length] != '.') continue;
        const char *rest = name + length + 1;
        if (!strcmp(node->kind->name, "policy_attention"))
            return policy_name(rest, encoder, out, size);
        if (!strcmp(node->kind->name, "words") && strcmp(rest, "weight"))
            return false; /* fixed vectors: theirs are not in the state dictionary */
        char theirs[32];
        return node_name(chain, i, theirs, sizeof theirs) &&
               (size_t)snprintf(out, size, "%s.%s.%s", encoder, theirs, rest) < size;
    }
    return false;
}

bool ct_released_name(const ct_model *model, const char *name, char *out, size_t size) {
    static const char *const heads[][2] = {
        {"classifier.hidden", "classifier1"},
        {"classifier.output", "classifier2"},
        {"decoder.words", "caption_model.emb_1"},
        {"decoder.condition", "caption_model.imgproj"},
        {"decoder.residual", "caption_model.resproj"},
        {"decoder.convs", "caption_model.convs"},
        {"decoder.hidden", "caption_model.classifier_0"},
        {"decoder.output", "caption_model.classifier_1"},
    };
    if (!ct_model_given("released_name", model) ||
        !ct_check_pointer("released_name", "the name", name) ||
        !ct_check_pointer("released_name", "the result", out))
        return false;
    if (!strncmp(name, "image.", 6))
        return chain_name(&model->image, name + 6, "img_enc", out, size);
    if (!strncmp(name, "text.", 5)) return chain_name(&model->text, name + 5, "txt_enc", out, size);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (rename_prefix(name, heads[i][0], heads[i][1], out, size)) return true;
    return false;
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Given word vectors, and what goes with them: the released code reads its own from elsewhere. */
static bool is_word_vector(const ct_model *model, const char *name) {
    const ct_graph_node *words = &model->text.node[0];
    char beginning[80];
    int length = snprintf(beginning, sizeof beginning, "text.%s.", words->name);
    return !strncmp(name, beginning, (size_t)length) && strcmp(name + length, "weight");
}

static ct_state_naming name_in_file(const void *model, const char *ours, char *out, size_t size) {
    if (ct_released_name(model, ours, out, size)) return CT_STATE_NAMED;
    return is_word_vector(model, ours) ? CT_STATE_LEFT_OUT : CT_STATE_NAMELESS;
}

/* Its graph convolutions' linear layers are 1x1 convolutions. */
static ct_shape shape_in_file(const void *model, const char *name, ct_shape shape) {
    (void)model;
    if (strstr(name, ".Rs_GCN_") && shape.ndim == 2) shape.dim[shape.ndim++] = 1;
    return shape;
}

/* Parameters that the released code makes and does not use: its embedding beside GloVe vectors,
 * layers of earlier versions, the captioner's attention over images. */
static bool is_unused(const void *model, const char *name) {
    static const char *const unused[] = {
        "txt_enc.embed.", "txt_enc.fc_transform.",    "img_enc.linears.",        "linear1.",
        "linear2.",       "caption_model.attention.", "caption_model.imgsproj.",
    };
    (void)model;
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        if (!strncmp(name, unused[i], strlen(unused[i]))) return true;
    return false;
}

ct_state_form ct_released_form(const ct_model *model) {
    /* its checkpoints hold the encoders alone */
    static const char *const losses_alone[] = {"classifier.", "decoder.", NULL};
    static const char *const recorded[] = {"param.", "buffer.", NULL};
    if (!ct_model_given("released_form", model)) return (ct_state_form){0};
    return (ct_state_form){.context = model,
                           .name = name_in_file,
                           .shape = shape_in_file,
                           .ignored = is_unused,
                           .optional = losses_alone,
                           .prefixes = recorded};
}
