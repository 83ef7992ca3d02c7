/* SPDX-License-Identifier: Apache-2.0 */
/* Batch, layer and l2 normalisation. */
#include "autograd/ops/norm.h"
#include "nn/core/module.h"

/* ---- batch norm (Ioffe and Szegedy 2015) ------------------------------------------------- */

const ct_module_class ct_batch_norm_class = {"batch_norm", ct_batch_norm};

ct_batch_norm_options ct_batch_norm_defaults(void) {
    return (ct_batch_norm_options){.momentum = 0.1, .eps = 1e-5, .axis = 1};
}

ct_module *ct_batch_norm_create(int64_t channels, const ct_batch_norm_options *options) {
    ct_batch_norm_options o = options ? *options : ct_batch_norm_defaults();
    if (!ct_nn_size("batch_norm", "channels", channels)) return NULL;
    if (!ct_nn_option("batch_norm", "momentum", o.momentum, o.momentum >= 0 && o.momentum <= 1,
                      "0 to 1") ||
        !ct_check_not_negative("batch_norm", "eps", o.eps) ||
        !ct_nn_option("batch_norm", "statistics", o.statistics,
                      o.statistics == CT_RUNNING_STATISTICS || o.statistics == CT_BATCH_STATISTICS,
                      "one of ct_batch_norm_statistics")) {
        return NULL;
    }
    ct_module *norm = ct_module_create_as(&ct_batch_norm_class, &o, sizeof o);
    ct_shape shape = CT_SHAPE(channels);
    bool ok = norm && ct_module_constant(norm, "weight", shape, 1) &&
              ct_module_constant(norm, "bias", shape, 0) &&
              ct_module_constant_buffer(norm, "running_mean", shape, 0) &&
              ct_module_constant_buffer(norm, "running_var", shape, 1);
    CT_SCOPE {
        ct_tensor *zero = ok ? ct_scalar(CT_I64, CT_CPU, 0) : NULL;
        return ct_module_if(norm, zero && ct_module_buffer(norm, "num_batches_tracked", zero));
    }
    return ct_module_if(norm, false);
}

/* running = (1 - momentum) running + momentum * factor * batch */
static bool average(ct_tensor *running, double momentum, double factor, const ct_tensor *batch) {
    return ct_tensor_scale_in_place(running, 1 - momentum) &&
           ct_tensor_add_to(running, momentum * factor, batch);
}

/* On its device, so that nothing waits; f64 holds every count there will be. */
static bool count_one_more(ct_tensor *batches) {
    const ct_tensor *count = ct_tensor_cast(batches, CT_F64);
    const ct_tensor *next = count ? ct_tensor_unary(CT_UNARY_add_scalar, count, 1, 0) : NULL;
    return next && ct_tensor_copy_to(batches, next);
}

/* The running variance is the unbiased one: `factor` times the biased one, which normalises. A
 * checkpoint that computes a batch again has tracked it before. */
static bool track(ct_module *norm, const ct_tensor *mean, const ct_tensor *variance,
                  double factor) {
    if (ct_is_recomputing()) return true;
    const ct_batch_norm_options *options = ct_module_self(norm);
    CT_NO_GRAD
    return average(ct_module_own(norm, "running_mean"), options->momentum, 1, mean) &&
           average(ct_module_own(norm, "running_var"), options->momentum, factor, variance) &&
           count_one_more(ct_module_own(norm, "num_batches_tracked"));
    return false;
}

/* The unbiased variance over ranks, where how many values there are is known on the device. */
static ct_tensor *unbiased(const ct_tensor *variance, const ct_tensor *count) {
    const ct_tensor *n = ct_tensor_cast(count, variance->dtype);
    const ct_tensor *others = n ? ct_tensor_unary(CT_UNARY_add_scalar, n, -1, 0) : NULL;
    return ct_tensor_mul(variance, ct_tensor_div(n, others));
}

/* Batch statistics, and the running ones moved towards them. */
static ct_tensor *normalise_batch(ct_module *norm, const ct_batch_norm_options *options,
                                  ct_tensor *x) {
    CT_SCOPE {
        ct_tensor *mean, *variance, *whole;
        ct_tensor *y = ct_batch_norm_counted(x, options->axis, ct_module_own(norm, "weight"),
                                             ct_module_own(norm, "bias"), options->eps, &mean,
                                             &variance, &whole);
        if (!y) return NULL;
        double count = (double)(ct_count(x) / ct_count(mean));
        bool tracked = whole ? track(norm, mean, unbiased(variance, whole), 1)
                             : track(norm, mean, variance, count / (count - 1));
        if (tracked) return ct_escape(y);
    }
    return NULL;
}

/* The channels' axis of x, -1 on error. */
static int channel_axis(ct_module *norm, const ct_tensor *x) {
    if (!ct_module_is("batch_norm", norm, &ct_batch_norm_class) ||
        !ct_nn_input("batch_norm", "x", x, -1)) {
        return -1;
    }
    const ct_batch_norm_options *options = ct_module_self(norm);
    const ct_tensor *running_mean = ct_module_own(norm, "running_mean");
    int64_t channels = running_mean->shape.dim[0];
    int axis = ct_axis("batch_norm", options->axis, x->shape.ndim);
    if (axis < 0) return -1;
    if (x->shape.dim[axis] != channels) {
        ct_fail("batch_norm: %s with channels along axis %d, expected %lld channels",
                ct_tensor_text(x), axis, (long long)channels);
        return -1;
    }
    if (x->dtype != running_mean->dtype) {
        ct_fail("batch_norm: %s, but the running statistics are %s", ct_tensor_text(x),
                ct_dtype_name(running_mean->dtype));
        return -1;
    }
    return axis;
}

static bool takes_batch_statistics(const ct_module *norm) {
    const ct_batch_norm_options *options = ct_module_self(norm);
    return norm->training || options->statistics == CT_BATCH_STATISTICS;
}

bool ct_batch_norm_is_fixed(const ct_module *norm, int64_t channels) {
    const ct_batch_norm_options *options = ct_module_self(norm);
    return !takes_batch_statistics(norm) && (options->axis == 1 || options->axis == -3) &&
           ct_module_own(norm, "running_mean")->shape.dim[0] == channels;
}

static ct_tensor *normalise_fixed(ct_module *norm, ct_tensor *x, int axis) {
    const ct_batch_norm_options *options = ct_module_self(norm);
    return ct_batch_norm_fixed(x, axis, ct_module_own(norm, "running_mean"),
                               ct_module_own(norm, "running_var"), ct_module_own(norm, "weight"),
                               ct_module_own(norm, "bias"), options->eps);
}

ct_tensor *ct_batch_norm(ct_module *norm, ct_tensor *x) {
    int axis = channel_axis(norm, x);
    if (axis < 0) return NULL;
    if (!takes_batch_statistics(norm)) return normalise_fixed(norm, x, axis);
    int64_t count = ct_count(x) / x->shape.dim[axis];
    if (count < 2 && !ct_over_ranks()) {
        return ct_fail("batch_norm: %s has %lld values a channel, batch statistics need two",
                       ct_tensor_text(x), (long long)count);
    }
    return normalise_batch(norm, ct_module_self(norm), x);
}

/* A sum over the rows of x, within CT_OVER_RANKS over those of all ranks. */
static ct_tensor *sum_of_rows(ct_tensor *x) {
    ct_tensor *sum = ct_sum(x, 0);
    return ct_over_ranks() ? ct_all_reduce(sum) : sum;
}

/* Plain operations, of which every sum is f64 and every row that is masked out a zero. */
static ct_tensor *normalise_masked(ct_module *norm, ct_tensor *x, ct_tensor *mask) {
    const ct_batch_norm_options *options = ct_module_self(norm);
    ct_tensor *zero = ct_scalar(x->dtype, x->device, 0);
    ct_tensor *count = sum_of_rows(ct_tensor_cast(mask, x->dtype));
    ct_tensor *mean = ct_div(sum_of_rows(ct_where(mask, x, zero)), count);
    ct_tensor *distance = ct_where(mask, ct_sub(x, mean), zero);
    ct_tensor *variance = ct_div(sum_of_rows(ct_square(distance)), count);
    ct_tensor *rstd = ct_unary(CT_UNARY_rsqrt, ct_add_scalar(variance, options->eps), 0, 0);
    if (!track(norm, mean, unbiased(variance, count), 1)) return NULL;
    return ct_add(ct_mul(ct_mul(distance, rstd), ct_module_own(norm, "weight")),
                  ct_module_own(norm, "bias"));
}

ct_tensor *ct_batch_norm_masked(ct_module *norm, ct_tensor *x, ct_tensor *mask) {
    int axis = channel_axis(norm, x);
    if (axis < 0) return NULL;
    if (axis != 1 || x->shape.ndim != 2 || !mask ||
        !ct_shape_equal(mask->shape, CT_SHAPE(x->shape.dim[0], 1))) {
        return ct_fail("batch_norm: x is %s and its mask %s, expected (R,C) and (R,1)",
                       ct_tensor_text(x), ct_tensor_text(mask));
    }
    CT_SCOPE {
        ct_tensor *y = takes_batch_statistics(norm) ? normalise_masked(norm, x, mask)
                                                    : normalise_fixed(norm, x, axis);
        return ct_escape(y ? ct_where(mask, y, ct_scalar(x->dtype, x->device, 0)) : NULL);
    }
    return NULL;
}

/* ---- layer norm (Ba et al. 2016) --------------------------------------------------------- */

static const ct_module_class layer_norm_class = {"layer_norm", ct_layer_norm};

ct_layer_norm_options ct_layer_norm_defaults(void) { return (ct_layer_norm_options){.eps = 1e-5}; }

ct_module *ct_layer_norm_create(int64_t width, const ct_layer_norm_options *options) {
    ct_layer_norm_options o = options ? *options : ct_layer_norm_defaults();
    if (!ct_nn_size("layer_norm", "width", width)) return NULL;
    if (!ct_check_not_negative("layer_norm", "eps", o.eps)) return NULL;
    ct_module *norm = ct_module_create_as(&layer_norm_class, &o, sizeof o);
    bool ok = norm && ct_module_constant(norm, "weight", CT_SHAPE(width), 1) &&
              ct_module_constant(norm, "bias", CT_SHAPE(width), 0);
    return ct_module_if(norm, ok);
}

ct_tensor *ct_layer_norm(ct_module *norm, ct_tensor *x) {
    if (!ct_module_is("layer_norm", norm, &layer_norm_class)) return NULL;
    const ct_layer_norm_options *options = ct_module_self(norm);
    return ct_layer_norm_with(x, ct_module_own(norm, "weight"), ct_module_own(norm, "bias"),
                              options->eps);
}

/* ---- l2 norm ---------------------------------------------------------------------------- */

typedef struct {
    int axis;
} l2_norm_self;

static ct_tensor *l2_norm_forward(ct_module *norm, ct_tensor *x) {
    const l2_norm_self *self = ct_module_self(norm);
    return ct_l2_normalize(x, self->axis);
}

static const ct_module_class l2_norm_class = {"l2_norm", l2_norm_forward};

ct_module *ct_l2_normalize_create(int axis) {
    l2_norm_self self = {axis};
    return ct_module_create_as(&l2_norm_class, &self, sizeof self);
}
