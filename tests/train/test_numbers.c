/* SPDX-License-Identifier: Apache-2.0 */
/* Features at the edge of what can be computed with: right, or an error that names the image and
 * the reason; so in training and with every command. */
#include "tests/train/program.h"

static const char *train(const char *folder, const char *options) {
    static char said[OUTPUT_SIZE];
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    int status = run_train(arguments, said);
    ck_assert_msg(status == 0, "%s: status %d\n%s", options, status, said);
    return said;
}

/* Fails, with these texts in its message. */
static void fails(const char *folder, const char *options, const char *const *texts) {
    static char said[OUTPUT_SIZE];
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    int status = run_train(arguments, said);
    ck_assert_msg(status == 2, "%s: status %d\n%s", options, status, said);
    const char *message = strstr(said, "train: /");
    for (; *texts; texts++) {
        ck_assert_msg(message && strstr(message, *texts), "%s: '%s' not in:\n%s", options, *texts,
                      said);
    }
}

#define FAILS(folder, options, ...) fails(folder, options, (const char *const[]){__VA_ARGS__, NULL})

/* Multiplies the features of an image (-1: of all) of a split; of one feature (-1: of all). */
static void scale(const char *folder, const char *split, int image, int feature, double factor) {
    char name[64];
    snprintf(name, sizeof name, "data/%s_ims.npy", split);
    CT_SCOPE {
        ct_tensor *x = ct_tensor_copy(ct_npy_open(in_folder(folder, name)));
        int64_t each = TINY_REGIONS * TINY_FEATURES;
        float *value = ct_data(x);
        for (int64_t i = 0; i < ct_count(x); i++) {
            bool here =
                (image < 0 || i / each == image) && (feature < 0 || i % TINY_FEATURES == feature);
            if (here) value[i] = (float)(value[i] * factor);
        }
        ck_assert(ct_npy_save(in_folder(folder, name), x));
    }
    assert_no_error();
}

/* Padded features are often 0; the released normalisation over the regions divides by their norm.
 */
START_TEST(a_feature_that_is_0_in_all_regions) {
    static const char first[] =
        "--set 'image.fc=l2norm' --set 'image.gcn=linear width=12' --set 'image.norm=relu' "
        "--set compat.l2norm=regions";
    char *folder = tiny_experiment(), options[1024];
    scale(folder, "train", 5, 2, 0);
    snprintf(options, sizeof options, "%s --overwrite", first);
    FAILS(folder, options,
          "/data/train_ims.npy: image 5: at [image] fc (l2norm) feature 2 is 0 in all "
          "its regions",
          "[compat] l2norm = regions", "not finite");
    snprintf(options, sizeof options, "%s --overwrite --set compat.l2norm=features", first);
    train(folder, options);
    folder_remove(folder);
}
END_TEST

/* The same where the feature is one of the graph's own: all of the image is 0. */
START_TEST(an_image_of_zeros) {
    char *folder = tiny_experiment();
    scale(folder, "train", 5, -1, 0);
    FAILS(
        folder, "--set compat.l2norm=regions --set image.gcn=",
        "/data/train_ims.npy: image 5: at [image] norm (l2norm) feature 0 is 0 in all its regions");
    train(folder, "--overwrite --set train.epochs=1"); /* and is one like others otherwise */
    folder_remove(folder);
}
END_TEST

START_TEST(one_image_out_of_range) {
    char *folder = tiny_experiment();
    train(folder, "--set train.epochs=1");
    scale(folder, "test", 3, -1, 1e20);
    static const char *const commands[] = {"--evaluate test", "--embed test",
                                           "--query 'a red star'", "--query star --split test"};
    static const char *const texts[] = {"/data/test_ims.npy: image 3: at [image] gcn.0 (gcn)",
                                        "no finite number any more, of numbers up to", NULL};
    for (int i = 0; i < 2; i++) fails(folder, commands[i], texts);
    fails(folder, commands[3], texts);
    ck_assert_ptr_nonnull(strstr(train(folder, commands[2]), "left out: "));
    scale(folder, "test", 3, -1, 1e-20);
    scale(folder, "test", 3, -1, 1e-25);
    for (int i = 0; i < 4; i++) {
        if (i == 2) continue;
        FAILS(folder, commands[i], "/data/test_ims.npy: image 3: its largest feature is ",
              "e-25, too small");
    }
    scale(folder, "test", 3, -1, 1e25);
    train(folder, "--evaluate test");
    scale(folder, "train", 7, -1, 1e20);
    FAILS(folder, "--overwrite", "/data/train_ims.npy: image 7: its largest feature is ",
          "e+20, squares", "not finite");
    scale(folder, "train", 7, -1, 1e-20);
    scale(folder, "train", 7, -1, 1e-25);
    FAILS(folder, "--overwrite", "/data/train_ims.npy: image 7: its largest feature is ", "e-25");
    ck_assert_int_eq(access(in_folder(folder, "run/best.safetensors"), F_OK), 0);
    folder_remove(folder);
}
END_TEST

/* What f32 can hold all the way is as right as at 1. */
START_TEST(all_images_far_from_1) {
    static const double factors[] = {1e6, 1e20 / 1e6};
    static const char *const splits[] = {"train", "dev", "test"};
    char *folder = tiny_experiment(), row[2][256];
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 3; k++) scale(folder, splits[k], -1, -1, factors[i]);
        const char *said = train(folder, "--overwrite --set image.gcn= --set image.attend= "
                                         "--set text.attend= --set loss.discrete_policy= "
                                         "--set loss.continuous_policy= --set train.epochs=6");
        const char *table = strstr(said, "\ntest ");
        ck_assert_ptr_nonnull(table);
        ck_assert_int_eq(sscanf(table, "\n%255[^\n]", row[i]), 1);
    }
    ck_assert_str_eq(row[0], row[1]);
    for (int k = 0; k < 3; k++) scale(folder, splits[k], -1, -1, 1e-20);
    for (int k = 0; k < 3; k++) scale(folder, splits[k], -1, -1, 1e-25);
    FAILS(folder, "--overwrite", "image ", "its largest feature is ", "e-25, too small");
    folder_remove(folder);
}
END_TEST

/* No sample is to blame: said are the step, the parameter, the loss's term, and of the step
 * computed again the module and its operation; what was saved before can be gone on from. */
START_TEST(a_rate_that_is_too_high) {
    static const char *const texts[] = {"train: step ",
                                        ": optimizer_step: the gradient of '",
                                        "' is not finite; computed again: the ",
                                        " loss is not finite; anomaly: at [",
                                        "output 0 of '",
                                        NULL};
    char *folder = tiny_experiment(), said[OUTPUT_SIZE], arguments[1024];
    train(folder, "--set train.epochs=1");
    snprintf(arguments, sizeof arguments, "%s/tiny.ini --resume --set train.lr=1e6", folder);
    ck_assert_int_eq(run_train(arguments, said), 2);
    for (const char *at = said, *const *text = texts; *text; text++) {
        at = strstr(at, *text);
        ck_assert_msg(at, "'%s' not in its place in:\n%s", *text, said);
    }
    train(folder, "--resume");
    folder_remove(folder);
}
END_TEST

TEST_MAIN("numbers", a_feature_that_is_0_in_all_regions, an_image_of_zeros, one_image_out_of_range,
          all_images_far_from_1, a_rate_that_is_too_high)
