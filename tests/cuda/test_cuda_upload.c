/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads: on the CPU at once; on the shim's device as late as they may be made, so that whoever
 * does not wait sees what was there before. */
#include "tests/cuda/cuda_test.h"
#include "tensor/device/upload.h"

enum { COUNT = 5000 };

static ct_device devices[] = {CT_CPU, CT_CUDA};

static void fill(float *data, float value) {
    for (int i = 0; i < COUNT; i++) data[i] = value + (float)i;
}

static void assert_holds(const ct_tensor *x, float value) {
    float read[COUNT];
    require(ct_read(x, read), "%s", ct_error());
    for (int i = 0; i < COUNT; i++) {
        require(read[i] == value + (float)i, "element %d is %g, expected %g", i, (double)read[i],
                (double)value + i);
    }
}

/* Two uploads in turn, as training uses them; the host memory is written again when it may be. */
START_TEST(in_turn) {
    ct_device device = devices[_i];
    CT_SCOPE {
        ct_tensor *staged[2], *copy = ct_empty(CT_F32, device, CT_SHAPE(COUNT));
        ct_upload *upload[2];
        float *data[2];
        for (int k = 0; k < 2; k++) {
            staged[k] = ct_full(CT_F32, device, CT_SHAPE(COUNT), NAN);
            data[k] = ct_host_allocate(device, COUNT * sizeof(float));
            upload[k] = ct_upload_create(device);
            require(data[k] && upload[k], "%s", ct_error());
        }
        fill(data[0], 0);
        require(ct_upload_send(upload[0], &(ct_upload_item){staged[0], data[0]}, 1), "%s",
                ct_error());
        for (int step = 0; step < 8; step++) {
            int k = step % 2;
            require(ct_upload_receive(upload[k]) && ct_tensor_copy_to(copy, staged[k]) &&
                        ct_upload_done(upload[k]),
                    "%s", ct_error());
            fill(data[!k], (float)(step + 1));
            require(ct_upload_send(upload[!k], &(ct_upload_item){staged[!k], data[!k]}, 1), "%s",
                    ct_error());
            assert_holds(copy, (float)step);
            if (step % 3 == 0) continue;
            require(ct_upload_wait(upload[!k]), "%s", ct_error());
            fill(data[!k], -1); /* it was read */
        }
        for (int k = 0; k < 2; k++) {
            ct_upload_destroy(upload[k]);
            ct_host_free(device, data[k]);
        }
        assert_no_error();
    }
}
END_TEST

START_TEST(several_tensors_and_views) {
    ct_device device = devices[_i];
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, device, CT_SHAPE(3, 2));
        ct_tensor *rows = ct_tensor_slice(x, 0, 1, 3, 1);
        ct_tensor *ids = ct_zeros(CT_I64, device, CT_SHAPE(3));
        ct_tensor *none = ct_empty(CT_F32, device, CT_SHAPE(0));
        ct_upload *upload = ct_upload_create(device);
        const float values[] = {1, 2, 3, 4};
        const int64_t numbers[] = {7, 8, 9};
        ct_upload_item items[] = {{rows, values}, {ids, numbers}, {none, NULL}};
        require(ct_upload_send(upload, items, 3) && ct_upload_receive(upload), "%s", ct_error());
        ck_assert(ct_get(x, 1) == 0 && ct_get(x, 2) == 1 && ct_get(x, 5) == 4);
        ck_assert(ct_get(ids, 0) == 7 && ct_get(ids, 2) == 9);
        ck_assert(ct_upload_done(upload));
        ct_upload_destroy(upload);
        ct_upload_destroy(NULL);
        ct_host_free(device, NULL);
    }
}
END_TEST

START_TEST(refuses_the_wrong_order) {
    ct_device device = devices[_i];
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, device, CT_SHAPE(2, 2));
        ct_upload *upload = ct_upload_create(device);
        const float values[4] = {0};
        ct_upload_item item = {x, values}, turned = {ct_tensor_transpose(x, 0, 1), values};
        ck_assert(!ct_upload_receive(upload));
        assert_error("upload_receive: ct_upload_send comes first");
        ck_assert(!ct_upload_done(upload));
        assert_error("upload_done: ct_upload_send comes first");
        ck_assert(!ct_upload_send(upload, &turned, 1));
        assert_error("upload_send: f32 (2,2) on");
        ck_assert(!ct_upload_send(upload, &(ct_upload_item){NULL, values}, 1));
        assert_error("upload_send: an input is NULL");
        ck_assert(ct_upload_send(upload, &item, 1));
        ck_assert(!ct_upload_send(upload, &item, 1));
        assert_error("upload_send: ct_upload_receive comes first");
        ck_assert(ct_upload_receive(upload));
        ck_assert(!ct_upload_send(upload, &item, 1));
        assert_error("upload_send: ct_upload_done comes first");
        ct_upload_destroy(upload);
        ck_assert(!ct_upload_send(NULL, &item, 1));
        assert_error("upload_send: the upload is NULL");
    }
}
END_TEST

LOOPED_TEST_MAIN("cuda upload", {in_turn, 2}, {several_tensors_and_views, 2},
                 {refuses_the_wrong_order, 2})
