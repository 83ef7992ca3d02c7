/* SPDX-License-Identifier: Apache-2.0 */
/* The discrete-continuous policy head: shapes and allocation. */
#include <math.h>

#include "tensor/fused/check.h"

static bool check_index(const char *op, const ct_tensor *index, const ct_tensor *logits,
                        ct_shape heads) {
    if (!ct_check_input(op, index)) return false;
    if (index->dtype == CT_I64 && index->device == logits->device &&
        ct_shape_equal(index->shape, heads)) {
        return true;
    }
    return ct_fail_bool("%s: index is %s on %s, expected i64 %s on %s", op, ct_tensor_text(index),
                        ct_device_name(index->device), ct_shape_text(heads),
                        ct_device_name(logits->device));
}

static bool check_noise(const char *op, const ct_tensor *logits, ct_policy_noise *noise,
                        ct_policy_options options) {
    ct_shape heads = logits->shape;
    heads.ndim = 2;
    if (options.perturbed &&
        !ct_check_shape(op, "uniform noise", logits, noise->uniform, logits->shape)) {
        return false;
    }
    if (!options.perturbed) noise->uniform = NULL;
    if (!noise->index && !ct_check_shape(op, "choice noise", logits, noise->choice, heads)) {
        return false;
    }
    if (noise->index && !check_index(op, noise->index, logits, heads)) return false;
    return ct_check_shape(op, "normal noise", logits, noise->normal, heads) &&
           ct_check_optional(op, "second normal noise", logits, noise->normal_2, heads);
}

static bool make_dense(ct_policy_noise *noise) {
    bool ok = true;
    noise->uniform = ct_dense(noise->uniform, &ok);
    noise->choice = ct_dense(noise->choice, &ok);
    noise->normal = ct_dense(noise->normal, &ok);
    noise->normal_2 = ct_dense(noise->normal_2, &ok);
    noise->index = ct_dense(noise->index, &ok);
    return ok;
}

static ct_policy_result policy_head(const ct_tensor *logits, const ct_tensor *rho,
                                    ct_policy_noise noise, ct_policy_options options) {
    static const char op[] = "policy head";
    ct_policy_result none = {0};
    if (!ct_check_ndim(op, "logits", logits, 3)) return none;
    ct_shape heads = logits->shape;
    heads.ndim = 2;
    if (logits->shape.dim[2] < 1 ||
        (options.perturbed && !(options.temperature > 0 && options.temperature < INFINITY))) {
        ct_fail("%s: logits %s and temperature %g, expected at least one action and a positive "
                "temperature",
                op, ct_tensor_text(logits), options.temperature);
        return none;
    }
    if (!ct_check_shape(op, "rho", logits, rho, heads) ||
        !check_noise(op, logits, &noise, options)) {
        return none;
    }
    bool ok = make_dense(&noise);
    logits = ct_dense(logits, &ok);
    rho = ct_dense(rho, &ok);
    if (!ok) return none;
    ct_policy_result result = {
        .log_discrete = ct_empty_like(rho, heads),
        .log_continuous = ct_empty_like(rho, heads),
        .weight = ct_empty_like(rho, heads),
        .index = ct_empty(CT_I64, rho->device, heads),
        .y = ct_empty_like(rho, logits->shape),
        .sample = ct_empty_like(rho, heads),
    };
    if (!result.log_discrete || !result.log_continuous || !result.weight || !result.index ||
        !result.y || !result.sample) {
        return none;
    }
    return ct_backend_of(rho->device)->policy_head(&result, logits, rho, &noise, options) ? result
                                                                                          : none;
}

ct_policy_result ct_tensor_policy_head(const ct_tensor *logits, const ct_tensor *rho,
                                       ct_policy_noise noise, ct_policy_options options) {
    ct_policy_result result = {0};
    ct_tensor **const all[] = {
        &result.log_discrete, &result.log_continuous, &result.weight, &result.index, &result.y,
        &result.sample};
    CT_SCOPE {
        result = policy_head(logits, rho, noise, options);
        ct_escape_all(all, 6);
    }
    return result;
}

void ct_tensor_policy_head_grad(const ct_tensor *g_discrete, const ct_tensor *g_continuous,
                                const ct_tensor *rho, const ct_policy_result *result,
                                ct_policy_options options, ct_tensor **g_logits,
                                ct_tensor **g_rho) {
    static const char op[] = "policy head gradient";
    if (!ct_check_pointer(op, "the result", result) ||
        !ct_check_pointer(op, "g_logits", g_logits) || !ct_check_pointer(op, "g_rho", g_rho)) {
        return;
    }
    *g_logits = *g_rho = NULL;
    CT_SCOPE {
        const ct_tensor *y = result->y;
        if (!ct_check_ndim(op, "y", y, 3)) break;
        ct_shape heads = y->shape;
        heads.ndim = 2;
        if (!ct_check_shape(op, "rho", y, rho, heads) ||
            !ct_check_shape(op, "sample", y, result->sample, heads) ||
            !ct_check_optional(op, "g_discrete", y, g_discrete, heads) ||
            !ct_check_optional(op, "g_continuous", y, g_continuous, heads)) {
            break;
        }
        bool ok = check_index(op, result->index, y, heads);
        rho = ct_dense(rho, &ok);
        g_discrete = ct_dense(g_discrete, &ok);
        g_continuous = ct_dense(g_continuous, &ok);
        ct_tensor *to_logits = ct_empty_like(y, y->shape), *to_rho = ct_empty_like(y, heads);
        if (!ok || !to_logits || !to_rho) break;
        if (!ct_backend_of(y->device)->policy_head_grad(to_logits, to_rho, g_discrete, g_continuous,
                                                        rho, result, options)) {
            break;
        }
        *g_logits = ct_escape(to_logits);
        *g_rho = ct_escape(to_rho);
    }
}
