/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/ops/draws.h"

#include <stdlib.h>

#include "tensor/core/error.h"

/* Counters offset, offset+1, ... of one key: as many draws as follow each other. */
typedef struct {
    uint64_t seed, stream, offset, counters;
} run;

struct ct_draws {
    ct_draws *outer;
    bool repeats;
    run *runs;
    size_t count, capacity;
    size_t at;     /* when repeated: the run that is drawn from, */
    uint64_t used; /* and how many of its counters were */
};

static _Thread_local ct_draws *innermost;

ct_draws *ct_draws_create(void) {
    ct_draws *draws = calloc(1, sizeof *draws);
    return draws ? draws : ct_fail("draws: out of memory");
}

void ct_draws_destroy(ct_draws *draws) {
    if (!draws) return;
    free(draws->runs);
    free(draws);
}

static void begin(ct_draws *draws, bool repeats) {
    draws->outer = innermost;
    draws->repeats = repeats;
    draws->at = 0;
    draws->used = 0;
    innermost = draws;
}

void ct_draws_note(ct_draws *draws) {
    draws->count = 0;
    begin(draws, false);
}

void ct_draws_repeat(ct_draws *draws) { begin(draws, true); }

void ct_draws_end(void) { innermost = innermost->outer; }

/* What this thread draws from: the innermost stretch that repeats, or NULL. */
static ct_draws *repeated(void) {
    ct_draws *draws = innermost;
    while (draws && !draws->repeats) draws = draws->outer;
    return draws;
}

bool ct_draws_next(const ct_rng *rng, uint64_t counters, ct_rng *at) {
    *at = *rng;
    const ct_draws *draws = counters ? repeated() : NULL;
    if (!draws) return true;
    const run *from = draws->at < draws->count ? &draws->runs[draws->at] : NULL;
    if (!from || from->counters - draws->used < counters) {
        return ct_fail_bool("random: what is computed again draws other numbers than the first "
                            "time");
    }
    at->seed = from->seed;
    at->stream = from->stream;
    at->offset = from->offset + draws->used;
    return true;
}

static void note(ct_draws *draws, const ct_rng *at, uint64_t counters) {
    run *last = draws->count ? &draws->runs[draws->count - 1] : NULL;
    if (last && last->seed == at->seed && last->stream == at->stream &&
        last->offset + last->counters == at->offset) {
        last->counters += counters;
        return;
    }
    if (draws->count == draws->capacity) {
        size_t capacity = draws->capacity ? 2 * draws->capacity : 4;
        run *runs = realloc(draws->runs, capacity * sizeof *runs);
        if (!runs) {
            ct_fail("draws: out of memory");
            return;
        }
        draws->runs = runs;
        draws->capacity = capacity;
    }
    draws->runs[draws->count++] = (run){at->seed, at->stream, at->offset, counters};
}

void ct_draws_taken(ct_rng *rng, const ct_rng *at, uint64_t counters) {
    if (!counters) return;
    ct_draws *from = repeated();
    for (ct_draws *draws = innermost; draws != from; draws = draws->outer) {
        note(draws, at, counters);
    }
    if (!from) {
        rng->offset += counters;
        return;
    }
    from->used += counters;
    if (from->used == from->runs[from->at].counters) {
        from->at++;
        from->used = 0;
    }
}
