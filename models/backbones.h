/* SPDX-License-Identifier: Apache-2.0 */
/* Networks for pictures, as nn modules whose parameters have the names that torchvision gives them,
 * so that a state dictionary of its loads as it is.
 *
 *     ct_module *net = ct_backbone_create("resnet50", NULL);
 *     ct_backbone_load(net, "resnet50.safetensors");
 *     ct_backbone_finetune(net, 2);                         // the last two residual blocks
 *     ct_tensor *regions = ct_backbone_regions(net, pictures);
 *
 * Pictures are (B,3,H,W), channels red, green, blue, normalised as the network was trained on them;
 * H and W need not be those of the training, but for a network that says so.
 * Ownership, NULL and errors as in nn/nn.h: tensors belong to the scope, modules to the caller;
 * parameters are made f32 on the CPU and drawn from the default generator as torchvision draws
 * them.
 *
 * A net is made of blocks, which follow one another; the classifier, if it has one, is none of
 * them. What a block is, is said of each network below. A new network is a record in a file of
 * models/backbones/, and its file a row of models/backbones/networks.c.
 */
#ifndef CT_MODELS_BACKBONES_H
#define CT_MODELS_BACKBONES_H

#include "nn/nn.h"

CT_BEGIN_DECLS

typedef struct {
    int64_t classes; /* of the classifier, 0 to 2^31 - 1; 0: without one; default 0 */
    /* Stochastic depth in training (nn/nn.h, ct_drop_path_with), timm's drop_path_rate: what a
     * residual block adds is left out with a probability that grows from 0 at the first block to
     * this at the last. 0 <= drop_path < 1, default 0; of all networks but vgg19. */
    double drop_path;
} ct_backbone_options;
ct_backbone_options ct_backbone_defaults(void); /* the defaults above */

/* ---- networks ------------------------------------------------------------------------------- */

/* By name:
 *
 * resnet18, resnet34, resnet50, resnet101, resnet152: ResNet (He et al. 2016; bottlenecks stride in
 * their 3x3 convolution). F = 512, of those with bottlenecks (50 and more) 2048. Blocks: the stem,
 * each residual block (8, 16, 16, 33, 50). Of pictures 224x224 N = 7*7.
 *
 * vgg19: VGG19 without batch norm (Simonyan and Zisserman 2015). F = 512, N = 7*7 of pictures
 * 224x224, 32x32 the smallest. 16 blocks: the convolutions.
 *
 * efficientnet_lite0: EfficientNet-Lite0 (Tan and Le 2019; relu6, no squeeze-and-excitation,
 * padding "same" as TensorFlow's). Names are those of the Python package efficientnet_lite_pytorch:
 * _conv_stem.weight, _blocks.0._bn1.weight, ..., _fc.weight. F = 1280. 18 blocks: the stem, 16
 * inverted residuals, the head's convolution.
 *
 * vit_tiny, vit_small, vit_base: ViT (Dosovitskiy et al. 2021) with patches of 16x16 for pictures
 * whose sides are multiples of 16; its positions are those of 224x224, for other sizes interpolated
 * bicubically as timm does. Names are those of timm's vit_*_patch16_224: cls_token, pos_embed,
 * patch_embed.proj.weight, blocks.0.attn.qkv.weight, ..., head.weight. Regions are the patches'
 * vectors behind the last norm, logits those of the class token's. F = 192, 384, 768, N = 14*14 of
 * pictures 224x224. 13 blocks: the stem, 12 transformer layers.
 *
 * The module is the caller's. NULL and an error for another name, which lists these, or a wrong
 * option. */
ct_module *ct_backbone_create(const char *network, const ct_backbone_options *options);
/* Name i of all, from 0: a literal; NULL behind the last. */
const char *ct_backbone_name(int i);

/* ---- running -------------------------------------------------------------------------------- */

/* The last feature map as regions: pictures (B,3,H,W) -> (B,N,F), F numbers at each of its N = h*w
 * places, row after row. Also the net's forward (ct_forward). NULL on error. */
ct_tensor *ct_backbone_regions(ct_module *net, ct_tensor *pictures);
/* What drop_path leaves out is drawn from rng, NULL: the default generator, under "drop_path". */
ct_tensor *ct_backbone_regions_from(ct_module *net, ct_tensor *pictures, ct_rng *rng);
/* The places of any map as regions: (B,F,h,w) -> (B,h*w,F), row after row, contiguous. NULL on
 * error. */
ct_tensor *ct_map_regions(ct_tensor *map);
/* Pictures (B,3,H,W) -> logits (B,classes); NULL and an error if the net has no classifier. */
ct_tensor *ct_backbone_logits(ct_module *net, ct_tensor *pictures);
/* F, the numbers of a region; 0 and an error if net is no backbone. */
int64_t ct_backbone_width(ct_module *net);
/* N, the regions of a picture of that size; 0 and an error if the net cannot take such. */
int64_t ct_backbone_region_count(ct_module *net, int64_t height, int64_t width);
/* Blocks, the stem included; 0 and an error if net is no backbone. */
int64_t ct_backbone_block_count(ct_module *net);

/* ---- training ------------------------------------------------------------------------------- */

/* Has the last `blocks` blocks trained; -1 or as many as there are: all, as a new net is; 0: none.
 * The others are frozen: their parameters are constants, so that nothing is recorded of them, and
 * they run in evaluation mode whatever ct_module_train says, so that running statistics stay and
 * nothing is dropped. The classifier is trained in any case. May be called again, before an
 * optimiser is made. False and an error for other numbers, or if net is no backbone. */
bool ct_backbone_finetune(ct_module *net, int64_t blocks);

/* Reads parameters and running statistics from a safetensors file under the names above, as
 * ct_module_load does ("module." of DataParallel, a missing num_batches_tracked); a net without
 * classifier takes a file that has one. False and one error that names the file and what is
 * missing, too much, or of another shape; nothing is changed then. */
bool ct_backbone_load(ct_module *net, const char *path);

CT_END_DECLS

#endif
