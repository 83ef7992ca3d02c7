/* SPDX-License-Identifier: Apache-2.0 */
/* Similarity, ranking loss and region relations: values from formulas, starts, refusals. */
#include "models/matching.h"
#include "tests/test.h"

static ct_tensor *numbers(ct_shape shape, const double *values) {
    return ct_from_doubles(CT_F64, CT_CPU, shape, values);
}

/* ---- ranking loss --------------------------------------------------------------------------- */

/* Similarities by loops, then hinges by loops. */
static double naive_hinge(int n, const double *s, double margin, bool hardest, bool column_anchor,
                          bool over_columns) {
    double total = 0;
    for (int i = 0; i < n; i++) {
        double worst = 0;
        for (int j = 0; j < n; j++) {
            int row = over_columns ? j : i, column = over_columns ? i : j;
            if (row == column) continue;
            double own = column_anchor ? s[column * n + column] : s[row * n + row];
            double cost = fmax(0, margin + s[row * n + column] - own);
            worst = fmax(worst, cost);
            if (!hardest) total += cost;
        }
        if (hardest) total += worst;
    }
    return total;
}

static void naive_similarity(const double *a, const double *b, bool order, double *s) {
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            double dot = 0, square = 0;
            for (int d = 0; d < 3; d++) {
                double x = a[i * 3 + d], y = b[j * 3 + d];
                dot += x * y;
                square += pow(fmax(0, y - x), 2);
            }
            s[i * 4 + j] = order ? -sqrt(square) : dot;
        }
    }
}

START_TEST(ranking_loss_is_its_formula) {
    const double a[12] = {0.3, -0.2, 0.9, 0.1, 0.8, -0.4, -0.7, 0.2, 0.5, 0.6, 0.6, -0.1};
    const double b[12] = {0.2, 0.1, 0.7, -0.3, 0.9, 0.2, -0.5, -0.1, 0.8, 0.4, 0.2, 0.3};
    for (int bits = 0; bits < 16; bits++) {
        bool hardest = bits & 1, within = bits & 2, columns = bits & 4, order = bits & 8;
        double s[16], expected;
        naive_similarity(a, b, order, s);
        expected = naive_hinge(4, s, 0.3, hardest, false, false) +
                   naive_hinge(4, s, 0.3, hardest, true, true);
        if (within) {
            naive_similarity(a, a, order, s);
            expected += naive_hinge(4, s, 0.3, hardest, false, columns);
            naive_similarity(b, b, order, s);
            expected += naive_hinge(4, s, 0.3, hardest, false, columns);
        }
        CT_SCOPE {
            ct_ranking_options options = {.margin = 0.3,
                                          .hardest = hardest,
                                          .intra_modal = within,
                                          .within_over = columns ? CT_HINGE_COLUMN : CT_HINGE_ROW,
                                          .measure = order ? CT_ORDER : CT_COSINE};
            ct_tensor *loss =
                ct_ranking_loss(numbers(CT_SHAPE(4, 3), a), numbers(CT_SHAPE(4, 3), b), &options);
            assert_no_error();
            ck_assert_double_eq_tol(ct_item(loss), expected, 1e-13);
        }
    }
    CT_SCOPE {
        ck_assert_ptr_null(
            ct_ranking_loss(numbers(CT_SHAPE(4, 3), a), numbers(CT_SHAPE(3, 4), b), NULL));
        assert_error("images f64 (4,3) and captions f64 (3,4)");
    }
}
END_TEST

static ct_tensor *twice_the_products(ct_tensor *a, ct_tensor *b) {
    return ct_scale(ct_matmul(a, ct_transpose(b, 0, 1)), 2);
}

/* Pairs 0 and 2 of the four are of one image. */
START_TEST(pairs_of_one_image_can_be_left_out) {
    const double a[12] = {0.3, -0.2, 0.9, 0.1, 0.8, -0.4, 0.3, -0.2, 0.9, 0.6, 0.6, -0.1};
    const double b[12] = {0.2, 0.1, 0.7, -0.3, 0.9, 0.2, 0.3, -0.1, 0.8, 0.4, 0.2, 0.3};
    const int64_t images[4] = {7, 3, 7, 0};
    CT_SCOPE {
        ct_tensor *same = ct_same_images(ct_from_data(CT_I64, CT_CPU, CT_SHAPE(4), images));
        for (int i = 0; i < 16; i++) ck_assert_double_eq(ct_get(same, i), i == 2 || i == 8);
        for (int bits = 0; bits < 8; bits++) {
            bool hardest = bits & 1, within = bits & 2, order = bits & 4;
            double s[16], expected = 0;
            const double *sides[3][2] = {{a, b}, {a, a}, {b, b}};
            for (int k = 0; k < (within ? 3 : 1); k++) {
                naive_similarity(sides[k][0], sides[k][1], order, s);
                s[2] = s[8] = -100; /* far below any margin */
                expected += naive_hinge(4, s, 0.3, hardest, false, false);
                if (!k) expected += naive_hinge(4, s, 0.3, hardest, true, true);
            }
            ct_ranking_options options = {.margin = 0.3,
                                          .hardest = hardest,
                                          .intra_modal = within,
                                          .measure = order ? CT_ORDER : CT_COSINE,
                                          .left_out = same};
            ct_tensor *x = ct_require_grad(numbers(CT_SHAPE(4, 3), a));
            ct_tensor *loss = ct_ranking_loss(x, numbers(CT_SHAPE(4, 3), b), &options);
            assert_no_error();
            ck_assert_double_eq_tol(ct_item(loss), expected, 1e-13);
            ck_assert(ct_backward(loss) && !ct_tensor_has_nonfinite(ct_grad(x)));
            options.left_out = NULL; /* as in the published programs */
            ck_assert_double_gt(ct_item(ct_ranking_loss(x, numbers(CT_SHAPE(4, 3), b), &options)),
                                expected);
            options.left_out = ct_zeros(CT_U8, CT_CPU, CT_SHAPE(4));
            ck_assert_ptr_null(ct_ranking_loss(x, x, &options));
            assert_error("left_out is u8 (4), expected u8 (4,4)");
        }
        ck_assert_ptr_null(ct_same_images(numbers(CT_SHAPE(4, 3), a)));
        assert_error("same_images: the numbers are f64 (4,3), expected i64 (B)");
    }
}
END_TEST

START_TEST(a_similarity_of_ones_own_is_taken_everywhere) {
    const double a[12] = {0.3, -0.2, 0.9, 0.1, 0.8, -0.4, -0.7, 0.2, 0.5, 0.6, 0.6, -0.1};
    const double b[12] = {0.2, 0.1, 0.7, -0.3, 0.9, 0.2, -0.5, -0.1, 0.8, 0.4, 0.2, 0.3};
    CT_SCOPE {
        ct_tensor *images = numbers(CT_SHAPE(4, 3), a), *captions = numbers(CT_SHAPE(4, 3), b);
        ct_ranking_options options = ct_ranking_defaults();
        options.intra_modal = true;
        options.margin = 0.15;
        double once = ct_item(ct_ranking_loss(images, captions, &options));
        options.similarity = twice_the_products;
        options.margin = 0.3;
        ck_assert_double_eq_tol(ct_item(ct_ranking_loss(images, captions, &options)), 2 * once,
                                1e-13);
        assert_no_error();
    }
}
END_TEST

START_TEST(refuses_what_is_no_measure_and_no_matrix) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ck_assert_ptr_null(ct_similarity(x, x, (ct_measure)7));
        assert_error("similarity: measure is 7");
        ck_assert_ptr_null(ct_similarity(ct_sum(x, 0), x, CT_COSINE));
        assert_error("similarity: a is f32 (3), expected 2 dimensions");
        ck_assert_ptr_null(ct_similarity(x, NULL, CT_COSINE));
        assert_error("similarity: b is NULL");
        ct_ranking_options options = ct_ranking_defaults();
        options.margin = -1;
        ck_assert_ptr_null(ct_ranking_loss(x, x, &options));
        assert_error("ranking_loss: margin is -1, expected 0 or more");
    }
}
END_TEST

/* ---- region relations ----------------------------------------------------------------------- */

START_TEST(region_gcn_starts_as_the_identity) {
    ct_module *gcn = ct_region_gcn_create(4, 3);
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0);
        ct_tensor *v = ct_random_normal(&rng, "v", CT_F32, CT_CPU, CT_SHAPE(2, 5, 4));
        assert_close(ct_region_gcn(gcn, v), v, 0, 0, "region_gcn");
        const double largest = ct_item(ct_tensor_reduce(
            CT_MAX, ct_tensor_unary(CT_UNARY_abs, ct_module_tensor(gcn, "theta.weight"), 0, 0),
            CT_ALL_AXES, false));
        ck_assert(largest <= 0.5 && largest > 0.4); /* 1/sqrt(width), as PyTorch's linear layers */
    }
    ct_module_destroy(gcn);
    ck_assert_ptr_null(ct_region_gcn_create(4, 0));
    assert_error("region_gcn: width 4, inner 0");
}
END_TEST

/* Loss of y, in which every number counts. */
static ct_tensor *counted(ct_tensor *y) { return ct_sum_all(ct_mul(y, ct_mul(y, y))); }

/* All images at once are enough regions for fewer products; an image by itself is not. In
 * evaluation each is for itself, and gradients add up. f64: what differs is how roundings fall, at
 * 100 times 2^-52 of the largest. */
START_TEST(region_gcn_in_fewer_products) {
    enum { IMAGES = 4, REGIONS = 20, WIDTH = 32, INNER = 30 };
    static const char *const names[] = {"g.weight",   "g.bias",   "theta.weight", "theta.bias",
                                        "phi.weight", "phi.bias", "W.0.weight",   "W.0.bias",
                                        "W.1.weight", "W.1.bias"};
    ck_assert_double_lt(ct_region_gcn_work(IMAGES * REGIONS, WIDTH, INNER),
                        4.0 * IMAGES * REGIONS * WIDTH * INNER);
    ck_assert_double_eq(ct_region_gcn_work(REGIONS, WIDTH, INNER), 4.0 * REGIONS * WIDTH * INNER);
    ct_module *gcn = ct_region_gcn_create(WIDTH, INNER);
    ct_module_to_dtype(gcn, CT_F64);
    ct_module_train(gcn, false);
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0);
        ct_init_uniform(ct_module_tensor(gcn, "W.1.weight"), -1, 1, &rng);
        ct_tensor *v = ct_require_grad(
            ct_random_normal(&rng, "v", CT_F64, CT_CPU, CT_SHAPE(IMAGES, REGIONS, WIDTH)));
        ct_tensor *y = ct_region_gcn(gcn, v);
        ct_backward(counted(y));
        ct_tensor *at_once[10], *to_v = ct_tensor_copy(ct_grad(v));
        for (int i = 0; i < 10; i++) {
            at_once[i] = ct_tensor_copy(ct_grad(ct_module_tensor(gcn, names[i])));
        }
        ct_module_zero_grad(gcn);
        for (int i = 0; i < IMAGES; i++) {
            ct_tensor *one = ct_require_grad(ct_tensor_copy(ct_tensor_slice(v, 0, i, i + 1, 1)));
            ct_tensor *alone = ct_region_gcn(gcn, one);
            assert_close(ct_tensor_slice(y, 0, i, i + 1, 1), alone, 1e-13, 1e-13, "y");
            ct_backward(counted(alone));
            assert_close(ct_tensor_slice(to_v, 0, i, i + 1, 1), ct_grad(one), 1e-12, 1e-12, "v");
        }
        for (int i = 0; i < 10; i++) {
            assert_close(at_once[i], ct_grad(ct_module_tensor(gcn, names[i])), 1e-12, 1e-12,
                         names[i]);
        }
    }
    ct_module_destroy(gcn);
}
END_TEST

/* A container of that name, and another layer, have not the children that it reads. */
START_TEST(region_gcn_knows_its_own) {
    ct_module *namesake = ct_module_create("region_gcn"), *gru = ct_gru_create(4, 4, NULL);
    CT_SCOPE {
        ct_tensor *v = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 5, 4));
        ck_assert_ptr_null(ct_region_gcn(namesake, v));
        assert_error("the module is a container called 'region_gcn' with another forward");
        ck_assert_ptr_null(ct_region_gcn(gru, v));
        assert_error("region_gcn: the module is a gru");
        ck_assert_ptr_null(ct_region_gcn(NULL, v));
        assert_error("region_gcn: module is NULL");
    }
    ct_module_destroy(namesake);
    ct_module_destroy(gru);
    ct_module *gcn = ct_region_gcn_create(4, 4);
    CT_SCOPE {
        ck_assert_ptr_null(ct_region_gcn(gcn, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(5, 4))));
        assert_error("region_gcn: v is f32 (5,4), expected 3 dimensions");
    }
    ct_module_destroy(gcn);
}
END_TEST

TEST_MAIN("matching", ranking_loss_is_its_formula, pairs_of_one_image_can_be_left_out,
          a_similarity_of_ones_own_is_taken_everywhere, refuses_what_is_no_measure_and_no_matrix,
          region_gcn_starts_as_the_identity, region_gcn_in_fewer_products, region_gcn_knows_its_own)
