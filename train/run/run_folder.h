/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of a run: what an earlier run left in it, and what describes the new one. */
#ifndef CT_RUN_FOLDER_H
#define CT_RUN_FOLDER_H

#include "train/run/experiment.h"

typedef enum {
    CT_RUN_NEW,      /* an error if the folder already holds a run */
    CT_RUN_RESUME,   /* goes on from last.safetensors */
    CT_RUN_OVERWRITE /* sets aside what the earlier run left, then starts */
} ct_run_mode;

/* Whether files can be written in a folder that is there, or it can be made; nothing is. */
bool ct_run_folder_can_be(const char *folder);
/* Name i of the files of a run; NULL beyond the last. */
const char *ct_run_folder_file(int i);
/* Whether a run is there that a new one would not go beside. */
bool ct_run_folder_is_taken(const ct_config *config);

/* Makes config->run_folder if it is not there, and sees to what it holds as `mode` says. A run that
 * is to be overwritten waits in FOLDER/replaced: it goes when the new one has saved something
 * (ct_run_folder_keep, which a run calls then), and comes back if that fails before
 * (ct_run_folder_restore), or was killed, with the next training there. */
bool ct_run_folder_prepare(const ct_config *config, ct_run_mode mode);
bool ct_run_folder_keep(const ct_config *config);
bool ct_run_folder_restore(const ct_config *config);
bool ct_run_folder_replaces(const ct_config *config); /* whether one waits there */
/* Writes config.ini and, where there is a vocabulary, vocabulary.json. */
bool ct_run_folder_describe(const ct_experiment *experiment);

#endif
