/* SPDX-License-Identifier: Apache-2.0 */
/* Every module kind that [image] and [text] know: those of models/modules/, then those registered.
 */
#include <pthread.h>
#include <string.h>

#include "models/modules/modules.h"

static const ct_graph_kind *const kinds[] = {
    &ct_kind_words,     &ct_kind_linear,      &ct_kind_gcn,
    &ct_kind_attention, &ct_kind_conv1d,      &ct_kind_l2norm,
    &ct_kind_batchnorm, &ct_kind_layernorm,   &ct_kind_dropout,
    &ct_kind_mean,      &ct_kind_max,         &ct_kind_gru,
    &ct_kind_lstm,      &ct_kind_bigru,       &ct_kind_policy_attention,
    &ct_kind_pictures,  &ct_kind_conv2d,      &ct_kind_regions,
    &ct_kind_resnet,    &ct_kind_vgg,         &ct_kind_efficientnet,
    &ct_kind_vit,       &ct_kind_maxpool2d,   &ct_kind_avgpool2d,
    &ct_kind_residual,  &ct_kind_transformer, &ct_kind_positions,
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Registering is for the whole process. Kinds stay where they are: models point to them. */
static struct {
    pthread_mutex_t lock;
    const ct_graph_kind *kind[CT_MOST_OWN_KINDS];
    int count;
} registered = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Kind i of all, from 0; NULL behind the last. The lock is held. */
static const ct_graph_kind *kind_at(int i) {
    if (i < KINDS) return kinds[i];
    i -= KINDS;
    if (i < ct_kind_activation_count) return &ct_kind_activations[i];
    i -= ct_kind_activation_count;
    return i < registered.count ? registered.kind[i] : NULL;
}

static const ct_graph_kind *find(const char *name) {
    const ct_graph_kind *kind = kind_at(0);
    for (int i = 1; kind && strcmp(kind->name, name) != 0; i++) kind = kind_at(i);
    return kind;
}

const ct_graph_kind *ct_graph_kind_find(const char *name) {
    pthread_mutex_lock(&registered.lock);
    const ct_graph_kind *kind = find(name);
    pthread_mutex_unlock(&registered.lock);
    return kind;
}

int ct_graph_kind_names(const char **names, int most) {
    int count = 0;
    pthread_mutex_lock(&registered.lock);
    for (; count < most && kind_at(count); count++) names[count] = kind_at(count)->name;
    pthread_mutex_unlock(&registered.lock);
    return count;
}

bool ct_graph_kind_add(const ct_graph_kind *kind) {
    bool added = false;
    pthread_mutex_lock(&registered.lock);
    if (find(kind->name)) {
        ct_fail("register_module: there is already a module '%s'", kind->name);
    } else if (registered.count == CT_MOST_OWN_KINDS) {
        ct_fail("register_module: more than %d modules", CT_MOST_OWN_KINDS);
    } else {
        registered.kind[registered.count++] = kind;
        added = true;
    }
    pthread_mutex_unlock(&registered.lock);
    return added;
}
