/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/run_folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train/run/event_file.h"

static const char *const run_files[] = {"last.safetensors", "best.safetensors", "results.json",
                                        "metrics.jsonl",    CT_EVENT_FILE_NAME, "vocabulary.json",
                                        "config.ini"};

enum { RUN_FILES = sizeof run_files / sizeof *run_files };

const char *ct_run_folder_file(int i) { return i < RUN_FILES ? run_files[i] : NULL; }

/* Where an earlier run's files wait until the new one has saved something; and what that folder is
 * called while they go there or come back: then what is beside it is the earlier run's, too. */
#define REPLACED "replaced"
#define MOVING "replaced.partial"

/* What is done to one of a run's files: `path` in the run folder, `aside` in a folder there. */
typedef bool file_action(const char *folder, const char *path, const char *aside);

static bool each_file(const char *folder, const char *where, file_action *action) {
    for (int i = 0; i < RUN_FILES; i++) {
        char aside_name[64];
        snprintf(aside_name, sizeof aside_name, "%s/%s", where, run_files[i]);
        char *path = ct_path(folder, run_files[i]), *aside = ct_path(folder, aside_name);
        bool done = path && aside && action(folder, path, aside);
        free(path);
        free(aside);
        if (!done) return false;
    }
    return true;
}

static bool refuse(const char *folder, const char *path, const char *aside) {
    (void)aside;
    return access(path, F_OK) != 0 ||
           ct_fail_bool("%s already holds a run: pass --resume to go on with it, "
                        "--overwrite to replace it, or another --set run.folder=NAME",
                        folder);
}

static bool move(const char *from, const char *to) {
    return rename(from, to) == 0 || errno == ENOENT ||
           ct_fail_bool("%s: cannot be moved to %s: %s", from, to, strerror(errno));
}

static bool set_aside(const char *folder, const char *path, const char *aside) {
    (void)folder;
    return move(path, aside);
}

static bool delete (const char *path) {
    return unlink(path) == 0 || errno == ENOENT ||
           ct_fail_bool("%s: cannot be removed: %s", path, strerror(errno));
}

static bool drop_aside(const char *folder, const char *path, const char *aside) {
    (void)folder;
    (void)path;
    return delete (aside);
}

static bool drop_new(const char *folder, const char *path, const char *aside) {
    (void)folder;
    (void)aside;
    return delete (path);
}

static bool put_back(const char *folder, const char *path, const char *aside) {
    (void)folder;
    return move(aside, path);
}

/* Does it with each file, if the folder `where` is there, which goes then, or becomes `next`. */
static bool empty_aside(const char *folder, const char *where, file_action *action,
                        const char *next) {
    char *aside = ct_path(folder, where), *other = next ? ct_path(folder, next) : NULL;
    bool is_there = aside && access(aside, F_OK) == 0;
    bool ended = aside && (other || !next) && (!is_there || each_file(folder, where, action));
    if (ended && is_there && other) ended = move(aside, other);
    else if (ended && is_there) rmdir(aside);
    free(aside);
    free(other);
    return ended;
}

bool ct_run_folder_keep(const ct_config *config) {
    return empty_aside(config->run_folder, REPLACED, drop_aside, NULL);
}

/* Each step can be ended by a kill, and done again. */
bool ct_run_folder_restore(const ct_config *config) {
    return empty_aside(config->run_folder, REPLACED, drop_new, MOVING) &&
           empty_aside(config->run_folder, MOVING, put_back, NULL);
}

/* What a run that was killed left half replaced: it counts if it has saved something. */
static bool settle(const ct_config *config) {
    if (!empty_aside(config->run_folder, MOVING, put_back, NULL)) return false;
    char *last = ct_path(config->run_folder, "last.safetensors");
    bool saved = last && access(last, F_OK) == 0;
    free(last);
    return last && (saved ? ct_run_folder_keep(config) : ct_run_folder_restore(config));
}

static bool begin_replacing(const char *folder) {
    char *moving = ct_path(folder, MOVING), *aside = ct_path(folder, REPLACED);
    bool begun = moving && aside && ct_make_folders(moving) &&
                 each_file(folder, MOVING, set_aside) && move(moving, aside);
    free(moving);
    free(aside);
    return begun;
}

static bool none_waits(const char *folder, const char *path, const char *aside) {
    (void)folder;
    (void)path;
    return access(aside, F_OK) != 0;
}

bool ct_run_folder_replaces(const ct_config *config) {
    return !each_file(config->run_folder, REPLACED, none_waits);
}

static bool is_free(const char *folder, const char *path, const char *aside) {
    return none_waits(folder, path, path) && none_waits(folder, path, aside);
}

bool ct_run_folder_is_taken(const ct_config *config) {
    return !each_file(config->run_folder, REPLACED, is_free) ||
           !each_file(config->run_folder, MOVING, none_waits);
}

bool ct_run_folder_prepare(const ct_config *config, ct_run_mode mode) {
    const char *folder = config->run_folder;
    if (!ct_make_folders(folder) || !settle(config)) return false;
    if (mode == CT_RUN_RESUME) return true;
    return mode == CT_RUN_NEW ? each_file(folder, REPLACED, refuse) : begin_replacing(folder);
}

/* The part of the path that is there. */
static bool cut_to_existing(char *path, struct stat *status) {
    while (stat(path, status) < 0) {
        if (errno != ENOENT) return false;
        char *slash = strrchr(path, '/');
        while (slash && slash > path && slash[-1] == '/') slash--;
        if (!slash) return stat(strcpy(path, "."), status) == 0;
        slash[slash == path] = '\0';
    }
    return true;
}

bool ct_run_folder_can_be(const char *folder) {
    struct stat status;
    char *path = strdup(*folder ? folder : ".");
    if (!path) return ct_fail_bool("out of memory");
    bool found = cut_to_existing(path, &status);
    if (found && !S_ISDIR(status.st_mode)) errno = ENOTDIR;
    bool can_be = found && S_ISDIR(status.st_mode) && access(path, W_OK | X_OK) == 0;
    if (!can_be)
        ct_fail("%s: the folder cannot be made or written in: %s", folder, strerror(errno));
    free(path);
    return can_be;
}

bool ct_run_folder_describe(const ct_experiment *e) {
    char *config = ct_path(e->config->run_folder, "config.ini");
    char *vocabulary = ct_path(e->config->run_folder, "vocabulary.json");
    bool saved = config && vocabulary &&
                 ct_file_write(config, e->config->text, strlen(e->config->text)) &&
                 (!e->vocabulary || ct_vocabulary_write(e->vocabulary, vocabulary));
    free(config);
    free(vocabulary);
    return saved;
}
