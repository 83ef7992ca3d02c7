/* SPDX-License-Identifier: Apache-2.0 */
/* The discrete-continuous policy head: softmax, draw and log-probabilities in one pass. */
#include <math.h>
#include <string.h>

#include "tensor/cpu/cpu.h"

enum {
    ACTION_COST = 24, /* of an action, relative to an addition: two logarithms and exp */
    DRAW_BLOCK = 32,
};

static bool check_index(const ct_tensor *index, int64_t actions) {
    const int64_t *k = ct_cpu_data(index);
    for (int64_t i = 0; i < ct_count(index); i++) {
        if (k[i] >= 0 && k[i] < actions) continue;
        return ct_fail_bool("policy head: index %lld of action %lld, expected 0 to %lld",
                            (long long)k[i], (long long)i, (long long)actions - 1);
    }
    return true;
}

#include "tensor/cpu/real_f32.h"
#include "tensor/cpu/matching_policy_kernels.h"
#include "tensor/cpu/real_f64.h"
#include "tensor/cpu/matching_policy_kernels.h"
