/* SPDX-License-Identifier: Apache-2.0 */
/* Normalisation and dropout. The formulas are those of tensor/fused/fused.h. */
#include "autograd/ops/norm.h"

#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"
#include "tensor/core/shape.h"
#include "tensor/core/trace.h"
#include "tensor/ranks/norm.h"

/* ---- division by the norm --------------------------------------------------------------- */

static bool l2_normalize_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    int axis = *(const int *)ct_node_options(node);
    gx[0] = ct_tensor_l2_normalize_grad(g[0], ct_saved(node, 0), ct_saved(node, 1), axis);
    return gx[0] != NULL;
}

static int call_l2_normalize(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_l2_normalize(x[0], *(const int *)options));
}

static void l2_normalize_samples(ct_sampler *sampler) {
    const int first = 0, middle = 1, last = -1;
    ct_sample_1(sampler, "last axis", call_l2_normalize, &last, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "first axis", call_l2_normalize, &first, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "middle axis", call_l2_normalize, &middle,
                ct_sample_real(CT_SHAPE(2, 3, 2)));
    ct_sample_1(sampler, "one element", call_l2_normalize, &last,
                ct_sample_between(CT_SHAPE(1, 1), 0.5, 1));
    ct_sample_1(sampler, "empty", call_l2_normalize, &last, ct_sample_real(CT_SHAPE(0, 3)));
}

static const ct_op l2_normalize_op = {"l2_normalize", l2_normalize_backward, l2_normalize_samples};

ct_tensor *ct_l2_normalize(ct_tensor *x, int axis) {
    ct_tensor *norm = NULL, *y = ct_tensor_l2_normalize(x, axis, &norm);
    ct_node *node = ct_record(&l2_normalize_op, 1, &x, 1, &y);
    ct_save(node, y);
    ct_save(node, norm);
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

/* ---- layer and batch norm --------------------------------------------------------------- */

/* The sum of g over all dimensions but one: a bias's gradient where there is no weight. */
static ct_tensor *channel_sum(const ct_tensor *g, int axis) {
    uint32_t all = (1u << g->shape.ndim) - 1;
    return ct_tensor_reduce(CT_SUM, g, all & ~(1u << axis), false);
}

/* Inputs x, weight, bias. */
static bool hand_out(ct_node *node, const ct_tensor *g, ct_norm_grad grad, int axis,
                     ct_tensor **gx) {
    gx[0] = grad.x;
    gx[1] = grad.weight;
    gx[2] = grad.bias;
    if (ct_needs_grad(node, 2) && !gx[2]) gx[2] = channel_sum(g, axis);
    return gx[0] && (gx[2] || !ct_needs_grad(node, 2));
}

static bool layer_norm_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    ct_norm_grad grad = ct_tensor_layer_norm_grad(g[0], ct_saved(node, 0), ct_saved(node, 1),
                                                  ct_saved(node, 2), ct_saved(node, 3));
    return hand_out(node, g[0], grad, g[0]->shape.ndim - 1, gx);
}

/* options: bit 0 weight, bit 1 bias */
static int call_layer_norm(ct_tensor *const *x, const void *options, ct_tensor **y) {
    int given = *(const int *)options;
    return ct_sample_result(
        y, ct_layer_norm_with(x[0], given & 1 ? x[1] : NULL, given & 2 ? x[2] : NULL, 1e-5));
}

static void layer_norm_samples(ct_sampler *sampler) {
    const int none = 0, weight = 1, bias = 2, both = 3;
    ct_sample_input channels = ct_sample_real(CT_SHAPE(4));
    ct_sample_3(sampler, "rows", call_layer_norm, &both, ct_sample_real(CT_SHAPE(3, 4)), channels,
                channels);
    ct_sample_3(sampler, "cube", call_layer_norm, &both, ct_sample_real(CT_SHAPE(2, 2, 4)),
                channels, channels);
    ct_sample_1(sampler, "plain", call_layer_norm, &none, ct_sample_real(CT_SHAPE(2, 4)));
    ct_sample_2(sampler, "weight alone", call_layer_norm, &weight, ct_sample_real(CT_SHAPE(2, 4)),
                channels);
    ct_sample_3(sampler, "bias alone", call_layer_norm, &bias, ct_sample_real(CT_SHAPE(2, 4)),
                channels, channels);
    ct_sample_3(sampler, "one element", call_layer_norm, &both, ct_sample_real(CT_SHAPE(1, 1)),
                ct_sample_real(CT_SHAPE(1)), ct_sample_real(CT_SHAPE(1)));
    ct_sample_3(sampler, "empty", call_layer_norm, &both, ct_sample_real(CT_SHAPE(0, 4)), channels,
                channels);
}

static const ct_op layer_norm_op = {"layer_norm", layer_norm_backward, layer_norm_samples};

ct_tensor *ct_layer_norm_with(ct_tensor *x, ct_tensor *weight, ct_tensor *bias, double eps) {
    ct_norm_result result = ct_tensor_layer_norm(x, weight, bias, eps);
    ct_node *node = ct_record(&layer_norm_op, 3, (ct_tensor *[]){x, weight, bias}, 1, &result.y);
    ct_save(node, x);
    ct_save(node, result.mean);
    ct_save(node, result.rstd);
    ct_save(node, weight);
    return result.y;
}

typedef struct {
    int axis;
    bool batch_statistics;
    bool over_ranks; /* of all ranks; how many values a channel has is saved, too */
} batch_norm_options;

static bool batch_norm_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const batch_norm_options *o = ct_node_options(node);
    const ct_tensor *x = ct_saved(node, 0), *mean = ct_saved(node, 1), *rstd = ct_saved(node, 2);
    const ct_tensor *weight = ct_saved(node, 3);
    ct_norm_grad grad =
        o->over_ranks
            ? ct_batch_norm_over_ranks_grad(g[0], x, o->axis, mean, rstd, weight, ct_saved(node, 4))
            : ct_tensor_batch_norm_grad(g[0], x, o->axis, mean, rstd, weight, o->batch_statistics);
    return hand_out(node, g[0], grad, o->axis, gx);
}

typedef struct {
    int axis, given;
} batch_norm_call;

static int call_batch_norm(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const batch_norm_call *call = options;
    return ct_sample_result(y, ct_batch_norm_with(x[0], call->axis, call->given & 1 ? x[1] : NULL,
                                                  call->given & 2 ? x[2] : NULL, 1e-5, NULL, NULL));
}

/* Inputs x, weight, bias, mean, variance. */
static int call_batch_norm_fixed(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const batch_norm_call *call = options;
    return ct_sample_result(y, ct_batch_norm_fixed(x[0], call->axis, x[3], x[4],
                                                   call->given & 1 ? x[1] : NULL,
                                                   call->given & 2 ? x[2] : NULL, 1e-5));
}

/* Both operations take the same inputs but for the statistics; nothing to take them from in an
 * empty batch. */
static void batch_norm_cases(ct_sampler *sampler, bool fixed) {
    const struct {
        const char *name;
        ct_shape shape;
        batch_norm_call call;
        int64_t channels;
    } cases[] = {
        {"rows", CT_SHAPE(4, 3), {-1, 3}, 3},        {"middle axis", CT_SHAPE(2, 3, 2), {1, 3}, 3},
        {"first axis", CT_SHAPE(2, 5), {0, 3}, 2},   {"plain", CT_SHAPE(4, 3), {1, 0}, 3},
        {"weight alone", CT_SHAPE(4, 3), {1, 1}, 3}, {"bias alone", CT_SHAPE(4, 3), {1, 2}, 3},
        {"one element", CT_SHAPE(1, 1), {1, 3}, 1},  {"empty", CT_SHAPE(0, 3), {1, 3}, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases - !fixed; i++) {
        ct_shape channels = CT_SHAPE(cases[i].channels);
        ct_sample sample = {cases[i].name,
                            fixed ? call_batch_norm_fixed : call_batch_norm,
                            &cases[i].call,
                            fixed ? 5 : 3,
                            {ct_sample_real(cases[i].shape),
                             ct_sample_real(channels),
                             ct_sample_real(channels),
                             {CT_SAMPLE_CONST, channels, -1, 1},
                             {CT_SAMPLE_CONST, channels, 0.5, 2}}};
        ct_add_sample(sampler, &sample);
    }
}

static void batch_norm_samples(ct_sampler *sampler) { batch_norm_cases(sampler, false); }
static void batch_norm_fixed_samples(ct_sampler *sampler) { batch_norm_cases(sampler, true); }

static const ct_op batch_norm_op = {"batch_norm", batch_norm_backward, batch_norm_samples};
static const ct_op batch_norm_fixed_op = {"batch_norm_fixed", batch_norm_backward,
                                          batch_norm_fixed_samples};

static void record_batch_norm(const ct_op *op, ct_tensor *x, int axis, ct_tensor *weight,
                              ct_tensor *bias, ct_norm_result result, ct_tensor *count) {
    ct_node *node = ct_record(op, 3, (ct_tensor *[]){x, weight, bias}, 1, &result.y);
    if (!node) return;
    ct_save(node, x);
    ct_save(node, result.mean);
    ct_save(node, result.rstd);
    ct_save(node, weight);
    if (count) ct_save(node, count);
    batch_norm_options o = {axis < 0 ? axis + x->shape.ndim : axis, op == &batch_norm_op,
                            count != NULL};
    ct_save_options(node, &o, sizeof o);
}

ct_tensor *ct_batch_norm_counted(ct_tensor *x, int axis, ct_tensor *weight, ct_tensor *bias,
                                 double eps, ct_tensor **mean, ct_tensor **variance,
                                 ct_tensor **count) {
    *count = NULL;
    ct_norm_result result = ct_over_ranks()
                                ? ct_batch_norm_over_ranks(x, axis, weight, bias, eps, count)
                                : ct_tensor_batch_norm(x, axis, weight, bias, eps);
    *mean = result.mean;
    *variance = result.variance;
    if (!result.y) return NULL;
    record_batch_norm(&batch_norm_op, x, axis, weight, bias, result, *count);
    ct_trace_end(result.mean);
    ct_trace_end(result.variance);
    return result.y;
}

ct_tensor *ct_batch_norm_with(ct_tensor *x, int axis, ct_tensor *weight, ct_tensor *bias,
                              double eps, ct_tensor **mean, ct_tensor **variance) {
    ct_tensor *means, *variances, *count;
    ct_tensor *y = ct_batch_norm_counted(x, axis, weight, bias, eps, &means, &variances, &count);
    if (mean) *mean = means;
    if (variance) *variance = variances;
    return y;
}

ct_tensor *ct_batch_norm_fixed(ct_tensor *x, int axis, ct_tensor *mean, ct_tensor *variance,
                               ct_tensor *weight, ct_tensor *bias, double eps) {
    ct_norm_result result = {.mean = mean};
    if (!ct_given_float("batch_norm_fixed", variance) ||
        !ct_check_not_negative("batch_norm_fixed", "eps", eps)) {
        return NULL;
    }
    result.rstd = ct_tensor_unary(CT_UNARY_rsqrt,
                                  ct_tensor_unary(CT_UNARY_add_scalar, variance, eps, 0), 0, 0);
    result.y = ct_tensor_batch_norm_apply(x, axis, mean, result.rstd, weight, bias);
    record_batch_norm(&batch_norm_fixed_op, x, axis, weight, bias, result, NULL);
    return result.y;
}

/* ---- weight norm ------------------------------------------------------------------------ */

/* v as (out, rest) and g as (out): y = g v/|v|, rows of unit length times g. Saved: these two, and
 * the norms. */
static bool weight_norm_backward(ct_node *node, ct_tensor *const *gy, ct_tensor **gx) {
    ct_tensor *v = ct_saved(node, 0), *to_g;
    ct_tensor *rows = ct_tensor_reshape(gy[0], v->shape);
    ct_tensor *to_v =
        ct_tensor_weight_norm_grad(rows, v, ct_saved(node, 1), ct_saved(node, 2), &to_g);
    if (!to_v) return false;
    gx[0] = ct_tensor_reshape(to_v, ct_input_shape(node, 0));
    gx[1] = ct_tensor_reshape(to_g, ct_input_shape(node, 1));
    return gx[0] && gx[1];
}

static int call_weight_norm(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_weight_norm(x[0], x[1]));
}

static void weight_norm_samples(ct_sampler *sampler) {
    ct_sample_2(sampler, "matrix", call_weight_norm, NULL, ct_sample_real(CT_SHAPE(3, 4)),
                ct_sample_real(CT_SHAPE(3, 1)));
    ct_sample_2(sampler, "convolution", call_weight_norm, NULL, ct_sample_real(CT_SHAPE(2, 3, 2)),
                ct_sample_real(CT_SHAPE(2, 1, 1)));
    ct_sample_2(sampler, "one element", call_weight_norm, NULL,
                ct_sample_between(CT_SHAPE(1, 1), 0.5, 1), ct_sample_real(CT_SHAPE(1, 1)));
    ct_sample_2(sampler, "empty", call_weight_norm, NULL, ct_sample_real(CT_SHAPE(0, 3)),
                ct_sample_real(CT_SHAPE(0, 1)));
}

static const ct_op weight_norm_op = {"weight_norm", weight_norm_backward, weight_norm_samples};

ct_tensor *ct_weight_norm(ct_tensor *v, ct_tensor *g) {
    if (!ct_given_float("weight_norm", v) || !ct_given("weight_norm", g)) return NULL;
    int64_t out = v->shape.ndim ? v->shape.dim[0] : 0, rest = 1;
    if (v->shape.ndim < 1 || ct_count(g) != out) {
        return ct_fail("weight_norm: v %s, g %s: expected (out,..) and (out,1,..)",
                       ct_tensor_text(v), ct_tensor_text(g));
    }
    for (int i = 1; i < v->shape.ndim; i++) rest *= v->shape.dim[i];
    ct_tensor *norm = NULL, *rows = ct_tensor_reshape(v, CT_SHAPE(out, rest));
    ct_tensor *scale = ct_tensor_reshape(g, CT_SHAPE(out));
    ct_tensor *scaled = ct_tensor_weight_norm(rows, scale, &norm);
    ct_tensor *y = scaled ? ct_tensor_reshape(scaled, v->shape) : NULL;
    ct_node *node = ct_record(&weight_norm_op, 2, (ct_tensor *[]){v, g}, 1, &y);
    ct_save(node, rows);
    ct_save(node, scale);
    ct_save(node, norm);
    return y;
}

/* ---- dropout ---------------------------------------------------------------------------- */

/* x/(1-p) where `kept` (u8, of its shape) is not 0, else 0. */
static ct_tensor *scaled_where(const ct_tensor *kept, const ct_tensor *x, double p) {
    ct_tensor *zero = ct_scalar(x->dtype, x->device, 0);
    ct_tensor *y = zero ? ct_tensor_where(kept, x, zero) : NULL;
    return y && (p == 1 || ct_tensor_scale_in_place(y, 1 / (1 - p))) ? y : NULL;
}

static bool dropout_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = scaled_where(ct_saved(node, 0), g[0], *(const double *)ct_node_options(node));
    return gx[0] != NULL;
}

static int call_dropout(ct_tensor *const *x, const void *options, ct_tensor **y) {
    ct_rng rng = ct_rng_create(5, 0);
    return ct_sample_result(y, ct_dropout_with(x[0], *(const double *)options, &rng, "sample"));
}

static int call_dropout_rows(ct_tensor *const *x, const void *options, ct_tensor **y) {
    ct_rng rng = ct_rng_create(5, 0);
    return ct_sample_result(y, ct_dropout_rows_with(x[0], x[1], CT_SHAPE(2, 3, 4),
                                                    *(const double *)options, &rng, "sample"));
}

static int call_dropout_no_columns(ct_tensor *const *x, const void *options, ct_tensor **y) {
    ct_rng rng = ct_rng_create(5, 0);
    return ct_sample_result(y, ct_dropout_rows_with(x[0], x[1], CT_SHAPE(2, 3, 0),
                                                    *(const double *)options, &rng, "sample"));
}

static void dropout_samples(ct_sampler *sampler) {
    const double some = 0.4, none = 0, all = 1;
    ct_sample_1(sampler, "matrix", call_dropout, &some, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "nothing dropped", call_dropout, &none, ct_sample_real(CT_SHAPE(3)));
    ct_sample_1(sampler, "all dropped", call_dropout, &all, ct_sample_real(CT_SHAPE(3)));
    ct_sample_1(sampler, "one element", call_dropout, &some, ct_sample_real(CT_SHAPE(1, 1)));
    ct_sample_1(sampler, "empty", call_dropout, &some, ct_sample_real(CT_SHAPE(0, 3)));
    ct_sample_2(sampler, "rows", call_dropout_rows, &some, ct_sample_real(CT_SHAPE(5, 4)),
                ct_sample_index(CT_SHAPE(5), 6));
    ct_sample_2(sampler, "rows of no columns", call_dropout_no_columns, &some,
                ct_sample_real(CT_SHAPE(5, 0)), ct_sample_index(CT_SHAPE(5), 6));
}

static const ct_op dropout_op = {"dropout", dropout_backward, dropout_samples};

/* `kept`, 1 or 0 of each number of x, stays until backward: one byte each. */
static ct_tensor *dropped(ct_tensor *x, const ct_tensor *kept, double p) {
    kept = kept ? ct_tensor_cast(kept, CT_U8) : NULL;
    ct_tensor *y = kept ? ct_escape(scaled_where(kept, x, p)) : NULL;
    ct_node *node = ct_record(&dropout_op, 1, &x, 1, &y);
    ct_save(node, kept);
    ct_save_options(node, &p, sizeof p);
    return y;
}

static bool check_dropout(const ct_tensor *x, double p, const ct_rng *rng) {
    if (!ct_given_float("dropout", x)) return false;
    if (!(p >= 0 && p <= 1)) {
        return ct_fail_bool("dropout: probability %g, expected 0 to 1", p);
    }
    return p == 0 || rng || ct_fail_bool("dropout: the generator is NULL");
}

ct_tensor *ct_dropout_with(ct_tensor *x, double p, ct_rng *rng, const char *name) {
    if (!check_dropout(x, p, rng)) return NULL;
    if (p == 0) return x;
    CT_SCOPE {
        return dropped(x, ct_random_bernoulli(rng, name, 1 - p, x->dtype, x->device, x->shape), p);
    }
    return NULL;
}

ct_tensor *ct_dropout_rows_with(ct_tensor *x, ct_tensor *positions, ct_shape whole, double p,
                                ct_rng *rng, const char *name) {
    if (!check_dropout(x, p, rng) || !ct_check_sizes("dropout", whole, x->dtype)) return NULL;
    int64_t width = whole.ndim > 0 ? whole.dim[whole.ndim - 1] : 0;
    if (x->shape.ndim != 2 || x->shape.dim[1] != width) {
        return ct_fail("dropout: x is %s, expected rows of %s", ct_tensor_text(x),
                       ct_shape_text(whole));
    }
    if (!ct_given("dropout", positions)) return NULL;
    if (positions->dtype != CT_I64 || positions->shape.ndim != 1 ||
        positions->shape.dim[0] != x->shape.dim[0]) {
        return ct_fail("dropout: the positions of %s are %s, expected i64 (%lld)",
                       ct_tensor_text(x), ct_tensor_text(positions), (long long)x->shape.dim[0]);
    }
    if (p == 0) return x;
    CT_SCOPE {
        return dropped(x,
                       ct_random_bernoulli_rows(rng, name, 1 - p, x->dtype, x->device, whole,
                                                whole.ndim - 1, positions),
                       p);
    }
    return NULL;
}

const ct_op *ct_norm_op(int i) {
    static const ct_op *const ops[] = {&l2_normalize_op,
                                       &layer_norm_op,
                                       &batch_norm_op,
                                       &batch_norm_fixed_op,
                                       &weight_norm_op,
                                       &dropout_op,
                                       NULL};
    return ops[i];
}
