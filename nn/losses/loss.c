/* SPDX-License-Identifier: Apache-2.0 */
/* Losses. */
#include <stdint.h>

#include "nn/core/module.h"

static ct_tensor *reduced(ct_tensor *x, ct_loss_reduction reduction) {
    if (reduction == CT_REDUCE_NONE) return x;
    return reduction == CT_REDUCE_SUM ? ct_sum_all(x) : ct_mean_all(x);
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
                          ct_cross_entropy_options options) {
    double all = (double)ct_count(labels);
    if (!options.ignore) return ct_scalar(rows->dtype, rows->device, all < 1 ? 1 : all);
    /* On the device: reading the number here would stop a GPU at every step. */
    ct_tensor *ignored =
        ct_full(labels->dtype, labels->device, CT_SCALAR_SHAPE, (double)options.ignore_index);
    ct_tensor *counts =
        ct_tensor_cast(ct_tensor_compare(CT_COMPARE_not_equal, labels, ignored), rows->dtype);
    ct_tensor *count = ct_tensor_reduce(CT_SUM, counts, CT_ALL_AXES, false);
    return ct_tensor_unary(CT_UNARY_clamp, count, 1, all < 1 ? 1 : all);
}

ct_tensor *ct_cross_entropy(ct_tensor *logits, ct_tensor *labels,
                            ct_cross_entropy_options options) {
    if (!ct_nn_input("cross_entropy", "labels", labels, -1)) return NULL;
    if (!(options.smoothing >= 0 && options.smoothing <= 1)) {
        return ct_fail("cross_entropy: smoothing %g, expected 0 to 1", options.smoothing);
    }
    int64_t ignore_index = options.ignore ? options.ignore_index : INT64_MIN;
    ct_tensor *loss = NULL;
    CT_SCOPE {
        ct_tensor *rows = ct_cross_entropy_rows(logits, labels, ignore_index, options.smoothing);
        if (rows && options.reduction == CT_REDUCE_MEAN) {
            loss = ct_div(ct_sum_all(rows), counted(rows, labels, options));
        } else {
            loss = reduced(rows, options.reduction);
        }
        ct_keep(loss);
    }
    return ct_adopt(loss);
}

ct_tensor *ct_bce_with_logits(ct_tensor *logits, ct_tensor *targets, ct_loss_reduction reduction) {
    if (!same_shape("bce_with_logits", "logits", logits, "targets", targets)) return NULL;
    ct_tensor *loss = NULL;
    CT_SCOPE {
        /* -log s(x) = softplus(-x), -log(1 - s(x)) = softplus(x): no overflow, no cancellation
         * for large |x|, and the right slope at x = 0. */
        ct_tensor *positive = ct_mul(targets, ct_softplus(ct_neg(logits)));
        ct_tensor *negative = ct_mul(ct_add_scalar(ct_neg(targets), 1), ct_softplus(logits));
        loss = ct_keep(reduced(ct_add(positive, negative), reduction));
    }
    return ct_adopt(loss);
}

ct_tensor *ct_mse(ct_tensor *prediction, ct_tensor *target, ct_loss_reduction reduction) {
    if (!same_shape("mse", "prediction", prediction, "target", target)) return NULL;
    ct_tensor *loss = NULL;
    CT_SCOPE { loss = ct_keep(reduced(ct_square(ct_sub(prediction, target)), reduction)); }
    return ct_adopt(loss);
}

/* ---- retrieval -------------------------------------------------------------------------- */

ct_tensor *ct_similarity(ct_tensor *a, ct_tensor *b, ct_measure measure) {
    if (!ct_nn_input("similarity", "a", a, 2) || !ct_nn_input("similarity", "b", b, 2)) {
        return NULL;
    }
    if (measure == CT_ORDER) return ct_order_similarity(a, b);
    return ct_matmul(a, ct_transpose(b, 0, 1));
}

/* The order similarity of plain operations whose derivative at 0 is not defined away: that of
 * the root is infinite, that of the square 0, and their product NaN where a vector meets itself. */
static ct_tensor *order_with_nan_gradient(ct_tensor *a, ct_tensor *b) {
    ct_tensor *over = ct_sub(ct_unsqueeze(b, 0), ct_unsqueeze(a, 1)); /* (N,M,D) */
    if (!over) return NULL;
    ct_tensor *zero = ct_scalar(over->dtype, over->device, 0);
    ct_tensor *below = ct_tensor_compare(CT_COMPARE_less, over, zero);
    ct_tensor *squares = ct_sum(ct_square(ct_masked_fill(over, below, 0)), 2);
    return ct_neg(ct_pow_scalar(squares, 0.5));
}

static ct_tensor *trained_similarity(ct_tensor *a, ct_tensor *b, ct_ranking_options options) {
    if (options.measure == CT_ORDER && options.nan_gradient) return order_with_nan_gradient(a, b);
    return ct_similarity(a, b, options.measure);
}

ct_tensor *ct_ranking_loss(ct_tensor *images, ct_tensor *captions, ct_ranking_options options) {
    if (!same_shape("ranking_loss", "images", images, "captions", captions)) return NULL;
    ct_hinge_options captions_of_image = {.margin = options.margin,
                                          .hardest = options.hardest,
                                          .anchor = CT_HINGE_ROW,
                                          .over = CT_HINGE_ROW};
    ct_hinge_options images_of_caption = captions_of_image;
    images_of_caption.anchor = images_of_caption.over = CT_HINGE_COLUMN;
    ct_hinge_options within = captions_of_image;
    if (options.released_intra) within.over = CT_HINGE_COLUMN;
    ct_tensor *loss = NULL;
    CT_SCOPE {
        ct_tensor *s = trained_similarity(images, captions, options);
        loss = ct_add(ct_hinge(s, captions_of_image), ct_hinge(s, images_of_caption));
        if (options.intra_modal) {
            ct_tensor *of_images = trained_similarity(images, images, options);
            ct_tensor *of_captions = trained_similarity(captions, captions, options);
            loss = ct_add(loss, ct_add(ct_hinge(of_images, within), ct_hinge(of_captions, within)));
        }
        ct_keep(loss);
    }
    return ct_adopt(loss);
}
