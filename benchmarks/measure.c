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
    return json_pack("{s:o, s:f, s:f, s:f}", "seconds", all, "median", median, "minimum",
                     sorted[0], "maximum", sorted[count - 1]);
}

/* Seconds of `count` calls; below 0 if one failed. */
static double timed(ct_timed_call *call, void *context, ct_device device, int count) {
    double start = ct_seconds();
    for (int i = 0; i < count; i++) {
        bool done = false;
        CT_SCOPE done = call(context);
        if (!done) return -1;
    }
    return ct_device_wait(device) && ct_ok() ? ct_seconds() - start : -1;
}

json_t *ct_time_calls(ct_timed_call *call, void *context, ct_device device, int samples,
                      double least) {
    enum { MOST_CALLS = 1000 };
    if (timed(call, context, device, 2) < 0) return NULL;
    double one = timed(call, context, device, 1), seconds[CT_MOST_SAMPLES];
    if (one < 0) return NULL;
    int calls = 1;
    if (least > 0) { /* the wait counts in `one`, so once more, better */
        one = timed(call, context, device, 10) / 10;
        calls = one * MOST_CALLS <= least ? MOST_CALLS : (int)(least / one) + 1;
    }
    for (int i = 0; i < samples; i++) {
        seconds[i] = timed(call, context, device, calls) / calls;
        if (seconds[i] < 0) return NULL;
    }
    json_t *found = ct_samples_json(seconds, samples);
    json_object_set_new(found, "calls", json_integer(calls));
    return found;
}
