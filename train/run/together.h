/* SPDX-License-Identifier: Apache-2.0 */
/* One training by several ranks (tensor/ranks/ranks.h): how they begin, what they agree on, how
 * they end. Rank 0 leads: it alone prints, logs, evaluates and saves, and what it makes ready, the
 * others find. All of it is nothing to do where one process trains.
 *
 * What fails, fails in one of two ways. If all ranks come to know of it (ct_together_worst), they
 * end in good order, and one of them says it. Elsewhere, within a step, the others wait for the one
 * that failed: it says it, and ends them with itself. */
#ifndef CT_TOGETHER_H
#define CT_TOGETHER_H

#include "train/run/preparation.h"

/* Joins the ranks, if mpirun or srun started several, and sees to it that they leave together, by
 * whatever way the program ends. Ranks above 0 return when rank 0 is ready (ct_together_worst), and
 * print nothing from then on; if it ends before that, so do they, with its status. */
bool ct_together_begin(void);
/* At the end of a program that did what was asked; the others come here, too. */
void ct_together_end(void);

/* "rank 1 on node7: ", what a rank's messages begin with; "" where one process is alone. */
const char *ct_together_name(void);
/* Whether it is for this rank to say what failed. */
bool ct_together_speaks(void);

/* How a rank stands. */
typedef enum {
    CT_RANK_WELL,
    CT_RANK_STOPS, /* it was asked to */
    CT_RANK_FAILED,
    CT_RANK_FAILED_AND_KNOWS_WHY
} ct_rank_state;

/* The worst that any rank is, which all ask for at the same time. If one has failed, the first of
 * the worst is the one that speaks. The first call of rank 0, if it is well, lets the others begin;
 * if it failed before that, they are not asked. */
ct_rank_state ct_together_worst(ct_rank_state here);
/* The same of what went well or failed on each: whether all are well. */
bool ct_together_well(bool here);

/* Loads weights (ct_module_load, all of them) that rank 0 reads, on all ranks. */
bool ct_together_load(ct_module *module, const char *path);

/* Whether what is done to a trained model can be shared, as this is configured, and all ranks have
 * the same program and configuration; else an error. */
bool ct_together_uses(const ct_config *config, const ct_train_options *options);
/* Whether a batch can be shared, as this is configured. An error names the key. */
bool ct_together_can(const ct_config *config, const ct_train_options *options);
/* Whether all ranks have the same program, configuration and data (`data_text`, of ct_resume_data),
 * and then the same kind of device, weights and position; else an error on all of them that names
 * one that differs. */
bool ct_together_same_run(const ct_config *config, const ct_train_options *options,
                          const char *data_text);
bool ct_together_same_weights(ct_module *module, ct_device device, int64_t step);

/* Whether several ranks train and all run on one host. */
bool ct_together_on_one_host(void);
/* Threads of this rank: as configured, or, where that is 0, an equal share of the cores that it may
 * run on (mpirun binds ranks to cores), at least 1. */
int ct_together_threads(const ct_config *config);
/* A line of how many ranks train on how many threads, and one of cores that have too many of them,
 * or none. */
void ct_together_say(const ct_config *config);

#endif
