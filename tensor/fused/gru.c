/* SPDX-License-Identifier: Apache-2.0 */
/* The GRU: products here, gates in the backend's gru_step and gru_step_grad.
 *
 * `saved` has a row for each valid (sequence, step): columns r, z, n, hidden part of n (4H), and,
 * where the sequences are packed or padded, the state h as a fifth (y is then another matrix).
 */
#include "tensor/fused/sequence.h"

typedef struct {
    const ct_tensor *x, *h0, *w_ih, *w_hh, *b_ih, *b_hh; /* weights as products take them */
    int64_t hidden;
    ct_sequence plan;
} gru;

static bool check_inputs(gru *net, const ct_tensor *lengths, bool reverse) {
    const ct_tensor *x = net->x;
    if (!ct_check_ndim("gru", "x", x, 3)) return false;
    if (!ct_check_ndim("gru", "w_hh", net->w_hh, 2)) return false;
    int64_t hidden = net->hidden = net->w_hh->shape.dim[1];
    ct_shape bias = CT_SHAPE(3 * hidden);
    if (!net->b_ih != !net->b_hh) return ct_fail_bool("gru: one of b_ih, b_hh is NULL");
    if (!ct_check_shape("gru", "w_ih", x, net->w_ih, CT_SHAPE(3 * hidden, x->shape.dim[2])) ||
        !ct_check_shape("gru", "w_hh", x, net->w_hh, CT_SHAPE(3 * hidden, hidden)) ||
        !ct_check_optional("gru", "b_ih", x, net->b_ih, bias) ||
        !ct_check_optional("gru", "b_hh", x, net->b_hh, bias) ||
        !ct_check_optional("gru", "h0", x, net->h0, CT_SHAPE(x->shape.dim[0], hidden))) {
        return false;
    }
    bool ok = ct_sequence_plan("gru", &net->plan, x, lengths, reverse);
    net->w_ih = ct_matmul_operand(ct_dense(net->w_ih, &ok));
    net->w_hh = ct_matmul_operand(ct_dense(net->w_hh, &ok));
    net->b_ih = ct_dense(net->b_ih, &ok);
    net->b_hh = ct_dense(net->b_hh, &ok);
    const ct_tensor *h0 = net->h0;
    net->h0 = ok ? ct_sequence_sort(&net->plan, h0) : NULL;
    return ok && net->w_ih && net->w_hh && (net->h0 || !h0);
}

/* All steps; saved holds the input projections. */
static bool run_steps(const gru *net, ct_tensor *states, ct_tensor *saved) {
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden;
    const ct_tensor *w_hh_t = ct_tensor_transpose(net->w_hh, 0, 1);
    ct_tensor *scratch = ct_empty_like(states, CT_SHAPE(plan->batch, 3 * width)), *room;
    if (!ct_sequence_rounded(plan, states, net->h0, &room)) return false;
    for (int64_t s = 0; s < plan->steps; s++) {
        int64_t n = plan->count[s];
        ct_tensor *before, *hidden = NULL;
        ct_tensor *rounded = room ? ct_tensor_slice(room, 0, 0, n, 1) : NULL;
        if (!ct_sequence_before(plan, states, net->h0, s, &before)) return false;
        if (before) {
            hidden = ct_tensor_slice(scratch, 0, 0, n, 1);
            const ct_tensor *operand = rounded ? rounded : before;
            if (!ct_tensor_matmul_to(hidden, 1, operand, w_hh_t, 0)) return false;
        }
        ct_tensor *h = ct_sequence_step(plan, states, s, n, 0, width);
        ct_tensor *gates = ct_sequence_step(plan, saved, s, n, 0, 4 * width);
        if (!h || !gates || (room && !rounded)) return false;
        if (!ct_backend_of(h->device)->gru_step(h, rounded, gates, hidden, before, net->b_ih,
                                                net->b_hh)) {
            return false;
        }
    }
    return scratch != NULL;
}

static ct_gru_result forward(gru *net, const ct_tensor *lengths, bool reverse) {
    ct_gru_result none = {0}, result = {0};
    if (!check_inputs(net, lengths, reverse)) return none;
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden, columns = (plan->apart ? 5 : 4) * width;
    ct_tensor *x = ct_sequence_pack(plan, ct_matmul_operand(net->x));
    ct_tensor *w_ih_t = ct_tensor_transpose(net->w_ih, 0, 1);
    ct_tensor *saved = ct_empty_like(net->x, CT_SHAPE(plan->rows, columns));
    ct_tensor *projections = ct_tensor_slice(saved, 1, 0, 3 * width, 1);
    if (!ct_tensor_matmul_to(projections, 1, x, w_ih_t, 0)) return none;
    ct_tensor *states = plan->apart ? ct_tensor_slice(saved, 1, 4 * width, 5 * width, 1)
                                    : ct_empty_like(net->x, CT_SHAPE(plan->rows, width));
    if (!states || !run_steps(net, states, saved)) return none;
    result.y = ct_sequence_unpack(plan, states, net->x->shape.dim[1]);
    result.h_last = ct_sequence_last(plan, states);
    result.saved = saved;
    return result.y && result.h_last ? result : none;
}

ct_gru_result ct_tensor_gru(const ct_tensor *x, const ct_tensor *h0, const ct_tensor *w_ih,
                            const ct_tensor *w_hh, const ct_tensor *b_ih, const ct_tensor *b_hh,
                            const ct_tensor *lengths, bool reverse) {
    gru net = {.x = x, .h0 = h0, .w_ih = w_ih, .w_hh = w_hh, .b_ih = b_ih, .b_hh = b_hh};
    ct_gru_result result = {0};
    ct_tensor **const all[] = {&result.y, &result.h_last, &result.saved};
    CT_SCOPE {
        result = forward(&net, lengths, reverse);
        ct_keep_all(all, 3);
    }
    ct_adopt_all(all, 3);
    return result;
}

/* ---- gradient --------------------------------------------------------------------------- */

/* Column blocks of d: see gru_step_grad in tensor/device/kernels.def. */
enum { D_N, D_R, D_Z, D_HIDDEN_N };

static ct_tensor *d_columns(const ct_tensor *d, int64_t width, int from, int to) {
    return ct_tensor_slice(d, 1, from * width, to * width, 1);
}

/* The steps from last to first. dh: gradient of the states after the last steps, becomes that of
 * the initial states. d is as products take it. */
static bool run_back(const gru *net, const ct_tensor *g, const ct_tensor *states,
                     const ct_tensor *saved, ct_tensor *dh, ct_tensor *d, ct_tensor *d_bias) {
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden;
    if (!dh || !d || !d_bias) return false;
    for (int64_t s = plan->steps - 1; s >= 0; s--) {
        int64_t n = plan->count[s];
        ct_tensor *before;
        if (!ct_sequence_before(plan, states, net->h0, s, &before)) return false;
        ct_tensor *g_step = g ? ct_sequence_step(plan, g, s, n, 0, width) : NULL;
        ct_tensor *gates = ct_sequence_step(plan, saved, s, n, 0, 4 * width);
        ct_tensor *d_step = ct_sequence_step(plan, d, s, n, 0, 4 * width);
        ct_tensor *dh_step = ct_tensor_slice(dh, 0, 0, n, 1);
        if ((g && !g_step) || !gates || !d_step || !dh_step) return false;
        if (!ct_backend_of(dh->device)
                 ->gru_step_grad(d_step, dh_step, d_bias, g_step, gates, before)) {
            return false;
        }
        ct_tensor *d_hidden = d_columns(d_step, width, D_R, D_HIDDEN_N + 1);
        if (before && !ct_tensor_matmul_to(dh_step, 1, d_hidden, net->w_hh, 1)) return false;
    }
    return true;
}

/* Gradients of what multiplies the gates' gradients d: one product each; the rows of w_ih stand in
 * another order (r, z, n) than the columns of d, hence two. */
static bool weight_gradients(const gru *net, const ct_tensor *d, const ct_tensor *states,
                             bool need_x, ct_gru_grad *grad) {
    int64_t width = net->hidden;
    ct_tensor *x = ct_sequence_pack(&net->plan, ct_matmul_operand(net->x));
    ct_tensor *previous = ct_sequence_previous(&net->plan, states, net->h0);
    ct_tensor *d_rz = d_columns(d, width, D_R, D_Z + 1), *d_n = d_columns(d, width, D_N, D_N + 1);
    ct_tensor *d_hidden = d_columns(d, width, D_R, D_HIDDEN_N + 1);
    grad->w_ih = ct_empty_like(net->x, net->w_ih->shape);
    grad->w_hh = ct_empty_like(net->x, net->w_hh->shape);
    ct_tensor *rows_rz = ct_tensor_slice(grad->w_ih, 0, 0, 2 * width, 1);
    ct_tensor *rows_n = ct_tensor_slice(grad->w_ih, 0, 2 * width, 3 * width, 1);
    if (!ct_tensor_matmul_to(rows_rz, 1, ct_tensor_transpose(d_rz, 0, 1), x, 0) ||
        !ct_tensor_matmul_to(rows_n, 1, ct_tensor_transpose(d_n, 0, 1), x, 0) ||
        !ct_tensor_matmul_to(grad->w_hh, 1, ct_tensor_transpose(d_hidden, 0, 1), previous, 0)) {
        return false;
    }
    if (!need_x) return true;
    ct_tensor *w_rz = ct_tensor_slice(net->w_ih, 0, 0, 2 * width, 1);
    ct_tensor *w_n = ct_tensor_slice(net->w_ih, 0, 2 * width, 3 * width, 1);
    ct_tensor *dx = ct_empty_like(net->x, x->shape);
    if (!ct_tensor_matmul_to(dx, 1, d_rz, w_rz, 0) || !ct_tensor_matmul_to(dx, 1, d_n, w_n, 1)) {
        return false;
    }
    grad->x = ct_sequence_unpack(&net->plan, dx, net->x->shape.dim[1]);
    return grad->x != NULL;
}

static bool bias_gradients(const gru *net, const ct_tensor *d_bias, ct_gru_grad *grad) {
    int64_t width = net->hidden;
    if (!net->b_ih) return true;
    ct_tensor *sums = ct_tensor_cast(d_bias, net->x->dtype);
    ct_tensor *rz = ct_tensor_slice(sums, 0, D_R * width, (D_Z + 1) * width, 1);
    ct_tensor *n = ct_tensor_slice(sums, 0, D_N * width, (D_N + 1) * width, 1);
    ct_tensor *hidden = ct_tensor_slice(sums, 0, D_R * width, (D_HIDDEN_N + 1) * width, 1);
    grad->b_ih = ct_tensor_concat((ct_tensor *[]){rz, n}, 2, 0);
    grad->b_hh = ct_tensor_copy(hidden);
    return grad->b_ih && grad->b_hh;
}

/* The results of forward and the gradients given fit the inputs. */
static bool check_gradients(const gru *net, const ct_tensor *g_y, const ct_tensor *g_last,
                            const ct_gru_result *result) {
    const ct_tensor *x = net->x;
    int64_t width = net->hidden, batch = x->shape.dim[0], steps = x->shape.dim[1];
    ct_shape y = CT_SHAPE(batch, steps, width);
    ct_shape saved = CT_SHAPE(net->plan.rows, (net->plan.apart ? 5 : 4) * width);
    return ct_check_optional("gru gradient", "g_y", x, g_y, y) &&
           ct_check_optional("gru gradient", "g_last", x, g_last, CT_SHAPE(batch, width)) &&
           ct_check_shape("gru gradient", "y", x, result->y, y) &&
           ct_check_shape("gru gradient", "saved", x, result->saved, saved);
}

static ct_gru_grad backward(gru *net, const ct_tensor *g_y, const ct_tensor *g_last,
                            const ct_tensor *lengths, bool reverse, const ct_gru_result *result,
                            bool need_x) {
    ct_gru_grad none = {0}, grad = {0};
    if (!check_inputs(net, lengths, reverse) || !check_gradients(net, g_y, g_last, result)) {
        return none;
    }
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden;
    ct_tensor *states = plan->apart ? ct_tensor_slice(result->saved, 1, 4 * width, 5 * width, 1)
                                    : ct_tensor_reshape(result->y, CT_SHAPE(plan->rows, width));
    ct_tensor *g, *dh;
    if (!states || !ct_sequence_gradients(plan, net->x, g_y, g_last, width, &g, &dh)) return none;
    ct_tensor *d =
        ct_empty(ct_matmul_dtype(net->x), net->x->device, CT_SHAPE(plan->rows, 4 * width));
    ct_tensor *d_bias = ct_zeros(CT_F64, net->x->device, CT_SHAPE(4 * width));
    if (!run_back(net, g, states, result->saved, dh, d, d_bias) ||
        !weight_gradients(net, d, states, need_x, &grad) || !bias_gradients(net, d_bias, &grad)) {
        return none;
    }
    if (!net->h0) return grad;
    grad.h0 = ct_sequence_unsort(plan, dh);
    return grad.h0 ? grad : none;
}

ct_gru_grad ct_tensor_gru_grad(const ct_tensor *g_y, const ct_tensor *g_last, const ct_tensor *x,
                               const ct_tensor *h0, const ct_tensor *w_ih, const ct_tensor *w_hh,
                               const ct_tensor *b_ih, const ct_tensor *b_hh,
                               const ct_tensor *lengths, bool reverse, const ct_gru_result *result,
                               bool need_x) {
    gru net = {.x = x, .h0 = h0, .w_ih = w_ih, .w_hh = w_hh, .b_ih = b_ih, .b_hh = b_hh};
    ct_gru_grad grad = {0};
    ct_tensor **const all[] = {&grad.x, &grad.h0, &grad.w_ih, &grad.w_hh, &grad.b_ih, &grad.b_hh};
    CT_SCOPE {
        grad = backward(&net, g_y, g_last, lengths, reverse, result, need_x);
        ct_keep_all(all, 6);
    }
    ct_adopt_all(all, 6);
    return grad;
}
