/* SPDX-License-Identifier: Apache-2.0 */
/* The fused kernels of a backend (see tensor/fused/fused.h for the formulas). Internal to tensor/.
 *
 * As in tensor/device/backend.h a kernel is called with what is already right: outputs allocated,
 * all tensors on its device, floating tensors of one dtype (f32 or f64). Tensors are contiguous
 * unless said otherwise. "Rows" are matrices whose last dimension is dense and whose rows stand at
 * any constant distance (stride[0]).
 */
#ifndef CT_BACKEND_FUSED_H
#define CT_BACKEND_FUSED_H

#include "tensor/tensor.h"

typedef struct ct_fused_backend {
    /* One step of n sequences of a GRU. Rows: h (n,H); rounded (n,H) bf16, which receives h, too,
     * where the next step's product takes it so, else NULL; saved (n,4H), which comes with the
     * input projections W_i. x in columns 0..3H and leaves with r, z, n, W_hn h + b_hn; hidden
     * (n,3H), the projections W_h. h, and previous (n,H), the states before, both NULL for a zero
     * state. b_ih, b_hh (3H) or both NULL. */
    bool (*gru_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                     const ct_tensor *previous, const ct_tensor *b_ih, const ct_tensor *b_hh);
    /* Its gradient. Rows: g (n,H) gradient of the output or NULL; dh (n,H) comes with the
     * gradient of the state from later steps and leaves with the part of the gradient of the state
     * before that does not pass through a product. d (n,4H) receives the gradients before the
     * gates' functions in the order n, r, z, hidden part of n, so that columns H..4H are those of
     * the hidden projections and 0..3H those of the input projections; d is bf16 where products
     * take it so. Their column sums are added to d_bias (4H) f64. */
    bool (*gru_step_grad)(ct_tensor *d, ct_tensor *dh, ct_tensor *d_bias, const ct_tensor *g,
                          const ct_tensor *saved, const ct_tensor *previous);

    /* The same for an LSTM. saved (n,5H): comes with the four input projections, leaves with
     * i, f, g, o, c; hidden (n,4H) or NULL; c_previous (n,H) or NULL; biases (4H). */
    bool (*lstm_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                      const ct_tensor *c_previous, const ct_tensor *b_ih, const ct_tensor *b_hh);
    /* dh (n,H) gradient of h from later steps (read only); dc (n,H) that of c: replaced by that of
     * c_previous. d (n,4H) in the gates' order, column sums added to d_bias (4H) f64. */
    bool (*lstm_step_grad)(ct_tensor *d, const ct_tensor *dh, ct_tensor *dc, ct_tensor *d_bias,
                           const ct_tensor *g, const ct_tensor *saved, const ct_tensor *c_previous);

    /* x (outer, C, inner); mean, variance (biased), rstd = 1/sqrt(variance + eps), weight, bias,
     * their gradients (C). weight and bias may be NULL. */
    bool (*batch_norm_statistics)(ct_tensor *mean, ct_tensor *variance, ct_tensor *rstd,
                                  const ct_tensor *x, double eps);
    bool (*batch_norm_apply)(ct_tensor *y, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight, const ct_tensor *bias);
    bool (*batch_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                            const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                            const ct_tensor *rstd, const ct_tensor *weight, bool batch_statistics);
    /* x (rows, C); mean, rstd (rows); weight, bias (C) or NULL; g_weight and g_bias, or neither. */
    bool (*layer_norm)(ct_tensor *y, ct_tensor *mean, ct_tensor *rstd, const ct_tensor *x,
                       const ct_tensor *weight, const ct_tensor *bias, double eps);
    bool (*layer_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                            const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                            const ct_tensor *rstd, const ct_tensor *weight);
    /* x (outer, n, inner) divided by its norms (outer, inner) over n. */
    bool (*l2_normalize)(ct_tensor *y, ct_tensor *norm, const ct_tensor *x);
    bool (*l2_normalize_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y,
                              const ct_tensor *norm);

    /* logits (N,V), labels (N) i64, the others (N). The first fails on a label out of range. */
    bool (*cross_entropy)(ct_tensor *loss, ct_tensor *log_sum_exp, const ct_tensor *logits,
                          const ct_tensor *labels, int64_t ignore_index, double smoothing);
    bool (*cross_entropy_grad)(ct_tensor *g_logits, const ct_tensor *g, const ct_tensor *logits,
                               const ct_tensor *labels, const ct_tensor *log_sum_exp,
                               int64_t ignore_index, double smoothing);

    /* s (B,B); loss and g scalars; rank (B) i64 */
    bool (*hinge)(ct_tensor *loss, const ct_tensor *s, ct_hinge_options options);
    bool (*hinge_grad)(ct_tensor *gs, const ct_tensor *g, const ct_tensor *s,
                       ct_hinge_options options);
    bool (*diagonal_ranks)(ct_tensor *rank, const ct_tensor *s, bool by_column);
    /* a (N,D), b (M,D), s and g (N,M); either of ga, gb may be NULL */
    bool (*order_similarity)(ct_tensor *s, const ct_tensor *a, const ct_tensor *b);
    bool (*order_similarity_grad)(ct_tensor *ga, ct_tensor *gb, const ct_tensor *g,
                                  const ct_tensor *a, const ct_tensor *b, const ct_tensor *s);

    /* All tensors of result allocated. The first fails on a given index out of range. */
    bool (*policy_head)(const ct_policy_result *result, const ct_tensor *logits,
                        const ct_tensor *rho, const ct_policy_noise *noise,
                        ct_policy_options options);
    bool (*policy_head_grad)(ct_tensor *g_logits, ct_tensor *g_rho, const ct_tensor *g_discrete,
                             const ct_tensor *g_continuous, const ct_tensor *rho,
                             const ct_policy_result *result, ct_policy_options options);

    /* u (n,T',K,C)[i][t][k] = x (n,T,C)[i][t*stride - before + k*dilation], 0 outside; and its
     * adjoint, which writes all of x. */
    bool (*unfold)(ct_tensor *u, const ct_tensor *x, ct_tensor_conv1d_options options);
    bool (*fold)(ct_tensor *x, const ct_tensor *u, ct_tensor_conv1d_options options);

    /* As in fused.h; parameters may have different dtypes; a NULL gradient skips its parameter. */
    bool (*adam)(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                 ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                 ct_tensor_adam_options options);
    bool (*sgd)(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                ct_tensor *const *rates, int count, ct_tensor_sgd_options options);
} ct_fused_backend;

#endif
