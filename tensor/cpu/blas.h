/* SPDX-License-Identifier: Apache-2.0 */
/* The BLAS that products go to. Internal to tensor/cpu/. */
#ifndef CT_CPU_BLAS_H
#define CT_CPU_BLAS_H

#include <cblas.h>

/* A BLAS with threads of its own is told to use one. One of OpenMP's runs on one inside a parallel
 * region, or as omp_set_num_threads says. */
static inline void ct_blas_on_one_thread(void) {
    if (openblas_get_parallel() == OPENBLAS_THREAD && openblas_get_num_threads() != 1) {
        openblas_set_num_threads(1);
    }
}

#endif
