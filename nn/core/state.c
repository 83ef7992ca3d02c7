/* SPDX-License-Identifier: Apache-2.0 */
/* State dictionaries: conversion, saving, loading. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/core/module.h"
#include "tensor/io/text_stream.h"

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
 * Integer buffers (a batch counter) keep their dtype. */
static bool convert(ct_module *module, const ct_dtype *dtype, const ct_device *device) {
    ct_state state;
    if (!ct_state_collect(module, &state)) return false;
    ct_tensor **fresh = calloc((size_t)state.count + 1, sizeof *fresh);
    bool ok = fresh || ct_fail_bool("module conversion: out of memory");
    for (int i = 0; i < state.count && ok; i++) {
        const ct_tensor *x = state.items[i].entry->tensor;
        ct_dtype to_dtype = dtype && ct_dtype_is_float(x->dtype) ? *dtype : x->dtype;
        ct_device to_device = device ? *device : x->device;
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
    return ct_check_choice("module_to_device", "the device", (int)device, CT_DEVICE_COUNT) &&
           convert(module, NULL, &device);
}

/* ---- names ------------------------------------------------------------------------------ */

/* The state and what a file calls it: theirs[i] is NULL where such files do not hold item i. */
typedef struct {
    ct_state state;
    char **theirs;
} named_state;

static void named_free(named_state *named) {
    for (int i = 0; named->theirs && i < named->state.count; i++) free(named->theirs[i]);
    free(named->theirs);
    ct_state_free(&named->state);
}

/* A list in the making, for messages. */
typedef struct {
    FILE *out;
    ct_text_stream stream;
    char *text; /* valid after list_end */
    int count;
    int most; /* so many are named, and the others counted; 0: all are named */
} list;

static void list_add(list *l, const char *name, const char *detail) {
    if (l->most && l->count >= l->most) {
        l->count++;
        return;
    }
    if (!l->out) l->out = ct_text_stream_open(&l->stream);
    if (l->out) fprintf(l->out, "%s%s%s", l->count ? ", " : "", name, detail);
    l->count++;
}

/* The text, which is the caller's; NULL if nothing was added, or with an error when out of memory.
 */
static char *list_end(list *l) {
    if (l->out && l->most && l->count > l->most) {
        fprintf(l->out, " and %d more", l->count - l->most);
    }
    l->text = ct_text_stream_close(&l->stream, l->out);
    if (l->count && !l->text) ct_fail("state: out of memory");
    return l->text;
}

static bool name_item(const ct_state_form *form, const char *ours, char **theirs, list *nameless) {
    char name[512] = "";
    ct_state_naming naming = CT_STATE_NAMED;
    bool renamed = form && form->name;
    if (renamed) naming = form->name(form->context, ours, name, sizeof name);
    if (!ct_check_choice("state", "how a tensor is named", (int)naming, CT_STATE_NAMELESS + 1)) {
        return false;
    }
    if (renamed && naming == CT_STATE_NAMED && !*name) naming = CT_STATE_NAMELESS;
    if (naming == CT_STATE_NAMELESS) list_add(nameless, ours, "");
    if (naming != CT_STATE_NAMED) return true;
    *theirs = strdup(renamed ? name : ours);
    return *theirs || ct_fail_bool("state: out of memory");
}

/* Without a form, or names of one: our own. */
static bool named_collect(ct_module *module, const ct_state_form *form, named_state *named) {
    *named = (named_state){0};
    if (!ct_state_collect(module, &named->state)) return false;
    int count = named->state.count;
    named->theirs = calloc((size_t)count + 1, sizeof *named->theirs);
    bool ok = named->theirs || ct_fail_bool("state: out of memory");
    list nameless = {0};
    for (int i = 0; ok && i < count; i++) {
        ok = name_item(form, named->state.items[i].name, &named->theirs[i], &nameless);
    }
    char *text = list_end(&nameless);
    if (ok && text) ok = ct_fail_bool("state: such files have no name for %s", text);
    ok = ok && ct_ok();
    free(text);
    if (!ok) named_free(named);
    return ok;
}

/* ---- saving ----------------------------------------------------------------------------- */

/* The state as the file is to hold it, in the innermost scope, and what it is not to hold. */
static int tensors_of(const named_state *named, const ct_state_form *form, ct_named_tensor *tensors,
                      list *left_out) {
    int count = 0;
    for (int i = 0; i < named->state.count; i++) {
        const char *name = named->theirs[i];
        const ct_tensor *x = named->state.items[i].entry->tensor;
        if (!name) {
            list_add(left_out, named->state.items[i].name, "");
            continue;
        }
        if (form && form->shape) {
            x = ct_tensor_reshape(x, form->shape(form->context, name, x->shape));
        }
        tensors[count++] = (ct_named_tensor){name, x};
    }
    return count;
}

bool ct_module_save_as(ct_module *module, const char *path, const ct_state_form *form,
                       char **left_out) {
    if (left_out) *left_out = NULL;
    named_state named;
    if (!named_collect(module, form, &named)) return false;
    ct_named_tensor *tensors = calloc((size_t)named.state.count + 1, sizeof *tensors);
    bool ok = tensors || ct_fail_bool("module_save: out of memory");
    list missing = {0};
    CT_SCOPE {
        int count = ok ? tensors_of(&named, form, tensors, &missing) : 0;
        /* Readers of PyTorch state dictionaries look for this. */
        const char *const plain[] = {"format", "pt", NULL};
        const char *const *metadata = form && form->metadata ? form->metadata : plain;
        ok = ok && ct_ok() && ct_safetensors_save(path, tensors, count, metadata);
    }
    char *text = list_end(&missing);
    ok = ok && ct_ok();
    if (ok && left_out) *left_out = text;
    else free(text);
    free(tensors);
    named_free(&named);
    return ok;
}

bool ct_module_save(ct_module *module, const char *path) {
    return ct_module_save_as(module, path, NULL, NULL);
}

/* ---- a file's tensors ------------------------------------------------------------------- */

/* A tensor of the file: its whole name there, and that by which it is sought. */
typedef struct {
    const char *whole;
    char *name;
} alias;

/* A file being read: those of its tensors that are of interest, by name. */
typedef struct {
    ct_safetensors *file;
    const char *path;
    alias *aliases;
    size_t count;
} source;

static const char *behind(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) ? NULL : name + length;
}

/* What follows the first of the prefixes that `name` begins with; NULL: it begins with none. */
static const char *behind_any(const char *name, const char *const *prefixes) {
    for (int i = 0; prefixes[i]; i++) {
        const char *rest = behind(name, prefixes[i]);
        if (rest) return rest;
    }
    return NULL;
}

/* Where part "module" begins in a dotted name; NULL: it has none. */
static char *wrapper(char *name) {
    for (char *at = name; at; at = strchr(at, '.'), at += at != NULL) {
        if (behind(at, "module.")) return at;
    }
    return NULL;
}

/* PyTorch's DataParallel puts a part "module" into the names of what it wraps. */
static void drop_wrappers(char *name) {
    char *at;
    while ((at = wrapper(name))) {
        const char *rest = behind(at, "module.");
        memmove(at, rest, strlen(rest) + 1);
    }
}

static int compare_aliases(const void *a, const void *b) {
    const alias *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void source_close(source *from) {
    for (size_t i = 0; i < from->count; i++) free(from->aliases[i].name);
    free(from->aliases);
    ct_safetensors_close(from->file);
    *from = (source){0};
}

/* Whether the file's names have one of the form's prefixes. */
static bool has_prefixes(const source *from, const ct_state_form *form) {
    bool has = false;
    for (int i = 0; form && form->prefixes && i < ct_safetensors_count(from->file); i++) {
        has |= behind_any(ct_safetensors_name(from->file, i), form->prefixes) != NULL;
    }
    return has;
}

static bool read_names(source *from, const ct_state_form *form, bool keep_wrappers) {
    int count = ct_safetensors_count(from->file);
    from->aliases = calloc((size_t)count + 1, sizeof *from->aliases);
    if (!from->aliases) return ct_fail_bool("module_load: out of memory");
    bool prefixed = has_prefixes(from, form);
    for (int i = 0; i < count; i++) {
        const char *whole = ct_safetensors_name(from->file, i);
        const char *name = prefixed ? behind_any(whole, form->prefixes) : whole;
        if (!name) continue;
        alias *a = &from->aliases[from->count];
        *a = (alias){whole, strdup(name)};
        if (!a->name) return ct_fail_bool("module_load: out of memory");
        from->count++;
        if (!keep_wrappers) drop_wrappers(a->name);
    }
    qsort(from->aliases, from->count, sizeof *from->aliases, compare_aliases);
    for (size_t i = 1; i < from->count; i++) {
        const alias *a = &from->aliases[i - 1], *b = &from->aliases[i];
        if (strcmp(a->name, b->name)) continue;
        return ct_fail_bool("module_load: %s holds both '%s' and '%s'", from->path, a->whole,
                            b->whole);
    }
    return true;
}

static bool source_open(source *from, const char *path, const ct_state_form *form,
                        const named_state *named) {
    *from = (source){.file = ct_safetensors_open(path), .path = path};
    bool own_wrappers = false; /* the module has parts of that name itself */
    for (int i = 0; i < named->state.count; i++) {
        own_wrappers |= named->theirs[i] && wrapper(named->theirs[i]) != NULL;
    }
    if (from->file && read_names(from, form, own_wrappers)) return true;
    source_close(from);
    return false;
}

/* The file's whole name for `theirs`; NULL: it has none. */
static const char *find(const source *from, const char *theirs) {
    alias key = {.name = (char *)theirs};
    const alias *found =
        bsearch(&key, from->aliases, from->count, sizeof *from->aliases, compare_aliases);
    return found ? found->whole : NULL;
}

/* Files of a PyTorch before 0.4.1 do not count the batches that a batch norm has seen; nothing is
 * computed of the number. */
static bool is_batch_count(const char *theirs) {
    const char *dot = strrchr(theirs, '.');
    return strcmp(dot ? dot + 1 : theirs, "num_batches_tracked") == 0;
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

static bool fits(const ct_tensor *own, const ct_tensor *given) {
    bool dtype = own->dtype == given->dtype ||
                 (ct_dtype_is_float(own->dtype) && ct_dtype_is_float(given->dtype));
    return dtype && ct_state_shapes_fit(own->shape, given->shape);
}

/* Takes out of `named` the optional parts of which the file has nothing at all. */
static void leave_optional(const source *from, const ct_state_form *form, named_state *named,
                           list *left_out) {
    for (const char *const *part = form ? form->optional : NULL; part && *part; part++) {
        int there = 0, all = 0;
        for (int i = 0; i < named->state.count; i++) {
            if (!named->theirs[i] || !behind(named->state.items[i].name, *part)) continue;
            all++;
            there += find(from, named->theirs[i]) != NULL;
        }
        if (there || !all) continue;
        char name[64]; /* without its dot */
        snprintf(name, sizeof name, "%.*s", (int)strlen(*part) - 1, *part);
        list_add(left_out, name, "");
        for (int i = 0; i < named->state.count; i++) {
            if (!behind(named->state.items[i].name, *part)) continue;
            free(named->theirs[i]);
            named->theirs[i] = NULL;
        }
    }
}

/* What does not fit, for one message: of another model's file hundreds of names. */
enum { MOST_MISFITS = 8 };
typedef struct {
    list missing, extra, wrong;
} misfit;

static bool compare_item(misfit *m, const source *from, const char *theirs, const ct_tensor *own) {
    const char *name = find(from, theirs);
    if (!name) {
        if (!is_batch_count(theirs)) list_add(&m->missing, theirs, "");
        return true;
    }
    CT_SCOPE {
        const ct_tensor *given = ct_safetensors_get(from->file, name);
        if (!given) return false;
        if (!fits(own, given)) {
            char detail[512];
            snprintf(detail, sizeof detail, " is %s instead of %s", ct_tensor_text(given),
                     ct_tensor_text(own));
            list_add(&m->wrong, theirs, detail);
        }
    }
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the file that are neither the module's nor to be ignored. */
static bool find_extra(misfit *m, const source *from, const ct_state_form *form,
                       const named_state *named) {
    const char **names = calloc((size_t)named->state.count + 1, sizeof *names);
    if (!names) return ct_fail_bool("module_load: out of memory");
    size_t count = 0;
    for (int i = 0; i < named->state.count; i++) {
        if (named->theirs[i]) names[count++] = named->theirs[i];
    }
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < from->count; i++) {
        const char *name = from->aliases[i].name;
        if (bsearch(&name, names, count, sizeof *names, compare_names)) continue;
        if (form && form->ignored && form->ignored(form->context, name)) continue;
        list_add(&m->extra, name, "");
    }
    free(names);
    return true;
}

static bool no_misfit(const source *from, const misfit *m) {
    const list *const lists[] = {&m->missing, &m->extra, &m->wrong};
    static const char *const what[] = {"missing", "extra", "of another shape or type"};
    if (!m->missing.count && !m->extra.count && !m->wrong.count) return true;
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    for (int i = 0; out && i < 3; i++) {
        if (lists[i]->text) fprintf(out, "; %d %s: %s", lists[i]->count, what[i], lists[i]->text);
    }
    char *text = ct_text_stream_close(&stream, out);
    ct_fail("module_load: %s does not fit the module%s", from->path, text ? text : "");
    free(text);
    return false;
}

/* False and one error with every name, if anything does not fit. */
static bool check_state(const source *from, const ct_state_form *form, const named_state *named,
                        bool strict) {
    misfit m = {
        .missing.most = MOST_MISFITS, .extra.most = MOST_MISFITS, .wrong.most = MOST_MISFITS};
    bool ok = true;
    for (int i = 0; i < named->state.count && ok; i++) {
        if (named->theirs[i]) {
            ok = compare_item(&m, from, named->theirs[i], named->state.items[i].entry->tensor);
        }
    }
    if (ok && strict) ok = find_extra(&m, from, form, named);
    list_end(&m.missing);
    list_end(&m.extra);
    list_end(&m.wrong);
    if (ok) ok = no_misfit(from, &m);
    free(m.missing.text);
    free(m.extra.text);
    free(m.wrong.text);
    return ok;
}

static bool assign_all(const source *from, const named_state *named) {
    bool ok = true;
    for (int i = 0; i < named->state.count && ok; i++) {
        if (!named->theirs[i]) continue;
        const char *name = find(from, named->theirs[i]);
        ct_tensor *to = named->state.items[i].entry->tensor;
        if (!name) {
            ok = ct_tensor_fill(to, 0); /* a count of batches */
            continue;
        }
        CT_SCOPE {
            const ct_tensor *given = ct_safetensors_get(from->file, name);
            ok = given && ct_state_assign(to, given);
        }
    }
    return ok;
}

static bool load(ct_module *module, const char *path, bool strict, const ct_state_form *form,
                 char **left_out) {
    if (left_out) *left_out = NULL;
    named_state named;
    if (!named_collect(module, form, &named)) return false;
    source from;
    list missing = {0};
    bool ok = source_open(&from, path, form, &named);
    if (ok) leave_optional(&from, form, &named, &missing);
    ok = ok && check_state(&from, form, &named, strict) && assign_all(&from, &named);
    source_close(&from);
    char *text = list_end(&missing);
    ok = ok && ct_ok();
    if (ok && left_out) *left_out = text;
    else free(text);
    named_free(&named);
    return ok;
}

bool ct_module_load_as(ct_module *module, const char *path, const ct_state_form *form,
                       char **left_out) {
    return load(module, path, true, form, left_out);
}

bool ct_module_load(ct_module *module, const char *path, bool strict) {
    return load(module, path, strict, NULL, NULL);
}
