/* SPDX-License-Identifier: Apache-2.0 */
/* Makes `real` and R_* mean f64, for kernel templates (files included once per type). */
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/math.h"
#include "tensor/cpu/real_undef.h"

#define real double
#define REAL_NAME(name) name##_f64           /* static, of one file */
#define REAL_KERNEL(name) CT_CPU(name##_f64) /* a row of tensor/device/kernels.def */
#define R(c) ((double)(c))
#define R_EXP(x) exp(x)
#define R_LOG(x) log(x)
#define R_SQRT(x) sqrt(x)
#define R_TANH(x) tanh(x)
#define R_SIN(x) sin(x)
#define R_COS(x) cos(x)
#define R_ERF(x) erf(x)
#define R_LOG1P(x) log1p(x)
#define R_EXPM1(x) expm1(x)
#define R_POW(x, y) pow(x, y)
#define R_FABS(x) fabs(x)
#define R_FLOOR(x) floor(x)
#define R_ROUND(x) rint(x)
#define R_SIGMOID(x) ct_sigmoid_f64(x)
#define R_SOFTPLUS(x) ct_softplus_f64(x)
#define R_MAX(x, y) ((x) > (y) ? (x) : (y))
#define R_MIN(x, y) ((x) < (y) ? (x) : (y))
