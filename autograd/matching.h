/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of the image-text matching system of models/, whose kernels and formulas are in
 * tensor/matching/matching.h. Rules as in autograd/autograd.h: results belong to the scope, NULL
 * and an error where arguments do not fit. */
#ifndef CT_AUTOGRAD_MATCHING_H
#define CT_AUTOGRAD_MATCHING_H

#include "autograd/autograd.h"
#include "tensor/matching/matching.h"

CT_BEGIN_DECLS

/* Ranking hinge on similarities (B,B), own pairs on the diagonal: a scalar. */
ct_tensor *ct_hinge(ct_tensor *similarity, ct_hinge_options options);
/* a (N,D), b (M,D) -> (N,M), of one float dtype; differentiable in both. */
ct_tensor *ct_order_similarity(ct_tensor *a, ct_tensor *b);

/* Relations between the regions of images (VSRN, Li et al. 2019, eq. 2-3): x (B,N,3C) has g, theta
 * and phi of each region side by side; y = theta phi^T g / N, (B,N,C), differentiable. f32 or f64;
 * the caller's scope owns it. */
ct_tensor *ct_region_relations(ct_tensor *x);

/* What the policy's actions are; all NULL on error. */
typedef struct {
    ct_tensor *log_discrete, *log_continuous; /* (R,H), differentiable */
    ct_tensor *weight, *index;                /* (R,H), constants; index i64 */
} ct_policy_actions;
/* logits (R,H,A), rho (R,H) and noise of one float dtype; differentiable in logits and rho. */
ct_policy_actions ct_policy_head(ct_tensor *logits, ct_tensor *rho, ct_policy_noise noise,
                                 ct_policy_options options);

CT_END_DECLS

#endif
