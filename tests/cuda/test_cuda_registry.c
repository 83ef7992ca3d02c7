/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation of the registry on CUDA tensors against the CPU: outputs and gradients, in f64
 * and f32, on contiguous, transposed and strided inputs. One test an operation. */
#include "autograd/gradcheck.h"
#include "tests/test.h"

static void check_operation(int i, bool f32, double relative) {
    const ct_op *op = ct_op_at(i);
    double largest = 0;
    int cases = 0;
    ct_gradcheck_options options = {.seed = 7,
                                    .device = CT_CUDA,
                                    .against_cpu = true,
                                    .f32 = f32,
                                    .relative = relative,
                                    .largest_error = &largest};
    bool agrees = ct_gradcheck_op(op, options, &cases);
    printf("%s %-20s %3d cases, largest error %.1e\n", f32 ? "f32" : "f64", op->name, cases,
           largest);
    fflush(stdout);
    ck_assert_msg(agrees, "%s", ct_error());
    assert_no_error();
}

START_TEST(operation_f64) { check_operation(_i, false, 1e-11); }
END_TEST

START_TEST(operation_f32) { check_operation(_i, true, 2e-5); }
END_TEST

LOOPED_TEST_MAIN("cuda registry", {operation_f64, ct_op_count()}, {operation_f32, ct_op_count()})
