/* SPDX-License-Identifier: Apache-2.0 */
/* Values to call public functions with: for each type first those that make sense, then those that
 * do not (or might not). The same for parameters that are more than their type says, by name. */
#ifndef CT_PUBLIC_VALUES_H
#define CT_PUBLIC_VALUES_H

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "autograd/gradcheck.h"
#include "autograd/profile.h"
#include "models/backbones.h"
#include "models/models.h"
#include "models/register.h"
#include "nn/nn.h"
#include "nn/observe.h"
#include "nn/packed.h"

/* V(key, type, how many make sense, how many there are): value_KEY(i), VALID_KEY, ALL_KEY. */
#define PUBLIC_VALUES(V)                           \
    V(flag, bool, 2, 2)                            \
    V(integer, int, 3, 9)                          \
    V(count, int, 2, 5)                            \
    V(long_integer, int64_t, 3, 9)                 \
    V(long_count, int64_t, 2, 5)                   \
    V(size, size_t, 2, 5)                          \
    V(bytes, size_t, 2, 3)                         \
    V(mask, uint32_t, 2, 5)                        \
    V(place, unsigned, 2, 5)                       \
    V(seed, uint64_t, 2, 4)                        \
    V(real, double, 3, 10)                         \
    V(text, const char *, 3, 9)                    \
    V(path, const char *, 3, 7)                    \
    V(order, const int *, 2, 5)                    \
    V(space, void *, 1, 2)                         \
    V(allocated, void *, 1, 2)                     \
    V(file, FILE *, 1, 2)                          \
    V(ct_device, ct_device, 1, 6)                  \
    V(shape, ct_shape, 4, 13)                      \
    V(tensor, ct_tensor *, 16, 17)                 \
    V(owned, ct_tensor *, 16, 17)                  \
    V(tensors, ct_tensor *const *, 3, 5)           \
    V(outputs, ct_tensor **, 1, 2)                 \
    V(scope, ct_scope *, 1, 2)                     \
    V(rng, ct_rng *, 2, 3)                         \
    V(capture, ct_capture *, 1, 1)                 \
    V(upload, ct_upload *, 1, 2)                   \
    V(writer, ct_npy_writer *, 1, 2)               \
    V(safetensors, ct_safetensors *, 1, 2)         \
    V(node, ct_node *, 1, 2)                       \
    V(sampler, ct_sampler *, 1, 1)                 \
    V(module, ct_module *, 17, 18)                 \
    V(batcher, ct_batcher *, 1, 2)                 \
    V(optimizer, ct_optimizer *, 2, 3)             \
    V(model, ct_model *, 1, 2)                     \
    V(checkpointed, ct_checkpoint_function, 1, 3)  \
    V(checkpoint_parts, ct_checkpoint_parts, 1, 3) \
    V(forward_function, ct_forward_function, 1, 3) \
    V(sample_function, ct_sample_function, 1, 3)   \
    V(visitor, ct_state_visitor, 1, 3)

#define DECLARE(key, type, valid, all)             \
    enum { VALID_##key = valid, ALL_##key = all }; \
    type value_##key(int i);
PUBLIC_VALUES(DECLARE)
#undef DECLARE

/* Structs that make sense, where zeros or the defaults do not. */
ct_recurrent_inputs base_ct_recurrent_inputs(void);
ct_tensor_conv1d_options base_ct_tensor_conv1d_options(void);
ct_clip base_ct_clip(void);
ct_policy_options base_ct_policy_options(void);
ct_policy_noise base_ct_policy_noise(void);
ct_named_tensor base_ct_named_tensor(void);
ct_upload_item base_ct_upload_item(void);
ct_op base_ct_op(void);
ct_sample base_ct_sample(void);
ct_description base_ct_description(void);
ct_model_sizes base_ct_model_sizes(void);
ct_batch base_ct_batch(void);
ct_module_kind base_ct_module_kind(void);
ct_loss_kind base_ct_loss_kind(void);

/* What a call gave, for the driver: tensors are read, differentiated. */
void see_tensor(ct_tensor *x);
void see_output(ct_tensor *x); /* one of several, any of which may be NULL */
void see_pointer(const void *x);
void see_text(const char *x);
bool see_flag(bool x);

/* A public function as test_public.c calls it. */
enum { MOST_ARGUMENTS = 12 };
typedef struct {
    const char *name;
    int valid, all; /* numbers of values */
    bool is_enum;
} public_argument;
typedef struct {
    const char *name;
    void (*call)(const int *pick); /* the number of a value for each argument */
    int arguments;
    bool may_be_null, any_enumerator;
    public_argument argument[MOST_ARGUMENTS];
} public_function;
extern const public_function public_functions[];
extern const int public_function_count;

#endif
