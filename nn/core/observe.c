/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "nn/core/module.h"
#include "nn/observe.h"

static _Thread_local struct {
    ct_observer see;
    void *context;
} observer;

void ct_set_observer(ct_observer see, void *context) {
    observer.see = see;
    observer.context = context;
}

void ct_observed(const ct_module *module, const char *what, ct_tensor *value) {
    if (observer.see && module && what && value && !ct_is_recomputing())
        observer.see(observer.context, module, what, value);
}

/* The length of the path that was written, or would have been, had there been room; -1: not below
 * root. */
static int write_path(const ct_module *root, const ct_module *module, char *text, size_t size) {
    if (module == root) {
        if (size) *text = '\0';
        return 0;
    }
    if (!module || !module->parent) return -1;
    int length = write_path(root, module->parent, text, size);
    if (length < 0) return -1;
    bool room = (size_t)length < size;
    return length + snprintf(room ? text + length : NULL, room ? size - (size_t)length : 0, "%s%s",
                             length ? "." : "", module->name);
}

bool ct_module_path(const ct_module *root, const ct_module *module, char *text, size_t size) {
    if (!ct_check_pointer("module_path", "the root", root) ||
        !ct_check_pointer("module_path", "the module", module) ||
        !ct_check_list("module_path", "text", text, (int64_t)size)) {
        return false;
    }
    int length = write_path(root, module, text, size);
    if (length < 0)
        return ct_fail_bool("module_path: %s is not below the root", ct_module_label(module));
    return (size_t)length < size ||
           ct_fail_bool("module_path: a path of %d bytes does not fit into %zu", length, size);
}
