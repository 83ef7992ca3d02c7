/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens against values recorded from NLTK 3.8 and from the released loader. */
#include <jansson.h>

#include "tests/test.h"
#include "train/data/data.h"

static json_t *load(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/%s", getenv("CT_TEST_DATA"), name);
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    ck_assert_msg(root != NULL, "%s: %s", path, error.text);
    return root;
}

static void assert_tokens(const char *text, char **got, int count, const json_t *expected) {
    assert_no_error();
    ck_assert_msg(count == (int)json_array_size(expected), "'%s': %d tokens, expected %zu", text,
                  count, json_array_size(expected));
    for (int i = 0; i < count; i++) {
        const char *token = json_string_value(json_array_get(expected, (size_t)i));
        ck_assert_msg(strcmp(got[i], token) == 0, "'%s': token %d is '%s', expected '%s'", text, i,
                      got[i], token);
    }
    ck_assert_ptr_null(got[count]);
}

static void check_file(const char *name, const char *field, ct_token_form form) {
    json_t *root = load(name);
    ct_tokenizer *tokenizer = ct_tokenizer_create(form);
    ck_assert_uint_ge(json_array_size(root), 70);
    for (size_t i = 0; i < json_array_size(root); i++) {
        json_t *entry = json_array_get(root, i);
        const char *text = json_string_value(json_object_get(entry, "text"));
        int count;
        char **tokens = ct_tokenizer_split(tokenizer, text, &count);
        assert_tokens(text, tokens, count, json_object_get(entry, field));
        ct_tokens_free(tokens);
    }
    ct_tokenizer_destroy(tokenizer);
    json_decref(root);
}

START_TEST(splits_as_nltk) { check_file("tokenize.json", "tokens", CT_TOKENS_PLAIN); }
END_TEST

START_TEST(splits_as_released) {
    check_file("tokenize_released.json", "tokens", CT_TOKENS_RELEASED);
}
END_TEST

START_TEST(splits_as_released_for_vectors) {
    check_file("tokenize_released.json", "language", CT_TOKENS_RELEASED_VECTORS);
}
END_TEST

/* What the recorded captions lack; from Python 3.11 and nltk 3.8.1. */
START_TEST(follows_python_in_the_corners) {
    static const struct {
        const char *text, *tokens; /* joined by | */
    } cases[] = {
        {"ΑΣ ΑΣ. ΑΣ'Α Σ", "ας|ας.|ασ|'|α|σ"},         /* final sigma */
        {"A\xcc\x88Σ\xcd\x85", "a\xcc\x88ς\xcd\x85"}, /* case-ignorable before it */
        {"İstanbul", "i̇stanbul"},
        {"ẞ Ⅷ ǅ K", "ß|ⅷ|ǆ|k"},
        {"G\xc4\xb1mme 't\xc4\xb1s", "g\xc4\xb1m|me|'t|\xc4\xb1s"}, /* Python: dotless i is an i */
        {"wanna\xe2\x80\x83go wanna.", "wan|na|go|wan|na|."},       /* em space */
        {"a\xc2\x85"
         "b\x1c"
         "c\xe1\xa0\x8e"
         "d",
         "a|b|c\xe1\xa0\x8e"
         "d"},
        {"cannotx xcannot cannot", "cannotx|xcannot|can|not"},
        {"5:30,6 5:x ٣,٣ ³,³", "5:30,6|5|:|x|٣,٣|³|,|³"},
        {"\"\" '' ``", "``|``|``|``"},
        {"a.\")  ", "a|.|''|)"},
        {"...", "..."},
    };
    ct_tokenizer *tokenizer = ct_tokenizer_create(CT_TOKENS_PLAIN);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char joined[256] = "";
        int count;
        char **tokens = ct_tokenizer_split(tokenizer, cases[i].text, &count);
        assert_no_error();
        for (int k = 0; k < count; k++) {
            if (k) strcat(joined, "|");
            strcat(joined, tokens[k]);
        }
        ck_assert_str_eq(joined, cases[i].tokens);
        ct_tokens_free(tokens);
    }
    ct_tokenizer_destroy(tokenizer);
}
END_TEST

START_TEST(gives_no_token_for_no_word) {
    static const char *const texts[] = {"", " ", "\t \xe3\x80\x80\xc2\xa0"};
    ct_tokenizer *tokenizer = ct_tokenizer_create(CT_TOKENS_PLAIN);
    for (size_t i = 0; i < 3; i++) {
        int count = -1;
        char **tokens = ct_tokenizer_split(tokenizer, texts[i], &count);
        assert_no_error();
        ck_assert_int_eq(count, 0);
        ck_assert_ptr_null(tokens[0]);
        ct_tokens_free(tokens);
    }
    ct_tokenizer_destroy(tokenizer);
}
END_TEST

/* Every character grows, by as much as any can. */
START_TEST(takes_long_text) {
    enum { LENGTH = 100000 };
    char *text = malloc(LENGTH + 1);
    memset(text, '"', LENGTH);
    text[LENGTH] = 0;
    int count;
    ct_tokenizer *plain = ct_tokenizer_create(CT_TOKENS_PLAIN);
    char **tokens = ct_tokenizer_split(plain, text, &count);
    assert_no_error();
    ck_assert_int_eq(count, LENGTH);
    ck_assert_str_eq(tokens[0], "``");
    ck_assert_str_eq(tokens[LENGTH - 1], "''");
    ct_tokens_free(tokens);
    ct_tokenizer_destroy(plain);
    memset(text, 0xff, LENGTH);
    ct_tokenizer *released = ct_tokenizer_create(CT_TOKENS_RELEASED);
    tokens = ct_tokenizer_split(released, text, &count);
    assert_no_error();
    ck_assert_int_eq(count, 2); /* b'\xff\xff... and ' */
    ck_assert_uint_eq(strlen(tokens[0]), 2 + 4 * LENGTH);
    ct_tokens_free(tokens);
    ct_tokenizer_destroy(released);
    free(text);
}
END_TEST

/* Runs of everything that a rule looks for, each with and without a word behind it: what is split
 * in linear time takes a moment, where each character more made a rule look at all of them again.
 */
START_TEST(takes_linear_time_for_any_run) {
    enum { LENGTH = 100000 };
    static const char *const runs[] = {
        " ",  ".", ")", "\"", "'", "`",  ")\"> ",    ". ",           ".) ",
        "' ", "-", "?", ",",  ";", "\t", "\xc2\xa0", "\xe2\x80\x99", "\xce\xa3"};
    static const char *const ends[] = {"", "x", ".", " x.\""};
    static char text[LENGTH + 64];
    ct_tokenizer *tokenizer = ct_tokenizer_create(CT_TOKENS_PLAIN);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
            char *at = stpcpy(text, "a.");
            while (at - text < LENGTH) at = stpcpy(at, runs[r]);
            strcpy(at, ends[e]);
            int count;
            char **tokens = ct_tokenizer_split(tokenizer, text, &count);
            assert_no_error();
            ck_assert_int_gt(count, 0);
            ck_assert_ptr_null(tokens[count]);
            ct_tokens_free(tokens);
        }
    }
    ct_tokenizer_destroy(tokenizer);
}
END_TEST

START_TEST(refuses_invalid_utf8) {
    static const char *const texts[] = {"caf\xe9", "\xc3", "a \xed\xa0\x80",
                                        "\xf8\x88\x80\x80\x80"};
    static const char *const messages[] = {"invalid UTF-8 at byte 4", "at byte 1", "at byte 3",
                                           "at byte 1"};
    ct_tokenizer *tokenizer = ct_tokenizer_create(CT_TOKENS_PLAIN);
    for (size_t i = 0; i < 4; i++) {
        int count = -1;
        ck_assert_ptr_null(ct_tokenizer_split(tokenizer, texts[i], &count));
        ck_assert_int_eq(count, 0);
        assert_error(messages[i]);
    }
    ct_tokenizer_destroy(tokenizer);
    int count;
    ck_assert_ptr_null(ct_tokenizer_split(NULL, "a", &count));
    assert_error("no tokenizer");
}
END_TEST

TEST_MAIN("tokenize", splits_as_nltk, splits_as_released, splits_as_released_for_vectors,
          follows_python_in_the_corners, gives_no_token_for_no_word, takes_long_text,
          takes_linear_time_for_any_run, refuses_invalid_utf8)
