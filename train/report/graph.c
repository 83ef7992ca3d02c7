/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/graph.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "train/report/html.h"

/* ---- what a box stands for --------------------------------------------------------------- */

/* The key of a row: "gcn" of "gcn.3". */
static int key_length(const char *name) { return (int)strcspn(name, "."); }

static bool same_key(const ct_model_row *a, const ct_model_row *b) {
    int length = key_length(a->name);
    return !strcmp(a->part, b->part) && length == key_length(b->name) &&
           !strncmp(a->name, b->name, (size_t)length);
}

/* What the configuration says under the key. */
static const char *value_of(const ct_description *d, const ct_model_row *row) {
    int length = key_length(row->name);
    for (int i = 0; i < d->count; i++) {
        const ct_description_entry *e = &d->entries[i];
        if (!strcmp(e->section, row->part) && (int)strlen(e->key) == length &&
            !strncmp(e->key, row->name, (size_t)length))
            return e->value;
    }
    return row->module;
}

/* "36 x 128" for one image; of a caption, whose words differ in number, "words x 128". */
static void write_shape(FILE *page, const ct_model_row *row) {
    const ct_shape *s = &row->output;
    for (int i = 1; i < s->ndim; i++) {
        if (i > 1) fputs(" \u00d7 ", page);
        if (i == 1 && s->ndim == 3 && !strcmp(row->part, "text")) fputs("words", page);
        else fprintf(page, "%" PRId64, s->dim[i]);
    }
}

/* ---- boxes ------------------------------------------------------------------------------- */

/* Rows of one key: as many modules one behind the other, or added to each other. */
static void write_box(FILE *page, const ct_description *d, const ct_model_row *rows, int count) {
    int64_t parameters = 0;
    for (int i = 0; i < count; i++) parameters += rows[i].parameters;
    fputs("<li><b>", page);
    fprintf(page, "%.*s", key_length(rows->name), rows->name); /* letters, digits, _ and - */
    ct_htmlf(page, "</b><code>%s</code><span>", value_of(d, rows));
    write_shape(page, &rows[count - 1]);
    if (parameters) {
        fputs("<i>", page);
        ct_html_whole(page, parameters);
        fputs(" parameters</i>", page);
    }
    fputs("</span></li>\n", page);
}

static void write_part(FILE *page, const ct_description *d, const ct_model_row *rows, int count,
                       const char *part) {
    for (int i = 0; i < count;) {
        int end = i + 1;
        while (end < count && same_key(&rows[i], &rows[end])) end++;
        if (!strcmp(rows[i].part, part)) write_box(page, d, &rows[i], end - i);
        i = end;
    }
}

static void write_losses(FILE *page, const ct_description *d) {
    fputs("<ul class=\"losses\"><li><b>Losses</b></li>\n", page);
    for (int i = 0; i < d->count; i++) {
        if (strcmp(d->entries[i].section, "loss")) continue;
        ct_htmlf(page, "<li><b>%s</b><code>%s</code></li>\n", d->entries[i].key,
                 d->entries[i].value);
    }
    fputs("</ul>\n", page);
}

static const char *measure_name(ct_measure measure) {
    return measure == CT_ORDER ? "order similarity" : "cosine similarity";
}

bool ct_graph_write(FILE *page, const ct_experiment *e) {
    int count = 0;
    const ct_description *d = &e->config->model;
    ct_model_row *rows = ct_model_table(e->model, 1, 1, &count);
    if (!rows) return false;
    fputs("<div class=\"graph\"><ol class=\"chain\"><li class=\"end\"><b>image</b><span>", page);
    if (e->pictures)
        fprintf(page, "3 \u00d7 %" PRId64 " \u00d7 %" PRId64, e->view.size, e->view.size);
    else fprintf(page, "%" PRId64 " \u00d7 %" PRId64, e->sizes.regions, e->sizes.features);
    fputs("</span></li>\n", page);
    write_part(page, d, rows, count, "image");
    fputs("</ol><ol class=\"chain\"><li class=\"end\"><b>caption</b><span>vocabulary ", page);
    ct_html_whole(page, e->sizes.vocabulary);
    fputs("</span></li>\n", page);
    write_part(page, d, rows, count, "text");
    ct_htmlf(page, "</ol><p class=\"joint\"><b>%s</b></p>\n",
             measure_name(ct_model_measure(e->model)));
    write_losses(page, d);
    fputs("</div>\n", page);
    free(rows);
    return true;
}
