/* SPDX-License-Identifier: Apache-2.0 */
/* One step of the GRU and the LSTM on CUDA tensors against the CPU, on rows at any distance: what
 * stands between the rows must stay as it was. */
#include "tests/cuda/cuda_test.h"

static const int64_t row_counts[] = {0, 1, 33, 70, 3001}, widths[] = {1, 31, 33, 64, 257};
enum { ROW_COUNTS = 5, LARGE = 1, WIDTHS = 5 };

/* Where the matrices of a step lie: dense, with 4 columns between rows (all on 16 bytes still where
 * the width allows it), with 3, and dense but misaligned. */
typedef enum { TIGHT, APART, ODDLY_APART, SHIFTED, PLACES } place;

/* A matrix on both devices. */
typedef struct {
    ct_tensor *cpu, *cuda; /* views (rows, columns) */
    ct_tensor *all_cpu, *all_cuda;
} both;

static both matrix(ct_dtype dtype, int64_t rows, int64_t columns, place where, uint64_t seed) {
    int64_t between = where == APART ? 4 : where == ODDLY_APART ? 3 : 0;
    both m = {.all_cpu = noise(dtype, CT_SHAPE(rows, columns + between), 2, seed)};
    m.all_cuda = where == SHIFTED ? misaligned(m.all_cpu) : on_cuda(m.all_cpu);
    m.cpu = ct_tensor_slice(m.all_cpu, 1, 0, columns, 1);
    m.cuda = ct_tensor_slice(m.all_cuda, 1, 0, columns, 1);
    return m;
}

static void assert_same(const both *m, const char *what) {
    double relative = m->cpu->dtype == CT_F64 ? 1e-14 : 2e-6;
    assert_as_cpu(m->all_cuda, m->all_cpu, relative, what);
}

typedef struct {
    ct_dtype dtype;
    int64_t rows, width;
    place where;
    bool given; /* hidden, previous, g and biases; else NULL */
} step_case;

static both optional(const step_case *c, int64_t columns, uint64_t seed) {
    return c->given ? matrix(c->dtype, c->rows, columns, c->where, seed) : (both){0};
}

static both bias(const step_case *c, int64_t columns, uint64_t seed) {
    if (!c->given) return (both){0};
    ct_tensor *b = noise(c->dtype, CT_SHAPE(columns), 1, seed);
    return (both){.cpu = b, .cuda = c->where == SHIFTED ? misaligned(b) : on_cuda(b)};
}

static both gradient_sums(int64_t columns) {
    both m = {.all_cpu = noise(CT_F64, CT_SHAPE(1, columns), 1, 9)};
    m.all_cuda = on_cuda(m.all_cpu);
    m.cpu = m.all_cpu;
    m.cuda = m.all_cuda;
    return m;
}

/* The CPU adds a column's parts in the matrices' precision. */
static void assert_same_sums(const both *m, ct_dtype dtype, const char *what) {
    assert_as_cpu(m->cuda, m->cpu, dtype == CT_F64 ? 1e-13 : 2e-5, what);
}

/* What is to be a bf16 copy, NULL but for f32: bit for bit that of the other tensor. */
static both narrow(const step_case *c, int64_t columns) {
    return c->dtype == CT_F32 ? matrix(CT_BF16, c->rows, columns, c->where, 12) : (both){0};
}

static void assert_rounded(const both *m, const both *of, const char *what) {
    if (!m->cuda) return;
    assert_same_on_both(ct_tensor_copy(m->cuda), ct_tensor_cast(on_cpu(of->cuda), CT_BF16), what);
}

static void check_gru(const step_case *c) {
    const ct_backend *cpu = ct_backend_of(CT_CPU);
    const ct_backend *cuda = ct_backend_of(CT_CUDA);
    both h = matrix(c->dtype, c->rows, c->width, c->where, 1);
    both saved = matrix(c->dtype, c->rows, 4 * c->width, c->where, 2);
    both hidden = optional(c, 3 * c->width, 3), previous = optional(c, c->width, 4);
    both b_ih = bias(c, 3 * c->width, 5), b_hh = bias(c, 3 * c->width, 6);
    both rounded = narrow(c, c->width);
    require(cpu->gru_step(h.cpu, NULL, saved.cpu, hidden.cpu, previous.cpu, b_ih.cpu, b_hh.cpu) &&
                cuda->gru_step(h.cuda, rounded.cuda, saved.cuda, hidden.cuda, previous.cuda,
                               b_ih.cuda, b_hh.cuda),
            "gru_step: %s", ct_error());
    assert_same(&h, "gru h");
    assert_rounded(&rounded, &h, "gru h, rounded");
    assert_same(&saved, "gru saved");
    both d = matrix(c->dtype, c->rows, 4 * c->width, c->where, 7), g = optional(c, c->width, 8);
    both dh = matrix(c->dtype, c->rows, c->width, c->where, 10);
    both sums = gradient_sums(4 * c->width), rounded_d = narrow(c, 4 * c->width);
    ct_tensor *dh_again = ct_tensor_copy(dh.cuda), *sums_again = ct_tensor_copy(sums.cuda);
    require(cpu->gru_step_grad(d.cpu, dh.cpu, sums.cpu, g.cpu, saved.cpu, previous.cpu) &&
                cuda->gru_step_grad(d.cuda, dh.cuda, sums.cuda, g.cuda, saved.cuda, previous.cuda),
            "gru_step_grad: %s", ct_error());
    assert_same(&d, "gru d");
    assert_same(&dh, "gru dh");
    assert_same_sums(&sums, c->dtype, "gru d_bias");
    if (!rounded_d.cuda) return;
    require(cuda->gru_step_grad(rounded_d.cuda, dh_again, sums_again, g.cuda, saved.cuda,
                                previous.cuda),
            "gru_step_grad: %s", ct_error());
    assert_rounded(&rounded_d, &d, "gru d, rounded");
    assert_same_on_both(sums_again, on_cpu(sums.cuda), "gru d_bias of rounded d");
}

static void check_lstm(const step_case *c) {
    const ct_backend *cpu = ct_backend_of(CT_CPU);
    const ct_backend *cuda = ct_backend_of(CT_CUDA);
    both h = matrix(c->dtype, c->rows, c->width, c->where, 1);
    both saved = matrix(c->dtype, c->rows, 5 * c->width, c->where, 2);
    both hidden = optional(c, 4 * c->width, 3), previous = optional(c, c->width, 4);
    both b_ih = bias(c, 4 * c->width, 5), b_hh = bias(c, 4 * c->width, 6);
    both rounded = narrow(c, c->width);
    require(cpu->lstm_step(h.cpu, NULL, saved.cpu, hidden.cpu, previous.cpu, b_ih.cpu, b_hh.cpu) &&
                cuda->lstm_step(h.cuda, rounded.cuda, saved.cuda, hidden.cuda, previous.cuda,
                                b_ih.cuda, b_hh.cuda),
            "lstm_step: %s", ct_error());
    assert_same(&h, "lstm h");
    assert_rounded(&rounded, &h, "lstm h, rounded");
    assert_same(&saved, "lstm saved");
    both d = matrix(c->dtype, c->rows, 4 * c->width, c->where, 7), g = optional(c, c->width, 8);
    both dh = matrix(c->dtype, c->rows, c->width, c->where, 10);
    both dc = matrix(c->dtype, c->rows, c->width, c->where, 11);
    both sums = gradient_sums(4 * c->width), rounded_d = narrow(c, 4 * c->width);
    ct_tensor *dc_again = ct_tensor_copy(dc.cuda), *sums_again = ct_tensor_copy(sums.cuda);
    require(cpu->lstm_step_grad(d.cpu, dh.cpu, dc.cpu, sums.cpu, g.cpu, saved.cpu, previous.cpu) &&
                cuda->lstm_step_grad(d.cuda, dh.cuda, dc.cuda, sums.cuda, g.cuda, saved.cuda,
                                     previous.cuda),
            "lstm_step_grad: %s", ct_error());
    assert_same(&d, "lstm d");
    assert_same(&dc, "lstm dc");
    assert_same_sums(&sums, c->dtype, "lstm d_bias");
    if (!rounded_d.cuda) return;
    require(cuda->lstm_step_grad(rounded_d.cuda, dh.cuda, dc_again, sums_again, g.cuda, saved.cuda,
                                 previous.cuda),
            "lstm_step_grad: %s", ct_error());
    assert_rounded(&rounded_d, &d, "lstm d, rounded");
    assert_same_on_both(sums_again, on_cpu(sums.cuda), "lstm d_bias of rounded d");
}

START_TEST(as_on_the_cpu) {
    step_case c = {.where = (place)_i};
    for (int d = 0; d < 2; d++) {
        for (size_t r = 0; r < cases_here(ROW_COUNTS, LARGE); r++) {
            for (int w = 0; w < WIDTHS; w++) {
                for (int given = 0; given < 2; given++) {
                    c.dtype = reals[d];
                    c.rows = row_counts[r];
                    c.width = widths[w];
                    c.given = given;
                    CT_SCOPE {
                        check_gru(&c);
                        check_lstm(&c);
                    }
                }
            }
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda recurrent", {as_on_the_cpu, PLACES})
