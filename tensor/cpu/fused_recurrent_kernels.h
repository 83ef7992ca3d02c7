/* SPDX-License-Identifier: Apache-2.0 */
/* Gate loops of the GRU and the LSTM for one type: a template, included by
 * cpu/fused_recurrent.c after real_f32.h or real_f64.h. */

/* A matrix of dense rows. For an input that is not there: one row of zeros, again and again. */
typedef struct {
    real *data;
    int64_t distance;
} REAL_NAME(rows);

static REAL_NAME(rows) REAL_NAME(rows_of)(const ct_tensor *x, const real *zeros) {
    return x ? (REAL_NAME(rows)){ct_cpu_data(x), x->stride[0]}
             : (REAL_NAME(rows)){(real *)zeros, 0};
}

/* `sums`, of `columns` columns of each gate, to the row of d_bias that stands at the first. */
static void REAL_NAME(add_bias)(double *d_bias, real sums[4][COLUMN_BLOCK], int64_t width,
                                int64_t columns) {
    for (int gate = 0; gate < 4; gate++) {
        for (int64_t i = 0; i < columns; i++) d_bias[gate * width + i] += sums[gate][i];
    }
}

/* What products take of a row: f32 rounded to bf16. */
static void REAL_NAME(round_row)(ct_bf16 *to, const real *from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] = ct_bf16_of_f32((float)from[i]);
}

/* Row `row` of what is to have rounded copies; NULL: none. */
static void REAL_NAME(put_rounded)(const ct_tensor *rounded, int64_t row, const real *from,
                                   int64_t width) {
    if (!rounded) return;
    ct_bf16 *to = ct_cpu_data(rounded);
    REAL_NAME(round_row)(to + row * rounded->stride[0], from, width);
}

/* Where a row of a block of the gates' gradients is computed: in d, from column `column` on, or,
 * where d is bf16, in `block`, and then put there. */
typedef struct {
    real *data;
    int64_t distance; /* from gate to gate */
} REAL_NAME(gates);

static REAL_NAME(gates) REAL_NAME(gates_of)(const ct_tensor *d, int64_t row, int64_t column,
                                            real block[4][COLUMN_BLOCK]) {
    if (d->dtype == CT_BF16) return (REAL_NAME(gates)){block[0], COLUMN_BLOCK};
    return (REAL_NAME(gates)){(real *)ct_cpu_data(d) + row * d->stride[0] + column,
                              d->shape.dim[1] / 4};
}

static void REAL_NAME(put_gates)(const ct_tensor *d, int64_t row, int64_t column,
                                 real block[4][COLUMN_BLOCK], int64_t columns) {
    if (d->dtype != CT_BF16) return;
    ct_bf16 *to = (ct_bf16 *)ct_cpu_data(d) + row * d->stride[0] + column;
    for (int gate = 0; gate < 4; gate++) {
        REAL_NAME(round_row)(to + gate * (d->shape.dim[1] / 4), block[gate], columns);
    }
}

/* ---- GRU -------------------------------------------------------------------------------- */

static void REAL_NAME(gru_row)(real *h, real *saved, const real *hidden, const real *previous,
                               const real *b_ih, const real *b_hh, int64_t width) {
#pragma omp simd
    for (int64_t i = 0; i < width; i++) {
        int64_t iz = width + i, in = 2 * width + i;
        real r = R_SIGMOID(saved[i] + b_ih[i] + hidden[i] + b_hh[i]);
        real z = R_SIGMOID(saved[iz] + b_ih[iz] + hidden[iz] + b_hh[iz]);
        real hidden_n = hidden[in] + b_hh[in];
        real n = R_TANH(saved[in] + b_ih[in] + r * hidden_n);
        h[i] = n + z * (previous[i] - n);
        saved[i] = r;
        saved[iz] = z;
        saved[in] = n;
        saved[3 * width + i] = hidden_n;
    }
}

CT_PART REAL_NAME(gru_rows)(ct_part part, ct_tensor *h, ct_tensor *rounded, ct_tensor *saved,
                            const ct_tensor *hidden, const ct_tensor *previous,
                            const ct_tensor *b_ih, const ct_tensor *b_hh, const real *zeros) {
    int64_t width = h->shape.dim[1];
    REAL_NAME(rows) to = REAL_NAME(rows_of)(h, NULL), gates = REAL_NAME(rows_of)(saved, NULL);
    REAL_NAME(rows) u = REAL_NAME(rows_of)(hidden, zeros);
    REAL_NAME(rows) p = REAL_NAME(rows_of)(previous, zeros);
    const real *bi = REAL_NAME(rows_of)(b_ih, zeros).data;
    const real *bh = REAL_NAME(rows_of)(b_hh, zeros).data;
    for (int64_t i = part.begin; i < part.end; i++) {
        real *state = to.data + i * to.distance;
        REAL_NAME(gru_row)
        (state, gates.data + i * gates.distance, u.data + i * u.distance, p.data + i * p.distance,
         bi, bh, width);
        REAL_NAME(put_rounded)(rounded, i, state, width);
    }
}

bool REAL_KERNEL(gru_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved,
                           const ct_tensor *hidden, const ct_tensor *previous,
                           const ct_tensor *b_ih, const ct_tensor *b_hh) {
    real *zeros = NULL;
    if ((!hidden || !previous || !b_ih) && !(zeros = zero_row(h))) return false;
    CT_IN_PARTS(ct_cpu_threads(GATE_COST * ct_count(h)), h->shape.dim[0],
                REAL_NAME(gru_rows)(part, h, rounded, saved, hidden, previous, b_ih, b_hh, zeros));
    free(zeros);
    return true;
}

/* One row of a block of `columns` columns; all pointers at the block's first column. */
static void REAL_NAME(gru_row_grad)(REAL_NAME(gates) to, real *dh, real sums[4][COLUMN_BLOCK],
                                    const real *g, const real *saved, const real *previous,
                                    int64_t width, int64_t columns) {
#pragma omp simd
    for (int64_t i = 0; i < columns; i++) {
        real r = saved[i], z = saved[width + i], n = saved[2 * width + i];
        real hidden_n = saved[3 * width + i], total = dh[i] + g[i];
        real dn = total * (R(1) - z) * (R(1) - n * n);
        real dz = total * (previous[i] - n) * z * (R(1) - z);
        real dr = dn * hidden_n * r * (R(1) - r);
        real d_hidden = dn * r;
        dh[i] = total * z;
        to.data[i] = dn;
        to.data[to.distance + i] = dr;
        to.data[2 * to.distance + i] = dz;
        to.data[3 * to.distance + i] = d_hidden;
        sums[0][i] += dn;
        sums[1][i] += dr;
        sums[2][i] += dz;
        sums[3][i] += d_hidden;
    }
}

/* Threads take blocks of `size` columns, so that a column's sum has one order. */
CT_PART REAL_NAME(gru_columns_grad)(ct_part part, int64_t size, ct_tensor *d, ct_tensor *dh,
                                    ct_tensor *d_bias, const ct_tensor *g, const ct_tensor *saved,
                                    const ct_tensor *previous, const real *zeros) {
    int64_t count = dh->shape.dim[0], width = dh->shape.dim[1];
    REAL_NAME(rows) gates = REAL_NAME(rows_of)(saved, NULL);
    REAL_NAME(rows) state = REAL_NAME(rows_of)(dh, NULL), out = REAL_NAME(rows_of)(g, zeros);
    REAL_NAME(rows) p = REAL_NAME(rows_of)(previous, zeros);
    for (int64_t b = part.begin; b < part.end; b++) {
        int64_t c = b * size, columns = width - c < size ? width - c : size;
        for (bias_rows at = first_bias_rows(d_bias, count); at.begin < count; next_bias_rows(&at)) {
            real sums[4][COLUMN_BLOCK] = {{0}}, block[4][COLUMN_BLOCK];
            for (int64_t i = at.begin; i < at.end; i++) {
                REAL_NAME(gates) to = REAL_NAME(gates_of)(d, i, c, block);
                REAL_NAME(gru_row_grad)
                (to, state.data + i * state.distance + c, sums, out.data + i * out.distance + c,
                 gates.data + i * gates.distance + c, p.data + i * p.distance + c, width, columns);
                REAL_NAME(put_gates)(d, i, c, block, columns);
            }
            REAL_NAME(add_bias)(at.sums + c, sums, width, columns);
        }
    }
}

bool REAL_KERNEL(gru_step_grad)(ct_tensor *d, ct_tensor *dh, ct_tensor *d_bias, const ct_tensor *g,
                                const ct_tensor *saved, const ct_tensor *previous) {
    real *zeros = NULL;
    if ((!g || !previous) && !(zeros = zero_row(dh))) return false;
    int threads = ct_cpu_threads(GRAD_COST * ct_count(dh));
    int64_t size = columns_of_block(dh, threads), blocks = (dh->shape.dim[1] + size - 1) / size;
    CT_IN_PARTS(threads, blocks,
                REAL_NAME(gru_columns_grad)(part, size, d, dh, d_bias, g, saved, previous, zeros));
    free(zeros);
    return true;
}

/* ---- LSTM ------------------------------------------------------------------------------- */

static void REAL_NAME(lstm_row)(real *h, real *saved, const real *hidden, const real *previous,
                                const real *b_ih, const real *b_hh, int64_t width) {
#pragma omp simd
    for (int64_t k = 0; k < width; k++) {
        int64_t kf = width + k, kg = 2 * width + k, ko = 3 * width + k;
        real i = R_SIGMOID(saved[k] + b_ih[k] + hidden[k] + b_hh[k]);
        real f = R_SIGMOID(saved[kf] + b_ih[kf] + hidden[kf] + b_hh[kf]);
        real g = R_TANH(saved[kg] + b_ih[kg] + hidden[kg] + b_hh[kg]);
        real o = R_SIGMOID(saved[ko] + b_ih[ko] + hidden[ko] + b_hh[ko]);
        real c = f * previous[k] + i * g;
        h[k] = o * R_TANH(c);
        saved[k] = i;
        saved[kf] = f;
        saved[kg] = g;
        saved[ko] = o;
        saved[4 * width + k] = c;
    }
}

CT_PART REAL_NAME(lstm_rows)(ct_part part, ct_tensor *h, ct_tensor *rounded, ct_tensor *saved,
                             const ct_tensor *hidden, const ct_tensor *c_previous,
                             const ct_tensor *b_ih, const ct_tensor *b_hh, const real *zeros) {
    int64_t width = h->shape.dim[1];
    REAL_NAME(rows) to = REAL_NAME(rows_of)(h, NULL), gates = REAL_NAME(rows_of)(saved, NULL);
    REAL_NAME(rows) u = REAL_NAME(rows_of)(hidden, zeros);
    REAL_NAME(rows) p = REAL_NAME(rows_of)(c_previous, zeros);
    const real *bi = REAL_NAME(rows_of)(b_ih, zeros).data;
    const real *bh = REAL_NAME(rows_of)(b_hh, zeros).data;
    for (int64_t i = part.begin; i < part.end; i++) {
        real *state = to.data + i * to.distance;
        REAL_NAME(lstm_row)
        (state, gates.data + i * gates.distance, u.data + i * u.distance, p.data + i * p.distance,
         bi, bh, width);
        REAL_NAME(put_rounded)(rounded, i, state, width);
    }
}

bool REAL_KERNEL(lstm_step)(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved,
                            const ct_tensor *hidden, const ct_tensor *c_previous,
                            const ct_tensor *b_ih, const ct_tensor *b_hh) {
    real *zeros = NULL;
    if ((!hidden || !c_previous || !b_ih) && !(zeros = zero_row(h))) return false;
    CT_IN_PARTS(
        ct_cpu_threads(GATE_COST * ct_count(h)), h->shape.dim[0],
        REAL_NAME(lstm_rows)(part, h, rounded, saved, hidden, c_previous, b_ih, b_hh, zeros));
    free(zeros);
    return true;
}

static void REAL_NAME(lstm_row_grad)(REAL_NAME(gates) to, const real *dh, real *dc,
                                     real sums[4][COLUMN_BLOCK], const real *g, const real *saved,
                                     const real *previous, int64_t width, int64_t columns) {
#pragma omp simd
    for (int64_t k = 0; k < columns; k++) {
        real i = saved[k], f = saved[width + k], cell = saved[2 * width + k];
        real o = saved[3 * width + k], t = R_TANH(saved[4 * width + k]);
        real d_h = dh[k] + g[k];
        real d_c = dc[k] + d_h * o * (R(1) - t * t);
        real d_i = d_c * cell * i * (R(1) - i);
        real d_f = d_c * previous[k] * f * (R(1) - f);
        real d_g = d_c * i * (R(1) - cell * cell);
        real d_o = d_h * t * o * (R(1) - o);
        dc[k] = d_c * f;
        to.data[k] = d_i;
        to.data[to.distance + k] = d_f;
        to.data[2 * to.distance + k] = d_g;
        to.data[3 * to.distance + k] = d_o;
        sums[0][k] += d_i;
        sums[1][k] += d_f;
        sums[2][k] += d_g;
        sums[3][k] += d_o;
    }
}

CT_PART REAL_NAME(lstm_columns_grad)(ct_part part, int64_t size, ct_tensor *d, const ct_tensor *dh,
                                     ct_tensor *dc, ct_tensor *d_bias, const ct_tensor *g,
                                     const ct_tensor *saved, const ct_tensor *c_previous,
                                     const real *zeros) {
    int64_t count = dh->shape.dim[0], width = dh->shape.dim[1];
    REAL_NAME(rows) gates = REAL_NAME(rows_of)(saved, NULL);
    REAL_NAME(rows) state = REAL_NAME(rows_of)(dh, NULL), cell = REAL_NAME(rows_of)(dc, NULL);
    REAL_NAME(rows) out = REAL_NAME(rows_of)(g, zeros), p = REAL_NAME(rows_of)(c_previous, zeros);
    for (int64_t b = part.begin; b < part.end; b++) {
        int64_t c = b * size, columns = width - c < size ? width - c : size;
        for (bias_rows at = first_bias_rows(d_bias, count); at.begin < count; next_bias_rows(&at)) {
            real sums[4][COLUMN_BLOCK] = {{0}}, block[4][COLUMN_BLOCK];
            for (int64_t i = at.begin; i < at.end; i++) {
                REAL_NAME(gates) to = REAL_NAME(gates_of)(d, i, c, block);
                REAL_NAME(lstm_row_grad)
                (to, state.data + i * state.distance + c, cell.data + i * cell.distance + c, sums,
                 out.data + i * out.distance + c, gates.data + i * gates.distance + c,
                 p.data + i * p.distance + c, width, columns);
                REAL_NAME(put_gates)(d, i, c, block, columns);
            }
            REAL_NAME(add_bias)(at.sums + c, sums, width, columns);
        }
    }
}

bool REAL_KERNEL(lstm_step_grad)(ct_tensor *d, const ct_tensor *dh, ct_tensor *dc,
                                 ct_tensor *d_bias, const ct_tensor *g, const ct_tensor *saved,
                                 const ct_tensor *c_previous) {
    real *zeros = NULL;
    if ((!g || !c_previous) && !(zeros = zero_row(dh))) return false;
    int threads = ct_cpu_threads(GATE_COST * ct_count(dh));
    int64_t size = columns_of_block(dh, threads), blocks = (dh->shape.dim[1] + size - 1) / size;
    CT_IN_PARTS(
        threads, blocks,
        REAL_NAME(lstm_columns_grad)(part, size, d, dh, dc, d_bias, g, saved, c_previous, zeros));
    free(zeros);
    return true;
}
