/* SPDX-License-Identifier: Apache-2.0 */
/* Hinge, ranks and order similarity on CUDA tensors against the CPU. */
#include "tests/cuda/cuda_test.h"

static const int64_t sizes[] = {0, 1, 31, 33, 64, 257};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* Similarities of which some are equal: a few different values. */
static ct_tensor *similarities(ct_dtype dtype, int64_t n) {
    ct_tensor *x = noise(CT_F64, CT_SHAPE(n, n), 8, 1);
    x = ct_tensor_scale(ct_tensor_unary(CT_UNARY_round, x, 0, 0), 1.0 / 16);
    return ct_tensor_cast(x, dtype);
}

/* The CPU adds up to 257^2 costs one after another. */
static double tolerance(ct_dtype dtype) { return dtype == CT_F64 ? 2e-12 : 2e-6; }

static void check_hinge(const ct_tensor *s) {
    ct_tensor *g = ct_scalar(s->dtype, CT_CPU, 0.3), *of_s = on_cuda(s), *of_g = on_cuda(g);
    for (int i = 0; i < 8; i++) {
        ct_hinge_options o = {0.2, i & 1, (ct_hinge_side)(i / 2 & 1), (ct_hinge_side)(i / 4)};
        assert_as_cpu(ct_tensor_hinge(of_s, o), ct_tensor_hinge(s, o), tolerance(s->dtype),
                      "hinge");
        assert_as_cpu(ct_tensor_hinge_grad(of_g, of_s, o), ct_tensor_hinge_grad(g, s, o),
                      tolerance(s->dtype), "hinge gradient");
    }
}

static void check_ranks(const ct_tensor *s) {
    ct_tensor *of_s = on_cuda(s);
    for (int by_column = 0; by_column < 2; by_column++) {
        assert_as_cpu(ct_tensor_diagonal_ranks(of_s, by_column),
                      ct_tensor_diagonal_ranks(s, by_column), 0, "diagonal ranks");
    }
}

START_TEST(square_as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            ct_tensor *s = similarities(reals[d], sizes[_i]);
            check_hinge(s);
            check_ranks(s);
        }
    }
}
END_TEST

/* Where it stands, and beside which, a NaN is the hardest of all. */
START_TEST(with_nan) {
    for (int64_t at = 0; at < 33 * 33; at += 40) {
        CT_SCOPE {
            ct_tensor *s = similarities(CT_F64, 33);
            double *value = ct_data(s);
            value[at] = NAN;
            value[(at * 7 + 5) % (33 * 33)] = _i == 0 ? NAN : INFINITY;
            check_hinge(s);
            check_ranks(s);
        }
    }
}
END_TEST

/* ---- order similarity ------------------------------------------------------------------- */

static const int64_t pairs[][3] = {{1, 1, 1}, {31, 33, 257}, {17, 40, 3}, {5, 4, 0},
                                   {0, 3, 5}, {3, 0, 5},     {65, 2, 33}, {2, 70, 64}};
enum { PAIRS = sizeof pairs / sizeof *pairs };

START_TEST(order_as_on_the_cpu) {
    const double scales[] = {1, 1, 1e-23, 1e-170, 1e20, 1e170}; /* squares out of the range */
    for (int k = 0; k < 6; k++) {
        CT_SCOPE {
            const int64_t *p = pairs[_i];
            int d = k % 2;
            ct_tensor *a = noise(reals[d], CT_SHAPE(p[0], p[2]), scales[k], 1);
            ct_tensor *b = noise(reals[d], CT_SHAPE(p[1], p[2]), scales[k], 2);
            if (ct_count(a) && p[1]) { /* one pair in order: its distance is 0 */
                ct_tensor *row = ct_tensor_slice(b, 0, p[1] - 1, p[1], 1);
                ct_tensor_copy_to(row, ct_tensor_slice(a, 0, 0, 1, 1));
            }
            ct_tensor *s = ct_tensor_order_similarity(a, b), *g = noise(reals[d], s->shape, 1, 3);
            double t = 2 * tolerance(reals[d]);
            assert_as_cpu(ct_tensor_order_similarity(on_cuda(a), on_cuda(b)), s, t, "order");
            ct_tensor *ga, *gb, *of_a, *of_b;
            ct_tensor_order_similarity_grad(g, a, b, s, &ga, &gb);
            ct_tensor_order_similarity_grad(on_cuda(g), on_cuda(a), on_cuda(b), on_cuda(s), &of_a,
                                            &of_b);
            assert_as_cpu(of_a, ga, t, "order gradient of a");
            assert_as_cpu(of_b, gb, t, "order gradient of b");
            ct_tensor_order_similarity_grad(on_cuda(g), on_cuda(a), on_cuda(b), on_cuda(s), NULL,
                                            &of_b);
            assert_as_cpu(of_b, gb, t, "order gradient of b alone");
        }
    }
}
END_TEST

START_TEST(scores_as_on_the_cpu) {
    CT_SCOPE {
        const int64_t *p = pairs[_i];
        ct_tensor *a = noise(CT_F32, CT_SHAPE(p[0], p[2]), 1, 1);
        ct_tensor *b = ct_tensor_cast(noise(CT_F32, CT_SHAPE(p[1], p[2]), 1, 2), CT_F16);
        for (int kind = 0; kind < 3; kind++) {
            ct_score_kind k = (ct_score_kind)kind;
            assert_as_cpu(ct_tensor_row_scores(on_cuda(a), on_cuda(b), k),
                          ct_tensor_row_scores(a, b, k), 2 * tolerance(CT_F32), "row scores");
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda ranking", {square_as_on_the_cpu, SIZES}, {with_nan, 2},
                 {order_as_on_the_cpu, PAIRS}, {scores_as_on_the_cpu, PAIRS})
