/* SPDX-License-Identifier: Apache-2.0 */
/* Which backend serves a device, and which instruction set's kernels the CPU backend is made of. */
#include "tensor/device/cuda_library.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/trace.h"

extern const ct_backend ct_cpu_backend_baseline;
#ifdef CT_HAS_AVX
extern const ct_backend ct_cpu_backend_avx2, ct_cpu_backend_avx512;

/* The features of x86-64-v3 and v4 that the compiler may use in those versions. */
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

static bool always(void) { return true; }

/* Best first. */
static const struct {
    const char *name;
    bool (*supported)(void);
    const ct_backend *backend;
} versions[] = {
#ifdef CT_HAS_AVX
    {"avx512", has_avx512, &ct_cpu_backend_avx512},
    {"avx2", has_avx2, &ct_cpu_backend_avx2},
#endif
    {"baseline", always, &ct_cpu_backend_baseline},
};

const char *ct_processor_isa(void) {
    size_t i = 0;
    while (!versions[i].supported()) i++;
    return versions[i].name;
}

/* The best version that runs here, or the one that the environment variable CT_ISA names (so that
 * tests can run each); NULL with an error if that one is unknown or does not run here. */
static const ct_backend *choose_cpu(void) {
    const char *wanted = getenv("CT_ISA");
    if (wanted && !*wanted) wanted = NULL;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        if (wanted && strcmp(wanted, versions[i].name) != 0) continue;
        if (versions[i].supported()) return versions[i].backend;
        if (wanted) {
            return ct_fail("CT_ISA=%s: this processor lacks the instructions; unset it", wanted);
        }
    }
    return ct_fail("CT_ISA=%s: unknown, expected avx512, avx2 or baseline", wanted);
}

static const ct_backend *cpu_backend(void) {
    static _Atomic(const ct_backend *) chosen;
    const ct_backend *backend = atomic_load_explicit(&chosen, memory_order_acquire);
    if (backend) return backend;
    backend = choose_cpu();
    atomic_store_explicit(&chosen, backend, memory_order_release);
    return backend;
}

static const ct_backend *plain_backend(ct_device device) {
    if (device == CT_CPU) return cpu_backend();
    if (device == CT_CUDA) return ct_cuda_backend();
    return ct_fail("unknown device %d", (int)device);
}

const ct_backend *ct_backend_of(ct_device device) {
    const ct_backend *backend = plain_backend(device);
    return backend && ct_trace_is_on() ? ct_traced_backend(device, backend) : backend;
}

bool ct_device_open(ct_device device) { return ct_backend_of(device) != NULL; }
