/* Our parameter names as the released code's state dictionaries call them. */
#include <stdio.h>
#include <string.h>

#include "models/model.h"

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
        {"classifier.hidden", "classifier1"},    {"classifier.output", "classifier2"},
        {"decoder.words", "caption_model.emb_1"}, {"decoder.condition", "caption_model.imgproj"},
        {"decoder.residual", "caption_model.resproj"}, {"decoder.convs", "caption_model.convs"},
        {"decoder.hidden", "caption_model.classifier_0"},
        {"decoder.output", "caption_model.classifier_1"},
    };
    if (!strncmp(name, "image.", 6))
        return chain_name(&model->image, name + 6, "img_enc", out, size);
    if (!strncmp(name, "text.", 5))
        return chain_name(&model->text, name + 5, "txt_enc", out, size);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (rename_prefix(name, heads[i][0], heads[i][1], out, size)) return true;
    return false;
}
