/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that can be done without, and that another place knows more of. Internal, for all layers.
 */
#ifndef CT_EXCUSE_H
#define CT_EXCUSE_H

#include <stdbool.h>

/* Whether the thread's error says that memory was short, in the words that all such errors have. */
bool ct_error_is_of_memory(void);
/* Forgets the thread's error, as of a cache that cannot be read: it can be done without. Without
 * memory nothing can: such an error stays. Whether there is none now. */
bool ct_error_excuse(void);
/* Puts what is formatted before the thread's error, if there is one: of which line or step it is.
 * False. */
bool ct_error_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
