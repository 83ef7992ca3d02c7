/* SPDX-License-Identifier: Apache-2.0 */
/* A graph as text for Graphviz: a box a tensor, an ellipse an operation, arrows the way of the
 * values. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/graph/graph.h"

enum { SMALL = 16 }; /* elements; of more than that, what they are like */

/* What has been met, by its address, and as the how many-th. */
typedef struct {
    const void *thing;
    int number;
} entry;

typedef struct {
    FILE *file;
    void *met; /* a tree of entries */
    int count;
    const ct_node **nodes; /* met; those before `done` are written */
    size_t done, found, capacity;
} drawing;

static int by_thing(const void *a, const void *b) {
    const char *x = ((const entry *)a)->thing, *y = ((const entry *)b)->thing;
    return (x > y) - (x < y);
}

/* Its number, 1 the first; *is_new if it was not met before. 0 and an error without memory. */
static int number_of(drawing *d, const void *thing, bool *is_new) {
    *is_new = false;
    entry *e = malloc(sizeof *e), **at = NULL;
    if (e) {
        *e = (entry){thing, d->count + 1};
        at = tsearch(e, &d->met, by_thing);
    }
    if (!at) {
        free(e);
        ct_fail("write_graph: out of memory");
        return 0;
    }
    *is_new = *at == e;
    if (*is_new) d->count++;
    else free(e);
    return (*at)->number;
}

/* ---- labels ----------------------------------------------------------------------------- */

/* Within quotes, lines to the left. */
static void write_text(FILE *file, const char *text) {
    for (; *text; text++) {
        if (*text == '\n') fputs("\\l", file);
        else if (*text == '"' || *text == '\\') fprintf(file, "\\%c", *text);
        else fputc(*text, file);
    }
}

static double reduced(ct_reduce_kind kind, const ct_tensor *x) {
    return ct_item(ct_tensor_reduce(kind, x, CT_ALL_AXES, false));
}

static void write_numbers(FILE *file, const char *title, const ct_tensor *x) {
    if (!x) return;
    fprintf(file, "\\l%s ", title);
    if (ct_count(x) <= SMALL) {
        char *text = ct_print_text(x);
        if (!text) return;
        char *end = strrchr(text, '\n'); /* of the last line, which names dtype and shape again */
        if (end) *end = '\0';
        end = strrchr(text, '\n');
        if (end) *end = '\0';
        if (ct_ndim(x) > 1) fputs("\\l", file);
        write_text(file, text);
        free(text);
        return;
    }
    CT_SCOPE {
        CT_NO_GRAD {
            const ct_tensor *wide = ct_tensor_cast(x, CT_F64);
            double mean = reduced(CT_MEAN, wide);
            fprintf(file, "mean %.4g, %.4g to %.4g", mean, reduced(CT_MIN, wide),
                    reduced(CT_MAX, wide));
        }
    }
}

/* A tensor's box: its value as long as it is there, its gradient where there is one. */
static void write_box(drawing *d, int number, ct_variable *variable, const ct_edge *edge) {
    const ct_variable *collector = variable->retained ? variable->retained : variable;
    const ct_tensor *x = variable->tensor;
    fprintf(d->file, "  t%d [shape=box%s, label=\"%s%s %s", number,
            variable->node ? "" : ", style=bold", variable->node ? "" : "leaf ",
            ct_dtype_name(x ? x->dtype : edge->dtype), ct_shape_text(x ? x->shape : edge->shape));
    write_numbers(d->file, "value", x);
    write_numbers(d->file, "gradient", collector->grad);
    fputs("\\l\"];\n", d->file);
}

/* ---- the walk --------------------------------------------------------------------------- */

/* An operation's number; its ellipse is written, and it waits for its turn, if it is new. */
static int draw_node(drawing *d, const ct_node *node) {
    bool is_new;
    int number = number_of(d, node, &is_new);
    if (!is_new) return number;
    if (d->found == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 64;
        const ct_node **nodes = realloc(d->nodes, capacity * sizeof *nodes);
        if (!nodes) {
            ct_fail("write_graph: out of memory");
            return 0;
        }
        d->nodes = nodes;
        d->capacity = capacity;
    }
    d->nodes[d->found++] = node;
    fprintf(d->file, "  t%d [label=\"", number);
    write_text(d->file, node->op->name);
    fputs("\"];\n", d->file);
    return number;
}

/* A tensor's number; its box is written, and the arrow from what computed it, if it is new. */
static int draw_variable(drawing *d, ct_variable *variable, const ct_edge *edge) {
    bool is_new;
    int number = number_of(d, variable, &is_new);
    if (!is_new) return number;
    write_box(d, number, variable, edge);
    if (!variable->node) return number;
    int from = draw_node(d, variable->node);
    fprintf(d->file, "  t%d -> t%d", from, number);
    if (variable->node->outputs > 1) fprintf(d->file, " [label=\"output %d\"]", variable->output);
    fputs(";\n", d->file);
    return number;
}

static void draw_inputs(drawing *d, const ct_node *node) {
    bool unused;
    int to = number_of(d, node, &unused);
    for (int i = 0; i < node->inputs && ct_ok(); i++) {
        const ct_edge *edge = &node->edge[i];
        int from = 0;
        if (edge->variable) {
            from = draw_variable(d, edge->variable, edge);
        } else if (edge->place) { /* else NULL was given */
            from = ++d->count;
            fprintf(d->file, "  t%d [shape=box, style=dashed, label=\"constant %s %s\\l\"];\n",
                    from, ct_dtype_name(edge->dtype), ct_shape_text(edge->shape));
        }
        if (from) fprintf(d->file, "  t%d -> t%d [label=\"%d\"];\n", from, to, i);
    }
}

static bool draw(drawing *d, ct_variable *variable) {
    ct_edge unused = {0};
    fputs("digraph {\n  node [fontname=monospace];\n", d->file);
    draw_variable(d, variable, &unused);
    while (ct_ok() && d->done < d->found) draw_inputs(d, d->nodes[d->done++]);
    fputs("}\n", d->file);
    return ct_ok() && (!ferror(d->file) || ct_fail_bool("write_graph: the file cannot be written"));
}

bool ct_write_graph(FILE *file, const ct_tensor *result) {
    if (!file) return ct_fail_bool("write_graph: the file is NULL");
    if (!ct_ok() || !ct_given("write_graph", result)) return false;
    ct_variable *variable = ct_variable_of(result);
    if (!ct_requires_grad(result)) {
        return ct_fail_bool("write_graph: %s was not computed from a tensor that requires a "
                            "gradient",
                            ct_tensor_text(result));
    }
    if (variable->node && variable->node->used) {
        return ct_fail_bool("write_graph: backward has used the graph of '%s' up: write it before, "
                            "or let ct_backward_from retain it",
                            variable->node->op->name);
    }
    drawing d = {.file = file};
    bool written = draw(&d, variable);
    tdestroy(d.met, free);
    free(d.nodes);
    return written;
}
