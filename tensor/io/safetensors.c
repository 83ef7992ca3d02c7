/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: https://huggingface.co/docs/safetensors, "Format".
 *
 * Eight bytes, the header's length N little-endian; N bytes of JSON,
 *     {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3],
 *      "data_offsets": [0, 24]}, ...}
 * padded with spaces; then the data that the offsets count from, which the tensors cover without
 * overlap or gap. The limits are those of the reference implementation.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/device/backend.h"
#include "tensor/io/file.h"
#include "tensor/io/json.h"

enum { PREFIX = 8, LONGEST_HEADER = 100000000 };
static const char metadata_key[] = "__metadata__";

/* The first of a dtype is how it is written. */
static const struct {
    const char *name;
    ct_dtype dtype;
} dtypes[] = {
    {"F32", CT_F32}, {"F64", CT_F64}, {"BF16", CT_BF16}, {"F16", CT_F16},
    {"I32", CT_I32}, {"I64", CT_I64}, {"U8", CT_U8},     {"BOOL", CT_U8},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

typedef struct {
    const char *name; /* the header's */
    ct_dtype dtype;
    ct_shape shape;
    size_t begin, end;
    int position; /* in the header */
} entry;

struct ct_safetensors {
    char *path;
    ct_mapping *mapping;
    json_t *header;
    size_t data; /* where the offsets count from */
    int count;
    entry *entries; /* by offset */
    entry **by_name;
};

/* ---- one tensor of the header ----------------------------------------------------------- */

static bool fail_entry(const ct_safetensors *file, const char *name, const char *what) {
    return ct_fail_bool("%s: tensor '%s': %s", file->path, name, what);
}

static bool parse_dtype(const ct_safetensors *file, entry *e, const json_t *object) {
    const char *text = json_string_value(json_object_get(object, "dtype"));
    if (!text) return fail_entry(file, e->name, "expected a text for dtype");
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(text, dtypes[i].name) == 0) {
            e->dtype = dtypes[i].dtype;
            return true;
        }
    }
    return ct_fail_bool("%s: tensor '%s': dtype '%s' is not supported, expected F32, F64, BF16, "
                        "F16, I32, I64, U8 or BOOL",
                        file->path, e->name, text);
}

/* An integer of 0 or more. */
static bool parse_size(const json_t *value, int64_t *size) {
    *size = json_is_integer(value) ? json_integer_value(value) : -1;
    return *size >= 0;
}

static bool parse_shape(const ct_safetensors *file, entry *e, const json_t *object) {
    const json_t *shape = json_object_get(object, "shape");
    size_t ndim = json_array_size(shape);
    if (!json_is_array(shape) || ndim > CT_MAX_DIMS) {
        return ct_fail_bool("%s: tensor '%s': expected a list of at most %d sizes for shape",
                            file->path, e->name, CT_MAX_DIMS);
    }
    e->shape.ndim = (int)ndim;
    for (size_t i = 0; i < ndim; i++) {
        if (!parse_size(json_array_get(shape, i), &e->shape.dim[i])) {
            return fail_entry(file, e->name, "expected integers of 0 or more in shape");
        }
    }
    return true;
}

static bool parse_offsets(const ct_safetensors *file, entry *e, const json_t *object) {
    const json_t *offsets = json_object_get(object, "data_offsets");
    int64_t begin, end;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !parse_size(json_array_get(offsets, 0), &begin) ||
        !parse_size(json_array_get(offsets, 1), &end) || begin > end) {
        return fail_entry(file, e->name,
                          "expected [begin, end] with 0 <= begin <= end for "
                          "data_offsets");
    }
    size_t needed, data_bytes = file->mapping->bytes - file->data;
    if ((size_t)end > data_bytes) {
        return ct_fail_bool("%s: tensor '%s': ends at byte %" PRId64 " of the data, which has %zu "
                            "bytes",
                            file->path, e->name, end, data_bytes);
    }
    if (!ct_shape_bytes(e->shape, e->dtype, &needed)) {
        return ct_fail_bool("%s: tensor '%s': shape %s is too large", file->path, e->name,
                            ct_shape_text(e->shape));
    }
    if ((size_t)(end - begin) != needed) {
        return ct_fail_bool("%s: tensor '%s': has %" PRId64 " bytes, expected %zu for %s %s",
                            file->path, e->name, end - begin, needed, ct_dtype_name(e->dtype),
                            ct_shape_text(e->shape));
    }
    e->begin = (size_t)begin;
    e->end = (size_t)end;
    return true;
}

static bool parse_entry(const ct_safetensors *file, entry *e, const json_t *object) {
    if (!json_is_object(object)) {
        return fail_entry(file, e->name, "expected an object with dtype, shape and data_offsets");
    }
    return parse_dtype(file, e, object) && parse_shape(file, e, object) &&
           parse_offsets(file, e, object);
}

/* ---- the header ------------------------------------------------------------------------- */

static bool check_metadata(const ct_safetensors *file, json_t *metadata) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata)) {
        return ct_fail_bool("%s: __metadata__: expected an object of texts", file->path);
    }
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value)) {
            return ct_fail_bool("%s: __metadata__ '%s': expected a text", file->path, key);
        }
    }
    return true;
}

/* By offset; of those at the same one, the empty ones first. */
static int compare_offsets(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return x->position - y->position;
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(entry *const *)a)->name, (*(entry *const *)b)->name);
}

static bool check_cover(const ct_safetensors *file) {
    size_t covered = 0;
    const char *before = "the beginning";
    for (int i = 0; i < file->count; i++) {
        const entry *e = &file->entries[i];
        if (e->begin != covered) {
            const char *problem =
                e->begin < covered ? "it overlaps" : "no tensor has the bytes after";
            return ct_fail_bool("%s: tensor '%s': begins at byte %zu of the data, expected %zu: %s "
                                "'%s'",
                                file->path, e->name, e->begin, covered, problem, before);
        }
        covered = e->end;
        before = e->name;
    }
    size_t data_bytes = file->mapping->bytes - file->data;
    return covered == data_bytes ||
           ct_fail_bool("%s: %zu bytes of data, but the tensors end at byte %zu", file->path,
                        data_bytes, covered);
}

static bool parse_entries(ct_safetensors *file) {
    size_t keys = json_object_size(file->header);
    file->entries = calloc(keys + 1, sizeof *file->entries);
    file->by_name = calloc(keys + 1, sizeof *file->by_name);
    if (!file->entries || !file->by_name) return ct_fail_bool("%s: out of memory", file->path);
    const char *key;
    json_t *value;
    json_object_foreach(file->header, key, value) {
        if (strcmp(key, metadata_key) == 0) {
            if (!check_metadata(file, value)) return false;
            continue;
        }
        entry *e = &file->entries[file->count];
        e->name = key;
        e->position = file->count++;
        if (!parse_entry(file, e, value)) return false;
    }
    size_t count = (size_t)file->count;
    qsort(file->entries, count, sizeof *file->entries, compare_offsets);
    for (size_t i = 0; i < count; i++) file->by_name[i] = &file->entries[i];
    qsort(file->by_name, count, sizeof *file->by_name, compare_names);
    return check_cover(file);
}

/* But for its length a header begins like JSON. */
static bool is_other(const ct_safetensors *file) {
    const uint8_t *data = file->mapping->data;
    size_t bytes = file->mapping->bytes;
    bool json = bytes > PREFIX && data[PREFIX] == '{';
    return !json && ct_file_is_other(file->path, data, bytes, "a safetensors file");
}

static bool parse_header(ct_safetensors *file) {
    size_t bytes = file->mapping->bytes;
    if (is_other(file)) return false;
    if (bytes < PREFIX) {
        return ct_fail_bool("%s: not a safetensors file: %zu bytes, expected at least %d",
                            file->path, bytes, PREFIX);
    }
    uint64_t length;
    memcpy(&length, file->mapping->data, sizeof length);
    if (length > bytes - PREFIX || length > LONGEST_HEADER) {
        return ct_fail_bool("%s: not a safetensors file, or cut short: header of %" PRIu64
                            " bytes, expected at most %d and within the file's %zu",
                            file->path, length, LONGEST_HEADER, bytes);
    }
    const char *text = (const char *)file->mapping->data + PREFIX;
    file->data = PREFIX + (size_t)length;
    if (length == 0 || text[0] != '{') {
        return ct_fail_bool("%s: not a safetensors file: its header does not begin with '{'",
                            file->path);
    }
    json_error_t error;
    file->header = ct_json_read(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!file->header) {
        return ct_fail_bool("%s: header is not valid JSON: %s (byte %d of the header)", file->path,
                            error.text, error.position);
    }
    return parse_entries(file);
}

/* ---- reading ---------------------------------------------------------------------------- */

ct_safetensors *ct_safetensors_open(const char *path) {
    ct_mapping *mapping = ct_mapping_open(path);
    if (!mapping) return NULL;
    ct_safetensors *file = calloc(1, sizeof *file);
    if (!file) {
        ct_mapping_release(mapping);
        return ct_fail("%s: out of memory", path);
    }
    file->mapping = mapping;
    file->path = strdup(path);
    if (!file->path) ct_fail("%s: out of memory", path);
    if (!file->path || !parse_header(file)) {
        ct_safetensors_close(file);
        return NULL;
    }
    return file;
}

void ct_safetensors_close(ct_safetensors *file) {
    if (!file) return;
    json_decref(file->header);
    ct_mapping_release(file->mapping);
    free(file->entries);
    free(file->by_name);
    free(file->path);
    free(file);
}

int ct_safetensors_count(const ct_safetensors *file) { return file ? file->count : 0; }

const char *ct_safetensors_name(const ct_safetensors *file, int i) {
    if (!file) return ct_fail("safetensors_name: the file is NULL");
    if (i >= 0 && i < file->count) return file->entries[i].name;
    return ct_fail("%s: tensor %d of %d was asked for", file->path, i, file->count);
}

static const entry *find(const ct_safetensors *file, const char *name) {
    entry key = {.name = name}, *wanted = &key;
    entry **found =
        bsearch(&wanted, file->by_name, (size_t)file->count, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

bool ct_safetensors_has(const ct_safetensors *file, const char *name) {
    return file && name && find(file, name);
}

ct_tensor *ct_safetensors_get(ct_safetensors *file, const char *name) {
    if (!file || !name) return ct_fail("safetensors_get: the file or the name is NULL");
    const entry *e = find(file, name);
    if (!e) return ct_fail("%s: there is no tensor '%s'", file->path, name);
    return ct_mapping_tensor(file->mapping, file->data + e->begin, e->dtype, e->shape);
}

const char *ct_safetensors_metadata(const ct_safetensors *file, const char *key) {
    if (!file || !key) return NULL;
    return json_string_value(json_object_get(json_object_get(file->header, metadata_key), key));
}

/* ---- writing ---------------------------------------------------------------------------- */

/* Larger elements first, else the given order: every tensor is then aligned for its dtype. */
static int compare_alignment(const void *a, const void *b) {
    const ct_named_tensor *x = *(const ct_named_tensor *const *)a;
    const ct_named_tensor *y = *(const ct_named_tensor *const *)b;
    size_t size_x = ct_dtype_size(x->tensor->dtype), size_y = ct_dtype_size(y->tensor->dtype);
    if (size_x != size_y) return size_x > size_y ? -1 : 1;
    return (x > y) - (x < y);
}

static const char *dtype_text(ct_dtype dtype) {
    int i = 0;
    while (dtypes[i].dtype != dtype) i++;
    return dtypes[i].name;
}

/* Adds the entry of a tensor whose data begin at *offset, and moves that behind them. */
static bool add_entry(const char *path, json_t *header, const ct_named_tensor *named,
                      size_t *offset) {
    const ct_tensor *x = named->tensor;
    if (strcmp(named->name, metadata_key) == 0 || json_object_get(header, named->name)) {
        return ct_fail_bool("%s: tensor '%s': the name is %s", path, named->name,
                            strcmp(named->name, metadata_key) == 0 ? "reserved" : "there twice");
    }
    size_t end = *offset + (size_t)ct_count(x) * ct_dtype_size(x->dtype);
    json_t *shape = json_array();
    bool whole = shape != NULL;
    for (int i = 0; i < x->shape.ndim; i++) {
        whole = json_array_append_new(shape, json_integer(x->shape.dim[i])) == 0 && whole;
    }
    json_t *object = json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_text(x->dtype), "shape", shape,
                               "data_offsets", (json_int_t)*offset, (json_int_t)end);
    *offset = end;
    if (json_object_set_new(header, named->name, object) == 0 && whole) return true;
    return ct_fail_bool("%s: tensor '%s': out of memory, or the name is not UTF-8", path,
                        named->name);
}

static bool add_metadata(const char *path, json_t *header, const char *const *metadata) {
    json_t *object = json_object();
    for (; metadata[0]; metadata += 2) {
        const char *problem = !metadata[1]                           ? "has no value"
                              : json_object_get(object, metadata[0]) ? "is there twice"
                              : json_object_set_new(object, metadata[0], json_string(metadata[1]))
                                  ? "or its value is not UTF-8"
                                  : NULL;
        if (problem) {
            json_decref(object);
            return ct_fail_bool("%s: metadata '%s' %s", path, metadata[0], problem);
        }
    }
    return json_object_set_new(header, metadata_key, object) == 0 ||
           ct_fail_bool("%s: out of memory", path);
}

/* Length and padded text. */
static bool write_header(ct_output *output, const json_t *header) {
    char *text = ct_json_text(header, JSON_COMPACT);
    if (!text) return ct_fail_bool("%s: out of memory", ct_output_path(output));
    size_t used = strlen(text);
    uint64_t length = (used + 7) / 8 * 8;
    bool written = length <= LONGEST_HEADER ||
                   ct_fail_bool("%s: header of %" PRIu64 " bytes, the format allows %d",
                                ct_output_path(output), length, LONGEST_HEADER);
    written = written && ct_output_write(output, &length, sizeof length) &&
              ct_output_write(output, text, used) &&
              ct_output_write(output, "       ", (size_t)length - used);
    free(text);
    return written;
}

static bool write_file(const char *path, const json_t *header, const ct_named_tensor **sorted,
                       int count) {
    ct_output *output = ct_output_open(path);
    if (!output) return false;
    bool written = write_header(output, header);
    for (int i = 0; i < count && written; i++) {
        written = ct_output_tensor(output, sorted[i]->tensor);
    }
    if (written) return ct_output_commit(output);
    ct_output_discard(output);
    return false;
}

static bool save_sorted(const char *path, const ct_named_tensor **sorted, int count,
                        const char *const *metadata) {
    json_t *header = json_object();
    if (!header) return ct_fail_bool("%s: out of memory", path);
    size_t offset = 0;
    bool whole = !metadata || add_metadata(path, header, metadata);
    for (int i = 0; i < count && whole; i++) whole = add_entry(path, header, sorted[i], &offset);
    bool saved = whole && write_file(path, header, sorted, count);
    json_decref(header);
    return saved;
}

bool ct_safetensors_save(const char *path, const ct_named_tensor *tensors, int count,
                         const char *const *metadata) {
    if (!path || count < 0) {
        return ct_fail_bool("safetensors_save: the path is NULL or the count negative");
    }
    if (!ct_check_list("safetensors_save", "tensors", tensors, count)) return false;
    const ct_named_tensor **sorted = calloc((size_t)count + 1, sizeof *sorted);
    if (!sorted) return ct_fail_bool("%s: out of memory", path);
    bool whole = true;
    for (int i = 0; i < count && whole; i++) {
        whole = tensors[i].name && tensors[i].tensor;
        if (!whole) {
            ct_fail("%s: tensor %d ('%s') or its name is NULL", path, i,
                    tensors[i].name ? tensors[i].name : "");
        }
        sorted[i] = &tensors[i];
    }
    bool saved = false;
    if (whole) {
        qsort(sorted, (size_t)count, sizeof *sorted, compare_alignment);
        saved = save_sorted(path, sorted, count, metadata);
    }
    free(sorted);
    return saved;
}
