/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a sequence a vector stands: learned, or by sines. */
#include <math.h>

#include "nn/core/module.h"
#include "nn/packed.h"

static const ct_module_class position_embedding_class = {"position_embedding",
                                                         ct_position_embedding};

ct_module *ct_position_embedding_create(int64_t steps, int64_t width) {
    if (!ct_nn_size("position_embedding", "steps", steps) ||
        !ct_nn_size("position_embedding", "width", width)) {
        return NULL;
    }
    ct_module *positions = ct_module_create_as(&position_embedding_class, NULL, 0);
    bool ok = positions && ct_module_constant(positions, "weight", CT_SHAPE(steps, width), 0) &&
              ct_init_normal(ct_module_own(positions, "weight"), 0, 0.02, ct_default_rng());
    return ct_module_if(positions, ok);
}

ct_tensor *ct_position_embedding(ct_module *positions, ct_tensor *x) {
    if (!ct_module_is("position_embedding", positions, &position_embedding_class) ||
        !ct_nn_input("position_embedding", "x", x, 3)) {
        return NULL;
    }
    ct_tensor *weight = ct_module_own(positions, "weight");
    int64_t steps = x->shape.dim[1], width = weight->shape.dim[1];
    if (steps > weight->shape.dim[0] || x->shape.dim[2] != width) {
        return ct_fail("position_embedding: x is %s, expected (B,T,%lld) with at most %lld steps",
                       ct_tensor_text(x), (long long)width, (long long)weight->shape.dim[0]);
    }
    CT_SCOPE { return ct_escape(ct_add(x, ct_slice(weight, 0, 0, steps, 1))); }
    return NULL;
}

ct_tensor *ct_position_embedding_packed(ct_module *positions, ct_tensor *x, ct_tensor *lengths) {
    static const char op[] = "position_embedding_packed";
    if (!ct_module_is(op, positions, &position_embedding_class) || !ct_nn_input(op, "x", x, 2)) {
        return NULL;
    }
    CT_SCOPE {
        ct_tensor *weight = ct_module_own(positions, "weight");
        ct_tensor *step = ct_packed_steps(lengths, x->device);
        if (!step) return NULL;
        if (x->shape.dim[0] != ct_count(step) || x->shape.dim[1] != weight->shape.dim[1]) {
            return ct_fail("%s: x is %s, expected (%lld,%lld)", op, ct_tensor_text(x),
                           (long long)ct_count(step), (long long)weight->shape.dim[1]);
        }
        return ct_escape(ct_add(x, ct_index_select(weight, 0, step)));
    }
    return NULL;
}

/* In f64, as steps times frequencies have more digits than f32 holds. */
static ct_tensor *sinusoids(ct_device device, int64_t steps, int64_t width) {
    int64_t pairs = width / 2 + width % 2;
    ct_tensor *t = ct_tensor_unsqueeze(ct_arange(CT_F64, device, steps), 1);
    ct_tensor *i = ct_arange(CT_F64, device, pairs);
    ct_tensor *frequency =
        ct_tensor_unary(CT_UNARY_exp, ct_tensor_scale(i, -2 * log(10000) / (double)width), 0, 0);
    ct_tensor *angle = ct_tensor_mul(t, frequency);
    ct_tensor *both[] = {
        ct_tensor_unsqueeze(ct_tensor_unary(CT_UNARY_sin, angle, 0, 0), 2),
        ct_tensor_unsqueeze(ct_tensor_unary(CT_UNARY_cos, angle, 0, 0), 2),
    };
    ct_tensor *y = ct_tensor_reshape(ct_tensor_concat(both, 2, 2), CT_SHAPE(steps, 2 * pairs));
    return ct_tensor_slice(y, 1, 0, width, 1);
}

ct_tensor *ct_sinusoidal_positions(ct_dtype dtype, ct_device device, int64_t steps, int64_t width) {
    static const char op[] = "sinusoidal_positions";
    if (!ct_nn_size(op, "steps", steps) || !ct_nn_size(op, "width", width)) return NULL;
    if (dtype != CT_F32 && dtype != CT_F64) {
        return ct_fail("%s: dtype is %s, expected f32 or f64", op, ct_dtype_name(dtype));
    }
    CT_SCOPE {
        return ct_escape(
            ct_tensor_contiguous(ct_tensor_cast(sinusoids(device, steps, width), dtype)));
    }
    return NULL;
}
