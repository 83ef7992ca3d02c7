/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions, running sums. */
#include <float.h>
#include <math.h>

#include "autograd/graph/graph.h"
#include "autograd/check/samples.h"

/* ---- sum, mean, max, min, product ------------------------------------------------------- */

typedef struct {
    ct_reduce_kind kind;
    ct_shape kept; /* the result with the reduced dimensions of size 1 */
} reduce_options;

/* The largest finite number of a dtype. */
static double largest_of(const ct_tensor *x) { return x->dtype == CT_F64 ? DBL_MAX : FLT_MAX; }

/* Equal shares for all equal extremes. */
static ct_tensor *extreme_grad(const ct_tensor *g, const ct_tensor *x, const ct_tensor *y,
                               ct_shape kept) {
    ct_tensor *extreme = ct_tensor_cast(ct_tensor_compare(CT_COMPARE_equal, x, y), x->dtype);
    return ct_tensor_mul(extreme, ct_tensor_div(g, ct_tensor_sum_to(extreme, kept)));
}

/* For each factor the product of all others: y / x, but where a group has one zero only that factor
 * has a gradient, the product of the rest; with more zeros none has. */
static ct_tensor *product_grad(const ct_tensor *g, const ct_tensor *x, uint32_t axes) {
    ct_tensor *zero = ct_scalar(x->dtype, x->device, 0), *one = ct_scalar(x->dtype, x->device, 1);
    ct_tensor *is_zero = ct_tensor_compare(CT_COMPARE_equal, x, zero);
    if (!is_zero) return NULL;
    ct_tensor *zeros = ct_tensor_reduce(CT_SUM, ct_tensor_cast(is_zero, x->dtype), axes, true);
    ct_tensor *nonzero = ct_tensor_where(is_zero, one, x);
    ct_tensor *rest = ct_tensor_mul(g, ct_tensor_reduce(CT_PROD, nonzero, axes, true));
    ct_tensor *at_zero =
        ct_tensor_where(ct_tensor_compare(CT_COMPARE_equal, zeros, one), rest, zero);
    ct_tensor *elsewhere =
        ct_tensor_where(ct_tensor_compare(CT_COMPARE_equal, zeros, zero), rest, zero);
    return ct_tensor_where(is_zero, at_zero, ct_tensor_div(elsewhere, nonzero));
}

static uint32_t reduced_axes(ct_shape shape, ct_shape kept) {
    uint32_t axes = 0;
    for (int i = 0; i < shape.ndim; i++) {
        if (kept.dim[i] != shape.dim[i]) axes |= 1u << i;
    }
    return axes;
}

static bool reduce_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const reduce_options *o = ct_node_options(node);
    ct_shape shape = ct_input_shape(node, 0);
    ct_tensor *x = ct_saved(node, 0), *spread = ct_tensor_reshape(g[0], o->kept);
    if (o->kind == CT_MEAN) {
        int64_t count = ct_shape_count(shape), kept = ct_shape_count(o->kept);
        spread = ct_tensor_scale(spread, count ? (double)kept / (double)count : 0);
    }
    if (!spread) return false;
    if (o->kind == CT_PROD) {
        gx[0] = product_grad(spread, x, reduced_axes(shape, o->kept));
    } else if (o->kind == CT_MAX || o->kind == CT_MIN) {
        gx[0] = extreme_grad(spread, x, ct_tensor_reshape(ct_saved(node, 1), o->kept), o->kept);
    } else {
        gx[0] = ct_tensor_expand(spread, shape);
    }
    return gx[0] != NULL;
}

typedef struct {
    ct_reduce_kind kind;
    uint32_t axes;
    bool keep;
} reduce_call;

static int call_reduce(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const reduce_call *call = options;
    return ct_sample_result(y, ct_reduce(call->kind, x[0], call->axes, call->keep));
}

static void reduce_samples(ct_sampler *sampler, ct_reduce_kind kind) {
    const struct {
        const char *name;
        ct_shape shape;
        uint32_t axes;
        bool keep;
    } cases[] = {
        {"all", CT_SHAPE(3, 4), CT_ALL_AXES, false},
        {"first axis", CT_SHAPE(3, 4), 1u, false},
        {"last axis", CT_SHAPE(2, 3, 4), 4u, false},
        {"outer axes, kept", CT_SHAPE(2, 3, 2), 5u, true},
        {"no axes", CT_SHAPE(2, 3), 0u, false},
        {"scalar", CT_SCALAR_SHAPE, CT_ALL_AXES, false},
        {"one element", CT_SHAPE(1, 1), 2u, false},
        {"empty", CT_SHAPE(0, 3), 2u, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reduce_call call = {kind, cases[i].axes, cases[i].keep};
        ct_sample_1(sampler, cases[i].name, call_reduce, &call, ct_sample_distinct(cases[i].shape));
    }
}

static void sum_samples(ct_sampler *sampler) { reduce_samples(sampler, CT_SUM); }
static void mean_samples(ct_sampler *sampler) { reduce_samples(sampler, CT_MEAN); }
static void max_samples(ct_sampler *sampler) { reduce_samples(sampler, CT_MAX); }
static void min_samples(ct_sampler *sampler) { reduce_samples(sampler, CT_MIN); }

static int call_product(ct_tensor *const *x, const void *options, ct_tensor **y) {
    (void)options;
    return ct_sample_result(y, ct_reduce(CT_PROD, ct_concat2(x[0], x[1], 0), 1u, false));
}

static void prod_samples(ct_sampler *sampler) {
    reduce_samples(sampler, CT_PROD);
    for (int zeros = 1; zeros <= 2; zeros++) {
        ct_sample_2(sampler, zeros == 1 ? "a zero factor" : "two zero factors", call_product, NULL,
                    ct_sample_between(CT_SHAPE(zeros), 0, 0), ct_sample_real(CT_SHAPE(3)));
    }
}

static const ct_op reduce_ops[] = {
    [CT_SUM] = {"sum", reduce_backward, sum_samples},
    [CT_MEAN] = {"mean", reduce_backward, mean_samples},
    [CT_MAX] = {"max", reduce_backward, max_samples},
    [CT_MIN] = {"min", reduce_backward, min_samples},
    [CT_PROD] = {"prod", reduce_backward, prod_samples},
};

ct_tensor *ct_reduce(ct_reduce_kind kind, ct_tensor *x, uint32_t axes, bool keep) {
    ct_tensor *y = ct_tensor_reduce(kind, x, axes, keep);
    if (!y) return NULL;
    ct_node *node = ct_record(&reduce_ops[kind], 1, &x, 1, &y);
    reduce_options o = {kind, x->shape};
    for (int i = 0; i < x->shape.ndim; i++) {
        if (axes & 1u << i) o.kept.dim[i] = 1;
    }
    bool extreme = kind == CT_MAX || kind == CT_MIN;
    ct_save(node, extreme || kind == CT_PROD ? x : NULL);
    ct_save(node, extreme ? y : NULL);
    ct_save_options(node, &o, sizeof o);
    return y;
}

static ct_tensor *reduce_axis(ct_reduce_kind kind, ct_tensor *x, int axis) {
    const char *op = reduce_ops[kind].name;
    if (!ct_given(op, x)) return NULL;
    axis = ct_axis(op, axis, x->shape.ndim);
    return axis < 0 ? NULL : ct_reduce(kind, x, 1u << axis, false);
}

ct_tensor *ct_sum_all(ct_tensor *x) { return ct_reduce(CT_SUM, x, CT_ALL_AXES, false); }
ct_tensor *ct_mean_all(ct_tensor *x) { return ct_reduce(CT_MEAN, x, CT_ALL_AXES, false); }
ct_tensor *ct_sum(ct_tensor *x, int axis) { return reduce_axis(CT_SUM, x, axis); }
ct_tensor *ct_mean(ct_tensor *x, int axis) { return reduce_axis(CT_MEAN, x, axis); }
ct_tensor *ct_max(ct_tensor *x, int axis) { return reduce_axis(CT_MAX, x, axis); }
ct_tensor *ct_min(ct_tensor *x, int axis) { return reduce_axis(CT_MIN, x, axis); }

/* ---- along one axis --------------------------------------------------------------------- */

static int option_axis(const ct_node *node) { return *(const int *)ct_node_options(node); }

/* Cases of an operation (x, axis) whose axis goes or stays. */
static void axis_samples(ct_sampler *sampler, ct_sample_function call) {
    const int first = 0, middle = 1, last = -1;
    ct_sample_1(sampler, "first axis", call, &first, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "last axis", call, &last, ct_sample_real(CT_SHAPE(3, 4)));
    ct_sample_1(sampler, "middle axis", call, &middle, ct_sample_real(CT_SHAPE(2, 3, 2)));
    ct_sample_1(sampler, "vector", call, &last, ct_sample_real(CT_SHAPE(5)));
    ct_sample_1(sampler, "empty", call, &last, ct_sample_real(CT_SHAPE(0, 3)));
}

static bool log_sum_exp_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    int axis = option_axis(node);
    ct_tensor *x = ct_saved(node, 0), *y = ct_tensor_unsqueeze(ct_saved(node, 1), axis);
    /* not exp(x - y): beside a large x the logarithm of the sum is lost in y */
    ct_tensor *softmax = ct_tensor_softmax(x, axis, false);
    ct_tensor *none = ct_scalar(x->dtype, x->device, -INFINITY);
    ct_tensor *nothing = ct_tensor_compare(CT_COMPARE_equal, y, none); /* has the gradient 0 */
    softmax = ct_tensor_where(nothing, ct_scalar(x->dtype, x->device, 0), softmax);
    gx[0] = ct_tensor_mul(ct_tensor_unsqueeze(g[0], axis), softmax);
    return gx[0] != NULL;
}

static int call_log_sum_exp(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_log_sum_exp(x[0], *(const int *)options));
}

static void log_sum_exp_samples(ct_sampler *sampler) {
    const int axis = 0;
    axis_samples(sampler, call_log_sum_exp);
    ct_sample_1(sampler, "one element", call_log_sum_exp, &axis, ct_sample_real(CT_SHAPE(1)));
    ct_sample_1(sampler, "large", call_log_sum_exp, &axis,
                ct_sample_between(CT_SHAPE(4), 900, 902));
}

static const ct_op log_sum_exp_op = {"log_sum_exp", log_sum_exp_backward, log_sum_exp_samples};

ct_tensor *ct_log_sum_exp(ct_tensor *x, int axis) {
    if (!ct_given_float("log_sum_exp", x)) return NULL;
    axis = ct_axis("log_sum_exp", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    ct_tensor *y = NULL;
    CT_SCOPE {
        ct_tensor *largest = ct_tensor_reduce(CT_MAX, x, 1u << axis, true);
        largest = ct_tensor_unary(CT_UNARY_clamp, largest, -largest_of(x), largest_of(x));
        ct_tensor *power = ct_tensor_unary(CT_UNARY_exp, ct_tensor_sub(x, largest), 0, 0);
        ct_tensor *sum = ct_tensor_reduce(CT_SUM, power, 1u << axis, true);
        ct_tensor *kept = ct_tensor_add(largest, ct_tensor_unary(CT_UNARY_log, sum, 0, 0));
        y = ct_escape(ct_tensor_squeeze(kept, axis));
    }
    ct_node *node = ct_record(&log_sum_exp_op, 1, &x, 1, &y);
    ct_save(node, x);
    ct_save(node, y);
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

/* ---- variance --------------------------------------------------------------------------- */

typedef struct {
    int axis;
    double divisor;
} variance_options;

/* 2 (x - mean) / divisor; the mean's own gradient is zero, because deviations sum to zero. */
static bool variance_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const variance_options *o = ct_node_options(node);
    ct_tensor *scaled = ct_tensor_scale(ct_tensor_unsqueeze(g[0], o->axis), 2 / o->divisor);
    gx[0] = ct_tensor_mul(scaled, ct_tensor_sub(ct_saved(node, 0), ct_saved(node, 1)));
    return gx[0] != NULL;
}

static int call_variance(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_variance(x[0], *(const int *)options, true));
}

static int call_biased(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_variance(x[0], *(const int *)options, false));
}

static void variance_samples(ct_sampler *sampler) {
    const int axis = 0;
    axis_samples(sampler, call_variance);
    ct_sample_1(sampler, "biased", call_biased, &axis, ct_sample_real(CT_SHAPE(3, 2)));
    ct_sample_1(sampler, "one element", call_biased, &axis, ct_sample_real(CT_SHAPE(1)));
}

static const ct_op variance_op = {"variance", variance_backward, variance_samples};

ct_tensor *ct_variance(ct_tensor *x, int axis, bool unbiased) {
    if (!ct_given_float("variance", x)) return NULL;
    axis = ct_axis("variance", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    int64_t size = x->shape.dim[axis];
    if (size < (unbiased ? 2 : 1)) {
        return ct_fail("variance: dimension %d of %s has too few elements", axis,
                       ct_tensor_text(x));
    }
    variance_options o = {axis, (double)(unbiased ? size - 1 : size)};
    ct_tensor *mean = ct_tensor_reduce(CT_MEAN, x, 1u << axis, true);
    ct_tensor *y = NULL;
    CT_SCOPE {
        ct_tensor *square = ct_tensor_unary(CT_UNARY_square, ct_tensor_sub(x, mean), 0, 0);
        y = ct_escape(
            ct_tensor_scale(ct_tensor_reduce(CT_SUM, square, 1u << axis, false), 1 / o.divisor));
    }
    ct_node *node = ct_record(&variance_op, 1, &x, 1, &y);
    ct_save(node, x);
    ct_save(node, mean);
    ct_save_options(node, &o, sizeof o);
    return y;
}

/* ---- norm ------------------------------------------------------------------------------- */

/* u8: above 0, but below where squares have all their digits. */
static ct_tensor *is_small(const ct_tensor *y) {
    double limit = y->dtype == CT_F64 ? sqrt(DBL_MIN / DBL_EPSILON) : sqrt(FLT_MIN / FLT_EPSILON);
    ct_tensor *smallest = ct_scalar(y->dtype, y->device, limit);
    ct_tensor *zero = ct_scalar(y->dtype, y->device, 0);
    ct_tensor *below = ct_tensor_compare(CT_COMPARE_less, y, smallest);
    return ct_tensor_where(below, ct_tensor_compare(CT_COMPARE_greater, y, zero), below);
}

/* Root of the sum of squares along the axis, which stays. */
static ct_tensor *root_of_squares(const ct_tensor *x, int axis) {
    ct_tensor *square = ct_tensor_unary(CT_UNARY_square, x, 0, 0);
    return ct_tensor_unary(CT_UNARY_sqrt, ct_tensor_reduce(CT_SUM, square, 1u << axis, true), 0, 0);
}

/* The same where squares have left the range: of x divided by its largest magnitude. Only the
 * device knows where, so it computes both. */
static ct_tensor *norm_along(const ct_tensor *x, int axis) {
    ct_tensor *plain = root_of_squares(x, axis);
    ct_tensor *magnitude = ct_tensor_unary(CT_UNARY_abs, x, 0, 0);
    if (!plain || ct_dim(x, axis) == 0) return plain;
    ct_tensor *largest = ct_tensor_reduce(CT_MAX, magnitude, 1u << axis, true);
    ct_tensor *divided = ct_tensor_mul(largest, root_of_squares(ct_tensor_div(x, largest), axis));
    ct_tensor *limit = ct_scalar(x->dtype, x->device, largest_of(x));
    ct_tensor *finite = ct_tensor_compare(CT_COMPARE_less_equal, plain, limit);
    ct_tensor *infinite = ct_tensor_compare(CT_COMPARE_greater, largest, limit);
    ct_tensor *large = ct_tensor_where(ct_tensor_where(finite, finite, infinite), plain, divided);
    return ct_tensor_where(is_small(largest), divided, large);
}

/* x g / y; where g / y may be beyond the range, x / y, which is at most 1, comes first. */
static bool norm_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    int axis = option_axis(node);
    ct_tensor *x = ct_saved(node, 0), *y = ct_saved(node, 1);
    ct_tensor *zero = ct_scalar(x->dtype, x->device, 0);
    ct_tensor *factor =
        ct_tensor_where(ct_tensor_compare(CT_COMPARE_equal, y, zero), zero, ct_tensor_div(g[0], y));
    ct_tensor *plain = ct_tensor_mul(x, ct_tensor_unsqueeze(factor, axis));
    ct_tensor *kept = ct_tensor_unsqueeze(y, axis);
    ct_tensor *careful = ct_tensor_mul(ct_tensor_div(x, kept), ct_tensor_unsqueeze(g[0], axis));
    gx[0] = ct_tensor_where(is_small(kept), careful, plain);
    return gx[0] != NULL;
}

static int call_norm(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_norm(x[0], *(const int *)options));
}

static void norm_samples(ct_sampler *sampler) {
    const int axis = 0;
    axis_samples(sampler, call_norm);
    ct_sample_1(sampler, "one element", call_norm, &axis, ct_sample_real(CT_SHAPE(1)));
}

static const ct_op norm_op = {"norm", norm_backward, norm_samples};

ct_tensor *ct_norm(ct_tensor *x, int axis) {
    if (!ct_given_float("norm", x)) return NULL;
    axis = ct_axis("norm", axis, x->shape.ndim);
    if (axis < 0) return NULL;
    ct_tensor *y = NULL;
    CT_SCOPE { y = ct_escape(ct_tensor_squeeze(norm_along(x, axis), axis)); }
    ct_node *node = ct_record(&norm_op, 1, &x, 1, &y);
    ct_save(node, x);
    ct_save(node, y);
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

/* ---- running sum ------------------------------------------------------------------------ */

static bool cumsum_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    gx[0] = ct_tensor_cumsum(g[0], option_axis(node), true);
    return gx[0] != NULL;
}

static int call_cumsum(ct_tensor *const *x, const void *options, ct_tensor **y) {
    return ct_sample_result(y, ct_cumsum(x[0], *(const int *)options));
}

static void cumsum_samples(ct_sampler *sampler) {
    const int axis = 0;
    axis_samples(sampler, call_cumsum);
    ct_sample_1(sampler, "one element", call_cumsum, &axis, ct_sample_real(CT_SHAPE(1)));
}

static const ct_op cumsum_op = {"cumsum", cumsum_backward, cumsum_samples};

ct_tensor *ct_cumsum(ct_tensor *x, int axis) {
    ct_tensor *y = ct_tensor_cumsum(x, axis, false);
    ct_node *node = ct_record(&cumsum_op, 1, &x, 1, &y);
    ct_save_options(node, &axis, sizeof axis);
    return y;
}

const ct_op *ct_reduce_op(int i) {
    static const ct_op *const ops[] = {&reduce_ops[CT_SUM],  &reduce_ops[CT_MEAN],
                                       &reduce_ops[CT_MAX],  &reduce_ops[CT_MIN],
                                       &reduce_ops[CT_PROD], &log_sum_exp_op,
                                       &variance_op,         &norm_op,
                                       &cumsum_op,           NULL};
    return ops[i];
}
