/* SPDX-License-Identifier: Apache-2.0 */
/* Judgments of several right answers: train/evaluate/judgments.c. */
#include "tests/fuzz/harness.h"
#include "train/evaluate/judgments.h"

enum { IMAGES = 3, CAPTIONS = 6, WIDTH = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("judgments.json", data, size);
    CT_SCOPE {
        ct_judgments judged;
        bool done = ct_judgments_read(&judged, path, IMAGES, CAPTIONS);
        if (done) {
            ct_embeddings model = {ct_zeros(CT_F32, CT_CPU, CT_SHAPE(IMAGES, WIDTH)),
                                   ct_zeros(CT_F32, CT_CPU, CT_SHAPE(CAPTIONS, WIDTH)), CT_COSINE};
            ct_judged_recalls i2t, t2i;
            fuzz_must(ct_evaluate_judgments(&model, 1, &judged, &i2t, &t2i),
                      "what is read can be evaluated");
            json_decref(ct_judgments_json(&judged, &i2t, &t2i));
        }
        fuzz_end(done, path);
        ct_judgments_free(&judged);
    }
    return 0;
}
