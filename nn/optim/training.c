/* SPDX-License-Identifier: Apache-2.0 */
/* Saving and resuming a training: module, optimiser, generator, numbers. One safetensors file, with
 * tensors "model.NAME" and "optimizer.NAME", and "rng" and "number.NAME" in its metadata. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/core/tensor_list.h"
#include "nn/optim/optimizer.h"

/* ---- saving ----------------------------------------------------------------------------- */

typedef struct {
    const char *prefix;
    ct_tensor_list tensors;
    char **metadata; /* key, value, ..., NULL at the end; each from malloc */
    size_t texts;
} saving;

static bool collect(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)buffer;
    saving *s = context;
    /* kept: an optimiser's step count is a tensor made for the visit alone */
    return ct_tensor_list_add(&s->tensors, s->prefix, name, tensor);
}

/* Takes over the value. */
static bool add_metadata(saving *s, const char *prefix, const char *key, char *value) {
    char **metadata = realloc(s->metadata, (s->texts + 3) * sizeof *metadata), *name = NULL;
    if (metadata) s->metadata = metadata;
    if (!metadata || !value || asprintf(&name, "%s%s", prefix, key) < 0) {
        free(value);
        return ct_fail_bool("training_save: out of memory");
    }
    metadata[s->texts++] = name;
    metadata[s->texts++] = value;
    metadata[s->texts] = NULL;
    return true;
}

/* With enough digits to read back the same bits. */
static char *number_text(const ct_training_number *number) {
    char *text = NULL;
    int length = number->integer ? asprintf(&text, "%" PRId64, *number->integer)
                                 : asprintf(&text, "%.17g", *number->real);
    return length < 0 ? NULL : text;
}

static char *rng_text(const ct_rng *rng) {
    char *text = NULL;
    int length =
        asprintf(&text, "%" PRIu64 " %" PRIu64 " %" PRIu64, rng->seed, rng->stream, rng->offset);
    return length < 0 ? NULL : text;
}

static bool describe(saving *s, const ct_training *t) {
    bool ok = add_metadata(s, "", "format", strdup("cotangent checkpoint 1"));
    if (ok && t->optimizer) ok = add_metadata(s, "", "optimizer", strdup("saved"));
    if (ok && t->rng) ok = add_metadata(s, "", "rng", rng_text(t->rng));
    for (int i = 0; ok && i < t->number_count; i++) {
        ok = add_metadata(s, "number.", t->numbers[i].name, number_text(&t->numbers[i]));
    }
    for (int i = 0; ok && t->notes && t->notes[i]; i += 2) {
        ok = add_metadata(s, "", t->notes[i], strdup(t->notes[i + 1]));
    }
    return ok;
}

static bool is_sound(const char *op, const char *path, const ct_training *t) {
    if (!path || !t) return ct_ok() ? ct_fail_bool("%s: NULL given", op) : false;
    if (t->number_count < 0 || (t->number_count > 0 && !t->numbers)) {
        return ct_fail_bool("%s: number_count is %d, numbers are %s", op, t->number_count,
                            t->numbers ? "given" : "NULL");
    }
    for (int i = 0; i < t->number_count; i++) {
        const ct_training_number *number = &t->numbers[i];
        bool named = number->name && strlen(number->name) < 200;
        if (named && !number->integer != !number->real) continue;
        return ct_fail_bool("%s: number %d: expected a name, and an integer or a real", op, i);
    }
    for (int i = 0; t->notes && t->notes[i]; i += 2) {
        if (!t->notes[i + 1]) return ct_fail_bool("%s: note '%s' is NULL", op, t->notes[i]);
    }
    return ct_ok();
}

bool ct_training_save(const char *path, const ct_training *training) {
    if (!is_sound("training_save", path, training)) return false;
    saving s = {.prefix = "model."};
    bool ok = !training->module || ct_module_visit(training->module, collect, &s);
    s.prefix = "optimizer.";
    ok = ok && (!training->optimizer || ct_optimizer_visit(training->optimizer, collect, &s));
    ok = ok && describe(&s, training) &&
         ct_safetensors_save(path, s.tensors.items, s.tensors.count,
                             (const char *const *)s.metadata);
    ct_tensor_list_clear(&s.tensors);
    for (size_t i = 0; i < s.texts; i++) free(s.metadata[i]);
    free(s.metadata);
    return ok;
}

/* ---- loading ---------------------------------------------------------------------------- */

/* Everything is read twice, the first time only to check it, so that nothing changes unless all of
 * it fits. */
typedef struct {
    ct_safetensors *file;
    const char *path;
    bool change; /* false: only check */
    int seen;
} loading;

/* What follows the prefix; NULL if the name has another beginning. */
static const char *behind(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : NULL;
}

static bool load_named(loading *l, const char *full, ct_tensor *tensor) {
    if (!ct_safetensors_has(l->file, full)) {
        return ct_fail_bool("%s: no tensor '%s': this checkpoint is of another model", l->path,
                            full);
    }
    ct_tensor *saved = ct_safetensors_get(l->file, full);
    if (!saved) return false;
    if (!ct_shape_equal(saved->shape, tensor->shape) || saved->dtype != tensor->dtype) {
        return ct_fail_bool("%s: '%s' is %s, the model has %s", l->path, full,
                            ct_tensor_text(saved), ct_tensor_text(tensor));
    }
    l->seen++;
    return !l->change || ct_tensor_copy_to(tensor, saved);
}

static bool load_tensor(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)buffer;
    char *full;
    if (asprintf(&full, "model.%s", name) < 0) return ct_fail_bool("training_load: out of memory");
    bool loaded = load_named(context, full, tensor);
    free(full);
    return loaded;
}

static int count(const loading *l, const char *prefix) {
    int found = 0;
    for (int i = 0; i < ct_safetensors_count(l->file); i++) {
        found += behind(ct_safetensors_name(l->file, i), prefix) != NULL;
    }
    return found;
}

static bool load_module(loading *l, ct_module *module) {
    int saved = count(l, "model.");
    l->seen = 0;
    if (!ct_module_visit(module, load_tensor, l)) return false;
    return saved == l->seen ||
           ct_fail_bool("%s: holds %d model tensors, the model has %d", l->path, saved, l->seen);
}

/* An optimiser that never made a step has no tensors. */
static bool has_optimizer(const loading *l) {
    return ct_safetensors_metadata(l->file, "optimizer") || count(l, "optimizer.") > 0 ||
           count(l, "model.") > 0 || ct_fail_bool("%s: no optimiser was saved", l->path);
}

static bool load_optimizer(const loading *l, ct_optimizer *optimizer) {
    if (!has_optimizer(l)) return false;
    if (l->change) ct_optimizer_forget(optimizer);
    for (int i = 0; i < ct_safetensors_count(l->file); i++) {
        const char *full = ct_safetensors_name(l->file, i), *name = behind(full, "optimizer.");
        ct_tensor *value = name ? ct_safetensors_get(l->file, full) : NULL;
        if (!name) continue;
        if (!value) return false;
        bool fits = l->change ? ct_optimizer_set_state(optimizer, name, value)
                              : ct_optimizer_fits_state(optimizer, l->path, name, value);
        if (!fits) return false;
    }
    return true;
}

static bool load_rng(const loading *l, ct_rng *rng) {
    const char *text = ct_safetensors_metadata(l->file, "rng");
    ct_rng read = *rng;
    int end = -1;
    if (!text) return ct_fail_bool("%s: no generator was saved", l->path);
    sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 "%n", &read.seed, &read.stream, &read.offset,
           &end);
    if (end < 0 || text[end]) {
        return ct_fail_bool("%s: the generator is '%s', expected seed, stream and offset", l->path,
                            text);
    }
    if (l->change) *rng = read;
    return true;
}

static bool load_number(const loading *l, const ct_training_number *number) {
    char key[256], *end = NULL;
    snprintf(key, sizeof key, "number.%s", number->name);
    const char *text = ct_safetensors_metadata(l->file, key);
    if (!text) return ct_fail_bool("%s: no number '%s' was saved", l->path, number->name);
    errno = 0;
    int64_t integer = number->integer ? strtoll(text, &end, 10) : 0;
    double real = number->real ? strtod(text, &end) : 0;
    if (!*text || *end || (number->integer && errno)) {
        return ct_fail_bool("%s: the number '%s' is '%s', expected %s", l->path, number->name, text,
                            number->integer ? "an integer" : "a number");
    }
    if (l->change && number->integer) *number->integer = integer;
    if (l->change && number->real) *number->real = real;
    return true;
}

static bool is_checkpoint(const loading *l) {
    const char *format = ct_safetensors_metadata(l->file, "format");
    return (format && behind(format, "cotangent checkpoint ")) ||
           ct_fail_bool("%s: not the checkpoint of a training, as ct_training_save writes them",
                        l->path);
}

static bool load_once(loading *l, const ct_training *t) {
    if (!is_checkpoint(l)) return false;
    if (t->module && !load_module(l, t->module)) return false;
    if (t->optimizer && !load_optimizer(l, t->optimizer)) return false;
    if (t->rng && !load_rng(l, t->rng)) return false;
    for (int i = 0; i < t->number_count; i++) {
        if (!load_number(l, &t->numbers[i])) return false;
    }
    return ct_ok();
}

bool ct_training_load(const char *path, const ct_training *training) {
    if (!is_sound("training_load", path, training)) return false;
    loading l = {.file = ct_safetensors_open(path), .path = path};
    bool ok = l.file != NULL;
    for (int turn = 0; ok && turn < 2; turn++) {
        l.change = turn == 1;
        CT_SCOPE { ok = load_once(&l, training); }
    }
    ct_safetensors_close(l.file);
    return ok;
}

/* ---- parts alone ------------------------------------------------------------------------ */

bool ct_optimizer_save(ct_optimizer *optimizer, const char *path) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_save: optimizer is NULL") : false;
    return ct_training_save(path, &(ct_training){.optimizer = optimizer});
}

bool ct_optimizer_load(ct_optimizer *optimizer, const char *path) {
    if (!optimizer) return ct_ok() ? ct_fail_bool("optimizer_load: optimizer is NULL") : false;
    return ct_training_load(path, &(ct_training){.optimizer = optimizer});
}

bool ct_rng_save(const ct_rng *rng, const char *path) {
    if (!rng) return ct_ok() ? ct_fail_bool("rng_save: the generator is NULL") : false;
    return ct_training_save(path, &(ct_training){.rng = (ct_rng *)rng});
}

bool ct_rng_load(ct_rng *rng, const char *path) {
    if (!rng) return ct_ok() ? ct_fail_bool("rng_load: the generator is NULL") : false;
    return ct_training_load(path, &(ct_training){.rng = rng});
}
