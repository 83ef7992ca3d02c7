/* SPDX-License-Identifier: Apache-2.0 */
/* Searching: an index says what its splits say, whichever way it is asked, and a file that is none,
 * not whole or of another model is refused. */
#include <jansson.h>
#include <stdarg.h>

#include "tests/train/program.h"

/* Runs the program in the experiment's folder and expects success; what it said. */
static char *train(const char *folder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static char *train(const char *folder, const char *format, ...) {
    static char said[8][OUTPUT_SIZE];
    static int next;
    char options[1024], arguments[2048], *to = said[next++ % 8];
    va_list list;
    va_start(list, format);
    vsnprintf(options, sizeof options, format, list);
    va_end(list);
    snprintf(arguments, sizeof arguments, "%s/tiny.ini %s", folder, options);
    int status = run_train(arguments, to);
    ck_assert_msg(status == 0, "%s: status %d\n%s", options, status, to);
    return to;
}

static const char *in_index(const char *folder, const char *name) {
    static char options[8][600];
    static int next;
    char *text = options[next++ % 8];
    snprintf(text, sizeof options[0], "--in %s/%s", folder, name);
    return text;
}

/* ---- the same as without ----------------------------------------------------------------- */

START_TEST(an_index_says_what_its_splits_say) {
    char *folder = tiny_experiment();
    const char *measure = _i ? "--set loss.measure=order" : "";
    train(folder, "--set train.epochs=1 %s", measure);
    char *wrote = train(folder, "--index %s/all %s", folder, measure);
    assert_said(wrote, "/all: dev, 12 images, 27 captions");
    assert_said(wrote, "/all: train, 24 images, 53 captions");
    train(folder, "--index %s/two %s --split test --split dev", folder, measure);
    char *plain = train(folder, "--query 'a red zebra' --top 48 %s", measure);
    assert_said(plain, "unknown: 'zebra'\n  1  ");
    assert_said(plain, " 48  ");
    ck_assert_str_eq(
        train(folder, "--query 'a red zebra' --top 48 %s %s", measure, in_index(folder, "all")),
        plain);
    ck_assert_str_eq(
        train(folder, "--query 'a star' --top 30 %s %s", measure, in_index(folder, "two")),
        train(folder, "--query 'a star' --top 30 --split test --split dev %s", measure));
    folder_remove(folder);
}
END_TEST

/* Images that are the same score alike, and stand in the order of the index. */
START_TEST(ties_are_in_order) {
    char *folder = tiny_experiment();
    train(folder, "--set train.epochs=1");
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(in_folder(folder, "data/test_ims.npy"));
        ct_tensor *row = ct_tensor_slice(x, 0, 0, 1, 1);
        ct_shape shape = CT_SHAPE(300, ct_dim(x, 1), ct_dim(x, 2));
        ck_assert(
            ct_npy_save(in_folder(folder, "data/same_ims.npy"), ct_tensor_expand(row, shape)));
        assert_no_error();
    }
    train(folder, "--index %s/same --split same --split test", folder);
    char *said = train(folder, "--query 'a red star' --top 312 %s", in_index(folder, "same"));
    char *at = strstr(said, " same 0 "), expected[64];
    for (int i = 0; i < 300; i++) {
        snprintf(expected, sizeof expected, " same %d ", i);
        char *found = strstr(said, expected);
        ck_assert_msg(found && found >= at, "%s: %.1000s", expected, said);
        at = found;
    }
    char *plain = train(folder, "--query 'a red star' --top 312 --split same --split test");
    ck_assert_msg(strcmp(said, plain) == 0, "%.1000s", plain);
    folder_remove(folder);
}
END_TEST

/* 2,000 images that are the same, and behind them others. */
static void write_many(const char *folder) {
    CT_SCOPE {
        ct_tensor *x = ct_npy_open(in_folder(folder, "data/test_ims.npy"));
        ct_tensor *row = ct_tensor_slice(x, 0, 0, 1, 1);
        ct_shape shape = CT_SHAPE(2000, ct_dim(x, 1), ct_dim(x, 2));
        ct_tensor *parts[] = {ct_tensor_expand(row, shape), x},
                  *all = ct_tensor_concat(parts, 2, 0);
        ck_assert(ct_npy_save(in_folder(folder, "data/many_ims.npy"), all));
        assert_no_error();
    }
}

/* One sentence is held against all rows at once, two hundred against 1,024 of them at a time: the
 * best are found wherever they stand, of equals the first. */
START_TEST(more_rows_than_are_scored_at_once) {
    enum { SENTENCES = 200 };
    char *folder = tiny_experiment(), *file = NULL;
    size_t size = 0;
    train(folder, "--set train.epochs=1");
    write_many(folder);
    train(folder, "--index %s/many --split many", folder);
    FILE *sentences = open_memstream(&file, &size);
    for (int i = 0; i < SENTENCES; i++)
        fputs(i % 2 ? "a red star\n" : "a blue square\n", sentences);
    ck_assert_int_eq(fclose(sentences), 0);
    write_text(in_folder(folder, "sentences"), file);
    free(file);
    const char *in = in_index(folder, "many");
    char expected[2][OUTPUT_SIZE];
    snprintf(expected[0], OUTPUT_SIZE, "a blue square\n%s",
             train(folder, "--query 'a blue square' --top 8 %s", in));
    snprintf(expected[1], OUTPUT_SIZE, "a red star\n%s",
             train(folder, "--query 'a red star' --top 8 %s", in));
    assert_said(expected[0], " many 20");
    char *said = train(folder, "--queries %s/sentences --top 8 %s", folder, in);
    for (int i = 0; i < SENTENCES; i++) {
        size_t length = strlen(expected[i % 2]);
        ck_assert_msg(strncmp(said, expected[i % 2], length) == 0, "sentence %d: %.1000s", i, said);
        said += length + (i + 1 < SENTENCES); /* an empty line between */
    }
    ck_assert_str_eq(said, "");
    folder_remove(folder);
}
END_TEST

/* ---- ways of asking ---------------------------------------------------------------------- */

static void write_sentences(const char *folder) {
    write_text(in_folder(folder, "sentences"), "a red star\nno zebra\nthe square is blue\n");
}

START_TEST(sentences_of_a_file) {
    char *folder = tiny_experiment(), expected[OUTPUT_SIZE];
    train(folder, "--set train.epochs=1");
    train(folder, "--index %s/all", folder);
    write_sentences(folder);
    snprintf(expected, sizeof expected, "a red star\n%s\nno zebra\n%s\nthe square is blue\n%s",
             train(folder, "--query 'a red star' --top 4"),
             train(folder, "--query 'no zebra' --top 4"),
             train(folder, "--query 'the square is blue' --top 4"));
    ck_assert_str_eq(train(folder, "--queries %s/sentences --top 4", folder), expected);
    const char *in = in_index(folder, "all");
    ck_assert_str_eq(train(folder, "--queries %s/sentences --top 4 %s", folder, in), expected);
    write_text(in_folder(folder, "sentences"), "a red star\n\nblue\n");
    char options[1024];
    snprintf(options, sizeof options, "--queries %s/sentences", folder);
    REFUSED(folder, options, "sentences:2: empty, expected a sentence");
    write_text(in_folder(folder, "sentences"), "a red star\n \n");
    REFUSED(folder, options, "sentences:2: ");
    write_text(in_folder(folder, "sentences"), "");
    REFUSED(folder, options, "sentences: ");
    folder_remove(folder);
}
END_TEST

/* What is typed, here by a pipe; a line that is no sentence is said, and the next one read. */
/* They are asked some hundred at a time, and it is not to be seen. */
START_TEST(many_sentences_of_a_file) {
    enum { LINES = 300 };
    static const char *const some[] = {"a red star", "white", "the blue zebra", "circle green"};
    char *folder = tiny_experiment();
    train(folder, "--set train.epochs=1");
    FILE *file = fopen(in_folder(folder, "many"), "w");
    for (int i = 0; i < LINES; i++) fprintf(file, "%s\n", some[i % 4]);
    fclose(file);
    for (int json = 0; json < 2; json++) {
        const char *kind = json ? "--json" : "", *expected[4];
        for (int i = 0; i < 4; i++)
            expected[i] = train(folder, "--query '%s' --split test --top 1 %s", some[i], kind);
        const char *at = train(folder, "--queries %s/many --split test --top 1 %s", folder, kind);
        for (int i = 0; i < LINES; i++) {
            char before[64];
            snprintf(before, sizeof before, "%s%s\n", i ? "\n" : "", some[i % 4]);
            size_t skipped = json ? 0 : strlen(before), length = strlen(expected[i % 4]);
            ck_assert_msg((json || strncmp(at, before, skipped) == 0) &&
                              strncmp(at + skipped, expected[i % 4], length) == 0,
                          "%d: %.200s\nexpected\n%s", i, at, expected[i % 4]);
            at += skipped + length;
        }
        ck_assert_str_eq(at, "");
    }
    file = fopen(in_folder(folder, "many"), "a");
    fprintf(file, "red\n \n");
    fclose(file);
    char options[1024];
    snprintf(options, sizeof options, "%s/tiny.ini --queries %s/many --top 1", folder, folder);
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(run_train(options, output), 2);
    assert_said(output, "/many:302: "); /* a line of no words, behind the answers to the others */
    folder_remove(folder);
}
END_TEST

START_TEST(sentences_that_are_typed) {
    char *folder = tiny_experiment(), command[4096], expected[OUTPUT_SIZE];
    train(folder, "--set train.epochs=1");
    train(folder, "--index %s/all", folder);
    for (int index = 0; index < 2; index++) {
        snprintf(command, sizeof command,
                 "printf 'a red star\\n\\n \\nblue' | '%s' %s/tiny.ini --interactive --top 4 %s "
                 "2>%s/errors",
                 getenv("CT_TRAIN"), folder, index ? in_index(folder, "all") : "", folder);
        FILE *pipe = popen(command, "r");
        ck_assert_ptr_nonnull(pipe);
        static char said[OUTPUT_SIZE];
        said[fread(said, 1, sizeof said - 1, pipe)] = '\0';
        ck_assert_int_eq(pclose(pipe), 0);
        snprintf(expected, sizeof expected, "%s%s", train(folder, "--query 'a red star' --top 4"),
                 train(folder, "--query 'blue' --top 4"));
        ck_assert_str_eq(said, expected);
        char *errors = ct_file_read(in_folder(folder, "errors"), NULL);
        ck_assert_msg(errors && strncmp(errors, "train: ", 7) == 0, "%s", errors);
        free(errors);
    }
    folder_remove(folder);
}
END_TEST

/* Each line of stdout is an object with the numbers of the table. */
START_TEST(answers_as_json) {
    char *folder = tiny_experiment();
    train(folder, "--set train.epochs=1");
    write_sentences(folder);
    char *table = train(folder, "--query 'no zebra' --top 3");
    char *said = train(folder, "--queries %s/sentences --top 3 --json", folder);
    char *line = strchr(said, '\n') + 1;
    json_t *object = json_loadb(line, strcspn(line, "\n"), 0, NULL);
    ck_assert_msg(object != NULL, "%s", line);
    ck_assert_str_eq(json_string_value(json_object_get(object, "query")), "no zebra");
    json_t *unknown = json_object_get(object, "unknown"),
           *images = json_object_get(object, "images");
    ck_assert_int_eq(json_array_size(unknown), 2);
    ck_assert_str_eq(json_string_value(json_array_get(unknown, 1)), "zebra");
    ck_assert_int_eq(json_array_size(images), 3);
    ptrdiff_t column = 0; /* where captions stand, below each other */
    for (size_t i = 0; i < 3; i++) {
        json_t *image = json_array_get(images, i);
        char row[256], caption[256];
        snprintf(row, sizeof row, "%3zu  %7.4f  %s %d ", i + 1,
                 json_real_value(json_object_get(image, "score")),
                 json_string_value(json_object_get(image, "split")),
                 (int)json_integer_value(json_object_get(image, "image")));
        snprintf(caption, sizeof caption, "  %s\n",
                 json_string_value(json_object_get(image, "caption")));
        assert_said(table, row);
        const char *at = strstr(table, row), *text = strstr(at, caption);
        ck_assert_msg(text && !memchr(at, '\n', (size_t)(text - at)), "%s", table);
        if (!i) column = text - at;
        ck_assert_int_eq(text - at, column);
    }
    json_decref(object);
    folder_remove(folder);
}
END_TEST

/* The weights alone, without what the program says of them. */
static void write_bare(const char *from, const char *to) {
    ct_safetensors *file = ct_safetensors_open(from);
    int count = file ? ct_safetensors_count(file) : 0;
    ct_named_tensor tensors[64];
    ck_assert(count > 0 && count <= 64);
    CT_SCOPE {
        for (int i = 0; i < count; i++) {
            const char *name = ct_safetensors_name(file, i);
            tensors[i] = (ct_named_tensor){name, ct_safetensors_get(file, name)};
        }
        ck_assert(ct_safetensors_save(to, tensors, count, NULL));
    }
    ct_safetensors_close(file);
    assert_no_error();
}

/* The second model's sizes are those of a split that the first one did not leave out. */
START_TEST(several_models_without_the_first_split) {
    char *folder = tiny_experiment();
    train(folder, "--set train.epochs=1");
    write_bare(in_folder(folder, "run/best.safetensors"), in_folder(folder, "bare"));
    write_text(in_folder(folder, "data/aaa_ims.npy"), "no features");
    char *said = train(folder, "--query star --weights %s/run --weights %s/bare", folder, folder);
    assert_said(said, "left out: ");
    assert_said(said, "/data/aaa_ims.npy");
    assert_said(said, "\n 10  ");
    folder_remove(folder);
}
END_TEST

/* ---- files that are refused -------------------------------------------------------------- */

START_TEST(an_index_of_another_model) {
    char *folder = tiny_experiment(), options[1024];
    train(folder, "--set train.epochs=1");
    train(folder, "--index %s/first", folder);
    train(folder, "--set train.epochs=1 --set run.seed=4 --overwrite");
    snprintf(options, sizeof options, "--query star %s", in_index(folder, "first"));
    REFUSED(folder, options, "/first: an index of another model (", "--index");
    snprintf(options, sizeof options, "--query star --in %s/run/best.safetensors", folder);
    REFUSED(folder, options, "best.safetensors: no index: expected a file that --index wrote");
    snprintf(options, sizeof options, "--query star --in %s/data/test_ims.npy", folder);
    REFUSED(folder, options, "test_ims.npy: ");
    snprintf(options, sizeof options, "--query star --in %s/nothing", folder);
    REFUSED(folder, options, "nothing: cannot open");
    snprintf(options, sizeof options, "--interactive --weights %s/run --weights %s/first", folder,
             folder);
    REFUSED(folder, options, "--interactive takes one model");
    folder_remove(folder);
}
END_TEST

/* Other settings of how images and captions are read, with the same weights. */
START_TEST(an_index_of_a_model_that_reads_otherwise) {
    static const char *const others[] = {
        "data.max_words=2",
        "data.pad_words=4",
        "compat.image_batchnorm_eval=batch",
    };
    char *folder = tiny_experiment(), options[1024];
    train(folder, "--set train.epochs=1");
    train(folder, "--index %s/first", folder);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(options, sizeof options, "--query star --set %s %s", others[i],
                 in_index(folder, "first"));
        REFUSED(folder, options, "/first: an index of another model (", "--index");
    }
    const char *batches = "--set compat.image_batchnorm_eval=batch";
    train(folder, "--index %s/batches %s", folder, batches);
    snprintf(options, sizeof options, "--query star --set evaluate.batch=4 %s %s", batches,
             in_index(folder, "batches"));
    REFUSED(folder, options, "/batches: an index of another model (");
    train(folder, "--query star --set evaluate.batch=4 %s", in_index(folder, "first"));
    train(folder, "--query star --set compat.evaluation_report=released %s",
          in_index(folder, "first"));
    folder_remove(folder);
}
END_TEST

/* Cut anywhere: in its length, its header, its rows, its texts. */
START_TEST(an_index_that_is_cut) {
    char *folder = tiny_experiment(), options[1024];
    size_t bytes = 0;
    train(folder, "--set train.epochs=1");
    train(folder, "--index %s/whole --split test", folder);
    char *whole = ct_file_read(in_folder(folder, "whole"), &bytes);
    ck_assert_ptr_nonnull(whole);
    snprintf(options, sizeof options, "--query star %s", in_index(folder, "cut"));
    for (size_t length = 0; length < bytes; length += length < 16 ? 5 : bytes / 23 + 1) {
        ck_assert(ct_file_write(in_folder(folder, "cut"), whole, length));
        REFUSED(folder, options, "/cut: ");
    }
    ck_assert(ct_file_write(in_folder(folder, "cut"), whole, bytes - 1));
    REFUSED(folder, options, "/cut: ");
    free(whole);
    folder_remove(folder);
}
END_TEST

/* Tensors of an index, one of them another. */
static void write_other(const char *folder, const char *name, const ct_tensor *other) {
    static const char *const names[] = {"0.images", "0.captions", "0.image_of", "0.caption_text"};
    ct_named_tensor tensors[4];
    ct_safetensors *file = ct_safetensors_open(in_folder(folder, "whole"));
    int count = 0;
    for (int i = 0; i < 4; i++) {
        const ct_tensor *x = ct_safetensors_get(file, names[i]);
        if (strcmp(name, names[i]) == 0) x = other;
        if (x) tensors[count++] = (ct_named_tensor){names[i], x};
    }
    const char *metadata[9] = {0}, *keys[] = {"index", "model", "measure", "splits"};
    char full[4][64];
    for (int i = 0; i < 4; i++) {
        snprintf(full[i], sizeof full[i], "cotangent.%s", keys[i]);
        metadata[2 * i] = full[i];
        metadata[2 * i + 1] = ct_safetensors_metadata(file, full[i]);
    }
    ck_assert(ct_safetensors_save(in_folder(folder, "other"), tensors, count, metadata));
    ct_safetensors_close(file);
    assert_no_error();
}

START_TEST(an_index_that_does_not_hold_together) {
    char *folder = tiny_experiment(), options[1024];
    train(folder, "--set train.epochs=1");
    train(folder, "--index %s/whole --split test", folder);
    snprintf(options, sizeof options, "--query star --split %s/data --split %s/data/", folder,
             folder);
    REFUSED(folder, options, "/data/: given twice");
    snprintf(options, sizeof options, "--query star %s", in_index(folder, "other"));
    CT_SCOPE {
        write_other(folder, "0.images", NULL);
        REFUSED(folder, options, "/other: split 0: no images");
        write_other(folder, "0.images", ct_zeros(CT_F32, CT_CPU, CT_SHAPE(12, 12)));
        REFUSED(folder, options, "/other: '0.images' is f32 (12,12), expected f16");
        write_other(folder, "0.images", ct_zeros(CT_F16, CT_CPU, CT_SHAPE(12, 5)));
        REFUSED(folder, options, "/other: rows of 5 numbers, expected the model's 12");
        write_other(folder, "0.images", ct_full(CT_F16, CT_CPU, CT_SHAPE(12, 12), NAN));
        REFUSED(folder, options, "/other: scores that are not finite");
        write_other(folder, "0.images", ct_zeros(CT_F16, CT_CPU, CT_SHAPE(5, 12)));
        REFUSED(folder, options, "/other: split 0: a caption of an image that it has not");
        write_other(folder, "0.image_of", NULL);
        REFUSED(folder, options, "/other: split 0: captions without their images");
        write_other(folder, "0.caption_text", ct_full(CT_U8, CT_CPU, CT_SHAPE(4), 0xff));
        REFUSED(folder, options, "/other: split 0: its captions or paths are no text");
        write_other(folder, "0.caption_text", ct_full(CT_U8, CT_CPU, CT_SHAPE(4), 'a'));
        REFUSED(folder, options, "/other: split 0: captions or paths are not as many");
    }
    folder_remove(folder);
}
END_TEST

LOOPED_TEST_MAIN("search", {an_index_says_what_its_splits_say, 2}, {ties_are_in_order, 1},
                 {more_rows_than_are_scored_at_once, 1}, {sentences_of_a_file, 1},
                 {many_sentences_of_a_file, 1}, {sentences_that_are_typed, 1}, {answers_as_json, 1},
                 {several_models_without_the_first_split, 1}, {an_index_of_another_model, 1},
                 {an_index_of_a_model_that_reads_otherwise, 1}, {an_index_that_is_cut, 1},
                 {an_index_that_does_not_hold_together, 1})
