/* SPDX-License-Identifier: Apache-2.0 */
/* Where a sample leaves the finite numbers, and why. */
#include <stdio.h>
#include <string.h>

#include "models/graph/model.h"

static bool is_finite(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context, (void)name, (void)buffer;
    return !ct_dtype_is_float(tensor->dtype) || !ct_tensor_has_nonfinite(tensor);
}

/* The first node whose result is not finite, and what it was given; NULL: there is none, or an
 * error. */
static const ct_graph_node *walk(const ct_graph_chain *chain, int first, ct_graph_state *state,
                                 ct_tensor *x, ct_tensor **input) {
    *input = x;
    for (int i = first; first >= 0 && i < chain->nodes; i++) {
        const ct_graph_node *node = &chain->node[i];
        if (!node->adds) *input = x;
        ct_tensor *y = node->kind->forward(node, state, *input);
        if (!y) return NULL;
        if (ct_tensor_has_nonfinite(y)) return node;
        x = node->adds ? ct_add(x, y) : y;
    }
    return NULL;
}

static double largest(const ct_tensor *x) {
    ct_tensor *size = x ? ct_tensor_unary(CT_UNARY_abs, x, 0, 0) : NULL;
    return size ? ct_item(ct_tensor_reduce(CT_MAX, size, CT_ALL_AXES, false)) : 0;
}

/* Of x (1,N,D) the first feature that is 0 in all regions; -1: none is. */
static int64_t empty_feature(const ct_tensor *x) {
    ct_tensor *size = ct_ndim(x) == 3 ? ct_tensor_unary(CT_UNARY_abs, x, 0, 0) : NULL;
    ct_tensor *most = size ? ct_tensor_reduce(CT_MAX, size, 1u << 1, false) : NULL;
    for (int64_t k = 0; most && k < ct_count(most); k++)
        if (ct_get(most, k) == 0) return k;
    return -1;
}

static void write_reason(const ct_graph_node *node, const ct_tensor *input, char *text,
                         size_t size) {
    int64_t empty = -1;
    if (input && !strcmp(node->kind->name, "l2norm")) empty = empty_feature(input);
    if (empty >= 0)
        snprintf(text, size,
                 "feature %lld is 0 in all its regions, whose norm it is divided by "
                 "([compat] l2norm = regions)",
                 (long long)empty);
    else if (input)
        snprintf(text, size, "it is no finite number any more, of numbers up to %.3g",
                 largest(input));
    else snprintf(text, size, "it is no finite number any more");
}

static bool check_sample(const ct_batch *sample, bool caption) {
    if (caption) return ct_model_check_captions(sample);
    return ct_check_pointer("model_explain", "the image", sample->images);
}

bool ct_model_explain(ct_model *model, const ct_batch *sample, bool caption, char *text,
                      size_t size) {
    bool found = false;
    if (!ct_model_given("model_explain", model) ||
        !ct_check_pointer("model_explain", "the sample", sample) ||
        !ct_check_list("model_explain", "text", text, (int64_t)size) ||
        !check_sample(sample, caption))
        return false;
    ct_module *module = ct_model_module(model);
    bool training = ct_module_training(module);
    ct_module_train(module, false);
    CT_NO_GRAD {
        CT_SCOPE {
            ct_graph_state state = ct_model_state(model, NULL);
            state.batch = sample;
            state.lengths = caption ? sample->lengths : NULL;
            const ct_graph_chain *chain = caption ? &model->text : &model->image;
            ct_tensor *input, *images = caption ? NULL : sample->images;
            int first = caption ? 0 : ct_graph_start(chain, images, model->sizes.features);
            const ct_graph_node *node = walk(chain, first, &state, images, &input);
            found = node && (!node->module || ct_module_visit(node->module, is_finite, NULL));
            char reason[256];
            if (found) {
                write_reason(node, input, reason, sizeof reason);
                snprintf(text, size, "at [%s] %s (%s) %s", chain->section, node->name,
                         node->kind->name, reason);
            }
        }
    }
    ct_module_train(module, training);
    return found;
}
