/* SPDX-License-Identifier: Apache-2.0 */
/* The factor that gradients are clipped by. Internal to tensor/; shared by the devices. */
#ifndef CT_CLIP_H
#define CT_CLIP_H

#include "tensor/core/bits.h"

/* As ct_clip of tensor/fused/fused.h says; norm is finite. */
CT_BOTH double ct_clip_factor(double norm, double limit, int times) {
    double factor = limit / (norm + 1e-6);
    double scale = limit > 0 && factor < 1 ? factor : 1;
    double product = scale;
    for (int i = 1; i < times; i++) product *= scale;
    return product;
}

#endif
