/* SPDX-License-Identifier: Apache-2.0 */
/* Reverse-mode differentiation: operations that record themselves, and backward.
 *
 *     ct_require_grad(w);
 *     CT_SCOPE {
 *         ct_tensor *loss = ct_mean_all(ct_square(ct_sub(ct_matmul(x, w), y)));
 *         ct_backward(loss);                              // ct_grad(w) is now set
 *     }
 *
 * An operation whose inputs need a gradient adds a node to the graph: the operation, what it saved,
 * and edges to its inputs. The graph hangs on its output tensors and goes with them; after backward
 * it is gone unless retained. Gradients of leaves accumulate over backward calls until
 * ct_zero_grad. There is no second derivative: gradients are computed without recording.
 *
 * Lifetime, errors: as tensor/tensor.h says. Results belong to the innermost scope; a NULL input
 * gives a NULL result; the first error sticks.
 *
 * Threads. Modes (recording, anomaly), errors and scopes are each thread's own. Threads may share
 * leaves and other tensors, read them, record operations on them and run backward over graphs of
 * their own at the same time: every gradient arrives at a shared leaf, in an order that is not
 * determined (so with more than two threads the last bits of the sum are not either). A graph that
 * threads share is walked by one backward at a time; a second one meanwhile is an error. Wait for
 * the threads before asking for a gradient, changing a shared tensor in place, or letting a shared
 * leaf go. A hook runs in the thread whose backward completed the leaf, without a lock.
 */
#ifndef CT_AUTOGRAD_H
#define CT_AUTOGRAD_H

#include <stdio.h>

#include "tensor/tensor.h"

CT_BEGIN_DECLS

/* ---- gradients -------------------------------------------------------------------------- */

/* Makes a leaf: a tensor (f32 or f64) whose gradient backward collects. Returns x. */
ct_tensor *ct_require_grad(ct_tensor *x);
/* Makes a leaf no longer collect one (a frozen parameter); its gradient is dropped. */
void ct_forget_grad(ct_tensor *x);
bool ct_requires_grad(const ct_tensor *x); /* a leaf, or computed from one while recording */
/* Of a leaf or of what ct_retain_grad was asked for, in x's shape; NULL if none. Borrowed. */
ct_tensor *ct_grad(const ct_tensor *x);
/* Asks backward to keep the gradient of a computed tensor for ct_grad(x), added up over backward
 * calls like a leaf's. Does nothing for a leaf. Returns x; NULL with an error if x requires no
 * gradient. */
ct_tensor *ct_retain_grad(ct_tensor *x);
/* Replaces a leaf's gradient (shape, dtype and device of x); NULL drops it. */
bool ct_set_grad(ct_tensor *x, ct_tensor *grad);
void ct_zero_grad(ct_tensor *x); /* drops it */

/* d loss / d leaf is added to every leaf's gradient. loss has one element and depends on a leaf. */
bool ct_backward(ct_tensor *loss);
/* The same from any outputs with given gradients (NULL entry: ones, for one element only), and
 * with the graph kept for another backward if `retain_graph`. */
bool ct_backward_from(ct_tensor *const *outputs, ct_tensor *const *gradients, int count,
                      bool retain_graph);

/* Within the block operations do not record (evaluation). Blocks nest; leaving by return is
 * fine. */
bool ct_grad_enabled(void);
bool ct_set_grad_enabled(bool enabled); /* returns what it was */
static inline void ct_restore_grad_mode(const bool *was) { ct_set_grad_enabled(*was); }
#define CT_NO_GRAD CT_NO_GRAD_AT_(__LINE__) /* the line: nested ones have names of their own */
#define CT_NO_GRAD_AT_(line) CT_NO_GRAD_LINE_(line)
#define CT_NO_GRAD_LINE_(line) CT_NO_GRAD_NAMED_(ct_grad_was_##line, ct_grad_once_##line)
#define CT_NO_GRAD_NAMED_(was, once)                                                          \
    for (bool was                                                                             \
         __attribute__((cleanup(ct_restore_grad_mode), unused)) = ct_set_grad_enabled(false), \
                                                       once = true;                           \
         once; once = false)

/* A hook is called with the gradient of a leaf that backward has added to, as soon as it is
 * complete: once in each backward, after the last operation that used the leaf and before older
 * operations (so that gradients can be sent away meanwhile). It may change the gradient in place,
 * and run a backward of its own on another graph. None is called once backward has failed; an error
 * in a hook is a failure. Returns a handle for ct_remove_hook, 0 on error. */
typedef void (*ct_grad_hook)(void *context, ct_tensor *leaf, ct_tensor *grad);
int ct_add_hook(ct_tensor *leaf, ct_grad_hook hook, void *context);
void ct_remove_hook(ct_tensor *leaf, int handle);

/* Computes f(context, inputs) without storing what its gradient needs: backward runs it again
 * (activation checkpointing). f must give the same result both times; what it draws is the same,
 * whatever generators it uses, and those stay as they are in the second run. Leaves that f knows of
 * (a module's parameters) get their gradients; any computed tensor it uses must be among the
 * inputs. context must still be there in backward. NULL on error. */
typedef ct_tensor *(*ct_checkpoint_function)(void *context, ct_tensor *const *inputs, int count);
ct_tensor *ct_checkpoint(ct_checkpoint_function f, void *context, ct_tensor *const *inputs,
                         int count);
/* The same of a function with several results, 1 to CT_CHECKPOINT_OUTPUTS, which it writes to
 * `output`: NULL where there is none, and false on error. Those of integers are constants.
 * `context` is `size` bytes that are copied, what they point to must still be there in backward; an
 * input may be NULL. False on error, all results then NULL. */
enum { CT_CHECKPOINT_OUTPUTS = 8 };
typedef bool (*ct_checkpoint_parts)(void *context, ct_tensor *const *input, int inputs,
                                    ct_tensor **output);
bool ct_checkpoint_several(ct_checkpoint_parts f, const void *context, size_t size, int inputs,
                           ct_tensor *const *input, int outputs, ct_tensor **output);
/* True while a checkpoint's function runs for the second time: side effects of a forward pass (a
 * batch norm's running statistics, a count of calls) have then happened already. */
bool ct_is_recomputing(void);

/* Anomaly mode of this thread: every result and every gradient is checked, and the first NaN or
 * infinity is an error that names the operation that produced it. It is also an error if an
 * operation is given a constant that ct_tensor_* calls computed, in this mode and while recording,
 * from what requires a gradient: none flows through it. Where that is meant, say so with ct_detach
 * or CT_NO_GRAD. Slow. */
void ct_set_anomaly_mode(bool on);

/* Writes what `result` was computed from, as text for Graphviz (dot -Tsvg): a box a tensor, with
 * dtype, shape, value (while the tensor is there; of more than 16 elements mean and range) and
 * gradient (of leaves, and where ct_retain_grad asked for it), an ellipse an operation. Before
 * backward, or after one that retained the graph. False with an error for a result without a graph
 * and if it cannot be written. */
bool ct_write_graph(FILE *file, const ct_tensor *result);

/* ---- pointwise (tensor/ops/pointwise.def) --------------------------------------------------- */

/* Any formula of the table, in f32 or f64, for every element of x, or of a and b broadcast
 * together.
 */
ct_tensor *ct_unary(ct_unary_kind kind, ct_tensor *x, double p, double q);
ct_tensor *ct_binary(ct_binary_kind kind, ct_tensor *a, ct_tensor *b);

/* Those used most, by name; shapes and dtypes likewise. */
ct_tensor *ct_neg(ct_tensor *x);
ct_tensor *ct_abs(ct_tensor *x);
ct_tensor *ct_exp(ct_tensor *x);
ct_tensor *ct_log(ct_tensor *x);
ct_tensor *ct_log1p(ct_tensor *x);
ct_tensor *ct_sqrt(ct_tensor *x);
ct_tensor *ct_square(ct_tensor *x);
ct_tensor *ct_reciprocal(ct_tensor *x);
ct_tensor *ct_sin(ct_tensor *x);
ct_tensor *ct_cos(ct_tensor *x);
ct_tensor *ct_tanh(ct_tensor *x);
ct_tensor *ct_sigmoid(ct_tensor *x);
ct_tensor *ct_softplus(ct_tensor *x);
ct_tensor *ct_relu(ct_tensor *x);
ct_tensor *ct_relu6(ct_tensor *x);       /* at most 6 */
ct_tensor *ct_hardsigmoid(ct_tensor *x); /* relu6(x + 3) / 6 */
ct_tensor *ct_hardswish(ct_tensor *x);   /* x hardsigmoid(x) */
ct_tensor *ct_leaky_relu(ct_tensor *x, double slope);
ct_tensor *ct_elu(ct_tensor *x, double alpha);
ct_tensor *ct_silu(ct_tensor *x);
ct_tensor *ct_gelu(ct_tensor *x);
ct_tensor *ct_add_scalar(ct_tensor *x, double value);
ct_tensor *ct_scale(ct_tensor *x, double factor);
ct_tensor *ct_pow_scalar(ct_tensor *x, double exponent);
ct_tensor *ct_clamp(ct_tensor *x, double low, double high);
ct_tensor *ct_add(ct_tensor *a, ct_tensor *b);
ct_tensor *ct_sub(ct_tensor *a, ct_tensor *b);
ct_tensor *ct_mul(ct_tensor *a, ct_tensor *b);
ct_tensor *ct_div(ct_tensor *a, ct_tensor *b);
ct_tensor *ct_pow(ct_tensor *a, ct_tensor *b);
ct_tensor *ct_maximum(ct_tensor *a, ct_tensor *b);
ct_tensor *ct_minimum(ct_tensor *a, ct_tensor *b);
/* condition (u8) ? a : b; the condition has no gradient */
ct_tensor *ct_where(ct_tensor *condition, ct_tensor *a, ct_tensor *b);
/* x where mask (u8, broadcasts) is 0, else value */
ct_tensor *ct_masked_fill(ct_tensor *x, ct_tensor *mask, double value);
ct_tensor *ct_glu(ct_tensor *x, int axis); /* first half * sigmoid(second half) along axis */

/* ---- reductions ------------------------------------------------------------------------- */

/* axes: bit set of dimensions, or CT_ALL_AXES; keep: they stay with size 1. max and min pass the
 * gradient to all equal extremes in equal parts. */
ct_tensor *ct_reduce(ct_reduce_kind kind, ct_tensor *x, uint32_t axes, bool keep);
ct_tensor *ct_sum_all(ct_tensor *x);
ct_tensor *ct_mean_all(ct_tensor *x);
ct_tensor *ct_sum(ct_tensor *x, int axis); /* the axis goes */
ct_tensor *ct_mean(ct_tensor *x, int axis);
ct_tensor *ct_max(ct_tensor *x, int axis);
ct_tensor *ct_min(ct_tensor *x, int axis);
ct_tensor *ct_log_sum_exp(ct_tensor *x, int axis);
ct_tensor *ct_variance(ct_tensor *x, int axis, bool unbiased);
ct_tensor *ct_norm(ct_tensor *x, int axis); /* 2-norm; subgradient 0 at 0 */
ct_tensor *ct_cumsum(ct_tensor *x, int axis);

/* ---- products --------------------------------------------------------------------------- */

ct_tensor *ct_matmul(ct_tensor *a, ct_tensor *b); /* (...,m,k) x (...,k,n), batches broadcast */
/* x (...,in) weight (out,in)^T + bias (out) or NULL */
ct_tensor *ct_linear_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias);
/* Several linear layers of one x in one product: `count` weights (out_i,in) and biases (out_i), or
 * biases NULL for none; their results side by side, (...,sum of out_i). 1 to CT_MOST_JOINED. */
enum { CT_MOST_JOINED = 8 };
ct_tensor *ct_linear_joined(ct_tensor *x, ct_tensor *const *weights, ct_tensor *const *biases,
                            int count);

/* ---- shape ------------------------------------------------------------------------------ */

/* As the ct_tensor_* of the same name (tensor/core/view.h, tensor/ops/ops.h), for x of any shape.
 */
ct_tensor *ct_reshape(ct_tensor *x, ct_shape shape); /* one size may be -1 */
ct_tensor *ct_transpose(ct_tensor *x, int axis_a, int axis_b);
ct_tensor *ct_permute(ct_tensor *x, const int *axes);
ct_tensor *ct_slice(ct_tensor *x, int axis, int64_t start, int64_t stop, int64_t step);
ct_tensor *ct_select(ct_tensor *x, int axis, int64_t position); /* the axis goes */
ct_tensor *ct_expand(ct_tensor *x, ct_shape shape);
ct_tensor *ct_squeeze(ct_tensor *x, int axis);
ct_tensor *ct_unsqueeze(ct_tensor *x, int axis);
ct_tensor *ct_contiguous(ct_tensor *x);
ct_tensor *ct_concat(ct_tensor *const *tensors, int count, int axis);
ct_tensor *ct_concat2(ct_tensor *a, ct_tensor *b, int axis);
ct_tensor *ct_stack(ct_tensor *const *tensors, int count, int axis); /* a new axis */
ct_tensor *ct_pad(ct_tensor *x, int axis, int64_t before, int64_t after, double value);

/* ---- index ------------------------------------------------------------------------------ */

/* As ct_tensor_index_select and ct_tensor_gather (tensor/ops/ops.h); the index has no gradient. */
ct_tensor *ct_index_select(ct_tensor *x, int axis, ct_tensor *index);
ct_tensor *ct_gather(ct_tensor *x, int axis, ct_tensor *index);
/* base plus x added at index along axis (torch.scatter_add) */
ct_tensor *ct_scatter_add(ct_tensor *base, int axis, ct_tensor *index, ct_tensor *x);
/* Sums of the rows of x (R,..) that belong to the same segment: row i to segment[i], (R) i64, 0 to
 * count-1, added in their order: (count,..), zero for a segment without rows. */
ct_tensor *ct_segment_sum(ct_tensor *x, ct_tensor *segment, int64_t count);
/* rows of weight (V,E) for index of any shape -> (index shape.., E). padding >= 0: that row gets
 * no gradient; -1: none. */
ct_tensor *ct_embedding_with(ct_tensor *weight, ct_tensor *index, int64_t padding);

/* ---- softmax, normalisation (formulas: tensor/fused/fused.h) ----------------------------- */

/* Along an axis, in x's shape. Layer norm: over the last, of the size C of weight and bias, each
 * (C) or NULL. */
ct_tensor *ct_softmax(ct_tensor *x, int axis);
ct_tensor *ct_log_softmax(ct_tensor *x, int axis);
ct_tensor *ct_l2_normalize(ct_tensor *x, int axis);
ct_tensor *ct_layer_norm_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias, double eps);
/* Batch statistics, within CT_OVER_RANKS (tensor/ranks/ranks.h) those of all ranks' rows, of which
 * each rank may have another number. mean and variance (C, biased) are given back without gradient,
 * for running statistics; both pointers may be NULL. */
ct_tensor *ct_batch_norm_with(ct_tensor *x, int axis, ct_tensor *weight, ct_tensor *bias,
                              double eps, ct_tensor **mean, ct_tensor **variance);
/* Given statistics (C). */
ct_tensor *ct_batch_norm_fixed(ct_tensor *x, int axis, ct_tensor *mean, ct_tensor *variance,
                               ct_tensor *weight, ct_tensor *bias, double eps);
/* weight = g v / |v|, norm over all but the first dimension; g (out, 1, ...) as PyTorch. */
ct_tensor *ct_weight_norm(ct_tensor *v, ct_tensor *g);
/* Zero with probability p, else x/(1-p). Drawn from rng under `name`; p = 0 is x itself. */
ct_tensor *ct_dropout_with(ct_tensor *x, double p, ct_rng *rng, const char *name);
/* For rows x (R,C), which stand at `positions` (R) i64 among the rows of a tensor of shape `whole`
 * (..,C): the draws are those for the whole, so that each row is treated as it would be there. */
ct_tensor *ct_dropout_rows_with(ct_tensor *x, ct_tensor *positions, ct_shape whole, double p,
                                ct_rng *rng, const char *name);

/* ---- sequences -------------------------------------------------------------------------- */

/* tensor/fused/fused.h, ct_tensor_gru. x (B,T,C) or, packed, (R,C). h_last may be NULL. lengths:
 * i64 (B) on the CPU, or where x (B,T,C) is (nothing is then read), or, if x is not packed, NULL.
 */
ct_tensor *ct_gru_with(ct_tensor *x, ct_tensor *h0, ct_tensor *w_ih, ct_tensor *w_hh,
                       ct_tensor *b_ih, ct_tensor *b_hh, ct_tensor *lengths, bool reverse,
                       ct_tensor **h_last);
ct_tensor *ct_lstm_with(ct_tensor *x, ct_tensor *h0, ct_tensor *c0, ct_tensor *w_ih,
                        ct_tensor *w_hh, ct_tensor *b_ih, ct_tensor *b_hh, ct_tensor *lengths,
                        bool reverse, ct_tensor **h_last, ct_tensor **c_last);
/* x (B,T,Cin), weight (Cout,Cin,K), bias (Cout) or NULL -> (B,T',Cout) */
ct_tensor *ct_conv1d_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias,
                          ct_tensor_conv1d_options options);
/* The same of packed sequences: x (R,Cin), lengths (B) -> (R,Cout), as ct_tensor_conv1d_packed. */
ct_tensor *ct_conv1d_packed_with(ct_tensor *x, ct_tensor *lengths, ct_tensor *weight,
                                 ct_tensor *bias, ct_tensor_conv1d_options options);

/* ---- pictures --------------------------------------------------------------------------- */

/* tensor/fused/fused.h, ct_tensor_conv2d: x (B,Cin,H,W), weight (Cout,Cin/groups,Kh,Kw), bias
 * (Cout) or NULL -> (B,Cout,H',W'). */
ct_tensor *ct_conv2d_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias,
                          ct_tensor_conv2d_options options);
/* As the ct_tensor_* of the same name: (B,C,H,W) -> (B,C,H',W'). A maximum's gradient goes to the
 * element that it was taken from. */
ct_tensor *ct_max_pool2d(ct_tensor *x, ct_tensor_max_pool2d_options options);
ct_tensor *ct_avg_pool2d(ct_tensor *x, ct_tensor_avg_pool2d_options options);
ct_tensor *ct_adaptive_avg_pool2d(ct_tensor *x, int64_t rows, int64_t columns);

/* ---- losses (formulas: tensor/fused/fused.h) --------------------------------------------- */

/* logits (...,V), labels (...) i64 -> row losses (...), 0 at ignore_index */
ct_tensor *ct_cross_entropy_rows(ct_tensor *logits, ct_tensor *labels, int64_t ignore_index,
                                 double smoothing);

/* ---- ranks (tensor/ranks/ranks.h) --------------------------------------------------------- */

/* For losses of which every rank computes a share, the whole being the sum over ranks: gradients
 * are those of the whole. All ranks run forward and backward over the same operations in the same
 * order. With one rank a copy. */
ct_tensor *ct_all_gather(ct_tensor *x); /* (B,..) of each rank -> (N B,..) */
ct_tensor *ct_all_reduce(ct_tensor *x); /* the sum of all ranks', in x's shape */

/* ---- the same values elsewhere ----------------------------------------------------------- */

ct_tensor *ct_detach(ct_tensor *x);                      /* the same storage, a constant */
ct_tensor *ct_cast(ct_tensor *x, ct_dtype dtype);        /* differentiable between float types */
ct_tensor *ct_to_device(ct_tensor *x, ct_device device); /* differentiable */

/* ---- your own operations ---------------------------------------------------------------- */

#include "autograd/op.h"

CT_END_DECLS

#endif
