/* SPDX-License-Identifier: Apache-2.0 */
/* What networks for pictures are made of. */
#include "models/backbones/backbone.h"

bool ct_backbone_draw_conv(ct_module *conv) {
    return ct_init_kaiming_normal_out(ct_module_tensor(conv, "weight"), 0, ct_default_rng());
}

ct_module *ct_backbone_conv_create(ct_backbone_conv shape) {
    ct_conv2d_options options = ct_conv2d_defaults();
    options.stride = shape.stride;
    options.padding = shape.padding;
    options.groups = shape.groups;
    options.bias = false;
    ct_module *conv = ct_conv2d_create(shape.in, shape.out, shape.kernel, &options);
    if (!conv || ct_backbone_draw_conv(conv)) return conv;
    ct_module_destroy(conv);
    return NULL;
}

ct_tensor *ct_backbone_conv_norm(ct_module *module, const char *conv, const char *norm,
                                 ct_tensor *x, ct_tensor *added, ct_activation activation) {
    ct_module *first = ct_module_child(module, conv), *then = ct_module_child(module, norm);
    return ct_conv2d_norm(first, then, x, added, activation);
}

/* (B,F,h,w) -> (B,F,h*w) */
static ct_tensor *flat(ct_tensor *map) {
    if (!map) return NULL;
    const int64_t *dim = map->shape.dim;
    return ct_reshape(map, CT_SHAPE(dim[0], dim[1], dim[2] * dim[3]));
}

ct_tensor *ct_map_regions(ct_tensor *map) {
    if (!map) return ct_ok() ? ct_fail("map_regions: the map is NULL") : NULL;
    if (map->shape.ndim != 4) {
        return ct_fail("map_regions: the map is %s, expected (B,F,h,w)", ct_tensor_text(map));
    }
    CT_SCOPE { return ct_escape(ct_contiguous(ct_transpose(flat(map), 1, 2))); }
    return NULL;
}

ct_tensor *ct_backbone_map_mean(ct_tensor *map) { return ct_mean(flat(map), 2); }

ct_tensor *ct_backbone_drop(const ct_backbone_step *step, ct_tensor *y) {
    return ct_drop_path_with(y, step->drop, step->rng, CT_BACKBONE_DRAW);
}
