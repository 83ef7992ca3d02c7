/* SPDX-License-Identifier: Apache-2.0 */
/* The models whose training steps were recorded (tests/golden/, dcpg_step and vsrn_step). */
#ifndef CT_MODEL_RECORDED_H
#define CT_MODEL_RECORDED_H

#include "tests/models/model_fixture.h"

/* The policy model; `compat` holds lines of [compat], "preset = released\n". */
static inline ct_model *dcpg_model(const fixture_case *c, const char *compat) {
    char text[2048];
    const char *data = fixture_text(c, "data_name");
    int64_t width = fixture_int(c, "nfeats");
    snprintf(text, sizeof text,
             "[image]\nfc = linear width=%lld\nnorm = l2norm\ngcn = gcn x 4\nnorm2 = l2norm\n"
             "attend = policy_attention actions=%lld\npool = mean + gru\n"
             "bn = batchnorm momentum=0.01\n"
             "[text]\nembed = words width=%lld\nattend = policy_attention actions=%lld\n"
             "pool = gru\nbn = batchnorm momentum=0.01\n"
             "[loss]\nretrieval = hinge margin=0.2 negatives=hardest intra_modal=yes\n"
             "discrete_policy = 1\ncontinuous_policy = 1\n"
             "instance = classifier hidden=%lld classes=%lld\n"
             "decoder = convcap width=%lld hidden=%lld dropout=0\n[compat]\n%s%s",
             (long long)fixture_int(c, "D"), (long long)fixture_int(c, "A"),
             (long long)fixture_int(c, "E"), (long long)fixture_int(c, "A"),
             (long long)fixture_int(c, "cls_hidden"), (long long)fixture_int(c, "num_classes"),
             (long long)width, (long long)(width / 2),
             strcmp(data, "f30k_precomp") ? "" : "first_l2norm = skip\n", compat);
    ct_model_sizes sizes = {.regions = fixture_int(c, "N"),
                            .features = fixture_int(c, "F"),
                            .vocabulary = fixture_int(c, "V"),
                            .images = fixture_int(c, "num_classes") - 1}; /* numbered from 1 */
    ct_model *model = fixture_model(text, sizes);
    assert_no_error();
    return model;
}

/* VSRN; `norm`: not its no_imgnorm, `absolute`: its use_abs. */
static inline ct_model *vsrn_model(const fixture_case *c, bool norm, bool absolute) {
    char text[1024];
    bool f30k = !strcmp(fixture_text(c, "data_name"), "f30k_precomp");
    bool hardest = !strcmp(fixture_text(c, "max_violation"), "True");
    snprintf(text, sizeof text,
             "[image]\nfc = linear width=%lld\n%sgcn = gcn x 4\nnorm2 = l2norm\npool = gru\n"
             "%s%s%s[text]\nembed = words width=%lld\npool = gru\nnorm = l2norm\n%s"
             "[loss]\nretrieval = hinge margin=0.2 negatives=%s\nnormalise = no\n"
             "[compat]\nl2norm = regions\n",
             (long long)fixture_int(c, "D"), f30k ? "" : "norm = l2norm\n",
             f30k ? "bn = batchnorm\n" : "", norm ? "norm3 = l2norm\n" : "",
             absolute ? "abs = abs\n" : "", (long long)fixture_int(c, "E"),
             absolute ? "abs = abs\n" : "", hardest ? "hardest" : "sum");
    ct_model *model = fixture_model(text, (ct_model_sizes){.regions = fixture_int(c, "N"),
                                                           .features = fixture_int(c, "F"),
                                                           .vocabulary = fixture_int(c, "V"),
                                                           .images = 1});
    assert_no_error();
    return model;
}

#endif
