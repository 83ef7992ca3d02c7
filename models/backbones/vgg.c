/* SPDX-License-Identifier: Apache-2.0 */
/* VGG19 (Simonyan and Zisserman 2015, configuration E), as torchvision's vgg19: without batch norm.
 * Regions are its last feature map, (7*7,512) of a picture of 224x224. The published VSE++ takes
 * no regions of it but one vector a picture, the 4096 numbers before classifier.6. */
#include <stdio.h>

#include "models/backbones/backbone.h"

enum { POOL = 0, ROWS = 7, HIDDEN = 4096, LAST = 512, STAGES = 5 };

/* Widths of the convolutions, POOL between the stages; ended by a negative one. */
typedef struct {
    const int *layers;
} shape;

/* ---- the network ----------------------------------------------------------------------------- */

/* 3x3 with bias 0; relus and pools count as layers, too, and have no module. */
static ct_module *conv_create(int64_t in, int64_t out) {
    ct_conv2d_options options = ct_conv2d_defaults();
    options.padding = 1;
    ct_module *conv = ct_conv2d_create(in, out, 3, &options);
    if (conv && ct_backbone_draw_conv(conv) &&
        ct_init_constant(ct_module_tensor(conv, "bias"), 0)) {
        return conv;
    }
    ct_module_destroy(conv);
    return NULL;
}

static bool add_linear(ct_module *classifier, const char *name, int64_t in, int64_t out) {
    ct_module *linear = ct_module_add(classifier, name, ct_linear_create(in, out, true));
    return linear &&
           ct_init_normal(ct_module_tensor(linear, "weight"), 0, 0.01, ct_default_rng()) &&
           ct_init_constant(ct_module_tensor(linear, "bias"), 0);
}

static bool build_classifier(ct_module *net, int64_t classes) {
    ct_module *classifier = ct_module_add(net, "classifier", ct_module_create("classifier"));
    return classifier && add_linear(classifier, "0", (int64_t)LAST * ROWS * ROWS, HIDDEN) &&
           ct_module_add(classifier, "2", ct_dropout_create(0.5)) &&
           add_linear(classifier, "3", HIDDEN, HIDDEN) &&
           ct_module_add(classifier, "5", ct_dropout_create(0.5)) &&
           add_linear(classifier, "6", HIDDEN, classes);
}

static bool build(ct_module *net, const ct_backbone_network *network, int64_t classes) {
    const shape *of = network->shape;
    ct_module *features = ct_module_add(net, "features", ct_module_create("features"));
    int64_t in = 3, block = 0;
    int place = 0;
    bool ok = features != NULL;
    for (const int *out = of->layers; ok && *out >= 0; out++) {
        char name[16];
        snprintf(name, sizeof name, "%d", place);
        place += *out == POOL ? 1 : 2;
        if (*out == POOL) continue;
        ok = ct_backbone_part(net, block++, features, name, conv_create(in, *out)) != NULL;
        in = *out;
    }
    return ok && (classes == 0 || build_classifier(net, classes));
}

/* Whether a pool follows convolution `block`, from 0. */
static bool pool_follows(const shape *of, int64_t block) {
    const int *layer = of->layers;
    for (; *layer == POOL || block-- > 0; layer++) {
    }
    return layer[1] == POOL;
}

static ct_tensor *run(ct_module *net, const ct_backbone_step *step, ct_tensor *x) {
    const ct_tensor_max_pool2d_options pool = {.kernel = 2, .stride = 2, .dilation = 1};
    const shape *of = ct_backbone_network_of(net)->shape;
    x = ct_relu(ct_conv2d(step->part, x));
    return pool_follows(of, step->block) ? ct_max_pool2d(x, pool) : x;
}

static ct_tensor *hidden(ct_module *classifier, const char *linear, const char *dropout,
                         ct_tensor *x) {
    x = ct_relu(ct_linear(ct_module_child(classifier, linear), x));
    return ct_dropout(ct_module_child(classifier, dropout), x);
}

static ct_tensor *logits(ct_module *net, ct_tensor *map) {
    ct_module *classifier = ct_module_child(net, "classifier");
    ct_tensor *x = ct_adaptive_avg_pool2d(map, ROWS, ROWS);
    x = x ? ct_reshape(x, CT_SHAPE(x->shape.dim[0], (int64_t)LAST * ROWS * ROWS)) : NULL;
    x = hidden(classifier, "0", "2", x);
    x = hidden(classifier, "3", "5", x);
    return ct_linear(ct_module_child(classifier, "6"), x);
}

static int64_t grid(const ct_backbone_network *network, int64_t size) {
    (void)network;
    return size >> STAGES;
}

/* ---- records --------------------------------------------------------------------------------- */

static const shape vgg19 = {(const int[]){64,  64,  POOL, 128, 128,  POOL, 256, 256,
                                          256, 256, POOL, 512, 512,  512,  512, POOL,
                                          512, 512, 512,  512, POOL, -1}};

const ct_backbone_network ct_vggs[] = {
    {.name = "vgg19",
     .shape = &vgg19,
     .width = LAST,
     .classifier = "classifier.",
     .build = build,
     .run = run,
     .logits = logits,
     .grid = grid},
    {.name = NULL},
};
