/* SPDX-License-Identifier: Apache-2.0 */
/* Text files: every one that the program reads is decoded and split into lines here.
 *
 * A file is UTF-8; a byte order mark at its beginning is none of its text. Lines end with "\n" or
 * "\r\n", the last one need not end, and a line is as long as it is. A NUL byte, UTF-16 and invalid
 * UTF-8 are errors that name file and line: "captions.txt:3: invalid UTF-8 at byte 7".
 */
#ifndef CT_TEXT_H
#define CT_TEXT_H

#include "tensor/tensor.h"

/* All of a file, without the mark, with a NUL behind it: `bytes` long (or NULL), from malloc. */
char *ct_text_read(const char *path, size_t *bytes);

/* Ends each line of such a text with a NUL in place and returns their beginnings, from malloc. NULL
 * and an error when out of memory. */
char **ct_text_lines(char *text, size_t bytes, int64_t *count);

/* A file too large to be held: a line at a time. Lines of more than 16 MB are an error. */
typedef struct ct_text ct_text;
/* `any_bytes`: lines that are not UTF-8 come as they are. */
ct_text *ct_text_open(const char *path, bool any_bytes);
void ct_text_close(ct_text *text);
/* The next line without its end, with a NUL behind it, valid until the next call and writable. NULL
 * at the end of the file (no error) or on error. */
char *ct_text_next(ct_text *text, size_t *length);
int64_t ct_text_line(const ct_text *text); /* the last one's number, from 1 */

#endif
