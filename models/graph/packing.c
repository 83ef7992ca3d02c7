/* SPDX-License-Identifier: Apache-2.0 */
/* Captions without their padding: rows of the words that there are, and back. */
#include "models/graph/graph.h"

/* For each of `count` positions its row, and `rows` where there is none. */
static ct_tensor *rows_at(const ct_tensor *positions, int64_t count) {
    int64_t rows = ct_count(positions);
    ct_tensor *inverse = ct_full(CT_I64, CT_CPU, CT_SHAPE(count), (double)rows);
    int64_t *row = inverse ? ct_data(inverse) : NULL;
    const int64_t *at = ct_data(positions);
    for (int64_t i = 0; row && i < rows; i++) row[at[i]] = i;
    return inverse;
}

bool ct_packing_make(ct_packing *packing, const ct_tensor *lengths, int64_t steps,
                     ct_device device) {
    ct_tensor *positions = ct_packed_positions(lengths, steps, CT_CPU);
    ct_tensor *rows = positions ? rows_at(positions, ct_count(lengths) * steps) : NULL;
    if (!rows) return false;
    *packing = (ct_packing){.batch = ct_count(lengths),
                            .steps = steps,
                            .positions = ct_tensor_to_device(positions, device),
                            .rows = ct_tensor_to_device(rows, device)};
    return packing->positions && packing->rows;
}

/* x, of which the first `axes` axes are one. */
static ct_tensor *with_first(ct_tensor *x, int axes, ct_shape first) {
    for (int i = axes; i < ct_ndim(x); i++) first.dim[first.ndim++] = ct_dim(x, i);
    return ct_reshape(x, first);
}

ct_tensor *ct_pack_steps(const ct_packing *packing, ct_tensor *x) {
    if (!x) return NULL;
    ct_tensor *rows = with_first(x, 2, CT_SHAPE(packing->batch * packing->steps));
    return ct_index_select(rows, 0, packing->positions);
}

ct_tensor *ct_unpack_steps(const ct_packing *packing, ct_tensor *x) {
    if (!x) return NULL;
    ct_tensor *steps = ct_index_select(ct_pad(x, 0, 0, 1, 0), 0, packing->rows);
    return steps ? with_first(steps, 1, CT_SHAPE(packing->batch, packing->steps)) : NULL;
}
