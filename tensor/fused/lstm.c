/* SPDX-License-Identifier: Apache-2.0 */
/* The LSTM: products here, gates in the backend's lstm_step and lstm_step_grad.
 *
 * `saved` has a row for each valid (sequence, step): columns i, f, g, o, c (5H), and, where the
 * sequences are packed or padded, the state h as a sixth (y is then another matrix).
 */
#include "tensor/fused/sequence.h"

typedef struct {
    const ct_tensor *x, *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh; /* weights as products take them */
    int64_t hidden;
    ct_sequence plan;
} lstm;

enum { GATES = 4, C_COLUMN = 4, SAVED_COLUMNS = 5 };

static bool check_states(const lstm *net) {
    const ct_tensor *x = net->x;
    ct_shape state = CT_SHAPE(x->shape.dim[0], net->hidden);
    if (!net->b_ih != !net->b_hh) return ct_fail_bool("lstm: one of b_ih, b_hh is NULL");
    if (!net->h0 != !net->c0) return ct_fail_bool("lstm: one of h0, c0 is NULL");
    return ct_check_optional("lstm", "h0", x, net->h0, state) &&
           ct_check_optional("lstm", "c0", x, net->c0, state);
}

static bool check_inputs(lstm *net, const ct_tensor *lengths, bool reverse) {
    const ct_tensor *x = net->x;
    if (!ct_check_ndim("lstm", "x", x, 3)) return false;
    if (!ct_check_ndim("lstm", "w_hh", net->w_hh, 2)) return false;
    int64_t hidden = net->hidden = net->w_hh->shape.dim[1];
    ct_shape bias = CT_SHAPE(GATES * hidden);
    if (!ct_check_shape("lstm", "w_ih", x, net->w_ih, CT_SHAPE(GATES * hidden, x->shape.dim[2])) ||
        !ct_check_shape("lstm", "w_hh", x, net->w_hh, CT_SHAPE(GATES * hidden, hidden)) ||
        !ct_check_optional("lstm", "b_ih", x, net->b_ih, bias) ||
        !ct_check_optional("lstm", "b_hh", x, net->b_hh, bias) || !check_states(net)) {
        return false;
    }
    bool ok = ct_sequence_plan("lstm", &net->plan, x, lengths, reverse);
    net->w_ih = ct_matmul_operand(ct_dense(net->w_ih, &ok));
    net->w_hh = ct_matmul_operand(ct_dense(net->w_hh, &ok));
    net->b_ih = ct_dense(net->b_ih, &ok);
    net->b_hh = ct_dense(net->b_hh, &ok);
    if (!ok || !net->w_ih || !net->w_hh) return false;
    if (!net->h0) return true;
    net->h0 = ct_sequence_sort(&net->plan, net->h0);
    net->c0 = ct_sequence_sort(&net->plan, net->c0);
    return net->h0 && net->c0;
}

static ct_tensor *cells_of(const lstm *net, const ct_tensor *saved) {
    return ct_tensor_slice(saved, 1, C_COLUMN * net->hidden, (C_COLUMN + 1) * net->hidden, 1);
}

/* All steps; saved holds the input projections. */
static bool run_steps(const lstm *net, ct_tensor *states, ct_tensor *saved) {
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden;
    const ct_tensor *w_hh_t = ct_tensor_transpose(net->w_hh, 0, 1);
    ct_tensor *scratch = ct_empty_like(net->x, CT_SHAPE(plan->batch, GATES * width));
    ct_tensor *cells = cells_of(net, saved), *room;
    if (!scratch || !cells || !ct_sequence_rounded(plan, states, net->h0, &room)) return false;
    for (int64_t s = 0; s < plan->steps; s++) {
        int64_t n = plan->count[s];
        ct_tensor *before, *c_before, *hidden = NULL;
        ct_tensor *rounded = room ? ct_tensor_slice(room, 0, 0, n, 1) : NULL;
        if (!ct_sequence_before(plan, states, net->h0, s, &before) ||
            !ct_sequence_before(plan, cells, net->c0, s, &c_before)) {
            return false;
        }
        if (before) {
            hidden = ct_tensor_slice(scratch, 0, 0, n, 1);
            const ct_tensor *operand = rounded ? rounded : before;
            if (!ct_tensor_matmul_to(hidden, 1, operand, w_hh_t, 0)) return false;
        }
        ct_tensor *h = ct_sequence_step(plan, states, s, n, 0, width);
        ct_tensor *gates = ct_sequence_step(plan, saved, s, n, 0, SAVED_COLUMNS * width);
        if (!h || !gates || (room && !rounded)) return false;
        if (!ct_backend_of(h->device)->lstm_step(h, rounded, gates, hidden, c_before, net->b_ih,
                                                 net->b_hh)) {
            return false;
        }
    }
    return true;
}

static ct_lstm_result forward(lstm *net, const ct_tensor *lengths, bool reverse) {
    ct_lstm_result none = {0}, result = {0};
    if (!check_inputs(net, lengths, reverse)) return none;
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden, columns = (SAVED_COLUMNS + (plan->apart ? 1 : 0)) * width;
    ct_tensor *x = ct_sequence_pack(plan, ct_matmul_operand(net->x));
    ct_tensor *w_ih_t = ct_tensor_transpose(net->w_ih, 0, 1);
    ct_tensor *saved = ct_empty_like(net->x, CT_SHAPE(plan->rows, columns));
    ct_tensor *projections = ct_tensor_slice(saved, 1, 0, GATES * width, 1);
    if (!ct_tensor_matmul_to(projections, 1, x, w_ih_t, 0)) return none;
    ct_tensor *states = plan->apart ? ct_tensor_slice(saved, 1, SAVED_COLUMNS * width, columns, 1)
                                    : ct_empty_like(net->x, CT_SHAPE(plan->rows, width));
    if (!states || !run_steps(net, states, saved)) return none;
    result.y = ct_sequence_unpack(plan, states, net->x->shape.dim[1]);
    result.h_last = ct_sequence_last(plan, states);
    result.c_last = ct_sequence_last(plan, cells_of(net, saved));
    result.saved = saved;
    return result.y && result.h_last && result.c_last ? result : none;
}

ct_lstm_result ct_tensor_lstm(const ct_tensor *x, const ct_tensor *h0, const ct_tensor *c0,
                              const ct_tensor *w_ih, const ct_tensor *w_hh, const ct_tensor *b_ih,
                              const ct_tensor *b_hh, const ct_tensor *lengths, bool reverse) {
    lstm net = {.x = x, .h0 = h0, .c0 = c0, .w_ih = w_ih, .w_hh = w_hh, .b_ih = b_ih, .b_hh = b_hh};
    ct_lstm_result result = {0};
    ct_tensor **const all[] = {&result.y, &result.h_last, &result.c_last, &result.saved};
    CT_SCOPE {
        result = forward(&net, lengths, reverse);
        ct_keep_all(all, 4);
    }
    ct_adopt_all(all, 4);
    return result;
}

/* ---- gradient --------------------------------------------------------------------------- */

/* Work of the backward pass. */
typedef struct {
    ct_tensor *g, *g_cells;  /* (rows,H) gradients of h and c at the steps, or NULL */
    const ct_tensor *saved;  /* of the forward pass */
    const ct_tensor *states; /* (rows,H) h of every step */
    ct_tensor *dh, *dc;      /* (B,H) sorted: after the last steps, then initial */
    ct_tensor *d, *d_bias;   /* (rows,4H) as products take it, (4H) f64 */
} lstm_back;

static bool step_back(const lstm *net, lstm_back *work, int64_t s) {
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden, n = plan->count[s];
    ct_tensor *before, *c_before, *cells = cells_of(net, work->saved);
    if (!cells || !ct_sequence_before(plan, work->states, net->h0, s, &before) ||
        !ct_sequence_before(plan, cells, net->c0, s, &c_before)) {
        return false;
    }
    ct_tensor *g = work->g ? ct_sequence_step(plan, work->g, s, n, 0, width) : NULL;
    ct_tensor *gates = ct_sequence_step(plan, work->saved, s, n, 0, SAVED_COLUMNS * width);
    ct_tensor *d = ct_sequence_step(plan, work->d, s, n, 0, GATES * width);
    ct_tensor *dh = ct_tensor_slice(work->dh, 0, 0, n, 1);
    ct_tensor *dc = ct_tensor_slice(work->dc, 0, 0, n, 1);
    if ((work->g && !g) || !gates || !d || !dh || !dc) return false;
    if (work->g_cells &&
        !ct_tensor_add_to(dc, 1, ct_sequence_step(plan, work->g_cells, s, n, 0, width))) {
        return false;
    }
    if (!ct_backend_of(d->device)->lstm_step_grad(d, dh, dc, work->d_bias, g, gates, c_before))
        return false;
    return !before || ct_tensor_matmul_to(dh, 1, d, net->w_hh, 0);
}

static bool weight_gradients(const lstm *net, const lstm_back *work, bool need_x,
                             ct_lstm_grad *grad) {
    ct_tensor *x = ct_sequence_pack(&net->plan, ct_matmul_operand(net->x));
    ct_tensor *d_t = ct_tensor_transpose(work->d, 0, 1);
    grad->w_ih = ct_tensor_matmul(d_t, x);
    grad->w_hh = ct_tensor_matmul(d_t, ct_sequence_previous(&net->plan, work->states, net->h0));
    if (!grad->w_ih || !grad->w_hh) return false;
    if (net->b_ih) {
        grad->b_ih = ct_tensor_cast(work->d_bias, net->x->dtype);
        grad->b_hh = ct_tensor_cast(work->d_bias, net->x->dtype);
        if (!grad->b_ih || !grad->b_hh) return false;
    }
    if (!need_x) return true;
    ct_tensor *dx = ct_tensor_matmul(work->d, net->w_ih);
    grad->x = dx ? ct_sequence_unpack(&net->plan, dx, net->x->shape.dim[1]) : NULL;
    return grad->x != NULL;
}

/* Allocates and fills the work of the backward pass. */
static bool start_back(const lstm *net, const ct_tensor *g_y, const ct_tensor *g_h_last,
                       const ct_tensor *g_c_last, const ct_lstm_result *result, lstm_back *work) {
    const ct_sequence *plan = &net->plan;
    const ct_tensor *x = net->x;
    int64_t width = net->hidden, columns = (SAVED_COLUMNS + (plan->apart ? 1 : 0)) * width;
    ct_shape state = CT_SHAPE(plan->batch, width);
    ct_shape y = CT_SHAPE(plan->batch, x->shape.dim[1], width);
    if (!ct_check_optional("lstm gradient", "g_y", x, g_y, y) ||
        !ct_check_optional("lstm gradient", "g_h_last", x, g_h_last, state) ||
        !ct_check_optional("lstm gradient", "g_c_last", x, g_c_last, state) ||
        !ct_check_shape("lstm gradient", "y", x, result->y, y) ||
        !ct_check_shape("lstm gradient", "saved", x, result->saved,
                        CT_SHAPE(plan->rows, columns))) {
        return false;
    }
    work->saved = result->saved;
    work->states = plan->apart
                       ? ct_tensor_slice(result->saved, 1, SAVED_COLUMNS * width, columns, 1)
                       : ct_tensor_reshape(result->y, CT_SHAPE(plan->rows, width));
    if (!work->states ||
        !ct_sequence_gradients(plan, x, g_y, g_h_last, width, &work->g, &work->dh) ||
        !ct_sequence_gradients(plan, x, NULL, g_c_last, width, &work->g_cells, &work->dc)) {
        return false;
    }
    work->d = ct_empty(ct_matmul_dtype(x), x->device, CT_SHAPE(plan->rows, GATES * width));
    work->d_bias = ct_zeros(CT_F64, x->device, CT_SHAPE(GATES * width));
    return work->d && work->d_bias;
}

static ct_lstm_grad backward(lstm *net, const ct_tensor *g_y, const ct_tensor *g_h_last,
                             const ct_tensor *g_c_last, const ct_tensor *lengths, bool reverse,
                             const ct_lstm_result *result, bool need_x) {
    ct_lstm_grad none = {0}, grad = {0};
    lstm_back work = {0};
    if (!check_inputs(net, lengths, reverse) ||
        !start_back(net, g_y, g_h_last, g_c_last, result, &work)) {
        return none;
    }
    for (int64_t s = net->plan.steps - 1; s >= 0; s--) {
        if (!step_back(net, &work, s)) return none;
    }
    if (!weight_gradients(net, &work, need_x, &grad)) return none;
    if (!net->h0) return grad;
    grad.h0 = ct_sequence_unsort(&net->plan, work.dh);
    grad.c0 = ct_sequence_unsort(&net->plan, work.dc);
    return grad.h0 && grad.c0 ? grad : none;
}

ct_lstm_grad ct_tensor_lstm_grad(const ct_tensor *g_y, const ct_tensor *g_h_last,
                                 const ct_tensor *g_c_last, const ct_tensor *x, const ct_tensor *h0,
                                 const ct_tensor *c0, const ct_tensor *w_ih, const ct_tensor *w_hh,
                                 const ct_tensor *b_ih, const ct_tensor *b_hh,
                                 const ct_tensor *lengths, bool reverse,
                                 const ct_lstm_result *result, bool need_x) {
    lstm net = {.x = x, .h0 = h0, .c0 = c0, .w_ih = w_ih, .w_hh = w_hh, .b_ih = b_ih, .b_hh = b_hh};
    ct_lstm_grad grad = {0};
    ct_tensor **const all[] = {&grad.x,    &grad.h0,   &grad.c0,  &grad.w_ih,
                               &grad.w_hh, &grad.b_ih, &grad.b_hh};
    CT_SCOPE {
        grad = backward(&net, g_y, g_h_last, g_c_last, lengths, reverse, result, need_x);
        ct_keep_all(all, 7);
    }
    ct_adopt_all(all, 7);
    return grad;
}
