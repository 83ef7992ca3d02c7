/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input of every kind: one clear sentence that names the place, exit status 2, and nothing
 * saved before is lost. */
#include <signal.h>

#include "tests/train/program.h"

static void replace_in(const char *path, const char *old, const char *new) {
    char *text = ct_file_read(path, NULL), result[8192];
    assert_no_error();
    char *at = strstr(text, old);
    ck_assert_msg(at != NULL, "'%s' not in %s", old, path);
    snprintf(result, sizeof result, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    free(text);
    write_text(path, result);
}

/* tiny.ini with one piece replaced is refused with these texts. */
#define CONFIG_REFUSED(old, new, ...)                         \
    do {                                                      \
        char *folder_ = tiny_experiment();                    \
        replace_in(in_folder(folder_, "tiny.ini"), old, new); \
        REFUSED(folder_, "", __VA_ARGS__);                    \
        folder_remove(folder_);                               \
    } while (0)

START_TEST(wrong_configurations) {
    CONFIG_REFUSED("epochs = 3", "epoch = 3", "tiny.ini:9", "epoch", "epochs");
    CONFIG_REFUSED("[train]", "[trian]", "tiny.ini:8", "trian", "train");
    CONFIG_REFUSED("lr = 0.01", "lr = fast", "tiny.ini:11", "lr", "fast", "number");
    CONFIG_REFUSED("batch = 8", "batch = -8", "tiny.ini:10", "batch", "-8");
    CONFIG_REFUSED("schedule = cosine", "schedule = cosin", "tiny.ini:12", "cosin", "cosine");
    CONFIG_REFUSED("heads=2", "heds=2", "tiny.ini:18", "heds", "heads");
    CONFIG_REFUSED("linear width=12", "linaer width=12", "tiny.ini:15", "linaer", "linear");
    CONFIG_REFUSED("pool = gru width=12", "pool = gru width=13", "tiny.ini", "12", "13");
    CONFIG_REFUSED("seed = 3", "seed", "tiny.ini:6");
    CONFIG_REFUSED("seed = 3", "seed = 3\nseed = 4", "tiny.ini:7", "seed");
}
END_TEST

START_TEST(wrong_command_lines) {
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(run_train("", output), 2);
    ck_assert_ptr_nonnull(strstr(output, "configuration"));
    ck_assert_int_eq(run_train("--no-such-option x.ini", output), 2);
    ck_assert_int_eq(run_train("/nowhere/at/all.ini", output), 2);
    ck_assert_ptr_nonnull(strstr(output, "/nowhere/at/all.ini"));
    char *folder = tiny_experiment();
    REFUSED(folder, "--set train.epoch=3", "train.epoch", "epochs");
    REFUSED(folder, "--set train.epochs", "train.epochs");
    REFUSED(folder, "--set run.device=cuda", "[run] device = cuda", "CUDA backend was not loaded");
    REFUSED(folder, "--set run.precision=tf32", "[run] precision tf32: device cpu multiplies in");
    REFUSED(folder, "--set run.precision=bf16 --set run.dtype=f64",
            "[run] precision = bf16: expected fp32 with dtype = f64");
    setenv("DNNL_MAX_CPU_ISA", "AVX2", 1);
    REFUSED(folder, "--set run.precision=bf16", "[run] precision bf16: device cpu",
            "oneDNN, which");
    unsetenv("DNNL_MAX_CPU_ISA");
    REFUSED(folder, "--set run.precision=fp8", "run.precision=fp8", "fp32 tf32 bf16");
    REFUSED(folder, "--set train.lr_factors=image.attend", "lr_factors", "NAME:FACTOR");
    REFUSED(folder, "--set train.lr_factors=image.attend:-1", "lr_factors", "from 0");
    REFUSED(folder, "--set train.lr_factors=image.atten:1", "no part 'image.atten'");
    REFUSED(folder, "--set train.checkpoint=fc,poool", "[train] checkpoint", "no module 'poool'");
    REFUSED(folder, "--resume", "last.safetensors");
    REFUSED(folder, "--evaluate test", "best.safetensors");
    REFUSED(folder, "--export x", "best.safetensors");
    REFUSED(folder, "--evaluate nosuch --weights x", "x");
    REFUSED(folder, "--set data.test_splits=nosuch", "nosuch_ims.npy");
    REFUSED(folder, "--set data.test_splits=tset", "tset_ims.npy", "; did you mean 'test'?");
    folder_remove(folder);
}
END_TEST

/* The nearest is named; a value is none, whatever it looks like, and a beginning is enough. */
START_TEST(mistyped_options) {
    char *folder = tiny_experiment();
    REFUSED(folder, "--qeury red", "unknown option --qeury; did you mean --query?");
    REFUSED(folder, "--dryrun", "unknown option --dryrun; did you mean --dry-run?");
    REFUSED(folder, "--reprot=x", "unknown option --reprot; did you mean --report?");
    REFUSED(folder, "--hlep", "unknown option --hlep; did you mean --help?");
    REFUSED(folder, "--no-such-thing", "unknown option --no-such-thing; --help has them all");
    REFUSED(folder, "--evaluate --qeury", "best.safetensors");
    REFUSED(folder, "-e --qeury", "best.safetensors");
    REFUSED(folder, "--eval test", "best.safetensors");
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(run_train("x.ini -- --qeury", output), 2);
    ck_assert_ptr_nonnull(strstr(output, "one configuration at a time: x.ini, --qeury"));
    folder_remove(folder);
}
END_TEST

/* An option is obeyed or refused: none is passed over. */
START_TEST(options_that_take_no_part) {
    static const char *const rows[][2] = {
        {"--weights x",
         "--weights is for --evaluate, --embed, --export, --query, --query-image, --queries, "
         "--interactive, --index, --serve, not for "
         "training"},
        {"--dry-run --weights x", "--weights is for --evaluate, "},
        {"--top 3",
         "--top is for --query, --query-image, --queries, --interactive, --serve, not for "
         "training"},
        {"--evaluate test --top 3",
         "--top is for --query, --query-image, --queries, --interactive, --serve, not for "
         "--evaluate"},
        {"--evaluate test --split dev", "--split is for --query"},
        {"--export x --out y", "--out is for --evaluate, --embed, --report, not for --export"},
        {"--compare x", "--compare is for --report, not for training"},
        {"--report --compare x --split dev", "--split and --compare: one of them"},
        {"--report --top 3",
         "--top is for --query, --query-image, --queries, --interactive, --serve, not for "
         "--report"},
        {"--report --query a", "--query and --report: one at a time"},
        {"--evaluate test --steps 3", "--steps is for training, --dry-run, not for --evaluate"},
        {"--evaluate test --init x", "--init is for training, --dry-run"},
        {"--query a --dump-steps x", "--dump-steps is for training"},
        {"--embed test --resume", "--resume is for training"},
        {"--embed test --overwrite", "--overwrite is for training"},
        {"--evaluate test --query a", "--evaluate and --query: one at a time"},
        {"--query-image x.png --query a", "--query and --query-image: one at a time"},
        {"--dry-run --evaluate test", "--dry-run and --evaluate: one at a time"},
        {"--resume --overwrite", "--resume and --overwrite: one of them"},
        {"--resume --init x", "--init and --resume: a run goes on with its own weights"},
        {"--steps 0", "--steps 0: expected a number from 1"},
        {"--index x --query a", "--query and --index: one at a time"},
        {"--interactive --queries x", "--queries and --interactive: one at a time"},
        {"--index x --json", "--json is for --query, --query-image, --queries, --interactive, not"},
        {"--evaluate test --in x", "--in is for --query"},
        {"--query a --in x --split test", "--split is for --index: what --in names has its splits"},
        {"--query a --top 0", "--top 0: expected a number from 1"},
        {"--steps -1", "--steps -1: expected a number from 1"},
        {"--evaluate ''", "--evaluate is empty"},
        {"--embed ''", "--embed is empty"},
        {"--export ''", "--export is empty"},
        {"--embed test --out ''", "--out is empty"},
        {"--query ''", "--query is empty"},
        {"--query a --split ''", "--split is empty"},
        {"--init ''", "--init is empty"},
        {"--other-graph", "--other-graph is for --init"},
        {"--evaluate test --other-graph", "--other-graph is for training, --dry-run"},
        {"--dump-steps ''", "--dump-steps is empty"},
        {"--evaluate test --weights ''", "--weights is empty"},
        {"--set ''", "--set is empty"},
    };
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment(), arguments[512];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, rows[i][0]);
        ck_assert_msg(run_train(arguments, output) == 2, "%s: %s", rows[i][0], output);
        assert_said(output, rows[i][1]);
    }
    folder_remove(folder);
}
END_TEST

static void spoil_features(const char *path, long offset, const char *bytes, size_t count) {
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

START_TEST(wrong_features) {
    char *folder = tiny_experiment();
    const char *path = in_folder(folder, "data/train_ims.npy");
    char features[512];
    snprintf(features, sizeof features, "%s", path);
    spoil_features(features, 1, "X", 1);
    REFUSED(folder, "", "train_ims.npy", "npy");
    spoil_features(features, 1, "N", 1);
    static const float nan_value = NAN;
    spoil_features(features, -4, (const char *)&nan_value, 4);
    /* found when the image is read, after the first lines of the run */
    static char output[OUTPUT_SIZE];
    char arguments[512];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini --overwrite", folder);
    ck_assert_int_eq(run_train(arguments, output), 2);
    ck_assert_ptr_nonnull(strstr(output, "train_ims.npy: image 23, region 3, feature 5 is nan"));
    ck_assert_int_ne(access(in_folder(folder, "run/metrics.jsonl"), F_OK), 0); /* nor any run */
    ck_assert_int_eq(truncate(features, 500), 0);
    REFUSED(folder, "", "train_ims.npy", "bytes");
    ck_assert_int_eq(unlink(features), 0);
    REFUSED(folder, "", "train_ims.npy", "No such file");
    CT_SCOPE {
        ck_assert(ct_npy_save(features, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(24, 6))));
        REFUSED(folder, "", "dev_ims.npy", "4 regions x 6", "1 x 6");
        ck_assert(ct_npy_save(features, ct_zeros(CT_F32, CT_CPU, CT_SHAPE(24))));
        REFUSED(folder, "", "train_ims.npy", "(24)");
        ck_assert(ct_npy_save(features, ct_zeros(CT_I64, CT_CPU, CT_SHAPE(24, 4, 6))));
        REFUSED(folder, "", "train_ims.npy", "i64");
    }
    folder_remove(folder);
}
END_TEST

START_TEST(captions_that_do_not_match) {
    char *folder = tiny_experiment();
    char captions[512], ids[512];
    snprintf(captions, sizeof captions, "%s/data/train_caps.txt", folder);
    snprintf(ids, sizeof ids, "%s/data/train_ids.txt", folder);
    replace_in(ids, "23\n", "");
    REFUSED(folder, "", "train_caps.txt", "53", "train_ids.txt", "52");
    replace_in(ids, "22\n", "24\n23\n");
    REFUSED(folder, "", "train_ids.txt:", "24");
    ck_assert_int_eq(unlink(ids), 0);
    REFUSED(folder, "", "53 captions", "24 images", "train_ids.txt");
    folder_remove(folder);

    folder = tiny_experiment();
    replace_in(in_folder(folder, "data/train_caps.txt"), "a red square\n", "\n");
    REFUSED(folder, "", "train_caps.txt:1", "empty");
    folder_remove(folder);

    folder = tiny_experiment();
    replace_in(in_folder(folder, "data/train_caps.txt"), "a red square",
               "a r\xff"
               "d square");
    REFUSED(folder, "", "train_caps.txt:1", "UTF-8");
    folder_remove(folder);
}
END_TEST

START_TEST(damaged_checkpoints) {
    char *folder = tiny_experiment(), arguments[512];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(arguments, NULL), 0);
    REFUSED(folder,
            "--evaluate test --set 'image.fc=linear width=16' --set 'text.pool=gru width=16'",
            "best.safetensors", "image.fc.weight");
    const char *last = in_folder(folder, "run/last.safetensors");
    ck_assert_int_eq(truncate(last, 1000), 0);
    REFUSED(folder, "--set run.device=cuda", "[run] device = cuda", "CUDA backend was not loaded");
    REFUSED(folder, "--resume", "last.safetensors");
    folder_remove(folder);
}
END_TEST

/* A file-size limit stands for a full disk: the checkpoint cannot be written, the message says
 * so, and the earlier run's files are as they were. Without an event file, which would not fit
 * before that. */
START_TEST(full_disk) {
    char *folder = tiny_experiment(), command[1024];
    snprintf(command, sizeof command, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(command, NULL), 0);
    snprintf(command, sizeof command, "cp %s/run/last.safetensors %s/kept", folder, folder);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof command,
             "trap '' XFSZ; ulimit -f 8; '%s' %s/tiny.ini --resume --set train.epochs=6 --set "
             "run.tensorboard=no > /dev/null 2> %s/message",
             getenv("CT_TRAIN"), folder, folder);
    int status = system(command);
    ck_assert_int_eq(WEXITSTATUS(status), 2);
    char *message = ct_file_read(in_folder(folder, "message"), NULL);
    ck_assert_ptr_nonnull(message);
    ck_assert_msg(strstr(message, "safetensors") && strstr(message, "File too large"), "%s",
                  message);
    free(message);
    assert_same_file(in_folder(folder, "run/last.safetensors"), in_folder(folder, "kept"));
    folder_remove(folder);
}
END_TEST

/* What is exported stands or falls as a whole. */
START_TEST(exports_that_cannot_be) {
    char *folder = tiny_experiment(), options[1024];
    snprintf(options, sizeof options, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(options, NULL), 0);
    snprintf(options, sizeof options, "--export %s/nowhere/file", folder);
    REFUSED(folder, options, "nowhere/file", "No such file");
    snprintf(options, sizeof options, "--export %s/run", folder);
    REFUSED(folder, options, "/run", "not a regular file");
    /* the released code has one linear layer */
    const char two[] = "--set 'image.fc=linear width=12 x 2' --set run.folder=";
    snprintf(options, sizeof options, "%s/tiny.ini %s%s/two --set train.epochs=1", folder, two,
             folder);
    ck_assert_int_eq(run_train(options, NULL), 0);
    snprintf(options, sizeof options, "--export %s/file --set run.names=released %s%s/two", folder,
             two, folder);
    REFUSED(folder, options, "no name for", "image.fc.1.weight");
    ck_assert_int_ne(access(in_folder(folder, "file"), F_OK), 0);
    folder_remove(folder);
}
END_TEST

START_TEST(wrong_weights) {
    char *folder = tiny_experiment(), options[1024];
    snprintf(options, sizeof options, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(options, NULL), 0);
    snprintf(options, sizeof options,
             "%s/tiny.ini --set run.folder=%s/wide --set 'image.fc=linear width=14' "
             "--set 'text.pool=gru width=14' --set train.epochs=1",
             folder, folder);
    ck_assert_int_eq(run_train(options, NULL), 0);
    snprintf(options, sizeof options, "--evaluate test --weights %s/run --weights %s/./run/",
             folder, folder);
    REFUSED(folder, options, "run/: given twice");
    snprintf(options, sizeof options, "--evaluate test --weights %s/data", folder);
    REFUSED(folder, options, "/data: a folder without config.ini");
    snprintf(options, sizeof options, "--evaluate test --weights %s/run --weights %s/nowhere",
             folder, folder);
    REFUSED(folder, options, "/nowhere: No such file");
    snprintf(options, sizeof options, "--evaluate test --weights %s/wide/best.safetensors", folder);
    REFUSED(folder, options, "wide/best.safetensors does not fit", "image.fc.weight is f32 (14,6)");
    snprintf(options, sizeof options, "--embed test --weights %s/run --weights %s/wide", folder,
             folder);
    REFUSED(folder, options, "--embed takes one model, --weights names 2");
    snprintf(options, sizeof options, "--export %s/x --weights %s/run --weights %s/wide", folder,
             folder, folder);
    REFUSED(folder, options, "--export takes one model");
    ck_assert_int_eq(unlink(in_folder(folder, "wide/best.safetensors")), 0);
    snprintf(options, sizeof options, "--evaluate test --weights %s/wide", folder);
    REFUSED(folder, options, "wide/best.safetensors: ", "No such file");
    REFUSED(folder, "--evaluate test --set evaluate.folds=5", "12 images", "5 folds");
    folder_remove(folder);
}
END_TEST

/* Embeddings that cannot be written leave the earlier ones as they were. */
START_TEST(embeddings_that_cannot_be_written) {
    char *folder = tiny_experiment(), command[1024];
    snprintf(command, sizeof command, "%s/tiny.ini", folder);
    ck_assert_int_eq(run_train(command, NULL), 0);
    snprintf(command, sizeof command, "%s/tiny.ini --embed test --out %s/e", folder, folder);
    ck_assert_int_eq(run_train(command, NULL), 0);
    snprintf(command, sizeof command, "cp %s/e/img_embs.npy %s/kept", folder, folder);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof command,
             "trap '' XFSZ; ulimit -f 0; '%s' %s/tiny.ini --embed test --out %s/e 2> /dev/null",
             getenv("CT_TRAIN"), folder, folder);
    int status = system(command);
    ck_assert_int_eq(WEXITSTATUS(status), 2);
    assert_same_file(in_folder(folder, "e/img_embs.npy"), in_folder(folder, "kept"));
    ck_assert_int_ne(access(in_folder(folder, "e/img_embs.npy.partial"), F_OK), 0);
    snprintf(command, sizeof command, "--embed test --out %s/kept", folder);
    REFUSED(folder, command, "/kept", "Not a directory");
    snprintf(command, sizeof command, "--embed test --out %s/kept/deeper", folder);
    REFUSED(folder, command, "/kept/deeper", "Not a directory");
    REFUSED(folder, "--embed nosuch", "nosuch_ims.npy");
    snprintf(command, sizeof command, "%s/tiny.ini --evaluate test --out %s/nowhere/x.json", folder,
             folder);
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(run_train(command, output), 2); /* the table is printed all the same */
    ck_assert_msg(strstr(output, "nowhere/x.json") && strstr(output, "\ntest "), "%s", output);
    folder_remove(folder);
}
END_TEST

/* What is in a file is quoted so that the sentence stays one, of a length that can be read. */
START_TEST(sentences_that_quote_files) {
    static const char format[] = "{\"word2idx\": {\"<pad>\": 0, \"<start>\": 1, \"<end>\": 2, "
                                 "\"<unk>\": 3, \"a\": 4}, \"idx2word\": {\"0\": \"<pad>\", \"1\": "
                                 "\"<start>\", \"2\": \"<end>\", \"3\": \"<unk>\", \"4\": \"%s\"}}";
    static const char escaped[] = "a\\n\\r\\t\\u001b[2J";
    enum { LONG = 100000 };
    static char text[LONG + 1 + sizeof format], output[OUTPUT_SIZE], word[LONG + 1];
    char *folder = tiny_experiment(), options[256];
    const char *path = in_folder(folder, "v.json");
    snprintf(options, sizeof options, "--dry-run --set data.vocabulary=%s", path);
    snprintf(text, sizeof text, format, escaped);
    write_text(path, text);
    REFUSED(folder, options, "v.json: id 4 is 'a\\n\\r\\t\\x1b[2J' in idx2word but 'a'");
    memset(word, 'x', LONG);
    snprintf(text, sizeof text, format, word);
    write_text(path, text);
    snprintf(options, sizeof options, "%s/tiny.ini --dry-run --set data.vocabulary=%s", folder,
             path);
    ck_assert_int_eq(run_train(options, output), 2);
    ck_assert_msg(strstr(output, "xxx ... xxx") && strlen(output) < 5000, "%s", output);
    ck_assert_int_eq(run_train("\"$(head -c 20000 /dev/zero | tr '\\0' '\\200')\"", output), 2);
    ck_assert_msg(strstr(output, "\x80 ... \x80") && strlen(output) < 5000, "%s", output);
    folder_remove(folder);
}
END_TEST

START_TEST(help_is_there) {
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(run_train("--help", output), 0);
    ck_assert_ptr_nonnull(strstr(output, "--dry-run"));
    ck_assert_int_eq(run_train("--help-config", output), 0);
    ck_assert_ptr_nonnull(strstr(output, "lr_update"));
    ck_assert_ptr_nonnull(strstr(output, "\n  text_policy_steps            words|padded\n"));
    ck_assert_ptr_nonnull(strstr(output, "once|twice (not in the preset)\n"));
    ck_assert_ptr_nonnull(strstr(output, "same_image=negative|ignored"));
    ck_assert_int_eq(run_train("--version", output), 0);
    ck_assert_ptr_nonnull(strstr(output, "cotangent"));
}
END_TEST

TEST_MAIN("cli", wrong_configurations, wrong_command_lines, mistyped_options,
          options_that_take_no_part, wrong_features, captions_that_do_not_match,
          damaged_checkpoints, full_disk, exports_that_cannot_be, wrong_weights,
          embeddings_that_cannot_be_written, sentences_that_quote_files, help_is_there)
