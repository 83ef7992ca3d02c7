/* SPDX-License-Identifier: Apache-2.0 */
/* Vocabularies, encoded captions, and word vectors from a text file. */
#include <glob.h>

#include "tests/train/program.h"
#include "train/data/data.h"
#include "train/data/word_table.h"

static const char *const captions[] = {
    "A dog and a cat.",
    "a dog runs",
    "The cat, the DOG.",
    "a mouse",
};

START_TEST(counts_words) {
    ct_vocabulary *v = ct_vocabulary_build(captions, 4, 2);
    assert_no_error();
    /* a 4, dog 3, then those seen twice, by bytes */
    static const char *const words[] = {"<pad>", "<start>", "<end>", "<unk>", "a",
                                        "dog",   ".",       "cat",   "the"};
    ck_assert_int_eq(ct_vocabulary_size(v), 9);
    for (int64_t i = 0; i < 9; i++) {
        ck_assert_str_eq(ct_vocabulary_word(v, i), words[i]);
        ck_assert_int_eq(ct_vocabulary_id(v, words[i]), i);
    }
    ck_assert_int_eq(ct_vocabulary_id(v, "mouse"), CT_WORD_UNKNOWN);
    ck_assert_int_eq(ct_vocabulary_id(v, ""), CT_WORD_UNKNOWN);
    ck_assert_ptr_null(ct_vocabulary_word(v, 9));
    assert_error("id 9, expected 0 to 8");
    ct_vocabulary_destroy(v);

    v = ct_vocabulary_build(captions, 4, 100);
    ck_assert_int_eq(ct_vocabulary_size(v), 4);
    ct_vocabulary_destroy(v);
    v = ct_vocabulary_build(captions, 0, 1);
    ck_assert_int_eq(ct_vocabulary_size(v), 4);
    ct_vocabulary_destroy(v);
    const char *const wrong[] = {"a", "\xff"};
    ck_assert_ptr_null(ct_vocabulary_build(wrong, 2, 1));
    assert_error("invalid UTF-8");
}
END_TEST

START_TEST(keeps_many_words_apart) {
    ct_word_table table = {0};
    char word[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(word, sizeof word, "%x", i);
        ck_assert_int_eq(ct_word_table_add(&table, word), i);
    }
    ck_assert_int_eq(ct_word_table_add(&table, "ff"), 255);
    ck_assert_int_eq(ct_word_table_find(&table, "fffe", 3), 0xfff);
    ck_assert_int_eq(ct_word_table_find(&table, "fffe", 4), -1);
    ct_word_table_clear(&table);
    ck_assert_int_eq(ct_word_table_find(&table, "ff", 2), -1);
}
END_TEST

START_TEST(is_written_and_read) {
    char *folder = folder_make();
    const char *path = in_folder(folder, "vocabulary.json");
    static const char *const words[] = {"café \"quoted\\\" \xf0\x9f\x98\x80 a b"};
    ct_vocabulary *v = ct_vocabulary_build(words, 1, 1);
    ck_assert(ct_vocabulary_write(v, path));
    ct_vocabulary *again = ct_vocabulary_read(path);
    assert_no_error();
    ck_assert_int_eq(ct_vocabulary_size(again), ct_vocabulary_size(v));
    for (int64_t i = 0; i < ct_vocabulary_size(v); i++) {
        ck_assert_str_eq(ct_vocabulary_word(again, i), ct_vocabulary_word(v, i));
    }
    ct_vocabulary_destroy(again);
    ck_assert(!ct_vocabulary_write(v, in_folder(folder, "none/vocabulary.json")));
    assert_error("none/vocabulary.json");
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

#define SPECIAL "\"<pad>\": 0, \"<start>\": 1, \"<end>\": 2, \"<unk>\": 3"

START_TEST(reads_published_json_and_refuses_wrong_ones) {
    char *folder = folder_make();
    const char *path = in_folder(folder, "v.json");
    write_text(path, "{\"idx\": 5, \"word2idx\": {\"dog\": 4, " SPECIAL "}, \"idx2word\": "
                     "{\"4\": \"dog\", \"0\": \"<pad>\", \"1\": \"<start>\", \"2\": \"<end>\", "
                     "\"3\": \"<unk>\"}}");
    ct_vocabulary *v = ct_vocabulary_read(path);
    assert_no_error();
    ck_assert_int_eq(ct_vocabulary_id(v, "dog"), 4);
    ct_vocabulary_destroy(v);

    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{", "v.json:1: "},
        {"[1]", "expected {\"word2idx\""},
        {"{\"word2idx\": {}}", "id 0 is 'absent', expected '<pad>'"},
        {"{\"word2idx\": {\"dog\": 0, \"<start>\": 1, \"<end>\": 2, \"<unk>\": 3}}",
         "id 0 is 'dog', expected '<pad>'"},
        {"{\"word2idx\": {" SPECIAL ", \"dog\": 5}}",
         "gives 'dog' the id 5, expected a whole number from 0 to 4"},
        {"{\"word2idx\": {" SPECIAL ", \"dog\": \"4\"}}", "gives 'dog' the id \"4\""},
        {"{\"word2idx\": {" SPECIAL ", \"dog\": -1}}", "gives 'dog' the id -1"},
        {"{\"word2idx\": {" SPECIAL ", \"dog\": 4, \"cat\": 4}}",
         "word2idx gives 'dog' the id 4, and"},
        {"{\"word2idx\": {" SPECIAL ", \"dog\": 4, \"dog\": 4}}", "duplicate"},
        {"{\"word2idx\": {" SPECIAL "}, \"idx\": 5}", "idx is 5, expected 4"},
        {"{\"word2idx\": {" SPECIAL "}, \"idx2word\": {}}", "idx2word has 0 words, word2idx 4"},
        {"{\"word2idx\": {" SPECIAL "}, \"idx2word\": {\"0\": \"<pad>\", \"1\": \"<start>\", "
         "\"2\": \"x\", \"3\": \"<unk>\"}}",
         "id 2 is 'x' in idx2word but '<end>' in word2idx"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(path, cases[i].json);
        ck_assert_msg(!ct_vocabulary_read(path), "%s", cases[i].json);
        /* which of two words with one id is named first is the JSON library's order */
        assert_error(strstr(cases[i].message, ", and") ? "the id 4" : cases[i].message);
    }
    ck_assert_ptr_null(ct_vocabulary_read(in_folder(folder, "none.json")));
    assert_error("none.json");
    folder_remove(folder);
}
END_TEST

/* As SCAN's serialize_vocab writes one: json.dump of two dictionaries, in no order, the numbers of
 * idx2word as text, characters beyond ASCII escaped. */
static const char published_vocabulary[] =
    "{\"word2idx\": {\"a\": 6, \"caf\\u00e9\": 4, \"<end>\": 2, \"<pad>\": 0, \"<start>\": 1,"
    " \"<unk>\": 3, \"``\": 5, \"and\\\\or\": 8, \"''\": 7, \"1/2\": 10, \"n't\": 9}, \"idx2w"
    "ord\": {\"6\": \"a\", \"4\": \"caf\\u00e9\", \"2\": \"<end>\", \"0\": \"<pad>\", \"1\": "
    "\"<start>\", \"3\": \"<unk>\", \"5\": \"``\", \"8\": \"and\\\\or\", \"7\": \"''\", \"10"
    "\": \"1/2\", \"9\": \"n't\"}, \"idx\": 11}";

START_TEST(reads_a_published_vocabulary) {
    static const char *const words[] = {"<pad>", "<start>", "<end>",   "<unk>", "caf\xc3\xa9", "``",
                                        "a",     "''",      "and\\or", "n't",   "1/2"};
    char *folder = folder_make();
    write_text(in_folder(folder, "f30k_precomp_vocab.json"), published_vocabulary);
    ct_vocabulary *v = ct_vocabulary_read(in_folder(folder, "f30k_precomp_vocab.json"));
    assert_no_error();
    ck_assert_int_eq(ct_vocabulary_size(v), 11);
    for (int64_t i = 0; i < 11; i++) {
        ck_assert_str_eq(ct_vocabulary_word(v, i), words[i]);
        ck_assert_int_eq(ct_vocabulary_id(v, words[i]), i);
    }
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

/* ---- word vectors ------------------------------------------------------------------------ */

static const char glove[] = "the 0.1 -0.2 0.3\n"
                            "dog 1 2 3 \r\n" /* a space and a CR at the end */
                            "dog 9 9 9\n"    /* the first counts */
                            "\n"
                            ". . 7 7 7\n" /* a word with a space */
                            "at x@y.z 8 8 8\n"
                            "1 5 6 7\n"            /* a word that is a number */
                            ". -1e-3 2.5E1 0.125"; /* the last line not ended */

static ct_vocabulary *pets(void) {
    static const char *const words[] = {"dog cat the . 1"};
    return ct_vocabulary_build(words, 1, 1);
}

static void assert_vector(const ct_tensor *vectors, const uint8_t *known, const ct_vocabulary *v,
                          const char *word, const double *expected) {
    int64_t id = ct_vocabulary_id(v, word);
    ck_assert_int_ne(id, CT_WORD_UNKNOWN);
    ck_assert_int_eq(known[id], expected != NULL);
    for (int64_t i = 0; i < 3; i++) {
        double value = expected ? expected[i] : 0;
        ck_assert_double_eq(ct_get(vectors, 3 * id + i), (double)(float)value);
    }
}

static void assert_glove(const ct_tensor *vectors, const uint8_t *known, const ct_vocabulary *v) {
    assert_no_error();
    ck_assert_str_eq(ct_tensor_text(vectors), "f32 (9,3)");
    assert_vector(vectors, known, v, "the", (double[]){0.1, -0.2, 0.3});
    assert_vector(vectors, known, v, "dog", (double[]){1, 2, 3});
    assert_vector(vectors, known, v, ".", (double[]){-1e-3, 25, 0.125});
    assert_vector(vectors, known, v, "1", (double[]){5, 6, 7});
    assert_vector(vectors, known, v, "cat", NULL);
    ck_assert_int_eq(known[CT_WORD_PAD], 0);
}

START_TEST(reads_word_vectors) {
    char *folder = folder_make();
    const char *path = in_folder(folder, "glove.txt");
    ct_vocabulary *v = pets();
    uint8_t *known;
    write_text(path, glove);
    ct_tensor *vectors = ct_word_vectors_read(path, v, NULL, &known);
    assert_glove(vectors, known, v);
    free(known);
    ct_release(vectors);

    char with_header[512];
    snprintf(with_header, sizeof with_header, "8 3\n%s", glove); /* as word2vec writes it */
    write_text(path, with_header);
    vectors = ct_word_vectors_read(path, v, NULL, &known);
    assert_glove(vectors, known, v);
    free(known);
    ct_release(vectors);
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

static int count_caches(const char *folder) {
    char command[256];
    snprintf(command, sizeof command, "exit $(ls %s | grep -c word_vectors-)", folder);
    return WEXITSTATUS(system(command));
}

/* Its vectors are none any more. */
static void spoil_cache(const char *folder) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/word_vectors-*", folder);
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    CT_SCOPE {
        const ct_named_tensor tensors[] = {
            {"vectors", ct_full(CT_F32, CT_CPU, CT_SHAPE(9, 4), NAN)},
            {"known", ct_zeros(CT_U8, CT_CPU, CT_SHAPE(9))}};
        ck_assert(ct_safetensors_save(found.gl_pathv[0], tensors, 2, NULL));
    }
    globfree(&found);
}

START_TEST(keeps_word_vectors_in_a_cache) {
    char *folder = folder_make(), command[256];
    const char *path = in_folder(folder, "glove.txt");
    ct_vocabulary *v = pets();
    uint8_t *known;
    write_text(path, glove);
    for (int i = 0; i < 3; i++) {
        /* the second time is from the cache, the third from a broken one */
        if (i == 2) {
            snprintf(command, sizeof command, "for f in %s/word_vectors-*; do echo x > $f; done",
                     folder);
            ck_assert_int_eq(system(command), 0);
        }
        ct_tensor *vectors = ct_word_vectors_read(path, v, folder, &known);
        assert_glove(vectors, known, v);
        ck_assert_int_eq(count_caches(folder), 1);
        free(known);
        ct_release(vectors);
    }
    spoil_cache(folder);
    ct_tensor *vectors = ct_word_vectors_read(path, v, folder, &known);
    assert_glove(vectors, known, v);
    free(known);
    ct_release(vectors);
    /* a cache that is used is not looked behind: the same size and time, but other numbers */
    snprintf(command, sizeof command,
             "touch -r %s %s/time && sed -i 's/^dog 1/dog 4/' %s && touch -r %s/time %s", path,
             folder, path, folder, path);
    ck_assert_int_eq(system(command), 0);
    vectors = ct_word_vectors_read(path, v, folder, &known);
    assert_glove(vectors, known, v);
    free(known);
    ct_release(vectors);
    /* another file is another cache */
    write_text(path, "dog 4 4 4 4\n");
    vectors = ct_word_vectors_read(path, v, folder, &known);
    ck_assert_str_eq(ct_tensor_text(vectors), "f32 (9,4)");
    ck_assert_int_eq(count_caches(folder), 2);
    free(known);
    ct_release(vectors);
    /* so are the same file at another time, and another vocabulary */
    snprintf(command, sizeof command, "touch -d 2001-01-01 %s", path);
    ck_assert_int_eq(system(command), 0);
    vectors = ct_word_vectors_read(path, v, folder, &known);
    ck_assert_int_eq(count_caches(folder), 3);
    free(known);
    ct_release(vectors);
    static const char *const more_words[] = {"dog mouse"};
    ct_vocabulary *other = ct_vocabulary_build(more_words, 1, 1);
    vectors = ct_word_vectors_read(path, other, folder, &known);
    ck_assert_str_eq(ct_tensor_text(vectors), "f32 (6,4)");
    ck_assert_int_eq(count_caches(folder), 4);
    free(known);
    ct_release(vectors);
    ct_vocabulary_destroy(other);
    /* a folder that is not there: no cache, no error */
    vectors = ct_word_vectors_read(path, v, in_folder(folder, "none"), &known);
    assert_no_error();
    free(known);
    ct_release(vectors);
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

/* Longer than what is read at once: lines lie across blocks, the longest in several. */
START_TEST(reads_long_vector_files) {
    enum { WORDS = 3000, NUMBERS = 300, LONG = 3 << 20 };
    char *folder = folder_make();
    const char *path = in_folder(folder, "glove.txt");
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < WORDS; i++) {
        if (i == WORDS / 2) {
            for (int k = 0; k < LONG; k++) fputc('x', file);
        }
        fprintf(file, "w%d", i);
        for (int k = 0; k < NUMBERS; k++) fprintf(file, " %d.%03d", i, k);
        fputc('\n', file);
    }
    fclose(file);
    static const char *const words[] = {"w0 w777 w1499 w1501 w2999"};
    ct_vocabulary *v = ct_vocabulary_build(words, 1, 1);
    uint8_t *known;
    ct_tensor *vectors = ct_word_vectors_read(path, v, NULL, &known);
    assert_no_error();
    static const int numbers[] = {0, 777, 1499, 1501, 2999};
    for (int i = 0; i < 5; i++) {
        char word[16];
        snprintf(word, sizeof word, "w%d", numbers[i]);
        int64_t id = ct_vocabulary_id(v, word);
        ck_assert(known[id]);
        for (int k = 0; k < NUMBERS; k++) {
            ck_assert_double_eq(ct_get(vectors, NUMBERS * id + k),
                                (double)(float)(numbers[i] + k / 1000.0));
        }
    }
    free(known);
    ct_release(vectors);
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

START_TEST(refuses_a_line_without_end) {
    char *folder = folder_make(), command[256];
    const char *path = in_folder(folder, "glove.txt");
    write_text(path, "the 1 2 3\n");
    snprintf(command, sizeof command, "head -c 40000000 /dev/zero >> %s", path);
    ck_assert_int_eq(system(command), 0);
    ct_vocabulary *v = pets();
    uint8_t *known;
    ck_assert_ptr_null(ct_word_vectors_read(path, v, NULL, &known));
    assert_error("glove.txt:2: a line of more than 16777216 bytes, expected lines of text");
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

START_TEST(names_the_line_of_wrong_vectors) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "glove.txt: no word vectors in it"},
        {"5 3\n", "glove.txt: no word vectors in it"},
        {"dog\n", "glove.txt:1: expected a word and its numbers, found 'dog'"},
        {"a b c\n", "glove.txt:1: expected a word and its numbers"},
        {"the 1 2 3\nmouse 1 2\n", "glove.txt:2: 'mouse' and 2 numbers, expected 3"},
        {"the 1 2 3\nmouse\n", "glove.txt:2: 'mouse' and 0 numbers, expected 3"},
        {"the 1 2 3\ndog 1 2 3 4\n", "glove.txt:2: 'dog' and 4 numbers, expected 3"},
        {"the 1 2 3\ndog 1 x 3\n", "glove.txt:2: 'x', expected a finite number (number 2 of 3)"},
        {"the 1 2 3\ndog 1  3\n", "glove.txt:2: '', expected a finite number (number 2 of 3)"},
        {"the 1 2 3\ndog 1 nan 3\n", "glove.txt:2: 'nan', expected a finite number"},
        {"the 1 2 3\ndog 1 2 1e99\n", "glove.txt:2: '1e99', expected a finite number"},
        {"the 1 2 3\n 1 2 3\n", "glove.txt:2: '' and 3 numbers"},
        {"mouse 1 2 3\n", "glove.txt: none of the vocabulary's words is in it"},
    };
    char *folder = folder_make();
    const char *path = in_folder(folder, "glove.txt");
    ct_vocabulary *v = pets();
    uint8_t *known;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(path, cases[i].text);
        ck_assert_msg(!ct_word_vectors_read(path, v, folder, &known), "%s", cases[i].text);
        ck_assert_ptr_null(known);
        assert_error(cases[i].message);
    }
    ck_assert_int_eq(count_caches(folder), 0);
    ck_assert_ptr_null(ct_word_vectors_read(in_folder(folder, "none.txt"), v, folder, &known));
    assert_error("none.txt");
    ct_vocabulary_destroy(v);
    folder_remove(folder);
}
END_TEST

TEST_MAIN("vocabulary", counts_words, keeps_many_words_apart, is_written_and_read,
          reads_published_json_and_refuses_wrong_ones, reads_a_published_vocabulary,
          reads_word_vectors, keeps_word_vectors_in_a_cache, reads_long_vector_files,
          refuses_a_line_without_end, names_the_line_of_wrong_vectors)
