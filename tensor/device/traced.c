/* SPDX-License-Identifier: Apache-2.0 */
/* A backend whose kernels pass tracing on (tensor/core/trace.h): each row of kernels.def as a
 * function that looks at its tensors, `const` ones as read and others as written, and calls the
 * kernel. */
#include "tensor/device/backend.h"

#include <pthread.h>
#include <string.h>

#include "tensor/core/trace.h"

static const ct_backend *plain[CT_DEVICE_COUNT];

/* The call that is looked at. */
static _Thread_local struct {
    const char *kernel;
    unsigned kind; /* of a pointwise one */
    ct_device device;
    const char *from; /* what results are traced to; NULL: nothing traced was read */
} call;

static const char *title(void) {
    if (strcmp(call.kernel, "unary") == 0) return ct_unary_name((ct_unary_kind)call.kind);
    if (strcmp(call.kernel, "binary") == 0) return ct_binary_name((ct_binary_kind)call.kind);
    return call.kernel;
}

static void see_read(const ct_tensor *x) {
    if (x) call.device = x->device;
    if (!call.from) call.from = ct_trace_from(x, title());
}

static void see_written(ct_tensor *y) {
    if (y) call.device = y->device;
    ct_trace_to(y, call.from);
}

/* Of an optimiser: leaves, and what no graph has to do with. */
static void see_list(ct_tensor *const *list) {
    if (list && list[0]) call.device = list[0]->device;
}

/* Where the results of a struct are floats that a gradient could flow from. */
static void see_policy(const ct_policy_result *result) {
    if (!result) return;
    see_written(result->log_discrete);
    see_written(result->log_continuous);
}

static void see_kind(unsigned kind) { call.kind += kind; }

/* An argument as what it is of these, or as none. */
#define SEE_READ(a)                                                   \
    see_read(_Generic((a), const ct_tensor * : (a), default : NULL)); \
    see_list(_Generic((a), ct_tensor *const * : (a), default : NULL));
#define SEE_KIND(a) see_kind(_Generic((a), unsigned : (a), default : 0u));
#define SEE_WRITTEN(a)                                             \
    see_written(_Generic((a), ct_tensor * : (a), default : NULL)); \
    see_policy(_Generic((a), const ct_policy_result * : (a), default : NULL));

/* see(a) of each argument: nine at most. */
#define EACH_1(see, a) see(a)
#define EACH_2(see, a, ...) see(a) EACH_1(see, __VA_ARGS__)
#define EACH_3(see, a, ...) see(a) EACH_2(see, __VA_ARGS__)
#define EACH_4(see, a, ...) see(a) EACH_3(see, __VA_ARGS__)
#define EACH_5(see, a, ...) see(a) EACH_4(see, __VA_ARGS__)
#define EACH_6(see, a, ...) see(a) EACH_5(see, __VA_ARGS__)
#define EACH_7(see, a, ...) see(a) EACH_6(see, __VA_ARGS__)
#define EACH_8(see, a, ...) see(a) EACH_7(see, __VA_ARGS__)
#define EACH_9(see, a, ...) see(a) EACH_8(see, __VA_ARGS__)
#define TENTH(a, b, c, d, e, f, g, h, i, tenth, ...) tenth
#define EACH(see, ...)                                                                            \
    TENTH(__VA_ARGS__, EACH_9, EACH_8, EACH_7, EACH_6, EACH_5, EACH_4, EACH_3, EACH_2, EACH_1, 0) \
    (see, __VA_ARGS__)
#define BARE(...) __VA_ARGS__

#define CT_KERNEL(name, parameters, arguments)     \
    static bool traced_##name parameters {         \
        call.kernel = #name;                       \
        call.kind = 0;                             \
        call.from = NULL;                          \
        EACH(SEE_KIND, BARE arguments)             \
        EACH(SEE_READ, BARE arguments)             \
        EACH(SEE_WRITTEN, BARE arguments)          \
        return plain[call.device]->name arguments; \
    }
#define CT_REAL_KERNEL(name, of, parameters, arguments) CT_KERNEL(name, parameters, arguments)
#include "tensor/device/kernels.def"

static ct_backend traced[CT_DEVICE_COUNT];

/* Under a lock: two threads may be the first. */
static void make(ct_device device, const ct_backend *backend) {
    plain[device] = backend;
    traced[device] = *backend;
#define CT_KERNEL(name, parameters, arguments) traced[device].name = traced_##name;
#define CT_REAL_KERNEL(name, of, parameters, arguments) traced[device].name = traced_##name;
#include "tensor/device/kernels.def"
}

const ct_backend *ct_traced_backend(ct_device device, const ct_backend *backend) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!plain[device]) make(device, backend);
    pthread_mutex_unlock(&lock);
    return &traced[device];
}
