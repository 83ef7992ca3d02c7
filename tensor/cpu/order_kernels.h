/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels along an axis for one type: a template, included by cpu/order.c after real_f32.h or
 * real_f64.h. NaN counts as larger than every number. */

/* a comes before b in ascending or descending order. */
static inline bool REAL_NAME(before)(real a, real b, bool descending) {
    if (descending) return a > b || (a != a && b == b);
    return a < b || (a == a && b != b);
}

static int64_t REAL_NAME(arg_line)(const real *x, int64_t stride, int64_t n, bool largest) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        if (REAL_NAME(before)(x[i * stride], x[best * stride], largest)) best = i;
    }
    return best;
}

/* The running sum is f64 and rounded where it is stored. */
static void REAL_NAME(cumsum_line)(real *y, int64_t y_stride, const real *x, int64_t x_stride,
                                   int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i * x_stride];
        y[i * y_stride] = (real)sum;
    }
}

typedef struct {
    real key;
    int64_t index;
} REAL_NAME(item);

/* Merges the sorted runs from[0..middle) and from[middle..n) into to. */
static void REAL_NAME(merge)(REAL_NAME(item) * to, const REAL_NAME(item) * from, int64_t middle,
                             int64_t n, bool descending) {
    int64_t a = 0, b = middle;
    for (int64_t i = 0; i < n; i++) {
        bool second =
            a == middle || (b < n && REAL_NAME(before)(from[b].key, from[a].key, descending));
        to[i] = from[second ? b++ : a++];
    }
}

/* Merge sort from runs of one element upwards; `work` holds 2n items. */
static void REAL_NAME(argsort_line)(int64_t *to, const real *x, int64_t stride, int64_t n,
                                    bool descending, void *work) {
    REAL_NAME(item) *from = work, *other = from + n;
    for (int64_t i = 0; i < n; i++) from[i] = (REAL_NAME(item)){x[i * stride], i};
    for (int64_t run = 1; run < n; run *= 2) {
        for (int64_t i = 0; i < n; i += 2 * run) {
            int64_t length = n - i < 2 * run ? n - i : 2 * run;
            REAL_NAME(merge)(other + i, from + i, run < length ? run : length, length, descending);
        }
        REAL_NAME(item) *swap = from;
        from = other;
        other = swap;
    }
    for (int64_t i = 0; i < n; i++) to[i] = from[i].index;
}

/* ---- entries ---------------------------------------------------------------------------- */

CT_PART REAL_NAME(arg_lines)(ct_part part, bool largest, ct_tensor *y, const ct_tensor *x,
                             int axis) {
    int64_t n = x->shape.dim[axis];
    for (int64_t i = part.begin; i < part.end; i++) {
        int64_t from = line_offset(x, axis, i), stride = x->stride[axis];
        int64_t *to = (int64_t *)ct_cpu_data(y) + line_offset(y, axis, i);
        *to = REAL_NAME(arg_line)((const real *)ct_cpu_data(x) + from, stride, n, largest);
    }
}

bool REAL_KERNEL(arg_reduce)(bool largest, ct_tensor *y, const ct_tensor *x, int axis) {
    int64_t lines = line_count(x, axis);
    CT_IN_PARTS(ct_cpu_threads(lines * x->shape.dim[axis]), lines,
                REAL_NAME(arg_lines)(part, largest, y, x, axis));
    return true;
}

CT_PART REAL_NAME(cumsum_lines)(ct_part part, ct_tensor *y, const ct_tensor *x, int axis,
                                bool reverse) {
    int64_t n = x->shape.dim[axis], from_stride = x->stride[axis], to_stride = y->stride[axis];
    for (int64_t i = part.begin; i < part.end; i++) {
        int64_t from = line_offset(x, axis, i) + (reverse ? (n - 1) * from_stride : 0);
        int64_t to = line_offset(y, axis, i) + (reverse ? (n - 1) * to_stride : 0);
        int64_t sx = reverse ? -from_stride : from_stride, sy = reverse ? -to_stride : to_stride;
        REAL_NAME(cumsum_line)
        ((real *)ct_cpu_data(y) + to, sy, (const real *)ct_cpu_data(x) + from, sx, n);
    }
}

bool REAL_KERNEL(cumsum)(ct_tensor *y, const ct_tensor *x, int axis, bool reverse) {
    int64_t lines = line_count(x, axis), n = x->shape.dim[axis];
    if (n == 0) return true;
    CT_IN_PARTS(ct_cpu_threads(lines * n), lines,
                REAL_NAME(cumsum_lines)(part, y, x, axis, reverse));
    return true;
}

/* A task is all the lines of one of `shares`, which has `bytes` of work to itself. */
CT_PART REAL_NAME(argsort_shares)(ct_part part, ct_tensor *y, const ct_tensor *x, bool descending,
                                  char *work, size_t bytes, int shares) {
    int axis = x->shape.ndim - 1;
    int64_t lines = line_count(x, axis), n = x->shape.dim[axis];
    for (int64_t t = part.begin; t < part.end; t++) {
        void *own = work + (size_t)t * bytes;
        for (int64_t i = lines * t / shares; i < lines * (t + 1) / shares; i++) {
            int64_t from = line_offset(x, axis, i), stride = x->stride[axis];
            int64_t *to = (int64_t *)ct_cpu_data(y) + line_offset(y, axis, i);
            REAL_NAME(argsort_line)
            (to, (const real *)ct_cpu_data(x) + from, stride, n, descending, own);
        }
    }
}

bool REAL_KERNEL(argsort)(ct_tensor *y, const ct_tensor *x, bool descending) {
    int axis = x->shape.ndim - 1;
    int64_t lines = line_count(x, axis), n = x->shape.dim[axis];
    if (lines * n == 0) return true;
    int threads = ct_cpu_threads(8 * lines * n);
    if (threads > lines) threads = (int)lines;
    /* a thread's items and the other half of each merge */
    size_t bytes = 2 * (size_t)n * sizeof(REAL_NAME(item));
    char *work = malloc((size_t)threads * bytes);
    if (!work) return ct_fail_bool("argsort: out of memory");
    CT_IN_PARTS(threads, threads,
                REAL_NAME(argsort_shares)(part, y, x, descending, work, bytes, threads));
    free(work);
    return true;
}
