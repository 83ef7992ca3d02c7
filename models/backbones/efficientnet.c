/* SPDX-License-Identifier: Apache-2.0 */
/* EfficientNet-Lite (Tan and Le 2019, and their Lite variant): inverted residuals with depthwise
 * convolutions, relu6, no squeeze-and-excitation. */
#include <stdio.h>
#include <string.h>

#include "models/backbones/backbone.h"

typedef struct {
    int repeats;
    int64_t kernel, stride, expansion, out;
} stage;

typedef struct {
    int64_t stem;
    const stage *stages; /* ended by one of no repeats */
    double dropout;      /* before the classifier */
} shape;

enum { HEAD = 1280 };

/* ---- parts ----------------------------------------------------------------------------------- */

static int64_t ceil_half(int64_t size) { return (size + 1) / 2; }

/* A convolution that gives ceil(size / stride) places. With stride 2 what is added on the two sides
 * depends on the size: `same` adds it, and the module nothing. */
static ct_module *conv_create(int64_t in, int64_t out, int64_t kernel, int64_t stride,
                              int64_t groups) {
    int64_t padding = stride == 1 ? (kernel - 1) / 2 : 0;
    return ct_backbone_conv_create((ct_backbone_conv){in, out, kernel, stride, padding, groups});
}

/* TensorFlow's padding "same" for stride 2 along one axis: what is odd of it comes behind. */
static ct_tensor *same_axis(ct_tensor *x, int axis, int64_t kernel) {
    if (!x) return NULL;
    int64_t size = x->shape.dim[axis];
    int64_t all = (ceil_half(size) - 1) * 2 + kernel - size;
    return all > 0 ? ct_pad(x, axis, all / 2, all - all / 2, 0) : x;
}

static ct_tensor *same(ct_tensor *x, int64_t kernel, int64_t stride) {
    return stride == 1 ? x : same_axis(same_axis(x, 2, kernel), 3, kernel);
}

/* TensorFlow's momentum 0.99 and epsilon. */
static ct_module *norm_create(int64_t channels) {
    ct_batch_norm_options options = ct_batch_norm_defaults();
    options.momentum = 0.01;
    options.eps = 1e-3;
    return ct_batch_norm_create(channels, &options);
}

/* ---- an inverted residual -------------------------------------------------------------------- */

static bool build_block(ct_module *block, int64_t in, stage s) {
    int64_t wide = in * s.expansion;
    bool expands = s.expansion != 1;
    return block &&
           (!expands || (ct_module_add(block, "_expand_conv", conv_create(in, wide, 1, 1, 1)) &&
                         ct_module_add(block, "_bn0", norm_create(wide)))) &&
           ct_module_add(block, "_depthwise_conv",
                         conv_create(wide, wide, s.kernel, s.stride, wide)) &&
           ct_module_add(block, "_bn1", norm_create(wide)) &&
           ct_module_add(block, "_project_conv", conv_create(wide, s.out, 1, 1, 1)) &&
           ct_module_add(block, "_bn2", norm_create(s.out));
}

static ct_tensor *run_block(const ct_backbone_step *step, ct_tensor *x, int64_t kernel,
                            int64_t stride) {
    ct_module *block = step->part;
    ct_tensor *wide = x;
    if (ct_module_child(block, "_expand_conv")) {
        wide = ct_backbone_conv_norm(block, "_expand_conv", "_bn0", x, NULL, CT_RELU6);
    }
    wide = same(wide, kernel, stride);
    wide = ct_backbone_conv_norm(block, "_depthwise_conv", "_bn1", wide, NULL, CT_RELU6);
    const ct_tensor *weight = ct_module_tensor(block, "_project_conv.weight");
    bool residual = stride == 1 && x && ct_dim(x, 1) == ct_dim(weight, 0);
    bool drops = residual && step->drop > 0;
    ct_tensor *y = ct_backbone_conv_norm(block, "_project_conv", "_bn2", wide,
                                         residual && !drops ? x : NULL, CT_NO_ACTIVATION);
    return drops ? ct_add(x, ct_backbone_drop(step, y)) : y;
}

/* ---- the network ----------------------------------------------------------------------------- */

static bool build_classifier(ct_module *net, int64_t classes, double dropout) {
    return ct_module_add(net, "_dropout", ct_dropout_create(dropout)) &&
           ct_module_add(net, "_fc", ct_linear_create(HEAD, classes, true));
}

static bool build(ct_module *net, const ct_backbone_network *network, int64_t classes) {
    const shape *of = network->shape;
    bool ok = ct_backbone_part(net, 0, net, "_conv_stem", conv_create(3, of->stem, 3, 2, 1)) &&
              ct_backbone_part(net, 0, net, "_bn0", norm_create(of->stem));
    ct_module *blocks = ct_module_add(net, "_blocks", ct_module_create("blocks"));
    int64_t in = of->stem;
    int number = 0;
    for (const stage *s = of->stages; ok && s->repeats; s++) {
        stage now = *s;
        for (int i = 0; ok && i < s->repeats; i++, now.stride = 1, in = s->out) {
            char name[16];
            snprintf(name, sizeof name, "%d", number++);
            ct_module *block = ct_module_create("inverted_residual");
            ok = build_block(ct_backbone_part(net, number, blocks, name, block), in, now);
        }
    }
    return ok &&
           ct_backbone_part(net, number + 1, net, "_conv_head", conv_create(in, HEAD, 1, 1, 1)) &&
           ct_backbone_part(net, number + 1, net, "_bn1", norm_create(HEAD)) &&
           (classes == 0 || build_classifier(net, classes, of->dropout));
}

/* Block `number` of the inverted residuals, from 1: its stage, with stride 1 behind the first. */
static stage stage_of(const shape *of, int64_t number) {
    const stage *s = of->stages;
    for (; number > s->repeats; s++) number -= s->repeats;
    stage found = *s;
    if (number > 1) found.stride = 1;
    return found;
}

static ct_tensor *run(ct_module *net, const ct_backbone_step *step, ct_tensor *x) {
    if (step->block == 0)
        return ct_backbone_conv_norm(net, "_conv_stem", "_bn0", same(x, 3, 2), NULL, CT_RELU6);
    if (step->part == ct_module_child(net, "_conv_head")) {
        return ct_backbone_conv_norm(net, "_conv_head", "_bn1", x, NULL, CT_RELU6);
    }
    stage s = stage_of(ct_backbone_network_of(net)->shape, step->block);
    return run_block(step, x, s.kernel, s.stride);
}

static ct_tensor *logits(ct_module *net, ct_tensor *map) {
    ct_tensor *x = ct_dropout(ct_module_child(net, "_dropout"), ct_backbone_map_mean(map));
    return ct_linear(ct_module_child(net, "_fc"), x);
}

static int64_t grid(const ct_backbone_network *network, int64_t size) {
    const shape *of = network->shape;
    size = ceil_half(size);
    for (const stage *s = of->stages; s->repeats; s++) {
        if (s->stride == 2) size = ceil_half(size);
    }
    return size;
}

/* ---- timm's names ---------------------------------------------------------------------------- */

/* Rewrites what a name begins with; false if it does not begin so. */
static bool renamed(const char *name, const char *const pair[2], const char *before, char *out,
                    size_t size) {
    size_t length = strlen(pair[0]);
    if (strncmp(name, pair[0], length) != 0) return false;
    snprintf(out, size, "%s%s%s", before, pair[1], name + length);
    return true;
}

static bool renamed_by(const char *const (*pairs)[2], const char *name, const char *before,
                       char *out, size_t size) {
    while ((*pairs)[0] && !renamed(name, *pairs, before, out, size)) pairs++;
    return (*pairs)[0] != NULL;
}

/* "_blocks.3._bn0.weight" is "blocks.2.0.bn1.weight": by stages, parts numbered as they follow. */
static bool timm_name(const ct_backbone_network *network, const char *ours, char *theirs,
                      size_t size) {
    static const char *const whole[][2] = {{"_conv_stem.", "conv_stem."}, {"_bn0.", "bn1."},
                                           {"_conv_head.", "conv_head."}, {"_bn1.", "bn2."},
                                           {"_fc.", "classifier."},       {NULL, NULL}};
    static const char *const plain[][2] = {{"_depthwise_conv.", "conv_dw."},
                                           {"_bn1.", "bn1."},
                                           {"_project_conv.", "conv_pw."},
                                           {"_bn2.", "bn2."},
                                           {NULL, NULL}};
    static const char *const expanding[][2] = {{"_expand_conv.", "conv_pw."},
                                               {"_bn0.", "bn1."},
                                               {"_depthwise_conv.", "conv_dw."},
                                               {"_bn1.", "bn2."},
                                               {"_project_conv.", "conv_pwl."},
                                               {"_bn2.", "bn3."},
                                               {NULL, NULL}};
    const shape *of = network->shape;
    const stage *s = of->stages;
    int number, length = 0, stage_number = 0;
    if (sscanf(ours, "_blocks.%d.%n", &number, &length) != 1 || !length) {
        return renamed_by(whole, ours, "", theirs, size);
    }
    for (; number >= s->repeats; s++, stage_number++) number -= s->repeats;
    char before[48];
    snprintf(before, sizeof before, "blocks.%d.%d.", stage_number, number);
    return renamed_by(s->expansion == 1 ? plain : expanding, ours + length, before, theirs, size);
}

static const ct_backbone_names timm = {"conv_stem.weight", "classifier.", timm_name};

/* ---- records --------------------------------------------------------------------------------- */

static const stage lite0_stages[] = {
    {1, 3, 1, 1, 16},  {2, 3, 2, 6, 24},  {2, 5, 2, 6, 40},  {3, 3, 2, 6, 80},
    {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192}, {1, 3, 1, 6, 320}, {0},
};
static const shape lite0 = {32, lite0_stages, 0.2};

const ct_backbone_network ct_efficientnets[] = {
    {.name = "efficientnet_lite0",
     .shape = &lite0,
     .width = HEAD,
     .classifier = "_fc.",
     .other = &timm,
     .build = build,
     .run = run,
     .dropped_most = 17,
     .logits = logits,
     .grid = grid},
    {.name = NULL},
};
