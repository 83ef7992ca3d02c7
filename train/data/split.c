/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/core/convert.h"
#include "train/data/data.h"
#include "train/data/text.h"

/* ---- names -------------------------------------------------------------------------- */

/* Where a message points to: FOLDER/NAME_caps.txt. */
typedef struct {
    char path[4096];
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

/* ---- features ---------------------------------------------------------------------------- */

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

static bool open_features(ct_split *split) {
    char *path = file_path(split, "ims.npy");
    if (!path) return false;
    CT_SCOPE { split->images = ct_keep(map_features(path)); }
    const ct_tensor *x = split->images;
    struct stat status;
    if (x) {
        split->file = open(path, O_RDONLY | O_CLOEXEC);
        if (split->file < 0 || fstat(split->file, &status) < 0) {
            ct_fail("%s: %s", path, strerror(errno));
        } else {
            split->image_count = x->shape.dim[0];
            split->rows_an_image = 1;
            split->file_start = status.st_size - ct_count(x) * (int64_t)ct_dtype_size(x->dtype);
        }
    }
    free(path);
    return ct_ok();
}

bool ct_split_sizes(const char *folder, const char *name, int64_t *regions, int64_t *features) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s_ims.npy", folder, name) < 0) return ct_fail_bool("out of memory");
    CT_SCOPE {
        const ct_tensor *x = map_features(path);
        if (x) *regions = x->shape.dim[1];
        if (x) *features = x->shape.dim[2];
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

static bool large_enough(const ct_split *split, int64_t row, const float *x, int64_t count) {
    double largest = (double)largest_size(x, count);
    if (largest == 0 || largest >= split->smallest) return true;
    return ct_fail_bool("%s: image %" PRId64 ": its largest feature is %.3g, too small to be told "
                        "from 0 beside a model's parameters, expected %g at least: scale the "
                        "features",
                        name_file(split, "ims.npy").path, row, largest, split->smallest);
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
    if (wrong < 0) return large_enough(split, row, out, count);
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

/* The first row that is not as the one that begins its group of `times` rows; the number of rows if
 * there is none; -1 on error. Of each row the first region is compared: all of them may be tens of
 * gigabytes. */
static int64_t first_unlike(const ct_split *split, int64_t times, char *room) {
    size_t region = row_bytes(split) / (size_t)split->images->shape.dim[1];
    int64_t row = 0;
    for (; row < split->image_count; row++) {
        int64_t first = row - row % times;
        if (row != first && !rows_equal(split, first, row, room, region)) break;
    }
    return ct_ok() ? row : -1;
}

/* How many rows from the first on are the same. */
static int64_t first_run(const ct_split *split, char *room) {
    int64_t run = 1;
    while (run < split->image_count && rows_equal(split, 0, run, room, row_bytes(split))) run++;
    return run;
}

/* Where it is not said that images stand several times: whether they do, the same times each. */
static bool refuse_repeated(const ct_split *split, char *room) {
    int64_t run = first_run(split, room);
    bool groups = run > 1 && run < split->image_count && split->image_count % run == 0;
    if (!groups || first_unlike(split, run, room) < split->image_count) return ct_ok();
    return ct_fail_bool("%s: rows 0 to %" PRId64 " are the same image, and so are every %" PRId64
                        " behind them: say so with [data] images_repeated = %" PRId64,
                        name_file(split, "ims.npy").path, run - 1, run, run);
}

/* Whether images are to be joined: those of a split with as many rows as captions must stand so
 * many times, others may. */
static bool are_repeated(const ct_split *split, int64_t times, char *room, bool *repeated) {
    bool must = split->image_count == split->caption_count;
    *repeated = split->image_count % times == 0;
    if (!*repeated && must) {
        return ct_fail_bool("%s: %" PRId64 " rows, expected each image %" PRId64
                            " times ([data] images_repeated)",
                            name_file(split, "ims.npy").path, split->image_count, times);
    }
    if (!*repeated) return true;
    int64_t row = first_unlike(split, times, room);
    *repeated = row == split->image_count;
    if (row < 0 || *repeated || !must) return ct_ok();
    return ct_fail_bool("%s: rows %" PRId64 " and %" PRId64 " differ, expected each image "
                        "%" PRId64 " times ([data] images_repeated)",
                        name_file(split, "ims.npy").path, row - row % times, row, times);
}

static bool join_rows(ct_split *split, int64_t times) {
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

/* However captions are matched: one image in several rows would be several answers, of which one
 * alone counts as right. */
static bool join_repeated_images(ct_split *split, int64_t times) {
    char *room = malloc(2 * row_bytes(split));
    if (!room) return ct_fail_bool("%s: out of memory", split->folder);
    bool repeated = false;
    bool done =
        times > 1 ? are_repeated(split, times, room, &repeated) : refuse_repeated(split, room);
    free(room);
    return done && (!repeated || join_rows(split, times));
}

/* ---- captions ---------------------------------------------------------------------------- */

static bool read_captions(ct_split *split) {
    char *path = file_path(split, "caps.txt");
    size_t bytes = 0;
    split->caption_text = path ? ct_text_read(path, &bytes) : NULL;
    if (split->caption_text) {
        split->captions = ct_text_lines(split->caption_text, bytes, &split->caption_count);
        if (split->captions && !split->caption_count) ct_fail("%s: no captions", path);
    }
    for (int64_t i = 0; ct_ok() && i < split->caption_count; i++) {
        const char *caption = split->captions[i];
        if (!caption[strspn(caption, " \t\v\f\r")]) {
            ct_fail("%s:%" PRId64 ": empty caption", path, i + 1);
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
        char *text = ct_text_read(path, &bytes);
        char **lines = text ? ct_text_lines(text, bytes, &count) : NULL;
        done = lines && read_ids(split, path, lines, count) &&
               join_repeated_images(split, options.images_repeated);
        for (int64_t i = 0; done && i < count; i++) split->image_of[i] /= split->rows_an_image;
        free(lines);
        free(text);
    }
    free(path);
    return done;
}

static bool count_without_caption(ct_split *split) {
    bool *seen = calloc((size_t)split->image_count, sizeof *seen);
    if (!seen) return ct_fail_bool("%s: out of memory", split->folder);
    for (int64_t i = 0; i < split->caption_count; i++) seen[split->image_of[i]] = true;
    for (int64_t i = 0; i < split->image_count; i++) split->without_caption += !seen[i];
    free(seen);
    return true;
}

/* Images alone: there is nothing to match. */
static bool has_no_captions(const ct_split *split, ct_split_options options) {
    char *path = options.captions_if_any ? file_path(split, "caps.txt") : NULL;
    bool none = path && access(path, F_OK) != 0;
    free(path);
    return none;
}

static bool open_all(ct_split *split, ct_split_options options) {
    if (!open_features(split)) return false;
    if (has_no_captions(split, options)) {
        return join_repeated_images(split, options.images_repeated);
    }
    return ct_ok() && read_captions(split) && assign_images(split, options) &&
           count_without_caption(split);
}

ct_split *ct_split_open(const char *folder, const char *name, ct_split_options options) {
    if (!ct_ok()) return NULL;
    ct_split *split = calloc(1, sizeof *split);
    if (!split) return ct_fail("%s: out of memory", folder);
    split->file = -1;
    split->smallest = options.smallest;
    split->folder = strdup(folder);
    split->name = strdup(name);
    if (!split->folder || !split->name) ct_fail("%s: out of memory", folder);
    if (ct_ok() && open_all(split, options)) return split;
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

bool ct_split_fingerprint(const ct_split *split, uint64_t *captions, uint64_t *features) {
    enum { SAMPLE = 64 };
    size_t bytes = row_bytes(split);
    char *row = malloc(bytes);
    bool done = row || ct_fail_bool("%s: out of memory", split->folder);
    *captions = *features = 0;
    for (int64_t i = 0; i < split->caption_count; i++) {
        const char *text = split->captions[i];
        *captions = ct_hash_words(*captions, text, strlen(text));
        *captions = ct_hash_words(*captions, &split->image_of[i], sizeof *split->image_of);
    }
    int64_t last = split->image_count - 1, count = last < SAMPLE ? last + 1 : SAMPLE;
    for (int64_t i = 0; done && i < count; i++) {
        int64_t image = count > 1 ? last * i / (count - 1) : 0, at = image * split->rows_an_image;
        done = read_bytes(split, row, bytes, split->file_start + at * (int64_t)bytes);
        if (done) *features = ct_hash_words(*features, row, bytes);
    }
    free(row);
    return done;
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
    if (captions >= split->caption_count) return true; /* of a split without captions too */
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
    split->images_left_out = split->image_count - images;
    split->captions_left_out = split->caption_count - kept;
    split->image_count = images;
    split->caption_count = kept;
    return true;
}
