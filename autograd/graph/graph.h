/* SPDX-License-Identifier: Apache-2.0 */
/* The graph: what hangs on tensors (variables) and what made them (nodes). Internal to autograd/.
 *
 *     tensor --> variable --> node --> variables of the inputs --> nodes ...
 *
 * Every arrow is a counted reference and none leads back, so there are no cycles: a variable only
 * looks at its tensor (`tensor` is cleared when that goes), and what a node saves are plain views
 * without a variable. Inputs' data therefore lives only as long as their tensors or what was saved.
 */
#ifndef CT_AUTOGRAD_GRAPH_H
#define CT_AUTOGRAD_GRAPH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "autograd/autograd.h"
#include "tensor/core/check.h"

typedef struct ct_variable ct_variable;

typedef struct {
    int handle;
    ct_grad_hook call;
    void *context;
} ct_hook;

/* What a tensor that requires a gradient has as its `autograd` field. */
struct ct_variable {
    _Atomic int refs; /* its tensor's, and one for every node it is an input of */
    bool requires_grad;
    int output;           /* which output of `node` it is */
    ct_node *node;        /* what computed it; NULL: a leaf */
    pthread_mutex_t lock; /* of all that follows, which threads may want at the same time */
    ct_tensor *tensor;
    ct_tensor *grad; /* of a leaf: contiguous, in the tensor's shape */
    ct_variable
        *retained; /* of a computed tensor, ct_retain_grad: has its gradient as a leaf has */
    ct_hook *hooks;
    int hook_count, last_handle;
    ct_variable *next_dead;
};

typedef struct {
    ct_variable *variable; /* NULL: needs no gradient */
    ct_shape shape;
    ct_dtype dtype;
    ct_device device;
    const void *place; /* the input's storage: only compared with others; NULL: no input */
} ct_edge;

typedef struct {
    ct_tensor *value; /* a view; NULL: NULL was saved */
    uint64_t writes;  /* ct_write_count then */
    int output;       /* which of the node's outputs it is; -1: none */
} ct_saved_value;

enum { CT_NODE_SAVED = 4, CT_NODE_OPTIONS = 2 };

struct ct_node {
    _Atomic int refs; /* one for every output's variable; the running backward's */
    const ct_op *op;
    uint64_t sequence; /* greater than that of every node it depends on */
    const void
        *_Atomic run; /* the backward that walks over it now: whoever sets it owns the node */
    bool used;        /* a backward without retain_graph has been here */
    bool incomplete;  /* saving something failed */
    int inputs, outputs;
    ct_edge *edge;              /* of every input */
    ct_tensor **input_gradient; /* what the operation's backward fills in */
    ct_tensor **gradient;       /* of every output, while a backward runs; owned */
    ct_variable **retained;     /* NULL, or of every output what its variable's `retained` is */
    int saved_count, saved_capacity;
    ct_saved_value *saved;
    ct_saved_value saved_here[CT_NODE_SAVED]; /* room for a few, and for small options: no malloc */
    void *options;
    void (*release)(void *options);
    max_align_t options_here[CT_NODE_OPTIONS];
};

/* The variable of a tensor; NULL if it has none (or is NULL). */
static inline ct_variable *ct_variable_of(const ct_tensor *x) {
    return x ? (ct_variable *)x->autograd : NULL;
}
/* The same, creating one that requires no gradient yet; NULL on error. */
ct_variable *ct_variable_make(ct_tensor *x);
/* One that looks at x and that x knows nothing of; the caller's reference. NULL on error. */
ct_variable *ct_variable_create(ct_tensor *x);
void ct_variable_release(ct_variable *variable);
void ct_node_release(ct_node *node);
/* Drops what a node saved and its edges: all that is only needed for backward. */
void ct_node_drop(ct_node *node);
/* What was saved is as it was then; else an error that names the operation and what was changed. */
bool ct_check_saved(const ct_node *node);

/* ct_saved for an operation's backward to write its result over: NULL unless nothing will ever read
 * what is there, i.e. this is the last backward through the node, and no tensor, other node or
 * caller refers to the memory. */
ct_tensor *ct_saved_to_overwrite(const ct_node *node, int i);

/* Inputs that need a gradient, each once; kept. */
typedef struct {
    ct_tensor **items;
    size_t count, capacity;
} ct_input_list;

/* While `seen` is set, operations of this thread that are not recorded note their inputs that need
 * a gradient there. Returns what was set before. */
ct_input_list *ct_watch_inputs(ct_input_list *seen);
void ct_input_list_clear(ct_input_list *list);

/* Nodes made by this thread from now on come after `sequence`. */
void ct_sequence_after(uint64_t sequence);

/* ct_backward_from over the part of the graph that is newer than `floor`. */
bool ct_backward_above(uint64_t floor, ct_tensor *const *outputs, ct_tensor *const *gradients,
                       int count, bool retain_graph);

/* Adds a gradient to a leaf's; the first one it only refers to, until ct_leaf_settle, called when
 * the scope of g has closed, copies it if anything else still does. */
bool ct_leaf_add(ct_variable *leaf, ct_tensor *g);
bool ct_leaf_settle(ct_variable *leaf);
/* Takes a leaf's gradient out of it, into the innermost scope; NULL if it has none. */
ct_tensor *ct_leaf_take(ct_tensor *leaf);
bool ct_leaf_has_hooks(ct_variable *leaf);
void ct_leaf_run_hooks(ct_variable *leaf);

bool ct_anomaly_mode(void);

/* ---- shared by the operations ----------------------------------------------------------- */

/* False, with "op: an input is NULL" if there is no error yet, when x is NULL. */
bool ct_given(const char *op, const ct_tensor *x);
/* The same, and when it is neither f32 nor f64. */
bool ct_given_float(const char *op, const ct_tensor *x);
/* g summed to the shape of an input that was broadcast; g itself where nothing was. */
ct_tensor *ct_unbroadcast(ct_tensor *g, ct_shape shape);
/* x with its leading dimensions as one: (rows, last). */
ct_tensor *ct_as_rows(const ct_tensor *x);

/* The operations of each file, NULL after the last: what registry.c is made of. */
const ct_op *ct_pointwise_op(int i);
const ct_op *ct_select_op(int i);
const ct_op *ct_reduce_op(int i);
const ct_op *ct_matmul_op(int i);
const ct_op *ct_shape_op(int i);
const ct_op *ct_join_op(int i);
const ct_op *ct_index_op(int i);
const ct_op *ct_softmax_op(int i);
const ct_op *ct_norm_op(int i);
const ct_op *ct_sequence_op(int i);
const ct_op *ct_loss_op(int i);
const ct_op *ct_picture_op(int i);
const ct_op *ct_ranking_op(int i);
const ct_op *ct_policy_op(int i);
const ct_op *ct_relations_op(int i);
const ct_op *ct_convert_op(int i);
const ct_op *ct_ranks_op(int i);
const ct_op *ct_checkpoint_op(int i);

#endif
