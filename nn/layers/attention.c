/* SPDX-License-Identifier: Apache-2.0 */
/* Multi-head attention (Vaswani et al. 2017). */
#include <math.h>

#include "nn/core/module.h"
#include "nn/observe.h"
#include "nn/packed.h"

static ct_tensor *self_attention(ct_module *attention, ct_tensor *x) {
    return ct_attention(attention, x, x, x, NULL);
}

static const ct_module_class attention_class = {"attention", self_attention};

ct_attention_options ct_attention_defaults(void) { return (ct_attention_options){.heads = 1}; }

static bool check_options(int64_t width, const ct_attention_options *o) {
    if (!ct_nn_size("attention", "width", width) ||
        !ct_nn_option("attention", "heads", o->heads, o->heads >= 1, "1 or more") ||
        !ct_nn_option("attention", "dropout", o->dropout, o->dropout >= 0 && o->dropout < 1,
                      "0 <= dropout < 1")) {
        return false;
    }
    if (width % o->heads == 0) return true;
    return ct_fail_bool("attention: width %lld in %d heads: expected a multiple", (long long)width,
                        o->heads);
}

ct_module *ct_attention_create(int64_t width, const ct_attention_options *options) {
    ct_attention_options o = options ? *options : ct_attention_defaults();
    if (!check_options(width, &o)) return NULL;
    ct_module *attention = ct_module_create_as(&attention_class, &o, sizeof o);
    if (!attention) return NULL;
    double bound = sqrt(6.0 / (double)(4 * width)); /* xavier uniform of (3E,E) */
    ct_module *out = ct_linear_create(width, width, true);
    bool ok = ct_module_uniform(attention, "in_proj_weight", CT_SHAPE(3 * width, width), bound) &&
              ct_module_constant(attention, "in_proj_bias", CT_SHAPE(3 * width), 0);
    ok = ct_module_add(attention, "out_proj", out) && ok &&
         ct_init_constant(ct_module_own(out, "bias"), 0);
    return ct_module_if(attention, ok);
}

/* Sequences as they come: (B,T,E), or packed. */
typedef struct {
    ct_tensor *x;
    int64_t batch, steps;
    ct_tensor *positions; /* of packed rows among the batch*steps, or NULL: not packed */
} sequences;

static sequences padded(ct_tensor *x) {
    return (sequences){.x = x, .batch = x->shape.dim[0], .steps = x->shape.dim[1]};
}

/* A run of attention: its parameters, options and generator. */
typedef struct {
    const ct_module *attention; /* whose weights are observed, or NULL */
    ct_attention_parameters parameters;
    ct_attention_options options;
    ct_rng *rng;
    int64_t width;
} running;

/* One third of the input projection, `part` 0 query, 1 key, 2 value: (B,heads,T,E/heads), 0 where
 * packed sequences have no step. */
static ct_tensor *project(const running *r, int part, const sequences *s) {
    int64_t width = r->width, heads = r->options.heads;
    ct_tensor *weight = ct_slice(r->parameters.in_weight, 0, part * width, (part + 1) * width, 1);
    ct_tensor *bias = ct_slice(r->parameters.in_bias, 0, part * width, (part + 1) * width, 1);
    ct_tensor *y = ct_linear_with(s->x, weight, bias);
    if (s->positions) y = ct_segment_sum(y, s->positions, s->batch * s->steps);
    ct_shape split = CT_SHAPE(s->batch, s->steps, heads, width / heads);
    return ct_transpose(ct_reshape(y, split), 1, 2);
}

/* The heads (B,heads,T,E/heads), joined side by side and passed through the output projection. */
static ct_tensor *joined(const running *r, const sequences *s, ct_tensor *heads) {
    ct_shape shape = s->positions ? CT_SHAPE(s->batch * s->steps, r->width)
                                  : CT_SHAPE(s->batch, s->steps, r->width);
    ct_tensor *y = ct_reshape(ct_transpose(heads, 1, 2), shape);
    if (s->positions) y = ct_index_select(y, 0, s->positions);
    return ct_linear_with(y, r->parameters.out_weight, r->parameters.out_bias);
}

/* u8 (queries,keys), 1 where the key is later than the query; combined with `mask` if given. */
static ct_tensor *causal_mask(const ct_tensor *scores, ct_tensor *mask) {
    int64_t queries = scores->shape.dim[2], keys = scores->shape.dim[3];
    ct_tensor *i = ct_tensor_unsqueeze(ct_arange(CT_I64, scores->device, queries), 1);
    ct_tensor *j = ct_arange(CT_I64, scores->device, keys);
    ct_tensor *later = ct_tensor_compare(CT_COMPARE_greater, j, i);
    return mask ? ct_tensor_where(mask, mask, later) : later;
}

static ct_tensor *attend(const running *r, const sequences from[3], ct_tensor *mask) {
    ct_tensor *query = project(r, 0, &from[0]);
    ct_tensor *key = project(r, 1, &from[1]);
    ct_tensor *value = project(r, 2, &from[2]);
    double scale = 1 / sqrt((double)(r->width / r->options.heads));
    ct_tensor *scores = ct_matmul(ct_scale(query, scale), ct_transpose(key, 2, 3));
    if (!scores) return NULL;
    if (r->options.causal) mask = causal_mask(scores, mask);
    /* Finite, so that a row without any key has no NaN; its weights are cleared below. */
    if (mask) scores = ct_masked_fill(scores, mask, -1e30);
    ct_tensor *weights = ct_softmax(scores, -1);
    if (mask) weights = ct_masked_fill(weights, mask, 0);
    ct_observed(r->attention, "weights", weights);
    weights = ct_dropout_with(weights, r->options.dropout, r->rng, "dropout");
    return joined(r, &from[0], ct_matmul(weights, value));
}

static bool check_inputs(ct_tensor *const x[3], ct_tensor *mask, int64_t width) {
    static const char *const names[] = {"query", "key", "value"};
    for (int i = 0; i < 3; i++) {
        if (!ct_nn_input("attention", names[i], x[i], 3)) return false;
        const ct_tensor *like = i == 2 ? x[1] : x[i]; /* keys and values come in pairs */
        if (x[i]->shape.dim[2] != width || x[i]->shape.dim[0] != x[0]->shape.dim[0] ||
            x[i]->shape.dim[1] != like->shape.dim[1]) {
            return ct_fail_bool("attention: query %s, key %s, value %s: expected (B,T,%lld), key "
                                "and value of one length",
                                ct_tensor_text(x[0]), ct_tensor_text(x[1]), ct_tensor_text(x[2]),
                                (long long)width);
        }
    }
    if (!mask || mask->dtype == CT_U8) return true;
    return ct_fail_bool("attention: mask is %s, expected u8", ct_tensor_text(mask));
}

static bool check_parameter(const char *name, const ct_tensor *x, ct_shape expected) {
    if (!ct_nn_input("attention", name, x, -1)) return false;
    if (ct_shape_equal(x->shape, expected)) return true;
    return ct_fail_bool("attention: %s is %s, expected %s", name, ct_tensor_text(x),
                        ct_shape_text(expected));
}

/* Also sets the width, which is that of out_weight. */
static bool check_running(running *r) {
    const ct_attention_parameters *p = &r->parameters;
    if (!ct_nn_input("attention", "out_weight", p->out_weight, 2)) return false;
    int64_t width = r->width = p->out_weight->shape.dim[0];
    return check_options(width, &r->options) &&
           check_parameter("in_weight", p->in_weight, CT_SHAPE(3 * width, width)) &&
           check_parameter("in_bias", p->in_bias, CT_SHAPE(3 * width)) &&
           check_parameter("out_weight", p->out_weight, CT_SHAPE(width, width)) &&
           check_parameter("out_bias", p->out_bias, CT_SHAPE(width));
}

static ct_tensor *checked(running *r, ct_tensor *const x[3], ct_tensor *mask) {
    if (!check_running(r) || !check_inputs(x, mask, r->width)) return NULL;
    CT_SCOPE {
        const sequences from[] = {padded(x[0]), padded(x[1]), padded(x[2])};
        return ct_escape(attend(r, from, mask));
    }
    return NULL;
}

ct_tensor *ct_attention_with(ct_tensor *query, ct_tensor *key, ct_tensor *value, ct_tensor *mask,
                             ct_attention_parameters parameters, ct_attention_options options) {
    running r = {.parameters = parameters, .options = options, .rng = ct_default_rng()};
    return checked(&r, (ct_tensor *const[]){query, key, value}, mask);
}

/* With the parameters and options of an attention module, in the innermost scope. */
static running of_module(ct_module *attention, ct_rng *rng) {
    ct_module *out = ct_module_child(attention, "out_proj");
    running r = {.attention = attention,
                 .options = *(const ct_attention_options *)ct_module_self(attention),
                 .rng = rng ? rng : ct_default_rng()};
    if (!ct_module_training(attention)) r.options.dropout = 0;
    r.parameters = (ct_attention_parameters){
        .in_weight = ct_module_own(attention, "in_proj_weight"),
        .in_bias = ct_module_own(attention, "in_proj_bias"),
        .out_weight = ct_module_weight(out),
        .out_bias = ct_module_own(out, "bias"),
    };
    return r;
}

ct_tensor *ct_attention_from(ct_module *attention, ct_tensor *query, ct_tensor *key,
                             ct_tensor *value, ct_tensor *mask, ct_rng *rng) {
    if (!ct_module_is("attention", attention, &attention_class)) return NULL;
    CT_SCOPE {
        running r = of_module(attention, rng);
        return ct_escape(checked(&r, (ct_tensor *const[]){query, key, value}, mask));
    }
    return NULL;
}

ct_tensor *ct_attention(ct_module *attention, ct_tensor *query, ct_tensor *key, ct_tensor *value,
                        ct_tensor *mask) {
    return ct_attention_from(attention, query, key, value, mask, NULL);
}

/* ---- packed sequences ----------------------------------------------------------------------- */

ct_tensor *ct_attention_packed(ct_module *attention, ct_tensor *x, ct_tensor *lengths,
                               int64_t steps, ct_rng *rng) {
    if (!ct_module_is("attention_packed", attention, &attention_class) ||
        !ct_nn_input("attention_packed", "x", x, 2)) {
        return NULL;
    }
    CT_SCOPE {
        running r = of_module(attention, rng);
        ct_tensor *positions = ct_packed_positions(lengths, steps, x->device);
        if (!positions || !check_running(&r)) return NULL;
        if (x->shape.dim[0] != ct_count(positions) || x->shape.dim[1] != r.width) {
            return ct_fail("attention_packed: x is %s, expected (%lld,%lld)", ct_tensor_text(x),
                           (long long)ct_count(positions), (long long)r.width);
        }
        sequences s = {.x = x, .batch = ct_count(lengths), .steps = steps, .positions = positions};
        ct_tensor *mask = ct_steps_beyond(lengths, 0, steps, x->device);
        mask = ct_tensor_reshape(mask, CT_SHAPE(s.batch, 1, 1, steps));
        return mask ? ct_escape(attend(&r, (const sequences[]){s, s, s}, mask)) : NULL;
    }
    return NULL;
}
