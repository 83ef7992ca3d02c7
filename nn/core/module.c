/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of modules: construction, ownership, lookup, modes. */
#include "nn/core/module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- creation and destruction ----------------------------------------------------------- */

ct_module *ct_module_create(const char *type) {
    if (!type || !*type) return ct_fail("module_create: no type given");
    if (!ct_ok()) return NULL;
    ct_module *module = calloc(1, sizeof *module);
    if (!module) return ct_fail("%s: out of memory", type);
    module->type = strdup(type);
    module->training = true;
    if (module->type) return module;
    ct_module_destroy(module);
    return ct_fail("%s: out of memory", type);
}

ct_module *ct_module_create_as(const ct_module_class *class, const void *self, size_t size) {
    ct_module *module = ct_module_create(class->name);
    if (!module) return NULL;
    module->class = class;
    module->forward = class->forward;
    if (!size) return module;
    module->self = malloc(size);
    module->release = free;
    if (module->self) {
        memcpy(module->self, self, size);
        return module;
    }
    ct_module_destroy(module);
    return ct_fail("%s: out of memory", class->name);
}

ct_module *ct_module_if(ct_module *module, bool ok) {
    if (ok) return module;
    ct_module_destroy(module);
    return NULL;
}

static void entry_free(ct_module_entry *entry) {
    free(entry->name);
    ct_release(entry->tensor);
}

void ct_module_destroy(ct_module *module) {
    if (!module) return;
    for (int i = 0; i < module->child_count; i++) ct_module_destroy(module->child_list[i]);
    for (int i = 0; i < module->entry_count; i++) entry_free(&module->entries[i]);
    if (module->release && module->self) module->release(module->self);
    free(module->child_list);
    free(module->entries);
    free(module->type);
    free(module->name);
    free(module);
}

/* ---- children --------------------------------------------------------------------------- */

/* Grows a list by one element; NULL when out of memory, the list then unchanged. Lists grow to
 * powers of two, so that the capacity need not be stored. */
static void *grown(void *list, int count, size_t size) {
    if (count & (count - 1)) return list;
    return realloc(list, (size_t)(count ? 2 * count : 1) * size);
}

static bool name_is_free(const char *op, const ct_module *module, const char *name) {
    if (!name || !*name || strchr(name, '.')) {
        return ct_fail_bool("%s: name '%s' in %s: expected a name without dots", op,
                            name ? name : "", ct_module_label(module));
    }
    if (ct_module_entry_named(module, name) || ct_module_child((ct_module *)module, name)) {
        return ct_fail_bool("%s: %s already has a '%s'", op, ct_module_label(module), name);
    }
    return true;
}

static bool contains(const ct_module *module, const ct_module *other) {
    for (; other; other = other->parent) {
        if (other == module) return true;
    }
    return false;
}

ct_module *ct_module_add(ct_module *parent, const char *name, ct_module *child) {
    if (!child) return ct_ok() ? ct_fail("module_add: '%s' is NULL", name ? name : "") : NULL;
    /* A child that belongs elsewhere is not ours to destroy. */
    if (child->parent) {
        return ct_fail("module_add: '%s' already belongs to a module", child->name);
    }
    if (contains(child, parent)) return ct_fail("module_add: a module cannot contain itself");
    if (!parent) {
        if (ct_ok()) ct_fail("module_add: the parent of '%s' is NULL", name ? name : "");
        return ct_module_if(child, false);
    }
    if (!name_is_free("module_add", parent, name)) return ct_module_if(child, false);
    ct_module **list = grown(parent->child_list, parent->child_count, sizeof *list);
    if (list) parent->child_list = list;
    char *copy = strdup(name);
    if (!list || !copy) {
        free(copy);
        ct_fail("module_add: out of memory");
        return ct_module_if(child, false);
    }
    child->name = copy;
    child->parent = parent;
    return parent->child_list[parent->child_count++] = child;
}

ct_module *ct_module_child(ct_module *module, const char *name) {
    for (int i = 0; module && name && i < module->child_count; i++) {
        if (strcmp(module->child_list[i]->name, name) == 0) return module->child_list[i];
    }
    return NULL;
}

int ct_module_children(const ct_module *module) { return module ? module->child_count : 0; }

ct_module *ct_module_child_at(ct_module *module, int i, const char **name) {
    if (!module || i < 0 || i >= module->child_count) return NULL;
    if (name) *name = module->child_list[i]->name;
    return module->child_list[i];
}

const char *ct_module_type(const ct_module *module) { return module ? module->type : NULL; }

const char *ct_module_label(const ct_module *module) {
    static _Thread_local char text[96];
    if (!module->name) return "the module";
    snprintf(text, sizeof text, "module '%s'", module->name);
    return text;
}

static bool is_another(const char *op, const ct_module *module) {
    const char *article = strchr("aeiou", module->type[0]) ? "an" : "a";
    return ct_fail_bool("%s: %s is %s %s", op, ct_module_label(module), article, module->type);
}

bool ct_module_is(const char *op, const ct_module *module, const ct_module_class *class) {
    if (!module) return ct_ok() ? ct_fail_bool("%s: module is NULL", op) : false;
    if (module->class == class) return true;
    if (strcmp(module->type, class->name) == 0) {
        return ct_fail_bool("%s: %s is a container called '%s', not one of ct_%s_create", op,
                            ct_module_label(module), module->type, class->name);
    }
    return is_another(op, module);
}

bool ct_module_expect(const char *op, const ct_module *module, ct_forward_function forward) {
    if (!op || !forward) return ct_fail_bool("module_expect: op or forward is NULL");
    if (!module) return ct_ok() ? ct_fail_bool("%s: module is NULL", op) : false;
    if (module->forward == forward) return true;
    if (strcmp(module->type, op) == 0) {
        return ct_fail_bool("%s: %s is a container called '%s' with another forward", op,
                            ct_module_label(module), module->type);
    }
    return is_another(op, module);
}

bool ct_nn_input(const char *op, const char *what, const ct_tensor *x, int ndim) {
    if (!x) return ct_ok() ? ct_fail_bool("%s: %s is NULL", op, what) : false;
    if (ndim >= 0 && x->shape.ndim != ndim) {
        return ct_fail_bool("%s: %s is %s, expected %d dimensions", op, what, ct_tensor_text(x),
                            ndim);
    }
    return true;
}

bool ct_nn_option(const char *op, const char *field, double value, bool good,
                  const char *expected) {
    return good || ct_fail_bool("%s: %s is %.10g, expected %s", op, field, value, expected);
}

bool ct_nn_size(const char *op, const char *what, int64_t size) {
    return (size >= 1 && size <= INT32_MAX) ||
           ct_fail_bool("%s: %s is %lld, expected 1 to %d", op, what, (long long)size, INT32_MAX);
}

/* ---- tensors ---------------------------------------------------------------------------- */

ct_module_entry *ct_module_entry_named(const ct_module *module, const char *name) {
    for (int i = 0; module && i < module->entry_count; i++) {
        if (strcmp(module->entries[i].name, name) == 0) return &module->entries[i];
    }
    return NULL;
}

ct_tensor *ct_module_own(const ct_module *module, const char *name) {
    ct_module_entry *entry = ct_module_entry_named(module, name);
    return entry ? entry->tensor : NULL;
}

void ct_module_remove(ct_module *module, const char *name) {
    ct_module_entry *entry = ct_module_entry_named(module, name);
    if (!entry) return;
    entry_free(entry);
    ct_module_entry *end = module->entries + --module->entry_count;
    memmove(entry, entry + 1, (size_t)(end - entry) * sizeof *entry);
}

/* A copy of value of the module's own, outside every scope. */
static ct_tensor *own_copy(const ct_tensor *value, bool buffer) {
    ct_tensor *kept = NULL;
    CT_SCOPE {
        ct_tensor *copy = ct_tensor_copy(value);
        if (copy && !buffer) copy = ct_require_grad(copy);
        kept = ct_keep(copy);
    }
    return kept;
}

static ct_tensor *add_entry(const char *op, ct_module *module, const char *name,
                            const ct_tensor *value, bool buffer) {
    if (!module) return ct_ok() ? ct_fail("%s: module is NULL", op) : NULL;
    if (!ct_nn_input(op, name ? name : "value", value, -1)) return NULL;
    if (!name_is_free(op, module, name)) return NULL;
    ct_module_entry *list = grown(module->entries, module->entry_count, sizeof *list);
    if (list) module->entries = list;
    char *copied_name = strdup(name);
    ct_tensor *tensor = own_copy(value, buffer);
    if (!list || !copied_name || !tensor) {
        free(copied_name);
        ct_release(tensor);
        return ct_ok() ? ct_fail("%s: out of memory", op) : NULL;
    }
    module->entries[module->entry_count++] = (ct_module_entry){copied_name, tensor, buffer};
    return tensor;
}

ct_tensor *ct_module_parameter(ct_module *module, const char *name, const ct_tensor *value) {
    return add_entry("module_parameter", module, name, value, false);
}

ct_tensor *ct_module_buffer(ct_module *module, const char *name, const ct_tensor *value) {
    return add_entry("module_buffer", module, name, value, true);
}

bool ct_module_constant(ct_module *module, const char *name, ct_shape shape, double value) {
    bool ok = false;
    CT_SCOPE { ok = ct_module_parameter(module, name, ct_full(CT_F32, CT_CPU, shape, value)); }
    return ok;
}

bool ct_module_constant_buffer(ct_module *module, const char *name, ct_shape shape, double value) {
    bool ok = false;
    CT_SCOPE { ok = ct_module_buffer(module, name, ct_full(CT_F32, CT_CPU, shape, value)); }
    return ok;
}

bool ct_module_uniform(ct_module *module, const char *name, ct_shape shape, double bound) {
    bool ok = false;
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, shape);
        ok = ct_init_uniform(x, -bound, bound, ct_default_rng()) &&
             ct_module_parameter(module, name, x);
    }
    return ok;
}

bool ct_module_normal(ct_module *module, const char *name, ct_shape shape) {
    bool ok = false;
    CT_SCOPE {
        ct_tensor *x = ct_empty(CT_F32, CT_CPU, shape);
        ok = ct_init_normal(x, 0, 1, ct_default_rng()) && ct_module_parameter(module, name, x);
    }
    return ok;
}

/* ---- state below a module --------------------------------------------------------------- */

static bool collect_below(const ct_module *module, const char *prefix, ct_state *state) {
    for (int i = 0; i < module->entry_count; i++) {
        ct_state_item *items = grown(state->items, state->count, sizeof *items);
        if (!items) return false;
        state->items = items;
        char *name;
        if (asprintf(&name, "%s%s", prefix, module->entries[i].name) < 0) return false;
        state->items[state->count++] = (ct_state_item){name, &module->entries[i]};
    }
    for (int i = 0; i < module->child_count; i++) {
        char *below;
        if (asprintf(&below, "%s%s.", prefix, module->child_list[i]->name) < 0) return false;
        bool ok = collect_below(module->child_list[i], below, state);
        free(below);
        if (!ok) return false;
    }
    return true;
}

bool ct_state_collect(ct_module *module, ct_state *state) {
    *state = (ct_state){0};
    if (!module) return ct_ok() ? ct_fail_bool("module is NULL") : false;
    if (collect_below(module, "", state)) return true;
    ct_state_free(state);
    return ct_fail_bool("module state: out of memory");
}

void ct_state_free(ct_state *state) {
    for (int i = 0; i < state->count; i++) free(state->items[i].name);
    free(state->items);
    *state = (ct_state){0};
}

bool ct_module_visit(ct_module *module, ct_state_visitor visit, void *context) {
    ct_state state;
    if (!visit) return ct_fail_bool("module_visit: the function is NULL");
    if (!ct_state_collect(module, &state)) return false;
    bool ok = true;
    for (int i = 0; i < state.count && ok; i++) {
        ct_module_entry *entry = state.items[i].entry;
        ok = visit(context, state.items[i].name, entry->tensor, entry->buffer);
    }
    ct_state_free(&state);
    return ok;
}

ct_tensor *ct_module_tensor(ct_module *module, const char *name) {
    while (module && name) {
        const char *dot = strchr(name, '.');
        if (!dot) return ct_module_own(module, name);
        ct_module *below = NULL;
        size_t length = (size_t)(dot - name);
        for (int i = 0; i < module->child_count && !below; i++) {
            const char *child = module->child_list[i]->name;
            if (strncmp(child, name, length) == 0 && !child[length]) below = module->child_list[i];
        }
        module = below;
        name = dot + 1;
    }
    return NULL;
}

int64_t ct_module_parameter_count(ct_module *module) {
    int64_t count = 0;
    for (int i = 0; module && i < module->entry_count; i++) {
        ct_tensor *x = module->entries[i].tensor;
        if (!module->entries[i].buffer && ct_requires_grad(x)) count += ct_count(x);
    }
    for (int i = 0; module && i < module->child_count; i++) {
        count += ct_module_parameter_count(module->child_list[i]);
    }
    return count;
}

/* ---- modes ------------------------------------------------------------------------------ */

void ct_module_train(ct_module *module, bool training) {
    if (!module) return;
    module->training = training;
    for (int i = 0; i < module->child_count; i++) {
        ct_module_train(module->child_list[i], training);
    }
}

bool ct_module_training(const ct_module *module) { return module && module->training; }

void ct_module_require_grad(ct_module *module, bool required) {
    if (!module) return;
    for (int i = 0; i < module->entry_count; i++) {
        if (module->entries[i].buffer) continue;
        if (required) {
            ct_require_grad(module->entries[i].tensor);
        } else {
            ct_forget_grad(module->entries[i].tensor);
        }
    }
    for (int i = 0; i < module->child_count; i++) {
        ct_module_require_grad(module->child_list[i], required);
    }
}

void ct_module_zero_grad(ct_module *module) {
    if (!module) return;
    for (int i = 0; i < module->entry_count; i++) {
        if (!module->entries[i].buffer) ct_zero_grad(module->entries[i].tensor);
    }
    for (int i = 0; i < module->child_count; i++) ct_module_zero_grad(module->child_list[i]);
}

/* ---- a module's own type ---------------------------------------------------------------- */

void ct_module_set_forward(ct_module *module, ct_forward_function forward) {
    if (module) module->forward = forward;
}

void ct_module_set_self(ct_module *module, void *self, void (*release)(void *self)) {
    if (!module) {
        if (release && self) release(self);
        return;
    }
    if (module->class) {
        ct_fail("module_set_self: %s is a %s, which has its own", ct_module_label(module),
                module->type);
        if (release && self) release(self);
        return;
    }
    if (module->release && module->self) module->release(module->self);
    module->self = self;
    module->release = release;
}

void *ct_module_self(const ct_module *module) { return module ? module->self : NULL; }

ct_tensor *ct_forward(ct_module *module, ct_tensor *x) {
    if (!module) return ct_ok() ? ct_fail("forward: module is NULL") : NULL;
    if (!module->forward) {
        return ct_fail("forward: %s (%s) has no forward of one input", ct_module_label(module),
                       module->type);
    }
    return module->forward(module, x);
}
