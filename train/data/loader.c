/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of a split: features and captions around the order, the position and the thread of
 * nn/data/prefetch.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "nn/data/prefetch.h"
#include "train/data/data.h"

struct ct_loader {
    const ct_split *split;
    ct_device device;
    int rank, ranks; /* that share a batch */
    int64_t most;    /* captions a part of it has room for */
    ct_prefetch *prefetch;
    ct_host_batch batch[CT_PREFETCH_SLOTS];
    uint64_t seed;
    ct_picture_draw *draws; /* (most): what changes them */
};

/* ---- making batches (in the thread) ------------------------------------------------------ */

static int64_t longest_of(const ct_split *split, const int64_t *caption, int64_t count) {
    int64_t longest = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t length = split->encoded[caption[i]].length;
        if (length > longest) longest = length;
    }
    return longest;
}

static bool fill(void *context, int slot, int64_t epoch, const int64_t *caption, int64_t count) {
    ct_loader *loader = context;
    const ct_split *split = loader->split;
    ct_host_batch *batch = &loader->batch[slot];
    batch->text.longest = longest_of(split, caption, count);
    count /= loader->ranks;
    caption += loader->rank * count;
    batch->size = count;
    for (int64_t i = 0; i < count; i++) {
        batch->captions[i] = caption[i];
        batch->classes[i] = split->image_of[caption[i]];
        loader->draws[i] = (ct_picture_draw){loader->seed, epoch, caption[i]};
    }
    if (!ct_images_read(split->images, batch->classes, count, loader->draws, batch->images)) {
        return false;
    }
    ct_caption_batch_fill(&batch->text, split->encoder, split->encoded, batch->captions, count);
    return true;
}

/* ---- the caller's side ------------------------------------------------------------------- */

static bool allocate_batch(ct_host_batch *batch, const ct_split *split, ct_device device,
                           size_t size, size_t features) {
    batch->images = ct_host_allocate(device, size * features * sizeof *batch->images);
    batch->classes = malloc(size * sizeof *batch->classes);
    batch->captions = malloc(size * sizeof *batch->captions);
    return batch->images && batch->classes && batch->captions &&
           ct_caption_batch_create(&batch->text, split->encoder, (int64_t)size, split->longest);
}

static void free_batch(ct_host_batch *batch, ct_device device) {
    ct_host_free(device, batch->images);
    free(batch->classes);
    free(batch->captions);
    ct_caption_batch_free(&batch->text);
}

static bool allocate(ct_loader *loader) {
    const ct_split *split = loader->split;
    size_t features = (size_t)(split->images->regions * split->images->width);
    loader->draws = malloc((size_t)loader->most * sizeof *loader->draws);
    bool done = loader->draws != NULL;
    for (int i = 0; done && i < CT_PREFETCH_SLOTS; i++) {
        done = allocate_batch(&loader->batch[i], split, loader->device, (size_t)loader->most,
                              features);
    }
    if (done || !ct_ok()) return done;
    return ct_fail_bool("loader: out of memory for batches of %" PRId64 " images of %zu features",
                        loader->most, features);
}

static ct_loader *create(const ct_split *split, ct_prefetch_options options, ct_device device,
                         int rank, int ranks) {
    if (!split || !ct_ok()) return NULL;
    if (!split->encoded) return ct_fail("loader: the captions of %s are not encoded", split->name);
    ct_loader *loader = calloc(1, sizeof *loader);
    if (!loader) return ct_fail("loader: out of memory");
    loader->split = split;
    loader->device = device;
    loader->rank = rank;
    loader->ranks = ranks;
    loader->seed = options.seed;
    options.name = "loader";
    options.examples = split->caption_count;
    options.fill = fill;
    options.context = loader;
    int64_t most = options.batch < options.examples ? options.batch : options.examples;
    loader->most = most / ranks;
    loader->prefetch = ct_prefetch_create(&options);
    if (loader->prefetch && allocate(loader)) return loader;
    ct_loader_destroy(loader);
    return NULL;
}

ct_loader *ct_loader_create(const ct_split *split, int64_t batch, bool shuffle, bool drop_last,
                            uint64_t seed, ct_device device) {
    ct_prefetch_options options = {
        .batch = batch, .shuffle = shuffle, .drop_last = drop_last, .seed = seed};
    return create(split, options, device, 0, 1);
}

ct_loader *ct_loader_create_part(const ct_split *split, int64_t batch, bool shuffle, uint64_t seed,
                                 ct_device device, int rank, int ranks) {
    ct_prefetch_options options = {
        .batch = batch, .shuffle = shuffle, .drop_last = true, .seed = seed};
    return create(split, options, device, rank, ranks);
}

void ct_loader_destroy(ct_loader *loader) {
    if (!loader) return;
    ct_prefetch_destroy(loader->prefetch);
    for (int i = 0; i < CT_PREFETCH_SLOTS; i++) free_batch(&loader->batch[i], loader->device);
    free(loader->draws);
    free(loader);
}

int64_t ct_loader_batches(const ct_loader *loader) {
    return loader ? ct_prefetch_batches(loader->prefetch) : 0;
}

bool ct_loader_start(ct_loader *loader, int64_t epoch, int64_t first) {
    return loader && ct_prefetch_start(loader->prefetch, epoch, first);
}

const ct_host_batch *ct_loader_next(ct_loader *loader) {
    int slot = loader ? ct_prefetch_next(loader->prefetch) : -1;
    return slot < 0 ? NULL : &loader->batch[slot];
}
