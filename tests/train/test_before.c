/* SPDX-License-Identifier: Apache-2.0 */
/* What validation and the evaluation at the end will need is asked for before the first step; what
 * is wrong later loses nothing that was trained. */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "tests/train/job.h"

/* Refused by the training and by --dry-run, with nothing done before. */
#define REFUSED_BEFORE(folder, options, ...)                                    \
    do {                                                                        \
        char with_[1024];                                                       \
        snprintf(with_, sizeof with_, "--dry-run %s", options);                 \
        REFUSED(folder, with_, __VA_ARGS__);                                    \
        REFUSED(folder, options, __VA_ARGS__);                                  \
        ck_assert_int_ne(access(in_folder(folder, "run/config.ini"), F_OK), 0); \
    } while (0)

START_TEST(folds_are_counted_before_the_first_step) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    REFUSED_BEFORE(folder, "--set evaluate.folds=5",
                   "data/dev: 12 images do not divide into 5 folds", "[evaluate] folds");
    write_split(in_folder(folder, "data"), "dev", 15, 2);
    REFUSED_BEFORE(folder, "--set evaluate.folds=5", "data/test: 12 images", "5 folds");
    /* of dev what is left of it counts */
    REFUSED_BEFORE(folder, "--set evaluate.folds=3 --set data.dev_captions=17",
                   "data/dev: 7 images");
    ck_assert_msg(train(folder, "--dry-run --set evaluate.folds=3", output) == 0, "%s", output);
    folder_remove(folder);
}
END_TEST

START_TEST(every_split_is_opened_before_the_first_step) {
    char *folder = tiny_experiment();
    REFUSED_BEFORE(folder, "--set data.test_splits=test,none", "none_ims.npy");
    REFUSED_BEFORE(folder, "--set data.dev_split=none", "none_ims.npy");
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(12, TINY_REGIONS, TINY_FEATURES));
        ct_set(x, 100, NAN);
        ck_assert(ct_npy_save(in_folder(folder, "data/test_ims.npy"), x));
        REFUSED_BEFORE(folder, "", "test_ims.npy: image 4, region 0, feature 4 is nan");
        x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(12, TINY_REGIONS, TINY_FEATURES + 1));
        ck_assert(ct_npy_save(in_folder(folder, "data/test_ims.npy"), x));
        REFUSED_BEFORE(folder, "", "test_ims.npy: features of 4 regions x 7 numbers do not fit");
    }
    write_split(in_folder(folder, "data"), "test", 12, 3);
    ck_assert_int_eq(shell("echo >> %s/data/dev_caps.txt", folder), 0);
    REFUSED_BEFORE(folder, "", "dev_caps.txt:28: empty caption");
    folder_remove(folder);
}
END_TEST

START_TEST(so_is_all_else_that_is_given) {
    char *folder = tiny_experiment(), options[512];
    REFUSED_BEFORE(folder, "--set train.lr_factors=image.no:1", "no part 'image.no'");
    REFUSED_BEFORE(folder, "--init /nowhere", "/nowhere");
    REFUSED_BEFORE(folder, "--set \"data.dev_split=$(printf '\\377')\"", "expected UTF-8");
    write_text(in_folder(folder, "taken"), "");
    snprintf(options, sizeof options, "--set run.folder=%s/taken/run", folder);
    REFUSED_BEFORE(folder, options, "/taken/run: the folder cannot be made or written in");
    snprintf(options, sizeof options, "--steps 1 --dump-steps %s/taken", folder);
    REFUSED_BEFORE(folder, options, "/taken: the folder cannot be made or written in");
    folder_remove(folder);
}
END_TEST

START_TEST(a_dry_run_says_that_a_run_is_there) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "--dry-run", output), 0);
    ck_assert_ptr_null(strstr(output, "already holds a run"));
    ck_assert_int_eq(train(folder, "--steps 1", NULL), 0);
    ck_assert_int_eq(train(folder, "--dry-run", output), 0);
    ck_assert_msg(strstr(output, "/run already holds a run: training needs --resume") != NULL, "%s",
                  output);
    ck_assert_int_eq(train(folder, "--dry-run --resume", output), 0);
    ck_assert_ptr_null(strstr(output, "already holds a run"));
    folder_remove(folder);
}
END_TEST

/* Adam keeps two numbers a parameter, gradient descent one, or none without momentum. */
START_TEST(a_dry_run_says_what_the_optimiser_keeps) {
    static const struct {
        const char *options, *name;
        int numbers;
    } rows[] = {{"", "adam", 2},
                {"--set train.optimizer=adamw", "adamw", 2},
                {"--set train.optimizer=sgd", "sgd", 1},
                {"--set train.optimizer=sgd --set train.momentum=0", "sgd", 0}};
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char options[128], expected[128];
        snprintf(options, sizeof options, "--dry-run --set 'text.embed=words width=600' %s",
                 rows[i].options);
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        const char *parameters = strstr(output, "\nparameters ");
        ck_assert_ptr_nonnull(parameters);
        double bytes = 4 * rows[i].numbers * strtod(parameters + strlen("\nparameters "), NULL);
        snprintf(expected, sizeof expected, "at the peak of a step, to which %s adds %.1f MB\n",
                 rows[i].name, 1e-6 * bytes);
        ck_assert_msg(strstr(output, expected) != NULL, "%s: %s", expected, output);
    }
    folder_remove(folder);
}
END_TEST

/* What defaults for large data, or a key, leave out is said with the key, by both. */
START_TEST(what_is_left_out_is_said) {
    static const struct {
        const char *options, *said;
    } rows[] = {
        {"", "5 of 53 captions, others each time, fill no batch of 8 and are left out of an epoch "
             "([train] batch)\n"},
        {"--set data.shuffle=no", "5 of 53 captions, the last ones, fill no batch of 8"},
        {"--set data.min_count=6", " words occur less than 6 times and are unknown ([data] "
                                   "min_count)\n"},
        {"--set 'loss.decoder=convcap width=8 hidden=8 layers=1 tokens=4'",
         "tokens that the decoder learns of ([loss] decoder = convcap tokens=4)\n"},
        {"--set data.min_count=100", "\nWARNING: 100 % of the words in the training captions are "
                                     "unknown to the vocabulary ([data] min_count)\n\n"},
        {"--set data.dev_captions=17",
         "dev: 7 of 12 images, 16 of 27 captions ([data] dev_captions = 17; 0: all)\n"},
        {"--set data.max_words=2", "29 of 53 training captions are cut ([data] max_words, "
                                   "pad_words)\n"},
    };
    char *folder = tiny_experiment(), options[256];
    static char output[OUTPUT_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int dry = 0; dry < 2; dry++) {
            snprintf(options, sizeof options, "%s %s", rows[i].options,
                     dry ? "--dry-run" : "--overwrite --steps 1");
            ck_assert_msg(train(folder, options, output) == 0, "%s", output);
            assert_said(output, rows[i].said);
        }
    }
    ck_assert_int_eq(train(folder, "--set train.batch=53 --dry-run", output), 0);
    static const char *const unsaid[] = {"left out", "unknown", "are cut", "dev_captions"};
    for (int i = 0; i < 4; i++) ck_assert_ptr_null(strstr(output, unsaid[i]));
    folder_remove(folder);
}
END_TEST

/* Lines of a run's log that are of a validation. */
static int validations(const char *run) {
    char *text = ct_file_read(in_folder(run, "metrics.jsonl"), NULL);
    assert_no_error();
    int count = 0;
    for (const char *at = text; (at = strstr(at, "\"dev\":")); at++) count++;
    free(text);
    return count;
}

/* Starts a training that prints into a pipe, and waits until that is full: the training waits too,
 * after some 40 validations. */
static pid_t start_and_hold(const char *folder, const char *options, int *output) {
    enum { SIZE = 4096, LINE = 200 };
    int ends[2], held = 0;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETPIPE_SZ, SIZE), SIZE);
    char command[1024];
    snprintf(command, sizeof command, "exec '%s' %s/tiny.ini %s 2>&1", getenv("CT_TRAIN"), folder,
             options);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(99);
    }
    close(ends[1]);
    while (held < SIZE - LINE) {
        usleep(5000);
        ck_assert_int_eq(ioctl(ends[0], FIONREAD, &held), 0);
        ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
    }
    *output = ends[0];
    return child;
}

/* Reads what it prints from then on, to its end. */
static int release(pid_t child, int output, char text[OUTPUT_SIZE]) {
    size_t used = 0;
    ssize_t got;
    while ((got = read(output, text + used, OUTPUT_SIZE - 1 - used)) > 0) used += (size_t)got;
    text[used] = '\0';
    close(output);
    return end_of(child);
}

/* A file that is cut while a training reads it, and comes back: the training that was ended by it
 * ends, resumed, as one that was not. */
static void cut_and_go_on(const char *file, const char *options) {
    char *folder = tiny_experiment(), with[512], path[512];
    static char output[OUTPUT_SIZE];
    snprintf(path, sizeof path, "%s/data/%s", folder, file);
    snprintf(with, sizeof with, "%s --set run.folder=%s/whole", options, folder);
    ck_assert_msg(train(folder, with, output) == 0, "%s", output);
    ck_assert_int_eq(shell("cp %s %s/kept", path, folder), 0);
    int reading;
    pid_t child = start_and_hold(folder, options, &reading);
    ck_assert_int_eq(truncate(path, 200), 0);
    ck_assert_msg(release(child, reading, output) == 2, "%s", output);
    ck_assert_msg(strstr(output, "the file has become shorter") != NULL, "%s", output);
    ck_assert_int_eq(shell("cat %s/kept > %s", folder, path), 0);
    snprintf(with, sizeof with, "--resume %s", options);
    ck_assert_msg(train(folder, with, output) == 0, "%s", output);
    assert_same_file(in_folder(folder, "run/best.safetensors"),
                     in_folder(folder, "whole/best.safetensors"));
    ck_assert_int_eq(validations(in_folder(folder, "run")),
                     validations(in_folder(folder, "whole")));
    folder_remove(folder);
}

START_TEST(what_fails_later_loses_no_step) {
    cut_and_go_on("dev_ims.npy", "--set train.epochs=60");
    cut_and_go_on("dev_ims.npy", "--set train.epochs=60 --set train.validate_every=4");
    cut_and_go_on("train_ims.npy", "--set train.epochs=60");
    cut_and_go_on("test_ims.npy", "--set train.epochs=60");
}
END_TEST

/* Not a number, in an image of the last batch: what was trained before it is saved. */
START_TEST(a_first_epoch_that_fails_leaves_a_state) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    const char *path = in_folder(folder, "data/train_ims.npy");
    ck_assert_int_eq(shell("cp %s %s/kept", path, folder), 0);
    ck_assert_int_eq(shell("printf '\\000\\000\\300\\177' | dd of=%s bs=1 seek=2048 "
                           "conv=notrunc status=none",
                           path),
                     0);
    ck_assert_int_eq(train(folder, "--set data.shuffle=no", output), 2);
    ck_assert_msg(strstr(output, "image 20, region 0, feature 0 is nan") != NULL, "%s", output);
    ck_assert_msg(strstr(output, "run/last.safetensors after step 5 (go on with --resume)") != NULL,
                  "%s", output);
    ck_assert_int_eq(shell("cp %s/kept %s", folder, path), 0);
    ck_assert_msg(train(folder, "--set data.shuffle=no --resume", output) == 0, "%s", output);
    ck_assert_int_eq(shell("cp -r %s/run %s/resumed", folder, folder), 0);
    ck_assert_int_eq(train(folder, "--set data.shuffle=no --overwrite", NULL), 0);
    assert_same_file(in_folder(folder, "run/best.safetensors"),
                     in_folder(folder, "resumed/best.safetensors"));
    folder_remove(folder);
}
END_TEST

TEST_MAIN("before", folds_are_counted_before_the_first_step,
          every_split_is_opened_before_the_first_step, so_is_all_else_that_is_given,
          a_dry_run_says_that_a_run_is_there, a_dry_run_says_what_the_optimiser_keeps,
          what_is_left_out_is_said, what_fails_later_loses_no_step,
          a_first_epoch_that_fails_leaves_a_state)
