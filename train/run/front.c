/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/front.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "autograd/profile.h"
#include "train/run/console.h"
#include "train/run/run_lock.h"
#include "train/run/weight_file.h"

/* ---- how pictures are seen --------------------------------------------------------------- */

static ct_picture_changes configured_changes(const ct_config *config) {
    ct_picture_changes changes = ct_picture_changes_defaults();
    changes.crop = config->augment_crop < 1;
    if (changes.crop) changes.scale[0] = config->augment_crop;
    changes.flip = config->augment_flip ? 0.5 : 0;
    changes.brightness = changes.contrast = changes.saturation = config->augment_jitter;
    return changes;
}

static bool changes_any(const ct_config *config) {
    return config->augment_crop < 1 || config->augment_flip || config->augment_jitter > 0;
}

bool ct_front_view(ct_experiment *e) {
    ct_picture_form form;
    e->pictures = ct_description_pictures(&e->config->model, &form);
    if (!ct_ok()) return false;
    if (!e->pictures) {
        return !changes_any(e->config) ||
               ct_fail_bool(
                   "%s: [data] augment_crop, augment_flip and augment_jitter change pictures, "
                   "but [image] does not begin with 'pictures'",
                   e->config->file);
    }
    e->view = ct_picture_view_defaults(form.size);
    e->view.resize = form.resize;
    e->view.filter = form.bicubic ? CT_PICTURE_BICUBIC : CT_PICTURE_BILINEAR;
    e->view.fit = form.fit == CT_FIT_CROP      ? CT_PICTURE_CROP
                  : form.fit == CT_FIT_STRETCH ? CT_PICTURE_STRETCH
                                               : CT_PICTURE_PAD;
    for (int i = 0; i < 3; i++) e->view.fill[i] = (uint8_t)(form.mean[i] * 255 + 0.5);
    e->view.changes = configured_changes(e->config);
    return ct_picture_view_check(&e->view);
}

bool ct_front_counts(const ct_experiment *e, int64_t *regions, int64_t *features) {
    return e->pictures && !changes_any(e->config) && ct_model_front(e->model, regions, features);
}

/* ---- what features depend on ------------------------------------------------------------- */

static bool hash_picture(uint64_t *hash, const char *path) {
    struct stat status = {0};
    if (stat(path, &status) < 0) return ct_fail_bool("%s: no longer there", path);
    const int64_t facts[] = {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
    *hash = ct_hash_words(*hash, path, strlen(path));
    *hash = ct_hash_words(*hash, facts, sizeof facts);
    return true;
}

static bool hash_pictures(uint64_t *hash, const ct_images *images) {
    for (int64_t i = 0; i < images->count; i++) {
        if (!hash_picture(hash, images->picture[i])) return false;
    }
    return true;
}

static uint64_t hash_view(uint64_t hash, const ct_picture_view *v) {
    const int64_t facts[] = {v->size,    v->resize,  (int64_t)v->filter, (int64_t)v->fit,
                             v->fill[0], v->fill[1], v->fill[2],         v->reduce};
    return ct_hash_words(hash, facts, sizeof facts);
}

static bool hash_all(const ct_experiment *e, const ct_images *images, uint64_t *hash) {
    int64_t sizes[2];
    ct_model_front(e->model, &sizes[0], &sizes[1]);
    *hash = hash_view(ct_hash_words(0, sizes, sizeof sizes), &images->view);
    ct_module *module;
    for (int i = 0; (module = ct_model_front_module(e->model, i)); i++) {
        if (!ct_weights_hash(module, hash)) return false;
    }
    return hash_pictures(hash, images);
}

/* CACHE/NAME-HASH, from malloc. */
static char *cache_path(const ct_experiment *e, const char *name, uint64_t hash, const char *end) {
    const char *cache = e->config->cache;
    char *path = NULL;
    int made = *cache ? asprintf(&path, "%s/%s-%016" PRIx64 "%s", cache, name, hash, end)
                      : asprintf(&path, "%s/cache/%s-%016" PRIx64 "%s", e->config->folder, name,
                                 hash, end);
    return made < 0 ? ct_fail("out of memory") : path;
}

/* ---- computing them ---------------------------------------------------------------------- */

static ct_tensor *run_front(const ct_experiment *e, ct_tensor *pictures) {
    ct_tensor *x = ct_tensor_to_device(ct_tensor_cast(pictures, e->config->dtype), e->device);
    ct_tensor *y = x ? ct_model_run_front(e->model, x) : NULL;
    return y ? ct_tensor_cast(ct_tensor_to_device(y, CT_CPU), CT_F16) : NULL;
}

ct_tensor *ct_front_of(const ct_experiment *e, ct_tensor *images) {
    ct_tensor *features = run_front(e, images);
    return features ? ct_tensor_cast(features, CT_F32) : NULL;
}

/* How far it has come, on a terminal now and then. */
typedef struct {
    const char *split;
    int64_t done, all, skipped;
    double start; /* of ct_profile_clock */
} progress;

enum { AT_ONCE = 32 }; /* always the same ones together: the same bits */

static bool add_block(const ct_experiment *e, const ct_images *images, int64_t first, int64_t count,
                      ct_npy_writer *writer) {
    int64_t which[AT_ONCE];
    for (int64_t i = 0; i < count; i++) which[i] = first + i;
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, CT_SHAPE(count, images->regions, images->width));
        if (!x || !ct_images_read(images, which, count, NULL, ct_data(x))) return false;
        ct_tensor *y = run_front(e, x);
        if (!y) return false;
        if (ct_tensor_has_nonfinite(ct_tensor_cast(y, CT_F32))) {
            return ct_fail_bool("%s: one of pictures %" PRId64 " to %" PRId64 " has features that "
                                "are no finite numbers of f16: do the weights fit mean and std?",
                                images->path, first + 1, first + count);
        }
        return ct_npy_append(writer, ct_data(y), (size_t)ct_count(y) * ct_dtype_size(CT_F16));
    }
    return false;
}

static bool make_part(const ct_experiment *e, const ct_images *images, const char *path,
                      int64_t first, int64_t count, progress *p) {
    int64_t regions, features;
    ct_front_counts(e, &regions, &features);
    ct_npy_writer *writer = ct_npy_create(path, CT_F16, CT_SHAPE(count, regions, features));
    for (int64_t at = 0; writer && ct_ok() && at < count; at += AT_ONCE) {
        int64_t left = count - at, block = left < AT_ONCE ? left : AT_ONCE;
        if (!add_block(e, images, first + at, block, writer)) break;
        p->done += block;
        ct_console_progress_of_pictures(p->split, p->done, p->all);
    }
    /* close says that rows are missing; the reason is the first error */
    return writer && ct_npy_close(writer) && ct_ok();
}

/* The parts that are missing, in their order. */
static bool make_parts(const ct_experiment *e, const ct_images *images, const char *folder,
                       progress *p) {
    for (int64_t part = 0; part * CT_FRONT_PART < images->count; part++) {
        int64_t first = part * CT_FRONT_PART, left = images->count - first;
        int64_t count = left < CT_FRONT_PART ? left : CT_FRONT_PART;
        char *path = ct_images_part(folder, part);
        bool there = path && access(path, F_OK) == 0;
        if (there) p->done += count, p->skipped += count;
        bool done = path && (there || make_part(e, images, path, first, count, p));
        free(path);
        if (!done) return false;
    }
    return true;
}

static bool make_missing(const ct_experiment *e, const ct_split *split, const char *folder) {
    progress p = {.split = split->name, .all = split->images->count, .start = ct_profile_clock()};
    bool made = make_parts(e, split->images, folder, &p);
    double seconds = ct_profile_clock() - p.start;
    ct_console_end_progress();
    if (!made) return false;
    if (p.done == p.skipped) return true;
    ct_console_line("%s: features of %" PRId64 " pictures computed, %.0f a second, and kept in %s",
                    p.split, p.done - p.skipped, (double)(p.done - p.skipped) / seconds, folder);
    return true;
}

/* Whether no part is missing. */
static bool are_there(const ct_images *images, const char *folder) {
    bool there = true;
    for (int64_t part = 0; there && part * CT_FRONT_PART < images->count; part++) {
        char *path = ct_images_part(folder, part);
        there = path && access(path, R_OK) == 0;
        free(path);
    }
    return there;
}

/* Others may compute the same, such as the runs of a sweep: one does at a time, and the next finds
 * what there is then. */
static bool make_features(const ct_experiment *e, const ct_split *split, const char *folder) {
    if (are_there(split->images, folder)) return true;
    if (!ct_make_folders(folder)) return false;
    char waiting[256];
    snprintf(waiting, sizeof waiting, "%s: features are being computed", split->name);
    ct_run_lock *lock = ct_run_lock_wait(folder, "lock", waiting);
    bool made = lock && make_missing(e, split, folder);
    ct_run_lock_release(lock);
    return made;
}

bool ct_front_take(const ct_experiment *e, ct_split *split) {
    int64_t regions, features, count = split->images->count;
    uint64_t hash;
    if (!ct_front_counts(e, &regions, &features)) return ct_ok();
    if (!hash_all(e, split->images, &hash)) return false;
    char *folder = cache_path(e, split->name, hash, "");
    /* where nothing may be written a model is given the pictures: the same but for f16 */
    bool pictures = folder && e->config->writes_nothing && !are_there(split->images, folder);
    if (folder && !pictures && make_features(e, split, folder)) {
        ct_images *images = ct_images_open_parts(folder, count, CT_FRONT_PART, 0);
        if (images) ct_split_replace_images(split, images);
    }
    free(folder);
    return ct_ok();
}

/* ---- broken ones ------------------------------------------------------------------------- */

/* Looks at every picture, small: to see whether it is one, all of it is decoded. */
static bool find_broken(const ct_images *images, bool *broken) {
    enum { SIZE = 8 };
    ct_picture_view view = ct_picture_view_defaults(SIZE);
    view.fit = CT_PICTURE_STRETCH;
    view.most_pixels = images->view.most_pixels;
    float room[AT_ONCE * 3 * SIZE * SIZE];
    const char *paths[AT_ONCE];
    for (int64_t first = 0; first < images->count; first += AT_ONCE) {
        int64_t left = images->count - first, count = left < AT_ONCE ? left : AT_ONCE;
        for (int64_t i = 0; i < count; i++) paths[i] = images->picture[first + i];
        if (!ct_pictures_load(paths, count, images->threads, &view, NULL, broken + first, room)) {
            return false;
        }
    }
    return true;
}

/* What was found is kept, a byte a picture, under a hash of the pictures: the next start need not
 * decode them all. */
static bool know_broken(const ct_experiment *e, const ct_split *split, bool *broken) {
    const ct_images *images = split->images;
    uint64_t hash = 1;
    if (!hash_pictures(&hash, images)) return false;
    char *path = cache_path(e, split->name, hash, ".broken");
    if (!path) return false;
    size_t bytes = 0;
    char *kept = access(path, R_OK) == 0 ? ct_file_read(path, &bytes) : NULL;
    bool known = kept && bytes == (size_t)images->count;
    for (int64_t i = 0; known && i < images->count; i++) broken[i] = kept[i] != 0;
    free(kept);
    char *slash = strrchr(path, '/');
    if (!known && ct_ok() && find_broken(images, broken) && !e->config->writes_nothing) {
        *slash = '\0';
        bool folder = ct_make_folders(path);
        *slash = '/';
        if (folder) ct_file_write(path, broken, (size_t)images->count);
    }
    free(path);
    return ct_ok();
}

bool ct_front_skip_broken(const ct_experiment *e, ct_split *split) {
    if (!e->pictures || strcmp(e->config->broken_pictures, "skip") != 0) return true;
    int64_t count = split->images->count, skipped = 0;
    bool *broken = calloc((size_t)count, sizeof *broken);
    if (!broken) return ct_fail_bool("%s: out of memory", split->images->path);
    const char *first = NULL;
    bool done = know_broken(e, split, broken);
    for (int64_t i = 0; done && i < count; i++) {
        if (broken[i] && !skipped++) first = split->images->picture[i];
        broken[i] = !broken[i];
    }
    if (done && skipped == count) {
        done = ct_fail_bool("%s: none of its %" PRId64 " pictures can be read", split->images->path,
                            count);
    }
    if (done && skipped) {
        int64_t captions = split->caption_count;
        char name[512];
        snprintf(name, sizeof name, "%s", first);
        done = ct_split_keep(split, broken);
        ct_console_line("%s: %" PRId64 " of %" PRId64 " pictures cannot be read and are left out, "
                        "with %" PRId64
                        " captions ([data] broken_pictures = skip); the first is %s",
                        split->name, skipped, count, captions - split->caption_count, name);
    }
    free(broken);
    return done;
}
