/* SPDX-License-Identifier: Apache-2.0 */
/* Initialisers: fill a tensor in place. */
#include <math.h>

#include "nn/nn.h"

bool ct_init_uniform(ct_tensor *x, double low, double high, ct_rng *rng) {
    if (!x) return ct_ok() ? ct_fail_bool("init_uniform: tensor is NULL") : false;
    if (!(low <= high && isfinite(low) && isfinite(high))) {
        return ct_fail_bool("init_uniform: range %g to %g, expected two numbers in order", low,
                            high);
    }
    bool ok = false;
    CT_SCOPE {
        ct_tensor *u = ct_random_uniform(rng, "init", x->dtype, x->device, x->shape);
        ct_tensor *values =
            ct_tensor_unary(CT_UNARY_add_scalar, ct_tensor_scale(u, high - low), low, 0);
        ok = values && ct_tensor_copy_to(x, values);
    }
    return ok;
}

bool ct_init_normal(ct_tensor *x, double mean, double std, ct_rng *rng) {
    if (!x) return ct_ok() ? ct_fail_bool("init_normal: tensor is NULL") : false;
    if (!(std >= 0 && isfinite(std) && isfinite(mean))) {
        return ct_fail_bool("init_normal: mean %g, standard deviation %g, expected a number, and "
                            "one of 0 or more",
                            mean, std);
    }
    bool ok = false;
    CT_SCOPE {
        ct_tensor *z = ct_random_normal(rng, "init", x->dtype, x->device, x->shape);
        ct_tensor *values = ct_tensor_unary(CT_UNARY_add_scalar, ct_tensor_scale(z, std), mean, 0);
        ok = values && ct_tensor_copy_to(x, values);
    }
    return ok;
}

bool ct_init_constant(ct_tensor *x, double value) {
    if (!x) return ct_ok() ? ct_fail_bool("init_constant: tensor is NULL") : false;
    return ct_tensor_fill(x, value);
}

/* Numbers of inputs and outputs of one unit, of a weight (out,in,...). */
static bool fans(const char *op, const ct_tensor *x, double *in, double *out) {
    if (!x) return ct_ok() ? ct_fail_bool("%s: tensor is NULL", op) : false;
    if (x->shape.ndim < 2 || ct_count(x) == 0) {
        return ct_fail_bool("%s: %s, expected a weight (out,in,...)", op, ct_tensor_text(x));
    }
    *in = (double)(ct_count(x) / x->shape.dim[0]);
    *out = (double)(ct_count(x) / x->shape.dim[1]);
    return true;
}

/* Glorot and Bengio (2010): variance gain^2 * 2 / (fan_in + fan_out). */
bool ct_init_xavier_uniform(ct_tensor *x, double gain, ct_rng *rng) {
    double in = 0, out = 0;
    if (!fans("init_xavier_uniform", x, &in, &out)) return false;
    double bound = fabs(gain) * sqrt(6 / (in + out));
    return ct_init_uniform(x, -bound, bound, rng);
}

bool ct_init_xavier_normal(ct_tensor *x, double gain, ct_rng *rng) {
    double in = 0, out = 0;
    if (!fans("init_xavier_normal", x, &in, &out)) return false;
    return ct_init_normal(x, 0, fabs(gain) * sqrt(2 / (in + out)), rng);
}

/* He et al. (2015): variance 2 / ((1 + slope^2) fan_in). */
bool ct_init_kaiming_uniform(ct_tensor *x, double slope, ct_rng *rng) {
    double in = 0, out = 0;
    if (!fans("init_kaiming_uniform", x, &in, &out)) return false;
    double bound = sqrt(6 / ((1 + slope * slope) * in));
    return ct_init_uniform(x, -bound, bound, rng);
}

bool ct_init_kaiming_normal(ct_tensor *x, double slope, ct_rng *rng) {
    double in = 0, out = 0;
    if (!fans("init_kaiming_normal", x, &in, &out)) return false;
    return ct_init_normal(x, 0, sqrt(2 / ((1 + slope * slope) * in)), rng);
}

bool ct_init_kaiming_normal_out(ct_tensor *x, double slope, ct_rng *rng) {
    double in = 0, out = 0;
    if (!fans("init_kaiming_normal_out", x, &in, &out)) return false;
    return ct_init_normal(x, 0, sqrt(2 / ((1 + slope * slope) * out)), rng);
}
