/* SPDX-License-Identifier: Apache-2.0 */
#include "train/data/inputs.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 }; /* one is read while the other is uploaded */

/* Room for a batch on the device; words and targets are as wide as the batch needs. */
typedef struct {
    ct_tensor *images, *words, *lengths, *classes, *targets; /* targets NULL: there are none */
} room;

/* `ids` is what the small tensors are uploaded from, in a block that the device can copy from by
 * itself: classes as the model numbers them, lengths, words, targets. */
typedef struct {
    room room;
    ct_upload *upload;
    int64_t *ids;
    int64_t words, targets;
} slot;

struct ct_inputs {
    const ct_experiment *experiment;
    int64_t size;
    room read; /* by the steps */
    slot slots[SLOTS];
    int64_t sent;
};

/* ---- room ------------------------------------------------------------------------------- */

static ct_tensor *make(ct_device device, ct_dtype dtype, ct_shape shape) {
    ct_tensor *x = NULL;
    CT_SCOPE { x = ct_keep(ct_zeros(dtype, device, shape)); }
    return x;
}

static bool make_room(room *r, const ct_experiment *e, ct_dtype dtype, const ct_host_batch *like) {
    const ct_images *images = e->train->images;
    int64_t b = like->size, words = like->text.most_words, targets = like->text.most_targets;
    r->images = make(e->device, dtype, CT_SHAPE(b, images->regions, images->width));
    r->words = make(e->device, CT_I64, CT_SHAPE(b * words));
    r->lengths = make(e->device, CT_I64, CT_SHAPE(b));
    r->classes = make(e->device, CT_I64, CT_SHAPE(b));
    if (targets) r->targets = make(e->device, CT_I64, CT_SHAPE(b * targets));
    return r->images && r->words && r->lengths && r->classes && (r->targets || !targets);
}

static void release_room(room *r) {
    ct_release(r->images);
    ct_release(r->words);
    ct_release(r->lengths);
    ct_release(r->classes);
    ct_release(r->targets);
}

static bool make_slot(slot *s, const ct_experiment *e, const ct_host_batch *like) {
    int64_t each = 2 + like->text.most_words + like->text.most_targets;
    s->ids = ct_host_allocate(e->device, (size_t)(like->size * each) * sizeof *s->ids);
    if (!s->ids || !make_room(&s->room, e, CT_F32, like)) return false;
    s->upload = ct_upload_create(e->device);
    return s->upload != NULL;
}

ct_inputs *ct_inputs_create(const ct_experiment *experiment, const ct_host_batch *like) {
    ct_inputs *inputs = calloc(1, sizeof *inputs);
    if (!inputs) return ct_fail("inputs: out of memory");
    inputs->experiment = experiment;
    inputs->size = like->size;
    bool made = make_room(&inputs->read, experiment, experiment->config->dtype, like);
    for (int i = 0; made && i < SLOTS; i++) {
        made = make_slot(&inputs->slots[i], experiment, like);
    }
    if (made) return inputs;
    ct_inputs_destroy(inputs);
    return NULL;
}

void ct_inputs_destroy(ct_inputs *inputs) {
    if (!inputs) return;
    for (int i = 0; i < SLOTS; i++) {
        ct_upload_destroy(inputs->slots[i].upload);
        release_room(&inputs->slots[i].room);
        ct_host_free(inputs->experiment->device, inputs->slots[i].ids);
    }
    release_room(&inputs->read);
    free(inputs);
}

/* ---- a batch ---------------------------------------------------------------------------- */

/* The beginning of the room for ids as a matrix. */
static ct_tensor *matrix(const ct_tensor *ids, int64_t rows, int64_t columns) {
    ct_tensor *used = ct_tensor_slice(ids, 0, 0, rows * columns, 1);
    return used ? ct_tensor_reshape(used, CT_SHAPE(rows, columns)) : NULL;
}

/* Copies n ids to *at, which goes on behind them; returns where they are. */
static const int64_t *put(int64_t **at, const int64_t *ids, int64_t n) {
    int64_t *begin = *at;
    memcpy(begin, ids, (size_t)n * sizeof *ids);
    *at += n;
    return begin;
}

bool ct_inputs_send(ct_inputs *inputs, const ct_host_batch *host) {
    const ct_caption_batch *text = &host->text;
    int64_t b = inputs->size;
    if (host->size != b) {
        return ct_fail_bool("inputs: a batch of %lld, expected %lld", (long long)host->size,
                            (long long)b);
    }
    slot *s = &inputs->slots[inputs->sent++ % SLOTS];
    s->words = text->words;
    s->targets = text->target_words;
    int64_t *classes = s->ids, *at = s->ids;
    put(&at, host->classes, b);
    for (int64_t i = 0; i < b; i++) classes[i] += ct_model_first_class(inputs->experiment->model);
    const int64_t *lengths = put(&at, text->lengths, b);
    const int64_t *words = put(&at, text->ids, b * s->words);
    const int64_t *targets = s->targets ? put(&at, text->targets, b * s->targets) : NULL;
    bool sent = false;
    CT_SCOPE {
        ct_upload_item items[] = {{s->room.images, host->images},
                                  {s->room.classes, classes},
                                  {s->room.lengths, lengths},
                                  {matrix(s->room.words, b, s->words), words},
                                  {NULL, targets}};
        if (targets) items[4].to = matrix(s->room.targets, b, s->targets);
        sent = ct_upload_send(s->upload, items, targets ? 5 : 4);
    }
    return sent;
}

static slot *last_sent(ct_inputs *inputs) { return &inputs->slots[(inputs->sent - 1) % SLOTS]; }

bool ct_inputs_wait(ct_inputs *inputs) {
    return inputs->sent == 0 || ct_upload_wait(last_sent(inputs)->upload);
}

/* Ids (B,width) from the slot. */
static ct_tensor *receive_ids(const ct_inputs *inputs, const ct_tensor *to, const ct_tensor *from,
                              int64_t width) {
    ct_tensor *sent = matrix(from, inputs->size, width), *read = matrix(to, inputs->size, width);
    return sent && read && ct_tensor_copy_to(read, sent) ? read : NULL;
}

bool ct_inputs_receive(ct_inputs *inputs, ct_batch *batch) {
    slot *s = last_sent(inputs);
    const room *from = &s->room, *to = &inputs->read;
    *batch = (ct_batch){.images = to->images, .lengths = to->lengths, .classes = to->classes};
    if (!ct_upload_receive(s->upload) || !ct_tensor_copy_to(to->images, from->images) ||
        !ct_tensor_copy_to(to->lengths, from->lengths) ||
        !ct_tensor_copy_to(to->classes, from->classes)) {
        return false;
    }
    batch->words = receive_ids(inputs, to->words, from->words, s->words);
    if (s->targets) batch->targets = receive_ids(inputs, to->targets, from->targets, s->targets);
    return batch->words && (batch->targets || !s->targets) && ct_upload_done(s->upload);
}
