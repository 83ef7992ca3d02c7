/* SPDX-License-Identifier: Apache-2.0 */
/* A small split on disk: feature f of region r of image i is 100 i + 10 r + f. */
#ifndef CT_TEST_SPLIT_FIXTURE_H
#define CT_TEST_SPLIT_FIXTURE_H

#include "tests/train/program.h"
#include "train/data/data.h"

enum { REGIONS = 2, WIDTH = 3 };

static inline double feature_of(int64_t image, int64_t region, int64_t feature) {
    return (double)(100 * image + 10 * region + feature);
}

static inline void write_features(const char *folder, int64_t images, ct_dtype dtype) {
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(images, REGIONS, WIDTH));
        float *value = ct_data(x);
        for (int64_t i = 0; i < images * REGIONS * WIDTH; i++) {
            value[i] = (float)feature_of(i / (REGIONS * WIDTH), i / WIDTH % REGIONS, i % WIDTH);
        }
        ck_assert(ct_npy_save(in_folder(folder, "train_ims.npy"), ct_tensor_cast(x, dtype)));
    }
}

#endif
