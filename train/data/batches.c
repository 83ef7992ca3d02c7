/* SPDX-License-Identifier: Apache-2.0 */
#include "train/data/batches.h"

#include <stdlib.h>

#include "train/data/inputs.h"

struct ct_batches {
    const ct_experiment *experiment;
    ct_loader *loader; /* NULL: recorded batches */
    int64_t next;      /* recorded: the next one */
    ct_inputs *inputs; /* of the loader's batches on a device; made with the first */
    bool is_sent;      /* the next batch is on its way */
};

static bool open_loader(ct_batches *b) {
    const ct_experiment *e = b->experiment;
    const ct_config *c = e->config;
    b->loader = ct_loader_create_part(e->train, c->batch, c->shuffle, (uint64_t)c->seed, e->device,
                                      ct_rank(), ct_ranks());
    if (!b->loader || ct_loader_batches(b->loader) > 0) return b->loader != NULL;
    return ct_fail_bool(
        "%s/%s_caps.txt: %lld captions do not fill one batch of %lld: lower [train] "
        "batch",
        c->folder, c->train_split, (long long)e->train->caption_count, (long long)c->batch);
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
    ct_inputs_destroy(b->inputs); /* first: what is under way comes from the loader's memory */
    ct_loader_destroy(b->loader);
    free(b);
}

int64_t ct_batches_count(const ct_batches *b) {
    return b->loader ? ct_loader_batches(b->loader) : ct_recorded_batches(b->experiment->recorded);
}

bool ct_batches_start(ct_batches *b, int64_t epoch, int64_t first) {
    b->next = first;
    if (b->inputs && !ct_inputs_wait(b->inputs)) return false;
    b->is_sent = false;
    return !b->loader || ct_loader_start(b->loader, epoch, first);
}

/* Takes the next batch from the loader, unless the epoch is over, and sends it. */
static bool send_next(ct_batches *b) {
    if (b->is_sent) return true;
    if (b->inputs && !ct_inputs_wait(b->inputs)) return false; /* the loader fills that memory */
    const ct_host_batch *host = ct_loader_next(b->loader);
    if (!host) return ct_ok();
    if (!b->inputs) b->inputs = ct_inputs_create(b->experiment, host);
    b->is_sent = b->inputs && ct_inputs_send(b->inputs, host);
    return b->is_sent;
}

bool ct_batches_ahead(ct_batches *b) {
    return !b->loader || b->experiment->device == CT_CPU || send_next(b);
}

static bool epoch_is_over(void) {
    return ct_ok() ? ct_fail_bool("batches: the epoch is over") : false;
}

static bool next_on_device(ct_batches *b, ct_batch *batch) {
    if (!send_next(b) || !b->is_sent) return epoch_is_over();
    b->is_sent = false;
    return ct_inputs_receive(b->inputs, batch);
}

static bool next_recorded(ct_batches *b, ct_batch *batch) {
    if (!ct_experiment_recorded(b->experiment, b->next++, batch)) return false;
    ct_device device = b->experiment->device;
    if (device != CT_CPU) batch->lengths = ct_tensor_to_device(batch->lengths, device);
    return batch->lengths != NULL;
}

bool ct_batches_next(ct_batches *b, ct_batch *batch) {
    if (!b->loader) return next_recorded(b, batch);
    if (b->experiment->device != CT_CPU) return next_on_device(b, batch);
    const ct_host_batch *host = ct_loader_next(b->loader);
    if (!host) return epoch_is_over();
    *batch = ct_batch_from_host(b->experiment, host);
    return ct_ok();
}
