/* SPDX-License-Identifier: Apache-2.0 */
/* Region relations and the ranking loss against values recorded from the published code. */
#include "models/losses/loss.h"
#include "tests/golden.h"

/* ---- region graph convolution ------------------------------------------------------------ */

/* The recorded regions are (B,D,N), ours (B,N,D). */
static void check_region_gcn_mode(const golden *g, const char *prefix, int64_t inner,
                                  bool training) {
    char full[64], name[256];
    snprintf(full, sizeof full, "%s%s", prefix, training ? "" : "eval.");
    ct_module *gcn = ct_region_gcn_create(6, inner);
    golden_load(g, gcn, prefix);
    ct_module_train(gcn, training);
    ct_tensor *v = golden_leaf(g, golden_join(name, prefix, "in.v"));
    ct_tensor *out = ct_transpose(ct_region_gcn(gcn, ct_transpose(v, 1, 2)), 1, 2);
    golden_check(g, out, golden_join(name, full, "out.v"));
    ct_backward(golden_loss(g, out, golden_join(name, prefix, "in.cotangent")));
    golden_check(g, ct_grad(v), golden_join(name, full, "grad.in.v"));
    golden_check_grads(g, gcn, full);
    if (training) golden_check_buffers(g, gcn, full);
    ct_module_destroy(gcn);
}

static void check_region_gcn(const golden *g) {
    check_region_gcn_mode(g, "", 6, true);
    check_region_gcn_mode(g, "", 6, false);
    check_region_gcn_mode(g, "ne.", 4, true);
    check_region_gcn_mode(g, "ne.", 4, false);
}

START_TEST(rs_gcn) { golden_in_both("rs_gcn", check_region_gcn); }
END_TEST

/* ---- ranking loss ----------------------------------------------------------------------- */

static void check_ranking(const golden *g, const char *inputs, const char *prefix,
                          ct_ranking_options options) {
    char name[256];
    ct_tensor *im = golden_leaf(g, golden_join(name, inputs, ".in.im"));
    ct_tensor *s = golden_leaf(g, golden_join(name, inputs, ".in.s"));
    ct_tensor *loss = ct_ranking_loss(im, s, &options);
    golden_check(g, loss, golden_join(name, prefix, ".out.loss"));
    ct_backward(loss);
    bool safe = golden_has(g, golden_join(name, prefix, ".grad_safe.im"));
    golden_check(g, ct_grad(im), golden_join(name, prefix, safe ? ".grad_safe.im" : ".grad.im"));
    golden_check(g, ct_grad(s), golden_join(name, prefix, safe ? ".grad_safe.s" : ".grad.s"));
}

/* The published code's own gradients: NaN where, within a modality, a vector meets itself. */
static void check_nan_gradient(const golden *g, const char *inputs, const char *prefix,
                               ct_ranking_options options) {
    char name[256];
    options.similarity = ct_released_order_similarity;
    ct_tensor *im = golden_leaf(g, golden_join(name, inputs, ".in.im"));
    ct_tensor *s = golden_leaf(g, golden_join(name, inputs, ".in.s"));
    ct_tensor *loss = ct_ranking_loss(im, s, &options);
    golden_check(g, loss, golden_join(name, prefix, ".out.loss"));
    ct_backward(loss);
    ct_tensor *of_im = golden_stored(g, golden_join(name, prefix, ".grad.im"));
    ct_tensor *of_s = golden_stored(g, golden_join(name, prefix, ".grad.s"));
    if (!options.intra_modal) {
        golden_check(g, ct_grad(im), golden_join(name, prefix, ".grad.im"));
        golden_check(g, ct_grad(s), golden_join(name, prefix, ".grad.s"));
        return;
    }
    for (int64_t i = 0; i < ct_count(im); i++) {
        ck_assert(isnan(ct_get(of_im, i)) && isnan(ct_get(ct_grad(im), i)));
        ck_assert(isnan(ct_get(of_s, i)) && isnan(ct_get(ct_grad(s), i)));
    }
}

static void check_contrastive(const golden *g) {
    static const char *const inputs[] = {"unit", "raw"}, *const models[] = {"vsrn", "dcpg"},
                             *const measures[] = {"cosine", "order"},
                             *const negatives[] = {"sum", "max"};
    for (int i = 0; i < 16; i++) {
        int raw = i & 1, dcpg = i >> 1 & 1, order = i >> 2 & 1, hardest = i >> 3 & 1;
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s.%s.%s.%s", inputs[raw], models[dcpg], measures[order],
                 negatives[hardest]);
        ct_ranking_options options = {.margin = golden_number(g, "margin"),
                                      .hardest = hardest,
                                      .intra_modal = dcpg,
                                      .measure = order ? CT_ORDER : CT_COSINE,
                                      .within_over = CT_HINGE_COLUMN};
        CT_SCOPE { check_ranking(g, inputs[raw], prefix, options); }
        if (order) {
            CT_SCOPE { check_nan_gradient(g, inputs[raw], prefix, options); }
        }
        /* On the unit sphere S(I,I) is symmetric with a constant diagonal: rows or columns give
         * the same. */
        options.within_over = CT_HINGE_ROW;
        if (!raw && !order) {
            CT_SCOPE { check_ranking(g, inputs[raw], prefix, options); }
        }
    }
}

START_TEST(contrastive_loss) {
    ct_set_anomaly_mode(false); /* a gradient is NaN where the published code's is */
    golden_in_both("contrastive_loss", check_contrastive);
}
END_TEST

TEST_MAIN("matching golden", rs_gcn, contrastive_loss)
