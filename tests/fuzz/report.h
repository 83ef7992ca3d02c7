/* SPDX-License-Identifier: Apache-2.0 */
/* A run's folder of which one file is the input, read and shown as a report does. */
#ifndef CT_FUZZ_REPORT_H
#define CT_FUZZ_REPORT_H

#include "tests/fuzz/harness.h"
#include "train/report/curves.h"
#include "train/report/tables.h"

/* The rest of the folder. */
static inline void put_run(void) {
    static const char configuration[] = "[data]\nfolder = data\n";
    fuzz_put("config.ini", configuration, sizeof configuration - 1);
    fuzz_put("metrics.jsonl", "", 0);
}

/* Of any split. */
static inline bool no_width(const void *context, const char *split,
                            ct_interval intervals[CT_RECALLS]) {
    (void)context, (void)split;
    memset(intervals, 0, CT_RECALLS * sizeof *intervals);
    return true;
}

static inline void write_page(ct_run_record *run) {
    char *text = NULL;
    size_t length = 0;
    FILE *page = open_memstream(&text, &length);
    fuzz_must(page != NULL, "there is memory");
    ct_facts_write(page, run);
    ct_recalls_write(page, run, no_width, NULL);
    ct_settings_write(page, run);
    ct_machine_write(page, run);
    fuzz_must(ct_curves_write(page, run), "what is read can be drawn");
    fclose(page);
    free(text);
}

/* Of an input that is the file `path`. */
static inline void read_run(const char *path) {
    ct_run_record *run = ct_run_record_read(fuzz_folder());
    if (run) write_page(run);
    fuzz_end(run != NULL, path);
    ct_run_record_free(run);
}

#endif
