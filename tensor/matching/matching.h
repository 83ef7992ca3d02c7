/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of the image-text matching system of models/ (docs/model.md): hinge, order
 * similarity, ranks, policy head. They are not generic ones, and stand here because of their speed
 * alone. Rules as in tensor/fused/fused.h: each equals a composition of plain operations, and is
 * tested against it; results belong to the innermost scope, and are NULL with an error where inputs
 * do not fit.
 */
#ifndef CT_MATCHING_H
#define CT_MATCHING_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* ---- similarity matrices ---------------------------------------------------------------- */

/* Ranking hinge on a square similarity matrix S (B,B), own pairs on the diagonal.
 * cost[i][j] = max(0, margin + S[i][j] - S[d][d]) off the diagonal, d = i (CT_HINGE_ROW) or j
 * (CT_HINGE_COLUMN), 0 on it. Sum of all costs, or, with hardest, of each row's (over = ROW) or
 * each column's (over = COLUMN) largest cost (the first of equals). VSE++ eq. 6-7. */
typedef enum { CT_HINGE_ROW, CT_HINGE_COLUMN } ct_hinge_side;
typedef struct {
    double margin;
    bool hardest;
    ct_hinge_side anchor; /* whose diagonal is subtracted */
    ct_hinge_side over;   /* each row's or each column's largest; ignored without hardest */
} ct_hinge_options;
ct_tensor *ct_tensor_hinge(const ct_tensor *s, ct_hinge_options options); /* scalar */
ct_tensor *ct_tensor_hinge_grad(const ct_tensor *g, const ct_tensor *s, ct_hinge_options options);

/* S[i][j] = -|max(0, b_j - a_i)|_2 of a (N,D), b (M,D): order similarity (Vendrov et al. 2016).
 * The square root's subgradient at 0 is 0. ga, gb: NULL if not wanted. */
ct_tensor *ct_tensor_order_similarity(const ct_tensor *a, const ct_tensor *b);
void ct_tensor_order_similarity_grad(const ct_tensor *g, const ct_tensor *a, const ct_tensor *b,
                                     const ct_tensor *s, ct_tensor **ga, ct_tensor **gb);

/* Scores S (Q,N) f32 of a (Q,D) f32 with many rows b (N,D) f16, which are read once and never
 * converted as a whole: one search through b is as fast as its memory. Sums are in f32, of one a
 * and b the same bits whatever else is scored: equal rows have equal scores. The order similarity
 * of a_q and b_n, or turned, of b_n and a_q, as above but for squares out of f32's range, which are
 * 0 or infinite. */
typedef enum { CT_SCORE_PRODUCT, CT_SCORE_ORDER, CT_SCORE_ORDER_TURNED } ct_score_kind;
ct_tensor *ct_tensor_row_scores(const ct_tensor *a, const ct_tensor *b, ct_score_kind kind);

/* 0-based ranks in a square S (B,B): how many entries of row i (or, by column, of column i) are
 * greater than S[i][i]. i64 (B). */
ct_tensor *ct_tensor_diagonal_ranks(const ct_tensor *s, bool by_column);

/* ---- discrete-continuous policy head -------------------------------------------- */
/* For each of R rows (samples x steps) and H heads, from logits (R,H,A) and rho (R,H):
 *     y = softmax((logits + gumbel)/temperature), gumbel = -log(-log(u + 1e-20) + 1e-20)
 *     k = the index at which the running sum of y first exceeds v        (or `index`, if given)
 *     log_discrete = log y[k];  mu = k/A;  sigma = exp(rho/2)
 *     z = mu + sigma * normal;  weight = scale * sigmoid(z)
 *     log_continuous = log Normal(z'; mu, sigma), z' = z, or mu + sigma*normal_2 if given
 * perturbed = false: y = softmax(logits), no Gumbel noise, temperature 1 (discrete = categorical).
 * Gradients: log_discrete -> logits through y; log_continuous -> rho through sigma, and ->
 * logits through mu = sum_a (a/A) onehot[a], straight through y. None through z or weight. */
typedef struct {
    double temperature, scale;
    bool perturbed;
} ct_policy_options;
typedef struct {
    const ct_tensor *uniform;  /* (R,H,A), for the Gumbel noise; NULL if not perturbed */
    const ct_tensor *choice;   /* (R,H), v above */
    const ct_tensor *normal;   /* (R,H) */
    const ct_tensor *normal_2; /* (R,H) or NULL */
    const ct_tensor *index;    /* (R,H) i64 or NULL: k is given, choice is not used */
} ct_policy_noise;
typedef struct {
    ct_tensor *log_discrete, *log_continuous; /* (R,H) */
    ct_tensor *weight;                        /* (R,H) */
    ct_tensor *index;                         /* (R,H) i64 */
    ct_tensor *y;                             /* (R,H,A) for the gradient */
    ct_tensor *sample;                        /* (R,H) the z' used in log_continuous */
} ct_policy_result;
ct_policy_result ct_tensor_policy_head(const ct_tensor *logits, const ct_tensor *rho,
                                       ct_policy_noise noise, ct_policy_options options);
void ct_tensor_policy_head_grad(const ct_tensor *g_discrete, const ct_tensor *g_continuous,
                                const ct_tensor *rho, const ct_policy_result *result,
                                ct_policy_options options, ct_tensor **g_logits,
                                ct_tensor **g_rho); /* either g_ may be NULL for zero */

CT_END_DECLS

#endif
