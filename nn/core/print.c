/* SPDX-License-Identifier: Apache-2.0 */
/* A module as a table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/core/module.h"
#include "tensor/io/text_stream.h"

enum { ELEMENTS = 4, COLUMNS = 6 };
static const char *const heads[COLUMNS] = {"module", "type", "parameter", "shape", "elements", ""};

/* Run twice over the tree: first to measure (out NULL), then to print. */
typedef struct {
    FILE *out;
    int width[COLUMNS];
    int64_t trained, frozen, buffers; /* elements */
} table;

/* No spaces at the end of a line: cells at the end may be "". */
static void put_row(table *t, const char *const cell[COLUMNS]) {
    int used = COLUMNS;
    while (used > 0 && !*cell[used - 1]) used--;
    for (int i = 0; i < used; i++) {
        int length = (int)strlen(cell[i]), width = i == used - 1 ? 0 : t->width[i];
        if (!t->out && length > t->width[i]) t->width[i] = length;
        if (t->out && i == ELEMENTS) fprintf(t->out, "%*s", t->width[i], cell[i]);
        else if (t->out) fprintf(t->out, "%-*s", width, cell[i]);
        if (t->out) fputs(i == used - 1 ? "\n" : "  ", t->out);
    }
}

static void put_tensor(table *t, const char *name, const char *type, const ct_module_entry *entry) {
    bool trained = !entry->buffer && ct_requires_grad(entry->tensor);
    int64_t *sum = entry->buffer ? &t->buffers : trained ? &t->trained : &t->frozen;
    *sum += ct_count(entry->tensor);
    char count[24];
    snprintf(count, sizeof count, "%lld", (long long)ct_count(entry->tensor));
    const char *state = entry->buffer ? "buffer" : trained ? "trained" : "frozen";
    put_row(t, (const char *[COLUMNS]){name, type, entry->name, ct_tensor_text(entry->tensor),
                                       count, state});
}

/* A line for a module, with its first tensor, one for each other tensor, then its children's. */
static bool put_module(table *t, const ct_module *module, const char *name) {
    const char *alone[COLUMNS] = {name, module->type, "", "", "", ""};
    if (module->entry_count == 0) put_row(t, alone);
    for (int i = 0; i < module->entry_count; i++) {
        put_tensor(t, i ? "" : name, i ? "" : module->type, &module->entries[i]);
    }
    bool done = true;
    for (int i = 0; done && i < module->child_count; i++) {
        const ct_module *child = module->child_list[i];
        char *below;
        if (asprintf(&below, "%s%s%s", name, *name ? "." : "", child->name) < 0) return false;
        done = put_module(t, child, below);
        free(below);
    }
    return done;
}

static bool put_all(table *t, const ct_module *module) {
    t->trained = t->frozen = t->buffers = 0;
    put_row(t, heads);
    return put_module(t, module, "");
}

char *ct_module_print_text(const ct_module *module) {
    if (!module) return ct_ok() ? ct_fail("module_print: module is NULL") : NULL;
    ct_text_stream stream;
    table t = {0};
    bool done = put_all(&t, module) && (t.out = ct_text_stream_open(&stream)) != NULL &&
                put_all(&t, module);
    if (t.out) {
        fprintf(t.out, "%lld parameters: %lld trained, %lld frozen; %lld elements in buffers\n",
                (long long)(t.trained + t.frozen), (long long)t.trained, (long long)t.frozen,
                (long long)t.buffers);
    }
    char *text = ct_text_stream_close(&stream, t.out);
    if (done && text) return text;
    free(text);
    return ct_fail("module_print: out of memory");
}

bool ct_module_print(FILE *file, const ct_module *module) {
    if (!file) return ct_ok() ? ct_fail_bool("module_print: the file is NULL") : false;
    char *text = ct_module_print_text(module);
    if (!text) return false;
    bool written = fputs(text, file) >= 0;
    free(text);
    return written || ct_fail_bool("module_print: %s", strerror(errno));
}
