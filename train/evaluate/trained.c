/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate/trained.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ct_weights_models(ct_weights weights) { return weights.count ? weights.count : 1; }

/* ---- what is given ----------------------------------------------------------------------- */

/* An ensemble with a model twice is a mistake: it weighs that model double. */
static bool check_paths(ct_weights weights) {
    struct stat *status = calloc((size_t)weights.count + 1, sizeof *status);
    if (!status) return ct_fail_bool("out of memory");
    bool good = true;
    for (int i = 0; i < weights.count && good; i++) {
        if (stat(weights.paths[i], &status[i]) < 0) {
            good = ct_fail_bool("--weights %s: %s", weights.paths[i], strerror(errno));
        }
        for (int k = 0; k < i && good; k++) {
            if (status[k].st_dev != status[i].st_dev || status[k].st_ino != status[i].st_ino) {
                continue;
            }
            good = ct_fail_bool("--weights %s: given twice, first as %s", weights.paths[i],
                                weights.paths[k]);
        }
    }
    free(status);
    return good;
}

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* ---- opening ----------------------------------------------------------------------------- */

static bool replace(char **text, const char *by) {
    char *copy = strdup(by);
    if (!copy) return ct_fail_bool("out of memory");
    free(*text);
    *text = copy;
    return true;
}

/* The configuration of the run in a folder, on the data of `config`. The folder may have been moved
 * since. */
static ct_config *read_run(const ct_config *config, const char *folder) {
    char *path = ct_path(folder, "config.ini");
    if (!path) return NULL;
    ct_config *run = NULL;
    if (access(path, F_OK) < 0) {
        ct_fail("--weights %s: a folder without config.ini, expected a run's folder or a file of "
                "weights",
                folder);
    } else {
        run = ct_config_read(path, NULL, 0);
    }
    free(path);
    bool done = run && replace(&run->run_folder, folder) && replace(&run->folder, config->folder) &&
                replace(&run->dev_split, config->dev_split) && replace(&run->names, config->names);
    if (done) {
        run->dev_captions = config->dev_captions;
        return run;
    }
    if (run) ct_config_destroy(run);
    return NULL;
}

/* path NULL: best.safetensors of the configured run. */
static bool visit_weights(ct_config *config, const char *path, int model,
                          const ct_trained *trained) {
    char *best = path ? NULL : ct_path(config->run_folder, "best.safetensors");
    const char *weights = path ? path : best;
    const char *split = trained->split ? *trained->split : NULL;
    ct_experiment *e = weights ? ct_experiment_open_trained(config, weights, split) : NULL;
    bool done = e && trained->visit(trained->context, model, e);
    ct_experiment_close(e);
    free(best);
    return done;
}

static bool visit_run(const ct_config *config, const char *folder, int model,
                      const ct_trained *trained) {
    ct_config *run = read_run(config, folder);
    bool done = run && visit_weights(run, NULL, model, trained);
    ct_config_destroy(run);
    return done;
}

bool ct_each_trained(ct_config *config, ct_weights weights, ct_trained trained) {
    if (!check_paths(weights)) return false;
    if (!weights.count) return visit_weights(config, NULL, 0, &trained);
    for (int i = 0; i < weights.count; i++) {
        const char *path = weights.paths[i];
        bool done = is_folder(path) ? visit_run(config, path, i, &trained)
                                    : visit_weights(config, path, i, &trained);
        if (!done) return false;
    }
    return true;
}

bool ct_one_trained(ct_config *config, ct_weights weights, const char *command,
                    ct_trained trained) {
    if (weights.count > 1) {
        return ct_fail_bool("%s takes one model, --weights names %d", command, weights.count);
    }
    return ct_each_trained(config, weights, trained);
}
