/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensor/core/excuse.h"
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

static const char features_end[] = "_ims.npy", pictures_end[] = "_pictures.txt";

const char *ct_split_end(bool pictures) { return pictures ? pictures_end : features_end; }

static bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}
static int is_features(const struct dirent *entry) {
    return ends_with(entry->d_name, features_end);
}
static int is_pictures(const struct dirent *entry) {
    return ends_with(entry->d_name, pictures_end);
}

bool ct_split_names(const char *folder, bool pictures, char ***names, int *count) {
    struct dirent **entries = NULL;
    *names = NULL;
    *count = 0;
    int found = scandir(folder, &entries, pictures ? is_pictures : is_features, alphasort);
    if (found < 0) return ct_fail_bool("%s: %s", folder, strerror(errno));
    bool done = (*names = calloc((size_t)found + 1, sizeof **names)) != NULL;
    for (int i = 0; i < found; i++) {
        const char *file = entries[i]->d_name;
        size_t length = strlen(file) - strlen(ct_split_end(pictures));
        done = done && ((*names)[(*count)++] = strndup(file, length));
        free(entries[i]);
    }
    free(entries);
    return done || ct_fail_bool("out of memory");
}

void ct_split_names_free(char **names, int count) {
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
}

/* ---- images ------------------------------------------------------------------------------ */

static bool open_images(ct_split *split, const ct_split_options *options) {
    char *path = file_path(split, options->view ? "pictures.txt" : "ims.npy");
    if (!path) return false;
    split->images = options->view ? ct_images_open_pictures(path, options->view, options->threads)
                                  : ct_images_open_features(path, options->smallest);
    if (split->images) split->image_count = split->images->count;
    free(path);
    return ct_ok();
}

bool ct_split_sizes(const char *folder, const char *name, int64_t *regions, int64_t *features) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s_ims.npy", folder, name) < 0) return ct_fail_bool("out of memory");
    ct_images *images = ct_images_open_features(path, 0);
    if (images) *regions = images->regions;
    if (images) *features = images->width;
    ct_images_close(images);
    free(path);
    return ct_ok();
}

bool ct_split_check(ct_split *split) {
    if (!split) return false;
    ct_distinct_free(&split->same_images);
    return ct_images_distinct(split->images, &split->same_images);
}

void ct_split_replace_images(ct_split *split, ct_images *images) {
    char **picture = split->images->picture;
    split->images->picture = NULL;
    images->picture = picture;
    ct_images_close(split->images);
    split->images = images;
    split->image_count = images->count;
}

/* However captions are matched. */
static bool join_repeated_images(ct_split *split, int64_t times) {
    bool must = split->image_count == split->caption_count;
    if (!ct_images_join_rows(split->images, times, must)) return false;
    split->image_count = split->images->count;
    return true;
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
        int64_t rows = split->image_count;
        done = lines && read_ids(split, path, lines, count) &&
               join_repeated_images(split, options.images_repeated);
        int64_t rows_an_image = rows / split->images->count;
        for (int64_t i = 0; done && i < count; i++) split->image_of[i] /= rows_an_image;
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
    if (!open_images(split, &options)) return false;
    if (has_no_captions(split, options)) {
        return join_repeated_images(split, options.images_repeated);
    }
    return ct_ok() && read_captions(split) && assign_images(split, options) &&
           count_without_caption(split);
}

static ct_split *create(const char *folder, const char *name) {
    if (!ct_ok()) return NULL;
    ct_split *split = calloc(1, sizeof *split);
    if (!split) return ct_fail("%s: out of memory", folder);
    split->folder = strdup(folder);
    split->name = strdup(name);
    if (split->folder && split->name) return split;
    ct_split_destroy(split);
    return ct_fail("%s: out of memory", folder);
}

ct_split *ct_split_open(const char *folder, const char *name, ct_split_options options) {
    ct_split *split = create(folder, name);
    if (!split || open_all(split, options)) return split;
    ct_split_destroy(split);
    return NULL;
}

ct_split *ct_split_find(const char *path, ct_split_options options) {
    const char *slash = strrchr(path, '/');
    ct_split *split = create(path, slash && slash[1] ? slash + 1 : "pictures");
    if (!split) return NULL;
    split->images = ct_images_find(path, options.view, options.threads);
    if (split->images) {
        split->image_count = split->images->count;
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
    ct_images_close(split->images);
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
            return ct_error_prefix("%s:%" PRId64 ": ", name_file(split, "caps.txt").path, i + 1);
        }
        if (split->encoded[i].length > split->longest) split->longest = split->encoded[i].length;
    }
    return true;
}

bool ct_split_fingerprint(const ct_split *split, uint64_t *captions, uint64_t *features) {
    *captions = 0;
    for (int64_t i = 0; i < split->caption_count; i++) {
        const char *text = split->captions[i];
        *captions = ct_hash_words(*captions, text, strlen(text));
        *captions = ct_hash_words(*captions, &split->image_of[i], sizeof *split->image_of);
    }
    return ct_images_fingerprint(split->images, split->images->count, features);
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

/* Keeps the images whose new number is not -1, and their captions. */
static void renumber(ct_split *split, const int64_t *number, int64_t images) {
    int64_t kept = 0;
    split->longest = 0;
    for (int64_t i = 0; i < split->caption_count; i++) {
        int64_t image = number[split->image_of[i]];
        if (split->encoded && image < 0) ct_caption_free(&split->encoded[i]);
        if (image < 0) continue;
        split->captions[kept] = split->captions[i];
        split->image_of[kept] = image;
        if (split->encoded) {
            split->encoded[kept] = split->encoded[i];
            int64_t length = split->encoded[kept].length;
            if (length > split->longest) split->longest = length;
        }
        kept++;
    }
    split->images_left_out += split->image_count - images;
    split->captions_left_out += split->caption_count - kept;
    split->image_count = images;
    split->caption_count = kept;
    ct_distinct_free(&split->same_images);
}

bool ct_split_cut(ct_split *split, int64_t captions) {
    if (!split) return false;
    if (captions >= split->caption_count) return true; /* of a split without captions too */
    int64_t images = images_within(split, captions);
    int64_t *number = malloc((size_t)split->image_count * sizeof *number);
    if (images < 0 || !number) {
        free(number);
        return ct_fail_bool("%s: out of memory", split->folder);
    }
    for (int64_t i = 0; i < split->image_count; i++) number[i] = i < images ? i : -1;
    ct_images_cut(split->images, images);
    renumber(split, number, images);
    free(number);
    return true;
}

bool ct_split_keep(ct_split *split, const bool *keep) {
    int64_t *number = malloc((size_t)split->image_count * sizeof *number), images = 0;
    if (!number) return ct_fail_bool("%s: out of memory", split->folder);
    for (int64_t i = 0; i < split->image_count; i++) number[i] = keep[i] ? images++ : -1;
    ct_images_keep(split->images, keep);
    int64_t left_out = split->images_left_out, captions = split->captions_left_out;
    renumber(split, number, images);
    split->images_left_out = left_out; /* by ct_split_cut alone */
    split->captions_left_out = captions;
    free(number);
    return true;
}
