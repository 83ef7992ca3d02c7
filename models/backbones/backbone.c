/* SPDX-License-Identifier: Apache-2.0 */
/* Nets for pictures: made by name, run, frozen block by block. */
#include "models/backbones/backbone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/nearest.h"

typedef struct {
    ct_module *module;
    int64_t block;
} part;

typedef struct {
    const ct_backbone_network *network;
    ct_backbone_options options;
    int64_t blocks; /* the stem included */
    int64_t frozen; /* so many of the first are */
    part *parts;
    int count, capacity;
} backbone;

/* ---- creation -------------------------------------------------------------------------------- */

ct_backbone_options ct_backbone_defaults(void) { return (ct_backbone_options){.classes = 0}; }

static void release(void *self) {
    backbone *own = self;
    free(own->parts);
    free(own);
}

/* The names that there are, for a wrong one's message. */
static ct_module *unknown(const char *name) {
    char text[512] = "";
    const char *known[64];
    int count = 0;
    for (; count < 64 && ct_backbone_name(count); count++) known[count] = ct_backbone_name(count);
    for (int i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", known[i]);
    }
    return ct_fail("backbone: unknown network '%s', expected one of %s%s", name ? name : "", text,
                   name ? ct_did_you_mean(name, known, count) : "");
}

static const ct_backbone_network *find(const char *name) {
    const ct_backbone_network *network = ct_backbone_network_at(0);
    for (int i = 1; name && network && strcmp(network->name, name) != 0; i++) {
        network = ct_backbone_network_at(i);
    }
    return name ? network : NULL;
}

static bool check_options(const ct_backbone_network *network, const ct_backbone_options *o) {
    if (o->classes < 0 || o->classes > INT32_MAX) {
        return ct_fail_bool("%s: classes is %lld, expected 0 to %d", network->name,
                            (long long)o->classes, INT32_MAX);
    }
    if (o->drop_path == 0 || (o->drop_path > 0 && o->drop_path < 1 && network->dropped_most)) {
        return true;
    }
    return ct_fail_bool("%s: drop_path is %g, expected %s", network->name, o->drop_path,
                        network->dropped_most ? "0 <= drop_path < 1" : "0, of such a network");
}

ct_module *ct_backbone_create(const char *name, const ct_backbone_options *options) {
    ct_backbone_options o = options ? *options : ct_backbone_defaults();
    const ct_backbone_network *network = find(name);
    if (!network) return unknown(name);
    if (!check_options(network, &o)) return NULL;
    ct_module *net = ct_module_create(network->name);
    if (!net) return NULL;
    backbone *own = calloc(1, sizeof *own);
    if (own) *own = (backbone){.network = network, .options = o};
    ct_module_set_self(net, own, release);
    ct_module_set_forward(net, ct_backbone_regions);
    bool ok = own || ct_fail_bool("%s: out of memory", name);
    if (ok && network->build(net, network, o.classes) && ct_ok()) return net;
    ct_module_destroy(net);
    return NULL;
}

static bool add_part(backbone *own, ct_module *module, int64_t block) {
    if (own->count == own->capacity) {
        int capacity = own->capacity ? 2 * own->capacity : 16;
        part *parts = realloc(own->parts, (size_t)capacity * sizeof *parts);
        if (!parts) return ct_fail_bool("%s: out of memory", own->network->name);
        own->parts = parts;
        own->capacity = capacity;
    }
    own->parts[own->count++] = (part){module, block};
    if (own->blocks <= block) own->blocks = block + 1;
    return true;
}

ct_module *ct_backbone_part(ct_module *net, int64_t block, ct_module *parent, const char *name,
                            ct_module *child) {
    child = ct_module_add(parent, name, child);
    return child && add_part(ct_module_self(net), child, block) ? child : NULL;
}

/* ---- what is frozen -------------------------------------------------------------------------- */

/* Evaluation mode, written only where it is not: threads may run one net. */
static void evaluate(ct_module *module) {
    if (ct_module_training(module)) ct_module_train(module, false);
    for (int i = 0; i < ct_module_children(module); i++) {
        evaluate(ct_module_child_at(module, i, NULL));
    }
}

/* Of the net's own tensors, which are the stem's. */
static bool require_own(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    const bool *required = context;
    if (buffer || strchr(name, '.')) return true;
    if (*required) ct_require_grad(tensor);
    else ct_forget_grad(tensor);
    return true;
}

bool ct_backbone_finetune(ct_module *net, int64_t blocks) {
    if (!ct_module_expect("backbone_finetune", net, ct_backbone_regions)) return false;
    backbone *own = ct_module_self(net);
    if (blocks < -1) {
        return ct_fail_bool("backbone_finetune: %lld blocks, expected -1 (all) or 0 to %lld",
                            (long long)blocks, (long long)own->blocks);
    }
    bool all = blocks < 0 || blocks >= own->blocks;
    own->frozen = all ? 0 : own->blocks - blocks;
    for (int i = 0; i < own->count; i++) {
        bool trained = own->parts[i].block >= own->frozen;
        ct_module_require_grad(own->parts[i].module, trained);
        ct_module_train(own->parts[i].module, trained && ct_module_training(net));
    }
    bool stem = own->frozen == 0;
    return ct_module_visit(net, require_own, &stem);
}

/* ---- running --------------------------------------------------------------------------------- */

/* The net's data, if it is one and takes such pictures; else NULL and an error. */
static const backbone *taking(const char *op, ct_module *net, const ct_tensor *pictures) {
    if (!ct_module_expect(op, net, ct_backbone_regions)) return NULL;
    if (!pictures) return ct_ok() ? ct_fail("%s: pictures are NULL", op) : NULL;
    if (pictures->shape.ndim != 4 || pictures->shape.dim[1] != 3) {
        return ct_fail("%s: pictures are %s, expected (B,3,H,W)", op, ct_tensor_text(pictures));
    }
    bool fits = ct_backbone_region_count(net, pictures->shape.dim[2], pictures->shape.dim[3]) > 0;
    return fits ? ct_module_self(net) : NULL;
}

/* As timm grades it: 0 at the first block behind the stem. */
static double drop_of(const backbone *own, const part *now) {
    if (now->block == 0 || !own->network->dropped_most || !ct_module_training(now->module))
        return 0;
    double deep = (double)(now->block - 1) / (double)(own->network->dropped_most - 1);
    return own->options.drop_path * deep;
}

/* A block's result is let go when the next one has taken it, unless it is on the graph. */
static ct_tensor *features(ct_module *net, const backbone *own, ct_tensor *pictures, ct_rng *rng) {
    for (int i = 0; i < own->count; i++) {
        if (own->parts[i].block < own->frozen) evaluate(own->parts[i].module);
    }
    ct_tensor *x = ct_keep(pictures);
    for (int i = 0; i < own->count; i++) {
        const part *now = &own->parts[i];
        if (i > 0 && own->parts[i - 1].block == now->block) continue;
        ct_backbone_step step = {now->block, now->module, drop_of(own, now), rng};
        ct_tensor *y = NULL;
        CT_SCOPE { y = ct_keep(own->network->run(net, &step, x)); }
        ct_release(x);
        x = y;
    }
    return ct_adopt(x);
}

ct_tensor *ct_backbone_regions_from(ct_module *net, ct_tensor *pictures, ct_rng *rng) {
    const backbone *own = taking("backbone_regions", net, pictures);
    if (!own) return NULL;
    ct_tensor *(*regions)(ct_tensor *) = own->network->regions;
    if (!regions) regions = ct_map_regions;
    CT_SCOPE { return ct_escape(regions(features(net, own, pictures, rng))); }
    return NULL;
}

ct_tensor *ct_backbone_regions(ct_module *net, ct_tensor *pictures) {
    return ct_backbone_regions_from(net, pictures, NULL);
}

ct_tensor *ct_backbone_logits(ct_module *net, ct_tensor *pictures) {
    const backbone *own = taking("backbone_logits", net, pictures);
    if (!own) return NULL;
    if (own->options.classes == 0) {
        return ct_fail("backbone_logits: the %s has no classifier (it was made with classes = 0)",
                       own->network->name);
    }
    CT_SCOPE { return ct_escape(own->network->logits(net, features(net, own, pictures, NULL))); }
    return NULL;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

const ct_backbone_network *ct_backbone_network_of(ct_module *net) {
    const backbone *own = ct_module_self(net);
    return own->network;
}

int64_t ct_backbone_width(ct_module *net) {
    if (!ct_module_expect("backbone_width", net, ct_backbone_regions)) return 0;
    return ct_backbone_network_of(net)->width;
}

int64_t ct_backbone_region_count(ct_module *net, int64_t height, int64_t width) {
    if (!ct_module_expect("backbone_region_count", net, ct_backbone_regions)) return 0;
    const ct_backbone_network *network = ct_backbone_network_of(net);
    int64_t multiple = network->multiple;
    if (multiple && (height % multiple || width % multiple)) {
        ct_fail(
            "%s: pictures of height %lld and width %lld, expected multiples of %lld, the side of "
            "its patches",
            network->name, (long long)height, (long long)width, (long long)multiple);
        return 0;
    }
    bool sizes = height > 0 && width > 0 && height <= INT32_MAX && width <= INT32_MAX;
    int64_t count = sizes ? network->grid(network, height) * network->grid(network, width) : 0;
    if (count > 0) return count;
    ct_fail("%s: pictures of height %lld and width %lld are too %s", network->name,
            (long long)height, (long long)width,
            sizes || height <= 0 || width <= 0 ? "small" : "large");
    return 0;
}

int64_t ct_backbone_block_count(ct_module *net) {
    if (!ct_module_expect("backbone_block_count", net, ct_backbone_regions)) return 0;
    const backbone *own = ct_module_self(net);
    return own->blocks;
}
