/* SPDX-License-Identifier: Apache-2.0 */
/* Unfolding for convolutions, and its adjoint. */
#include <string.h>

#include "tensor/cpu/cpu.h"
#include "tensor/cpu/span.h"

/* Unfolding only moves elements: one loop for both sizes. A task is a step of u. */
CT_PART unfold_steps(ct_part part, ct_tensor *u, const ct_tensor *x,
                     ct_tensor_conv1d_options options) {
    int64_t steps_out = u->shape.dim[1], kernel = u->shape.dim[2], steps = x->shape.dim[1];
    size_t row = (size_t)x->shape.dim[2] * ct_dtype_size(x->dtype);
    const char *from = ct_cpu_data(x);
    char *to = ct_cpu_data(u);
    for (int64_t p = part.begin; p < part.end; p++) {
        int64_t i = p / steps_out, first = p % steps_out * options.stride - options.before;
        for (int64_t k = 0; k < kernel; k++) {
            int64_t t = first + k * options.dilation;
            char *out = to + (size_t)(p * kernel + k) * row;
            if (t >= 0 && t < steps) {
                memcpy(out, from + (size_t)(i * steps + t) * row, row);
            } else {
                memset(out, 0, row);
            }
        }
    }
}

bool CT_CPU(unfold)(ct_tensor *u, const ct_tensor *x, ct_tensor_conv1d_options options) {
    if (x->shape.dim[2] == 0) return true; /* nothing to copy, and perhaps no memory to point to */
    CT_IN_PARTS(ct_cpu_threads(ct_count(u)), u->shape.dim[0] * u->shape.dim[1],
                unfold_steps(part, u, x, options));
    return true;
}

/* v, or what it is beyond; a NaN stays one. */
#define R_WITHIN(v, low, high) ((v) < (low) ? (low) : (v) > (high) ? (high) : (v))

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_conv_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_conv_kernels.h"
