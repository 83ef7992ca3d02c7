/* SPDX-License-Identifier: Apache-2.0 */
/* REINFORCE (Williams 1992) on a bandit: in each state another arm pays best, and only what was
 * pulled is ever paid. A policy is all there is to learn:
 *     cc bandit.c -o bandit $(pkg-config --cflags --libs cotangent) && ./bandit */
#include <stdio.h>
#include "nn/nn.h"
enum { STATES = 4, ARMS = 5, PULLS = 64, ROUNDS = 300 };
static int64_t best_arm(int64_t state) { return (2 * state + 1) % ARMS; }
/* 1 or 0: the best arm pays nine times in ten, the others three times. */
static double pull(int64_t state, int64_t arm, ct_rng *rng) {
    return ct_random_double(rng) < (arm == best_arm(state) ? 0.9 : 0.3);
}
int main(void) {
    ct_module *policy = ct_embedding_create(STATES, ARMS); /* logits of the arms in each state */
    ct_adam_options options = ct_adam_defaults();
    options.lr = 0.05;
    ct_optimizer *adam = ct_adam_create(policy, &options);
    ct_rng *rng = ct_default_rng();
    double usual = 0; /* running mean of the rewards: what a pull is compared with */
    for (int round = 0; round <= ROUNDS && ct_ok(); round++) CT_SCOPE {
            int64_t state[PULLS], arm[PULLS];
            for (int i = 0; i < PULLS; i++) state[i] = (int64_t)ct_random_below(rng, STATES);
            ct_tensor *states = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(PULLS), state);
            ct_tensor *logits = ct_embedding(policy, states);
            ct_tensor *arms = ct_categorical_sample(logits, rng, "arm");
            if (!ct_read(arms, arm)) break;
            double advantage[PULLS], reward = 0, best = 0;
            for (int i = 0; i < PULLS; i++) {
                double paid = pull(state[i], arm[i], rng);
                advantage[i] = paid - usual;
                reward += paid / PULLS;
                best += (double)(arm[i] == best_arm(state[i])) / PULLS;
            }
            usual += 0.1 * (reward - usual);
            /* the gradient of the expected reward is that of log pi(arm), weighted; the entropy
             * keeps the policy from settling on an arm too soon */
            ct_tensor *log_pi = ct_categorical_log_prob(logits, arms);
            ct_tensor *weight = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(PULLS), advantage);
            ct_tensor *gain =
                ct_add(ct_mul(log_pi, weight), ct_scale(ct_categorical_entropy(logits), 0.01));
            if (round % 50 == 0)
                printf("round %3d  reward %.2f  accuracy %.3f\n", round, reward, best);
            ct_backward(ct_neg(ct_mean_all(gain)));
            ct_optimizer_step(adam);
        }
    ct_optimizer_destroy(adam);
    puts("the arm that the policy prefers in each state:");
    CT_SCOPE { ct_print(stdout, ct_tensor_argmax(ct_module_tensor(policy, "weight"), 1)); }
    ct_module_destroy(policy);
    return ct_ok() ? 0 : (fprintf(stderr, "%s\n", ct_error()), 1);
}
