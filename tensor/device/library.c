/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/device/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the program or shared library that this code is in, `up` folders above it, and
 * `name`; false if there is no such file. */
static bool beside_us(const char *name, int up, char path[CT_LIBRARY_PATH]) {
    Dl_info us;
    if (!dladdr((void *)&ct_library_find, &us) || !us.dli_fname) return false;
    char *real = realpath(us.dli_fname, NULL);
    if (!real) return false;
    for (int i = 0; i <= up; i++) {
        char *slash = strrchr(real, '/');
        if (slash) *slash = 0;
    }
    int length = snprintf(path, CT_LIBRARY_PATH, "%s/%s", real, name);
    free(real);
    return length < CT_LIBRARY_PATH && access(path, R_OK) == 0;
}

const char *ct_library_find(const char *name, const char *variable, char path[CT_LIBRARY_PATH]) {
    const char *given = getenv(variable);
    if (given && *given) return given;
    if (beside_us(name, 0, path) || beside_us(name, 1, path)) return path;
    int length = snprintf(path, CT_LIBRARY_PATH, "%s/%s", CT_LIBDIR, name);
    return length < CT_LIBRARY_PATH && access(path, R_OK) == 0 ? path : name;
}
