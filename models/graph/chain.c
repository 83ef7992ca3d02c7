/* SPDX-License-Identifier: Apache-2.0 */
/* Building a chain of modules. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/graph/graph.h"
#include "tensor/core/nearest.h"

bool ct_graph_own(ct_graph_node *node, ct_module *module) {
    node->module = module;
    return module != NULL;
}

/* ---- may this module stand here? ------------------------------------------------------------ */

typedef struct {
    ct_graph_chain *chain;
    const ct_compat *compat;
    ct_graph_context context;
    int64_t width; /* of what the next module gets */
    bool pooled, image, skipped_l2norm;
    bool pictures; /* the next module gets pictures of `side` */
    int64_t side;
    ct_place pool; /* where it was pooled */
} ct_graph_builder;

static const ct_graph_kind *find_kind(ct_place place, const char *name) {
    const ct_graph_kind *kind = ct_graph_kind_find(name);
    if (kind) return kind;
    const char *known[CT_MOST_KINDS];
    int count = ct_graph_kind_names(known, CT_MOST_KINDS);
    return ct_fail_at(place, "unknown module '%s'%s", name, ct_did_you_mean(name, known, count));
}

static bool check_name(ct_place place) {
    for (const char *p = place.key; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
            return ct_fail_at(place, "a module's name has letters, digits, '_' and '-' only") !=
                   NULL;
    return true;
}

static bool check_pictures(const ct_graph_builder *builder, ct_place place,
                           const ct_graph_kind *kind) {
    bool first = builder->chain->nodes == 0;
    if (kind->place & CT_GIVES_PICTURES && (!builder->image || !first))
        return ct_fail_at(place, "'%s' stands at the beginning of [image] only", kind->name) !=
               NULL;
    if (kind->place & CT_NEEDS_PICTURES && !builder->pictures)
        return ct_fail_at(
                   place,
                   "'%s' works on pictures, but is given %s: [image] begins with 'pictures' for it",
                   kind->name, builder->pooled ? "one vector" : "a sequence") != NULL;
    if (builder->pictures && !(kind->place & (CT_NEEDS_PICTURES | CT_FITS_PICTURES)))
        return ct_fail_at(
                   place,
                   "'%s' works on regions, but is given pictures: put a backbone (resnet, vgg, "
                   "efficientnet, vit) or 'regions' before",
                   kind->name) != NULL;
    return true;
}

static bool check_place(const ct_graph_builder *builder, ct_place place,
                        const ct_graph_kind *kind) {
    bool first = builder->chain->nodes == 0;
    if (!check_pictures(builder, place, kind)) return false;
    if (!builder->image && first && !(kind->place & CT_GIVES_WORDS))
        return ct_fail_at(place, "[text] begins with 'words', found '%s'", kind->name) != NULL;
    if (kind->place & CT_GIVES_WORDS && (builder->image || !first))
        return ct_fail_at(place, "'%s' stands at the beginning of [text] only", kind->name) != NULL;
    if (kind->place & CT_IMAGE_ONLY && !builder->image)
        return ct_fail_at(place,
                          "'%s' is for regions, not for words of which some are padding; "
                          "'attention' does for words",
                          kind->name) != NULL;
    if (kind->place & CT_NEEDS_SEQUENCE && builder->pooled)
        return ct_fail_at(place,
                          "'%s' works on a sequence, but '%s' (line %d) has already made "
                          "one vector of it: put it before",
                          kind->name, builder->pool.key, builder->pool.line) != NULL;
    return true;
}

/* Parts of a sum work on the same input and must agree in what they give. */
static bool check_sum(const ct_graph_node *a, const ct_graph_node *b) {
    if ((a->kind->place & CT_POOLS) != (b->kind->place & CT_POOLS))
        return ct_fail_at(b->place, "'%s + %s' adds one vector to a sequence", a->kind->name,
                          b->kind->name) != NULL;
    if (a->out_side != b->out_side)
        return ct_fail_at(b->place, "'%s + %s' adds pictures of different sizes, %lld and %lld",
                          a->kind->name, b->kind->name, (long long)a->out_side,
                          (long long)b->out_side) != NULL;
    if (a->out == b->out) return true;
    return ct_fail_at(b->place, "'%s + %s' adds vectors of different widths, %lld and %lld",
                      a->kind->name, b->kind->name, (long long)a->out, (long long)b->out) != NULL;
}

/* ---- building ------------------------------------------------------------------------------- */

static ct_graph_node *append(ct_graph_chain *chain) {
    /* room is the next power of two: full whenever the count is one */
    if ((chain->nodes & (chain->nodes - 1)) == 0) {
        size_t room = chain->nodes ? 2 * (size_t)chain->nodes : 1;
        ct_graph_node *grown = realloc(chain->node, room * sizeof *grown);
        if (!grown) return ct_fail("model: out of memory");
        chain->node = grown;
    }
    ct_graph_node *node = &chain->node[chain->nodes++];
    *node = (ct_graph_node){0};
    return node;
}

/* Adds one module under `name` in `parent`; `part` is which of a sum. */
static bool add_node(ct_graph_builder *builder, const ct_spec *spec, int part, ct_module *parent,
                     const char *name) {
    const ct_graph_kind *kind = find_kind(spec->place, spec->part[part].module);
    if (!kind || !check_place(builder, spec->place, kind)) return false;
    ct_graph_node *node = append(builder->chain);
    if (!node) return false;
    node->kind = kind;
    node->compat = builder->compat;
    node->place = spec->place;
    node->image = builder->image;
    node->adds = part > 0;
    node->pooled = builder->pooled;
    node->in = builder->width;
    node->pictures = builder->pictures;
    node->side = node->out_side = builder->side;
    if (!ct_options_read(spec->place, &spec->part[part], kind->options, node->value)) return false;
    ct_graph_context context = builder->context;
    if (spec->parts > 1) context.pool_width = 0; /* what it is added to decides */
    bool created = kind->create(node, &context);
    for (int i = 0; i < CT_MAX_OPTIONS; i++) node->value[i].text = NULL; /* of the entry */
    if (!created) {
        ct_module_destroy(node->module);
        node->module = NULL;
        return false;
    }
    if (parent != builder->chain->module)
        snprintf(node->name, sizeof node->name, "%s.%s", spec->place.key, name);
    else snprintf(node->name, sizeof node->name, "%s", name);
    if (!node->module) return true;
    node->parameters = ct_module_parameter_count(node->module);
    node->module = ct_module_add(parent, name, node->module);
    return node->module != NULL;
}

/* The name of a part of a sum: its module's, numbered from the second of a kind on. */
static void part_name(const ct_spec *spec, int part, char *name, size_t size) {
    int same = 1;
    for (int i = 0; i < part; i++) same += !strcmp(spec->part[i].module, spec->part[part].module);
    if (same == 1) snprintf(name, size, "%s", spec->part[part].module);
    else snprintf(name, size, "%s%d", spec->part[part].module, same);
}

static bool add_sum(ct_graph_builder *builder, const ct_spec *spec) {
    ct_graph_chain *chain = builder->chain;
    ct_module *group = ct_module_add(chain->module, spec->place.key, ct_module_create("sum"));
    int first = chain->nodes;
    for (int i = 0; i < spec->parts; i++) {
        char name[48];
        part_name(spec, i, name, sizeof name);
        if (!group || !add_node(builder, spec, i, group, name)) return false;
        if (i && !check_sum(&chain->node[first], &chain->node[first + i])) return false;
    }
    return true;
}

static bool add_repeated(ct_graph_builder *builder, const ct_spec *spec) {
    ct_module *group =
        ct_module_add(builder->chain->module, spec->place.key, ct_module_create("repeated"));
    for (int64_t i = 0; i < spec->repeat; i++) {
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)i);
        if (!group || !add_node(builder, spec, 0, group, name)) return false;
        const ct_graph_node *node = &builder->chain->node[builder->chain->nodes - 1];
        if (node->kind->place & CT_POOLS)
            return ct_fail_at(spec->place, "a pool ('%s') cannot be repeated", node->kind->name) !=
                   NULL;
        builder->width = node->out;
        builder->side = node->out_side;
    }
    return true;
}

static bool left_out(ct_graph_builder *builder, const ct_spec *spec) {
    if (!builder->image || builder->skipped_l2norm || strcmp(spec->part[0].module, "l2norm") ||
        !builder->compat->released[CT_COMPAT_NO_FIRST_L2NORM])
        return false;
    builder->skipped_l2norm = true;
    return true;
}

static bool add_entry(ct_graph_builder *builder, const ct_spec *spec) {
    ct_graph_chain *chain = builder->chain;
    if (!check_name(spec->place)) return false;
    for (int i = 0; i < chain->nodes; i++)
        if (!strcmp(chain->node[i].place.key, spec->place.key))
            return ct_fail_at(spec->place, "a module of this name stands in line %d",
                              chain->node[i].place.line) != NULL;
    if (left_out(builder, spec)) return true;
    bool added = spec->parts > 1    ? add_sum(builder, spec)
                 : spec->repeat > 1 ? add_repeated(builder, spec)
                                    : add_node(builder, spec, 0, chain->module, spec->place.key);
    if (!added) return false;
    const ct_graph_node *last = &chain->node[chain->nodes - 1];
    builder->width = last->out;
    builder->side = last->out_side;
    if (last->kind->place & CT_GIVES_PICTURES) builder->pictures = true;
    if (last->kind->place & CT_GIVES_REGIONS) {
        builder->pictures = false;
        chain->regions = last->out_side * last->out_side;
        if (ct_graph_is_frozen(last) && chain->nodes == 2) chain->front = 2;
    }
    if (last->kind->place & CT_POOLS) {
        builder->pooled = true;
        builder->pool = spec->place;
    }
    return true;
}

/* Once the nodes stay where they are. */
static bool find_policy(ct_graph_chain *chain) {
    for (int i = 0; i < chain->nodes; i++) {
        const ct_graph_node *node = &chain->node[i];
        if (strcmp(node->kind->name, "policy_attention")) continue;
        if (chain->policy)
            return ct_fail_at(node->place,
                              "a second policy_attention in [%s], after '%s' in "
                              "line %d; one is supported",
                              chain->section, chain->policy->place.key,
                              chain->policy->place.line) != NULL;
        chain->policy = node;
    }
    return true;
}

static bool build(ct_graph_builder *builder, const ct_description *description) {
    ct_graph_chain *chain = builder->chain;
    int last = -1;
    for (int i = 0; i < description->count; i++) {
        if (strcmp(description->entries[i].section, chain->section)) continue;
        last = i;
        ct_spec spec;
        bool added = ct_spec_parse(&spec, description, i) && add_entry(builder, &spec);
        ct_spec_free(&spec);
        if (!added) return false;
    }
    if (last < 0)
        return ct_fail("%s: no section [%s], expected its chain of modules",
                       description->file ? description->file : "description",
                       chain->section) != NULL;
    if (!builder->pooled)
        return ct_fail_at(ct_place_of(description, last),
                          "[%s] ends without a pool (mean, max, gru, lstm or bigru), so there is "
                          "no one vector %s",
                          chain->section, builder->image ? "an image" : "a caption") != NULL;
    chain->width = builder->width;
    return find_policy(chain);
}

bool ct_graph_build(ct_graph_chain *chain, const ct_description *description, const char *section,
                    const ct_compat *compat, const ct_graph_context *context, int64_t width) {
    *chain = (ct_graph_chain){.section = section, .module = ct_module_create(section)};
    ct_graph_builder builder = {.chain = chain,
                                .compat = compat,
                                .context = *context,
                                .width = width,
                                .image = !strcmp(section, "image")};
    if (chain->module && build(&builder, description)) return true;
    ct_module_destroy(chain->module);
    ct_graph_free(chain);
    return false;
}

void ct_graph_free(ct_graph_chain *chain) {
    for (int i = 0; i < chain->nodes; i++) free(chain->node[i].weights);
    free(chain->node);
    *chain = (ct_graph_chain){.section = chain->section};
}
