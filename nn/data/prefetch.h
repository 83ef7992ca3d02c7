/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of numbered examples, in an order drawn from (seed, epoch), made ahead by a thread: what
 * every source of batches is a use of. Internal: ct_batcher (nn/nn.h) is for tensors.
 *
 * The order is part of what a seed promises: a Fisher-Yates permutation by the generator of stream
 * "load", from offset epoch << 32 on.
 */
#ifndef CT_NN_PREFETCH_H
#define CT_NN_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

enum { CT_PREFETCH_SLOTS = 3 }; /* one batch in use, two ahead */

typedef struct {
    const char *name; /* of what uses it, for messages: ct_NAME_start */
    int64_t examples; /* 0 to examples - 1 */
    int64_t batch;    /* of them a batch, 1 or more */
    bool shuffle, drop_last;
    uint64_t seed;
    /* Makes, in the thread, the batch of these `count` examples of an epoch in slot 0, 1 or 2,
     * which is not in use; false and an error ends the epoch there. */
    bool (*fill)(void *context, int slot, int64_t epoch, const int64_t *example, int64_t count);
    void *context;
} ct_prefetch_options;

typedef struct ct_prefetch ct_prefetch;
/* NULL and an error for batches below 1 or without memory. */
ct_prefetch *ct_prefetch_create(const ct_prefetch_options *options);
void ct_prefetch_destroy(ct_prefetch *prefetch);          /* ends the thread; NULL is ignored */
int64_t ct_prefetch_batches(const ct_prefetch *prefetch); /* of an epoch; 0 for NULL */
/* Goes to batch `first` of `epoch`: no slot is in use any more. False and an error if there is no
 * such batch; 0 to the epoch's batches, of which the last is its end. */
bool ct_prefetch_start(ct_prefetch *prefetch, int64_t epoch, int64_t first);
/* The slot of the next batch, in use until the next call; -1 at the epoch's end (no error), as
 * often as it is asked there, and on error. */
int ct_prefetch_next(ct_prefetch *prefetch);
/* Where ct_prefetch_next goes on: what ct_prefetch_start takes. */
void ct_prefetch_position(const ct_prefetch *prefetch, int64_t *epoch, int64_t *next);

#endif
