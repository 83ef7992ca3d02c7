/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/io/json.h"
#include "train/data/data.h"
#include "train/data/text.h"
#include "train/data/word_table.h"

static const char *const special_words[] = {
    [CT_WORD_PAD] = "<pad>",
    [CT_WORD_START] = "<start>",
    [CT_WORD_END] = "<end>",
    [CT_WORD_UNKNOWN] = "<unk>",
};
enum { SPECIAL = sizeof special_words / sizeof *special_words };

struct ct_vocabulary {
    ct_word_table table; /* a word's number is its id */
    int64_t rare;
};

static ct_vocabulary *create(void) {
    if (!ct_ok()) return NULL;
    ct_vocabulary *v = calloc(1, sizeof *v);
    if (!v) return ct_fail("vocabulary: out of memory");
    return v;
}

void ct_vocabulary_destroy(ct_vocabulary *v) {
    if (!v) return;
    ct_word_table_clear(&v->table);
    free(v);
}

int64_t ct_vocabulary_size(const ct_vocabulary *v) { return v ? v->table.count : 0; }

int64_t ct_vocabulary_rare(const ct_vocabulary *v) { return v ? v->rare : 0; }

int64_t ct_vocabulary_id(const ct_vocabulary *v, const char *word) {
    int64_t id = ct_word_table_find(&v->table, word, strlen(word));
    return id < 0 ? CT_WORD_UNKNOWN : id;
}

const char *ct_vocabulary_word(const ct_vocabulary *v, int64_t id) {
    if (id >= 0 && id < v->table.count) return v->table.words[id];
    return ct_fail("vocabulary: id %" PRId64 ", expected 0 to %" PRId64, id, v->table.count - 1);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Puts each word at its id, so that words can be added in order; false if the ids are not
 * exactly 0 to count-1. */
static bool order_words(const char *path, const json_t *word2idx, const char **words) {
    size_t count = json_object_size(word2idx);
    const char *word;
    json_t *value;
    json_object_foreach((json_t *)word2idx, word, value) {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || (size_t)id >= count) {
            char *given = ct_json_text(value, JSON_ENCODE_ANY);
            ct_fail("%s: word2idx gives '%s' the id %s, expected a whole number from 0 to %zu",
                    path, word, given ? given : "?", count - 1);
            free(given);
            return false;
        }
        if (words[id]) {
            return ct_fail_bool("%s: word2idx gives both '%s' and '%s' the id %lld", path,
                                words[id], word, (long long)id);
        }
        words[id] = word;
    }
    for (size_t i = 0; i < SPECIAL; i++) {
        if (i >= count || strcmp(words[i], special_words[i]) != 0) {
            return ct_fail_bool("%s: id %zu is '%s', expected '%s' (0 to 3 are <pad>, <start>, "
                                "<end>, <unk>)",
                                path, i, i < count ? words[i] : "absent", special_words[i]);
        }
    }
    return true;
}

static bool check_idx2word(const char *path, const json_t *idx2word, const char *const *words,
                           size_t count) {
    if (!json_is_object(idx2word) || json_object_size(idx2word) != count) {
        return ct_fail_bool("%s: idx2word has %zu words, word2idx %zu", path,
                            json_object_size(idx2word), count);
    }
    for (size_t i = 0; i < count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        const char *word = json_string_value(json_object_get(idx2word, key));
        if (!word || strcmp(word, words[i]) != 0) {
            return ct_fail_bool("%s: id %zu is '%s' in idx2word but '%s' in word2idx", path, i,
                                word ? word : "absent", words[i]);
        }
    }
    return true;
}

static bool take_words(ct_vocabulary *v, const char *path, const json_t *root) {
    const json_t *word2idx = json_object_get(root, "word2idx");
    const json_t *idx2word = json_object_get(root, "idx2word");
    const json_t *next = json_object_get(root, "idx");
    if (!json_is_object(word2idx)) {
        return ct_fail_bool("%s: expected {\"word2idx\": {...}, \"idx2word\": {...}, \"idx\": n}",
                            path);
    }
    size_t count = json_object_size(word2idx);
    if (next && (!json_is_integer(next) || json_integer_value(next) != (json_int_t)count)) {
        return ct_fail_bool("%s: idx is %lld, expected %zu, the number of words", path,
                            (long long)json_integer_value(next), count);
    }
    const char **words = calloc(count + 1, sizeof *words);
    if (!words) return ct_fail_bool("%s: out of memory", path);
    bool done = order_words(path, word2idx, words) &&
                (!idx2word || check_idx2word(path, idx2word, words, count));
    for (size_t i = 0; done && i < count; i++) {
        done = ct_word_table_add(&v->table, words[i]) >= 0;
    }
    free(words);
    return done;
}

ct_vocabulary *ct_vocabulary_read(const char *path) {
    size_t size;
    ct_vocabulary *v = create();
    char *text = v ? ct_text_read(path, &size) : NULL;
    json_error_t error;
    json_t *root = text ? ct_json_read(text, size, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (text && !root) ct_fail("%s:%d: %s", path, error.line, error.text);
    bool done = root && take_words(v, path, root);
    json_decref(root);
    free(text);
    if (done) return v;
    ct_vocabulary_destroy(v);
    return NULL;
}

/* ---- building ---------------------------------------------------------------------------- */

typedef struct {
    const char *word;
    int64_t occurrences;
} word_count;

static int by_occurrences(const void *a, const void *b) {
    const word_count *x = a, *y = b;
    if (x->occurrences != y->occurrences) return x->occurrences > y->occurrences ? -1 : 1;
    return strcmp(x->word, y->word);
}

/* occurrences[i] of word i of the table, from malloc; NULL and an error otherwise. */
static int64_t *count_words(ct_tokenizer *tokenizer, const char *const *captions, int64_t count,
                            ct_word_table *table) {
    int64_t *occurrences = NULL, capacity = 0;
    for (int64_t i = 0; i < count; i++) {
        int token_count;
        char **tokens = ct_tokenizer_split(tokenizer, captions[i], &token_count);
        for (int k = 0; tokens && k < token_count; k++) {
            int64_t word = ct_word_table_add(table, tokens[k]);
            if (word < 0) break;
            if (table->capacity > capacity) {
                int64_t *more = realloc(occurrences, (size_t)table->capacity * sizeof *more);
                if (!more) {
                    ct_fail("vocabulary: out of memory");
                    break;
                }
                occurrences = more;
                memset(more + capacity, 0, (size_t)(table->capacity - capacity) * sizeof *more);
                capacity = table->capacity;
            }
            occurrences[word]++;
        }
        ct_tokens_free(tokens);
        if (ct_ok()) continue;
        free(occurrences);
        return NULL;
    }
    return occurrences ? occurrences : calloc(1, sizeof *occurrences);
}

static bool add_frequent(ct_vocabulary *v, const ct_word_table *table, const int64_t *occurrences,
                         int64_t min_count) {
    word_count *found = calloc((size_t)table->count + 1, sizeof *found);
    if (!found) return ct_fail_bool("vocabulary: out of memory");
    int64_t kept = 0;
    for (int64_t i = 0; i < table->count; i++) {
        if (occurrences[i] >= min_count) {
            found[kept++] = (word_count){table->words[i], occurrences[i]};
        }
    }
    v->rare = table->count - kept;
    qsort(found, (size_t)kept, sizeof *found, by_occurrences);
    bool done = true;
    for (int i = 0; done && i < SPECIAL; i++) {
        done = ct_word_table_add(&v->table, special_words[i]) >= 0;
    }
    for (int64_t i = 0; done && i < kept; i++) {
        done = ct_word_table_add(&v->table, found[i].word) >= 0;
    }
    free(found);
    return done;
}

ct_vocabulary *ct_vocabulary_build(const char *const *captions, int64_t count, int64_t min_count) {
    ct_vocabulary *v = create();
    ct_tokenizer *tokenizer = v ? ct_tokenizer_create(CT_TOKENS_PLAIN) : NULL;
    ct_word_table table = {0};
    int64_t *occurrences = tokenizer ? count_words(tokenizer, captions, count, &table) : NULL;
    bool done = occurrences && add_frequent(v, &table, occurrences, min_count);
    if (tokenizer && !occurrences && ct_ok()) ct_fail("vocabulary: out of memory");
    free(occurrences);
    ct_word_table_clear(&table);
    ct_tokenizer_destroy(tokenizer);
    if (done) return v;
    ct_vocabulary_destroy(v);
    return NULL;
}

/* ---- writing ----------------------------------------------------------------------------- */

static bool fill_json(const ct_vocabulary *v, json_t *root) {
    bool done = json_object_set_new(root, "word2idx", json_object()) == 0 &&
                json_object_set_new(root, "idx2word", json_object()) == 0 &&
                json_object_set_new(root, "idx", json_integer(v->table.count)) == 0;
    json_t *word2idx = json_object_get(root, "word2idx");
    json_t *idx2word = json_object_get(root, "idx2word");
    for (int64_t i = 0; done && i < v->table.count; i++) {
        const char *word = v->table.words[i];
        char key[24];
        snprintf(key, sizeof key, "%" PRId64, i);
        done = json_object_set_new(word2idx, word, json_integer(i)) == 0 &&
               json_object_set_new(idx2word, key, json_string(word)) == 0;
    }
    return done;
}

bool ct_vocabulary_write(const ct_vocabulary *v, const char *path) {
    if (!v) return ct_ok() ? ct_fail_bool("%s: no vocabulary to write", path) : false;
    json_t *root = json_object();
    char *text = root && fill_json(v, root) ? ct_json_text(root, JSON_INDENT(1)) : NULL;
    if (!text) ct_fail("%s: out of memory", path);
    bool done = text && ct_file_write(path, text, strlen(text));
    free(text);
    json_decref(root);
    return done;
}
