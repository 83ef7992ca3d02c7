/* SPDX-License-Identifier: Apache-2.0 */
/* Networks for pictures against recorded values of torchvision, timm (ViT) and of the package
 * efficientnet_lite_pytorch: regions and logits; in f64 training mode, some gradients and running
 * statistics, too, which in f32 what fifty layers make of rounding and relus' kinks changes. */
#include "models/backbones.h"
#include "tests/golden.h"
#include "tests/models/backbone_formula.h"

enum { COLUMNS = 48 };

static const struct {
    const char *recorded, *name;
    int64_t blocks, batch, height, width;
} nets[] = {{"efficientnet_lite0", "efficientnet_lite0", 18, 2, 43, 64},
            {"resnet18", "resnet18", 9, 2, 43, 64},
            {"resnet50", "resnet50", 17, 2, 43, 64},
            {"vgg19", "vgg19", 16, 2, 43, 64},
            {"vit_tiny", "vit_tiny", 13, 1, 224, 224},
            {"vit_tiny_48x256", "vit_tiny", 13, 1, 48, 256}};
enum { NETS = sizeof nets / sizeof *nets };

typedef struct {
    const golden *g;
    const char *mode; /* "eval" or "train" */
    int seen;
} walk;

static const char *recorded(const walk *w, const char *what, const char *name) {
    static char text[256];
    snprintf(text, sizeof text, "%s.%s%s", w->mode, what, name);
    return text;
}

/* The first numbers, and the mean square of all, as the script records them. */
static ct_tensor *first(const ct_tensor *x) {
    ct_tensor *flat = ct_reshape((ct_tensor *)ct_detach((ct_tensor *)x), CT_SHAPE(-1));
    ct_tensor *few = ct_slice(flat, 0, 0, ct_count(x) < COLUMNS ? ct_count(x) : COLUMNS, 1);
    ct_tensor *square = ct_reshape(ct_mean_all(ct_square(flat)), CT_SHAPE(1));
    return ct_concat2(few, square, 0);
}

static bool check_one(void *context, const char *name, ct_tensor *x, bool buffer) {
    walk *w = context;
    const char *key = recorded(w, "grad.", name);
    char after[256];
    snprintf(after, sizeof after, "after.%s", name);
    CT_SCOPE {
        if (!buffer && golden_has(w->g, key)) {
            golden_check(w->g, first(ct_grad(x)), key);
            w->seen++;
        }
        if (buffer && strcmp(w->mode, "train") == 0 && golden_has(w->g, after)) {
            ct_tensor *all = first(x);
            golden_check(w->g, ct_slice(all, 0, ct_dim(all, 0) - 1, ct_dim(all, 0), 1), after);
            w->seen++;
        }
    }
    return true;
}

/* What is differentiated: the logits, or, of a net recorded without a classifier, the mean region.
 */
static ct_tensor *differentiated(const walk *w, ct_module *net, ct_tensor *pictures,
                                 ct_tensor *regions) {
    if (golden_number(w->g, "classes") == 0) return ct_mean(regions, 1);
    formula_fill(net, true); /* running statistics as before */
    ct_tensor *logits = ct_backbone_logits(net, pictures);
    golden_check(w->g, logits, recorded(w, "logits", ""));
    return logits;
}

static void check_mode(const golden *g, int i, ct_module *net, bool training) {
    walk w = {g, training ? "train" : "eval", 0};
    ct_module_train(net, training);
    ct_module_train(ct_module_child(net, "_dropout"), false); /* recorded without */
    formula_fill(net, true);
    int64_t height = nets[i].height, width = nets[i].width;
    ct_shape shape = CT_SHAPE(nets[i].batch, 3, height, width);
    ct_tensor *pictures = ct_tensor_cast(formula_tensor("pictures", shape, 2, 0, true), g->dtype);
    bool last = training || !golden_has(g, "train.regions");
    ct_tensor *regions = NULL;
    if (last) regions = ct_backbone_regions(net, pictures);
    else CT_NO_GRAD regions = ct_backbone_regions(net, pictures); /* norms in the weights */
    golden_check(g, ct_slice(regions, 2, 0, COLUMNS, 1), recorded(&w, "regions", ""));
    golden_check(g, ct_mean(ct_square(regions), 2), recorded(&w, "region_squares", ""));
    ck_assert_int_eq(ct_dim(regions, 1), ct_backbone_region_count(net, height, width));
    ck_assert_int_eq(ct_dim(regions, 2), ct_backbone_width(net));
    ct_tensor *y = differentiated(&w, net, pictures, regions);
    if (g->dtype != CT_F64 || !last) return;
    ct_tensor *cotangent = formula_tensor("cotangent", y->shape, 1, 0, false);
    ct_backward(ct_sum_all(ct_mul(y, ct_tensor_cast(cotangent, g->dtype))));
    ck_assert(ct_module_visit(net, check_one, &w));
    ck_assert_int_gt(w.seen, 1);
}

/* The smallest net is enough in anomaly mode; under a tool that makes all slow, it without
 * training.
 */
static bool is_left_out(int net, ct_dtype dtype) {
    if (getenv("CT_TEST_SMALL") && dtype == CT_F64) return true;
    return net > 0 && (getenv("CT_TEST_SMALL") || getenv("CT_TEST_ANOMALY"));
}

START_TEST(computes_what_was_recorded) {
    ct_dtype dtype = _i % 2 ? CT_F32 : CT_F64;
    if (is_left_out(_i / 2, dtype)) return;
    char name[64];
    snprintf(name, sizeof name, "backbone_%s", nets[_i / 2].recorded);
    golden g = golden_open(name, dtype);
    ct_backbone_options options = {.classes = (int64_t)golden_number(&g, "classes")};
    ct_module *net = ct_backbone_create(nets[_i / 2].name, &options);
    ct_module_to_dtype(net, g.dtype);
    ck_assert_int_eq(ct_backbone_block_count(net), nets[_i / 2].blocks);
    assert_no_error();
    formula_fill(net, false);
    CT_SCOPE { check_mode(&g, _i / 2, net, false); }
    if (g.dtype == CT_F64 && golden_has(&g, "train.regions")) {
        CT_SCOPE { check_mode(&g, _i / 2, net, true); }
    }
    ct_module_destroy(net);
    golden_close(&g);
}
END_TEST

LOOPED_TEST_MAIN("backbone golden", {computes_what_was_recorded, 2 * NETS})
