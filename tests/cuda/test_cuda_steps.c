/* SPDX-License-Identifier: Apache-2.0 */
/* Many training steps of a model on the device: nothing of one is left when the next begins,
 * neither tensors nor what kernels take for the time of a call. On a GPU its pool tells. */
#include <dlfcn.h>

#include "tests/models/model_small.h"

/* ---- the pool of a GPU, as the driver counts it --------------------------------------------- */

enum { POOL_USED = 7 }; /* CU_MEMPOOL_ATTR_USED_MEM_CURRENT of CUDA's driver API */

/* Bytes that are allocated from the pool of device 0; 0 where there is no driver (the shim). */
static uint64_t pool_bytes(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), *pool = NULL;
    if (!driver || !on_gpu()) return 0;
    int (*pool_of)(void **, int) =
        (int (*)(void **, int))dlsym(driver, "cuDeviceGetDefaultMemPool");
    int (*attribute)(void *, int, void *) =
        (int (*)(void *, int, void *))dlsym(driver, "cuMemPoolGetAttribute");
    uint64_t bytes = 0;
    ck_assert(pool_of && attribute && pool_of(&pool, 0) == 0);
    ck_assert(attribute(pool, POOL_USED, &bytes) == 0);
    dlclose(driver);
    return bytes;
}

/* ---- steps -------------------------------------------------------------------------------- */

typedef struct {
    int64_t device, host;
    uint64_t pool;
} memory;

static memory memory_now(void) {
    ck_assert(ct_device_wait(CT_CUDA)); /* what was released is given back when its turn comes */
    return (memory){ct_memory_in_use(CT_CUDA), ct_memory_in_use(CT_CPU), pool_bytes()};
}

/* Draws as training does, not recorded noise. */
static double train_step(ct_model *model, ct_optimizer *adam, ct_rng *rng) {
    double loss = NAN;
    CT_SCOPE {
        ct_batch batch = batch_of(CT_F32, 0);
        ct_losses losses = ct_model_losses(model, &batch, 0, rng);
        ck_assert_msg(ct_backward(losses.term[CT_LOSS_TOTAL]), "%s", ct_error());
        ck_assert_msg(ct_optimizer_step(adam), "%s", ct_error());
        ct_module_zero_grad(ct_model_module(model));
        loss = ct_item(losses.term[CT_LOSS_TOTAL]);
    }
    assert_no_error();
    return loss;
}

START_TEST(leave_no_memory) {
    ct_model *model = model_of(FULL, CT_F32);
    ct_optimizer *adam = ct_adam_create(ct_model_module(model), NULL);
    ct_optimizer_clip_norm(adam, 2);
    ct_rng rng = ct_rng_create(1, 0);
    int steps = at_full_size() ? 1000 : 20;
    memory first = {0};
    for (int step = 0; step < steps; step++) {
        double loss = train_step(model, adam, &rng);
        ck_assert_msg(isfinite(loss), "loss %g in step %d", loss, step);
        if (step < 4) continue; /* moments, and what libraries set up at first */
        memory now = memory_now();
        if (step == 4) first = now;
        ck_assert_msg(
            now.device == first.device && now.host == first.host && now.pool == first.pool,
            "step %d: %lld bytes on the device (%llu of its pool), %lld on the host; "
            "first %lld (%llu), %lld",
            step, (long long)now.device, (unsigned long long)now.pool, (long long)now.host,
            (long long)first.device, (unsigned long long)first.pool, (long long)first.host);
    }
    ct_optimizer_destroy(adam);
    ct_model_destroy(model);
}
END_TEST

/* Two models of one seed, step by step. */
START_TEST(repeat_to_the_bit) {
    double losses[2][5];
    for (int run = 0; run < 2; run++) {
        ct_model *model = model_of(FULL, CT_F32);
        ct_optimizer *adam = ct_adam_create(ct_model_module(model), NULL);
        ct_rng rng = ct_rng_create(1, 0);
        for (int step = 0; step < 5; step++) losses[run][step] = train_step(model, adam, &rng);
        ct_optimizer_destroy(adam);
        ct_model_destroy(model);
    }
    ck_assert_mem_eq(losses[0], losses[1], sizeof losses[0]);
    ck_assert(losses[0][0] != losses[0][4]);
}
END_TEST

TEST_MAIN("cuda steps", leave_no_memory, repeat_to_the_bit)
