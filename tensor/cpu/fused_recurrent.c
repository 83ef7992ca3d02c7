/* SPDX-License-Identifier: Apache-2.0 */
/* Gates of the GRU and the LSTM, one step of many sequences. */
#include <stdlib.h>

#include "tensor/cpu/cpu.h"

enum {
    COLUMN_BLOCK = 64,
    /* of an element, relative to an addition: decide about threads */
    GATE_COST = 16,
    GRAD_COST = 8,
};

/* A row of zeros for inputs that are not there, as wide as the widest: (4H). To be freed. */
static void *zero_row(const ct_tensor *h) {
    void *zeros = calloc((size_t)(4 * h->shape.dim[1]) + 1, sizeof(double));
    return zeros ? zeros : ct_fail("recurrent step: out of memory");
}

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_recurrent_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_recurrent_kernels.h"
