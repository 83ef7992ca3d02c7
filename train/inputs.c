#include "train/inputs.h"

#include <stdlib.h>

enum { SLOTS = 2 }; /* one is read while the other is uploaded */

/* Room for a batch on the device; words and targets are as wide as the batch needs. */
typedef struct {
    ct_tensor *images, *words, *lengths, *classes, *targets; /* targets NULL: there are none */
} room;

typedef struct {
    room room;
    ct_upload *upload;
    int64_t *classes; /* on the host, as the model numbers them */
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
    CT_SCOPE x = ct_keep(ct_zeros(dtype, device, shape));
    return x;
}

static bool make_room(room *r, const ct_experiment *e, ct_dtype dtype, const ct_host_batch *like) {
    const ct_shape *features = &e->train->images->shape;
    int64_t b = like->size, words = like->text.most_words, targets = like->text.most_targets;
    r->images = make(e->device, dtype, CT_SHAPE(b, features->dim[1], features->dim[2]));
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
    s->classes = malloc((size_t)like->size * sizeof *s->classes + 1);
    if (!s->classes) return ct_fail_bool("inputs: out of memory");
    if (!make_room(&s->room, e, CT_F32, like)) return false;
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
        free(inputs->slots[i].classes);
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

bool ct_inputs_send(ct_inputs *inputs, const ct_host_batch *host) {
    const ct_caption_batch *text = &host->text;
    if (host->size != inputs->size) {
        return ct_fail_bool("inputs: a batch of %lld, expected %lld", (long long)host->size,
                            (long long)inputs->size);
    }
    slot *s = &inputs->slots[inputs->sent++ % SLOTS];
    int64_t first_class = ct_model_first_class(inputs->experiment->model);
    for (int64_t i = 0; i < host->size; i++) s->classes[i] = host->classes[i] + first_class;
    s->words = text->words;
    s->targets = text->target_words;
    bool sent = false;
    CT_SCOPE {
        ct_upload_item items[] = {{s->room.images, host->images},
                                  {matrix(s->room.words, host->size, s->words), text->ids},
                                  {s->room.lengths, text->lengths},
                                  {s->room.classes, s->classes},
                                  {NULL, text->targets}};
        if (s->targets) items[4].to = matrix(s->room.targets, host->size, s->targets);
        sent = ct_upload_send(s->upload, items, s->targets ? 5 : 4);
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
