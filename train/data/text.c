/* SPDX-License-Identifier: Apache-2.0 */
#include "train/data/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unistr.h>

#include "tensor/io/file.h"

enum { BLOCK = 1 << 20, LONGEST_LINE = 1 << 24 };

/* ---- decoding ---------------------------------------------------------------------------- */

/* Bytes at the beginning that are none of the text; -1 and an error for another encoding. */
static int64_t mark_length(const char *path, const char *text, size_t bytes) {
    if (bytes >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        ct_fail("%s:1: UTF-16, expected UTF-8 text", path);
        return -1;
    }
    return bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static int64_t count_newlines(const char *text, const char *end) {
    int64_t lines = 0;
    for (; (text = memchr(text, '\n', (size_t)(end - text))); text++) lines++;
    return lines;
}

/* Whether it is text, from line `line` on. */
static bool check_bytes(const char *path, int64_t line, const char *text, size_t bytes,
                        bool any_bytes) {
    const char *wrong = memchr(text, '\0', bytes);
    if (wrong) {
        return ct_fail_bool("%s:%" PRId64 ": a NUL byte, expected text", path,
                            line + count_newlines(text, wrong));
    }
    if (any_bytes) return true;
    wrong = (const char *)u8_check((const uint8_t *)text, bytes);
    if (!wrong) return true;
    const char *begin = wrong;
    while (begin > text && begin[-1] != '\n') begin--;
    return ct_fail_bool("%s:%" PRId64 ": invalid UTF-8 at byte %td", path,
                        line + count_newlines(text, wrong), wrong - begin + 1);
}

/* Ends a line of `length` bytes, without "\n", by a NUL; its length without a "\r" either. */
static size_t end_line(char *line, size_t length) {
    if (length && line[length - 1] == '\r') length--;
    line[length] = '\0';
    return length;
}

/* ---- whole files ------------------------------------------------------------------------- */

char *ct_text_read(const char *path, size_t *bytes) {
    size_t size = 0;
    char *text = ct_file_read(path, &size);
    bool is_text = text && !ct_file_is_other(path, text, size, "text");
    int64_t mark = is_text ? mark_length(path, text, size) : -1;
    if (mark >= 0 && check_bytes(path, 1, text + mark, size - (size_t)mark, false)) {
        size -= (size_t)mark;
        memmove(text, text + mark, size + 1);
        if (bytes) *bytes = size;
        return text;
    }
    free(text);
    return NULL;
}

char **ct_text_lines(char *text, size_t bytes, int64_t *count) {
    char *end = text + bytes;
    *count = count_newlines(text, end) + (bytes && end[-1] != '\n');
    char **lines = malloc(((size_t)*count + 1) * sizeof *lines);
    if (!lines) return ct_fail("out of memory for %" PRId64 " lines", *count);
    for (int64_t i = 0; i < *count; i++) {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        char *stop = newline ? newline : end;
        lines[i] = text;
        end_line(text, (size_t)(stop - text));
        text = stop + 1;
    }
    return lines;
}

/* ---- a line at a time -------------------------------------------------------------------- */

struct ct_text {
    char *path;
    int file;
    bool any_bytes;
    char *text; /* what is read of it; room for a NUL behind */
    size_t capacity;
    size_t at, end; /* lines from `at` on are not given yet */
    int64_t line;
};

ct_text *ct_text_open(const char *path, bool any_bytes) {
    if (!ct_ok()) return NULL;
    ct_text *t = calloc(1, sizeof *t);
    if (!t) return ct_fail("%s: out of memory", path);
    t->any_bytes = any_bytes;
    t->path = strdup(path);
    t->file = open(path, O_RDONLY | O_CLOEXEC);
    if (t->path && t->file >= 0) return t;
    ct_fail("%s: %s", path, t->path ? strerror(errno) : "out of memory");
    ct_text_close(t);
    return NULL;
}

void ct_text_close(ct_text *t) {
    if (!t) return;
    if (t->file >= 0) close(t->file);
    free(t->path);
    free(t->text);
    free(t);
}

int64_t ct_text_line(const ct_text *t) { return t->line; }

static bool make_room(ct_text *t) {
    size_t left = t->end - t->at;
    if (left > LONGEST_LINE) {
        return ct_fail_bool("%s:%" PRId64 ": a line of more than %d bytes, expected lines of text",
                            t->path, t->line + 1, LONGEST_LINE);
    }
    if (t->capacity - left < BLOCK + 1) {
        char *more = realloc(t->text, 2 * t->capacity + BLOCK + 1);
        if (!more) return ct_fail_bool("%s: out of memory", t->path);
        t->text = more;
        t->capacity = 2 * t->capacity + BLOCK + 1;
    }
    memmove(t->text, t->text + t->at, left);
    t->at = 0;
    t->end = left;
    return true;
}

/* Reads on behind what is not given yet; false at the end of the file (no error) or on error. */
static bool read_block(ct_text *t) {
    if (!make_room(t)) return false;
    bool begins = t->line == 0 && t->end == 0;
    ssize_t got;
    do got = read(t->file, t->text + t->end, BLOCK);
    while (got < 0 && errno == EINTR);
    if (got < 0) return ct_fail_bool("%s: %s", t->path, strerror(errno));
    t->end += (size_t)got;
    if (begins && ct_file_is_other(t->path, t->text, t->end, "text")) return false;
    int64_t mark = begins ? mark_length(t->path, t->text, t->end) : 0;
    if (mark < 0) return false;
    t->at += (size_t)mark;
    return got > 0;
}

char *ct_text_next(ct_text *t, size_t *length) {
    size_t left = 0;
    char *newline = NULL;
    do {
        left = t->end - t->at;
        if (t->text) newline = memchr(t->text + t->at, '\n', left);
    } while (!newline && read_block(t));
    if (!newline && (!left || !ct_ok())) return NULL;
    char *line = t->text + t->at;
    size_t whole = newline ? (size_t)(newline - line) : left;
    t->at += whole + (newline != NULL);
    t->line++;
    if (!check_bytes(t->path, t->line, line, whole, t->any_bytes)) return NULL;
    *length = end_line(line, whole);
    return line;
}
