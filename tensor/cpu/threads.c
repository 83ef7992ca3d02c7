/* SPDX-License-Identifier: Apache-2.0 */
/* How many threads a kernel uses, and which of its tasks each of them does. */
#include <omp.h>

#include "tensor/cpu/cpu.h"

int ct_cpu_threads(int64_t work) {
    return work < CT_PARALLEL_MINIMUM || omp_in_parallel() ? 1 : omp_get_max_threads();
}

ct_part ct_cpu_part(int64_t count) {
    int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    int64_t even = count / threads, more = count % threads;
    int64_t begin = thread * even + (thread < more ? thread : more);
    return (ct_part){begin, begin + even + (thread < more ? 1 : 0)};
}
