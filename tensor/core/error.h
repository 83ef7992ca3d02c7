/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: sticky, one per thread, as in cairo.
 *
 * The library never exits and never prints. The first error of a thread stays until it is
 * cleared; operations given a NULL tensor return NULL and leave that first error alone. So a
 * program computes as if nothing could fail and asks once, at the end:
 *
 *     if (ct_error()) { fprintf(stderr, "%s\n", ct_error()); ct_error_clear(); }
 *
 * A message names the operation, what it was given and what was expected:
 *     matmul: inner sizes differ: (128,36,2048) x (1024,300)
 */
#ifndef CT_ERROR_H
#define CT_ERROR_H

#include <stdbool.h>

#include "tensor/core/declarations.h"

CT_BEGIN_DECLS

/* The message of this thread's first error, or NULL. Valid until ct_error_clear, not to be
 * freed. */
const char *ct_error(void);

/* True while this thread has no error. */
bool ct_ok(void);

/* Forgets this thread's error. */
void ct_error_clear(void);

/* Sets this thread's error if it has none yet (printf format). Always returns NULL, so that a
 * function returning a pointer can write `return ct_fail(...)`. */
void *ct_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for functions that return a bool: always false. */
bool ct_fail_bool(const char *format, ...) __attribute__((format(printf, 1, 2)));

CT_END_DECLS

#endif
