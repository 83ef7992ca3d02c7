/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling against plain loops over its formulas; PyTorch's values are in suite golden. */
#include "tests/tensor/fused_test.h"

/* What a case pools, and the size that PyTorch's documentation gives for it. */
typedef struct {
    int64_t batch, channels, height, width, rows, columns;
    ct_tensor_max_pool2d_options options; /* kernel, stride, padding, dilation, ceil_mode */
} pool_case;

static const pool_case cases[] = {
    {2, 3, 6, 8, 3, 4, {2, 2, 0, 1, false}},   {2, 3, 7, 9, 4, 5, {3, 2, 1, 1, false}},
    {2, 2, 6, 9, 4, 5, {3, 2, 1, 1, true}},    {1, 4, 5, 6, 3, 3, {2, 2, 0, 1, true}},
    {1, 2, 9, 8, 4, 3, {3, 3, 1, 1, true}},    {3, 1, 4, 7, 4, 7, {3, 1, 1, 1, false}},
    {2, 2, 8, 9, 3, 4, {3, 2, 1, 2, false}},   {1, 1, 1, 1, 1, 1, {1, 1, 0, 1, false}},
    {1, 2, 5, 40, 2, 13, {2, 3, 0, 1, false}}, /* longer than a vector */
    {1, 1, 2, 5, 1, 2, {2, 4, 1, 1, true}},    /* another would begin in the padding below */
};
enum { CASES = sizeof cases / sizeof *cases };

static ct_tensor_avg_pool2d_options averaged(const pool_case *c, bool count_include_pad) {
    return (ct_tensor_avg_pool2d_options){c->options.kernel, c->options.stride, c->options.padding,
                                          c->options.ceil_mode, count_include_pad};
}

/* Element (b,c,h,w) of x as one number, from a plane. */
static const double *plane_of(const ct_tensor *x, int64_t plane) {
    return (const double *)ct_data(x) + plane * x->shape.dim[2] * x->shape.dim[3];
}

/* The largest of window (h,w), NaN larger than all, and where it is. */
static double largest(const double *x, const pool_case *c, int64_t h, int64_t w, int64_t *at) {
    const ct_tensor_max_pool2d_options *o = &c->options;
    double best = -INFINITY;
    *at = -1;
    for (int64_t k = 0; k < o->kernel * o->kernel; k++) {
        int64_t row = h * o->stride - o->padding + k / o->kernel * o->dilation;
        int64_t column = w * o->stride - o->padding + k % o->kernel * o->dilation;
        if (row < 0 || row >= c->height || column < 0 || column >= c->width) continue;
        double value = x[row * c->width + column];
        if (*at >= 0 && !isnan(value) && !(value > best)) continue;
        best = value;
        *at = row * c->width + column;
    }
    return best;
}

static ct_tensor *pictures(const pool_case *c, uint64_t seed) {
    return test_tensor(&seed, CT_SHAPE(c->batch, c->channels, c->height, c->width), -1, 1);
}

static ct_tensor *gradients(const pool_case *c) {
    uint64_t seed = 5;
    return test_tensor(&seed, CT_SHAPE(c->batch, c->channels, c->rows, c->columns), -1, 1);
}

static void check_maxima(const pool_case *c, const ct_tensor *x) {
    ct_tensor *index, *y = ct_tensor_max_pool2d(x, c->options, &index);
    assert_no_error();
    ck_assert(ct_shape_equal(y->shape, CT_SHAPE(c->batch, c->channels, c->rows, c->columns)));
    ct_tensor *g = gradients(c), *expected = ct_zeros(CT_F64, CT_CPU, x->shape);
    const int64_t *positions = ct_data(index), places = c->rows * c->columns;
    for (int64_t i = 0; i < ct_count(y); i++) {
        int64_t at, h = i % places / c->columns, w = i % c->columns;
        double best = largest(plane_of(x, i / places), c, h, w, &at);
        double found = ct_get(y, i);
        ck_assert(found == best || (isnan(found) && isnan(best)));
        ck_assert_int_eq(positions[i], at);
        double *to = (double *)ct_data(expected) + i / places * c->height * c->width;
        to[at] += ct_get(g, i);
    }
    assert_close(ct_tensor_max_pool2d_grad(g, index, x->shape, c->options), expected, 1e-15, 0,
                 "gradient");
    ct_tensor *f32 = ct_tensor_cast(x, CT_F32), *other;
    assert_same_bits(ct_tensor_cast(y, CT_F32), ct_tensor_max_pool2d(f32, c->options, &other),
                     "f32");
    assert_same_bits(other, index, "f32 index");
    assert_same_bits(ct_tensor_max_pool2d(x, c->options, NULL), y, "without index");
    assert_same_bits(ct_tensor_max_pool2d(test_strided(x), c->options, NULL), y, "strided");
}

START_TEST(maxima_are_those_of_windows) {
    CT_SCOPE { check_maxima(&cases[_i], pictures(&cases[_i], 3)); }
}
END_TEST

/* Infinities, equal ones and NaN, as PyTorch takes them: f32 has the same bits of each. */
START_TEST(maxima_of_what_is_not_ordered) {
    CT_SCOPE {
        ct_tensor *x = pictures(&cases[_i], 4);
        const double odd[] = {NAN, -INFINITY, INFINITY, 0, -0.0, 0.5};
        for (int64_t i = 0; i < ct_count(x); i++) {
            if (i % 7 < 6) ct_set(x, i, odd[(i * i + i / 3) % 6]);
            if (i % 11 < 5) ct_set(x, i, -INFINITY);
        }
        ct_tensor *f64 = ct_tensor_cast(ct_tensor_cast(x, CT_F32), CT_F64);
        check_maxima(&cases[_i], f64);
    }
}
END_TEST

/* A dilated window may see nothing of a small picture. */
START_TEST(a_window_that_sees_nothing) {
    CT_SCOPE {
        ct_tensor_max_pool2d_options o = {2, 1, 2, 3, false};
        ct_tensor *x = ct_full(CT_F64, CT_CPU, CT_SHAPE(1, 1, 1, 2), 3), *index;
        ct_tensor *y = ct_tensor_max_pool2d(x, o, &index);
        assert_no_error();
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(1, 1, 2, 3)));
        for (int i = 0; i < 6; i++) {
            ck_assert_double_eq(ct_get(y, i), -INFINITY);
            ck_assert_int_eq((int64_t)ct_get(index, i), -1);
        }
        ct_tensor *g = ct_full(CT_F64, CT_CPU, y->shape, 1);
        ct_tensor *gx = ct_tensor_max_pool2d_grad(g, index, x->shape, o);
        assert_same_bits(gx, ct_zeros(CT_F64, CT_CPU, x->shape), "gradient");
    }
}
END_TEST

/* ---- means ------------------------------------------------------------------------------ */

typedef struct {
    ct_tensor *x, *g;
    const pool_case *of;
    int kind; /* 0: padding not counted, 1: counted, 2: adaptive */
} mean_inputs;

/* PyTorch's bounds of window i: begin, end with padding. */
static void bounds(const mean_inputs *in, int64_t i, int64_t size, int64_t count, int64_t *begin,
                   int64_t *end) {
    const ct_tensor_max_pool2d_options *o = &in->of->options;
    if (in->kind == 2) {
        *begin = (int64_t)floor((double)i * (double)size / (double)count);
        *end = (int64_t)ceil((double)(i + 1) * (double)size / (double)count);
        return;
    }
    *begin = i * o->stride - o->padding;
    *end = *begin + o->kernel < size + o->padding ? *begin + o->kernel : size + o->padding;
}

static ct_tensor *mean_reference(const mean_inputs *in) {
    ct_tensor *y = ct_empty(CT_F64, CT_CPU, in->g->shape);
    const int64_t *size = in->x->shape.dim, rows = y->shape.dim[2], columns = y->shape.dim[3];
    for (int64_t i = 0; i < ct_count(y); i++) {
        int64_t top, below, left, right, inside = 0;
        bounds(in, i / columns % rows, size[2], rows, &top, &below);
        bounds(in, i % columns, size[3], columns, &left, &right);
        double sum = 0;
        for (int64_t h = top; h < below; h++) {
            for (int64_t w = left; w < right; w++) {
                if (h < 0 || h >= size[2] || w < 0 || w >= size[3]) continue;
                sum += plane_of(in->x, i / rows / columns)[h * size[3] + w];
                inside++;
            }
        }
        int64_t count = in->kind == 1 ? (below - top) * (right - left) : inside;
        ((double *)ct_data(y))[i] = sum / (double)count;
    }
    return y;
}

static double mean_loss(void *context) {
    const mean_inputs *in = context;
    double value = 0;
    CT_SCOPE { value = test_dot(mean_reference(in), in->g); }
    return value;
}

static ct_tensor *mean_of(const mean_inputs *in, const ct_tensor *x) {
    if (in->kind == 2) return ct_tensor_adaptive_avg_pool2d(x, in->of->rows, in->of->columns);
    return ct_tensor_avg_pool2d(x, averaged(in->of, in->kind == 1));
}

static ct_tensor *mean_gradient(const mean_inputs *in, const ct_tensor *g) {
    if (in->kind == 2) return ct_tensor_adaptive_avg_pool2d_grad(g, in->x->shape);
    return ct_tensor_avg_pool2d_grad(g, in->x->shape, averaged(in->of, in->kind == 1));
}

static void check_means(const pool_case *c, int kind) {
    mean_inputs in = {pictures(c, 6), gradients(c), c, kind};
    ct_tensor *expected = mean_reference(&in), *gx = mean_gradient(&in, in.g);
    assert_close(mean_of(&in, in.x), expected, 1e-14, 1e-15, "mean");
    assert_close(mean_of(&in, test_strided(in.x)), expected, 1e-14, 1e-15, "mean, strided");
    assert_gradient(gx, in.x, mean_loss, &in, "x");
    assert_same_bits(mean_gradient(&in, test_strided(in.g)), gx, "gradient, strided");
    assert_close(mean_of(&in, ct_tensor_cast(in.x, CT_F32)), expected, 3e-7, 1e-7, "f32");
    assert_close(mean_gradient(&in, ct_tensor_cast(in.g, CT_F32)), gx, 1e-6, 1e-6, "f32 gradient");
}

START_TEST(means_are_those_of_windows) {
    for (int kind = 0; kind < 3; kind++) {
        if (kind < 2 && cases[_i].options.dilation != 1) continue;
        CT_SCOPE { check_means(&cases[_i], kind); }
    }
}
END_TEST

/* More windows than elements, and sizes that do not divide. */
START_TEST(adaptive_windows) {
    const pool_case odd[] = {
        {1, 2, 3, 5, 7, 8, {0}}, {2, 1, 7, 7, 3, 4, {0}}, {1, 1, 1, 9, 1, 2, {0}}};
    CT_SCOPE { check_means(&odd[_i], 2); }
}
END_TEST

START_TEST(threads_change_nothing) {
    CT_SCOPE {
        pool_case large = {2, 9, 65, 63, 33, 32, {3, 2, 1, 1, false}};
        ct_tensor *x = pictures(&large, 7), *g = gradients(&large), *results[2][6], *index;
        for (int k = 0; k < 2; k++) {
            ct_set_threads(k ? 3 : 1);
            results[k][0] = ct_tensor_max_pool2d(x, large.options, &index);
            results[k][1] = ct_tensor_max_pool2d_grad(g, index, x->shape, large.options);
            results[k][2] = ct_tensor_avg_pool2d(x, averaged(&large, true));
            results[k][3] = ct_tensor_avg_pool2d_grad(g, x->shape, averaged(&large, true));
            results[k][4] = ct_tensor_adaptive_avg_pool2d(x, 7, 5);
            results[k][5] = ct_tensor_adaptive_avg_pool2d_grad(g, x->shape);
        }
        for (int i = 0; i < 6; i++) assert_same_bits(results[1][i], results[0][i], "pool");
    }
}
END_TEST

START_TEST(refusals) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 4, 3, 3)), *index;
        const ct_tensor_max_pool2d_options good = {2, 1, 0, 1, false};
        const ct_tensor_max_pool2d_options wrong[] = {
            {0, 1, 0, 1, false}, {2, 0, 0, 1, false}, {2, 1, -1, 1, false},
            {2, 1, 0, 0, false}, {2, 1, 2, 1, false}, {INT64_MAX, 1, INT64_MAX, 1, true}};
        for (int i = 0; i < 6; i++) {
            index = x;
            ck_assert(!ct_tensor_max_pool2d(x, wrong[i], &index) && !index);
            assert_error("max_pool2d: kernel ");
        }
        ck_assert(!ct_tensor_avg_pool2d(x, (ct_tensor_avg_pool2d_options){0, 1, 0, false, true}));
        assert_error("expected at least 1, and a padding of 0 to half of what a window spans");
        ck_assert(!ct_tensor_max_pool2d(x, (ct_tensor_max_pool2d_options){4, 1, 0, 1, true}, NULL));
        assert_error("max_pool2d: pictures of (2,4,3,3), padded by 0, are smaller than a kernel");
        ck_assert(!ct_tensor_max_pool2d(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4, 3, 3)), good, NULL));
        assert_error("max_pool2d: x is f32 (4,3,3), expected 4 dimensions");
        ck_assert(!ct_tensor_adaptive_avg_pool2d(x, 0, 1));
        assert_error("adaptive_avg_pool2d: to 0 rows and 1 columns, expected at least 1");
        ck_assert(!ct_tensor_adaptive_avg_pool2d(x, INT64_MAX, 1));
        assert_error("adaptive_avg_pool2d");
        ck_assert(!ct_tensor_avg_pool2d(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1, 1, 0, 2)),
                                        (ct_tensor_avg_pool2d_options){1, 1, 0, false, true}));
        assert_error("expected (B,C,H,W) with sides of at least 1");
        ct_tensor_max_pool2d(x, good, &index);
        ck_assert(!ct_tensor_max_pool2d_grad(x, index, x->shape, good));
        assert_error("max_pool2d gradient: g is f32 (2,4,3,3), expected (2,4,2,2)");
        ct_tensor *g = ct_zeros(CT_F32, CT_CPU, index->shape);
        ck_assert(!ct_tensor_max_pool2d_grad(g, g, x->shape, good));
        assert_error("index is f32 (2,4,2,2) on cpu, expected i64 (2,4,2,2) on cpu");
        ck_assert(!ct_tensor_max_pool2d(NULL, good, NULL));
        assert_error("max_pool2d");
    }
}
END_TEST

LOOPED_TEST_MAIN("pooling", {maxima_are_those_of_windows, CASES},
                 {maxima_of_what_is_not_ordered, CASES}, {a_window_that_sees_nothing, 1},
                 {means_are_those_of_windows, CASES}, {adaptive_windows, 3},
                 {threads_change_nothing, 1}, {refusals, 1})
