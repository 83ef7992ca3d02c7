/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend is a shared library of its own (tensor/cuda/), loaded when a device cuda is
 * first asked for, so that programs start on machines without a driver or CUDA's libraries. This
 * is all that the two sides know of each other. Internal to tensor/.
 */
#ifndef CT_CUDA_LIBRARY_H
#define CT_CUDA_LIBRARY_H

#include "tensor/device/backend.h"
#include "tensor/ranks/mpi_library.h"

/* Raised with every change of ct_host_functions, ct_backend or a row of kernels.def. */
enum { CT_CUDA_LIBRARY_VERSION = 14 };

/* What the backend calls of the library that loaded it, whose symbols it does not see. */
typedef struct {
    /* these stay the first, so that any two versions can say that they differ */
    int version;         /* CT_CUDA_LIBRARY_VERSION */
    size_t backend_size; /* sizeof(ct_backend) */
    void *(*fail)(const char *format, ...) __attribute__((format(printf, 1, 2)));
    bool (*fail_bool)(const char *format, ...) __attribute__((format(printf, 1, 2)));
    int64_t (*memory_in_use)(ct_device device);
    const char *(*tensor_text)(const ct_tensor *x);
    const ct_mpi *(*transport)(void); /* between ranks; NULL where there is one */
} ct_host_functions;

/* The library's one symbol, "ct_cuda_open": the backend; NULL with an error if there is no device
 * to use. */
typedef const ct_backend *ct_cuda_open_function(const ct_host_functions *host);

/* Finds, loads and opens the library, once; NULL with an error that says what is missing. */
const ct_backend *ct_cuda_backend(void);
/* The backend if it was found before; NULL, without an error, otherwise. */
const ct_backend *ct_cuda_backend_if_open(void);

#endif
