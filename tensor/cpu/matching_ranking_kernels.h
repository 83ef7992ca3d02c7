/* SPDX-License-Identifier: Apache-2.0 */
/* Loops on similarity matrices for one type: a template, included by cpu/matching_ranking.c after
 * real_f32.h or real_f64.h. */

/* ---- hinge ------------------------------------------------------------------------------ */

/* NaN stays NaN, here and below: a broken similarity must show in the loss. */
static real REAL_NAME(cost)(const real *s, int64_t n, int64_t i, int64_t j, real margin,
                            ct_hinge_side anchor) {
    int64_t d = anchor == CT_HINGE_ROW ? i : j;
    real c = margin + s[i * n + j] - s[d * n + d];
    return i == j || c <= R(0) ? R(0) : c;
}

/* Position (row-major) of the largest cost of line k (a row or a column), the first of equals, and
 * that cost. */
static int64_t REAL_NAME(hardest)(const real *s, int64_t n, int64_t k, ct_hinge_options options,
                                  real *largest) {
    int64_t position = k * n + k;
    *largest = 0;
    for (int64_t m = 0; m < n; m++) {
        int64_t i = options.over == CT_HINGE_ROW ? k : m, j = options.over == CT_HINGE_ROW ? m : k;
        real c = REAL_NAME(cost)(s, n, i, j, (real)options.margin, options.anchor);
        if (*largest == *largest && !(c <= *largest)) {
            *largest = c;
            position = i * n + j;
        }
    }
    return position;
}

bool REAL_KERNEL(hinge)(ct_tensor *loss, const ct_tensor *s, ct_hinge_options options) {
    int64_t n = s->shape.dim[0];
    const real *x = ct_cpu_data(s);
    double total = 0;
    for (int64_t k = 0; k < n; k++) {
        if (options.hardest) {
            real largest;
            REAL_NAME(hardest)(x, n, k, options, &largest);
            total += largest;
            continue;
        }
        for (int64_t j = 0; j < n; j++) {
            total += REAL_NAME(cost)(x, n, k, j, (real)options.margin, options.anchor);
        }
    }
    *(real *)ct_cpu_data(loss) = (real)total;
    return true;
}

/* A positive cost passes the gradient to S[i][j], and with the other sign to its diagonal. */
static void REAL_NAME(add_hinge_grad)(real *gs, int64_t n, int64_t position, ct_hinge_side anchor,
                                      real g) {
    int64_t d = anchor == CT_HINGE_ROW ? position / n : position % n;
    gs[position] += g;
    gs[d * n + d] -= g;
}

bool REAL_KERNEL(hinge_grad)(ct_tensor *gs, const ct_tensor *g, const ct_tensor *s,
                             ct_hinge_options options) {
    int64_t n = s->shape.dim[0];
    const real *x = ct_cpu_data(s), scale = *(const real *)ct_cpu_data(g);
    real *to = ct_cpu_data(gs);
    if (n > 0) memset(to, 0, (size_t)(n * n) * sizeof *to);
    for (int64_t k = 0; k < n; k++) {
        if (options.hardest) {
            real largest;
            int64_t position = REAL_NAME(hardest)(x, n, k, options, &largest);
            if (largest != R(0)) REAL_NAME(add_hinge_grad)(to, n, position, options.anchor, scale);
            continue;
        }
        for (int64_t j = 0; j < n; j++) {
            real c = REAL_NAME(cost)(x, n, k, j, (real)options.margin, options.anchor);
            if (c != R(0)) REAL_NAME(add_hinge_grad)(to, n, k * n + j, options.anchor, scale);
        }
    }
    return true;
}

/* ---- ranks ------------------------------------------------------------------------------ */

bool REAL_KERNEL(diagonal_ranks)(ct_tensor *ranks, const ct_tensor *s, bool by_column) {
    int64_t n = s->shape.dim[0];
    const real *x = ct_cpu_data(s);
    int64_t *rank = ct_cpu_data(ranks);
    if (n > 0) memset(rank, 0, (size_t)n * sizeof *rank);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
            int64_t query = by_column ? j : i;
            rank[query] += x[i * n + j] > x[query * n + query];
        }
    }
    return true;
}

/* ---- order similarity ------------------------------------------------------------------- */

/* Once more where the sum of squares has left the range: of differences divided by the largest. */
static real REAL_NAME(order_divided)(const real *a, const real *b, int64_t width, real plain) {
    real largest = 0, squares = 0;
    for (int64_t c = 0; c < width; c++) {
        const real d = b[c] - a[c];
        largest = d > largest || d != d ? d : largest;
    }
    if (!REAL_NAME(ct_can_divide)(largest)) return plain;
    for (int64_t c = 0; c < width; c++) {
        const real d = (b[c] - a[c]) / largest;
        squares += d < R(0) ? R(0) : d * d;
    }
    return largest * R_SQRT(squares);
}

static real REAL_NAME(order_distance)(const real *a, const real *b, int64_t width) {
    real squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < width; c++) {
        real d = b[c] - a[c];
        d = d < R(0) ? R(0) : d;
        squares += d * d;
    }
    const real distance = R_SQRT(squares);
    if (!REAL_NAME(ct_squares_lost)(squares)) return distance;
    return REAL_NAME(order_divided)(a, b, width, distance);
}

/* Tiles of a stay in the cache while all of b passes by. */
CT_PART REAL_NAME(order_tiles)(ct_part part, ct_tensor *s, const ct_tensor *a, const ct_tensor *b) {
    int64_t n = s->shape.dim[0], m = s->shape.dim[1], width = a->shape.dim[1];
    const real *x = ct_cpu_data(a), *y = ct_cpu_data(b);
    real *to = ct_cpu_data(s);
    for (int64_t t = part.begin; t < part.end; t++) {
        int64_t first = t * ORDER_TILE, stop = first + ORDER_TILE < n ? first + ORDER_TILE : n;
        for (int64_t j = 0; j < m; j++) {
            for (int64_t i = first; i < stop; i++) {
                real d = REAL_NAME(order_distance)(x + i * width, y + j * width, width);
                to[i * m + j] = d == R(0) ? R(0) : -d;
            }
        }
    }
}

bool REAL_KERNEL(order_similarity)(ct_tensor *s, const ct_tensor *a, const ct_tensor *b) {
    int64_t n = s->shape.dim[0];
    CT_IN_PARTS(ct_cpu_threads(ct_count(s) * a->shape.dim[1]), (n + ORDER_TILE - 1) / ORDER_TILE,
                REAL_NAME(order_tiles)(part, s, a, b));
    return true;
}

/* to += scale * max(0, b - a) */
static void REAL_NAME(add_order_grad)(real *to, const real *a, const real *b, real scale,
                                      int64_t width) {
#pragma omp simd
    for (int64_t c = 0; c < width; c++) {
        real d = b[c] - a[c];
        to[c] += scale * (d < R(0) ? R(0) : d);
    }
}

/* dS/da = max(0, b - a) / |.| and dS/db its opposite: the rows of one side's gradient, each a sum
 * over all of the other side. */
CT_PART REAL_NAME(order_side_grad)(ct_part part, real *to, const real *g, const real *s,
                                   const real *x, const real *y, int64_t n, int64_t m,
                                   int64_t width, bool side_b) {
    int64_t others = side_b ? n : m;
    for (int64_t r = part.begin; r < part.end; r++) {
        if (width > 0) memset(to + r * width, 0, (size_t)width * sizeof *to);
        for (int64_t o = 0; o < others; o++) {
            int64_t i = side_b ? o : r, j = side_b ? r : o;
            real distance = -s[i * m + j];
            if (distance == R(0)) continue;
            real scale = g[i * m + j] / distance;
            REAL_NAME(add_order_grad)
            (to + r * width, x + i * width, y + j * width, side_b ? -scale : scale, width);
        }
    }
}

bool REAL_KERNEL(order_similarity_grad)(ct_tensor *ga, ct_tensor *gb, const ct_tensor *g,
                                        const ct_tensor *a, const ct_tensor *b,
                                        const ct_tensor *s) {
    int64_t n = s->shape.dim[0], m = s->shape.dim[1], width = a->shape.dim[1];
    const real *x = ct_cpu_data(a), *y = ct_cpu_data(b), *gd = ct_cpu_data(g), *sd = ct_cpu_data(s);
    real *to_a = ct_cpu_data_or_null(ga), *to_b = ct_cpu_data_or_null(gb);
    int threads = ct_cpu_threads(n * m * width);
    if (to_a) {
        CT_IN_PARTS(threads, n,
                    REAL_NAME(order_side_grad)(part, to_a, gd, sd, x, y, n, m, width, false));
    }
    if (to_b) {
        CT_IN_PARTS(threads, m,
                    REAL_NAME(order_side_grad)(part, to_b, gd, sd, x, y, n, m, width, true));
    }
    return true;
}
