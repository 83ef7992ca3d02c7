#include "train/batches.h"

#include <stdlib.h>

struct ct_batches {
    const ct_experiment *experiment;
    ct_loader *loader; /* NULL: recorded batches */
    int64_t next;      /* recorded: the next one */
};

static bool open_loader(ct_batches *b) {
    const ct_experiment *e = b->experiment;
    const ct_config *c = e->config;
    b->loader = ct_loader_create(e->train, c->batch, c->shuffle, true, (uint64_t)c->seed);
    if (!b->loader || ct_loader_batches(b->loader) > 0) return b->loader != NULL;
    return ct_fail_bool("%s: %lld captions do not fill one batch of %lld: lower [train] batch",
                        c->train_split, (long long)e->train->caption_count, (long long)c->batch);
}

ct_batches *ct_batches_open(const ct_experiment *experiment) {
    ct_batches *b = calloc(1, sizeof *b);
    if (!b) return ct_fail("batches: out of memory");
    b->experiment = experiment;
    if (!experiment->train || open_loader(b)) return b;
    ct_batches_close(b);
    return NULL;
}

void ct_batches_close(ct_batches *b) {
    if (!b) return;
    ct_loader_destroy(b->loader);
    free(b);
}

int64_t ct_batches_count(const ct_batches *b) {
    return b->loader ? ct_loader_batches(b->loader)
                     : ct_recorded_batches(b->experiment->recorded);
}

bool ct_batches_start(ct_batches *b, int64_t epoch, int64_t first) {
    b->next = first;
    return !b->loader || ct_loader_start(b->loader, epoch, first);
}

static bool next(ct_batches *b, ct_batch *batch) {
    if (!b->loader) return ct_experiment_recorded(b->experiment, b->next++, batch);
    const ct_host_batch *host = ct_loader_next(b->loader);
    if (!host) return ct_ok() ? ct_fail_bool("batches: the epoch is over") : false;
    *batch = ct_batch_from_host(b->experiment, host);
    return ct_ok();
}

bool ct_batches_next(ct_batches *b, ct_batch *batch) {
    if (!next(b, batch)) return false;
    ct_device device = b->experiment->device;
    if (device != CT_CPU) batch->lengths = ct_tensor_to_device(batch->lengths, device);
    return batch->lengths != NULL;
}
