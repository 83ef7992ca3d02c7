/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of INI files, as long as they are: [section], key = value or key: value; a line that begins
 * with ; or # is a comment, as is what follows a ; behind white space. Between double quotes a ; is
 * none.
 *
 * Our own, since Debian's library (libinih 55) is built otherwise than this needs: it gives a
 * line's first 200 bytes to its user and takes the rest for another line (paths are longer), does
 * not tell the line's number, which every message here names, ends a value at a ; within quotes,
 * and takes an indented line for more of the value above it. */
#ifndef CT_INI_H
#define CT_INI_H

#include <stdbool.h>

typedef enum { CT_INI_NOTHING, CT_INI_SECTION, CT_INI_SETTING, CT_INI_WRONG } ct_ini_kind;

typedef struct {
    ct_ini_kind kind;
    char *name,
        *value; /* of a section or a key; of a key. In the line, without white space around */
} ct_ini_line;

/* Cuts the line in place. WRONG: it is none of these. */
ct_ini_line ct_ini_parse(char *line);

/* Whether a value written behind "key = " is read again as it is. */
bool ct_ini_comes_back(const char *value);

/* `value`, or what is between the quotes where it is one quoted text: from malloc; NULL when out of
 * memory. */
char *ct_ini_unquoted(const char *value);

#endif
