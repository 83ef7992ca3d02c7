/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/steps.h"

#include <stdlib.h>

#include "tensor/core/excuse.h"
#include "train/run/console.h"

/* Steps that a recording serves: of one shape, computing the same. */
typedef struct {
    int64_t words, targets, phase;
} kind;

typedef struct {
    kind kind;
    ct_capture *capture; /* NULL: met once, taken as it came */
} recorded;

struct ct_steps {
    ct_steps_options config;
    bool records, watches, shared;
    recorded *kinds;
    size_t count;
    int64_t repeated;
};

/* Recorded noise is read from the host, and what is dumped is written there. */
static bool can_record(const ct_steps_options *c) {
    const ct_experiment *e = c->experiment;
    return e->config->graphs && !c->dump && !e->recorded && ct_can_capture(e->device);
}

ct_steps *ct_steps_create(ct_steps_options config) {
    ct_steps *steps = calloc(1, sizeof *steps);
    if (!steps) return ct_fail("steps: out of memory");
    steps->config = config;
    steps->records = can_record(&config);
    return steps;
}

static void forget_all(ct_steps *steps) {
    for (size_t i = 0; i < steps->count; i++) ct_capture_destroy(steps->kinds[i].capture);
    steps->count = 0;
}

void ct_steps_destroy(ct_steps *steps) {
    if (!steps) return;
    forget_all(steps);
    free(steps->kinds);
    free(steps);
}

void ct_steps_watch(ct_steps *steps, bool watches) {
    steps->watches = watches && steps->config.watched && !steps->records;
}

bool ct_steps_are_shared(const ct_steps *steps) { return steps->shared; }

int64_t ct_steps_repeated(const ct_steps *steps) { return steps->repeated; }

/* ---- the parts of a step ---------------------------------------------------------------- */

/* What the device is told: from the batch to the updated parameters. */
static bool compute(ct_steps *steps, const ct_batch *batch, ct_progress *progress) {
    const ct_steps_options *c = &steps->config;
    bool done = ct_optimizer_all_reduce_begin(c->optimizer);
    CT_SCOPE {
        ct_losses losses;
        CT_OVER_RANKS {
            losses = ct_model_losses(c->experiment->model, batch, progress->epoch, &progress->rng);
            done = done && ct_backward(losses.term[CT_LOSS_TOTAL]);
        }
        steps->shared = done && ct_optimizer_all_reduce(c->optimizer);
        done = steps->shared && (!c->dump || ct_dump_gradients(c->dump, &losses)) &&
               (!steps->watches || ct_watched_gradients(c->watched)) &&
               ct_optimizer_update(c->optimizer) && ct_interval_add(c->interval, &losses);
    }
    return done;
}

static bool take_as_it_comes(ct_steps *steps, const ct_batch *batch, ct_progress *progress) {
    const ct_steps_options *c = &steps->config;
    if (!ct_recorded_replay(c->experiment->recorded, progress->step, &progress->rng) ||
        !ct_optimizer_prepare(c->optimizer) || !compute(steps, batch, progress)) {
        return false;
    }
    ct_optimizer_count(c->optimizer);
    return !c->dump || ct_dump_write(c->dump, c->optimizer, progress->step + 1, progress->epoch);
}

/* ---- recording -------------------------------------------------------------------------- */

static bool drop_gradient(void *context, const char *name, ct_tensor *tensor, bool buffer) {
    (void)context;
    (void)name;
    if (!buffer) ct_zero_grad(tensor);
    return true;
}

/* A model that cannot be recorded is trained all the same; false with the error where memory is
 * short. */
static bool give_up_recording(ct_steps *steps) {
    ct_console_line("steps are not recorded: %s", ct_error());
    if (!ct_error_excuse()) return false;
    ct_module_visit(ct_model_module(steps->config.experiment->model), drop_gradient, NULL);
    forget_all(steps);
    steps->records = false;
    return true;
}

static ct_capture *record_here(ct_steps *steps, const ct_batch *batch, ct_progress *progress) {
    if (!ct_capture_begin(steps->config.experiment->device, &progress->rng)) return NULL;
    compute(steps, batch, progress); /* if that fails, so does the end */
    return ct_capture_end();
}

/* All ranks run what they recorded together, or none does: there are collectives in it. */
static ct_capture *record(ct_steps *steps, const ct_batch *batch, ct_progress *progress) {
    ct_capture *capture = record_here(steps, batch, progress);
    if (ct_ranks_agree(capture != NULL) || !capture) return capture;
    ct_capture_destroy(capture);
    return ct_fail("another rank could not record one");
}

static bool repeat(ct_steps *steps, ct_capture *capture, ct_progress *progress) {
    ct_optimizer *optimizer = steps->config.optimizer;
    if (!ct_optimizer_prepare(optimizer) || !ct_capture_run(capture, &progress->rng)) return false;
    ct_optimizer_count(optimizer);
    steps->repeated++;
    return true;
}

static kind kind_of(const ct_steps *steps, const ct_batch *batch, const ct_progress *progress) {
    return (kind){ct_dim(batch->words, 1), batch->targets ? ct_dim(batch->targets, 1) : 0,
                  ct_model_phase(steps->config.experiment->model, progress->epoch)};
}

/* The kind's entry, added if it was not met before; NULL with an error when out of memory. An entry
 * of an earlier phase is of no more use. */
static recorded *entry_of(ct_steps *steps, kind k, bool *is_new) {
    if (steps->count && steps->kinds[0].kind.phase != k.phase) forget_all(steps);
    *is_new = false;
    for (size_t i = 0; i < steps->count; i++) {
        const kind *known = &steps->kinds[i].kind;
        if (known->words == k.words && known->targets == k.targets) return &steps->kinds[i];
    }
    recorded *kinds = realloc(steps->kinds, (steps->count + 1) * sizeof *kinds);
    if (!kinds) return ct_fail("steps: out of memory");
    steps->kinds = kinds;
    kinds[steps->count] = (recorded){.kind = k};
    *is_new = true;
    return &kinds[steps->count++];
}

/* The first step of a kind is taken as it comes: libraries and kernels are loaded with their first
 * use, and the optimiser's moments are made. */
static bool take_recorded(ct_steps *steps, const ct_batch *batch, ct_progress *progress) {
    bool is_new;
    recorded *entry = entry_of(steps, kind_of(steps, batch, progress), &is_new);
    if (!entry) return false;
    if (is_new) { /* in the memory that recorded steps use in turn */
        if (steps->repeated && !ct_memory_trim(steps->config.experiment->device)) return false;
        return take_as_it_comes(steps, batch, progress);
    }
    if (!entry->capture) entry->capture = record(steps, batch, progress);
    if (entry->capture) return repeat(steps, entry->capture, progress);
    return give_up_recording(steps) && take_as_it_comes(steps, batch, progress);
}

bool ct_steps_take(ct_steps *steps, const ct_batch *batch, ct_progress *progress) {
    steps->shared = false;
    bool taken = steps->records ? take_recorded(steps, batch, progress)
                                : take_as_it_comes(steps, batch, progress);
    if (taken) ct_interval_count(steps->config.interval);
    return taken;
}
