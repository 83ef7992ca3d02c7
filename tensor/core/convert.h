/* SPDX-License-Identifier: Apache-2.0 */
/* One value from a dtype to another. Internal to tensor/.
 *
 * To bf16 and f16: nearest, ties to even, too large becomes infinite, NaN stays NaN; from f64 with
 * a single rounding. Float to integer: towards zero, out of range becomes the nearest end, NaN 0.
 * Between integers: modulo 2^bits, as C.
 */
#ifndef CT_CONVERT_H
#define CT_CONVERT_H

#include <math.h>

#include "tensor/core/bits.h"

typedef struct {
    uint16_t bits;
} ct_bf16;
typedef struct {
    uint16_t bits;
} ct_f16;

CT_BOTH float ct_f32_of_bf16(ct_bf16 x) { return ct_float_of((uint32_t)x.bits << 16); }

CT_BOTH ct_bf16 ct_bf16_of_f32(float x) {
    uint32_t bits = ct_bits_of(x);
    uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    return (ct_bf16){(uint16_t)((x != x ? bits | 0x400000u : rounded) >> 16)};
}

/* Moves the exponent over by multiplying: subnormals come out right; what was infinite or NaN gets
 * the largest exponent back. */
CT_BOTH float ct_f32_of_f16(ct_f16 x) {
    uint32_t magnitude = (uint32_t)(x.bits & 0x7fffu) << 13;
    uint32_t finite = ct_bits_of(ct_float_of(magnitude) * 0x1p112f);
    uint32_t bits = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : finite;
    return ct_float_of(bits | (uint32_t)(x.bits & 0x8000u) << 16);
}

/* Normal results: rounded in integer arithmetic on the f32 bits. Subnormal ones: adding 0.5 lets
 * the f32 adder round at f16's last place, 2^-24. */
CT_BOTH ct_f16 ct_f16_of_f32(float x) {
    uint32_t bits = ct_bits_of(x), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    uint32_t subnormal = ct_bits_of(ct_float_of(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    half = magnitude > 0x7f800000u ? 0x7e00u | (magnitude >> 13 & 0x3ffu) : half;
    return (ct_f16){(uint16_t)(half | (bits >> 16 & 0x8000u))};
}

/* f64 to f32 rounded to odd: the inexact ones get an odd last bit, so that a second rounding to
 * fewer bits comes out as if it were the only one (Boldo and Melquiond 2008). */
CT_BOTH float ct_round_to_odd(double x) {
    float nearest = (float)x;
    uint32_t bits = ct_bits_of(nearest);
    uint32_t away = fabs((double)nearest) > fabs(x) ? 1u : 0u;
    uint32_t odd = (bits - away) | 1u;
    return (double)nearest == x || x != x ? nearest : ct_float_of(odd);
}

CT_BOTH int64_t ct_i64_of_f64(double x) {
    double inside = x >= -0x1p63 && x < 0x1p63 ? x : 0.0;
    int64_t y = (int64_t)inside;
    y = x >= 0x1p63 ? INT64_MAX : y;
    return x < -0x1p63 ? INT64_MIN : y;
}

CT_BOTH int32_t ct_i32_of_f64(double x) {
    double inside = x > -0x1p31 ? x : -0x1p31;
    inside = inside < 0x1p31 - 1 ? inside : 0x1p31 - 1;
    return (int32_t)(x != x ? 0.0 : inside);
}

CT_BOTH uint8_t ct_u8_of_f64(double x) {
    double inside = x > 0.0 ? x : 0.0;
    return (uint8_t)(int32_t)(inside < 255.0 ? inside : 255.0);
}

#endif
