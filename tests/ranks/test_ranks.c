/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives, draws and batch norm over ranks. */
#include "tests/ranks/ranks_test.h"

#include "nn/nn.h"

START_TEST(as_many_ranks_as_were_started) {
    const char *started = getenv("CT_TEST_RANKS");
    ck_assert_ptr_nonnull(started);
    ck_assert_int_eq(ct_ranks(), atoi(started));
    ck_assert_int_lt(ct_rank(), ct_ranks());
    ck_assert(ct_ranks_wait());
}
END_TEST

START_TEST(ranks_agree_where_all_do) {
    ck_assert(ct_ranks_agree(true));
    for (int r = 0; r < ct_ranks(); r++) ck_assert(!ct_ranks_agree(ct_rank() != r));
    assert_no_error();
}
END_TEST

/* ---- collectives ------------------------------------------------------------------------- */

/* Element i of rank r: not exact in f32, and of sizes that make the order of a sum seen. */
static double value(int64_t r, int64_t i) {
    return sin(1.0 + (double)(31 * r + i)) * pow(10, (double)(r % 3));
}

static ct_tensor *own_values(ct_dtype dtype, int64_t count) {
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, CT_SHAPE(count));
    double *at = ct_data(x);
    for (int64_t i = 0; i < count; i++) at[i] = value(ct_rank(), i);
    if (dtype == CT_I64) ct_tensor_scale_in_place(x, 1000);
    return ct_tensor_to_device(ct_tensor_cast(x, dtype), test_device());
}

static ct_tensor *on_host(const ct_tensor *x) { return ct_tensor_to_device(x, CT_CPU); }

/* Whether `got` is the sum of elements i: on the CPU that in the order of ranks, in f64, elsewhere
 * in any order, each addition rounded. */
static bool is_sum(ct_dtype dtype, double got, int64_t i) {
    double sum = 0, size = 0;
    for (int r = 0; r < ct_ranks(); r++) {
        double v = value(r, i);
        v = dtype == CT_F32 ? (double)(float)v : dtype == CT_I64 ? trunc(1000 * v) : v;
        sum += v;
        size += fabs(v);
    }
    if (dtype == CT_F32) sum = (double)(float)sum;
    double rounding = dtype == CT_F32 ? 0x1p-23 : dtype == CT_F64 ? 0x1p-52 : 0;
    if (test_device() == CT_CPU) rounding = 0;
    return fabs(got - sum) <= ct_ranks() * rounding * size;
}

static const ct_dtype added[] = {CT_F32, CT_F64, CT_I64};
/* few and many, no multiples of ranks, and more than one message takes */
static const int64_t counts[] = {0, 1, 7, 600, 10007, 9000001};

START_TEST(sums_are_of_all_ranks) {
    for (size_t d = 0; d < 3; d++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            CT_SCOPE {
                ct_tensor *x = own_values(added[d], counts[c]);
                ck_assert_msg(ct_tensor_all_reduce(x), "%s", ct_error());
                x = on_host(x);
                int64_t wrong = 0, step = counts[c] > 100000 ? 997 : 1;
                for (int64_t i = 0; i < counts[c]; i += step)
                    wrong += !is_sum(added[d], ct_get(x, i), i);
                ck_assert_int_eq(wrong, 0);
            }
        }
    }
}
END_TEST

START_TEST(rows_are_gathered_in_the_order_of_ranks) {
    const ct_dtype dtypes[] = {CT_F32, CT_F64, CT_I64};
    for (size_t d = 0; d < 3; d++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            CT_SCOPE {
                int64_t count = counts[c];
                ct_tensor *all = on_host(ct_tensor_all_gather(own_values(dtypes[d], count)));
                assert_no_error();
                ck_assert_int_eq(ct_count(all), count * ct_ranks());
                int64_t wrong = 0, step = count > 100000 ? 99991 : 1;
                ct_tensor *mine = own_part(all), *own = on_host(own_values(dtypes[d], count));
                for (int64_t i = 0; i < count; i += step)
                    wrong += ct_get(mine, i) != ct_get(own, i);
                for (int64_t i = 0; dtypes[d] == CT_F64 && i < ct_count(all); i += step)
                    wrong += ct_get(all, i) != value(i / count, i % count);
                ck_assert_int_eq(wrong, 0);
            }
        }
    }
}
END_TEST

START_TEST(a_sum_is_scattered_by_rows) {
    for (size_t d = 0; d < 3; d++) {
        CT_SCOPE {
            int64_t rows = 5, width = 3, count = rows * width * ct_ranks();
            ct_tensor *x = ct_tensor_reshape(own_values(added[d], count), CT_SHAPE(-1, width));
            ct_tensor *part = on_host(ct_tensor_reduce_scatter(x));
            assert_no_error();
            ck_assert_int_eq(ct_dim(part, 0), rows);
            for (int64_t i = 0; i < rows * width; i++)
                ck_assert(is_sum(added[d], ct_get(part, i), ct_rank() * rows * width + i));
        }
    }
}
END_TEST

START_TEST(a_tensor_is_sent_to_all) {
    for (int from = 0; from < ct_ranks(); from++) {
        CT_SCOPE {
            ct_tensor *x = own_values(CT_F64, 17);
            ck_assert(ct_tensor_broadcast(x, from));
            for (int64_t i = 0; i < 17; i++) ck_assert(ct_get(x, i) == value(from, i));
        }
    }
}
END_TEST

/* Backward refuses what was saved and then became a sum, as it does any other change in place. */
START_TEST(what_is_shared_counts_as_written) {
    CT_SCOPE {
        ct_tensor *x = own_values(CT_F64, 3), *factor = own_values(CT_F64, 3);
        ct_tensor *y = ct_sum_all(ct_mul(ct_require_grad(x), factor));
        uint64_t before = ct_write_count(factor);
        ck_assert(ct_tensor_all_reduce(factor));
        ck_assert(ct_backward(y) == (ct_ranks() == 1)); /* alone nothing is written */
        if (ct_ranks() > 1) assert_error("was changed in place after 'mul' had saved it");
        uint64_t between = ct_write_count(factor);
        ck_assert(ct_tensor_broadcast(factor, 0));
        ck_assert((between > before) == (ct_ranks() > 1));
        ck_assert((ct_write_count(factor) > between) == (ct_ranks() > 1));
    }
}
END_TEST

START_TEST(what_cannot_be_shared_is_an_error_on_each) {
    CT_SCOPE {
        ck_assert(!ct_tensor_all_reduce(ct_zeros(CT_U8, test_device(), CT_SHAPE(2))));
        assert_error("all_reduce: expected f32, f64 or i64, got u8 (2)");
        ck_assert(!ct_tensor_all_reduce(
            ct_tensor_transpose(ct_zeros(CT_F32, test_device(), CT_SHAPE(2, 3)), 0, 1)));
        assert_error("is not contiguous");
        ck_assert_ptr_null(ct_tensor_all_gather(ct_scalar(CT_F32, test_device(), 1)));
        assert_error("has no rows");
        ck_assert(!ct_tensor_broadcast(ct_zeros(CT_F32, test_device(), CT_SHAPE(2)), ct_ranks()));
        assert_error("broadcast: from rank");
        if (ct_ranks() == 1) continue;
        ck_assert_ptr_null(
            ct_tensor_reduce_scatter(ct_zeros(CT_F32, test_device(), CT_SHAPE(ct_ranks() + 1))));
        assert_error("no multiple of");
    }
}
END_TEST

/* ---- gradients of collectives ------------------------------------------------------------ */

/* L = sum over ranks of sum(w_r y^2), y what the collective made of all x, of which each rank
 * computes its own term. */
static ct_tensor *gradient_through(ct_tensor *(*collective)(ct_tensor *), ct_tensor *x,
                                   ct_tensor **y, double *weights) {
    ct_require_grad(x);
    *y = collective(x);
    ct_backward(ct_scale(ct_sum_all(ct_square(*y)), ct_rank() + 1.0));
    *weights = 0;
    for (int r = 0; r < ct_ranks(); r++) *weights += r + 1;
    return ct_grad(x);
}

START_TEST(gradients_of_what_is_gathered_are_the_whole_losss) {
    CT_SCOPE {
        ct_tensor *x = own_values(CT_F64, 6), *all;
        double weights;
        ct_tensor *grad = gradient_through(ct_all_gather, x, &all, &weights);
        assert_close(grad, ct_tensor_scale(x, 2 * weights), 1e-15, 0, "gathered");
    }
}
END_TEST

START_TEST(gradients_of_what_is_added_are_the_whole_losss) {
    CT_SCOPE {
        ct_tensor *x = own_values(CT_F64, 6), *sum;
        double weights;
        ct_tensor *grad = gradient_through(ct_all_reduce, x, &sum, &weights);
        assert_close(grad, ct_tensor_scale(sum, 2 * weights), 1e-15, 0, "added");
    }
}
END_TEST

/* ---- draws ------------------------------------------------------------------------------- */

typedef ct_tensor *draw_function(ct_rng *, const char *, ct_dtype, ct_device, ct_shape);

START_TEST(a_rank_draws_its_rows_of_the_wholes) {
    draw_function *const draw[] = {ct_random_uniform, ct_random_normal};
    for (int i = 0; i < 2 * 2 * 9; i++) {
        ct_dtype dtype = i & 1 ? CT_F64 : CT_F32;
        draw_function *f = draw[i >> 1 & 1];
        int64_t rows = 1 + (i >> 2) % 3, width = 1 + 2 * ((i >> 2) / 3);
        CT_SCOPE {
            ct_rng one = ct_rng_create(3, 4), many = one;
            one.offset = many.offset = 11;
            ct_tensor *whole =
                f(&one, "x", dtype, test_device(), CT_SHAPE(rows * ct_ranks(), width));
            ct_tensor *mine = NULL;
            CT_OVER_RANKS { mine = f(&many, "x", dtype, test_device(), CT_SHAPE(rows, width)); }
            assert_close(mine, own_part(whole), 0, 0, "drawn");
            ck_assert(one.offset == many.offset);
        }
    }
}
END_TEST

/* ---- batch norm -------------------------------------------------------------------------- */

enum { CHANNELS = 3 };

/* How many rows rank r has: other numbers, of one rank one, which alone has no statistics. */
static int64_t rows_of(int r) { return ct_ranks() == 1 ? 7 : 1 + 2 * r; }

static int64_t rows_before(int rank) {
    int64_t rows = 0;
    for (int r = 0; r < rank; r++) rows += rows_of(r);
    return rows;
}

static ct_tensor *my_rows(const ct_tensor *whole) {
    int64_t first = rows_before(ct_rank());
    return ct_tensor_contiguous(ct_tensor_slice(whole, 0, first, first + rows_of(ct_rank()), 1));
}

static ct_module *norm_of(int64_t channels, ct_dtype dtype) {
    ct_module *norm = ct_batch_norm_create(channels, NULL);
    ct_rng rng = ct_rng_create(8, 0);
    ct_init_normal(ct_module_tensor(norm, "weight"), 1, 0.5, &rng);
    ct_init_normal(ct_module_tensor(norm, "bias"), 0, 0.5, &rng);
    ck_assert(ct_module_to_dtype(norm, dtype) && ct_module_to_device(norm, test_device()));
    return norm;
}

/* Weighted sum of y, so that no gradient is 0. */
static ct_tensor *weighted(ct_tensor *y, ct_tensor *weights) {
    return ct_sum_all(ct_mul(ct_square(y), weights));
}

static void same_statistics(ct_module *a, ct_module *b, double relative) {
    assert_close(ct_module_tensor(a, "running_mean"), ct_module_tensor(b, "running_mean"), relative,
                 relative, "running_mean");
    assert_close(ct_module_tensor(a, "running_var"), ct_module_tensor(b, "running_var"), relative,
                 relative, "running_var");
}

/* A parameter's gradient is the sum of all ranks'. */
static void same_gradient(ct_module *mine, ct_module *whole, const char *name, double relative) {
    ct_tensor *sum = ct_tensor_copy(ct_grad(ct_module_tensor(mine, name)));
    ck_assert(ct_tensor_all_reduce(sum));
    assert_close(sum, ct_grad(ct_module_tensor(whole, name)), relative, relative, name);
}

typedef ct_tensor *norm_function(ct_module *norm, ct_tensor *x, ct_tensor *mask);

static ct_tensor *plain(ct_module *norm, ct_tensor *x, ct_tensor *mask) {
    (void)mask;
    return ct_batch_norm(norm, x);
}

/* Forward, backward and running statistics of uneven parts are those of the whole. */
static void check_norm(norm_function *f, ct_dtype dtype, ct_shape inner, double relative) {
    CT_SCOPE {
        ct_rng rng = ct_rng_create(7, 0);
        ct_shape shape = inner;
        shape.dim[0] = rows_before(ct_ranks());
        ct_tensor *all_x = ct_random_normal(&rng, "x", dtype, test_device(), shape);
        ct_tensor *all_w = ct_random_uniform(&rng, "w", dtype, test_device(), shape);
        ct_device device = test_device();
        ct_tensor *u = ct_random_uniform(&rng, "m", dtype, device, CT_SHAPE(shape.dim[0], 1));
        ct_tensor *all_mask = ct_tensor_compare(CT_COMPARE_less, u, ct_scalar(dtype, device, 0.7));
        ct_module *whole = norm_of(inner.dim[1], dtype), *mine = norm_of(inner.dim[1], dtype);
        ct_tensor *x = ct_require_grad(ct_tensor_copy(all_x));
        ct_tensor *y = f(whole, x, all_mask);
        ct_backward(weighted(y, all_w));
        ct_tensor *my_x = ct_require_grad(my_rows(all_x)), *my_y = NULL;
        CT_OVER_RANKS {
            my_y = f(mine, my_x, my_rows(all_mask));
            ct_backward(weighted(my_y, my_rows(all_w)));
        }
        assert_close(my_y, my_rows(y), relative, relative, "y");
        assert_close(ct_grad(my_x), my_rows(ct_grad(x)), relative, relative, "gradient of x");
        same_gradient(mine, whole, "weight", relative);
        same_gradient(mine, whole, "bias", relative);
        same_statistics(mine, whole, relative);
        ct_module_destroy(whole);
        ct_module_destroy(mine);
    }
}

/* 1e-12 and 1e-5: some hundred roundings of f64 and f32. */
START_TEST(batch_norm_is_over_all_ranks) {
    check_norm(plain, CT_F64, CT_SHAPE(0, CHANNELS), 1e-12);
    check_norm(plain, CT_F64, CT_SHAPE(0, CHANNELS, 5), 1e-12);
    check_norm(plain, CT_F32, CT_SHAPE(0, CHANNELS), 1e-5);
    check_norm(ct_batch_norm_masked, CT_F64, CT_SHAPE(0, CHANNELS), 1e-12);
    check_norm(ct_batch_norm_masked, CT_F32, CT_SHAPE(0, CHANNELS), 1e-5);
}
END_TEST

/* ---- gradients of parameters ------------------------------------------------------------- */

START_TEST(gradients_are_added_up_before_a_step) {
    CT_SCOPE {
        ct_seed(3);
        ct_module *net = ct_linear_create(4, 2, true);
        ck_assert(ct_module_to_device(net, test_device()));
        ct_optimizer *sgd = ct_sgd_create(net, NULL);
        ct_tensor *weight = ct_module_tensor(net, "weight");
        ck_assert(
            ct_set_grad(weight, ct_full(CT_F32, test_device(), CT_SHAPE(2, 4), ct_rank() + 1)));
        ck_assert(ct_optimizer_all_reduce(sgd));
        double sum = ct_ranks() * (ct_ranks() + 1) / 2.0;
        for (int64_t i = 0; i < 8; i++) ck_assert(ct_get(ct_grad(weight), i) == sum);
        ck_assert_ptr_null(ct_grad(ct_module_tensor(net, "bias")));
        ct_optimizer_destroy(sgd);
        ct_module_destroy(net);
    }
}
END_TEST

RANKS_MAIN("ranks", {as_many_ranks_as_were_started, 1}, {ranks_agree_where_all_do, 1},
           {sums_are_of_all_ranks, 1}, {rows_are_gathered_in_the_order_of_ranks, 1},
           {a_sum_is_scattered_by_rows, 1}, {a_tensor_is_sent_to_all, 1},
           {what_is_shared_counts_as_written, 1}, {what_cannot_be_shared_is_an_error_on_each, 1},
           {gradients_of_what_is_gathered_are_the_whole_losss, 1},
           {gradients_of_what_is_added_are_the_whole_losss, 1},
           {a_rank_draws_its_rows_of_the_wholes, 1}, {batch_norm_is_over_all_ranks, 1},
           {gradients_are_added_up_before_a_step, 1})
