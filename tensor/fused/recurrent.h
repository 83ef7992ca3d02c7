/* SPDX-License-Identifier: Apache-2.0 */
/* What the GRU and the LSTM share: the products, and the walk through the steps and back. A cell
 * says how its gates are computed. Internal to tensor/.
 *
 * `saved` has a row for each valid (sequence, step): what the cell's gradient needs, and, where the
 * sequences are packed or padded, the state h in H columns more (y is then another matrix).
 */
#ifndef CT_FUSED_RECURRENT_H
#define CT_FUSED_RECURRENT_H

#include "tensor/fused/sequence.h"

enum { CT_GATE_GRADIENTS = 4 }; /* columns of d, in H, of either cell */

typedef struct ct_cell ct_cell;

/* A recurrent network on its inputs. */
typedef struct {
    const ct_cell *cell;
    ct_recurrent_inputs in; /* checked: weights as products take them, states sorted */
    int64_t hidden;         /* H */
    ct_sequence plan;
} ct_recurrent;

/* Work of the backward pass. */
typedef struct {
    ct_tensor *g, *g_cells;  /* (rows,H) gradients of h and c at the steps, or NULL */
    const ct_tensor *saved;  /* of the forward pass */
    const ct_tensor *states; /* (rows,H) h of every step */
    ct_tensor *dh, *dc;      /* (B,H) sorted: after the last steps, then initial */
    ct_tensor *d, *d_bias;   /* (rows,4H) as products take it, (R,4H) f64: of the gates */
} ct_recurrent_back;

/* The rows of one step, views of n rows: see the cell's kernels in tensor/device/kernels.def. */
typedef struct {
    ct_tensor *before, *c_before; /* the states it starts from; NULL for zeros */
    ct_tensor *saved;
    ct_tensor *h, *rounded, *hidden; /* forward */
    ct_tensor *g, *d, *dh, *dc;      /* backward */
} ct_recurrent_step;

struct ct_cell {
    const char *op, *gradient; /* names for messages */
    int gates;                 /* blocks of H rows in the weights */
    int saved;                 /* blocks of H columns that the gradient needs */
    bool has_c;                /* a state c beside h: the last of those blocks */
    bool (*forward)(const ct_recurrent *net, const ct_recurrent_step *at);
    /* Its gates' gradients, and, in dh, that of the state before. */
    bool (*backward)(const ct_recurrent *net, const ct_recurrent_back *work,
                     const ct_recurrent_step *at);
    /* Gradients of the weights, the biases and, if wanted, of the packed x: *dx, else NULL. */
    bool (*weights)(const ct_recurrent *net, const ct_recurrent_back *work, const ct_tensor *x,
                    const ct_tensor *previous, ct_tensor **dx, ct_recurrent_grad *grad);
};

/* The public functions of a cell; what they take and return is in tensor/fused/fused.h. */
ct_recurrent_result ct_recurrent_forward(const ct_cell *cell, ct_recurrent_inputs inputs);
ct_recurrent_grad ct_recurrent_backward(const ct_cell *cell, ct_recurrent_inputs inputs,
                                        const ct_recurrent_result *result,
                                        ct_recurrent_output_grad g, bool need_x);

#endif
