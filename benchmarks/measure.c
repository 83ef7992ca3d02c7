/* SPDX-License-Identifier: Apache-2.0 */
#include "benchmarks/measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

double ct_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double ct_median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

json_t *ct_samples_json(const double *seconds, int count) {
    double sorted[CT_MOST_SAMPLES];
    memcpy(sorted, seconds, (size_t)count * sizeof *sorted);
    double median = ct_median(sorted, count);
    json_t *all = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(all, json_real(seconds[i]));
    return json_pack("{s:o, s:f, s:f, s:f}", "seconds", all, "median", median, "minimum", sorted[0],
                     "maximum", sorted[count - 1]);
}

/* Calls to be timed, one by one or, where the device can, recorded many at once: what takes a few
 * microseconds takes longer to ask for. */
typedef struct {
    ct_timed_call *call;
    void *context;
    ct_device device;
    ct_capture *recording; /* of `recorded` calls, or NULL */
    int recorded;
} timed;

static bool one_call(const timed *t) {
    bool done = false;
    CT_SCOPE { done = t->call(t->context); }
    return done;
}

/* Seconds of `count` calls, a multiple of those recorded; below 0 if one failed. */
static double seconds_of(const timed *t, int count) {
    double start = ct_seconds();
    for (int i = 0; i < count; i += t->recording ? t->recorded : 1) {
        if (!(t->recording ? ct_capture_run(t->recording, NULL) : one_call(t))) return -1;
    }
    return ct_device_wait(t->device) && ct_ok() ? ct_seconds() - start : -1;
}

/* Records calls if it can; what draws random numbers or waits for the device cannot be. */
static void record(timed *t, int calls) {
    if (!ct_can_capture(t->device) || !ct_capture_begin(t->device, NULL)) return;
    for (int i = 0; i < calls && one_call(t); i++) {
    }
    t->recording = ct_capture_end();
    if (t->recording) t->recorded = calls;
    else ct_error_clear();
}

/* How many calls take `least` seconds together. */
static int enough_calls(const timed *t, double least) {
    enum { MOST_CALLS = 10000 };
    int some = t->recording ? t->recorded : 1;
    double one = seconds_of(t, some) / some;
    if (some == 1 && one * 10 < least) one = seconds_of(t, 10) / 10; /* with less of the wait */
    int calls = one * MOST_CALLS <= least ? MOST_CALLS : (int)(least / one) + 1;
    return (calls + some - 1) / some * some;
}

json_t *ct_time_calls(ct_timed_call *call, void *context, ct_device device, int samples,
                      double least) {
    enum { RECORDED = 20 };
    timed t = {.call = call, .context = context, .device = device};
    double seconds[CT_MOST_SAMPLES];
    json_t *found = NULL;
    if (seconds_of(&t, 2) < 0) return NULL;
    record(&t, RECORDED);
    int calls = least > 0 ? enough_calls(&t, least) : t.recording ? t.recorded : 1;
    int taken = 0;
    while (taken < samples && (seconds[taken] = seconds_of(&t, calls) / calls) >= 0) taken++;
    if (taken == samples) {
        found = ct_samples_json(seconds, samples);
        json_object_set_new(found, "calls", json_integer(calls));
        json_object_set_new(found, "recorded", json_boolean(t.recording != NULL));
    }
    ct_capture_destroy(t.recording);
    return found;
}

double ct_product_rate(ct_device device, int64_t rows, int64_t width) {
    enum { LEAST = 20 };
    const double least = 0.5; /* seconds, over which a shared machine is now fast, now slow */
    double seconds[CT_MOST_SAMPLES], begin = ct_seconds();
    int taken = 0;
    CT_SCOPE {
        ct_rng rng = ct_rng_create(1, 0);
        ct_tensor *a = ct_random_uniform(&rng, "a", CT_F32, device, CT_SHAPE(rows, width));
        ct_tensor *w = ct_random_uniform(&rng, "w", CT_F32, device, CT_SHAPE(width, width));
        ct_tensor *c = ct_empty(CT_F32, device, CT_SHAPE(rows, width));
        while (taken < CT_MOST_SAMPLES && (taken < LEAST || ct_seconds() < begin + least)) {
            double start = ct_seconds();
            if (!ct_tensor_matmul_to(c, 1, a, w, 0) || !ct_device_wait(device)) return 0;
            seconds[taken++] = ct_seconds() - start;
        }
    }
    return taken ? 2 * (double)(rows * width * width) / ct_median(seconds, taken) : 0;
}
