/* SPDX-License-Identifier: Apache-2.0 */
/* The discrete-continuous policy head: softmax, draw and log-probabilities in one pass. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/fused.h"

enum {
    ACTION_COST = 24, /* of an action, relative to an addition: two logarithms and exp */
    DRAW_BLOCK = 32,
};

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/matching_policy_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/matching_policy_kernels.h"

static bool check_index(const ct_tensor *index, int64_t actions) {
    const int64_t *k = ct_cpu_data(index);
    for (int64_t i = 0; i < ct_count(index); i++) {
        if (k[i] >= 0 && k[i] < actions) continue;
        return ct_fail_bool("policy head: index %lld of action %lld, expected 0 to %lld",
                            (long long)k[i], (long long)i, (long long)actions - 1);
    }
    return true;
}

bool CT_CPU(policy_head)(const ct_policy_result *result, const ct_tensor *logits,
                         const ct_tensor *rho, const ct_policy_noise *noise,
                         ct_policy_options options) {
    if (noise->index && !check_index(noise->index, logits->shape.dim[2])) return false;
    if (logits->dtype == CT_F32) {
        policy_head_f32(result, logits, rho, noise, options);
    } else {
        policy_head_f64(result, logits, rho, noise, options);
    }
    return true;
}

bool CT_CPU(policy_head_grad)(ct_tensor *g_logits, ct_tensor *g_rho, const ct_tensor *g_discrete,
                              const ct_tensor *g_continuous, const ct_tensor *rho,
                              const ct_policy_result *result, ct_policy_options options) {
    double rate = options.perturbed ? 1 / options.temperature : 1;
    if (rho->dtype == CT_F32) {
        policy_head_grad_f32(g_logits, g_rho, g_discrete, g_continuous, rho, result, (float)rate);
    } else {
        policy_head_grad_f64(g_logits, g_rho, g_discrete, g_continuous, rho, result, rate);
    }
    return true;
}
