/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm, layer norm and l2 norm. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/fused.h"

enum {
    ROW_CHUNK = 64,    /* rows that are summed by one thread, in one go */
    COLUMN_BLOCK = 64, /* columns whose sums stay in registers or the first-level cache */
};

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_norm_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_norm_kernels.h"

bool CT_CPU(batch_norm_statistics)(ct_tensor *mean, ct_tensor *variance, ct_tensor *rstd,
                                   const ct_tensor *x, double eps) {
    return x->dtype == CT_F32 ? batch_norm_statistics_f32(mean, variance, rstd, x, eps)
                              : batch_norm_statistics_f64(mean, variance, rstd, x, eps);
}

bool CT_CPU(batch_norm_apply)(ct_tensor *y, const ct_tensor *x, const ct_tensor *mean,
                              const ct_tensor *rstd, const ct_tensor *weight,
                              const ct_tensor *bias) {
    return x->dtype == CT_F32 ? batch_norm_apply_f32(y, x, mean, rstd, weight, bias)
                              : batch_norm_apply_f64(y, x, mean, rstd, weight, bias);
}

bool CT_CPU(batch_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight,
                             bool batch_statistics) {
    return x->dtype == CT_F32 ? batch_norm_grad_f32(gx, g_weight, g_bias, g, x, mean, rstd, weight,
                                                    batch_statistics)
                              : batch_norm_grad_f64(gx, g_weight, g_bias, g, x, mean, rstd, weight,
                                                    batch_statistics);
}

bool CT_CPU(layer_norm)(ct_tensor *y, ct_tensor *mean, ct_tensor *rstd, const ct_tensor *x,
                        const ct_tensor *weight, const ct_tensor *bias, double eps) {
    if (x->dtype == CT_F32) {
        layer_norm_f32(y, mean, rstd, x, weight, bias, eps);
    } else {
        layer_norm_f64(y, mean, rstd, x, weight, bias, eps);
    }
    return true;
}

bool CT_CPU(layer_norm_grad)(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight) {
    return x->dtype == CT_F32 ? layer_norm_grad_f32(gx, g_weight, g_bias, g, x, mean, rstd, weight)
                              : layer_norm_grad_f64(gx, g_weight, g_bias, g, x, mean, rstd, weight);
}

bool CT_CPU(l2_normalize)(ct_tensor *y, ct_tensor *norm, const ct_tensor *x) {
    if (x->dtype == CT_F32) {
        l2_normalize_f32(y, norm, x);
    } else {
        l2_normalize_f64(y, norm, x);
    }
    return true;
}

bool CT_CPU(l2_normalize_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y,
                               const ct_tensor *norm) {
    if (y->dtype == CT_F32) {
        l2_normalize_grad_f32(gx, g, y, norm);
    } else {
        l2_normalize_grad_f64(gx, g, y, norm);
    }
    return true;
}
