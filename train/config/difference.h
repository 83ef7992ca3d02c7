/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two configurations are of the same run. */
#ifndef CT_CONFIG_DIFFERENCE_H
#define CT_CONFIG_DIFFERENCE_H

#include "train/config/config.h"

/* The first setting in which they differ, of those that count: a run goes on silently under another
 * value of the rest. Values are as they would be written; "" for a module or a loss that is not
 * there. */
typedef struct {
    char key[128]; /* "[train] lr" */
    char value[2][256];
} ct_config_difference;

/* 1: they differ, as `found` says; 0: they do not; -1 and an error: out of memory. */
int ct_config_compare(const ct_config *a, const ct_config *b, ct_config_difference *found);

#endif
