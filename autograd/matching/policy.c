/* SPDX-License-Identifier: Apache-2.0 */
/* The discrete-continuous policy head: the pair of kernels of tensor/matching/matching.h. */
#include "autograd/check/samples.h"
#include "autograd/graph/graph.h"
#include "autograd/matching.h"
#include "tensor/core/trace.h"

/* Saved: rho, then the result's tensors in the order of its fields. */
static bool policy_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    const ct_policy_options *o = ct_node_options(node);
    ct_policy_result result = {ct_saved(node, 1), ct_saved(node, 2), ct_saved(node, 3),
                               ct_saved(node, 4), ct_saved(node, 5), ct_saved(node, 6)};
    ct_tensor_policy_head_grad(g[0], g[1], ct_saved(node, 0), &result, *o, &gx[0], &gx[1]);
    return gx[0] && gx[1];
}

/* Only log_discrete: the gradient of log_continuous goes straight through the choice of the action
 * and takes the drawn sample as given, so it is no derivative of the function of the noise that a
 * difference sees (tests/autograd/test_autograd_custom.c compares it with the composed operations
 * instead). Inputs: logits, rho, uniform, choice, normal. */
static int call_policy(ct_tensor *const *x, const void *options, ct_tensor **y) {
    const ct_policy_options *o = options;
    ct_policy_noise noise = {.uniform = o->perturbed ? x[2] : NULL, .choice = x[3], .normal = x[4]};
    return ct_sample_result(y, ct_policy_head(x[0], x[1], noise, *o).log_discrete);
}

static void policy_samples(ct_sampler *sampler) {
    const struct {
        const char *name;
        int64_t rows, heads, actions;
        ct_policy_options options;
    } cases[] = {
        {"perturbed", 3, 2, 4, {0.8, 20, true}},
        {"categorical", 3, 2, 4, {1, 20, false}},
        {"one element", 1, 1, 1, {0.8, 1, true}},
        {"no rows", 0, 2, 3, {0.8, 20, true}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ct_shape heads = CT_SHAPE(cases[i].rows, cases[i].heads);
        ct_shape all = CT_SHAPE(cases[i].rows, cases[i].heads, cases[i].actions);
        ct_sample sample = {cases[i].name,
                            call_policy,
                            &cases[i].options,
                            5,
                            {ct_sample_real(all),
                             ct_sample_real(heads),
                             {CT_SAMPLE_CONST, all, 0.05, 0.95},
                             {CT_SAMPLE_CONST, heads, 0.05, 0.95},
                             {CT_SAMPLE_CONST, heads, -2, 2}}};
        ct_add_sample(sampler, &sample);
    }
}

static const ct_op policy_op = {"policy_head", policy_backward, policy_samples};

ct_policy_actions ct_policy_head(ct_tensor *logits, ct_tensor *rho, ct_policy_noise noise,
                                 ct_policy_options options) {
    ct_policy_result r = ct_tensor_policy_head(logits, rho, noise, options);
    ct_tensor *output[] = {r.log_discrete, r.log_continuous};
    ct_node *node = ct_record(&policy_op, 2, (ct_tensor *[]){logits, rho}, 2, output);
    ct_tensor *saved[] = {rho, r.log_discrete, r.log_continuous, r.weight, r.index, r.y, r.sample};
    for (int i = 0; i < 7; i++) ct_save(node, saved[i]);
    ct_save_options(node, &options, sizeof options);
    ct_trace_end(r.weight);
    return (ct_policy_actions){r.log_discrete, r.log_continuous, r.weight, r.index};
}

const ct_op *ct_policy_op(int i) {
    static const ct_op *const ops[] = {&policy_op, NULL};
    return ops[i];
}
