/* SPDX-License-Identifier: Apache-2.0 */
/* ViT (Dosovitskiy et al. 2021) with patches of 16x16 pixels, as timm has it: a class token before
 * the patches, learned positions, norms first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/backbones/backbone.h"

enum { SIZE = 224, PATCH = 16, SIDE = SIZE / PATCH, DEPTH = 12 };

typedef struct {
    int heads;
} shape;

/* ---- a block --------------------------------------------------------------------------------- */

static ct_module *linear_create(int64_t in, int64_t out) {
    ct_module *linear = ct_linear_create(in, out, true);
    if (!linear || (ct_init_normal(ct_module_tensor(linear, "weight"), 0, 0.02, ct_default_rng()) &&
                    ct_init_constant(ct_module_tensor(linear, "bias"), 0))) {
        return linear;
    }
    ct_module_destroy(linear);
    return NULL;
}

static ct_module *norm_create(int64_t width) {
    ct_layer_norm_options options = {.eps = 1e-6};
    return ct_layer_norm_create(width, &options);
}

static bool build_block(ct_module *block, int64_t width) {
    if (!block || !ct_module_add(block, "norm1", norm_create(width))) return false;
    ct_module *attention = ct_module_add(block, "attn", ct_module_create("attn"));
    if (!attention || !ct_module_add(attention, "qkv", linear_create(width, 3 * width)) ||
        !ct_module_add(attention, "proj", linear_create(width, width)) ||
        !ct_module_add(block, "norm2", norm_create(width))) {
        return false;
    }
    ct_module *mlp = ct_module_add(block, "mlp", ct_module_create("mlp"));
    return mlp && ct_module_add(mlp, "fc1", linear_create(width, 4 * width)) &&
           ct_module_add(mlp, "fc2", linear_create(4 * width, width));
}

static ct_tensor *attend(ct_module *attention, ct_tensor *x, int heads) {
    ct_attention_parameters parameters = {
        .in_weight = ct_module_tensor(attention, "qkv.weight"),
        .in_bias = ct_module_tensor(attention, "qkv.bias"),
        .out_weight = ct_module_tensor(attention, "proj.weight"),
        .out_bias = ct_module_tensor(attention, "proj.bias"),
    };
    return ct_attention_with(x, x, x, NULL, parameters, (ct_attention_options){.heads = heads});
}

static ct_tensor *run_block(const ct_backbone_step *step, ct_tensor *x, int heads) {
    ct_module *block = step->part;
    ct_tensor *seen = ct_layer_norm(ct_module_child(block, "norm1"), x);
    ct_tensor *attended = attend(ct_module_child(block, "attn"), seen, heads);
    x = ct_add(x, ct_backbone_drop(step, attended));
    ct_module *mlp = ct_module_child(block, "mlp");
    ct_tensor *hidden =
        ct_linear(ct_module_child(mlp, "fc1"), ct_layer_norm(ct_module_child(block, "norm2"), x));
    ct_tensor *y = ct_linear(ct_module_child(mlp, "fc2"), ct_gelu(hidden));
    return ct_add(x, ct_backbone_drop(step, y));
}

/* ---- positions ------------------------------------------------------------------------------- */

/* Catmull and Rom's cubic, to which the convolution of Keys (1981) comes with a = -1/2. */
static double cubic(double x) {
    x = fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* weight[to * SIDE + from]: how much of each of SIDE places is in each of `count`. Where they
 * become fewer the cubic is as much wider ("antialiased"). */
static void weigh_side(double *weight, int64_t count) {
    double scale = (double)SIDE / (double)count, wider = scale > 1 ? scale : 1;
    for (int64_t to = 0; to < count; to++) {
        double sum = 0, *row = weight + to * SIDE, centre = scale * ((double)to + 0.5);
        for (int64_t from = 0; from < SIDE; from++) {
            row[from] = cubic(((double)from + 0.5 - centre) / wider);
            sum += row[from];
        }
        for (int64_t from = 0; from < SIDE; from++) row[from] /= sum;
    }
}

/* (rows*columns, SIDE*SIDE): each place of the new grid as a sum of the old one's. */
static ct_tensor *resampling(const ct_tensor *like, int64_t rows, int64_t columns) {
    double *side = malloc((size_t)((rows + columns) * SIDE) * sizeof *side);
    if (!side) return ct_fail("vit: out of memory");
    weigh_side(side, rows);
    weigh_side(side + rows * SIDE, columns);
    ct_tensor *vertical = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(rows, 1, SIDE, 1), side);
    ct_tensor *horizontal =
        ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(1, columns, 1, SIDE), side + rows * SIDE);
    free(side);
    ct_tensor *both = ct_tensor_reshape(ct_tensor_mul(vertical, horizontal),
                                        CT_SHAPE(rows * columns, SIDE * SIDE));
    return ct_tensor_to_device(ct_tensor_cast(both, like->dtype), like->device);
}

/* (1,1+rows*columns,C), the class token's first: those that were learned at 224x224, of other
 * grids bicubically between them, as timm's resample_abs_pos_embed. */
static ct_tensor *positions(ct_module *net, int64_t rows, int64_t columns) {
    ct_tensor *learned = ct_module_tensor(net, "pos_embed");
    if (rows == SIDE && columns == SIDE) return learned;
    ct_tensor *places = ct_select(ct_slice(learned, 1, 1, SIDE * SIDE + 1, 1), 0, 0);
    places = ct_matmul(resampling(learned, rows, columns), places);
    return ct_concat2(ct_slice(learned, 1, 0, 1, 1), ct_unsqueeze(places, 0), 1);
}

/* ---- the network ----------------------------------------------------------------------------- */

/* A parameter of the net's own ~ N(0, std^2). */
static bool add_drawn(ct_module *net, const char *name, ct_shape sizes, double std) {
    ct_tensor *x = NULL;
    CT_SCOPE { x = ct_module_parameter(net, name, ct_zeros(CT_F32, CT_CPU, sizes)); }
    return x && ct_init_normal(x, 0, std, ct_default_rng());
}

static bool build(ct_module *net, const ct_backbone_network *network, int64_t classes) {
    int64_t width = network->width;
    bool ok =
        add_drawn(net, "cls_token", CT_SHAPE(1, 1, width), 1e-6) &&
        add_drawn(net, "pos_embed", CT_SHAPE(1, SIDE * SIDE + 1, width), 0.02) &&
        ct_backbone_part(net, 0, net, "patch_embed", ct_patch_embedding_create(3, width, PATCH));
    ct_module *blocks = ct_module_add(net, "blocks", ct_module_create("blocks"));
    for (int i = 0; ok && i < DEPTH; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        ct_module *block = ct_module_create("transformer_block");
        ok = build_block(ct_backbone_part(net, i + 1, blocks, name, block), width);
    }
    return ok && ct_backbone_part(net, DEPTH, net, "norm", norm_create(width)) &&
           (classes == 0 || ct_module_add(net, "head", linear_create(width, classes)));
}

static ct_tensor *run_stem(ct_module *net, ct_module *patches, ct_tensor *pictures) {
    ct_tensor *x = ct_patch_embedding(patches, pictures);
    if (!x) return NULL;
    ct_tensor *token = ct_module_tensor(net, "cls_token");
    token = ct_expand(token, CT_SHAPE(x->shape.dim[0], 1, x->shape.dim[2]));
    const int64_t *size = pictures->shape.dim;
    return ct_add(ct_concat2(token, x, 1), positions(net, size[2] / PATCH, size[3] / PATCH));
}

static ct_tensor *run(ct_module *net, const ct_backbone_step *step, ct_tensor *x) {
    if (step->block == 0) return run_stem(net, step->part, x);
    const shape *of = ct_backbone_network_of(net)->shape;
    x = run_block(step, x, of->heads);
    return step->block == DEPTH ? ct_layer_norm(ct_module_child(net, "norm"), x) : x;
}

static ct_tensor *regions(ct_tensor *tokens) {
    return tokens ? ct_slice(tokens, 1, 1, tokens->shape.dim[1], 1) : NULL;
}

static ct_tensor *logits(ct_module *net, ct_tensor *tokens) {
    return ct_linear(ct_module_child(net, "head"), ct_select(tokens, 1, 0));
}

static int64_t grid(const ct_backbone_network *network, int64_t size) {
    (void)network;
    return size / PATCH;
}

/* ---- records --------------------------------------------------------------------------------- */

#define VIT(kind, columns, of)                                                                     \
    {                                                                                              \
        .name = "vit_" kind, .shape = &(const shape){of}, .width = columns, .classifier = "head.", \
        .multiple = PATCH, .dropped_most = DEPTH, .build = build, .run = run, .regions = regions,  \
        .logits = logits, .grid = grid                                                             \
    }

const ct_backbone_network ct_vits[] = {
    VIT("tiny", 192, 3), VIT("small", 384, 6), VIT("base", 768, 12), {.name = NULL}};
