/* SPDX-License-Identifier: Apache-2.0 */
/* A device: memory and the kernels that compute on it. Internal to tensor/.
 *
 * The kernels and what each may assume are listed in tensor/device/kernels.def, one row a kernel.
 * tensor/cpu and tensor/cuda hold the same list of files, one a kernel family.
 */
#ifndef CT_BACKEND_H
#define CT_BACKEND_H

#include "tensor/tensor.h"
#include "tensor/core/check.h"
#include "tensor/core/storage.h"
#include "tensor/matching/matching.h"

enum { CT_GATE_ROWS = 16 }; /* see gru_step_grad in tensor/device/kernels.def */

/* What a backend recorded (tensor/device/capture.h). */
typedef struct ct_recording ct_recording;

typedef struct ct_backend {
    const char *name;

    /* memory: 64-byte aligned at least; NULL with an error naming the bytes asked, held, free */
    void *(*allocate)(size_t bytes);
    void (*free)(void *data, size_t bytes);
    bool (*from_host)(void *to, const void *from, size_t bytes);
    bool (*to_host)(void *to, const void *from, size_t bytes);
    int64_t (*memory_peak)(void); /* ct_device_memory_peak; NULL: that of tensors */
    bool (*trim)(void);           /* ct_memory_trim; NULL: nothing is kept */

    /* how matrix products of f32 are computed; false with an error if it cannot */
    bool (*set_precision)(ct_precision precision);

    /* the kernels */
#define CT_KERNEL(name, parameters, arguments) bool(*name) parameters;
#define CT_REAL_KERNEL(name, of, parameters, arguments) bool(*name) parameters;
#include "tensor/device/kernels.def"

    /* tensor/device/upload.h; NULL, all of them: copies are made at once, host memory is any. The
     * copies of a handle are asked for between begin and end, and made after what was asked before
     * its last `done` (or create); what is asked after `receive` sees them; `wait` is until they
     * are made. */
    void *(*host_allocate)(size_t bytes);
    void (*host_free)(void *data);
    void *(*upload_create)(void);
    void (*upload_destroy)(void *upload);
    bool (*upload_begin)(void *upload);
    bool (*upload_copy)(void *upload, void *to, const void *from, size_t bytes);
    bool (*upload_end)(void *upload);
    bool (*upload_wait)(void *upload);
    bool (*upload_receive)(void *upload);
    bool (*upload_done)(void *upload);

    /* tensor/device/capture.h; NULL: cannot record. What was asked between begin and end. rng may
     * be NULL and is as it was at the beginning in the first, as it is at the end in the second.
     * `keep`: false gives the recording up. capture_end returns NULL with an error where it gave it
     * up, too. offset: the generator's at the beginning of this run. */
    bool (*capture_begin)(const ct_rng *rng);
    ct_recording *(*capture_end)(bool keep, const ct_rng *rng);
    bool (*capture_run)(ct_recording *recording, uint64_t offset);
    void (*capture_destroy)(ct_recording *recording);

    /* Between ranks (tensor/ranks/ranks.h), of contiguous tensors with elements, in turn with what
     * else is asked; NULL, all of them: what is shared is in the host's memory. `end`, before the
     * transport does. */
    bool (*all_gather)(ct_tensor *all, const ct_tensor *x);
    bool (*all_reduce)(ct_tensor *const *x, int count);
    bool (*reduce_scatter)(ct_tensor *part, const ct_tensor *x);
    bool (*broadcast)(ct_tensor *x, int from);
    void (*ranks_end)(void);
} ct_backend;

/* The backend of a device; NULL with an error if this build or machine has none. */
const ct_backend *ct_backend_of(ct_device device);

/* The same backend with kernels that pass tracing on (tensor/core/trace.h), which they do in any
 * thread: what ct_backend_of gives while this one traces. */
const ct_backend *ct_traced_backend(ct_device device, const ct_backend *backend);

/* The best of "avx512", "avx2" and "baseline" that this processor runs. */
const char *ct_processor_isa(void);

#endif
