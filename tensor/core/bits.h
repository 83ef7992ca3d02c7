/* SPDX-License-Identifier: Apache-2.0 */
/* What C kernels and CUDA kernels share: the bits of an f32, and the range of sums.
 * Internal to tensor/. */
#ifndef CT_BITS_H
#define CT_BITS_H

#include <float.h>
#include <stdbool.h>
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

/* Whether a sum of squares is so small that squares in it have lost digits, too large, or NaN. It
 * is then taken again, of the numbers divided by their largest magnitude, if that can be done. */
CT_BOTH bool ct_squares_lost_f32(float sum) {
    return !(sum >= FLT_MIN / FLT_EPSILON && sum <= FLT_MAX);
}
CT_BOTH bool ct_squares_lost_f64(double sum) {
    return !(sum >= DBL_MIN / DBL_EPSILON && sum <= DBL_MAX);
}
/* Whether log sum exp of logits is finite and so far from 0 that, in the sum of the largest logit
 * and of the logarithm of the others beside it, the logarithm has lost digits. The two are then
 * taken one by one. Below, the sum is as good, and one subtraction. */
CT_BOTH bool ct_is_far_f32(float lse) { return (lse > 1024 || lse < -1024) && lse - lse == 0; }
CT_BOTH bool ct_is_far_f64(double lse) { return (lse > 1024 || lse < -1024) && lse - lse == 0; }

CT_BOTH bool ct_can_divide_f32(float largest) { return largest > 0 && largest <= FLT_MAX; }
CT_BOTH bool ct_can_divide_f64(double largest) { return largest > 0 && largest <= DBL_MAX; }

#endif
