/* SPDX-License-Identifier: Apache-2.0 */
/* Modules and losses registered from outside: read, checked, built, computed, trained and listed as
 * the built-in ones are. */
#include "models/register.h"
#include "tests/models/model_small.h"

/* ---- what is registered ---------------------------------------------------------------------- */

/* "scaled by=2 width=8": x W^T times `by`; the place where it stands goes to `seen`. */
enum { SCALED_BY, SCALED_WIDTH };
static const ct_option scaled_options[] = {
    {"by", CT_OPTION_REAL, "2", 0, 10, NULL},
    {"width", CT_OPTION_INTEGER, NULL, 0, 100, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};
static ct_module_site seen;
static bool saw_lengths;

static bool create_scaled(const ct_module_site *site, ct_module **module, int64_t *out) {
    seen = *site;
    ck_assert_int_eq(*out, site->in);
    if (site->option[SCALED_WIDTH].given) *out = (int64_t)site->option[SCALED_WIDTH].number;
    if (*out > 0) *module = ct_linear_create(site->in, *out, false);
    return ct_ok();
}

static ct_tensor *run_scaled(const ct_module_site *site, ct_module *module,
                             const ct_module_input *input) {
    ck_assert_ptr_nonnull(input->rng);
    saw_lengths = input->lengths != NULL;
    return ct_scale(ct_linear(module, input->x), site->option[SCALED_BY].number);
}

static double flops_scaled(const ct_module_site *site, int64_t out, double rows, double steps) {
    return rows * steps * (double)(site->in * out);
}

static const ct_module_kind scaled = {.name = "scaled",
                                      .options = scaled_options,
                                      .create = create_scaled,
                                      .forward = run_scaled,
                                      .flops = flops_scaled};

/* "first": a pool without parameters or options, that takes the first step. */
static bool create_first(const ct_module_site *site, ct_module **module, int64_t *out) {
    (void)site, (void)module, (void)out;
    return true;
}
static ct_tensor *run_first(const ct_module_site *site, ct_module *module,
                            const ct_module_input *input) {
    (void)site;
    ck_assert_ptr_null(module);
    return ct_select(input->x, 1, 0);
}
static const ct_module_kind first = {
    .name = "first", .place = CT_POOLS, .create = create_first, .forward = run_first};

/* "regions_alone": gives a wrong shape. */
static ct_tensor *run_wrong(const ct_module_site *site, ct_module *module,
                            const ct_module_input *input) {
    (void)site, (void)module;
    return ct_slice(input->x, 2, 0, 1, 1);
}
static const ct_module_kind wrong = {
    .name = "wrong", .place = CT_IMAGE_ONLY, .create = create_first, .forward = run_wrong};

/* "between to=1": the squared distance of projected pairs less `to`. */
static const ct_option between_options[] = {
    {"to", CT_OPTION_REAL, "1", -10, 10, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};
static ct_module *create_between(const ct_option_value *option, const ct_model_sizes *model_sizes,
                                 int64_t width) {
    (void)option;
    ck_assert_int_eq(model_sizes->images, IMAGES);
    return ct_linear_create(width, 3, false);
}
static ct_tensor *compute_between(const ct_loss_input *input) {
    ck_assert_ptr_nonnull(input->batch->images);
    ct_tensor *difference = ct_linear(input->module, ct_sub(input->images, input->captions));
    return ct_add_scalar(ct_sum_all(ct_square(difference)), -input->option[0].number);
}
static const ct_loss_kind between = {.name = "between",
                                     .options = between_options,
                                     .create = create_between,
                                     .compute = compute_between};

static ct_tensor *compute_rows(const ct_loss_input *input) {
    return ct_sum(ct_square(input->images), 1);
}
static const ct_loss_kind rows_loss = {.name = "rows", .compute = compute_rows};

/* Once a process: Check may fork for every test or run all in one. */
static void register_all(void) {
    static bool registered;
    if (registered) return;
    registered = true;
    ck_assert(ct_register_module(&scaled) && ct_register_module(&first));
    ck_assert(ct_register_module(&wrong));
    ck_assert(ct_register_loss(&between) && ct_register_loss(&rows_loss));
}

#define OWN_IMAGE "[image]\nfc = linear width=8\nmine = scaled by=3 x 2\npool = first\n"
#define OWN_TEXT "[text]\nembed = words width=6\npool = gru width=5\nmine = scaled width=8\n"
#define HINGE "[loss]\nretrieval = hinge negatives=sum\n"
#define OWN_LOSS HINGE "near = between to=0.5 weight=2\nfar = between\noff = between weight=0\n"

/* ---- tests ----------------------------------------------------------------------------------- */

START_TEST(modules_are_built_where_they_stand) {
    register_all();
    ct_model *model = model_of(OWN_IMAGE OWN_TEXT HINGE, CT_F64);
    ck_assert_int_eq(seen.in, 5); /* the last that was made: [text], behind the pool */
    ck_assert(!seen.image && seen.pooled);
    ck_assert_ptr_nonnull(ct_module_tensor(ct_model_module(model), "image.mine.1.weight"));
    ct_tensor *text = ct_module_tensor(ct_model_module(model), "text.mine.weight");
    ck_assert(text && ct_shape_equal(text->shape, CT_SHAPE(8, 5)));
    CT_SCOPE {
        ct_losses losses = losses_of(model, 0, 0);
        ck_assert(!saw_lengths); /* the images', the last that ran, have none */
        ct_batch batch = batch_of(CT_F64, 0);
        ct_tensor *x = ct_linear(
            ct_module_child(ct_module_child(ct_model_module(model), "image"), "fc"), batch.images);
        ct_module *mine = ct_module_child(ct_module_child(ct_model_module(model), "image"), "mine");
        for (int i = 0; i < 2; i++)
            x = ct_scale(ct_linear(ct_module_child_at(mine, i, NULL), x), 3);
        assert_close(losses.image_embeddings, ct_select(x, 1, 0), 1e-12, 0, "images");
        ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
        ck_assert_ptr_nonnull(ct_grad(text));
    }
    ct_model_destroy(model);
}
END_TEST

START_TEST(losses_are_weighted_and_named) {
    register_all();
    ct_model *model = model_of(OWN_IMAGE OWN_TEXT OWN_LOSS, CT_F64);
    ck_assert_str_eq(ct_model_own_loss(model, 0), "near");
    ck_assert_str_eq(ct_model_own_loss(model, 1), "far");
    ck_assert_str_eq(ct_model_own_loss(model, 2), "off");
    ck_assert_ptr_null(ct_model_own_loss(model, 3));
    ck_assert_ptr_null(ct_module_tensor(ct_model_module(model), "losses.off.weight"));
    CT_SCOPE {
        ct_losses losses = losses_of(model, 0, 0);
        ct_tensor *weight = ct_module_tensor(ct_model_module(model), "losses.near.weight");
        ct_tensor *difference = ct_sub(ct_model_ranked(model, losses.image_embeddings),
                                       ct_model_ranked(model, losses.caption_embeddings));
        ct_tensor *near = ct_sum_all(ct_square(ct_matmul(difference, ct_transpose(weight, 0, 1))));
        double expected = ct_item(near) - 0.5;
        ck_assert_double_eq_tol(ct_item(losses.own[0]), expected, 1e-12);
        ck_assert_ptr_null(losses.own[2]);
        double sum =
            ct_item(losses.term[CT_LOSS_RETRIEVAL]) + 2 * expected + ct_item(losses.own[1]);
        ck_assert_double_eq_tol(ct_item(losses.term[CT_LOSS_TOTAL]), sum, 1e-12 * fabs(sum));
        ck_assert(ct_backward(losses.term[CT_LOSS_TOTAL]));
        ck_assert_ptr_nonnull(ct_grad(weight));
    }
    ct_model_destroy(model);
}
END_TEST

/* A model without a built-in loss trains the registered one. */
START_TEST(a_loss_of_its_own_is_enough) {
    register_all();
    ct_model *model = model_of(OWN_IMAGE OWN_TEXT "[loss]\nnear = between\n", CT_F64);
    CT_SCOPE {
        ct_losses losses = losses_of(model, 0, 0);
        ck_assert_double_eq(ct_item(losses.term[CT_LOSS_TOTAL]), ct_item(losses.own[0]));
    }
    ct_model_destroy(model);
}
END_TEST

START_TEST(the_table_lists_them) {
    register_all();
    ct_model *model = model_of(OWN_IMAGE OWN_TEXT OWN_LOSS, CT_F32);
    int count = 0;
    ct_model_row *rows = ct_model_table(model, 10, 7, &count);
    ck_assert_int_eq(count, 4 + 3 + 1 + 3);
    ck_assert_str_eq(rows[1].module, "scaled");
    ck_assert_double_eq(rows[1].flops, 10 * N * 64);
    ck_assert(ct_shape_equal(rows[3].output, CT_SHAPE(10, 8))); /* a pool's */
    ck_assert_str_eq(rows[8].name, "near");
    ck_assert_str_eq(rows[8].module, "between");
    ck_assert_int_eq(rows[8].parameters, 24);
    free(rows);
    ct_model_destroy(model);
}
END_TEST

static void refused(const char *text, const char *message) {
    fixture_ini ini;
    ck_assert_ptr_null(ct_model_create(fixture_read(&ini, text), sizes));
    assert_error(message);
}

START_TEST(wrong_descriptions_are_refused) {
    register_all();
    refused("[image]\nfc = scaled by=11\npool = mean\n", "test.ini:2: [image] fc: by is '11'");
    refused("[image]\nfc = scaled bye=1\npool = mean\n", "unknown option 'bye'; did you mean 'by'");
    refused("[image]\nfc = scalled\npool = mean\n",
            "unknown module 'scalled'; did you mean 'scaled'");
    refused("[image]\nfc = scaled width=0\npool = mean\n",
            "test.ini:2: [image] fc: scaled could not be made, 0 wide, of vectors 6 wide");
    refused("[image]\npool = mean\nagain = first\n", "'first' works on a sequence");
    refused("[image]\npool = mean\n[text]\nembed = words width=6\nx = wrong\npool = gru\n",
            "'wrong' is for regions");
    refused(OWN_IMAGE OWN_TEXT HINGE "near = between too=1\n", "unknown option 'too'");
    refused(OWN_IMAGE OWN_TEXT HINGE "near = between x 2\n", "expected one 'between option=value");
    refused(OWN_IMAGE OWN_TEXT HINGE "near = between\nnear = between\n", "given twice");
    refused(OWN_IMAGE OWN_TEXT HINGE "near = beetween\n", "near: unknown key");
    refused(OWN_IMAGE OWN_TEXT "[loss]\nretrieval = between\n", "expected 'hinge'");
    refused(OWN_IMAGE OWN_TEXT "[loss]\nnear = between weight=0\n", "[loss] trains nothing");
}
END_TEST

START_TEST(wrong_results_are_refused) {
    register_all();
    ct_model *model = model_of("[image]\nx = wrong\npool = mean\nfc = linear width=5\n"
                               "[text]\nembed = words width=6\npool = gru width=5\n"
                               "[loss]\nr = rows\n",
                               CT_F64);
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F64, 0);
        ct_losses losses = ct_model_losses(model, &batch, 0, NULL);
        ck_assert_ptr_null(losses.term[CT_LOSS_TOTAL]);
        assert_error("x (wrong): it gave f64 (5,4,1), expected (5,4,6)");
    }
    ct_model_destroy(model);
    model = model_of(OWN_IMAGE OWN_TEXT "[loss]\nr = rows\n", CT_F64);
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F64, 0);
        ck_assert_ptr_null(ct_model_losses(model, &batch, 0, NULL).term[CT_LOSS_TOTAL]);
        assert_error("loss r (rows): it gave f64 (5), expected a scalar");
    }
    ct_model_destroy(model);
}
END_TEST

START_TEST(wrong_kinds_are_refused) {
    register_all();
    ck_assert(!ct_register_module(&scaled));
    assert_error("register_module: there is already a module 'scaled'");
    ct_module_kind kind = scaled;
    kind.name = "gcn";
    ck_assert(!ct_register_module(&kind));
    assert_error("there is already a module 'gcn'");
    kind.name = "a b";
    ck_assert(!ct_register_module(&kind));
    assert_error("name 'a b', expected letters, digits and '_'");
    kind.forward = NULL;
    ck_assert(!ct_register_module(&kind) && !ct_ok());
    assert_error("needs a create and a forward function");
    ck_assert(!ct_register_module(NULL));
    assert_error("needs a create and a forward function");
    ck_assert(!ct_register_loss(&between));
    assert_error("register_loss: there is already a loss 'between'");
    static const ct_option weight[] = {{"weight", CT_OPTION_REAL, "1", 0, 1, NULL}, {0}};
    ct_loss_kind loss = {.name = "other", .options = weight, .compute = compute_rows};
    ck_assert(!ct_register_loss(&loss));
    assert_error("other has an option 'weight', which every term has");
    ck_assert(!ct_register_loss(NULL));
    assert_error("needs a compute function");
}
END_TEST

TEST_MAIN("model own", modules_are_built_where_they_stand, losses_are_weighted_and_named,
          a_loss_of_its_own_is_enough, the_table_lists_them, wrong_descriptions_are_refused,
          wrong_results_are_refused, wrong_kinds_are_refused)
