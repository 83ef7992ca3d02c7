/* SPDX-License-Identifier: Apache-2.0 */
/* A model: made from its description, and embedding images and captions. */
#include "models/backbones.h"
#include "models/graph/model.h"

#include <stdlib.h>
#include <string.h>

/* ---- making --------------------------------------------------------------------------------- */

static bool check_sizes(const ct_model_sizes *sizes) {
    if (sizes->regions > 0 && sizes->features > 0 && sizes->vocabulary > 0 && sizes->images > 0)
        return true;
    return ct_fail("model: regions %lld, features %lld, vocabulary %lld, images %lld, expected all "
                   "above 0",
                   (long long)sizes->regions, (long long)sizes->features,
                   (long long)sizes->vocabulary, (long long)sizes->images) != NULL;
}

static bool check_widths(const ct_model *model) {
    if (model->image.width == model->text.width) return true;
    const ct_graph_node *text = &model->text.node[model->text.nodes - 1];
    const ct_graph_node *image = &model->image.node[model->image.nodes - 1];
    return ct_fail_at(text->place,
                      "captions become %lld wide here, but images %lld ([image] %s, "
                      "line %d): both must be alike",
                      (long long)model->text.width, (long long)model->image.width, image->place.key,
                      image->place.line) != NULL;
}

static bool build_chains(ct_model *model, const ct_description *description) {
    ct_graph_context context = {.sizes = &model->sizes};
    if (!ct_graph_build(&model->image, description, "image", &model->compat, &context,
                        model->sizes.features) ||
        !ct_module_add(model->module, "image", model->image.module))
        return false;
    context.pool_width = model->image.width;
    return ct_graph_build(&model->text, description, "text", &model->compat, &context, 0) &&
           ct_module_add(model->module, "text", model->text.module) && check_widths(model);
}

static bool build_heads(ct_model *model) {
    const ct_loss_config *loss = &model->loss;
    int64_t width = model->image.width;
    if (loss->instance > 0) {
        ct_module *classifier =
            ct_module_add(model->module, "classifier", ct_module_create("classifier"));
        int64_t hidden = loss->instance_hidden;
        if (!ct_module_add(classifier, "hidden", ct_linear_create(width, hidden, true)) ||
            !ct_module_add(classifier, "output",
                           ct_linear_create(hidden, loss->instance_classes, true)))
            return false;
        model->classifier = classifier;
    }
    if (loss->decoder > 0) {
        int64_t words = model->text.node[0].out;
        model->decoder =
            ct_module_add(model->module, "decoder",
                          ct_decoder_create(loss, words, width, model->sizes.vocabulary));
        if (!model->decoder) return false;
    }
    return ct_own_losses_build(model);
}

ct_model *ct_model_create(const ct_description *description, ct_model_sizes sizes) {
    if (!ct_description_check(description)) return NULL;
    ct_model *model = calloc(1, sizeof *model);
    if (!model) return ct_fail("model: out of memory");
    model->sizes = sizes;
    CT_SCOPE {
        bool made = check_sizes(&sizes) && ct_compat_read(description, &model->compat) &&
                    (model->module = ct_module_create("model")) != NULL &&
                    build_chains(model, description) &&
                    ct_loss_read(description, &model->compat, &model->image, &model->text,
                                 sizes.images, &model->loss) &&
                    build_heads(model);
        if (!made) {
            ct_model_destroy(model);
            return NULL;
        }
    }
    model->sizes.word_vectors = NULL;
    model->sizes.word_known = NULL;
    return model;
}

void ct_model_destroy(ct_model *model) {
    if (!model) return;
    ct_module_destroy(model->module);
    ct_graph_free(&model->image);
    ct_graph_free(&model->text);
    free(model);
}

/* ---- asking --------------------------------------------------------------------------------- */

bool ct_model_given(const char *op, const ct_model *model) {
    return ct_check_pointer(op, "the model", model);
}

ct_module *ct_model_module(ct_model *model) {
    return ct_model_given("model_module", model) ? model->module : NULL;
}

int64_t ct_model_width(const ct_model *model) {
    return ct_model_given("model_width", model) ? model->image.width : 0;
}

ct_measure ct_model_measure(const ct_model *model) {
    return ct_model_given("model_measure", model) ? model->loss.measure : CT_COSINE;
}

bool ct_model_group_parameters(const ct_model *model, ct_optimizer *optimizer) {
    if (!ct_model_given("model_group_parameters", model)) return false;
    const bool *released = model->compat.released;
    if (!model->decoder) return true;
    if (released[CT_COMPAT_DECODER_FIXED])
        return ct_optimizer_group_updates(optimizer, "decoder.*", 0);
    return !released[CT_COMPAT_DECODER_TWICE] ||
           ct_optimizer_group_updates(optimizer, "decoder.*", 2);
}

int64_t ct_model_first_class(const ct_model *model) {
    bool given = ct_model_given("model_first_class", model);
    return given && model->compat.released[CT_COMPAT_CLASSES] ? 1 : 0;
}

int64_t ct_model_decoder_tokens(const ct_model *model) {
    bool given = ct_model_given("model_decoder_tokens", model);
    return given && model->decoder ? model->loss.convcap.tokens : 0;
}

bool ct_model_section(const char *section) {
    static const char *const sections[] = {"image", "text", "loss", "compat"};
    for (int i = 0; i < 4; i++)
        if (section && !strcmp(section, sections[i])) return true;
    return false;
}

bool ct_description_word_vectors(const ct_description *description, char *path, size_t size) {
    bool found = false;
    if (!ct_description_check(description) || !ct_check_pointer("model", "the path", path))
        return false;
    for (int i = 0; i < description->count && !found; i++) {
        if (strcmp(description->entries[i].section, "text")) continue;
        ct_spec spec;
        if (ct_spec_parse(&spec, description, i))
            for (int k = 0; k < spec.part[0].options && !strcmp(spec.part[0].module, "words"); k++)
                if (!strcmp(spec.part[0].option[k].name, "vectors")) {
                    const char *value = spec.part[0].option[k].value;
                    found = strlen(value) < size ||
                            ct_fail_at(spec.place, "the path of 'vectors' is too long") != NULL;
                    if (found) strcpy(path, value);
                }
        ct_spec_free(&spec);
    }
    return found;
}

/* ---- embedding ------------------------------------------------------------------------------ */

ct_tensor *ct_model_run_images(const ct_model *model, ct_tensor *images, ct_graph_state *state) {
    if (!images) return ct_ok() ? ct_fail("model: images are NULL") : NULL;
    int first = ct_graph_start(&model->image, images, model->sizes.features);
    if (first < 0) return NULL;
    return ct_graph_forward_part(&model->image, first, model->image.nodes, state, images);
}

bool ct_model_check_captions(const ct_batch *batch) {
    const ct_tensor *words = batch->vectors ? batch->vectors : batch->words;
    if (!words) return ct_fail("model: the batch has neither words nor vectors") != NULL;
    int ndim = batch->vectors ? 3 : 2;
    if (ct_ndim(words) != ndim || (!batch->vectors && words->dtype != CT_I64))
        return ct_fail("model: words are %s, expected i64 (B,T)", ct_tensor_text(words)) != NULL;
    const ct_tensor *lengths = batch->lengths;
    if (!lengths || lengths->dtype != CT_I64 || ct_ndim(lengths) != 1 ||
        ct_dim(lengths, 0) != ct_dim(words, 0) || !ct_is_contiguous(lengths))
        return ct_fail("model: lengths are %s, expected i64 (%lld)", ct_tensor_text(lengths),
                       (long long)ct_dim(words, 0)) != NULL;
    if (ct_lengths_on_device(lengths))
        return lengths->device == words->device ||
               ct_fail_bool("model: lengths are on %s, words on %s",
                            ct_device_name(lengths->device), ct_device_name(words->device));
    const int64_t *length = ct_data(lengths);
    for (int64_t i = 0; i < ct_count(lengths); i++)
        if (length[i] < 1 || length[i] > ct_dim(words, 1))
            return ct_fail("model: length %lld of caption %lld, expected 1 to %lld",
                           (long long)length[i], (long long)i, (long long)ct_dim(words, 1)) != NULL;
    return true;
}

/* Padding is left out if the host knows the lengths, there is some, and nothing uses what would be
 * computed there, as released policies and targets with a mask do. */
static bool packs(const ct_model *model, const ct_batch *batch) {
    bool padded_policy = model->text.policy && model->compat.released[CT_COMPAT_PADDED_STEPS];
    if (ct_lengths_on_device(batch->lengths) || padded_policy || batch->target_mask) return false;
    int64_t steps = ct_dim(batch->vectors ? batch->vectors : batch->words, 1);
    const int64_t *length = ct_data(batch->lengths);
    for (int64_t i = 0; i < ct_count(batch->lengths); i++)
        if (length[i] < steps) return true;
    return false;
}

ct_tensor *ct_model_run_captions(const ct_model *model, const ct_batch *batch,
                                 ct_graph_state *state) {
    if (!batch || !ct_model_check_captions(batch)) return NULL;
    const ct_tensor *words = batch->vectors ? batch->vectors : batch->words;
    state->batch = batch;
    state->lengths = batch->lengths;
    state->packs = packs(model, batch);
    if (state->packs &&
        !ct_packing_make(&state->packing, batch->lengths, ct_dim(words, 1), words->device)) {
        return NULL;
    }
    return ct_graph_forward(&model->text, state, NULL);
}

ct_graph_state ct_model_state(const ct_model *model, ct_rng *rng) {
    return (ct_graph_state){.rng = rng ? rng : ct_default_rng(),
                            .training = ct_module_training(model->module)};
}

ct_tensor *ct_model_embed_images(ct_model *model, ct_tensor *images, ct_rng *rng) {
    if (!ct_model_given("model_embed_images", model)) return NULL;
    CT_SCOPE {
        ct_graph_state state = ct_model_state(model, rng);
        return ct_escape(ct_model_run_images(model, images, &state));
    }
    return NULL;
}

ct_tensor *ct_model_embed_captions(ct_model *model, const ct_batch *batch, ct_rng *rng) {
    if (!ct_model_given("model_embed_captions", model) ||
        !ct_check_pointer("model_embed_captions", "the batch", batch))
        return NULL;
    CT_SCOPE {
        ct_graph_state state = ct_model_state(model, rng);
        return ct_escape(ct_model_run_captions(model, batch, &state));
    }
    return NULL;
}

/* ---- the front ------------------------------------------------------------------------------- */

bool ct_model_front(const ct_model *model, int64_t *regions, int64_t *features) {
    if (!ct_model_given("model_front", model) ||
        !ct_check_pointer("model_front", "regions", regions) ||
        !ct_check_pointer("model_front", "features", features))
        return false;
    const ct_graph_chain *chain = &model->image;
    if (!chain->front) return false;
    *regions = chain->regions;
    *features = chain->node[chain->front - 1].out;
    return true;
}

ct_module *ct_model_front_module(const ct_model *model, int i) {
    if (!ct_model_given("model_front_module", model)) return NULL;
    bool there = i >= 0 && i < model->image.front;
    return there ? model->image.node[i].module : NULL;
}

ct_tensor *ct_model_run_front(ct_model *model, ct_tensor *images) {
    if (!ct_model_given("model_run_front", model)) return NULL;
    const ct_graph_chain *chain = &model->image;
    if (!chain->front) return ct_fail("model_run_front: [image] has no front that stays as it is");
    if (!images) return ct_ok() ? ct_fail("model_run_front: images are NULL") : NULL;
    if (ct_graph_start(chain, images, 0) != 0)
        return ct_ok()
                   ? ct_fail("model_run_front: images are %s, no pictures", ct_tensor_text(images))
                   : NULL;
    CT_NO_GRAD {
        CT_SCOPE {
            ct_graph_state state = ct_model_state(model, NULL);
            return ct_escape(ct_graph_forward_part(chain, 0, chain->front, &state, images));
        }
    }
    return NULL;
}

bool ct_model_load_backbones(ct_model *model) {
    if (!ct_model_given("model_load_backbones", model)) return false;
    for (int i = 0; i < model->image.nodes; i++) {
        const ct_graph_node *node = &model->image.node[i];
        if (node->weights && !ct_backbone_load(node->module, node->weights)) return false;
    }
    return true;
}

ct_tensor *ct_model_ranked(const ct_model *model, ct_tensor *embeddings) {
    if (!ct_model_given("model_ranked", model)) return NULL;
    return model->loss.normalise ? ct_l2_normalize(embeddings, -1) : embeddings;
}
