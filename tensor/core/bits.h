/* SPDX-License-Identifier: Apache-2.0 */
/* What C kernels and CUDA kernels share, and the bits of an f32. Internal to tensor/. */
#ifndef CT_BITS_H
#define CT_BITS_H

#include <stdint.h>

/* A function of a header that both kinds of kernels call. */
#ifdef __CUDACC__
#define CT_BOTH static __host__ __device__ inline
#else
#define CT_BOTH static inline
#endif

CT_BOTH uint32_t ct_bits_of(float x) {
    union {
        float value;
        uint32_t bits;
    } u = {.value = x};
    return u.bits;
}

CT_BOTH float ct_float_of(uint32_t bits) {
    union {
        uint32_t bits;
        float value;
    } u = {.bits = bits};
    return u.value;
}

#endif
