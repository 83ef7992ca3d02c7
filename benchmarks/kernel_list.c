/* SPDX-License-Identifier: Apache-2.0 */
#include "benchmarks/kernels.h"

#include "tensor/device/backend.h"
#include "tensor/fused/fused.h"

const ct_kernel_sizes ct_kernel_sizes_published = {.batch = 128,
                                                   .regions = 36,
                                                   .width = 2048,
                                                   .heads = 2,
                                                   .actions = 500,
                                                   .words = 1792,
                                                   .vocabulary = 8481,
                                                   .classes = 29000,
                                                   .parameters = 41,
                                                   .parameter = 2048 * 2048};
const ct_kernel_sizes ct_kernel_sizes_tiny = {.batch = 3,
                                              .regions = 2,
                                              .width = 8,
                                              .heads = 2,
                                              .actions = 5,
                                              .words = 4,
                                              .vocabulary = 9,
                                              .classes = 7,
                                              .parameters = 2,
                                              .parameter = 33};

static ct_tensor *normal(ct_rng *rng, ct_device device, ct_shape shape) {
    return ct_random_normal(rng, "x", CT_F32, device, shape);
}

static ct_shape region_shape(const ct_kernel_sizes *s) {
    return CT_SHAPE(s->batch * s->regions, s->width);
}

/* n times the bytes of all regions of a batch */
static double regions(const ct_kernel_sizes *s, double n) {
    return 4 * n * (double)ct_shape_count(region_shape(s));
}
static double regions_2(const ct_kernel_sizes *s) { return regions(s, 2); }
static double regions_3(const ct_kernel_sizes *s) { return regions(s, 3); }
static double regions_5(const ct_kernel_sizes *s) { return regions(s, 5); }

static bool two_regions(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    x[0] = normal(rng, device, region_shape(s));
    x[1] = normal(rng, device, region_shape(s));
    return x[1] != NULL;
}

/* ---- nothing but the asking ------------------------------------------------------------- */

static bool make_number(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    (void)s;
    x[0] = normal(rng, device, CT_SHAPE(1));
    x[1] = normal(rng, device, CT_SHAPE(1));
    return x[1] != NULL;
}

static bool add_number(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_add_to(x[0], 1, x[1]);
}

static double one_number(const ct_kernel_sizes *s) {
    (void)s;
    return 12;
}

/* ---- pointwise -------------------------------------------------------------------------- */

static bool add(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_add(x[0], x[1]) != NULL;
}

static bool relu(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_unary(CT_UNARY_relu, x[0], 0, 0) != NULL;
}

static bool relu_grad(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_unary_grad(CT_UNARY_relu, x[1], x[0], x[0], 0, 0) != NULL;
}

static bool add_row(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_add(x[0], ct_tensor_slice(x[1], 0, 0, 1, 1)) != NULL;
}

static bool round_to_bf16(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_cast(x[0], CT_BF16) != NULL;
}

static bool sum_rows(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_reduce(CT_SUM, x[0], 1u << 0, false) != NULL;
}

static double regions_1(const ct_kernel_sizes *s) { return regions(s, 1); }
static double regions_1_and_half(const ct_kernel_sizes *s) { return regions(s, 1.5); }

/* ---- normalisation ---------------------------------------------------------------------- */

static bool make_l2_norm(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    if (!two_regions(s, device, rng, x)) return false;
    x[2] = ct_tensor_l2_normalize(x[0], 1, &x[3]);
    return x[2] != NULL;
}

static bool l2_norm(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    ct_tensor *norm;
    return ct_tensor_l2_normalize(x[0], 1, &norm) != NULL;
}

static bool l2_norm_grad(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_l2_normalize_grad(x[1], x[2], x[3], 1) != NULL;
}

static bool make_batch_norm(const ct_kernel_sizes *s, ct_device device, ct_rng *rng,
                            ct_tensor **x) {
    if (!two_regions(s, device, rng, x)) return false;
    x[2] = normal(rng, device, CT_SHAPE(s->width));
    x[3] = normal(rng, device, CT_SHAPE(s->width));
    ct_norm_result y = ct_tensor_batch_norm(x[0], 1, x[2], x[3], 1e-5);
    x[4] = y.mean;
    x[5] = y.rstd;
    return x[4] != NULL;
}

/* Read for the statistics, read again and written: what a cache holds of it is gained. */
static bool batch_norm(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_batch_norm(x[0], 1, x[2], x[3], 1e-5).y != NULL;
}

static bool batch_norm_grad(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_batch_norm_grad(x[1], x[0], 1, x[4], x[5], x[2], true).x != NULL;
}

/* ---- policy head ------------------------------------------------------------------------ */

static ct_shape policy_shape(const ct_kernel_sizes *s) {
    return CT_SHAPE(s->batch * s->regions, s->heads, s->actions);
}

static double policy_3(const ct_kernel_sizes *s) {
    return 12.0 * (double)ct_shape_count(policy_shape(s));
}
static double policy_2(const ct_kernel_sizes *s) { return policy_3(s) * 2 / 3; }
static double policy_1(const ct_kernel_sizes *s) { return policy_3(s) / 3; }

static const ct_policy_options policy = {.temperature = 0.8, .scale = 20, .perturbed = true};

static bool make_policy(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    ct_shape rows = CT_SHAPE(s->batch * s->regions, s->heads);
    x[0] = normal(rng, device, policy_shape(s));
    x[1] = ct_random_uniform(rng, "rho", CT_F32, device, rows);
    x[2] = ct_random_uniform(rng, "u", CT_F32, device, policy_shape(s));
    x[3] = ct_random_uniform(rng, "v", CT_F32, device, rows);
    x[4] = normal(rng, device, rows);
    return x[4] != NULL;
}

static ct_policy_result policy_result(ct_tensor **x) {
    ct_policy_noise noise = {.uniform = x[2], .choice = x[3], .normal = x[4]};
    return ct_tensor_policy_head(x[0], x[1], noise, policy);
}

static bool policy_head(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return policy_result(x).y != NULL;
}

/* The result takes the places of logits, noise and draws; rho and the gradients (x[1]) stay. */
static bool make_policy_grad(const ct_kernel_sizes *s, ct_device device, ct_rng *rng,
                             ct_tensor **x) {
    if (!make_policy(s, device, rng, x)) return false;
    ct_policy_result y = policy_result(x);
    x[0] = y.y;
    x[2] = y.index;
    x[3] = y.sample;
    x[4] = NULL;
    return x[0] != NULL;
}

static bool policy_head_grad(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    ct_policy_result y = {.y = x[0], .index = x[2], .sample = x[3]};
    ct_tensor *g_logits, *g_rho;
    ct_tensor_policy_head_grad(x[1], x[1], x[1], &y, policy, &g_logits, &g_rho);
    return g_logits != NULL;
}

static bool uniform(const ct_kernel_sizes *s, ct_tensor **x) {
    ct_rng rng = ct_rng_create(1, 1);
    return ct_random_uniform(&rng, "u", CT_F32, x[0]->device, policy_shape(s)) != NULL;
}

/* ---- losses ----------------------------------------------------------------------------- */

static bool make_logits(ct_device device, ct_rng *rng, int64_t rows, int64_t columns,
                        ct_tensor **x) {
    x[0] = normal(rng, device, CT_SHAPE(rows, columns));
    x[1] = ct_tensor_cast(
        ct_tensor_scale(ct_random_uniform(rng, "label", CT_F32, device, CT_SHAPE(rows)),
                        (double)columns - 1),
        CT_I64);
    ct_tensor *loss = ct_tensor_cross_entropy(x[0], x[1], -1, 0, &x[2]);
    x[3] = loss ? ct_full(CT_F32, device, CT_SHAPE(rows), 1.0 / (double)rows) : NULL;
    return x[3] != NULL;
}

static bool make_words(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    return make_logits(device, rng, s->words, s->vocabulary, x);
}

static bool make_classes(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    return make_logits(device, rng, s->batch, s->classes, x);
}

static bool cross_entropy(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    ct_tensor *log_sum_exp;
    return ct_tensor_cross_entropy(x[0], x[1], -1, 0, &log_sum_exp) != NULL;
}

static bool cross_entropy_grad(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_cross_entropy_grad(x[3], x[0], x[1], x[2], -1, 0) != NULL;
}

static double words_1(const ct_kernel_sizes *s) {
    return 4.0 * (double)s->words * (double)s->vocabulary;
}
static double words_2(const ct_kernel_sizes *s) { return 2 * words_1(s); }
static double classes_1(const ct_kernel_sizes *s) {
    return 4.0 * (double)s->batch * (double)s->classes;
}
static double classes_2(const ct_kernel_sizes *s) { return 2 * classes_1(s); }

static bool make_similarity(const ct_kernel_sizes *s, ct_device device, ct_rng *rng,
                            ct_tensor **x) {
    x[0] = normal(rng, device, CT_SHAPE(s->batch, s->batch));
    x[1] = ct_scalar(CT_F32, device, 1);
    return x[1] != NULL;
}

static const ct_hinge_options hardest = {.margin = 0.2, .hardest = true};

static bool hinge(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_hinge(x[0], hardest) != NULL;
}

static bool hinge_grad(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    return ct_tensor_hinge_grad(x[1], x[0], hardest) != NULL;
}

static double similarity_1(const ct_kernel_sizes *s) {
    return 4.0 * (double)s->batch * (double)s->batch;
}
static double similarity_2(const ct_kernel_sizes *s) { return 2 * similarity_1(s); }

/* ---- parameters ------------------------------------------------------------------------- */

enum { MOST_PARAMETERS = 64 };

/* Parameters, gradients and both moments; rates; the gradients' norm. */
static bool make_parameters(const ct_kernel_sizes *s, ct_device device, ct_rng *rng,
                            ct_tensor **x) {
    ct_shape shape = CT_SHAPE(s->parameters, s->parameter);
    for (int i = 0; i < 3; i++) x[i] = normal(rng, device, shape);
    x[3] = ct_tensor_mul(x[2], x[2]);
    ct_tensor_adam_options options = {.beta1 = 0.9, .beta2 = 0.999};
    double rates[CT_ADAM_RATES];
    ct_adam_rates(rates, 2e-4, 1, &options);
    x[4] = ct_from_data(CT_F64, device, CT_SHAPE(CT_ADAM_RATES), rates);
    x[5] = ct_full(CT_F64, device, CT_SCALAR_SHAPE, 3);
    return x[5] != NULL;
}

/* One after another, as an optimiser has them. */
static void each_parameter(const ct_kernel_sizes *s, const ct_tensor *all, ct_tensor **one) {
    for (int64_t i = 0; i < s->parameters; i++) {
        one[i] = ct_tensor_squeeze(ct_tensor_slice(all, 0, i, i + 1, 1), 0);
    }
}

static bool adam(const ct_kernel_sizes *s, ct_tensor **x) {
    ct_tensor *one[4][MOST_PARAMETERS], *rates[MOST_PARAMETERS];
    for (int k = 0; k < 4; k++) each_parameter(s, x[k], one[k]);
    for (int64_t i = 0; i < s->parameters; i++) rates[i] = x[4];
    ct_tensor_adam_options options = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = {.norm = x[5], .limit = 2, .times = 1}};
    return ct_tensor_adam(one[0], one[1], one[2], one[3], rates, (int)s->parameters, options);
}

static bool global_norm(const ct_kernel_sizes *s, ct_tensor **x) {
    ct_tensor *one[MOST_PARAMETERS];
    each_parameter(s, x[1], one);
    return ct_tensor_global_norm(one, (int)s->parameters) != NULL;
}

static double parameters_1(const ct_kernel_sizes *s) {
    return 4.0 * (double)s->parameters * (double)s->parameter;
}
/* p, g, m, v are read; p, m, v written */
static double parameters_7(const ct_kernel_sizes *s) { return 7 * parameters_1(s); }

/* ---- one step of a GRU ------------------------------------------------------------------ */

/* h, saved, hidden, previous, biases */
static bool make_gru(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    int64_t columns[] = {1, 4, 3, 1};
    for (int i = 0; i < 4; i++) {
        x[i] = normal(rng, device, CT_SHAPE(s->batch, columns[i] * s->width));
    }
    x[4] = normal(rng, device, CT_SHAPE(3 * s->width));
    return x[4] != NULL;
}

static bool gru_gates(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    const ct_backend *backend = ct_backend_of(x[0]->device);
    return backend && backend->gru_step(x[0], NULL, x[1], x[2], x[3], x[4], x[4]);
}

/* d, dh, d_bias, g, saved, previous */
static bool make_gru_grad(const ct_kernel_sizes *s, ct_device device, ct_rng *rng, ct_tensor **x) {
    int64_t columns[] = {4, 1, 0, 1, 4, 1};
    for (int i = 0; i < 6; i++) {
        if (columns[i]) x[i] = normal(rng, device, CT_SHAPE(s->batch, columns[i] * s->width));
    }
    x[2] = ct_zeros(CT_F64, device, CT_SHAPE(4 * s->width));
    return x[5] != NULL;
}

static bool gru_gates_grad(const ct_kernel_sizes *s, ct_tensor **x) {
    (void)s;
    const ct_backend *backend = ct_backend_of(x[0]->device);
    return backend && backend->gru_step_grad(x[0], x[1], x[2], x[3], x[4], x[5]);
}

/* three quarters of saved and all of hidden and previous read; saved and h written */
static double gru_bytes(const ct_kernel_sizes *s) {
    return 4.0 * (3 + 3 + 1 + 4 + 1) * (double)s->batch * (double)s->width;
}
/* g, dh, saved, previous read; d, dh written */
static double gru_grad_bytes(const ct_kernel_sizes *s) {
    return 4.0 * (1 + 1 + 4 + 1 + 4 + 1) * (double)s->batch * (double)s->width;
}

/* ---- all -------------------------------------------------------------------------------- */

const ct_kernel ct_kernels[] = {
    {"one number, in place", make_number, add_number, one_number},
    {"one number, in new memory", make_number, add, one_number},
    {"add", two_regions, add, regions_3},
    {"add a row", two_regions, add_row, regions_2},
    {"relu", two_regions, relu, regions_2},
    {"relu, gradient", two_regions, relu_grad, regions_3},
    {"round to bf16", two_regions, round_to_bf16, regions_1_and_half},
    {"sum of rows", two_regions, sum_rows, regions_1},
    {"l2 norm", make_l2_norm, l2_norm, regions_2},
    {"l2 norm, gradient", make_l2_norm, l2_norm_grad, regions_3},
    {"batch norm", make_batch_norm, batch_norm, regions_3},
    {"batch norm, gradient", make_batch_norm, batch_norm_grad, regions_5},
    {"policy head", make_policy, policy_head, policy_3},
    {"policy head, gradient", make_policy_grad, policy_head_grad, policy_2},
    {"uniform numbers", make_policy, uniform, policy_1},
    {"cross entropy of words", make_words, cross_entropy, words_1},
    {"cross entropy of words, gradient", make_words, cross_entropy_grad, words_2},
    {"cross entropy of classes", make_classes, cross_entropy, classes_1},
    {"cross entropy of classes, gradient", make_classes, cross_entropy_grad, classes_2},
    {"hinge", make_similarity, hinge, similarity_1},
    {"hinge, gradient", make_similarity, hinge_grad, similarity_2},
    {"gradient norm", make_parameters, global_norm, parameters_1},
    {"Adam", make_parameters, adam, parameters_7},
    {"GRU gates", make_gru, gru_gates, gru_bytes},
    {"GRU gates, gradient", make_gru_grad, gru_gates_grad, gru_grad_bytes},
};
const int ct_kernel_count = sizeof ct_kernels / sizeof *ct_kernels;
