/* SPDX-License-Identifier: Apache-2.0 */
/* Images that are features in .npy files: what is under train/data/images.h. Internal to it. */
#ifndef CT_FEATURES_H
#define CT_FEATURES_H

#include "train/data/images.h"

/* Each fills an empty `images`, or sets an error. */
bool ct_features_open(ct_images *images, const char *path, double smallest);
bool ct_features_open_parts(ct_images *images, const char *folder, int64_t count,
                            int64_t images_a_file, double smallest);
void ct_features_close(ct_image_features *features);
bool ct_features_read(const ct_images *images, const int64_t *which, int64_t count, float *out);
/* Mixes an image's bytes into a hash. */
bool ct_features_hash(const ct_images *images, int64_t image, uint64_t *hash);

#endif
