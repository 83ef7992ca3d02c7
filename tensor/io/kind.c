/* SPDX-License-Identifier: Apache-2.0 */
/* Files of another kind than the one expected, told by how they begin. data/wrong_file.py is the
 * same for the preparation scripts. */
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tensor/io/file.h"

typedef struct {
    const char *what, *way_out; /* way_out NULL: none is known */
} kind;

typedef struct {
    const char *beginning;
    size_t length;
    kind kind;
} signature;

#define BEGINS(text, what, way_out)               \
    {                                             \
        text, sizeof(text) - 1, { what, way_out } \
    }

static const char unpickled[] = "data/convert_checkpoint.py makes safetensors of a checkpoint, "
                                "data/convert_vocabulary.py JSON of a vocabulary";

static const signature signatures[] = {
    BEGINS("\x1f\x8b", "gzip", "gunzip it"),
    BEGINS("\x42\x5a\x68\x39\x31\x41\x59\x26", "bzip2", "bunzip2 it"),
    BEGINS("\xfd\x37zXZ\0", "xz", "unxz it"),
    BEGINS("\x28\xb5\x2f\xfd", "zstd", "unzstd it"),
    BEGINS("\x93NUMPY", "a NumPy array (.npy)", NULL),
    BEGINS("\x89HDF\r\n\x1a\n", "HDF5", "h5py reads it, numpy.save writes an array of it"),
    BEGINS("\x89PNG\r\n\x1a\n", "a picture (PNG)", NULL),
    BEGINS("\xff\xd8\xff", "a picture (JPEG)", NULL),
    BEGINS("GIF87a", "a picture (GIF)", NULL),
    BEGINS("GIF89a", "a picture (GIF)", NULL),
    BEGINS("%PDF-", "PDF", NULL),
    BEGINS("<!DOCTYPE", "a web page", "perhaps of a download that failed"),
    BEGINS("<html", "a web page", "perhaps of a download that failed"),
    BEGINS("version https://git-lfs", "a pointer of Git LFS", "git lfs pull fetches the file"),
    BEGINS("SQLite format 3\0", "an SQLite database", NULL),
    BEGINS("\xba\x16\x4f\x2f", "word vectors in fastText's binary form (.bin)",
           "take the text form (.vec)"),
    BEGINS("(dp0\n", "a Python pickle", unpickled),
    BEGINS("(lp0\n", "a Python pickle", unpickled),
    BEGINS("ccopy_reg\n", "a Python pickle", unpickled),
};

/* Of the name of a zip archive's first file. */
static kind zip_of(const uint8_t *head, size_t bytes) {
    size_t length = bytes >= 30 ? (size_t)head[26] | (size_t)head[27] << 8 : 0;
    const char *name = (const char *)head + 30, *end = name + length;
    if (length < 4 || bytes < 30 + length) return (kind){"a zip archive", "unzip it"};
    if (memcmp(end - 4, ".npy", 4) == 0) {
        return (kind){"NumPy arrays (.npz)", "numpy.save writes one of them as .npy"};
    }
    if (length >= 8 && memcmp(end - 8, "data.pkl", 8) == 0) {
        return (kind){"a PyTorch checkpoint (.pth, .pth.tar)", unpickled};
    }
    return (kind){"a zip archive", "unzip it"};
}

/* The length of a Python name, dots in it, and the end of its line; 0: there is none. */
static size_t name_line(const uint8_t *text, size_t bytes) {
    size_t length = 0;
    while (length < bytes &&
           (isalnum(text[length]) || text[length] == '_' || text[length] == '.')) {
        length++;
    }
    return length && length < bytes && text[length] == '\n' ? length + 1 : 0;
}

/* Protocols 2 to 5, or an object of a class without a base in protocol 0: "(imodule\nClass\n". */
static bool is_pickle(const uint8_t *head, size_t bytes) {
    if (bytes > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5) return true;
    if (bytes < 3 || memcmp(head, "(i", 2) != 0) return false;
    size_t module = name_line(head + 2, bytes - 2);
    return module && name_line(head + 2 + module, bytes - 2 - module);
}

/* Eight bytes, a length, then JSON. */
static bool is_safetensors(const uint8_t *head, size_t bytes) {
    return bytes > 9 && head[8] == '{' && head[7] == 0 && head[6] == 0 && head[5] == 0;
}

static bool is_tar(const uint8_t *head, size_t bytes) {
    return bytes >= 262 && memcmp(head + 257, "ustar", 5) == 0;
}

/* "400000 300\n", then words and numbers as they are in memory. */
static bool is_word2vec(const uint8_t *head, size_t bytes) {
    size_t at = 0;
    int spaces = 0;
    for (; at < bytes && head[at] != '\n'; at++) {
        spaces += head[at] == ' ';
        if (head[at] != ' ' && (head[at] < '0' || head[at] > '9')) return false;
    }
    return at > 2 && spaces == 1 && memchr(head + at, '\0', bytes - at) != NULL;
}

/* GloVe's vectors.bin: numbers without words. No text has such exponents in every place. */
static bool is_numbers(const uint8_t *head, size_t bytes) {
    enum { LOOKED_AT = 16 };
    bool singles = bytes >= LOOKED_AT * sizeof(float);
    bool doubles = bytes >= LOOKED_AT * sizeof(double);
    for (size_t i = 0; i < LOOKED_AT; i++) {
        float f = 0;
        double d = 0;
        if (singles) memcpy(&f, head + i * sizeof f, sizeof f);
        if (doubles) memcpy(&d, head + i * sizeof d, sizeof d);
        singles = singles && fabsf(f) > 1e-8f && fabsf(f) < 1e4f;
        doubles = doubles && fabs(d) > 1e-8 && fabs(d) < 1e4;
    }
    return singles || doubles;
}

static kind kind_of(const uint8_t *head, size_t bytes) {
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        if (bytes >= s->length && memcmp(head, s->beginning, s->length) == 0) return s->kind;
    }
    if (bytes >= 4 && memcmp(head, "PK\x03\x04", 4) == 0) return zip_of(head, bytes);
    if (is_pickle(head, bytes)) return (kind){"a Python pickle", unpickled};
    if (is_safetensors(head, bytes)) return (kind){"a safetensors file", NULL};
    if (is_tar(head, bytes)) return (kind){"a tar archive", "tar -xf unpacks it"};
    if (is_word2vec(head, bytes)) {
        return (kind){"word vectors in word2vec's binary form (.bin)",
                      "gensim's save_word2vec_format(PATH, binary=False) writes text"};
    }
    if (is_numbers(head, bytes)) {
        return (kind){"numbers in binary form (as GloVe's vectors.bin)",
                      "of word vectors take the text form"};
    }
    return (kind){0};
}

bool ct_file_is_other(const char *path, const void *head, size_t bytes, const char *expected) {
    kind found = bytes ? kind_of(head, bytes) : (kind){0};
    if (!found.what) return false;
    if (found.way_out)
        ct_fail("%s: %s, expected %s: %s", path, found.what, expected, found.way_out);
    else ct_fail("%s: %s, expected %s", path, found.what, expected);
    return true;
}
