/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/core/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tensor/core/excuse.h"

/* Long: a state dictionary that does not fit lists every name. */
static _Thread_local char message[16384];
static _Thread_local bool failed;

const char *ct_error(void) { return failed ? message : NULL; }

bool ct_ok(void) { return !failed; }

void ct_error_clear(void) { failed = false; }

bool ct_error_is_of_memory(void) {
    return failed && (strstr(message, "out of memory") || strstr(message, "no memory for") ||
                      strstr(message, strerror(ENOMEM)));
}

bool ct_error_excuse(void) {
    if (!ct_error_is_of_memory()) failed = false;
    return !failed;
}

bool ct_error_prefix(const char *format, ...) {
    char before[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(before, sizeof before, format, arguments);
    va_end(arguments);
    size_t length = strlen(before), room = sizeof message - 1 - length;
    if (!failed) return false;
    message[room] = '\0';
    memmove(message + length, message, strlen(message) + 1);
    memcpy(message, before, length);
    return false;
}

static void set_first(const char *format, va_list arguments) {
    if (failed) return;
    vsnprintf(message, sizeof message, format, arguments);
    failed = true;
}

void *ct_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    set_first(format, arguments);
    va_end(arguments);
    return NULL;
}

bool ct_fail_bool(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    set_first(format, arguments);
    va_end(arguments);
    return false;
}
