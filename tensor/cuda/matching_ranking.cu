/* SPDX-License-Identifier: Apache-2.0 */
/* Hinge, order similarity and ranks of similarity matrices. Formulas as in
 * tensor/cpu/matching_ranking_kernels.h. */
#include "tensor/cuda/block.h"
#include "tensor/cuda/cuda.h"
#include "tensor/cuda/real.h"

/* ---- something of every row, or every column, of a square matrix ------------------------ */

enum { COLUMNS = 32, ROWS = 16 }; /* threads of a block: neighbours of x read neighbours */

/* line.add(&state, k, m) for element m of line k, a row or a column; line.finish(k, state). The
 * threads' states are joined in the order of their indices. */
template <typename Line> static __global__ void over_lines(Line line, int64_t n, bool by_column) {
    __shared__ typename Line::state states[ROWS][COLUMNS];
    int x = (int)threadIdx.x, y = (int)threadIdx.y;
    int first = by_column ? y : x, step = by_column ? ROWS : COLUMNS;
    int64_t k = by_column ? (int64_t)blockIdx.x * COLUMNS + x : (int64_t)blockIdx.x * ROWS + y;
    typename Line::state state = line.start();
    for (int64_t m = first; k < n && m < n; m += step) line.add(&state, k, m);
    states[y][x] = state;
    __syncthreads();
    if (k >= n || first != 0) return;
    for (int w = 1; w < step; w++) line.join(&state, by_column ? states[w][x] : states[y][w]);
    line.finish(k, state);
}

template <typename Line> static bool launch_lines(const Line &line, int64_t n, bool by_column) {
    int64_t of_block = by_column ? COLUMNS : ROWS;
    return CT_LAUNCH(over_lines<Line>, (unsigned)((n + of_block - 1) / of_block),
                     dim3(COLUMNS, ROWS), 0, line, n, by_column);
}

/* ---- hinge ------------------------------------------------------------------------------ */

template <typename real> struct hinge_costs {
    const real *s;
    int64_t n;
    real margin;
    bool hardest, anchor_row, over_row;

    /* NaN stays NaN, here and below: a broken similarity must show in the loss. */
    __device__ real of(int64_t i, int64_t j) const {
        int64_t d = anchor_row ? i : j;
        real c = margin + s[i * n + j] - s[d * n + d];
        return i == j || c <= 0 ? 0 : c;
    }
};

template <typename real> static hinge_costs<real> costs_of(const ct_tensor *s, ct_hinge_options o) {
    return {ct_cuda_data<real>(s),    s->shape.dim[0],       (real)o.margin, o.hardest,
            o.anchor == CT_HINGE_ROW, o.over == CT_HINGE_ROW};
}

/* The largest cost of a row or a column, the first of equals, NaN before all. Either the costs are
 * wanted, or where they are and how often a diagonal element takes part. */
template <typename real> struct hardest_line {
    struct state {
        real cost;
        int64_t at;
    };
    hinge_costs<real> costs;
    double *cost;
    int64_t *position; /* -1 if no cost is positive */
    int *takes_part;

    __device__ state start() const { return {0, -1}; }
    __device__ void add(state *best, int64_t k, int64_t m) const {
        real c = costs.over_row ? costs.of(k, m) : costs.of(m, k);
        if (best->cost == best->cost && !(c <= best->cost)) *best = {c, m};
    }
    __device__ void join(state *best, const state &other) const {
        bool nan = other.cost != other.cost, was_nan = best->cost != best->cost;
        bool same = other.cost == best->cost || (nan && was_nan);
        bool larger = other.cost > best->cost || (nan && !was_nan);
        if (larger || (same && other.at < best->at)) *best = other;
    }
    __device__ void finish(int64_t k, const state &best) const {
        int64_t i = costs.over_row ? k : best.at, j = costs.over_row ? best.at : k;
        if (cost) cost[k] = best.cost;
        if (!position) return;
        position[k] = best.cost != 0 ? i * costs.n + j : -1;
        if (best.cost != 0) atomicAdd(&takes_part[costs.anchor_row ? i : j], 1);
    }
};

/* All costs that one diagonal element takes part in: their sum or their number. */
template <typename real> struct all_of_line {
    struct state {
        double sum;
        int positive;
    };
    hinge_costs<real> costs;
    double *sum;
    int *takes_part;

    __device__ state start() const { return {0, 0}; }
    __device__ void add(state *all, int64_t k, int64_t m) const {
        real c = costs.anchor_row ? costs.of(k, m) : costs.of(m, k);
        all->sum += c;
        all->positive += c != 0;
    }
    __device__ void join(state *all, const state &other) const {
        all->sum += other.sum;
        all->positive += other.positive;
    }
    __device__ void finish(int64_t k, const state &all) const {
        if (sum) sum[k] = all.sum;
        if (takes_part) takes_part[k] = all.positive;
    }
};

/* One block: y = the sum of all x. */
template <typename real> static __global__ void total(real *y, const double *x, int64_t count) {
    double sum = 0;
    for (int64_t i = ct_first(); i < count; i += ct_step()) sum += x[i];
    sum = ct_block_sum(sum);
    if (threadIdx.x == 0) *y = (real)sum;
}

template <typename real>
bool ct_cuda_hinge(ct_tensor *loss, const ct_tensor *s, ct_hinge_options o) {
    int64_t n = s->shape.dim[0];
    ct_scratch scratch((size_t)n * sizeof(double));
    double *sums = static_cast<double *>(scratch.data);
    if (!sums) return false;
    hinge_costs<real> costs = costs_of<real>(s, o);
    bool ok = n == 0;
    if (n > 0 && o.hardest) {
        hardest_line<real> line = {costs, sums, nullptr, nullptr};
        ok = launch_lines(line, n, !costs.over_row);
    } else if (n > 0) {
        ok = launch_lines(all_of_line<real>{costs, sums, nullptr}, n, !costs.anchor_row);
    }
    return ok && CT_LAUNCH(total<real>, 1, CT_THREADS, 0, ct_cuda_data<real>(loss), sums, n);
}
CT_BOTH_REALS(hinge);

/* A positive cost passes the gradient to S[i][j], and with the other sign to its diagonal. */
template <typename real>
static __global__ void hinge_grad(real *gs, const real *g, hinge_costs<real> costs,
                                  const int64_t *position, const int *takes_part) {
    for (int64_t p = ct_first(); p < costs.n * costs.n; p += ct_step()) {
        int64_t i = p / costs.n, j = p - i * costs.n;
        bool counts = costs.hardest ? position[costs.over_row ? i : j] == p : costs.of(i, j) != 0;
        real y = counts ? *g : 0;
        if (i == j) y = takes_part[i] ? -(real)takes_part[i] * *g : 0;
        gs[p] = y;
    }
}

template <typename real>
bool ct_cuda_hinge_grad(ct_tensor *gs, const ct_tensor *g, const ct_tensor *s, ct_hinge_options o) {
    int64_t n = s->shape.dim[0];
    if (n == 0) return true;
    ct_scratch scratch((size_t)n * (sizeof(int64_t) + sizeof(int)));
    int64_t *position = static_cast<int64_t *>(scratch.data);
    if (!position) return false;
    int *takes_part = reinterpret_cast<int *>(position + n);
    hinge_costs<real> costs = costs_of<real>(s, o);
    bool ok;
    if (o.hardest) {
        ok = CT_CUDA(cudaMemsetAsync(takes_part, 0, (size_t)n * sizeof(int), ct_cuda_stream)) &&
             launch_lines(hardest_line<real>{costs, nullptr, position, takes_part}, n,
                          !costs.over_row);
    } else {
        ok = launch_lines(all_of_line<real>{costs, nullptr, takes_part}, n, !costs.anchor_row);
    }
    return ok &&
           CT_LAUNCH(hinge_grad<real>, ct_cuda_blocks(n * n), CT_THREADS, 0, ct_cuda_data<real>(gs),
                     ct_cuda_data<real>(g), costs, position, takes_part);
}
CT_BOTH_REALS(hinge_grad);

/* ---- ranks ------------------------------------------------------------------------------ */

template <typename real> struct rank_line {
    typedef int64_t state;
    const real *s;
    int64_t n;
    bool by_column;
    int64_t *rank;

    __device__ state start() const { return 0; }
    __device__ void add(state *count, int64_t k, int64_t m) const {
        *count += s[by_column ? m * n + k : k * n + m] > s[k * n + k];
    }
    __device__ void join(state *count, state other) const { *count += other; }
    __device__ void finish(int64_t k, state count) const { rank[k] = count; }
};

template <typename real>
bool ct_cuda_diagonal_ranks(ct_tensor *rank, const ct_tensor *s, bool by_column) {
    int64_t n = s->shape.dim[0];
    rank_line<real> line = {ct_cuda_data<real>(s), n, by_column, ct_cuda_data<int64_t>(rank)};
    return n == 0 || launch_lines(line, n, by_column);
}
CT_BOTH_REALS(diagonal_ranks);

/* ---- order similarity ------------------------------------------------------------------- */

enum { TILE = 16, DEPTH = 32, MOST_GRID_Y = 65535 };

static dim3 tiles(int64_t columns, int64_t of_x, int64_t rows, int64_t of_y) {
    int64_t y = (rows + of_y - 1) / of_y;
    return dim3((unsigned)((columns + of_x - 1) / of_x),
                (unsigned)(y < MOST_GRID_Y ? y : (int64_t)MOST_GRID_Y));
}

/* Rows first..first+TILE of x (rows, width), columns c..c+DEPTH, zero beyond the end. */
template <typename real>
static __device__ inline void load_tile(real (&tile)[TILE][DEPTH + 1], const real *x, int64_t first,
                                        int64_t rows, int64_t c, int64_t width) {
    for (int e = (int)(threadIdx.y * TILE + threadIdx.x); e < TILE * DEPTH; e += TILE * TILE) {
        int r = e / DEPTH, at = e % DEPTH;
        bool there = first + r < rows && c + at < width;
        tile[r][at] = there ? x[(first + r) * width + c + at] : 0;
    }
}

/* order_divided of tensor/cpu/matching_ranking_kernels.h. */
template <typename real>
static __device__ real order_divided(const real *a, const real *b, int64_t width, real plain) {
    real largest = 0;
    double squares = 0;
    for (int64_t c = 0; c < width; c++) largest = ct_combine_max()(real(b[c] - a[c]), largest);
    if (!ct_cuda_can_divide(largest)) return plain;
    for (int64_t c = 0; c < width; c++) {
        real d = (b[c] - a[c]) / largest;
        squares += d < 0 ? 0 : d * d;
    }
    return largest * (real)sqrt(squares);
}

/* A block for a tile of s, a thread for an element: DEPTH squares are added in `real`, those sums
 * in f64. */
template <typename real>
static __global__ void order_similarity(real *s, const real *a, const real *b, int64_t n, int64_t m,
                                        int64_t width) {
    __shared__ real rows_a[TILE][DEPTH + 1], rows_b[TILE][DEPTH + 1];
    int64_t first_j = (int64_t)blockIdx.x * TILE, j = first_j + threadIdx.x;
    for (int64_t first_i = (int64_t)blockIdx.y * TILE; first_i < n;
         first_i += (int64_t)gridDim.y * TILE) {
        int64_t i = first_i + threadIdx.y;
        double squares = 0;
        for (int64_t c = 0; c < width; c += DEPTH) {
            load_tile(rows_a, a, first_i, n, c, width);
            load_tile(rows_b, b, first_j, m, c, width);
            __syncthreads();
            real sum = 0;
            for (int k = 0; k < DEPTH; k++) {
                real d = rows_b[threadIdx.x][k] - rows_a[threadIdx.y][k];
                d = d < 0 ? 0 : d;
                sum += d * d;
            }
            squares += sum;
            __syncthreads();
        }
        real distance = (real)sqrt(squares);
        bool there = i < n && j < m;
        if (there && ct_cuda_squares_lost((real)squares)) {
            distance = order_divided(a + i * width, b + j * width, width, distance);
        }
        if (there) s[i * m + j] = distance == 0 ? 0 : -distance;
    }
}

template <typename real>
bool ct_cuda_order_similarity(ct_tensor *s, const ct_tensor *a, const ct_tensor *b) {
    int64_t n = s->shape.dim[0], m = s->shape.dim[1];
    if (n * m == 0) return true;
    return CT_LAUNCH(order_similarity<real>, tiles(m, TILE, n, TILE), dim3(TILE, TILE), 0,
                     ct_cuda_data<real>(s), ct_cuda_data<real>(a), ct_cuda_data<real>(b), n, m,
                     a->shape.dim[1]);
}
CT_BOTH_REALS(order_similarity);

enum { SIDE_ROWS = 8 };

/* dS/da = max(0, b - a) / |.| and dS/db its opposite: one side's gradient, `rows` of it, each a
 * sum over all rows of the other. A block for SIDE_ROWS rows and COLUMNS columns. */
template <typename real>
static __global__ void order_side_grad(real *to, const real *g, const real *s, const real *mine,
                                       const real *theirs, int64_t rows, int64_t others,
                                       int64_t width, bool side_b) {
    __shared__ real scale[SIDE_ROWS][COLUMNS], tile[COLUMNS][COLUMNS];
    int x = (int)threadIdx.x, y = (int)threadIdx.y;
    int64_t c = (int64_t)blockIdx.x * COLUMNS + x, step = (int64_t)gridDim.y * SIDE_ROWS;
    for (int64_t top = (int64_t)blockIdx.y * SIDE_ROWS; top < rows; top += step) {
        int64_t r = top + y;
        bool there = r < rows && c < width;
        real own = there ? mine[r * width + c] : 0;
        double total = 0;
        for (int64_t first = 0; first < others; first += COLUMNS) {
            int64_t o = first + x, pair = side_b ? o * rows + r : r * others + o;
            bool used = r < rows && o < others && s[pair] != 0;
            scale[y][x] = used ? g[pair] / (side_b ? s[pair] : -s[pair]) : 0;
            for (int k = y; k < COLUMNS; k += SIDE_ROWS) {
                bool inside = first + k < others && c < width;
                tile[k][x] = inside ? theirs[(first + k) * width + c] : 0;
            }
            __syncthreads();
            real sum = 0;
            for (int k = 0; k < COLUMNS && first + k < others; k++) {
                real d = side_b ? own - tile[k][x] : tile[k][x] - own;
                sum += scale[y][k] * (d < 0 ? 0 : d);
            }
            total += sum;
            __syncthreads();
        }
        if (there) to[r * width + c] = (real)total;
    }
}

/* x: the gradient's side (rows, width); y the other. */
template <typename real>
static bool launch_side(ct_tensor *to, const ct_tensor *g, const ct_tensor *s, const ct_tensor *x,
                        const ct_tensor *y, bool side_b) {
    int64_t rows = x->shape.dim[0], width = x->shape.dim[1];
    if (!to || rows * width == 0) return true;
    return CT_LAUNCH(order_side_grad<real>, tiles(width, COLUMNS, rows, SIDE_ROWS),
                     dim3(COLUMNS, SIDE_ROWS), 0, ct_cuda_data<real>(to), ct_cuda_data<real>(g),
                     ct_cuda_data<real>(s), ct_cuda_data<real>(x), ct_cuda_data<real>(y), rows,
                     y->shape.dim[0], width, side_b);
}

template <typename real>
bool ct_cuda_order_similarity_grad(ct_tensor *ga, ct_tensor *gb, const ct_tensor *g,
                                   const ct_tensor *a, const ct_tensor *b, const ct_tensor *s) {
    return launch_side<real>(ga, g, s, a, b, false) && launch_side<real>(gb, g, s, b, a, true);
}
CT_BOTH_REALS(order_similarity_grad);
