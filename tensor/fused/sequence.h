/* SPDX-License-Identifier: Apache-2.0 */
/* How a batch of sequences of any lengths is laid out for a recurrent network. Internal to tensor/.
 *
 * Work matrices have one row for each valid (sequence, step). With all sequences at full length
 * these are simply the B*T rows of x, and the rows of one step stand T rows apart. With uneven
 * lengths they are packed, step after step, the longest sequences first: the rows of a step are
 * contiguous, and those still running are always the first ones (as PyTorch's packed sequences).
 * Steps count in the direction of reading: reversed, step 0 is each sequence's last valid one.
 *
 * Packing needs the lengths on the host. Where they are on a device nothing may depend on them but
 * what is in memory there: all sequences run through all T steps, padded (from zeros, reversed each
 * within its own length), and what lies beyond a length is cleared in results and gradients.
 */
#ifndef CT_FUSED_SEQUENCE_H
#define CT_FUSED_SEQUENCE_H

#include "tensor/fused/check.h"

typedef struct {
    int64_t batch, steps, rows;
    bool packed, padded;
    bool rows_given;      /* x itself is packed */
    bool apart;           /* y is another matrix than the states, which are then saved, too */
    int64_t distance;     /* of the rows of one step */
    int64_t padded_steps; /* T of x (B,T,..) */
    const int64_t *count; /* sequences still running at a step */
    const int64_t *first; /* first row of a step */
    /* i64 on x's device: */
    ct_tensor *source;  /* (rows) position of a row among the B*T rows of x; where padded or given,
                         * NULL unless reversed, and its own inverse */
    ct_tensor *order;   /* where packed: (B) sequences, longest first */
    ct_tensor *inverse; /* where packed: (B) place of a sequence in that order */
    ct_tensor *last;    /* where packed or padded: (B) row of a sequence's last step */
    ct_tensor *valid;   /* where padded: (rows,1) u8, 1 within a length */
} ct_sequence;

/* Of x (B,T,..) with lengths (B) i64, or NULL: on the CPU packed, on x's device padded (and not
 * checked to be in 1..T). Of x (R,C), packed rows, with lengths on the CPU. What it points to lives
 * in the scope. */
bool ct_sequence_plan(const char *op, ct_sequence *plan, const ct_tensor *x,
                      const ct_tensor *lengths, bool reverse);

/* Of packed rows x (R,..), of sequences with lengths (B) i64 on the CPU, where nothing is asked
 * that is on x's device: each work matrix is in x's own order. */
bool ct_sequence_plan_rows(const char *op, ct_sequence *plan, const ct_tensor *x,
                           const ct_tensor *lengths);

/* Sequences begin to end - 1, in the order of the work matrices, as a plan of their own of the same
 * matrices. It has what the walk through the steps needs and no more. Where lengths are on the
 * host. */
bool ct_sequence_part(const ct_sequence *plan, int64_t begin, int64_t end, ct_sequence *part);

/* View of the first `count` rows of a step, columns start..stop, of a work matrix. */
ct_tensor *ct_sequence_step(const ct_sequence *plan, const ct_tensor *matrix, int64_t step,
                            int64_t count, int64_t start, int64_t stop);

/* x (B,T,C), or packed, or NULL, as a work matrix (rows,C), and back: zero where a sequence has
 * ended. */
ct_tensor *ct_sequence_pack(const ct_sequence *plan, const ct_tensor *x);
ct_tensor *ct_sequence_unpack(const ct_sequence *plan, const ct_tensor *matrix);
/* The shape of x with C = width. */
ct_shape ct_sequence_shape(const ct_sequence *plan, int64_t width);

/* States (B,H) in the order of the work matrices, and back. Always a copy. NULL gives NULL. */
ct_tensor *ct_sequence_sort(const ct_sequence *plan, const ct_tensor *state);
ct_tensor *ct_sequence_unsort(const ct_sequence *plan, const ct_tensor *state);

/* (B,H) each sequence's state after its last step, from the states of all steps (rows,H). */
ct_tensor *ct_sequence_last(const ct_sequence *plan, const ct_tensor *states);

/* Where the gradients of all states g_y (B,T,H), or packed, and of the last ones g_last (B,H), each
 * NULL for zero, enter: *g (rows,H) at the steps, or NULL for zero, and *dh (B,H), a copy, behind
 * the last step. Of x's dtype and device. */
bool ct_sequence_gradients(const ct_sequence *plan, const ct_tensor *x, const ct_tensor *g_y,
                           const ct_tensor *g_last, int64_t width, ct_tensor **g, ct_tensor **dh);

/* Room (B,H) for the states that a step starts from as products take them, at first `initial`
 * ((B,H) sorted, or NULL for zero states); NULL where products take the states themselves. False if
 * there is no memory. */
bool ct_sequence_rounded(const ct_sequence *plan, const ct_tensor *states, const ct_tensor *initial,
                         ct_tensor **rounded);

/* The states that the rows of a step start from: those of the step before, or of `initial` ((B,H)
 * sorted), or NULL where that is NULL too, for zero states. False if a view could not be made. */
bool ct_sequence_before(const ct_sequence *plan, const ct_tensor *states, const ct_tensor *initial,
                        int64_t step, ct_tensor **before);
/* The same of all rows (rows,H), a copy as products take it; NULL and an error if there is no
 * memory. */
ct_tensor *ct_sequence_previous(const ct_sequence *plan, const ct_tensor *states,
                                const ct_tensor *initial);

#endif
