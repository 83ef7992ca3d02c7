/* SPDX-License-Identifier: Apache-2.0 */
/* ResNet (He et al. 2016), as torchvision has it: a bottleneck strides in its 3x3 convolution
 * ("v1.5"). */
#include <stdio.h>

#include "models/backbones/backbone.h"

enum { STAGES = 4, STEM = 64 };

typedef struct {
    int64_t expansion; /* of a block's width on its way out: 1 basic, 4 bottleneck */
    int depth[STAGES]; /* blocks of each stage */
} shape;

/* ---- the network ----------------------------------------------------------------------------- */

/* Stage `number` of 0 to 3: "layer1" to "layer4". *in: channels before, then behind it. */
static bool build_stage(ct_module *net, const shape *of, int number, int64_t *in, int64_t *block) {
    char name[16];
    snprintf(name, sizeof name, "layer%d", number + 1);
    ct_module *stage = ct_module_add(net, name, ct_module_create("stage"));
    int64_t width = STEM << number;
    bool ok = stage != NULL;
    for (int i = 0; ok && i < of->depth[number]; i++) {
        snprintf(name, sizeof name, "%d", i);
        int64_t stride = number > 0 && i == 0 ? 2 : 1;
        ct_residual_block_options options = {stride, of->expansion > 1};
        ct_module *made = ct_residual_block_create(*in, width, &options);
        ok = ct_backbone_part(net, ++*block, stage, name, made) != NULL;
        *in = width * of->expansion;
    }
    return ok;
}

static bool build(ct_module *net, const ct_backbone_network *network, int64_t classes) {
    const shape *of = network->shape;
    ct_backbone_conv stem = {3, STEM, 7, 2, 3, 1};
    bool ok = ct_backbone_part(net, 0, net, "conv1", ct_backbone_conv_create(stem)) &&
              ct_backbone_part(net, 0, net, "bn1", ct_batch_norm_create(STEM, NULL));
    int64_t in = STEM, block = 0;
    for (int i = 0; ok && i < STAGES; i++) ok = build_stage(net, of, i, &in, &block);
    return ok && (classes == 0 || ct_module_add(net, "fc", ct_linear_create(in, classes, true)));
}

static ct_tensor *run(ct_module *net, const ct_backbone_step *step, ct_tensor *x) {
    if (step->block > 0) {
        return ct_residual_block_with(step->part, x, step->drop, step->rng, CT_BACKBONE_DRAW);
    }
    const ct_tensor_max_pool2d_options pool = {
        .kernel = 3, .stride = 2, .padding = 1, .dilation = 1};
    x = ct_backbone_conv_norm(net, "conv1", "bn1", x, NULL, CT_RELU);
    return ct_max_pool2d(x, pool);
}

static ct_tensor *logits(ct_module *net, ct_tensor *map) {
    return ct_linear(ct_module_child(net, "fc"), ct_backbone_map_mean(map));
}

/* Halved five times, rounded up. */
static int64_t grid(const ct_backbone_network *network, int64_t size) {
    (void)network;
    return (size + 31) / 32;
}

/* ---- records --------------------------------------------------------------------------------- */

#define RESNET(layers, blocks, expansion, ...)                                                 \
    {                                                                                          \
        .name = "resnet" #layers, .shape = &(const shape){expansion, __VA_ARGS__},             \
        .width = 512 * expansion, .classifier = "fc.", .dropped_most = blocks, .build = build, \
        .run = run, .logits = logits, .grid = grid                                             \
    }

const ct_backbone_network ct_resnets[] = {
    RESNET(18, 8, 1, {2, 2, 2, 2}),    RESNET(34, 16, 1, {3, 4, 6, 3}),
    RESNET(50, 16, 4, {3, 4, 6, 3}),   RESNET(101, 33, 4, {3, 4, 23, 3}),
    RESNET(152, 50, 4, {3, 8, 36, 3}), {.name = NULL},
};
