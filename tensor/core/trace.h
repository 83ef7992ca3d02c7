/* SPDX-License-Identifier: Apache-2.0 */
/* Tracing: which tensors were computed from certain others, the sources. For whoever looks for a
 * value that was computed where it should have been recorded (anomaly mode). Of the thread.
 * Internal to the library.
 *
 * Kernels pass it on, floats to floats, to the storage that they write (tensor/device/traced.c);
 * views to the view. What is computed while tracing is off is not traced, nor is what goes over the
 * host (ct_item, ct_data).
 */
#ifndef CT_CORE_TRACE_H
#define CT_CORE_TRACE_H

#include "tensor/core/types.h"

/* On, with what is a source; NULL: off, as it is for a new thread. */
typedef bool (*ct_trace_source)(const ct_tensor *x);
void ct_trace(ct_trace_source is_source);
bool ct_trace_is_on(void);

/* What first computed x from a source: a kernel's name, or "view"; NULL if it was not. */
const char *ct_traced(const ct_tensor *x);
/* From here on x and views of it are traced to nothing; other tensors on its storage still are.
 * NULL is ignored. */
void ct_trace_end(ct_tensor *x);

/* For views: x's view was made. */
void ct_trace_view(ct_tensor *view, const ct_tensor *x);
/* For kernels: what `kernel` traces its results to for having read x, itself if x is a source; NULL
 * if nothing. And that y is such a result. x and y may be NULL. */
const char *ct_trace_from(const ct_tensor *x, const char *kernel);
void ct_trace_to(ct_tensor *y, const char *kernel);

#endif
