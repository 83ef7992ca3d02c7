/* SPDX-License-Identifier: Apache-2.0 */
/* A device: memory and the kernels that compute on it. Internal to tensor/.
 *
 * tensor/ops and tensor/fused check shapes, resolve broadcasting and allocate; a kernel is called
 * with what is already right: outputs allocated, all tensors on its device, dtypes as documented,
 * operands of a pointwise kernel expanded to the output's shape (stride 0 where broadcast). A
 * kernel returns false only for what cannot be known before (a failing launch, an index out of
 * range), having called ct_fail.
 *
 * tensor/cpu and tensor/cuda hold the same list of files, one a kernel family.
 */
#ifndef CT_BACKEND_H
#define CT_BACKEND_H

#include "tensor/device/backend_fused.h"
#include "tensor/tensor.h"

struct ct_storage {
    ct_refs refs;
    ct_device device;
    size_t bytes;
    void *data;
    void (*release)(void *context); /* of memory that is not the backend's; NULL otherwise */
    void *release_context;
};

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

    /* any dtypes; x expanded to y's shape */
    bool (*copy)(ct_tensor *y, const ct_tensor *x); /* converts */
    bool (*fill)(ct_tensor *y, double value);
    bool (*arange)(ct_tensor *y); /* i64, contiguous: 0, 1, ... */

    /* pointwise, f32 and f64 */
    bool (*unary)(ct_unary_kind kind, ct_tensor *y, const ct_tensor *x, double p, double q);
    bool (*unary_grad)(ct_unary_kind kind, ct_tensor *gx, const ct_tensor *g, const ct_tensor *x,
                       const ct_tensor *y, double p, double q);
    bool (*binary)(ct_binary_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b);
    bool (*binary_grad)(ct_binary_kind kind, int which, ct_tensor *gx, const ct_tensor *g,
                        const ct_tensor *a, const ct_tensor *b);
    bool (*compare)(ct_compare_kind kind, ct_tensor *y, const ct_tensor *a, const ct_tensor *b);
    bool (*where)(ct_tensor *y, const ct_tensor *condition, const ct_tensor *a, const ct_tensor *b);
    bool (*add_to)(ct_tensor *y, double alpha, const ct_tensor *x); /* x expanded to y */

    /* reductions; y has x's shape with the reduced dimensions 1 */
    bool (*reduce)(ct_reduce_kind kind, ct_tensor *y, const ct_tensor *x);
    bool (*arg_reduce)(bool largest, ct_tensor *y, const ct_tensor *x, int axis);
    bool (*cumsum)(ct_tensor *y, const ct_tensor *x, int axis, bool reverse);
    bool (*argsort)(ct_tensor *y, const ct_tensor *x, bool descending); /* last axis */
    /* f64 scalar: root of the sum of all squares; tensors contiguous f32 or f64 */
    bool (*global_norm)(ct_tensor *norm, ct_tensor *const *tensors, int count);
    bool (*has_nonfinite)(const ct_tensor *x, bool *found); /* f32 or f64 */

    /* c (batch.., m, n) = alpha a b + beta c; a and b already expanded to c's batch shape, of c's
     * dtype or, where that is f32, both bf16 */
    bool (*matmul)(ct_tensor *c, double alpha, const ct_tensor *a, const ct_tensor *b, double beta);
    bool (*set_precision)(ct_precision precision); /* of f32 operands; NULL: fp32 alone */

    /* softmax over the last axis; all contiguous */
    bool (*softmax)(ct_tensor *y, const ct_tensor *x, bool logarithm);
    bool (*softmax_grad)(ct_tensor *gx, const ct_tensor *g, const ct_tensor *y, bool logarithm);

    /* all contiguous, index i64 */
    bool (*index_select)(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index);
    bool (*index_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x);
    bool (*gather)(ct_tensor *y, const ct_tensor *x, int axis, const ct_tensor *index);
    bool (*scatter_add)(ct_tensor *y, int axis, const ct_tensor *index, const ct_tensor *x);

    /* y contiguous f32 or f64 */
    bool (*uniform)(ct_tensor *y, uint64_t seed, uint64_t stream, uint64_t offset);
    bool (*normal)(ct_tensor *y, uint64_t seed, uint64_t stream, uint64_t offset);

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

    ct_fused_backend fused;
} ct_backend;

/* The backend of a device; NULL with an error if this build or machine has none. */
const ct_backend *ct_backend_of(ct_device device);

/* The best of "avx512", "avx2" and "baseline" that this processor runs. */
const char *ct_processor_isa(void);

/* A view on the same storage, in the innermost scope: what the view functions are made of. */
ct_tensor *ct_view(const ct_tensor *x, ct_shape shape, const int64_t *stride, int64_t offset);

/* NULL input: fails with "op: input is NULL" unless an error is already set. True if x is
 * usable. */
bool ct_check_input(const char *op, const ct_tensor *x);
/* f32 or f64, else an error naming op and dtype. */
bool ct_check_float(const char *op, const ct_tensor *x);
/* Same dtype and device as `first`, else an error naming op, both tensors. */
bool ct_check_same(const char *op, const ct_tensor *first, const ct_tensor *other);

#endif
