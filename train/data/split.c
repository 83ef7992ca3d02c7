/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unistr.h>

#include "tensor/core/convert.h"
#include "train/data/data.h"

/* ---- text files -------------------------------------------------------------------------- */

/* Where a message points to: FOLDER/NAME_caps.txt. */
typedef struct {
    char path[512];
} file_name;

static file_name name_file(const ct_split *split, const char *suffix) {
    file_name file;
    snprintf(file.path, sizeof file.path, "%s/%s_%s", split->folder, split->name, suffix);
    return file;
}

static char *file_path(const ct_split *split, const char *suffix) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s_%s", split->folder, split->name, suffix) < 0) {
        return ct_fail("%s: out of memory", split->folder);
    }
    return path;
}

/* Ends each line with a NUL in place ("\n" or "\r\n") and returns their beginnings, from malloc;
 * a last line need not be ended. */
static char **cut_lines(char *text, size_t bytes, int64_t *count) {
    int64_t lines = 0;
    char *end = text + bytes;
    for (char *at = text; (at = memchr(at, '\n', (size_t)(end - at))); at++) lines++;
    if (bytes && end[-1] != '\n') lines++;
    char **begin = malloc(((size_t)lines + 1) * sizeof *begin);
    if (!begin) return ct_fail("out of memory for %" PRId64 " lines", lines);
    char *at = text;
    for (int64_t i = 0; i < lines; i++) {
        begin[i] = at;
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *stop = newline ? newline : end;
        at = newline ? newline + 1 : end;
        *stop = 0;
        if (stop > begin[i] && stop[-1] == '\r') stop[-1] = 0;
    }
    *count = lines;
    return begin;
}

/* ---- features ---------------------------------------------------------------------------- */

static bool open_features(ct_split *split) {
    char *path = file_path(split, "ims.npy");
    if (!path) return false;
    CT_SCOPE { split->images = ct_keep(ct_npy_open(path)); }
    const ct_tensor *x = split->images;
    struct stat status;
    if (x) {
        split->file = open(path, O_RDONLY | O_CLOEXEC);
        if (split->file < 0 || fstat(split->file, &status) < 0) {
            ct_fail("%s: %s", path, strerror(errno));
        } else if (x->dtype != CT_F32 && x->dtype != CT_F16) {
            ct_fail("%s: features are %s, expected f32 or f16", path, ct_dtype_name(x->dtype));
        } else if (x->shape.ndim != 3 || ct_count(x) == 0) {
            ct_fail("%s: features are %s, expected (images, regions, width)", path,
                    ct_shape_text(x->shape));
        } else {
            split->image_count = x->shape.dim[0];
            split->rows_an_image = 1;
            split->file_start = status.st_size - ct_count(x) * (int64_t)ct_dtype_size(x->dtype);
        }
    }
    free(path);
    return ct_ok();
}

/* pread until all is there. */
static bool read_bytes(const ct_split *split, void *out, size_t bytes, int64_t at) {
    char *to = out;
    while (bytes) {
        ssize_t got = pread(split->file, to, bytes, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            return ct_fail_bool("%s: %s at byte %" PRId64, name_file(split, "ims.npy").path,
                                got < 0 ? strerror(errno) : "the file has become shorter", at);
        }
        to += got;
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

/* Position of the first NaN or infinity (all bits of the exponent set), or -1. */
static int64_t find_not_finite(const float *x, int64_t count) {
    uint32_t wrong = 0;
    for (int64_t i = 0; i < count; i++) wrong |= (ct_bits_of(x[i]) & 0x7f800000u) == 0x7f800000u;
    for (int64_t i = 0; wrong && i < count; i++) {
        if ((ct_bits_of(x[i]) & 0x7f800000u) == 0x7f800000u) return i;
    }
    return -1;
}

static size_t row_bytes(const ct_split *split) {
    const ct_tensor *x = split->images;
    return (size_t)(x->shape.dim[1] * x->shape.dim[2]) * ct_dtype_size(x->dtype);
}

bool ct_split_read_image(const ct_split *split, int64_t image, float *out, void *raw) {
    int64_t width = split->images->shape.dim[2], count = split->images->shape.dim[1] * width;
    int64_t row = image * split->rows_an_image;
    size_t bytes = row_bytes(split);
    bool half = split->images->dtype == CT_F16;
    if (!read_bytes(split, half ? raw : out, bytes, split->file_start + row * (int64_t)bytes)) {
        return false;
    }
    const ct_f16 *from = raw;
    for (int64_t i = 0; half && i < count; i++) out[i] = ct_f32_of_f16(from[i]);
    int64_t wrong = find_not_finite(out, count);
    if (wrong < 0) return true;
    return ct_fail_bool("%s: image %" PRId64 ", region %" PRId64 ", feature %" PRId64
                        " is %g, expected finite numbers",
                        name_file(split, "ims.npy").path, row, wrong / width, wrong % width,
                        (double)out[wrong]);
}

/* Room for two images and one as it is in the file. */
typedef struct {
    const ct_split *split;
    float *a, *b, *raw;
    size_t bytes;
} comparison;

static uint64_t hash_image(const void *context, int64_t image) {
    const comparison *c = context;
    if (!ct_split_read_image(c->split, image, c->a, c->raw)) return 0;
    return ct_hash_words(0, c->a, c->bytes);
}

static bool images_equal(const void *context, int64_t a, int64_t b) {
    const comparison *c = context;
    return ct_split_read_image(c->split, a, c->a, c->raw) &&
           ct_split_read_image(c->split, b, c->b, c->raw) && memcmp(c->a, c->b, c->bytes) == 0;
}

bool ct_split_check(ct_split *split) {
    if (!split) return false;
    size_t count = (size_t)(split->images->shape.dim[1] * split->images->shape.dim[2]);
    float *x = malloc(3 * count * sizeof *x);
    if (!x) return ct_fail_bool("%s: out of memory", split->folder);
    comparison c = {split, x, x + count, x + 2 * count, count * sizeof *x};
    ct_distinct_free(&split->same_images);
    bool done = ct_distinct_find(&split->same_images, split->image_count,
                                 (ct_distinct_by){&c, hash_image, images_equal});
    free(x);
    return done;
}

/* ---- images that stand several times ------------------------------------------------------- */

/* Compares the first `bytes` of two rows; false on error too. `room`: twice as many bytes. */
static bool rows_equal(const ct_split *split, int64_t a, int64_t b, char *room, size_t bytes) {
    int64_t step = (int64_t)row_bytes(split);
    return read_bytes(split, room, bytes, split->file_start + a * step) &&
           read_bytes(split, room + bytes, bytes, split->file_start + b * step) &&
           memcmp(room, room + bytes, bytes) == 0;
}

/* Of each row the first region is compared: all of them may be tens of gigabytes. */
static bool rows_repeat(const ct_split *split, int64_t times, char *room) {
    size_t region = row_bytes(split) / (size_t)split->images->shape.dim[1];
    for (int64_t row = 0; row < split->image_count; row++) {
        int64_t first = row - row % times;
        if (row == first || rows_equal(split, first, row, room, region)) continue;
        if (!ct_ok()) return false;
        return ct_fail_bool("%s: rows %" PRId64 " and %" PRId64 " differ, expected each image "
                            "%" PRId64 " times ([data] images_repeated)",
                            name_file(split, "ims.npy").path, first, row, times);
    }
    return true;
}

/* As many rows as captions may be one caption an image, or images that stand several times. */
static bool rows_differ(const ct_split *split, char *room) {
    if (split->image_count < 2 || !rows_equal(split, 0, 1, room, row_bytes(split))) return ct_ok();
    return ct_fail_bool("%s: rows 0 and 1 are the same, and there are as many as captions: say "
                        "with [data] images_repeated how often each image stands there, or give "
                        "%s_ids.txt",
                        name_file(split, "ims.npy").path, split->name);
}

static bool join_repeated_images(ct_split *split, int64_t times) {
    if (split->image_count != split->caption_count) return true;
    if (times > 1 && split->image_count % times) {
        return ct_fail_bool("%s: %" PRId64 " rows, expected each image %" PRId64
                            " times ([data] images_repeated)",
                            name_file(split, "ims.npy").path, split->image_count, times);
    }
    char *room = malloc(2 * row_bytes(split));
    if (!room) return ct_fail_bool("%s: out of memory", split->folder);
    bool done = times > 1 ? rows_repeat(split, times, room) : rows_differ(split, room);
    free(room);
    if (!done || times <= 1) return done;
    CT_SCOPE {
        ct_tensor *x = split->images;
        ct_tensor *images = ct_keep(ct_tensor_slice(x, 0, 0, split->image_count, times));
        if (!images) return false;
        ct_release(x);
        split->images = images;
    }
    split->rows_an_image = times;
    split->image_count /= times;
    return true;
}

/* ---- captions ---------------------------------------------------------------------------- */

static bool read_captions(ct_split *split) {
    char *path = file_path(split, "caps.txt");
    size_t bytes = 0;
    split->caption_text = path ? ct_file_read(path, &bytes) : NULL;
    if (split->caption_text && strlen(split->caption_text) != bytes) {
        int64_t line = 1;
        for (const char *at = split->caption_text; *at; at++) line += *at == '\n';
        ct_fail("%s:%" PRId64 ": a NUL byte, expected text", path, line);
    } else if (split->caption_text) {
        split->captions = cut_lines(split->caption_text, bytes, &split->caption_count);
        if (split->captions && !split->caption_count) ct_fail("%s: no captions", path);
    }
    for (int64_t i = 0; ct_ok() && i < split->caption_count; i++) {
        const char *caption = split->captions[i];
        if (!caption[strspn(caption, " \t\v\f\r")]) {
            ct_fail("%s:%" PRId64 ": empty caption", path, i + 1);
        }
        const uint8_t *text = (const uint8_t *)caption, *wrong = u8_check(text, strlen(caption));
        if (wrong) {
            ct_fail("%s:%" PRId64 ": invalid UTF-8 at byte %td", path, i + 1, wrong - text + 1);
        }
    }
    free(path);
    return ct_ok();
}

/* The image row of each caption from {split}_ids.txt. */
static bool read_ids(ct_split *split, const char *path, char *const *lines, int64_t count) {
    if (count != split->caption_count) {
        return ct_fail_bool("%s has %" PRId64 " captions but %s has %" PRId64 " lines; if these "
                            "are the data set's own numbers, set [data] ids = names",
                            name_file(split, "caps.txt").path, split->caption_count, path, count);
    }
    for (int64_t i = 0; i < count; i++) {
        char *end;
        errno = 0;
        long long image = strtoll(lines[i], &end, 10);
        if (end == lines[i] || end[strspn(end, " \t")]) {
            return ct_fail_bool("%s:%" PRId64 ": '%.40s', expected the number of an image", path,
                                i + 1, lines[i]);
        }
        if (errno || image < 0 || image >= split->image_count) {
            return ct_fail_bool("%s:%" PRId64 ": image %.40s, expected 0 to %" PRId64 "; if these "
                                "are the data set's own numbers, set [data] ids = names",
                                path, i + 1, lines[i], split->image_count - 1);
        }
        split->image_of[i] = image;
    }
    return true;
}

/* Without an ids file: k captions an image, in the order of the images. */
static bool number_evenly(ct_split *split) {
    int64_t each = split->caption_count / split->image_count;
    if (each * split->image_count != split->caption_count) {
        return ct_fail_bool("%s: %" PRId64 " captions do not divide among %" PRId64
                            " images; give %s_ids.txt, the image row of each caption",
                            name_file(split, "caps.txt").path, split->caption_count,
                            split->image_count, split->name);
    }
    for (int64_t i = 0; i < split->caption_count; i++) split->image_of[i] = i / each;
    return true;
}

static bool assign_images(ct_split *split, ct_split_options options) {
    split->image_of = calloc((size_t)split->caption_count, sizeof *split->image_of);
    char *path = file_path(split, "ids.txt");
    if (!split->image_of || !path) {
        free(path);
        return ct_fail_bool("%s: out of memory", split->folder);
    }
    bool done;
    if (options.ids_are_names || access(path, F_OK) != 0) {
        done = join_repeated_images(split, options.images_repeated) && number_evenly(split);
    } else {
        size_t bytes = 0;
        int64_t count = 0;
        char *text = ct_file_read(path, &bytes);
        char **lines = text ? cut_lines(text, bytes, &count) : NULL;
        done = lines && read_ids(split, path, lines, count);
        free(lines);
        free(text);
    }
    free(path);
    return done;
}

static bool every_image_has_a_caption(const ct_split *split) {
    bool *seen = calloc((size_t)split->image_count, sizeof *seen);
    if (!seen) return ct_fail_bool("%s: out of memory", split->folder);
    for (int64_t i = 0; i < split->caption_count; i++) seen[split->image_of[i]] = true;
    int64_t missing = 0;
    while (missing < split->image_count && seen[missing]) missing++;
    free(seen);
    if (missing == split->image_count) return true;
    return ct_fail_bool("%s: image %" PRId64 " of 0 to %" PRId64 " has no caption",
                        name_file(split, "ids.txt").path, missing, split->image_count - 1);
}

ct_split *ct_split_open(const char *folder, const char *name, ct_split_options options) {
    if (!ct_ok()) return NULL;
    ct_split *split = calloc(1, sizeof *split);
    if (!split) return ct_fail("%s: out of memory", folder);
    split->file = -1;
    split->folder = strdup(folder);
    split->name = strdup(name);
    if (!split->folder || !split->name) ct_fail("%s: out of memory", folder);
    if (ct_ok() && open_features(split) && read_captions(split) && assign_images(split, options) &&
        every_image_has_a_caption(split)) {
        return split;
    }
    ct_split_destroy(split);
    return NULL;
}

static void forget_encoded(ct_split *split) {
    for (int64_t i = 0; split->encoded && i < split->caption_count; i++) {
        ct_caption_free(&split->encoded[i]);
    }
    free(split->encoded);
    split->encoded = NULL;
}

void ct_split_destroy(ct_split *split) {
    if (!split) return;
    forget_encoded(split);
    ct_distinct_free(&split->same_images);
    if (split->file >= 0) close(split->file);
    ct_release(split->images);
    free(split->name);
    free(split->folder);
    free(split->caption_text);
    free(split->captions);
    free(split->image_of);
    free(split);
}

/* ---- after opening ----------------------------------------------------------------------- */

bool ct_split_encode(ct_split *split, const ct_encoder *encoder) {
    if (!split || !encoder || !ct_ok()) return false;
    forget_encoded(split);
    split->encoder = encoder;
    split->longest = 0;
    split->encoded = calloc((size_t)split->caption_count, sizeof *split->encoded);
    if (!split->encoded) return ct_fail_bool("%s: out of memory", split->folder);
    for (int64_t i = 0; i < split->caption_count; i++) {
        if (!ct_encode(encoder, split->captions[i], &split->encoded[i])) {
            char why[256];
            snprintf(why, sizeof why, "%s", ct_error());
            ct_error_clear();
            return ct_fail_bool("%s:%" PRId64 ": %s", name_file(split, "caps.txt").path, i + 1,
                                why);
        }
        if (split->encoded[i].length > split->longest) split->longest = split->encoded[i].length;
    }
    return true;
}

/* How many of the first images have at most `captions` captions together; -1 without memory. */
static int64_t images_within(const ct_split *split, int64_t captions) {
    int64_t *of_image = calloc((size_t)split->image_count, sizeof *of_image);
    if (!of_image) return -1;
    for (int64_t i = 0; i < split->caption_count; i++) of_image[split->image_of[i]]++;
    int64_t images = 1, sum = of_image[0];
    while (images < split->image_count && sum + of_image[images] <= captions) {
        sum += of_image[images++];
    }
    free(of_image);
    return images;
}

bool ct_split_cut(ct_split *split, int64_t captions) {
    if (!split) return false;
    if (captions >= split->caption_count) return true;
    int64_t images = images_within(split, captions), kept = 0;
    if (images < 0) return ct_fail_bool("%s: out of memory", split->folder);
    CT_SCOPE {
        ct_tensor *first = ct_keep(ct_tensor_slice(split->images, 0, 0, images, 1));
        if (!first) return false;
        ct_release(split->images);
        split->images = first;
    }
    ct_distinct_free(&split->same_images);
    split->longest = 0;
    for (int64_t i = 0; i < split->caption_count; i++) {
        bool keep = split->image_of[i] < images;
        if (split->encoded && !keep) ct_caption_free(&split->encoded[i]);
        if (!keep) continue;
        split->captions[kept] = split->captions[i];
        split->image_of[kept] = split->image_of[i];
        if (split->encoded) {
            split->encoded[kept] = split->encoded[i];
            int64_t length = split->encoded[kept].length;
            if (length > split->longest) split->longest = length;
        }
        kept++;
    }
    split->image_count = images;
    split->caption_count = kept;
    return true;
}
