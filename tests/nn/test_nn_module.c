/* SPDX-License-Identifier: Apache-2.0 */
/* The module tree: names, ownership, modes, conversion, state dictionaries. */
#include <unistd.h>

#include "nn/nn.h"
#include "tests/test.h"

/* fc (3 -> 2, with bias), rnn.0 (gru 2 -> 2), norm (batch norm of 2) */
static ct_module *small_net(void) {
    ct_module *net = ct_module_create("net");
    ct_module_add(net, "fc", ct_linear_create(3, 2, true));
    ct_module *rnn = ct_module_add(net, "rnn", ct_module_create("list"));
    ct_module_add(rnn, "0", ct_gru_create(2, 2, NULL));
    ct_module_add(net, "norm", ct_batch_norm_create(2, NULL));
    assert_no_error();
    return net;
}

typedef struct {
    char text[1024];
    int stop_after;
} listing;

static bool list_name(void *context, const char *name, ct_tensor *x, bool buffer) {
    listing *l = context;
    size_t used = strlen(l->text);
    snprintf(l->text + used, sizeof l->text - used, "%s%s%s ", name, ct_shape_text(x->shape),
             buffer ? "*" : "");
    return --l->stop_after != 0;
}

START_TEST(visits_in_order_with_dotted_names) {
    ct_module *net = small_net();
    listing l = {.stop_after = -1};
    ck_assert(ct_module_visit(net, list_name, &l));
    ck_assert_str_eq(l.text,
                     "fc.weight(2,3) fc.bias(2) rnn.0.weight_ih_l0(6,2) rnn.0.weight_hh_l0(6,2) "
                     "rnn.0.bias_ih_l0(6) rnn.0.bias_hh_l0(6) norm.weight(2) norm.bias(2) "
                     "norm.running_mean(2)* norm.running_var(2)* norm.num_batches_tracked()* ");
    l = (listing){.stop_after = 2};
    ck_assert(!ct_module_visit(net, list_name, &l));
    ck_assert_str_eq(l.text, "fc.weight(2,3) fc.bias(2) ");
    assert_no_error();
    ck_assert_ptr_nonnull(ct_module_tensor(net, "rnn.0.bias_hh_l0"));
    ck_assert_ptr_null(ct_module_tensor(net, "rnn.1.bias_hh_l0"));
    ck_assert_ptr_null(ct_module_tensor(net, "rnn.0"));
    ck_assert_ptr_null(ct_module_tensor(net, "r.0.bias_hh_l0"));
    assert_no_error();
    ck_assert_int_eq(ct_module_parameter_count(net), 6 + 2 + 12 + 12 + 6 + 6 + 2 + 2);
    ct_module_require_grad(ct_module_child(net, "rnn"), false);
    ck_assert_int_eq(ct_module_parameter_count(net), 6 + 2 + 2 + 2);
    ck_assert(!ct_requires_grad(ct_module_tensor(net, "rnn.0.bias_hh_l0")));
    ct_module_require_grad(net, true);
    ck_assert_int_eq(ct_module_parameter_count(net), 6 + 2 + 12 + 12 + 6 + 6 + 2 + 2);
    ck_assert(!ct_requires_grad(ct_module_tensor(net, "norm.running_mean")));
    ct_module_destroy(net);
}
END_TEST

START_TEST(prints_a_table) {
    ct_module *net = small_net();
    ct_module_require_grad(ct_module_child(net, "rnn"), false);
    char *text = ct_module_print_text(net);
    assert_no_error();
    ck_assert_str_eq(text, "module  type        parameter            shape      elements\n"
                           "        net\n"
                           "fc      linear      weight               f32 (2,3)         6  trained\n"
                           "                    bias                 f32 (2)           2  trained\n"
                           "rnn     list\n"
                           "rnn.0   gru         weight_ih_l0         f32 (6,2)        12  frozen\n"
                           "                    weight_hh_l0         f32 (6,2)        12  frozen\n"
                           "                    bias_ih_l0           f32 (6)           6  frozen\n"
                           "                    bias_hh_l0           f32 (6)           6  frozen\n"
                           "norm    batch_norm  weight               f32 (2)           2  trained\n"
                           "                    bias                 f32 (2)           2  trained\n"
                           "                    running_mean         f32 (2)           2  buffer\n"
                           "                    running_var          f32 (2)           2  buffer\n"
                           "                    num_batches_tracked  i64 ()            1  buffer\n"
                           "48 parameters: 12 trained, 36 frozen; 5 elements in buffers\n");
    char *printed = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&printed, &size);
    ck_assert(ct_module_print(file, net));
    fclose(file);
    ck_assert_str_eq(printed, text);
    free(printed);
    free(text);
    ck_assert(!ct_module_print(stdout, NULL));
    assert_error("module_print: module is NULL");
    ck_assert(!ct_module_print(NULL, net));
    assert_error("module_print: the file is NULL");
    ct_module_destroy(net);
}
END_TEST

START_TEST(children_are_found_and_named) {
    ct_module *net = small_net();
    const char *name = NULL;
    ck_assert_int_eq(ct_module_children(net), 3);
    ck_assert_str_eq(ct_module_type(ct_module_child_at(net, 2, &name)), "batch_norm");
    ck_assert_str_eq(name, "norm");
    ck_assert_ptr_null(ct_module_child_at(net, 3, NULL));
    ck_assert_ptr_null(ct_module_child(net, "none"));
    assert_no_error();
    ct_module_destroy(net);
}
END_TEST

START_TEST(refuses_wrong_children) {
    ct_module *net = small_net();
    ck_assert_ptr_null(ct_module_add(net, "fc", ct_linear_create(1, 1, true)));
    assert_error("already has a 'fc'");
    ck_assert_ptr_null(ct_module_add(net, "a.b", ct_linear_create(1, 1, true)));
    assert_error("'a.b'");
    ck_assert_ptr_null(ct_module_add(net, "", ct_linear_create(1, 1, true)));
    assert_error("without dots");
    ck_assert_ptr_null(ct_module_add(NULL, "x", ct_linear_create(1, 1, true)));
    assert_error("parent of 'x' is NULL");
    ck_assert_ptr_null(ct_module_add(net, "x", NULL));
    assert_error("'x' is NULL");
    ck_assert_ptr_null(ct_module_add(net, "again", ct_module_child(net, "fc")));
    assert_error("'fc' already belongs");
    ct_module *rnn = ct_module_child(net, "rnn");
    ck_assert_ptr_null(ct_module_add(rnn, "loop", net));
    assert_error("contain itself");
    /* A failed constructor's error is the one that is reported. */
    ck_assert_ptr_null(ct_module_add(net, "bad", ct_linear_create(0, 5, true)));
    assert_error("linear: inputs is 0, expected 1 to");
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2));
        ck_assert_ptr_null(ct_module_parameter(ct_module_child(net, "fc"), "bias", x));
        assert_error("module 'fc' already has a 'bias'");
        ck_assert_ptr_null(ct_module_parameter(net, "i", ct_arange(CT_I64, CT_CPU, 3)));
        ck_assert(!ct_ok());
        ct_error_clear();
    }
    ck_assert_int_eq(ct_module_children(net), 3);
    ct_module_destroy(net);
}
END_TEST

START_TEST(wrong_module_type_is_named) {
    ct_module *net = small_net();
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ct_module *gru = ct_module_child(ct_module_child(net, "rnn"), "0");
        ck_assert_ptr_null(ct_linear(gru, x));
        assert_error("linear: module '0' is a gru");
        ck_assert_ptr_null(ct_gru(net, x, NULL, NULL, NULL));
        assert_error("gru: the module is a net");
        ck_assert_ptr_null(ct_linear(NULL, x));
        assert_error("linear: module is NULL");
        ck_assert_ptr_null(ct_forward(net, x));
        assert_error("the module (net) has no forward");
        ck_assert_ptr_null(ct_forward(NULL, x));
        assert_error("module is NULL");
        ck_assert_ptr_null(ct_linear(ct_module_child(net, "fc"), NULL));
        ck_assert(!ct_ok());
        ct_error_clear();
    }
    ct_module_destroy(net);
}
END_TEST

/* ---- what a module is, and how it is called ------------------------------------------------- */

typedef struct {
    ct_tensor *x, *rows, *index, *square; /* (2,3,3), (2,3), i64 (2), (3,3) */
} inputs;

static ct_tensor *as_linear(ct_module *m, inputs in) { return ct_linear(m, in.rows); }
static ct_tensor *as_embedding(ct_module *m, inputs in) { return ct_embedding(m, in.index); }
static ct_tensor *as_padded(ct_module *m, inputs in) {
    (void)in;
    ct_embedding_set_padding(m, 0);
    return NULL;
}
static ct_tensor *as_gru(ct_module *m, inputs in) { return ct_gru(m, in.x, NULL, NULL, NULL); }
static ct_tensor *as_lstm(ct_module *m, inputs in) {
    return ct_lstm(m, in.x, NULL, NULL, NULL, NULL, NULL);
}
static ct_tensor *as_cell(ct_module *m, inputs in) { return ct_gru_cell(m, in.rows, NULL); }
static ct_tensor *as_graph_conv(ct_module *m, inputs in) {
    return ct_graph_conv(m, in.x, in.square);
}
static ct_tensor *as_attention(ct_module *m, inputs in) {
    return ct_attention(m, in.x, in.x, in.x, NULL);
}
static ct_tensor *as_batch_norm(ct_module *m, inputs in) { return ct_batch_norm(m, in.rows); }
static ct_tensor *as_masked(ct_module *m, inputs in) {
    return ct_batch_norm_masked(m, in.rows, ct_full(CT_U8, CT_CPU, CT_SHAPE(2, 1), 1));
}
static ct_tensor *as_layer_norm(ct_module *m, inputs in) { return ct_layer_norm(m, in.rows); }
static ct_tensor *as_dropout(ct_module *m, inputs in) { return ct_dropout(m, in.rows); }
static ct_tensor *as_conv1d(ct_module *m, inputs in) { return ct_conv1d(m, in.x); }
static ct_tensor *as_conv2d(ct_module *m, inputs in) { return ct_conv2d(m, in.x); }
static ct_tensor *as_transformer(ct_module *m, inputs in) {
    return ct_transformer_layer(m, in.x, NULL);
}
static ct_tensor *as_positions(ct_module *m, inputs in) { return ct_position_embedding(m, in.x); }
static ct_tensor *as_patches(ct_module *m, inputs in) { return ct_patch_embedding(m, in.x); }
static ct_tensor *as_weight_norm(ct_module *m, inputs in) {
    (void)in;
    return ct_weight_norm_apply(m) ? ct_module_tensor(m, "weight_g") : NULL;
}
static ct_tensor *as_any(ct_module *m, inputs in) { return ct_forward(m, in.rows); }

static ct_tensor *(*const uses[])(ct_module *, inputs) = {
    as_linear,     as_embedding,   as_padded,    as_gru,        as_lstm,
    as_cell,       as_graph_conv,  as_attention, as_batch_norm, as_masked,
    as_layer_norm, as_dropout,     as_conv1d,    as_conv2d,     as_weight_norm,
    as_any,        as_transformer, as_positions, as_patches,
};
static const char *const type_names[] = {
    "linear",
    "embedding",
    "gru",
    "lstm",
    "gru_cell",
    "graph_conv",
    "attention",
    "batch_norm",
    "layer_norm",
    "l2_norm",
    "dropout",
    "conv1d",
    "conv2d",
    "sequential",
    "activation",
    "module",
    "transformer_layer",
    "position_embedding",
    "patch_embedding",
};
enum { USES = sizeof uses / sizeof *uses, TYPE_NAMES = sizeof type_names / sizeof *type_names };

/* A container of any name has no self of the type so called: using it as one must not read it. */
START_TEST(a_name_makes_no_module_a_layer) {
    for (int i = 0; i < USES * TYPE_NAMES; i++) CT_SCOPE {
            inputs in = {ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3, 3)),
                         ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3)),
                         ct_zeros(CT_I64, CT_CPU, CT_SHAPE(2)),
                         ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 3))};
            ct_module *net = ct_module_create("net");
            ct_module *m = ct_module_add(net, "mine", ct_module_create(type_names[i % TYPE_NAMES]));
            ct_module_parameter(m, "weight", in.square);
            assert_no_error();
            ck_assert_ptr_null(uses[i / TYPE_NAMES](m, in));
            assert_error("module 'mine'");
            ct_module_destroy(net);
        }
}
END_TEST

START_TEST(a_namesake_is_told_from_the_layer) {
    ct_module *mine = ct_module_create("gru");
    CT_SCOPE {
        ct_gru(mine, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1, 2, 3)), NULL, NULL, NULL);
        assert_error("gru: the module is a container called 'gru', not one of ct_gru_create");
    }
    ct_module_destroy(mine);
}
END_TEST

/* What a layer keeps beside its parameters is its own. */
START_TEST(the_self_of_a_layer_stays) {
    ct_module *norm = ct_layer_norm_create(3, NULL);
    double *other = malloc(sizeof *other);
    ct_module_set_self(norm, other, free);
    assert_error("module_set_self: the module is a layer_norm, which has its own");
    CT_SCOPE {
        ck_assert_ptr_nonnull(ct_layer_norm(norm, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3))));
        assert_no_error();
    }
    ct_module_destroy(norm);
}
END_TEST

START_TEST(modes_reach_all_children) {
    ct_module *net = small_net();
    ct_module *gru = ct_module_child(ct_module_child(net, "rnn"), "0");
    ck_assert(ct_module_training(gru));
    ct_module_train(net, false);
    ck_assert(!ct_module_training(gru) && !ct_module_training(net));
    ct_module_train(gru, true);
    ck_assert(ct_module_training(gru) && !ct_module_training(net));
    ct_module_destroy(net);
}
END_TEST

static ct_tensor *twice(ct_module *module, ct_tensor *x) {
    return ct_scale(x, *(double *)ct_module_self(module));
}

static int released;
static void count_release(void *self) {
    free(self);
    released++;
}

START_TEST(own_module_types) {
    ct_module *mine = ct_module_create("doubler");
    double *factor = malloc(sizeof *factor);
    *factor = 2;
    ct_module_set_self(mine, factor, count_release);
    ct_module_set_forward(mine, twice);
    ct_module *chain = ct_sequential_create();
    ct_module_add(chain, "a", mine);
    ct_module_add(chain, "b", ct_activation_create("relu"));
    CT_SCOPE {
        ct_tensor *x = ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2), (double[]){-1, 3});
        assert_close(ct_forward(chain, x),
                     ct_from_doubles(CT_F32, CT_CPU, CT_SHAPE(2), (double[]){0, 6}), 0, 0, "y");
    }
    ct_module_destroy(chain);
    ck_assert_int_eq(released, 1);
    ck_assert_ptr_null(ct_activation_create("rellu"));
    assert_error("unknown 'rellu'; did you mean 'relu'?");
}
END_TEST

/* ---- conversion ------------------------------------------------------------------------- */

START_TEST(converts_dtype) {
    ct_module *net = small_net();
    double before = ct_get(ct_module_tensor(net, "fc.weight"), 4);
    ct_module_require_grad(ct_module_child(net, "rnn"), false);
    ck_assert(ct_module_to_dtype(net, CT_F64));
    ck_assert_int_eq(ct_module_tensor(net, "fc.weight")->dtype, CT_F64);
    ck_assert_int_eq(ct_module_tensor(net, "norm.running_var")->dtype, CT_F64);
    ck_assert_int_eq(ct_module_tensor(net, "norm.num_batches_tracked")->dtype, CT_I64);
    ck_assert(ct_get(ct_module_tensor(net, "fc.weight"), 4) == before);
    ck_assert(ct_requires_grad(ct_module_tensor(net, "fc.weight")));
    ck_assert(!ct_requires_grad(ct_module_tensor(net, "rnn.0.bias_ih_l0")));
    ck_assert(!ct_requires_grad(ct_module_tensor(net, "norm.running_var")));
    ct_tensor *same = ct_module_tensor(net, "fc.weight");
    ck_assert(ct_module_to_dtype(net, CT_F64));
    ck_assert_ptr_eq(ct_module_tensor(net, "fc.weight"), same);
    ck_assert(!ct_module_to_dtype(net, CT_BF16));
    assert_error("bf16, expected f32 or f64");
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F64, CT_CPU, CT_SHAPE(4, 3), 0.5);
        ct_tensor *y = ct_linear(ct_module_child(net, "fc"), x);
        ck_assert_int_eq(y->dtype, CT_F64);
    }
    ct_module_destroy(net);
}
END_TEST

/* ---- state dictionaries ------------------------------------------------------------------ */

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[128];
    if (!*folder) {
        snprintf(folder, sizeof folder, "/tmp/ct_nn_module_XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void remove_folder(const char *name) {
    unlink(in_folder(name));
    rmdir(folder);
    *folder = 0;
}

static bool same_tensor(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)buffer;
    assert_close(ct_module_tensor(context, name), x, 0, 0, name);
    return true;
}

START_TEST(saves_and_loads) {
    ct_seed(1);
    ct_module *a = small_net();
    ct_seed(2);
    ct_module *b = small_net();
    ct_set(ct_module_tensor(a, "norm.num_batches_tracked"), 0, 7);
    ct_set(ct_module_tensor(a, "norm.running_mean"), 1, 0.25);
    ck_assert(ct_get(ct_module_tensor(a, "fc.weight"), 0) !=
              ct_get(ct_module_tensor(b, "fc.weight"), 0));
    ct_tensor *weight = ct_module_tensor(b, "fc.weight");
    const char *path = in_folder("state.safetensors");
    ck_assert_msg(ct_module_save(a, path), "%s", ct_error());
    ck_assert_msg(ct_module_load(b, path, true), "%s", ct_error());
    ck_assert(ct_module_visit(a, same_tensor, b));
    ck_assert_ptr_eq(ct_module_tensor(b, "fc.weight"), weight);
    ck_assert(ct_requires_grad(weight));
    /* f32 values into an f64 module */
    ct_module *c = small_net();
    ct_module_to_dtype(c, CT_F64);
    ck_assert(ct_module_load(c, path, true));
    ck_assert_int_eq(ct_module_tensor(c, "fc.weight")->dtype, CT_F64);
    ck_assert(ct_module_visit(a, same_tensor, c));
    remove_folder("state.safetensors");
    ct_module_destroy(a);
    ct_module_destroy(b);
    ct_module_destroy(c);
}
END_TEST

typedef struct {
    ct_named_tensor tensor[32];
    char name[32][80];
    int count;
} renamed;

/* As DataParallel names it, without the counts that PyTorch before 0.4.1 had not. */
static bool wrap(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)buffer;
    renamed *r = context;
    if (strstr(name, "num_batches_tracked")) return true;
    const char *dot = strchr(name, '.');
    snprintf(r->name[r->count], sizeof r->name[0], "module.%.*s.module%s", (int)(dot - name), name,
             dot);
    r->tensor[r->count] = (ct_named_tensor){r->name[r->count], x};
    r->count++;
    return true;
}

START_TEST(loads_what_others_name_and_lack) {
    ct_seed(1);
    ct_module *a = small_net();
    ct_seed(2);
    ct_module *b = small_net();
    ct_set(ct_module_tensor(b, "norm.num_batches_tracked"), 0, 7);
    static renamed r;
    r.count = 0;
    ck_assert(ct_module_visit(a, wrap, &r));
    const char *path = in_folder("state.safetensors");
    ck_assert(ct_safetensors_save(path, r.tensor, r.count, NULL));
    ck_assert_msg(ct_module_load(b, path, true), "%s", ct_error());
    ck_assert_double_eq(ct_item(ct_module_tensor(b, "norm.num_batches_tracked")), 0);
    ck_assert(ct_module_visit(a, same_tensor, b));
    /* one tensor under two names */
    r.tensor[r.count++] = (ct_named_tensor){"fc.weight", ct_module_tensor(a, "fc.weight")};
    ck_assert(ct_safetensors_save(path, r.tensor, r.count, NULL));
    ck_assert(!ct_module_load(b, path, true));
    assert_error("holds both");
    /* a part of that name is one */
    ct_module *outer = ct_module_create("outer");
    ck_assert_ptr_nonnull(ct_module_add(outer, "module", a));
    ck_assert(ct_module_save(outer, path));
    ck_assert_msg(ct_module_load(outer, path, true), "%s", ct_error());
    remove_folder("state.safetensors");
    ct_module_destroy(outer);
    ct_module_destroy(b);
}
END_TEST

START_TEST(load_lists_everything_and_changes_nothing) {
    ct_module *net = small_net();
    const char *path = in_folder("wrong.safetensors");
    CT_SCOPE {
        ct_tensor *bias = ct_full(CT_F32, CT_CPU, CT_SHAPE(2), 9);
        ct_tensor *counter = ct_full(CT_F32, CT_CPU, CT_SCALAR_SHAPE, 1);
        ct_tensor *weight = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 4));
        const ct_named_tensor tensors[] = {{"fc.weight", weight},
                                           {"fc.bias", bias},
                                           {"norm.weight", bias},
                                           {"norm.bias", bias},
                                           {"norm.running_mean", bias},
                                           {"norm.running_var", bias},
                                           {"norm.num_batches_tracked", counter},
                                           {"rnn.1.bias", bias},
                                           {"zzz", bias}};
        ck_assert(ct_safetensors_save(path, tensors, 9, NULL));
    }
    const double before = ct_get(ct_module_tensor(net, "fc.bias"), 0);
    ck_assert(!ct_module_load(net, path, true));
    const char *const expected[] = {
        "wrong.safetensors",
        "4 missing: rnn.0.weight_ih_l0, rnn.0.weight_hh_l0, rnn.0.bias_ih_l0, rnn.0.bias_hh_l0",
        "2 extra: rnn.1.bias, zzz",
        "2 of another shape or type: fc.weight is f32 (2,4) instead of f32 (2,3), norm.num_b",
        "norm.num_batches_tracked is f32 () instead of i64 ()"};
    for (int i = 0; i < 5; i++) {
        ck_assert_msg(ct_error() && strstr(ct_error(), expected[i]), "no '%s' in '%s'", expected[i],
                      ct_error());
    }
    ct_error_clear();
    ck_assert(!ct_module_load(net, path, false));
    ck_assert_ptr_nonnull(strstr(ct_error(), "missing"));
    ck_assert_ptr_null(strstr(ct_error(), "extra"));
    ct_error_clear();
    ck_assert(ct_get(ct_module_tensor(net, "fc.bias"), 0) == before);
    ck_assert(ct_get(ct_module_tensor(net, "norm.weight"), 0) == 1);
    remove_folder("wrong.safetensors");
    ck_assert(!ct_module_load(net, "/nonexistent/file.safetensors", true));
    assert_error("/nonexistent/file.safetensors");
    ct_module_destroy(net);
}
END_TEST

START_TEST(loads_more_than_needed_if_not_strict) {
    ct_module *net = small_net();
    const char *path = in_folder("more.safetensors");
    ck_assert(ct_module_save(net, path));
    ct_module *part = ct_module_create("net");
    ct_module_add(part, "fc", ct_linear_create(3, 2, true));
    ck_assert(!ct_module_load(part, path, true));
    ck_assert_msg(strstr(ct_error(), " and 1 more") != NULL, "%s", ct_error());
    assert_error("the module; 9 extra: ");
    ck_assert(ct_module_load(part, path, false));
    ck_assert(ct_module_visit(part, same_tensor, net));
    remove_folder("more.safetensors");
    ct_module_destroy(part);
    ct_module_destroy(net);
}
END_TEST

/* The published region graph convolutions store 1x1 convolutions. */
START_TEST(loads_1x1_convolutions_as_linear) {
    const char *path = in_folder("conv.safetensors");
    ct_module *conv = ct_conv1d_create(3, 2, 1, NULL);
    ct_module *linear = ct_linear_create(3, 2, true);
    ck_assert(ct_module_save(conv, path));
    ck_assert_msg(ct_module_load(linear, path, true), "%s", ct_error());
    for (int i = 0; i < 6; i++) {
        ck_assert(ct_get(ct_module_tensor(linear, "weight"), i) ==
                  ct_get(ct_module_tensor(conv, "weight"), i));
    }
    ck_assert(ct_module_save(linear, path));
    ck_assert(ct_module_load(conv, path, true));
    remove_folder("conv.safetensors");
    ct_module_destroy(conv);
    ct_module_destroy(linear);
}
END_TEST

/* ---- weight normalisation ---------------------------------------------------------------- */

START_TEST(weight_norm_replaces_weight) {
    ct_module *modules[] = {ct_linear_create(3, 2, true), ct_conv1d_create(3, 2, 2, NULL)};
    for (int k = 0; k < 2; k++) {
        CT_SCOPE {
            ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(1, 4, 3), 0.7);
            ct_tensor *before = ct_forward(modules[k], x);
            ck_assert_ptr_eq(ct_weight_norm_apply(modules[k]), modules[k]);
            assert_close(ct_forward(modules[k], x), before, 1e-6, 0, "weight norm at the start");
            ct_tensor_scale_in_place(ct_module_tensor(modules[k], "weight_v"), 3);
            assert_close(ct_forward(modules[k], x), before, 1e-6, 0, "length of v");
        }
        listing l = {.stop_after = -1};
        ct_module_visit(modules[k], list_name, &l);
        ck_assert_str_eq(l.text, k ? "bias(2) weight_g(2,1,1) weight_v(2,3,2) "
                                   : "bias(2) weight_g(2,1) weight_v(2,3) ");
        ck_assert_ptr_null(ct_weight_norm_apply(modules[k]));
        assert_error("expected a linear or conv1d with a weight");
        ct_module_destroy(modules[k]);
    }
    ct_module *gru = ct_gru_create(2, 2, NULL);
    ck_assert_ptr_null(ct_weight_norm_apply(gru));
    assert_error("(gru)");
    ct_module_destroy(gru);
}
END_TEST

TEST_MAIN("nn module", visits_in_order_with_dotted_names, prints_a_table,
          children_are_found_and_named, refuses_wrong_children, wrong_module_type_is_named,
          a_name_makes_no_module_a_layer, a_namesake_is_told_from_the_layer,
          the_self_of_a_layer_stays, modes_reach_all_children, own_module_types, converts_dtype,
          saves_and_loads, loads_what_others_name_and_lack,
          load_lists_everything_and_changes_nothing, loads_more_than_needed_if_not_strict,
          loads_1x1_convolutions_as_linear, weight_norm_replaces_weight)
