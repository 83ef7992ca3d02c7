/* SPDX-License-Identifier: Apache-2.0 */
/* One line along an axis, for one type: a template, included by cpu/order.c after real_f32.h or
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
