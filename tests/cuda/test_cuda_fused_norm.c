/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm, layer norm, l2 norm and weight norm on CUDA tensors against the CPU. */
#include "tests/cuda/cuda_test.h"

/* (outer, channels, inner): one of the outer sizes needs more than one part of the sums. */
static const int64_t shapes[][3] = {
    {1, 1, 1},   {31, 33, 1}, {257, 31, 1}, {33, 64, 1}, {700, 5, 1},    {3, 257, 1},  {2, 31, 5},
    {3, 5, 257}, {40, 3, 31}, {5, 1, 64},   {2, 33, 4},  {20011, 33, 1}, {7, 64, 1500}};
enum { SHAPES = sizeof shapes / sizeof *shapes, LARGE = 2 };

/* Of sums, relative to the largest of a tensor. */
static double tolerance(ct_dtype dtype) { return dtype == CT_F64 ? 1e-13 : 5e-6; }

/* Where the CUDA tensors lie. */
typedef ct_tensor *place(const ct_tensor *x);
static place *const places[] = {on_cuda, misaligned};

static void check_batch_norm(const ct_tensor *x, place *on, bool scaled) {
    ct_dtype dtype = x->dtype;
    double t = tolerance(dtype);
    ct_shape channels = CT_SHAPE(x->shape.dim[1]);
    ct_tensor *w = scaled ? noise(dtype, channels, 2, 2) : NULL;
    ct_tensor *b = scaled ? noise(dtype, channels, 2, 3) : NULL;
    ct_norm_result y = ct_tensor_batch_norm(x, 1, w, b, 1e-5);
    ct_norm_result cuda = ct_tensor_batch_norm(on(x), 1, on(w), on(b), 1e-5);
    assert_as_cpu(cuda.mean, y.mean, t, "batch norm mean");
    assert_as_cpu(cuda.variance, y.variance, t, "batch norm variance");
    assert_as_cpu(cuda.rstd, y.rstd, t, "batch norm rstd");
    assert_as_cpu(cuda.y, y.y, t, "batch norm");
    assert_as_cpu(ct_tensor_batch_norm_apply(on(x), 1, on(y.variance), on(y.rstd), on(w), on(b)),
                  ct_tensor_batch_norm_apply(x, 1, y.variance, y.rstd, w, b), t,
                  "batch norm, given statistics");
    ct_tensor *g = noise(dtype, x->shape, 1, 4);
    for (int training = 0; training < 2; training++) {
        ct_norm_grad grad = ct_tensor_batch_norm_grad(g, x, 1, y.mean, y.rstd, w, training);
        ct_norm_grad of_cuda =
            ct_tensor_batch_norm_grad(on(g), on(x), 1, on(y.mean), on(y.rstd), on(w), training);
        assert_as_cpu(of_cuda.x, grad.x, 4 * t, "batch norm gradient");
        if (!scaled) continue;
        assert_as_cpu(of_cuda.weight, grad.weight, 4 * t, "batch norm gradient of the weight");
        assert_as_cpu(of_cuda.bias, grad.bias, 4 * t, "batch norm gradient of the bias");
    }
}

START_TEST(batch_norm_as_on_the_cpu) {
    const int64_t *s = shapes[_i];
    for (int i = 0; i < 4; i++) {
        CT_SCOPE {
            ct_tensor *x = noise(reals[i % 2], CT_SHAPE(s[0], s[1], s[2]), 3, 1);
            check_batch_norm(x, places[i / 2], i != 1);
        }
    }
}
END_TEST

/* A mean a thousand times the spread: f32 statistics are as good as those of the same values in
 * f64, whatever lay first. */
START_TEST(batch_norm_of_large_means) {
    const int64_t *s = shapes[_i];
    if (s[0] * s[2] < 2) return;
    CT_SCOPE {
        ct_tensor *x = noise(CT_F32, CT_SHAPE(s[0], s[1], s[2]), 1, 1);
        x = ct_tensor_unary(CT_UNARY_add_scalar, x, 1000, 0);
        ct_norm_result y = ct_tensor_batch_norm(ct_tensor_cast(x, CT_F64), 1, NULL, NULL, 1e-5);
        ct_norm_result cuda = ct_tensor_batch_norm(on_cuda(x), 1, NULL, NULL, 1e-5);
        assert_close(on_cpu(cuda.mean), y.mean, 1e-7, 0, "mean");
        assert_close(on_cpu(cuda.variance), y.variance, 2e-7, 0, "variance");
    }
}
END_TEST

START_TEST(batch_norm_of_nothing) {
    CT_SCOPE {
        for (int inner = 1; inner < 3; inner++) { /* no rows, then no channels */
            for (int which = 0; which < 2; which++) {
                int64_t rows = which ? 3 : 0, channels = which ? 0 : 3;
                ct_tensor *x = ct_empty(CT_F32, CT_CUDA, CT_SHAPE(rows, channels, inner));
                ct_tensor *one = ct_full(CT_F32, CT_CUDA, CT_SHAPE(channels), 1);
                ct_tensor *y = ct_tensor_batch_norm_apply(x, 1, one, one, one, one);
                ck_assert_int_eq(ct_count(y), 0);
                ct_norm_grad grad = ct_tensor_batch_norm_grad(y, x, 1, one, one, one, true);
                ct_tensor *zero = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(channels));
                assert_as_cpu(grad.weight, zero, 0, "gradient of the weight");
                assert_as_cpu(grad.bias, zero, 0, "gradient of the bias");
            }
        }
    }
}
END_TEST

/* ---- layer norm ------------------------------------------------------------------------- */

static const int64_t matrices[][2] = {{0, 3},   {1, 1},    {31, 33}, {257, 31}, {40, 64},
                                      {3, 257}, {2, 5000}, {600, 3}, {4, 512},  {20011, 36}};
enum { MATRICES = sizeof matrices / sizeof *matrices, LARGE_MATRICES = 1 };

static void check_layer_norm(const ct_tensor *x, place *on, bool scaled) {
    ct_dtype dtype = x->dtype;
    double t = tolerance(dtype);
    ct_shape width = CT_SHAPE(x->shape.dim[1]);
    ct_tensor *w = scaled ? noise(dtype, width, 2, 2) : NULL;
    ct_tensor *b = scaled ? noise(dtype, width, 2, 3) : NULL;
    ct_norm_result y = ct_tensor_layer_norm(x, w, b, 1e-5);
    ct_norm_result cuda = ct_tensor_layer_norm(on(x), on(w), on(b), 1e-5);
    assert_as_cpu(cuda.mean, y.mean, t, "layer norm mean");
    assert_as_cpu(cuda.rstd, y.rstd, t, "layer norm rstd");
    assert_as_cpu(cuda.y, y.y, t, "layer norm");
    ct_tensor *g = noise(dtype, x->shape, 1, 4);
    ct_norm_grad grad = ct_tensor_layer_norm_grad(g, x, y.mean, y.rstd, w);
    ct_norm_grad of_cuda = ct_tensor_layer_norm_grad(on(g), on(x), on(y.mean), on(y.rstd), on(w));
    /* of one column it is a difference of equal numbers, times rstd = 1 / sqrt(eps) */
    double absolute = x->shape.dim[1] == 1 ? 320 * t : 0;
    assert_close(of_cuda.x, grad.x, 4 * t, absolute, "layer norm gradient");
    if (!scaled) return;
    assert_as_cpu(of_cuda.weight, grad.weight, 4 * t, "layer norm gradient of the weight");
    assert_as_cpu(of_cuda.bias, grad.bias, 4 * t, "layer norm gradient of the bias");
}

START_TEST(layer_norm_as_on_the_cpu) {
    for (int i = 0; i < 4; i++) {
        CT_SCOPE {
            ct_shape shape = CT_SHAPE(matrices[_i][0], matrices[_i][1]);
            check_layer_norm(noise(reals[i % 2], shape, 3, 1), places[i / 2], i != 1);
        }
    }
}
END_TEST

/* ---- l2 norm ---------------------------------------------------------------------------- */

static void check_l2(const ct_tensor *x, int axis, place *on) {
    double t = tolerance(x->dtype);
    ct_tensor *norm, *cuda_norm, *y = ct_tensor_l2_normalize(x, axis, &norm);
    assert_as_cpu(ct_tensor_l2_normalize(on(x), axis, &cuda_norm), y, t, "l2norm");
    assert_as_cpu(cuda_norm, norm, t, "l2norm: the norm");
    ct_tensor *g = noise(x->dtype, x->shape, 1, 4);
    ct_tensor *gx = ct_tensor_l2_normalize_grad(g, y, norm, axis);
    ct_tensor *cuda_gx = ct_tensor_l2_normalize_grad(on(g), on(y), on(norm), axis);
    /* of one element it is a difference of equal numbers, over the norm */
    double smallest =
        ct_count(norm) ? ct_item(ct_tensor_reduce(CT_MIN, norm, CT_ALL_AXES, false)) : 1;
    assert_close(cuda_gx, gx, 4 * t, t / (smallest > 0 && smallest < 1 ? smallest : 1),
                 "l2norm gradient");
}

static void check_weight_norm(const ct_tensor *v, place *on) {
    double t = tolerance(v->dtype);
    ct_tensor *scale = noise(v->dtype, CT_SHAPE(v->shape.dim[0]), 2, 5), *norm, *cuda_norm;
    ct_tensor *y = ct_tensor_weight_norm(v, scale, &norm), *gscale, *cuda_gscale;
    assert_as_cpu(ct_tensor_weight_norm(on(v), on(scale), &cuda_norm), y, t, "weight norm");
    assert_as_cpu(cuda_norm, norm, t, "weight norm: the norm");
    ct_tensor *g = noise(v->dtype, v->shape, 1, 4);
    ct_tensor *gv = ct_tensor_weight_norm_grad(g, v, scale, norm, &gscale);
    ct_tensor *cuda_gv =
        ct_tensor_weight_norm_grad(on(g), on(v), on(scale), on(norm), &cuda_gscale);
    /* of one element it is a difference of equal numbers, over the norm */
    double smallest =
        ct_count(norm) ? ct_item(ct_tensor_reduce(CT_MIN, norm, CT_ALL_AXES, false)) : 1;
    assert_close(cuda_gv, gv, 4 * t, 2 * t / (smallest > 0 && smallest < 1 ? smallest : 1),
                 "weight norm gradient");
    assert_as_cpu(cuda_gscale, gscale, t, "weight norm gradient of the scale");
}

START_TEST(l2_norm_as_on_the_cpu) {
    for (int i = 0; i < 4; i++) {
        CT_SCOPE {
            ct_shape shape = CT_SHAPE(matrices[_i][0], matrices[_i][1]);
            ct_tensor *x = noise(reals[i % 2], shape, 3, 1);
            if (ct_count(x) > 3) ct_tensor_fill(ct_tensor_slice(x, 0, 0, 1, 1), 0);
            check_l2(x, 1, places[i / 2]);
            check_weight_norm(x, places[i / 2]);
            check_l2(x, 0, places[i / 2]);
        }
    }
}
END_TEST

/* Squares of such numbers are out of the range (tests/tensor/test_range.c). */
START_TEST(l2_norm_over_the_whole_range) {
    const double factors[2][4] = {{1e-30, 1e-20, 1e19, 1e37}, {1e-300, 1e-160, 1e160, 1e280}};
    for (int i = 0; i < 8; i++) {
        CT_SCOPE {
            ct_shape shape = CT_SHAPE(matrices[_i][0], matrices[_i][1]);
            ct_tensor *x = noise(reals[i % 2], shape, factors[i % 2][i / 2], 1);
            check_l2(x, 1, places[i / 2 % 2]);
            check_weight_norm(x, places[i / 2 % 2]);
            check_l2(x, 0, places[i / 2 % 2]);
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda norm", {batch_norm_as_on_the_cpu, cases_here(SHAPES, LARGE)},
                 {batch_norm_of_large_means, cases_here(SHAPES, LARGE)}, {batch_norm_of_nothing, 1},
                 {layer_norm_as_on_the_cpu, cases_here(MATRICES, LARGE_MATRICES)},
                 {l2_norm_as_on_the_cpu, cases_here(MATRICES, LARGE_MATRICES)},
                 {l2_norm_over_the_whole_range, MATRICES - LARGE_MATRICES})
