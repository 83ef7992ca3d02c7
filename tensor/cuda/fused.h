/* SPDX-License-Identifier: Apache-2.0 */
/* The fused CUDA kernels (cuda/fused_*.cu), one family a file as in tensor/cpu/. Internal to
 * tensor/cuda/. What each computes is in tensor/fused/fused.h, what it may assume in
 * tensor/device/backend_fused.h. */
#ifndef CT_CUDA_FUSED_H
#define CT_CUDA_FUSED_H

#include "tensor/cuda/cuda.h"

/* fused_recurrent.cu */
bool ct_cuda_gru_step(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                      const ct_tensor *previous, const ct_tensor *b_ih, const ct_tensor *b_hh);
bool ct_cuda_gru_step_grad(ct_tensor *d, ct_tensor *dh, ct_tensor *d_bias, const ct_tensor *g,
                           const ct_tensor *saved, const ct_tensor *previous);
bool ct_cuda_lstm_step(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                       const ct_tensor *c_previous, const ct_tensor *b_ih, const ct_tensor *b_hh);
bool ct_cuda_lstm_step_grad(ct_tensor *d, const ct_tensor *dh, ct_tensor *dc, ct_tensor *d_bias,
                            const ct_tensor *g, const ct_tensor *saved,
                            const ct_tensor *c_previous);

/* fused_norm.cu */
bool ct_cuda_batch_norm_statistics(ct_tensor *mean, ct_tensor *variance, ct_tensor *rstd,
                                   const ct_tensor *x, double eps);
bool ct_cuda_batch_norm_apply(ct_tensor *y, const ct_tensor *x, const ct_tensor *mean,
                              const ct_tensor *rstd, const ct_tensor *weight,
                              const ct_tensor *bias);
bool ct_cuda_batch_norm_grad(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight, bool batch_statistics);
bool ct_cuda_layer_norm(ct_tensor *y, ct_tensor *mean, ct_tensor *rstd, const ct_tensor *x,
                        const ct_tensor *weight, const ct_tensor *bias, double eps);
bool ct_cuda_layer_norm_grad(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight);
bool ct_cuda_l2_normalize(ct_tensor *y, ct_tensor *norm, const ct_tensor *x);
bool ct_cuda_l2_normalize_grad(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y,
                               const ct_tensor *norm);

/* fused_loss.cu */
bool ct_cuda_cross_entropy(ct_tensor *loss, ct_tensor *log_sum_exp, const ct_tensor *logits,
                           const ct_tensor *labels, int64_t ignore_index, double smoothing);
bool ct_cuda_cross_entropy_grad(ct_tensor *g_logits, const ct_tensor *g, const ct_tensor *logits,
                                const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                int64_t ignore_index, double smoothing);

/* fused_ranking.cu */
bool ct_cuda_hinge(ct_tensor *loss, const ct_tensor *s, ct_hinge_options options);
bool ct_cuda_hinge_grad(ct_tensor *gs, const ct_tensor *g, const ct_tensor *s,
                        ct_hinge_options options);
bool ct_cuda_diagonal_ranks(ct_tensor *rank, const ct_tensor *s, bool by_column);
bool ct_cuda_order_similarity(ct_tensor *s, const ct_tensor *a, const ct_tensor *b);
bool ct_cuda_order_similarity_grad(ct_tensor *ga, ct_tensor *gb, const ct_tensor *g,
                                   const ct_tensor *a, const ct_tensor *b, const ct_tensor *s);

/* fused_policy.cu */
bool ct_cuda_policy_head(const ct_policy_result *result, const ct_tensor *logits,
                         const ct_tensor *rho, const ct_policy_noise *noise,
                         ct_policy_options options);
bool ct_cuda_policy_head_grad(ct_tensor *g_logits, ct_tensor *g_rho, const ct_tensor *g_discrete,
                              const ct_tensor *g_continuous, const ct_tensor *rho,
                              const ct_policy_result *result, ct_policy_options options);

/* fused_conv.cu */
bool ct_cuda_unfold(ct_tensor *u, const ct_tensor *x, ct_tensor_conv1d_options options);
bool ct_cuda_fold(ct_tensor *x, const ct_tensor *u, ct_tensor_conv1d_options options);

/* fused_optimizer.cu */
bool ct_cuda_adam(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                  ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                  ct_tensor_adam_options options);
bool ct_cuda_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                 ct_tensor *const *rates, int count, ct_tensor_sgd_options options);
bool ct_cuda_global_norm(ct_tensor *norm, ct_tensor *const *tensors, int count);

#endif
