/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax and log-softmax against f64 loops. */
#include <float.h>

#include "tests/tensor/kernel_test.h"

/* Softmax of the lines of x along an axis, f64, in x's order. */
static ct_tensor *plain_softmax(const ct_tensor *x, int axis, bool logarithm) {
    ct_tensor *y = ct_tensor_copy(ct_tensor_transpose(ct_tensor_cast(x, CT_F64), axis, -1));
    double *v = ct_data(y);
    int64_t n = ct_dim(y, -1);
    for (int64_t i = 0; i < ct_count(y); i += n) {
        double sum = 0, lost = 0; /* what the last addition rounded off: Kahan's sum */
        for (int64_t j = 0; j < n; j++) {
            double term = exp(v[i + j]) - lost, next = sum + term;
            lost = (next - sum) - term;
            sum = next;
        }
        for (int64_t j = 0; j < n; j++) {
            v[i + j] = logarithm ? v[i + j] - log(sum) : exp(v[i + j]) / sum;
        }
    }
    return ct_tensor_transpose(y, axis, -1);
}

static const ct_shape shapes[] = {{1, {1}},        {1, {31}},       {2, {5, 33}},   {2, {3, 257}},
                                  {3, {4, 7, 65}}, {2, {1, 10000}}, {3, {2, 0, 3}}, {2, {64, 36}}};

START_TEST(values) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int axis = 0; axis < shapes[s].ndim; axis++) {
            for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
                CT_SCOPE {
                    /* differences of exponents go to 40, where a rounding is 2^5 / 2 times
                     * epsilon: that relative error of exp is compared with the largest result */
                    ct_tensor *x = noise(dtype, shapes[s], 20, 7);
                    double epsilon = dtype == CT_F32 ? FLT_EPSILON : DBL_EPSILON;
                    ct_tensor *y = ct_tensor_softmax(x, axis, false);
                    assert_no_error();
                    ck_assert(y->dtype == dtype && ct_is_contiguous(y));
                    assert_close(ct_tensor_cast(y, CT_F64), plain_softmax(x, axis, false),
                                 32 * epsilon, 0, "softmax");
                    y = ct_tensor_softmax(x, axis, true);
                    assert_close(ct_tensor_cast(y, CT_F64), plain_softmax(x, axis, true),
                                 8 * epsilon, 8 * epsilon, "log_softmax");
                }
            }
        }
    }
}
END_TEST

/* sum over k of g_k dy_k/dx_j, with dy_k/dx_j = y_k (d_kj - y_j), or d_kj - y_j of the logarithm */
static ct_tensor *plain_grad(const ct_tensor *g, const ct_tensor *x, int axis, bool logarithm) {
    ct_tensor *p = ct_tensor_copy(ct_tensor_transpose(plain_softmax(x, axis, false), axis, -1));
    ct_tensor *gx = ct_tensor_copy(ct_tensor_transpose(ct_tensor_cast(g, CT_F64), axis, -1));
    const double *y = ct_data(p);
    double *v = ct_data(gx);
    int64_t n = ct_dim(p, -1);
    for (int64_t i = 0; i < ct_count(p); i += n) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += logarithm ? v[i + j] : v[i + j] * y[i + j];
        for (int64_t j = 0; j < n; j++) {
            v[i + j] = logarithm ? v[i + j] - y[i + j] * sum : y[i + j] * (v[i + j] - sum);
        }
    }
    return ct_tensor_transpose(gx, axis, -1);
}

START_TEST(gradients) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int axis = 0; axis < shapes[s].ndim; axis++) {
            for (int logarithm = 0; logarithm < 2; logarithm++) {
                for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
                    CT_SCOPE {
                        ct_tensor *x = noise(dtype, shapes[s], 3, 7);
                        ct_tensor *g = ct_tensor_add(noise(dtype, shapes[s], 1, 7),
                                                     ct_scalar(dtype, CT_CPU, 0.3));
                        ct_tensor *y = ct_tensor_softmax(x, axis, logarithm);
                        ct_tensor *gx = ct_tensor_softmax_grad(g, y, axis, logarithm);
                        double epsilon = dtype == CT_F32 ? FLT_EPSILON : DBL_EPSILON;
                        assert_close(ct_tensor_cast(gx, CT_F64), plain_grad(g, x, axis, logarithm),
                                     128 * epsilon, epsilon, "softmax_grad");
                    }
                }
            }
        }
    }
}
END_TEST

START_TEST(large_and_masked) {
    CT_SCOPE {
        ct_tensor *x = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2, 3),
                                       (double[]){1e30, 1e30, -1e30, -INFINITY, 5, 5});
        ct_tensor *y = ct_tensor_softmax(x, 1, false);
        assert_close(
            y,
            ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2, 3), (double[]){0.5, 0.5, 0, 0, 0.5, 0.5}),
            0, 0, "softmax");
        ct_tensor *l = ct_tensor_softmax(x, 1, true);
        ck_assert(ct_get(l, 3) == -INFINITY && fabs(ct_get(l, 4) + M_LN2) < 1e-7);
        ct_set(x, 0, NAN);
        ck_assert(isnan(ct_get(ct_tensor_softmax(x, 1, false), 2)));
    }
}
END_TEST

START_TEST(views_and_threads) {
    CT_SCOPE {
        ct_tensor *x = noise(CT_F32, CT_SHAPE(33, 600, 5), 4, 7);
        ct_tensor *turned = ct_tensor_permute(x, (int[]){2, 0, 1});
        ct_set_threads(1);
        ct_tensor *one = ct_tensor_softmax(ct_tensor_copy(turned), 2, false);
        ct_set_threads(3);
        ct_tensor *more = ct_tensor_softmax(turned, 2, false);
        ck_assert(memcmp(ct_data(one), ct_data(more), (size_t)ct_count(one) * 4) == 0);
        ct_tensor *middle = ct_tensor_permute(ct_tensor_softmax(x, 1, false), (int[]){2, 0, 1});
        assert_close(middle, one, 0, 0, "softmax along a middle axis");
    }
}
END_TEST

START_TEST(errors) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ck_assert(!ct_tensor_softmax(x, 2, false));
        assert_error("softmax: axis 2 is outside a tensor of 2 dimensions");
        ck_assert(!ct_tensor_softmax(ct_zeros(CT_I32, CT_CPU, CT_SHAPE(3)), 0, true));
        assert_error("log_softmax: expected f32 or f64, got i32 (3)");
        ck_assert(!ct_tensor_softmax_grad(x, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3)), 0, false));
        assert_error("softmax: the gradient is (2,3), the result (3)");
    }
}
END_TEST

TEST_MAIN("softmax", values, gradients, large_and_masked, views_and_threads, errors)
