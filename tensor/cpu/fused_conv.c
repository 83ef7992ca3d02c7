/* SPDX-License-Identifier: Apache-2.0 */
/* Unfolding pictures for convolutions, and its adjoint. */
#include "tensor/cpu/cpu.h"
#include "tensor/cpu/span.h"

/* v, or what it is beyond; a NaN stays one. */
#define R_WITHIN(v, low, high) ((v) < (low) ? (low) : (v) > (high) ? (high) : (v))

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_conv_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_conv_kernels.h"
