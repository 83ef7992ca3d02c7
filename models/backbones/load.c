/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a net for pictures from a file, under the network's names or another program's. */
#include <string.h>

#include "models/backbones/backbone.h"

typedef struct {
    const ct_backbone_network *network;
    const ct_backbone_names *other; /* NULL: the network's own names */
} naming;

static ct_state_naming name_in_file(const void *context, const char *ours, char *theirs,
                                    size_t size) {
    const naming *n = context;
    return n->other->name(n->network, ours, theirs, size) ? CT_STATE_NAMED : CT_STATE_NAMELESS;
}

/* With a classifier of its own the net has these names, and they are looked for. */
static bool is_classifier(const void *context, const char *name) {
    const naming *n = context;
    const char *beginning = n->other ? n->other->classifier : n->network->classifier;
    return strncmp(name, beginning, strlen(beginning)) == 0;
}

/* The other program, if the file is one of its; NULL and perhaps an error. */
static const ct_backbone_names *names_of(const ct_backbone_network *network, const char *path) {
    if (!network->other) return NULL;
    ct_safetensors *file = ct_safetensors_open(path);
    bool has = file && ct_safetensors_has(file, network->other->mark);
    ct_safetensors_close(file);
    return has ? network->other : NULL;
}

bool ct_backbone_load(ct_module *net, const char *path) {
    if (!ct_module_expect("backbone_load", net, ct_backbone_regions)) return false;
    const ct_backbone_network *network = ct_backbone_network_of(net);
    naming names = {network, names_of(network, path)};
    if (!ct_ok()) return false;
    ct_state_form form = {
        .context = &names, .name = names.other ? name_in_file : NULL, .ignored = is_classifier};
    return ct_module_load_as(net, path, &form, NULL);
}
