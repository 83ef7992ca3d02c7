/* SPDX-License-Identifier: Apache-2.0 */
/* What a run that is gone on with was made with counts: what cannot change is refused by name with
 * both values, what may is said. */
#include "tests/train/job.h"

/* A run of 3 epochs (a dev score is saved) that was stopped within the second, or in the first. */
static char *stopped_run(int steps) {
    char *folder = tiny_experiment(), options[64];
    snprintf(options, sizeof options, "--steps %d", steps);
    ck_assert_int_eq(train(folder, options, NULL), 0);
    return folder;
}

/* Refused by --resume and by --dry-run --resume; the run is as it was. */
static void refused(const char *folder, const char *options, const char *what, const char *now,
                    const char *then) {
    static const char *const ways[] = {"--resume", "--dry-run --resume"};
    char with[1024], expected[256];
    ck_assert_int_eq(shell("rm -rf %s/kept && cp -r %s/run %s/kept", folder, folder, folder), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(with, sizeof with, "%s %s", ways[i], options);
        snprintf(expected, sizeof expected,
                 "%s = %s, but the run in %s/run was made with %s: ", what, now, folder, then);
        REFUSED(folder, with, expected, "go on with that, or start another run (--init");
    }
    ck_assert_int_eq(shell("diff -r %s/run %s/kept", folder, folder), 0);
}

static void accepted(const char *folder, const char *options, const char *said) {
    static char output[OUTPUT_SIZE];
    char with[1024];
    ck_assert_int_eq(shell("rm -rf %s/kept && cp -r %s/run %s/kept", folder, folder, folder), 0);
    snprintf(with, sizeof with, "--resume --steps 1 %s", options);
    ck_assert_msg(train(folder, with, output) == 0, "%s", output);
    bool is_said = strstr(output, "from here on; it was") != NULL;
    if (said) assert_said(output, said);
    else ck_assert_msg(!is_said, "%s", output);
    ck_assert_int_eq(shell("rm -rf %s/run && cp -r %s/kept %s/run", folder, folder, folder), 0);
}

START_TEST(keys_that_cannot_change) {
    static const char *const rows[][4] = {
        {"train.batch=4", "[train] batch", "4", "8"},
        {"train.optimizer=sgd", "[train] optimizer", "sgd", "adam"},
        {"run.seed=4", "[run] seed", "4", "3"},
        {"run.dtype=f64", "[run] dtype", "f64", "f32"},
        {"data.shuffle=no", "[data] shuffle", "no", "yes"},
        {"data.min_count=2", "[data] min_count", "2", "1"},
        {"train.select=rsum", "[train] select", "rsum", "r1_r5"},
        {"evaluate.folds=3", "[evaluate] folds", "3", "1"},
        {"data.dev_captions=20", "[data] dev_captions", "20", "5000"},
        {"data.dev_split=test", "[data] dev_split", "test", "dev"},
        {"'image.gcn=gcn x 1'", "[image] gcn", "gcn x 1", "gcn x 2"},
        {"image.norm=", "[image] norm", "(none)", "l2norm"},
        {"text.drop=dropout", "[text] drop", "dropout", "(none)"},
        {"compat.l2norm=regions", "[compat] l2norm", "regions", "(none)"},
    };
    char *folder = stopped_run(8), options[128];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(options, sizeof options, "--set %s", rows[i][0]);
        refused(folder, options, rows[i][1], rows[i][2], rows[i][3]);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(keys_that_may_change) {
    static const char *const rows[][2] = {
        {"train.epochs=4", "[train] epochs = 4 from here on; it was 3\n"},
        {"train.lr=0.002", "[train] lr = 0.002 from here on; it was 0.01\n"},
        {"train.lr_factors=image.fc:0.5", "[train] lr_factors = image.fc:0.5 from here on; it was "
                                          "(none)\n"},
        {"run.threads=2", "[run] threads = 2 from here on; it was 1\n"},
        {"data.max_words=2", "[data] max_words = 2 from here on; it was 0\n"},
        {"'loss.retrieval=hinge margin=0.1'",
         "[loss] retrieval = hinge margin=0.1 from here on; it "
         "was hinge margin=0.2 negatives=hardest sum_epochs=1"},
        {"train.lr=1e-2", NULL}, /* the same */
        {"'image.gcn=gcn   x 2'", NULL},
        {"run.tensorboard=no", NULL},
        {"evaluate.batch=3", NULL},
    };
    char *folder = stopped_run(8), options[128];
    accepted(folder, "", NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(options, sizeof options, "--set %s", rows[i][0]);
        accepted(folder, options, rows[i][1]);
    }
    folder_remove(folder);
}
END_TEST

/* Of a run at its end nothing would be trained with another rate, which its results would name. */
START_TEST(a_run_at_its_end) {
    static const char *const rows[][4] = {
        {"train.lr=0.002", "[train] lr", "0.002", "0.01"},
        {"train.epochs=2", "[train] epochs", "2", "3"},
        {"'loss.retrieval=hinge margin=0.1'", "[loss] retrieval", "hinge margin=0.1",
         "hinge margin=0.2 negatives=hardest sum_epochs=1"},
    };
    static const char *const ways[] = {"--resume", "--dry-run --resume"};
    char *folder = tiny_experiment(), options[128], expected[256];
    ck_assert_int_eq(train(folder, "", NULL), 0);
    ck_assert_int_eq(shell("cp -r %s/run %s/kept", folder, folder), 0);
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        const char *const *row = rows[i / 2];
        snprintf(options, sizeof options, "%s --set %s", ways[i % 2], row[0]);
        snprintf(expected, sizeof expected,
                 "%s = %s, but the run in %s/run was trained with %s: nothing is trained any "
                 "more, unless [train] epochs is above 3",
                 row[1], row[2], folder, row[3]);
        REFUSED(folder, options, expected);
    }
    ck_assert_int_eq(shell("diff -r %s/run %s/kept", folder, folder), 0);
    accepted(folder, "--set train.epochs=4 --set train.lr=0.002", "[train] lr = 0.002 from here");
    accepted(folder, "--set run.threads=2", "[run] threads = 2 from here on");
    folder_remove(folder);
}
END_TEST

/* One that was to have more epochs may end early, but with nothing else changed. */
START_TEST(a_run_that_ends_early) {
    char *folder = stopped_run(8);
    REFUSED(folder, "--resume --set train.epochs=1 --set train.lr=0.002", "[train] lr = 0.002",
            "was trained with 0.01: nothing is trained any more");
    accepted(folder, "--set train.epochs=1", "[train] epochs = 1 from here on; it was 3\n");
    folder_remove(folder);
}
END_TEST

/* Before there is a best score, what it would be of is only said. */
START_TEST(keys_of_a_score_that_is_not_there) {
    char *folder = stopped_run(2);
    accepted(folder, "--set train.select=rsum",
             "[train] select = rsum from here on; it was r1_r5\n");
    accepted(folder, "--set data.dev_captions=20",
             "[data] dev_captions = 20 from here on; it was 5000\n");
    folder_remove(folder);
}
END_TEST

#define OTHER "was made with: go on with that"

START_TEST(data_that_cannot_change) {
    char *folder = stopped_run(8);
    ck_assert_int_eq(shell("cp -r %s/data %s/sound", folder, folder), 0);
    static const struct {
        const char *command, *what, *than; /* what stands before and behind "the run in FOLDER" */
    } rows[] = {
        {"write", "the number of the training split's images = 23, but", "was made with 24: go on"},
        {"sed -i '1s/red/blue/' data/train_caps.txt",
         "the text of the training split's captions, or which images they are of, is not", OTHER},
        {"sed -i '1s/0/1/' data/train_ids.txt",
         "the text of the training split's captions, or which images they are of, is not", OTHER},
        {"sed -i '2s/red/blue/' data/dev_caps.txt",
         "the text of the dev split's captions, or which images they are of, is not", OTHER},
        {"cp data/test_ims.npy data/dev_ims.npy", "the content of the dev split's features is not",
         OTHER},
        {"sed -i 's/\"a\"/\"b\"/' run/vocabulary.json", "the content of the vocabulary is not",
         OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (i == 0) write_split(in_folder(folder, "data"), "train", 23, 1);
        else ck_assert_int_eq(shell("cd %s && %s", folder, rows[i].command), 0);
        REFUSED(folder, "--resume", rows[i].what, rows[i].than,
                "/last.safetensors takes its weights)");
        ck_assert_int_eq(shell("cd %s && rm -r data && cp -r sound data", folder), 0);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(data_that_may_change) {
    char *folder = stopped_run(8);
    ck_assert_int_eq(shell("printf x | dd of=%s/data/train_ims.npy bs=1 seek=2048 conv=notrunc "
                           "status=none",
                           folder),
                     0);
    accepted(folder, "",
             "the content of the training split's features is from here on not what the "
             "run in ");
    /* moved, together with the vectors of the words */
    ck_assert_int_eq(shell("mv %s/data %s/moved", folder, folder), 0);
    char options[256], said[256];
    snprintf(options, sizeof options, "--set data.folder=%s/moved", folder);
    snprintf(said, sizeof said, "[data] folder = %s/moved from here on; it was %s/data\n", folder,
             folder);
    accepted(folder, options, said);
    folder_remove(folder);
}
END_TEST

START_TEST(files_of_word_vectors_may_move) {
    char *folder = tiny_experiment(), options[512];
    static char output[OUTPUT_SIZE];
    write_text(in_folder(folder, "a.txt"), "a 1 0 0 1\nred 0 1 0 0\nblue 0 0 1 1\nstar 1 1 0 1\n");
    snprintf(options, sizeof options, "--steps 8 --set 'text.embed=words vectors=%s/a.txt width=4'",
             folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    ck_assert_int_eq(shell("mkdir '%s/a b' && mv %s/a.txt '%s/a b'", folder, folder, folder), 0);
    snprintf(options, sizeof options,
             "--resume --set 'text.embed=words vectors=\"%s/a b/a.txt\" width=4'", folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    folder_remove(folder);
}
END_TEST

TEST_MAIN("resume", keys_that_cannot_change, keys_that_may_change, a_run_at_its_end,
          a_run_that_ends_early, keys_of_a_score_that_is_not_there, data_that_cannot_change,
          data_that_may_change, files_of_word_vectors_may_move)
