/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads: copies of host memory to a device, made beside what the device computes.
 *
 *     ct_upload_send(upload, items, count);  // returns at once: the device copies by itself
 *     ... what was sent before is computed with ...
 *     ct_upload_receive(upload);             // what is asked from here on sees what was sent
 *     ... the tensors are read ...
 *     ct_upload_done(upload);                // they may be sent to again
 *
 * Each of the three in turn; one out of turn, on NULL or that the device fails at is false with an
 * error. The tensors are made before the upload is, and outlive it. On the CPU
 * everything is done at once.
 */
#ifndef CT_UPLOAD_H
#define CT_UPLOAD_H

#include "tensor/core/types.h"

CT_BEGIN_DECLS

/* Host memory that a device can copy from by itself (page-locked, for cuda); NULL with an error if
 * there is none. ct_host_free ignores NULL. */
void *ct_host_allocate(ct_device device, size_t bytes);
void ct_host_free(ct_device device, void *data);

/* `to` (contiguous, on the upload's device) receives its elements, row-major, from host memory:
 * large ones from ct_host_allocate's, or the copy is not made beside anything. */
typedef struct {
    ct_tensor *to;
    const void *from;
} ct_upload_item;

typedef struct ct_upload ct_upload;
/* The caller destroys it. NULL with an error if the device is not here or memory is short. */
ct_upload *ct_upload_create(ct_device device);
void ct_upload_destroy(ct_upload *upload); /* what is under way is finished; NULL is ignored */
/* Begins to copy all items, whose host memory stays as it is until ct_upload_wait. */
bool ct_upload_send(ct_upload *upload, const ct_upload_item *items, int count);
/* Waits until the host memory of the last ct_upload_send may be written again. */
bool ct_upload_wait(ct_upload *upload);
bool ct_upload_receive(ct_upload *upload);
bool ct_upload_done(ct_upload *upload);

CT_END_DECLS

#endif
