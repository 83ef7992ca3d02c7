/* SPDX-License-Identifier: Apache-2.0 */
/* What models/matching.h adds to nn/: gradients of inputs and parameters. */
#include "models/matching.h"
#include "tests/module_gradcheck.h"

START_TEST(region_gcn) {
    check_forward("region_gcn", ct_region_gcn_create(4, 4), CT_SHAPE(2, 3, 4));
    ct_module *gcn = ct_region_gcn_create(4, 3);
    ct_module_train(gcn, false);
    check_forward("region_gcn, evaluation, inner", gcn, CT_SHAPE(2, 3, 4));
    check_forward("region_gcn, in fewer products", ct_region_gcn_create(12, 12),
                  CT_SHAPE(3, 30, 12));
}
END_TEST

static ct_tensor *similarity_output(const subject *s) {
    return ct_similarity(s->input[0], s->input[1], s->option > 0 ? CT_ORDER : CT_COSINE);
}

static ct_tensor *ranking_output(const subject *s) {
    int bits = (int)s->option;
    ct_ranking_options options = {.margin = 0.2,
                                  .hardest = bits & 1,
                                  .intra_modal = bits & 2,
                                  .within_over = bits & 4 ? CT_HINGE_COLUMN : CT_HINGE_ROW,
                                  .measure = bits & 8 ? CT_ORDER : CT_COSINE};
    return ct_ranking_loss(s->input[0], s->input[1], &options);
}

START_TEST(ranking) {
    for (int order = 0; order < 2; order++) {
        CT_SCOPE {
            subject s = {.input = {real(CT_SHAPE(3, 4), 1), real(CT_SHAPE(5, 4), 2)},
                         .option = order,
                         .output = similarity_output};
            check(order ? "similarity, order" : "similarity, cosine", s);
        }
    }
    for (int bits = 0; bits < 16; bits++) {
        char what[80];
        snprintf(what, sizeof what, "ranking %s%s%s%s", bits & 8 ? "order" : "cosine",
                 bits & 1 ? " hardest" : "", bits & 2 ? " within" : "", bits & 4 ? " columns" : "");
        CT_SCOPE {
            subject s = {.input = {real(CT_SHAPE(4, 3), 1), real(CT_SHAPE(4, 3), 2)},
                         .option = bits,
                         .output = ranking_output};
            check(what, s);
        }
    }
}
END_TEST

TEST_MAIN("matching gradients", region_gcn, ranking)
