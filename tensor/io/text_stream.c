/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/io/text_stream.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* Grown by doubling; a byte is left for the end. What is not taken is an error of the stream. */
static ssize_t take(void *context, const char *data, size_t bytes) {
    ct_text_stream *t = context;
    size_t room = t->room ? t->room : 256;
    while (room - t->size <= bytes) room *= 2;
    if (room > t->room) {
        char *larger = realloc(t->text, room);
        if (!larger) return 0;
        t->text = larger;
        t->room = room;
    }
    memcpy(t->text + t->size, data, bytes);
    t->size += bytes;
    return (ssize_t)bytes;
}

FILE *ct_text_stream_open(ct_text_stream *text) {
    *text = (ct_text_stream){0};
    return fopencookie(text, "w", (cookie_io_functions_t){.write = take});
}

char *ct_text_stream_close(ct_text_stream *text, FILE *out) {
    if (!out) return NULL;
    bool whole = fflush(out) == 0 && !ferror(out) && (text->text || take(text, "", 0) == 0);
    fclose(out);
    if (whole && text->text) {
        text->text[text->size] = '\0';
        return text->text;
    }
    free(text->text);
    *text = (ct_text_stream){0};
    return NULL;
}
