/* SPDX-License-Identifier: Apache-2.0 */
/* Module kinds that are networks of models/backbones.h: pictures to regions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/backbones.h"
#include "models/modules/modules.h"

/* The same places in each table; the first says which of its family. */
enum { NET_WHICH, NET_WEIGHTS, NET_FINETUNE, NET_DROP_PATH };
enum { NONE = 0, ALL = -1 }; /* blocks that are trained */
#define CT_BACKBONE_OPTIONS(which, first, names)                                                  \
    {which, CT_OPTION_CHOICE, first, 0, 0, names}, {"weights", CT_OPTION_TEXT, NULL, 0, 0, NULL}, \
    {                                                                                             \
        "finetune", CT_OPTION_AMOUNT, NULL, 0, 1000, NULL                                         \
    }
#define CT_DROP_PATH \
    { "drop_path", CT_OPTION_REAL, "0", 0, 0.99, NULL }
#define CT_NO_MORE \
    { NULL, 0, NULL, 0, 0, NULL }
static const ct_option resnet_options[] = {CT_BACKBONE_OPTIONS("layers", "50", "18|34|50|101|152"),
                                           CT_DROP_PATH, CT_NO_MORE};
static const ct_option vgg_options[] = {CT_BACKBONE_OPTIONS("layers", "19", "19"), CT_NO_MORE};
static const ct_option efficientnet_options[] = {CT_BACKBONE_OPTIONS("variant", "lite0", "lite0"),
                                                 CT_DROP_PATH, CT_NO_MORE};
static const ct_option vit_options[] = {CT_BACKBONE_OPTIONS("size", "tiny", "tiny|small|base"),
                                        CT_DROP_PATH, CT_NO_MORE};

/* "resnet50", "efficientnet_lite0": family and choice, a '_' before letters. */
static void network_name(const ct_graph_node *node, char *name, size_t size) {
    const char *choice = node->kind->options[NET_WHICH].choices;
    for (int i = (int)ct_number(node, NET_WHICH); i > 0; i--) choice = strchr(choice, '|') + 1;
    bool digits = choice[0] >= '0' && choice[0] <= '9';
    snprintf(name, size, "%s%s%.*s", node->kind->name, digits ? "" : "_", (int)strcspn(choice, "|"),
             choice);
}

/* Of a network with weights none, of one without all, unless it is said. */
static int64_t trained_blocks(const ct_graph_node *node) {
    if (node->value[NET_FINETUNE].given) return (int64_t)ct_number(node, NET_FINETUNE);
    return node->value[NET_WEIGHTS].given ? NONE : ALL;
}

static bool set_regions(ct_graph_node *node) {
    int64_t regions = ct_backbone_region_count(node->module, node->side, node->side), side = 1;
    while (side * side < regions) side++;
    node->out = ct_backbone_width(node->module);
    node->out_side = side;
    if (ct_ok() && side * side == regions) return true;
    char why[512];
    snprintf(why, sizeof why, "%s", ct_ok() ? "its regions are no square" : ct_error());
    ct_error_clear();
    return ct_fail_at(node->place, "%s", why) != NULL;
}

/* Of a family that has none 0. */
static double drop_path(const ct_graph_node *node) {
    return node->kind->options[NET_DROP_PATH].name ? ct_number(node, NET_DROP_PATH) : 0;
}

static bool backbone_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    const ct_option_value *weights = &node->value[NET_WEIGHTS];
    int64_t blocks = trained_blocks(node);
    const ct_backbone_options options = {.drop_path = drop_path(node)};
    char name[64];
    if (blocks == NONE && !weights->given)
        return ct_fail_at(node->place,
                          "a network of random numbers that is never trained: expected "
                          "weights=FILE.safetensors, or finetune=yes") != NULL;
    if (blocks == NONE && options.drop_path > 0)
        return ct_fail_at(node->place,
                          "drop_path is of blocks that are trained: expected finetune=yes or a "
                          "number of blocks") != NULL;
    network_name(node, name, sizeof name);
    if (!ct_graph_own(node, ct_backbone_create(name, &options)) || !set_regions(node)) return false;
    int64_t all = ct_backbone_block_count(node->module);
    if (blocks > all)
        return ct_fail_at(node->place, "finetune is %lld, but %s has %lld blocks: yes trains all",
                          (long long)blocks, name, (long long)all) != NULL;
    if (weights->given && !(node->weights = strdup(weights->text)))
        return ct_fail_bool("model: out of memory");
    return ct_backbone_finetune(node->module, blocks);
}

static ct_tensor *backbone_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    return ct_backbone_regions_from(node->module, x, state->rng);
}

bool ct_graph_is_frozen(const ct_graph_node *node) {
    return node->kind->place & CT_IS_BACKBONE && trained_blocks(node) == NONE;
}

#define CT_BACKBONE_KIND(family, table)                                                  \
    const ct_graph_kind ct_kind_##family = {.name = #family,                             \
                                            .place = CT_IMAGE_ONLY | CT_NEEDS_PICTURES | \
                                                     CT_GIVES_REGIONS | CT_IS_BACKBONE,  \
                                            .options = table,                            \
                                            .create = backbone_create,                   \
                                            .forward = backbone_forward,                 \
                                            .flops = ct_no_flops}
CT_BACKBONE_KIND(resnet, resnet_options);
CT_BACKBONE_KIND(vgg, vgg_options);
CT_BACKBONE_KIND(efficientnet, efficientnet_options);
CT_BACKBONE_KIND(vit, vit_options);
