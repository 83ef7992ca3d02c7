/* SPDX-License-Identifier: Apache-2.0 */
/* How numbers are spread between the least and the largest of them. All of them are given twice:
 * first to be measured, then to be counted. Those that are not finite are left out. */
#ifndef CT_HISTOGRAM_H
#define CT_HISTOGRAM_H

#include "tensor/tensor.h"

enum { CT_HISTOGRAM_BUCKETS = 64 };

typedef struct {
    double min, max, count, sum, sum_squares;
    int64_t bucket[CT_HISTOGRAM_BUCKETS]; /* of equal width, the last one's end belonging to it */
} ct_histogram;                           /* begins as all 0 */

typedef void ct_histogram_pass(ct_histogram *histogram, const double *x, int64_t count);
ct_histogram_pass ct_histogram_measure, ct_histogram_count;
/* A pass over all of a tensor of reals, on any device. */
bool ct_histogram_of_tensor(ct_histogram *histogram, ct_tensor *x, ct_histogram_pass *pass);
/* The upper limit of a bucket. */
double ct_histogram_limit(const ct_histogram *histogram, int bucket);

#endif
