/* SPDX-License-Identifier: Apache-2.0 */
/* Loading the CUDA backend when it is first asked for. */
#include "tensor/device/cuda_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/device/library.h"
#include "tensor/ranks/transport.h"

static const ct_host_functions host = {
    .version = CT_CUDA_LIBRARY_VERSION,
    .backend_size = sizeof(ct_backend),
    .fail = ct_fail,
    .fail_bool = ct_fail_bool,
    .memory_in_use = ct_memory_in_use,
    .tensor_text = ct_tensor_text,
    .transport = ct_transport,
};

/* Without a driver CUDA's large libraries are not even opened. */
static bool find_driver(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver) dlclose(driver);
    return driver || ct_fail_bool("cuda: no NVIDIA driver is installed (%s)", dlerror());
}

static const ct_backend *open_library(void) {
    char path[CT_LIBRARY_PATH];
    const char *name = ct_library_find("libcotangent_cuda.so", "CT_CUDA_LIBRARY", path);
    if (name != getenv("CT_CUDA_LIBRARY") && !find_driver()) return NULL;
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) return ct_fail("cuda: the CUDA backend was not loaded (%s)", dlerror());
    ct_cuda_open_function *open = (ct_cuda_open_function *)dlsym(library, "ct_cuda_open");
    return open ? open(&host) : ct_fail("cuda: not a CUDA backend (%s)", dlerror());
}

static struct {
    pthread_once_t once;
    _Atomic(const ct_backend *) backend;
    char error[512]; /* why there is none: the same for whoever asks again */
} opened = {.once = PTHREAD_ONCE_INIT};

/* An earlier error of the thread that happens to ask first would hide why this failed. */
static void open_once(void) {
    bool failed = !ct_ok();
    char *earlier = failed ? strdup(ct_error()) : NULL;
    ct_error_clear();
    const ct_backend *backend = open_library();
    if (!backend) snprintf(opened.error, sizeof opened.error, "%s", ct_error());
    opened.backend = backend;
    if (!failed) return;
    ct_error_clear();
    ct_fail("%s", earlier ? earlier : "out of memory");
    free(earlier);
}

const ct_backend *ct_cuda_backend(void) {
    pthread_once(&opened.once, open_once);
    const ct_backend *backend = opened.backend;
    return backend ? backend : ct_fail("%s", opened.error);
}

const ct_backend *ct_cuda_backend_if_open(void) { return opened.backend; }
