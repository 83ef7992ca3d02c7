/* SPDX-License-Identifier: Apache-2.0 */
#include "autograd/graph/timing.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensor/core/check.h"

enum { MOST_ROWS = 256 };

static _Thread_local struct {
    bool running;
    ct_device device;
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

/* When all that was asked so far is done. An error of the device sticks; it is not ours to give. */
static double done_at(void) {
    if (profile.device != CT_CPU) ct_device_wait(profile.device);
    return ct_profile_clock();
}

void ct_profile_mark(void) { profile.last = done_at(); }

void ct_profile_start(ct_device device) {
    if (!ct_device_open(device)) return;
    free(profile.rows);
    profile.rows = calloc(MOST_ROWS, sizeof *profile.rows);
    profile.running = profile.rows != NULL;
    profile.device = device;
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

static int64_t bytes_of(int count, ct_tensor *const *x) {
    int64_t bytes = 0;
    for (int i = 0; i < count; i++) {
        if (x[i]) bytes += ct_count(x[i]) * (int64_t)ct_dtype_size(x[i]->dtype);
    }
    return bytes;
}

static bool is_sound(const ct_op *op) {
    return ct_check_pointer("profile", "the operation", op) &&
           ct_check_pointer("profile", "the operation's name", op->name);
}

void ct_profile_forward(const ct_op *op, int inputs, ct_tensor *const *input, int outputs,
                        ct_tensor *const *output) {
    if (!profile.running || !is_sound(op) || !ct_check_list("profile", "inputs", input, inputs) ||
        !ct_check_list("profile", "outputs", output, outputs)) {
        return;
    }
    double now = done_at();
    ct_profile_row *row = row_of(op->name);
    if (row) {
        row->calls++;
        row->bytes += bytes_of(inputs, input) + bytes_of(outputs, output);
        row->forward += now - profile.last;
    }
    profile.last = now;
}

void ct_profile_backward(const ct_op *op, double start) {
    if (!profile.running || !is_sound(op)) return;
    profile.last = done_at();
    ct_profile_row *row = row_of(op->name);
    if (row) row->backward += profile.last - start;
}

static int longest_first(const void *a, const void *b) {
    const ct_profile_row *x = a, *y = b;
    double p = x->forward + x->backward, q = y->forward + y->backward;
    return (p < q) - (p > q);
}

ct_profile_row *ct_profile_stop(int *count) {
    if (!profile.running) return ct_fail("profile: none was started");
    if (!ct_check_pointer("profile", "the count", count)) return NULL;
    ct_profile_row *rows = profile.rows;
    *count = profile.count;
    profile.rows = NULL;
    profile.running = false;
    qsort(rows, (size_t)*count, sizeof *rows, longest_first);
    return rows;
}
