/* SPDX-License-Identifier: Apache-2.0 */
/* Gates of the GRU and the LSTM, one step of many sequences. Formulas as in
 * tensor/cpu/fused_recurrent_kernels.h. */
#include "tensor/core/convert.h"
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/real.h"
#include "tensor/cuda/rows.h"

/* The gradients' kernels also sum columns: blocks own some of them and pass down all rows. So
 * narrow ones (2 or 4 sectors of a cache line) make enough blocks for a device. */
enum { COLUMNS = 16, ROWS = 32 };

/* What products take: in the gates' own precision, or bf16. */
static __device__ inline void put(float *to, float x) { *to = x; }
static __device__ inline void put(double *to, double x) { *to = x; }
static __device__ inline void put(ct_bf16 *to, float x) { *to = ct_bf16_of_f32(x); }

/* ---- forward ---------------------------------------------------------------------------- */

/* saved and hidden, with their biases: what a gate's function is taken of. */
template <typename real> struct gate_inputs {
    ct_rows<real> saved, hidden, b_ih, b_hh;

    template <int W> __device__ ct_pack<W, real> of_input(int64_t row, int64_t column) const {
        ct_pack<W, real> x = saved.template load<W>(row, column);
        ct_pack<W, real> b = b_ih.template load<W>(0, column);
        for (int k = 0; k < W; k++) x.at[k] += b.at[k];
        return x;
    }
    template <int W> __device__ ct_pack<W, real> of_state(int64_t row, int64_t column) const {
        ct_pack<W, real> x = hidden.template load<W>(row, column);
        ct_pack<W, real> b = b_hh.template load<W>(0, column);
        for (int k = 0; k < W; k++) x.at[k] += b.at[k];
        return x;
    }
    template <int W> __device__ ct_pack<W, real> sigmoid(int64_t row, int64_t column) const {
        ct_pack<W, real> x = of_input<W>(row, column), u = of_state<W>(row, column);
        for (int k = 0; k < W; k++) x.at[k] = R_SIGMOID(x.at[k] + u.at[k]);
        return x;
    }
};

/* The states after a step; `rounded` is NULL where products take h itself. */
template <typename real> struct new_states {
    ct_rows<real> h;
    ct_rows<ct_bf16> rounded;

    template <int W>
    __device__ void store(int64_t row, int64_t column, const ct_pack<W, real> &x) const {
        h.store(row, column, x);
        if (!rounded.data) return;
        ct_pack<W, ct_bf16> narrow;
        for (int k = 0; k < W; k++) put(&narrow.at[k], (float)x.at[k]);
        rounded.store(row, column, narrow);
    }
};

template <typename real, int W>
static __global__ void gru_step(new_states<real> to, gate_inputs<real> in, ct_rows<real> previous,
                                int64_t rows, int64_t width) {
    int64_t packs = width / W;
    for (int64_t i = ct_first(); i < rows * packs; i += ct_step()) {
        int64_t row = ct_quotient(i, packs), c = (i - row * packs) * W;
        ct_pack<W, real> r = in.template sigmoid<W>(row, c);
        ct_pack<W, real> z = in.template sigmoid<W>(row, width + c);
        ct_pack<W, real> n = in.template of_input<W>(row, 2 * width + c);
        ct_pack<W, real> hidden_n = in.template of_state<W>(row, 2 * width + c);
        ct_pack<W, real> state = previous.template load<W>(row, c);
        for (int k = 0; k < W; k++) {
            n.at[k] = R_TANH(n.at[k] + r.at[k] * hidden_n.at[k]);
            state.at[k] = n.at[k] + z.at[k] * (state.at[k] - n.at[k]);
        }
        to.store(row, c, state);
        in.saved.store(row, c, r);
        in.saved.store(row, width + c, z);
        in.saved.store(row, 2 * width + c, n);
        in.saved.store(row, 3 * width + c, hidden_n);
    }
}

template <typename real, int W>
static __global__ void lstm_step(new_states<real> to, gate_inputs<real> in,
                                 ct_rows<real> c_previous, int64_t rows, int64_t width) {
    int64_t packs = width / W;
    for (int64_t p = ct_first(); p < rows * packs; p += ct_step()) {
        int64_t row = ct_quotient(p, packs), c = (p - row * packs) * W;
        ct_pack<W, real> i = in.template sigmoid<W>(row, c);
        ct_pack<W, real> f = in.template sigmoid<W>(row, width + c);
        ct_pack<W, real> g = in.template of_input<W>(row, 2 * width + c);
        ct_pack<W, real> u = in.template of_state<W>(row, 2 * width + c);
        ct_pack<W, real> o = in.template sigmoid<W>(row, 3 * width + c);
        ct_pack<W, real> cell = c_previous.template load<W>(row, c), state;
        for (int k = 0; k < W; k++) {
            g.at[k] = R_TANH(g.at[k] + u.at[k]);
            cell.at[k] = f.at[k] * cell.at[k] + i.at[k] * g.at[k];
            state.at[k] = o.at[k] * R_TANH(cell.at[k]);
        }
        to.store(row, c, state);
        in.saved.store(row, c, i);
        in.saved.store(row, width + c, f);
        in.saved.store(row, 2 * width + c, g);
        in.saved.store(row, 3 * width + c, o);
        in.saved.store(row, 4 * width + c, cell);
    }
}

template <typename real>
using step_kernel = void(new_states<real> to, gate_inputs<real> in, ct_rows<real> previous,
                         int64_t rows, int64_t width);

/* Takes 16 bytes at a time where everything is aligned, else single elements. */
template <typename real>
static bool launch_step(const char *name, step_kernel<real> *of_packs, step_kernel<real> *of_ones,
                        const ct_tensor *h, const ct_tensor *rounded, const ct_tensor *saved,
                        const ct_tensor *hidden, const ct_tensor *previous, const ct_tensor *b_ih,
                        const ct_tensor *b_hh) {
    int64_t rows = h->shape.dim[0], width = h->shape.dim[1];
    if (rows * width == 0) return true;
    bool packs = ct_rows_align<real>(width, {h, rounded, saved, hidden, previous, b_ih, b_hh});
    int64_t count = rows * width / (packs ? ct_lanes<real> : 1);
    new_states<real> to = {ct_rows_of<real>(h), ct_rows_of<ct_bf16>(rounded)};
    gate_inputs<real> in = {ct_rows_of<real>(saved), ct_rows_of<real>(hidden),
                            ct_rows_of<real>(b_ih), ct_rows_of<real>(b_hh)};
    return ct_cuda_launch(name, packs ? of_packs : of_ones, ct_cuda_blocks(count), CT_THREADS, 0,
                          to, in, ct_rows_of<real>(previous), rows, width);
}

template <typename real>
bool ct_cuda_gru_step(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                      const ct_tensor *previous, const ct_tensor *b_ih, const ct_tensor *b_hh) {
    return launch_step<real>("gru_step", gru_step<real, ct_lanes<real>>, gru_step<real, 1>, h,
                             rounded, saved, hidden, previous, b_ih, b_hh);
}
CT_BOTH_REALS(gru_step);

template <typename real>
bool ct_cuda_lstm_step(ct_tensor *h, ct_tensor *rounded, ct_tensor *saved, const ct_tensor *hidden,
                       const ct_tensor *c_previous, const ct_tensor *b_ih, const ct_tensor *b_hh) {
    return launch_step<real>("lstm_step", lstm_step<real, ct_lanes<real>>, lstm_step<real, 1>, h,
                             rounded, saved, hidden, c_previous, b_ih, b_hh);
}
CT_BOTH_REALS(lstm_step);

/* ---- gradients -------------------------------------------------------------------------- */

/* The four gradients of an element, each in its block of columns and in that block's sum. */
template <typename real, typename To>
static __device__ inline void put_gates(To *to, int64_t width, const real (&gate)[4],
                                        double (&sums)[4]) {
    for (int k = 0; k < 4; k++) {
        put(to + k * width, gate[k]);
        sums[k] += gate[k];
    }
}

template <typename real, typename To>
static __global__ void gru_step_grad(ct_rows<To> d, ct_rows<real> dh, double *d_bias,
                                     ct_rows<real> g, ct_rows<real> saved, ct_rows<real> previous,
                                     int64_t rows, int64_t width) {
    int64_t c = (int64_t)blockIdx.x * COLUMNS + threadIdx.x;
    double sums[4] = {0, 0, 0, 0};
    for (int64_t row = threadIdx.y; c < width && row < rows; row += ROWS) {
        const real *gates = saved.data + row * saved.distance + c;
        real r = gates[0], z = gates[width], n = gates[2 * width], hidden_n = gates[3 * width];
        real *state = dh.data + row * dh.distance + c;
        To *to = d.data + row * d.distance + c;
        real total = *state + g.template load<1>(row, c).at[0];
        real dn = total * (1 - z) * (1 - n * n);
        real dz = total * (previous.template load<1>(row, c).at[0] - n) * z * (1 - z);
        real dr = dn * hidden_n * r * (1 - r);
        real d_hidden = dn * r;
        *state = total * z;
        put_gates(to, width, {dn, dr, dz, d_hidden}, sums);
    }
    double sum = ct_column_sum<COLUMNS, ROWS>(sums);
    if (threadIdx.y < 4 && c < width) d_bias[threadIdx.y * width + c] += sum;
}

template <typename real, typename To>
static __global__ void lstm_step_grad(ct_rows<To> d, ct_rows<real> dh, ct_rows<real> dc,
                                      double *d_bias, ct_rows<real> g, ct_rows<real> saved,
                                      ct_rows<real> c_previous, int64_t rows, int64_t width) {
    int64_t c = (int64_t)blockIdx.x * COLUMNS + threadIdx.x;
    double sums[4] = {0, 0, 0, 0};
    for (int64_t row = threadIdx.y; c < width && row < rows; row += ROWS) {
        const real *gates = saved.data + row * saved.distance + c;
        real i = gates[0], f = gates[width], cell = gates[2 * width], o = gates[3 * width];
        real t = R_TANH(gates[4 * width]);
        real *state = dc.data + row * dc.distance + c;
        To *to = d.data + row * d.distance + c;
        real d_h = dh.template load<1>(row, c).at[0] + g.template load<1>(row, c).at[0];
        real d_c = *state + d_h * o * (1 - t * t);
        real d_i = d_c * cell * i * (1 - i);
        real d_f = d_c * c_previous.template load<1>(row, c).at[0] * f * (1 - f);
        real d_g = d_c * i * (1 - cell * cell);
        real d_o = d_h * t * o * (1 - o);
        *state = d_c * f;
        put_gates(to, width, {d_i, d_f, d_g, d_o}, sums);
    }
    double sum = ct_column_sum<COLUMNS, ROWS>(sums);
    if (threadIdx.y < 4 && c < width) d_bias[threadIdx.y * width + c] += sum;
}

static unsigned blocks_of_columns(int64_t width) {
    return (unsigned)((width + COLUMNS - 1) / COLUMNS);
}

template <typename real, typename To>
static bool launch_gru_grad(ct_tensor *d, ct_tensor *dh, ct_tensor *d_bias, const ct_tensor *g,
                            const ct_tensor *saved, const ct_tensor *previous) {
    int64_t rows = dh->shape.dim[0], width = dh->shape.dim[1];
    if (rows * width == 0) return true;
    return CT_LAUNCH((gru_step_grad<real, To>), blocks_of_columns(width), dim3(COLUMNS, ROWS), 0,
                     ct_rows_of<To>(d), ct_rows_of<real>(dh), ct_cuda_data<double>(d_bias),
                     ct_rows_of<real>(g), ct_rows_of<real>(saved), ct_rows_of<real>(previous), rows,
                     width);
}

template <typename real>
bool ct_cuda_gru_step_grad(ct_tensor *d, ct_tensor *dh, ct_tensor *d_bias, const ct_tensor *g,
                           const ct_tensor *saved, const ct_tensor *previous) {
    if constexpr (sizeof(real) == sizeof(float)) {
        if (d->dtype == CT_BF16) {
            return launch_gru_grad<real, ct_bf16>(d, dh, d_bias, g, saved, previous);
        }
    }
    return launch_gru_grad<real, real>(d, dh, d_bias, g, saved, previous);
}
CT_BOTH_REALS(gru_step_grad);

template <typename real, typename To>
static bool launch_lstm_grad(ct_tensor *d, const ct_tensor *dh, ct_tensor *dc, ct_tensor *d_bias,
                             const ct_tensor *g, const ct_tensor *saved,
                             const ct_tensor *c_previous) {
    int64_t rows = dh->shape.dim[0], width = dh->shape.dim[1];
    if (rows * width == 0) return true;
    return CT_LAUNCH((lstm_step_grad<real, To>), blocks_of_columns(width), dim3(COLUMNS, ROWS), 0,
                     ct_rows_of<To>(d), ct_rows_of<real>(dh), ct_rows_of<real>(dc),
                     ct_cuda_data<double>(d_bias), ct_rows_of<real>(g), ct_rows_of<real>(saved),
                     ct_rows_of<real>(c_previous), rows, width);
}

template <typename real>
bool ct_cuda_lstm_step_grad(ct_tensor *d, const ct_tensor *dh, ct_tensor *dc, ct_tensor *d_bias,
                            const ct_tensor *g, const ct_tensor *saved,
                            const ct_tensor *c_previous) {
    if constexpr (sizeof(real) == sizeof(float)) {
        if (d->dtype == CT_BF16) {
            return launch_lstm_grad<real, ct_bf16>(d, dh, dc, d_bias, g, saved, c_previous);
        }
    }
    return launch_lstm_grad<real, real>(d, dh, dc, d_bias, g, saved, c_previous);
}
CT_BOTH_REALS(lstm_step_grad);
