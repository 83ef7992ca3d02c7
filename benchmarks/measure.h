/* SPDX-License-Identifier: Apache-2.0 */
/* Times of benchmarks: what is measured, repeatedly, and written as JSON. */
#ifndef CT_MEASURE_H
#define CT_MEASURE_H

#include <jansson.h>

#include "tensor/tensor.h"

enum { CT_MOST_SAMPLES = 1000 };

double ct_seconds(void); /* of a clock that only goes forward */
/* The middle of `count` values, which it sorts. */
double ct_median(double *values, int count);

/* Seconds of one call: `samples` samples of as many calls as take `least` seconds together, and one
 * wait for the device behind them; the first calls, which may compile, load or allocate, do not
 * count. Where a device can record (tensor/device/capture.h), recorded calls are timed. {"seconds":
 * [...], "median", "minimum", "maximum", "calls", "recorded"}; NULL if a call was false or an error
 * stands. */
typedef bool ct_timed_call(void *context);
json_t *ct_time_calls(ct_timed_call *call, void *context, ct_device device, int samples,
                      double least);
/* The same object from values that were taken. */
json_t *ct_samples_json(const double *seconds, int count);

/* FLOP/s of (rows,width) x (width,width) products of f32 tensors, the median over half a second, or
 * over twenty if they take longer; 0 on error. */
double ct_product_rate(ct_device device, int64_t rows, int64_t width);

#endif
