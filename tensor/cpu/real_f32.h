/* SPDX-License-Identifier: Apache-2.0 */
/* Makes `real` and R_* mean f32, for kernel templates (files included once per type). */
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/math.h"
#include "tensor/cpu/real_undef.h"

#define real float
#define REAL_NAME(name) name##_f32           /* static, of one file */
#define REAL_KERNEL(name) CT_CPU(name##_f32) /* a row of tensor/device/kernels.def */
#define R(c) ((float)(c))
#define R_EXP(x) ct_exp_f32(x)
#define R_LOG(x) ct_log_f32(x)
#define R_SQRT(x) sqrtf(x)
#define R_TANH(x) ct_tanh_f32(x)
#define R_SIN(x) sinf(x)
#define R_COS(x) cosf(x)
#define R_ERF(x) ct_erf_f32(x)
#define R_LOG1P(x) ct_log1p_f32(x)
#define R_EXPM1(x) ct_expm1_f32(x)
#define R_POW(x, y) powf(x, y)
#define R_FABS(x) fabsf(x)
#define R_FLOOR(x) floorf(x)
#define R_ROUND(x) rintf(x)
#define R_SIGMOID(x) ct_sigmoid_f32(x)
#define R_SOFTPLUS(x) ct_softplus_f32(x)
#define R_MAX(x, y) ((x) > (y) ? (x) : (y))
#define R_MIN(x, y) ((x) < (y) ? (x) : (y))
