/* SPDX-License-Identifier: Apache-2.0 */
/* The residual blocks of convolutional networks (He et al. 2016). */
#include <stdio.h>

#include "nn/core/module.h"

enum { EXPANSION = 4 }; /* of a bottleneck's width on its way out */

ct_residual_block_options ct_residual_block_defaults(void) {
    return (ct_residual_block_options){.stride = 1};
}

/* ---- making ------------------------------------------------------------------------------- */

typedef struct {
    int64_t in, out, kernel, stride;
} square;

/* Without bias, keeping the size at stride 1; He et al. (2015), of what a unit gives on. */
static ct_module *make_conv(square of) {
    ct_conv2d_options options = ct_conv2d_defaults();
    options.stride = of.stride;
    options.padding = of.kernel / 2;
    options.bias = false;
    ct_module *conv = ct_conv2d_create(of.in, of.out, of.kernel, &options);
    bool ok =
        conv && ct_init_kaiming_normal_out(ct_module_tensor(conv, "weight"), 0, ct_default_rng());
    return ct_module_if(conv, ok);
}

/* Children "convN" and "bnN". */
static bool add_conv(ct_module *block, int number, square of) {
    char conv[16], norm[16];
    snprintf(conv, sizeof conv, "conv%d", number);
    snprintf(norm, sizeof norm, "bn%d", number);
    return ct_module_add(block, conv, make_conv(of)) &&
           ct_module_add(block, norm, ct_batch_norm_create(of.out, NULL));
}

static bool add_downsample(ct_module *block, square of) {
    ct_module *down = ct_module_add(block, "downsample", ct_sequential_create());
    return down && ct_module_add(down, "0", make_conv(of)) &&
           ct_module_add(down, "1", ct_batch_norm_create(of.out, NULL));
}

static bool build(ct_module *block, int64_t in, int64_t width, const ct_residual_block_options *o) {
    int64_t out = o->bottleneck ? EXPANSION * width : width;
    bool ok;
    if (o->bottleneck) {
        ok = add_conv(block, 1, (square){in, width, 1, 1}) &&
             add_conv(block, 2, (square){width, width, 3, o->stride}) &&
             add_conv(block, 3, (square){width, out, 1, 1});
    } else {
        ok = add_conv(block, 1, (square){in, width, 3, o->stride}) &&
             add_conv(block, 2, (square){width, width, 3, 1});
    }
    if (!ok || (o->stride == 1 && in == out)) return ok;
    return add_downsample(block, (square){in, out, 1, o->stride});
}

ct_module *ct_residual_block_create(int64_t in, int64_t width,
                                    const ct_residual_block_options *options) {
    ct_residual_block_options o = options ? *options : ct_residual_block_defaults();
    if (!ct_nn_size("residual_block", "in", in) || !ct_nn_size("residual_block", "width", width) ||
        !ct_nn_size("residual_block", "stride", o.stride) ||
        !ct_nn_option("residual_block", "width", (double)width,
                      !o.bottleneck || width <= INT32_MAX / EXPANSION,
                      "a quarter of 2147483647 at most, of a bottleneck")) {
        return NULL;
    }
    ct_module *block = ct_module_create("residual_block");
    if (!block || !build(block, in, width, &o)) return ct_module_if(block, false);
    ct_module_set_forward(block, ct_residual_block);
    return block;
}

/* ---- running ------------------------------------------------------------------------------ */

static ct_tensor *run_conv(ct_module *module, const char *conv, const char *norm, ct_tensor *x,
                           ct_tensor *added, ct_activation activation) {
    ct_module *first = ct_module_child(module, conv), *then = ct_module_child(module, norm);
    return ct_conv2d_norm(first, then, x, added, activation);
}

ct_tensor *ct_residual_block(ct_module *block, ct_tensor *x) {
    return ct_residual_block_with(block, x, 0, NULL, "drop_path");
}

ct_tensor *ct_residual_block_with(ct_module *block, ct_tensor *x, double p, ct_rng *rng,
                                  const char *name) {
    if (!ct_module_expect("residual_block", block, ct_residual_block)) return NULL;
    CT_SCOPE {
        ct_module *down = ct_module_child(block, "downsample");
        ct_tensor *past = down ? run_conv(down, "0", "1", x, NULL, CT_NO_ACTIVATION) : x;
        ct_tensor *y = run_conv(block, "conv1", "bn1", x, NULL, CT_RELU);
        bool bottleneck = ct_module_child(block, "conv3") != NULL;
        if (bottleneck) y = run_conv(block, "conv2", "bn2", y, NULL, CT_RELU);
        const char *conv = bottleneck ? "conv3" : "conv2", *norm = bottleneck ? "bn3" : "bn2";
        if (p == 0) return ct_escape(run_conv(block, conv, norm, y, past, CT_RELU));
        y = run_conv(block, conv, norm, y, NULL, CT_NO_ACTIVATION);
        return ct_escape(ct_relu(ct_add(past, ct_drop_path_with(y, p, rng, name))));
    }
    return NULL;
}
