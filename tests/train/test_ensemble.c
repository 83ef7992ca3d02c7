/* SPDX-License-Identifier: Apache-2.0 */
/* Several trained models together: --weights with runs of different graphs, and files. */
#include <jansson.h>

#include "tests/train/program.h"
#include "train/evaluate/evaluate.h"

/* Runs the program in the experiment's folder; its output if it is not NULL. */
static void train(const char *folder, const char *options, char *output) {
    char arguments[2048];
    static char said[OUTPUT_SIZE];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    int status = run_train(arguments, said);
    ck_assert_msg(status == 0, "%s: status %d\n%s", options, status, said);
    if (output) memcpy(output, said, sizeof said);
}

/* run/ is of the policy model, other/ of a narrower one without policy, in f64, of fewer words. */
static char *two_runs(void) {
    char *folder = tiny_experiment(), options[1024];
    train(folder, "--set train.epochs=4", NULL);
    snprintf(options, sizeof options,
             "--set run.folder=%s/other --set train.epochs=4 --set run.dtype=f64 "
             "--set data.min_count=8 --set image.attend= --set text.attend= "
             "--set loss.discrete_policy= --set loss.continuous_policy= "
             "--set 'image.fc=linear width=10' --set 'text.pool=gru width=10'",
             folder);
    train(folder, options, NULL);
    return folder;
}

static json_t *evaluated(const char *folder, const char *options) {
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "--evaluate test --out %s/out.json %s", folder, options);
    train(folder, arguments, NULL);
    json_error_t error;
    json_t *root = json_load_file(in_folder(folder, "out.json"), 0, &error);
    ck_assert_msg(root != NULL, "out.json: %s", error.text);
    return root;
}

static void check_number(json_t *object, const char *name, double expected) {
    json_t *value = json_object_get(object, name);
    ck_assert_msg(json_is_number(value), "no number '%s'", name);
    ck_assert_double_eq_tol(json_number_value(value), expected, 1e-6);
}

static void check_recalls(json_t *root, const char *way, const ct_recalls *r) {
    json_t *object = json_object_get(root, way);
    check_number(object, "r1", r->r1);
    check_number(object, "r5", r->r5);
    check_number(object, "r10", r->r10);
    check_number(object, "medr", r->medr);
    check_number(object, "meanr", r->meanr);
}

static void check_json(json_t *root, const ct_retrieval *m) {
    check_recalls(root, "i2t", &m->i2t);
    check_recalls(root, "t2i", &m->t2i);
    check_number(root, "rsum", m->rsum);
}

/* What --embed writes for one of the runs. */
static ct_embeddings embedded(const char *folder, const char *run) {
    char options[1024], path[512];
    snprintf(options, sizeof options, "--embed test --weights %s/%s --out %s/%s", folder, run,
             folder, run);
    train(folder, options, NULL);
    snprintf(path, sizeof path, "%s/%s/img_embs.npy", folder, run);
    ct_tensor *images = ct_npy_open(path);
    snprintf(path, sizeof path, "%s/%s/cap_embs.npy", folder, run);
    ct_tensor *captions = ct_npy_open(path);
    assert_no_error();
    return (ct_embeddings){images, captions, CT_COSINE};
}

enum { TEST_IMAGES = 12, TEST_CAPTIONS = 27 };

/* As write_split has it: two captions an image, three for every fifth. */
static void captions_of(int64_t *image_of) {
    int64_t c = 0;
    for (int64_t i = 0; i < TEST_IMAGES; i++)
        for (int k = 0; k < (i % 5 ? 2 : 3); k++) image_of[c++] = i;
}

START_TEST(mean_of_runs_of_different_graphs) {
    char *folder = two_runs(), options[1024];
    CT_SCOPE {
        int64_t image_of[TEST_CAPTIONS];
        captions_of(image_of);
        ct_embeddings models[2] = {embedded(folder, "run"), embedded(folder, "other")};
        ck_assert_int_eq(ct_dim(models[0].images, 1), 12);
        ck_assert_int_eq(ct_dim(models[1].images, 1), 10);
        ck_assert(models[1].images->dtype == CT_F64);
        ct_retrieval one, both;
        ct_evaluation how = {0};
        ck_assert(ct_evaluate(models, 1, image_of, how, &one));
        ck_assert(ct_evaluate(models, 2, image_of, how, &both));
        ck_assert_double_ne(one.t2i.meanr, both.t2i.meanr);
        json_t *root = evaluated(folder, "");
        check_json(root, &one);
        json_decref(root);
        const char *const firsts[] = {"run", "run/best.safetensors"};
        for (int i = 0; i < 2; i++) {
            snprintf(options, sizeof options, "--weights %s/%s --weights %s/other", folder,
                     firsts[i], folder);
            root = evaluated(folder, options);
            check_json(root, &both);
            check_number(root, "images", TEST_IMAGES);
            check_number(root, "captions", TEST_CAPTIONS);
            ck_assert_uint_eq(json_array_size(json_object_get(root, "models")), 2);
            json_decref(root);
        }
    }
    folder_remove(folder);
}
END_TEST

START_TEST(folds_and_all_at_once) {
    char *folder = two_runs(), options[1024];
    CT_SCOPE {
        int64_t image_of[TEST_CAPTIONS];
        captions_of(image_of);
        ct_embeddings model = embedded(folder, "run");
        ct_retrieval folds, printed, all;
        ck_assert(ct_evaluate(&model, 1, image_of, (ct_evaluation){3, false}, &folds));
        ck_assert(ct_evaluate(&model, 1, image_of, (ct_evaluation){3, true}, &printed));
        ck_assert(ct_evaluate(&model, 1, image_of, (ct_evaluation){1, false}, &all));
        ck_assert_double_ne(folds.rsum, printed.rsum);
        json_t *root = evaluated(folder, "--set evaluate.folds=3");
        check_json(root, &folds);
        check_json(json_object_get(root, "all"), &all);
        check_number(root, "folds", 3);
        json_decref(root);
        root = evaluated(folder, "--set evaluate.folds=3 --set compat.evaluation_report=released");
        check_json(root, &printed);
        json_decref(root);
        static char said[OUTPUT_SIZE];
        snprintf(options, sizeof options, "--evaluate test --set evaluate.folds=3");
        train(folder, options, said);
        ck_assert_msg(strstr(said, "test, 3 folds") && strstr(said, "\ntest  "), "%s", said);
    }
    folder_remove(folder);
}
END_TEST

/* The score that a query gives an image. */
static double score_of(const char *output, int image) {
    for (const char *line = output; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        double score;
        int found;
        if (sscanf(line, " %*d %lf test %d", &score, &found) == 2 && found == image) return score;
    }
    ck_abort_msg("image %d is not in\n%s", image, output);
}

START_TEST(queries_ask_all_models) {
    char *folder = two_runs(), options[1024];
    static char one[OUTPUT_SIZE], other[OUTPUT_SIZE], both[OUTPUT_SIZE];
    train(folder, "--query 'a blue star' --top 12 --split test", one);
    snprintf(options, sizeof options,
             "--query 'a blue star' --top 12 --split test --weights %s/other", folder);
    train(folder, options, other);
    snprintf(options, sizeof options,
             "--query 'a blue star' --top 12 --split test --weights %s/run --weights %s/other",
             folder, folder);
    train(folder, options, both);
    double before = INFINITY;
    for (const char *line = both; *line; line = strchr(line, '\n') + 1) {
        int image;
        double score;
        ck_assert_int_eq(sscanf(line, " %*d %lf test %d", &score, &image), 2);
        double mean = (score_of(one, image) + score_of(other, image)) / 2;
        ck_assert_double_eq_tol(score, mean, 1.5e-4); /* printed with four digits */
        ck_assert_double_le(score, before);
        before = score;
    }
    folder_remove(folder);
}
END_TEST

/* As many captions, but one run reads whose they are and the other counts them off. */
START_TEST(captions_of_other_images_are_refused) {
    char *folder = tiny_experiment(), options[1024], captions[256] = "", ids[256] = "";
    train(folder, "--set train.epochs=1", NULL);
    snprintf(options, sizeof options,
             "--set train.epochs=1 --set run.folder=%s/names --set data.ids=names "
             "--set data.train_split=even --set data.dev_split=even --set data.test_splits=even",
             folder);
    for (int i = 0; i < TEST_IMAGES; i++) {
        strcat(captions, "a red star\n");
        sprintf(ids + strlen(ids), "%d\n", TEST_IMAGES - 1 - i);
    }
    write_text(in_folder(folder, "data/even_caps.txt"), captions);
    write_text(in_folder(folder, "data/even_ids.txt"), ids);
    ck_assert_int_eq(
        link(in_folder(folder, "data/test_ims.npy"), in_folder(folder, "data/even_ims.npy")), 0);
    train(folder, options, NULL);
    snprintf(options, sizeof options, "--evaluate even --weights %s/run --weights %s/names", folder,
             folder);
    REFUSED(folder, options, "even: captions are of other images for ", "/names than for ", "/run");
    folder_remove(folder);
}
END_TEST

TEST_MAIN("ensemble", mean_of_runs_of_different_graphs, folds_and_all_at_once,
          queries_ask_all_models, captions_of_other_images_are_refused)
