/* SPDX-License-Identifier: Apache-2.0 */
/* Text files: one way of decoding and splitting for all that is read. */
#include "tests/train/split_fixture.h"
#include "train/config/config.h"
#include "train/data/text.h"

#define MARK "\xef\xbb\xbf"

/* Lines joined by | as both ways of reading give them; NULL and an error otherwise. */
static const char *lines_of(const char *path) {
    static char whole[256], one_by_one[256];
    size_t bytes, length;
    int64_t count;
    char *text = ct_text_read(path, &bytes);
    if (!text) return NULL;
    char **lines = ct_text_lines(text, bytes, &count);
    whole[0] = one_by_one[0] = 0;
    for (int64_t i = 0; i < count; i++) strcat(strcat(whole, lines[i]), "|");
    free(lines);
    free(text);
    ct_text *reader = ct_text_open(path, false);
    for (char *line; (line = ct_text_next(reader, &length));) {
        ck_assert_uint_eq(length, strlen(line));
        strcat(strcat(one_by_one, line), "|");
    }
    ck_assert_int_eq(ct_text_line(reader), count);
    ct_text_close(reader);
    assert_no_error();
    ck_assert_str_eq(whole, one_by_one);
    return whole;
}

START_TEST(splits_into_lines) {
    static const struct {
        const char *text, *lines;
    } cases[] = {
        {"", ""},
        {"a", "a|"},
        {"a\n", "a|"},
        {"a\nb", "a|b|"},
        {"a\r\nb\r\n", "a|b|"},
        {"a\r\nb\r", "a|b|"},
        {"\n\n", "||"},
        {"a\rb\n", "a\rb|"},
        {MARK "a\nb\n", "a|b|"},
        {MARK, ""},
        {"a\n" MARK "b\n", "a|" MARK "b|"}, /* elsewhere it is a character */
        {"a\xe2\x80\xa8z\x0c"
         "b\n",
         "a\xe2\x80\xa8z\x0c"
         "b|"},
    };
    char *folder = folder_make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(in_folder(folder, "text"), cases[i].text);
        ck_assert_str_eq(lines_of(in_folder(folder, "text")), cases[i].lines);
    }
    folder_remove(folder);
}
END_TEST

/* Lines across the blocks that are read, and up to what is held of one. */
START_TEST(lines_are_as_long_as_they_are) {
    enum { LINES = 5, LENGTH = 3000000 };
    char *folder = folder_make();
    FILE *file = fopen(in_folder(folder, "text"), "w");
    for (int i = 0; i < LINES; i++) fprintf(file, "%0*d\r\n", LENGTH + i, i);
    fclose(file);
    ct_text *reader = ct_text_open(in_folder(folder, "text"), false);
    size_t length;
    for (int i = 0; i < LINES; i++) {
        char *line = ct_text_next(reader, &length);
        assert_no_error();
        ck_assert_uint_eq(length, (size_t)LENGTH + (size_t)i);
        ck_assert_int_eq(line[length - 1], '0' + i);
    }
    ck_assert_ptr_null(ct_text_next(reader, &length));
    assert_no_error();
    ct_text_close(reader);
    ck_assert_int_eq(truncate(in_folder(folder, "text"), (off_t)20 << 20), 0); /* NULs at its end */
    reader = ct_text_open(in_folder(folder, "text"), false);
    for (int i = 0; i < LINES; i++) ct_text_next(reader, &length);
    ck_assert_ptr_null(ct_text_next(reader, &length));
    assert_error("text:6: a NUL byte, expected text");
    ct_text_close(reader);
    folder_remove(folder);
}
END_TEST

/* What every reader of text makes of the same mistake: captions, ids, a configuration, a
 * vocabulary; word vectors are read as bytes. */
START_TEST(every_reader_names_file_and_line) {
    static const struct {
        const char *bytes, *message;
        size_t size;
    } cases[] = {
        {"a\nb\xff\n", ":2: invalid UTF-8 at byte 2", 5},
        {"a\n\0b\n", ":2: a NUL byte, expected text", 5},
        {"\xff\xfe"
         "a\0\n\0",
         ":1: UTF-16, expected UTF-8 text", 6},
        {"\xfe\xff\0a\0\n", ":1: UTF-16, expected UTF-8 text", 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = folder_make(), expected[128];
        write_features(folder, 2, CT_F32);
        ck_assert(
            ct_file_write(in_folder(folder, "train_caps.txt"), cases[i].bytes, cases[i].size));
        ck_assert_ptr_null(ct_split_open(folder, "train", (ct_split_options){0}));
        snprintf(expected, sizeof expected, "train_caps.txt%s", cases[i].message);
        assert_error(expected);
        write_text(in_folder(folder, "train_caps.txt"), "a\nb\n");
        ck_assert(ct_file_write(in_folder(folder, "train_ids.txt"), cases[i].bytes, cases[i].size));
        ck_assert_ptr_null(ct_split_open(folder, "train", (ct_split_options){0}));
        snprintf(expected, sizeof expected, "train_ids.txt%s", cases[i].message);
        assert_error(expected);
        const char *path = in_folder(folder, "other");
        ck_assert(ct_file_write(path, cases[i].bytes, cases[i].size));
        snprintf(expected, sizeof expected, "other%s", cases[i].message);
        ck_assert_ptr_null(ct_config_read(path, NULL, 0));
        assert_error(expected);
        ck_assert_ptr_null(ct_vocabulary_read(path));
        assert_error(expected);
        folder_remove(folder);
    }
}
END_TEST

/* What an editor on another system leaves is no part of a word, a number or a key. */
START_TEST(every_reader_takes_marks_and_line_ends) {
    char *folder = folder_make();
    write_features(folder, 2, CT_F32);
    write_text(in_folder(folder, "train_caps.txt"), MARK "a\r\nb");
    write_text(in_folder(folder, "train_ids.txt"), MARK "1\r\n0");
    ct_split *split = ct_split_open(folder, "train", (ct_split_options){0});
    assert_no_error();
    ck_assert_str_eq(split->captions[0], "a");
    ck_assert_int_eq(split->image_of[0], 1);
    ct_split_destroy(split);
    const char *path = in_folder(folder, "other");
    write_text(path, MARK "[data]\r\nfolder = x\r\n");
    ct_config *config = ct_config_read(path, NULL, 0);
    assert_no_error();
    ck_assert_str_eq(config->folder, "x");
    ct_config_destroy(config);
    write_text(path,
               MARK "{\"word2idx\": {\"<pad>\": 0, \"<start>\": 1, \"<end>\": 2, \"<unk>\": 3,"
                    "\r\n\"dog\": 4}}");
    ct_vocabulary *vocabulary = ct_vocabulary_read(path);
    assert_no_error();
    ck_assert_int_eq(ct_vocabulary_id(vocabulary, "dog"), 4);
    write_text(path, MARK "dog 1 2\r\nc\xff 3 4\r\n");
    uint8_t *known;
    ct_tensor *vectors = ct_word_vectors_read(path, vocabulary, NULL, &known);
    assert_no_error();
    ck_assert_int_eq(known[4], 1);
    ck_assert_double_eq(ct_get(vectors, 9), 2);
    ct_release(vectors);
    free(known);
    ct_vocabulary_destroy(vocabulary);
    folder_remove(folder);
}
END_TEST

TEST_MAIN("text", splits_into_lines, lines_are_as_long_as_they_are,
          every_reader_names_file_and_line, every_reader_takes_marks_and_line_ends)
