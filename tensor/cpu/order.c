/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that go along one axis in order: arg max and min, running sums, sorting. */
#include <math.h>
#include <stdlib.h>

#include "tensor/cpu/cpu.h"

/* All lines of a tensor along an axis, numbered row-major over the other dimensions. */
static int64_t line_count(const ct_tensor *x, int axis) {
    int64_t n = 1;
    for (int i = 0; i < x->shape.ndim; i++) n *= i == axis ? 1 : x->shape.dim[i];
    return n;
}

/* Elements from x's first to the first of a line. The shape is x's or y's: they agree but for the
 * axis. */
static int64_t line_offset(const ct_tensor *x, int axis, int64_t line) {
    int64_t offset = 0;
    for (int i = x->shape.ndim - 1; i >= 0; i--) {
        if (i == axis) continue;
        offset += line % x->shape.dim[i] * x->stride[i];
        line /= x->shape.dim[i];
    }
    return offset;
}

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/order_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/order_kernels.h"
