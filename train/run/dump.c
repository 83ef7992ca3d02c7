/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/dump.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/run/run_lock.h"
#include "nn/core/tensor_list.h"

struct ct_dump {
    const ct_experiment *experiment;
    char *folder;
    ct_run_lock *lock;
    bool released;
    ct_tensor_list list; /* of the step at work */
};

/* ---- the folder -------------------------------------------------------------------------- */

/* A step of an earlier run: refused for a new one, removed for one that overwrites. */
static bool clear_step(const char *folder, const char *name, ct_run_mode mode) {
    if (mode == CT_RUN_NEW) {
        return ct_fail_bool("%s already holds steps (%s): pass --overwrite to replace them, or "
                            "another folder",
                            folder, name);
    }
    char *path = ct_path(folder, name);
    bool removed = path && (unlink(path) == 0 ||
                            ct_fail_bool("%s: cannot be removed: %s", path, strerror(errno)));
    free(path);
    return removed;
}

static bool prepare_folder(const char *folder, ct_run_mode mode) {
    if (mode == CT_RUN_RESUME) return true;
    DIR *entries = opendir(folder);
    if (!entries) return ct_fail_bool("%s: cannot be read: %s", folder, strerror(errno));
    bool clear = true;
    for (struct dirent *entry; clear && (entry = readdir(entries));) {
        if (fnmatch("step_[0-9]*.safetensors", entry->d_name, 0) != 0) continue;
        clear = clear_step(folder, entry->d_name, mode);
    }
    closedir(entries);
    return clear;
}

ct_dump *ct_dump_open(const ct_experiment *experiment, const char *folder, ct_run_mode mode) {
    ct_dump *dump = calloc(1, sizeof *dump);
    if (!dump) return ct_fail("dump: out of memory");
    dump->experiment = experiment;
    dump->released = strcmp(experiment->config->names, "released") == 0;
    dump->folder = strdup(folder);
    if (!dump->folder) ct_fail("dump: out of memory");
    if (dump->folder && ct_make_folders(folder) &&
        (dump->lock = ct_run_lock_take(folder, "steps.lock")) && prepare_folder(folder, mode)) {
        return dump;
    }
    ct_dump_close(dump);
    return NULL;
}

void ct_dump_close(ct_dump *dump) {
    if (!dump) return;
    ct_tensor_list_clear(&dump->list);
    ct_run_lock_release(dump->lock);
    free(dump->folder);
    free(dump);
}

/* ---- losses ------------------------------------------------------------------------------ */

static const char *const released_terms[CT_LOSS_COUNT] = {
    [CT_LOSS_TOTAL] = "total",
    [CT_LOSS_RETRIEVAL] = "retrieval",
    [CT_LOSS_DISCRETE_IMAGE] = "img_rl1",
    [CT_LOSS_DISCRETE_TEXT] = "text_rl1",
    [CT_LOSS_CONTINUOUS_IMAGE] = "img_rl2",
    [CT_LOSS_CONTINUOUS_TEXT] = "text_rl2",
    [CT_LOSS_INSTANCE_IMAGE] = "t_id",
    [CT_LOSS_INSTANCE_TEXT] = "i_id",
    [CT_LOSS_DECODER] = "text_decoder",
};

/* The sum of two terms, where both are configured. */
static bool add_sum(ct_dump *dump, const char *name, const ct_tensor *a, const ct_tensor *b) {
    return !a || !b || ct_tensor_list_add(&dump->list, "loss.", name, ct_tensor_add(a, b));
}

static bool add_losses(ct_dump *dump, const ct_losses *losses) {
    ct_tensor *const *term = losses->term;
    for (int i = 0; i < CT_LOSS_COUNT; i++) {
        const char *name = dump->released ? released_terms[i] : ct_loss_name((ct_loss_term)i);
        if (term[i] && !ct_tensor_list_add(&dump->list, "loss.", name, term[i])) return false;
    }
    if (!dump->released) return true;
    /* VSRN's recorded steps call the total out.loss */
    return add_sum(dump, "rl_loss1", term[CT_LOSS_DISCRETE_IMAGE], term[CT_LOSS_DISCRETE_TEXT]) &&
           add_sum(dump, "rl_loss2", term[CT_LOSS_CONTINUOUS_IMAGE],
                   term[CT_LOSS_CONTINUOUS_TEXT]) &&
           add_sum(dump, "classification", term[CT_LOSS_INSTANCE_IMAGE],
                   term[CT_LOSS_INSTANCE_TEXT]) &&
           ct_tensor_list_add(&dump->list, "out.", "loss", term[CT_LOSS_TOTAL]);
}

/* ---- parameters -------------------------------------------------------------------------- */

/* The name under which a parameter is dumped, in `room` if it is not ours; NULL: it is left out. */
static const char *name_of(const ct_dump *dump, const char *ours, char *room, size_t size) {
    if (!dump->released) return ours;
    return ct_released_name(dump->experiment->model, ours, room, size) ? room : NULL;
}

static bool add_gradient(void *context, const char *ours, ct_tensor *tensor, bool buffer) {
    ct_dump *dump = context;
    char room[256];
    const char *name = name_of(dump, ours, room, sizeof room);
    ct_tensor *grad = buffer ? NULL : ct_grad(tensor);
    return !name || !grad ||
           (ct_tensor_list_add(&dump->list, "grad.param.", name, grad) &&
            ct_tensor_list_add(&dump->list, "grad_norm.", name, ct_tensor_global_norm(&grad, 1)));
}

static bool add_state(void *context, const char *ours, ct_tensor *tensor, bool buffer) {
    ct_dump *dump = context;
    char room[256];
    const char *name = name_of(dump, ours, room, sizeof room);
    const char *prefix = buffer ? "buffer_after." : "param_after.";
    return !name || ct_tensor_list_add(&dump->list, prefix, name, tensor);
}

/* ---- a step ------------------------------------------------------------------------------ */

bool ct_dump_gradients(ct_dump *dump, const ct_losses *losses) {
    ct_tensor_list_clear(&dump->list);
    const struct {
        const char *name;
        const ct_tensor *tensor;
    } out[] = {{"img_emb", losses->image_embeddings},
               {"cap_emb", losses->caption_embeddings},
               {"advantage", losses->advantage}};
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        if (out[i].tensor && !ct_tensor_list_add(&dump->list, "out.", out[i].name, out[i].tensor)) {
            return false;
        }
    }
    return add_losses(dump, losses) &&
           ct_module_visit(ct_model_module(dump->experiment->model), add_gradient, dump) && ct_ok();
}

static bool save(const ct_dump *dump, const ct_optimizer *optimizer, int64_t step, int64_t epoch) {
    char steps[24], epochs[24], seed[24], lr[32], name[48];
    const ct_config *config = dump->experiment->config;
    snprintf(steps, sizeof steps, "%" PRId64, step);
    snprintf(epochs, sizeof epochs, "%" PRId64, epoch);
    snprintf(seed, sizeof seed, "%" PRId64, config->seed);
    snprintf(lr, sizeof lr, "%.17g", ct_optimizer_lr(optimizer));
    snprintf(name, sizeof name, "step_%06" PRId64 ".safetensors", step);
    const char *const metadata[] = {"format", "pt",   "step", steps,    "epoch",      epochs, "lr",
                                    lr,       "seed", seed,   "config", config->text, NULL};
    char *path = ct_path(dump->folder, name);
    bool saved = path && ct_safetensors_save(path, dump->list.items, dump->list.count, metadata);
    free(path);
    return saved;
}

bool ct_dump_write(ct_dump *dump, const ct_optimizer *optimizer, int64_t step, int64_t epoch) {
    bool done = false;
    CT_SCOPE {
        ct_tensor *norm = ct_scalar(CT_F64, CT_CPU, ct_optimizer_grad_norm(optimizer));
        done = ct_tensor_list_add(&dump->list, "out.", "total_grad_norm", norm) &&
               ct_module_visit(ct_model_module(dump->experiment->model), add_state, dump) &&
               ct_ok() && save(dump, optimizer, step, epoch);
    }
    ct_tensor_list_clear(&dump->list);
    return done;
}
