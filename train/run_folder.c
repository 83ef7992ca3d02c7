#include "train/run_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/event_file.h"

static const char *const run_files[] = {"last.safetensors", "best.safetensors", "results.json",
                                        "metrics.jsonl", CT_EVENT_FILE_NAME, "vocabulary.json",
                                        "config.ini"};

/* What an earlier run left: refused for a new run, removed for one that overwrites. */
static bool clear_file(const char *folder, const char *path, ct_run_mode mode) {
    if (mode == CT_RUN_NEW && access(path, F_OK) == 0) {
        return ct_fail_bool("%s already holds a run: pass --resume to go on with it, "
                            "--overwrite to replace it, or another --set run.folder=NAME", folder);
    }
    if (mode == CT_RUN_NEW || unlink(path) == 0 || errno == ENOENT) return true;
    return ct_fail_bool("%s: cannot be removed: %s", path, strerror(errno));
}

bool ct_run_folder_prepare(const ct_config *config, ct_run_mode mode) {
    if (!ct_make_folders(config->run_folder)) return false;
    if (mode == CT_RUN_RESUME) return true;
    for (size_t i = 0; i < sizeof run_files / sizeof *run_files; i++) {
        char *path = ct_path(config->run_folder, run_files[i]);
        bool clear = path && clear_file(config->run_folder, path, mode);
        free(path);
        if (!clear) return false;
    }
    return true;
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
