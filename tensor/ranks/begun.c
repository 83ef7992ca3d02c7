/* SPDX-License-Identifier: Apache-2.0 */
/* A sum has two halves, like those of collectives.c: an exchange, after which a rank adds up its
 * own part, and a gathering of all parts. All ranks begin the gatherings in the order of the sums,
 * whichever exchange ended first. */
#include "tensor/ranks/begun.h"

#include <stdlib.h>

#include "tensor/core/check.h"
#include "tensor/core/error.h"
#include "tensor/core/scope.h"
#include "tensor/core/tensor.h"
#include "tensor/core/view.h"
#include "tensor/ops/ops.h"
#include "tensor/ranks/ranks.h"
#include "tensor/ranks/transport.h"

static const char op[] = "sum over ranks";

struct ct_begun_sum {
    ct_tensor *x;      /* these three kept */
    ct_tensor *sent;   /* x, or its copy in the wire's dtype; receives the sums */
    ct_tensor *theirs; /* each rank's share of this rank's part; NULL after they are added up */
    enum { EXCHANGING, GATHERING, ENDED } stage;
    int64_t begun;
    ct_begun_sum *next;
};

static ct_begun_sum *first; /* the oldest that is not ended */

bool ct_sums_are_begun(void) { return first != NULL; }

static void append(ct_begun_sum *sum) {
    ct_begun_sum **end = &first;
    while (*end) end = &(*end)->next;
    *end = sum;
}

static void drop(ct_begun_sum *sum) {
    for (ct_begun_sum **at = &first; *at; at = &(*at)->next) {
        if (*at != sum) continue;
        *at = sum->next;
        break;
    }
    ct_release(sum->x);
    ct_release(sum->sent);
    ct_release(sum->theirs);
    free(sum);
}

static int64_t bytes_of_part(const ct_begun_sum *sum) {
    return ct_count(sum->sent) / ct_ranks() * (int64_t)ct_dtype_size(sum->sent->dtype);
}

/* ---- the two halves ---------------------------------------------------------------------- */

/* Adds up this rank's part, into its place in `sent`. */
static bool add_own_part(const ct_begun_sum *sum) {
    ct_dtype wire = sum->sent->dtype;
    int64_t part = ct_count(sum->sent) / ct_ranks(), from = ct_rank() * part;
    ct_tensor *own = ct_tensor_slice(sum->sent, 0, from, from + part, 1);
    if (!own) return false;
    if (wire != CT_BF16) {
        ct_add_up(wire, ct_data(sum->theirs), part, ct_data(own));
        return true;
    }
    const ct_tensor *wide = ct_tensor_cast(sum->theirs, CT_F32);
    ct_tensor *added = wide ? ct_empty(CT_F32, CT_CPU, CT_SHAPE(part)) : NULL;
    if (!added) return false;
    ct_add_up(CT_F32, ct_data(wide), part, ct_data(added));
    return ct_tensor_copy_to(own, added);
}

static bool begin_gathering(ct_begun_sum *sum) {
    bool done = false;
    CT_SCOPE { done = add_own_part(sum); }
    ct_release(sum->theirs);
    sum->theirs = NULL;
    sum->stage = GATHERING;
    const char *error = done ? ct_transport()->gather_begin(NULL, ct_data(sum->sent),
                                                            (int)bytes_of_part(sum), &sum->begun)
                             : NULL;
    return done && ct_transport_went_well(op, error);
}

/* Does what can be done now, or, to wait, the whole stage; false and an error if that fails. */
static bool advance(ct_begun_sum *sum, bool wait) {
    bool ended = false;
    if (!ct_transport_went_well(op, ct_transport()->ended(&sum->begun, wait, &ended))) return false;
    if (!ended) return true;
    if (sum->stage == EXCHANGING) return begin_gathering(sum);
    sum->stage = ENDED;
    return sum->sent == sum->x || ct_tensor_copy_to(sum->x, sum->sent);
}

/* ---- all that are begun ------------------------------------------------------------------ */

bool ct_sums_go_on(void) {
    bool in_turn = true; /* no older one still exchanges */
    for (ct_begun_sum *sum = first; sum; sum = sum->next) {
        if (sum->stage == EXCHANGING && in_turn && !advance(sum, false)) return false;
        in_turn = in_turn && sum->stage != EXCHANGING;
        if (sum->stage == GATHERING && !advance(sum, false)) return false;
    }
    return true;
}

bool ct_sum_end(ct_begun_sum *sum) {
    if (!sum) return false;
    bool well = ct_ok();
    for (ct_begun_sum *older = first; well; older = older->next) {
        while (well && older->stage == EXCHANGING) well = advance(older, true);
        if (older == sum) break;
    }
    while (well && sum->stage == GATHERING) well = advance(sum, true);
    if (well) drop(sum); /* else MPI may still write to its memory */
    return well;
}

/* ---- beginning --------------------------------------------------------------------------- */

static bool can_be_begun(const ct_tensor *x, ct_dtype wire) {
    if (!ct_check_input(op, x)) return false;
    if (x->device != CT_CPU || !ct_is_contiguous(x) || ct_ndim(x) != 1 ||
        (x->dtype != CT_F32 && x->dtype != CT_F64) || ct_count(x) % ct_ranks()) {
        return ct_fail_bool(
            "%s: expected f32 or f64 on the CPU, contiguous, a multiple of %d ranks, got %s", op,
            ct_ranks(), ct_tensor_text(x));
    }
    return wire == CT_F32 || wire == CT_F64 || wire == CT_BF16 ||
           ct_fail_bool("%s: numbers travel as f64, f32 or bf16, not as %s", op,
                        ct_dtype_name(wire));
}

/* With one rank the sum is x itself. */
static bool begin_alone(ct_begun_sum *sum, ct_tensor *x) {
    sum->x = ct_keep(x);
    sum->sent = ct_keep(x);
    sum->stage = ENDED;
    append(sum);
    return true;
}

static bool begin(ct_begun_sum *sum, ct_tensor *x, ct_dtype wire) {
    const ct_mpi *mpi = ct_transport();
    if (!mpi) return begin_alone(sum, x);
    bool shorter = ct_dtype_size(wire) < ct_dtype_size(x->dtype);
    ct_tensor *sent = shorter ? ct_tensor_cast(x, wire) : x;
    ct_tensor *theirs = sent ? ct_empty(sent->dtype, CT_CPU, x->shape) : NULL;
    if (!theirs) return false;
    sum->x = ct_keep(x);
    sum->sent = ct_keep(sent);
    sum->theirs = ct_keep(theirs);
    append(sum);
    ct_mark_written(sent);
    const char *error =
        mpi->exchange_begin(ct_data(sent), ct_data(theirs), (int)bytes_of_part(sum), &sum->begun);
    return ct_transport_went_well(op, error);
}

ct_begun_sum *ct_sum_begin(ct_tensor *x, ct_dtype wire) {
    if (!can_be_begun(x, wire)) return NULL;
    ct_begun_sum *sum = calloc(1, sizeof *sum);
    if (!sum) return ct_fail("%s: out of memory", op);
    bool done = false;
    CT_SCOPE { done = begin(sum, x, wire); }
    if (!sum->x) free(sum);
    return done ? sum : NULL;
}
