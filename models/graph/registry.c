/* SPDX-License-Identifier: Apache-2.0 */
/* Every module kind that [image] and [text] know; those registered from outside are in own.c. */
#include <string.h>

#include "models/modules/modules.h"

static const ct_graph_kind *const kinds[] = {
    &ct_kind_words,     &ct_kind_linear,    &ct_kind_gcn,
    &ct_kind_attention, &ct_kind_conv1d,    &ct_kind_l2norm,
    &ct_kind_batchnorm, &ct_kind_layernorm, &ct_kind_dropout,
    &ct_kind_mean,      &ct_kind_max,       &ct_kind_gru,
    &ct_kind_lstm,      &ct_kind_bigru,     &ct_kind_policy_attention,
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const ct_graph_kind *ct_graph_kind_built_in(const char *name) {
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i]->name, name)) return kinds[i];
    for (int i = 0; i < ct_kind_activation_count; i++)
        if (!strcmp(ct_kind_activations[i].name, name)) return &ct_kind_activations[i];
    return NULL;
}

const ct_graph_kind *ct_graph_kind_find(const char *name) {
    const ct_graph_kind *kind = ct_graph_kind_built_in(name);
    for (int i = 0; !kind && ct_graph_own_kind(i); i++)
        if (!strcmp(ct_graph_own_kind(i)->name, name)) kind = ct_graph_own_kind(i);
    return kind;
}

int ct_graph_kind_names(const char **names, int most) {
    int count = 0;
    for (int i = 0; i < KINDS && count < most; i++) names[count++] = kinds[i]->name;
    for (int i = 0; i < ct_kind_activation_count && count < most; i++)
        names[count++] = ct_kind_activations[i].name;
    for (int i = 0; ct_graph_own_kind(i) && count < most; i++)
        names[count++] = ct_graph_own_kind(i)->name;
    return count;
}
