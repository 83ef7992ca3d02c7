/* SPDX-License-Identifier: Apache-2.0 */
#include "train/serve/look.h"

#include "tensor/io/json.h"
#include "train/evaluate/observed.h"
#include "train/evaluate/regions.h"
#include "train/search/answers.h"

/* ---- weights as JSON --------------------------------------------------------------------- */

static json_t *weights_json(const ct_seen_weights *w) {
    json_t *heads = json_array();
    for (int64_t head = 0; head < w->heads; head++) {
        json_t *steps = json_array();
        for (int64_t s = 0; s < w->length[0]; s++)
            ct_json_append(steps, json_real(ct_seen_weight(w, 0, s, head)));
        ct_json_append(heads, steps);
    }
    return heads;
}

/* Where regions are: by the boxes of their split, or within what is seen of a picture. */
typedef struct {
    const ct_experiment *experiment;
    const ct_split *split; /* NULL: of none */
    int64_t image;
    ct_picture_box seen; /* parts of width and height */
} place;

/* NULL: it is not known, or an error. */
static json_t *boxes_json(const place *p, int64_t regions) {
    ct_tensor *boxes = p->split ? ct_region_boxes(p->experiment, p->split, regions) : NULL;
    double left = p->seen.left, top = p->seen.top;
    double across = p->seen.right - left, down = p->seen.bottom - top;
    json_t *list = json_array();
    for (int64_t r = 0; ct_ok() && r < regions; r++) {
        ct_region at;
        if (!ct_region_find(p->experiment, boxes, p->image, r, regions, &at)) break;
        /* of numbers that JSON has not there is no list, and then none of the boxes */
        json_array_append_new(list,
                              json_pack("[ffff]", left + at.left * across, top + at.top * down,
                                        left + at.right * across, top + at.bottom * down));
    }
    if (json_array_size(list) == (size_t)regions) return list;
    json_decref(list);
    return NULL;
}

/* `p` NULL: of words. */
static bool add_attention(json_t *object, const ct_observations *seen, const place *p) {
    json_t *list = json_array();
    for (int i = 0; i < seen->count; i++) {
        const ct_seen_weights *w = &seen->weights[i];
        json_t *module = json_object();
        ct_json_set(module, "module", ct_text_json(w->path));
        ct_json_set(module, "weights", weights_json(w));
        json_t *boxes = p ? boxes_json(p, w->length[0]) : NULL;
        if (boxes) ct_json_set(module, "boxes", boxes);
        ct_json_append(list, module);
    }
    ct_json_set(object, "attention", list);
    return ct_ok();
}

/* ---- a sentence -------------------------------------------------------------------------- */

static bool add_unknown(json_t *object, const ct_experiment *e, const char *sentence) {
    int count = 0, words = 0;
    char **unknown = ct_encoder_unknown(e->encoder, sentence, &count, &words);
    json_t *list = json_array();
    for (int i = 0; unknown && i < count; i++) ct_json_append(list, ct_text_json(unknown[i]));
    ct_json_set(object, "unknown", list);
    if (unknown) ct_tokens_free(unknown);
    return unknown != NULL;
}

static void add_words(json_t *object, const ct_experiment *e, const ct_caption *caption) {
    json_t *words = json_array();
    for (int64_t s = 0; s < caption->length; s++)
        ct_json_append(words, ct_text_json(ct_step_word(e, caption, s)));
    ct_json_set(object, "words", words);
}

ct_tensor *ct_look_at_sentence(const ct_served *served, const char *sentence, json_t *object) {
    const ct_experiment *e = served->experiment;
    const int64_t first = 0;
    ct_caption caption = {0};
    if (!ct_encode(e->encoder, sentence, &caption)) return NULL;
    ct_observations seen;
    ct_observation o = {e, true, 1, &first, &caption.length};
    ct_observe_begin(&o, &seen);
    ct_tensor *y = ct_embed_sentences(e, &sentence, 1);
    ct_observe_end();
    add_words(object, e, &caption);
    bool done = y && add_unknown(object, e, sentence) && add_attention(object, &seen, NULL);
    ct_observations_free(&seen);
    ct_caption_free(&caption);
    return done ? y : NULL;
}

/* ---- a picture --------------------------------------------------------------------------- */

ct_tensor *ct_look_at_picture(const ct_served *served, const ct_picture *picture, const char *name,
                              json_t *object) {
    const ct_experiment *e = served->experiment;
    const int64_t first = 0;
    ct_observations seen;
    ct_observation o = {e, false, 1, &first, NULL};
    ct_observe_begin(&o, &seen);
    ct_tensor *y = ct_embed_decoded(e, picture, name);
    ct_observe_end();
    place p = {.experiment = e};
    if (y) p.seen = ct_picture_seen(&e->view, picture->width, picture->height);
    bool done = y && add_attention(object, &seen, &p);
    ct_observations_free(&seen);
    return done ? y : NULL;
}

static ct_tensor *look_at_features(const ct_experiment *e, const ct_split *split, int64_t image,
                                   json_t *object) {
    ct_observations seen;
    ct_observation o = {e, false, 1, &image, NULL};
    ct_observe_begin(&o, &seen);
    ct_tensor *y = ct_embed_some(e, split, false, &image, 1);
    ct_observe_end();
    place p = {e, split, image, {0, 0, 1, 1}};
    bool done = y && add_attention(object, &seen, &p);
    ct_observations_free(&seen);
    return done ? y : NULL;
}

/* What is wrong with a picture that can no longer be read, /pictures/ID says. */
static ct_tensor *look_at_file(const ct_served *served, const char *path, json_t *object) {
    ct_picture picture;
    struct stat file;
    if (!ct_served_is_file(path, &file)) return NULL;
    if (!ct_picture_read(path, CT_PICTURE_MOST_PIXELS, &picture)) {
        ct_error_clear();
        return NULL;
    }
    ct_tensor *y = ct_look_at_picture(served, &picture, path, object);
    ct_picture_free(&picture);
    return y;
}

ct_tensor *ct_look_at_image(const ct_served *served, int split, int64_t image, json_t *object) {
    const ct_experiment *e = served->experiment;
    const ct_split *features = served->splits[split].split;
    if (!e->pictures) return features ? look_at_features(e, features, image, object) : NULL;
    const char *path = ct_served_picture(served, split, image);
    return path ? look_at_file(served, path, object) : NULL;
}
