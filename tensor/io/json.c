/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/io/json.h"

#include <errno.h>
#include <stdlib.h>

#include "tensor/core/error.h"

/* Where there is no memory to convert a number, it becomes another: only errno tells. */
json_t *ct_json_read(const char *text, size_t bytes, size_t flags, json_error_t *error) {
    errno = 0;
    json_t *root = json_loadb(text, bytes, flags, error);
    if (errno != ENOMEM) return root;
    json_decref(root);
    return ct_fail("out of memory");
}

char *ct_json_text(const json_t *root, size_t flags) {
    errno = 0;
    char *text = root ? json_dumps(root, flags) : NULL;
    if (errno != ENOMEM) return text;
    free(text);
    return NULL;
}

bool ct_json_set(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0 || ct_fail_bool("out of memory");
}

bool ct_json_append(json_t *array, json_t *value) {
    return json_array_append_new(array, value) == 0 || ct_fail_bool("out of memory");
}

bool ct_json_join(json_t *object, json_t *from) {
    bool joined = from && json_object_update(object, from) == 0;
    json_decref(from);
    return joined || ct_fail_bool("out of memory");
}
