/* SPDX-License-Identifier: Apache-2.0 */
/* Module kinds that work on pictures (B,C,H,W): what [image] begins with, convolutions and pools,
 * and what makes regions of them. */
#include <string.h>

#include "models/backbones.h"
#include "models/modules/modules.h"
#include "tensor/core/check.h"

/* ---- pictures: values of 0 to 1 to normalised ones ------------------------------------------- */

enum { PICTURES_SIZE, PICTURES_FIT, PICTURES_RESIZE, PICTURES_FILTER, PICTURES_MEAN, PICTURES_STD };
static const ct_option pictures_options[] = {
    {"size", CT_OPTION_INTEGER, "224", 8, 2048, NULL},
    {"fit", CT_OPTION_CHOICE, "crop", 0, 0, "crop|stretch|pad"},
    {"resize", CT_OPTION_INTEGER, NULL, 8, 4096, NULL},
    {"filter", CT_OPTION_CHOICE, "bilinear", 0, 0, "bilinear|bicubic"},
    {"mean", CT_OPTION_TRIPLE, "0.485,0.456,0.406", 0, 1, NULL},
    {"std", CT_OPTION_TRIPLE, "0.229,0.224,0.225", 1e-3, 10, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

/* As torchvision's weights are evaluated: 224 are cut out of 256. */
static int64_t resize_of(const ct_option_value *value) {
    const ct_option_value *resize = &value[PICTURES_RESIZE];
    int64_t size = (int64_t)value[PICTURES_SIZE].number;
    return resize->given ? (int64_t)resize->number : (size * 256 + 112) / 224;
}

static bool check_resize(ct_place place, const ct_option_value *value) {
    int64_t size = (int64_t)value[PICTURES_SIZE].number, resize = resize_of(value);
    bool crops = (int)value[PICTURES_FIT].number == CT_FIT_CROP;
    if (!crops && value[PICTURES_RESIZE].given)
        return ct_fail_at(place, "'resize' is of fit=crop: the size before its cut") != NULL;
    if (resize >= size) return true;
    return ct_fail_at(place, "resize is %lld, expected at least the size, %lld", (long long)resize,
                      (long long)size) != NULL;
}

/* (3,1,1) */
static bool add_colours(ct_module *module, const char *name, const double *triple) {
    ct_tensor *colours = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(3, 1, 1), triple);
    return ct_module_buffer(module, name, colours);
}

static bool pictures_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = 3;
    node->out_side = (int64_t)ct_number(node, PICTURES_SIZE);
    if (!check_resize(node->place, node->value) ||
        !ct_graph_own(node, ct_module_create("pictures")))
        return false;
    bool added = false;
    CT_SCOPE {
        added = add_colours(node->module, "mean", node->value[PICTURES_MEAN].triple) &&
                add_colours(node->module, "std", node->value[PICTURES_STD].triple);
    }
    return added;
}

/* x (B,3,size*size) */
static ct_tensor *pictures_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)state;
    ct_tensor *y = ct_reshape(x, CT_SHAPE(ct_dim(x, 0), 3, node->out_side, node->out_side));
    y = ct_sub(y, ct_module_tensor(node->module, "mean"));
    return ct_div(y, ct_module_tensor(node->module, "std"));
}

const ct_graph_kind ct_kind_pictures = {.name = "pictures",
                                        .place =
                                            CT_IMAGE_ONLY | CT_GIVES_PICTURES | CT_NEEDS_SEQUENCE,
                                        .options = pictures_options,
                                        .create = pictures_create,
                                        .forward = pictures_forward,
                                        .flops = ct_no_flops};

bool ct_description_pictures(const ct_description *description, ct_picture_form *form) {
    bool found = false;
    if (!ct_description_check(description) || !ct_check_pointer("model", "the form", form))
        return false;
    int first = 0;
    while (first < description->count && strcmp(description->entries[first].section, "image") != 0)
        first++;
    if (first == description->count) return false;
    ct_spec spec;
    ct_option_value value[CT_MAX_OPTIONS];
    if (ct_spec_parse(&spec, description, first) &&
        !strcmp(spec.part[0].module, ct_kind_pictures.name))
        found = ct_options_read(spec.place, &spec.part[0], pictures_options, value) &&
                check_resize(spec.place, value);
    if (found)
        *form = (ct_picture_form){.size = (int64_t)value[PICTURES_SIZE].number,
                                  .resize = resize_of(value),
                                  .fit = (ct_picture_fitting)value[PICTURES_FIT].number,
                                  .bicubic = value[PICTURES_FILTER].number != 0};
    for (int i = 0; found && i < 3; i++) form->mean[i] = value[PICTURES_MEAN].triple[i];
    ct_spec_free(&spec);
    return found;
}

/* ---- conv2d ---------------------------------------------------------------------------------- */

enum { CONV_WIDTH, CONV_KERNEL, CONV_STRIDE, CONV_PADDING, CONV_DILATION, CONV_GROUPS, CONV_BIAS };
static const ct_option conv2d_options[] = {
    {"width", CT_OPTION_INTEGER, NULL, 1, 1 << 16, NULL},
    {"kernel", CT_OPTION_INTEGER, "3", 1, 64, NULL},
    {"stride", CT_OPTION_INTEGER, "1", 1, 64, NULL},
    {"padding", CT_OPTION_INTEGER, NULL, 0, 64, NULL},
    {"dilation", CT_OPTION_INTEGER, "1", 1, 64, NULL},
    {"groups", CT_OPTION_INTEGER, "1", 1, 1 << 16, NULL},
    {"bias", CT_OPTION_FLAG, "yes", 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

/* Places of a window along a side, or an error. */
static bool set_out_side(ct_graph_node *node, int64_t kernel, int64_t stride, int64_t padding,
                         int64_t dilation) {
    int64_t reach = dilation * (kernel - 1) + 1, room = node->side + 2 * padding;
    if (room < reach)
        return ct_fail_at(node->place,
                          "a window of %lld does not fit in pictures of %lld, padded by %lld",
                          (long long)reach, (long long)node->side, (long long)padding) != NULL;
    node->out_side = (room - reach) / stride + 1;
    return true;
}

static bool conv2d_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    int64_t kernel = (int64_t)ct_number(node, CONV_KERNEL);
    ct_conv2d_options options = ct_conv2d_defaults();
    options.stride = (int64_t)ct_number(node, CONV_STRIDE);
    options.dilation = (int64_t)ct_number(node, CONV_DILATION);
    options.padding = ct_number_or(node, CONV_PADDING, options.dilation * (kernel - 1) / 2);
    options.groups = (int64_t)ct_number(node, CONV_GROUPS);
    options.bias = ct_flag(node, CONV_BIAS);
    node->out = ct_number_or(node, CONV_WIDTH, node->in);
    if (node->in % options.groups || node->out % options.groups)
        return ct_fail_at(node->place, "%lld groups do not divide %lld and %lld channels",
                          (long long)options.groups, (long long)node->in,
                          (long long)node->out) != NULL;
    return set_out_side(node, kernel, options.stride, options.padding, options.dilation) &&
           ct_graph_own(node, ct_conv2d_create(node->in, node->out, kernel, &options));
}

static ct_tensor *conv2d_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)state;
    return ct_conv2d(node->module, x);
}

static double conv2d_flops(const ct_graph_node *node, double rows, double steps) {
    double kernel = ct_number(node, CONV_KERNEL), groups = ct_number(node, CONV_GROUPS);
    return 2 * rows * steps * (double)node->in / groups * kernel * kernel * (double)node->out;
}

const ct_graph_kind ct_kind_conv2d = {.name = "conv2d",
                                      .place = CT_IMAGE_ONLY | CT_NEEDS_PICTURES,
                                      .options = conv2d_options,
                                      .create = conv2d_create,
                                      .forward = conv2d_forward,
                                      .flops = conv2d_flops};

/* ---- residual: a basic block ------------------------------------------------------------- */

enum { RESIDUAL_WIDTH, RESIDUAL_STRIDE };
static const ct_option residual_options[] = {
    {"width", CT_OPTION_INTEGER, NULL, 1, 1 << 16, NULL},
    {"stride", CT_OPTION_INTEGER, "1", 1, 64, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool residual_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    ct_residual_block_options options = ct_residual_block_defaults();
    options.stride = (int64_t)ct_number(node, RESIDUAL_STRIDE);
    node->out = ct_number_or(node, RESIDUAL_WIDTH, node->in);
    return set_out_side(node, 3, options.stride, 1, 1) &&
           ct_graph_own(node, ct_residual_block_create(node->in, node->out, &options));
}

static ct_tensor *residual_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)state;
    return ct_residual_block(node->module, x);
}

static double residual_flops(const ct_graph_node *node, double rows, double steps) {
    double in = (double)node->in, out = (double)node->out;
    bool down = node->in != node->out || node->side != node->out_side;
    return 2 * rows * steps * out * (9 * in + 9 * out + (down ? in : 0));
}

const ct_graph_kind ct_kind_residual = {.name = "residual",
                                        .place = CT_IMAGE_ONLY | CT_NEEDS_PICTURES,
                                        .options = residual_options,
                                        .create = residual_create,
                                        .forward = residual_forward,
                                        .flops = residual_flops};

/* ---- pools ----------------------------------------------------------------------------------- */

enum { POOL_KERNEL, POOL_STRIDE, POOL_PADDING };
static const ct_option pool2d_options[] = {
    {"kernel", CT_OPTION_INTEGER, "2", 1, 64, NULL},
    {"stride", CT_OPTION_INTEGER, NULL, 1, 64, NULL},
    {"padding", CT_OPTION_INTEGER, "0", 0, 32, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static int64_t pool_stride(const ct_graph_node *node) {
    return ct_number_or(node, POOL_STRIDE, (int64_t)ct_number(node, POOL_KERNEL));
}

static bool pool2d_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    int64_t kernel = (int64_t)ct_number(node, POOL_KERNEL);
    int64_t padding = (int64_t)ct_number(node, POOL_PADDING);
    node->out = node->in;
    if (2 * padding > kernel)
        return ct_fail_at(node->place, "padding is %lld, expected at most half of the kernel, %lld",
                          (long long)padding, (long long)kernel) != NULL;
    return set_out_side(node, kernel, pool_stride(node), padding, 1);
}

static ct_tensor *maxpool2d_forward(const ct_graph_node *node, ct_graph_state *state,
                                    ct_tensor *x) {
    (void)state;
    ct_tensor_max_pool2d_options options = {.kernel = (int64_t)ct_number(node, POOL_KERNEL),
                                            .stride = pool_stride(node),
                                            .padding = (int64_t)ct_number(node, POOL_PADDING),
                                            .dilation = 1};
    return ct_max_pool2d(x, options);
}

static ct_tensor *avgpool2d_forward(const ct_graph_node *node, ct_graph_state *state,
                                    ct_tensor *x) {
    (void)state;
    ct_tensor_avg_pool2d_options options = {.kernel = (int64_t)ct_number(node, POOL_KERNEL),
                                            .stride = pool_stride(node),
                                            .padding = (int64_t)ct_number(node, POOL_PADDING),
                                            .count_include_pad = true};
    return ct_avg_pool2d(x, options);
}

const ct_graph_kind ct_kind_maxpool2d = {.name = "maxpool2d",
                                         .place = CT_IMAGE_ONLY | CT_NEEDS_PICTURES,
                                         .options = pool2d_options,
                                         .create = pool2d_create,
                                         .forward = maxpool2d_forward,
                                         .flops = ct_no_flops};
const ct_graph_kind ct_kind_avgpool2d = {.name = "avgpool2d",
                                         .place = CT_IMAGE_ONLY | CT_NEEDS_PICTURES,
                                         .options = pool2d_options,
                                         .create = pool2d_create,
                                         .forward = avgpool2d_forward,
                                         .flops = ct_no_flops};

/* ---- regions: every place is one --------------------------------------------------------- */

static ct_tensor *regions_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)node, (void)state;
    return ct_map_regions(x);
}

const ct_graph_kind ct_kind_regions = {.name = "regions",
                                       .place =
                                           CT_IMAGE_ONLY | CT_NEEDS_PICTURES | CT_GIVES_REGIONS,
                                       .options = ct_no_options,
                                       .create = ct_same_width,
                                       .forward = regions_forward,
                                       .flops = ct_no_flops};
