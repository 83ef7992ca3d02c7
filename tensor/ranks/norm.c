/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm over ranks: what a channel's values add up to is gathered, the rest is each rank's own
 * kernels. */
#include "tensor/ranks/norm.h"

#include "tensor/core/scope.h"
#include "tensor/core/tensor.h"
#include "tensor/core/view.h"
#include "tensor/device/backend.h"
#include "tensor/fused/check.h"
#include "tensor/fused/norm.h"
#include "tensor/ops/create.h"
#include "tensor/ops/ops.h"
#include "tensor/ranks/ranks.h"

/* ---- forward ----------------------------------------------------------------------------- */

/* f64 (1,1+2C): count, means, variances of a rank's own. */
static ct_tensor *own_statistics(const ct_tensor *x, int axis, double eps) {
    ct_norm_result own = ct_batch_norm_statistics(x, axis, eps);
    if (!own.mean) return NULL;
    double count = (double)(ct_count(x) / ct_count(own.mean));
    ct_tensor *parts[] = {ct_full(CT_F64, x->device, CT_SHAPE(1), count),
                          ct_tensor_cast(own.mean, CT_F64), ct_tensor_cast(own.variance, CT_F64)};
    ct_tensor *all = ct_tensor_concat(parts, 3, 0);
    return all ? ct_tensor_unsqueeze(all, 0) : NULL;
}

ct_norm_result ct_batch_norm_over_ranks(const ct_tensor *x, int axis, const ct_tensor *weight,
                                        const ct_tensor *bias, double eps, ct_tensor **count) {
    ct_norm_result none = {0}, result = {0};
    CT_SCOPE {
        ct_tensor *parts = ct_tensor_all_gather(own_statistics(x, axis, eps));
        if (!parts) return none;
        ct_shape channels = CT_SHAPE((parts->shape.dim[1] - 1) / 2);
        *count = ct_empty(CT_F64, x->device, CT_SHAPE(1));
        result.mean = ct_empty_like(x, channels);
        result.variance = ct_empty_like(x, channels);
        result.rstd = ct_empty_like(x, channels);
        if (!*count || !result.mean || !result.variance || !result.rstd ||
            !ct_backend_of(x->device)->batch_norm_join(*count, result.mean, result.variance,
                                                       result.rstd, parts, eps)) {
            return none;
        }
        result.y = ct_tensor_batch_norm_apply(x, axis, result.mean, result.rstd, weight, bias);
        if (!result.y) return none;
        ct_escape_all(
            (ct_tensor **const[]){count, &result.y, &result.mean, &result.variance, &result.rstd},
            5);
        return result;
    }
    return none;
}

/* ---- backward ---------------------------------------------------------------------------- */

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
                                           const ct_tensor *weight, const ct_tensor *count) {
    ct_norm_grad none = {0};
    CT_SCOPE {
        const ct_tensor *factor = weight ? weight : ct_full(x->dtype, x->device, mean->shape, 1);
        ct_norm_grad grad =
            factor ? ct_tensor_batch_norm_grad(g, x, axis, mean, rstd, factor, false) : none;
        ct_tensor *with_x, *alone;
        if (!grad.x || !add_over_ranks(grad, &with_x, &alone)) return none;
        ct_tensor *n = ct_tensor_cast(count, x->dtype);
        ct_tensor *scale = ct_tensor_div(ct_tensor_mul(factor, rstd), n);
        ct_tensor *rest = ct_tensor_batch_norm_apply(
            x, axis, mean, rstd, ct_tensor_mul(scale, with_x), ct_tensor_mul(scale, alone));
        if (!rest || !ct_tensor_add_to(grad.x, -1, rest)) return none;
        if (!weight) grad.weight = grad.bias = NULL;
        ct_escape_all((ct_tensor **const[]){&grad.x, &grad.weight, &grad.bias}, 3);
        return grad;
    }
    return none;
}
