/* SPDX-License-Identifier: Apache-2.0 */
#include "train/serve/served.h"

#include <stdlib.h>

#include <string.h>

#include "train/evaluate/regions.h"
#include "train/run/console.h"

/* Whether these are the images that the index was made of; else it is said. */
static bool are_indexed(const ct_index_split *s, const ct_split *split) {
    char hash[24];
    bool same = split->image_count >= s->images && ct_index_images_hash(split, s->images, hash) &&
                strcmp(hash, s->images_hash) == 0;
    if (!same)
        ct_console_line("%s: other images now than in the index, which is shown without pictures "
                        "and their attention",
                        s->name);
    return same;
}

/* An index without pictures shows those that stand beside the features, and their attention, if the
 * data are still there. That they are not is no error. */
static void open_features(ct_served *served, int number) {
    const ct_index_split *s = &served->index->splits[number];
    ct_served_split *to = &served->splits[number];
    to->split = s->split;
    if (served->experiment->pictures) return;
    if (!to->split) {
        to->opened = ct_experiment_split(served->experiment, s->name, CT_SPLIT_IMAGES_ALONE);
        to->split = to->opened && are_indexed(s, to->opened) ? to->opened : NULL;
        ct_error_clear();
    }
    if (to->split && !s->picture) to->shown = ct_region_pictures(to->split);
}

bool ct_served_open(ct_served *served, const ct_experiment *e, ct_index *index, int top) {
    *served = (ct_served){.experiment = e, .index = index, .top = top};
    served->splits = calloc((size_t)index->count + 1, sizeof *served->splits);
    if (!served->splits) return ct_fail_bool("out of memory");
    for (int i = 0; i < index->count && ct_ok(); i++) {
        served->splits[i].first = served->images;
        served->images += index->splits[i].images;
        served->captions += index->splits[i].captions;
        open_features(served, i);
    }
    return ct_ok();
}

void ct_served_close(ct_served *served) {
    for (int i = 0; served->splits && i < served->index->count; i++) {
        ct_images_close(served->splits[i].shown);
        ct_split_destroy(served->splits[i].opened);
    }
    free(served->splits);
    ct_index_close(served->index);
    *served = (ct_served){0};
}

bool ct_served_find(const ct_served *served, int64_t id, int *split, int64_t *image) {
    if (id < 0 || id >= served->images) return false;
    *split = served->index->count - 1;
    while (served->splits[*split].first > id) --*split;
    *image = id - served->splits[*split].first;
    return true;
}

const char *ct_served_picture(const ct_served *served, int split, int64_t image) {
    const ct_index_split *s = &served->index->splits[split];
    const ct_images *shown = served->splits[split].shown;
    if (s->picture) return s->picture[image];
    return shown ? shown->picture[image] : NULL;
}

bool ct_served_is_file(const char *path, struct stat *file) {
    return stat(path, file) == 0 && S_ISREG(file->st_mode);
}
