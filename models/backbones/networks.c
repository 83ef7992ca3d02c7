/* SPDX-License-Identifier: Apache-2.0 */
/* Every network for pictures: the lists of models/backbones/'s files. */
#include "models/backbones/backbone.h"

static const ct_backbone_network *const files[] = {
    ct_resnets,
    ct_vggs,
    ct_vits,
    ct_efficientnets,
};
enum { FILES = sizeof files / sizeof *files };

const ct_backbone_network *ct_backbone_network_at(int i) {
    for (int file = 0; i >= 0 && file < FILES; file++) {
        for (const ct_backbone_network *network = files[file]; network->name; network++) {
            if (i-- == 0) return network;
        }
    }
    return NULL;
}

const char *ct_backbone_name(int i) {
    const ct_backbone_network *network = ct_backbone_network_at(i);
    return network ? network->name : NULL;
}
