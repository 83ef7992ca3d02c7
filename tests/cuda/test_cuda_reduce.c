/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions of CUDA tensors against the CPU: every set of axes, odd sizes, layouts, both types. */
#include "tests/cuda/cuda_test.h"

static const ct_reduce_kind kinds[] = {CT_SUM, CT_MEAN, CT_MAX, CT_MIN, CT_PROD};
static const char *const names[] = {"sum", "mean", "max", "min", "prod"};

/* Rows for a warp (up to 1024), for a block, for several blocks (over 4096); columns, few and many;
 * none at all. */
static const int64_t shapes[][3] = {
    {1, 1, 1},     {3, 31, 33},   {33, 1, 257},    {257, 3, 5},   {2, 1025, 31},
    {31, 2, 1025}, {1, 1, 9001},  {9001, 1, 3},    {2, 5000, 3},  {5, 0, 3},
    {0, 4, 4},     {3, 40, 300},  {2, 2, 4097},    {1, 1, 40000}, {300, 1, 4},
    {4099, 2, 1},  {1, 3, 16500}, {1, 1, 3000017}, {60001, 3, 5}, {5, 600, 700},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, LARGE = 3 };

/* Values around 1: sums do not cancel and products stay in range. */
static ct_tensor *around_one(ct_dtype dtype, ct_shape shape) {
    return ct_tensor_unary(CT_UNARY_add_scalar, noise(dtype, shape, 0.01, 1), 1, 0);
}

static ct_shape shape_of(int i) { return CT_SHAPE(shapes[i][0], shapes[i][1], shapes[i][2]); }

/* Dense, permuted, with gaps, broadcast along the second dimension. */
enum { DENSE_ONE, PERMUTED, WITH_GAPS, BROADCAST, HOWS };

static ct_tensor *placed(ct_tensor *x, int how) {
    const int axes[] = {2, 0, 1};
    if (how == PERMUTED) return ct_tensor_permute(x, axes);
    if (how == WITH_GAPS) return laid_out(x, STRIDED);
    return how == BROADCAST ? ct_tensor_expand(ct_tensor_slice(x, 1, 0, 1, 1), x->shape) : x;
}

static bool is_empty_choice(ct_reduce_kind kind, const ct_tensor *x) {
    return (kind == CT_MAX || kind == CT_MIN) && ct_count(x) == 0;
}

/* Every kind, or every other. Sums and products differ by their order: two roundings of f64 for
 * each element that they have. */
static void check_axes(const ct_tensor *x, uint32_t axes, int step) {
    const ct_tensor *cuda = on_cuda(x);
    double near = fmax(close_enough(x->dtype), 0x1p-52 * (double)ct_count(x));
    for (int k = 0; k < 5; k += step) {
        if (is_empty_choice(kinds[k], x)) continue;
        CT_SCOPE {
            assert_as_cpu(ct_tensor_reduce(kinds[k], cuda, axes, true),
                          ct_tensor_reduce(kinds[k], x, axes, true), near, names[k]);
        }
    }
}

START_TEST(reductions_as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        for (int how = 0; how < HOWS; how++) {
            CT_SCOPE {
                const ct_tensor *dense = around_one(reals[d], shape_of(_i));
                if (how == BROADCAST && ct_count(dense) == 0) break;
                const ct_tensor *x = placed((ct_tensor *)dense, how);
                int step = how == DENSE_ONE ? 1 : 2;
                for (uint32_t axes = 0; axes < 8; axes++) check_axes(x, axes, step);
            }
        }
    }
}
END_TEST

/* One of many values is NaN, or infinite, at a place that another thread, warp or part has. */
START_TEST(special_values_stay) {
    const double special[] = {NAN, INFINITY, -INFINITY};
    const int64_t lengths[] = {1, 31, 33, 257, 1025, 9001};
    const int64_t positions[] = {0, 30, 32, 256, 1024, 9000};
    for (int i = 0; i < 3 * 6 * 6; i++) {
        int64_t length = lengths[i / 3 % 6], position = positions[i / 18];
        if (position >= length) continue;
        CT_SCOPE {
            for (int transposed = 0; transposed < 2; transposed++) {
                ct_tensor *x = around_one(reals[i % 2], CT_SHAPE(2, length));
                ct_set(x, position, special[i % 3]);
                check_axes(transposed ? ct_tensor_transpose(x, 0, 1) : x, transposed ? 1 : 2, 1);
            }
        }
    }
}
END_TEST

/* A row that begins between two multiples of 16 bytes is read one by one, with the same result. */
START_TEST(alignment_changes_no_bits) {
    const int64_t lengths[] = {31, 1024, 1025, 9001};
    for (int i = 0; i < 2 * 4; i++) {
        CT_SCOPE {
            ct_shape shape = CT_SHAPE(3, lengths[i / 2]);
            const ct_tensor *x = noise(reals[i % 2], shape, 1, 1);
            ct_tensor *room = ct_empty(x->dtype, CT_CPU, CT_SHAPE(ct_count(x) + 1));
            ct_tensor *view = ct_view(room, shape, NULL, 1);
            ct_tensor_fill(room, NAN);
            ct_tensor_copy_to(view, x);
            ct_tensor *shifted = ct_view(on_cuda(room), shape, NULL, 1);
            assert_same_bits(on_cpu(ct_tensor_reduce(CT_SUM, shifted, 2, true)),
                             on_cpu(ct_tensor_reduce(CT_SUM, on_cuda(x), 2, true)), "sum");
        }
    }
}
END_TEST

START_TEST(norm_and_nonfinite_as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            ct_tensor *x[3], *cuda[3];
            for (int how = 0; how < 3; how++) {
                x[how] = placed(around_one(reals[d], shape_of(_i)), how);
                cuda[how] = on_cuda(x[how]);
            }
            assert_as_cpu(ct_tensor_global_norm(cuda, 3), ct_tensor_global_norm(x, 3), 1e-14,
                          "global_norm");
            require(!ct_tensor_has_nonfinite(cuda[0]), "nothing is wrong");
            for (int64_t at = ct_count(x[0]) - 1; at > 0; at /= 3) {
                ct_tensor *wrong = ct_tensor_copy(x[0]);
                ct_set(wrong, at, at % 2 ? NAN : -INFINITY);
                require(ct_tensor_has_nonfinite(on_cuda(wrong)), "element %lld", (long long)at);
            }
            assert_no_error();
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda reduce", {reductions_as_on_the_cpu, cases_here(SHAPES, LARGE)},
                 {special_values_stay, 1}, {alignment_changes_no_bits, 1},
                 {norm_and_nonfinite_as_on_the_cpu, cases_here(SHAPES, LARGE)})
