/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which threads and blocks run does not change a bit of what the fused kernels that
 * add compute: the same input gives the same bits. */
#include "tests/cuda/cuda_test.h"

enum { MOST_RESULTS = 16 };

/* What a computation leaves: tensors on either device. */
typedef struct {
    ct_tensor *of[MOST_RESULTS];
    int count;
} results;

static void add(results *all, ct_tensor *x) { all->of[all->count++] = x; }

static ct_tensor *input(ct_dtype dtype, ct_shape shape, uint64_t seed) {
    return on_cuda(noise(dtype, shape, 2, seed));
}

typedef void computation(ct_dtype dtype, results *to);

static void recurrent(ct_dtype dtype, results *to) {
    const ct_backend *cuda = ct_backend_of(CT_CUDA);
    ct_tensor *d = input(dtype, CT_SHAPE(70, 4 * 33), 1), *dh = input(dtype, CT_SHAPE(70, 33), 2);
    ct_tensor *sums = input(CT_F64, CT_SHAPE(4 * 33), 3), *dc = input(dtype, CT_SHAPE(70, 33), 4);
    ct_tensor *g = input(dtype, CT_SHAPE(70, 33), 5), *h = input(dtype, CT_SHAPE(70, 33), 6);
    ct_tensor *saved = input(dtype, CT_SHAPE(70, 5 * 33), 7);
    ct_tensor *gates = input(dtype, CT_SHAPE(70, 4 * 33), 8);
    ck_assert(cuda->gru_step_grad(d, dh, sums, g, gates, h));
    ck_assert(cuda->lstm_step_grad(d, dh, dc, sums, g, saved, h));
    add(to, sums);
}

static void norms(ct_dtype dtype, results *to) {
    const ct_shape shapes[] = {CT_SHAPE(300, 33, 1), CT_SHAPE(40, 3, 31)};
    for (int i = 0; i < 2; i++) {
        ct_tensor *x = input(dtype, shapes[i], 2), *g = input(dtype, shapes[i], 3);
        ct_tensor *scale = input(dtype, CT_SHAPE(shapes[i].dim[1]), 1);
        ct_norm_result y = ct_tensor_batch_norm(x, 1, scale, scale, 1e-5);
        ct_norm_grad grad = ct_tensor_batch_norm_grad(g, x, 1, y.mean, y.rstd, scale, true);
        add(to, y.mean);
        add(to, y.variance);
        add(to, grad.weight);
        add(to, grad.bias);
    }
    ct_tensor *x = input(dtype, CT_SHAPE(300, 33), 4), *g = input(dtype, CT_SHAPE(300, 33), 5);
    ct_tensor *weight = input(dtype, CT_SHAPE(33), 7);
    ct_norm_result y = ct_tensor_layer_norm(x, weight, weight, 1e-5);
    ct_norm_grad grad = ct_tensor_layer_norm_grad(g, x, y.mean, y.rstd, weight);
    add(to, y.y);
    add(to, grad.x);
    add(to, grad.weight);
    ct_tensor *norm;
    add(to, ct_tensor_l2_normalize(input(dtype, CT_SHAPE(9, 1000), 6), 1, &norm));
    add(to, norm);
}

static void losses(ct_dtype dtype, results *to) {
    ct_tensor *x = input(dtype, CT_SHAPE(9, 1000), 1), *lse;
    ct_tensor *labels = on_cuda(ct_full(CT_I64, CT_CPU, CT_SHAPE(9), 3));
    ct_tensor *loss = ct_tensor_cross_entropy(x, labels, -1, 0.1, &lse);
    add(to, loss);
    add(to, ct_tensor_cross_entropy_grad(loss, x, labels, lse, -1, 0.1));
}

static void rankings(ct_dtype dtype, results *to) {
    ct_tensor *s = input(dtype, CT_SHAPE(70, 70), 1), *ga, *gb;
    ct_tensor *g = on_cuda(ct_scalar(dtype, CT_CPU, 0.1));
    for (int i = 0; i < 4; i++) {
        ct_hinge_options o = {0.2, i & 1, CT_HINGE_ROW, (ct_hinge_side)(i / 2)};
        add(to, ct_tensor_hinge(s, o));
        add(to, ct_tensor_hinge_grad(g, s, o));
    }
    ct_tensor *a = input(dtype, CT_SHAPE(40, 70), 2), *b = input(dtype, CT_SHAPE(40, 70), 3);
    add(to, ct_tensor_order_similarity(a, b));
    ct_tensor *order = to->of[to->count - 1];
    ct_tensor_order_similarity_grad(order, a, b, order, &ga, &gb);
    add(to, ga);
    add(to, gb);
}

static void policies(ct_dtype dtype, results *to) {
    ct_shape heads = CT_SHAPE(9, 2);
    ct_tensor *rho = input(dtype, heads, 1), *g_logits, *g_rho;
    ct_policy_noise noises = {.choice = on_cuda(ct_full(dtype, CT_CPU, heads, 0.4)), .normal = rho};
    ct_policy_options options = {1, 1, false};
    ct_policy_result r =
        ct_tensor_policy_head(input(dtype, CT_SHAPE(9, 2, 2000), 2), rho, noises, options);
    ct_tensor_policy_head_grad(rho, rho, rho, &r, options, &g_logits, &g_rho);
    add(to, r.y);
    add(to, r.index);
    add(to, r.log_discrete);
    add(to, g_logits);
}

static void run_in_order(computation *compute, ct_dtype dtype, const char *order, results *to) {
    ck_assert(setenv("CT_SHIM_ORDER", order, 1) == 0);
    results on_device = {0};
    compute(dtype, &on_device);
    for (int i = 0; i < on_device.count; i++) add(to, on_cpu(on_device.of[i]));
    assert_no_error();
}

static computation *const computations[] = {recurrent, norms, losses, rankings, policies};
enum { COMPUTATIONS = sizeof computations / sizeof *computations };

START_TEST(do_not_depend_on_the_order) {
    const char *const orders[] = {"reversed", "3", "11"};
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            results first = {0};
            run_in_order(computations[_i], reals[d], "forward", &first);
            for (int o = 0; o < 3; o++) {
                results other = {0};
                run_in_order(computations[_i], reals[d], orders[o], &other);
                for (int i = 0; i < first.count; i++) {
                    assert_same_bits(other.of[i], first.of[i], orders[o]);
                }
            }
        }
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda fused bits", {do_not_depend_on_the_order, COMPUTATIONS})
