/* SPDX-License-Identifier: Apache-2.0 */
/* Attention weights that a model's modules are seen to use, for pages and event files. */
#ifndef CT_OBSERVED_H
#define CT_OBSERVED_H

#include "train/run/experiment.h"

/* Query k of `count` that are evenly spread over `all`. */
int64_t ct_spread(int64_t k, int64_t count, int64_t all);

/* Of a module, for some images or captions. */
typedef struct {
    char path[96]; /* "image.attend" */
    bool captions;
    int64_t rows, steps, heads;
    int64_t *which;  /* (rows): images or captions of the split */
    int64_t *length; /* (rows): steps that count */
    double *weight;  /* (rows, steps, heads) */
} ct_seen_weights;

enum { CT_MOST_OBSERVED = 16 };
typedef struct {
    ct_seen_weights weights[CT_MOST_OBSERVED];
    int count; /* 0: the chain has no attention */
} ct_observations;

/* Whose weights are seen. */
typedef struct {
    const ct_experiment *experiment;
    bool captions;
    int64_t rows;          /* of the batch that is run: others are passed over */
    const int64_t *which;  /* (rows): their numbers */
    const int64_t *length; /* (rows): steps of captions that count; NULL: all */
} ct_observation;

/* From here on what this thread runs of the model's chain is seen, until ct_observe_end; both
 * arguments outlive that. Modules behind the first CT_MOST_OBSERVED are not seen. What was seen is
 * for ct_observations_free. */
void ct_observe_begin(const ct_observation *observation, ct_observations *seen);
void ct_observe_end(void);

/* Runs at most `most` images or captions that are evenly spread over the split through their chain
 * in evaluation. Modules behind the first CT_MOST_OBSERVED, and those inside a frozen front, which
 * is not run, are not seen. False and an error; free with ct_observations_free either way. */
bool ct_observe(const ct_experiment *experiment, const ct_split *split, bool captions, int64_t most,
                ct_observations *seen);
void ct_observations_free(ct_observations *seen);

static inline double ct_seen_weight(const ct_seen_weights *w, int64_t row, int64_t step,
                                    int64_t head) {
    return w->weight[(row * w->steps + step) * w->heads + head];
}

/* What step `s` of a caption is called: its word, as the model reads it; "" behind its last. */
const char *ct_step_word(const ct_experiment *experiment, const ct_caption *caption, int64_t s);

#endif
