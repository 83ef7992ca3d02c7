/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent networks: checks, products and steps; the cells are in gru.c and lstm.c. */
#include "tensor/fused/recurrent.h"

#include "tensor/device/team.h"

/* ---- inputs ----------------------------------------------------------------------------- */

static bool check_shapes(const ct_recurrent *net) {
    const ct_recurrent_inputs *in = &net->in;
    const ct_tensor *x = in->x;
    const char *op = net->cell->op;
    int64_t width = net->hidden, rows = net->cell->gates * width;
    int64_t channels = x->shape.dim[x->shape.ndim - 1];
    ct_shape state = CT_SHAPE(net->plan.batch, width), bias = CT_SHAPE(rows);
    if (!in->b_ih != !in->b_hh) return ct_fail_bool("%s: one of b_ih, b_hh is NULL", op);
    if (net->cell->has_c && !in->h0 != !in->c0) {
        return ct_fail_bool("%s: one of h0, c0 is NULL", op);
    }
    return ct_check_shape(op, "w_ih", x, in->w_ih, CT_SHAPE(rows, channels)) &&
           ct_check_shape(op, "w_hh", x, in->w_hh, CT_SHAPE(rows, width)) &&
           ct_check_optional(op, "b_ih", x, in->b_ih, bias) &&
           ct_check_optional(op, "b_hh", x, in->b_hh, bias) &&
           ct_check_optional(op, "h0", x, in->h0, state) &&
           ct_check_optional(op, "c0", x, in->c0, state);
}

static bool check_inputs(ct_recurrent *net) {
    ct_recurrent_inputs *in = &net->in;
    const char *op = net->cell->op;
    bool rows = in->x && in->lengths && in->x->shape.ndim == 2;
    if (!ct_check_ndim(op, "x", in->x, rows ? 2 : 3) || !ct_check_ndim(op, "w_hh", in->w_hh, 2)) {
        return false;
    }
    net->hidden = in->w_hh->shape.dim[1];
    if (!net->cell->has_c) in->c0 = NULL;
    bool ok = ct_sequence_plan(op, &net->plan, in->x, in->lengths, in->reverse);
    if (!ok || !check_shapes(net)) return false;
    in->w_ih = ct_matmul_operand(ct_dense(in->w_ih, &ok));
    in->w_hh = ct_matmul_operand(ct_dense(in->w_hh, &ok));
    in->b_ih = ct_dense(in->b_ih, &ok);
    in->b_hh = ct_dense(in->b_hh, &ok);
    if (!ok || !in->w_ih || !in->w_hh) return false;
    const ct_tensor *h0 = in->h0, *c0 = in->c0;
    in->h0 = ct_sequence_sort(&net->plan, h0);
    in->c0 = ct_sequence_sort(&net->plan, c0);
    return (in->h0 || !h0) && (in->c0 || !c0);
}

/* ---- saved columns ---------------------------------------------------------------------- */

static ct_tensor *block(const ct_recurrent *net, const ct_tensor *saved, int i) {
    return ct_tensor_slice(saved, 1, i * net->hidden, (i + 1) * net->hidden, 1);
}

static int64_t saved_columns(const ct_recurrent *net) {
    return (net->cell->saved + (net->plan.apart ? 1 : 0)) * net->hidden;
}

/* The states c of all steps; NULL of a cell without. */
static ct_tensor *cells(const ct_recurrent *net, const ct_tensor *saved) {
    return net->cell->has_c ? block(net, saved, net->cell->saved - 1) : NULL;
}

/* Where step s starts from, and its rows of `saved`. */
static bool start_step(const ct_recurrent *net, const ct_tensor *states, const ct_tensor *saved,
                       int64_t s, ct_recurrent_step *at) {
    const ct_sequence *plan = &net->plan;
    *at = (ct_recurrent_step){0};
    if (!ct_sequence_before(plan, states, net->in.h0, s, &at->before)) return false;
    if (net->cell->has_c &&
        !ct_sequence_before(plan, cells(net, saved), net->in.c0, s, &at->c_before)) {
        return false;
    }
    at->saved = ct_sequence_step(plan, saved, s, plan->count[s], 0, net->cell->saved * net->hidden);
    return at->saved != NULL;
}

/* ---- parts of the batch ----------------------------------------------------------------- */

/* Into how many parts the sequences are divided, each of which a thread takes through all steps, so
 * that threads wait for each other once and not in every kernel of every step. Each part reads all
 * of w_hh in each step: where that does not stay in a core's own cache, the products of a step are
 * divided by columns instead, by the kernels (docs/performance.md, "Passes beside the products").
 */
static int part_count(const ct_recurrent *net) {
    enum { OWN_CACHE = 1 << 20, WORTH_A_TEAM = 1 << 19 };
    const ct_tensor *w = net->in.w_hh;
    int64_t weights = ct_count(w), blocks = net->plan.batch / CT_GATE_ROWS;
    if (w->device != CT_CPU || blocks < 2) return 1;
    if (weights * (int64_t)ct_dtype_size(w->dtype) > OWN_CACHE) return 1;
    if (net->plan.rows * weights < WORTH_A_TEAM) return 1;
    int threads = ct_team_size();
    return blocks < threads ? (int)blocks : threads;
}

/* Where a part begins: parts have about as many rows each, and whole blocks of CT_GATE_ROWS
 * sequences, whose gradients of biases are summed together however many parts there are. */
static int64_t part_begin(const ct_sequence *plan, int part, int parts) {
    int64_t begin = 0, rows = 0;
    if (part == parts) return plan->batch;
    while (begin < plan->batch && rows * parts < plan->rows * part) {
        for (int64_t s = 0; s < plan->steps; s++) {
            int64_t more = plan->count[s] - begin;
            if (more > 0) rows += more < CT_GATE_ROWS ? more : CT_GATE_ROWS;
        }
        begin += CT_GATE_ROWS;
    }
    return begin < plan->batch ? begin : plan->batch;
}

/* Rows of a matrix that may be NULL. */
static ct_tensor *rows_of(const ct_tensor *x, int64_t begin, int64_t end) {
    return x ? ct_tensor_slice(x, 0, begin, end, 1) : NULL;
}

/* Sequences begin to end - 1, perhaps none, as a network on the whole's matrices. */
typedef struct {
    int64_t begin, end;
    ct_recurrent net;
} network_part;

static bool part_of(const ct_recurrent *net, int i, int parts, network_part *part) {
    int64_t begin = part_begin(&net->plan, i, parts), end = part_begin(&net->plan, i + 1, parts);
    *part = (network_part){begin, end, *net};
    part->net.in.h0 = rows_of(net->in.h0, begin, end);
    part->net.in.c0 = rows_of(net->in.c0, begin, end);
    return ct_sequence_part(&net->plan, begin, end, &part->net.plan) && ct_ok();
}

/* ---- forward ---------------------------------------------------------------------------- */

/* All steps; saved holds the input projections. */
static bool run_steps(const ct_recurrent *net, ct_tensor *states, ct_tensor *saved) {
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden;
    const ct_tensor *w_hh_t = ct_tensor_transpose(net->in.w_hh, 0, 1);
    ct_shape projections = CT_SHAPE(plan->batch, net->cell->gates * width);
    ct_tensor *scratch = ct_empty_like(states, projections), *room;
    if (!scratch || !ct_sequence_rounded(plan, states, net->in.h0, &room)) return false;
    for (int64_t s = 0; s < plan->steps; s++) {
        int64_t n = plan->count[s];
        ct_recurrent_step at;
        if (!start_step(net, states, saved, s, &at)) return false;
        at.rounded = room ? ct_tensor_slice(room, 0, 0, n, 1) : NULL;
        at.h = ct_sequence_step(plan, states, s, n, 0, width);
        if (!at.h || (room && !at.rounded)) return false;
        if (at.before) {
            at.hidden = ct_tensor_slice(scratch, 0, 0, n, 1);
            const ct_tensor *operand = at.rounded ? at.rounded : at.before;
            if (!ct_tensor_matmul_to(at.hidden, 1, operand, w_hh_t, 0)) return false;
        }
        if (!net->cell->forward(net, &at)) return false;
    }
    return true;
}

typedef struct {
    const ct_recurrent *net;
    int parts;
    ct_tensor *states, *saved;
} forward_work;

static bool forward_part(void *context, int i) {
    const forward_work *work = context;
    network_part part;
    return part_of(work->net, i, work->parts, &part) &&
           run_steps(&part.net, work->states, work->saved);
}

static bool run(const ct_recurrent *net, ct_tensor *states, ct_tensor *saved) {
    forward_work work = {net, part_count(net), states, saved};
    return work.parts == 1 ? run_steps(net, states, saved)
                           : ct_team(work.parts, forward_part, &work);
}

ct_recurrent_result ct_recurrent_forward(const ct_cell *cell, ct_recurrent_inputs inputs) {
    ct_recurrent net = {.cell = cell, .in = inputs};
    ct_recurrent_result none = {0}, result = {0};
    CT_SCOPE {
        if (!check_inputs(&net)) return none;
        const ct_sequence *plan = &net.plan;
        const ct_tensor *x = net.in.x;
        int64_t width = net.hidden;
        ct_tensor *rows = ct_sequence_pack(plan, ct_matmul_operand(x));
        ct_tensor *w_ih_t = ct_tensor_transpose(net.in.w_ih, 0, 1);
        ct_tensor *saved = ct_empty_like(x, CT_SHAPE(plan->rows, saved_columns(&net)));
        ct_tensor *projections = ct_tensor_slice(saved, 1, 0, net.cell->gates * width, 1);
        if (!ct_tensor_matmul_to(projections, 1, rows, w_ih_t, 0)) return none;
        ct_tensor *states = plan->apart ? block(&net, saved, net.cell->saved)
                                        : ct_empty_like(x, CT_SHAPE(plan->rows, width));
        if (!states || !run(&net, states, saved)) return none;
        result.y = ct_sequence_unpack(plan, states);
        result.h_last = ct_sequence_last(plan, states);
        result.c_last = ct_sequence_last(plan, cells(&net, saved));
        result.saved = saved;
        if (!result.y || !result.h_last || (!result.c_last && net.cell->has_c)) return none;
        ct_escape_all(
            (ct_tensor **const[]){&result.y, &result.h_last, &result.c_last, &result.saved}, 4);
        return result;
    }
    return none;
}

/* ---- backward --------------------------------------------------------------------------- */

/* The results of forward and the gradients given fit the inputs. */
static bool check_gradients(const ct_recurrent *net, const ct_recurrent_result *result,
                            ct_recurrent_output_grad g) {
    const ct_tensor *x = net->in.x;
    const char *op = net->cell->gradient;
    if (!ct_check_pointer(op, "the result", result)) return false;
    ct_shape state = CT_SHAPE(net->plan.batch, net->hidden);
    ct_shape y = ct_sequence_shape(&net->plan, net->hidden);
    ct_shape saved = CT_SHAPE(net->plan.rows, saved_columns(net));
    return ct_check_optional(op, "g_y", x, g.y, y) &&
           ct_check_optional(op, "g_h_last", x, g.h_last, state) &&
           ct_check_optional(op, "g_c_last", x, g.c_last, state) &&
           ct_check_shape(op, "y", x, result->y, y) &&
           ct_check_shape(op, "saved", x, result->saved, saved);
}

/* Allocates and fills the work of the backward pass. */
static bool start_back(const ct_recurrent *net, const ct_recurrent_result *result,
                       ct_recurrent_output_grad g, ct_recurrent_back *work) {
    const ct_sequence *plan = &net->plan;
    const ct_tensor *x = net->in.x;
    int64_t width = net->hidden, gates = CT_GATE_GRADIENTS * width;
    if (!check_gradients(net, result, g)) return false;
    work->saved = result->saved;
    work->states = plan->apart ? block(net, result->saved, net->cell->saved)
                               : ct_tensor_reshape(result->y, CT_SHAPE(plan->rows, width));
    if (!work->states ||
        !ct_sequence_gradients(plan, x, g.y, g.h_last, width, &work->g, &work->dh)) {
        return false;
    }
    if (net->cell->has_c &&
        !ct_sequence_gradients(plan, x, NULL, g.c_last, width, &work->g_cells, &work->dc)) {
        return false;
    }
    work->d = ct_empty(ct_matmul_dtype(x), x->device, CT_SHAPE(plan->rows, gates));
    int64_t sums = x->device == CT_CPU ? (plan->batch + CT_GATE_ROWS - 1) / CT_GATE_ROWS : 1;
    work->d_bias = ct_zeros(CT_F64, x->device, CT_SHAPE(sums, gates));
    return work->d && work->d_bias;
}

/* dh and dc: gradients of the states after step s become those of the states before. */
static bool step_back(const ct_recurrent *net, ct_recurrent_back *work, int64_t s) {
    const ct_sequence *plan = &net->plan;
    int64_t width = net->hidden, n = plan->count[s];
    ct_recurrent_step at;
    if (!start_step(net, work->states, work->saved, s, &at)) return false;
    at.g = work->g ? ct_sequence_step(plan, work->g, s, n, 0, width) : NULL;
    at.d = ct_sequence_step(plan, work->d, s, n, 0, CT_GATE_GRADIENTS * width);
    at.dh = ct_tensor_slice(work->dh, 0, 0, n, 1);
    at.dc = work->dc ? ct_tensor_slice(work->dc, 0, 0, n, 1) : NULL;
    if ((work->g && !at.g) || !at.d || !at.dh || (work->dc && !at.dc)) return false;
    if (work->g_cells &&
        !ct_tensor_add_to(at.dc, 1, ct_sequence_step(plan, work->g_cells, s, n, 0, width))) {
        return false;
    }
    return net->cell->backward(net, work, &at);
}

static bool steps_back(const ct_recurrent *net, ct_recurrent_back *work) {
    for (int64_t s = net->plan.steps - 1; s >= 0; s--) {
        if (!step_back(net, work, s)) return false;
    }
    return true;
}

typedef struct {
    const ct_recurrent *net;
    int parts;
    const ct_recurrent_back *whole;
} backward_work;

static bool backward_part(void *context, int i) {
    const backward_work *work = context;
    network_part part;
    if (!part_of(work->net, i, work->parts, &part)) return false;
    ct_recurrent_back own = *work->whole;
    own.dh = rows_of(own.dh, part.begin, part.end);
    own.dc = rows_of(own.dc, part.begin, part.end);
    own.d_bias = rows_of(own.d_bias, part.begin / CT_GATE_ROWS,
                         (part.end + CT_GATE_ROWS - 1) / CT_GATE_ROWS);
    return ct_ok() && steps_back(&part.net, &own);
}

/* All steps back, and d_bias (4H) of all sequences. */
static bool run_back(const ct_recurrent *net, ct_recurrent_back *work) {
    backward_work parts = {net, part_count(net), work};
    bool done =
        parts.parts == 1 ? steps_back(net, work) : ct_team(parts.parts, backward_part, &parts);
    if (!done) return false;
    work->d_bias = ct_tensor_sum_to(work->d_bias, CT_SHAPE(work->d_bias->shape.dim[1]));
    return work->d_bias != NULL;
}

ct_recurrent_grad ct_recurrent_backward(const ct_cell *cell, ct_recurrent_inputs inputs,
                                        const ct_recurrent_result *result,
                                        ct_recurrent_output_grad g, bool need_x) {
    ct_recurrent net = {.cell = cell, .in = inputs};
    ct_recurrent_grad none = {0}, grad = {0};
    CT_SCOPE {
        ct_recurrent_back work = {0};
        if (!check_inputs(&net) || !start_back(&net, result, g, &work)) return none;
        const ct_sequence *plan = &net.plan;
        if (!run_back(&net, &work)) return none;
        ct_tensor *x = ct_sequence_pack(plan, ct_matmul_operand(net.in.x)), *dx = NULL;
        ct_tensor *previous = ct_sequence_previous(plan, work.states, net.in.h0);
        if (!x || !previous ||
            !net.cell->weights(&net, &work, x, previous, need_x ? &dx : NULL, &grad)) {
            return none;
        }
        if (need_x) grad.x = ct_sequence_unpack(plan, dx);
        if (net.in.h0) grad.h0 = ct_sequence_unsort(plan, work.dh);
        if (net.in.c0) grad.c0 = ct_sequence_unsort(plan, work.dc);
        bool whole = (grad.x || !need_x) && (grad.h0 || !net.in.h0) && (grad.c0 || !net.in.c0);
        if (!whole) return none;
        ct_escape_all((ct_tensor **const[]){&grad.x, &grad.h0, &grad.c0, &grad.w_ih, &grad.w_hh,
                                            &grad.b_ih, &grad.b_hh},
                      7);
        return grad;
    }
    return none;
}
