/* SPDX-License-Identifier: Apache-2.0 */
/* Losses. */
#include <stdint.h>

#include "nn/core/module.h"

static ct_tensor *reduced(const char *op, ct_tensor *x, ct_loss_reduction reduction) {
    switch (reduction) {
    case CT_REDUCE_MEAN: return ct_mean_all(x);
    case CT_REDUCE_SUM: return ct_sum_all(x);
    case CT_REDUCE_NONE: return x;
    }
    return ct_fail("%s: reduction is %d, expected one of ct_loss_reduction", op, (int)reduction);
}

static bool same_shape(const char *op, const char *what_a, const ct_tensor *a, const char *what_b,
                       const ct_tensor *b) {
    if (!ct_nn_input(op, what_a, a, -1) || !ct_nn_input(op, what_b, b, -1)) return false;
    if (ct_shape_equal(a->shape, b->shape)) return true;
    return ct_fail_bool("%s: %s %s and %s %s differ in shape", op, what_a, ct_tensor_text(a),
                        what_b, ct_tensor_text(b));
}

/* ---- classification --------------------------------------------------------------------- */

/* How many labels count, at least 1, as a scalar of the losses' dtype. */
static ct_tensor *counted(const ct_tensor *rows, ct_tensor *labels,
                          const ct_cross_entropy_options *options) {
    double all = (double)ct_count(labels);
    if (!options->ignore) return ct_scalar(rows->dtype, rows->device, all < 1 ? 1 : all);
    /* On the device: reading the number here would stop a GPU at every step. */
    ct_tensor *ignored =
        ct_full(labels->dtype, labels->device, CT_SCALAR_SHAPE, (double)options->ignore_index);
    ct_tensor *counts =
        ct_tensor_cast(ct_tensor_compare(CT_COMPARE_not_equal, labels, ignored), rows->dtype);
    ct_tensor *count = ct_tensor_reduce(CT_SUM, counts, CT_ALL_AXES, false);
    return ct_tensor_unary(CT_UNARY_clamp, count, 1, all < 1 ? 1 : all);
}

ct_cross_entropy_options ct_cross_entropy_defaults(void) {
    return (ct_cross_entropy_options){.ignore_index = -100, .reduction = CT_REDUCE_MEAN};
}

ct_tensor *ct_cross_entropy(ct_tensor *logits, ct_tensor *labels,
                            const ct_cross_entropy_options *options) {
    ct_cross_entropy_options o = options ? *options : ct_cross_entropy_defaults();
    if (!ct_nn_input("cross_entropy", "labels", labels, -1)) return NULL;
    if (!ct_nn_option("cross_entropy", "smoothing", o.smoothing,
                      o.smoothing >= 0 && o.smoothing <= 1, "0 to 1")) {
        return NULL;
    }
    int64_t ignore_index = o.ignore ? o.ignore_index : INT64_MIN;
    CT_SCOPE {
        ct_tensor *rows = ct_cross_entropy_rows(logits, labels, ignore_index, o.smoothing);
        if (rows && o.reduction == CT_REDUCE_MEAN) {
            return ct_escape(ct_div(ct_sum_all(rows), counted(rows, labels, &o)));
        }
        return ct_escape(reduced("cross_entropy", rows, o.reduction));
    }
    return NULL;
}

ct_tensor *ct_bce_with_logits(ct_tensor *logits, ct_tensor *targets, ct_loss_reduction reduction) {
    if (!same_shape("bce_with_logits", "logits", logits, "targets", targets)) return NULL;
    CT_SCOPE {
        /* -log s(x) = softplus(-x), -log(1 - s(x)) = softplus(x): no overflow, no cancellation
         * for large |x|, and the right slope at x = 0. */
        ct_tensor *positive = ct_mul(targets, ct_softplus(ct_neg(logits)));
        ct_tensor *negative = ct_mul(ct_add_scalar(ct_neg(targets), 1), ct_softplus(logits));
        return ct_escape(reduced("bce_with_logits", ct_add(positive, negative), reduction));
    }
    return NULL;
}

ct_tensor *ct_mse(ct_tensor *prediction, ct_tensor *target, ct_loss_reduction reduction) {
    if (!same_shape("mse", "prediction", prediction, "target", target)) return NULL;
    CT_SCOPE { return ct_escape(reduced("mse", ct_square(ct_sub(prediction, target)), reduction)); }
    return NULL;
}
