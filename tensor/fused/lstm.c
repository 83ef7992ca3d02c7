/* SPDX-License-Identifier: Apache-2.0 */
/* The LSTM: products here, gates in the backend's lstm_step and lstm_step_grad. Saved are i, f, g,
 * o and c. */
#include "tensor/fused/recurrent.h"

static bool lstm_forward(const ct_recurrent *net, const ct_recurrent_step *at) {
    return ct_backend_of(at->h->device)
        ->lstm_step(at->h, at->rounded, at->saved, at->hidden, at->c_before, net->in.b_ih,
                    net->in.b_hh);
}

/* ---- gradient --------------------------------------------------------------------------- */

static bool lstm_backward(const ct_recurrent *net, const ct_recurrent_back *work,
                          const ct_recurrent_step *at) {
    return ct_backend_of(at->d->device)
               ->lstm_step_grad(at->d, at->dh, at->dc, work->d_bias, at->g, at->saved,
                                at->c_before) &&
           (!at->before || ct_tensor_matmul_to(at->dh, 1, at->d, net->in.w_hh, 0));
}

static bool lstm_weights(const ct_recurrent *net, const ct_recurrent_back *work, const ct_tensor *x,
                         const ct_tensor *previous, ct_tensor **dx, ct_recurrent_grad *grad) {
    ct_tensor *d_t = ct_tensor_transpose(work->d, 0, 1);
    grad->w_ih = ct_tensor_matmul(d_t, x);
    grad->w_hh = ct_tensor_matmul(d_t, previous);
    if (!grad->w_ih || !grad->w_hh) return false;
    if (net->in.b_ih) {
        grad->b_ih = ct_tensor_cast(work->d_bias, net->in.x->dtype);
        grad->b_hh = ct_tensor_cast(work->d_bias, net->in.x->dtype);
        if (!grad->b_ih || !grad->b_hh) return false;
    }
    if (dx) *dx = ct_tensor_matmul(work->d, net->in.w_ih);
    return !dx || *dx;
}

static const ct_cell lstm_cell = {
    .op = "lstm",
    .gradient = "lstm gradient",
    .gates = 4,
    .saved = 5,
    .has_c = true,
    .forward = lstm_forward,
    .backward = lstm_backward,
    .weights = lstm_weights,
};

ct_recurrent_result ct_tensor_lstm(ct_recurrent_inputs inputs) {
    return ct_recurrent_forward(&lstm_cell, inputs);
}

ct_recurrent_grad ct_tensor_lstm_grad(ct_recurrent_inputs inputs, const ct_recurrent_result *result,
                                      ct_recurrent_output_grad g, bool need_x) {
    return ct_recurrent_backward(&lstm_cell, inputs, result, g, need_x);
}
