/* SPDX-License-Identifier: Apache-2.0 */
/* The draws of a stretch of code, noted so that the code can be run again and draw the same: seed,
 * stream and offset of each, whatever generator it came from. No generator is referred to. Internal
 * to the library. */
#ifndef CT_DRAWS_H
#define CT_DRAWS_H

#include "tensor/ops/random.h"

typedef struct ct_draws ct_draws;

/* Empty; NULL and an error if memory is short. The caller destroys it. */
ct_draws *ct_draws_create(void);
void ct_draws_destroy(ct_draws *draws); /* NULL is ignored */

/* Until ct_draws_end every draw of this thread is noted. Stretches nest. */
void ct_draws_note(ct_draws *draws);
/* Until ct_draws_end this thread draws again what was noted, in that order; generators stay as
 * they are. An error if more is drawn than was. */
void ct_draws_repeat(ct_draws *draws);
/* Ends the innermost stretch. */
void ct_draws_end(void);

/* For whoever draws: where the next `counters` counters begin, *rng itself unless draws are
 * repeated; false and an error where the code that is repeated draws more than it did. */
bool ct_draws_next(const ct_rng *rng, uint64_t counters, ct_rng *at);
/* They have been drawn: moves the generator on, or what is repeated; notes them. */
void ct_draws_taken(ct_rng *rng, const ct_rng *at, uint64_t counters);

#endif
