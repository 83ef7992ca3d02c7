/* SPDX-License-Identifier: Apache-2.0 */
/* Module kinds registered from outside, as kinds of the graph. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "models/modules/modules.h"
#include "tensor/core/check.h"

/* ---- a registered kind at work -------------------------------------------------------------- */

static ct_module_site site_of(const ct_graph_node *node) {
    return (ct_module_site){
        .option = node->value, .in = node->in, .image = node->image, .pooled = node->pooled};
}

static bool create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    ct_module_site site = site_of(node);
    node->out = node->in;
    bool created = node->kind->own->create(&site, &node->module, &node->out);
    if (created && ct_ok() && node->out > 0) return true;
    if (!ct_ok()) return false;
    return ct_fail_at(node->place, "%s could not be made, %lld wide, of vectors %lld wide",
                      node->kind->name, (long long)node->out, (long long)node->in) != NULL;
}

static ct_shape shape_after(const ct_graph_node *node, const ct_tensor *x) {
    bool vector = node->pooled || node->kind->place & CT_POOLS;
    return vector ? CT_SHAPE(ct_dim(x, 0), node->out)
                  : CT_SHAPE(ct_dim(x, 0), ct_dim(x, 1), node->out);
}

static ct_tensor *forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    ct_module_site site = site_of(node);
    ct_module_input input = {x, node->pooled ? NULL : state->lengths, state->rng, state->training};
    ct_tensor *y = node->kind->own->forward(&site, node->module, &input);
    if (!y) {
        return ct_ok() ? ct_fail("%s (%s): it gave no result", node->name, node->kind->name) : NULL;
    }
    ct_shape expected = shape_after(node, x);
    if (ct_shape_equal(y->shape, expected)) return y;
    return ct_fail("%s (%s): it gave %s, expected %s", node->name, node->kind->name,
                   ct_tensor_text(y), ct_shape_text(expected));
}

static double flops(const ct_graph_node *node, double rows, double steps) {
    ct_module_site site = site_of(node);
    const ct_module_kind *own = node->kind->own;
    return own->flops ? own->flops(&site, node->out, rows, steps) : 0;
}

/* ---- registering ------------------------------------------------------------------------- */

static bool check_option(const char *op, const char *name, const ct_option *option) {
    if (!ct_check_choice(op, "an option's type", (int)option->type, CT_OPTION_AMOUNT + 1)) {
        return false;
    }
    return option->type != CT_OPTION_CHOICE || option->choices ||
           ct_fail_bool("%s: option '%s' of %s has no choices", op, option->name, name);
}

bool ct_own_check(const char *op, const char *name, const ct_option *options, int most) {
    bool valid = name && *name;
    for (const char *p = name; valid && *p; p++) valid = isalnum((unsigned char)*p) || *p == '_';
    if (!valid) {
        return ct_fail_bool("%s: name '%s', expected letters, digits and '_'", op,
                            name ? name : "");
    }
    for (int count = 0; options && options[count].name; count++) {
        if (count == most) return ct_fail_bool("%s: %s has more than %d options", op, name, most);
        if (!check_option(op, name, &options[count])) return false;
    }
    return true;
}

/* The kind of the graph that runs it; NULL and an error when out of memory. */
static ct_graph_kind *kind_of(const ct_module_kind *own) {
    ct_graph_kind *kind = malloc(sizeof *kind);
    if (!kind) return ct_fail("register_module: out of memory");
    *kind = (ct_graph_kind){.name = own->name,
                            .place = own->place & (CT_NEEDS_SEQUENCE | CT_POOLS | CT_IMAGE_ONLY),
                            .options = own->options ? own->options : ct_no_options,
                            .create = create,
                            .forward = forward,
                            .flops = flops,
                            .own = own};
    if (kind->place & CT_POOLS) kind->place |= CT_NEEDS_SEQUENCE;
    return kind;
}

bool ct_register_module(const ct_module_kind *own) {
    if (!own || !own->create || !own->forward) {
        return ct_fail_bool("register_module: a module needs a create and a forward function");
    }
    if (!ct_own_check("register_module", own->name, own->options, CT_MAX_OPTIONS)) return false;
    ct_graph_kind *kind = kind_of(own);
    bool added = kind && ct_graph_kind_add(kind);
    if (!added) free(kind);
    return added;
}
