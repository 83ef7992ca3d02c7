/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/core/trace.h"

#include "tensor/core/storage.h"

/* A tensor's `trace`. */
enum { AS_ITS_STORAGE, A_VIEW, ENDED };

static _Thread_local ct_trace_source source;

void ct_trace(ct_trace_source is_source) { source = is_source; }

bool ct_trace_is_on(void) { return source != NULL; }

const char *ct_traced(const ct_tensor *x) {
    if (!x || x->trace == ENDED) return NULL;
    return x->trace == A_VIEW ? "view" : x->storage->traced;
}

void ct_trace_end(ct_tensor *x) {
    if (x) x->trace = ENDED;
}

/* A view that is made while tracing is off is meant as a constant. */
void ct_trace_view(ct_tensor *view, const ct_tensor *x) {
    view->trace = !source ? ENDED : source(x) ? A_VIEW : x->trace;
}

const char *ct_trace_from(const ct_tensor *x, const char *kernel) {
    if (!x || !source || !ct_dtype_is_float(x->dtype)) return NULL;
    if (source(x) || x->trace == A_VIEW) return kernel;
    return ct_traced(x);
}

void ct_trace_to(ct_tensor *y, const char *kernel) {
    if (y && kernel && ct_dtype_is_float(y->dtype) && !y->storage->traced) {
        y->storage->traced = kernel;
    }
}
