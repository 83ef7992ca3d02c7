/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm and layer norm. Formulas as in tensor/cpu/fused_norm_kernels.h.
 *
 * Sums over rows, of each channel, are taken in f64: by blocks that own some columns and a part of
 * the rows, and then over the parts, in their order. Sums along a row are a block's. */
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/real.h"
#include "tensor/cuda/rows.h"
#include "tensor/fused/moments.h"

/* ---- two sums of every channel ---------------------------------------------------------- */

enum { COLUMNS = 32, ROWS = 16, LEAST_PART = 256, MOST_PARTS = 64 };

/* Moments about a channel's first element: what is lost in squares - sum^2/n is then no more than
 * the rounding of n values of the variance's size. */
template <typename real> struct moment_terms {
    const real *x;
    int64_t inner;

    __device__ double centre(int64_t channel) const { return x[channel * inner]; }
    __device__ void add(double (&sum)[2], int64_t i, int64_t, double from) const {
        double d = x[i] - from;
        sum[0] += d;
        sum[1] += d * d;
    }
};

/* Of g, and of g (x - mean). */
template <typename real> struct batch_grad_terms {
    const real *g, *x, *mean;

    __device__ double centre(int64_t channel) const { return mean[channel]; }
    __device__ void add(double (&sum)[2], int64_t i, int64_t, double from) const {
        double gi = g[i];
        sum[0] += gi;
        sum[1] += gi * (x[i] - from);
    }
};

/* Of g, and of g xhat, where each row has its own mean and rstd. */
template <typename real> struct layer_grad_terms {
    const real *g, *x, *mean, *rstd;

    __device__ double centre(int64_t) const { return 0; }
    __device__ void add(double (&sum)[2], int64_t i, int64_t row, double) const {
        real gi = g[i];
        sum[0] += gi;
        sum[1] += gi * (x[i] - mean[row]) * rstd[row];
    }
};

/* Channels last: parts (part, 2, columns) of the sums over rows. */
template <typename Terms>
static __global__ void sum_rows(double *parts, Terms terms, int64_t rows, int64_t columns,
                                int64_t part_rows) {
    int64_t c = (int64_t)blockIdx.x * COLUMNS + threadIdx.x;
    int64_t first = (int64_t)blockIdx.y * part_rows;
    int64_t stop = first + part_rows < rows ? first + part_rows : rows;
    double sums[2] = {0, 0};
    double from = c < columns && rows > 0 ? terms.centre(c) : 0;
    for (int64_t row = first + threadIdx.y; c < columns && row < stop; row += ROWS) {
        terms.add(sums, row * columns + c, row, from);
    }
    double sum = ct_column_sum<COLUMNS, ROWS>(sums);
    if (threadIdx.y < 2 && c < columns) {
        parts[((int64_t)blockIdx.y * 2 + threadIdx.y) * columns + c] = sum;
    }
}

/* Channels in the middle: the same of (outer, channels, inner). */
template <typename Terms>
static __global__ void sum_blocks(double *parts, Terms terms, int64_t outer, int64_t channels,
                                  int64_t inner, int64_t part_count) {
    int64_t c = blockIdx.x, count = outer * inner, first = (int64_t)blockIdx.y * part_count;
    int64_t stop = first + part_count < count ? first + part_count : count;
    double sums[2] = {0, 0};
    double from = count > 0 ? terms.centre(c) : 0;
    for (int64_t e = first + threadIdx.x; e < stop; e += blockDim.x) {
        int64_t o = ct_quotient(e, inner);
        terms.add(sums, (o * channels + c) * inner + e - o * inner, o, from);
    }
    for (int k = 0; k < 2; k++) {
        double sum = ct_block_sum(sums[k]);
        if (threadIdx.x == 0) parts[((int64_t)blockIdx.y * 2 + k) * channels + c] = sum;
    }
}

/* Into how many parts `count` elements of a channel are cut: from its shape alone. */
static int64_t part_size(int64_t count) {
    int64_t size = (count + MOST_PARTS - 1) / MOST_PARTS;
    return size < LEAST_PART ? (int64_t)LEAST_PART : size;
}
static int64_t part_total(int64_t count) {
    return count > 0 ? (count + part_size(count) - 1) / part_size(count) : 1;
}
static size_t parts_bytes(int64_t count, int64_t channels) {
    return (size_t)(2 * part_total(count) * channels) * sizeof(double);
}

/* Both sums of each channel of (outer, channels, inner), in parts. */
template <typename Terms>
static bool sum_channels(double *parts, const Terms &terms, int64_t outer, int64_t channels,
                         int64_t inner) {
    int64_t count = outer * inner;
    unsigned total = (unsigned)part_total(count);
    if (inner != 1) {
        return CT_LAUNCH(sum_blocks<Terms>, dim3((unsigned)channels, total), CT_THREADS, 0, parts,
                         terms, outer, channels, inner, part_size(count));
    }
    unsigned blocks = (unsigned)((channels + COLUMNS - 1) / COLUMNS);
    return CT_LAUNCH(sum_rows<Terms>, dim3(blocks, total), dim3(COLUMNS, ROWS), 0, parts, terms,
                     outer, channels, part_size(count));
}

static __device__ inline void add_parts(double (&sum)[2], const double *parts, int64_t total,
                                        int64_t c, int64_t channels) {
    sum[0] = sum[1] = 0;
    for (int64_t part = 0; part < total; part++) {
        for (int k = 0; k < 2; k++) sum[k] += parts[(part * 2 + k) * channels + c];
    }
}

/* ---- batch norm ------------------------------------------------------------------------- */

template <typename real>
static __global__ void write_statistics(real *mean, real *variance, real *rstd, const double *parts,
                                        int64_t total, const real *x, int64_t channels,
                                        int64_t inner, double count, double eps) {
    for (int64_t c = ct_first(); c < channels; c += ct_step()) {
        double sum[2];
        add_parts(sum, parts, total, c, channels);
        double offset = sum[0] / count, v = (sum[1] - sum[0] * offset) / count;
        v = v < 0 ? 0 : v; /* by rounding only; NaN stays */
        mean[c] = (real)(x[c * inner] + offset);
        variance[c] = (real)v;
        rstd[c] = (real)(1 / sqrt(v + eps));
    }
}

template <typename real>
bool ct_cuda_batch_norm_statistics(ct_tensor *mean, ct_tensor *variance, ct_tensor *rstd,
                                   const ct_tensor *x, double eps) {
    int64_t outer = x->shape.dim[0], channels = x->shape.dim[1], inner = x->shape.dim[2];
    if (channels == 0) return true;
    const real *data = ct_cuda_data<real>(x);
    ct_scratch scratch(parts_bytes(outer * inner, channels));
    double *parts = static_cast<double *>(scratch.data);
    return parts && sum_channels(parts, moment_terms<real>{data, inner}, outer, channels, inner) &&
           CT_LAUNCH(write_statistics<real>, ct_cuda_blocks(channels), CT_THREADS, 0,
                     ct_cuda_data<real>(mean), ct_cuda_data<real>(variance),
                     ct_cuda_data<real>(rstd), parts, part_total(outer * inner), data, channels,
                     inner, (double)(outer * inner), eps);
}
CT_BOTH_REALS(batch_norm_statistics);

template <typename real>
static __global__ void batch_norm_join(double *count, real *mean, real *variance, real *rstd,
                                       const double *parts, int64_t of, int64_t channels,
                                       double eps) {
    for (int64_t c = ct_first(); c < channels; c += ct_step()) {
        double m, v, values = ct_join_moments(parts, of, channels, c, &m, &v);
        if (c == 0) *count = values;
        mean[c] = (real)m;
        variance[c] = (real)v;
        rstd[c] = (real)(1 / sqrt(v + eps));
    }
}

template <typename real>
bool ct_cuda_batch_norm_join(ct_tensor *count, ct_tensor *mean, ct_tensor *variance,
                             ct_tensor *rstd, const ct_tensor *parts, double eps) {
    int64_t channels = mean->shape.dim[0];
    return channels == 0 ||
           CT_LAUNCH(batch_norm_join<real>, ct_cuda_blocks(channels), CT_THREADS, 0,
                     ct_cuda_data<double>(count), ct_cuda_data<real>(mean),
                     ct_cuda_data<real>(variance), ct_cuda_data<real>(rstd),
                     ct_cuda_data<double>(parts), parts->shape.dim[0], channels, eps);
}
CT_BOTH_REALS(batch_norm_join);

/* The channels of W neighbours: neighbours too (channels last), or one and the same. */
template <typename real> struct channels_of {
    int64_t channels, inner;

    __device__ int64_t of_element(int64_t i) const {
        int64_t block = inner == 1 ? i : ct_quotient(i, inner);
        return block - ct_quotient(block, channels) * channels;
    }
    /* From a vector of all channels: those from c on; `none` if it is not there. */
    template <int W> __device__ ct_pack<W, real> load(const real *p, int64_t c, real none) const {
        if (p && inner == 1) return ct_load<W>(p + c);
        ct_pack<W, real> value;
        for (int k = 0; k < W; k++) value.at[k] = p ? p[c] : none;
        return value;
    }
};

template <typename real, int W>
static __global__ void batch_norm_apply(real *y, const real *x, const real *mean, const real *rstd,
                                        const real *weight, const real *bias, int64_t count,
                                        channels_of<real> of) {
    for (int64_t p = ct_first(); p < count / W; p += ct_step()) {
        int64_t i = p * W, c = of.of_element(i);
        ct_pack<W, real> v = ct_load<W>(x + i), m = of.template load<W>(mean, c, 0);
        ct_pack<W, real> s = of.template load<W>(rstd, c, 1);
        ct_pack<W, real> w = of.template load<W>(weight, c, 1);
        ct_pack<W, real> b = of.template load<W>(bias, c, 0);
        for (int k = 0; k < W; k++) {
            v.at[k] = (v.at[k] - m.at[k]) * (s.at[k] * w.at[k]) + b.at[k];
        }
        ct_store(y + i, v);
    }
}

/* gx = scale (g - shift - slope (x - mean)); with batch statistics shift is the mean of g and slope
 * that of g xhat, times rstd. */
template <typename real, int W>
static __global__ void batch_norm_grad(real *gx, const real *g, const real *x, const real *mean,
                                       const real *rstd, const real *weight, const real *g_weight,
                                       const real *g_bias, real share, int64_t count,
                                       channels_of<real> of) {
    for (int64_t p = ct_first(); p < count / W; p += ct_step()) {
        int64_t i = p * W, c = of.of_element(i);
        ct_pack<W, real> v = ct_load<W>(x + i), to = ct_load<W>(g + i);
        ct_pack<W, real> m = of.template load<W>(mean, c, 0);
        ct_pack<W, real> s = of.template load<W>(rstd, c, 1);
        ct_pack<W, real> w = of.template load<W>(weight, c, 1);
        ct_pack<W, real> gw = of.template load<W>(g_weight, c, 0);
        ct_pack<W, real> gb = of.template load<W>(g_bias, c, 0);
        for (int k = 0; k < W; k++) {
            real slope = gw.at[k] * share * s.at[k];
            to.at[k] -= gb.at[k] * share + slope * (v.at[k] - m.at[k]);
            to.at[k] *= s.at[k] * w.at[k];
        }
        ct_store(gx + i, to);
    }
}

/* Whether W neighbours may be taken at once, see channels_of. */
template <typename real, int N>
static bool packs_of_channels(const ct_tensor *x, const ct_tensor *const (&all)[N]) {
    int64_t channels = x->shape.dim[1], inner = x->shape.dim[2];
    bool aligned = (inner == 1 ? channels : inner) % ct_lanes<real> == 0;
    for (int k = 0; k < N; k++) {
        aligned = aligned && (uintptr_t)ct_cuda_data<real>(all[k]) % 16 == 0;
    }
    return aligned;
}

template <typename real>
bool ct_cuda_batch_norm_apply(ct_tensor *y, const ct_tensor *x, const ct_tensor *mean,
                              const ct_tensor *rstd, const ct_tensor *weight,
                              const ct_tensor *bias) {
    int64_t count = ct_cuda_count(x);
    if (count == 0) return true;
    constexpr int W = ct_lanes<real>;
    channels_of<real> of = {x->shape.dim[1], x->shape.dim[2]};
    bool packs = packs_of_channels<real>(x, {y, x, mean, rstd, weight, bias});
    auto kernel = packs ? batch_norm_apply<real, W> : batch_norm_apply<real, 1>;
    return ct_cuda_launch("batch_norm_apply", kernel, ct_cuda_blocks(packs ? count / W : count),
                          CT_THREADS, 0, ct_cuda_data<real>(y), ct_cuda_data<real>(x),
                          ct_cuda_data<real>(mean), ct_cuda_data<real>(rstd),
                          ct_cuda_data<real>(weight), ct_cuda_data<real>(bias), count, of);
}
CT_BOTH_REALS(batch_norm_apply);

/* The sums of g and, times rstd where given, of the other term. */
template <typename real>
static __global__ void write_grad_sums(real *g_weight, real *g_bias, const double *parts,
                                       int64_t total, const real *rstd, int64_t channels) {
    for (int64_t c = ct_first(); c < channels; c += ct_step()) {
        double sum[2];
        add_parts(sum, parts, total, c, channels);
        g_bias[c] = (real)sum[0];
        g_weight[c] = (real)(rstd ? sum[1] * rstd[c] : sum[1]);
    }
}

template <typename real>
static bool launch_batch_grad_sums(ct_tensor *g_weight, ct_tensor *g_bias, const ct_tensor *g,
                                   const ct_tensor *x, const ct_tensor *mean,
                                   const ct_tensor *rstd) {
    int64_t outer = x->shape.dim[0], channels = x->shape.dim[1], inner = x->shape.dim[2];
    ct_scratch scratch(parts_bytes(outer * inner, channels));
    double *parts = static_cast<double *>(scratch.data);
    batch_grad_terms<real> terms = {ct_cuda_data<real>(g), ct_cuda_data<real>(x),
                                    ct_cuda_data<real>(mean)};
    return parts && sum_channels(parts, terms, outer, channels, inner) &&
           CT_LAUNCH(write_grad_sums<real>, ct_cuda_blocks(channels), CT_THREADS, 0,
                     ct_cuda_data<real>(g_weight), ct_cuda_data<real>(g_bias), parts,
                     part_total(outer * inner), ct_cuda_data<real>(rstd), channels);
}

template <typename real>
bool ct_cuda_batch_norm_grad(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight,
                             bool batch_statistics) {
    int64_t count = ct_cuda_count(x), channels = x->shape.dim[1], inner = x->shape.dim[2];
    if (channels == 0) return true;
    if (!launch_batch_grad_sums<real>(g_weight, g_bias, g, x, mean, rstd)) return false;
    if (count == 0) return true;
    constexpr int W = ct_lanes<real>;
    channels_of<real> of = {channels, inner};
    real share = batch_statistics ? 1 / (real)(count / channels) : 0;
    bool packs = packs_of_channels<real>(x, {gx, g, x, mean, rstd, weight, g_weight, g_bias});
    auto kernel = packs ? batch_norm_grad<real, W> : batch_norm_grad<real, 1>;
    return ct_cuda_launch("batch_norm_grad", kernel, ct_cuda_blocks(packs ? count / W : count),
                          CT_THREADS, 0, ct_cuda_data<real>(gx), ct_cuda_data<real>(g),
                          ct_cuda_data<real>(x), ct_cuda_data<real>(mean), ct_cuda_data<real>(rstd),
                          ct_cuda_data<real>(weight), ct_cuda_data<real>(g_weight),
                          ct_cuda_data<real>(g_bias), share, count, of);
}
CT_BOTH_REALS(batch_norm_grad);

/* ---- layer norm ------------------------------------------------------------------------- */

/* One pass for the mean, one for the squares of the distances from it, one to write: after the
 * first a row comes from the cache. */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    layer_norm(real *y, real *mean, real *rstd, const real *x, const real *weight, const real *bias,
               int64_t rows, int64_t width, double eps) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const real *from = x + r * width;
        real *to = y + r * width;
        int64_t head = ct_head(width, from, to);
        real sum = 0, squares = 0;
        ct_each<real>(width, head, [&]<int W>(int64_t c) {
            ct_pack<W, real> v = ct_load<W>(from + c);
            for (int k = 0; k < W; k++) sum += v.at[k];
        });
        const real m = ct_block_sum(sum) / (real)width;
        ct_each<real>(width, head, [&]<int W>(int64_t c) {
            ct_pack<W, real> v = ct_load<W>(from + c);
            for (int k = 0; k < W; k++) squares += (v.at[k] - m) * (v.at[k] - m);
        });
        squares = ct_block_sum(squares);
        const real s = (real)(1 / sqrt((double)squares / (double)width + eps));
        ct_each<real>(width, head, [&]<int W>(int64_t c) {
            ct_pack<W, real> v = ct_load<W>(from + c);
            for (int k = 0; k < W; k++) {
                v.at[k] = (v.at[k] - m) * s;
                if (weight) v.at[k] *= weight[c + k];
                if (bias) v.at[k] += bias[c + k];
            }
            ct_store(to + c, v);
        });
        if (threadIdx.x != 0) continue;
        mean[r] = m;
        rstd[r] = s;
    }
}

template <typename real>
bool ct_cuda_layer_norm(ct_tensor *y, ct_tensor *mean, ct_tensor *rstd, const ct_tensor *x,
                        const ct_tensor *weight, const ct_tensor *bias, double eps) {
    int64_t rows = x->shape.dim[0], width = x->shape.dim[1];
    if (rows == 0) return true;
    return CT_LAUNCH(layer_norm<real>, ct_row_blocks(rows), ct_row_threads(width), 0,
                     ct_cuda_data<real>(y), ct_cuda_data<real>(mean), ct_cuda_data<real>(rstd),
                     ct_cuda_data<real>(x), ct_cuda_data<real>(weight), ct_cuda_data<real>(bias),
                     rows, width, eps);
}
CT_BOTH_REALS(layer_norm);

/* gx = rstd (gw - mean(gw) - xhat mean(gw xhat)), gw = g * weight. */
template <typename real>
static __global__ void __launch_bounds__(CT_ROW_THREADS)
    layer_norm_grad(real *gx, const real *g, const real *x, const real *mean, const real *rstd,
                    const real *weight, int64_t rows, int64_t width) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const real *xr = x + r * width, *gr = g + r * width, m = mean[r], s = rstd[r];
        real *to = gx + r * width;
        int64_t head = ct_head(width, xr, gr, to);
        real sum = 0, product = 0;
        ct_each<real>(width, head, [&]<int W>(int64_t c) {
            ct_pack<W, real> v = ct_load<W>(xr + c), gw = ct_load<W>(gr + c);
            for (int k = 0; k < W; k++) {
                if (weight) gw.at[k] *= weight[c + k];
                sum += gw.at[k];
                product += gw.at[k] * (v.at[k] - m);
            }
        });
        const real mean_g = ct_block_sum(sum) / (real)width;
        const real mean_product = ct_block_sum(product) * s / (real)width;
        ct_each<real>(width, head, [&]<int W>(int64_t c) {
            ct_pack<W, real> v = ct_load<W>(xr + c), gw = ct_load<W>(gr + c);
            for (int k = 0; k < W; k++) {
                if (weight) gw.at[k] *= weight[c + k];
                gw.at[k] = s * (gw.at[k] - mean_g - (v.at[k] - m) * s * mean_product);
            }
            ct_store(to + c, gw);
        });
    }
}

template <typename real>
static bool launch_layer_grad_sums(ct_tensor *g_weight, ct_tensor *g_bias, const ct_tensor *g,
                                   const ct_tensor *x, const ct_tensor *mean,
                                   const ct_tensor *rstd) {
    int64_t rows = x->shape.dim[0], width = x->shape.dim[1];
    ct_scratch scratch(parts_bytes(rows, width));
    double *parts = static_cast<double *>(scratch.data);
    layer_grad_terms<real> terms = {ct_cuda_data<real>(g), ct_cuda_data<real>(x),
                                    ct_cuda_data<real>(mean), ct_cuda_data<real>(rstd)};
    return parts && sum_channels(parts, terms, rows, width, 1) &&
           CT_LAUNCH(write_grad_sums<real>, ct_cuda_blocks(width), CT_THREADS, 0,
                     ct_cuda_data<real>(g_weight), ct_cuda_data<real>(g_bias), parts,
                     part_total(rows), (const real *)nullptr, width);
}

template <typename real>
bool ct_cuda_layer_norm_grad(ct_tensor *gx, ct_tensor *g_weight, ct_tensor *g_bias,
                             const ct_tensor *g, const ct_tensor *x, const ct_tensor *mean,
                             const ct_tensor *rstd, const ct_tensor *weight) {
    int64_t rows = x->shape.dim[0], width = x->shape.dim[1];
    if (width == 0) return true;
    if (g_weight && !launch_layer_grad_sums<real>(g_weight, g_bias, g, x, mean, rstd)) {
        return false;
    }
    if (rows == 0) return true;
    return CT_LAUNCH(layer_norm_grad<real>, ct_row_blocks(rows), ct_row_threads(width), 0,
                     ct_cuda_data<real>(gx), ct_cuda_data<real>(g), ct_cuda_data<real>(x),
                     ct_cuda_data<real>(mean), ct_cuda_data<real>(rstd), ct_cuda_data<real>(weight),
                     rows, width);
}
CT_BOTH_REALS(layer_norm_grad);
