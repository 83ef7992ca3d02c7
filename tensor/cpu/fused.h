/* SPDX-License-Identifier: Apache-2.0 */
/* The fused CPU kernels (cpu/fused_*.c) and their table. Internal to tensor/cpu/.
 *
 * What each computes is in tensor/fused/fused.h, what it may assume in
 * tensor/device/backend_fused.h. The loops are templates (cpu/fused_*_kernels.h), included once for
 * f32 and once for f64.
 */
#ifndef CT_CPU_FUSED_H
#define CT_CPU_FUSED_H

#include "tensor/cpu/cpu.h"

/* cpu/fused_recurrent.c */
bool CT_CPU(gru_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                      const ct_tensor *previous, const ct_tensor *b_ih, const ct_tensor *b_hh);
bool CT_CPU(gru_step_grad)(ct_tensor *d, ct_tensor *dh, ct_tensor *d_bias, const ct_tensor *g,
                           const ct_tensor *saved, const ct_tensor *previous);
bool CT_CPU(lstm_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                       const ct_tensor *c_previous, const ct_tensor *b_ih, const ct_tensor *b_hh);
bool CT_CPU(lstm_step_grad)(ct_tensor *d, const ct_tensor *dh, ct_tensor *dc, ct_tensor *d_bias,
                            const ct_tensor *g, const ct_tensor *saved,
                            const ct_tensor *c_previous);

/* cpu/fused_norm.c */
bool CT_CPU(batch_norm_statistics)(ct_tensor *mean, ct_tensor *variance, ct_tensor *rstd,
                                   const ct_tensor *x, double eps);
bool CT_CPU(batch_norm_apply)(ct_tensor *y, const ct_tensor *x, const ct_tensor *mean,
                              const ct_tensor *rstd, const ct_tensor *weight,
                              const ct_tensor *bias);
bool CT_CPU(batch_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight, bool batch_statistics);
bool CT_CPU(layer_norm)(ct_tensor *y, ct_tensor *mean, ct_tensor *rstd, const ct_tensor *x,
                        const ct_tensor *weight, const ct_tensor *bias, double eps);
bool CT_CPU(layer_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight);
bool CT_CPU(l2_normalize)(ct_tensor *y, ct_tensor *norm, const ct_tensor *x);
bool CT_CPU(l2_normalize_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y,
                               const ct_tensor *norm);

/* cpu/fused_loss.c */
bool CT_CPU(cross_entropy)(ct_tensor *loss, ct_tensor *log_sum_exp, const ct_tensor *logits,
                           const ct_tensor *labels, int64_t ignore_index, double smoothing);
bool CT_CPU(cross_entropy_grad)(ct_tensor *g_logits, const ct_tensor *g, const ct_tensor *logits,
                                const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                int64_t ignore_index, double smoothing);

/* cpu/matching_ranking.c */
bool CT_CPU(hinge)(ct_tensor *loss, const ct_tensor *s, ct_hinge_options options);
bool CT_CPU(hinge_grad)(ct_tensor *gs, const ct_tensor *g, const ct_tensor *s,
                        ct_hinge_options options);
bool CT_CPU(diagonal_ranks)(ct_tensor *rank, const ct_tensor *s, bool by_column);
bool CT_CPU(order_similarity)(ct_tensor *s, const ct_tensor *a, const ct_tensor *b);
bool CT_CPU(order_similarity_grad)(ct_tensor *ga, ct_tensor *gb, const ct_tensor *g,
                                   const ct_tensor *a, const ct_tensor *b, const ct_tensor *s);

/* cpu/matching_policy.c */
bool CT_CPU(policy_head)(const ct_policy_result *result, const ct_tensor *logits,
                         const ct_tensor *rho, const ct_policy_noise *noise,
                         ct_policy_options options);
bool CT_CPU(policy_head_grad)(ct_tensor *g_logits, ct_tensor *g_rho, const ct_tensor *g_discrete,
                              const ct_tensor *g_continuous, const ct_tensor *rho,
                              const ct_policy_result *result, ct_policy_options options);

/* cpu/fused_conv.c */
bool CT_CPU(unfold)(ct_tensor *u, const ct_tensor *x, ct_tensor_conv1d_options options);
bool CT_CPU(fold)(ct_tensor *x, const ct_tensor *u, ct_tensor_conv1d_options options);

/* cpu/fused_optimizer.c */
bool CT_CPU(adam)(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                  ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                  ct_tensor_adam_options options);
bool CT_CPU(sgd)(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                 ct_tensor *const *rates, int count, ct_tensor_sgd_options options);

/* What cpu/table.c puts into a backend's `fused` member. */
#define CT_CPU_FUSED                                                                              \
    {                                                                                             \
        .gru_step = CT_CPU(gru_step), .gru_step_grad = CT_CPU(gru_step_grad),                     \
        .lstm_step = CT_CPU(lstm_step), .lstm_step_grad = CT_CPU(lstm_step_grad),                 \
        .batch_norm_statistics = CT_CPU(batch_norm_statistics),                                   \
        .batch_norm_apply = CT_CPU(batch_norm_apply), .batch_norm_grad = CT_CPU(batch_norm_grad), \
        .layer_norm = CT_CPU(layer_norm), .layer_norm_grad = CT_CPU(layer_norm_grad),             \
        .l2_normalize = CT_CPU(l2_normalize), .l2_normalize_grad = CT_CPU(l2_normalize_grad),     \
        .cross_entropy = CT_CPU(cross_entropy), .cross_entropy_grad = CT_CPU(cross_entropy_grad), \
        .hinge = CT_CPU(hinge), .hinge_grad = CT_CPU(hinge_grad),                                 \
        .diagonal_ranks = CT_CPU(diagonal_ranks), .order_similarity = CT_CPU(order_similarity),   \
        .order_similarity_grad = CT_CPU(order_similarity_grad),                                   \
        .policy_head = CT_CPU(policy_head), .policy_head_grad = CT_CPU(policy_head_grad),         \
        .unfold = CT_CPU(unfold), .fold = CT_CPU(fold), .adam = CT_CPU(adam), .sgd = CT_CPU(sgd), \
    }

/* First element of a tensor that may be NULL. */
static inline void *ct_cpu_data_or_null(const ct_tensor *x) { return x ? ct_cpu_data(x) : NULL; }

#endif
