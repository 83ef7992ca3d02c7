/* SPDX-License-Identifier: Apache-2.0 */
/* Text that is printed into memory. Internal, for all layers. What open_memstream of the C library
 * has no memory for is left out of the text, and nothing says so. */
#ifndef CT_TEXT_STREAM_H
#define CT_TEXT_STREAM_H

#include <stddef.h>
#include <stdio.h>

typedef struct {
    char *text;
    size_t size, room;
} ct_text_stream;

/* The stream that prints into `text`; NULL, without an error, when out of memory. It is to be
 * closed by ct_text_stream_close. */
FILE *ct_text_stream_open(ct_text_stream *text);
/* Closes the stream: the text, NUL-terminated, which the caller frees, of text->size bytes. NULL,
 * without an error, if there was no memory for all of it, or if `out` is NULL. */
char *ct_text_stream_close(ct_text_stream *text, FILE *out);

#endif
