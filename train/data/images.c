/* SPDX-License-Identifier: Apache-2.0 */
/* What images of both kinds share, and pictures; features are in features.c. */
#include "train/data/images.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "train/data/features.h"
#include "train/data/text.h"

/* ---- opening ----------------------------------------------------------------------------- */

static ct_images *create(const char *path) {
    ct_images *images = calloc(1, sizeof *images);
    if (images) images->path = strdup(path);
    if (images && images->path) return images;
    free(images);
    return ct_fail("%s: out of memory", path);
}

/* The images if they are good, which an error says. */
static ct_images *opened(ct_images *images) {
    if (ct_ok()) return images;
    ct_images_close(images);
    return NULL;
}

ct_images *ct_images_open_features(const char *path, double smallest) {
    ct_images *images = create(path);
    if (images) ct_features_open(images, path, smallest);
    return opened(images);
}

ct_images *ct_images_open_parts(const char *folder, int64_t count, int64_t images_a_file,
                                double smallest) {
    ct_images *images = create(folder);
    if (images) ct_features_open_parts(images, folder, count, images_a_file, smallest);
    return opened(images);
}

static void set_view(ct_images *images, const ct_picture_view *view, int threads) {
    images->view = *view;
    images->threads = threads;
    images->regions = 3;
    images->width = view->size * view->size;
}

/* A line's path, from the folder of the list if it is relative. */
static char *resolve(const char *list, const char *line) {
    const char *slash = strrchr(list, '/');
    char *path = NULL;
    if (*line == '/' || !slash) return strdup(line);
    return asprintf(&path, "%.*s/%s", (int)(slash - list), list, line) < 0 ? NULL : path;
}

static bool check_line(const char *list, int64_t line, const char *text, const char *path) {
    struct stat status;
    if (!*text) return ct_fail_bool("%s:%" PRId64 ": empty, expected a picture's path", list, line);
    if (!path) return ct_fail_bool("%s: out of memory", list);
    if (stat(path, &status) < 0) {
        return ct_fail_bool("%s:%" PRId64 ": %s: %s", list, line, path, strerror(errno));
    }
    return !S_ISDIR(status.st_mode) ||
           ct_fail_bool("%s:%" PRId64 ": %s: a folder, expected a picture", list, line, path);
}

static bool take_list(ct_images *images, const char *list) {
    size_t bytes = 0;
    int64_t count = 0;
    char *text = ct_text_read(list, &bytes);
    char **lines = text ? ct_text_lines(text, bytes, &count) : NULL;
    if (lines && !count) ct_fail("%s: no pictures", list);
    if (lines && ct_ok()) images->picture = calloc((size_t)count, sizeof *images->picture);
    if (lines && ct_ok() && !images->picture) ct_fail("%s: out of memory", list);
    for (int64_t i = 0; ct_ok() && i < count; i++) {
        images->picture[i] = resolve(list, lines[i]);
        images->count = i + 1;
        check_line(list, i + 1, lines[i], images->picture[i]);
    }
    free(lines);
    free(text);
    return ct_ok();
}

ct_images *ct_images_open_pictures(const char *list, const ct_picture_view *view, int threads) {
    ct_images *images = create(list);
    if (images) set_view(images, view, threads);
    if (images) take_list(images, list);
    return opened(images);
}

static int is_picture(const struct dirent *entry) {
    static const char *const ends[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(entry->d_name, '.');
    for (size_t i = 0; dot && i < sizeof ends / sizeof *ends; i++) {
        if (strcasecmp(dot, ends[i]) == 0) return 1;
    }
    return 0;
}

static bool take_folder(ct_images *images, const char *folder) {
    struct dirent **entries = NULL;
    int found = scandir(folder, &entries, is_picture, alphasort);
    if (found < 0) return ct_fail_bool("%s: %s", folder, strerror(errno));
    if (found == 0) ct_fail("%s: no pictures, expected *.jpg, *.jpeg, *.png or *.webp", folder);
    images->picture = calloc((size_t)found + 1, sizeof *images->picture);
    for (int i = 0; i < found; i++) {
        char *path = NULL;
        if (images->picture && asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0)
            path = NULL;
        if (!path && ct_ok()) ct_fail("%s: out of memory", folder);
        if (images->picture) images->picture[images->count++] = path;
        free(entries[i]);
    }
    free(entries);
    return ct_ok();
}

static bool take_file(ct_images *images, const char *path) {
    images->picture = calloc(1, sizeof *images->picture);
    char *copy = images->picture ? strdup(path) : NULL;
    if (!copy) return ct_fail_bool("%s: out of memory", path);
    images->picture[images->count++] = copy;
    return true;
}

ct_images *ct_images_find(const char *path, const ct_picture_view *view, int threads) {
    struct stat status;
    ct_images *images = create(path);
    if (!images) return NULL;
    set_view(images, view, threads);
    if (stat(path, &status) < 0) ct_fail("%s: %s", path, strerror(errno));
    else if (S_ISDIR(status.st_mode)) take_folder(images, path);
    else take_file(images, path);
    return opened(images);
}

void ct_images_close(ct_images *images) {
    if (!images) return;
    ct_features_close(&images->features);
    for (int64_t i = 0; images->picture && i < images->count; i++) free(images->picture[i]);
    free(images->picture);
    free(images->path);
    free(images);
}

/* ---- reading ----------------------------------------------------------------------------- */

static bool read_pictures(const ct_images *images, const int64_t *which, int64_t count,
                          const ct_picture_draw *draws, float *out) {
    const char **paths = malloc((size_t)(count + 1) * sizeof *paths);
    if (!paths) return ct_fail_bool("%s: out of memory", images->path);
    for (int64_t i = 0; i < count; i++) paths[i] = images->picture[which ? which[i] : i];
    bool read = ct_pictures_load(paths, count, images->threads, &images->view, draws, NULL, out);
    free(paths);
    return read;
}

bool ct_images_read(const ct_images *images, const int64_t *which, int64_t count,
                    const ct_picture_draw *draws, float *out) {
    if (images->features.files) return ct_features_read(images, which, count, out);
    return read_pictures(images, which, count, draws, out);
}

void ct_images_name(const ct_images *images, int64_t image, char *text, size_t size) {
    if (images->picture) snprintf(text, size, "%s", images->picture[image]);
    else {
        snprintf(text, size, "%s: image %" PRId64, images->path,
                 image * images->features.rows_an_image);
    }
}

/* ---- which are the same ------------------------------------------------------------------ */

/* Room for two images, and every image's hash. */
typedef struct {
    const ct_images *images;
    uint64_t *hash;
    float *a, *b;
    size_t bytes;
} comparison;

static uint64_t hash_image(const void *context, int64_t image) {
    const comparison *c = context;
    return c->hash[image];
}

static bool images_equal(const void *context, int64_t a, int64_t b) {
    const comparison *c = context;
    return ct_images_read(c->images, &a, 1, NULL, c->a) &&
           ct_images_read(c->images, &b, 1, NULL, c->b) && memcmp(c->a, c->b, c->bytes) == 0;
}

/* Several at a time: pictures are decoded by several threads. */
static bool hash_all(const ct_images *images, uint64_t *hash) {
    enum { AT_ONCE = 32 };
    int64_t size = images->regions * images->width, which[AT_ONCE];
    float *x = malloc(AT_ONCE * (size_t)size * sizeof *x);
    if (!x) return ct_fail_bool("%s: out of memory", images->path);
    for (int64_t first = 0; ct_ok() && first < images->count; first += AT_ONCE) {
        int64_t left = images->count - first, count = left < AT_ONCE ? left : AT_ONCE;
        for (int64_t i = 0; i < count; i++) which[i] = first + i;
        if (!ct_images_read(images, which, count, NULL, x)) break;
        for (int64_t i = 0; i < count; i++) {
            hash[first + i] = ct_hash_words(0, x + i * size, (size_t)size * sizeof *x);
        }
    }
    free(x);
    return ct_ok();
}

bool ct_images_distinct(const ct_images *images, ct_distinct *distinct) {
    size_t size = (size_t)(images->regions * images->width);
    float *x = malloc(2 * size * sizeof *x);
    uint64_t *hash = malloc((size_t)images->count * sizeof *hash);
    bool done = (x && hash) || ct_fail_bool("%s: out of memory", images->path);
    comparison c = {images, hash, x, x + size, size * sizeof *x};
    ct_distinct_by by = {&c, hash_image, images_equal};
    done = done && hash_all(images, hash) && ct_distinct_find(distinct, images->count, by);
    free(hash);
    free(x);
    return done;
}

static bool hash_picture(const char *path, uint64_t *hash) {
    size_t bytes = 0;
    char *data = ct_picture_bytes(path, &bytes);
    if (data) *hash = ct_hash_words(*hash, data, bytes);
    free(data);
    return data != NULL;
}

bool ct_images_fingerprint(const ct_images *images, int64_t count, uint64_t *hash) {
    enum { SAMPLE = 64 };
    int64_t last = count - 1, samples = count < SAMPLE ? count : SAMPLE;
    *hash = 0;
    for (int64_t i = 0; ct_ok() && i < samples; i++) {
        int64_t image = samples > 1 ? last * i / (samples - 1) : 0;
        if (images->features.files) ct_features_hash(images, image, hash);
        else hash_picture(images->picture[image], hash);
    }
    return ct_ok();
}

/* ---- fewer ------------------------------------------------------------------------------- */

void ct_images_cut(ct_images *images, int64_t count) {
    for (int64_t i = count; images->picture && i < images->count; i++) free(images->picture[i]);
    images->count = count;
}

void ct_images_keep(ct_images *images, const bool *keep) {
    int64_t kept = 0;
    for (int64_t i = 0; i < images->count; i++) {
        if (keep[i]) images->picture[kept++] = images->picture[i];
        else free(images->picture[i]);
    }
    images->count = kept;
}
