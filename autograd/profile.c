#include "autograd/profile.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ROWS = 256 };

static _Thread_local struct {
    bool running;
    double last; /* when the operation before ended */
    int count;
    ct_profile_row *rows;
} profile;

double ct_profile_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool ct_profile_running(void) { return profile.running; }

void ct_profile_mark(void) { profile.last = ct_profile_clock(); }

void ct_profile_start(void) {
    free(profile.rows);
    profile.rows = calloc(MOST_ROWS, sizeof *profile.rows);
    profile.running = profile.rows != NULL;
    profile.count = 0;
    if (!profile.rows) ct_fail("profile: out of memory");
    ct_profile_mark();
}

/* NULL when there is no room: the operation then goes uncounted. */
static ct_profile_row *row_of(const char *name) {
    for (int i = 0; i < profile.count; i++) {
        if (strcmp(profile.rows[i].name, name) == 0) return &profile.rows[i];
    }
    if (profile.count == MOST_ROWS) return NULL;
    profile.rows[profile.count].name = name;
    return &profile.rows[profile.count++];
}

void ct_profile_forward(const ct_op *op) {
    double now = ct_profile_clock();
    ct_profile_row *row = row_of(op->name);
    if (row) {
        row->calls++;
        row->forward += now - profile.last;
    }
    profile.last = now;
}

void ct_profile_backward(const ct_op *op, double seconds) {
    ct_profile_row *row = row_of(op->name);
    if (row) row->backward += seconds;
    ct_profile_mark();
}

static int longest_first(const void *a, const void *b) {
    const ct_profile_row *x = a, *y = b;
    double p = x->forward + x->backward, q = y->forward + y->backward;
    return (p < q) - (p > q);
}

ct_profile_row *ct_profile_stop(int *count) {
    if (!profile.running) return ct_fail("profile: none was started");
    ct_profile_row *rows = profile.rows;
    *count = profile.count;
    profile.rows = NULL;
    profile.running = false;
    qsort(rows, (size_t)*count, sizeof *rows, longest_first);
    return rows;
}
