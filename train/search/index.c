/* SPDX-License-Identifier: Apache-2.0 */
#include "train/search/index.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tensor/core/excuse.h"
#include "train/run/console.h"
#include "train/search/index_parts.h"

/* ---- which splits ------------------------------------------------------------------------ */

static bool add_name(ct_searched_splits *splits, const char *name, size_t length) {
    splits->names[splits->count] = strndup(name, length);
    return splits->names[splits->count++] || ct_fail_bool("out of memory");
}

/* Also by two paths of one folder. */
static bool are_same(const char *a, const char *b) {
    struct stat x, y;
    if (strcmp(a, b) == 0) return true;
    return strchr(a, '/') && strchr(b, '/') && stat(a, &x) == 0 && stat(b, &y) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool take_named(ct_searched_splits *splits, const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < i; k++) {
            if (are_same(names[i], names[k])) {
                return ct_fail_bool("--split %s: given twice", names[i]);
            }
        }
        if (!add_name(splits, names[i], strlen(names[i]))) return false;
    }
    return true;
}

static bool make_room(ct_searched_splits *splits, int count) {
    splits->names = calloc((size_t)count + 1, sizeof *splits->names);
    return splits->names || ct_fail_bool("out of memory");
}

static bool take_all(ct_searched_splits *splits, const ct_config *config) {
    ct_picture_form form;
    bool pictures = ct_description_pictures(&config->model, &form);
    if (!ct_ok() || !ct_split_names(config->folder, pictures, &splits->names, &splits->count)) {
        return false;
    }
    return splits->count || ct_fail_bool("%s: no images to search: expected a file SPLIT%s",
                                         config->folder, ct_split_end(pictures));
}

bool ct_searched_splits_find(ct_searched_splits *splits, const ct_config *config,
                             const char *const *names, int count) {
    *splits = (ct_searched_splits){.all = count == 0};
    if (!count) return take_all(splits, config);
    return make_room(splits, count) && take_named(splits, names, count);
}

void ct_searched_splits_free(ct_searched_splits *splits) {
    ct_split_names_free(splits->names, splits->count);
    *splits = (ct_searched_splits){0};
}

/* ---- making ------------------------------------------------------------------------------ */

/* What f16 cannot hold would be found as well as anything. */
static bool check_rows(const ct_tensor *rows, const char *name, const char *what) {
    enum { AT_ONCE = 1 << 14 };
    bool wrong = false;
    for (int64_t first = 0; !wrong && first < ct_dim(rows, 0); first += AT_ONCE) {
        int64_t end = first + AT_ONCE < ct_dim(rows, 0) ? first + AT_ONCE : ct_dim(rows, 0);
        CT_SCOPE {
            ct_tensor *part = ct_tensor_slice((ct_tensor *)rows, 0, first, end, 1);
            wrong = ct_tensor_has_nonfinite(ct_tensor_cast(part, CT_F32));
        }
    }
    if (wrong) ct_fail("%s: embeddings of its %s are larger than f16 holds, 65504", name, what);
    return ct_ok();
}

static ct_tensor *to_rows(const ct_tensor *x, const char *name, const char *what) {
    ct_tensor *rows = x ? ct_keep(ct_tensor_cast(x, CT_F16)) : NULL;
    if (!rows || check_rows(rows, name, what)) return rows;
    ct_release(rows);
    return NULL;
}

bool ct_index_number_captions(ct_index_split *s) {
    s->first_caption = malloc((size_t)(s->images + 1) * sizeof *s->first_caption);
    if (!s->first_caption) return ct_fail_bool("out of memory");
    for (int64_t i = 0; i < s->images; i++) s->first_caption[i] = -1;
    for (int64_t c = s->captions - 1; c >= 0; c--) s->first_caption[s->image_of[c]] = c;
    return true;
}

static bool embed_split(ct_index_split *s, const ct_experiment *e, bool captions) {
    CT_SCOPE {
        ct_tensor *images = NULL, *texts = NULL;
        captions = captions && s->split->captions;
        if (!ct_embed_split(e, s->split, &images, captions ? &texts : NULL)) return false;
        s->rows[CT_INDEX_IMAGES] = to_rows(images, s->name, "images");
        if (captions) s->rows[CT_INDEX_CAPTIONS] = to_rows(texts, s->name, "captions");
    }
    return ct_ok();
}

static bool make_split(ct_index_split *s, const ct_experiment *e, const char *name, bool captions) {
    *s = (ct_index_split){.name = strdup(name)};
    if (!s->name) return ct_fail_bool("out of memory");
    s->split =
        ct_experiment_split(e, name, captions ? CT_SPLIT_CAPTIONS_IF_ANY : CT_SPLIT_IMAGES_ALONE);
    if (!s->split) return false;
    s->images = s->split->image_count;
    s->captions = s->split->caption_count;
    s->picture = s->split->images->picture;
    s->caption = s->split->captions;
    s->image_of = s->split->image_of;
    return ct_index_number_captions(s) && embed_split(s, e, captions);
}

static void free_split(ct_index_split *s) {
    for (int side = 0; side < 2; side++) {
        ct_release(s->rows[side]);
        free(s->lines[side]);
        free(s->text[side]);
    }
    ct_release(s->kept);
    ct_split_destroy(s->split);
    free(s->first_caption);
    free(s->name);
    *s = (ct_index_split){0};
}

bool ct_index_model_of(const ct_experiment *e, ct_index_model *model) {
    *model =
        (ct_index_model){.measure = ct_model_measure(e->model), .width = ct_model_width(e->model)};
    return ct_index_fingerprint(e, model->fingerprint);
}

ct_index *ct_index_create(const ct_index_model *model, int splits) {
    ct_index *index = calloc(1, sizeof *index);
    if (!index) return ct_fail("out of memory");
    index->measure = model->measure;
    memcpy(index->fingerprint, model->fingerprint, sizeof index->fingerprint);
    index->splits = calloc((size_t)splits + 1, sizeof *index->splits);
    if (index->splits) return index;
    ct_index_close(index);
    return ct_fail("out of memory");
}

static void take_out(ct_searched_splits *splits, int at) {
    free(splits->names[at]);
    splits->count--;
    memmove(splits->names + at, splits->names + at + 1,
            (size_t)(splits->count - at) * sizeof *splits->names);
}

ct_index *ct_index_make(const ct_experiment *e, ct_searched_splits *splits, bool captions) {
    ct_index_model model;
    bool known = ct_index_model_of(e, &model);
    ct_index *index = known ? ct_index_create(&model, splits->count) : NULL;
    while (index && ct_ok() && index->count < splits->count) {
        ct_index_split *s = &index->splits[index->count];
        if (make_split(s, e, splits->names[index->count], captions)) {
            index->count++;
            continue;
        }
        free_split(s);
        if (!splits->all || ct_experiment_is_recorded(e) || ct_error_is_of_memory()) break;
        ct_console_line("left out: %s", ct_error());
        ct_error_clear();
        take_out(splits, index->count);
    }
    if (index && ct_ok() && !index->count) ct_fail("no images to search");
    if (ct_ok()) return index;
    ct_index_close(index);
    return NULL;
}

static bool has_name(const ct_searched_splits *splits, const char *name) {
    for (int i = 0; i < splits->count; i++) {
        if (strcmp(splits->names[i], name) == 0) return true;
    }
    return false;
}

void ct_index_keep(ct_index *index, const ct_searched_splits *splits) {
    int kept = 0;
    for (int i = 0; i < index->count; i++) {
        ct_index_split *s = &index->splits[i];
        if (!has_name(splits, s->name)) free_split(s);
        else index->splits[kept++] = *s;
    }
    index->count = kept;
}

void ct_index_close(ct_index *index) {
    if (!index) return;
    for (int i = 0; index->splits && i < index->count; i++) free_split(&index->splits[i]);
    free(index->splits);
    ct_safetensors_close(index->file);
    free(index->path);
    free(index);
}
