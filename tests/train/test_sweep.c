/* SPDX-License-Identifier: Apache-2.0 */
/* --sweep: its runs, their table, and what becomes of it when something comes between. */
#include <jansson.h>
#include <math.h>

#include "tests/train/job.h"

static json_t *read_json(const char *path) {
    json_error_t wrong;
    json_t *object = json_load_file(path, 0, &wrong);
    ck_assert_msg(object != NULL, "%s: %s", path, wrong.text);
    return object;
}

static double number_at(const json_t *object, const char *first, const char *second,
                        const char *third) {
    const json_t *value = json_object_get(object, first);
    if (second) value = json_object_get(value, second);
    if (third) value = json_object_get(value, third);
    ck_assert_msg(json_is_number(value), "no number %s/%s/%s", first, second ? second : "",
                  third ? third : "");
    return json_number_value(value);
}

static const char *text_at(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    ck_assert_msg(text != NULL, "no text %s", member);
    return text;
}

static const char *const four[] = {"lr=1e-2,seed=1", "lr=1e-2,seed=2", "lr=5e-3,seed=1",
                                   "lr=5e-3,seed=2"};
static const char sweep[] = "--sweep \"train.lr=1e-2,5e-3  run.seed=1..2\"";

static const char *in_run(const char *folder, const char *run, const char *file) {
    char name[256];
    snprintf(name, sizeof name, "run/%s/%s", run, file);
    return in_folder(folder, name);
}

/* The mean and the deviation (n - 1) in sweep.json are those of the two runs' own results. */
static void check_spread(const char *folder, const json_t *setting, int first, const char *way,
                         const char *recall) {
    double x[2];
    for (int i = 0; i < 2; i++) {
        json_t *results = read_json(in_run(folder, four[first + i], "results.json"));
        x[i] = number_at(results, "test", way, recall);
        json_decref(results);
    }
    const json_t *test = json_object_get(setting, "test"), *at = json_object_get(test, way);
    if (recall) at = json_object_get(at, recall);
    ck_assert_double_eq_tol(number_at(at, "mean", NULL, NULL), (x[0] + x[1]) / 2, 1e-6);
    ck_assert_double_eq_tol(number_at(at, "deviation", NULL, NULL), fabs(x[0] - x[1]) / sqrt(2),
                            1e-6);
}

static void check_summary(const char *folder) {
    json_t *root = read_json(in_folder(folder, "run/sweep.json"));
    const json_t *runs = json_object_get(root, "runs"),
                 *settings = json_object_get(root, "settings");
    ck_assert_uint_eq(json_array_size(runs), 4);
    ck_assert_uint_eq(json_array_size(settings), 2);
    for (size_t i = 0; i < 4; i++) {
        const json_t *run = json_array_get(runs, i);
        ck_assert_str_eq(text_at(run, "folder"), four[i]);
        ck_assert_str_eq(text_at(run, "state"), "done");
        const json_t *values = json_object_get(run, "settings");
        ck_assert_str_eq(text_at(values, "train.lr"), i < 2 ? "1e-2" : "5e-3");
        ck_assert_str_eq(text_at(values, "run.seed"), i % 2 ? "2" : "1");
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *setting = json_array_get(settings, i);
        const json_t *values = json_object_get(setting, "settings");
        ck_assert_str_eq(text_at(values, "train.lr"), i ? "5e-3" : "1e-2");
        ck_assert_ptr_null(json_object_get(values, "run.seed"));
        check_spread(folder, setting, 2 * (int)i, "i2t", "r1");
        check_spread(folder, setting, 2 * (int)i, "t2i", "r10");
        check_spread(folder, setting, 2 * (int)i, "rsum", NULL);
    }
    json_decref(root);
}

START_TEST(every_combination_is_run_as_it_would_be_alone) {
    char *folder = tiny_experiment(), options[512];
    static char output[OUTPUT_SIZE];
    ck_assert_msg(train(folder, sweep, output) == 0, "%s", output);
    static const char *const said[] = {"4 runs in ",
                                       "4/4  lr=5e-3,seed=2  test rsum ",
                                       "\ntest ",
                                       "\nlr=1e-2          2  ",
                                       " ± ",
                                       "/run/sweep.json",
                                       "/run/sweep.html"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) assert_said(output, said[i]);
    check_summary(folder);
    snprintf(options, sizeof options,
             "--set train.lr=5e-3 --set run.seed=2 --set run.folder=%s/alone", folder);
    ck_assert_int_eq(train(folder, options, NULL), 0);
    assert_same_file(in_folder(folder, "alone/best.safetensors"),
                     in_run(folder, four[3], "best.safetensors"));
    char *page = ct_file_read(in_folder(folder, "run/sweep.html"), NULL);
    assert_no_error();
    ck_assert_ptr_nonnull(strstr(page, "mean of 2 runs"));
    ck_assert_ptr_nonnull(strstr(page, "lr=1e-2,seed=1"));
    free(page);
    folder_remove(folder);
}
END_TEST

/* What has ended is not run again; more values are more runs. */
START_TEST(given_again_it_runs_what_is_not_done) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, sweep, NULL), 0);
    struct stat before, after;
    ck_assert_int_eq(stat(in_run(folder, four[0], "best.safetensors"), &before), 0);
    ck_assert_int_eq(train(folder, sweep, output), 0);
    ck_assert_msg(strstr(output, "4 runs in ") &&
                      strstr(output, ", 4 of them done before, 0 to go"),
                  "%s", output);
    check_summary(folder);
    ck_assert_int_eq(train(folder, "--jobs 2 --sweep \"train.lr=1e-2,5e-3 run.seed=1..3\"", output),
                     0);
    ck_assert_msg(strstr(output, "6 runs in ") && strstr(output, ", 4 of them done before"), "%s",
                  output);
    ck_assert_msg(strstr(output, "5/6  ") && strstr(output, "6/6  "), "%s", output);
    ck_assert_msg(strstr(output, "\nlr=5e-3          3  "), "%s", output);
    ck_assert_int_eq(stat(in_run(folder, four[0], "best.safetensors"), &after), 0);
    ck_assert(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    REFUSED(folder, "--sweep \"train.lr=1e-2 run.seed=1\" --set train.epochs=4",
            "/run/lr=1e-2,seed=1 holds a run with [train] epochs = 3, not 4");
    folder_remove(folder);
}
END_TEST

START_TEST(a_wide_spread_is_printed_whole) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "--sweep run.seed=1,2", NULL), 0);
    for (int seed = 1; seed <= 2; seed++) {
        static const char edit[] =
            "sed -i 's/\"rsum\": [0-9.]*/\"rsum\": %s/' %s/run/seed=%d/results.json";
        ck_assert_int_eq(shell(edit, seed == 1 ? "100.0" : "600.0", folder, seed), 0);
    }
    ck_assert_int_eq(train(folder, "--sweep run.seed=1,2", output), 0);
    ck_assert_msg(strstr(output, "  350.0 ± 353.6\n") != NULL, "%s", output);
    folder_remove(folder);
}
END_TEST

static const char long_sweep[] = "--sweep run.seed=1,2 --set train.epochs=12";

/* Waits for the first run's first checkpoint. */
static void wait_for_state(const char *folder) {
    while (access(in_folder(folder, "run/seed=1/last.safetensors"), F_OK) != 0) usleep(2000);
}

static void wait_for_end_of_runs(const char *folder) {
    while (access(in_folder(folder, "run/seed=1/lock"), F_OK) == 0) usleep(2000);
}

/* By a signal to it alone, by Ctrl-C (to its runs, too), and killed: it goes on to the same bits.
 */
START_TEST(interrupted_it_goes_on) {
    char *folder = tiny_experiment(), options[512];
    static char output[OUTPUT_SIZE];
    snprintf(options, sizeof options, "%s --set run.folder=%s/whole", long_sweep, folder);
    ck_assert_int_eq(train(folder, options, NULL), 0);
    for (int kind = 0; kind < 3; kind++) {
        pid_t child = start(folder, long_sweep);
        wait_for_state(folder);
        ck_assert_int_eq(kill(kind == 1 ? -child : child, (int[]){SIGTERM, SIGINT, SIGKILL}[kind]),
                         0);
        ck_assert_int_eq(end_of(child), kind == 2 ? 128 + SIGKILL : 130);
        wait_for_end_of_runs(folder);
        ck_assert_int_eq(access(in_folder(folder, "run/seed=1/last.safetensors"), F_OK), 0);
        ck_assert_int_ne(access(in_folder(folder, "run/seed=2/results.json"), F_OK), 0);
        if (kind < 2) assert_printed(folder, " of 2 runs done; the same sweep again goes on");
        ck_assert_msg(train(folder, long_sweep, output) == 0, "%s", output);
        ck_assert_msg(strstr(output, "2 runs in ") && strstr(output, "of them done before"), "%s",
                      output);
        assert_same_file(in_folder(folder, "run/seed=1/best.safetensors"),
                         in_folder(folder, "whole/seed=1/best.safetensors"));
        ck_assert_int_eq(shell("rm -r %s/run", folder), 0);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(one_that_fails_is_named_and_the_rest_goes_on) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    const char *options = "--sweep data.dev_split=dev,gone,test";
    ck_assert_int_eq(train(folder, options, output), 2);
    static const char *const said[] = {
        "1/3  dev_split=dev  test rsum ",
        "2/3  dev_split=gone  (0:0",
        "failed: ",
        "/gone_ims.npy: cannot open",
        "3/3  dev_split=test  test rsum ",
        "train: --sweep: 1 of 3 runs failed, dev_split=gone: the same sweep again runs what"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) assert_said(output, said[i]);
    json_t *root = read_json(in_folder(folder, "run/sweep.json"));
    const json_t *failed = json_array_get(json_object_get(root, "runs"), 1);
    ck_assert_str_eq(text_at(failed, "state"), "failed");
    ck_assert_ptr_nonnull(strstr(text_at(failed, "why"), "gone_ims.npy"));
    ck_assert_uint_eq(json_array_size(json_object_get(root, "settings")), 2);
    json_decref(root);
    folder_remove(folder);
}
END_TEST

/* It counts as one that failed, and is no matter of the others; more jobs than runs are no harm. */
START_TEST(one_that_cannot_be_started_is_named_too) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(shell("mkdir -p %s/run/seed=1/log.txt", folder), 0);
    ck_assert_int_eq(train(folder, "--jobs 1000000000 --sweep run.seed=1,2", output), 2);
    static const char *const said[] = {
        "1/2  seed=1  (0:00)  failed: ", "/run/seed=1/log.txt: cannot be opened: Is a directory\n",
        "2/2  seed=2  test rsum ",
        "train: --sweep: 1 of 2 runs failed, seed=1: the same sweep again runs what"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) assert_said(output, said[i]);
    folder_remove(folder);
}
END_TEST

/* Also where the signal comes before its process is `train`. */
START_TEST(a_run_that_has_just_begun_is_stopped_too) {
    char *folder = tiny_experiment();
    for (int i = 0; i < 8; i++) {
        pid_t child = start(folder, "--sweep run.seed=1 --set train.epochs=300");
        while (access(in_folder(folder, "run/seed=1/log.txt"), F_OK) != 0) continue;
        ck_assert_int_eq(kill(child, SIGTERM), 0);
        ck_assert_int_eq(end_of(child), 130);
        ck_assert_int_ne(access(in_folder(folder, "run/seed=1/results.json"), F_OK), 0);
        ck_assert_int_eq(shell("rm -r %s/run", folder), 0);
    }
    folder_remove(folder);
}
END_TEST

/* Then the system keeps nothing of a process that has ended for its parent. */
START_TEST(started_with_ignored_ends_of_children_it_sees_them) {
    char *folder = tiny_experiment();
    pid_t child = fork();
    if (child == 0) {
        signal(SIGCHLD, SIG_IGN);
        execl(getenv("CT_TRAIN"), "train", in_folder(folder, "tiny.ini"), "--sweep", "run.seed=1,2",
              (char *)NULL);
        _exit(99);
    }
    ck_assert_int_eq(end_of(child), 0);
    ck_assert_int_eq(access(in_folder(folder, "run/sweep.html"), F_OK), 0);
    folder_remove(folder);
}
END_TEST

START_TEST(wrong_sweeps_are_refused_before_anything_runs) {
    char *folder = tiny_experiment();
    static const char *const rows[][2] = {
        {"\"train.lrr=1,2\"", "--sweep train.lrr=1: unknown key 'lrr'; did you mean 'lr'?"},
        {"train.lr=", "--sweep train.lr: a value is missing"},
        {"train.lr=1e-3,,1e-2", "--sweep train.lr: a value is missing"},
        {"\" \"", "--sweep: expected section.key=VALUE"},
        {"lr=1e-3", "--sweep: 'lr=1e-3': expected section.key=VALUE"},
        {"run.seed=5..1", "--sweep run.seed=5..1: expected the smaller number first"},
        {"train.lr=0.1..0.5", "--sweep train.lr=0.1..0.5: expected whole numbers around .."},
        {"run.seed=1..501", "--sweep: more than 500 runs"},
        {"run.seed=1..9000000000000000000", "--sweep: more than 500 runs"},
        {"\"run.seed=1..30 train.epochs=1..30\"", "--sweep: more than 500 runs"},
        {"run.seed=1,2,1", "--sweep: seed=1 and seed=1 are the same run"},
        {"train.lr=1e-3,0.001", "--sweep: lr=1e-3 and lr=0.001 are the same run"},
        {"\"run.seed=1 run.seed=2\"", "--sweep: run.seed is given twice"},
        {"run.seed=1,x", "--sweep run.seed=x: expected a whole number"},
        {"'image.gcn=\"gcn x 2,gcn x 1 run.seed=1,2'", "--sweep image.gcn: a quote is not closed"},
        {"run.folder=a,b", "--sweep run.folder: each run has a folder of its own"},
        {"run.tensorboard=yes,no", "--sweep run.tensorboard: it changes nothing that is computed"},
        {"run.seed=1,2 --set run.seed=3", "--sweep run.seed and --set run.seed=3: one of them"},
        {"recorded.file=a,b", "--sweep: [recorded] file = a: recorded batches have no recalls"},
        {"run.seed=1,2 --resume", "--resume is for training, --dry-run, not for --sweep"},
        {"run.seed=1,2 --steps 3", "--steps is for training, --dry-run, not for --sweep"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char arguments[512];
        static char output[OUTPUT_SIZE];
        snprintf(arguments, sizeof arguments, "--sweep %s", rows[i][0]);
        ck_assert_msg(train(folder, arguments, output) == 2, "%s:\n%s", rows[i][0], output);
        assert_said(output, rows[i][1]);
    }
    ck_assert_int_ne(access(in_folder(folder, "run"), F_OK), 0);
    folder_remove(folder);
}
END_TEST

/* Of all runs that are not done, whichever their place: before the first of them. */
START_TEST(what_is_wrong_with_a_model_is_found_before_anything_runs) {
    char *folder = tiny_experiment();
    static const char *const rows[][2] = {
        {"image.gcn=gcn x 2,gcnn x 2", "--sweep: gcn=gcnn_x_2: image.gcn: "},
        {"run.seed=1..3 image.gcn=gcn x 2,gcn x 2 wide=1",
         "--sweep: seed=1,gcn=gcn_x_2_wide=1: image.gcn: "},
        {"text.pool=gru width=12,gru width=13", "--sweep: pool=gru_width=13: "},
        {"train.lr_factors=image.attend:0.5,image.attends:0.5",
         "--sweep: lr_factors=image.attends:0.5: "},
        {"loss.retrieval=hinge,hinges", "--sweep: retrieval=hinges: loss.retrieval: "},
        {"data.folder=DATA,gone", "--sweep: folder=gone: gone/train_"},
        {"data.vocabulary=gone run.seed=1,2", "--sweep: vocabulary=gone,seed=1: gone: "},
        {"run.seed=1,2' --init 'gone", "--sweep: seed=1: gone: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char options[1024], *data = strstr(rows[i][0], "DATA");
        int before = data ? (int)(data - rows[i][0]) : (int)strlen(rows[i][0]);
        snprintf(options, sizeof options, "--sweep '%.*s%s%s%s'", before, rows[i][0],
                 data ? folder : "", data ? "/data" : "", data ? data + 4 : "");
        REFUSED(folder, options, rows[i][1]);
    }
    ck_assert_int_ne(access(in_folder(folder, "run"), F_OK), 0);
    /* what is done needs no model, and what is added to it is looked at */
    ck_assert_int_eq(train(folder, "--sweep run.seed=1", NULL), 0);
    REFUSED(folder, "--sweep 'run.seed=1 image.gcn=gcn x 2,gcnn'", "seed=1,gcn=gcnn: image.gcn");
    ck_assert_int_eq(shell("mv %s/data %s/gone", folder, folder), 0);
    ck_assert_int_eq(train(folder, "--sweep run.seed=1", NULL), 0);
    folder_remove(folder);
}
END_TEST

START_TEST(a_pipe_cannot_be_swept) {
    char *folder = tiny_experiment(), arguments[512];
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(
        shell("mkfifo %s/pipe && (cat %s/tiny.ini > %s/pipe &)", folder, folder, folder), 0);
    snprintf(arguments, sizeof arguments, "%s/pipe --sweep run.seed=1,2", folder);
    ck_assert_int_eq(run_train(arguments, output), 2);
    ck_assert_msg(strncmp(output, "train: --sweep: ", 16) == 0 && strchr(output, '\n')[1] == '\0',
                  "%s", output);
    assert_said(output, "/pipe: expected a file, which is read again for each run");
    folder_remove(folder);
}
END_TEST

/* Commas and spaces within quotes are the value's, "" is a module that is taken out. */
START_TEST(values_in_quotes) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    const char *options = "--sweep 'train.lr_factors=\"image.attend:0.5, text.attend:0.5\",\"\" "
                          "image.gcn=gcn x 2, \"\"'";
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    static const char *const runs[] = {"lr_factors=image.attend:0.5_text.attend:0.5,gcn=gcn_x_2",
                                       "lr_factors=image.attend:0.5_text.attend:0.5,gcn=",
                                       "lr_factors=,gcn=gcn_x_2", "lr_factors=,gcn="};
    for (int i = 0; i < 4; i++) {
        char *text = ct_file_read(in_run(folder, runs[i], "config.ini"), NULL);
        assert_no_error();
        const char *factors =
            i < 2 ? "lr_factors = image.attend:0.5, text.attend:0.5\n" : "lr_factors = \n";
        ck_assert_msg(strstr(text, factors) != NULL, "%s", text);
        ck_assert((strstr(text, "gcn = gcn x 2\n") != NULL) == (i % 2 == 0));
        free(text);
    }
    folder_remove(folder);
}
END_TEST

TEST_MAIN("sweep", every_combination_is_run_as_it_would_be_alone,
          given_again_it_runs_what_is_not_done, a_wide_spread_is_printed_whole,
          interrupted_it_goes_on, one_that_fails_is_named_and_the_rest_goes_on,
          one_that_cannot_be_started_is_named_too, a_run_that_has_just_begun_is_stopped_too,
          started_with_ignored_ends_of_children_it_sees_them,
          wrong_sweeps_are_refused_before_anything_runs,
          what_is_wrong_with_a_model_is_found_before_anything_runs, a_pipe_cannot_be_swept,
          values_in_quotes)
