/* SPDX-License-Identifier: Apache-2.0 */
/* What a module is made of. Internal to nn/: modules of other layers use nn/nn.h alone. */
#ifndef CT_NN_MODULE_H
#define CT_NN_MODULE_H

#include "nn/nn.h"
#include "tensor/core/check.h"

typedef struct {
    char *name;
    ct_tensor *tensor; /* owned */
    bool buffer;
} ct_module_entry;

/* What a module is: one record a kind, compared by address. How a module is called says nothing, a
 * container of a user's may be called "gru". */
typedef struct {
    const char *name;            /* "gru", of which ct_gru_create makes one */
    ct_forward_function forward; /* of one input, or NULL */
} ct_module_class;

/* Those that another file asks for. */
extern const ct_module_class ct_linear_class, ct_conv1d_class, ct_conv2d_class, ct_batch_norm_class;

struct ct_module {
    const ct_module_class *class; /* NULL: a user's container */
    char *type;
    char *name; /* under its parent; NULL at the root */
    ct_module *parent;
    ct_module_entry *entries;
    int entry_count;
    ct_module **child_list;
    int child_count;
    bool training;
    ct_forward_function forward;
    void *self;
    void (*release)(void *self);
};

/* A module whose self is a copy of `size` bytes (none if 0); NULL and an error when out of
 * memory or if the thread already has an error. */
ct_module *ct_module_create_as(const ct_module_class *class, const void *self, size_t size);
/* module if ok, else NULL after destroying it: the last line of a constructor. */
ct_module *ct_module_if(ct_module *module, bool ok);
/* True if module is of this class; else an error naming op, the module and what it is. */
bool ct_module_is(const char *op, const ct_module *module, const ct_module_class *class);
/* "module 'rnn'", or "the module" at the root. Valid until the thread's next call: for messages. */
const char *ct_module_label(const ct_module *module);

/* Whether a batch norm over axis 1 of pictures (B,channels,H,W) normalises by its running
 * statistics as it is. */
bool ct_batch_norm_is_fixed(const ct_module *norm, int64_t channels);

/* One of the module's own tensors, or NULL without an error. */
ct_module_entry *ct_module_entry_named(const ct_module *module, const char *name);
ct_tensor *ct_module_own(const ct_module *module, const char *name);
/* Takes one of the module's own tensors out of it. */
void ct_module_remove(ct_module *module, const char *name);

/* f32 CPU parameters: drawn from U(-bound, bound), from N(0,1), or all `value`; and buffers. */
bool ct_module_uniform(ct_module *module, const char *name, ct_shape shape, double bound);
bool ct_module_normal(ct_module *module, const char *name, ct_shape shape);
bool ct_module_constant(ct_module *module, const char *name, ct_shape shape, double value);
bool ct_module_constant_buffer(ct_module *module, const char *name, ct_shape shape, double value);

/* The layer's weight: its parameter `weight`, or the one that weight normalisation makes of
 * weight_g and weight_v. */
ct_tensor *ct_module_weight(ct_module *module);

/* True if x is there and has `ndim` dimensions (any if negative); else an error naming op, or
 * the error that made x NULL. */
bool ct_nn_input(const char *op, const char *what, const ct_tensor *x, int ndim);

/* `good`, or an error "op: field is value, expected ..." if it is not: an option looked at. */
bool ct_nn_option(const char *op, const char *field, double value, bool good, const char *expected);

/* A size of a layer, 1 to 2^31 - 1, so that no product of two overflows; else an error likewise. */
bool ct_nn_size(const char *op, const char *what, int64_t size);

/* Every entry below a module with its dotted name, in the order of ct_module_visit. */
typedef struct {
    char *name;
    ct_module_entry *entry;
} ct_state_item;
typedef struct {
    ct_state_item *items;
    int count;
} ct_state;
bool ct_state_collect(ct_module *module, ct_state *state);
void ct_state_free(ct_state *state);
/* Equal when trailing dimensions of size 1 are left out: a 1x1 convolution's (out,in,1) is a
 * linear layer's (out,in). */
bool ct_state_shapes_fit(ct_shape a, ct_shape b);
/* Writes a tensor of a fitting shape, and float dtype, into another in place. */
bool ct_state_assign(ct_tensor *to, const ct_tensor *from);

#endif
