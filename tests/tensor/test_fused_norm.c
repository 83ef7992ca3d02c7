/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm, layer norm, l2 norm and weight norm against plain loops over the formulas. */
#include "tests/tensor/fused_test.h"

/* A shape and an axis; the number of rows passes a chunk of the row sums (64) in some. */
typedef struct {
    ct_shape shape;
    int axis;
} norm_case;

static const norm_case cases[] = {
    {{2, {7, 5}}, 1},     {{3, {4, 9, 3}}, 2},    {{2, {150, 67}}, -1}, {{3, {4, 5, 6}}, 1},
    {{2, {1, 3}}, 1},     {{4, {2, 3, 4, 5}}, 1}, {{2, {6, 1}}, 1},     {{1, {5}}, 0},
    {{3, {3, 70, 2}}, 1}, {{2, {5, 66}}, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct {
    int64_t outer, size, inner;
} around;

static around split(const norm_case *c) {
    int axis = c->axis < 0 ? c->axis + c->shape.ndim : c->axis;
    around a = {1, c->shape.dim[axis], 1};
    for (int i = 0; i < axis; i++) a.outer *= c->shape.dim[i];
    for (int i = axis + 1; i < c->shape.ndim; i++) a.inner *= c->shape.dim[i];
    return a;
}

typedef struct {
    const norm_case *c;
    ct_tensor *x, *weight, *bias, *cy; /* loss: sum(y * cy) */
    ct_tensor *mean, *rstd;            /* where the statistics are given */
} inputs;

static inputs make_inputs(const norm_case *c) {
    uint64_t state = 3;
    int64_t size = split(c).size;
    return (inputs){
        .c = c,
        .x = test_tensor(&state, c->shape, 1, 3), /* a mean that is not small */
        .weight = test_tensor(&state, CT_SHAPE(size), -1, 1),
        .bias = test_tensor(&state, CT_SHAPE(size), -1, 1),
        .cy = test_tensor(&state, c->shape, -1, 1),
    };
}

/* large enough that a value alone in its channel has a defined gradient */
static const double eps = 1e-3;

/* ---- batch norm ------------------------------------------------------------------------- */

static void channel_statistics(const inputs *in, int64_t channel, double *mean, double *variance) {
    around a = split(in->c);
    const double *x = ct_data(in->x);
    double sum = 0, squares = 0, count = (double)(a.outer * a.inner);
    for (int64_t o = 0; o < a.outer; o++) {
        for (int64_t i = 0; i < a.inner; i++) sum += x[(o * a.size + channel) * a.inner + i];
    }
    *mean = sum / count;
    for (int64_t o = 0; o < a.outer; o++) {
        for (int64_t i = 0; i < a.inner; i++) {
            double d = x[(o * a.size + channel) * a.inner + i] - *mean;
            squares += d * d;
        }
    }
    *variance = squares / count;
}

static ct_norm_result batch_reference(const inputs *in) {
    around a = split(in->c);
    ct_norm_result result = {.y = ct_zeros(CT_F64, CT_CPU, in->x->shape),
                             .mean = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(a.size)),
                             .variance = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(a.size)),
                             .rstd = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(a.size))};
    double *y = ct_data(result.y), *x = ct_data(in->x);
    for (int64_t c = 0; c < a.size; c++) {
        double mean, variance;
        channel_statistics(in, c, &mean, &variance);
        double rstd = 1 / sqrt(variance + eps);
        ((double *)ct_data(result.mean))[c] = mean;
        ((double *)ct_data(result.variance))[c] = variance;
        ((double *)ct_data(result.rstd))[c] = rstd;
        if (in->mean) {
            mean = ((double *)ct_data(in->mean))[c];
            rstd = ((double *)ct_data(in->rstd))[c];
        }
        double w = in->weight ? ((double *)ct_data(in->weight))[c] : 1;
        double b = in->bias ? ((double *)ct_data(in->bias))[c] : 0;
        for (int64_t o = 0; o < a.outer; o++) {
            for (int64_t i = 0; i < a.inner; i++) {
                int64_t at = (o * a.size + c) * a.inner + i;
                y[at] = (x[at] - mean) * rstd * w + b;
            }
        }
    }
    return result;
}

static double batch_loss(void *context) {
    const inputs *in = context;
    double value = 0;
    CT_SCOPE { value = test_dot(batch_reference(in).y, in->cy); }
    return value;
}

START_TEST(batch_norm) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        int axis = cases[_i].axis;
        ct_norm_result result = ct_tensor_batch_norm(in.x, axis, in.weight, in.bias, eps);
        ct_norm_result expected = batch_reference(&in);
        assert_close(result.y, expected.y, 1e-12, 1e-12, "y");
        assert_close(result.mean, expected.mean, 1e-12, 0, "mean");
        assert_close(result.variance, expected.variance, 1e-12, 1e-14, "variance");
        assert_close(result.rstd, expected.rstd, 1e-12, 0, "rstd");
        ct_norm_grad grad =
            ct_tensor_batch_norm_grad(in.cy, in.x, axis, result.mean, result.rstd, in.weight, true);
        if (ct_count(in.x) < 1000) assert_gradient(grad.x, in.x, batch_loss, &in, "x");
        assert_gradient(grad.weight, in.weight, batch_loss, &in, "weight");
        assert_gradient(grad.bias, in.bias, batch_loss, &in, "bias");
    }
}
END_TEST

START_TEST(batch_norm_without_weight) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        in.weight = in.bias = NULL;
        int axis = cases[_i].axis;
        ct_norm_result result = ct_tensor_batch_norm(in.x, axis, NULL, NULL, eps);
        assert_close(result.y, batch_reference(&in).y, 1e-12, 1e-12, "y");
        ct_norm_grad grad =
            ct_tensor_batch_norm_grad(in.cy, in.x, axis, result.mean, result.rstd, NULL, true);
        ck_assert(!grad.weight && !grad.bias);
        if (ct_count(in.x) < 1000) assert_gradient(grad.x, in.x, batch_loss, &in, "x");
    }
}
END_TEST

START_TEST(batch_norm_given_statistics) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        uint64_t state = 5;
        int axis = cases[_i].axis;
        in.mean = test_tensor(&state, in.weight->shape, -1, 1);
        in.rstd = test_tensor(&state, in.weight->shape, 0.5, 2);
        ct_tensor *y = ct_tensor_batch_norm_apply(in.x, axis, in.mean, in.rstd, in.weight, in.bias);
        assert_close(y, batch_reference(&in).y, 1e-12, 1e-12, "y");
        ct_norm_grad grad =
            ct_tensor_batch_norm_grad(in.cy, in.x, axis, in.mean, in.rstd, in.weight, false);
        if (ct_count(in.x) < 1000) assert_gradient(grad.x, in.x, batch_loss, &in, "x");
        assert_gradient(grad.weight, in.weight, batch_loss, &in, "weight");
        assert_gradient(grad.bias, in.bias, batch_loss, &in, "bias");
    }
}
END_TEST

/* ---- layer norm ------------------------------------------------------------------------- */

static ct_tensor *layer_reference(const inputs *in) {
    int64_t width = in->x->shape.dim[in->x->shape.ndim - 1], rows = ct_count(in->x) / width;
    ct_tensor *result = ct_zeros(CT_F64, CT_CPU, in->x->shape);
    double *y = ct_data(result), *x = ct_data(in->x);
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0, squares = 0;
        for (int64_t c = 0; c < width; c++) sum += x[r * width + c];
        double mean = sum / (double)width;
        for (int64_t c = 0; c < width; c++) squares += pow(x[r * width + c] - mean, 2);
        double deviation = sqrt(squares / (double)width + eps);
        for (int64_t c = 0; c < width; c++) {
            double w = in->weight ? ((double *)ct_data(in->weight))[c] : 1;
            double b = in->bias ? ((double *)ct_data(in->bias))[c] : 0;
            y[r * width + c] = (x[r * width + c] - mean) / deviation * w + b;
        }
    }
    return result;
}

static double layer_loss(void *context) {
    const inputs *in = context;
    double value = 0;
    CT_SCOPE { value = test_dot(layer_reference(in), in->cy); }
    return value;
}

START_TEST(layer_norm) {
    norm_case last = {cases[_i].shape, -1};
    for (int weighted = 0; weighted < 2; weighted++) {
        CT_SCOPE {
            inputs in = make_inputs(&last);
            if (!weighted) in.weight = in.bias = NULL;
            ct_norm_result result = ct_tensor_layer_norm(in.x, in.weight, in.bias, eps);
            assert_close(result.y, layer_reference(&in), 1e-12, 1e-12, "y");
            ck_assert(!result.variance && result.mean->shape.ndim == in.x->shape.ndim - 1);
            ct_norm_grad grad =
                ct_tensor_layer_norm_grad(in.cy, in.x, result.mean, result.rstd, in.weight);
            if (ct_count(in.x) < 1000) assert_gradient(grad.x, in.x, layer_loss, &in, "x");
            ck_assert(!grad.weight == !weighted && !grad.bias == !weighted);
            if (weighted) assert_gradient(grad.weight, in.weight, layer_loss, &in, "weight");
            if (weighted) assert_gradient(grad.bias, in.bias, layer_loss, &in, "bias");
        }
    }
}
END_TEST

/* ---- l2 norm ---------------------------------------------------------------------------- */

static ct_tensor *l2_reference(const inputs *in) {
    around a = split(in->c);
    ct_tensor *result = ct_zeros(CT_F64, CT_CPU, in->x->shape);
    double *y = ct_data(result), *x = ct_data(in->x);
    for (int64_t o = 0; o < a.outer; o++) {
        for (int64_t i = 0; i < a.inner; i++) {
            double squares = 0;
            for (int64_t k = 0; k < a.size; k++) {
                squares += pow(x[(o * a.size + k) * a.inner + i], 2);
            }
            for (int64_t k = 0; k < a.size && squares > 0; k++) {
                int64_t at = (o * a.size + k) * a.inner + i;
                y[at] = x[at] / sqrt(squares);
            }
        }
    }
    return result;
}

static double l2_loss(void *context) {
    const inputs *in = context;
    double value = 0;
    CT_SCOPE { value = test_dot(l2_reference(in), in->cy); }
    return value;
}

START_TEST(l2_normalize) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        ct_tensor *norm, *y = ct_tensor_l2_normalize(in.x, cases[_i].axis, &norm);
        assert_close(y, l2_reference(&in), 1e-12, 0, "y");
        int axis = cases[_i].axis < 0 ? cases[_i].axis + in.x->shape.ndim : cases[_i].axis;
        ck_assert(norm->shape.ndim == in.x->shape.ndim && norm->shape.dim[axis] == 1);
        ct_tensor *gx = ct_tensor_l2_normalize_grad(in.cy, y, norm, cases[_i].axis);
        if (ct_count(in.x) < 1000) assert_gradient(gx, in.x, l2_loss, &in, "x");
    }
}
END_TEST

/* Against the l2 norm and a product, and its gradients by what that is made of. */
START_TEST(weight_norm) {
    static const double factors[] = {1, 1e-312, 1e-300, 1e-160, 1e160, 1e280};
    uint64_t state = 11;
    CT_SCOPE {
        ct_tensor *v = test_tensor(&state, CT_SHAPE(7, 70), -1, 1), *norm, *norm_2, *gscale;
        ct_tensor *g = test_tensor(&state, v->shape, -1e-10, 1e-10);
        ct_tensor *scale = test_tensor(&state, CT_SHAPE(7), -2, 2);
        v = ct_tensor_scale(v, factors[_i]);
        ct_tensor_fill(ct_tensor_slice(v, 0, 2, 3, 1), 0);
        ct_tensor *y = ct_tensor_weight_norm(v, scale, &norm);
        ct_tensor *unit = ct_tensor_l2_normalize(v, 1, &norm_2);
        ct_tensor *column = ct_tensor_unsqueeze(scale, 1);
        assert_close(y, ct_tensor_mul(unit, column), 0, 0, "y");
        assert_close(norm, ct_tensor_squeeze(norm_2, 1), 0, 0, "norm");
        ct_tensor *gv = ct_tensor_weight_norm_grad(g, v, scale, norm, &gscale);
        ct_tensor *expected =
            ct_tensor_l2_normalize_grad(ct_tensor_mul(g, column), unit, norm_2, 1);
        double size = 1e10 * factors[_i]; /* both in numbers of the size of one */
        assert_close(ct_tensor_scale(gv, size), ct_tensor_scale(expected, size), 1e-12, 1e-14,
                     "gradient of v");
        assert_close(gscale, ct_tensor_reduce(CT_SUM, ct_tensor_mul(g, unit), 2u, false), 1e-12,
                     1e-24, "gradient of the scale");
        assert_no_error();
        ck_assert(!ct_tensor_weight_norm(v, column, &norm));
        assert_error("weight_norm: scale is f64 (7,1), expected (7)");
        ck_assert(!ct_tensor_weight_norm_grad(g, v, scale, norm_2, &gscale));
        assert_error("weight_norm gradient: norm is f64 (7,1), expected (7)");
    }
}
END_TEST

START_TEST(l2_of_zero) {
    CT_SCOPE {
        for (int axis = 0; axis < 2; axis++) {
            ct_tensor *x = ct_zeros(CT_F64, CT_CPU, CT_SHAPE(3, 3));
            ct_set(x, 4, 2); /* row 1 and column 1 are not zero */
            ct_tensor *norm, *y = ct_tensor_l2_normalize(x, axis, &norm);
            ct_tensor *g = ct_full(CT_F64, CT_CPU, x->shape, 1);
            ct_tensor *gx = ct_tensor_l2_normalize_grad(g, y, norm, axis);
            assert_no_error();
            for (int64_t i = 0; i < 9; i++) {
                int64_t line = axis == 0 ? i % 3 : i / 3;
                ck_assert_double_eq(ct_get(y, i), i == 4 ? 1 : 0);
                ck_assert_double_eq(ct_get(gx, i), line == 1 && i != 4 ? 0.5 : 0);
            }
        }
    }
}
END_TEST

START_TEST(nan_stays) {
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(2, 3), 1);
        ct_set(x, 4, NAN);
        ct_tensor *norm, *y = ct_tensor_l2_normalize(x, 1, &norm);
        assert_no_error();
        ck_assert(isnan(ct_get(y, 3)) && isnan(ct_get(y, 5)) && !isnan(ct_get(y, 0)));
    }
}
END_TEST

/* ---- all -------------------------------------------------------------------------------- */

START_TEST(f32_agrees) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[_i]);
        int axis = cases[_i].axis;
        ct_tensor *x = ct_tensor_cast(in.x, CT_F32), *w = ct_tensor_cast(in.weight, CT_F32);
        ct_tensor *b = ct_tensor_cast(in.bias, CT_F32), *g = ct_tensor_cast(in.cy, CT_F32);
        ct_norm_result result = ct_tensor_batch_norm(x, axis, w, b, eps);
        ct_norm_result expected = ct_tensor_batch_norm(in.x, axis, in.weight, in.bias, eps);
        /* x of up to 3 rounded to f32, divided by at least sqrt(eps) */
        assert_close(result.y, expected.y, 2e-5, 2e-5, "batch norm");
        ct_norm_grad grad =
            ct_tensor_batch_norm_grad(g, x, axis, result.mean, result.rstd, w, true);
        ct_norm_grad grad_expected = ct_tensor_batch_norm_grad(in.cy, in.x, axis, expected.mean,
                                                               expected.rstd, in.weight, true);
        assert_close(grad.x, grad_expected.x, 2e-5, 2e-5, "batch norm gradient");
        assert_close(grad.weight, grad_expected.weight, 2e-5, 2e-5, "its weight");
        ct_tensor *norm, *norm_expected;
        ct_tensor *y = ct_tensor_l2_normalize(x, axis, &norm);
        assert_close(y, ct_tensor_l2_normalize(in.x, axis, &norm_expected), 1e-6, 0, "l2norm");
        assert_close(norm, norm_expected, 1e-6, 0, "norm");
    }
}
END_TEST

/* A mean of 1000 with a spread of 1: what a sum of squares less the mean's square would lose. */
START_TEST(f32_variance_is_accurate) {
    CT_SCOPE {
        uint64_t state = 9;
        ct_tensor *x = test_tensor(&state, CT_SHAPE(1000, 17), 999.5, 1000.5);
        ct_tensor *x32 = ct_tensor_cast(x, CT_F32);
        ct_norm_result result = ct_tensor_batch_norm(x32, 1, NULL, NULL, 1e-5);
        ct_norm_result expected =
            ct_tensor_batch_norm(ct_tensor_cast(x32, CT_F64), 1, NULL, NULL, 1e-5);
        assert_close(result.variance, expected.variance, 1e-4, 0, "variance");
        assert_close(result.y, expected.y, 1e-3, 0, "y"); /* the mean rounds at 3e-5 */
    }
}
END_TEST

START_TEST(threads_do_not_matter) {
    CT_SCOPE {
        uint64_t state = 1;
        ct_tensor *x = ct_tensor_cast(test_tensor(&state, CT_SHAPE(300, 7, 131), -1, 1), CT_F32);
        ct_tensor *g = ct_tensor_cast(test_tensor(&state, x->shape, -1, 1), CT_F32);
        int before = ct_threads();
        for (int axis = 1; axis < 3; axis++) {
            ct_tensor *w = ct_full(CT_F32, CT_CPU, CT_SHAPE(x->shape.dim[axis]), 0.7);
            ct_norm_result batch[2], layer[2];
            ct_norm_grad batch_grad[2], layer_grad[2];
            ct_tensor *l2[2], *norm;
            ct_tensor *layer_w = ct_full(CT_F32, CT_CPU, CT_SHAPE(131), 0.7);
            for (int k = 0; k < 2; k++) {
                ct_set_threads(k + 1);
                batch[k] = ct_tensor_batch_norm(x, axis, w, w, eps);
                batch_grad[k] =
                    ct_tensor_batch_norm_grad(g, x, axis, batch[k].mean, batch[k].rstd, w, true);
                layer[k] = ct_tensor_layer_norm(x, layer_w, layer_w, eps);
                layer_grad[k] =
                    ct_tensor_layer_norm_grad(g, x, layer[k].mean, layer[k].rstd, layer_w);
                l2[k] = ct_tensor_l2_normalize(x, axis, &norm);
                l2[k] = ct_tensor_l2_normalize_grad(g, l2[k], norm, axis);
            }
            ct_set_threads(before);
            assert_same_bits(batch[0].y, batch[1].y, "batch norm");
            assert_same_bits(batch_grad[0].x, batch_grad[1].x, "batch norm gradient");
            assert_same_bits(batch_grad[0].weight, batch_grad[1].weight, "its weight");
            assert_same_bits(layer[0].y, layer[1].y, "layer norm");
            assert_same_bits(layer_grad[0].weight, layer_grad[1].weight, "its weight");
            assert_same_bits(l2[0], l2[1], "l2norm gradient");
        }
    }
}
END_TEST

START_TEST(strided_inputs) {
    CT_SCOPE {
        inputs in = make_inputs(&cases[1]);
        ct_tensor *x = test_strided(in.x), *w = test_strided(in.weight), *g = test_strided(in.cy);
        ct_norm_result a = ct_tensor_batch_norm(in.x, 1, NULL, NULL, eps);
        assert_same_bits(ct_tensor_batch_norm(x, 1, NULL, NULL, eps).y, a.y, "batch norm");
        ct_norm_result l = ct_tensor_layer_norm(in.x, in.weight, NULL, eps);
        assert_same_bits(ct_tensor_layer_norm(x, w, NULL, eps).y, l.y, "layer norm");
        ct_norm_grad grad = ct_tensor_layer_norm_grad(in.cy, in.x, l.mean, l.rstd, in.weight);
        ct_norm_grad other = ct_tensor_layer_norm_grad(g, x, l.mean, l.rstd, w);
        assert_same_bits(other.x, grad.x, "layer norm gradient");
        ct_tensor *norm;
        ct_tensor *y = ct_tensor_l2_normalize(in.x, 1, &norm);
        assert_same_bits(ct_tensor_l2_normalize(x, 1, &norm), y, "l2norm");
        assert_same_bits(ct_tensor_l2_normalize_grad(g, test_strided(y), norm, 1),
                         ct_tensor_l2_normalize_grad(in.cy, y, norm, 1), "l2norm gradient");
    }
}
END_TEST

START_TEST(no_rows) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 5)), *norm;
        ct_tensor *w = ct_full(CT_F32, CT_CPU, CT_SHAPE(5), 1);
        ct_tensor *zero = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(5));
        ck_assert(ct_tensor_batch_norm_apply(x, 1, w, w, w, w) != NULL);
        assert_close(ct_tensor_batch_norm_grad(x, x, 1, w, w, w, true).weight, zero, 0, 0, "batch");
        ct_norm_result y = ct_tensor_layer_norm(x, w, w, eps);
        assert_close(ct_tensor_layer_norm_grad(x, x, y.mean, y.rstd, w).bias, zero, 0, 0, "layer");
        ck_assert(ct_tensor_l2_normalize(x, 0, &norm) != NULL);
        assert_close(norm, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1, 5)), 0, 0, "norm over nothing");
        assert_no_error();
    }
}
END_TEST

START_TEST(refuses_bad_input) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4, 5)), *norm;
        ct_tensor *w = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(4));
        ck_assert(ct_tensor_batch_norm(x, 1, w, NULL, eps).y == NULL);
        assert_error("batch norm: weight is f32 (4), expected (5)");
        ck_assert(ct_tensor_batch_norm(x, 2, NULL, NULL, eps).y == NULL);
        assert_error("axis 2");
        ct_tensor *empty = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 5));
        ck_assert(ct_tensor_batch_norm(empty, 1, NULL, NULL, eps).y == NULL);
        assert_error("is empty and has no statistics");
        ck_assert(ct_tensor_batch_norm_apply(x, 1, NULL, NULL, NULL, NULL) == NULL);
        assert_error("NULL");
        ck_assert(ct_tensor_layer_norm(x, w, NULL, eps).y == NULL);
        assert_error("layer norm: weight is f32 (4), expected (5)");
        ck_assert(ct_tensor_l2_normalize(ct_zeros(CT_I64, CT_CPU, CT_SHAPE(3)), 0, &norm) == NULL);
        assert_error("expected f32 or f64");
        ck_assert(norm == NULL);
        ck_assert(ct_tensor_l2_normalize_grad(w, x, w, 1) == NULL);
        assert_error("l2norm gradient: g is f32 (4), expected (4,5)");
    }
}
END_TEST

LOOPED_TEST_MAIN("norm", {batch_norm, CASES}, {batch_norm_without_weight, CASES},
                 {batch_norm_given_statistics, CASES}, {layer_norm, CASES}, {l2_normalize, CASES},
                 {weight_norm, 6}, {f32_agrees, CASES}, {l2_of_zero, 1}, {nan_stays, 1},
                 {f32_variance_is_accurate, 1}, {threads_do_not_matter, 1}, {strided_inputs, 1},
                 {no_rows, 1}, {refuses_bad_input, 1})
