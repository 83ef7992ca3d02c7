/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says on the screen: a line of progress on a terminal, plain lines otherwise. */
#ifndef CT_CONSOLE_H
#define CT_CONSOLE_H

#include <jansson.h>

#include "models/models.h"
#include "train/evaluate/evaluate.h"

/* For what leaves its results in files: from now on it goes on where nobody reads what is printed
 * (`train my.ini | head`, a full disk), and says so once on stderr, with `what` goes on. */
void ct_console_needs_no_reader(const char *what);
/* errno of the first print that failed, where a reader is needed; 0: all is printed. */
int ct_console_wrong(void);

/* How much is said: errors and results alone; what a run comes to, too; or all. */
typedef enum { CT_CONSOLE_QUIET, CT_CONSOLE_NORMAL, CT_CONSOLE_VERBOSE } ct_console_level;
void ct_console_set_level(ct_console_level level);
bool ct_console_is_verbose(void);

typedef struct {
    int64_t epoch, epochs;  /* from 0 */
    int64_t batch, batches; /* of the epoch, done */
    /* means since the last report: a loss that is NaN is not known, 0 is none */
    double term[CT_LOSS_COUNT], reward, reward_spread;
    double pairs_per_second;
    double seconds_left; /* of the whole training */
    ct_device device;    /* whose memory is said: of the CPU, the process's */
} ct_console_step;

/* Draws the line of progress again in its place (a terminal that can, ten times a second at most),
 * as much of it as fits; elsewhere nothing: plain output reports at validations. */
void ct_console_progress(const ct_console_step *step);
/* The same of a sweep; seconds_left 0: not known. */
void ct_console_progress_of_runs(int done, int all, const char *at_work, double seconds_left);
/* The same of pictures of a split that are looked at before. */
void ct_console_progress_of_pictures(const char *split, int64_t done, int64_t all);
/* Takes that line away, so that what follows begins a line. */
void ct_console_end_progress(void);

/* A line that is said unless it is to be quiet; a result, which always is. */
void ct_console_line(const char *format, ...) __attribute__((format(printf, 1, 2), nonnull(1)));
void ct_console_result(const char *format, ...) __attribute__((format(printf, 1, 2), nonnull(1)));

/* An error as it is said: in one line, whatever is in the names and values that it quotes, its
 * middle left out if it is very long. Valid until the next call. */
const char *ct_console_error(const char *text) __attribute__((returns_nonnull, nonnull(1)));

/* From now on lines go to stderr: what is printed is for a program. */
void ct_console_lines_aside(void);
/* A JSON object on a line of stdout; takes it. An error if there is no memory for it. */
bool ct_console_json(json_t *object);

/* With --verbose, a line of all that is logged of the steps since the last one. */
void ct_console_step_line(const ct_console_step *step, int64_t number, double lr, double grad_norm);

/* One line of dev metrics during training, marked when it is the best so far. */
void ct_console_validation(const ct_console_step *step, int64_t number, const ct_retrieval *dev,
                           bool best);

/* The table of recalls at the end: one row a split, with how many images and captions were ranked;
 * below it, which of them have images without a caption. */
void ct_console_table(const char *const *names, const ct_retrieval *rows, int count);

#endif
