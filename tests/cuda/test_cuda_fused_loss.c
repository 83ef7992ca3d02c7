/* SPDX-License-Identifier: Apache-2.0 */
/* Cross entropy on CUDA tensors against the CPU. */
#include "tests/cuda/cuda_test.h"

enum { IGNORED = -7 };

static ct_tensor *labels_of(int64_t rows, int64_t classes) {
    ct_tensor *labels = ct_zeros(CT_I64, CT_CPU, CT_SHAPE(rows));
    int64_t *label = ct_data(labels);
    for (int64_t r = 0; r < rows; r++) label[r] = r % 4 == 2 ? IGNORED : (7 * r + 3) % classes;
    return labels;
}

static double tolerance(ct_dtype dtype) { return dtype == CT_F64 ? 1e-13 : 4e-6; }

static void check(const ct_tensor *logits, const ct_tensor *cuda, double smoothing) {
    ct_dtype dtype = logits->dtype;
    int64_t rows = logits->shape.dim[0];
    ct_tensor *labels = labels_of(rows, logits->shape.dim[1]), *cuda_labels = on_cuda(labels);
    ct_tensor *lse, *cuda_lse;
    ct_tensor *loss = ct_tensor_cross_entropy(logits, labels, IGNORED, smoothing, &lse);
    assert_as_cpu(ct_tensor_cross_entropy(cuda, cuda_labels, IGNORED, smoothing, &cuda_lse), loss,
                  tolerance(dtype), "cross entropy");
    assert_as_cpu(cuda_lse, lse, tolerance(dtype), "log sum exp");
    ct_tensor *g = noise(dtype, CT_SHAPE(rows), 1, 5);
    ct_tensor *grad = ct_tensor_cross_entropy_grad(g, logits, labels, lse, IGNORED, smoothing);
    ct_tensor *of_cuda =
        ct_tensor_cross_entropy_grad(on_cuda(g), cuda, cuda_labels, cuda_lse, IGNORED, smoothing);
    if (ct_count(logits) == 1) { /* a difference of equal numbers */
        assert_close(of_cuda, grad, 0, tolerance(dtype), "cross entropy gradient");
    } else {
        assert_as_cpu(of_cuda, grad, tolerance(dtype), "cross entropy gradient");
    }
    ct_tensor *over = ct_tensor_copy(cuda);
    ck_assert(ct_tensor_cross_entropy_grad_in_place(on_cuda(g), over, cuda_labels, cuda_lse,
                                                    IGNORED, smoothing));
    assert_same_on_both(over, ct_tensor_to_device(of_cuda, CT_CPU), "gradient over the logits");
}

static const int64_t shapes[][2] = {{0, 5},    {1, 1},   {3, 31},    {33, 33},   {20, 257},
                                    {7, 1000}, {40, 16}, {2, 20001}, {3, 16384}, {20011, 33}};
enum { SHAPES = sizeof shapes / sizeof *shapes, LARGE = 1 };

START_TEST(as_on_the_cpu) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            ct_tensor *x = noise(reals[d], CT_SHAPE(shapes[_i][0], shapes[_i][1]), 9, 1);
            check(x, on_cuda(x), 0);
            check(x, on_cuda(x), 0.1);
            check(x, misaligned(x), 0.1);
        }
    }
}
END_TEST

/* Rows of what is not a number, of infinities, and of numbers whose exponentials overflow. In rows
 * long enough that several threads and loads each meet some. */
START_TEST(at_the_limits) {
    const double value[] = {INFINITY, -INFINITY, NAN, 1e30, -1e30, 500, -500};
    int64_t width = _i == 0 ? 1 : 700;
    for (int d = 0; d < 2; d++) {
        for (int v = 0; v < 7; v++) {
            CT_SCOPE {
                ct_tensor *x = noise(reals[d], CT_SHAPE(8, width), 3, 2);
                for (int64_t r = 0; r < 8; r++) { /* none, one, ..., all of a row */
                    for (int64_t c = 0; c < width; c++) {
                        if ((c * 5 + r) % 7 >= r) continue;
                        if (reals[d] == CT_F32) {
                            ((float *)ct_data(x))[r * width + c] = (float)value[v];
                        } else {
                            ((double *)ct_data(x))[r * width + c] = value[v];
                        }
                    }
                }
                check(x, on_cuda(x), 0);
            }
        }
    }
}
END_TEST

/* Where log sum exp holds no digit of the logarithm: f32 has multiples of 8 there, f64 of 1/8. */
START_TEST(far_from_zero) {
    for (int d = 0; d < 2; d++) {
        double at = (reals[d] == CT_F32 ? 1e8 : 1e15) * (_i % 2 ? -1 : 1);
        int64_t classes = _i < 2 ? 33 : 1100;
        CT_SCOPE {
            ct_tensor *x = noise(reals[d], CT_SHAPE(9, classes), 9, 1);
            x = ct_tensor_unary(CT_UNARY_add_scalar, x, at, 0);
            check(x, on_cuda(x), 0);
            check(x, on_cuda(x), 0.3);
        }
    }
}
END_TEST

/* The error comes with the next values that are read; what follows is computed as ever. */
START_TEST(label_out_of_range) {
    int64_t bad = _i == 0 ? 5 : -1;
    for (int gradient = 0; gradient < 2; gradient++) {
        CT_SCOPE {
            ct_tensor *x = on_cuda(noise(CT_F32, CT_SHAPE(3, 5), 1, 1)), *lse;
            ct_tensor *good = on_cuda(labels_of(3, 5));
            int64_t labels[] = {1, bad, 2};
            ct_tensor *wrong = ct_from_data(CT_I64, CT_CUDA, CT_SHAPE(3), labels);
            ct_tensor *y = ct_tensor_cross_entropy(x, gradient ? good : wrong, IGNORED, 0, &lse);
            if (gradient) y = ct_tensor_cross_entropy_grad(lse, x, wrong, lse, IGNORED, 0);
            assert_no_error();
            float values[15];
            ck_assert(!ct_read(y, values));
            assert_error(bad == 5 ? "cross entropy: label 5 of row 1 is out of range for 5 classes"
                                  : "cross entropy: label -1 of row 1 is out of range");
            check(on_cpu(x), x, 0);
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda cross entropy", {as_on_the_cpu, cases_here(SHAPES, LARGE)},
                 {at_the_limits, 2}, {far_from_zero, 4}, {label_out_of_range, 2})
