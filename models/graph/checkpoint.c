/* SPDX-License-Identifier: Apache-2.0 */
/* Which modules of a model are run again in backward instead of keeping what their gradients need.
 */
#include <string.h>

#include "models/graph/model.h"
#include "tensor/core/nearest.h"

/* What begins a chain gives no more than it keeps. */
static bool can_run_twice(const ct_graph_node *node) {
    return !(node->kind->place & (CT_GIVES_WORDS | CT_GIVES_PICTURES));
}

/* "gcn" is all of gcn.0, gcn.1, ...; "image.gcn" those of [image]. */
static bool is_called(const ct_graph_chain *chain, const ct_graph_node *node, const char *name) {
    size_t section = strlen(chain->section), length;
    if (!strncmp(name, chain->section, section) && name[section] == '.') name += section + 1;
    length = strlen(name);
    return !strncmp(node->name, name, length) && (!node->name[length] || node->name[length] == '.');
}

/* How many modules of the chain it was. */
static int checkpoint_chain(ct_graph_chain *chain, const char *name) {
    int found = 0;
    for (int i = 0; i < chain->nodes; i++) {
        ct_graph_node *node = &chain->node[i];
        if (!can_run_twice(node) || !is_called(chain, node, name)) continue;
        node->checkpointed = true;
        found++;
    }
    return found;
}

static bool refuse(const ct_model *model, const char *name) {
    enum { MOST = 128 };
    const ct_graph_chain *chains[] = {&model->image, &model->text};
    const char *known[MOST];
    int count = 0;
    if (model->decoder) known[count++] = "decoder";
    for (int c = 0; c < 2; c++) {
        for (int i = 0; i < chains[c]->nodes && count < MOST; i++)
            if (can_run_twice(&chains[c]->node[i])) known[count++] = chains[c]->node[i].name;
    }
    return ct_fail_bool("checkpoint: the model has no module '%s' that can be run again%s", name,
                        ct_did_you_mean(name, known, count));
}

bool ct_model_checkpoint(ct_model *model, const char *name) {
    if (!ct_model_given("model_checkpoint", model) ||
        !ct_check_pointer("model_checkpoint", "the name", name))
        return false;
    int found =
        *name ? checkpoint_chain(&model->image, name) + checkpoint_chain(&model->text, name) : 0;
    if (model->decoder && !strcmp(name, "decoder")) {
        model->decoder_checkpointed = true;
        found++;
    }
    return found > 0 || refuse(model, name);
}
