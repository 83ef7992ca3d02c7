/* SPDX-License-Identifier: Apache-2.0 */
/* A split of two images of which one file is the input. */
#ifndef CT_FUZZ_SPLIT_H
#define CT_FUZZ_SPLIT_H

#include "tests/fuzz/harness.h"
#include "train/data/data.h"

/* Writes the images of the split x. */
static inline void put_images(void) {
    const char *path = fuzz_put("x_ims.npy", "", 0);
    CT_SCOPE {
        const float features[] = {1, 2, 3, 4};
        ct_tensor *images = ct_from_data(CT_F32, CT_CPU, CT_SHAPE(2, 1, 2), features);
        fuzz_must(ct_npy_save(path, images), "features can be written");
    }
}

#endif
