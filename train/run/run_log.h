/* SPDX-License-Identifier: Apache-2.0 */
/* What a run leaves for machines to read: metrics.jsonl (one JSON object a line, as it goes) and
 * results.json (once, at the end). */
#ifndef CT_RUN_LOG_H
#define CT_RUN_LOG_H

#include <jansson.h>

#include "train/config/config.h"
#include "train/evaluate/evaluate.h"
#include "train/run/event_file.h"

typedef struct ct_run_log ct_run_log;

/* Opens FOLDER/metrics.jsonl and, for `tensorboard`, an event file with the same numbers
 * (train/run/event_file.h). What is there is kept up to `from`: a resumed run writes the later
 * steps again. */
ct_run_log *ct_run_log_open(const char *folder, ct_log_position from, bool tensorboard);
void ct_run_log_close(ct_run_log *log);
/* The event file, which the log closes; NULL without one. */
ct_event_file *ct_run_log_events(const ct_run_log *log);
/* Writes one line (and event, of its "step") and gives it to the file system; takes over `object`.
 */
bool ct_run_log_write(ct_run_log *log, json_t *object);

/* {"i2t": {"r1", "r5", "r10", "medr", "meanr"}, "t2i": {...}, "rsum"} */
json_t *ct_retrieval_json(const ct_retrieval *metrics);

typedef struct {
    const char *const *names; /* of splits */
    const ct_retrieval *rows;
    int count;
    const ct_retrieval *dev; /* of the best model */
    int64_t best_epoch, best_step, steps, parameters;
    double wall_seconds, train_seconds, peak_bytes;
    bool interrupted;
} ct_results;

/* Writes PATH: a member for each split and "dev" (recalls, numbers of images and captions that
 * were ranked together), seed, config, versions, wall time, memory. */
bool ct_results_write(const char *path, const ct_config *config, const ct_results *results);

#endif
