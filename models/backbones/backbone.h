/* SPDX-License-Identifier: Apache-2.0 */
/* What a backbone is made of. Internal to models/backbones/. */
#ifndef CT_MODELS_BACKBONE_H
#define CT_MODELS_BACKBONE_H

#include "models/backbones.h"

typedef struct ct_backbone_network ct_backbone_network;

/* How another program names a network's tensors. */
typedef struct {
    const char *mark;       /* a tensor by which its files are known */
    const char *classifier; /* how the names of the classifier's tensors begin */
    /* Its name for ours, written to theirs; false if it has none. */
    bool (*name)(const ct_backbone_network *network, const char *ours, char *theirs, size_t size);
} ct_backbone_names;

/* A block that is run. */
typedef struct {
    int64_t block;
    ct_module *part; /* its first */
    double drop;     /* the probability of ct_drop_path_with for what it adds; 0 in evaluation */
    ct_rng *rng;
} ct_backbone_step;

/* A network: one record. */
struct ct_backbone_network {
    const char *name;               /* "resnet50"; NULL ends a list */
    const void *shape;              /* for the functions of its file: depths, widths */
    int64_t width;                  /* F of the regions */
    const char *classifier;         /* how the names of the classifier's tensors begin: "fc." */
    const ct_backbone_names *other; /* in files of another program, or NULL */
    int64_t multiple; /* of which height and width of pictures are multiples; 0: of none */
    /* The block at which drop_path is whole, 0 at block 1; 0: there is none. */
    int64_t dropped_most;
    /* Adds the modules to a new net, those of its blocks by ct_backbone_part. */
    bool (*build)(ct_module *net, const ct_backbone_network *network, int64_t classes);
    /* Runs a block: block 0 takes pictures (B,3,H,W), each other what the one before gave, and the
     * last gives what regions and logits are made of. */
    ct_tensor *(*run)(ct_module *net, const ct_backbone_step *step, ct_tensor *x);
    /* (B,N,F); NULL: every place of a map (B,F,h,w) is one. */
    ct_tensor *(*regions)(ct_tensor *features);
    ct_tensor *(*logits)(ct_module *net, ct_tensor *features); /* (B,classes) */
    /* How many regions stand below one another in a picture of this height, or side by side in one
     * of this width; 0: it is too small. */
    int64_t (*grid)(const ct_backbone_network *network, int64_t size);
};

/* Those of each file. */
extern const ct_backbone_network ct_efficientnets[], ct_resnets[], ct_vggs[], ct_vits[];

/* Network i of all; NULL behind the last. */
const ct_backbone_network *ct_backbone_network_at(int i);

/* The record of a net that ct_backbone_create made. */
const ct_backbone_network *ct_backbone_network_of(ct_module *net);

/* Gives child to parent, somewhere in net, as a part of a block: block after block, from 0, the
 * stem, to which tensors of the net's own belong too. Returns child, or NULL and an error, child
 * destroyed. */
ct_module *ct_backbone_part(ct_module *net, int64_t block, ct_module *parent, const char *name,
                            ct_module *child);

/* ---- what networks are made of: models/backbones/parts.c --------------------------------- */

/* A square convolution without bias, weight ~ N(0, 2 / fan_out) as torchvision's. */
typedef struct {
    int64_t in, out, kernel, stride, padding, groups;
} ct_backbone_conv;
ct_module *ct_backbone_conv_create(ct_backbone_conv shape);
/* The same drawing, of a convolution that there is. */
bool ct_backbone_draw_conv(ct_module *conv);
/* ct_conv2d_norm of two of the module's children. */
ct_tensor *ct_backbone_conv_norm(ct_module *module, const char *conv, const char *norm,
                                 ct_tensor *x, ct_tensor *added, ct_activation activation);
/* The name under which drop_path is drawn. */
#define CT_BACKBONE_DRAW "drop_path"
/* What a block adds to what it was given, without what is dropped of it. */
ct_tensor *ct_backbone_drop(const ct_backbone_step *step, ct_tensor *y);
/* (B,F,h,w) -> (B,F), the mean over its places. */
ct_tensor *ct_backbone_map_mean(ct_tensor *map);

#endif
