/* SPDX-License-Identifier: Apache-2.0 */
/* How many threads a kernel uses. */
#include <omp.h>

#include "tensor/cpu/cpu.h"

int ct_cpu_threads(int64_t work) {
    return work < CT_PARALLEL_MINIMUM || omp_in_parallel() ? 1 : omp_get_max_threads();
}
