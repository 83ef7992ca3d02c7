/* SPDX-License-Identifier: Apache-2.0 */
/* The discrete-continuous policy attention (Yan, Yu, Xie, CVPR 2021; docs/model.md, "Policy
 * attention"). The sampled attention is not fed back into the recurrence: all hidden states come
 * from one GRU over the sequence and all evaluations of the policy from one product. */
#include <stdio.h>
#include <stdlib.h>

#include "models/modules/modules.h"
#include "nn/observe.h"

enum { HEADS, ACTIONS, TEMPERATURE, SCALE, DISCRETE, CONTINUOUS };
enum { DISCRETE_GUMBEL, DISCRETE_CATEGORICAL, DISCRETE_NONE };
static const ct_option options[] = {
    {"heads", CT_OPTION_INTEGER, "2", 1, 1024, NULL},
    {"actions", CT_OPTION_INTEGER, "500", 2, 1 << 20, NULL},
    {"temperature", CT_OPTION_REAL, "0.8", 1e-3, 1e3, NULL},
    {"scale", CT_OPTION_REAL, "20", 1e-3, 1e6, NULL},
    {"discrete", CT_OPTION_CHOICE, "gumbel", 0, 0, "gumbel|categorical|none"},
    {"continuous", CT_OPTION_FLAG, "yes", 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

bool ct_policy_has_discrete(const ct_graph_node *policy) {
    return policy && ct_number(policy, DISCRETE) != DISCRETE_NONE;
}

bool ct_policy_has_continuous(const ct_graph_node *policy) {
    return policy && ct_flag(policy, CONTINUOUS);
}

/* ---- building ------------------------------------------------------------------------------- */

/* gru, and of logits (2C -> H*A), mean (2C -> H), rho (2C -> H) those that are used. */
static bool create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    int64_t heads = (int64_t)ct_number(node, HEADS);
    int64_t actions = (int64_t)ct_number(node, ACTIONS);
    node->out = node->in;
    if (node->in % heads)
        return ct_fail_at(node->place, "%lld heads do not divide the width %lld", (long long)heads,
                          (long long)node->in) != NULL;
    bool discrete = ct_policy_has_discrete(node), continuous = ct_policy_has_continuous(node);
    if (!discrete && !continuous)
        return ct_fail_at(node->place, "discrete=none and continuous=no leave no policy; leave "
                                       "the module out instead") != NULL;
    if (!ct_graph_own(node, ct_module_create("policy_attention"))) return false;
    ct_module *module = node->module;
    if (!ct_module_add(module, "gru", ct_gru_create(node->in, node->in, NULL))) return false;
    const char *mean = discrete ? "logits" : "mean";
    int64_t outputs = discrete ? heads * actions : heads;
    if (!ct_module_add(module, mean, ct_linear_create(2 * node->in, outputs, true))) return false;
    return !continuous || ct_module_add(module, "rho", ct_linear_create(2 * node->in, heads, true));
}

/* ---- what the policy sees ------------------------------------------------------------------- */

typedef struct {
    const ct_graph_node *node;
    ct_graph_state *state;
    const ct_packing *packing; /* whose rows these are; NULL: all steps */
    int64_t batch, steps, heads, actions, rows;
    ct_tensor *seen; /* (rows, 2C): relu([x ; h]) */
} ct_policy_input;

static ct_tensor *head(const ct_policy_input *in, const char *name) {
    return ct_linear(ct_module_child(in->node->module, name), in->seen);
}

/* A recorded or fresh draw of one number a step and head (and action), of which that of each row is
 * taken: a seed gives the same whether padding is there or not. */
static ct_tensor *draw(const ct_policy_input *in, bool normal, const char *what, int64_t actions) {
    char name[48];
    snprintf(name, sizeof name, "%s.%s", in->node->image ? "img_enc" : "txt_enc", what);
    ct_shape shape = CT_SHAPE(in->batch, in->steps, in->heads);
    if (actions) shape.dim[shape.ndim++] = actions;
    if (!in->seen) return NULL;
    ct_dtype dtype = in->seen->dtype;
    ct_device device = in->seen->device;
    if (in->packing)
        return (normal ? ct_random_normal_rows : ct_random_uniform_rows)(
            in->state->rng, name, dtype, device, shape, 2, in->packing->positions);
    ct_tensor *noise =
        (normal ? ct_random_normal : ct_random_uniform)(in->state->rng, name, dtype, device, shape);
    shape = actions ? CT_SHAPE(in->rows, in->heads, actions) : CT_SHAPE(in->rows, in->heads);
    return noise ? ct_tensor_reshape(noise, shape) : NULL;
}

/* (rows,H) -> (B,S,H) */
static ct_tensor *by_step(const ct_policy_input *in, ct_tensor *x) {
    if (in->packing) return ct_unpack_steps(in->packing, x);
    return x ? ct_reshape(x, CT_SHAPE(in->batch, in->steps, in->heads)) : NULL;
}

/* scale * sigmoid(z), a constant */
static ct_tensor *weight_of(const ct_policy_input *in, const ct_tensor *z) {
    ct_tensor *gate = z ? ct_tensor_unary(CT_UNARY_sigmoid, z, 0, 0) : NULL;
    return gate ? ct_tensor_scale(gate, ct_number(in->node, SCALE)) : NULL;
}

/* ---- sampling (training) -------------------------------------------------------------------- */

static ct_tensor *sample_discrete(const ct_policy_input *in, ct_policy_output *out) {
    const ct_graph_node *node = in->node;
    bool continuous = ct_policy_has_continuous(node);
    ct_policy_options policy = {.temperature = ct_number(node, TEMPERATURE),
                                .scale = ct_number(node, SCALE),
                                .perturbed = ct_number(node, DISCRETE) == DISCRETE_GUMBEL};
    ct_tensor *logits = ct_reshape(head(in, "logits"), CT_SHAPE(in->rows, in->heads, in->actions));
    if (!logits) return NULL;
    ct_policy_noise noise = {0};
    if (policy.perturbed) noise.uniform = draw(in, false, "gumbel_u", in->actions);
    noise.choice = draw(in, false, "choice", 0);
    /* without a continuous part z = mu: no noise, and rho does not matter */
    ct_tensor *zero = ct_zeros(logits->dtype, logits->device, CT_SHAPE(in->rows, in->heads));
    ct_tensor *rho = continuous ? ct_softplus(head(in, "rho")) : zero;
    noise.normal = continuous ? draw(in, true, "z1", 0) : zero;
    if (continuous && node->compat->released[CT_COMPAT_SECOND_SAMPLE])
        noise.normal_2 = draw(in, true, "z2", 0);
    if (!ct_ok()) return NULL;
    ct_policy_actions actions = ct_policy_head(logits, rho, noise, policy);
    if (!actions.index) return NULL;
    out->log_discrete = by_step(in, actions.log_discrete);
    if (continuous) out->log_continuous = by_step(in, actions.log_continuous);
    out->index = by_step(in, actions.index);
    return actions.weight;
}

/* Continuous actions alone: mu comes from a linear head of its own, in (0,1) as k/A is. */
static ct_tensor *sample_continuous(const ct_policy_input *in, ct_policy_output *out) {
    ct_tensor *mu = ct_sigmoid(head(in, "mean"));
    ct_tensor *sigma = ct_exp(ct_scale(ct_softplus(head(in, "rho")), 0.5));
    bool second = in->node->compat->released[CT_COMPAT_SECOND_SAMPLE];
    ct_tensor *applied = NULL, *scored = NULL;
    CT_NO_GRAD {
        applied = ct_add(mu, ct_mul(sigma, draw(in, true, "z1", 0)));
        scored = second ? ct_add(mu, ct_mul(sigma, draw(in, true, "z2", 0))) : applied;
    }
    out->log_continuous = by_step(in, ct_normal_log_prob(scored, mu, sigma));
    return weight_of(in, applied);
}

/* ---- choosing (evaluation) ------------------------------------------------------------------ */

static ct_tensor *choose(const ct_policy_input *in, ct_policy_output *out) {
    if (!ct_policy_has_discrete(in->node)) return weight_of(in, ct_sigmoid(head(in, "mean")));
    ct_tensor *logits = ct_reshape(head(in, "logits"), CT_SHAPE(in->rows, in->heads, in->actions));
    if (!logits) return NULL;
    ct_tensor *index = ct_tensor_argmax(logits, -1);
    if (!index) return NULL;
    out->index = by_step(in, index);
    ct_tensor *mu = ct_tensor_cast(index, logits->dtype);
    return weight_of(in, mu ? ct_tensor_scale(mu, 1.0 / (double)in->actions) : NULL);
}

/* ---- forward -------------------------------------------------------------------------------- */

static int64_t sum_lengths(const ct_tensor *lengths) {
    if (ct_lengths_on_device(lengths)) return CT_STEPS_ON_DEVICE;
    const int64_t *length = ct_data(lengths);
    int64_t sum = 0;
    for (int64_t i = 0; i < ct_count(lengths); i++) sum += length[i];
    return sum;
}

static ct_tensor *forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    bool padded = node->compat->released[CT_COMPAT_PADDED_STEPS];
    ct_tensor *lengths = padded ? NULL : state->lengths;
    ct_policy_output *out = &state->policy;
    const ct_packing *packing = ct_is_packed(node, state) ? &state->packing : NULL;
    ct_policy_input in = {.node = node,
                          .state = state,
                          .packing = packing,
                          .batch = packing ? packing->batch : ct_dim(x, 0),
                          .steps = packing ? packing->steps : ct_dim(x, 1),
                          .heads = (int64_t)ct_number(node, HEADS),
                          .actions = (int64_t)ct_number(node, ACTIONS)};
    in.rows = packing ? ct_dim(x, 0) : in.batch * in.steps;
    ct_tensor *h = ct_gru(ct_module_child(node->module, "gru"), x, NULL, lengths, NULL);
    in.seen = ct_reshape(ct_relu(ct_concat2(x, h, -1)), CT_SHAPE(in.rows, 2 * node->in));
    if (!in.seen) return NULL;
    *out = (ct_policy_output){.steps = lengths ? sum_lengths(lengths) : in.rows};
    ct_tensor *weight = !state->training               ? choose(&in, out)
                        : ct_policy_has_discrete(node) ? sample_discrete(&in, out)
                                                       : sample_continuous(&in, out);
    if (!weight) return NULL;
    weight = ct_detach(weight);
    out->weight = by_step(&in, weight);
    if (lengths) out->valid = ct_step_mask(state, out->weight);
    ct_observed(node->module, "weights", out->weight);
    /* chunk h of the width, times weight h */
    ct_tensor *chunks = ct_reshape(x, CT_SHAPE(in.rows, in.heads, node->in / in.heads));
    return ct_reshape(ct_mul(chunks, ct_unsqueeze(weight, -1)), x->shape);
}

static double flops(const ct_graph_node *node, double rows, double steps) {
    double width = (double)node->in, heads = ct_number(node, HEADS);
    double outputs = ct_policy_has_discrete(node) ? heads * ct_number(node, ACTIONS) : heads;
    if (ct_policy_has_continuous(node)) outputs += heads;
    return 2 * rows * steps * (6 * width * width + 2 * width * outputs);
}

const ct_graph_kind ct_kind_policy_attention = {.name = "policy_attention",
                                                .place = CT_NEEDS_SEQUENCE | CT_TAKES_PACKED,
                                                .options = options,
                                                .create = create,
                                                .forward = forward,
                                                .flops = flops};
