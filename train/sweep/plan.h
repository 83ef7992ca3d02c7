/* SPDX-License-Identifier: Apache-2.0 */
/* Which runs a sweep is made of. Internal to train/sweep/. */
#ifndef CT_SWEEP_PLAN_H
#define CT_SWEEP_PLAN_H

#include "train/config/config.h"

typedef struct {
    char *name; /* "train.lr" */
    char **values;
    int count;
} ct_sweep_key;

typedef struct {
    char *name;         /* "lr=1e-3,seed=1": of its folder, below the sweep's */
    const char **value; /* of each key, in the key */
    ct_config *config;
} ct_sweep_run;

typedef struct {
    const char *text; /* as it was given */
    ct_sweep_key *keys;
    int key_count;
    ct_sweep_run *runs; /* the product of the values, the last key's first */
    int run_count;
} ct_sweep;

/* Reads "train.lr=1e-3,5e-4 run.seed=1..5": settings apart by white space, values by commas, M..N
 * for the whole numbers from M to N. What stands in double quotes is one value, which may have
 * commas and spaces, or be empty; spaces elsewhere are the value's unless a setting begins behind
 * them. The runs are of the file of `base` with `overrides` and a value of each key; their folders
 * are below that of `base`. NULL and an error that begins with --sweep if there is something wrong
 * with it, as far as a configuration shows that. `text` is to outlive it. */
ct_sweep *ct_sweep_read(const char *text, const ct_config *base, const char *const *overrides,
                        int override_count);
void ct_sweep_free(ct_sweep *sweep);

/* "lr=1e-3", of all keys but run.seed, from malloc: what runs of several seeds have in common. */
char *ct_sweep_setting_name(const ct_sweep *sweep, const ct_sweep_run *run);

#endif
