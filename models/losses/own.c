/* SPDX-License-Identifier: Apache-2.0 */
/* Loss terms registered from outside: found, read, built and computed. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "models/graph/model.h"

/* Registering is for the whole process. */
static struct {
    pthread_mutex_t lock;
    const ct_loss_kind *kind[CT_MOST_OWN_KINDS];
    int count;
} registered = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const ct_loss_kind *find(const char *name, size_t length) {
    for (int i = 0; i < registered.count; i++) {
        const char *known = registered.kind[i]->name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) return registered.kind[i];
    }
    return NULL;
}

static bool has_weight(const ct_loss_kind *kind) {
    for (int i = 0; kind->options && kind->options[i].name; i++) {
        if (strcmp(kind->options[i].name, "weight") == 0) return true;
    }
    return false;
}

bool ct_register_loss(const ct_loss_kind *kind) {
    if (!kind || !kind->compute) {
        return ct_fail_bool("register_loss: a loss needs a compute function");
    }
    if (!ct_own_check("register_loss", kind->name, kind->options, CT_MAX_OPTIONS - 1)) return false;
    if (has_weight(kind)) {
        return ct_fail_bool("register_loss: %s has an option 'weight', which every term has",
                            kind->name);
    }
    pthread_mutex_lock(&registered.lock);
    bool added = false;
    if (find(kind->name, strlen(kind->name)))
        ct_fail("register_loss: there is already a loss '%s'", kind->name);
    else if (registered.count == CT_MOST_OWN_KINDS) {
        ct_fail("register_loss: more than %d losses", CT_MOST_OWN_KINDS);
    } else {
        registered.kind[registered.count++] = kind;
        added = true;
    }
    pthread_mutex_unlock(&registered.lock);
    return added;
}

const ct_loss_kind *ct_loss_kind_find(const char *value) {
    const char *name = value + strspn(value, " \t");
    pthread_mutex_lock(&registered.lock);
    const ct_loss_kind *kind = find(name, strcspn(name, " \t"));
    pthread_mutex_unlock(&registered.lock);
    return kind;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* The kind's options, then `weight`; how many stand before that. */
static int with_weight(const ct_loss_kind *kind, ct_option table[CT_MAX_OPTIONS + 1]) {
    int count = 0;
    for (; kind->options && kind->options[count].name; count++) table[count] = kind->options[count];
    table[count] = (ct_option){"weight", CT_OPTION_REAL, "1", 0, 1e6, NULL};
    table[count + 1] = (ct_option){NULL, 0, NULL, 0, 0, NULL};
    return count;
}

bool ct_own_loss_read(const ct_spec *spec, ct_loss_config *config) {
    const ct_loss_kind *kind = ct_loss_kind_find(spec->part[0].module);
    for (int i = 0; i < config->owns; i++) {
        if (strcmp(config->own[i].key, spec->place.key) == 0) {
            return ct_fail_at(spec->place, "given twice") != NULL;
        }
    }
    if (spec->parts != 1 || spec->repeat != 1) {
        return ct_fail_at(spec->place, "expected one '%s option=value ...'", kind->name) != NULL;
    }
    if (config->owns == CT_MOST_OWN_LOSSES || strlen(spec->place.key) >= CT_OWN_KEY) {
        return ct_fail_at(spec->place, "more than %d terms of one's own, or a key of %d letters",
                          CT_MOST_OWN_LOSSES, CT_OWN_KEY) != NULL;
    }
    ct_own_loss *own = &config->own[config->owns];
    ct_option table[CT_MAX_OPTIONS + 1];
    int weight = with_weight(kind, table);
    if (!ct_options_read(spec->place, &spec->part[0], table, own->value)) return false;
    own->kind = kind;
    own->weight = own->value[weight].number;
    snprintf(own->key, sizeof own->key, "%s", spec->place.key);
    config->owns++;
    return true;
}

/* ---- building and computing -------------------------------------------------------------- */

bool ct_own_losses_build(ct_model *model) {
    ct_module *losses = NULL;
    for (int i = 0; i < model->loss.owns; i++) {
        ct_own_loss *own = &model->loss.own[i];
        if (!own->kind->create || own->weight == 0) continue;
        if (!losses) losses = ct_module_add(model->module, "losses", ct_module_create("losses"));
        own->module = ct_module_add(
            losses, own->key, own->kind->create(own->value, &model->sizes, model->image.width));
        if (!own->module) return false;
    }
    return true;
}

ct_tensor *ct_own_loss_compute(const ct_own_loss *own, ct_loss_input input) {
    input.module = own->module;
    input.option = own->value;
    ct_tensor *term = own->kind->compute(&input);
    if (term && ct_count(term) == 1) return ct_reshape(term, CT_SCALAR_SHAPE);
    if (!ct_ok()) return NULL;
    return ct_fail("loss %s (%s): it gave %s, expected a scalar", own->key, own->kind->name,
                   ct_tensor_text(term));
}

const char *ct_model_own_loss(const ct_model *model, int i) {
    return model && i >= 0 && i < model->loss.owns ? model->loss.own[i].key : NULL;
}
