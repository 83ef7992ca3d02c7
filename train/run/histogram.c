/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/histogram.h"

#include <math.h>

void ct_histogram_measure(ct_histogram *h, const double *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) continue;
        if (!h->count || x[i] < h->min) h->min = x[i];
        if (!h->count || x[i] > h->max) h->max = x[i];
        h->count++;
        h->sum += x[i];
        h->sum_squares += x[i] * x[i];
    }
}

void ct_histogram_count(ct_histogram *h, const double *x, int64_t count) {
    double width = h->max - h->min, scale = width > 0 ? CT_HISTOGRAM_BUCKETS / width : 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) continue;
        double k = (x[i] - h->min) * scale;
        h->bucket[k < CT_HISTOGRAM_BUCKETS ? (int)k : CT_HISTOGRAM_BUCKETS - 1]++;
    }
}

bool ct_histogram_of_tensor(ct_histogram *h, ct_tensor *x, ct_histogram_pass *pass) {
    bool done = false;
    CT_SCOPE {
        ct_tensor *wide = ct_tensor_to_device(ct_tensor_cast(x, CT_F64), CT_CPU);
        ct_tensor *host = ct_tensor_contiguous(wide);
        if (!host) break;
        pass(h, ct_data(host), ct_count(host));
        done = true;
    }
    return done;
}

double ct_histogram_limit(const ct_histogram *h, int bucket) {
    double part = (double)(bucket + 1) / CT_HISTOGRAM_BUCKETS;
    return h->min + (h->max - h->min) * part;
}
