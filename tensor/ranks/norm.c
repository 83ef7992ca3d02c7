/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm over ranks: what a channel's values add up to is gathered, the rest is each rank's own
 * kernels. */
#include "tensor/ranks/norm.h"

#include "tensor/core/scope.h"
#include "tensor/core/tensor.h"
#include "tensor/core/view.h"
#include "tensor/fused/norm.h"
#include "tensor/ops/create.h"
#include "tensor/ops/ops.h"
#include "tensor/ranks/ranks.h"

/* ---- forward ----------------------------------------------------------------------------------
 */

/* f64 (1,1+2C): count, means, variances of a rank's own. */
static ct_tensor *own_statistics(const ct_tensor *x, int axis, double eps) {
    ct_norm_result own = ct_batch_norm_statistics(x, axis, eps);
    if (!own.mean) return NULL;
    int64_t channels = ct_count(own.mean);
    ct_tensor *parts[] = {ct_full(CT_F64, CT_CPU, CT_SHAPE(1), (double)(ct_count(x) / channels)),
                          ct_tensor_cast(own.mean, CT_F64), ct_tensor_cast(own.variance, CT_F64)};
    ct_tensor *all = ct_tensor_concat(parts, 3, 0);
    return all ? ct_tensor_unsqueeze(all, 0) : NULL;
}

/* The whole's of its parts' (N,1+2C): the variance is the mean of the parts' and of the squared
 * distances of their means (Chan, Golub and LeVeque 1979). Into f64 (1+2C). */
static void put_together(const double *part, int64_t parts, int64_t channels, double *whole) {
    int64_t width = 1 + 2 * channels;
    for (int64_t i = 0; i < width; i++) whole[i] = 0;
    for (int64_t p = 0; p < parts; p++) whole[0] += part[p * width];
    for (int64_t c = 1; c <= channels; c++) {
        for (int64_t p = 0; p < parts; p++) {
            const double *own = part + p * width;
            whole[c] += own[0] / whole[0] * own[c];
        }
        for (int64_t p = 0; p < parts; p++) {
            const double *own = part + p * width;
            double distance = own[c] - whole[c];
            double spread = own[channels + c] + distance * distance;
            whole[channels + c] += own[0] / whole[0] * spread;
        }
    }
}

/* f64 (1+2C) */
static ct_tensor *whole_statistics(const ct_tensor *x, int axis, double eps) {
    ct_tensor *parts = ct_tensor_all_gather(own_statistics(x, axis, eps));
    ct_tensor *whole = parts ? ct_empty(CT_F64, CT_CPU, CT_SHAPE(parts->shape.dim[1])) : NULL;
    if (!whole) return NULL;
    put_together(ct_data(parts), parts->shape.dim[0], (parts->shape.dim[1] - 1) / 2,
                 ct_data(whole));
    return whole;
}

ct_norm_result ct_batch_norm_over_ranks(const ct_tensor *x, int axis, const ct_tensor *weight,
                                        const ct_tensor *bias, double eps, int64_t *count) {
    ct_norm_result none = {0}, result;
    CT_SCOPE {
        ct_tensor *whole = whole_statistics(x, axis, eps);
        if (!whole) return none;
        int64_t channels = (ct_count(whole) - 1) / 2;
        *count = (int64_t)ct_get(whole, 0);
        ct_tensor *variance = ct_tensor_slice(whole, 0, 1 + channels, 1 + 2 * channels, 1);
        ct_tensor *rstd = ct_tensor_unary(
            CT_UNARY_rsqrt, ct_tensor_unary(CT_UNARY_add_scalar, variance, eps, 0), 0, 0);
        result.mean = ct_tensor_cast(ct_tensor_slice(whole, 0, 1, 1 + channels, 1), x->dtype);
        result.variance = ct_tensor_cast(variance, x->dtype);
        result.rstd = ct_tensor_cast(rstd, x->dtype);
        result.y = ct_tensor_batch_norm_apply(x, axis, result.mean, result.rstd, weight, bias);
        if (!result.y) return none;
        ct_escape(result.y);
        ct_escape(result.mean);
        ct_escape(result.variance);
        ct_escape(result.rstd);
        return result;
    }
    return none;
}

/* ---- backward ---------------------------------------------------------------------------------
 */

/* (C) each: the whole's sums of g times the normalised x, and of g. */
static bool add_over_ranks(ct_norm_grad own, ct_tensor **with_x, ct_tensor **alone) {
    ct_dtype dtype = own.weight->dtype;
    int64_t channels = ct_count(own.weight);
    ct_tensor *parts[] = {ct_tensor_cast(own.weight, CT_F64), ct_tensor_cast(own.bias, CT_F64)};
    ct_tensor *sums = ct_tensor_concat(parts, 2, 0);
    if (!sums || !ct_tensor_all_reduce(sums)) return false;
    *with_x = ct_tensor_cast(ct_tensor_slice(sums, 0, 0, channels, 1), dtype);
    *alone = ct_tensor_cast(ct_tensor_slice(sums, 0, channels, 2 * channels, 1), dtype);
    return *with_x && *alone;
}

/* With n values a channel and x' the normalised x
 *     gx = weight rstd (g - sum(g) / n - x' sum(g x') / n),
 * of which the first term is that of fixed statistics, and the others are a batch norm of x with
 * weight rstd sum(g x') / n for its weight and weight rstd sum(g) / n for its bias. */
ct_norm_grad ct_batch_norm_over_ranks_grad(const ct_tensor *g, const ct_tensor *x, int axis,
                                           const ct_tensor *mean, const ct_tensor *rstd,
                                           const ct_tensor *weight, int64_t count) {
    ct_norm_grad none = {0};
    CT_SCOPE {
        const ct_tensor *factor = weight ? weight : ct_full(x->dtype, x->device, mean->shape, 1);
        ct_norm_grad grad =
            factor ? ct_tensor_batch_norm_grad(g, x, axis, mean, rstd, factor, false) : none;
        ct_tensor *with_x, *alone;
        if (!grad.x || !add_over_ranks(grad, &with_x, &alone)) return none;
        ct_tensor *scale = ct_tensor_mul(factor, rstd);
        scale = scale ? ct_tensor_scale(scale, 1 / (double)count) : NULL;
        ct_tensor *rest = ct_tensor_batch_norm_apply(
            x, axis, mean, rstd, ct_tensor_mul(scale, with_x), ct_tensor_mul(scale, alone));
        if (!rest || !ct_tensor_add_to(grad.x, -1, rest)) return none;
        if (!weight) grad.weight = grad.bias = NULL;
        ct_escape(grad.x);
        ct_escape(grad.weight);
        ct_escape(grad.bias);
        return grad;
    }
    return none;
}
