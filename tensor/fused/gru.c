/* SPDX-License-Identifier: Apache-2.0 */
/* The GRU: products here, gates in the backend's gru_step and gru_step_grad. Saved are r, z, n and
 * the hidden part of n. */
#include "tensor/fused/recurrent.h"

static bool gru_forward(const ct_recurrent *net, const ct_recurrent_step *at) {
    return ct_backend_of(at->h->device)
        ->gru_step(at->h, at->rounded, at->saved, at->hidden, at->before, net->in.b_ih,
                   net->in.b_hh);
}

/* ---- gradient --------------------------------------------------------------------------- */

/* Column blocks of d: see gru_step_grad in tensor/device/kernels.def. */
enum { D_N, D_R, D_Z, D_HIDDEN_N };

static ct_tensor *d_columns(const ct_tensor *d, int64_t width, int from, int to) {
    return ct_tensor_slice(d, 1, from * width, to * width, 1);
}

static bool gru_backward(const ct_recurrent *net, const ct_recurrent_back *work,
                         const ct_recurrent_step *at) {
    if (!ct_backend_of(at->d->device)
             ->gru_step_grad(at->d, at->dh, work->d_bias, at->g, at->saved, at->before)) {
        return false;
    }
    ct_tensor *d_hidden = d_columns(at->d, net->hidden, D_R, D_HIDDEN_N + 1);
    return !at->before || ct_tensor_matmul_to(at->dh, 1, d_hidden, net->in.w_hh, 1);
}

static bool bias_gradients(const ct_recurrent *net, const ct_tensor *d_bias,
                           ct_recurrent_grad *grad) {
    int64_t width = net->hidden;
    if (!net->in.b_ih) return true;
    ct_tensor *sums = ct_tensor_cast(d_bias, net->in.x->dtype);
    ct_tensor *rz = ct_tensor_slice(sums, 0, D_R * width, (D_Z + 1) * width, 1);
    ct_tensor *n = ct_tensor_slice(sums, 0, D_N * width, (D_N + 1) * width, 1);
    ct_tensor *hidden = ct_tensor_slice(sums, 0, D_R * width, (D_HIDDEN_N + 1) * width, 1);
    grad->b_ih = ct_tensor_concat((ct_tensor *[]){rz, n}, 2, 0);
    grad->b_hh = ct_tensor_copy(hidden);
    return grad->b_ih && grad->b_hh;
}

/* One product each for what multiplies the gates' gradients d; the rows of w_ih stand in another
 * order (r, z, n) than the columns of d, hence two. */
static bool gru_weights(const ct_recurrent *net, const ct_recurrent_back *work, const ct_tensor *x,
                        const ct_tensor *previous, ct_tensor **dx, ct_recurrent_grad *grad) {
    int64_t width = net->hidden;
    const ct_tensor *w_ih = net->in.w_ih, *d = work->d;
    ct_tensor *d_rz = d_columns(d, width, D_R, D_Z + 1), *d_n = d_columns(d, width, D_N, D_N + 1);
    ct_tensor *d_hidden = d_columns(d, width, D_R, D_HIDDEN_N + 1);
    grad->w_ih = ct_empty_like(net->in.x, w_ih->shape);
    grad->w_hh = ct_empty_like(net->in.x, net->in.w_hh->shape);
    ct_tensor *rows_rz = ct_tensor_slice(grad->w_ih, 0, 0, 2 * width, 1);
    ct_tensor *rows_n = ct_tensor_slice(grad->w_ih, 0, 2 * width, 3 * width, 1);
    if (!ct_tensor_matmul_to(rows_rz, 1, ct_tensor_transpose(d_rz, 0, 1), x, 0) ||
        !ct_tensor_matmul_to(rows_n, 1, ct_tensor_transpose(d_n, 0, 1), x, 0) ||
        !ct_tensor_matmul_to(grad->w_hh, 1, ct_tensor_transpose(d_hidden, 0, 1), previous, 0) ||
        !bias_gradients(net, work->d_bias, grad)) {
        return false;
    }
    if (!dx) return true;
    ct_tensor *w_rz = ct_tensor_slice(w_ih, 0, 0, 2 * width, 1);
    ct_tensor *w_n = ct_tensor_slice(w_ih, 0, 2 * width, 3 * width, 1);
    *dx = ct_empty_like(net->in.x, x->shape);
    return ct_tensor_matmul_to(*dx, 1, d_rz, w_rz, 0) && ct_tensor_matmul_to(*dx, 1, d_n, w_n, 1);
}

static const ct_cell gru_cell = {
    .op = "gru",
    .gradient = "gru gradient",
    .gates = 3,
    .saved = 4,
    .forward = gru_forward,
    .backward = gru_backward,
    .weights = gru_weights,
};

ct_recurrent_result ct_tensor_gru(ct_recurrent_inputs inputs) {
    return ct_recurrent_forward(&gru_cell, inputs);
}

ct_recurrent_grad ct_tensor_gru_grad(ct_recurrent_inputs inputs, const ct_recurrent_result *result,
                                     ct_recurrent_output_grad g, bool need_x) {
    return ct_recurrent_backward(&gru_cell, inputs, result, g, need_x);
}
