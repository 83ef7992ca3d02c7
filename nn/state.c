/* State dictionaries: conversion, saving, loading. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/module.h"

/* ---- conversion ------------------------------------------------------------------------- */

/* A leaf or buffer like `from`, with another dtype and device; kept for the caller. */
static ct_tensor *converted(const ct_tensor *from, ct_dtype dtype, ct_device device) {
    ct_tensor *kept = NULL;
    CT_SCOPE {
        const ct_tensor *x = from;
        if (x->dtype != dtype) x = ct_tensor_cast(x, dtype);
        if (x && x->device != device) x = ct_tensor_to_device(x, device);
        ct_tensor *y = (ct_tensor *)x;
        if (y && ct_requires_grad(from)) y = ct_require_grad(y);
        kept = ct_keep(y);
    }
    return kept;
}

/* dtype, device: NULL leaves it. All tensors are converted before the first is replaced.
 * Integer buffers (a batch counter) stay as they are: the host reads them. */
static bool convert(ct_module *module, const ct_dtype *dtype, const ct_device *device) {
    ct_state state;
    if (!ct_state_collect(module, &state)) return false;
    ct_tensor **fresh = calloc((size_t)state.count + 1, sizeof *fresh);
    bool ok = fresh || ct_fail_bool("module conversion: out of memory");
    for (int i = 0; i < state.count && ok; i++) {
        const ct_tensor *x = state.items[i].entry->tensor;
        ct_dtype to_dtype = dtype ? *dtype : x->dtype;
        ct_device to_device = device ? *device : x->device;
        if (!ct_dtype_is_float(x->dtype)) continue;
        if (x->dtype == to_dtype && x->device == to_device) continue;
        fresh[i] = converted(x, to_dtype, to_device);
        ok = fresh[i] != NULL;
    }
    for (int i = 0; fresh && i < state.count; i++) {
        if (!fresh[i]) continue;
        if (ok) {
            ct_tensor *old = state.items[i].entry->tensor;
            state.items[i].entry->tensor = fresh[i];
            fresh[i] = old;
        }
        ct_release(fresh[i]);
    }
    free(fresh);
    ct_state_free(&state);
    return ok;
}

bool ct_module_to_dtype(ct_module *module, ct_dtype dtype) {
    if (dtype != CT_F32 && dtype != CT_F64) {
        return ct_fail_bool("module_to_dtype: %s, expected f32 or f64", ct_dtype_name(dtype));
    }
    return convert(module, &dtype, NULL);
}

bool ct_module_to_device(ct_module *module, ct_device device) {
    return convert(module, NULL, &device);
}

/* ---- saving ----------------------------------------------------------------------------- */

/* The state under the names that a file gives its tensors; naming NULL: our own. */
static bool collect_as(ct_module *module, ct_state_naming naming, void *context,
                       ct_state *state) {
    if (!ct_state_collect(module, state)) return false;
    bool ok = true;
    for (int i = 0; naming && ok && i < state->count; i++) {
        ct_state_item *item = &state->items[i];
        char name[512];
        ok = naming(context, item->name, name, sizeof name) ||
             ct_fail_bool("state: '%s' has no name in such files", item->name);
        char *renamed = ok ? strdup(name) : NULL;
        if (ok && !renamed) ok = ct_fail_bool("state: out of memory");
        if (!ok) break;
        free(item->name);
        item->name = renamed;
    }
    if (!ok) ct_state_free(state);
    return ok;
}

bool ct_module_save_as(ct_module *module, const char *path, ct_state_naming naming,
                       void *context) {
    ct_state state;
    if (!collect_as(module, naming, context, &state)) return false;
    ct_named_tensor *tensors = calloc((size_t)state.count + 1, sizeof *tensors);
    bool ok = tensors || ct_fail_bool("module_save: out of memory");
    for (int i = 0; ok && i < state.count; i++) {
        tensors[i] = (ct_named_tensor){state.items[i].name, state.items[i].entry->tensor};
    }
    /* Readers of PyTorch state dictionaries look for this. */
    const char *const metadata[] = {"format", "pt", NULL};
    ok = ok && ct_safetensors_save(path, tensors, state.count, metadata);
    free(tensors);
    ct_state_free(&state);
    return ok;
}

bool ct_module_save(ct_module *module, const char *path) {
    return ct_module_save_as(module, path, NULL, NULL);
}

/* ---- loading ---------------------------------------------------------------------------- */

bool ct_state_shapes_fit(ct_shape a, ct_shape b) {
    while (a.ndim > 0 && a.dim[a.ndim - 1] == 1) a.ndim--;
    while (b.ndim > 0 && b.dim[b.ndim - 1] == 1) b.ndim--;
    return ct_shape_equal(a, b);
}

bool ct_state_assign(ct_tensor *to, const ct_tensor *from) {
    bool ok = false;
    CT_SCOPE {
        const ct_tensor *x = ct_tensor_reshape(from, to->shape);
        ok = x && ct_tensor_copy_to(to, x);
    }
    return ok;
}

/* What does not fit, as text for one message. */
typedef struct {
    char *text[3]; /* missing, extra, not fitting */
    size_t size[3];
    FILE *list[3];
    int count[3];
} misfit;
enum { MISSING, EXTRA, NOT_FITTING };

static void misfit_add(misfit *m, int kind, const char *name, const char *detail) {
    if (m->list[kind]) {
        fprintf(m->list[kind], "%s%s%s", m->count[kind] ? ", " : "", name, detail);
    }
    m->count[kind]++;
}

static bool fits(const ct_tensor *own, const ct_tensor *given) {
    bool dtype = own->dtype == given->dtype ||
                 (ct_dtype_is_float(own->dtype) && ct_dtype_is_float(given->dtype));
    return dtype && ct_state_shapes_fit(own->shape, given->shape);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the file that the module does not have. */
static bool find_extra(misfit *m, const ct_safetensors *file, const ct_state *state) {
    const char **names = calloc((size_t)state->count + 1, sizeof *names);
    if (!names) return ct_fail_bool("module_load: out of memory");
    for (int i = 0; i < state->count; i++) names[i] = state->items[i].name;
    qsort(names, (size_t)state->count, sizeof *names, compare_names);
    for (int i = 0; i < ct_safetensors_count(file); i++) {
        const char *name = ct_safetensors_name(file, i);
        if (!bsearch(&name, names, (size_t)state->count, sizeof *names, compare_names)) {
            misfit_add(m, EXTRA, name, "");
        }
    }
    free(names);
    return true;
}

static bool compare_state(misfit *m, ct_safetensors *file, const ct_state *state, bool strict) {
    for (int i = 0; i < state->count; i++) {
        const char *name = state->items[i].name;
        const ct_tensor *own = state->items[i].entry->tensor;
        if (!ct_safetensors_has(file, name)) {
            misfit_add(m, MISSING, name, "");
            continue;
        }
        CT_SCOPE {
            const ct_tensor *given = ct_safetensors_get(file, name);
            if (!given) return false;
            if (!fits(own, given)) {
                char detail[512];
                snprintf(detail, sizeof detail, " is %s instead of %s", ct_tensor_text(given),
                         ct_tensor_text(own));
                misfit_add(m, NOT_FITTING, name, detail);
            }
        }
    }
    return !strict || find_extra(m, file, state);
}

/* False and one error with every name, if anything does not fit. */
static bool check_state(const char *path, ct_safetensors *file, const ct_state *state,
                        bool strict) {
    misfit m = {0};
    for (int i = 0; i < 3; i++) m.list[i] = open_memstream(&m.text[i], &m.size[i]);
    bool ok = compare_state(&m, file, state, strict);
    for (int i = 0; i < 3; i++) {
        if (m.list[i]) fclose(m.list[i]);
    }
    if (ok && m.count[0] + m.count[1] + m.count[2] > 0) {
        static const char *const what[] = {"missing", "extra", "of another shape or type"};
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        for (int i = 0; out && i < 3; i++) {
            if (m.count[i]) fprintf(out, "; %d %s: %s", m.count[i], what[i],
                                    m.text[i] ? m.text[i] : "");
        }
        if (out) fclose(out);
        ok = ct_fail_bool("module_load: %s does not fit the module%s", path, text ? text : "");
        free(text);
    }
    for (int i = 0; i < 3; i++) free(m.text[i]);
    return ok;
}

bool ct_module_load_as(ct_module *module, const char *path, bool strict, ct_state_naming naming,
                       void *context) {
    ct_state state;
    if (!collect_as(module, naming, context, &state)) return false;
    ct_safetensors *file = ct_safetensors_open(path);
    bool ok = file && check_state(path, file, &state, strict);
    for (int i = 0; i < state.count && ok; i++) {
        CT_SCOPE {
            const ct_tensor *given = ct_safetensors_get(file, state.items[i].name);
            ok = given && ct_state_assign(state.items[i].entry->tensor, given);
        }
    }
    if (file) ct_safetensors_close(file);
    ct_state_free(&state);
    return ok;
}

bool ct_module_load(ct_module *module, const char *path, bool strict) {
    return ct_module_load_as(module, path, strict, NULL, NULL);
}
