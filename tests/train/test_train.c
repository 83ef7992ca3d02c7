/* SPDX-License-Identifier: Apache-2.0 */
/* Whole runs of `train`: what they leave, that they learn, repeat and resume to the same bits. */
#include <jansson.h>
#include <signal.h>

#include "tests/train/program.h"

static json_t *results(const char *run) {
    json_error_t error;
    json_t *root = json_load_file(in_folder(run, "results.json"), 0, &error);
    ck_assert_msg(root != NULL, "results.json: %s", error.text);
    return root;
}

static double metric(json_t *root, const char *split, const char *way, const char *name) {
    json_t *value = json_object_get(json_object_get(json_object_get(root, split), way), name);
    ck_assert_msg(json_is_number(value), "results.json has no %s.%s.%s", split, way, name);
    return json_number_value(value);
}

static int train(const char *folder, const char *options, char *output) {
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    return run_train(arguments, output);
}

/* A number of the first line of a run's metrics.jsonl. */
static double first_metric(const char *run, const char *name) {
    char *text = ct_file_read(in_folder(run, "metrics.jsonl"), NULL);
    ck_assert_ptr_nonnull(text);
    json_t *line = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    ck_assert(json_is_object(line));
    json_t *value = json_object_get(line, name);
    ck_assert_msg(json_is_number(value), "metrics.jsonl has no %s", name);
    double number = json_number_value(value);
    json_decref(line);
    free(text);
    return number;
}

START_TEST(leaves_results_and_learns) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_msg(train(folder, "--set train.epochs=25", output) == 0, "%s", output);
    json_t *root = results(in_folder(folder, "run"));
    /* 12 test images, all different: chance is R@1 8.3 and R@5 41.7 */
    ck_assert_double_gt(metric(root, "test", "i2t", "r5"), 80);
    ck_assert_double_gt(metric(root, "test", "t2i", "r5"), 80);
    ck_assert_double_ge(metric(root, "test", "i2t", "medr"), 1);
    ck_assert_double_ge(metric(root, "test", "t2i", "meanr"), 1);
    ck_assert(json_is_number(json_object_get(json_object_get(root, "test"), "rsum")));
    ck_assert_int_eq(json_integer_value(json_object_get(root, "seed")), 3);
    ck_assert(json_is_string(json_object_get(root, "config")));
    ck_assert(json_is_object(json_object_get(root, "versions")));
    ck_assert_double_gt(json_number_value(json_object_get(root, "wall_seconds")), 0);
    /* batches of 8: 1/(rank+1) both ways, 0 to 1 for R@1 and R@5, 1 for R@10 */
    double reward = first_metric(in_folder(folder, "run"), "reward");
    double spread = first_metric(in_folder(folder, "run"), "reward_spread");
    ck_assert_msg(reward > 2.25 && reward < 8, "reward %g", reward);
    ck_assert_msg(spread > 0 && spread < 1, "spread %g", spread);
    json_decref(root);
    const char *const files[] = {"best.safetensors", "last.safetensors",
                                 "metrics.jsonl",    "vocabulary.json",
                                 "config.ini",       "events.out.tfevents.cotangent"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ck_assert_msg(access(in_folder(in_folder(folder, "run"), files[i]), R_OK) == 0, "%s",
                      files[i]);
    }
    /* the last line of the output is the results file, for scripts */
    ck_assert_ptr_nonnull(strstr(output, "/run/results.json\n"));
    folder_remove(folder);
}
END_TEST

START_TEST(same_seed_same_bits) {
    char *folder = tiny_experiment(), options[512];
    ck_assert_int_eq(train(folder, "", NULL), 0);
    snprintf(options, sizeof options, "--set run.folder=%s/again --set run.tensorboard=no", folder);
    ck_assert_int_eq(train(folder, options, NULL), 0);
    ck_assert_int_ne(access(in_folder(folder, "again/events.out.tfevents.cotangent"), F_OK), 0);
    assert_same_file(in_folder(folder, "run/best.safetensors"),
                     in_folder(folder, "again/best.safetensors"));
    snprintf(options, sizeof options, "--set run.folder=%s/other --set run.seed=4", folder);
    ck_assert_int_eq(train(folder, options, NULL), 0);
    CT_SCOPE {
        ct_safetensors *a = ct_safetensors_open(in_folder(folder, "run/best.safetensors"));
        ct_safetensors *b = ct_safetensors_open(in_folder(folder, "other/best.safetensors"));
        double first = ct_get(ct_safetensors_get(a, "image.fc.weight"), 0);
        ck_assert(first != ct_get(ct_safetensors_get(b, "image.fc.weight"), 0));
        ct_safetensors_close(a);
        ct_safetensors_close(b);
    }
    assert_no_error();
    folder_remove(folder);
}
END_TEST

/* Ends a run by SIGINT as soon as it has done some steps, then resumes it. */
START_TEST(interrupted_and_resumed_same_bits) {
    char *folder = tiny_experiment(), command[1024], options[512];
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "--set train.epochs=40", NULL), 0);
    snprintf(command, sizeof command,
             "'%s' %s/tiny.ini --set train.epochs=40 --set run.folder=%s/cut > %s/out 2>&1 & "
             "p=$!; while kill -0 $p && ! grep -q 'epoch  4' %s/out; do sleep 0.01; done; "
             "kill -INT $p; wait $p",
             getenv("CT_TRAIN"), folder, folder, folder, folder);
    /* Background jobs of a shell without job control ignore SIGINT: hence bash -m. */
    write_text(in_folder(folder, "cut.sh"), command);
    snprintf(command, sizeof command, "bash -m %s/cut.sh 2>/dev/null", folder);
    int status = system(command);
    ck_assert_int_eq(WEXITSTATUS(status), 130);
    ck_assert_int_ne(access(in_folder(folder, "cut/results.json"), F_OK), 0);
    snprintf(options, sizeof options, "--resume --set train.epochs=40 --set run.folder=%s/cut",
             folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    assert_same_file(in_folder(folder, "run/best.safetensors"),
                     in_folder(folder, "cut/best.safetensors"));
    CT_SCOPE { /* optimiser state and last parameters too; only the seconds differ */
        ct_safetensors *a = ct_safetensors_open(in_folder(folder, "run/last.safetensors"));
        ct_safetensors *b = ct_safetensors_open(in_folder(folder, "cut/last.safetensors"));
        ck_assert_int_eq(ct_safetensors_count(a), ct_safetensors_count(b));
        for (int i = 0; i < ct_safetensors_count(a); i++) {
            const char *name = ct_safetensors_name(a, i);
            assert_close(ct_safetensors_get(a, name), ct_safetensors_get(b, name), 0, 0, name);
        }
        ct_safetensors_close(a);
        ct_safetensors_close(b);
    }
    folder_remove(folder);
}
END_TEST

static void assert_same_tensor(const char *a, const char *b, const char *name) {
    CT_SCOPE {
        ct_safetensors *one = ct_safetensors_open(a), *two = ct_safetensors_open(b);
        assert_no_error();
        assert_close(ct_safetensors_get(one, name), ct_safetensors_get(two, name), 0, 0, name);
        ct_safetensors_close(one);
        ct_safetensors_close(two);
    }
}

/* -1: it has no state. */
static int64_t steps_of_adam(const char *checkpoint, const char *parameter) {
    int64_t steps = -1;
    char name[128];
    snprintf(name, sizeof name, "optimizer.step.%s", parameter);
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(checkpoint);
        if (ct_safetensors_has(file, name))
            steps = (int64_t)ct_item(ct_safetensors_get(file, name));
        ct_safetensors_close(file);
    }
    assert_no_error();
    return steps;
}

#define HEADS                                    \
    "--set 'loss.instance=classifier hidden=4' " \
    "--set 'loss.decoder=convcap width=4 hidden=3 layers=1' "

/* Resumed with a learning rate of 0, every parameter shows where it was taken from. */
START_TEST(resume_takes_up_all_or_the_encoders) {
    enum { BATCHES = 53 / 8 }; /* of an epoch: 24 images, 2 captions each and 3 for five of them */
    static const char *const encoders[] = {"model.image.fc.weight", "model.image.attend.rho.bias",
                                           "model.text.embed.weight", "model.text.bn.weight"};
    static const char *const heads[] = {"model.classifier.output.weight",
                                        "model.decoder.words.weight_v"};
    char *folder = tiny_experiment(), options[1024];
    static char output[OUTPUT_SIZE];
    snprintf(options, sizeof options, HEADS "--set train.lr=0 --set run.folder=%s/start", folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    snprintf(options, sizeof options, HEADS "--set train.epochs=2 --set run.folder=%s/trained",
             folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    for (int released = 0; released < 2; released++) {
        snprintf(options, sizeof options, "cp -r %s/trained %s/run", folder, folder);
        ck_assert_int_eq(system(options), 0);
        snprintf(options, sizeof options, HEADS "--resume --set train.lr=0 --set compat.resume=%s",
                 released ? "released" : "exact");
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        const char *last = in_folder(folder, "run/last.safetensors");
        for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++)
            assert_same_tensor(last, in_folder(folder, "trained/last.safetensors"), encoders[i]);
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
            const char *from = released ? "start/last.safetensors" : "trained/last.safetensors";
            assert_same_tensor(last, in_folder(folder, from), heads[i]);
        }
        ck_assert_int_eq(steps_of_adam(last, "image.fc.weight"), 3 * BATCHES);
        /* the first of the 3 epochs was trained before, or again by this run */
        ck_assert((first_metric(in_folder(folder, "run"), "lr") == 0) == released);
        snprintf(options, sizeof options, "rm -r %s/run", folder);
        ck_assert_int_eq(system(options), 0);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(decoder_is_trained_fixed_or_updated_twice) {
    static const struct {
        const char *key;
        int64_t steps; /* of the decoder, an epoch; -1: it has no optimiser state */
    } rows[] = {{"decoder_parameters=trained", 6},
                {"decoder_parameters=fixed", -1},
                {"decoder_updates=twice", 12},
                {"preset=released", -1}};
    char *folder = tiny_experiment(), options[1024];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static char output[OUTPUT_SIZE];
        snprintf(options, sizeof options, HEADS "--overwrite --set train.epochs=1 --set compat.%s",
                 rows[i].key);
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        const char *last = in_folder(folder, "run/last.safetensors");
        ck_assert_int_eq(steps_of_adam(last, "image.fc.weight"), 6);
        ck_assert_int_eq(steps_of_adam(last, "decoder.output.bias"), rows[i].steps);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(a_run_is_not_overwritten_unasked) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "", NULL), 0);
    ck_assert_int_eq(train(folder, "", output), 2);
    ck_assert_msg(strstr(output, "--overwrite") != NULL, "%s", output);
    /* a mistake costs nothing that is there */
    ck_assert_int_eq(train(folder, "--overwrite --set train.batch=1000", output), 2);
    ck_assert_msg(strstr(output, "do not fill one batch") != NULL, "%s", output);
    ck_assert_int_eq(train(folder, "--overwrite --set train.lr_factors=no:1", output), 2);
    ck_assert_int_eq(access(in_folder(folder, "run/results.json"), R_OK), 0);
    ck_assert_int_eq(train(folder, "--overwrite", NULL), 0);
    folder_remove(folder);
}
END_TEST

static void shell(const char *folder, const char *command) {
    char line[1024];
    snprintf(line, sizeof line, "cd '%s' && %s", folder, command);
    ck_assert_msg(system(line) == 0, "%s", line);
}

/* What is wrong with the data may show only when it is read. */
START_TEST(a_run_comes_back_if_the_next_saves_nothing) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "", NULL), 0);
    shell(folder, "cp -r run kept && cp data/train_ims.npy sound.npy");
    shell(folder, "printf '\\000\\000\\300\\177' | "
                  "dd of=data/train_ims.npy bs=1 seek=128 conv=notrunc status=none"); /* a NaN */
    ck_assert_int_eq(train(folder, "--overwrite", output), 2);
    ck_assert_msg(strstr(output, "is nan") != NULL, "%s", output);
    shell(folder, "diff -r run kept");
    /* a new run that was killed: before it saved anything, and after */
    shell(folder, "cp sound.npy data/train_ims.npy && mkdir run/replaced && "
                  "for f in run/*.*; do mv $f run/replaced/; done && touch run/metrics.jsonl");
    ck_assert_int_eq(train(folder, "", output), 2);
    ck_assert_msg(strstr(output, "already holds a run") != NULL, "%s", output);
    shell(folder, "diff -r run kept && mkdir run/replaced && touch run/replaced/best.safetensors");
    ck_assert_int_eq(train(folder, "--resume", NULL), 0);
    shell(folder, "test ! -e run/replaced && cmp run/best.safetensors kept/best.safetensors");
    ck_assert_int_eq(train(folder, "--overwrite", NULL), 0);
    shell(folder, "test ! -e run/replaced && cmp run/best.safetensors kept/best.safetensors");
    folder_remove(folder);
}
END_TEST

START_TEST(evaluates_and_queries_what_it_trained) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "--set train.epochs=25", output), 0);
    const char *table = strstr(output, "\ntest ");
    ck_assert_ptr_nonnull(table);
    char row[256];
    ck_assert_int_eq(sscanf(table, "\n%255[^\n]", row), 1);
    ck_assert_int_eq(train(folder, "--evaluate test", output), 0);
    ck_assert_msg(strstr(output, row) != NULL, "expected '%s' in\n%s", row, output);
    ck_assert_int_eq(train(folder, "--query 'a blue star' --top 3 --split test", output), 0);
    int first_image = -1;
    ck_assert_int_eq(sscanf(output, " 1 %*f test %d", &first_image), 1);
    ck_assert_int_eq(first_image, 10); /* colour 10%4 = blue, shape 10/4 = star */
    folder_remove(folder);
}
END_TEST

/* OpenBLAS takes kernels without AVX for processors newer than itself; `train` sees to better ones,
 * unless the user has chosen. */
START_TEST(matrix_kernels_suit_the_processor) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("GOMP_SPINCOUNT");
    unsetenv("OMP_WAIT_POLICY");
    ck_assert_int_eq(train(folder, "--dry-run", output), 0);
    ck_assert_ptr_nonnull(strstr(output, "OpenBLAS"));
    ck_assert_ptr_null(strstr(output, "set OPENBLAS_CORETYPE"));
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) ck_assert_ptr_null(strstr(output, "Prescott kernels"));
    setenv("OPENBLAS_CORETYPE", "Prescott", 1);
    ck_assert_int_eq(train(folder, "--dry-run", output), 0);
    ck_assert_ptr_nonnull(strstr(output, "Prescott kernels,"));
#endif
    folder_remove(folder);
}
END_TEST

/* Captions split, dropped and padded as the released code does: a query, which goes through all of
 * it, ranks as the embeddings that --embed writes do. */
START_TEST(reads_captions_as_released) {
    static const char glove[] = "a 1 0 0 .1 .2 .3 .4 .5\nred 0 1 0 -.1 .2 .3 .4 .5\n"
                                "blue 0 0 1 .1 -.2 .3 .4 .5\nstar 1 1 0 .1 .2 -.3 .4 .5\n"
                                "square 0 1 1 .1 .2 .3 -.4 .5\n' .5 .5 .5 .5 .5 .5 .5 .5\n";
    char *folder = tiny_experiment(), options[1024], common[600];
    static char output[OUTPUT_SIZE];
    write_text(in_folder(folder, "glove.txt"), glove);
    snprintf(common, sizeof common,
             "--set 'text.embed=words vectors=%s/glove.txt' --set compat.tokens=released "
             "--set compat.unknown_words=dropped --set compat.text_policy_steps=padded "
             "--set compat.decoder_targets=words_and_pad "
             "--set 'loss.decoder=convcap width=8 hidden=4 layers=2 kernel=3'",
             folder);
    ck_assert_msg(train(folder, common, output) == 0, "%s", output);
    snprintf(options, sizeof options, "%s --embed test --out %s/embeddings", common, folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    snprintf(options, sizeof options, "%s --query 'a red square' --top 12 --split test", common);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    CT_SCOPE {
        /* the first caption of test is that of the query */
        ct_tensor *images = ct_npy_open(in_folder(folder, "embeddings/img_embs.npy"));
        ct_tensor *captions = ct_npy_open(in_folder(folder, "embeddings/cap_embs.npy"));
        ct_tensor *query = ct_tensor_slice(captions, 0, 0, 1, 1);
        images = ct_tensor_cast(ct_tensor_cast(images, CT_F16), CT_F32); /* as they are searched */
        ct_tensor *scores = ct_tensor_matmul(images, ct_tensor_transpose(query, 0, 1));
        assert_no_error();
        const char *at = output;
        for (int i = 1; i <= 12; i++) {
            int rank, image;
            double score;
            ck_assert_int_eq(sscanf(at, "%d %lf test %d", &rank, &score, &image), 3);
            ck_assert_int_eq(rank, i);
            ck_assert_double_eq_tol(score, ct_get(scores, image), 6e-5);
            at = strchr(at, '\n') + 1;
        }
    }
    folder_remove(folder);
}
END_TEST

START_TEST(embeddings_are_written) {
    char *folder = tiny_experiment(), options[512];
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "", NULL), 0);
    snprintf(options, sizeof options, "--embed test --out %s/deep/embeddings", folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    CT_SCOPE {
        ct_tensor *images = ct_npy_open(in_folder(folder, "deep/embeddings/img_embs.npy"));
        ct_tensor *captions = ct_npy_open(in_folder(folder, "deep/embeddings/cap_embs.npy"));
        assert_no_error();
        ck_assert(ct_shape_equal(images->shape, CT_SHAPE(12, 12)));
        ck_assert(ct_shape_equal(captions->shape, CT_SHAPE(27, 12))); /* 2 each, 3 for 3 of 12 */
        ct_tensor *squares = ct_tensor_reduce(CT_SUM, ct_tensor_mul(captions, captions), 2, false);
        ct_tensor *ones = ct_full(CT_F32, CT_CPU, CT_SHAPE(27), 1);
        assert_close(squares, ones, 1e-5, 0, "squared length of the embeddings");
    }
    folder_remove(folder);
}
END_TEST

START_TEST(training_starts_from_given_weights) {
    char *folder = tiny_experiment(), options[1024];
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "", NULL), 0);
    /* Adam moves a parameter by at most about the learning rate a step: 6 steps of 1e-7 */
    snprintf(options, sizeof options,
             "--init %s/run/best.safetensors --set run.folder=%s/next --set run.seed=9 "
             "--set train.epochs=1 --set train.lr=1e-7",
             folder, folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    CT_SCOPE {
        ct_safetensors *a = ct_safetensors_open(in_folder(folder, "run/best.safetensors"));
        ct_safetensors *b = ct_safetensors_open(in_folder(folder, "next/best.safetensors"));
        assert_close(ct_safetensors_get(b, "image.fc.weight"),
                     ct_safetensors_get(a, "image.fc.weight"), 0, 1e-6, "image.fc.weight");
        ct_safetensors_close(a);
        ct_safetensors_close(b);
    }
    snprintf(options, sizeof options,
             "--init %s/next/best.safetensors --overwrite --set text.bn=", folder);
    ck_assert_int_eq(train(folder, options, output), 2);
    ck_assert_msg(strstr(output, "extra: text.bn") != NULL, "%s", output);
    ck_assert_int_eq(access(in_folder(folder, "run/results.json"), R_OK), 0);
    folder_remove(folder);
}
END_TEST

/* Out under either names and in again: the same file, to the last byte, and the same recalls. */
START_TEST(weights_go_out_and_in) {
    char *folder = tiny_experiment(), options[1024];
    static char output[OUTPUT_SIZE], table[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, "", NULL), 0);
    ck_assert_int_eq(train(folder, "--evaluate test", table), 0);
    static const char *const names[] = {"ours", "released"};
    for (int i = 0; i < 2; i++) {
        snprintf(options, sizeof options, "--export %s/first --set run.names=%s", folder, names[i]);
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        snprintf(options, sizeof options,
                 "--export %s/second --weights %s/first --set run.names=%s", folder, folder,
                 names[i]);
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        assert_same_file(in_folder(folder, "first"), in_folder(folder, "second"));
        if (i == 0)
            assert_same_file(in_folder(folder, "first"), in_folder(folder, "run/best.safetensors"));
        snprintf(options, sizeof options, "--evaluate test --weights %s/first --set run.names=%s",
                 folder, names[i]);
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        ck_assert_str_eq(output, table);
        /* what is read may have either names, whatever is to be written */
        snprintf(options, sizeof options, "--export %s/other --weights %s/first --set run.names=%s",
                 folder, folder, names[1 - i]);
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        snprintf(options, sizeof options,
                 "--export %s/second --weights %s/other --set run.names=%s", folder, folder,
                 names[i]);
        ck_assert_msg(train(folder, options, output) == 0, "%s", output);
        assert_same_file(in_folder(folder, "first"), in_folder(folder, "second"));
    }
    /* a checkpoint of the released code lacks what only its losses use */
    snprintf(options, sizeof options,
             "--init %s/first --overwrite --set run.names=released "
             "--set 'loss.instance=classifier hidden=5' --set train.epochs=1",
             folder);
    ck_assert_msg(train(folder, options, output) == 0, "%s", output);
    ck_assert_msg(strstr(output, "/first: has no classifier: left as at the start\n") != NULL, "%s",
                  output);
    folder_remove(folder);
}
END_TEST

START_TEST(dry_run_prints_the_graph_and_writes_nothing) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_msg(train(folder, "--dry-run", output) == 0, "%s", output);
    const char *const expected[] = {"policy_attention", "(8,4,12)", "parameters", "GFLOP",
                                    "memory"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_msg(strstr(output, expected[i]) != NULL, "'%s' not in\n%s", expected[i], output);
    }
    ck_assert_int_ne(access(in_folder(folder, "run"), F_OK), 0);
    folder_remove(folder);
}
END_TEST

/* Where the processor can: a first loss that is off by roundings of the operands, and a run that
 * goes on in fp32 says so. */
START_TEST(trains_in_bf16) {
    static char output[OUTPUT_SIZE];
    char *folder = tiny_experiment(), arguments[1024];
    static const char *const run[] = {"--set run.precision=fp32", "--set run.precision=bf16",
                                      "--resume --set run.precision=fp32 --set train.epochs=4"};
    for (int i = 0; i < 3; i++) {
        snprintf(arguments, sizeof arguments,
                 "%s/tiny.ini --set run.folder=%s/run%d %s --set train.log_every=1", folder, folder,
                 i > 0, run[i]);
        int status = run_train(arguments, output);
        if (status == 2 && strstr(output, "device cpu multiplies in bf16 by oneDNN, which")) {
            fprintf(stderr, "skipped: %s", output);
            folder_remove(folder);
            return;
        }
        ck_assert_msg(status == 0, "%s", output);
        ck_assert_int_eq(strstr(output, "products in bf16") != NULL, i == 1);
    }
    ck_assert_msg(strstr(output, "[run] precision = fp32 from here on; it was bf16\n") != NULL,
                  "%s", output);
    double loss = first_metric(in_folder(folder, "run0"), "loss");
    double of_bf16 = first_metric(in_folder(folder, "run1"), "loss");
    ck_assert_double_ne(of_bf16, loss);
    ck_assert_double_le(fabs(of_bf16 - loss), 2 * 0x1p-8 * loss);
    folder_remove(folder);
}
END_TEST

TEST_MAIN("train", leaves_results_and_learns, same_seed_same_bits,
          interrupted_and_resumed_same_bits, resume_takes_up_all_or_the_encoders,
          decoder_is_trained_fixed_or_updated_twice, a_run_is_not_overwritten_unasked,
          a_run_comes_back_if_the_next_saves_nothing, matrix_kernels_suit_the_processor,
          evaluates_and_queries_what_it_trained, reads_captions_as_released, embeddings_are_written,
          training_starts_from_given_weights, weights_go_out_and_in, trains_in_bf16,
          dry_run_prints_the_graph_and_writes_nothing)
