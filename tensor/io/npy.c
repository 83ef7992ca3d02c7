/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy's .npy, format versions 1 to 3:
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * "\x93NUMPY", version major and minor, the header's length (two bytes little-endian in version 1,
 * four from 2 on), the header: a Python dict literal
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 * padded with spaces and ended by a newline, then the elements.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/device/backend.h"
#include "tensor/io/file.h"

static const struct {
    ct_dtype dtype;
    char descr[4];
} dtypes[] = {
    {CT_F32, "<f4"}, {CT_F64, "<f8"}, {CT_F16, "<f2"},
    {CT_I32, "<i4"}, {CT_I64, "<i8"}, {CT_U8, "|u1"},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static const char magic[6] = "\x93NUMPY";
enum { LONGEST_TEXT = 32 };

/* ---- the header's dict literal ---------------------------------------------------------- */

typedef struct {
    const char *path, *begin, *at, *end;
} cursor;

typedef struct {
    bool has_descr, has_order, has_shape;
    ct_dtype dtype;
    ct_shape shape;
} header;

static bool malformed(const cursor *c, const char *expected) {
    return ct_fail_bool("%s: npy header: expected %s at byte %td of the header", c->path, expected,
                        c->at - c->begin);
}

static void skip_spaces(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n')) c->at++;
}

/* Takes the character if it is next, spaces aside. */
static bool accept(cursor *c, char wanted) {
    skip_spaces(c);
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

static bool accept_word(cursor *c, const char *word) {
    size_t length = strlen(word);
    skip_spaces(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

/* A quoted text of printable ASCII without escapes: keys and dtypes need no more. */
static bool parse_text(cursor *c, const char *what, char text[LONGEST_TEXT]) {
    char quote = accept(c, '\'') ? '\'' : accept(c, '"') ? '"' : 0;
    if (!quote) return malformed(c, what);
    size_t length = 0;
    while (c->at < c->end && *c->at != quote) {
        if (*c->at < ' ' || *c->at > '~' || *c->at == '\\' || length == LONGEST_TEXT - 1) {
            return malformed(c, what);
        }
        text[length++] = *c->at++;
    }
    text[length] = '\0';
    return accept(c, quote) || malformed(c, "a closing quote");
}

static bool parse_descr(cursor *c, ct_dtype *dtype) {
    char text[LONGEST_TEXT];
    if (!parse_text(c, "a dtype such as '<f4' (no structured array)", text)) return false;
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(text, dtypes[i].descr) == 0) {
            *dtype = dtypes[i].dtype;
            return true;
        }
    }
    if (text[0] == '>') {
        return ct_fail_bool("%s: npy dtype '%s' is big-endian, expected little-endian ('<%s')",
                            c->path, text, text + 1);
    }
    return ct_fail_bool("%s: npy dtype '%s' is not supported, expected <f4, <f8, <f2, <i4, <i8 or "
                        "|u1",
                        c->path, text);
}

static bool parse_order(cursor *c) {
    if (accept_word(c, "False")) return true;
    if (!accept_word(c, "True")) return malformed(c, "False or True");
    return ct_fail_bool("%s: npy fortran_order is True, expected False (save "
                        "numpy.ascontiguousarray(x))",
                        c->path);
}

static bool parse_size(cursor *c, int64_t *size) {
    *size = 0;
    skip_spaces(c);
    const char *first = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (__builtin_mul_overflow(*size, 10, size) ||
            __builtin_add_overflow(*size, *c->at - '0', size)) {
            return malformed(c, "a size below 2^63");
        }
        c->at++;
    }
    if (c->at == first) return malformed(c, "a size of 0 or more");
    if (c->at < c->end && *c->at == 'L') c->at++; /* Python 2 wrote long integers as 3L */
    return true;
}

/* "()", "(3,)", "(3, 4)"; "(3)" is a number to Python, not a tuple. */
static bool parse_shape(cursor *c, ct_shape *shape) {
    if (!accept(c, '(')) return malformed(c, "a tuple for the shape");
    *shape = CT_SCALAR_SHAPE;
    bool comma = true;
    while (!accept(c, ')')) {
        if (!comma) return malformed(c, "',' or ')'");
        if (shape->ndim == CT_MAX_DIMS) {
            return ct_fail_bool("%s: npy shape has more than %d dimensions", c->path, CT_MAX_DIMS);
        }
        if (!parse_size(c, &shape->dim[shape->ndim])) return false;
        shape->ndim++;
        comma = accept(c, ',');
    }
    return shape->ndim != 1 || comma || malformed(c, "a tuple (n,)");
}

static bool parse_entry(cursor *c, header *h) {
    char key[LONGEST_TEXT];
    if (!parse_text(c, "a quoted key", key)) return false;
    bool *seen = strcmp(key, "descr") == 0           ? &h->has_descr
                 : strcmp(key, "fortran_order") == 0 ? &h->has_order
                 : strcmp(key, "shape") == 0         ? &h->has_shape
                                                     : NULL;
    if (!seen) {
        return ct_fail_bool("%s: npy header: unknown key '%s', expected descr, fortran_order, "
                            "shape",
                            c->path, key);
    }
    if (*seen) return ct_fail_bool("%s: npy header: key '%s' is there twice", c->path, key);
    *seen = true;
    if (!accept(c, ':')) return malformed(c, "':'");
    if (seen == &h->has_descr) return parse_descr(c, &h->dtype);
    return seen == &h->has_order ? parse_order(c) : parse_shape(c, &h->shape);
}

static bool parse_header(cursor *c, header *h) {
    if (!accept(c, '{')) return malformed(c, "'{'");
    bool comma = true;
    while (!accept(c, '}')) {
        if (!comma) return malformed(c, "',' or '}'");
        if (!parse_entry(c, h)) return false;
        comma = accept(c, ',');
    }
    skip_spaces(c);
    if (c->at != c->end) return malformed(c, "nothing but spaces after '}'");
    const char *missing = !h->has_descr   ? "descr"
                          : !h->has_order ? "fortran_order"
                          : !h->has_shape ? "shape"
                                          : NULL;
    return !missing || ct_fail_bool("%s: npy header: no key '%s'", c->path, missing);
}

/* ---- reading ---------------------------------------------------------------------------- */

/* Where the header's text lies; false with an error if the file is no npy or ends before. */
static bool find_header(const char *path, const ct_mapping *file, cursor *c) {
    const uint8_t *data = file->data;
    size_t prefix = 10;
    if (file->bytes < sizeof magic || memcmp(data, magic, sizeof magic) != 0) {
        if (ct_file_is_other(path, data, file->bytes, "an .npy file")) return false;
        return ct_fail_bool("%s: not an npy file: it does not begin with \\x93NUMPY", path);
    }
    if (file->bytes >= 8) {
        if (data[6] < 1 || data[6] > 3) {
            return ct_fail_bool("%s: npy format version %d.%d, expected 1 to 3", path, data[6],
                                data[7]);
        }
        prefix = data[6] == 1 ? 10 : 12;
    }
    if (file->bytes < prefix) {
        return ct_fail_bool("%s: npy file of %zu bytes ends before its header", path, file->bytes);
    }
    size_t length = (size_t)data[8] | (size_t)data[9] << 8;
    if (prefix == 12) length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (length > file->bytes - prefix) {
        return ct_fail_bool("%s: npy header of %zu bytes does not fit into the file's %zu bytes",
                            path, length, file->bytes);
    }
    c->begin = c->at = (const char *)data + prefix;
    c->end = c->begin + length;
    return true;
}

static ct_tensor *read_mapped(const char *path, ct_mapping *file) {
    cursor c = {.path = path};
    header h = {0};
    if (!find_header(path, file, &c) || !parse_header(&c, &h)) return NULL;
    size_t needed, offset = (size_t)(c.end - (const char *)file->data);
    if (!ct_shape_bytes(h.shape, h.dtype, &needed)) {
        return ct_fail("%s: npy shape %s of %s is too large", path, ct_shape_text(h.shape),
                       ct_dtype_name(h.dtype));
    }
    if (needed != file->bytes - offset) {
        return ct_fail("%s: %s than its shape needs: %zu bytes of data, expected %zu for %s %s",
                       path, needed > file->bytes - offset ? "shorter" : "longer",
                       file->bytes - offset, needed, ct_dtype_name(h.dtype),
                       ct_shape_text(h.shape));
    }
    return ct_mapping_tensor(file, offset, h.dtype, h.shape);
}

ct_tensor *ct_npy_open(const char *path) {
    ct_mapping *file = ct_mapping_open(path);
    if (!file) return NULL;
    ct_tensor *x = read_mapped(path, file);
    ct_mapping_release(file);
    return x;
}

/* ---- writing ---------------------------------------------------------------------------- */

struct ct_npy_writer {
    ct_output *output;
    ct_dtype dtype;
    ct_shape shape;
    size_t needed, written;
    bool failed;
};

/* Version 1.0, the data at a multiple of 64 bytes, as numpy writes it. */
static bool write_header(ct_output *output, const char *descr, ct_shape shape) {
    enum { PREFIX = 10, LONGEST = 320 }; /* 8 sizes of 20 digits and some words fit */
    char text[LONGEST];
    int used = snprintf(text, LONGEST, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < shape.ndim; i++) {
        used += snprintf(text + used, (size_t)(LONGEST - used), "%s%" PRId64, i ? ", " : "",
                         shape.dim[i]);
    }
    used += snprintf(text + used, (size_t)(LONGEST - used), "%s), }", shape.ndim == 1 ? "," : "");
    int length = (PREFIX + used + 1 + 63) / 64 * 64 - PREFIX;
    memset(text + used, ' ', (size_t)(length - used));
    text[length - 1] = '\n';
    uint8_t prefix[PREFIX] = {[6] = 1, [8] = (uint8_t)length, [9] = (uint8_t)(length >> 8)};
    memcpy(prefix, magic, sizeof magic);
    return ct_output_write(output, prefix, PREFIX) && ct_output_write(output, text, (size_t)length);
}

static const char *descr_of(ct_dtype dtype) {
    for (int i = 0; i < DTYPES; i++) {
        if (dtypes[i].dtype == dtype) return dtypes[i].descr;
    }
    return NULL;
}

ct_npy_writer *ct_npy_create(const char *path, ct_dtype dtype, ct_shape shape) {
    const char *descr = descr_of(dtype), *name = path ? path : "npy";
    if (!descr) {
        return ct_fail("%s: npy has no dtype for %s (cast to f32)", name, ct_dtype_name(dtype));
    }
    size_t needed;
    if (shape.ndim < 0 || shape.ndim > CT_MAX_DIMS || !ct_shape_bytes(shape, dtype, &needed)) {
        return ct_fail("%s: npy: not a shape: %d dimensions, sizes negative or too large", name,
                       shape.ndim);
    }
    ct_output *output = ct_output_open(path);
    if (!output) return NULL;
    ct_npy_writer *writer = calloc(1, sizeof *writer);
    if (!writer || !write_header(output, descr, shape)) {
        if (!writer) ct_fail("%s: out of memory", path);
        free(writer);
        ct_output_discard(output);
        return NULL;
    }
    *writer = (ct_npy_writer){.output = output, .dtype = dtype, .shape = shape, .needed = needed};
    return writer;
}

bool ct_npy_append(ct_npy_writer *writer, const void *data, size_t bytes) {
    if (!writer) return ct_fail_bool("npy_append: the writer is NULL");
    if (bytes && !ct_check_pointer("npy_append", "data", data)) return false;
    if (writer->failed) return false;
    if (bytes > writer->needed - writer->written) {
        writer->failed = true;
        return ct_fail_bool("%s: npy_append: %zu bytes after %zu, expected %zu in all for %s %s",
                            ct_output_path(writer->output), bytes, writer->written, writer->needed,
                            ct_dtype_name(writer->dtype), ct_shape_text(writer->shape));
    }
    writer->written += bytes;
    writer->failed = !ct_output_write(writer->output, data, bytes);
    return !writer->failed;
}

bool ct_npy_close(ct_npy_writer *writer) {
    if (!writer) return ct_fail_bool("npy_close: the writer is NULL");
    if (!writer->failed && writer->written != writer->needed) {
        writer->failed = true;
        ct_fail("%s: npy_close: rows are missing: %zu bytes were written, expected %zu for %s %s",
                ct_output_path(writer->output), writer->written, writer->needed,
                ct_dtype_name(writer->dtype), ct_shape_text(writer->shape));
    }
    bool closed = !writer->failed && ct_output_commit(writer->output);
    if (writer->failed) ct_output_discard(writer->output);
    free(writer);
    return closed;
}

bool ct_npy_save(const char *path, const ct_tensor *x) {
    if (!ct_check_input("npy_save", x)) return false;
    ct_npy_writer *writer = ct_npy_create(path, x->dtype, x->shape);
    if (!writer) return false;
    writer->failed = !ct_output_tensor(writer->output, x);
    writer->written = writer->needed;
    return ct_npy_close(writer);
}
