/* SPDX-License-Identifier: Apache-2.0 */
/* Similarity of embeddings, and the hinge loss on it (docs/model.md, Losses). */
#include "models/matching.h"

static bool matrix(const char *op, const char *what, const ct_tensor *x) {
    if (!x) return ct_ok() ? ct_fail_bool("%s: %s is NULL", op, what) : false;
    if (ct_ndim(x) == 2) return true;
    return ct_fail_bool("%s: %s is %s, expected 2 dimensions", op, what, ct_tensor_text(x));
}

ct_tensor *ct_similarity(ct_tensor *a, ct_tensor *b, ct_measure measure) {
    if (!matrix("similarity", "a", a) || !matrix("similarity", "b", b)) return NULL;
    switch (measure) {
    case CT_COSINE: return ct_matmul(a, ct_transpose(b, 0, 1));
    case CT_ORDER: return ct_order_similarity(a, b);
    }
    return ct_fail("similarity: measure is %d, expected one of ct_measure", (int)measure);
}

ct_ranking_options ct_ranking_defaults(void) {
    return (ct_ranking_options){
        .margin = 0.2, .hardest = true, .measure = CT_COSINE, .within_over = CT_HINGE_ROW};
}

/* What is left out is less similar than anything (yet finite, or anomaly mode would tell of it): it
 * costs nothing and gets no gradient. */
static ct_tensor *similarity(ct_tensor *a, ct_tensor *b, const ct_ranking_options *options) {
    ct_tensor *s =
        options->similarity ? options->similarity(a, b) : ct_similarity(a, b, options->measure);
    return options->left_out ? ct_masked_fill(s, options->left_out, -1e30) : s;
}

/* (B,B) 1 where (B) `a` compares so with itself. */
static ct_tensor *pairs(ct_compare_kind kind, const ct_tensor *a) {
    ct_tensor *column = a ? ct_tensor_unsqueeze(a, 1) : NULL;
    ct_tensor *holds = column ? ct_tensor_compare(kind, column, a) : NULL;
    return holds ? ct_tensor_cast(holds, CT_F32) : NULL;
}

ct_tensor *ct_same_images(const ct_tensor *numbers) {
    if (!numbers) return ct_ok() ? ct_fail("same_images: the numbers are NULL") : NULL;
    if (ct_ndim(numbers) != 1 || numbers->dtype != CT_I64) {
        return ct_fail("same_images: the numbers are %s, expected i64 (B)",
                       ct_tensor_text(numbers));
    }
    ct_tensor *same = NULL;
    CT_SCOPE {
        ct_tensor *row = ct_arange(CT_I64, numbers->device, ct_dim(numbers, 0));
        ct_tensor *both =
            ct_tensor_mul(pairs(CT_COMPARE_equal, numbers), pairs(CT_COMPARE_not_equal, row));
        ct_tensor *zero = both ? ct_scalar(CT_F32, both->device, 0) : NULL;
        same = zero ? ct_keep(ct_tensor_compare(CT_COMPARE_not_equal, both, zero)) : NULL;
    }
    return ct_adopt(same);
}

static bool left_out_fits(const ct_tensor *images, const ct_tensor *left_out) {
    ct_shape square = CT_SHAPE(ct_dim(images, 0), ct_dim(images, 0));
    if (!left_out || (left_out->dtype == CT_U8 && ct_shape_equal(left_out->shape, square))) {
        return true;
    }
    return ct_fail_bool("ranking_loss: left_out is %s, expected u8 %s", ct_tensor_text(left_out),
                        ct_shape_text(square));
}

static bool pairs_fit(const ct_tensor *images, const ct_tensor *captions) {
    if (!matrix("ranking_loss", "images", images) ||
        !matrix("ranking_loss", "captions", captions)) {
        return false;
    }
    if (ct_shape_equal(images->shape, captions->shape)) return true;
    return ct_fail_bool("ranking_loss: images %s and captions %s differ in shape",
                        ct_tensor_text(images), ct_tensor_text(captions));
}

ct_tensor *ct_ranking_loss(ct_tensor *images, ct_tensor *captions,
                           const ct_ranking_options *options) {
    ct_ranking_options o = options ? *options : ct_ranking_defaults();
    if (!pairs_fit(images, captions) || !left_out_fits(images, o.left_out)) return NULL;
    if (!(o.margin >= 0)) {
        return ct_fail("ranking_loss: margin is %g, expected 0 or more", o.margin);
    }
    ct_hinge_options captions_of_image = {
        .margin = o.margin, .hardest = o.hardest, .anchor = CT_HINGE_ROW, .over = CT_HINGE_ROW};
    ct_hinge_options images_of_caption = captions_of_image, within = captions_of_image;
    images_of_caption.anchor = images_of_caption.over = CT_HINGE_COLUMN;
    within.over = o.within_over;
    CT_SCOPE {
        ct_tensor *s = similarity(images, captions, &o);
        ct_tensor *loss = ct_add(ct_hinge(s, captions_of_image), ct_hinge(s, images_of_caption));
        if (o.intra_modal) {
            ct_tensor *of_images = similarity(images, images, &o);
            ct_tensor *of_captions = similarity(captions, captions, &o);
            loss = ct_add(loss, ct_add(ct_hinge(of_images, within), ct_hinge(of_captions, within)));
        }
        return ct_escape(loss);
    }
    return NULL;
}
