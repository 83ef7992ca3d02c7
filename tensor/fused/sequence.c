/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/fused/sequence.h"

#include <string.h>

#include "tensor/core/shape.h"

static int64_t *host_array(int64_t count, ct_tensor **tensor) {
    *tensor = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(count));
    return *tensor ? ct_data(*tensor) : NULL;
}

static ct_tensor *on_device(ct_tensor *x, ct_device device) {
    return x && x->device != device ? ct_tensor_to_device(x, device) : x;
}

static bool check_lengths(const char *op, const int64_t *length, int64_t batch, int64_t steps) {
    for (int64_t i = 0; i < batch; i++) {
        if (length[i] < 1 || length[i] > steps) {
            return ct_fail_bool("%s: length %lld of sequence %lld, expected 1 to %lld", op,
                                (long long)length[i], (long long)i, (long long)steps);
        }
    }
    return true;
}

/* Every sequence has all steps: the rows of x itself. */
static bool plan_full(ct_sequence *plan, bool reverse) {
    ct_tensor *tensor;
    int64_t *count = host_array(2 * plan->steps, &tensor);
    if (!count) return false;
    int64_t *first = count + plan->steps;
    for (int64_t s = 0; s < plan->steps; s++) {
        count[s] = plan->batch;
        first[s] = reverse ? plan->steps - 1 - s : s;
    }
    plan->count = count;
    plan->first = first;
    plan->distance = plan->steps;
    plan->rows = plan->batch * plan->steps;
    return true;
}

/* Stable counting sort by length, longest first; fills count and first. */
static void sort_lengths(const ct_sequence *plan, const int64_t *length, int64_t *count,
                         int64_t *first, int64_t *order, int64_t *inverse) {
    for (int64_t i = 0; i < plan->batch; i++) {
        for (int64_t s = 0; s < length[i]; s++) count[s]++;
    }
    for (int64_t s = 1; s < plan->steps; s++) first[s] = first[s - 1] + count[s - 1];
    /* sequences of length n come after all longer ones, of which there are count[n] */
    for (int64_t n = plan->steps; n >= 1; n--) {
        int64_t place = n < plan->steps ? count[n] : 0;
        if (place == count[n - 1]) continue;
        for (int64_t i = 0; i < plan->batch; i++) {
            if (length[i] != n) continue;
            order[place] = i;
            inverse[i] = place++;
        }
    }
}

/* For lengths on the host: the rows of each step and their sequences, on the host as well. *order
 * is the data of plan->order. */
static bool lay_out(ct_sequence *plan, const int64_t *length, const int64_t **order) {
    ct_tensor *tensor, *order_host, *inverse_host, *last_host;
    int64_t *count = host_array(2 * plan->steps, &tensor);
    int64_t *sorted = host_array(plan->batch, &order_host);
    int64_t *inverse = host_array(plan->batch, &inverse_host);
    int64_t *last = host_array(plan->batch, &last_host);
    if (!count || !sorted || !inverse || !last) return false;
    int64_t *first = count + plan->steps;
    sort_lengths(plan, length, count, first, sorted, inverse);
    plan->rows = first[plan->steps - 1] + count[plan->steps - 1];
    for (int64_t i = 0; i < plan->batch; i++) last[i] = first[length[i] - 1] + inverse[i];
    plan->packed = true;
    plan->count = count;
    plan->first = first;
    plan->distance = 1;
    plan->order = order_host;
    plan->inverse = inverse_host;
    plan->last = last_host;
    *order = sorted;
    return true;
}

/* The position of each row among the rows of the padded (B,x_steps,..), on `device`. */
static ct_tensor *positions(const ct_sequence *plan, const int64_t *length, const int64_t *order,
                            int64_t x_steps, bool reverse, ct_device device) {
    ct_tensor *host;
    int64_t *at = host_array(plan->rows, &host);
    if (!at) return NULL;
    for (int64_t s = 0; s < plan->steps; s++) {
        for (int64_t i = 0; i < plan->count[s]; i++) {
            int64_t n = length[order[i]];
            at[plan->first[s] + i] = order[i] * x_steps + (reverse ? n - 1 - s : s);
        }
    }
    return on_device(host, device);
}

static bool plan_packed(ct_sequence *plan, const int64_t *length, int64_t x_steps, bool reverse,
                        ct_device device) {
    const int64_t *order;
    if (!lay_out(plan, length, &order)) return false;
    plan->apart = true;
    plan->source = positions(plan, length, order, x_steps, reverse, device);
    plan->order = on_device(plan->order, device);
    plan->inverse = on_device(plan->inverse, device);
    plan->last = on_device(plan->last, device);
    return plan->source && plan->order && plan->inverse && plan->last;
}

/* From lengths on a device: nothing is read by the host, and shapes depend on x alone. Computed in
 * f64, which counts rows exactly. */
static bool plan_padded(ct_sequence *plan, const ct_tensor *lengths, bool reverse) {
    int64_t batch = plan->batch, steps = plan->steps, rows = batch * steps;
    ct_device device = lengths->device;
    if (!plan_full(plan, false)) return false;
    plan->padded = plan->apart = true;
    ct_tensor *length = ct_tensor_reshape(ct_tensor_cast(lengths, CT_F64), CT_SHAPE(batch, 1));
    ct_tensor *step = ct_arange(CT_F64, device, steps);
    ct_tensor *start = ct_tensor_scale(ct_arange(CT_F64, device, batch), (double)steps);
    start = ct_tensor_reshape(start, CT_SHAPE(batch, 1));
    ct_tensor *valid = ct_tensor_compare(CT_COMPARE_less, step, length);
    ct_tensor *end = ct_tensor_unary(CT_UNARY_add_scalar, length, -1, 0);
    ct_tensor *last = ct_tensor_cast(ct_tensor_add(start, end), CT_I64);
    plan->valid = ct_tensor_reshape(valid, CT_SHAPE(rows, 1));
    plan->last = ct_tensor_reshape(last, CT_SHAPE(batch));
    if (!reverse) return plan->valid && plan->last;
    /* each sequence's own steps in reverse, the others where they are */
    ct_tensor *there = ct_tensor_where(valid, ct_tensor_sub(end, step), step);
    ct_tensor *source = ct_tensor_cast(ct_tensor_add(start, there), CT_I64);
    plan->source = ct_tensor_reshape(source, CT_SHAPE(rows));
    return plan->valid && plan->last && plan->source;
}

/* A work matrix with zeros beyond the lengths, whatever was there. */
static ct_tensor *cleared(const ct_sequence *plan, const ct_tensor *matrix) {
    if (!matrix) return NULL;
    return ct_tensor_where(plan->valid, matrix, ct_scalar(matrix->dtype, matrix->device, 0));
}

/* The rows of x in the order of the work matrices; applied again, back, as it is its own inverse.
 */
static ct_tensor *padded_rows(const ct_sequence *plan, const ct_tensor *matrix) {
    ct_tensor *rows = cleared(plan, matrix);
    return rows && plan->source ? ct_tensor_index_select(rows, 0, plan->source) : rows;
}

static bool plan_padded_input(const char *op, ct_sequence *plan, const ct_tensor *x,
                              const ct_tensor *lengths, bool reverse) {
    memset(plan, 0, sizeof *plan);
    int64_t batch = x->shape.dim[0], steps = x->shape.dim[1];
    plan->batch = batch;
    plan->steps = plan->padded_steps = steps;
    if (steps < 1) return ct_fail_bool("%s: x is %s, which has no steps", op, ct_tensor_text(x));
    if (!lengths) return plan_full(plan, reverse);
    bool padded = lengths->device != CT_CPU;
    bool ok = ct_check_index(op, "lengths", lengths, batch, padded ? x->device : CT_CPU);
    if (ok && padded && batch > 0) return plan_padded(plan, lengths, reverse);
    const ct_tensor *dense = ok ? ct_dense(lengths, &ok) : NULL;
    if (!dense || batch == 0) return ok && plan_full(plan, reverse);
    const int64_t *length = ct_data(dense);
    if (!length || !check_lengths(op, length, batch, steps)) return false;
    int64_t shortest = length[0], longest = length[0];
    for (int64_t i = 1; i < batch; i++) {
        if (length[i] < shortest) shortest = length[i];
        if (length[i] > longest) longest = length[i];
    }
    if (shortest == steps) return plan_full(plan, reverse);
    plan->steps = longest;
    return plan_packed(plan, length, steps, reverse, x->device);
}

/* The plan of packed rows, from lengths on the host, each at most `most`. */
static bool plan_lengths(const char *op, ct_sequence *plan, const ct_tensor *lengths, int64_t most,
                         const int64_t **length, const int64_t **order) {
    memset(plan, 0, sizeof *plan);
    plan->batch = ct_count(lengths);
    if (!ct_check_index(op, "lengths", lengths, plan->batch, CT_CPU)) return false;
    bool ok = true;
    const ct_tensor *dense = ct_dense(lengths, &ok);
    if (!ok) return false;
    if (plan->batch == 0) return ct_fail_bool("%s: there are no sequences", op);
    *length = ct_data(dense);
    if (!check_lengths(op, *length, plan->batch, most)) return false;
    for (int64_t i = 0; i < plan->batch; i++)
        if ((*length)[i] > plan->steps) plan->steps = (*length)[i];
    return lay_out(plan, *length, order);
}

bool ct_sequence_plan_rows(const char *op, ct_sequence *plan, const ct_tensor *x,
                           const ct_tensor *lengths) {
    const int64_t *length, *order;
    int64_t rows = x->shape.dim[0];
    if (!plan_lengths(op, plan, lengths, rows, &length, &order)) return false;
    if (plan->rows == rows) return true;
    return ct_fail_bool("%s: x is %s, but lengths are of %lld steps together", op,
                        ct_tensor_text(x), (long long)plan->rows);
}

/* Maps each packed row to the row that is as far from the other end of its sequence. */
static ct_tensor *turned_rows(const ct_sequence *plan, const ct_tensor *lengths, ct_device device) {
    bool ok = true;
    const ct_tensor *dense = ct_dense(lengths, &ok);
    ct_tensor *host;
    int64_t *at = host_array(plan->rows, &host);
    if (!ok || !at) return NULL;
    const int64_t *length = ct_data(dense), *order = ct_data(plan->order);
    for (int64_t s = 0; s < plan->steps; s++)
        for (int64_t i = 0; i < plan->count[s]; i++)
            at[plan->first[s] + i] = plan->first[length[order[i]] - 1 - s] + i;
    return on_device(host, device);
}

static bool plan_packed_input(const char *op, ct_sequence *plan, const ct_tensor *x,
                              const ct_tensor *lengths, bool reverse) {
    if (!ct_sequence_plan_rows(op, plan, x, lengths)) return false;
    plan->rows_given = true;
    plan->apart = reverse;
    if (reverse) plan->source = turned_rows(plan, lengths, x->device);
    plan->order = on_device(plan->order, x->device);
    plan->inverse = on_device(plan->inverse, x->device);
    plan->last = on_device(plan->last, x->device);
    return (plan->source || !reverse) && plan->order && plan->inverse && plan->last;
}

bool ct_sequence_plan(const char *op, ct_sequence *plan, const ct_tensor *x,
                      const ct_tensor *lengths, bool reverse) {
    return (x->shape.ndim == 2 ? plan_packed_input : plan_padded_input)(op, plan, x, lengths,
                                                                        reverse);
}

ct_tensor *ct_packed_positions(const ct_tensor *lengths, int64_t steps, ct_device device) {
    CT_SCOPE {
        ct_sequence plan;
        const int64_t *length, *order;
        const char *op = "packed_positions";
        if (!plan_lengths(op, &plan, lengths, steps, &length, &order)) break;
        if (!ct_check_sizes(op, CT_SHAPE(plan.batch, steps), CT_I64)) break;
        return ct_escape(positions(&plan, length, order, steps, false, device));
    }
    return NULL;
}

/* Each packed row's sequence, or its step. */
static ct_tensor *packed_rows(const char *op, const ct_tensor *lengths, ct_device device,
                              bool steps) {
    static const int64_t longest = INT64_MAX / 2; /* what is twice as long still has a size */
    CT_SCOPE {
        ct_sequence plan;
        const int64_t *length, *order;
        if (!plan_lengths(op, &plan, lengths, longest, &length, &order)) break;
        ct_tensor *host;
        int64_t *row = host_array(plan.rows, &host);
        for (int64_t s = 0; row && s < plan.steps; s++)
            for (int64_t i = 0; i < plan.count[s]; i++)
                row[plan.first[s] + i] = steps ? s : order[i];
        return ct_escape(on_device(host, device));
    }
    return NULL;
}

ct_tensor *ct_packed_sequences(const ct_tensor *lengths, ct_device device) {
    return packed_rows("packed_sequences", lengths, device, false);
}

ct_tensor *ct_packed_steps(const ct_tensor *lengths, ct_device device) {
    return packed_rows("packed_steps", lengths, device, true);
}

/* (B,count) u8: how steps first, first + 1, ... compare with each length. */
static ct_tensor *compared_steps(const char *op, ct_compare_kind kind, const ct_tensor *lengths,
                                 int64_t first, int64_t count, ct_device device) {
    if (!ct_check_input(op, lengths) ||
        !ct_check_index(op, "lengths", lengths, ct_count(lengths), lengths->device)) {
        return NULL;
    }
    if (first < 0 || count < 0) {
        return ct_fail("%s: %lld steps from %lld, expected 0 or more", op, (long long)count,
                       (long long)first);
    }
    int64_t end = ct_size_sum(first, count);
    CT_SCOPE {
        ct_tensor *step = ct_arange(CT_I64, lengths->device, end);
        step = ct_tensor_slice(step, 0, first, end, 1);
        ct_tensor *length = ct_tensor_unsqueeze(lengths, 1);
        return ct_escape(on_device(ct_tensor_compare(kind, step, length), device));
    }
    return NULL;
}

ct_tensor *ct_steps_within(const ct_tensor *lengths, int64_t first, int64_t count,
                           ct_device device) {
    return compared_steps("steps_within", CT_COMPARE_less, lengths, first, count, device);
}

ct_tensor *ct_steps_beyond(const ct_tensor *lengths, int64_t first, int64_t count,
                           ct_device device) {
    return compared_steps("steps_beyond", CT_COMPARE_greater_equal, lengths, first, count, device);
}

bool ct_sequence_part(const ct_sequence *plan, int64_t begin, int64_t end, ct_sequence *part) {
    ct_tensor *tensor;
    int64_t *count = host_array(2 * plan->steps, &tensor), *first = count + plan->steps;
    if (!count) return false;
    *part = (ct_sequence){.batch = end - begin, .distance = plan->distance};
    for (int64_t s = 0; s < plan->steps && plan->count[s] > begin; s++) {
        count[s] = (plan->count[s] < end ? plan->count[s] : end) - begin;
        first[s] = plan->first[s] + begin * (plan->packed ? 1 : plan->steps);
        part->steps++;
    }
    part->count = count;
    part->first = first;
    return true;
}

ct_tensor *ct_sequence_step(const ct_sequence *plan, const ct_tensor *matrix, int64_t step,
                            int64_t count, int64_t start, int64_t stop) {
    int64_t row = matrix->stride[0];
    int64_t stride[2] = {plan->distance * row, matrix->stride[1]};
    int64_t offset = matrix->offset + plan->first[step] * row + start * matrix->stride[1];
    return ct_view(matrix, CT_SHAPE(count, stop - start), stride, offset);
}

/* Rows that were packed by the caller, in the order of the work matrices, and back. */
static ct_tensor *given_rows(const ct_sequence *plan, const ct_tensor *rows) {
    return plan->source ? ct_tensor_index_select(rows, 0, plan->source)
                        : ct_tensor_contiguous(rows);
}

ct_tensor *ct_sequence_pack(const ct_sequence *plan, const ct_tensor *x) {
    if (!x) return NULL;
    if (plan->rows_given) return given_rows(plan, x);
    int64_t rows = x->shape.dim[0] * x->shape.dim[1];
    ct_tensor *matrix = ct_tensor_reshape(x, CT_SHAPE(rows, x->shape.dim[2]));
    if (plan->packed) return matrix ? ct_tensor_index_select(matrix, 0, plan->source) : NULL;
    if (plan->padded) return padded_rows(plan, matrix);
    return matrix ? ct_tensor_contiguous(matrix) : NULL;
}

ct_shape ct_sequence_shape(const ct_sequence *plan, int64_t width) {
    return plan->rows_given ? CT_SHAPE(plan->rows, width)
                            : CT_SHAPE(plan->batch, plan->padded_steps, width);
}

ct_tensor *ct_sequence_unpack(const ct_sequence *plan, const ct_tensor *matrix) {
    int64_t width = matrix->shape.dim[1];
    ct_shape shape = ct_sequence_shape(plan, width);
    if (plan->rows_given) return given_rows(plan, matrix);
    if (plan->padded) return ct_tensor_reshape(padded_rows(plan, matrix), shape);
    if (!plan->packed) return ct_tensor_reshape(matrix, shape);
    int64_t rows = plan->batch * plan->padded_steps;
    ct_tensor *x = ct_zeros(matrix->dtype, matrix->device, CT_SHAPE(rows, width));
    if (!x || !ct_tensor_index_add_to(x, 0, plan->source, matrix)) return NULL;
    return ct_tensor_reshape(x, shape);
}

ct_tensor *ct_sequence_sort(const ct_sequence *plan, const ct_tensor *state) {
    if (!state) return NULL;
    return plan->packed ? ct_tensor_index_select(state, 0, plan->order) : ct_tensor_copy(state);
}

ct_tensor *ct_sequence_unsort(const ct_sequence *plan, const ct_tensor *state) {
    if (!state) return NULL;
    return plan->packed ? ct_tensor_index_select(state, 0, plan->inverse) : ct_tensor_copy(state);
}

ct_tensor *ct_sequence_last(const ct_sequence *plan, const ct_tensor *states) {
    if (!states) return NULL;
    if (plan->last) return ct_tensor_index_select(states, 0, plan->last);
    return ct_tensor_copy(
        ct_sequence_step(plan, states, plan->steps - 1, plan->batch, 0, states->shape.dim[1]));
}

bool ct_sequence_gradients(const ct_sequence *plan, const ct_tensor *x, const ct_tensor *g_y,
                           const ct_tensor *g_last, int64_t width, ct_tensor **g, ct_tensor **dh) {
    *g = g_y ? ct_sequence_pack(plan, g_y) : NULL;
    if (g_y && !*g) return false;
    if (g_last && !plan->padded) {
        *dh = ct_sequence_sort(plan, g_last);
        return *dh != NULL;
    }
    *dh = ct_zeros(x->dtype, x->device, CT_SHAPE(plan->batch, width));
    if (!g_last) return *dh != NULL;
    /* padded: the last states are those of earlier steps than the last */
    if (!*g) *g = ct_zeros(x->dtype, x->device, CT_SHAPE(plan->rows, width));
    return *dh && *g && ct_tensor_index_add_to(*g, 0, plan->last, g_last);
}

bool ct_sequence_rounded(const ct_sequence *plan, const ct_tensor *states, const ct_tensor *initial,
                         ct_tensor **rounded) {
    ct_dtype dtype = ct_matmul_dtype(states);
    *rounded = NULL;
    if (dtype == states->dtype) return true;
    *rounded = ct_empty(dtype, states->device, CT_SHAPE(plan->batch, states->shape.dim[1]));
    return *rounded && (!initial || ct_tensor_copy_to(*rounded, initial));
}

bool ct_sequence_before(const ct_sequence *plan, const ct_tensor *states, const ct_tensor *initial,
                        int64_t step, ct_tensor **before) {
    int64_t n = plan->count[step];
    *before = NULL;
    if (step == 0 && !initial) return true;
    *before = step > 0 ? ct_sequence_step(plan, states, step - 1, n, 0, states->shape.dim[1])
                       : ct_tensor_slice(initial, 0, 0, n, 1);
    return *before != NULL;
}

static bool copy_or_clear(ct_tensor *to, const ct_tensor *from) {
    return to && (from ? ct_tensor_copy_to(to, from) : ct_tensor_fill(to, 0));
}

/* Each sequence's rows follow on each other: all but one step at once. */
static bool copy_whole(const ct_sequence *plan, const ct_tensor *states, const ct_tensor *initial,
                       const ct_tensor *previous) {
    int64_t steps = plan->steps, width = states->shape.dim[1];
    ct_shape shape = CT_SHAPE(plan->batch, steps, width);
    ct_tensor *from = ct_tensor_reshape(states, shape), *to = ct_tensor_reshape(previous, shape);
    int64_t start = plan->first[0], before = start == 0 ? 0 : 1, after = 1 - before;
    ct_tensor *first = ct_tensor_slice(to, 1, start, start + 1, 1);
    if (initial) initial = ct_tensor_unsqueeze(initial, 1);
    return copy_or_clear(first, initial) &&
           ct_tensor_copy_to(ct_tensor_slice(to, 1, after, steps - before, 1),
                             ct_tensor_slice(from, 1, before, steps - after, 1));
}

static bool copy_steps(const ct_sequence *plan, const ct_tensor *states, const ct_tensor *initial,
                       const ct_tensor *previous) {
    for (int64_t s = 0; s < plan->steps; s++) {
        ct_tensor *before;
        if (!ct_sequence_before(plan, states, initial, s, &before)) return false;
        ct_tensor *to =
            ct_sequence_step(plan, previous, s, plan->count[s], 0, states->shape.dim[1]);
        if (!copy_or_clear(to, before)) return false;
    }
    return true;
}

ct_tensor *ct_sequence_previous(const ct_sequence *plan, const ct_tensor *states,
                                const ct_tensor *initial) {
    ct_tensor *previous = ct_empty(ct_matmul_dtype(states), states->device, states->shape);
    if (!previous) return NULL;
    bool copied = (plan->packed ? copy_steps : copy_whole)(plan, states, initial, previous);
    return copied ? previous : NULL;
}
