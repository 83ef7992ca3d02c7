/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a net for pictures from a file. */
#include <string.h>

#include "models/backbones/backbone.h"

static bool is_classifier(const void *context, const char *name) {
    const char *beginning = context;
    return strncmp(name, beginning, strlen(beginning)) == 0;
}

bool ct_backbone_load(ct_module *net, const char *path) {
    if (!ct_module_expect("backbone_load", net, ct_backbone_regions)) return false;
    /* With a classifier of its own the net has these names, and ignores none. */
    const ct_backbone_network *network = ct_backbone_network_of(net);
    ct_state_form form = {.context = network->classifier, .ignored = is_classifier};
    return ct_module_load_as(net, path, &form, NULL);
}
