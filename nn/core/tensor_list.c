/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/core/tensor_list.h"

#include <stdio.h>
#include <stdlib.h>

static bool grow(ct_tensor_list *list) {
    int capacity = list->capacity ? 2 * list->capacity : 64;
    ct_named_tensor *items = realloc(list->items, (size_t)capacity * sizeof *items);
    if (!items) return ct_fail_bool("list of tensors: out of memory");
    list->items = items;
    list->capacity = capacity;
    return true;
}

bool ct_tensor_list_add(ct_tensor_list *list, const char *prefix, const char *name,
                        const ct_tensor *tensor) {
    if (!tensor) return ct_ok() ? ct_fail_bool("list of tensors: '%s' is NULL", name) : false;
    if (list->count == list->capacity && !grow(list)) return false;
    char *full = NULL;
    if (asprintf(&full, "%s%s", prefix, name) < 0) {
        return ct_fail_bool("list of tensors: out of memory");
    }
    list->items[list->count++] = (ct_named_tensor){full, ct_keep((ct_tensor *)tensor)};
    return true;
}

void ct_tensor_list_clear(ct_tensor_list *list) {
    for (int i = 0; i < list->count; i++) {
        free((char *)list->items[i].name);
        ct_release((ct_tensor *)list->items[i].tensor);
    }
    free(list->items);
    *list = (ct_tensor_list){0};
}
