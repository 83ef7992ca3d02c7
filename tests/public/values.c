/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/public/values.h"

#include <stdint.h>
#include <string.h>

#define COUNT_OF(array) (int)(sizeof(array) / sizeof *(array))

/* Value i of a list. */
#define LIST(key, type, ...)                                                      \
    type value_##key(int i) {                                                     \
        static type const values[] = {__VA_ARGS__};                               \
        _Static_assert(sizeof values / sizeof *values == ALL_##key, "ALL_" #key); \
        return values[i];                                                         \
    }

/* ---- numbers, text ------------------------------------------------------------------------ */

LIST(flag, bool, false, true)
LIST(integer, int, 1, 0, 2, -1, 3, 8, 99, INT_MAX, INT_MIN)
LIST(count, int, 2, 1, 0, -1, INT_MIN)
LIST(long_integer, int64_t, 1, 2, 3, 0, -1, 7, INT64_C(1) << 50, INT64_MAX, INT64_MIN)
LIST(long_count, int64_t, 2, 1, 0, -1, INT64_MIN)
LIST(size, size_t, 16, 1, 0, (size_t)1 << 50, SIZE_MAX)
LIST(bytes, size_t, 16, 1, 0)
LIST(mask, uint32_t, 1, CT_ALL_AXES, 0, 2, 0x80000000u)
LIST(place, unsigned, 0, 1, 2, 99, UINT_MAX)
LIST(seed, uint64_t, 1, 2, 0, UINT64_MAX)
LIST(real, double, 0.5, 1, 0, -1, 1e-310, 1e308, -1e308, INFINITY, -INFINITY, NAN)
LIST(ct_device, ct_device, CT_CPU, CT_CUDA, (ct_device)-1, (ct_device)99, (ct_device)INT_MAX,
     (ct_device)INT_MIN)
LIST(path, const char *, "t.npy", "t.safetensors", "new.bin", NULL, "", "missing/new.bin", ".")

const char *value_text(int i) {
    static char long_text[5000];
    memset(long_text, 'x', sizeof long_text - 1);
    const char *const texts[ALL_text] = {"weight", "f32",  "relu",     NULL,     "",
                                         "a.b",    "%s%n", "\xff\xc0", long_text};
    return texts[i];
}

const int *value_order(int i) {
    static const int orders[][CT_MAX_DIMS] = {{1, 0, 2, 3, 4, 5, 6, 7},
                                              {0, 1, 2, 3, 4, 5, 6, 7},
                                              {0},
                                              {99, -99, INT_MAX, INT_MIN, 1, 1, 1, 1}};
    return i < COUNT_OF(orders) ? orders[i] : NULL;
}

/* ---- memory, files ------------------------------------------------------------------------ */

/* Large enough for every tensor here, and zero: counts in it are none, texts empty. */
void *value_space(int i) { return i == 0 ? calloc(1, 1 << 16) : NULL; }
void *value_allocated(int i) { return i == 0 ? ct_host_allocate(CT_CPU, 64) : NULL; }
FILE *value_file(int i) { return i == 0 ? tmpfile() : NULL; }

ct_npy_writer *value_writer(int i) {
    return i == 0 ? ct_npy_create("w.npy", CT_F32, CT_SHAPE(2, 2)) : NULL;
}

ct_safetensors *value_safetensors(int i) {
    if (i > 0) return NULL;
    ct_named_tensor named = base_ct_named_tensor();
    ct_safetensors_save("t.safetensors", &named, 1, NULL);
    return ct_safetensors_open("t.safetensors");
}

/* ---- tensors ------------------------------------------------------------------------------ */

ct_shape value_shape(int i) {
    const ct_shape shapes[ALL_shape] = {
        CT_SHAPE(2, 3),         CT_SHAPE(3),
        CT_SHAPE(2, 3, 3),      CT_SCALAR_SHAPE,
        CT_SHAPE(0, 3),         CT_SHAPE(-1, 3),
        CT_SHAPE(2, -3),        CT_SHAPE(INT64_MAX),
        CT_SHAPE(INT64_MIN, 2), CT_SHAPE(INT64_C(1) << 40, INT64_C(1) << 40),
        {.ndim = -1},           {.ndim = 9},
        {.ndim = INT_MAX},
    };
    return shapes[i];
}

static ct_tensor *reals(ct_dtype dtype, ct_shape shape) {
    ct_rng rng = ct_rng_create(7, 0);
    return ct_random_uniform(&rng, "values", dtype, CT_CPU, shape);
}

static ct_tensor *leaf(ct_shape shape) { return ct_require_grad(reals(CT_F32, shape)); }

static ct_tensor *cast_to(ct_dtype dtype, ct_shape shape) {
    return ct_tensor_cast(ct_tensor_scale(reals(CT_F32, shape), 2.99), dtype);
}

ct_tensor *value_tensor(int i) {
    switch (i) {
    case 0: return leaf(CT_SHAPE(3, 3));
    case 1: return reals(CT_F32, CT_SHAPE(3, 3));
    case 2: return leaf(CT_SHAPE(2, 3, 3));
    case 3: return leaf(CT_SHAPE(3));
    case 4: return cast_to(CT_I64, CT_SHAPE(3));
    case 5: return cast_to(CT_I64, CT_SHAPE(3, 3));
    case 6: return ct_require_grad(reals(CT_F64, CT_SHAPE(3, 3)));
    case 7: return leaf(CT_SCALAR_SHAPE);
    case 8: return cast_to(CT_U8, CT_SHAPE(3, 3));
    case 9: return leaf(CT_SHAPE(0, 3));
    case 10: return ct_tensor_transpose(reals(CT_F32, CT_SHAPE(3, 2)), 0, 1);
    case 11: return cast_to(CT_BF16, CT_SHAPE(3, 3));
    case 12: return ct_tensor_expand(reals(CT_F32, CT_SHAPE(1, 3)), CT_SHAPE(3, 3));
    case 13: return leaf(CT_SHAPE(9, 3));
    case 14: return ct_relu(leaf(CT_SHAPE(3, 3)));
    case 15: return leaf(CT_SHAPE(1, 1, 2, 1, 1, 1, 2, 1));
    default: return NULL;
    }
}

ct_tensor *value_owned(int i) { return ct_keep(value_tensor(i)); }

ct_tensor *const *value_tensors(int i) {
    ct_tensor **tensors = calloc(4, sizeof *tensors);
    if (i == 4) return NULL;
    for (int k = 0; k < 4; k++) tensors[k] = value_tensor(i == 1 ? 2 : i == 2 ? 7 : 0);
    if (i == 3) tensors[0] = tensors[1] = NULL;
    return tensors;
}

ct_tensor **value_outputs(int i) { return i == 0 ? calloc(8, sizeof(ct_tensor *)) : NULL; }
ct_scope *value_scope(int i) { return i == 0 ? ct_scope_open() : NULL; }

ct_rng *value_rng(int i) {
    if (i == 0) return ct_default_rng();
    if (i == 2) return NULL;
    ct_rng *rng = calloc(1, sizeof *rng);
    *rng = ct_rng_create(1, 2);
    return rng;
}

/* Nothing records on the CPU, and a sampler is there only while an operation's samples are asked
 * for: that the functions are safe without them is all that is tried. */
ct_capture *value_capture(int i) { return (void)i, NULL; }
ct_sampler *value_sampler(int i) { return (void)i, NULL; }

ct_upload *value_upload(int i) { return i == 0 ? ct_upload_create(CT_CPU) : NULL; }

/* ---- operations --------------------------------------------------------------------------- */

static bool pass_gradient(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
    (void)node;
    gx[0] = g[0];
    return true;
}

ct_op base_ct_op(void) { return (ct_op){"public_test", pass_gradient, NULL}; }

ct_node *value_node(int i) {
    static const ct_op op = {"public_test_node", pass_gradient, NULL};
    ct_tensor *x = leaf(CT_SHAPE(2)), *y = ct_tensor_copy(x);
    return i == 0 ? ct_record(&op, 1, &x, 1, &y) : NULL;
}

static int sampled(ct_tensor *const *inputs, const void *options, ct_tensor **outputs) {
    (void)options;
    outputs[0] = ct_square(inputs[0]);
    return outputs[0] ? 1 : 0;
}
static int sampled_badly(ct_tensor *const *inputs, const void *options, ct_tensor **outputs) {
    (void)inputs, (void)options, (void)outputs;
    return 99;
}
LIST(sample_function, ct_sample_function, sampled, sampled_badly, NULL)

ct_sample base_ct_sample(void) {
    return (ct_sample){.name = "sample",
                       .function = sampled,
                       .inputs = 1,
                       .input = {{CT_SAMPLE_REAL, CT_SHAPE(2), 0.5, 1}}};
}

static ct_tensor *checkpointed(void *context, ct_tensor *const *inputs, int count) {
    (void)context;
    return count > 0 ? ct_square(inputs[0]) : ct_scalar(CT_F32, CT_CPU, 1);
}
static ct_tensor *gives_nothing(void *context, ct_tensor *const *inputs, int count) {
    (void)context, (void)inputs, (void)count;
    return NULL;
}
LIST(checkpointed, ct_checkpoint_function, checkpointed, gives_nothing, NULL)

static bool checkpointed_parts(void *context, ct_tensor *const *input, int inputs,
                               ct_tensor **output) {
    return (output[0] = checkpointed(context, input, inputs)) != NULL;
}
static bool fails(void *context, ct_tensor *const *input, int inputs, ct_tensor **output) {
    (void)context, (void)input, (void)inputs, (void)output;
    return false;
}
LIST(checkpoint_parts, ct_checkpoint_parts, checkpointed_parts, fails, NULL)

/* ---- structs of tensor/ ------------------------------------------------------------------- */

ct_recurrent_inputs base_ct_recurrent_inputs(void) {
    return (ct_recurrent_inputs){.x = reals(CT_F32, CT_SHAPE(2, 3, 3)),
                                 .w_ih = reals(CT_F32, CT_SHAPE(9, 3)),
                                 .w_hh = reals(CT_F32, CT_SHAPE(9, 3))};
}

ct_tensor_conv1d_options base_ct_tensor_conv1d_options(void) {
    return (ct_tensor_conv1d_options){1, 1, 1, 1};
}

ct_clip base_ct_clip(void) { return (ct_clip){.times = 1}; }
ct_policy_options base_ct_policy_options(void) { return (ct_policy_options){1, 1, false}; }

ct_policy_noise base_ct_policy_noise(void) {
    return (ct_policy_noise){.choice = reals(CT_F32, CT_SHAPE(2, 3)),
                             .normal = reals(CT_F32, CT_SHAPE(2, 3))};
}

ct_named_tensor base_ct_named_tensor(void) {
    return (ct_named_tensor){"weight", reals(CT_F32, CT_SHAPE(3, 3))};
}

ct_upload_item base_ct_upload_item(void) {
    return (ct_upload_item){ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2)), calloc(1, 1 << 16)};
}

/* ---- modules ------------------------------------------------------------------------------ */

static ct_tensor *doubled(ct_module *module, ct_tensor *x) {
    (void)module;
    return ct_scale(x, 2);
}
static ct_tensor *forwards_nothing(ct_module *module, ct_tensor *x) {
    (void)module, (void)x;
    return NULL;
}
LIST(forward_function, ct_forward_function, doubled, forwards_nothing, NULL)

static bool go_on(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context, (void)name, (void)tensor, (void)buffer;
    return true;
}
static bool stop(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context, (void)name, (void)tensor, (void)buffer;
    return false;
}
LIST(visitor, ct_state_visitor, go_on, stop, NULL)

static ct_module *box(ct_module *child) {
    ct_module *module = ct_module_create("box");
    ct_module_add(module, "weight", child);
    ct_module_set_forward(module, doubled);
    return module;
}

static ct_module *sequence(ct_module *child) {
    ct_module *module = ct_sequential_create();
    ct_module_add(module, "0", child);
    return module;
}

ct_module *value_module(int i) {
    switch (i) {
    case 0: return ct_linear_create(3, 3, true);
    case 1: return ct_embedding_create(5, 3);
    case 2: return ct_gru_create(3, 3, NULL);
    case 3: return ct_lstm_create(3, 3, NULL);
    case 4: return ct_gru_cell_create(3, 3);
    case 5: return ct_region_gcn_create(3, 2);
    case 6: return ct_graph_conv_create(3, 3, true);
    case 7: return ct_attention_create(3, NULL);
    case 8: return ct_batch_norm_create(3, NULL);
    case 9: return ct_layer_norm_create(3, NULL);
    case 10: return ct_dropout_create(0.5);
    case 11: return ct_l2_normalize_create(-1);
    case 12: return ct_conv1d_create(3, 3, 1, NULL);
    case 13: return sequence(ct_linear_create(3, 3, false));
    case 14: return box(ct_linear_create(3, 3, true));
    case 15: return ct_activation_create("relu");
    case 16: return ct_weight_norm_apply(ct_linear_create(3, 3, true));
    default: return NULL;
    }
}

ct_optimizer *value_optimizer(int i) {
    if (i == 2) return NULL;
    ct_module *module = value_module(0);
    ct_backward(ct_sum_all(ct_linear(module, value_tensor(1))));
    return i == 0 ? ct_adam_create(module, NULL) : ct_sgd_create(module, NULL);
}

ct_batcher *value_batcher(int i) {
    ct_tensor *array = reals(CT_F32, CT_SHAPE(5, 2));
    return i == 0 ? ct_batcher_create(&array, 1, NULL) : NULL;
}

/* ---- models ------------------------------------------------------------------------------- */

ct_description base_ct_description(void) {
    static const ct_description_entry entries[] = {
        {"image", "fc", "linear width=4", 1}, {"image", "attend", "policy_attention actions=3", 2},
        {"image", "pool", "mean", 3},         {"text", "embed", "words width=3", 4},
        {"text", "pool", "gru width=4", 5},   {"loss", "retrieval", "hinge", 6},
        {"loss", "discrete_policy", "1", 7},  {"loss", "continuous_policy", "1", 8},
    };
    return (ct_description){"values.ini", entries, COUNT_OF(entries)};
}

ct_model_sizes base_ct_model_sizes(void) {
    return (ct_model_sizes){.regions = 3, .features = 3, .vocabulary = 6, .images = 4};
}

ct_model *value_model(int i) {
    ct_description description = base_ct_description();
    return i == 0 ? ct_model_create(&description, base_ct_model_sizes()) : NULL;
}

ct_batch base_ct_batch(void) {
    return (ct_batch){.images = reals(CT_F32, CT_SHAPE(2, 3, 3)),
                      .words = cast_to(CT_I64, CT_SHAPE(2, 3)),
                      .lengths = ct_full(CT_I64, CT_CPU, CT_SHAPE(2), 2)};
}

static bool create_nothing(const ct_module_site *site, ct_module **module, int64_t *out) {
    (void)site, (void)module, (void)out;
    return true;
}

static ct_tensor *pass(const ct_module_site *site, ct_module *module,
                       const ct_module_input *input) {
    (void)site, (void)module;
    return input->x;
}

ct_module_kind base_ct_module_kind(void) {
    return (ct_module_kind){.name = "public_test", .create = create_nothing, .forward = pass};
}

static ct_tensor *no_loss(const ct_loss_input *input) {
    (void)input;
    return ct_scalar(CT_F32, CT_CPU, 0);
}

ct_loss_kind base_ct_loss_kind(void) {
    return (ct_loss_kind){.name = "public_test", .compute = no_loss};
}
