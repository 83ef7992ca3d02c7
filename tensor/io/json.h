/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that is whole, or an error. Internal, for all layers. jansson's functions leave out what
 * there is no memory for, or say that the text is wrong. */
#ifndef CT_JSON_H
#define CT_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* As json_loadb; the thread's error is set only where there is no memory. */
json_t *ct_json_read(const char *text, size_t bytes, size_t flags, json_error_t *error);
/* As json_dumps: from malloc. NULL, without an error, where `root` is NULL or there is no memory.
 */
char *ct_json_text(const json_t *root, size_t flags);

/* Take over `value`. False with an error where it is NULL, or there is no memory. */
bool ct_json_set(json_t *object, const char *key, json_t *value);
bool ct_json_append(json_t *array, json_t *value);
/* Adds all members of `from`, which is taken over, too. */
bool ct_json_join(json_t *object, json_t *from);

#endif
