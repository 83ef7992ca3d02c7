/* SPDX-License-Identifier: Apache-2.0 */
/* Multi-head attention (Vaswani et al. 2017). */
#include <math.h>

#include "nn/core/module.h"
#include "nn/observe.h"

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

/* Third `part` (query, key, value) of the input projection: (B,T,E) -> (B,heads,T,E/heads). */
static ct_tensor *project(const ct_attention_parameters *p, int heads, int part, ct_tensor *x) {
    int64_t width = x->shape.dim[2];
    ct_tensor *weight = ct_slice(p->in_weight, 0, part * width, (part + 1) * width, 1);
    ct_tensor *bias = ct_slice(p->in_bias, 0, part * width, (part + 1) * width, 1);
    ct_tensor *y = ct_linear_with(x, weight, bias);
    ct_shape split = CT_SHAPE(x->shape.dim[0], x->shape.dim[1], heads, width / heads);
    return ct_transpose(ct_reshape(y, split), 1, 2);
}

/* u8 (queries,keys), 1 where the key is later than the query; joined with `mask` if given. */
static ct_tensor *causal_mask(const ct_tensor *scores, ct_tensor *mask) {
    int64_t queries = scores->shape.dim[2], keys = scores->shape.dim[3];
    ct_tensor *i = ct_tensor_unsqueeze(ct_arange(CT_I64, scores->device, queries), 1);
    ct_tensor *j = ct_arange(CT_I64, scores->device, keys);
    ct_tensor *later = ct_tensor_compare(CT_COMPARE_greater, j, i);
    return mask ? ct_tensor_where(mask, mask, later) : later;
}

/* `attention` is whose weights are observed, or NULL. */
static ct_tensor *attend(const ct_module *attention, ct_tensor *const x[3], ct_tensor *mask,
                         const ct_attention_parameters *p, const ct_attention_options *o,
                         ct_rng *rng) {
    ct_tensor *query = project(p, o->heads, 0, x[0]);
    ct_tensor *key = project(p, o->heads, 1, x[1]);
    ct_tensor *value = project(p, o->heads, 2, x[2]);
    int64_t width = x[0]->shape.dim[2];
    double scale = 1 / sqrt((double)(width / o->heads));
    ct_tensor *scores = ct_matmul(ct_scale(query, scale), ct_transpose(key, 2, 3));
    if (!scores) return NULL;
    if (o->causal) mask = causal_mask(scores, mask);
    /* Finite, so that a row without any key stays without NaN; its weights are cleared after. */
    if (mask) scores = ct_masked_fill(scores, mask, -1e30);
    ct_tensor *weights = ct_softmax(scores, -1);
    if (mask) weights = ct_masked_fill(weights, mask, 0);
    ct_observed(attention, "weights", weights);
    weights = ct_dropout_with(weights, o->dropout, rng, "dropout");
    ct_tensor *heads = ct_transpose(ct_matmul(weights, value), 1, 2);
    ct_shape joined = CT_SHAPE(x[0]->shape.dim[0], x[0]->shape.dim[1], width);
    return ct_linear_with(ct_reshape(heads, joined), p->out_weight, p->out_bias);
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

static ct_tensor *checked(const ct_module *attention, ct_tensor *const x[3], ct_tensor *mask,
                          ct_attention_parameters parameters, ct_attention_options options,
                          ct_rng *rng) {
    if (!ct_nn_input("attention", "out_weight", parameters.out_weight, 2)) return NULL;
    int64_t width = parameters.out_weight->shape.dim[0];
    if (!check_options(width, &options) || !check_inputs(x, mask, width) ||
        !check_parameter("in_weight", parameters.in_weight, CT_SHAPE(3 * width, width)) ||
        !check_parameter("in_bias", parameters.in_bias, CT_SHAPE(3 * width)) ||
        !check_parameter("out_weight", parameters.out_weight, CT_SHAPE(width, width)) ||
        !check_parameter("out_bias", parameters.out_bias, CT_SHAPE(width))) {
        return NULL;
    }
    CT_SCOPE { return ct_escape(attend(attention, x, mask, &parameters, &options, rng)); }
    return NULL;
}

ct_tensor *ct_attention_with(ct_tensor *query, ct_tensor *key, ct_tensor *value, ct_tensor *mask,
                             ct_attention_parameters parameters, ct_attention_options options) {
    return checked(NULL, (ct_tensor *const[]){query, key, value}, mask, parameters, options,
                   ct_default_rng());
}

ct_tensor *ct_attention_from(ct_module *attention, ct_tensor *query, ct_tensor *key,
                             ct_tensor *value, ct_tensor *mask, ct_rng *rng) {
    if (!ct_module_is("attention", attention, &attention_class)) return NULL;
    ct_attention_options options = *(const ct_attention_options *)ct_module_self(attention);
    if (!ct_module_training(attention)) options.dropout = 0;
    CT_SCOPE {
        ct_module *out = ct_module_child(attention, "out_proj");
        ct_attention_parameters parameters = {
            .in_weight = ct_module_own(attention, "in_proj_weight"),
            .in_bias = ct_module_own(attention, "in_proj_bias"),
            .out_weight = ct_module_weight(out),
            .out_bias = ct_module_own(out, "bias"),
        };
        ct_tensor *const x[3] = {query, key, value};
        return ct_escape(
            checked(attention, x, mask, parameters, options, rng ? rng : ct_default_rng()));
    }
    return NULL;
}

ct_tensor *ct_attention(ct_module *attention, ct_tensor *query, ct_tensor *key, ct_tensor *value,
                        ct_tensor *mask) {
    return ct_attention_from(attention, query, key, value, mask, NULL);
}
