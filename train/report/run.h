/* SPDX-License-Identifier: Apache-2.0 */
/* What a run left in its folder, as a report reads it. Internal to train/report/ and train/sweep/.
 */
#ifndef CT_REPORT_RUN_H
#define CT_REPORT_RUN_H

#include <jansson.h>

#include "train/config/config.h"

/* A setting of the run's configuration, defaults filled in. */
typedef struct {
    const char *section, *key, *value; /* in the record's `settings_text` */
} ct_setting;

typedef struct {
    char *folder, *name; /* as it was given; its last part */
    ct_config *config;   /* of the folder's config.ini */
    json_t *metrics;     /* array of the objects of metrics.jsonl, in their order */
    json_t *results;     /* results.json; NULL: the run has not come to its end */
    char *settings_text;
    ct_setting *settings;
    int setting_count;
} ct_run_record;

/* NULL and an error naming file and line if the folder is none of a run, or what it holds cannot be
 * read. A last line of metrics.jsonl without its end, of a run at work or killed, is left out. */
ct_run_record *ct_run_record_read(const char *folder);
void ct_run_record_free(ct_run_record *record);

/* The number at "dev/i2t/r1" of an object, or under that as it stands; false if there is none. */
bool ct_record_number(const json_t *object, const char *path, double *number);
/* The last validation that was the best so far; NULL: none. */
const json_t *ct_record_best(const ct_run_record *record);
/* A setting's value; NULL if there is no such one. */
const char *ct_record_setting(const ct_run_record *record, const char *section, const char *key);

#endif
