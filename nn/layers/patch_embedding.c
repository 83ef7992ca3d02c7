/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures as sequences of patches (Dosovitskiy et al. 2021). */
#include "nn/core/module.h"

static const ct_module_class patch_class = {"patch_embedding", ct_patch_embedding};

ct_module *ct_patch_embedding_create(int64_t in, int64_t width, int64_t patch) {
    ct_conv2d_options options = ct_conv2d_defaults();
    if (!ct_nn_size("patch_embedding", "patch", patch)) return NULL;
    options.stride = patch;
    ct_module *embedding = ct_module_create_as(&patch_class, &patch, sizeof patch);
    bool ok =
        embedding && ct_module_add(embedding, "proj", ct_conv2d_create(in, width, patch, &options));
    return ct_module_if(embedding, ok);
}

ct_tensor *ct_patch_embedding(ct_module *embedding, ct_tensor *x) {
    if (!ct_module_is("patch_embedding", embedding, &patch_class) ||
        !ct_nn_input("patch_embedding", "x", x, 4)) {
        return NULL;
    }
    int64_t patch = *(const int64_t *)ct_module_self(embedding);
    if (x->shape.dim[2] % patch || x->shape.dim[3] % patch) {
        return ct_fail("patch_embedding: x is %s, expected (B,C,H,W) with sides that are multiples "
                       "of %lld",
                       ct_tensor_text(x), (long long)patch);
    }
    CT_SCOPE {
        ct_tensor *y = ct_conv2d(ct_module_child(embedding, "proj"), x);
        if (!y) return NULL;
        const int64_t *dim = y->shape.dim;
        y = ct_reshape(y, CT_SHAPE(dim[0], dim[1], dim[2] * dim[3]));
        return ct_escape(ct_transpose(y, 1, 2));
    }
    return NULL;
}
