/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/run/tensor_list.h"

/* ---- saving ------------------------------------------------------------------------------ */

typedef struct {
    const char *prefix;
    ct_tensor_list list;
} collection;

static bool collect(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)buffer;
    collection *c = context;
    /* kept: an optimiser's step count is a tensor made for the visit alone */
    return ct_tensor_list_add(&c->list, c->prefix, name, tensor);
}

/* Hexadecimal floats and plain integers: read back to the same bits. */
static void write_progress(char *text, size_t size, const ct_progress *p) {
    const ct_rng *init = ct_default_rng();
    snprintf(text, size,
             "%" PRId64 " %" PRId64 " %" PRId64 " %a %" PRId64 " %" PRId64 " %a "
             "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %d",
             p->epoch, p->batch, p->step, p->best_score, p->best_epoch, p->best_step, p->seconds,
             p->rng.seed, p->rng.stream, p->rng.offset, init->seed, init->stream, init->offset,
             p->validation_due);
}

static bool read_progress(const char *text, ct_progress *p, ct_rng *default_rng) {
    ct_progress read = *p;
    ct_rng init = *default_rng;
    int due = 0; /* which earlier programs did not save */
    int fields =
        sscanf(text,
               "%" SCNd64 " %" SCNd64 " %" SCNd64 " %la %" SCNd64 " %" SCNd64 " %la "
               "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %d",
               &read.epoch, &read.batch, &read.step, &read.best_score, &read.best_epoch,
               &read.best_step, &read.seconds, &read.rng.seed, &read.rng.stream, &read.rng.offset,
               &init.seed, &init.stream, &init.offset, &due);
    if (fields < 13) return false;
    read.validation_due = due != 0;
    *p = read;
    *default_rng = init;
    return true;
}

bool ct_checkpoint_save(const char *path, ct_module *model, ct_optimizer *optimizer,
                        const ct_progress *progress, const char *config_text, const char *data_text,
                        const char *const *notes) {
    collection all = {.prefix = "model."};
    bool collected = ct_module_visit(model, collect, &all);
    all.prefix = "optimizer.";
    collected = collected && ct_optimizer_visit(optimizer, collect, &all);
    bool saved = false;
    if (collected && ct_ok()) {
        char position[512];
        write_progress(position, sizeof position, progress);
        const char *metadata[8 + 16 + 1] = {
            "format", "cotangent checkpoint 1", "progress", position, "config", config_text, "data",
            data_text};
        for (int i = 0; i < 16 && notes[i]; i++) metadata[8 + i] = notes[i];
        saved = ct_safetensors_save(path, all.list.items, all.list.count, metadata);
    }
    ct_tensor_list_clear(&all.list);
    return saved;
}

/* ---- loading ----------------------------------------------------------------------------- */

/* The model's part is checked against the file before anything is copied; optimiser state is
 * checked by name and shape as it is set, which only fails for a file that is not of this model. */
typedef struct {
    ct_safetensors *file;
    const char *path;
    bool copy;          /* false: only check */
    bool encoders_only; /* pass over what is not of [image] or [text] */
    int seen;
} loading;

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool load_one(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)buffer;
    loading *l = context;
    if (l->encoders_only && !starts_with(name, "image.") && !starts_with(name, "text.")) {
        return true;
    }
    char full[512];
    snprintf(full, sizeof full, "model.%s", name);
    if (!ct_safetensors_has(l->file, full)) {
        return ct_fail_bool("%s: no tensor '%s': this checkpoint is of another model", l->path,
                            full);
    }
    ct_tensor *saved = ct_safetensors_get(l->file, full);
    if (!saved) return false;
    if (!ct_shape_equal(saved->shape, tensor->shape) || saved->dtype != tensor->dtype) {
        return ct_fail_bool("%s: '%s' is %s, the configured model has %s", l->path, full,
                            ct_tensor_text(saved), ct_tensor_text(tensor));
    }
    l->seen++;
    return l->copy ? ct_tensor_copy_to(tensor, saved) : true;
}

static bool load_optimizer(ct_safetensors *file, ct_optimizer *optimizer) {
    const char prefix[] = "optimizer.";
    for (int i = 0; i < ct_safetensors_count(file); i++) {
        const char *name = ct_safetensors_name(file, i);
        if (!starts_with(name, prefix)) continue;
        ct_tensor *value = ct_safetensors_get(file, name);
        if (!value || !ct_optimizer_set_state(optimizer, name + sizeof prefix - 1, value)) {
            return false;
        }
    }
    return true;
}

static int count_prefix(ct_safetensors *file, const char *prefix) {
    int count = 0;
    for (int i = 0; i < ct_safetensors_count(file); i++) {
        count += starts_with(ct_safetensors_name(file, i), prefix);
    }
    return count;
}

static bool load_all(loading *l, ct_module *model, ct_optimizer *optimizer, ct_progress *progress) {
    const char *position = ct_safetensors_metadata(l->file, "progress");
    if (!position) {
        return ct_fail_bool("%s: not a training checkpoint (it has no progress record)", l->path);
    }
    if (!ct_module_visit(model, load_one, l)) return false;
    int saved = count_prefix(l->file, "model.");
    if (saved != l->seen) {
        return ct_fail_bool("%s: holds %d model tensors, the configured model has %d", l->path,
                            saved, l->seen);
    }
    l->copy = true;
    if (!ct_module_visit(model, load_one, l) || !load_optimizer(l->file, optimizer)) return false;
    return read_progress(position, progress, ct_default_rng()) ||
           ct_fail_bool("%s: its progress record is damaged", l->path);
}

static char *copy_metadata(ct_safetensors *file, const char *name) {
    const char *text = ct_safetensors_metadata(file, name);
    return text ? strdup(text) : NULL;
}

bool ct_checkpoint_origin(const char *path, char **config_text, char **data_text,
                          ct_progress *progress) {
    *config_text = *data_text = NULL;
    bool read = false;
    CT_SCOPE {
        ct_safetensors *file = ct_safetensors_open(path);
        if (!file) break;
        ct_rng unused = *ct_default_rng();
        const char *position = ct_safetensors_metadata(file, "progress");
        read = position && read_progress(position, progress, &unused);
        if (!read) ct_fail("%s: not a training checkpoint (it has no progress record)", path);
        *config_text = copy_metadata(file, "config");
        *data_text = copy_metadata(file, "data");
        ct_safetensors_close(file);
    }
    return read;
}

bool ct_checkpoint_load(const char *path, ct_module *model, ct_optimizer *optimizer,
                        ct_progress *progress) {
    bool loaded = false;
    CT_SCOPE {
        loading l = {.file = ct_safetensors_open(path), .path = path};
        if (!l.file) break;
        loaded = load_all(&l, model, optimizer, progress) && ct_ok();
        ct_safetensors_close(l.file);
    }
    return loaded;
}

bool ct_checkpoint_load_encoders(const char *path, ct_module *model) {
    bool loaded = false;
    CT_SCOPE {
        loading l = {.file = ct_safetensors_open(path), .path = path, .encoders_only = true};
        if (!l.file) break;
        loaded = ct_module_visit(model, load_one, &l);
        l.copy = true;
        loaded = loaded && ct_module_visit(model, load_one, &l) && ct_ok();
        ct_safetensors_close(l.file);
    }
    return loaded;
}
