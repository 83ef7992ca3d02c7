/* SPDX-License-Identifier: Apache-2.0 */
/* Weights both ways: files with the released code's names, recorded cases among them. */
#include "tests/files_test.h"
#include "tests/models/model_recorded.h"

/* ---- recorded cases ------------------------------------------------------------------------- */

static const char *golden_path(const char *name) {
    static char path[512];
    const char *source = getenv("CT_TEST_DATA");
    snprintf(path, sizeof path, "%s/tests/golden/%s.safetensors", source ? source : ".", name);
    return path;
}

static ct_model *recorded_model(const fixture_case *c) {
    return strstr(c->g.name, "dcpg") ? dcpg_model(c, "preset = released\n")
                                     : vsrn_model(c, true, false);
}

/* The tensor of the case that an exported one must be, to the bit, or NULL. */
static ct_tensor *recorded(const fixture_case *c, const char *name) {
    static const char *const kinds[] = {"param", "buffer"};
    for (int i = 0; i < 2; i++)
        if (fixture_has(c, "%s.%s", kinds[i], name)) return fixture_get(c, "%s.%s", kinds[i], name);
    return NULL;
}

/* Every tensor of the file is the case's, in name, shape, type and value. */
static void check_exported(const fixture_case *c, const char *path, int expected) {
    ct_safetensors *file = ct_safetensors_open(path);
    assert_no_error();
    ck_assert_int_eq(ct_safetensors_count(file), expected);
    for (int i = 0; i < expected; i++) CT_SCOPE {
            const char *name = ct_safetensors_name(file, i);
            ct_tensor *got = ct_safetensors_get(file, name), *want = recorded(c, name);
            ck_assert_msg(want != NULL, "%s is not in the case", name);
            ck_assert_msg(got->dtype == want->dtype, "%s is %s", name, ct_tensor_text(got));
            assert_close(got, want, 0, 0, name);
        }
    ct_safetensors_close(file);
}

/* The case's parameters go in by --init's way and come out as they were. */
static void both_ways(const char *name, ct_dtype dtype, int expected) {
    fixture_case c = fixture_open(name, dtype, "");
    ct_model *model = recorded_model(&c);
    ck_assert(ct_module_to_dtype(ct_model_module(model), dtype));
    ct_state_form form = ct_released_form(model);
    char *missing, *left_out;
    bool loaded = ct_module_load_as(ct_model_module(model), golden_path(name), &form, &missing);
    ck_assert_msg(loaded, "%s", ct_error());
    ck_assert_ptr_null(missing);
    const char *path = in_test_folder("exported.safetensors");
    ck_assert(ct_module_save_as(ct_model_module(model), path, &form, &left_out));
    ck_assert_ptr_null(left_out);
    check_exported(&c, path, expected);
    ct_model_destroy(model);
    golden_close(&c.g);
}

START_TEST(recorded_cases_go_both_ways) {
    for (ct_dtype dtype = CT_F32; dtype <= CT_F64; dtype++) {
        both_ways("dcpg_step_f30k", dtype, 99 + 18);
        both_ways("dcpg_step_coco", dtype, 99 + 18);
        both_ways("vsrn_step_f30k", dtype, 53 + 15);
        both_ways("vsrn_step_coco", dtype, 51 + 12);
    }
}
END_TEST

/* ---- files made here ------------------------------------------------------------------------ */

/* The case's parameters under their plain names, changed by the caller before saving. */
enum { MOST_TENSORS = 256 };
typedef struct {
    ct_named_tensor item[MOST_TENSORS];
    int count;
} tensor_list;

/* Those for which `wanted` holds; names point into the case's file. */
static tensor_list released_state(const fixture_case *c, bool (*wanted)(const char *name)) {
    tensor_list list = {.count = 0};
    for (int i = 0; i < ct_safetensors_count(c->g.file); i++) {
        const char *name = ct_safetensors_name(c->g.file, i), *dot = strchr(name, '.');
        if (strncmp(name, "param.", 6) && strncmp(name, "buffer.", 7)) continue;
        if (wanted && !wanted(dot + 1)) continue;
        ck_assert_int_lt(list.count, MOST_TENSORS);
        list.item[list.count++] = (ct_named_tensor){dot + 1, fixture_get(c, "%s", name)};
    }
    return list;
}

static const char *save_list(const tensor_list *list) {
    const char *path = in_test_folder("state.safetensors");
    ck_assert(ct_safetensors_save(path, list->item, list->count, NULL));
    return path;
}

static bool is_encoder(const char *name) {
    return !strncmp(name, "img_enc.", 8) || !strncmp(name, "txt_enc.", 8);
}

static bool same_as_before(void *context, const char *name, ct_tensor *x, bool buffer) {
    (void)buffer;
    ct_tensor *before = ct_module_tensor(context, name);
    assert_close(x, before, 0, 0, name);
    return true;
}

static bool heads_as_before(void *context, const char *name, ct_tensor *x, bool buffer) {
    bool head = !strncmp(name, "classifier.", 11) || !strncmp(name, "decoder.", 8);
    return !head || same_as_before(context, name, x, buffer);
}

/* Two models with the same initial values: one to load into, one to compare with. */
typedef struct {
    fixture_case c;
    ct_model *model, *before;
    ct_module *module;
    ct_state_form form;
    char *missing;
} loading;

static loading begin(void) {
    loading l = {.c = fixture_open("dcpg_step_f30k", CT_F32, "")};
    ct_seed(3);
    l.model = recorded_model(&l.c);
    ct_seed(3);
    l.before = recorded_model(&l.c);
    l.module = ct_model_module(l.model);
    l.form = ct_released_form(l.model);
    return l;
}

static void end(loading *l) {
    free(l->missing);
    ct_model_destroy(l->model);
    ct_model_destroy(l->before);
    golden_close(&l->c.g);
}

/* Released checkpoints hold the encoders alone. */
START_TEST(what_only_losses_use_may_be_missing) {
    loading l = begin();
    CT_SCOPE {
        tensor_list list = released_state(&l.c, is_encoder);
        bool loaded = ct_module_load_as(l.module, save_list(&list), &l.form, &l.missing);
        ck_assert_msg(loaded, "%s", ct_error());
        ck_assert_str_eq(l.missing, "classifier, decoder");
        ck_assert(ct_module_visit(l.module, heads_as_before, ct_model_module(l.before)));
        assert_close(ct_module_tensor(l.module, "image.fc.weight"),
                     fixture_get(&l.c, "param.img_enc.fc.weight"), 0, 0, "image.fc.weight");
    }
    end(&l);
}
END_TEST

static bool not_one_classifier(const char *name) { return strcmp(name, "classifier2.bias"); }

/* Expects one error with all of these texts, and nothing changed. */
static void refused(loading *l, const tensor_list *list, const char *const *texts) {
    ck_assert(!ct_module_load_as(l->module, save_list(list), &l->form, &l->missing));
    ck_assert_ptr_null(l->missing);
    for (; *texts; texts++) {
        ck_assert_msg(ct_error() && strstr(ct_error(), *texts), "no '%s' in: %s", *texts,
                      ct_error());
    }
    ct_error_clear();
    ck_assert(ct_module_visit(l->module, same_as_before, ct_model_module(l->before)));
}
#define REFUSED(l, list, ...) refused(l, list, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(parts_are_not_loaded_in_part) {
    loading l = begin();
    CT_SCOPE {
        tensor_list list = released_state(&l.c, not_one_classifier);
        REFUSED(&l, &list, "1 missing: classifier2.bias");
    }
    end(&l);
}
END_TEST

static bool not_two(const char *name) {
    return strcmp(name, "img_enc.bn.weight") && strcmp(name, "txt_enc.rnn.bias_hh_l0");
}

START_TEST(every_misfit_is_listed) {
    loading l = begin();
    CT_SCOPE {
        tensor_list list = released_state(&l.c, not_two);
        ct_tensor *one = ct_full(CT_F32, CT_CPU, CT_SHAPE(1), 1);
        list.item[list.count++] = (ct_named_tensor){"img_enc.surprise.weight", one};
        list.item[list.count++] = (ct_named_tensor){"linear3.bias", one};
        for (int i = 0; i < list.count; i++)
            if (!strcmp(list.item[i].name, "img_enc.fc.weight")) list.item[i].tensor = one;
        REFUSED(&l, &list, "2 missing: ", "img_enc.bn.weight", "txt_enc.rnn.bias_hh_l0",
                "2 extra: ", "img_enc.surprise.weight", "linear3.bias", "1 of another shape",
                "img_enc.fc.weight is f32 (1)", "instead of f32 (6,9)");
    }
    end(&l);
}
END_TEST

/* A recorded case's other tensors are not looked at; a parameter too many is. */
START_TEST(extra_parameters_of_recorded_cases) {
    loading l = begin();
    CT_SCOPE {
        tensor_list list = released_state(&l.c, NULL);
        static char names[MOST_TENSORS][96];
        for (int i = 0; i < list.count; i++) {
            snprintf(names[i], sizeof names[i], "param.%s", list.item[i].name);
            list.item[i].name = names[i];
        }
        ct_tensor *one = ct_full(CT_F32, CT_CPU, CT_SHAPE(1), 1);
        list.item[list.count++] = (ct_named_tensor){"img_enc.other", one};
        ck_assert_msg(ct_module_load_as(l.module, save_list(&list), &l.form, NULL), "%s",
                      ct_error());
        list.item[list.count++] = (ct_named_tensor){"param.img_enc.other", one};
        ck_assert(!ct_module_load_as(l.module, save_list(&list), &l.form, NULL));
        assert_error("1 extra: img_enc.other");
    }
    end(&l);
}
END_TEST

/* ---- graphs --------------------------------------------------------------------------------- */

static ct_model *small_model(const char *image, const char *text) {
    static const float vectors[5 * 3] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3};
    static const uint8_t known[5] = {0, 0, 0, 0, 1};
    char description[512];
    snprintf(description, sizeof description,
             "[image]\n%s\n[text]\n%s\npool = gru width=4\n[loss]\nretrieval = hinge\n%s", image,
             text, strstr(image, "policy") ? "continuous_policy = 1\n" : "");
    ct_model *model = NULL;
    CT_SCOPE {
        ct_tensor *given = ct_from_data(CT_F32, CT_CPU, CT_SHAPE(5, 3), vectors);
        ct_model_sizes sizes = {.regions = 2,
                                .features = 4,
                                .vocabulary = 5,
                                .images = 1,
                                .word_vectors = given,
                                .word_known = known};
        model = fixture_model(description, sizes);
    }
    assert_no_error();
    return model;
}

/* Given vectors have no released name; an embedding beside them is not used. */
START_TEST(given_word_vectors_are_left_out) {
    ct_model *model =
        small_model("fc = linear width=4\npool = mean", "w = words vectors=given.txt");
    ct_module *module = ct_model_module(model);
    ct_state_form form = ct_released_form(model);
    char *left_out;
    const char *path = in_test_folder("glove.safetensors");
    ck_assert(ct_module_save_as(module, path, &form, &left_out));
    ck_assert_str_eq(left_out, "text.w.vectors, text.w.is_unknown, text.w.unknown");
    free(left_out);
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        tensor_list list = {.count = ct_safetensors_count(file)};
        for (int i = 0; i < list.count; i++) {
            const char *name = ct_safetensors_name(file, i);
            list.item[i] = (ct_named_tensor){name, ct_safetensors_get(file, name)};
        }
        list.item[list.count++] =
            (ct_named_tensor){"txt_enc.embed.weight", ct_full(CT_F32, CT_CPU, CT_SHAPE(5, 3), 1)};
        const char *with = save_list(&list);
        ct_safetensors_close(file);
        ck_assert_msg(ct_module_load_as(module, with, &form, NULL), "%s", ct_error());
    }
    ct_model_destroy(model);
}
END_TEST

/* What the released code cannot express is an error that names the parameters. */
START_TEST(graphs_without_released_names) {
    ct_model *model = small_model(
        "fc = linear width=4\nattend = policy_attention discrete=none\npool = mean", "w = words");
    ct_state_form form = ct_released_form(model);
    const char *path = in_test_folder("none.safetensors");
    ck_assert(!ct_module_save_as(ct_model_module(model), path, &form, NULL));
    ck_assert_ptr_nonnull(strstr(ct_error(), "image.attend.mean.weight"));
    assert_error("image.attend.mean.bias");
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert(!ct_module_load_as(ct_model_module(model), path, &form, NULL));
    assert_error("image.attend.mean.bias");
    ct_model_destroy(model);
}
END_TEST

TEST_MAIN("model_released", recorded_cases_go_both_ways, what_only_losses_use_may_be_missing,
          parts_are_not_loaded_in_part, every_misfit_is_listed, extra_parameters_of_recorded_cases,
          given_word_vectors_are_left_out, graphs_without_released_names)
