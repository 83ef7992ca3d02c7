/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's default generator. */
#include "nn/nn.h"

static _Thread_local ct_rng generator;

void ct_seed(uint64_t seed) { generator = ct_rng_create(seed, 0); }

ct_rng *ct_default_rng(void) { return &generator; }
