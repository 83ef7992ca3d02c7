/* SPDX-License-Identifier: Apache-2.0 */
/* What image-text matching adds to nn/: similarity, the ranking loss, relations between regions.
 * Usable without a description. Ownership, NULL and errors as in nn/nn.h: tensors belong to the
 * scope, modules to the caller. Formulas: docs/model.md.
 */
#ifndef CT_MODELS_MATCHING_H
#define CT_MODELS_MATCHING_H

#include "autograd/matching.h"
#include "nn/nn.h"

CT_BEGIN_DECLS

/* ---- similarity and loss ------------------------------------------------------------------- */

typedef enum { CT_COSINE, CT_ORDER } ct_measure;
/* a (N,D), b (M,D) -> S (N,M): a b^T, or -|max(0, b - a)|_2. Rows are not normalised here. */
ct_tensor *ct_similarity(ct_tensor *a, ct_tensor *b, ct_measure measure);

/* Hinge both ways across the modalities, and within each if intra_modal (VSE++ eq. 6-7). */
typedef struct {
    double margin;      /* 0 or more; default 0.2 */
    bool hardest;       /* the hardest negative, not the sum over all; default true */
    bool intra_modal;   /* default false */
    ct_measure measure; /* default CT_COSINE */
    /* In place of the measure's similarity, (N,D) and (M,D) -> (N,M); default NULL. */
    ct_tensor *(*similarity)(ct_tensor *a, ct_tensor *b);
    /* Whose hardest negatives count within a modality, each row's or each column's: the same where
     * S is symmetric with a constant diagonal. Default CT_HINGE_ROW. */
    ct_hinge_side within_over;
    /* (B,B) u8, nothing else than 0 on the diagonal: pairs that are no negatives, within a modality
     * neither (ct_same_images); default NULL: all others are. */
    ct_tensor *left_out;
} ct_ranking_options;
ct_ranking_options ct_ranking_defaults(void);
/* Which pairs of a batch are of one image, but for a pair and itself: (B,B) u8 of the images'
 * numbers (B) i64, on their device. */
ct_tensor *ct_same_images(const ct_tensor *numbers);
/* images, captions (B,D), pair i in row i of both: a scalar. */
ct_tensor *ct_ranking_loss(ct_tensor *images, ct_tensor *captions,
                           const ct_ranking_options *options);

/* ---- regions ------------------------------------------------------------------------------- */

/* Region-relation graph convolution (VSRN's Rs_GCN): v (B,N,D) -> (B,N,D). Parameters under the
 * published names g, theta, phi, W.0, W.1 (W.1: batch norm, gain and bias start at 0). inner: width
 * of g, theta, phi. Where that is less arithmetic (B N > D, if inner is D), W and g are multiplied
 * into one layer first, and so are theta and phi: the same but for rounding. */
ct_module *ct_region_gcn_create(int64_t width, int64_t inner);
ct_tensor *ct_region_gcn(ct_module *gcn, ct_tensor *v);
/* Multiplications by weights in a forward pass over so many regions, B N. */
double ct_region_gcn_work(double rows, double width, double inner);

CT_END_DECLS

#endif
