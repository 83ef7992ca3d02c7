/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding: a table of vectors. */
#include "nn/core/module.h"

typedef struct {
    int64_t padding; /* -1: none */
} embedding_self;

static const ct_module_class embedding_class = {"embedding", ct_embedding};

ct_module *ct_embedding_create(int64_t count, int64_t width) {
    if (!ct_nn_size("embedding", "count", count) || !ct_nn_size("embedding", "width", width)) {
        return NULL;
    }
    embedding_self self = {.padding = -1};
    ct_module *embedding = ct_module_create_as(&embedding_class, &self, sizeof self);
    bool ok = embedding && ct_module_normal(embedding, "weight", CT_SHAPE(count, width));
    return ct_module_if(embedding, ok);
}

void ct_embedding_set_padding(ct_module *embedding, int64_t padding) {
    if (!ct_module_is("embedding_set_padding", embedding, &embedding_class)) return;
    ct_tensor *weight = ct_module_own(embedding, "weight");
    if (padding < 0 || padding >= weight->shape.dim[0]) {
        ct_fail("embedding_set_padding: row %lld of weight %s", (long long)padding,
                ct_tensor_text(weight));
        return;
    }
    embedding_self *self = ct_module_self(embedding);
    self->padding = padding;
    CT_SCOPE {
        ct_tensor *row = ct_tensor_slice(weight, 0, padding, padding + 1, 1);
        if (row) ct_tensor_fill(row, 0);
    }
}

ct_tensor *ct_embedding(ct_module *embedding, ct_tensor *index) {
    if (!ct_module_is("embedding", embedding, &embedding_class)) return NULL;
    const embedding_self *self = ct_module_self(embedding);
    return ct_embedding_with(ct_module_own(embedding, "weight"), index, self->padding);
}
