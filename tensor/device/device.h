/* SPDX-License-Identifier: Apache-2.0 */
/* Devices, and what this machine computes with. */
#ifndef CT_DEVICE_H
#define CT_DEVICE_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* Whether tensors can be on a device here; false with an error that says what is missing. What
 * serves cuda is loaded when first asked for. */
bool ct_device_open(ct_device device);
/* Waits until all that was asked of a device is done. False with an error if the device is not
 * here or something has failed on it. */
bool ct_device_wait(ct_device device);
/* The most bytes of its memory that this process has held on a device: with what kernels needed
 * beside the tensors, what captures need and what is kept for the next time; of the CPU, those of
 * its tensors. */
int64_t ct_device_memory_peak(ct_device device);
/* Gives the device what is kept for the next time; waits. False with an error if the device is not
 * here or fails. */
bool ct_memory_trim(ct_device device);

/* How many threads the kernels and the BLAS use that this thread calls, 0 to CT_MOST_THREADS; 0: as
 * many as there are cores, as before the first call. Each thread has a number of its own. OpenBLAS
 * itself is always told to use one: its work is divided here. Another number is an error, and the
 * old one stays. */
enum { CT_MOST_THREADS = 4096 };
void ct_set_threads(int threads);
int ct_threads(void); /* the most that they use now */
/* One line: the GPU if one is in use and the precision of its products, instruction set of the
 * CPU's kernels, BLAS library, its kernels, threads. The thread's until its next call; not to be
 * freed, never NULL. */
const char *ct_machine_text(void);
/* OpenBLAS runs kernels without AVX on processors that are newer than itself: four times slower.
 * Then this is the value for OPENBLAS_CORETYPE that suits the processor ("SkylakeX", "Haswell"; not
 * to be freed); NULL where the kernels suit it, or the variable is set already. OpenBLAS reads it
 * before main: a program sets it and starts itself again. */
const char *ct_better_blas_kernels(void);

CT_END_DECLS

#endif
