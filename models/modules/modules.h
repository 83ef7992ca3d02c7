/* SPDX-License-Identifier: Apache-2.0 */
/* The module kinds, one record each, and what they share. Internal to models/. */
#ifndef CT_MODELS_MODULES_H
#define CT_MODELS_MODULES_H

#include "models/graph/graph.h"

extern const ct_graph_kind ct_kind_linear, ct_kind_l2norm, ct_kind_batchnorm, ct_kind_layernorm,
    ct_kind_dropout; /* layer.c */
extern const ct_graph_kind ct_kind_activations[];
extern const int ct_kind_activation_count;
extern const ct_graph_kind ct_kind_words, ct_kind_gcn, ct_kind_conv1d; /* sequence.c */
extern const ct_graph_kind ct_kind_attention, ct_kind_transformer, ct_kind_positions; /* attend.c */
extern const ct_graph_kind ct_kind_mean, ct_kind_max, ct_kind_gru, ct_kind_lstm,
    ct_kind_bigru;                                   /* pools.c */
extern const ct_graph_kind ct_kind_policy_attention; /* policy.c */
extern const ct_graph_kind ct_kind_pictures, ct_kind_conv2d, ct_kind_residual, ct_kind_maxpool2d,
    ct_kind_avgpool2d, ct_kind_regions; /* pictures.c */
extern const ct_graph_kind ct_kind_resnet, ct_kind_vgg, ct_kind_efficientnet,
    ct_kind_vit; /* backbone.c */

/* For kinds without options; whose output is as wide as their input; without products. */
extern const ct_option ct_no_options[];
bool ct_same_width(ct_graph_node *node, const ct_graph_context *context);
double ct_no_flops(const ct_graph_node *node, double rows, double steps);

/* x with zeros beyond lengths; x itself without lengths. */
ct_tensor *ct_mask_steps(const ct_graph_state *state, ct_tensor *x);

#endif
