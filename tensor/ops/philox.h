/* SPDX-License-Identifier: Apache-2.0 */
/* Philox4x32-10 and the numbers made of its words. Internal to tensor/; shared by the devices.
 *
 * "Same bits on any device" needs more than the same counters: everything here is made of integer
 * operations and of + - * / and sqrt, which IEEE 754 rounds in one way only; no libm function, and
 * no multiply-add may be fused (kernels that include this are compiled with -ffp-contract=off).
 */
#ifndef CT_PHILOX_H
#define CT_PHILOX_H

#include <math.h>

#include "tensor/core/bits.h"

/* Multipliers and Weyl constants of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011, section 4.3. */
#define CT_PHILOX_M0 0xD2511F53u
#define CT_PHILOX_M1 0xCD9E8D57u
#define CT_PHILOX_W0 0x9E3779B9u
#define CT_PHILOX_W1 0xBB67AE85u
enum { CT_PHILOX_ROUNDS = 10 };

/* One round on the four words of a counter, with that round's key. */
CT_BOTH void ct_philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0,
                             uint32_t k1) {
    uint64_t p0 = (uint64_t)CT_PHILOX_M0 * *c0, p1 = (uint64_t)CT_PHILOX_M1 * *c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
    *c0 = n0;
    *c1 = (uint32_t)p1;
    *c2 = n2;
    *c3 = (uint32_t)p0;
}

/* ---- [0,1) ------------------------------------------------------------------------------ */

CT_BOTH float ct_unit_f32(uint32_t word) { return (float)(int32_t)(word >> 8) * 0x1p-24f; }

CT_BOTH double ct_unit_f64(uint32_t high, uint32_t low) {
    return (double)(int64_t)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

/* ---- the logarithm, for normal x in (0, 1] ---------------------------------------------- */

/* x = 2^k (1 + f) with 1 + f in [sqrt 1/2, sqrt 2); s = f / (2 + f); log(1 + f) = 2 atanh(s)
 * = f - f^2/2 + s (f^2/2 + P(s^2)). Polynomials of fdlibm's e_log.c (Sun Microsystems 1993) and of
 * FreeBSD's e_logf.c; below 1 unit in the last place off. */
CT_BOTH float ct_log_unit_f32(float x) {
    union {
        float value;
        uint32_t bits;
    } u = {.value = x};
    u.bits += 0x3f800000u - 0x3f3504f3u;
    float k = (float)((int32_t)(u.bits >> 23) - 127);
    u.bits = (u.bits & 0x007fffffu) + 0x3f3504f3u;
    float f = u.value - 1.0f, s = f / (2.0f + f), z = s * s, w = z * z;
    float odd = z * (0.66666662693f + w * 0.28498786688f);
    float even = w * (0.40000972152f + w * 0.24279078841f);
    float half = 0.5f * f * f;
    return k * 6.9313812256e-01f -
           ((half - (s * (half + (odd + even)) + k * 9.0580006145e-06f)) - f);
}

CT_BOTH double ct_log_unit_f64(double x) {
    union {
        double value;
        uint64_t bits;
    } u = {.value = x};
    u.bits += 0x3ff0000000000000u - 0x3fe6a09e00000000u;
    double k = (double)((int32_t)(u.bits >> 52) - 1023);
    u.bits = (u.bits & 0x000fffffffffffffu) + 0x3fe6a09e00000000u;
    double f = u.value - 1.0, s = f / (2.0 + f), z = s * s, w = z * z;
    double odd = z * (6.666666666666735130e-01 +
                      w * (2.857142874366239149e-01 +
                           w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    double even = w * (3.999999999940941908e-01 +
                       w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    double half = 0.5 * f * f;
    return k * 6.93147180369123816490e-01 -
           ((half - (s * (half + (odd + even)) + k * 1.90821492927058770002e-10)) - f);
}

/* ---- Box-Muller ------------------------------------------------------------------------- */

/* Two standard normals of uniforms u1, u2 in [0,1): r cos(2 pi u2), r sin(2 pi u2) with
 * r = sqrt(-2 log(1 - u1)). 1 - u1 is exact and in (0,1], so that u1 = 0 gives r = 0 and nothing
 * gives infinity: |z| <= 5.77 in f32 (1 - u1 >= 2^-24), 8.58 in f64 (2^-53).
 *
 * 4 u2 = q + t, q its nearest integer, both exact: the angle is q quarter turns and t pi/2 within
 * [-pi/4, pi/4], where the polynomials of Cephes' sinf and cosf (Moshier 1992) and of fdlibm's
 * k_sin.c and k_cos.c hold. */
CT_BOTH void ct_box_muller_f32(float u1, float u2, float *z1, float *z2) {
    float r = sqrtf(-2.0f * ct_log_unit_f32(1.0f - u1));
    int32_t q = (int32_t)(4.0f * u2 + 0.5f);
    float a = (4.0f * u2 - (float)q) * 1.57079632679f, z = a * a;
    float sine = a + a * z * (-1.6666654611e-1f + z * (8.3321608736e-3f - z * 1.9515295891e-4f));
    float cosine =
        1.0f -
        (0.5f * z - z * z * (4.166664568e-2f + z * (-1.388731625e-3f + z * 2.443315712e-5f)));
    float x = q & 1 ? sine : cosine, y = q & 1 ? cosine : sine;
    *z1 = r * ((q + 1) & 2 ? -x : x);
    *z2 = r * (q & 2 ? -y : y);
}

CT_BOTH void ct_box_muller_f64(double u1, double u2, double *z1, double *z2) {
    double r = sqrt(-2.0 * ct_log_unit_f64(1.0 - u1));
    int32_t q = (int32_t)(4.0 * u2 + 0.5);
    double a = (4.0 * u2 - (double)q) * 1.57079632679489661923, z = a * a;
    double sine =
        a +
        a * z *
            (-1.66666666666666324348e-01 +
             z * (8.33333333332248946124e-03 +
                  z * (-1.98412698298579493134e-04 +
                       z * (2.75573137070700676789e-06 +
                            z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
    double cosine =
        1.0 -
        (0.5 * z -
         z * z *
             (4.16666666666666019037e-02 +
              z * (-1.38888888888741095749e-03 +
                   z * (2.48015872894767294178e-05 +
                        z * (-2.75573143513906633035e-07 +
                             z * (2.08757232129817482790e-09 - z * 1.13596475577881948265e-11))))));
    double x = q & 1 ? sine : cosine, y = q & 1 ? cosine : sine;
    *z1 = r * ((q + 1) & 2 ? -x : x);
    *z2 = r * (q & 2 ? -y : y);
}

#endif
