/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/page.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/io/text_stream.h"
#include "tensor/tensor.h"
#include "train/report/html.h"

static const char template[] = {
#include "page.html.h"
    0};

/* The template up to a mark; what follows it. */
static const char *copy_to(FILE *page, const char *at, const char *mark) {
    const char *end = strstr(at, mark);
    fwrite(at, 1, (size_t)(end - at), page);
    return end + strlen(mark);
}

bool ct_page_save(const char *path, const char *title, bool (*body)(FILE *page, void *context),
                  void *context) {
    ct_text_stream stream;
    FILE *page = ct_text_stream_open(&stream);
    if (!page) return ct_fail_bool("%s: out of memory", path);
    const char *rest = copy_to(page, template, "{{title}}");
    ct_html(page, title);
    rest = copy_to(page, rest, "{{body}}");
    bool done = body(page, context);
    fputs(rest, page);
    char *text = ct_text_stream_close(&stream, page);
    if (done && !text) done = ct_fail_bool("%s: out of memory", path);
    done = done && ct_ok() && ct_file_write(path, text, stream.size);
    free(text);
    return done;
}

void ct_page_section(FILE *page, const char *id, const char *heading) {
    ct_htmlf(page, "<h2 id=\"%s\">%s</h2>\n", id, heading);
}
