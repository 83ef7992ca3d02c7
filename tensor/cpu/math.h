/* SPDX-License-Identifier: Apache-2.0 */
/* Elementary functions for kernels: f32 without branches, so that compilers vectorise loops of
 * them, f64 from the C library. Internal to tensor/cpu/.
 *
 * The f32 functions are within 3 units in the last place of the true value
 * (tests/tensor/test_pointwise.c measures each against f64 libm), right in the limits, pass NaN on,
 * and give the same bits however wide the vectors are.
 */
#ifndef CT_CPU_MATH_H
#define CT_CPU_MATH_H

#include <float.h>
#include <math.h>

#include "tensor/core/bits.h"

/* ---- f32 -------------------------------------------------------------------------------- */

/* x = n ln 2 + r with |r| <= ln 2 / 2, for |x| < 2^20. Adding 1.5 * 2^23 rounds to an integer
 * and leaves it in the low bits. ln 2 in two parts, the first short enough that n times it is
 * exact. NaN gives any n. */
static inline float ct_reduce_exp_f32(float x, uint32_t *n) {
    const float shift = 12582912.0f;
    float shifted = x * 1.44269504088896341f + shift;
    float rounded = shifted - shift;
    *n = ct_bits_of(shifted) - ct_bits_of(shift);
    return (x - rounded * 0.693359375f) - rounded * -2.12194440e-4f;
}

/* 2^n for -126 <= n <= 127 */
static inline float ct_power_of_two_f32(uint32_t n) { return ct_float_of((n + 127u) << 23); }

/* expm1(r) for |r| <= ln 2 / 2 (polynomial of Cephes' expf, Moshier 1992). */
static inline float ct_expm1_polynomial_f32(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r;
}

static inline float ct_exp_f32(float x) {
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    uint32_t n;
    float r = ct_reduce_exp_f32(x, &n);
    float e = ct_expm1_polynomial_f32(r) + 1.0f;
    /* 2^n in two factors: n goes to 128 and, for subnormal results, to -150 */
    uint32_t half = (uint32_t)((int32_t)n >> 1);
    return e * ct_power_of_two_f32(half) * ct_power_of_two_f32(n - half);
}

/* 2^n (expm1(r) + 1) - 1 = 2^n expm1(r) + (2^n - 1); for n = 0 all of expm1(r)'s digits stay. */
static inline float ct_expm1_f32(float x) {
    float c = x < -20.0f ? -20.0f : x;
    c = c > 89.0f ? 89.0f : c;
    uint32_t n;
    float r = ct_reduce_exp_f32(c, &n);
    float p = ct_expm1_polynomial_f32(r);
    float half_power = ct_power_of_two_f32(n - 1u); /* n goes to 128 */
    float y = 2.0f * (half_power * p + (half_power - 0.5f));
    return x == 0.0f ? x : y; /* keeps the sign of zero */
}

/* Polynomial of Cephes' logf (Moshier 1992) on [sqrt 1/2, sqrt 2). */
static inline float ct_log_f32(float x) {
    int subnormal = x < FLT_MIN;
    uint32_t bits = ct_bits_of(subnormal ? x * 8388608.0f : x);
    int32_t exponent = (int32_t)(bits - 0x3f3504f3u) >> 23;
    float e = (float)exponent - (subnormal ? 23.0f : 0.0f);
    float f = ct_float_of(bits - ((uint32_t)exponent << 23)) - 1.0f;
    float z = f * f;
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    float y = p * f * z + e * -2.12194440e-4f - 0.5f * z;
    y = f + y + e * 0.693359375f;
    y = x > FLT_MAX ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}

/* log(1+x) with what rounding 1+x lost put back: (x - (u-1)) / u to first order. The bounds keep
 * that term 0 where u is infinite or 0. The result has the sign of x. */
static inline float ct_log1p_f32(float x) {
    float bounded = x > 1e30f ? 1e30f : x;
    float u = 1.0f + bounded;
    float lost = bounded - (u - 1.0f);
    return copysignf(ct_log_f32(1.0f + x) + lost / (u + FLT_MIN), x);
}

/* t / (t + 2) with t = expm1(2|x|); 1 from 9.01 on. */
static inline float ct_tanh_f32(float x) {
    float a = fabsf(x);
    a = a > 10.0f ? 10.0f : a;
    float t = ct_expm1_f32(2.0f * a);
    return copysignf(t / (t + 2.0f), x);
}

static inline float ct_sigmoid_f32(float x) {
    float e = ct_exp_f32(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

static inline float ct_softplus_f32(float x) {
    return (x < 0.0f ? 0.0f : x) + ct_log1p_f32(ct_exp_f32(-fabsf(x)));
}

/* |x| < 1: x + x P(x^2). Beyond: 1 - exp(-Q(|x|)), Q = -log erfc; erf is 1 in f32 from 3.92 on.
 * P and Q are least-maximum-error fits (relative error of erf below 2e-9 before rounding). */
static inline float ct_erf_f32(float x) {
    float t = fabsf(x), s = x * x;
    float p = 7.889102562e-05f;
    p = p * s - 8.020836394e-04f;
    p = p * s + 5.189534742e-03f;
    p = p * s - 2.685444430e-02f;
    p = p * s + 1.128360033e-01f;
    p = p * s - 3.761262596e-01f;
    p = p * s + 1.283791661e-01f;
    float low = p * x + x;
    float a = t > 4.0f ? 4.0f : t;
    float q = 2.144594691e-05f;
    q = q * a - 4.385341599e-04f;
    q = q * a + 4.190875217e-03f;
    q = q * a - 2.517185733e-02f;
    q = q * a + 1.083616242e-01f;
    q = q * a + 6.332723498e-01f;
    q = q * a + 1.129552126e+00f;
    q = q * a - 1.824662177e-04f;
    float high = copysignf(1.0f - ct_exp_f32(-q), x);
    return t < 1.0f ? low : high;
}

/* ---- f64 -------------------------------------------------------------------------------- */

static inline double ct_sigmoid_f64(double x) {
    double e = exp(-fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}

static inline double ct_softplus_f64(double x) { return (x < 0 ? 0 : x) + log1p(exp(-fabs(x))); }

#endif
