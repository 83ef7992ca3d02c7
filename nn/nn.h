/* SPDX-License-Identifier: Apache-2.0 */
/* Modules: parameters and a forward; batches, losses, optimisers, schedules, initialisers, state.
 *
 *     ct_module *net = ct_module_create("char_lm");
 *     ct_module *embed = ct_module_add(net, "embed", ct_embedding_create(vocabulary, 64));
 *     ct_module *rnn   = ct_module_add(net, "rnn", ct_gru_create(64, 128, NULL));
 *     ct_module *out   = ct_module_add(net, "out", ct_linear_create(128, vocabulary, true));
 *     ct_adam_options options = ct_adam_defaults();
 *     options.lr = 5e-3;
 *     ct_optimizer *adam = ct_adam_create(net, &options);
 *     for (...) CT_SCOPE {
 *         ct_tensor *h = ct_gru(rnn, ct_embedding(embed, words), NULL, NULL, NULL);
 *         ct_backward(ct_cross_entropy(ct_linear(out, h), next, NULL));
 *         ct_optimizer_step(adam);
 *     }
 *     ct_optimizer_destroy(adam);
 *     ct_module_destroy(net);
 *
 * Ownership. ct_X_create gives the caller a module; ct_module_add hands it to its parent, which
 * destroys it. Parameters belong to their module. What a forward returns belongs to the scope.
 * Sequences are batch first: (B,T,C). Parameters are made f32 on the CPU and drawn from the
 * thread's default generator (ct_seed). Names and initial distributions are PyTorch's unless said.
 * Options. A function that has some takes `const ct_X_options *options`: NULL for the defaults, or
 * what ct_X_defaults() gave, with fields changed. Every field of a struct that is given is taken as
 * it stands, 0 too; one that makes no sense is an error that names it ("gru: layers is 0, ...").
 * Sizes of layers are 1 to 2^31 - 1, numbers finite; others are errors that name them likewise.
 * Errors: as tensor/core/error.h says; a NULL module gives a NULL result; using a module as another
 * type ("linear: module 'rnn' is a gru") is an error.
 */
#ifndef CT_NN_H
#define CT_NN_H

#include <stdio.h>

#include "autograd/autograd.h"

CT_BEGIN_DECLS

/* ---- the thread's default generator: initial values, dropout ----------------------------- */

void ct_seed(uint64_t seed);  /* stream 0, offset 0; the seed is 0 until this is called */
ct_rng *ct_default_rng(void); /* the thread's, not to be freed; never NULL */

/* ---- modules: nn/core/module.c ----------------------------------------------------------- */

typedef struct ct_module ct_module;

/* An empty container. `type` is what tables and messages call it ("encoder") and may be any name:
 * only what ct_X_create made counts as an X. */
ct_module *ct_module_create(const char *type);
void ct_module_destroy(ct_module *module);
/* Gives child to parent under a name without dots that is not taken, and returns child. NULL on
 * error; the child is then destroyed, unless it belongs to a module already or contains parent. */
ct_module *ct_module_add(ct_module *parent, const char *name, ct_module *child);
ct_module *ct_module_child(ct_module *module, const char *name); /* NULL, no error, if none */
int ct_module_children(const ct_module *module);
/* The child at position i, its name in *name (which may be NULL); NULL, no error, if none. */
ct_module *ct_module_child_at(ct_module *module, int i, const char **name);
const char *ct_module_type(const ct_module *module);

/* Adds a parameter (made a leaf) or a buffer (running statistics) holding a copy of `value`;
 * returns the module's own tensor, borrowed. */
ct_tensor *ct_module_parameter(ct_module *module, const char *name, const ct_tensor *value);
ct_tensor *ct_module_buffer(ct_module *module, const char *name, const ct_tensor *value);

/* All parameters and buffers below a module, with dotted names ("rnn.weight_ih_l0"), in the
 * order they were added: a module's own, then each child's. Tensors are borrowed. */
typedef bool (*ct_state_visitor)(void *context, const char *name, ct_tensor *tensor, bool buffer);
/* Calls visit for each until it returns false, and returns what the last call did; name is valid
 * during the call. */
bool ct_module_visit(ct_module *module, ct_state_visitor visit, void *context);
/* The tensor with a dotted name, borrowed; NULL without an error if there is none. */
ct_tensor *ct_module_tensor(ct_module *module, const char *name);
int64_t ct_module_parameter_count(ct_module *module); /* elements that are trained */
/* Prints a module as a table, one line for each tensor: its module ("rnn.0") and that one's type,
 * the tensor's name, dtype, shape and number of elements, and whether it is trained, frozen or a
 * buffer; then their sums. False and an error for a NULL module or if it cannot be written. */
bool ct_module_print(FILE *file, const ct_module *module);
/* The same text from malloc, for the caller to free; NULL and an error likewise. */
char *ct_module_print_text(const ct_module *module);

void ct_module_train(ct_module *module, bool training); /* and all below it; true at first */
bool ct_module_training(const ct_module *module);       /* what was set last */
/* Freezes or unfreezes every parameter below. */
void ct_module_require_grad(ct_module *module, bool required);
void ct_module_zero_grad(ct_module *module);
/* Converts all parameters and buffers (integer buffers keep their dtype), or none on error. Tensors
 * that were borrowed before are gone, and an optimiser that was made before refuses to step:
 * convert first. */
bool ct_module_to_dtype(ct_module *module, ct_dtype dtype);
bool ct_module_to_device(ct_module *module, ct_device device);

/* State dictionaries as safetensors. Loading checks every name, shape and dtype first and
 * changes nothing unless all fit (float dtypes convert; trailing dimensions of size 1 do not
 * count, so that a 1x1 convolution loads into a linear layer). The error names what is missing,
 * extra, or of another shape, the first eight of each. `strict` false: extra tensors are ignored. A
 * batch norm's count of batches becomes 0 if it is missing (PyTorch before 0.4.1 had none). The
 * part "module", which DataParallel puts into names, is ignored unless the module has parts of that
 * name itself. */
bool ct_module_save(ct_module *module, const char *path);
bool ct_module_load(ct_module *module, const char *path, bool strict);
/* For files of another program, which has its own names and shapes. */
typedef enum {
    CT_STATE_NAMED,    /* the file's name was written */
    CT_STATE_LEFT_OUT, /* such files do not hold this tensor: neither written nor expected */
    CT_STATE_NAMELESS  /* they have no name for it, but it is needed: an error */
} ct_state_naming;
typedef struct {
    const void *context; /* passed to the functions */
    /* NULL: our own names. */
    ct_state_naming (*name)(const void *context, const char *ours, char *theirs, size_t size);
    /* The shape under which a tensor is written; NULL: its own. */
    ct_shape (*shape)(const void *context, const char *theirs, ct_shape shape);
    /* True for a tensor that such files may hold and that is not used; NULL: for none. */
    bool (*ignored)(const void *context, const char *theirs);
    /* Beginnings of our names, such as "decoder.", for parts that may be missing from a file as a
     * whole, but not in part; they stay as they are. NULL-ended, or NULL. */
    const char *const *optional;
    /* If any name in a file begins with one of these, only names that do are read, without that
     * beginning. NULL-ended, or NULL. */
    const char *const *prefixes;
    /* What is written beside the tensors: a NULL-ended list key, value, ... as for
     * ct_safetensors_save; NULL: "format", "pt". */
    const char *const *metadata;
} ct_state_form;
/* Saving and (strict) loading in such a form. *left_out, if not NULL, gets a list ("a, b") from
 * malloc of the tensors that were not written, or of the parts that were not there; NULL: none. */
bool ct_module_save_as(ct_module *module, const char *path, const ct_state_form *form,
                       char **left_out);
bool ct_module_load_as(ct_module *module, const char *path, const ct_state_form *form,
                       char **left_out);

/* A module of your own with one-input forward, for use in ct_sequential: */
typedef ct_tensor *(*ct_forward_function)(ct_module *module, ct_tensor *x);
void ct_module_set_forward(ct_module *module, ct_forward_function forward);
/* Data of a container of your own, freed by `release` (may be NULL) with the module, or at once on
 * error: for NULL, and for a module of the library, which has its own. */
void ct_module_set_self(ct_module *module, void *self, void (*release)(void *self));
void *ct_module_self(const ct_module *module);
/* True if `module` runs this forward, by which a function of yours knows its own modules. Else an
 * error that names op, the module and what it is: "highway: module 'rnn' is a gru". */
bool ct_module_expect(const char *op, const ct_module *module, ct_forward_function forward);
/* Runs a module that has a one-input forward. */
ct_tensor *ct_forward(ct_module *module, ct_tensor *x);

/* ---- layers ----------------------------------------------------------------------------- */

/* y = x W^T + b; weight (out,in), bias (out); x (...,in). */
ct_module *ct_linear_create(int64_t in, int64_t out, bool bias);
ct_tensor *ct_linear(ct_module *linear, ct_tensor *x);

/* weight (count,width) ~ N(0,1); index any shape of i64 -> (...,width). */
ct_module *ct_embedding_create(int64_t count, int64_t width);
/* Row `padding` is zero and gets no gradient. */
void ct_embedding_set_padding(ct_module *embedding, int64_t padding);
ct_tensor *ct_embedding(ct_module *embedding, ct_tensor *index);

/* Recurrent layers. Parameters weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0,
 * ..._l0_reverse, ..._l1, ... */
typedef struct {
    int layers;         /* 1 to 32; default 1 */
    bool bidirectional; /* default false */
    bool bias;          /* default true */
    double dropout;     /* between layers, in training; 0 <= dropout < 1, default 0 */
} ct_rnn_options;
ct_rnn_options ct_rnn_defaults(void);
ct_module *ct_gru_create(int64_t in, int64_t hidden, const ct_rnn_options *options);
/* x (B,T,in), h0 (layers*directions,B,hidden) or NULL, lengths (B) i64 in any order or NULL;
 * returns (B,T,directions*hidden), zero beyond lengths; *h_last (layers*directions,B,hidden) if
 * not NULL: layer 0 forward, layer 0 backward, layer 1 forward, ... Lengths on the CPU spare the
 * steps beyond them; lengths on x's device are not read, and no shape depends on them. Of packed
 * sequences (tensor/fused/fused.h) x is (R,in), the result (R,directions*hidden), and dropout
 * between layers is drawn for these rows. */
ct_tensor *ct_gru(ct_module *gru, ct_tensor *x, ct_tensor *h0, ct_tensor *lengths,
                  ct_tensor **h_last);
ct_module *ct_lstm_create(int64_t in, int64_t hidden, const ct_rnn_options *options);
ct_tensor *ct_lstm(ct_module *lstm, ct_tensor *x, ct_tensor *h0, ct_tensor *c0, ct_tensor *lengths,
                   ct_tensor **h_last, ct_tensor **c_last);
/* One step: weight_ih, weight_hh, bias_ih, bias_hh; x (B,in), h (B,hidden) or NULL. */
ct_module *ct_gru_cell_create(int64_t in, int64_t hidden);
ct_tensor *ct_gru_cell(ct_module *cell, ct_tensor *x, ct_tensor *h);

/* Graph convolution over a given adjacency: A (B,N,N) or (N,N), x (B,N,in) -> A x W^T + b. */
ct_module *ct_graph_conv_create(int64_t in, int64_t out, bool bias);
ct_tensor *ct_graph_conv(ct_module *conv, ct_tensor *x, ct_tensor *adjacency);

/* Multi-head attention (Vaswani et al. 2017), PyTorch's names in_proj_weight (3E,E),
 * in_proj_bias, out_proj.weight, out_proj.bias. query (B,Tq,E), key/value (B,Tk,E). mask u8,
 * 1 = may not be attended, broadcast to (B,heads,Tq,Tk), or NULL; causal adds the triangular
 * mask (key j, query i: j <= i). A query that may attend nothing attends to 0, and gives
 * out_proj's bias. */
typedef struct {
    int heads;      /* a divisor of the width; default 1 */
    double dropout; /* on the attention weights, in training; 0 <= dropout < 1, default 0 */
    bool causal;    /* default false */
} ct_attention_options;
ct_attention_options ct_attention_defaults(void);
ct_module *ct_attention_create(int64_t width, const ct_attention_options *options);
ct_tensor *ct_attention(ct_module *attention, ct_tensor *query, ct_tensor *key, ct_tensor *value,
                        ct_tensor *mask);
/* Dropout drawn from rng, NULL: the default generator, under the name "dropout". */
ct_tensor *ct_attention_from(ct_module *attention, ct_tensor *query, ct_tensor *key,
                             ct_tensor *value, ct_tensor *mask, ct_rng *rng);

/* With given parameters, such as those of timm's `qkv` and `proj`; dropout is applied as the
 * options say, in training or not. */
typedef struct {
    ct_tensor *in_weight, *in_bias;   /* (3E,E), (3E): query, key, value one below the other */
    ct_tensor *out_weight, *out_bias; /* (E,E), (E) */
} ct_attention_parameters;
ct_tensor *ct_attention_with(ct_tensor *query, ct_tensor *key, ct_tensor *value, ct_tensor *mask,
                             ct_attention_parameters parameters, ct_attention_options options);

/* A layer of a transformer's encoder (Vaswani et al. 2017), PyTorch's TransformerEncoderLayer and
 * names: self_attn as an attention's, linear1 (hidden,E), linear2 (E,hidden), norm1, norm2, each
 * .weight and .bias. x (B,T,E) -> (B,T,E):
 *     y = norm1(x + self_attn(x)), norm2(y + mlp(y)), or with norm_first
 *     y = x + self_attn(norm1(x)), y + mlp(norm2(y));    mlp(x) = linear2(activation(linear1(x)))
 * mask as an attention's: that of padding (B,T), 1 = padding, is (B,1,1,T); or NULL, as ct_forward
 * gives it. */
typedef struct {
    const char *activation; /* as ct_activation_create; default "relu" */
    double dropout;  /* in training, of attention weights, activations and what is added to x;
                        0 <= dropout < 1, default 0 */
    double eps;      /* of the norms, 0 or more; default 1e-5 */
    bool norm_first; /* default false */
    bool causal;     /* default false */
} ct_transformer_layer_options;
ct_transformer_layer_options ct_transformer_layer_defaults(void);
ct_module *ct_transformer_layer_create(int64_t width, int heads, int64_t hidden,
                                       const ct_transformer_layer_options *options);
ct_tensor *ct_transformer_layer(ct_module *layer, ct_tensor *x, ct_tensor *mask);
/* Dropout drawn from rng, NULL: the default generator, under an attention's name and
 * "attention_dropout", "hidden_dropout", "mlp_dropout". */
ct_tensor *ct_transformer_layer_from(ct_module *layer, ct_tensor *x, ct_tensor *mask, ct_rng *rng);

/* Positions, for layers that ignore the order of steps. Learned: x (B,T,width) plus the first T
 * rows of weight (steps,width), initially N(0,0.02^2); T at most `steps`. */
ct_module *ct_position_embedding_create(int64_t steps, int64_t width);
ct_tensor *ct_position_embedding(ct_module *positions, ct_tensor *x);
/* (steps,width) of f32 or f64, a constant to be added to (B,steps,width): sin(t / 10000^(2i/width))
 * in column 2i of row t, the cosine in column 2i+1 (Vaswani et al. 2017). */
ct_tensor *ct_sinusoidal_positions(ct_dtype dtype, ct_device device, int64_t steps, int64_t width);

/* What evaluation normalises by: the running statistics, or, as training does, those of the batch
 * at hand, towards which the running ones then move too. */
typedef enum { CT_RUNNING_STATISTICS, CT_BATCH_STATISTICS } ct_batch_norm_statistics;
/* Batch norm over all dimensions but `axis` (1 for PyTorch's (B,C) and (B,C,L); -1 for channels
 * last). weight 1, bias 0, running_mean, running_var (unbiased), num_batches_tracked. */
typedef struct {
    double momentum; /* of the running statistics, 0 (they stay) to 1; default 0.1 */
    double eps;      /* 0 or more; default 1e-5 */
    int axis;        /* of the channels; default 1 */
    ct_batch_norm_statistics statistics; /* default CT_RUNNING_STATISTICS */
} ct_batch_norm_options;
ct_batch_norm_options ct_batch_norm_defaults(void);
ct_module *ct_batch_norm_create(int64_t channels, const ct_batch_norm_options *options);
ct_tensor *ct_batch_norm(ct_module *norm, ct_tensor *x);
/* The same for the rows of x (R,C) whose mask (R,1) u8 is 1, as if there were no others; the others
 * become 0, whatever they hold. The mask is not read on the host; at least two rows must count. */
ct_tensor *ct_batch_norm_masked(ct_module *norm, ct_tensor *x, ct_tensor *mask);
/* Over the last dimension; weight 1, bias 0. */
typedef struct {
    double eps; /* 0 or more; default 1e-5 */
} ct_layer_norm_options;
ct_layer_norm_options ct_layer_norm_defaults(void);
ct_module *ct_layer_norm_create(int64_t width, const ct_layer_norm_options *options);
ct_tensor *ct_layer_norm(ct_module *norm, ct_tensor *x);
ct_module *ct_dropout_create(double p);
ct_tensor *ct_dropout(ct_module *dropout, ct_tensor *x);
/* Stochastic depth (Huang et al. 2016), timm's drop_path: each sample of x (B,...) becomes 0 with
 * probability p, 0 to 1, else x/(1-p). Drawn from rng (NULL: the default generator) under `name`;
 * p = 0 returns x itself. NULL and an error for another p, for integers, or for a scalar x. */
ct_tensor *ct_drop_path_with(ct_tensor *x, double p, ct_rng *rng, const char *name);
/* x / |x| along an axis; no parameters */
ct_module *ct_l2_normalize_create(int axis);

/* (B,T,in) -> (B,T',out), channels last; weight (out,in,kernel), bias (out). */
typedef struct {
    int64_t stride, dilation; /* 1 to 2^31 - 1; default 1 */
    int64_t padding;          /* both sides, 0 or more; ignored when causal; default 0 */
    bool causal;              /* default false */
    bool bias;                /* default true */
} ct_conv1d_options;
ct_conv1d_options ct_conv1d_defaults(void);
ct_module *ct_conv1d_create(int64_t in, int64_t out, int64_t kernel,
                            const ct_conv1d_options *options);
ct_tensor *ct_conv1d(ct_module *conv, ct_tensor *x);

/* Pictures (B,in,H,W) -> (B,out,H',W'), as PyTorch's Conv2d with a square kernel; weight
 * (out,in/groups,kernel,kernel), bias (out). */
typedef struct {
    int64_t stride, dilation; /* 1 to 2^31 - 1; default 1 */
    int64_t padding;          /* on all sides, 0 or more; default 0 */
    int64_t groups;           /* divides in and out; default 1 */
    bool bias;                /* default true */
} ct_conv2d_options;
ct_conv2d_options ct_conv2d_defaults(void);
ct_module *ct_conv2d_create(int64_t in, int64_t out, int64_t kernel,
                            const ct_conv2d_options *options);
ct_tensor *ct_conv2d(ct_module *conv, ct_tensor *x);
/* activation(norm(conv(x)) + added), where `norm` is a batch norm over conv's outputs and `added`
 * (B,out,H',W') or NULL: what a convolutional network is made of. Where the norm has running
 * statistics and nothing is recorded (evaluation under CT_NO_GRAD, or of parameters that need no
 * gradient) it is one convolution whose weight and bias have the norm in them. */
ct_tensor *ct_conv2d_norm(ct_module *conv, ct_module *norm, ct_tensor *x, ct_tensor *added,
                          ct_activation activation);

/* Square patches of pictures, each as a vector (Dosovitskiy et al. 2021): (B,in,H,W) ->
 * (B,N,width), N = H/patch * W/patch, row after row; both sides are multiples of the patch. One
 * convolution, timm's names: proj.weight (width,in,patch,patch), proj.bias. */
ct_module *ct_patch_embedding_create(int64_t in, int64_t width, int64_t patch);
ct_tensor *ct_patch_embedding(ct_module *embedding, ct_tensor *x);

/* A residual block of a convolutional network (He et al. 2016), as torchvision's: pictures
 * (B,in,H,W) -> relu(x + norm(conv(...))), each convolution followed by batch norm. Basic: two 3x3
 * convolutions, (B,width,H',W'). Bottleneck: 1x1, 3x3, 1x1, (B,4*width,H',W'). Children conv1, bn1,
 * conv2, bn2 (conv3, bn3), and downsample.0, downsample.1 for x where its shape is another. Weights
 * ~ N(0, 2 / fan_out). H' = H / stride, rounded up. In evaluation as ct_conv2d_norm. */
typedef struct {
    int64_t stride;  /* of a 3x3 convolution, the first there is; default 1 */
    bool bottleneck; /* default false */
} ct_residual_block_options;
ct_residual_block_options ct_residual_block_defaults(void);
ct_module *ct_residual_block_create(int64_t in, int64_t width,
                                    const ct_residual_block_options *options);
ct_tensor *ct_residual_block(ct_module *block, ct_tensor *x);
/* With stochastic depth: norm(conv(...)) goes through ct_drop_path_with, whose p, rng and name
 * these are, before x is added, as timm's drop_path. */
ct_tensor *ct_residual_block_with(ct_module *block, ct_tensor *x, double p, ct_rng *rng,
                                  const char *name);

/* Pooling of pictures (B,C,H,W) -> (B,C,H',W') as modules, for chains: ct_forward runs them, and
 * ct_max_pool2d, ct_avg_pool2d and ct_adaptive_avg_pool2d of autograd/autograd.h do the same
 * without one. Kernel (of both sides) and stride 1 to 2^31 - 1; formulas in tensor/fused/fused.h.
 */
typedef struct {
    int64_t padding;  /* on all sides, 0 to half of what the kernel spans; default 0 */
    int64_t dilation; /* 1 to 2^31 - 1; default 1 */
    bool ceil_mode;   /* sizes rounded up; default false */
} ct_max_pool2d_options;
ct_max_pool2d_options ct_max_pool2d_defaults(void);
ct_module *ct_max_pool2d_create(int64_t kernel, int64_t stride,
                                const ct_max_pool2d_options *options);
typedef struct {
    int64_t padding;        /* on all sides, 0 to half of the kernel; default 0 */
    bool ceil_mode;         /* sizes rounded up; default false */
    bool count_include_pad; /* the padding counts as zeros; default true */
} ct_avg_pool2d_options;
ct_avg_pool2d_options ct_avg_pool2d_defaults(void);
ct_module *ct_avg_pool2d_create(int64_t kernel, int64_t stride,
                                const ct_avg_pool2d_options *options);
/* To (B,C,rows,columns) whatever H and W are, 1 to 2^31 - 1 each; 1 and 1: the mean of all. */
ct_module *ct_adaptive_avg_pool2d_create(int64_t rows, int64_t columns);

/* Replaces the parameter `weight` of a linear or conv1d by weight_g, weight_v (Salimans and
 * Kingma 2016), as torch.nn.utils.weight_norm. Returns module. */
ct_module *ct_weight_norm_apply(ct_module *module);

/* Children run one after the other; add them with ct_module_add. */
ct_module *ct_sequential_create(void);
/* A pointwise activation as a module, by name: relu, tanh, sigmoid, gelu, silu, elu, ... */
ct_module *ct_activation_create(const char *name);

/* ---- batches: nn/data/batcher.c ----------------------------------------------------------
 *
 *     ct_tensor *arrays[] = {images, labels}, *batch[2];
 *     ct_batcher *batcher = ct_batcher_create(arrays, 2, NULL);
 *     for (int64_t epoch = 0; epoch < 10; epoch++) {
 *         ct_batcher_start(batcher, epoch, 0);
 *         for (bool more = true; more;) CT_SCOPE {
 *             more = ct_batcher_next(batcher, batch);
 *             if (more) train(batch[0], batch[1]);
 *         }
 *     }
 */

typedef struct {
    int64_t batch;    /* examples a batch, 1 or more; default 32 */
    bool shuffle;     /* in an order drawn from (seed, epoch); default true */
    bool drop_last;   /* leaves out an epoch's last batch if it is smaller; default false */
    uint64_t seed;    /* default 0 */
    ct_device device; /* where batches are given; default CT_CPU */
} ct_batcher_options;
ct_batcher_options ct_batcher_defaults(void); /* the defaults above */

/* Batches of rows from `count` CPU tensors of any dtypes, (examples,...), all with the same number
 * of examples: rows i belong together. They may be memory-mapped (ct_npy_open): a thread reads two
 * batches ahead. The batcher keeps them; they must not change meanwhile. For one thread at a time.
 */
typedef struct ct_batcher ct_batcher;
ct_batcher *ct_batcher_create(ct_tensor *const *arrays, int count,
                              const ct_batcher_options *options);
void ct_batcher_destroy(ct_batcher *batcher);
int64_t ct_batcher_batches(const ct_batcher *batcher); /* in an epoch; 0 for NULL */
/* Goes to batch `first` of `epoch`, both from 0; needed before the first ct_batcher_next of each
 * epoch. The same epoch of the same seed has the same batches, wherever it is begun. */
bool ct_batcher_start(ct_batcher *batcher, int64_t epoch, int64_t first);
/* The next batch into batch[0] to batch[count - 1], (B,...) each, new tensors in the innermost
 * scope; false with NULLs at the epoch's end (no error), or on error. */
bool ct_batcher_next(ct_batcher *batcher, ct_tensor **batch);
/* Where it goes on, for a checkpoint: what ct_batcher_start takes. */
void ct_batcher_position(const ct_batcher *batcher, int64_t *epoch, int64_t *next);

/* ---- initialisers: fill a tensor in place, drawn from rng -------------------------------- */

/* For f32 or f64 of any shape (a constant: of any dtype). False with an error for NULL, or numbers
 * that make no sense. */
bool ct_init_uniform(ct_tensor *x, double low, double high, ct_rng *rng);
bool ct_init_normal(ct_tensor *x, double mean, double std, ct_rng *rng);
bool ct_init_constant(ct_tensor *x, double value);
/* fan_in = size / dim 0, fan_out = size / dim 1, for shape (out,in,...) */
bool ct_init_xavier_uniform(ct_tensor *x, double gain, ct_rng *rng);
bool ct_init_xavier_normal(ct_tensor *x, double gain, ct_rng *rng);
bool ct_init_kaiming_uniform(ct_tensor *x, double slope, ct_rng *rng); /* leaky relu slope */
bool ct_init_kaiming_normal(ct_tensor *x, double slope, ct_rng *rng);
/* The same with fan_out (PyTorch's mode fan_out, which groups do not divide). */
bool ct_init_kaiming_normal_out(ct_tensor *x, double slope, ct_rng *rng);

/* ---- losses ----------------------------------------------------------------------------- */

typedef enum { CT_REDUCE_MEAN, CT_REDUCE_SUM, CT_REDUCE_NONE } ct_loss_reduction;

typedef struct {
    double smoothing; /* 0 to 1; default 0 */
    bool ignore; /* rows labelled ignore_index do not count, in the mean either; default false */
    int64_t ignore_index;        /* default -100 */
    ct_loss_reduction reduction; /* default CT_REDUCE_MEAN */
} ct_cross_entropy_options;
ct_cross_entropy_options ct_cross_entropy_defaults(void); /* the defaults above */
/* logits (...,V), labels (...) i64. No counted row: the mean is 0. */
ct_tensor *ct_cross_entropy(ct_tensor *logits, ct_tensor *labels,
                            const ct_cross_entropy_options *options);
/* binary cross-entropy of logits, in the form without overflow; targets in [0,1] */
ct_tensor *ct_bce_with_logits(ct_tensor *logits, ct_tensor *targets, ct_loss_reduction reduction);
ct_tensor *ct_mse(ct_tensor *prediction, ct_tensor *target, ct_loss_reduction reduction);

/* ---- distributions ----------------------------------------------------------------------- */

/* logits (...,K); sample (...) i64 */
ct_tensor *ct_categorical_sample(ct_tensor *logits, ct_rng *rng, const char *name);
ct_tensor *ct_categorical_log_prob(ct_tensor *logits, ct_tensor *value);
ct_tensor *ct_categorical_entropy(ct_tensor *logits);
/* (...,K) softmax((logits + gumbel)/temperature); hard: its one-hot argmax in value, its own
 * gradient (straight through) */
ct_tensor *ct_gumbel_softmax(ct_tensor *logits, double temperature, bool hard, ct_rng *rng,
                             const char *name);
ct_tensor *ct_normal_sample(ct_tensor *mean, ct_tensor *std, ct_rng *rng, const char *name);
/* mean + std * noise, differentiable in both */
ct_tensor *ct_normal_rsample(ct_tensor *mean, ct_tensor *std, ct_rng *rng, const char *name);
ct_tensor *ct_normal_log_prob(ct_tensor *x, ct_tensor *mean, ct_tensor *std);
ct_tensor *ct_normal_entropy(ct_tensor *std);

/* ---- optimisers -------------------------------------------------------------------------- */

/* For the parameters that the module has now; it must outlive the steps. */
typedef struct ct_optimizer ct_optimizer;

/* Numbers are 0 or more, betas below 1. Adam's weight decay is added to the gradient, AdamW's
 * taken off the parameter. */
typedef struct {
    double lr;           /* default 1e-3 */
    double beta1, beta2; /* default 0.9, 0.999 */
    double eps;          /* default 1e-8 */
    double weight_decay; /* default 0; AdamW: 0.01 */
} ct_adam_options;
typedef ct_adam_options ct_adamw_options;
typedef struct {
    double lr;           /* default 1e-3 */
    double momentum;     /* default 0 */
    double weight_decay; /* default 0 */
    bool nesterov;       /* needs a momentum; default false */
} ct_sgd_options;
ct_adam_options ct_adam_defaults(void);
ct_adamw_options ct_adamw_defaults(void);
ct_sgd_options ct_sgd_defaults(void);
ct_optimizer *ct_adam_create(ct_module *module, const ct_adam_options *options);
ct_optimizer *ct_adamw_create(ct_module *module, const ct_adamw_options *options);
ct_optimizer *ct_sgd_create(ct_module *module, const ct_sgd_options *options);
void ct_optimizer_destroy(ct_optimizer *optimizer);
/* Parameter groups: the parameters whose dotted names match a shell pattern ("*.bias", "image.*"; a
 * star matches dots too). A setting holds from the next step on and replaces an earlier one; no
 * match is an error. Call these before a step is recorded (below). */
/* Their learning rate is `factor` times the optimiser's, now and as it is set later. */
bool ct_optimizer_group_lr(ct_optimizer *optimizer, const char *pattern, double factor);
/* Their weight decay, in place of the optimiser's. */
bool ct_optimizer_group_weight_decay(ct_optimizer *optimizer, const char *pattern,
                                     double weight_decay);
/* How often a step updates them, 0 to 100. 0: they and their gradients stay as they are and do not
 * count in the norm. n: as in PyTorch if they are listed n times: a gradient counts n times in the
 * norm, is scaled by the clipping factor n times, and then makes n updates (Adam's moments and step
 * count advance n times). */
bool ct_optimizer_group_updates(ct_optimizer *optimizer, const char *pattern, int updates);
/* Gradients are scaled by min(1, norm/(total+1e-6)) over all parameters; 0: no clipping; below 0 or
 * NaN: an error, and nothing changes. */
void ct_optimizer_clip_norm(ct_optimizer *optimizer, double norm);
/* Updates the parameters and drops their gradients. A parameter without gradient is skipped. A
 * gradient that is not finite is an error (on the CPU one that names its parameter; on a device it
 * shows when something is next read from there); nothing is changed then, nor if the thread already
 * has an error. Waits for no device. */
bool ct_optimizer_step(ct_optimizer *optimizer);
/* The same in three parts, for a step that is recorded (tensor/device/capture.h) and repeated.
 * Before each repetition, `prepare` writes what changes (learning rate, bias corrections) where the
 * device reads it. Only `update` is recorded, and not before a whole step was taken, which creates
 * the moments. After each repetition, `count` counts its updates. */
bool ct_optimizer_prepare(ct_optimizer *optimizer);
bool ct_optimizer_update(ct_optimizer *optimizer);
void ct_optimizer_count(ct_optimizer *optimizer);
/* Between backward and the step, where ranks share a batch (tensor/ranks/ranks.h): each gradient
 * by which something is updated becomes the sum of all ranks'; one that only some of them have, of
 * those. Sums are in the order of ranks, f32 in f64, to the same bits on each. Gradients are views
 * of one buffer afterwards. On cuda the same parameters have gradients on all ranks, and they are
 * added up in place, as tensor/ranks/ranks.h says of sums there; in a capture that is part of it.
 * With one rank nothing to do; false and an error if the ranks are not reached. */
bool ct_optimizer_all_reduce(ct_optimizer *optimizer);
/* Before that backward, on all ranks: gradients are handed over as soon as they are complete
 * (ct_add_hook), and added up while the rest is computed; ct_optimizer_all_reduce finishes it, to
 * the same bits as alone. Of several backwards before a step, the last one's: a gradient that was
 * there counts, and one that is added to later is an error. The first time only tells in which
 * order gradients come. On cuda nothing is begun. */
bool ct_optimizer_all_reduce_begin(ct_optimizer *optimizer);
/* The dtype in which gradients are sent: CT_F32 or CT_BF16, if that is shorter than they are, or
 * CT_F64, the default: as they are. Each rank's gradient is rounded to it, and so is the sum, made
 * in f64. The same on all ranks. False and an error for another; on cuda for any but CT_F64. */
bool ct_optimizer_wire(ct_optimizer *optimizer, ct_dtype wire);
/* How many bytes of gradients, 1 to 2^30, are added up at once; default 1 MiB. The same on all
 * ranks.
 */
bool ct_optimizer_bucket(ct_optimizer *optimizer, int64_t bytes);
/* The total gradient norm in the last step, before clipping; 0 before the first, or for NULL. Waits
 * for the device. */
double ct_optimizer_grad_norm(const ct_optimizer *optimizer);
/* lr is a finite number of 0 or more; else an error, and it stays as it was. */
void ct_optimizer_set_lr(ct_optimizer *optimizer, double lr);
double ct_optimizer_lr(const ct_optimizer *optimizer);
/* Its state, for checkpoints: moments under "exp_avg.NAME", "exp_avg_sq.NAME",
 * "momentum_buffer.NAME", i64 "step.NAME". ct_optimizer_visit is as ct_module_visit;
 * ct_optimizer_set_state copies one tensor in. A parameter that never got a gradient has no state.
 * The learning rate is the caller's. False and an error for NULL, or for what does not fit. */
bool ct_optimizer_visit(ct_optimizer *optimizer, ct_state_visitor visit, void *context);
bool ct_optimizer_set_state(ct_optimizer *optimizer, const char *name, const ct_tensor *value);

/* ---- checkpoints: nn/optim/training.c ---------------------------------------------------------
 *
 *     int64_t step = 0;
 *     ct_training_number numbers[] = {{"step", .integer = &step}};
 *     ct_training training = {net, adamw, ct_default_rng(), numbers, 1};
 *     if (there is a file) ct_training_load("training.safetensors", &training);
 *     for (; step < steps; step++) ...
 *     ct_training_save("training.safetensors", &training);
 */

/* A number of your own: one of the two pointers. */
typedef struct {
    const char *name;
    int64_t *integer;
    double *real;
} ct_training_number;

/* What a training resumes from; any of it may be left out, as NULL or 0. */
typedef struct {
    ct_module *module;       /* parameters and buffers */
    ct_optimizer *optimizer; /* moments and step counts, not learning rate and groups */
    ct_rng *rng;             /* ct_default_rng(), say: seed, stream, offset */
    const ct_training_number *numbers;
    int number_count;
    /* For saving: more texts for the file's metadata, a NULL-ended list key, value, ...; or NULL.
     */
    const char *const *notes;
} ct_training;

/* Writes all of it to one safetensors file, as tensor/io/files.h says: the file that was there
 * before stays until this one is whole. False on error. */
bool ct_training_save(const char *path, const ct_training *training);
/* Reads it back, to the same bits. Names, shapes, dtypes and numbers are checked first: nothing is
 * changed unless all of it is there and fits. Anything else in the file is ignored. False on error.
 */
bool ct_training_load(const char *path, const ct_training *training);
/* The same for one of them alone, which can also be loaded from the file of a whole training. */
bool ct_optimizer_save(ct_optimizer *optimizer, const char *path);
bool ct_optimizer_load(ct_optimizer *optimizer, const char *path);
bool ct_rng_save(const ct_rng *rng, const char *path);
bool ct_rng_load(ct_rng *rng, const char *path);

/* ---- schedules: the learning rate at a step, as pure functions ---------------------------- */
/* Steps and rates are 0 or more; else an error, and 0. */

/* lr times `factor` once more after each `every` steps; lr itself where `every` is 0 */
double ct_schedule_step(double lr, int64_t step, int64_t every, double factor);
/* from lr at step 0 along half a cosine to `floor` at step `steps`, where it stays */
double ct_schedule_cosine(double lr, int64_t step, int64_t steps, double floor);
/* multiplies by (step+1)/warmup while step < warmup */
double ct_schedule_warmup(double lr, int64_t step, int64_t warmup);

CT_END_DECLS

#endif
