/* SPDX-License-Identifier: Apache-2.0 */
/* Hinge, order similarity and ranks against plain loops over their formulas. */
#include "tensor/matching/matching.h"
#include "tests/tensor/fused_test.h"

/* ---- hinge ------------------------------------------------------------------------------ */

typedef struct {
    ct_tensor *s;
    ct_hinge_options options;
} hinge_inputs;

/* All eight combinations, bit by bit. */
static ct_hinge_options options_of(int i) {
    return (ct_hinge_options){.margin = 0.3,
                              .hardest = i & 1,
                              .anchor = i & 2 ? CT_HINGE_COLUMN : CT_HINGE_ROW,
                              .over = i & 4 ? CT_HINGE_COLUMN : CT_HINGE_ROW};
}

static double cost(const hinge_inputs *in, int64_t i, int64_t j) {
    int64_t n = in->s->shape.dim[0], d = in->options.anchor == CT_HINGE_ROW ? i : j;
    const double *s = ct_data(in->s);
    return i == j ? 0 : fmax(0, in->options.margin + s[i * n + j] - s[d * n + d]);
}

static double hinge_reference(void *context) {
    const hinge_inputs *in = context;
    int64_t n = in->s->shape.dim[0];
    double total = 0;
    for (int64_t k = 0; k < n; k++) {
        double largest = 0, sum = 0;
        for (int64_t m = 0; m < n; m++) {
            bool rows = in->options.over == CT_HINGE_ROW;
            double c = rows ? cost(in, k, m) : cost(in, m, k);
            largest = fmax(largest, c);
            sum += c;
        }
        total += in->options.hardest ? largest : sum;
    }
    return total;
}

START_TEST(hinge) {
    for (int64_t n = 1; n < 12; n += 5) {
        CT_SCOPE {
            uint64_t state = (uint64_t)n;
            hinge_inputs in = {test_tensor(&state, CT_SHAPE(n, n), -1, 1), options_of(_i)};
            ct_tensor *loss = ct_tensor_hinge(in.s, in.options);
            assert_no_error();
            ck_assert_double_eq_tol(ct_item(loss), hinge_reference(&in), 1e-12);
            ct_tensor *one = ct_full(CT_F64, CT_CPU, CT_SCALAR_SHAPE, 1);
            assert_gradient(ct_tensor_hinge_grad(one, in.s, in.options), in.s, hinge_reference, &in,
                            "s");
            ct_tensor *s32 = ct_tensor_cast(in.s, CT_F32), *g = ct_scalar(CT_F32, CT_CPU, 2);
            assert_close(ct_tensor_hinge(s32, in.options), loss, 1e-6, 0, "f32");
            ct_tensor *twice = ct_tensor_scale(ct_tensor_hinge_grad(one, in.s, in.options), 2);
            assert_close(ct_tensor_hinge_grad(g, s32, in.options), twice, 0, 0, "f32 gradient");
        }
    }
}
END_TEST

START_TEST(hardest_takes_the_first_of_equals) {
    CT_SCOPE {
        /* row 0: both others cost 0.7; row 1: none; row 2: one */
        double s[] = {0, 0.5, 0.5, -1, 1, -1, 0.1, 0.4, 0.5};
        ct_tensor *similarity = ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3, 3), s);
        ct_hinge_options options = {.margin = 0.2, .hardest = true};
        ck_assert_double_eq_tol(ct_item(ct_tensor_hinge(similarity, options)), 0.7 + 0.1, 1e-12);
        ct_tensor *one = ct_full(CT_F64, CT_CPU, CT_SCALAR_SHAPE, 1);
        double expected[] = {-1, 1, 0, 0, 0, 0, 0, 1, -1};
        assert_close(ct_tensor_hinge_grad(one, similarity, options),
                     ct_from_doubles(CT_F64, CT_CPU, CT_SHAPE(3, 3), expected), 0, 0, "gradient");
    }
}
END_TEST

START_TEST(hinge_shows_nan) {
    CT_SCOPE {
        for (int i = 0; i < 8; i++) {
            ct_tensor *s = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 3));
            ct_set(s, 1, NAN);
            ck_assert(isnan(ct_item(ct_tensor_hinge(s, options_of(i)))));
        }
    }
}
END_TEST

/* ---- ranks ------------------------------------------------------------------------------ */

START_TEST(diagonal_ranks) {
    CT_SCOPE {
        for (int64_t n = 1; n < 40; n += 19) {
            uint64_t state = 4;
            ct_tensor *s = test_tensor(&state, CT_SHAPE(n, n), -1, 1);
            if (n > 1) ct_set(s, 1, ct_get(s, 0)); /* an equal does not count */
            for (int by_column = 0; by_column < 2; by_column++) {
                ct_tensor *ranks = ct_tensor_diagonal_ranks(s, by_column);
                ct_tensor *ranks32 = ct_tensor_diagonal_ranks(ct_tensor_cast(s, CT_F32), by_column);
                assert_no_error();
                ck_assert(ranks->dtype == CT_I64);
                for (int64_t i = 0; i < n; i++) {
                    int64_t above = 0;
                    for (int64_t j = 0; j < n; j++) {
                        int64_t other = by_column ? j * n + i : i * n + j;
                        above += ct_get(s, other) > ct_get(s, i * n + i);
                    }
                    ck_assert_int_eq((int)ct_get(ranks, i), (int)above);
                    ck_assert_int_eq((int)ct_get(ranks32, i), (int)above);
                }
            }
        }
    }
}
END_TEST

/* ---- order similarity ------------------------------------------------------------------- */

typedef struct {
    ct_tensor *a, *b, *g;
} order_inputs;

static ct_tensor *order_reference(const order_inputs *in) {
    int64_t n = in->a->shape.dim[0], m = in->b->shape.dim[0], width = in->a->shape.dim[1];
    ct_tensor *s = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(n, m));
    const double *a = ct_data(in->a), *b = ct_data(in->b);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < m; j++) {
            double squares = 0;
            for (int64_t c = 0; c < width; c++) {
                squares += pow(fmax(0, b[j * width + c] - a[i * width + c]), 2);
            }
            ((double *)ct_data(s))[i * m + j] = -sqrt(squares);
        }
    }
    return s;
}

static double order_loss(void *context) {
    const order_inputs *in = context;
    double value = 0;
    CT_SCOPE { value = test_dot(order_reference(in), in->g); }
    return value;
}

START_TEST(order_similarity) {
    const int64_t sizes[][3] = {{3, 4, 5}, {1, 1, 1}, {9, 2, 33}, {17, 5, 8}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        CT_SCOPE {
            uint64_t state = k;
            int64_t n = sizes[k][0], m = sizes[k][1], width = sizes[k][2];
            order_inputs in = {test_tensor(&state, CT_SHAPE(n, width), -1, 1),
                               test_tensor(&state, CT_SHAPE(m, width), -1, 1),
                               test_tensor(&state, CT_SHAPE(n, m), -1, 1)};
            ct_tensor *s = ct_tensor_order_similarity(in.a, in.b), *ga, *gb;
            assert_close(s, order_reference(&in), 1e-12, 0, "s");
            ct_tensor_order_similarity_grad(in.g, in.a, in.b, s, &ga, &gb);
            assert_gradient(ga, in.a, order_loss, &in, "a");
            assert_gradient(gb, in.b, order_loss, &in, "b");
            ct_tensor *a = ct_tensor_cast(in.a, CT_F32), *b = ct_tensor_cast(in.b, CT_F32);
            ct_tensor *s32 = ct_tensor_order_similarity(a, b), *ga32, *gb32;
            assert_close(s32, s, 1e-6, 1e-7, "f32");
            ct_tensor_order_similarity_grad(ct_tensor_cast(in.g, CT_F32), a, b, s32, &ga32, &gb32);
            assert_close(ga32, ga, 1e-5, 1e-6, "f32 a");
            assert_close(gb32, gb, 1e-5, 1e-6, "f32 b");
        }
    }
}
END_TEST

/* A vector against itself: similarity 0, and gradient 0 where sqrt has none. */
START_TEST(order_similarity_of_equals) {
    CT_SCOPE {
        uint64_t state = 8;
        ct_tensor *a = test_tensor(&state, CT_SHAPE(1, 6), -1, 1), *ga, *gb;
        ct_tensor *s = ct_tensor_order_similarity(a, a), *g = ct_full(CT_F64, CT_CPU, s->shape, 1);
        ct_tensor_order_similarity_grad(g, a, a, s, &ga, &gb);
        assert_no_error();
        ck_assert_double_eq(ct_item(s), 0);
        for (int64_t i = 0; i < 6; i++) ck_assert(ct_get(ga, i) == 0 && ct_get(gb, i) == 0);
        ct_tensor_order_similarity_grad(g, a, a, s, NULL, &gb); /* one side alone */
        assert_no_error();
        ck_assert(gb != NULL);
    }
}
END_TEST

/* ---- scores of rows in f16 ---------------------------------------------------------------- */

/* (Q,N) in f64, of what f16 holds. */
static ct_tensor *score_reference(const ct_tensor *a, const ct_tensor *b, ct_score_kind kind) {
    int64_t questions = ct_dim(a, 0), rows = ct_dim(b, 0), width = ct_dim(a, 1);
    ct_tensor *s = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(questions, rows));
    const float *x = ct_data(a), *y = ct_data(ct_tensor_cast(b, CT_F32));
    for (int64_t q = 0; q < questions; q++) {
        for (int64_t n = 0; n < rows; n++) {
            double sum = 0;
            for (int64_t c = 0; c < width; c++) {
                double u = x[q * width + c], v = y[n * width + c];
                double d = fmax(0, kind == CT_SCORE_ORDER ? v - u : u - v);
                sum += kind == CT_SCORE_PRODUCT ? u * v : d * d;
            }
            ((double *)ct_data(s))[q * rows + n] = kind == CT_SCORE_PRODUCT ? sum : -sqrt(sum);
        }
    }
    return s;
}

/* Sums of up to 137 products below 1 in f32, in LANES parts: their rounding is below 137 halves of
 * 2^-24. */
START_TEST(scores_of_rows) {
    const int64_t sizes[][3] = {{1, 1, 1}, {1, 9, 16}, {5, 67, 137}, {4, 130, 33}, {2, 3, 0}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        CT_SCOPE {
            uint64_t state = k;
            const int64_t *n = sizes[k];
            ct_tensor *a = ct_tensor_cast(test_tensor(&state, CT_SHAPE(n[0], n[2]), -1, 1), CT_F32);
            ct_tensor *b = ct_tensor_cast(test_tensor(&state, CT_SHAPE(n[1], n[2]), -1, 1), CT_F16);
            ct_tensor *s = ct_tensor_row_scores(a, b, (ct_score_kind)_i);
            assert_no_error();
            assert_close(s, score_reference(a, b, (ct_score_kind)_i), 1e-6, 1e-5, "scores");
        }
    }
}
END_TEST

/* A row's score does not depend on where it stands, on other questions or on threads. */
START_TEST(scores_of_equals) {
    CT_SCOPE {
        uint64_t state = 5;
        ct_tensor *a = ct_tensor_cast(test_tensor(&state, CT_SHAPE(7, 137), -1, 1), CT_F32);
        ct_tensor *x = ct_tensor_cast(test_tensor(&state, CT_SHAPE(1, 137), -1, 1), CT_F16);
        ct_tensor *b = ct_tensor_contiguous(ct_tensor_expand(x, CT_SHAPE(333, 137)));
        int before = ct_threads();
        for (int threads = 1; threads < 4; threads++) {
            ct_set_threads(threads);
            ct_tensor *s = ct_tensor_row_scores(a, b, (ct_score_kind)_i);
            for (int64_t q = 0; q < 7; q++) {
                ct_tensor *one = ct_tensor_slice(a, 0, q, q + 1, 1);
                double alone = ct_item(ct_tensor_row_scores(one, x, (ct_score_kind)_i));
                for (int64_t n = 0; n < 333; n++) {
                    ck_assert_double_eq(ct_get(s, q * 333 + n), alone);
                }
            }
        }
        ct_set_threads(before);
        assert_no_error();
    }
}
END_TEST

START_TEST(scores_refuse_bad_input) {
    CT_SCOPE {
        ct_tensor *a = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ct_tensor *b = ct_zeros(CT_F16, CT_CPU, CT_SHAPE(4, 3));
        ck_assert(ct_tensor_row_scores(a, NULL, CT_SCORE_PRODUCT) == NULL);
        assert_error("row scores: b is NULL");
        ck_assert(ct_tensor_row_scores(a, a, CT_SCORE_PRODUCT) == NULL);
        assert_error("b is f32 (2,3), expected f32 (Q,D) and f16 (N,D)");
        ct_tensor *narrow = ct_tensor_slice(b, 1, 0, 2, 1);
        ck_assert(ct_tensor_row_scores(a, narrow, CT_SCORE_PRODUCT) == NULL);
        assert_error("b is f16 (4,2), expected");
        ck_assert(ct_tensor_row_scores(a, b, (ct_score_kind)3) == NULL);
        assert_error("kind is 3");
        float *x = ct_data(a);
        x[0] = (float)NAN; /* stays */
        for (int kind = 0; kind < 3; kind++) {
            ck_assert(isnan(ct_get(ct_tensor_row_scores(a, b, (ct_score_kind)kind), 0)));
        }
    }
}
END_TEST

START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        uint64_t state = 8;
        ct_tensor *a = ct_tensor_cast(test_tensor(&state, CT_SHAPE(37, 131), -1, 1), CT_F32);
        ct_tensor *b = ct_tensor_cast(test_tensor(&state, CT_SHAPE(29, 131), -1, 1), CT_F32);
        ct_tensor *g = ct_tensor_cast(test_tensor(&state, CT_SHAPE(37, 29), -1, 1), CT_F32);
        ct_tensor *s[2], *ga[2], *gb[2];
        int before = ct_threads();
        for (int k = 0; k < 2; k++) {
            ct_set_threads(k + 1);
            s[k] = ct_tensor_order_similarity(a, b);
            ct_tensor_order_similarity_grad(g, a, b, s[k], &ga[k], &gb[k]);
        }
        ct_set_threads(before);
        assert_same_bits(s[0], s[1], "s");
        assert_same_bits(ga[0], ga[1], "a");
        assert_same_bits(gb[0], gb[1], "b");
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        ct_tensor *s = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 4));
        ck_assert(ct_tensor_hinge(s, options_of(0)) == NULL);
        assert_error("hinge: the similarity matrix is f32 (3,4), expected a square");
        ck_assert(ct_tensor_diagonal_ranks(s, false) == NULL);
        assert_error("expected a square");
        ct_tensor *square = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 3));
        ck_assert(ct_tensor_hinge_grad(s, square, options_of(0)) == NULL);
        assert_error("g is f32 (3,4), expected ()");
        ck_assert(ct_tensor_order_similarity(s, square) == NULL);
        assert_error("widths differ: f32 (3,4) and f32 (3,3)");
        ck_assert(ct_tensor_order_similarity(s, NULL) == NULL);
        assert_error("NULL");
        ct_tensor *ga, *gb;
        ct_tensor_order_similarity_grad(s, square, square, square, &ga, &gb);
        ck_assert(!ga && !gb);
        assert_error("g is f32 (3,4), expected (3,3)");
    }
}
END_TEST

LOOPED_TEST_MAIN("ranking", {hinge, 8}, {hardest_takes_the_first_of_equals, 1},
                 {hinge_shows_nan, 1}, {diagonal_ranks, 1}, {order_similarity, 1},
                 {order_similarity_of_equals, 1}, {threads_do_not_matter, 1}, {scores_of_rows, 3},
                 {scores_of_equals, 3}, {scores_refuse_bad_input, 1}, {refuses_bad_input, 1})
