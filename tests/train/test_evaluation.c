/* SPDX-License-Identifier: Apache-2.0 */
/* Judgments as the package eccv-caption computes them, intervals and paired tests as NumPy and
 * SciPy do (tests/golden/record_evaluation.py), and what --evaluate says of them. */
#include <jansson.h>
#include <math.h>

#include "tests/golden.h"
#include "tests/train/job.h"
#include "train/evaluate/judgments.h"
#include "train/evaluate/resample.h"

static const char *judgments_path(void) {
    static char path[512];
    const char *source = getenv("CT_TEST_DATA");
    snprintf(path, sizeof path, "%s/tests/golden/judgments.json", source ? source : ".");
    return path;
}

/* ---- judgments --------------------------------------------------------------------------- */

static void check_judged(const golden *g, const char *name, const ct_judged_recalls *got) {
    const double *want = ct_data(golden_stored(g, name));
    const double have[] = {got->map_at_r, got->r_precision, got->r1, got->r5, got->r10};
    for (int i = 0; i < 5; i++) ck_assert_double_eq_tol(have[i], want[i], 1e-9);
}

/* As one model, and as two that are alike. */
START_TEST(judgments_as_the_package_counts) {
    for (int d = 0; d < 2; d++) {
        CT_SCOPE {
            golden g = golden_open("evaluation", d ? CT_F64 : CT_F32);
            ct_embeddings one = {golden_get(&g, "images"), golden_get(&g, "captions"), CT_COSINE};
            ct_embeddings models[2] = {one, one};
            ct_judgments j;
            ct_judged_recalls i2t, t2i;
            ck_assert(ct_judgments_read(&j, judgments_path(), 60, 300));
            ck_assert(ct_evaluate_judgments(models, 1 + _i, &j, &i2t, &t2i));
            assert_no_error();
            ck_assert_int_eq(i2t.queries, 40);
            check_judged(&g, "judged.i2t", &i2t);
            check_judged(&g, "judged.t2i", &t2i);
            ct_judgments_free(&j);
            golden_close(&g);
        }
    }
}
END_TEST

/* One right answer a query: R@k are the usual ones, and mAP@R and R-P are R@1. Equal embeddings
 * count against the model. */
START_TEST(judgments_of_one_answer_are_the_usual_recalls) {
    int64_t image_of[12], query[12], begin[13];
    CT_SCOPE {
        ct_rng rng = ct_rng_create(3, 0);
        ct_tensor *x = ct_random_normal(&rng, "x", CT_F32, CT_CPU, CT_SHAPE(12, 4));
        ct_tensor *y = ct_tensor_add(x, ct_random_normal(&rng, "y", CT_F32, CT_CPU, x->shape));
        ct_tensor_copy_to(ct_tensor_slice(x, 0, 5, 6, 1), ct_tensor_slice(x, 0, 4, 5, 1));
        ct_tensor_copy_to(ct_tensor_slice(y, 0, 8, 9, 1), ct_tensor_slice(y, 0, 7, 8, 1));
        for (int i = 0; i < 12; i++) image_of[i] = query[i] = begin[i] = i;
        begin[12] = 12;
        ct_judgments j = {.i2t = {12, query, begin, image_of}, .t2i = {12, query, begin, image_of}};
        ct_embeddings model = {x, y, _i ? CT_ORDER : CT_COSINE};
        ct_judged_recalls way[2];
        ct_retrieval usual;
        ck_assert(ct_evaluate_judgments(&model, 1, &j, &way[0], &way[1]));
        ck_assert(ct_evaluate(&model, 1, image_of, (ct_evaluation){0}, &usual));
        for (int k = 0; k < 2; k++) {
            const ct_recalls *want = k ? &usual.t2i : &usual.i2t;
            ck_assert_double_eq_tol(way[k].r1, want->r1, 1e-9);
            ck_assert_double_eq_tol(way[k].r5, want->r5, 1e-9);
            ck_assert_double_eq_tol(way[k].r10, want->r10, 1e-9);
            ck_assert_double_eq_tol(way[k].map_at_r, want->r1, 1e-9);
            ck_assert_double_eq_tol(way[k].r_precision, want->r1, 1e-9);
        }
        assert_no_error();
    }
}
END_TEST

START_TEST(judgments_that_are_refused) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "judged.json:1: "},
        {"{\"name\": \"x\"", "judged.json:1: "},
        {"[]", "expected {\"name\": \"...\""},
        {"{\"image_to_text\": {\"0\": [0]}}", "expected {\"name\": \"...\""},
        {"{\"name\": \"x\"}", "judges nothing"},
        {"{\"name\": \"\", \"text_to_image\": {\"0\": [1]}}",
         "expected a \"name\" that is not empty"},
        {"{\"name\": \"x\", \"image_to_text\": [1]}", "image_to_text: expected {\"QUERY\""},
        {"{\"name\": \"x\", \"image_to_text\": {\"3\": [0]}}",
         "image_to_text, \"3\": expected queries from 0 to 2"},
        {"{\"name\": \"x\", \"image_to_text\": {\"-1\": [0]}}", "\"-1\": expected queries"},
        {"{\"name\": \"x\", \"text_to_image\": {\"4\": [3]}}",
         "text_to_image, \"4\": expected answers from 0 to 2"},
        {"{\"name\": \"x\", \"image_to_text\": {\"0\": []}}", "expected a list of answers"},
        {"{\"name\": \"x\", \"image_to_text\": {\"0\": [1, 1]}}", "expected each answer once"},
        {"{\"name\": \"x\", \"image_to_text\": {\"0\": [\"1\"]}}", "expected answers from 0 to 5"},
        {"{\"name\": \"x\", \"image_to_text\": {\"0\": [1], \"0\": [2]}}", "duplicate"},
        {"{\"name\": \"x\", \"image_to_text\": {\"0\": [1], \"00\": [2]}}",
         "\"00\": expected queries"},
        {"{\"name\": \"x\", \"image_to_texts\": {\"0\": [1]}, \"text_to_image\": {\"0\": [1]}}",
         "unknown member \"image_to_texts\"; did you mean 'image_to_text'?"},
    };
    char *folder = folder_make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ct_judgments j;
        write_text(in_folder(folder, "judged.json"), cases[i].text);
        ck_assert_msg(!ct_judgments_read(&j, in_folder(folder, "judged.json"), 3, 6), "%s",
                      cases[i].text);
        assert_error(cases[i].message);
        ct_judgments_free(&j);
    }
    folder_remove(folder);
}
END_TEST

/* ---- intervals and pairs ----------------------------------------------------------------- */

static ct_query_ranks ranks_of(const golden *g, const char *model) {
    char name[16];
    snprintf(name, sizeof name, "%s.i2t", model);
    const ct_tensor *i2t = golden_stored(g, name);
    snprintf(name, sizeof name, "%s.t2i", model);
    const ct_tensor *t2i = golden_stored(g, name);
    return (ct_query_ranks){ct_data(i2t), ct_data(t2i), ct_data(golden_stored(g, "image_of")),
                            ct_dim(i2t, 0), ct_dim(t2i, 0)};
}

/* A sample's quantile at 2.5% spreads by sqrt(0.025 * 0.975 / N) / 0.0584 standard deviations
 * around the distribution's (0.0584: the normal density there): 0.019 for N = 20,000, and it may
 * fall on the neighbouring step, of 100 / 400 images. Four times that. */
enum { RESAMPLES = 20000 };
static void check_interval(const double want[3], const ct_interval *got, int k) {
    double tolerance = 4 * 0.019 * want[2] + 100.0 / 400;
    ck_assert_msg(fabs(got->low - want[0]) < tolerance, "%d: low %g, not %g", k, got->low, want[0]);
    ck_assert_msg(fabs(got->high - want[1]) < tolerance, "%d: high %g, not %g", k, got->high,
                  want[1]);
}

START_TEST(intervals_as_numpy_draws_them) {
    CT_SCOPE {
        golden g = golden_open("evaluation", CT_F64);
        ct_query_ranks ranks = ranks_of(&g, "a");
        const double *want = ct_data(golden_stored(&g, "intervals"));
        ct_interval got[CT_RECALLS], again[CT_RECALLS], other[CT_RECALLS];
        ck_assert(ct_recall_intervals(&ranks, RESAMPLES, 5, got));
        for (int k = 0; k < CT_RECALLS; k++) check_interval(want + 3 * k, &got[k], k);
        ck_assert(ct_recall_intervals(&ranks, 1000, 5, again));
        ck_assert(ct_recall_intervals(&ranks, 1000, 5, other));
        ck_assert(memcmp(again, other, sizeof other) == 0); /* the same seed, the same bits */
        ck_assert(ct_recall_intervals(&ranks, 1000, 6, other));
        ck_assert(memcmp(again, other, sizeof other) != 0);
        golden_close(&g);
    }
}
END_TEST

/* p against the whole distribution of exchanges; five standard deviations of a frequency. */
START_TEST(pairs_as_scipy_tests_them) {
    CT_SCOPE {
        golden g = golden_open("evaluation", CT_F64);
        ct_query_ranks a = ranks_of(&g, "a"), b = ranks_of(&g, "b");
        const double *want = ct_data(golden_stored(&g, "changes"));
        const double *p = ct_data(golden_stored(&g, "p"));
        ct_recall_change got[CT_RECALLS];
        ck_assert(ct_recall_changes(&a, &b, RESAMPLES, 5, got));
        for (int k = 0; k < CT_RECALLS; k++) {
            check_interval(want + 3 * k, &got[k].difference, k);
            double spread = sqrt(p[k] * (1 - p[k]) / RESAMPLES);
            ck_assert_msg(fabs(got[k].p - p[k]) < 5 * spread + 1.0 / RESAMPLES, "%d: p %g, not %g",
                          k, got[k].p, p[k]);
        }
        ck_assert(ct_recall_changes(&a, &a, 100, 5, got)); /* no difference is as large */
        for (int k = 0; k < CT_RECALLS; k++) {
            ck_assert_double_eq(got[k].difference.low, 0);
            ck_assert_double_eq(got[k].p, 1);
        }
        golden_close(&g);
    }
}
END_TEST

/* ---- the command ------------------------------------------------------------------------- */

START_TEST(evaluations_say_it) {
    char *folder = tiny_experiment(), options[1024];
    static char said[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "--set train.epochs=1", NULL), 0);
    snprintf(options, sizeof options, "--set train.epochs=1 --set run.seed=9 --set run.folder=%s/b",
             folder);
    ck_assert_int_eq(train(folder, options, NULL), 0);
    write_text(in_folder(folder, "judged.json"),
               "{\"name\": \"ours\", \"text_to_image\": {\"0\": [0, 4], \"26\": [11]}}");
    snprintf(options, sizeof options,
             "--evaluate test --judgments %s/judged.json --bootstrap 200 --out %s/said.json",
             folder, folder);
    ck_assert_msg(train(folder, options, said) == 0, "%s", said);
    ck_assert_msg(strstr(said, "ours\n  text -> image         2 queries   mAP@R"), "%s", said);
    ck_assert_msg(strstr(said, "95% intervals, 200 bootstrap samples"), "%s", said);
    json_t *root = json_load_file(in_folder(folder, "said.json"), 0, NULL);
    json_t *judged = json_array_get(json_object_get(root, "judgments"), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(judged, "t2i"), "queries")),
                     2);
    json_t *intervals = json_object_get(root, "intervals");
    double r10 = json_number_value(json_object_get(json_object_get(root, "t2i"), "r10"));
    json_t *ends = json_object_get(json_object_get(intervals, "t2i"), "r10");
    ck_assert_double_le(json_number_value(json_array_get(ends, 0)), r10);
    ck_assert_double_ge(json_number_value(json_array_get(ends, 1)), r10);
    json_decref(root);
    snprintf(options, sizeof options,
             "--evaluate test --paired --weights %s/run --weights %s/b --out %s/said.json", folder,
             folder, folder);
    ck_assert_msg(train(folder, options, said) == 0, "%s", said);
    ck_assert_msg(strstr(said, "10000 bootstrap samples"), "%s", said);
    root = json_load_file(in_folder(folder, "said.json"), 0, NULL);
    json_t *each = json_object_get(root, "each"), *paired = json_object_get(root, "paired");
    double rsum[2];
    for (size_t m = 0; m < 2; m++) {
        rsum[m] = json_number_value(json_object_get(json_array_get(each, m), "rsum"));
    }
    json_t *difference = json_object_get(json_object_get(paired, "rsum"), "difference");
    ck_assert_double_eq_tol(json_number_value(difference), rsum[1] - rsum[0], 1e-6);
    json_decref(root);
    snprintf(options, sizeof options, "--evaluate test --paired --weights %s/run", folder);
    REFUSED(folder, options, "--paired takes two models, --weights names 1");
    snprintf(options, sizeof options, "--evaluate test --judgments %s/nothing", folder);
    REFUSED(folder, options, "nothing: cannot open");
    folder_remove(folder);
}
END_TEST

/* A folder may have any bytes in its name, JSON may not. */
START_TEST(models_whose_names_are_not_utf8) {
    char *folder = tiny_experiment(), options[1024], model[512], expected[512];
    static char said[OUTPUT_SIZE];
    snprintf(model, sizeof model, "%s/m\xff", folder);
    snprintf(expected, sizeof expected, "%s/m?", folder);
    snprintf(options, sizeof options, "--set train.epochs=1 --set run.folder=%s/run", folder);
    ck_assert_int_eq(train(folder, options, NULL), 0);
    ck_assert_int_eq(shell("cp -r %s/run %s && cp -r %s/run %s/b", folder, model, folder, folder),
                     0);
    for (int pair = 0; pair < 2; pair++) {
        snprintf(options, sizeof options,
                 "--evaluate test --weights %s --weights %s/b %s --out %s/said.json", model, folder,
                 pair ? "--paired" : "", folder);
        ck_assert_msg(train(folder, options, said) == 0, "%s", said);
        json_t *root = json_load_file(in_folder(folder, "said.json"), 0, NULL);
        const json_t *models = json_object_get(root, "models");
        ck_assert_uint_eq(json_array_size(models), 2);
        ck_assert_str_eq(json_string_value(json_array_get(models, 0)), expected);
        json_decref(root);
    }
    folder_remove(folder);
}
END_TEST

LOOPED_TEST_MAIN("evaluation", {judgments_as_the_package_counts, 2},
                 {judgments_of_one_answer_are_the_usual_recalls, 2},
                 {judgments_that_are_refused, 1}, {intervals_as_numpy_draws_them, 1},
                 {pairs_as_scipy_tests_them, 1}, {evaluations_say_it, 1},
                 {models_whose_names_are_not_utf8, 1})
