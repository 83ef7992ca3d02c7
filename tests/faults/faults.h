/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the preloaded library share: which of the counted events fails.
 *
 * CT_FAULT says it: "KIND NUMBER once|on|kill [ERRNO]", the NUMBER-th (from 1) of a kind alone,
 * or it and all after it, or it ends the process as kill -9 does. CT_FAULT_LOG names a file to
 * which a line goes for each event, "KIND HASH LIBRARY" with a hash of the calls that led there and
 * who asked, or, where something is to fail, for the first that did. Counted is from the beginning
 * of main. */
#ifndef CT_FAULTS_H
#define CT_FAULTS_H

#include <stdbool.h>

/* Counts an event of a kind; whether it fails, with errno set. */
bool fault_now(const char *kind);
/* Begins to make system calls fail, where CT_FAULT asks for that. */
void fault_watch_calls(const char *kind);

#endif
