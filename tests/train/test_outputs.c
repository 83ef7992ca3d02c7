/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing that a command reads, and nothing of a run, is written over by what it is asked to write.
 */
#include "tests/train/job.h"

/* Refused with the path that would go, and nothing is changed. */
static void refused(const char *folder, const char *options, const char *lost) {
    REFUSED(folder, options, "would be written over ", lost, ": expected another path");
    ck_assert_int_eq(shell("cd %s && sha256sum -c --quiet sums", folder), 0);
}

/* The tiny experiment, trained; sums of all its files. */
static char *trained(void) {
    char *folder = tiny_experiment();
    ck_assert_int_eq(train(folder, "--set train.epochs=1", NULL), 0);
    ck_assert_int_eq(
        shell("cd %s && cp -r run other && find . -type f ! -name sums | xargs sha256sum "
              "> /tmp/sums.$$ && mv /tmp/sums.$$ sums",
              folder),
        0);
    return folder;
}

static const char *const writers[] = {"--index", "--export", "--evaluate test --out",
                                      "--report --out"};
enum { WRITERS = sizeof writers / sizeof *writers };

START_TEST(files_of_the_run) {
    static const char *const files[] = {"best.safetensors", "last.safetensors", "results.json",
                                        "metrics.jsonl",    "vocabulary.json",  "config.ini"};
    char *folder = trained(), options[512];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(options, sizeof options, "%s %s/run/%s", writers[i % WRITERS], folder, files[i]);
        refused(folder, options, files[i]);
    }
    /* one that is not there yet */
    ck_assert_int_eq(shell("cd %s && mv run/results.json kept", folder), 0);
    snprintf(options, sizeof options, "--evaluate test --out %s/run/./results.json", folder);
    REFUSED(folder, options, "would be written over the run's ", "results.json");
    ck_assert_int_eq(shell("cd %s && mv kept run/results.json", folder), 0);
    snprintf(options, sizeof options, "--export %s/other/best.safetensors --weights %s/other",
             folder, folder);
    refused(folder, options, "other/best.safetensors");
    folder_remove(folder);
}
END_TEST

START_TEST(files_that_are_read) {
    char *folder = trained(), options[512];
    for (int i = 0; i < WRITERS; i++) {
        snprintf(options, sizeof options, "%s %s/tiny.ini", writers[i], folder);
        refused(folder, options, "tiny.ini");
        snprintf(options, sizeof options, "%s %s/data/test_ims.npy", writers[i], folder);
        refused(folder, options, "data/test_ims.npy");
    }
    write_text(in_folder(folder, "judged.json"), "{}");
    snprintf(options, sizeof options,
             "--evaluate test --judgments %s/judged.json --out %s/judged.json", folder, folder);
    refused(folder, options, "judged.json");
    snprintf(options, sizeof options,
             "--set data.vocabulary=%s/run/vocabulary.json --export "
             "%s/run/../run/vocabulary.json",
             folder, folder);
    refused(folder, options, "vocabulary.json");
    write_text(in_folder(folder, "words.txt"), "a 1 0 0 1\n");
    snprintf(options, sizeof options,
             "--set 'text.embed=words vectors=\"%s/words.txt\" width=4' --export %s/words.txt",
             folder, folder);
    refused(folder, options, "words.txt");
    folder_remove(folder);
}
END_TEST

START_TEST(by_whatever_name) {
    char *folder = trained(), options[512];
    ck_assert_int_eq(
        shell("cd %s && ln -s run/best.safetensors link && ln data/test_ims.npy hard && ln -s "
              "run runs && mkdir embeddings && ln -s ../data/dev_ims.npy embeddings/img_embs.npy",
              folder),
        0);
    static const char *const paths[][2] = {{"link", "best.safetensors"},
                                           {"hard", "test_ims.npy"},
                                           {"runs/best.safetensors", "best.safetensors"}};
    for (int i = 0; i < 3; i++) {
        snprintf(options, sizeof options, "--export %s/%s", folder, paths[i][0]);
        refused(folder, options, paths[i][1]);
    }
    snprintf(options, sizeof options, "--embed test --out %s/embeddings", folder);
    refused(folder, options, "data/dev_ims.npy");
    folder_remove(folder);
}
END_TEST

/* What an earlier command wrote is written again, in the run's and the data's folder too. */
START_TEST(what_is_no_ones_is_written) {
    static const char *const options[] = {"--index %s/run/all.index",
                                          "--index %s/data/all.index",
                                          "--export %s/run/released.safetensors",
                                          "--report",
                                          "--report --out %s/run/report.html",
                                          "--evaluate test --out %s/run/recalls.json",
                                          "--embed test"};
    char *folder = trained(), with[512];
    for (size_t i = 0; i < 2 * sizeof options / sizeof *options; i++) {
        snprintf(with, sizeof with, options[i / 2], folder);
        static char output[OUTPUT_SIZE];
        ck_assert_msg(train(folder, with, output) == 0, "%s: %s", with, output);
    }
    ck_assert_int_eq(shell("cd %s && sha256sum -c --quiet sums", folder), 0);
    folder_remove(folder);
}
END_TEST

TEST_MAIN("outputs", files_of_the_run, files_that_are_read, by_whatever_name,
          what_is_no_ones_is_written)
