/* SPDX-License-Identifier: Apache-2.0 */
/* A channel's mean and variance from those of parts of its values. Internal to tensor/; shared by
 * the devices. */
#ifndef CT_MOMENTS_H
#define CT_MOMENTS_H

#include "tensor/core/bits.h"

/* parts (N,1+2C): of each how many values it is of, the channels' means, and their variances. The
 * whole's variance is the mean of the parts' and of the squared distances of their means (Chan,
 * Golub and LeVeque 1979). Returns how many values there are; into mean and variance those of
 * channel c. */
CT_BOTH double ct_join_moments(const double *parts, int64_t count, int64_t channels, int64_t c,
                               double *mean, double *variance) {
    int64_t width = 1 + 2 * channels;
    double all = 0, m = 0, v = 0;
    for (int64_t p = 0; p < count; p++) all += parts[p * width];
    for (int64_t p = 0; p < count; p++) m += parts[p * width] / all * parts[p * width + 1 + c];
    for (int64_t p = 0; p < count; p++) {
        double distance = parts[p * width + 1 + c] - m;
        double spread = parts[p * width + 1 + channels + c] + distance * distance;
        v += parts[p * width] / all * spread;
    }
    *mean = m;
    *variance = v;
    return all;
}

#endif
