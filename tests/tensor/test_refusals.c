/* SPDX-License-Identifier: Apache-2.0 */
/* What computes refuses tensors of a dtype that it does not compute in: each input of each function
 * in turn, and all of them alike. (Those that have a gradient: tests/autograd/test_dtypes.c.) */
#include "tensor/matching/matching.h"
#include "tests/test.h"

static const ct_dtype others[] = {CT_BF16, CT_F16, CT_I32, CT_I64, CT_U8};
enum { OTHERS = sizeof others / sizeof *others };

/* What calls are made with: x of the other dtype in any shape; the rest as it should be. */
typedef struct {
    ct_tensor *matrix, *row, *cube, *scalar; /* (3,3), (3), (2,3,3), () of the other dtype */
    ct_tensor *m, *r, *c;                    /* the same in f32 */
    ct_tensor *index;                        /* (3) i64 */
    ct_tensor *out;                          /* where a result goes */
} tensors;

static tensors make(ct_dtype other) {
    tensors t = {.m = ct_full(CT_F32, CT_CPU, CT_SHAPE(3, 3), 1),
                 .r = ct_full(CT_F32, CT_CPU, CT_SHAPE(3), 1),
                 .c = ct_full(CT_F32, CT_CPU, CT_SHAPE(2, 3, 3), 1),
                 .index = ct_arange(CT_I64, CT_CPU, 3)};
    t.matrix = ct_tensor_cast(t.m, other);
    t.row = ct_tensor_cast(t.r, other);
    t.cube = ct_tensor_cast(t.c, other);
    t.scalar = ct_scalar(other, CT_CPU, 1);
    return t;
}

static bool adam(ct_tensor *p, ct_tensor *g, ct_tensor *m, ct_tensor *v, ct_tensor *rates) {
    return ct_tensor_adam(&p, &g, &m, &v, &rates, 1, (ct_tensor_adam_options){.eps = 1e-8});
}

static bool sgd(ct_tensor *p, ct_tensor *g, ct_tensor *buffer, ct_tensor *rates) {
    return ct_tensor_sgd(&p, &g, &buffer, &rates, 1, (ct_tensor_sgd_options){.momentum = 0.5});
}

static ct_tensor *rates(ct_dtype dtype, int count) {
    return ct_zeros(dtype, CT_CPU, CT_SHAPE(count));
}

static bool gru(ct_tensor *x, ct_tensor *w_ih, ct_tensor *w_hh, ct_tensor *bias) {
    ct_recurrent_inputs in = {.x = x, .w_ih = w_ih, .w_hh = w_hh, .b_ih = bias, .b_hh = bias};
    return ct_tensor_gru(in).y != NULL;
}

static bool policy(ct_tensor *logits, ct_tensor *rho, ct_tensor *choice, ct_tensor *normal) {
    ct_policy_noise noise = {.choice = choice, .normal = normal};
    return ct_tensor_policy_head(logits, rho, noise, (ct_policy_options){1, 1, false}).y != NULL;
}

#define NONE ((ct_tensor_conv1d_options){0, 0, 1, 1})
#define W3 ct_full(CT_F32, CT_CPU, CT_SHAPE(9, 3), 1)
#define B9 ct_full(CT_F32, CT_CPU, CT_SHAPE(9), 1)
#define TWO ct_tensor_slice(t.m, 0, 0, 2, 1)
#define HINGE ((ct_hinge_options){.margin = 0.2})

/* Each is false. */
#define CALLS(C)                                                                                 \
    C(ct_tensor_unary(CT_UNARY_exp, t.matrix, 0, 0))                                             \
    C(ct_tensor_unary_grad(CT_UNARY_exp, t.matrix, t.matrix, t.matrix, 0, 0))                    \
    C(ct_tensor_unary_grad(CT_UNARY_exp, t.m, t.matrix, t.m, 0, 0))                              \
    C(ct_tensor_unary_grad(CT_UNARY_exp, t.m, t.m, t.matrix, 0, 0))                              \
    C(ct_tensor_add(t.matrix, t.matrix))                                                         \
    C(ct_tensor_add(t.m, t.matrix))                                                              \
    C(ct_tensor_binary_grad(CT_BINARY_mul, 0, t.matrix, t.matrix, t.matrix))                     \
    C(ct_tensor_binary_grad(CT_BINARY_mul, 0, t.m, t.matrix, t.m))                               \
    C(ct_tensor_binary_grad(CT_BINARY_mul, 1, t.m, t.m, t.matrix))                               \
    C(ct_tensor_compare(CT_COMPARE_less, t.m, t.matrix))                                         \
    C(ct_tensor_where(ct_tensor_cast(t.m, CT_U8), t.m, t.matrix))                                \
    C(ct_tensor_add_to(t.matrix, 1, t.matrix))                                                   \
    C(ct_tensor_add_to(t.m, 1, t.matrix))                                                        \
    C(ct_tensor_scale_in_place(t.matrix, 2))                                                     \
    C(ct_tensor_reduce(CT_SUM, t.matrix, CT_ALL_AXES, false))                                    \
    C(ct_tensor_sum_to(t.matrix, CT_SHAPE(3)))                                                   \
    C(ct_tensor_argmax(t.matrix, 0))                                                             \
    C(ct_tensor_cumsum(t.matrix, 0, true))                                                       \
    C(ct_tensor_argsort(t.matrix, true))                                                         \
    C(ct_tensor_global_norm((ct_tensor *[]){t.m, t.matrix}, 2))                                  \
    C(ct_tensor_matmul(t.m, t.matrix))                                                           \
    C(ct_tensor_matmul(t.matrix, t.m))                                                           \
    C(ct_tensor_matmul_to(t.m, 1, t.m, t.matrix, 0))                                             \
    C(ct_tensor_matmul_to(t.matrix, 1, t.m, t.m, 0))                                             \
    C(ct_tensor_softmax(t.matrix, 1, true))                                                      \
    C(ct_tensor_softmax_grad(t.m, t.matrix, 1, true))                                            \
    C(ct_tensor_index_add_to(t.matrix, 0, t.index, t.matrix))                                    \
    C(ct_tensor_index_add_to(t.m, 0, t.index, t.matrix))                                         \
    C(ct_tensor_scatter_add_to(t.matrix, 0, ct_zeros(CT_I64, CT_CPU, CT_SHAPE(3, 3)), t.matrix)) \
    C(ct_tensor_concat((ct_tensor *[]){t.m, t.matrix}, 2, 0))                                    \
    C(gru(t.cube, W3, W3, B9))                                                                   \
    C(gru(t.c, ct_tensor_cast(W3, t.matrix->dtype), W3, B9))                                     \
    C(gru(t.c, W3, ct_tensor_cast(W3, t.matrix->dtype), B9))                                     \
    C(gru(t.c, W3, W3, ct_tensor_cast(B9, t.matrix->dtype)))                                     \
    C(ct_tensor_batch_norm(t.matrix, 1, NULL, NULL, 0).y)                                        \
    C(ct_tensor_batch_norm(t.m, 1, t.row, NULL, 0).y)                                            \
    C(ct_tensor_batch_norm(t.m, 1, NULL, t.row, 0).y)                                            \
    C(ct_tensor_batch_norm_apply(t.m, 1, t.row, t.r, NULL, NULL))                                \
    C(ct_tensor_batch_norm_apply(t.m, 1, t.r, t.row, NULL, NULL))                                \
    C(ct_tensor_batch_norm_grad(t.m, t.m, 1, t.row, t.r, NULL, true).x)                          \
    C(ct_tensor_batch_norm_grad(t.matrix, t.m, 1, t.r, t.r, NULL, true).x)                       \
    C(ct_tensor_layer_norm(t.matrix, NULL, NULL, 0).y)                                           \
    C(ct_tensor_layer_norm(t.m, t.row, NULL, 0).y)                                               \
    C(ct_tensor_layer_norm_grad(t.m, t.m, t.row, t.r, NULL).x)                                   \
    C(ct_tensor_l2_normalize(t.matrix, 1, &t.out))                                               \
    C(ct_tensor_l2_normalize_grad(t.matrix, t.m, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 1)), 1))   \
    C(ct_tensor_cross_entropy(t.matrix, t.index, -1, 0, &t.out))                                 \
    C(ct_tensor_cross_entropy_grad(t.row, t.m, t.index, t.r, -1, 0))                             \
    C(ct_tensor_cross_entropy_grad(t.r, t.m, t.index, t.row, -1, 0))                             \
    C(ct_tensor_cross_entropy_grad_in_place(t.row, t.m, t.index, t.r, -1, 0))                    \
    C(ct_tensor_conv1d(t.cube, t.c, NULL, NONE))                                                 \
    C(ct_tensor_conv1d(t.c, t.cube, NULL, NONE))                                                 \
    C(ct_tensor_conv1d(                                                                          \
        t.c, t.c, ct_tensor_cast(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2)), t.matrix->dtype), NONE)) \
    C(adam(t.matrix, t.matrix, t.matrix, t.matrix, rates(CT_F64, CT_ADAM_RATES)))                \
    C(adam(t.m, t.matrix, t.m, t.m, rates(CT_F64, CT_ADAM_RATES)))                               \
    C(adam(t.m, t.m, t.matrix, t.m, rates(CT_F64, CT_ADAM_RATES)))                               \
    C(adam(t.m, t.m, t.m, t.matrix, rates(CT_F64, CT_ADAM_RATES)))                               \
    C(adam(t.m, t.m, t.m, t.m, rates(t.matrix->dtype, CT_ADAM_RATES)))                           \
    C(sgd(t.matrix, t.matrix, t.matrix, rates(CT_F64, CT_SGD_RATES)))                            \
    C(sgd(t.m, t.m, t.matrix, rates(CT_F64, CT_SGD_RATES)))                                      \
    C(ct_tensor_hinge(t.matrix, HINGE))                                                          \
    C(ct_tensor_hinge_grad(t.scalar, t.m, HINGE))                                                \
    C(ct_tensor_order_similarity(t.matrix, t.matrix))                                            \
    C(ct_tensor_order_similarity(t.m, t.matrix))                                                 \
    C(ct_tensor_diagonal_ranks(t.matrix, false))                                                 \
    C(policy(t.cube, TWO, TWO, TWO))                                                             \
    C(policy(t.c, ct_tensor_slice(t.matrix, 0, 0, 2, 1), TWO, TWO))                              \
    C(ct_random_uniform(a_generator(), "u", t.matrix->dtype, CT_CPU, CT_SHAPE(3)))

static ct_rng *a_generator(void) {
    static ct_rng rng;
    return &rng;
}

#define REFUSED(call)                                                                              \
    CT_SCOPE {                                                                                     \
        ck_assert_msg(!(call), "taken with %s: " #call, ct_dtype_name(others[_i]));                \
        ck_assert_msg(!ct_ok(), "no error with %s: " #call, ct_dtype_name(others[_i]));            \
        ck_assert_msg(strstr(ct_error(), ct_dtype_name(others[_i])) != NULL, #call " with %s: %s", \
                      ct_dtype_name(others[_i]), ct_error());                                      \
        ct_error_clear();                                                                          \
    }

START_TEST(other_dtypes_are_refused) {
    CT_SCOPE {
        tensors t = make(others[_i]);
        assert_no_error();
        CALLS(REFUSED)
    }
}
END_TEST

LOOPED_TEST_MAIN("refusals", {other_dtypes_are_refused, OTHERS})
