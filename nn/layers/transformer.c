/* SPDX-License-Identifier: Apache-2.0 */
/* A layer of a transformer's encoder (Vaswani et al. 2017). */
#include "nn/core/module.h"
#include "nn/packed.h"

typedef struct {
    double dropout;
    bool norm_first;
} transformer_self;

static ct_tensor *forward(ct_module *layer, ct_tensor *x) {
    return ct_transformer_layer(layer, x, NULL);
}

static const ct_module_class transformer_class = {"transformer_layer", forward};

ct_transformer_layer_options ct_transformer_layer_defaults(void) {
    return (ct_transformer_layer_options){.activation = "relu", .eps = 1e-5};
}

static bool build(ct_module *layer, int64_t width, int heads, int64_t hidden,
                  const ct_transformer_layer_options *o) {
    ct_attention_options attention = {.heads = heads, .dropout = o->dropout, .causal = o->causal};
    ct_layer_norm_options norm = {.eps = o->eps};
    return layer && ct_module_add(layer, "self_attn", ct_attention_create(width, &attention)) &&
           ct_module_add(layer, "linear1", ct_linear_create(width, hidden, true)) &&
           ct_module_add(layer, "activation", ct_activation_create(o->activation)) &&
           ct_module_add(layer, "linear2", ct_linear_create(hidden, width, true)) &&
           ct_module_add(layer, "norm1", ct_layer_norm_create(width, &norm)) &&
           ct_module_add(layer, "norm2", ct_layer_norm_create(width, &norm));
}

ct_module *ct_transformer_layer_create(int64_t width, int heads, int64_t hidden,
                                       const ct_transformer_layer_options *options) {
    ct_transformer_layer_options o = options ? *options : ct_transformer_layer_defaults();
    if (!ct_nn_size("transformer_layer", "width", width) ||
        !ct_nn_size("transformer_layer", "hidden", hidden) ||
        !ct_nn_option("transformer_layer", "dropout", o.dropout, o.dropout >= 0 && o.dropout < 1,
                      "0 <= dropout < 1") ||
        !ct_check_not_negative("transformer_layer", "eps", o.eps)) {
        return NULL;
    }
    transformer_self self = {o.dropout, o.norm_first};
    ct_module *layer = ct_module_create_as(&transformer_class, &self, sizeof self);
    return ct_module_if(layer, build(layer, width, heads, hidden, &o));
}

/* What runs through a layer: (B,T,E), or, where lengths are there, packed. */
typedef struct {
    ct_tensor *mask; /* where padded */
    ct_tensor *lengths, *positions;
    int64_t steps;
    ct_rng *rng;
} sequences;

static ct_tensor *dropped(ct_module *layer, const char *name, ct_tensor *x, const sequences *s) {
    const transformer_self *self = ct_module_self(layer);
    double p = ct_module_training(layer) ? self->dropout : 0;
    if (!s->lengths || !x) return ct_dropout_with(x, p, s->rng, name);
    ct_shape whole = CT_SHAPE(ct_count(s->lengths), s->steps, x->shape.dim[1]);
    return ct_dropout_rows_with(x, s->positions, whole, p, s->rng, name);
}

static ct_tensor *attended(ct_module *layer, ct_tensor *x, const sequences *s) {
    ct_module *attention = ct_module_child(layer, "self_attn");
    ct_tensor *y = s->lengths ? ct_attention_packed(attention, x, s->lengths, s->steps, s->rng)
                              : ct_attention_from(attention, x, x, x, s->mask, s->rng);
    return dropped(layer, "attention_dropout", y, s);
}

static ct_tensor *mlp(ct_module *layer, ct_tensor *x, const sequences *s) {
    ct_tensor *hidden = ct_forward(ct_module_child(layer, "activation"),
                                   ct_linear(ct_module_child(layer, "linear1"), x));
    hidden = dropped(layer, "hidden_dropout", hidden, s);
    ct_tensor *y = ct_linear(ct_module_child(layer, "linear2"), hidden);
    return dropped(layer, "mlp_dropout", y, s);
}

static ct_tensor *run(ct_module *layer, ct_tensor *x, const sequences *s) {
    const transformer_self *self = ct_module_self(layer);
    ct_module *norm1 = ct_module_child(layer, "norm1"), *norm2 = ct_module_child(layer, "norm2");
    if (self->norm_first) {
        x = ct_add(x, attended(layer, ct_layer_norm(norm1, x), s));
        return ct_add(x, mlp(layer, ct_layer_norm(norm2, x), s));
    }
    x = ct_layer_norm(norm1, ct_add(x, attended(layer, x, s)));
    return ct_layer_norm(norm2, ct_add(x, mlp(layer, x, s)));
}

ct_tensor *ct_transformer_layer_from(ct_module *layer, ct_tensor *x, ct_tensor *mask, ct_rng *rng) {
    if (!ct_module_is("transformer_layer", layer, &transformer_class)) return NULL;
    sequences s = {.mask = mask, .rng = rng ? rng : ct_default_rng()};
    CT_SCOPE { return ct_escape(run(layer, x, &s)); }
    return NULL;
}

ct_tensor *ct_transformer_layer(ct_module *layer, ct_tensor *x, ct_tensor *mask) {
    return ct_transformer_layer_from(layer, x, mask, NULL);
}

ct_tensor *ct_transformer_layer_packed(ct_module *layer, ct_tensor *x, ct_tensor *lengths,
                                       int64_t steps, ct_rng *rng) {
    if (!ct_module_is("transformer_layer_packed", layer, &transformer_class) ||
        !ct_nn_input("transformer_layer_packed", "x", x, 2)) {
        return NULL;
    }
    CT_SCOPE {
        sequences s = {.lengths = lengths,
                       .positions = ct_packed_positions(lengths, steps, x->device),
                       .steps = steps,
                       .rng = rng ? rng : ct_default_rng()};
        return s.positions ? ct_escape(run(layer, x, &s)) : NULL;
    }
    return NULL;
}
