/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax and log-softmax over the last axis of contiguous tensors. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

enum {
    LANES = 32,
    SPAN = 64 * LANES, /* elements whose sum stays in lanes, in the type of the tensor */
    COST = 8,          /* of an element, relative to an addition */
};

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/softmax_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/softmax_kernels.h"
