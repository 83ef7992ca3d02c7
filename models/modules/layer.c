/* SPDX-License-Identifier: Apache-2.0 */
/* Module kinds that treat every vector alike: linear, norms, dropout, activations. */
#include "models/modules/modules.h"

double ct_no_flops(const ct_graph_node *node, double rows, double steps) {
    (void)node, (void)rows, (void)steps;
    return 0;
}

static double few_flops(const ct_graph_node *node, double rows, double steps) {
    return 4 * rows * steps * (double)node->out;
}

const ct_option ct_no_options[] = {{NULL, 0, NULL, 0, 0, NULL}};

bool ct_same_width(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    return true;
}

/* ---- linear --------------------------------------------------------------------------------- */

enum { LINEAR_WIDTH, LINEAR_BIAS };
static const ct_option linear_options[] = {
    {"width", CT_OPTION_INTEGER, "2048", 1, 1 << 20, NULL},
    {"bias", CT_OPTION_FLAG, "yes", 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

/* Initial values: weight ~ U(-r,r), r = sqrt(6/(in+out)), bias 0. */
static bool linear_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = (int64_t)ct_number(node, LINEAR_WIDTH);
    bool bias = ct_flag(node, LINEAR_BIAS);
    if (!ct_graph_own(node, ct_linear_create(node->in, node->out, bias))) return false;
    if (!ct_init_xavier_uniform(ct_module_tensor(node->module, "weight"), 1, ct_default_rng()))
        return false;
    return !bias || ct_init_constant(ct_module_tensor(node->module, "bias"), 0);
}

static ct_tensor *linear_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)state;
    return ct_linear(node->module, x);
}

static double linear_flops(const ct_graph_node *node, double rows, double steps) {
    return 2 * rows * steps * (double)node->in * (double)node->out;
}

const ct_graph_kind ct_kind_linear = {.name = "linear",
                                      .place = CT_TAKES_PACKED,
                                      .options = linear_options,
                                      .create = linear_create,
                                      .forward = linear_forward,
                                      .flops = linear_flops};

/* ---- l2norm --------------------------------------------------------------------------------- */

enum { L2NORM_OVER, OVER_FEATURES = 0 };
static const ct_option l2norm_options[] = {
    {"over", CT_OPTION_CHOICE, NULL, 0, 0, "features|regions"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool l2norm_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    if (ct_number(node, L2NORM_OVER) == OVER_FEATURES || (node->image && !node->pooled))
        return true;
    return ct_fail_at(node->place, "over=regions is for images, before the pool") != NULL;
}

/* As the released code divides: 0/0, not 0, for a feature that is 0 in all regions. */
static ct_tensor *divided_by_norm(ct_tensor *x, int axis) {
    return ct_div(x, ct_unsqueeze(ct_norm(x, axis), axis));
}

static ct_tensor *l2norm_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)state;
    if (ct_number(node, L2NORM_OVER) != OVER_FEATURES) return ct_l2_normalize(x, 1);
    bool released = node->image && !node->pooled && !node->value[L2NORM_OVER].given &&
                    node->compat->released[CT_COMPAT_L2NORM_REGIONS];
    return released ? divided_by_norm(x, 1) : ct_l2_normalize(x, -1);
}

const ct_graph_kind ct_kind_l2norm = {.name = "l2norm",
                                      .place = CT_TAKES_PACKED,
                                      .options = l2norm_options,
                                      .create = l2norm_create,
                                      .forward = l2norm_forward,
                                      .flops = few_flops};

/* ---- batchnorm ------------------------------------------------------------------------------ */

enum { NORM_MOMENTUM, NORM_EPS };
static const ct_option batchnorm_options[] = {
    {"momentum", CT_OPTION_REAL, "0.1", 1e-9, 1, NULL},
    {"eps", CT_OPTION_REAL, "1e-5", 1e-12, 1, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool batchnorm_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    bool batch = node->image && node->pooled && node->compat->released[CT_COMPAT_BATCH_EVAL];
    ct_batch_norm_options options = {
        .momentum = ct_number(node, NORM_MOMENTUM),
        .eps = ct_number(node, NORM_EPS),
        .axis = node->pooled || node->pictures ? 1 : -1,
        .statistics = batch ? CT_BATCH_STATISTICS : CT_RUNNING_STATISTICS,
    };
    return ct_graph_own(node, ct_batch_norm_create(node->in, &options));
}

/* Statistics over the captions' words alone, of captions that are padded; zeros in the padded
 * places. */
static ct_tensor *batchnorm_words(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    if (ct_lengths_on_device(state->lengths)) {
        ct_tensor *within = ct_steps_within(state->lengths, 0, ct_dim(x, 1), x->device);
        within = ct_tensor_reshape(within, CT_SHAPE(-1, 1));
        ct_tensor *rows = ct_reshape(x, CT_SHAPE(-1, node->in));
        return ct_reshape(ct_batch_norm_masked(node->module, rows, within), x->shape);
    }
    ct_packing packing;
    if (!ct_packing_make(&packing, state->lengths, ct_dim(x, 1), x->device)) return NULL;
    return ct_unpack_steps(&packing, ct_batch_norm(node->module, ct_pack_steps(&packing, x)));
}

static ct_tensor *batchnorm_forward(const ct_graph_node *node, ct_graph_state *state,
                                    ct_tensor *x) {
    bool padded = !node->pooled && state->lengths && !ct_is_packed(node, state);
    if (padded) return batchnorm_words(node, state, x);
    return ct_batch_norm(node->module, x);
}

const ct_graph_kind ct_kind_batchnorm = {.name = "batchnorm",
                                         .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
                                         .options = batchnorm_options,
                                         .create = batchnorm_create,
                                         .forward = batchnorm_forward,
                                         .flops = few_flops};

/* ---- layernorm ------------------------------------------------------------------------------ */

enum { LAYERNORM_EPS };
static const ct_option layernorm_options[] = {
    {"eps", CT_OPTION_REAL, "1e-5", 1e-12, 1, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool layernorm_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    ct_layer_norm_options options = {.eps = ct_number(node, LAYERNORM_EPS)};
    return ct_graph_own(node, ct_layer_norm_create(node->in, &options));
}

static ct_tensor *layernorm_forward(const ct_graph_node *node, ct_graph_state *state,
                                    ct_tensor *x) {
    (void)state;
    return ct_layer_norm(node->module, x);
}

const ct_graph_kind ct_kind_layernorm = {.name = "layernorm",
                                         .place = CT_TAKES_PACKED,
                                         .options = layernorm_options,
                                         .create = layernorm_create,
                                         .forward = layernorm_forward,
                                         .flops = few_flops};

/* ---- dropout -------------------------------------------------------------------------------- */

enum { DROPOUT_P };
static const ct_option dropout_options[] = {
    {"p", CT_OPTION_REAL, "0.1", 0, 0.99, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static ct_tensor *dropout_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    if (!state->training) return x;
    double p = ct_number(node, DROPOUT_P);
    if (!ct_is_packed(node, state)) return ct_dropout_with(x, p, state->rng, node->name);
    const ct_packing *packing = &state->packing;
    ct_shape whole = CT_SHAPE(packing->batch, packing->steps, node->in);
    return ct_dropout_rows_with(x, packing->positions, whole, p, state->rng, node->name);
}

const ct_graph_kind ct_kind_dropout = {.name = "dropout",
                                       .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
                                       .options = dropout_options,
                                       .create = ct_same_width,
                                       .forward = dropout_forward,
                                       .flops = ct_no_flops};

/* ---- activations ---------------------------------------------------------------------------- */

enum { ACTIVATION_PARAMETER };
static const ct_option slope_options[] = {
    {"slope", CT_OPTION_REAL, "0.01", 0, 1, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};
static const ct_option alpha_options[] = {
    {"alpha", CT_OPTION_REAL, "1", 0, 100, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static ct_tensor *activation_forward(const ct_graph_node *node, ct_graph_state *state,
                                     ct_tensor *x) {
    (void)state;
    bool parameter = node->kind->options != ct_no_options;
    return ct_unary(node->kind->unary, x, parameter ? ct_number(node, ACTIVATION_PARAMETER) : 0, 0);
}

const ct_graph_kind ct_kind_activations[] = {
    {.name = "abs",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_abs},
    {.name = "relu",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_relu},
    {.name = "tanh",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_tanh},
    {.name = "sigmoid",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_sigmoid},
    {.name = "softplus",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_softplus},
    {.name = "gelu",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_gelu},
    {.name = "silu",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_silu},
    {.name = "relu6",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_relu6},
    {.name = "hardsigmoid",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_hardsigmoid},
    {.name = "hardswish",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = ct_no_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_hardswish},
    {.name = "elu",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = alpha_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_elu},
    {.name = "leaky_relu",
     .place = CT_FITS_PICTURES | CT_TAKES_PACKED,
     .options = slope_options,
     .create = ct_same_width,
     .forward = activation_forward,
     .flops = ct_no_flops,
     .unary = CT_UNARY_leaky_relu},
};
const int ct_kind_activation_count = sizeof ct_kind_activations / sizeof *ct_kind_activations;
