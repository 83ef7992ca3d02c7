/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling of pictures as modules. */
#include "nn/core/module.h"

static bool check_kernel(const char *op, int64_t kernel, int64_t stride, int64_t dilation,
                         int64_t padding) {
    return ct_nn_size(op, "kernel", kernel) && ct_nn_size(op, "stride", stride) &&
           ct_nn_size(op, "dilation", dilation) &&
           ct_nn_option(op, "padding", (double)padding,
                        padding >= 0 && padding <= (dilation * (kernel - 1) + 1) / 2,
                        "0 to half of what the kernel spans");
}

/* ---- maximum ---------------------------------------------------------------------------- */

static ct_tensor *max_forward(ct_module *pool, ct_tensor *x) {
    return ct_max_pool2d(x, *(const ct_tensor_max_pool2d_options *)ct_module_self(pool));
}

static const ct_module_class max_pool2d_class = {"max_pool2d", max_forward};

ct_max_pool2d_options ct_max_pool2d_defaults(void) {
    return (ct_max_pool2d_options){.dilation = 1};
}

ct_module *ct_max_pool2d_create(int64_t kernel, int64_t stride,
                                const ct_max_pool2d_options *options) {
    ct_max_pool2d_options o = options ? *options : ct_max_pool2d_defaults();
    if (!check_kernel("max_pool2d", kernel, stride, o.dilation, o.padding)) return NULL;
    ct_tensor_max_pool2d_options self = {kernel, stride, o.padding, o.dilation, o.ceil_mode};
    return ct_module_create_as(&max_pool2d_class, &self, sizeof self);
}

/* ---- mean ------------------------------------------------------------------------------- */

static ct_tensor *avg_forward(ct_module *pool, ct_tensor *x) {
    return ct_avg_pool2d(x, *(const ct_tensor_avg_pool2d_options *)ct_module_self(pool));
}

static const ct_module_class avg_pool2d_class = {"avg_pool2d", avg_forward};

ct_avg_pool2d_options ct_avg_pool2d_defaults(void) {
    return (ct_avg_pool2d_options){.count_include_pad = true};
}

ct_module *ct_avg_pool2d_create(int64_t kernel, int64_t stride,
                                const ct_avg_pool2d_options *options) {
    ct_avg_pool2d_options o = options ? *options : ct_avg_pool2d_defaults();
    if (!check_kernel("avg_pool2d", kernel, stride, 1, o.padding)) return NULL;
    ct_tensor_avg_pool2d_options self = {kernel, stride, o.padding, o.ceil_mode,
                                         o.count_include_pad};
    return ct_module_create_as(&avg_pool2d_class, &self, sizeof self);
}

typedef struct {
    int64_t rows, columns;
} adaptive_self;

static ct_tensor *adaptive_forward(ct_module *pool, ct_tensor *x) {
    const adaptive_self *self = ct_module_self(pool);
    return ct_adaptive_avg_pool2d(x, self->rows, self->columns);
}

static const ct_module_class adaptive_class = {"adaptive_avg_pool2d", adaptive_forward};

ct_module *ct_adaptive_avg_pool2d_create(int64_t rows, int64_t columns) {
    if (!ct_nn_size("adaptive_avg_pool2d", "rows", rows) ||
        !ct_nn_size("adaptive_avg_pool2d", "columns", columns)) {
        return NULL;
    }
    adaptive_self self = {rows, columns};
    return ct_module_create_as(&adaptive_class, &self, sizeof self);
}
