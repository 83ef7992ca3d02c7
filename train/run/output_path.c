/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/output_path.h"

#include <dirent.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "train/run/experiment.h"
#include "train/run/run_folder.h"

/* What is to be written, and the first of the files it must not be. */
typedef struct {
    const char *option, *path;
    struct stat there;
    bool exists;
} output;

static bool is_same(const output *o, const char *path) {
    struct stat status;
    return o->exists && *path && stat(path, &status) == 0 && status.st_dev == o->there.st_dev &&
           status.st_ino == o->there.st_ino;
}

static bool refuse(const output *o, const char *what, const char *name) {
    return ct_fail_bool("%s %s: would be written over %s %s: expected another path", o->option,
                        o->path, what, name);
}

/* ---- files of a run ---------------------------------------------------------------------- */

/* Also one that the run has not written yet: by its name in the folder. */
static bool is_named_in(const output *o, const char *folder, const char *name) {
    struct stat here, there;
    char *copy = strdup(o->path), *other = strdup(o->path);
    bool same = copy && other && strcmp(basename(copy), name) == 0 &&
                stat(dirname(other), &here) == 0 && stat(folder, &there) == 0 &&
                here.st_dev == there.st_dev && here.st_ino == there.st_ino;
    if (!copy || !other) ct_fail("%s: out of memory", o->path);
    free(copy);
    free(other);
    return same;
}

static bool check_run(const output *o, const char *folder) {
    const char *name;
    for (int i = 0; (name = ct_run_folder_file(i)) && ct_ok(); i++) {
        char *path = ct_path(folder, name);
        if (path && (is_same(o, path) || is_named_in(o, folder, name))) {
            refuse(o, "the run's", path);
        }
        free(path);
    }
    return ct_ok();
}

/* ---- files that are read ----------------------------------------------------------------- */

static bool check_input(const output *o, const char *path) {
    struct stat status;
    if (is_same(o, path)) return refuse(o, "what is read,", path);
    bool folder = *path && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    return !folder || check_run(o, path);
}

static int is_of_split(const struct dirent *entry) {
    static const char *const ends[] = {"_ims.npy",      "_caps.txt",  "_ids.txt",
                                       "_pictures.txt", "_boxes.npy", "boxes.npy"};
    size_t length = strlen(entry->d_name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t tail = strlen(ends[i]);
        if (length >= tail && strcmp(entry->d_name + length - tail, ends[i]) == 0) return 1;
    }
    return 0;
}

/* A folder that cannot be read is for those to say who need it. */
static bool check_data(const output *o, const char *folder) {
    struct dirent **entries = NULL;
    int count = *folder ? scandir(folder, &entries, is_of_split, alphasort) : 0;
    for (int i = 0; i < count; i++) {
        char *path = ct_ok() ? ct_path(folder, entries[i]->d_name) : NULL;
        if (path && is_same(o, path)) refuse(o, "the data's", path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return ct_ok();
}

/* Values of a module's options that are files: word vectors, weights. */
static bool check_entry(const output *o, const char *value) {
    char *copy = strdup(value), *at = copy;
    if (!copy) return ct_fail_bool("%s: out of memory", o->path);
    while (ct_ok() && (at = strchr(at, '='))) {
        bool quoted = *++at == '"';
        at += quoted;
        size_t length = strcspn(at, quoted ? "\"" : " \t");
        char after = at[length];
        at[length] = '\0';
        if (is_same(o, at)) refuse(o, "what is read,", at);
        at[length] = after;
        at += length;
    }
    free(copy);
    return ct_ok();
}

bool ct_output_may_be(const ct_config *config, const char *option, const char *path,
                      const char *const *inputs) {
    output o = {.option = option, .path = path};
    o.exists = stat(path, &o.there) == 0;
    const char *const read[] = {config->file, config->vocabulary, config->recorded_file,
                                config->recorded_noise};
    for (size_t i = 0; i < sizeof read / sizeof *read && ct_ok(); i++) check_input(&o, read[i]);
    for (int i = 0; i < config->model.count && ct_ok(); i++) {
        check_entry(&o, config->model.entries[i].value);
    }
    for (; *inputs && ct_ok(); inputs++) check_input(&o, *inputs);
    return ct_ok() && check_run(&o, config->run_folder) && check_data(&o, config->folder);
}
