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

/* ---- a residual block ------------------------------------------------------------------------ */

static bool add_conv(ct_module *block, int number, ct_backbone_conv conv) {
    char name[2][16];
    snprintf(name[0], sizeof name[0], "conv%d", number);
    snprintf(name[1], sizeof name[1], "bn%d", number);
    return ct_module_add(block, name[0], ct_backbone_conv_create(conv)) &&
           ct_module_add(block, name[1], ct_batch_norm_create(conv.out, NULL));
}

static bool add_downsample(ct_module *block, int64_t in, int64_t out, int64_t stride) {
    ct_module *down = ct_module_add(block, "downsample", ct_sequential_create());
    return down &&
           ct_module_add(down, "0",
                         ct_backbone_conv_create((ct_backbone_conv){in, out, 1, stride, 0, 1})) &&
           ct_module_add(down, "1", ct_batch_norm_create(out, NULL));
}

static bool build_block(ct_module *block, int64_t in, int64_t width, int64_t stride,
                        int64_t expansion) {
    if (!block) return false;
    int64_t out = width * expansion;
    bool ok;
    if (expansion == 1) {
        ok = add_conv(block, 1, (ct_backbone_conv){in, width, 3, stride, 1, 1}) &&
             add_conv(block, 2, (ct_backbone_conv){width, width, 3, 1, 1, 1});
    } else {
        ok = add_conv(block, 1, (ct_backbone_conv){in, width, 1, 1, 0, 1}) &&
             add_conv(block, 2, (ct_backbone_conv){width, width, 3, stride, 1, 1}) &&
             add_conv(block, 3, (ct_backbone_conv){width, out, 1, 1, 0, 1});
    }
    return ok && ((stride == 1 && in == out) || add_downsample(block, in, out, stride));
}

static ct_tensor *run_block(ct_module *block, ct_tensor *x) {
    ct_module *down = ct_module_child(block, "downsample");
    ct_tensor *past = down ? ct_backbone_conv_norm(down, "0", "1", x, NULL, CT_NO_ACTIVATION) : x;
    ct_tensor *y = ct_backbone_conv_norm(block, "conv1", "bn1", x, NULL, CT_RELU);
    if (!ct_module_child(block, "conv3")) {
        return ct_backbone_conv_norm(block, "conv2", "bn2", y, past, CT_RELU);
    }
    y = ct_backbone_conv_norm(block, "conv2", "bn2", y, NULL, CT_RELU);
    return ct_backbone_conv_norm(block, "conv3", "bn3", y, past, CT_RELU);
}

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
        ct_module *made = ct_module_create("residual_block");
        made = ct_backbone_part(net, ++*block, stage, name, made);
        ok = build_block(made, *in, width, stride, of->expansion);
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

static ct_tensor *run(ct_module *net, int64_t block, ct_module *part, ct_tensor *x) {
    if (block > 0) return run_block(part, x);
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

#define RESNET(layers, expansion, ...)                                             \
    {                                                                              \
        .name = "resnet" #layers, .shape = &(const shape){expansion, __VA_ARGS__}, \
        .width = 512 * expansion, .classifier = "fc.", .build = build, .run = run, \
        .regions = ct_backbone_map_regions, .logits = logits, .grid = grid         \
    }

const ct_backbone_network ct_resnets[] = {
    RESNET(18, 1, {2, 2, 2, 2}),   RESNET(34, 1, {3, 4, 6, 3}),   RESNET(50, 4, {3, 4, 6, 3}),
    RESNET(101, 4, {3, 4, 23, 3}), RESNET(152, 4, {3, 8, 36, 3}), {.name = NULL},
};
