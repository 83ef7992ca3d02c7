/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/io/json.h"

#include <pthread.h>
#include <stdlib.h>

#include "tensor/core/error.h"

/* Where there is no memory, jansson leaves out a character of a text, or makes a number another,
 * and says nothing, or what is not so. Only what it gets its memory by can tell. */
static _Thread_local bool was_short;
static json_malloc_t next_malloc;

static void *watched_malloc(size_t size) {
    void *block = next_malloc(size);
    if (!block && size) was_short = true;
    return block;
}

static void watch_memory(void) {
    json_free_t next_free;
    json_get_alloc_funcs(&next_malloc, &next_free);
    json_set_alloc_funcs(watched_malloc, next_free);
}

static void begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_memory);
    was_short = false;
}

json_t *ct_json_read(const char *text, size_t bytes, size_t flags, json_error_t *error) {
    begin();
    json_t *root = json_loadb(text, bytes, flags, error);
    if (!was_short) return root;
    json_decref(root);
    return ct_fail("out of memory");
}

char *ct_json_text(const json_t *root, size_t flags) {
    begin();
    char *text = root ? json_dumps(root, flags) : NULL;
    if (!was_short) return text;
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
