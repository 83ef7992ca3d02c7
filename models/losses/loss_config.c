/* SPDX-License-Identifier: Apache-2.0 */
/* Reading [loss]. */
#include <string.h>

#include "models/losses/loss.h"
#include "tensor/core/nearest.h"

/* A key whose value is one module with options ("hinge margin=0.2"), or one plain value. */
typedef struct {
    const char *key;
    const char *module; /* NULL: a plain value, described by options[0] */
    const ct_option *options;
} ct_loss_key;

enum {
    RETRIEVAL,
    DISCRETE_POLICY,
    CONTINUOUS_POLICY,
    INSTANCE,
    DECODER,
    MEASURE,
    NORMALISE,
    BASELINE,
    BASELINE_WEIGHT,
    KEYS
};

enum {
    HINGE_MARGIN,
    HINGE_NEGATIVES,
    HINGE_INTRA_MODAL,
    HINGE_SUM_EPOCHS,
    HINGE_SAME_IMAGE,
    HINGE_WEIGHT
};
static const ct_option hinge[] = {
    {"margin", CT_OPTION_REAL, "0.2", 0, 100, NULL},
    {"negatives", CT_OPTION_CHOICE, "hardest", 0, 0, "sum|hardest"},
    {"intra_modal", CT_OPTION_FLAG, "no", 0, 0, NULL},
    {"sum_epochs", CT_OPTION_INTEGER, "0", 0, 1e9, NULL},
    {"same_image", CT_OPTION_CHOICE, "negative", 0, 0, "negative|ignored"},
    {"weight", CT_OPTION_REAL, "1", 0, 1e6, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};
enum { CLASSIFIER_HIDDEN, CLASSIFIER_CLASSES, CLASSIFIER_WEIGHT };
static const ct_option classifier[] = {
    {"hidden", CT_OPTION_INTEGER, "512", 1, 1 << 20, NULL},
    {"classes", CT_OPTION_INTEGER, NULL, 1, 1e9, NULL}, /* outputs */
    {"weight", CT_OPTION_REAL, "1", 0, 1e6, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};
enum {
    CONVCAP_WIDTH,
    CONVCAP_HIDDEN,
    CONVCAP_LAYERS,
    CONVCAP_KERNEL,
    CONVCAP_DROPOUT,
    CONVCAP_TOKENS,
    CONVCAP_WEIGHT
};
static const ct_option convcap[] = {
    {"width", CT_OPTION_INTEGER, "512", 1, 1 << 20, NULL},
    {"hidden", CT_OPTION_INTEGER, "256", 1, 1 << 20, NULL},
    {"layers", CT_OPTION_INTEGER, "3", 1, 100, NULL},
    {"kernel", CT_OPTION_INTEGER, "5", 1, 1024, NULL},
    {"dropout", CT_OPTION_REAL, "0.1", 0, 0.99, NULL},
    {"tokens", CT_OPTION_INTEGER, "61", 2, 1 << 20, NULL},
    {"weight", CT_OPTION_REAL, "1", 0, 1e6, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};
static const ct_option weight[] = {{"the weight", CT_OPTION_REAL, NULL, 0, 1e6, NULL}};
static const ct_option fraction[] = {{"the weight", CT_OPTION_REAL, NULL, 0, 1, NULL}};
static const ct_option measure[] = {{"the measure", CT_OPTION_CHOICE, NULL, 0, 0, "cosine|order"}};
static const ct_option flag[] = {{"the value", CT_OPTION_FLAG, NULL, 0, 0, NULL}};
static const ct_option baseline[] = {
    {"the baseline", CT_OPTION_CHOICE, NULL, 0, 0, "mean|leave_one_out"}};

static const ct_loss_key keys[KEYS] = {
    [RETRIEVAL] = {"retrieval", "hinge", hinge},
    [DISCRETE_POLICY] = {"discrete_policy", NULL, weight},
    [CONTINUOUS_POLICY] = {"continuous_policy", NULL, weight},
    [INSTANCE] = {"instance", "classifier", classifier},
    [DECODER] = {"decoder", "convcap", convcap},
    [MEASURE] = {"measure", NULL, measure},
    [NORMALISE] = {"normalise", NULL, flag},
    [BASELINE] = {"baseline", NULL, baseline},
    [BASELINE_WEIGHT] = {"baseline_weight", NULL, fraction},
};

static bool find_key(ct_place place, int *found) {
    const char *known[KEYS];
    for (int i = 0; i < KEYS; i++) {
        known[i] = keys[i].key;
        if (strcmp(keys[i].key, place.key)) continue;
        *found = i;
        return true;
    }
    ct_fail_at(place, "unknown key%s", ct_did_you_mean(place.key, known, KEYS));
    return false;
}

static bool read_module(const ct_description *description, int entry, const ct_loss_key *key,
                        ct_option_value *value) {
    ct_spec spec;
    bool read = ct_spec_parse(&spec, description, entry);
    if (read && (spec.parts != 1 || spec.repeat != 1))
        read = ct_fail_at(spec.place, "expected one '%s option=value ...'", key->module) != NULL;
    if (read && strcmp(spec.part[0].module, key->module))
        read = ct_fail_at(spec.place, "unknown loss '%s', expected '%s'", spec.part[0].module,
                          key->module) != NULL;
    read = read && ct_options_read(spec.place, &spec.part[0], key->options, value);
    ct_spec_free(&spec);
    return read;
}

static void apply(int key, const ct_option_value *value, ct_loss_config *config) {
    switch (key) {
    case RETRIEVAL:
        config->ranking.margin = value[HINGE_MARGIN].number;
        config->ranking.hardest = value[HINGE_NEGATIVES].number != 0;
        config->ranking.intra_modal = value[HINGE_INTRA_MODAL].number != 0;
        config->sum_epochs = (int64_t)value[HINGE_SUM_EPOCHS].number;
        config->ignore_same_image = value[HINGE_SAME_IMAGE].number != 0;
        config->retrieval = value[HINGE_WEIGHT].number;
        break;
    case DISCRETE_POLICY: config->discrete_policy = value->number; break;
    case CONTINUOUS_POLICY: config->continuous_policy = value->number; break;
    case INSTANCE:
        config->instance_hidden = (int64_t)value[CLASSIFIER_HIDDEN].number;
        config->instance_classes = (int64_t)value[CLASSIFIER_CLASSES].number;
        config->instance = value[CLASSIFIER_WEIGHT].number;
        break;
    case DECODER:
        config->convcap.width = (int64_t)value[CONVCAP_WIDTH].number;
        config->convcap.hidden = (int64_t)value[CONVCAP_HIDDEN].number;
        config->convcap.layers = (int64_t)value[CONVCAP_LAYERS].number;
        config->convcap.kernel = (int64_t)value[CONVCAP_KERNEL].number;
        config->convcap.dropout = value[CONVCAP_DROPOUT].number;
        config->convcap.tokens = (int64_t)value[CONVCAP_TOKENS].number;
        config->decoder = value[CONVCAP_WEIGHT].number;
        break;
    case MEASURE: config->measure = value->number != 0 ? CT_ORDER : CT_COSINE; break;
    case NORMALISE: config->normalise = value->number != 0; break;
    case BASELINE: config->leave_one_out = value->number != 0; break;
    case BASELINE_WEIGHT: config->baseline_weight = value->number; break;
    }
}

/* A policy that no loss trains stays random; that is asked for with weight 0, not by leaving the
 * key out. A loss without a policy is a mistake too. */
static bool check_policy(const ct_description *description, const char *key, int entry,
                         bool present, double configured, const char *what) {
    const char *file = description->file ? description->file : "description";
    if (present && entry < 0)
        return ct_fail("%s: [loss] has no '%s', but a policy_attention has a %s part to train "
                       "(%s = 0 leaves it at its random start)",
                       file, key, what, key) != NULL;
    if (!present && configured > 0)
        return ct_fail_at(ct_place_of(description, entry),
                          "no policy_attention in [image] or [text] has a %s part to train",
                          what) != NULL;
    return true;
}

/* Outputs of the classifier, where the option does not say; every training image needs one. */
static bool size_classifier(const ct_description *description, int entry, const ct_compat *compat,
                            int64_t images, ct_loss_config *config) {
    bool released = compat->released[CT_COMPAT_CLASSES];
    int64_t needed = images + released; /* numbers 0 to images - 1, or 1 to images */
    if (config->instance_classes == 0)
        config->instance_classes = released ? CT_RELEASED_CLASSES : images;
    if (config->instance == 0 || config->instance_classes >= needed) return true;
    return ct_fail_at(ct_place_of(description, entry),
                      "classes is %lld, but the training images are numbered %d to %lld: expected "
                      "at least %lld",
                      (long long)config->instance_classes, released, (long long)needed - 1,
                      (long long)needed) != NULL;
}

/* A registered loss stands under a key that is none of the above. */
static bool is_own(const ct_description_entry *entry) {
    for (int i = 0; i < KEYS; i++)
        if (!strcmp(keys[i].key, entry->key)) return false;
    return ct_loss_kind_find(entry->value) != NULL;
}

static bool read_own(const ct_description *description, int entry, ct_loss_config *config) {
    ct_spec spec;
    bool read = ct_spec_parse(&spec, description, entry) && ct_own_loss_read(&spec, config);
    ct_spec_free(&spec);
    return read;
}

static double weights_of_own(const ct_loss_config *config) {
    double sum = 0;
    for (int i = 0; i < config->owns; i++) sum += config->own[i].weight;
    return sum;
}

bool ct_loss_read(const ct_description *description, const ct_compat *compat,
                  const ct_graph_chain *image, const ct_graph_chain *text, int64_t images,
                  ct_loss_config *config) {
    int line[KEYS];
    for (int i = 0; i < KEYS; i++) line[i] = -1;
    *config = (ct_loss_config){.normalise = true, .baseline_weight = 0.5};
    for (int i = 0; i < description->count; i++) {
        if (strcmp(description->entries[i].section, "loss")) continue;
        ct_place place = ct_place_of(description, i);
        ct_option_value value[CT_MAX_OPTIONS];
        int key;
        if (is_own(&description->entries[i])) {
            if (!read_own(description, i, config)) return false;
            continue;
        }
        if (!find_key(place, &key)) return false;
        if (line[key] >= 0) return ct_fail_at(place, "given twice") != NULL;
        line[key] = i;
        bool read = keys[key].module
                        ? read_module(description, i, &keys[key], value)
                        : ct_option_read(place, keys[key].options->name, keys[key].options,
                                         description->entries[i].value, value);
        if (!read) return false;
        apply(key, value, config);
    }
    bool discrete = ct_policy_has_discrete(image->policy) || ct_policy_has_discrete(text->policy);
    bool continuous =
        ct_policy_has_continuous(image->policy) || ct_policy_has_continuous(text->policy);
    if (!check_policy(description, "discrete_policy", line[DISCRETE_POLICY], discrete,
                      config->discrete_policy, "discrete") ||
        !check_policy(description, "continuous_policy", line[CONTINUOUS_POLICY], continuous,
                      config->continuous_policy, "continuous"))
        return false;
    if (config->retrieval + config->instance + config->decoder + weights_of_own(config) == 0)
        return ct_fail("%s: [loss] trains nothing: expected retrieval, instance or decoder",
                       description->file ? description->file : "description") != NULL;
    if (!size_classifier(description, line[INSTANCE], compat, images, config)) return false;
    config->ranking.measure = config->measure;
    if (config->measure == CT_ORDER && compat->released[CT_COMPAT_NAN_GRADIENT]) {
        config->ranking.similarity = ct_released_order_similarity;
    }
    if (compat->released[CT_COMPAT_COLUMN_MAXIMUM]) config->ranking.within_over = CT_HINGE_COLUMN;
    return true;
}
