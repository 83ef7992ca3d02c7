/* SPDX-License-Identifier: Apache-2.0 */
/* Categorical, Gumbel-softmax and normal distributions. */
#include <math.h>

#include "nn/core/module.h"

/* ---- categorical ------------------------------------------------------------------------ */

static ct_shape without_last(ct_shape shape) {
    shape.ndim--;
    return shape;
}

/* Inverts the running sum of softmax(logits) at one uniform number a row. Computed in f64, so
 * that the last entries of a long row are not lost to rounding. */
ct_tensor *ct_categorical_sample(ct_tensor *logits, ct_rng *rng, const char *name) {
    if (!ct_nn_input("categorical_sample", "logits", logits, -1)) return NULL;
    if (logits->shape.ndim < 1 || logits->shape.dim[logits->shape.ndim - 1] < 1) {
        return ct_fail("categorical_sample: logits are %s, expected (...,K)",
                       ct_tensor_text(logits));
    }
    CT_SCOPE {
        ct_tensor *u = ct_random_uniform(rng, name, logits->dtype, logits->device,
                                         without_last(logits->shape));
        ct_tensor *p = ct_tensor_softmax(ct_tensor_cast(logits, CT_F64), -1, false);
        ct_tensor *sums = ct_tensor_cumsum(p, -1, false);
        ct_tensor *total = ct_tensor_slice(sums, -1, -1, INT64_MAX, 1);
        /* Below the total even after rounding, so that some running sum exceeds it, the first of
         * which is never one of probability 0. */
        ct_tensor *below_one =
            ct_tensor_unary(CT_UNARY_clamp, ct_tensor_cast(u, CT_F64), 0, 1 - 0x1p-52);
        ct_tensor *level = ct_tensor_mul(ct_tensor_unsqueeze(below_one, -1), total);
        ct_tensor *exceeds = ct_tensor_compare(CT_COMPARE_greater, sums, level);
        return ct_escape(ct_tensor_argmax(ct_tensor_cast(exceeds, CT_F32), -1));
    }
    return NULL;
}

ct_tensor *ct_categorical_log_prob(ct_tensor *logits, ct_tensor *value) {
    return ct_neg(ct_cross_entropy_rows(logits, value, INT64_MIN, 0));
}

ct_tensor *ct_categorical_entropy(ct_tensor *logits) {
    CT_SCOPE {
        /* Finite where a logit is minus infinity: its probability 0 then gives 0, not NaN. */
        ct_tensor *log_p = ct_clamp(ct_log_softmax(logits, -1), -1e30, 0);
        return ct_escape(ct_neg(ct_sum(ct_mul(ct_softmax(logits, -1), log_p), -1)));
    }
    return NULL;
}

/* ---- Gumbel-softmax (Jang et al. 2017; Maddison et al. 2017) ------------------------------ */

/* -log(-log(u + 1e-20) + 1e-20) in u's place */
static ct_tensor *gumbel(const ct_tensor *u) {
    const double tiny = 1e-20;
    ct_tensor *x = ct_tensor_unary(CT_UNARY_add_scalar, u, tiny, 0);
    x = ct_tensor_scale(ct_tensor_unary(CT_UNARY_log, x, 0, 0), -1);
    x = ct_tensor_unary(CT_UNARY_add_scalar, x, tiny, 0);
    return ct_tensor_scale(ct_tensor_unary(CT_UNARY_log, x, 0, 0), -1);
}

/* 1 at each row's largest entry, as a constant of y's shape and dtype. */
static ct_tensor *one_hot_argmax(const ct_tensor *y) {
    ct_tensor *index = ct_tensor_unsqueeze(ct_tensor_argmax(y, -1), -1);
    if (!index) return NULL;
    ct_tensor *one_hot = ct_zeros(y->dtype, y->device, y->shape);
    ct_tensor *ones = ct_full(y->dtype, y->device, index->shape, 1);
    bool ok = one_hot && ones && ct_tensor_scatter_add_to(one_hot, -1, index, ones);
    return ok ? one_hot : NULL;
}

ct_tensor *ct_gumbel_softmax(ct_tensor *logits, double temperature, bool hard, ct_rng *rng,
                             const char *name) {
    if (!ct_nn_input("gumbel_softmax", "logits", logits, -1)) return NULL;
    if (!(temperature > 0 && isfinite(temperature))) {
        return ct_fail("gumbel_softmax: temperature %g, expected a number > 0", temperature);
    }
    CT_SCOPE {
        ct_tensor *u = ct_random_uniform(rng, name, logits->dtype, logits->device, logits->shape);
        ct_tensor *y = ct_softmax(ct_scale(ct_add(logits, gumbel(u)), 1 / temperature), -1);
        /* y - y is exactly 0 in value and carries y's gradient. */
        if (y && hard) y = ct_add(one_hot_argmax(y), ct_sub(y, ct_detach(y)));
        return ct_escape(y);
    }
    return NULL;
}

/* ---- normal ----------------------------------------------------------------------------- */

ct_tensor *ct_normal_rsample(ct_tensor *mean, ct_tensor *std, ct_rng *rng, const char *name) {
    if (!ct_nn_input("normal_sample", "mean", mean, -1) ||
        !ct_nn_input("normal_sample", "std", std, -1)) {
        return NULL;
    }
    ct_shape shape;
    if (!ct_broadcast_shape("normal_sample", mean->shape, std->shape, &shape)) return NULL;
    CT_SCOPE {
        ct_tensor *noise = ct_random_normal(rng, name, mean->dtype, mean->device, shape);
        return ct_escape(ct_add(mean, ct_mul(std, noise)));
    }
    return NULL;
}

ct_tensor *ct_normal_sample(ct_tensor *mean, ct_tensor *std, ct_rng *rng, const char *name) {
    ct_tensor *x = NULL;
    CT_NO_GRAD
    x = ct_normal_rsample(mean, std, rng, name);
    return x;
}

/* -((x - mean)/std)^2/2 - log std - log(2 pi)/2 */
ct_tensor *ct_normal_log_prob(ct_tensor *x, ct_tensor *mean, ct_tensor *std) {
    CT_SCOPE {
        ct_tensor *squared = ct_square(ct_div(ct_sub(x, mean), std));
        ct_tensor *y = ct_sub(ct_scale(squared, -0.5), ct_log(std));
        return ct_escape(ct_add_scalar(y, -0.5 * log(2 * M_PI)));
    }
    return NULL;
}

ct_tensor *ct_normal_entropy(ct_tensor *std) {
    return ct_add_scalar(ct_log(std), 0.5 + 0.5 * log(2 * M_PI));
}
