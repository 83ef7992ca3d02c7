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

/* Relations between the regions of images (VSRN, Li et al. 2019, eq. 2-3): y = R g, (B,N,C), where
 * R = theta phi^T / N. phi NULL: x (B,N,3C) has g, theta and phi of each region side by side. Else
 * x (B,N,2C+CT_RELATIONS_SHIFT) has g, theta and, in the column behind them, a number s for each
 * region, and R = (theta phi^T + s 1^T) / N; columns behind that one are not read, and are there so
 * that rows stay aligned. Differentiable in both; f32 or f64 and one dtype; the caller's scope owns
 * the result. */
enum { CT_RELATIONS_SHIFT = 16 };
ct_tensor *ct_region_relations(ct_tensor *x, ct_tensor *phi);

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
