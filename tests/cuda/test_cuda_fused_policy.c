/* SPDX-License-Identifier: Apache-2.0 */
/* The policy head on CUDA tensors against the CPU. */
#include "tests/cuda/cuda_test.h"

/* Rows, heads, actions; the last are too many for shared memory. */
static const int64_t shapes[][3] = {{0, 2, 5},   {1, 1, 1},   {3, 2, 31},   {4, 1, 33},
                                    {5, 2, 257}, {9, 2, 500}, {2, 1, 9001}, {2503, 2, 33}};
enum { SHAPES = sizeof shapes / sizeof *shapes, LARGE = 1 };

/* In f32 y is divided by a sum of as many terms as there are actions, each addition off by half a
 * unit in the last place at most: on the CPU without vectors they are added one after the other. */
static double tolerance(ct_dtype dtype, int64_t actions) {
    return dtype == CT_F64 ? 1e-13 : 1e-5 + (double)actions * 0x1p-24;
}

/* Evenly spread in (0, 1). */
static ct_tensor *uniform(ct_dtype dtype, ct_shape shape, uint64_t seed) {
    return ct_tensor_unary(CT_UNARY_add_scalar, noise(dtype, shape, 0.4999, seed), 0.5, 0);
}

typedef ct_tensor *place(const ct_tensor *x);

static ct_policy_noise moved(ct_policy_noise n, place *on) {
    return (ct_policy_noise){on(n.uniform), on(n.choice), on(n.normal), on(n.normal_2),
                             on(n.index)};
}

static ct_policy_result moved_result(const ct_policy_result *r, place *on) {
    return (ct_policy_result){
        on(r->log_discrete), on(r->log_continuous), on(r->weight), on(r->index), on(r->y),
        on(r->sample)};
}

/* On the CPU's own result, so that a draw at the border of two actions makes no difference. */
static void check_grad(const ct_tensor *rho, const ct_policy_result *result,
                       ct_policy_options options, place *on) {
    double t = tolerance(rho->dtype, ct_dim(result->y, 2));
    ct_tensor *g_discrete = noise(rho->dtype, rho->shape, 1, 7);
    ct_tensor *g_continuous = noise(rho->dtype, rho->shape, 1, 8);
    ct_policy_result of_cuda = moved_result(result, on);
    for (int i = 0; i < 3; i++) {
        ct_tensor *gd = i == 1 ? NULL : g_discrete, *gc = i == 2 ? NULL : g_continuous;
        ct_tensor *g_logits, *g_rho, *cuda_logits, *cuda_rho;
        ct_tensor_policy_head_grad(gd, gc, rho, result, options, &g_logits, &g_rho);
        ct_tensor_policy_head_grad(on(gd), on(gc), on(rho), &of_cuda, options, &cuda_logits,
                                   &cuda_rho);
        assert_as_cpu(cuda_logits, g_logits, t, "policy head gradient of logits");
        assert_as_cpu(cuda_rho, g_rho, t, "policy head gradient of rho");
    }
}

static void check(const ct_tensor *logits, const ct_tensor *rho, ct_policy_noise n,
                  ct_policy_options options, place *on) {
    double t = tolerance(rho->dtype, ct_dim(logits, 2));
    ct_policy_result r = ct_tensor_policy_head(logits, rho, n, options);
    ct_policy_result cuda = ct_tensor_policy_head(on(logits), on(rho), moved(n, on), options);
    assert_as_cpu(cuda.index, r.index, 0, "policy head index");
    assert_as_cpu(cuda.y, r.y, t, "policy head y");
    assert_as_cpu(cuda.log_discrete, r.log_discrete, t, "policy head log_discrete");
    assert_as_cpu(cuda.log_continuous, r.log_continuous, t, "policy head log_continuous");
    assert_as_cpu(cuda.weight, r.weight, t, "policy head weight");
    assert_as_cpu(cuda.sample, r.sample, t, "policy head sample");
    check_grad(rho, &r, options, on);
}

START_TEST(as_on_the_cpu) {
    const int64_t *s = shapes[_i];
    ct_shape all = CT_SHAPE(s[0], s[1], s[2]), heads = CT_SHAPE(s[0], s[1]);
    for (int i = 0; i < 16; i++) {
        CT_SCOPE {
            ct_dtype dtype = reals[i % 2];
            bool perturbed = i / 2 % 2, given = i / 4 % 2;
            ct_policy_options options = {0.7, 1.5, perturbed};
            ct_tensor *index =
                ct_tensor_cast(ct_tensor_scale(uniform(CT_F64, heads, 2), (double)s[2]), CT_I64);
            ct_policy_noise n = {perturbed ? uniform(dtype, all, 3) : NULL,
                                 given ? NULL : uniform(dtype, heads, 4), noise(dtype, heads, 2, 5),
                                 given ? noise(dtype, heads, 2, 6) : NULL, given ? index : NULL};
            check(noise(dtype, all, 3, 1), noise(dtype, heads, 1, 9), n, options,
                  i / 8 ? misaligned : on_cuda);
        }
    }
}
END_TEST

/* The ends of the draw: 0 takes the first possible action, what no sum exceeds the last one. */
START_TEST(draws_at_the_ends) {
    int64_t n = shapes[_i][2];
    ct_shape all = CT_SHAPE(2, 1, n), heads = CT_SHAPE(2, 1);
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            ct_tensor *logits = noise(reals[d], all, 3, 1);
            if (n > 2) { /* impossible ones at both ends */
                ct_tensor_fill(ct_tensor_slice(logits, 2, 0, 1, 1), -INFINITY);
                ct_tensor_fill(ct_tensor_slice(logits, 2, n - 1, n, 1), -INFINITY);
            }
            const double choices[] = {0, 1, 2, NAN};
            for (int i = 0; i < 4; i++) {
                ct_policy_noise given = {.choice = ct_full(reals[d], CT_CPU, heads, choices[i]),
                                         .normal = noise(reals[d], heads, 1, 2)};
                check(logits, noise(reals[d], heads, 1, 3), given, (ct_policy_options){1, 1, false},
                      on_cuda);
            }
        }
    }
}
END_TEST

START_TEST(index_out_of_range) {
    CT_SCOPE {
        int64_t bad[] = {0, _i == 0 ? 5 : -1, 2};
        ct_shape heads = CT_SHAPE(3, 1);
        ct_tensor *rho = on_cuda(noise(CT_F32, heads, 1, 1));
        ct_policy_noise n = {.normal = rho, .index = ct_from_data(CT_I64, CT_CUDA, heads, bad)};
        ct_policy_result r = ct_tensor_policy_head(on_cuda(noise(CT_F32, CT_SHAPE(3, 1, 5), 1, 2)),
                                                   rho, n, (ct_policy_options){1, 1, false});
        assert_no_error();
        float values[3];
        ck_assert(!ct_read(r.weight, values));
        assert_error(_i == 0 ? "policy head: index 5 of action 1, expected 0 to 4"
                             : "policy head: index -1 of action 1, expected 0 to 4");
        ck_assert(ct_read(r.weight, values));
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda policy", {as_on_the_cpu, cases_here(SHAPES, LARGE)},
                 {draws_at_the_ends, SHAPES - LARGE}, {index_out_of_range, 2})
