/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that the formulas of tensor/ops/pointwise.def are written in, for a template whose
 * type is called `real`: CUDA's own, overloaded for float and double. Internal to tensor/cuda/. */
#ifndef CT_CUDA_REAL_H
#define CT_CUDA_REAL_H

#include "tensor/core/bits.h"
#include "tensor/cuda/cuda.h"

template <typename real> static __device__ inline real ct_cuda_sigmoid(real x) {
    real e = exp(-fabs(x));
    return (x < 0 ? e : real(1)) / (1 + e);
}

template <typename real> static __device__ inline real ct_cuda_softplus(real x) {
    return (x < 0 ? real(0) : x) + log1p(exp(-fabs(x)));
}

static __device__ inline bool ct_cuda_squares_lost(float sum) { return ct_squares_lost_f32(sum); }
static __device__ inline bool ct_cuda_squares_lost(double sum) { return ct_squares_lost_f64(sum); }
static __device__ inline bool ct_cuda_can_divide(float x) { return ct_can_divide_f32(x); }
static __device__ inline bool ct_cuda_can_divide(double x) { return ct_can_divide_f64(x); }

#define R(c) ((real)(c))
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
#define R_SIGMOID(x) ct_cuda_sigmoid(x)
#define R_SOFTPLUS(x) ct_cuda_softplus(x)
#define R_MAX(x, y) ((x) > (y) ? (x) : (y))
#define R_MIN(x, y) ((x) < (y) ? (x) : (y))

#endif
