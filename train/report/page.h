/* SPDX-License-Identifier: Apache-2.0 */
/* The page around what a report says: train/report/page.html, which is built in. Internal to
 * train/report/. */
#ifndef CT_REPORT_PAGE_H
#define CT_REPORT_PAGE_H

#include <stdbool.h>
#include <stdio.h>

/* Writes PATH whole: the template with the title, and with what `body` writes. False and an error
 * if that returns false or the file cannot be written: then what was there stays. */
bool ct_page_save(const char *path, const char *title, bool (*body)(FILE *page, void *context),
                  void *context);

/* Begins a section of the page, with its heading; `id` is what links name. */
void ct_page_section(FILE *page, const char *id, const char *heading);

#endif
