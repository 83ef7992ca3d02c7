/* SPDX-License-Identifier: Apache-2.0 */
/* Computations on tensors, without gradients. Each returns a new tensor in the innermost scope,
 * on the device of its inputs, or NULL with an error that names the operation and the shapes.
 * Inputs may be any strided views. Floating inputs must agree in dtype (no silent promotion) and
 * be f32 or f64 unless a comment says otherwise; bf16 and f16 are cast first.
 */
#ifndef CT_OPS_H
#define CT_OPS_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* ---- pointwise: the table in tensor/ops/pointwise.def --------------------------------------- */

typedef enum {
#define CT_UNARY(name, nparams, value, derivative, lo, hi) CT_UNARY_##name,
#include "tensor/ops/pointwise.def"
    CT_UNARY_COUNT
} ct_unary_kind;

typedef enum {
#define CT_BINARY(name, value, da, db, lo, hi) CT_BINARY_##name,
#include "tensor/ops/pointwise.def"
    CT_BINARY_COUNT
} ct_binary_kind;

typedef enum {
#define CT_COMPARE(name, value) CT_COMPARE_##name,
#include "tensor/ops/pointwise.def"
    CT_COMPARE_COUNT
} ct_compare_kind;

/* A formula's name in the table: a literal. */
const char *ct_unary_name(ct_unary_kind kind);
const char *ct_binary_name(ct_binary_kind kind);
const char *ct_compare_name(ct_compare_kind kind);
int ct_unary_params(ct_unary_kind kind); /* how many of p, q the formula uses */

/* The formula's value of every element, in x's shape; p, q as the formula takes them. */
ct_tensor *ct_tensor_unary(ct_unary_kind kind, const ct_tensor *x, double p, double q);
/* g * derivative(x, y): shapes equal (g may be a broadcast view). */
ct_tensor *ct_tensor_unary_grad(ct_unary_kind kind, const ct_tensor *g, const ct_tensor *x,
                                const ct_tensor *y, double p, double q);
/* Of a and b broadcast together. */
ct_tensor *ct_tensor_binary(ct_binary_kind kind, const ct_tensor *a, const ct_tensor *b);
/* g * d y/d a (which = 0) or d y/d b (which = 1), in g's (broadcast) shape, not yet reduced. */
ct_tensor *ct_tensor_binary_grad(ct_binary_kind kind, int which, const ct_tensor *g,
                                 const ct_tensor *a, const ct_tensor *b);
/* u8; inputs of any one dtype */
ct_tensor *ct_tensor_compare(ct_compare_kind kind, const ct_tensor *a, const ct_tensor *b);
/* condition (u8) != 0 ? a : b, all broadcast together; a and b of any one dtype */
ct_tensor *ct_tensor_where(const ct_tensor *condition, const ct_tensor *a, const ct_tensor *b);

/* Shorthands for ct_tensor_binary / _unary. */
ct_tensor *ct_tensor_add(const ct_tensor *a, const ct_tensor *b);
ct_tensor *ct_tensor_sub(const ct_tensor *a, const ct_tensor *b);
ct_tensor *ct_tensor_mul(const ct_tensor *a, const ct_tensor *b);
ct_tensor *ct_tensor_div(const ct_tensor *a, const ct_tensor *b);
ct_tensor *ct_tensor_scale(const ct_tensor *x, double factor);

/* In place: y += alpha * x (x broadcasts to y); y *= factor; fill; copy with cast and broadcast,
 * any dtypes, any devices. x may share memory with y, here and below: it is read as it was before.
 * A y of which elements share their place (a broadcast view) is an error. */
bool ct_tensor_add_to(ct_tensor *y, double alpha, const ct_tensor *x);
bool ct_tensor_scale_in_place(ct_tensor *y, double factor);
bool ct_tensor_fill(ct_tensor *y, double value);
bool ct_tensor_copy_to(ct_tensor *y, const ct_tensor *x);

ct_tensor *ct_tensor_cast(const ct_tensor *x, ct_dtype dtype);        /* always a copy */
ct_tensor *ct_tensor_to_device(const ct_tensor *x, ct_device device); /* always a copy */
ct_tensor *ct_tensor_copy(const ct_tensor *x);                        /* row-major copy */

/* x in another shape: a view, or a copy if the strides cannot express it. One dimension may be -1:
 * what remains. */
ct_tensor *ct_tensor_reshape(const ct_tensor *x, ct_shape shape);
/* x itself (a new view) if contiguous, else a row-major copy. */
ct_tensor *ct_tensor_contiguous(const ct_tensor *x);

/* ---- reductions ------------------------------------------------------------------------- */
/* Fixed summation order: the result does not depend on the number of threads. */

typedef enum { CT_SUM, CT_MEAN, CT_MAX, CT_MIN, CT_PROD } ct_reduce_kind;

/* axes: bit i set = reduce dimension i; CT_ALL_AXES for all. keep: reduced dimensions stay with
 * size 1. Reducing nothing (empty dimension): sum 0, prod 1, mean NaN, max and min an error. */
#define CT_ALL_AXES 0xffffffffu
ct_tensor *ct_tensor_reduce(ct_reduce_kind kind, const ct_tensor *x, uint32_t axes, bool keep);
/* Sums x down to a shape that broadcasts to x's shape (the adjoint of broadcasting). */
ct_tensor *ct_tensor_sum_to(const ct_tensor *x, ct_shape shape);
/* i64 positions of the first maximum / minimum along an axis (the axis goes). */
ct_tensor *ct_tensor_argmax(const ct_tensor *x, int axis);
ct_tensor *ct_tensor_argmin(const ct_tensor *x, int axis);
ct_tensor *ct_tensor_cumsum(const ct_tensor *x, int axis, bool reverse);
/* sqrt of the sum of squares of all elements of all tensors, accumulated in f64; f64 scalar. */
ct_tensor *ct_tensor_global_norm(ct_tensor *const *tensors, int count);
/* i64 indices that sort the last axis, stable; descending or ascending. */
ct_tensor *ct_tensor_argsort(const ct_tensor *x, bool descending);
/* True if any element is NaN or infinite (float dtypes; false for integers). */
bool ct_tensor_has_nonfinite(const ct_tensor *x);

/* ---- matrix products (BLAS) ------------------------------------------------------------- */

/* (..., m, k) x (..., k, n) -> (..., m, n), batch dimensions broadcast. A transposed view is a
 * transposed operand and costs nothing. Batches are spread over threads. Two bf16 operands (of
 * ct_matmul_operand) give an f32 result, summed in f32. */
ct_tensor *ct_tensor_matmul(const ct_tensor *a, const ct_tensor *b);
/* c = alpha a b + beta c in place: c contiguous rows, same rules otherwise. */
bool ct_tensor_matmul_to(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b,
                         double beta);

/* Arithmetic of products of f32 tensors: fp32, or operands rounded to tf32 (10 bits after the
 * point) or bf16 (7), sums in fp32. Of the whole process: all later products on the device, not
 * conv2d's on the CPU; fp32 before the first call. Any thread may set and ask while others compute:
 * a product uses what is set when it begins. False and an error, and nothing changes, if it is none
 * of these or the device lacks it: a CPU tf32, and bf16 without oneDNN, avx512_bf16 or amx_bf16. */
typedef enum { CT_PRECISION_FP32, CT_PRECISION_TF32, CT_PRECISION_BF16 } ct_precision;
bool ct_set_precision(ct_device device, ct_precision precision);
ct_precision ct_precision_of(ct_device device);
const char *ct_precision_name(ct_precision precision);                  /* "fp32" */
bool ct_precision_from_name(const char *name, ct_precision *precision); /* false if unknown */

/* x as products take it: a bf16 copy where x is f32 and its device multiplies those in bf16, which
 * lies as x does (a transposed view stays one, batch dimensions that are broadcast stay so); else x
 * itself. A product does this to its operands; who uses one in several products does it before,
 * once. NULL gives NULL. */
const ct_tensor *ct_matmul_operand(const ct_tensor *x);
/* The dtype of that. */
ct_dtype ct_matmul_dtype(const ct_tensor *x);

/* ---- softmax, index, join --------------------------------------------------------------- */

/* exp(x) / sum exp(x) along an axis, in x's shape; or its logarithm. */
ct_tensor *ct_tensor_softmax(const ct_tensor *x, int axis, bool logarithm);
/* The gradient of x from y, what ct_tensor_softmax gave, and g, y's; all of one shape. */
ct_tensor *ct_tensor_softmax_grad(const ct_tensor *g, const ct_tensor *y, int axis, bool logarithm);
/* Rows x[.., index[j], ..] along an axis; index i64 or i32, 1-d; error when out of range. */
ct_tensor *ct_tensor_index_select(const ct_tensor *x, int axis, const ct_tensor *index);
/* y[.., index[j], ..] += x[.., j, ..] in place, in the order of j. */
bool ct_tensor_index_add_to(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x);
/* out[i][j] = x[i][index[i][j]] along axis (as torch.gather), any rank; index of out's shape. */
ct_tensor *ct_tensor_gather(const ct_tensor *x, int axis, const ct_tensor *index);
/* y[i][index[i][j]] += x[i][j] along axis, in place. */
bool ct_tensor_scatter_add_to(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x);
/* Joins along an existing axis. Any dtype, all the same. */
ct_tensor *ct_tensor_concat(ct_tensor *const *tensors, int count, int axis);
/* `before` and `after` elements of `value` around x along an axis. */
ct_tensor *ct_tensor_pad(const ct_tensor *x, int axis, int64_t before, int64_t after, double value);

CT_END_DECLS

#endif
