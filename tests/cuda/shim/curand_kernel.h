/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for cuRAND's device functions: the one that the backend calls. */
#ifndef CT_SHIM_CURAND_KERNEL_H
#define CT_SHIM_CURAND_KERNEL_H

#include "cuda_runtime.h"
#include "tensor/ops/philox.h"

static inline uint4 curand_Philox4x32_10(uint4 counter, uint2 key) {
    for (int round = 0; round < CT_PHILOX_ROUNDS; round++) {
        ct_philox_round(&counter.x, &counter.y, &counter.z, &counter.w, key.x, key.y);
        key.x += CT_PHILOX_W0;
        key.y += CT_PHILOX_W1;
    }
    return counter;
}

#endif
