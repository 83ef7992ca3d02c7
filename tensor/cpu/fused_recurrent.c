/* SPDX-License-Identifier: Apache-2.0 */
/* Gates of the GRU and the LSTM, one step of many sequences. */
#include <stdlib.h>

#include "tensor/cpu/fused.h"

enum {
    COLUMN_BLOCK = 64,
    /* of an element, relative to an addition: decide about threads */
    GATE_COST = 16,
    GRAD_COST = 8,
};

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/fused_recurrent_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/fused_recurrent_kernels.h"

/* A row of zeros for inputs that are not there, as wide as the widest: (4H). To be freed. */
static void *zero_row(const ct_tensor *h) {
    void *zeros = calloc((size_t)(4 * h->shape.dim[1]) + 1, sizeof(double));
    return zeros ? zeros : ct_fail("recurrent step: out of memory");
}

bool CT_CPU(gru_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                      const ct_tensor *previous, const ct_tensor *b_ih, const ct_tensor *b_hh) {
    (void)rounded; /* products take h as it is */
    void *zeros = NULL;
    if ((!hidden || !previous || !b_ih) && !(zeros = zero_row(h))) return false;
    if (h->dtype == CT_F32) {
        gru_step_f32(h, saved, hidden, previous, b_ih, b_hh, zeros);
    } else {
        gru_step_f64(h, saved, hidden, previous, b_ih, b_hh, zeros);
    }
    free(zeros);
    return true;
}

bool CT_CPU(gru_step_grad)(ct_tensor *d, ct_tensor *dh, ct_tensor *d_bias, const ct_tensor *g,
                           const ct_tensor *saved, const ct_tensor *previous) {
    void *zeros = NULL;
    if ((!g || !previous) && !(zeros = zero_row(dh))) return false;
    if (dh->dtype == CT_F32) {
        gru_step_grad_f32(d, dh, d_bias, g, saved, previous, zeros);
    } else {
        gru_step_grad_f64(d, dh, d_bias, g, saved, previous, zeros);
    }
    free(zeros);
    return true;
}

bool CT_CPU(lstm_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                       const ct_tensor *c_previous, const ct_tensor *b_ih, const ct_tensor *b_hh) {
    (void)rounded; /* products take h as it is */
    void *zeros = NULL;
    if ((!hidden || !c_previous || !b_ih) && !(zeros = zero_row(h))) return false;
    if (h->dtype == CT_F32) {
        lstm_step_f32(h, saved, hidden, c_previous, b_ih, b_hh, zeros);
    } else {
        lstm_step_f64(h, saved, hidden, c_previous, b_ih, b_hh, zeros);
    }
    free(zeros);
    return true;
}

bool CT_CPU(lstm_step_grad)(ct_tensor *d, const ct_tensor *dh, ct_tensor *dc, ct_tensor *d_bias,
                            const ct_tensor *g, const ct_tensor *saved,
                            const ct_tensor *c_previous) {
    void *zeros = NULL;
    if ((!g || !c_previous) && !(zeros = zero_row(dh))) return false;
    if (dh->dtype == CT_F32) {
        lstm_step_grad_f32(d, dh, dc, d_bias, g, saved, c_previous, zeros);
    } else {
        lstm_step_grad_f64(d, dh, dc, d_bias, g, saved, c_previous, zeros);
    }
    free(zeros);
    return true;
}
