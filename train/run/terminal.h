/* SPDX-License-Identifier: Apache-2.0 */
/* What the terminal can, if there is one. */
#ifndef CT_TERMINAL_H
#define CT_TERMINAL_H

#include <stdbool.h>

/* From now on there is none, whatever it looks like: mpirun gives each rank a terminal of its own,
 * wherever what is printed goes. */
void ct_terminal_is_none(void);
/* Whether stdout is a terminal on which a line can be drawn again in its place: TERM is given, and
 * not "dumb". */
bool ct_terminal_redraws(void);
/* Its columns; 80 where it does not say. */
int ct_terminal_width(void);

typedef enum { CT_COLOUR_NONE, CT_COLOUR_GOOD, CT_COLOUR_WARNING, CT_COLOUR_WRONG } ct_colour;
/* What to print before a text of that colour, and, for NONE, behind it. "" where `file`
 * (STDOUT_FILENO or STDERR_FILENO) is no terminal with colours, or NO_COLOR is set to anything. */
const char *ct_terminal_colour(int file, ct_colour colour);

#endif
