/* SPDX-License-Identifier: Apache-2.0 */
/* Gates of the GRU and the LSTM, one step of many sequences. */
#include <stdlib.h>

#include "tensor/core/convert.h"
#include "tensor/cpu/cpu.h"

enum {
    COLUMN_BLOCK = 256, /* most columns of a gate at a time */
    /* of an element, relative to an addition: decide about threads */
    GATE_COST = 16,
    GRAD_COST = 8,
};

/* A row of zeros for inputs that are not there, as wide as the widest: (4H). To be freed. */
static void *zero_row(const ct_tensor *h) {
    void *zeros = calloc((size_t)(4 * h->shape.dim[1]) + 1, sizeof(double));
    return zeros ? zeros : ct_fail("recurrent step: out of memory");
}

/* Columns of a gate that a thread takes at a time: as many as may be, since a row is then read in
 * long pieces, but so that each thread has some; whole vectors. */
static int64_t columns_of_block(const ct_tensor *dh, int threads) {
    enum { VECTOR = 16 };
    int64_t width = dh->shape.dim[1], blocks = (width + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    if (blocks < threads) blocks = threads;
    if (width == 0) return VECTOR;
    return ((width + blocks - 1) / blocks + VECTOR - 1) / VECTOR * VECTOR;
}

/* Rows of a step whose sums go to one row of d_bias (gru_step_grad in tensor/device/kernels.def).
 */
typedef struct {
    double *sums;
    int64_t begin, end, count, columns;
} bias_rows;

static bias_rows first_bias_rows(const ct_tensor *d_bias, int64_t count) {
    bool one = d_bias->shape.dim[0] == 1;
    return (bias_rows){ct_cpu_data(d_bias), 0, one || count < CT_GATE_ROWS ? count : CT_GATE_ROWS,
                       count, d_bias->shape.dim[1]};
}

static void next_bias_rows(bias_rows *at) {
    int64_t end = at->end + CT_GATE_ROWS;
    *at = (bias_rows){at->sums + at->columns, at->end, end < at->count ? end : at->count, at->count,
                      at->columns};
}

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_recurrent_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_recurrent_kernels.h"
