/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/io/json.h"
#include "train/run/console.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "autograd/profile.h"
#include "train/run/terminal.h"

static bool line_drawn, lines_aside;
static ct_console_level detail = CT_CONSOLE_NORMAL;
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

/* ---- errors ------------------------------------------------------------------------------ */

enum { SHOWN_FIRST = 3000, SHOWN_LAST = 1000, LONGEST_ESCAPE = 4 };
static const char left_out[] = " ... ";

static char *append_escaped(char *to, const char *text, size_t length) {
    static const char letters[] = "\a\b\t\n\v\f\r", names[] = "abtnvfr";
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *letter = c ? strchr(letters, c) : NULL;
        if (letter) to += sprintf(to, "\\%c", names[letter - letters]);
        else if (c < 0x20 || c == 0x7f) to += sprintf(to, "\\x%02x", c);
        else *to++ = (char)c;
    }
    *to = '\0';
    return to;
}

/* Not within a character of UTF-8; what is none may have any number of bytes like its later ones.
 */
static size_t beginning(const char *text, size_t at) {
    for (int i = 0; i < 3 && at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80; i++) at--;
    return at;
}

const char *ct_console_error(const char *text) {
    static char line[LONGEST_ESCAPE * (SHOWN_FIRST + SHOWN_LAST + 4) + sizeof left_out];
    size_t length = strlen(text), first = length, last = length;
    if (length > SHOWN_FIRST + SHOWN_LAST) {
        first = beginning(text, SHOWN_FIRST);
        last = beginning(text, length - SHOWN_LAST);
    }
    char *end = append_escaped(line, text, first);
    if (last < length) end = stpcpy(end, left_out);
    append_escaped(end, text + last, length - last);
    return line;
}

/* ---- a line that is drawn again and again ------------------------------------------------ */

/* What it is made of, each at most so important: where the terminal is too narrow, the least
 * important go, of equal ones the last. */
typedef struct {
    char text[64];
    int importance;
} piece;

enum { MOST_PIECES = CT_LOSS_COUNT + 8 };
typedef struct {
    piece piece[MOST_PIECES];
    int count;
} pieces;

static void add(pieces *p, int importance, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(pieces *p, int importance, const char *format, ...) {
    piece *one = &p->piece[p->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(one->text, sizeof one->text, format, arguments);
    va_end(arguments);
    one->importance = importance;
}

static void drop_least(pieces *p) {
    int least = 0;
    for (int i = 1; i < p->count; i++) {
        if (p->piece[i].importance <= p->piece[least].importance) least = i;
    }
    p->count--;
    memmove(&p->piece[least], &p->piece[least + 1], (size_t)(p->count - least) * sizeof(piece));
}

/* With two spaces between them. */
static int width_of(const pieces *p) {
    int width = -2;
    for (int i = 0; i < p->count; i++) width += 2 + (int)strlen(p->piece[i].text);
    return width;
}

/* The last column stays free: behind it a terminal may begin another line. */
static void draw(pieces *p) {
    int width = ct_terminal_width() - 1;
    while (p->count > 1 && width_of(p) > width) drop_least(p);
    putchar('\r');
    if (width_of(p) > width) printf("%.*s", width, p->piece[0].text);
    else
        for (int i = 0; i < p->count; i++) printf("%s%s", i ? "  " : "", p->piece[i].text);
    fputs("\033[K", stdout);
    flush();
    line_drawn = true;
}

/* Ten times a second are enough. */
static bool is_time(void) {
    static double last;
    double now = ct_profile_clock();
    if (line_drawn && now - last < 0.1) return false;
    last = now;
    return true;
}

static bool draws(void) { return detail > CT_CONSOLE_QUIET && ct_terminal_redraws() && is_time(); }

static void duration(double seconds, char text[32]) {
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600) {
        snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
    }
}

static void add_bar(pieces *p, int64_t done, int64_t all) {
    enum { WIDTH = 20 };
    int filled = (int)(WIDTH * done / (all > 0 ? all : 1));
    char bar[WIDTH + 1];
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)(filled < WIDTH ? filled : WIDTH));
    add(p, 4, "[%.*s]", WIDTH, bar);
}

/* Of a device, or of the process, as far as it is in memory. */
static double bytes_in_use(ct_device device) {
    if (device != CT_CPU) return (double)ct_memory_in_use(device);
    long long all, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%lld %lld", &all, &resident) != 2) resident = 0;
    if (file) fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void add_bytes(pieces *p, int importance, double bytes) {
    if (bytes >= 1e9) add(p, importance, "%.2f GB", 1e-9 * bytes);
    else add(p, importance, "%.0f MB", 1e-6 * bytes);
}

void ct_console_progress(const ct_console_step *step) {
    if (!draws()) return;
    pieces p = {.count = 0};
    char left[32];
    duration(step->seconds_left, left);
    add(&p, 9, "epoch %lld/%lld", (long long)step->epoch + 1, (long long)step->epochs);
    add_bar(&p, step->batch, step->batches);
    add(&p, 5, "%lld/%lld", (long long)step->batch, (long long)step->batches);
    add(&p, 8, "loss %.4g", step->term[CT_LOSS_TOTAL]);
    for (int i = CT_LOSS_TOTAL + 1; i < CT_LOSS_COUNT; i++) {
        if (step->term[i] == 0) continue;
        add(&p, 1, "%s %.3g", ct_loss_name((ct_loss_term)i), step->term[i]);
    }
    if (step->reward > 0) add(&p, 2, "reward %.3g", step->reward);
    add(&p, 6, "%.0f pairs/s", step->pairs_per_second);
    add_bytes(&p, 3, bytes_in_use(step->device));
    add(&p, 7, "%s left", left);
    draw(&p);
}

void ct_console_progress_of_runs(int done, int all, const char *at_work, double seconds_left) {
    if (!draws()) return;
    pieces p = {.count = 0};
    add(&p, 9, "%d/%d done", done, all);
    add_bar(&p, done, all);
    add(&p, 1, "at work: %s", at_work);
    if (seconds_left > 0) {
        char left[32];
        duration(seconds_left, left);
        add(&p, 7, "%s left", left);
    }
    draw(&p);
}

void ct_console_progress_of_pictures(const char *split, int64_t done, int64_t all) {
    if (!draws()) return;
    pieces p = {.count = 0};
    add(&p, 9, "%s: %lld of %lld pictures", split, (long long)done, (long long)all);
    add_bar(&p, done, all);
    draw(&p);
}

void ct_console_end_progress(void) {
    if (line_drawn) printf("\r\033[K");
    line_drawn = false;
    flush();
}

/* ---- lines ------------------------------------------------------------------------------- */

__attribute__((nonnull(1))) static void print(const char *format, va_list arguments) {
    ct_console_end_progress();
    FILE *to = lines_aside ? stderr : stdout;
    vfprintf(to, format, arguments);
    fputc('\n', to);
    flush();
}

void ct_console_result(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print(format, arguments);
    va_end(arguments);
}

void ct_console_line(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (detail >= CT_CONSOLE_NORMAL) print(format, arguments);
    va_end(arguments);
}

void ct_console_set_level(ct_console_level level) { detail = level; }
bool ct_console_is_verbose(void) { return detail == CT_CONSOLE_VERBOSE; }

void ct_console_step_line(const ct_console_step *step, int64_t number, double lr,
                          double grad_norm) {
    char terms[64 * CT_LOSS_COUNT] = "", reward[64] = "";
    if (!ct_console_is_verbose()) return;
    for (int i = CT_LOSS_TOTAL + 1; i < CT_LOSS_COUNT; i++) {
        size_t used = strlen(terms);
        if (step->term[i] == 0) continue;
        snprintf(terms + used, sizeof terms - used, "  %s %.4g", ct_loss_name((ct_loss_term)i),
                 step->term[i]);
    }
    if (step->reward > 0) {
        snprintf(reward, sizeof reward, "  reward %.4g (spread %.3g)", step->reward,
                 step->reward_spread);
    }
    ct_console_line("step %lld  lr %.4g  loss %.5g%s%s  gradient %.4g  %.0f pairs/s  %.0f MB",
                    (long long)number, lr, step->term[CT_LOSS_TOTAL], terms, reward, grad_norm,
                    step->pairs_per_second, 1e-6 * bytes_in_use(step->device));
}

void ct_console_lines_aside(void) { lines_aside = true; }

bool ct_console_json(json_t *object) {
    bool whole = object && ct_ok();
    char *text = whole ? ct_json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
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
    double mean = step->term[CT_LOSS_TOTAL];
    duration(step->seconds_left, left);
    if (isfinite(mean)) snprintf(loss, sizeof loss, "%.4g", mean);
    ct_console_line(
        "epoch %2lld/%lld  step %5lld  loss %8s  dev R@1 %5.1f %5.1f  rsum %5.1f%s%s%s"
        "  (%.0f pairs/s, %s left)",
        (long long)step->epoch + 1, (long long)step->epochs, (long long)number, loss, dev->i2t.r1,
        dev->t2i.r1, dev->rsum, best ? ct_terminal_colour(STDOUT_FILENO, CT_COLOUR_GOOD) : "",
        best ? "  best" : "      ", best ? ct_terminal_colour(STDOUT_FILENO, CT_COLOUR_NONE) : "",
        step->pairs_per_second, left);
}

void ct_console_table(const char *const *names, const ct_retrieval *rows, int count) {
    int width = 12;
    for (int i = 0; i < count; i++) {
        int length = (int)strlen(names[i]);
        if (length > width) width = length;
    }
    ct_console_result("%-*s   %6s %8s   image -> text                       text -> image", width,
                      "", "", "");
    ct_console_result("%-*s   %6s %8s   %5s %5s %5s %5s %6s   %5s %5s %5s %5s %6s   %6s", width,
                      "split", "images", "captions", "R@1", "R@5", "R@10", "medr", "meanr", "R@1",
                      "R@5", "R@10", "medr", "meanr", "rsum");
    for (int i = 0; i < count; i++) {
        const ct_recalls *a = &rows[i].i2t, *b = &rows[i].t2i;
        ct_console_result("%-*s   %6lld %8lld   %5.1f %5.1f %5.1f %5.0f %6.1f   "
                          "%5.1f %5.1f %5.1f %5.0f %6.1f   %6.1f",
                          width, names[i], (long long)rows[i].images, (long long)rows[i].captions,
                          a->r1, a->r5, a->r10, a->medr, a->meanr, b->r1, b->r5, b->r10, b->medr,
                          b->meanr, rows[i].rsum);
    }
    for (int i = 0; i < count; i++) {
        if (!rows[i].distractors) continue;
        ct_console_result(
            "%s: %lld of the images have no caption: captions can find them, they are "
            "not asked for captions",
            names[i], (long long)rows[i].distractors);
    }
}
