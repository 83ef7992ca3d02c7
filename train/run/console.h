/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says on the screen: a progress bar on a terminal, plain lines otherwise. */
#ifndef CT_CONSOLE_H
#define CT_CONSOLE_H

#include <jansson.h>

#include "train/evaluate/evaluate.h"

/* For what leaves its results in files: from now on it goes on where nobody reads what is printed
 * (`train my.ini | head`, a full disk), and says so once on stderr, with `what` goes on. */
void ct_console_needs_no_reader(const char *what);
/* errno of the first print that failed, where a reader is needed; 0: all is printed. */
int ct_console_wrong(void);

typedef struct {
    int64_t epoch, epochs;  /* from 0 */
    int64_t batch, batches; /* of the epoch, done */
    double loss;            /* mean since the last report; NaN: not known */
    double pairs_per_second;
    double seconds_left; /* of the whole training */
} ct_console_step;

/* Redraws the bar (terminal), or prints nothing: plain output reports at validations. */
void ct_console_progress(const ct_console_step *step);
/* Ends the bar's line, so that what follows starts a new one. */
void ct_console_end_progress(void);
void ct_console_line(const char *format, ...) __attribute__((format(printf, 1, 2), nonnull(1)));

/* From now on lines go to stderr: what is printed is for a program. */
void ct_console_lines_aside(void);
/* A JSON object on a line of stdout; takes it. An error if there is no memory for it. */
bool ct_console_json(json_t *object);

/* One line of dev metrics during training, marked when it is the best so far. */
void ct_console_validation(const ct_console_step *step, int64_t number, const ct_retrieval *dev,
                           bool best);

/* The table of recalls at the end: one row a split, with how many images and captions were ranked;
 * below it, which of them have images without a caption. */
void ct_console_table(const char *const *names, const ct_retrieval *rows, int count);

#endif
