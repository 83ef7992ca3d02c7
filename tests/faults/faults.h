/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the preloaded library share: which of the counted events fails.
 *
 * CT_FAULT says it: "KIND NUMBER once|on|kill [ERRNO]", the NUMBER-th (from 1) of a kind alone,
 * or it and all after it, or it ends the process as kill -9 does. CT_FAULT_LOG names a file to
 * which a line goes for each event, "KIND HASH LIBRARY" with a hash of the calls that led there and
 * who asked, or, where something is to fail, for the first that did; and, where main returns, one
 * "live LIBRARY=BLOCKS ..." of what is allocated then and by whom. Counted is from the beginning of
 * main.
 *
 * With CT_FAULT_SERVER, main is run in a new process for each line "FOLDER LOG OUTPUT ERRORS
 * FAULT", parted by tabs, that comes from descriptor 3: in that folder, with these files and
 * CT_FAULT. To descriptor 4 goes a line with its number, and one with its status when it has ended.
 * That saves the half of a short run that libraries take to be loaded.
 *
 * With CT_FAULT_SERVER=trunk it is run once, from that folder on, and the new processes branch off
 * from it where an allocation is to fail: in the order of their numbers. It says the number there,
 * and waits for an empty line until folder, output and errors are copied to those of the line; or
 * says 0, where it had no such allocation. That saves all that comes before the fault, too. */
#ifndef CT_FAULTS_H
#define CT_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

/* Counts an event of a kind; whether it fails, with errno set. */
bool fault_now(const char *kind);
/* Counts blocks of memory: kept.c. */
void fault_keep_begin(void);
void fault_keep(const void *block, const void *caller);
void fault_let_go(const void *block);
/* "live LIBRARY=BLOCKS ..." */
void fault_say_kept(char *line, size_t size);
/* Begins to make system calls fail, where CT_FAULT asks for that. */
void fault_watch_calls(const char *kind);

#endif
