/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of tensors' rows. */
#include <stdlib.h>
#include <string.h>

#include "nn/data/prefetch.h"
#include "tensor/core/check.h"
#include "nn/nn.h"

struct ct_batcher {
    ct_prefetch *prefetch;
    ct_device device;
    int arrays;
    ct_tensor **array; /* row-major, kept */
    ct_tensor **ready; /* what slot s has of array a: ready[s * arrays + a]; kept, or NULL */
};

ct_batcher_options ct_batcher_defaults(void) {
    return (ct_batcher_options){.batch = 32, .shuffle = true, .device = CT_CPU};
}

/* ---- making a batch (in the thread) --------------------------------------------------------- */

static ct_tensor *gather(const ct_tensor *array, const int64_t *example, int64_t count) {
    ct_shape shape = array->shape;
    shape.dim[0] = count;
    ct_tensor *rows = ct_empty(array->dtype, CT_CPU, shape);
    if (!rows) return NULL;
    size_t bytes = ct_dtype_size(array->dtype) * (size_t)(ct_count(rows) / count);
    const char *from = ct_data(array);
    char *to = ct_data(rows);
    for (int64_t i = 0; bytes && i < count; i++) {
        memcpy(to + (size_t)i * bytes, from + (size_t)example[i] * bytes, bytes);
    }
    return rows;
}

static bool fill(void *context, int slot, int64_t epoch, const int64_t *example, int64_t count) {
    (void)epoch;
    ct_batcher *b = context;
    bool filled = true;
    for (int a = 0; filled && a < b->arrays; a++) CT_SCOPE {
            ct_tensor **ready = &b->ready[slot * b->arrays + a];
            ct_release(*ready);
            *ready = ct_keep(gather(b->array[a], example, count));
            filled = *ready != NULL;
        }
    return filled && ct_ok();
}

/* ---- the caller's side ----------------------------------------------------------------------- */

static bool check_array(ct_tensor *const *arrays, int i) {
    const ct_tensor *x = arrays[i], *first = arrays[0];
    if (!x) return ct_ok() ? ct_fail_bool("batcher: array %d is NULL", i) : false;
    if (x->device != CT_CPU || x->shape.ndim < 1) {
        return ct_fail_bool("batcher: array %d is %s on %s, expected (examples,...) on cpu", i,
                            ct_tensor_text(x), ct_device_name(x->device));
    }
    if (x->shape.dim[0] == first->shape.dim[0]) return true;
    return ct_fail_bool("batcher: array 0 is %s, array %d %s: expected as many examples in each",
                        ct_tensor_text(first), i, ct_tensor_text(x));
}

static bool keep_arrays(ct_batcher *b, ct_tensor *const *arrays) {
    b->array = calloc((size_t)b->arrays, sizeof(ct_tensor *));
    b->ready = calloc((size_t)b->arrays * CT_PREFETCH_SLOTS, sizeof(ct_tensor *));
    if (!b->array || !b->ready) return ct_fail_bool("batcher: out of memory");
    for (int i = 0; i < b->arrays; i++) CT_SCOPE {
            if (!check_array(arrays, i)) return false;
            b->array[i] = ct_keep(ct_tensor_contiguous(arrays[i]));
            if (!b->array[i]) return false;
        }
    return true;
}

ct_batcher *ct_batcher_create(ct_tensor *const *arrays, int count,
                              const ct_batcher_options *options) {
    ct_batcher_options o = options ? *options : ct_batcher_defaults();
    if (!ct_ok()) return NULL;
    if (!arrays || count < 1) return ct_fail("batcher: %d arrays, expected at least one", count);
    if (!ct_device_open(o.device)) return NULL;
    ct_batcher *b = calloc(1, sizeof *b);
    if (!b) return ct_fail("batcher: out of memory");
    b->arrays = count;
    b->device = o.device;
    if (keep_arrays(b, arrays)) {
        ct_prefetch_options prefetch = {.name = "batcher",
                                        .examples = arrays[0]->shape.dim[0],
                                        .batch = o.batch,
                                        .shuffle = o.shuffle,
                                        .drop_last = o.drop_last,
                                        .seed = o.seed,
                                        .fill = fill,
                                        .context = b};
        b->prefetch = ct_prefetch_create(&prefetch);
    }
    if (b->prefetch) return b;
    ct_batcher_destroy(b);
    return NULL;
}

void ct_batcher_destroy(ct_batcher *b) {
    if (!b) return;
    ct_prefetch_destroy(b->prefetch);
    for (int i = 0; b->ready && i < b->arrays * CT_PREFETCH_SLOTS; i++) ct_release(b->ready[i]);
    for (int i = 0; b->array && i < b->arrays; i++) ct_release(b->array[i]);
    free(b->ready);
    free(b->array);
    free(b);
}

int64_t ct_batcher_batches(const ct_batcher *b) { return b ? ct_prefetch_batches(b->prefetch) : 0; }

bool ct_batcher_start(ct_batcher *b, int64_t epoch, int64_t first) {
    if (!b) return ct_ok() ? ct_fail_bool("batcher: it is NULL") : false;
    return ct_prefetch_start(b->prefetch, epoch, first);
}

/* What slot has, on the batcher's device. */
static bool hand_over(ct_batcher *b, int slot, ct_tensor **batch) {
    for (int a = 0; a < b->arrays; a++) {
        ct_tensor **ready = &b->ready[slot * b->arrays + a];
        batch[a] = ct_adopt(*ready);
        *ready = NULL;
        if (b->device != CT_CPU) batch[a] = ct_tensor_to_device(batch[a], b->device);
        if (!batch[a]) return false;
    }
    return true;
}

bool ct_batcher_next(ct_batcher *b, ct_tensor **batch) {
    if (!b || !batch) return ct_ok() ? ct_fail_bool("batcher: it or the batch is NULL") : false;
    int slot = ct_prefetch_next(b->prefetch);
    if (slot >= 0 && hand_over(b, slot, batch)) return true;
    for (int a = 0; a < b->arrays; a++) batch[a] = NULL;
    return false;
}

void ct_batcher_position(const ct_batcher *b, int64_t *epoch, int64_t *next) {
    if (!ct_check_pointer("batcher", "the epoch", epoch) ||
        !ct_check_pointer("batcher", "the next batch", next)) {
        return;
    }
    *epoch = *next = 0;
    if (b) ct_prefetch_position(b->prefetch, epoch, next);
    else if (ct_ok()) ct_fail("batcher: it is NULL");
}
