/* SPDX-License-Identifier: Apache-2.0 */
/* Fused computations, where the time of a training step goes. Each equals a composition of the
 * plain operations of tensor/ops/ops.h (and is tested against it). The `_grad` half of a pair takes
 * what the forward half returned. Floating tensors of one call share dtype (f32 or f64) and
 * device. Outputs that are pointers may be NULL only where said.
 * Results belong to the innermost scope. Where inputs do not fit or memory is short they are NULL
 * (false of an optimiser, which has then changed nothing), with an error that names the operation
 * and the shapes.
 */
#ifndef CT_FUSED_H
#define CT_FUSED_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* ---- packed sequences -------------------------------------------------------------------- */

/* Sequences packed: all steps of all of them, and no padding, as rows (R,..), step after step, in
 * each step the longest sequence first, of equal ones the first (the order of PyTorch's
 * PackedSequence). lengths (B) i64 on the CPU, each 1 or more, together R, alone say which row is
 * which. What treats rows alike takes them as they are; what looks at a sequence is given the
 * lengths, too. */

/* (R) i64 on `device`: where each row stands among the B*steps rows of the padded (B,steps,..), so
 * that ct_tensor_index_select packs. NULL and an error for lengths beyond `steps`. */
ct_tensor *ct_packed_positions(const ct_tensor *lengths, int64_t steps, ct_device device);
/* (R) i64 on `device`: the sequence, 0 to B-1, that each row is of. */
ct_tensor *ct_packed_sequences(const ct_tensor *lengths, ct_device device);
/* (R) i64 on `device`: the step of its sequence, from 0, that each row is. */
ct_tensor *ct_packed_steps(const ct_tensor *lengths, ct_device device);

/* ---- padded sequences -------------------------------------------------------------------- */

/* (B,count) u8 on `device`: 1 where step first, first + 1, ... of a padded sequence is within its
 * length, which ct_steps_within marks, or padding, which ct_steps_beyond does. lengths (B) i64 on
 * any device are neither read by the host nor checked. first and count are 0 or more. */
ct_tensor *ct_steps_within(const ct_tensor *lengths, int64_t first, int64_t count,
                           ct_device device);
ct_tensor *ct_steps_beyond(const ct_tensor *lengths, int64_t first, int64_t count,
                           ct_device device);

/* ---- recurrent networks over a sequence -------------------------------------------------- */

/* What a GRU or an LSTM takes. Gates are stacked along the first axis of the weights: G = 3 of a
 * GRU (r, z, n), 4 of an LSTM (i, f, g, o).
 * lengths: i64, each in 1..T, any order; NULL: all T. Rows of y beyond a length are zero, and
 * `h_last` is the state after each last valid step. reverse: from each row's own last valid step to
 * its first; h_last is then the state after step 0. Lengths on the CPU, wherever x is, are checked,
 * and no step beyond them is computed. Lengths on x's device are neither read nor checked: all T
 * steps are computed, and no shape depends on them (a step with them can be captured). Either way
 * nothing that x holds beyond a length enters results or gradients. */
typedef struct {
    const ct_tensor *x;           /* (B,T,C), or packed (R,C), with lengths on the CPU */
    const ct_tensor *h0, *c0;     /* (B,H) or NULL for zeros; c0 of an LSTM alone, beside h0 */
    const ct_tensor *w_ih, *w_hh; /* (GH,C), (GH,H) */
    const ct_tensor *b_ih, *b_hh; /* (GH) or both NULL */
    const ct_tensor *lengths;     /* (B) or NULL */
    bool reverse;
} ct_recurrent_inputs;
typedef struct {
    ct_tensor *y;               /* (B,T,H), or (R,H) where x is packed */
    ct_tensor *h_last, *c_last; /* (B,H); c_last NULL of a GRU */
    ct_tensor *saved;           /* what the gradient needs: the gates; opaque */
} ct_recurrent_result;
/* Gradients of the outputs; NULL for zero. */
typedef struct {
    const ct_tensor *y, *h_last, *c_last;
} ct_recurrent_output_grad;
typedef struct {
    ct_tensor *x, *h0, *c0; /* x NULL if not needed; these and b_* NULL where the input was */
    ct_tensor *w_ih, *w_hh, *b_ih, *b_hh;
} ct_recurrent_grad;

/* PyTorch's formulas:
 *     r = s(W_ir x + b_ir + W_hr h + b_hr), z likewise,
 *     n = tanh(W_in x + b_in + r * (W_hn h + b_hn)),  h' = (1-z) n + z h.
 * One product for all input projections, one product and one fused gate kernel a step. */
ct_recurrent_result ct_tensor_gru(ct_recurrent_inputs inputs);
ct_recurrent_grad ct_tensor_gru_grad(ct_recurrent_inputs inputs, const ct_recurrent_result *result,
                                     ct_recurrent_output_grad g, bool need_x);
/* PyTorch's formulas: c' = f c + i g, h' = o tanh(c'). */
ct_recurrent_result ct_tensor_lstm(ct_recurrent_inputs inputs);
ct_recurrent_grad ct_tensor_lstm_grad(ct_recurrent_inputs inputs, const ct_recurrent_result *result,
                                      ct_recurrent_output_grad g, bool need_x);

/* ---- normalisation ---------------------------------------------------------------------- */

/* Batch norm over all dimensions but `axis` (the channels). Training statistics: mean and biased
 * variance over the rest. Returns y = (x - mean) * rstd * weight + bias; weight, bias may be NULL.
 * mean, rstd (C) are given back for the gradient and the running statistics; variance biased. */
typedef struct {
    ct_tensor *y, *mean, *variance, *rstd;
} ct_norm_result;
ct_norm_result ct_tensor_batch_norm(const ct_tensor *x, int axis, const ct_tensor *weight,
                                    const ct_tensor *bias, double eps);
/* The same with given statistics (evaluation). */
ct_tensor *ct_tensor_batch_norm_apply(const ct_tensor *x, int axis, const ct_tensor *mean,
                                      const ct_tensor *rstd, const ct_tensor *weight,
                                      const ct_tensor *bias);
typedef struct {
    ct_tensor *x, *weight, *bias; /* weight, bias NULL where the weight was */
} ct_norm_grad;
/* batch_statistics: mean and rstd depend on x (training); else they are constants. */
ct_norm_grad ct_tensor_batch_norm_grad(const ct_tensor *g, const ct_tensor *x, int axis,
                                       const ct_tensor *mean, const ct_tensor *rstd,
                                       const ct_tensor *weight, bool batch_statistics);
/* Layer norm over the last dimension; weight, bias (C) or NULL; mean, rstd have x's shape
 * without it. `variance` of the result is NULL. */
ct_norm_result ct_tensor_layer_norm(const ct_tensor *x, const ct_tensor *weight,
                                    const ct_tensor *bias, double eps);
ct_norm_grad ct_tensor_layer_norm_grad(const ct_tensor *g, const ct_tensor *x,
                                       const ct_tensor *mean, const ct_tensor *rstd,
                                       const ct_tensor *weight);
/* y = x / |x| along an axis, |x| = sqrt(sum x^2); a zero vector stays zero (gradient 0 there).
 * norm: x's shape with the axis of size 1, kept for the gradient. */
ct_tensor *ct_tensor_l2_normalize(const ct_tensor *x, int axis, ct_tensor **norm);
ct_tensor *ct_tensor_l2_normalize_grad(const ct_tensor *g, const ct_tensor *y,
                                       const ct_tensor *norm, int axis);
/* y = v / |v| * scale, rows v (R,C), their norms |v| along C, scale (R); 0 where v is. norm (R) is
 * kept for the gradient. NULL and an error for other shapes. */
ct_tensor *ct_tensor_weight_norm(const ct_tensor *v, const ct_tensor *scale, ct_tensor **norm);
/* The gradient of v for g (R,C) of y, and that of scale, *gscale (R): 0 where v is 0. */
ct_tensor *ct_tensor_weight_norm_grad(const ct_tensor *g, const ct_tensor *v,
                                      const ct_tensor *scale, const ct_tensor *norm,
                                      ct_tensor **gscale);

/* ---- losses ----------------------------------------------------------------------------- */

/* Row losses (N) of logits (N,V) against labels (N) i64: (1-s) * -log p[label]
 * + s * mean over v of -log p[v]; 0 where label == ignore_index. An out-of-range label is an
 * error. log_sum_exp (N) is kept for the gradient; probabilities are not stored. Logits of any
 * finite size: what is small beside the largest of a row is not lost in it. */
ct_tensor *ct_tensor_cross_entropy(const ct_tensor *logits, const ct_tensor *labels,
                                   int64_t ignore_index, double smoothing, ct_tensor **log_sum_exp);
/* g (N) gradient of the row losses -> gradient of the logits (N,V). */
ct_tensor *ct_tensor_cross_entropy_grad(const ct_tensor *g, const ct_tensor *logits,
                                        const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                        int64_t ignore_index, double smoothing);
/* The same, written over the logits, which are contiguous and share no memory with g and
 * log_sum_exp. False on error. */
bool ct_tensor_cross_entropy_grad_in_place(const ct_tensor *g, ct_tensor *logits,
                                           const ct_tensor *labels, const ct_tensor *log_sum_exp,
                                           int64_t ignore_index, double smoothing);

/* ---- convolution ------------------------------------------------------------------------ */
/* x (B,T,Cin), weight (Cout,Cin,K) as PyTorch's Conv1d, bias (Cout) or NULL -> (B,T',Cout),
 * T' = (T + before + after - dilation*(K-1) - 1)/stride + 1. Causal: before = dilation*(K-1),
 * after = 0. Channels last, so that each tap of the kernel is one matrix product. */
typedef struct {
    int64_t before, after, stride, dilation;
} ct_tensor_conv1d_options;
ct_tensor *ct_tensor_conv1d(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *bias,
                            ct_tensor_conv1d_options options);
void ct_tensor_conv1d_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *weight,
                           ct_tensor_conv1d_options options, ct_tensor **gx, ct_tensor **gweight,
                           ct_tensor **gbias); /* gx, gbias: NULL if not wanted */
/* The same of packed sequences: x (R,Cin) -> (R,Cout) in the same order, each sequence with zeros
 * around it. stride is 1, and before + after = dilation*(K-1), so that each keeps its length. */
ct_tensor *ct_tensor_conv1d_packed(const ct_tensor *x, const ct_tensor *lengths,
                                   const ct_tensor *weight, const ct_tensor *bias,
                                   ct_tensor_conv1d_options options);
void ct_tensor_conv1d_packed_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *lengths,
                                  const ct_tensor *weight, ct_tensor_conv1d_options options,
                                  ct_tensor **gx, ct_tensor **gweight, ct_tensor **gbias);

/* Of pictures, as PyTorch's Conv2d: x (B,Cin,H,W), weight (Cout,Cin/groups,Kh,Kw), bias (Cout) or
 * NULL -> (B,Cout,H',W'), H' = (H + before + after - dilation*(Kh-1) - 1)/stride + 1, W' likewise.
 * `before` is added above and on the left, `after` below and on the right; groups divide both
 * channels, and each output channel sees its group's inputs alone (Cin groups: depthwise, which is
 * done without products; others are products on unfolded patches). NULL and an error where sizes do
 * not fit. */
typedef struct {
    int64_t before, after, stride, dilation, groups;
} ct_tensor_conv2d_options;
ct_tensor *ct_tensor_conv2d(const ct_tensor *x, const ct_tensor *weight, const ct_tensor *bias,
                            ct_tensor_conv2d_options options);
/* What becomes of a result: itself, max(y, 0), min(max(y, 0), 6); a NaN stays one. */
typedef enum { CT_NO_ACTIVATION, CT_RELU, CT_RELU6 } ct_activation;
/* activation(conv2d + added) in as few passes as there can be, for networks that are evaluated.
 * bias (Cout) and added (B,Cout,H',W') may be NULL. NULL and an error as conv2d, and for an unknown
 * activation. */
ct_tensor *ct_tensor_conv2d_activated(const ct_tensor *x, const ct_tensor *weight,
                                      const ct_tensor *bias, const ct_tensor *added,
                                      ct_activation activation, ct_tensor_conv2d_options options);
void ct_tensor_conv2d_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *weight,
                           ct_tensor_conv2d_options options, ct_tensor **gx, ct_tensor **gweight,
                           ct_tensor **gbias); /* each NULL if not wanted; NULLs on error */

/* ---- pooling of pictures ------------------------------------------------------------------ */
/* x (B,C,H,W) -> (B,C,H',W'), square windows, as PyTorch's. `padding` on all sides, at most half of
 * what a window spans, is seen by no maximum. H' = (H + 2 padding - dilation*(kernel-1) - 1)/stride
 * + 1, rounded down, or with ceil_mode up, but for a window that would begin in the padding below.
 * The grad half takes x's shape. */
typedef struct {
    int64_t kernel, stride, padding, dilation;
    bool ceil_mode;
} ct_tensor_max_pool2d_options;
/* *index (B,C,H',W') i64: where in its picture's H W elements each maximum stands, for the
 * gradient; index may be NULL. Of equal ones the first; a NaN is the largest, of several the last.
 * A window that sees nothing of the picture gives -infinity and index -1. */
ct_tensor *ct_tensor_max_pool2d(const ct_tensor *x, ct_tensor_max_pool2d_options options,
                                ct_tensor **index);
ct_tensor *ct_tensor_max_pool2d_grad(const ct_tensor *g, const ct_tensor *index, ct_shape shape,
                                     ct_tensor_max_pool2d_options options);

/* Means. count_include_pad: the padding that a window sees counts as zeros, else not at all. */
typedef struct {
    int64_t kernel, stride, padding;
    bool ceil_mode, count_include_pad;
} ct_tensor_avg_pool2d_options;
ct_tensor *ct_tensor_avg_pool2d(const ct_tensor *x, ct_tensor_avg_pool2d_options options);
ct_tensor *ct_tensor_avg_pool2d_grad(const ct_tensor *g, ct_shape shape,
                                     ct_tensor_avg_pool2d_options options);

/* Means to (B,C,rows,columns), of windows that cover the picture: row i is the mean of rows
 * floor(i H/rows) to ceil((i+1) H/rows) - 1, columns likewise. */
ct_tensor *ct_tensor_adaptive_avg_pool2d(const ct_tensor *x, int64_t rows, int64_t columns);
ct_tensor *ct_tensor_adaptive_avg_pool2d_grad(const ct_tensor *g, ct_shape shape);

/* ---- optimisers, over all parameters at once, in place ---------------------------------- */
/* Contiguous f32 or f64; grads[i] of params[i]'s shape; a NULL gradient skips its parameter,
 * weight decay and moments included. Gradients are not changed.
 *
 * What changes from step to step is read from tensors on the parameters' device, when the update
 * is done: a recorded one (tensor/device/capture.h) goes on with what they hold by then. rates[i]
 * is f64 (CT_ADAM_RATES) or (CT_SGD_RATES), written by ct_adam_rates or ct_sgd_rates. */
enum { CT_ADAM_RATES = 3, CT_SGD_RATES = 2 };

/* Gradients are multiplied by min(1, limit / (norm + 1e-6)), as PyTorch's clip_grad_norm_ does,
 * `times` over. Where the norm is not finite nothing is updated, and that is an error. */
typedef struct {
    const ct_tensor *norm; /* f64 scalar on the parameters' device; NULL: no clipping, no check */
    double limit;          /* 0: none */
    int times;             /* 1 or more: as often as the parameter is listed */
} ct_clip;

typedef struct {
    double beta1, beta2, eps, weight_decay;
    bool decoupled; /* AdamW: p -= lr*wd*p; else wd*p is added to the gradient */
    ct_clip clip;
} ct_tensor_adam_options;
/* The rates of a parameter's update number `step`, from 1: lr and both bias corrections. */
void ct_adam_rates(double rates[CT_ADAM_RATES], double lr, int64_t step,
                   const ct_tensor_adam_options *options);
bool ct_tensor_adam(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *exp_avg,
                    ct_tensor *const *exp_avg_sq, ct_tensor *const *rates, int count,
                    ct_tensor_adam_options options);

typedef struct {
    double momentum, weight_decay;
    bool nesterov;
    ct_clip clip;
} ct_tensor_sgd_options;
/* The rates of a parameter's update; at the first its buffer, which may hold anything, starts as
 * the gradient. */
void ct_sgd_rates(double rates[CT_SGD_RATES], double lr, bool first,
                  const ct_tensor_sgd_options *options);
/* momentum_buffer entries may be NULL when momentum is 0. */
bool ct_tensor_sgd(ct_tensor *const *params, ct_tensor *const *grads, ct_tensor *const *buffers,
                   ct_tensor *const *rates, int count, ct_tensor_sgd_options options);

CT_END_DECLS

#endif
