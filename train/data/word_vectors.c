/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/core/excuse.h"
#include "train/data/data.h"
#include "train/data/text.h"
#include "train/data/word_table.h"

enum { WIDEST = 65536 };

/* The text file being read, and what is found. */
typedef struct {
    const char *path;
    int64_t line;
    int64_t width; /* numbers a line; 0 before the first line */
    ct_word_table words;
    float *vectors; /* (words, width) */
    uint8_t *known;
    int64_t found;
} reading;

/* ---- lines ------------------------------------------------------------------------------- */

/* In runs whose count fits a byte: so the compiler counts a whole vector of bytes at once. */
static int64_t count_spaces(const char *text, size_t length) {
    enum { RUN = 240 };
    int64_t spaces = 0;
    for (; length >= RUN; text += RUN, length -= RUN) {
        uint8_t of_run = 0;
        for (int i = 0; i < RUN; i++) of_run = (uint8_t)(of_run + (text[i] == ' '));
        spaces += of_run;
    }
    for (size_t i = 0; i < length; i++) spaces += text[i] == ' ';
    return spaces;
}

static bool is_number(const char *text, size_t length) {
    char copy[64], *end;
    if (length == 0 || length >= sizeof copy) return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    strtod(copy, &end);
    return !*end;
}

/* Where the last `count` fields of the line begin, or NULL if it has no field before them. */
static char *last_fields(char *line, size_t length, int64_t count) {
    char *at = line + length;
    for (; count > 0; count--) {
        at = memrchr(line, ' ', (size_t)(at - line));
        if (!at) return NULL;
    }
    return at == line ? NULL : at + 1;
}

/* A line's width is that of its numbers: all fields at the end that are numbers, but the first
 * field, which is the word. */
static int64_t trailing_numbers(const char *line, size_t length) {
    int64_t count = 0;
    const char *end = line + length;
    for (;;) {
        const char *space = memrchr(line, ' ', (size_t)(end - line));
        if (!space || !is_number(space + 1, (size_t)(end - space - 1))) return count;
        count++;
        end = space;
    }
}

/* word2vec and fastText write a first line "words width", GloVe none. */
static bool is_header(const char *line, size_t length) {
    return strspn(line, "0123456789 ") == length && count_spaces(line, length) == 1;
}

static bool begin(reading *r, const char *line, size_t length) {
    r->width = trailing_numbers(line, length);
    if (r->width < 1 || r->width > WIDEST) {
        return ct_fail_bool("%s:%" PRId64 ": expected a word and its numbers, found '%.40s'",
                            r->path, r->line, line);
    }
    r->vectors = calloc((size_t)(r->words.count * r->width), sizeof *r->vectors);
    if (!r->vectors) return ct_fail_bool("%s: out of memory", r->path);
    return true;
}

static bool parse_numbers(const reading *r, char *at, float *vector) {
    for (int64_t i = 0; i < r->width; i++) {
        char *end;
        vector[i] = strtof(at, &end);
        bool good = !isspace((unsigned char)*at) && end != at && (*end == ' ' || !*end) &&
                    isfinite(vector[i]);
        if (!good) {
            return ct_fail_bool("%s:%" PRId64 ": '%.*s', expected a finite number (number %" PRId64
                                " of %" PRId64 ")",
                                r->path, r->line, (int)strcspn(at, " "), at, i + 1, r->width);
        }
        at = end + (*end == ' ');
    }
    return true;
}

static bool wrong_width(const reading *r, const char *line, size_t length) {
    return ct_fail_bool("%s:%" PRId64 ": '%.*s' and %" PRId64 " numbers, expected %" PRId64,
                        r->path, r->line, (int)strnlen(line, strcspn(line, " ")), line,
                        trailing_numbers(line, length), r->width);
}

/* Most lines are words that are not asked for: a look at the word and the number of fields is
 * all they get. */
static bool take_line(reading *r, char *line, size_t length) {
    if (r->width == 0) {
        if (r->line == 1 && is_header(line, length)) return true;
        if (!begin(r, line, length)) return false;
    }
    int64_t spaces = count_spaces(line, length);
    if (spaces < r->width) return wrong_width(r, line, length);
    char *numbers =
        spaces == r->width ? memchr(line, ' ', length) + 1 : last_fields(line, length, r->width);
    if (!numbers || numbers == line + 1) return wrong_width(r, line, length);
    size_t word_length = (size_t)(numbers - 1 - line);
    if (spaces > r->width && trailing_numbers(line, length) == spaces) {
        /* Too many numbers, or a word such as "1 2"? The first field's word decides. */
        size_t first = strcspn(line, " ");
        if (ct_word_table_find(&r->words, line, first) >= 0) return wrong_width(r, line, length);
    }
    int64_t id = ct_word_table_find(&r->words, line, word_length);
    if (id < 0 || r->known[id]) return true;
    r->known[id] = 1;
    r->found++;
    return parse_numbers(r, numbers, r->vectors + id * r->width);
}

/* ---- reading ----------------------------------------------------------------------------- */

static bool read_lines(reading *r, ct_text *text) {
    char *line;
    size_t length;
    bool done = true;
    while (done && (line = ct_text_next(text, &length))) {
        r->line = ct_text_line(text);
        while (length && line[length - 1] == ' ') line[--length] = 0;
        if (length) done = take_line(r, line, length);
    }
    if (!done || !ct_ok()) return false;
    if (r->width == 0) return ct_fail_bool("%s: no word vectors in it", r->path);
    return r->found > 0 || ct_fail_bool("%s: none of the vocabulary's words is in it", r->path);
}

/* A word that is not UTF-8 is no word of a vocabulary: such lines are passed over as others are. */
static bool read_text(reading *r) {
    ct_text *text = ct_text_open(r->path, true);
    bool done = text && read_lines(r, text);
    ct_text_close(text);
    return done;
}

/* ---- the cache --------------------------------------------------------------------------- */

/* FOLDER/word_vectors-HASH.safetensors from malloc; NULL (no error) where nothing can be kept. */
static char *cache_path(const char *folder, const char *path, const ct_vocabulary *vocabulary) {
    struct stat status;
    if (!folder || access(folder, W_OK) != 0 || stat(path, &status) != 0) return NULL;
    int64_t facts[] = {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
    uint64_t hash = ct_hash(CT_HASH_START, path, strlen(path) + 1);
    hash = ct_hash(hash, facts, sizeof facts);
    for (int64_t i = 0; i < ct_vocabulary_size(vocabulary); i++) {
        const char *word = ct_vocabulary_word(vocabulary, i);
        hash = ct_hash(hash, word, strlen(word) + 1);
    }
    char *cache = NULL;
    if (asprintf(&cache, "%s/word_vectors-%016" PRIx64 ".safetensors", folder, hash) < 0) {
        return NULL;
    }
    return cache;
}

/* A cache that cannot be read or written is as good as none: the text file is there. */
static ct_tensor *read_cache(const char *path, int64_t words, uint8_t **known) {
    if (access(path, R_OK) != 0) return NULL;
    ct_tensor *vectors = NULL;
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        ct_tensor *x = file ? ct_safetensors_get(file, "vectors") : NULL;
        ct_tensor *flags = x ? ct_safetensors_get(file, "known") : NULL;
        bool good = flags && x->dtype == CT_F32 && x->shape.ndim == 2 && x->shape.dim[0] == words &&
                    flags->dtype == CT_U8 && ct_shape_equal(flags->shape, CT_SHAPE(words)) &&
                    !ct_tensor_has_nonfinite(x);
        *known = good ? malloc((size_t)words) : NULL;
        if (*known) {
            ct_read(flags, *known);
            vectors = ct_keep(x);
        }
        ct_safetensors_close(file);
    }
    ct_error_excuse();
    return vectors;
}

static void write_cache(const char *path, const ct_tensor *vectors, const uint8_t *known) {
    CT_SCOPE {
        ct_tensor *flags = ct_from_data(CT_U8, CT_CPU, CT_SHAPE(vectors->shape.dim[0]), known);
        ct_named_tensor tensors[] = {{"vectors", vectors}, {"known", flags}};
        if (flags) ct_safetensors_save(path, tensors, 2, NULL);
    }
    ct_error_excuse();
}

/* ---- both -------------------------------------------------------------------------------- */

static ct_tensor *read_vectors(const char *path, const ct_vocabulary *vocabulary, uint8_t **known) {
    reading r = {.path = path};
    int64_t count = ct_vocabulary_size(vocabulary);
    ct_tensor *vectors = NULL;
    r.known = calloc((size_t)count, 1);
    if (!r.known) ct_fail("%s: out of memory", path);
    for (int64_t i = 0; ct_ok() && i < count; i++) {
        ct_word_table_add(&r.words, ct_vocabulary_word(vocabulary, i));
    }
    if (ct_ok() && read_text(&r)) {
        CT_SCOPE {
            vectors = ct_keep(ct_from_data(CT_F32, CT_CPU, CT_SHAPE(count, r.width), r.vectors));
        }
    }
    ct_word_table_clear(&r.words);
    free(r.vectors);
    if (vectors) *known = r.known;
    else free(r.known);
    return vectors;
}

ct_tensor *ct_word_vectors_read(const char *path, const ct_vocabulary *vocabulary,
                                const char *cache_folder, uint8_t **known) {
    *known = NULL;
    if (!vocabulary || !ct_ok()) return NULL;
    char *cache = cache_path(cache_folder, path, vocabulary);
    ct_tensor *vectors = cache ? read_cache(cache, ct_vocabulary_size(vocabulary), known) : NULL;
    if (!vectors) {
        vectors = read_vectors(path, vocabulary, known);
        if (vectors && cache) write_cache(cache, vectors, *known);
    }
    free(cache);
    return vectors;
}
