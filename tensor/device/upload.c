/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads: checks and order; the device's backend copies. */
#include "tensor/device/upload.h"

#include <stdlib.h>

#include "tensor/device/backend.h"

typedef enum { FREE, SENT, RECEIVED } state;

struct ct_upload {
    const ct_backend *backend;
    ct_device device;
    void *under_way; /* the backend's; NULL where it has none: it copies at once */
    state state;
};

/* ---- host memory ------------------------------------------------------------------------ */

void *ct_host_allocate(ct_device device, size_t bytes) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend) return NULL;
    if (backend->host_allocate) return backend->host_allocate(bytes ? bytes : 1);
    void *data = malloc(bytes ? bytes : 1);
    return data ? data : ct_fail("host_allocate: no memory for %zu bytes", bytes);
}

void ct_host_free(ct_device device, void *data) {
    const ct_backend *backend = data ? ct_backend_of(device) : NULL;
    if (!backend) return;
    if (backend->host_free) backend->host_free(data);
    else free(data);
}

/* ---- uploads ---------------------------------------------------------------------------- */

ct_upload *ct_upload_create(ct_device device) {
    const ct_backend *backend = ct_backend_of(device);
    if (!backend) return NULL;
    ct_upload *upload = calloc(1, sizeof *upload);
    if (!upload) return ct_fail("upload: out of memory");
    *upload = (ct_upload){.backend = backend, .device = device};
    if (!backend->upload_create) return upload;
    upload->under_way = backend->upload_create();
    if (upload->under_way) return upload;
    free(upload);
    return NULL;
}

void ct_upload_destroy(ct_upload *upload) {
    if (!upload) return;
    if (upload->under_way) upload->backend->upload_destroy(upload->under_way);
    free(upload);
}

static bool is_next(const char *op, const ct_upload *upload, state expected) {
    static const char *const names[] = {"ct_upload_send", "ct_upload_receive", "ct_upload_done"};
    if (!upload) return ct_fail_bool("%s: the upload is NULL", op);
    return upload->state == expected ||
           ct_fail_bool("%s: %s comes first", op, names[upload->state]);
}

static bool check_item(const ct_upload *upload, const ct_upload_item *item) {
    if (!ct_check_input("upload_send", item->to) ||
        !ct_check_list("upload_send", "host memory", item->from, ct_count(item->to))) {
        return false;
    }
    return (item->to->device == upload->device && ct_is_contiguous(item->to)) ||
           ct_fail_bool("upload_send: %s on %s, expected contiguous on %s",
                        ct_tensor_text(item->to), ct_device_name(item->to->device),
                        ct_device_name(upload->device));
}

static bool copy(const ct_upload *upload, const ct_upload_item *item) {
    if (!upload->under_way) return ct_write(item->to, item->from);
    ct_mark_written(item->to);
    size_t size = ct_dtype_size(item->to->dtype), bytes = (size_t)ct_count(item->to) * size;
    char *to = (char *)item->to->storage->data + (size_t)item->to->offset * size;
    return !bytes || upload->backend->upload_copy(upload->under_way, to, item->from, bytes);
}

bool ct_upload_send(ct_upload *upload, const ct_upload_item *items, int count) {
    if (!is_next("upload_send", upload, FREE) ||
        !ct_check_list("upload_send", "items", items, count)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!check_item(upload, &items[i])) return false;
    }
    if (upload->under_way && !upload->backend->upload_begin(upload->under_way)) return false;
    for (int i = 0; i < count; i++) {
        if (!copy(upload, &items[i])) return false;
    }
    upload->state = SENT;
    return !upload->under_way || upload->backend->upload_end(upload->under_way);
}

bool ct_upload_wait(ct_upload *upload) {
    if (!upload) return ct_fail_bool("upload_wait: the upload is NULL");
    return !upload->under_way || upload->backend->upload_wait(upload->under_way);
}

bool ct_upload_receive(ct_upload *upload) {
    if (!is_next("upload_receive", upload, SENT)) return false;
    upload->state = RECEIVED;
    return !upload->under_way || upload->backend->upload_receive(upload->under_way);
}

bool ct_upload_done(ct_upload *upload) {
    if (!is_next("upload_done", upload, RECEIVED)) return false;
    upload->state = FREE;
    return !upload->under_way || upload->backend->upload_done(upload->under_way);
}
