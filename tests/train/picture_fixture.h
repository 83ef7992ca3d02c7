/* SPDX-License-Identifier: Apache-2.0 */
/* The files of tests/golden/pictures.safetensors, which tests/train/record_pictures.py records. */
#ifndef CT_PICTURE_FIXTURE_H
#define CT_PICTURE_FIXTURE_H

#include "tests/golden.h"
#include "train/pictures/picture.h"

/* Of a tensor's name, what is behind "prefix."; NULL if it begins otherwise. */
static inline const char *behind(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && name[length] == '.' ? name + length + 1 : NULL;
}

static inline ct_tensor *recorded(const golden *g, const char *prefix, const char *name) {
    char text[256];
    snprintf(text, sizeof text, "%s.%s", prefix, name);
    return golden_stored(g, text);
}

/* Calls `check` for every tensor called "prefix.NAME"; returns how many there are. */
static inline int for_each(const char *prefix, void (*check)(const golden *g, const char *name)) {
    golden g = golden_open("pictures", CT_F32);
    int found = 0;
    for (int i = 0; i < ct_safetensors_count(g.file); i++) {
        const char *name = behind(ct_safetensors_name(g.file, i), prefix);
        if (!name) continue;
        CT_SCOPE { check(&g, name); }
        found++;
    }
    golden_close(&g);
    return found;
}

static inline ct_picture decoded(const golden *g, const char *name) {
    ct_picture picture;
    const ct_tensor *file = recorded(g, "file", name);
    ck_assert_msg(ct_picture_decode(name, ct_data(file), (size_t)ct_count(file), 1 << 20, &picture),
                  "%s", ct_error());
    return picture;
}

#endif
