/* SPDX-License-Identifier: Apache-2.0 */
/* A model as a table: module, output shape, parameters, work. */
#include <stdlib.h>

#include "models/graph/model.h"

static ct_model_row row_of(const ct_graph_chain *chain, const ct_graph_node *node, int64_t batch,
                           int64_t steps) {
    bool vector = node->pooled || node->kind->place & CT_POOLS;
    bool gives_pictures = (node->pictures || node->kind->place & CT_GIVES_PICTURES) &&
                          !(node->kind->place & CT_GIVES_REGIONS);
    int64_t places = node->out_side * node->out_side;
    if (node->pictures) steps = places;
    return (ct_model_row){
        .part = chain->section,
        .name = node->name,
        .module = node->kind->name,
        .output = vector           ? CT_SHAPE(batch, node->out)
                  : gives_pictures ? CT_SHAPE(batch, node->out, node->out_side, node->out_side)
                                   : CT_SHAPE(batch, steps, node->out),
        .parameters = node->parameters,
        .flops = node->kind->flops(node, (double)batch, node->pooled ? 1 : (double)steps),
        .checkpointed = node->checkpointed,
    };
}

static ct_model_row classifier_row(const ct_model *model, int64_t batch) {
    double hidden = (double)model->loss.instance_hidden;
    double classes = (double)model->loss.instance_classes;
    return (ct_model_row){
        .part = "loss",
        .name = "instance",
        .module = "classifier",
        .output = CT_SHAPE(2 * batch, model->loss.instance_classes),
        .parameters = ct_module_parameter_count(model->classifier),
        .flops = 4 * (double)batch * hidden * ((double)model->image.width + classes),
    };
}

static ct_model_row decoder_row(const ct_model *model, int64_t batch, int64_t words) {
    if (words > model->loss.convcap.tokens) words = model->loss.convcap.tokens;
    return (ct_model_row){
        .part = "loss",
        .name = "decoder",
        .module = "convcap",
        .output = CT_SHAPE(batch, words, model->sizes.vocabulary),
        .parameters = ct_module_parameter_count(model->decoder),
        .flops = ct_decoder_flops(&model->loss, (double)model->text.node[0].out,
                                  (double)model->text.width, (double)model->sizes.vocabulary,
                                  (double)batch, (double)words),
        .checkpointed = model->decoder_checkpointed,
    };
}

ct_model_row *ct_model_table(const ct_model *model, int64_t batch, int64_t words, int *count) {
    if (!ct_model_given("model_table", model) ||
        !ct_check_pointer("model_table", "the count", count))
        return NULL;
    *count = 0;
    int most = model->image.nodes + model->text.nodes + 3 + model->loss.owns;
    ct_model_row *rows = calloc((size_t)most, sizeof *rows);
    if (!rows) return ct_fail("model_table: out of memory");
    int64_t regions = model->image.regions ? model->image.regions : model->sizes.regions;
    for (int i = 0; i < model->image.nodes; i++)
        rows[(*count)++] = row_of(&model->image, &model->image.node[i], batch, regions);
    for (int i = 0; i < model->text.nodes; i++)
        rows[(*count)++] = row_of(&model->text, &model->text.node[i], batch, words);
    if (model->loss.retrieval > 0) {
        double terms = model->loss.ranking.intra_modal ? 3 : 1; /* products of (B,D) by (D,B) */
        rows[(*count)++] = (ct_model_row){.part = "loss",
                                          .name = "retrieval",
                                          .module = "hinge",
                                          .output = CT_SHAPE(batch, batch),
                                          .flops = 2 * terms * (double)batch * (double)batch *
                                                   (double)model->image.width};
    }
    if (model->classifier) rows[(*count)++] = classifier_row(model, batch);
    if (model->decoder) rows[(*count)++] = decoder_row(model, batch, words);
    for (int i = 0; i < model->loss.owns; i++) {
        const ct_own_loss *own = &model->loss.own[i];
        rows[(*count)++] = (ct_model_row){.part = "loss",
                                          .name = own->key,
                                          .module = own->kind->name,
                                          .parameters = ct_module_parameter_count(own->module)};
    }
    return rows;
}
