/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that look at a whole sequence, of sequences that are packed: rows x (R,..) and their
 * lengths (B) i64 on the CPU (tensor/fused/fused.h). Nothing is computed of padding. ct_gru and
 * ct_lstm (nn/nn.h) take such rows, too, and layers that treat rows alike take them as they are.
 *
 * Results belong to the innermost scope; NULL and an error where rows, lengths and module do not
 * fit.
 */
#ifndef CT_NN_PACKED_H
#define CT_NN_PACKED_H

#include "nn/nn.h"

CT_BEGIN_DECLS

/* x (R,in) -> (R,out). The module keeps a sequence's length: stride 1, and causal or with padding =
 * dilation*(kernel-1)/2. */
ct_tensor *ct_conv1d_packed(ct_module *conv, ct_tensor *x, ct_tensor *lengths);

/* ct_attention_from of each sequence's steps x (R,E) on themselves -> (R,E). Of padding no product
 * with a weight is computed; weights of attention, and their dropout, are those of sequences padded
 * to `steps`, at least the longest length: (B,heads,steps,steps). */
ct_tensor *ct_attention_packed(ct_module *attention, ct_tensor *x, ct_tensor *lengths,
                               int64_t steps, ct_rng *rng);
/* ct_transformer_layer_from, x (R,E) -> (R,E); all dropout is that of sequences padded to `steps`.
 */
ct_tensor *ct_transformer_layer_packed(ct_module *layer, ct_tensor *x, ct_tensor *lengths,
                                       int64_t steps, ct_rng *rng);

/* x (R,width) plus the row of each one's step. */
ct_tensor *ct_position_embedding_packed(ct_module *positions, ct_tensor *x, ct_tensor *lengths);

CT_END_DECLS

#endif
