/* SPDX-License-Identifier: Apache-2.0 */
/* Networks for pictures: what is trained and what frozen, files, sizes, refusals. */
#include "models/backbones/backbone.h"
#include "tests/files_test.h"
#include "tests/models/backbone_formula.h"

/* The smallest of the networks. */
static const char *const smallest = "efficientnet_lite0";

static ct_module *small_net(int64_t classes) {
    ct_backbone_options options = ct_backbone_defaults();
    options.classes = classes;
    ct_module *net = ct_backbone_create(smallest, &options);
    assert_no_error();
    formula_fill(net, false);
    return net;
}

static ct_tensor *pictures_of(int64_t count, int64_t height, int64_t width) {
    return ct_tensor_cast(formula_tensor("x", CT_SHAPE(count, 3, height, width), 1, 0, true),
                          CT_F32);
}

/* ---- what is trained ------------------------------------------------------------------------- */

/* A module's tensors as they were. */
typedef struct {
    ct_tensor *tensor[700];
    int count, at;
    int frozen_changed, trained_same, statistics_changed;
    int trained, statistics;
} snapshot;

static bool keep_one(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)name, (void)buffer;
    snapshot *s = context;
    ck_assert_int_lt(s->count, 700);
    s->tensor[s->count++] = ct_tensor_copy(x);
    return ct_ok();
}

static bool same(const ct_tensor *a, const ct_tensor *b) {
    size_t bytes = (size_t)ct_count(a) * ct_dtype_size(a->dtype);
    return memcmp(ct_data((ct_tensor *)a), ct_data((ct_tensor *)b), bytes) == 0;
}

static bool compare_one(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)name;
    snapshot *s = context;
    bool changed = !same(x, s->tensor[s->at++]);
    if (buffer) s->statistics++, s->statistics_changed += changed;
    else if (ct_requires_grad(x)) s->trained++, s->trained_same += !changed;
    else s->frozen_changed += changed;
    return true;
}

/* A training step, and what it changed. */
static snapshot after_a_step(ct_module *net) {
    snapshot s = {.count = 0};
    CT_SCOPE {
        ck_assert(ct_module_visit(net, keep_one, &s));
        ct_sgd_options options = ct_sgd_defaults();
        options.lr = 0.1;
        ct_optimizer *sgd = ct_sgd_create(net, &options);
        ct_module_train(net, true);
        ct_tensor *logits = ct_backbone_logits(net, pictures_of(4, 64, 64));
        ct_tensor *labels = ct_from_doubles(CT_I64, CT_CPU, CT_SHAPE(4), (double[]){0, 1, 2, 1});
        ct_backward(ct_cross_entropy(logits, labels, NULL));
        ck_assert(ct_optimizer_step(sgd));
        ct_optimizer_destroy(sgd);
        assert_no_error();
        ck_assert(ct_module_visit(net, compare_one, &s));
    }
    return s;
}

/* Of how many blocks, what is trained: parameters and statistics of a step. */
START_TEST(trains_the_last_blocks_alone) {
    static const struct {
        int64_t blocks;
        int trained, statistics; /* tensors; three of a batch norm change */
    } cases[] = {
        {0, 2, 0},     /* the classifier */
        {1, 2 + 3, 3}, /* and the head's convolution */
        {2, 2 + 3 + 9, 3 + 9},
        {17, 2 + 3 + 6 + 15 * 9, 3 + 6 + 15 * 9}, /* all but the stem */
        {18, 2 + 3 + 6 + 15 * 9 + 3, 3 + 6 + 15 * 9 + 3},
        {-1, 2 + 3 + 6 + 15 * 9 + 3, 3 + 6 + 15 * 9 + 3},
    };
    ct_module *net = small_net(3);
    ck_assert_int_eq(ct_backbone_block_count(net), 18);
    ck_assert(ct_backbone_finetune(net, cases[_i].blocks));
    snapshot s = after_a_step(net);
    ck_assert_int_eq(s.frozen_changed, 0);
    ck_assert_int_eq(s.trained, cases[_i].trained);
    ck_assert_int_eq(s.trained_same, 0);
    ck_assert_int_eq(s.statistics_changed, cases[_i].statistics);
    ct_module_destroy(net);
}
END_TEST

/* What was frozen can be trained later, and runs in the net's mode again. */
START_TEST(thaws_again) {
    ct_module *net = small_net(3);
    ck_assert(ct_backbone_finetune(net, 0));
    ck_assert_int_eq(ct_module_parameter_count(net), 3 * 1280 + 3);
    snapshot s = after_a_step(net);
    ck_assert_int_eq(s.statistics_changed, 0);
    ck_assert(ct_backbone_finetune(net, 1000));
    s = after_a_step(net);
    ck_assert_int_eq(s.trained_same + s.frozen_changed, 0);
    ck_assert_int_eq(s.statistics_changed, s.statistics);
    ct_module_destroy(net);
}
END_TEST

/* Nothing is recorded of a frozen net, and it computes what it computes in evaluation mode. */
START_TEST(records_nothing_of_a_frozen_net) {
    ct_module *net = small_net(0);
    CT_SCOPE {
        ct_module_train(net, false);
        ct_tensor *evaluated = NULL;
        ck_assert(ct_requires_grad(ct_backbone_regions(net, pictures_of(2, 64, 32))));
        CT_NO_GRAD evaluated = ct_backbone_regions(net, pictures_of(2, 64, 32));
        ck_assert(ct_backbone_finetune(net, 0));
        ct_module_train(net, true);
        ct_tensor *frozen = ct_backbone_regions(net, pictures_of(2, 64, 32));
        ck_assert(!ct_requires_grad(frozen));
        assert_close(frozen, evaluated, 0, 0, "frozen");
    }
    ct_module_destroy(net);
}
END_TEST

/* ---- files ----------------------------------------------------------------------------------- */

START_TEST(loads_a_file_with_a_classifier_into_a_net_without) {
    ct_module *with = small_net(7), *without = ct_backbone_create(smallest, NULL);
    const char *path = in_test_folder("net.safetensors");
    ck_assert(ct_module_save(with, path));
    ck_assert(ct_backbone_load(without, path));
    CT_SCOPE {
        ct_module_train(with, false);
        ct_module_train(without, false);
        ct_tensor *x = pictures_of(1, 64, 64);
        assert_close(ct_backbone_regions(without, x), ct_backbone_regions(with, x), 0, 0, "loaded");
    }
    ck_assert(ct_backbone_load(with, path));
    assert_no_error();
    ct_module_destroy(with);
    ct_module_destroy(without);
}
END_TEST

START_TEST(names_file_and_tensor_that_do_not_fit) {
    ct_module *seven = small_net(7), *eight = small_net(8), *without = small_net(0);
    const char *path = in_test_folder("seven.safetensors");
    ck_assert(ct_module_save(seven, path));
    ck_assert(!ct_backbone_load(eight, path));
    ck_assert_msg(strstr(ct_error(), "seven.safetensors") != NULL, "%s", ct_error());
    assert_error("_fc.weight is f32 (7,1280) instead of f32 (8,1280)");
    ck_assert(ct_module_save(without, path));
    ck_assert(!ct_backbone_load(seven, path));
    assert_error("2 missing: _fc.weight, _fc.bias");
    ct_module_destroy(seven);
    ct_module_destroy(eight);
    ct_module_destroy(without);
}
END_TEST

/* As DataParallel names tensors, of a PyTorch that did not count batches. */
static ct_state_naming wrapped_name(const void *context, const char *ours, char *theirs,
                                    size_t size) {
    (void)context;
    snprintf(theirs, size, "module.%s", ours);
    return ends_with(ours, "num_batches_tracked") ? CT_STATE_LEFT_OUT : CT_STATE_NAMED;
}

START_TEST(reads_names_of_data_parallel_and_old_files) {
    ct_module *with = small_net(4), *without = ct_backbone_create(smallest, NULL);
    const char *path = in_test_folder("wrapped.safetensors");
    const ct_state_form form = {.name = wrapped_name};
    ck_assert(ct_module_save_as(with, path, &form, NULL));
    ck_assert(ct_backbone_load(without, path));
    ck_assert(same(ct_module_tensor(without, "_blocks.4._bn1.weight"),
                   ct_module_tensor(with, "_blocks.4._bn1.weight")));
    assert_no_error();
    ct_module_destroy(with);
    ct_module_destroy(without);
}
END_TEST

/* timm's names of tf_efficientnet_lite0, for writing a file. */
static ct_state_naming timm_name(const void *context, const char *ours, char *theirs, size_t size) {
    const ct_backbone_network *network = context;
    ck_assert_msg(network->other->name(network, ours, theirs, size), "%s", ours);
    return CT_STATE_NAMED;
}

START_TEST(reads_the_names_of_timm) {
    static const char *const names[][2] = {
        {"_conv_stem.weight", "conv_stem.weight"},
        {"_bn0.running_mean", "bn1.running_mean"},
        {"_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"},
        {"_blocks.0._bn2.bias", "blocks.0.0.bn2.bias"},
        {"_blocks.1._bn0.weight", "blocks.1.0.bn1.weight"},
        {"_blocks.2._depthwise_conv.weight", "blocks.1.1.conv_dw.weight"},
        {"_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"},
        {"_blocks.15._bn2.num_batches_tracked", "blocks.6.0.bn3.num_batches_tracked"},
        {"_conv_head.weight", "conv_head.weight"},
        {"_bn1.weight", "bn2.weight"},
        {"_fc.bias", "classifier.bias"},
    };
    ct_module *net = small_net(3), *other = ct_backbone_create(smallest, NULL);
    const ct_backbone_network *network = ct_backbone_network_of(net);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char theirs[64];
        timm_name(network, names[i][0], theirs, sizeof theirs);
        ck_assert_str_eq(theirs, names[i][1]);
    }
    const char *path = in_test_folder("timm.safetensors");
    ct_state_form form = {.context = network, .name = timm_name};
    ck_assert(ct_module_save_as(net, path, &form, NULL));
    ck_assert(ct_backbone_load(other, path));
    CT_SCOPE {
        ct_module_train(net, false);
        ct_module_train(other, false);
        ct_tensor *x = pictures_of(1, 32, 32);
        assert_close(ct_backbone_regions(other, x), ct_backbone_regions(net, x), 0, 0, "timm");
    }
    ct_module_destroy(net);
    ct_module_destroy(other);
}
END_TEST

START_TEST(names_the_way_out_of_a_checkpoint) {
    ct_module *net = small_net(0);
    const char *path = in_test_folder("net.pth");
    static const char zip[] = "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0"
                              "archive/data.pkl";
    put_file(path, zip, sizeof zip);
    ck_assert(!ct_backbone_load(net, path));
    assert_error("data/convert_checkpoint.py");
    ck_assert(!ct_backbone_load(net, in_test_folder("none")));
    assert_error("none");
    ct_module_destroy(net);
}
END_TEST

/* ---- sizes and refusals ---------------------------------------------------------------------- */

START_TEST(counts_regions) {
    ct_module *net = small_net(0);
    ck_assert_int_eq(ct_backbone_width(net), 1280);
    ck_assert_int_eq(ct_backbone_region_count(net, 224, 224), 49);
    ck_assert_int_eq(ct_backbone_region_count(net, 225, 97), 8 * 4);
    ck_assert_int_eq(ct_backbone_region_count(net, 1, 1), 1);
    ck_assert_int_eq(ct_backbone_region_count(net, 0, 64), 0);
    assert_error("efficientnet_lite0: pictures of height 0 and width 64");
    ck_assert_int_eq(ct_backbone_region_count(net, INT64_MAX, 64), 0);
    assert_error("too large");
    ct_module_train(net, false);
    CT_SCOPE {
        ck_assert_int_eq(ct_dim(ct_forward(net, pictures_of(1, 33, 70)), 1), 2 * 3);
        const ct_tensor *none = ct_forward(net, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 3, 33, 70)));
        assert_no_error();
        ck_assert(ct_shape_equal(none->shape, CT_SHAPE(0, 6, 1280)));
    }
    assert_no_error();
    ct_module_destroy(net);
}
END_TEST

/* ViT takes whole patches; its class token and positions are the stem's. */
START_TEST(vit_takes_whole_patches) {
    ct_module *net = ct_backbone_create("vit_tiny", NULL);
    ck_assert_int_eq(ct_backbone_width(net), 192);
    ck_assert_int_eq(ct_backbone_region_count(net, 224, 224), 14 * 14);
    ck_assert_int_eq(ct_backbone_region_count(net, 16, 384), 24);
    ck_assert_int_eq(ct_backbone_region_count(net, 224, 250), 0);
    assert_error("vit_tiny: pictures of height 224 and width 250, expected multiples of 16");
    CT_SCOPE { ck_assert_ptr_null(ct_backbone_regions(net, pictures_of(1, 60, 64))); }
    assert_error("vit_tiny: pictures of height 60 and width 64, expected multiples of 16");
    ck_assert_int_eq(ct_backbone_region_count(net, 0, 16), 0);
    assert_error("vit_tiny: pictures of height 0 and width 16 are too small");
    ck_assert_int_eq(ct_module_parameter_count(net), 5524416); /* timm's, without its head */
    ck_assert(ct_backbone_finetune(net, 1));                   /* a block, and the last norm */
    ck_assert_int_eq(ct_module_parameter_count(net), 12 * 192 * 192 + 13 * 192 + 2 * 192);
    ck_assert(ct_backbone_finetune(net, 12));
    ck_assert(!ct_requires_grad(ct_module_tensor(net, "cls_token")));
    ck_assert(!ct_requires_grad(ct_module_tensor(net, "pos_embed")));
    ck_assert(ct_backbone_finetune(net, 13));
    ck_assert(ct_requires_grad(ct_module_tensor(net, "cls_token")));
    assert_no_error();
    ct_module_destroy(net);
}
END_TEST

/* ---- stochastic depth ------------------------------------------------------------------------ */

static ct_module *dropping_net(const char *name, double p) {
    ct_backbone_options options = {.drop_path = p};
    ct_module *net = ct_backbone_create(name, &options);
    assert_no_error();
    ct_module_to_dtype(net, CT_F64);
    formula_fill(net, false);
    return net;
}

static const double drop_path = 0.5;

/* What a net gives of pictures (4,3,rows,columns), and in *x what its stem gives. */
static ct_tensor *regions_of(ct_module *net, const char *stem, int64_t rows, int64_t columns,
                             ct_rng *rng, ct_tensor **x) {
    ct_tensor *pictures = ct_tensor_cast(pictures_of(4, rows, columns), CT_F64);
    ct_backbone_step first = {.part = ct_module_child(net, stem)};
    *x = ct_backbone_network_of(net)->run(net, &first, pictures);
    return ct_backbone_regions_from(net, pictures, rng);
}

static ct_tensor *attend(ct_module *attention, ct_tensor *x) {
    ct_attention_parameters parameters = {
        ct_module_tensor(attention, "qkv.weight"), ct_module_tensor(attention, "qkv.bias"),
        ct_module_tensor(attention, "proj.weight"), ct_module_tensor(attention, "proj.bias")};
    return ct_attention_with(x, x, x, NULL, parameters, (ct_attention_options){.heads = 3});
}

/* A branch's samples times 0 or 1/(1-p), as the generator says. */
static ct_tensor *branch(ct_tensor *y, double p, ct_rng *rng) {
    ct_shape samples = y->shape;
    for (int d = 1; d < samples.ndim; d++) samples.dim[d] = 1;
    const ct_tensor *kept = ct_random_bernoulli(rng, "drop_path", 1 - p, CT_F64, CT_CPU, samples);
    return ct_mul(y, ct_tensor_scale(kept, 1 / (1 - p)));
}

/* Block i of twelve drops each of its two branches with probability drop_path * i / 11. */
START_TEST(vit_drops_branches_as_they_are_deep) {
    ct_module *net = dropping_net("vit_tiny", drop_path);
    ct_rng rng = ct_rng_create(3, 0), again = rng;
    CT_SCOPE {
        ct_tensor *x, *given = regions_of(net, "patch_embed", 32, 16, &rng, &x);
        for (int i = 0; i < 12; i++) {
            char name[8];
            snprintf(name, sizeof name, "%d", i);
            ct_module *block = ct_module_child(ct_module_child(net, "blocks"), name);
            ct_tensor *seen = ct_layer_norm(ct_module_child(block, "norm1"), x);
            ct_tensor *y = attend(ct_module_child(block, "attn"), seen);
            double p = drop_path * i / 11;
            x = ct_add(x, i ? branch(y, p, &again) : y);
            seen = ct_layer_norm(ct_module_child(block, "norm2"), x);
            ct_module *mlp = ct_module_child(block, "mlp");
            y = ct_gelu(ct_linear(ct_module_child(mlp, "fc1"), seen));
            y = ct_linear(ct_module_child(mlp, "fc2"), y);
            x = ct_add(x, i ? branch(y, p, &again) : y);
        }
        x = ct_slice(ct_layer_norm(ct_module_child(net, "norm"), x), 1, 1, 3, 1);
        assert_close(given, x, 1e-12, 1e-12, "regions");
        ck_assert_uint_eq(rng.offset, again.offset);
    }
    ct_module_destroy(net);
}
END_TEST

static ct_tensor *unit(ct_module *block, const char *conv, const char *norm, ct_tensor *x) {
    return ct_batch_norm(ct_module_child(block, norm), ct_conv2d(ct_module_child(block, conv), x));
}

/* What a residual block adds to what it was given. */
static ct_tensor *residue(ct_module *block, ct_tensor *x) {
    ct_tensor *y = unit(block, "conv2", "bn2", ct_relu(unit(block, "conv1", "bn1", x)));
    return ct_module_child(block, "conv3") ? unit(block, "conv3", "bn3", ct_relu(y)) : y;
}

/* Block i of n, also one that changes the size, drops what it adds with probability
 * drop_path * i / (n - 1), before the sum's relu: timm's rule (torchvision's ResNet has none). */
START_TEST(resnet_drops_residues_as_they_are_deep) {
    static const struct {
        const char *name;
        int blocks, depth[4];
    } nets[] = {{"resnet18", 8, {2, 2, 2, 2}}, {"resnet50", 16, {3, 4, 6, 3}}};
    ct_module *net = dropping_net(nets[_i].name, drop_path);
    ct_rng rng = ct_rng_create(3, 0), again = rng;
    CT_SCOPE {
        ct_tensor *x, *given = regions_of(net, "conv1", 64, 32, &rng, &x);
        for (int i = 0, stage = 0, at = 0; i < nets[_i].blocks; i++, at++) {
            char layer[32], name[16];
            if (at == nets[_i].depth[stage]) at = 0, stage++;
            snprintf(layer, sizeof layer, "layer%d", stage + 1);
            snprintf(name, sizeof name, "%d", at);
            ct_module *block = ct_module_child(ct_module_child(net, layer), name);
            ct_module *down = ct_module_child(block, "downsample");
            ct_tensor *y = residue(block, x), *past = down ? unit(down, "0", "1", x) : x;
            double p = drop_path * i / (nets[_i].blocks - 1);
            x = ct_relu(ct_add(past, i ? branch(y, p, &again) : y));
        }
        assert_close(given, ct_map_regions(x), 1e-9, 1e-9, "regions");
        ck_assert_uint_eq(rng.offset, again.offset);
        ck_assert_uint_gt(rng.offset, 0);
    }
    ct_module_destroy(net);
}
END_TEST

/* In evaluation, and of blocks that are frozen, nothing is dropped and nothing drawn. */
START_TEST(drops_in_training_alone) {
    ct_module *plain = dropping_net(smallest, 0), *drops = dropping_net(smallest, 0.9);
    ct_rng rng = ct_rng_create(3, 0);
    CT_SCOPE {
        ct_tensor *x = ct_tensor_cast(pictures_of(2, 64, 64), CT_F64);
        ct_tensor *expected = ct_backbone_regions(plain, x);
        ck_assert(!same(ct_backbone_regions_from(drops, x, &rng), expected));
        ck_assert_uint_gt(rng.offset, 0);
        ct_module_train(plain, false);
        ct_module_train(drops, false);
        formula_fill(plain, true);
        formula_fill(drops, true);
        rng = ct_rng_create(3, 0);
        expected = ct_backbone_regions(plain, x);
        ck_assert(same(ct_backbone_regions_from(drops, x, &rng), expected));
        ct_module_train(drops, true);
        ck_assert(ct_backbone_finetune(drops, 0));
        assert_close(ct_backbone_regions_from(drops, x, &rng), expected, 1e-12, 1e-12, "frozen");
        ck_assert_uint_eq(rng.offset, 0);
        assert_no_error();
    }
    ct_module_destroy(plain);
    ct_module_destroy(drops);
}
END_TEST

START_TEST(refuses_what_makes_no_sense) {
    ck_assert_ptr_null(ct_backbone_create("efficientnet_light0", NULL));
    assert_error("unknown network 'efficientnet_light0', expected one of");
    ck_assert_ptr_null(ct_backbone_create(NULL, NULL));
    assert_error("expected one of");
    ck_assert_ptr_null(ct_backbone_create(smallest, &(ct_backbone_options){.classes = -1}));
    assert_error("classes is -1");
    ck_assert_ptr_null(ct_backbone_create(smallest, &(ct_backbone_options){.drop_path = 1}));
    assert_error("efficientnet_lite0: drop_path is 1, expected 0 <= drop_path < 1");
    ck_assert_ptr_null(ct_backbone_create("vgg19", &(ct_backbone_options){.drop_path = 0.1}));
    assert_error("vgg19: drop_path is 0.1, expected 0, of such a network");
    ct_module *net = small_net(0), *linear = ct_linear_create(3, 3, true);
    CT_SCOPE {
        ck_assert_ptr_null(ct_map_regions(NULL));
        assert_error("map_regions: the map is NULL");
        ck_assert_ptr_null(ct_map_regions(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1, 4, 9))));
        assert_error("map_regions: the map is f32 (1,4,9), expected (B,F,h,w)");
        ck_assert_ptr_null(ct_backbone_logits(net, pictures_of(1, 32, 32)));
        assert_error("efficientnet_lite0 has no classifier");
        ck_assert_ptr_null(
            ct_backbone_regions(net, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1, 4, 9, 9))));
        assert_error("pictures are f32 (1,4,9,9), expected (B,3,H,W)");
        ck_assert_ptr_null(
            ct_backbone_regions(net, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(1, 3, 9, 9))));
        assert_error("f64");
        ck_assert_ptr_null(
            ct_backbone_regions(net, ct_zeros(CT_I64, CT_CPU, CT_SHAPE(1, 3, 9, 9))));
        assert_error("i64");
        ck_assert_ptr_null(ct_backbone_regions(net, NULL));
        assert_error("pictures are NULL");
        ck_assert_ptr_null(ct_backbone_regions(linear, pictures_of(1, 32, 32)));
        assert_error("the module is a linear");
    }
    ck_assert(!ct_backbone_finetune(net, -2));
    assert_error("-2 blocks, expected -1 (all) or 0 to 18");
    ck_assert(!ct_backbone_finetune(linear, 0));
    assert_error("linear");
    ck_assert(!ct_backbone_load(NULL, "x"));
    assert_error("NULL");
    ct_module_destroy(linear);
    ct_module_destroy(net);
}
END_TEST

LOOPED_TEST_MAIN("backbone", {trains_the_last_blocks_alone, 6}, {thaws_again, 1},
                 {records_nothing_of_a_frozen_net, 1},
                 {loads_a_file_with_a_classifier_into_a_net_without, 1},
                 {names_file_and_tensor_that_do_not_fit, 1},
                 {reads_names_of_data_parallel_and_old_files, 1}, {reads_the_names_of_timm, 1},
                 {names_the_way_out_of_a_checkpoint, 1}, {counts_regions, 1},
                 {vit_takes_whole_patches, 1}, {vit_drops_branches_as_they_are_deep, 1},
                 {resnet_drops_residues_as_they_are_deep, 2}, {drops_in_training_alone, 1},
                 {refuses_what_makes_no_sense, 1})
