/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, threads, and what this machine computes with. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/cpu/onednn.h"
#include "tensor/device/cuda_library.h"

int64_t ct_device_memory_peak(ct_device device) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend) return 0;
    return backend->memory_peak ? backend->memory_peak() : ct_memory_peak(device);
}

bool ct_memory_trim(ct_device device) {
    const ct_backend *backend = ct_backend_of(device);
    return backend && (!backend->trim || backend->trim());
}

void ct_set_threads(int threads) {
    if (threads < 0 || threads > CT_MOST_THREADS) {
        ct_fail("set_threads: %d threads, expected 0 (one a core) to %d", threads, CT_MOST_THREADS);
        return;
    }
    omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs());
}

int ct_threads(void) { return omp_get_max_threads(); }

/* What OpenBLAS calls its kernels for processors without AVX. It takes them for every processor
 * that is newer than itself, by model number, whatever that one can do. */
static bool without_avx(const char *kernels) {
    static const char *const names[] = {"Katmai",        "Coppermine", "Northwood", "Prescott",
                                        "Banias",        "Atom",       "Core2",     "Penryn",
                                        "Dunnington",    "Nehalem",    "Athlon",    "Opteron",
                                        "Opteron(SSE3)", "Barcelona",  "Bobcat",    "Nano"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(kernels, names[i]) == 0) return true;
    }
    return false;
}

const char *ct_better_blas_kernels(void) {
    if (getenv("OPENBLAS_CORETYPE") || !without_avx(openblas_get_corename())) return NULL;
    const char *isa = ct_processor_isa();
    if (strcmp(isa, "avx512") == 0) return "SkylakeX";
    return strcmp(isa, "avx2") == 0 ? "Haswell" : NULL;
}

const char *ct_machine_text(void) {
    static _Thread_local char text[512];
    const ct_backend *backend = ct_backend_of(CT_CPU), *cuda = ct_cuda_backend_if_open();
    /* all the same to cpu/matmul.c, which runs any of them on one thread for each of ours */
    static const char *const builds[] = {[OPENBLAS_SEQUENTIAL] = "one-thread build",
                                         [OPENBLAS_THREAD] = "pthread build",
                                         [OPENBLAS_OPENMP] = "OpenMP build"};
    const char *build = builds[openblas_get_parallel()];
    /* "OpenBLAS 0.3.21" and then many options: the first two words */
    const char *config = openblas_get_config();
    size_t name = strcspn(config, " "), version = strcspn(config + name + (config[name] != 0), " ");
    char device[192] = ""; /* "cuda (NVIDIA H100 80GB HBM3, 9.0), products in bf16; " */
    if (cuda) {
        snprintf(device, sizeof device, "%s, products in %s; ", cuda->name,
                 ct_precision_name(ct_precision_of(CT_CUDA)));
    }
    char advice[64] = "";
    const char *better = ct_better_blas_kernels();
    if (better) snprintf(advice, sizeof advice, " (slow here: set OPENBLAS_CORETYPE=%s)", better);
    char others[96] = "";
    const char *onednn = ct_onednn_version();
    double least = ct_onednn_least_product();
    if (onednn && isfinite(least)) {
        snprintf(others, sizeof others, "; oneDNN %s for f32 products from %.0f multiplications on",
                 onednn, least);
    } else if (onednn) {
        snprintf(others, sizeof others, "; oneDNN %s", onednn);
    }
    bool bf16 = ct_precision_of(CT_CPU) == CT_PRECISION_BF16;
    int threads = ct_threads();
    snprintf(text, sizeof text, "%s%s%s; %.*s, %s kernels%s, %s%s; %d thread%s of %d cores", device,
             backend ? backend->name : "no backend", bf16 ? ", products in bf16" : "",
             (int)(name + 1 + version), config, openblas_get_corename(), advice, build, others,
             threads, threads == 1 ? "" : "s", omp_get_num_procs());
    return text;
}
