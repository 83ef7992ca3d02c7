/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/console.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool bar_shown, lines_aside;
static const char *goes_on; /* what needs no reader, or NULL */
static int wrong;           /* errno of the first print that failed */

/* ---- a reader that is gone --------------------------------------------------------------- */

static void flush(void) {
    if ((fflush(stdout) == 0 && !ferror(stdout)) || wrong) return;
    wrong = errno ? errno : EIO;
    if (!goes_on) return;
    fprintf(stderr, "train: nothing more can be printed (%s): %s\n", strerror(wrong), goes_on);
}

void ct_console_needs_no_reader(const char *what) {
    goes_on = what;
    signal(SIGPIPE, SIG_IGN);
}

int ct_console_wrong(void) {
    flush();
    return goes_on ? 0 : wrong;
}

/* ---- while it goes on -------------------------------------------------------------------- */

static void duration(double seconds, char text[32]) {
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600) {
        snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
    }
}

void ct_console_progress(const ct_console_step *step) {
    if (!isatty(STDOUT_FILENO)) return;
    enum { WIDTH = 24 };
    int64_t batches = step->batches > 0 ? step->batches : 1;
    int filled = (int)(WIDTH * step->batch / batches);
    char bar[WIDTH + 1], left[32];
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)(filled < WIDTH ? filled : WIDTH));
    bar[WIDTH] = '\0';
    duration(step->seconds_left, left);
    printf("\repoch %lld/%lld [%s] %lld/%lld  loss %.4g  %.0f pairs/s  %s left\033[K",
           (long long)step->epoch + 1, (long long)step->epochs, bar, (long long)step->batch,
           (long long)step->batches, step->loss, step->pairs_per_second, left);
    flush();
    bar_shown = true;
}

void ct_console_end_progress(void) {
    if (bar_shown) printf("\r\033[K");
    bar_shown = false;
    flush();
}

void ct_console_line(const char *format, ...) {
    ct_console_end_progress();
    va_list arguments;
    va_start(arguments, format);
    FILE *to = lines_aside ? stderr : stdout;
    vfprintf(to, format, arguments);
    va_end(arguments);
    fputc('\n', to);
    flush();
}

void ct_console_lines_aside(void) { lines_aside = true; }

bool ct_console_json(json_t *object) {
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!text) return ct_fail_bool("out of memory");
    puts(text);
    free(text);
    flush();
    return true;
}

void ct_console_validation(const ct_console_step *step, int64_t number, const ct_retrieval *dev,
                           bool best) {
    char left[32], loss[32] = "-";
    duration(step->seconds_left, left);
    if (isfinite(step->loss)) snprintf(loss, sizeof loss, "%.4g", step->loss);
    ct_console_line("epoch %2lld/%lld  step %5lld  loss %8s  dev R@1 %5.1f %5.1f  rsum %5.1f%s"
                    "  (%.0f pairs/s, %s left)",
                    (long long)step->epoch + 1, (long long)step->epochs, (long long)number, loss,
                    dev->i2t.r1, dev->t2i.r1, dev->rsum, best ? "  best" : "      ",
                    step->pairs_per_second, left);
}

void ct_console_table(const char *const *names, const ct_retrieval *rows, int count) {
    ct_console_line("%-12s   %6s %8s   image -> text                       text -> image", "", "",
                    "");
    ct_console_line("%-12s   %6s %8s   %5s %5s %5s %5s %6s   %5s %5s %5s %5s %6s   %6s", "split",
                    "images", "captions", "R@1", "R@5", "R@10", "medr", "meanr", "R@1", "R@5",
                    "R@10", "medr", "meanr", "rsum");
    for (int i = 0; i < count; i++) {
        const ct_recalls *a = &rows[i].i2t, *b = &rows[i].t2i;
        ct_console_line("%-12s   %6lld %8lld   %5.1f %5.1f %5.1f %5.0f %6.1f   "
                        "%5.1f %5.1f %5.1f %5.0f %6.1f   %6.1f",
                        names[i], (long long)rows[i].images, (long long)rows[i].captions, a->r1,
                        a->r5, a->r10, a->medr, a->meanr, b->r1, b->r5, b->r10, b->medr, b->meanr,
                        rows[i].rsum);
    }
    for (int i = 0; i < count; i++) {
        if (!rows[i].distractors) continue;
        ct_console_line("%s: %lld of the images have no caption: captions can find them, they are "
                        "not asked for captions",
                        names[i], (long long)rows[i].distractors);
    }
}
