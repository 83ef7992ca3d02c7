/* SPDX-License-Identifier: Apache-2.0 */
/* What an operation is: one record, and how it puts itself on the graph. Built-in and
 * user-defined operations are made the same way:
 *
 *     static bool cube_backward(ct_node *node, ct_tensor *const *g, ct_tensor **gx) {
 *         ct_tensor *x = ct_saved(node, 0);
 *         gx[0] = ct_tensor_mul(g[0], ct_tensor_scale(ct_tensor_mul(x, x), 3));
 *         return gx[0] != NULL;
 *     }
 *     static const ct_op cube = {.name = "cube", .backward = cube_backward, .samples = ...};
 *     ct_tensor *my_cube(ct_tensor *x) {
 *         ct_tensor *y = ct_tensor_mul(x, ct_tensor_mul(x, x));
 *         ct_node *node = ct_record(&cube, 1, &x, 1, &y);  // NULL if nothing needs a gradient
 *         ct_save(node, x);
 *         return y;
 *     }
 */
#ifndef CT_OP_H
#define CT_OP_H

#include "tensor/tensor.h"

CT_BEGIN_DECLS

typedef struct ct_op ct_op;
typedef struct ct_node ct_node;
typedef struct ct_sampler ct_sampler; /* autograd/gradcheck.h */

struct ct_op {
    const char *name;
    /* Gradients of the inputs from those of the outputs, with ct_tensor_* functions, inside a scope
     * that the engine opens. grad_outputs[i] is NULL where output i got none. Fill grad_inputs[i]
     * (each of its input's shape) where ct_needs_grad(node, i); leave NULL for zero. Any tensor
     * will do, also grad_outputs[i] itself, one tensor for several inputs, or an expanded view;
     * what is given is not written to. False on error. */
    bool (*backward)(ct_node *node, ct_tensor *const *grad_outputs, ct_tensor **grad_inputs);
    /* Inputs on which the gradient is checked: see autograd/gradcheck.h. */
    void (*samples)(ct_sampler *sampler);
};

/* Puts op on the graph between inputs and outputs (both may contain NULL: skipped). NULL when not
 * recording, when no input needs a gradient, or on error; the calls below accept NULL. The node
 * belongs to the graph. In anomaly mode the outputs are checked here. */
ct_node *ct_record(const ct_op *op, int inputs, ct_tensor *const *input, int outputs,
                   ct_tensor *const *output);

/* Saves a tensor for backward (NULL is saved as NULL); retrieved in order of saving. It is not
 * copied: one that is changed in place before backward comes is an error there. ct_saved gives the
 * node's own, borrowed; NULL behind the last. */
void ct_save(ct_node *node, const ct_tensor *x);
ct_tensor *ct_saved(const ct_node *node, int i);
/* Copies `size` bytes of plain options into the node; ct_node_options gives them back, as the
 * node's own; NULL if there are none. */
void ct_save_options(ct_node *node, const void *options, size_t size);
const void *ct_node_options(const ct_node *node);
/* Called with the options when the node goes, for options that own something. */
void ct_on_node_free(ct_node *node, void (*release)(void *options));

/* Whether backward is to give the gradient of an input; false for NULL or when out of range. */
bool ct_needs_grad(const ct_node *node, int input);
/* The shape of an input; that of a scalar for NULL or when out of range. */
ct_shape ct_input_shape(const ct_node *node, int input);

/* Adds an operation to the registry that the gradient-check test walks (built-in operations are in
 * it). Needed only for the test; false and an error if the name is taken. */
bool ct_register_op(const ct_op *op);
/* The operations of the registry, by number and by name: records that belong to who made them.
 * NULL, no error, if there is none. */
int ct_op_count(void);
const ct_op *ct_op_at(int i);
const ct_op *ct_find_op(const char *name);

CT_END_DECLS

#endif
