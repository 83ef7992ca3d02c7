/* SPDX-License-Identifier: Apache-2.0 */
/* Using a trained model: the folder of its run and the split in question suffice, weights are those
 * of their vocabulary and graph, and every form in which they are met is understood. */
#include <stdarg.h>

#include "tests/train/program.h"

/* Runs the program in the experiment's folder and expects success; what it said. */
static const char *train(const char *folder, const char *options) {
    static char said[OUTPUT_SIZE];
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    int status = run_train(arguments, said);
    ck_assert_msg(status == 0, "%s: status %d\n%s", options, status, said);
    return said;
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...) {
    char command[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    ck_assert_msg(system(command) == 0, "%s", command);
}

/* Vectors of all words but "star". */
static void write_vectors(const char *folder) {
    static const char *const words[] = {"a",    "red",    "green",  "blue", "white",
                                        "star", "square", "circle", "the",  "is"};
    FILE *file = fopen(in_folder(folder, "vectors.txt"), "w");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 10; i++) {
        if (i != 5) fprintf(file, "%s %d.5 %d.25 0.125 1\n", words[i], i % 3 - 1, i % 5 - 2);
    }
    fclose(file);
}

/* What only training needs is gone: the model says what it said before, and --query searches the
 * splits that are left. */
START_TEST(a_run_and_a_split_suffice) {
    char *folder = tiny_experiment(), with[1024], before[OUTPUT_SIZE], options[2048];
    write_vectors(folder);
    snprintf(with, sizeof with,
             "--set 'text.embed=words vectors=%s/vectors.txt' --set 'loss.instance=classifier "
             "hidden=4' --set train.epochs=1 --set compat.unknown_words=dropped",
             folder);
    train(folder, with);
    snprintf(options, sizeof options, "%s --evaluate test", with);
    snprintf(before, sizeof before, "%s", train(folder, options));
    snprintf(options, sizeof options, "%s --embed test --out %s/before", with, folder);
    train(folder, options);
    shell("cd %s && rm data/train_* data/dev_* data/word_vectors-* vectors.txt", folder);
    snprintf(options, sizeof options, "%s --evaluate test", with);
    ck_assert_str_eq(train(folder, options), before);
    snprintf(options, sizeof options, "%s --embed test --out %s/after", with, folder);
    train(folder, options);
    shell("cd %s && cmp before/img_embs.npy after/img_embs.npy && cmp before/cap_embs.npy "
          "after/cap_embs.npy",
          folder);
    snprintf(options, sizeof options, "%s --query 'a red star'", with);
    const char *said = train(folder, options);
    assert_said(said, "unknown: 'star'\n  1  "); /* it has no vector */
    assert_said(said, " test 0 ");
    snprintf(options, sizeof options, "%s --export %s/weights", with, folder);
    train(folder, options);
    folder_remove(folder);
}
END_TEST

/* The folder of a run stands for its configuration, moved or not. */
START_TEST(a_run_folder_is_a_configuration) {
    char *folder = tiny_experiment(), before[OUTPUT_SIZE], options[1024];
    static char said[OUTPUT_SIZE];
    train(folder, "--set train.epochs=1");
    snprintf(before, sizeof before, "%s", train(folder, "--evaluate test"));
    shell("cd %s && mv run 'moved run' && rm tiny.ini data/train_* data/dev_*", folder);
    snprintf(options, sizeof options, "'%s/moved run' --evaluate test", folder);
    ck_assert_int_eq(run_train(options, said), 0);
    ck_assert_str_eq(said, before);
    snprintf(options, sizeof options, "%s/data --evaluate test", folder);
    ck_assert_int_eq(run_train(options, said), 2);
    assert_said(said, "/data: a folder without config.ini");
    folder_remove(folder);
}
END_TEST

/* Pictures alone. */
START_TEST(images_without_captions) {
    char *folder = tiny_experiment(), options[1024];
    train(folder, "--set train.epochs=1");
    snprintf(options, sizeof options, "--embed test --out %s/before", folder);
    train(folder, options);
    shell("cd %s/data && cp test_ims.npy album_ims.npy", folder);
    snprintf(options, sizeof options, "--embed album --out %s/album", folder);
    assert_said(train(folder, options), "cap_embs.npy: not written: album has no captions");
    assert_same_file(in_folder(folder, "album/img_embs.npy"),
                     in_folder(folder, "before/img_embs.npy"));
    ck_assert_int_ne(access(in_folder(folder, "album/cap_embs.npy"), F_OK), 0);
    snprintf(options, sizeof options, "--embed album --out %s/before", folder);
    assert_said(train(folder, options), "cap_embs.npy: left as it was");
    assert_said(train(folder, "--query 'a red star' --split album"), " album ");
    REFUSED(folder, "--evaluate album", "album_caps.txt", "No such file");
    folder_remove(folder);
}
END_TEST

/* Image 3 of the 4 has no caption: in training it is passed over, in rankings it distracts. */
START_TEST(an_image_without_a_caption) {
    char *folder = tiny_experiment();
    const char *split[] = {"train", "dev", "test"};
    for (int i = 0; i < 3; i++) {
        char caps[64], ids[64];
        snprintf(caps, sizeof caps, "data/%s_caps.txt", split[i]);
        snprintf(ids, sizeof ids, "data/%s_ids.txt", split[i]);
        shell("cd %s && paste %s %s | grep -v '\t3$' > both && cut -f 1 both > %s && "
              "cut -f 2 both > %s",
              folder, caps, ids, caps, ids);
    }
    const char *said = train(folder, "--set train.epochs=1");
    assert_said(said, "train: 1 of the images without a caption: they are not trained on");
    assert_said(train(folder, "--evaluate test"), "1 of the images");
    folder_remove(folder);
}
END_TEST

/* ---- whose weights they are -------------------------------------------------------------- */

/* run/ is of the experiment's captions; other/ of as many other words. */
static char *two_vocabularies(void) {
    char *folder = tiny_experiment();
    train(folder, "--set train.epochs=1");
    shell("cd %s && mkdir other.data && cp data/* other.data && sed -i -e 's/red/pink/' -e "
          "'s/star/heart/' other.data/*_caps.txt",
          folder);
    return folder;
}

START_TEST(weights_of_another_vocabulary) {
    char *folder = two_vocabularies(), options[1024];
    snprintf(options, sizeof options,
             "--set run.folder=%s/other --set data.folder=%s/other.data --set train.epochs=1",
             folder, folder);
    train(folder, options);
    snprintf(options, sizeof options, "--evaluate test --weights %s/other/best.safetensors",
             folder);
    REFUSED(folder, options, "other/best.safetensors: these weights are of another vocabulary",
            "run/vocabulary.json", "14 words, ", "--weights FOLDER");
    snprintf(options, sizeof options, "--query red --weights %s/other/last.safetensors", folder);
    REFUSED(folder, options, "other/last.safetensors: these weights are of another vocabulary");
    snprintf(options, sizeof options, "--evaluate test --weights %s/other", folder);
    train(folder, options); /* the run's folder has its own */
    snprintf(options, sizeof options, "--overwrite --init %s/other/best.safetensors", folder);
    REFUSED(folder, options, "of another vocabulary", "data/train_caps.txt",
            "[data] vocabulary = FOLDER/vocabulary.json");
    ck_assert_int_eq(access(in_folder(folder, "run/best.safetensors"), F_OK), 0);
    snprintf(options, sizeof options,
             "--overwrite --init %s/other/best.safetensors --set train.epochs=1 "
             "--set data.vocabulary=%s/other/vocabulary.json",
             folder, folder);
    train(folder, options);
    snprintf(options, sizeof options, "--export %s/e --set run.names=released", folder);
    train(folder, options); /* says so, too */
    shell("cp %s/other/vocabulary.json %s/run && sed -i s/pink/rosy/ %s/run/vocabulary.json",
          folder, folder, folder);
    snprintf(options, sizeof options, "--evaluate test --weights %s/e", folder);
    REFUSED(folder, options, "/e: these weights are of another vocabulary");
    REFUSED(folder, "--evaluate test", "run/best.safetensors: these weights are of another");
    folder_remove(folder);
}
END_TEST

/* Same shapes, another computation. */
START_TEST(weights_of_another_graph) {
    char *folder = tiny_experiment(), options[1024];
    train(folder, "--set train.epochs=1");
    REFUSED(folder, "--evaluate test --set 'image.norm=l2norm over=regions'",
            "run/best.safetensors: these weights were trained in another graph",
            "'[image] norm = l2norm'", "here '[image] norm = l2norm over=regions'");
    REFUSED(folder, "--evaluate test --set loss.measure=order", "measure = cosine");
    /* what only training heeds */
    train(folder, "--evaluate test --set 'text.attend=policy_attention heads=2 actions=10 "
                  "temperature=2'");
    snprintf(options, sizeof options,
             "--init %s/run/best.safetensors --set run.folder=%s/next --set train.epochs=1 "
             "--set 'image.norm=l2norm over=regions'",
             folder, folder);
    REFUSED(folder, options, "run/best.safetensors: these weights were trained in another graph",
            "here '[image] norm = l2norm over=regions'", "--other-graph");
    strcat(options, " --other-graph");
    assert_said(train(folder, options), "was trained as '[image] norm = l2norm', now '[image] norm "
                                        "= l2norm over=regions'");
    folder_remove(folder);
}
END_TEST

/* ---- the forms in which weights are met -------------------------------------------------- */

typedef struct {
    ct_named_tensor tensors[256];
    char names[256][160];
    int count;
} tensors;

static void add(tensors *t, const char *prefix, const char *name, const ct_tensor *x) {
    snprintf(t->names[t->count], sizeof t->names[0], "%s%s", prefix, name);
    t->tensors[t->count] = (ct_named_tensor){t->names[t->count], x};
    t->count++;
}

/* run/best.safetensors as an old PyTorch, and DataParallel, have such weights: no fingerprint. */
static void write_as_others_do(const char *folder, const char *path) {
    static tensors t;
    t.count = 0;
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(in_folder(folder, "run/best.safetensors"));
        for (int i = 0; i < ct_safetensors_count(file); i++) {
            const char *name = ct_safetensors_name(file, i);
            if (!strstr(name, "num_batches_tracked")) {
                add(&t, "module.", name, ct_safetensors_get(file, name));
            }
        }
        ck_assert(ct_safetensors_save(path, t.tensors, t.count, NULL));
        ct_safetensors_close(file);
    }
    assert_no_error();
}

START_TEST(weights_in_other_forms) {
    char *folder = tiny_experiment(), options[1024], before[OUTPUT_SIZE];
    train(folder, "--set train.epochs=1");
    snprintf(before, sizeof before, "%s", train(folder, "--evaluate test"));
    const char *path = in_folder(folder, "foreign.safetensors");
    write_as_others_do(folder, path);
    snprintf(options, sizeof options, "--evaluate test --weights %s", path);
    const char *said = train(folder, options);
    assert_said(said, "foreign.safetensors: does not say which vocabulary it is of");
    assert_said(said, before);
    snprintf(options, sizeof options, "--evaluate test --weights %s/run/last.safetensors", folder);
    ck_assert_str_eq(train(folder, options), before); /* of one epoch: the last is the best */
    snprintf(options, sizeof options,
             "--init %s/run/last.safetensors --set run.folder=%s/a --steps 1", folder, folder);
    train(folder, options);
    snprintf(options, sizeof options,
             "--init %s/run/best.safetensors --set run.folder=%s/b --steps 1", folder, folder);
    train(folder, options);
    shell("cd %s && cut -d, -f 1-5 a/metrics.jsonl > a.log && cut -d, -f 1-5 b/metrics.jsonl | "
          "cmp a.log",
          folder);
    folder_remove(folder);
}
END_TEST

/* ---- files of another kind --------------------------------------------------------------- */

/* Whatever file is read, one that is known for what it is, and the way out. */
START_TEST(wrong_files) {
    char *folder = tiny_experiment(), options[1024];
    train(folder, "--set train.epochs=1");
    shell("cd %s && printf '\\200\\002}q\\001.' > pickle && gzip -k data/train_caps.txt && "
          "cp data/train_caps.txt kept.txt && cp data/test_ims.npy kept.npy",
          folder);
    snprintf(options, sizeof options, "--overwrite --set data.vocabulary=%s/pickle", folder);
    REFUSED(folder, options, "/pickle: a Python pickle, expected text",
            "data/convert_vocabulary.py");
    snprintf(options, sizeof options, "--evaluate test --weights %s/pickle", folder);
    REFUSED(folder, options, "/pickle: a Python pickle, expected a safetensors file",
            "data/convert_checkpoint.py");
    snprintf(options, sizeof options, "--overwrite --init %s/data/test_ims.npy", folder);
    REFUSED(folder, options, "test_ims.npy: a NumPy array (.npy), expected a safetensors file");
    snprintf(options, sizeof options,
             "--overwrite --set 'text.embed=words vectors=%s/run/best.safetensors'", folder);
    REFUSED(folder, options, "best.safetensors: a safetensors file, expected text");
    shell("cd %s && printf '5 2\\na \\000\\000\\200?\\000\\000\\200?' > vectors.bin", folder);
    snprintf(options, sizeof options, "--overwrite --set 'text.embed=words vectors=%s/vectors.bin'",
             folder);
    REFUSED(folder, options, "vectors.bin: word vectors in word2vec's binary form", "text");
    shell("cd %s && mv data/train_caps.txt.gz data/train_caps.txt", folder);
    REFUSED(folder, "--overwrite", "train_caps.txt: gzip, expected text: gunzip it");
    shell("cd %s && mv kept.txt data/train_caps.txt && cp pickle data/test_ids.txt", folder);
    REFUSED(folder, "--evaluate test", "test_ids.txt: a Python pickle, expected text");
    shell("cd %s && /usr/bin/python3 -c 'import zipfile; "
          "zipfile.ZipFile(\"data/test_ims.npy\", \"w\").write(\"kept.npy\", \"arr_0.npy\")'",
          folder);
    REFUSED(folder, "--evaluate test", "test_ims.npy: NumPy arrays (.npz), expected an .npy file",
            "numpy.save");
    static char said[OUTPUT_SIZE];
    snprintf(options, sizeof options, "%s/run/best.safetensors", folder);
    ck_assert_int_eq(run_train(options, said), 2);
    assert_said(said, "best.safetensors: a safetensors file, expected text");
    folder_remove(folder);
}
END_TEST

/* ---- queries ----------------------------------------------------------------------------- */

START_TEST(queries_search_all_splits) {
    char *folder = tiny_experiment();
    train(folder, "--set train.epochs=1");
    const char *said = train(folder, "--query 'a red star' --top 48");
    assert_said(said, " train 0 ");
    assert_said(said, " dev 0 ");
    assert_said(said, " test 0 ");
    assert_said(said, " 48  ");
    assert_unsaid(said, "unknown");
    said = train(folder, "--query 'a red star' --split dev --top 48");
    assert_said(said, " dev 0 ");
    assert_unsaid(said, " test ");
    assert_said(train(folder, "--query 'a red zebra on wheels'"),
                "unknown: 'zebra', 'on', 'wheels'");
    assert_said(train(folder, "--query 'no zebra'"), "none of these words is known: 'no', 'zebra'");
    CT_SCOPE {
        ck_assert(ct_npy_save(in_folder(folder, "data/other_ims.npy"),
                              ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 5, 7))));
    }
    assert_said(train(folder, "--query 'a red star'"), "left out: ");
    REFUSED(folder, "--query 'a red star' --split other", "other_ims.npy", "5 regions x 7",
            "4 x 6");
    shell("rm %s/data/*_ims.npy", folder);
    REFUSED(folder, "--query 'a red star'", "no images to search", "SPLIT_ims.npy");
    folder_remove(folder);
}
END_TEST

TEST_MAIN("use", a_run_and_a_split_suffice, a_run_folder_is_a_configuration,
          images_without_captions, an_image_without_a_caption, weights_of_another_vocabulary,
          weights_of_another_graph, weights_in_other_forms, wrong_files, queries_search_all_splits)
