/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of many rows in f16: read once, widened in registers, so that memory's speed bounds them
 * where the questions are few. */
#include <math.h>
#include <string.h>

#include "tensor/core/convert.h"
#include "tensor/cpu/cpu.h"

#if defined __AVX512F__ || (defined __AVX2__ && defined __F16C__)
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(64)));
typedef int32_t mask __attribute__((vector_size(64)));
static inline lanes widen(const ct_f16 *x) {
    return (lanes)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)x));
}
#elif defined __AVX2__ && defined __F16C__
enum { LANES = 8 };
typedef float lanes __attribute__((vector_size(32)));
typedef int32_t mask __attribute__((vector_size(32)));
static inline lanes widen(const ct_f16 *x) {
    return (lanes)_mm256_cvtph_ps(_mm_loadu_si128((const void *)x));
}
#else
enum { LANES = 4 };
typedef float lanes __attribute__((vector_size(16)));
typedef int32_t mask __attribute__((vector_size(16)));
static inline lanes widen(const ct_f16 *x) {
    lanes y;
    for (int k = 0; k < LANES; k++) y[k] = ct_f32_of_f16(x[k]);
    return y;
}
#endif

/* Rows and questions that are scored together: each number that is read serves several sums. */
enum { ROWS = 4, QUESTIONS = 4, ROWS_A_TASK = 64 };
#define UNROLLED _Pragma("GCC unroll 4")

typedef struct {
    float *s;        /* (questions,rows) */
    const float *a;  /* (questions,width) */
    const ct_f16 *b; /* (rows,width) */
    int64_t questions, rows, width;
    ct_score_kind kind;
} scoring;

static inline lanes load(const float *x) {
    lanes y;
    memcpy(&y, x, sizeof y);
    return y;
}

static inline lanes add_term(lanes sum, lanes a, lanes b, ct_score_kind kind) {
    if (kind == CT_SCORE_PRODUCT) return sum + a * b;
    lanes d = kind == CT_SCORE_ORDER ? b - a : a - b, zero = {0};
    d = (lanes)((mask)d & ~(mask)(d < zero)); /* 0 for what is negative; NaN stays */
    return sum + d * d;
}

static inline float sum_of(lanes x) {
    float y[LANES];
    memcpy(y, &x, sizeof y);
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int k = 0; k < half; k++) y[k] += y[k + half];
    }
    return y[0];
}

/* `rows` and `questions` are constants where it is called. A sum is the same whatever it is made
 * together with: lane k adds elements k, k + LANES, ... in their order. */
static inline __attribute__((always_inline)) void score_tile(const scoring *t, int64_t row,
                                                             int64_t question, const int rows,
                                                             const int questions,
                                                             ct_score_kind kind) {
    lanes sum[ROWS][QUESTIONS] = {{{0}}};
    const float *a = t->a + question * t->width;
    const ct_f16 *b = t->b + row * t->width;
    int64_t c = 0;
    for (; c + LANES <= t->width; c += LANES) {
        lanes x[ROWS];
        UNROLLED for (int r = 0; r < rows; r++) x[r] = widen(b + r * t->width + c);
        UNROLLED for (int q = 0; q < questions; q++) {
            lanes y = load(a + q * t->width + c);
            UNROLLED for (int r = 0; r < rows; r++) {
                sum[r][q] = add_term(sum[r][q], y, x[r], kind);
            }
        }
    }
    size_t left = (size_t)(t->width - c);
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < questions; q++) {
            if (left) { /* filled up with zeros, which add nothing */
                ct_f16 x[LANES] = {{0}};
                float y[LANES] = {0};
                memcpy(x, b + r * t->width + c, left * sizeof *x);
                memcpy(y, a + q * t->width + c, left * sizeof *y);
                sum[r][q] = add_term(sum[r][q], load(y), widen(x), kind);
            }
            float total = sum_of(sum[r][q]);
            if (kind != CT_SCORE_PRODUCT) total = total == 0 ? 0 : -sqrtf(total);
            t->s[(question + q) * t->rows + row + r] = total;
        }
    }
}

static inline __attribute__((always_inline)) void score_rows(const scoring *t, int64_t first,
                                                             int64_t end, ct_score_kind kind) {
    int64_t q = 0, r;
    for (; q + QUESTIONS <= t->questions; q += QUESTIONS) {
        for (r = first; r + ROWS <= end; r += ROWS) score_tile(t, r, q, ROWS, QUESTIONS, kind);
        for (; r < end; r++) score_tile(t, r, q, 1, QUESTIONS, kind);
    }
    for (; q < t->questions; q++) {
        for (r = first; r + ROWS <= end; r += ROWS) score_tile(t, r, q, ROWS, 1, kind);
        for (; r < end; r++) score_tile(t, r, q, 1, 1, kind);
    }
}

/* A task is a band of rows, which stay in the cache for all questions. */
CT_PART score_bands(ct_part part, const scoring *t) {
    for (int64_t task = part.begin; task < part.end; task++) {
        int64_t first = task * ROWS_A_TASK, end = first + ROWS_A_TASK;
        if (end > t->rows) end = t->rows;
        switch (t->kind) {
        case CT_SCORE_PRODUCT: score_rows(t, first, end, CT_SCORE_PRODUCT); break;
        case CT_SCORE_ORDER: score_rows(t, first, end, CT_SCORE_ORDER); break;
        case CT_SCORE_ORDER_TURNED: score_rows(t, first, end, CT_SCORE_ORDER_TURNED); break;
        }
    }
}

bool CT_CPU(row_scores)(ct_tensor *s, const ct_tensor *a, const ct_tensor *b, ct_score_kind kind) {
    scoring t = {ct_cpu_data(s),
                 ct_cpu_data(a),
                 ct_cpu_data(b),
                 a->shape.dim[0],
                 b->shape.dim[0],
                 b->shape.dim[1],
                 kind};
    int64_t bands = (t.rows + ROWS_A_TASK - 1) / ROWS_A_TASK;
    CT_IN_PARTS(ct_cpu_threads(t.rows * t.width * t.questions), bands, score_bands(part, &t));
    return true;
}
