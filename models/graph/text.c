/* SPDX-License-Identifier: Apache-2.0 */
/* A model's graph as text: what its embeddings are computed by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/graph/model.h"
#include "tensor/io/text_stream.h"

/* Options that training alone heeds: a model is the same in use, whatever they are. */
static bool trains_alone(const char *kind, const char *option) {
    static const char *const names[][2] = {{"dropout", "p"},
                                           {"attention", "dropout"},
                                           {"transformer", "dropout"},
                                           {"batchnorm", "momentum"},
                                           {"policy_attention", "temperature"}};
    if (!strcmp(option, "finetune") || !strcmp(option, "drop_path")) return true; /* of backbones */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(kind, names[i][0]) && !strcmp(option, names[i][1])) return true;
    return false;
}

static void write_choice(FILE *out, const char *choices, int choice) {
    for (; choice > 0 && strchr(choices, '|'); choice--) choices = strchr(choices, '|') + 1;
    fprintf(out, "%.*s", (int)strcspn(choices, "|"), choices);
}

/* Nothing of a width that follows from the graph or from the data: parameters have its shape. */
static void write_option(FILE *out, const ct_option *option, const ct_option_value *value) {
    if (option->type == CT_OPTION_TEXT || (!option->fallback && !value->given)) return;
    if (option->type == CT_OPTION_INTEGER && !option->fallback) return;
    fprintf(out, " %s=", option->name);
    switch (option->type) {
    case CT_OPTION_FLAG: fputs(value->number != 0 ? "yes" : "no", out); break;
    case CT_OPTION_CHOICE: write_choice(out, option->choices, (int)value->number); break;
    case CT_OPTION_TRIPLE:
        fprintf(out, "%.17g,%.17g,%.17g", value->triple[0], value->triple[1], value->triple[2]);
        break;
    default: fprintf(out, "%.17g", value->number); break;
    }
}

static void write_chain(FILE *out, const ct_graph_chain *chain) {
    for (int i = 0; i < chain->nodes; i++) {
        const ct_graph_node *node = &chain->node[i];
        fprintf(out, "[%s] %s = %s%s", chain->section, node->name, node->adds ? "+ " : "",
                node->kind->name);
        const ct_option *option = node->kind->options;
        for (int k = 0; option[k].name; k++)
            if (!trains_alone(node->kind->name, option[k].name))
                write_option(out, &option[k], &node->value[k]);
        fputc('\n', out);
    }
}

/* Those of [compat] that change what is read and computed, but for how a batch norm evaluates: that
 * may be tried on a trained model. */
static void write_switches(FILE *out, const ct_compat *compat) {
    static const struct {
        ct_compat_switch which;
        const char *text;
    } switches[] = {
        {CT_COMPAT_L2NORM_REGIONS, "l2norm = regions"},
        {CT_COMPAT_PADDED_STEPS, "text_policy_steps = padded"},
        {CT_COMPAT_TOKENS, "tokens = released"},
        {CT_COMPAT_DROP_UNKNOWN, "unknown_words = dropped"},
    };
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (compat->released[switches[i].which]) fprintf(out, "[compat] %s\n", switches[i].text);
}

char *ct_model_text(const ct_model *model) {
    if (!model) return ct_ok() ? ct_fail("model_text: the model is NULL") : NULL;
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    if (!out) return ct_fail("model_text: out of memory");
    write_chain(out, &model->image);
    write_chain(out, &model->text);
    fprintf(out, "[loss] measure = %s\n", model->loss.measure == CT_ORDER ? "order" : "cosine");
    fprintf(out, "[loss] normalise = %s\n", model->loss.normalise ? "yes" : "no");
    write_switches(out, &model->compat);
    char *text = ct_text_stream_close(&stream, out);
    return text ? text : ct_fail("model_text: out of memory");
}
