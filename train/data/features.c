/* SPDX-License-Identifier: Apache-2.0 */
#include "train/data/features.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/core/convert.h"

/* ---- opening ----------------------------------------------------------------------------- */

/* (images, regions, width) on the file, in the innermost scope; one vector an image, (images,
 * width), is one region. */
static ct_tensor *map_features(const char *path) {
    ct_tensor *x = ct_npy_open(path);
    if (!x) return NULL;
    if (x->dtype != CT_F32 && x->dtype != CT_F16) {
        return ct_fail("%s: features are %s, expected f32 or f16", path, ct_dtype_name(x->dtype));
    }
    if ((x->shape.ndim != 2 && x->shape.ndim != 3) || ct_count(x) == 0) {
        return ct_fail("%s: features are %s, expected (images, regions, width), or (images, width) "
                       "of images of one region",
                       path, ct_shape_text(x->shape));
    }
    return x->shape.ndim == 3 ? x : ct_tensor_unsqueeze(x, 1);
}

/* Adds a file, whose features lie at its end. Sizes are the first's; *count is its images. */
static bool add_file(ct_images *images, const char *path, int64_t *count) {
    ct_image_features *f = &images->features;
    CT_SCOPE {
        const ct_tensor *x = map_features(path);
        struct stat status;
        if (!x) return false;
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || fstat(file, &status) < 0) {
            ct_fail("%s: %s", path, strerror(errno));
            if (file >= 0) close(file);
            return false;
        }
        f->start[f->files] = status.st_size - ct_count(x) * (int64_t)ct_dtype_size(x->dtype);
        f->file[f->files++] = file;
        f->dtype = x->dtype;
        *count = x->shape.dim[0];
        images->regions = x->shape.dim[1];
        images->width = x->shape.dim[2];
    }
    return true;
}

static bool make_room(ct_images *images, int64_t files, double smallest) {
    images->features = (ct_image_features){.file = calloc((size_t)files, sizeof(int)),
                                           .start = calloc((size_t)files, sizeof(int64_t)),
                                           .rows_an_image = 1,
                                           .smallest = smallest};
    return (images->features.file && images->features.start) ||
           ct_fail_bool("%s: out of memory", images->path);
}

bool ct_features_open(ct_images *images, const char *path, double smallest) {
    images->features.images_a_file = INT64_MAX;
    if (!make_room(images, 1, smallest) || !add_file(images, path, &images->count)) return false;
    images->features.images_a_file = images->count;
    return true;
}

char *ct_images_part(const char *folder, int64_t part) {
    char *path = NULL;
    return asprintf(&path, "%s/%05" PRId64 ".npy", folder, part) < 0 ? ct_fail("out of memory")
                                                                     : path;
}

bool ct_features_open_parts(ct_images *images, const char *folder, int64_t count,
                            int64_t images_a_file, double smallest) {
    int64_t files = (count + images_a_file - 1) / images_a_file;
    if (!make_room(images, files, smallest)) return false;
    images->features.images_a_file = images_a_file;
    images->count = count;
    for (int64_t part = 0; part < files; part++) {
        int64_t left = count - part * images_a_file, there = 0, regions = images->regions;
        int64_t expected = left < images_a_file ? left : images_a_file, width = images->width;
        char *path = ct_images_part(folder, part);
        bool added = path && add_file(images, path, &there);
        bool alike = part == 0 || (images->regions == regions && images->width == width);
        if (added && (there != expected || !alike)) {
            ct_fail("%s: not as the files beside it, expected %" PRId64
                    " images: remove the folder",
                    path, expected);
        }
        free(path);
        if (!ct_ok()) return false;
    }
    return true;
}

void ct_features_close(ct_image_features *features) {
    for (int i = 0; i < features->files; i++) close(features->file[i]);
    free(features->file);
    free(features->start);
    *features = (ct_image_features){0};
}

/* ---- reading ----------------------------------------------------------------------------- */

static size_t row_bytes(const ct_images *images) {
    return (size_t)(images->regions * images->width) * ct_dtype_size(images->features.dtype);
}

/* The first `bytes` of a row of the file. */
static bool read_row(const ct_images *images, int64_t row, void *out, size_t bytes) {
    const ct_image_features *f = &images->features;
    int64_t rows_a_file = f->images_a_file * f->rows_an_image, part = row / rows_a_file;
    int64_t at = f->start[part] + (row - part * rows_a_file) * (int64_t)row_bytes(images);
    char *to = out;
    while (bytes) {
        ssize_t got = pread(f->file[part], to, bytes, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            return ct_fail_bool("%s: %s at byte %" PRId64, images->path,
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

/* Of finite numbers. Sizes compare as their bits do. */
static float largest_size(const float *x, int64_t count) {
    uint32_t most = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t size = ct_bits_of(x[i]) & 0x7fffffffu;
        most = size > most ? size : most;
    }
    float largest;
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

static bool large_enough(const ct_images *images, int64_t row, const float *x, int64_t count) {
    double largest = (double)largest_size(x, count), smallest = images->features.smallest;
    if (largest == 0 || largest >= smallest) return true;
    return ct_fail_bool("%s: image %" PRId64 ": its largest feature is %.3g, too small to be told "
                        "from 0 beside a model's parameters, expected %g at least: scale the "
                        "features",
                        images->path, row, largest, smallest);
}

/* `raw`: room for an image as it is in the file, where that is f16. */
static bool read_image(const ct_images *images, int64_t image, float *out, void *raw) {
    int64_t count = images->regions * images->width, row = image * images->features.rows_an_image;
    bool half = images->features.dtype == CT_F16;
    if (!read_row(images, row, half ? raw : out, row_bytes(images))) return false;
    const ct_f16 *from = raw;
    for (int64_t i = 0; half && i < count; i++) out[i] = ct_f32_of_f16(from[i]);
    int64_t wrong = find_not_finite(out, count);
    if (wrong < 0) return large_enough(images, row, out, count);
    return ct_fail_bool("%s: image %" PRId64 ", region %" PRId64 ", feature %" PRId64
                        " is %g, expected finite numbers",
                        images->path, row, wrong / images->width, wrong % images->width,
                        (double)out[wrong]);
}

bool ct_features_read(const ct_images *images, const int64_t *which, int64_t count, float *out) {
    int64_t size = images->regions * images->width;
    void *raw = images->features.dtype == CT_F16 ? malloc(row_bytes(images)) : NULL;
    if (images->features.dtype == CT_F16 && !raw) {
        return ct_fail_bool("%s: out of memory", images->path);
    }
    bool read = true;
    for (int64_t i = 0; read && i < count; i++) {
        read = read_image(images, which ? which[i] : i, out + i * size, raw);
    }
    free(raw);
    return read;
}

bool ct_features_hash(const ct_images *images, int64_t image, uint64_t *hash) {
    size_t bytes = row_bytes(images);
    char *row = malloc(bytes);
    bool done = row || ct_fail_bool("%s: out of memory", images->path);
    done = done && read_row(images, image * images->features.rows_an_image, row, bytes);
    if (done) *hash = ct_hash_words(*hash, row, bytes);
    free(row);
    return done;
}

/* ---- images that stand several times ------------------------------------------------------- */

/* Compares the first `bytes` of two rows; false on error too. `room`: twice as many bytes. */
static bool rows_equal(const ct_images *images, int64_t a, int64_t b, char *room, size_t bytes) {
    return read_row(images, a, room, bytes) && read_row(images, b, room + bytes, bytes) &&
           memcmp(room, room + bytes, bytes) == 0;
}

/* The first row that is not as the one that begins its group of `times` rows; the number of rows if
 * there is none; -1 on error. Of each row the first region is compared: all of them may be tens of
 * gigabytes. */
static int64_t first_unlike(const ct_images *images, int64_t times, char *room) {
    size_t region = row_bytes(images) / (size_t)images->regions;
    int64_t row = 0;
    for (; row < images->count; row++) {
        int64_t first = row - row % times;
        if (row != first && !rows_equal(images, first, row, room, region)) break;
    }
    return ct_ok() ? row : -1;
}

/* How many rows from the first on are the same. */
static int64_t first_run(const ct_images *images, char *room) {
    int64_t run = 1;
    while (run < images->count && rows_equal(images, 0, run, room, row_bytes(images))) run++;
    return run;
}

/* Where it is not said that images stand several times: whether they do, the same times each. */
static bool refuse_repeated(const ct_images *images, char *room) {
    int64_t run = first_run(images, room);
    bool groups = run > 1 && run < images->count && images->count % run == 0;
    if (!groups || first_unlike(images, run, room) < images->count) return ct_ok();
    return ct_fail_bool("%s: rows 0 to %" PRId64 " are the same image, and so are every %" PRId64
                        " behind them: say so with [data] images_repeated = %" PRId64,
                        images->path, run - 1, run, run);
}

/* Whether images are to be joined: those of a split with as many rows as captions must stand so
 * many times, others may. */
static bool are_repeated(const ct_images *images, int64_t times, bool must, char *room,
                         bool *repeated) {
    *repeated = images->count % times == 0;
    if (!*repeated && must) {
        return ct_fail_bool("%s: %" PRId64 " rows, expected each image %" PRId64
                            " times ([data] images_repeated)",
                            images->path, images->count, times);
    }
    if (!*repeated) return true;
    int64_t row = first_unlike(images, times, room);
    *repeated = row == images->count;
    if (row < 0 || *repeated || !must) return ct_ok();
    return ct_fail_bool("%s: rows %" PRId64 " and %" PRId64 " differ, expected each image "
                        "%" PRId64 " times ([data] images_repeated)",
                        images->path, row - row % times, row, times);
}

bool ct_images_join_rows(ct_images *images, int64_t times, bool must) {
    if (!images->features.files) return true;
    char *room = malloc(2 * row_bytes(images));
    if (!room) return ct_fail_bool("%s: out of memory", images->path);
    bool repeated = false;
    bool done = times > 1 ? are_repeated(images, times, must, room, &repeated)
                          : refuse_repeated(images, room);
    free(room);
    if (!done || !repeated) return done;
    images->features.rows_an_image = times;
    images->features.images_a_file /= times;
    images->count /= times;
    return true;
}
