/* SPDX-License-Identifier: Apache-2.0 */
/* Lines that are typed: on a terminal with a prompt and, where libedit is there, line editing and
 * history; from a pipe or a file as they come. */
#ifndef CT_DIALOGUE_H
#define CT_DIALOGUE_H

/* The next line without its end, from malloc; NULL at the end (Ctrl-D) or without memory. The
 * prompt goes to stderr. */
char *ct_dialogue_line(const char *prompt);

#endif
