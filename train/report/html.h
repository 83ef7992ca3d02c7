/* SPDX-License-Identifier: Apache-2.0 */
/* Text on its way into a page of HTML. Internal to train/report/. */
#ifndef CT_REPORT_HTML_H
#define CT_REPORT_HTML_H

#include <stdint.h>
#include <stdio.h>

/* Writes a text so that it is read as it stands, between tags and within the quotes of an
 * attribute: & < > " ' become entities, what is no UTF-8 and control characters (but for tab and
 * newline) the replacement character. NULL: nothing. */
void ct_html(FILE *page, const char *text);

/* printf into a page whose arguments are escaped so, its format not. */
void ct_htmlf(FILE *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 1234567 as "1,234,567". */
void ct_html_whole(FILE *page, int64_t number);

#endif
