/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/html.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "tensor/tensor.h"

static void put(FILE *page, ucs4_t character) {
    switch (character) {
    case '&': fputs("&amp;", page); return;
    case '<': fputs("&lt;", page); return;
    case '>': fputs("&gt;", page); return;
    case '"': fputs("&quot;", page); return;
    case '\'': fputs("&#39;", page); return;
    default: break;
    }
    bool control = (character < 0x20 && character != '\t' && character != '\n') ||
                   (character >= 0x7f && character < 0xa0) || (character & 0xfffe) == 0xfffe;
    uint8_t bytes[6];
    int length = u8_uctomb(bytes, control ? 0xfffd : character, sizeof bytes);
    if (length > 0) fwrite(bytes, 1, (size_t)length, page);
}

void ct_html(FILE *page, const char *text) {
    const uint8_t *at = (const uint8_t *)text;
    size_t left = text ? strlen(text) : 0;
    while (left) {
        ucs4_t character;
        int length = u8_mbtouc(&character, at, left); /* U+FFFD for what is no UTF-8 */
        put(page, character);
        at += length;
        left -= (size_t)length;
    }
}

/* Each conversion of the format by itself: what it gives is escaped, what stands between is not. */
void ct_htmlf(FILE *page, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    for (const char *at = format; *at; at++) {
        if (*at != '%') fputc(*at, page);
        else if (*++at == 's') ct_html(page, va_arg(arguments, const char *));
        else if (*at == 'd') fprintf(page, "%d", va_arg(arguments, int));
        else fputc(*at, page);
    }
    va_end(arguments);
}

void ct_html_whole(FILE *page, int64_t number) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, number);
    for (int i = 0; i < length; i++) {
        int left = length - i;
        if (i && left % 3 == 0 && digits[i - 1] != '-') fputc(',', page);
        fputc(digits[i], page);
    }
}
