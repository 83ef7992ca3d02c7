/* SPDX-License-Identifier: Apache-2.0 */
/* What tensors lie on, and what hangs on them. Internal to the library. */
#ifndef CT_CORE_STORAGE_H
#define CT_CORE_STORAGE_H

#include "tensor/core/types.h"

struct ct_storage {
    ct_refs refs;
    ct_device device;
    size_t bytes;
    void *data;
    void (*release)(void *context); /* of memory that is not the backend's; NULL otherwise */
    void *release_context;
    ct_writes writes;   /* ct_write_count */
    const char *traced; /* ct_traced; or NULL */
};

/* One reference, the caller's; NULL with an error. */
ct_storage *ct_storage_create(ct_device device, size_t bytes);
/* Drops one; the memory goes with the last. */
void ct_storage_release(ct_storage *storage);

/* A view on the same storage, in the innermost scope: what the view functions are made of. */
ct_tensor *ct_view(const ct_tensor *x, ct_shape shape, const int64_t *stride, int64_t offset);

/* Called once with x->autograd when a tensor that has one is freed. Set by the autograd layer. */
void ct_tensor_on_free(void (*free_autograd)(void *autograd));

#endif
