/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of modules: how [image] and [text] are built and run. Internal to models/.
 *
 * A module kind is one ct_graph_kind: its options, a constructor that also gives the output width
 * (the shape rule), a forward and its work. All kinds stand in the table of
 * models/graph/registry.c; adding one is one record and one line there. From outside the tree they
 * are registered (models/register.h).
 */
#ifndef CT_MODELS_GRAPH_H
#define CT_MODELS_GRAPH_H

#include "models/graph/options.h"

/* ---- [compat]: models/released/compat.c ------------------------------------------------------ */

/* Each switch: false is this project's default, true what the released code does. */
typedef enum {
    CT_COMPAT_L2NORM_REGIONS,  /* l2norm over the regions, not over the features */
    CT_COMPAT_NO_FIRST_L2NORM, /* [image]'s first l2norm is left out */
    CT_COMPAT_SECOND_SAMPLE,   /* log pi_c at a second sample, not at the applied one */
    CT_COMPAT_LAST_HEAD,       /* the image's continuous loss keeps the last head only */
    CT_COMPAT_PADDED_STEPS,    /* the text policy runs over padded positions too */
    CT_COMPAT_DECODER_FIXED,   /* the decoder is not trained */
    CT_COMPAT_BATCH_EVAL,      /* the image's batch norm uses the batch in evaluation too */
    CT_COMPAT_PAD_TARGET,      /* one padding target after <end> counts for the decoder */
    CT_COMPAT_COLUMN_MAXIMUM,  /* within-modality hinge: row's diagonal, column's maximum */
    CT_COMPAT_COSINE_REWARD,   /* reward ranks are cosine whatever the measure */
    CT_COMPAT_TOKENS,          /* captions are split with the bytes prefix of Python 3 */
    CT_COMPAT_DROP_UNKNOWN,    /* words without a vector are dropped, but counted */
    CT_COMPAT_CLASSES,         /* 113288 classes, numbered from 1 */
    CT_COMPAT_NAN_GRADIENT,    /* order similarity: NaN gradients where two vectors are equal */
    CT_COMPAT_REPORT,          /* evaluation reports what the released code prints */
    CT_COMPAT_RESUME,          /* resuming takes up the encoders alone */
    CT_COMPAT_DECODER_TWICE,   /* the decoder's parameters are clipped and updated twice */
    CT_COMPAT_COUNT
} ct_compat_switch;

typedef struct {
    bool released[CT_COMPAT_COUNT];
} ct_compat;

bool ct_compat_read(const ct_description *description, ct_compat *compat);

/* ---- running -------------------------------------------------------------------------------- */

enum { CT_STEPS_ON_DEVICE = -1 };

/* What a policy attention leaves for the losses. The first two are differentiable; NULL without
 * that part of the policy, and in evaluation. */
typedef struct {
    ct_tensor *log_discrete, *log_continuous; /* (B,S,H) */
    ct_tensor *weight;                        /* (B,S,H), constant */
    ct_tensor *index;                         /* (B,S,H) i64, or NULL without discrete actions */
    ct_tensor *valid;                         /* (B,S,1), 1 where a step counts, or NULL: all do */
    int64_t steps; /* that count, over the batch; CT_STEPS_ON_DEVICE: only `valid` tells */
} ct_policy_output;

/* How captions are packed (tensor/fused/fused.h): only their R words are there, as rows (R,..), and
 * no padding. models/graph/packing.c */
typedef struct {
    int64_t batch, steps; /* of what they are without, (B,S,..) */
    ct_tensor *positions; /* (R) i64: where a row stands among those B*S */
    ct_tensor *rows;      /* (B*S) i64: the row that stands there, R for none */
} ct_packing;

/* lengths (B) i64 on the CPU. The tensors belong to the scope. */
bool ct_packing_make(ct_packing *packing, const ct_tensor *lengths, int64_t steps,
                     ct_device device);
/* (B,S,..) -> (R,..), and back with zeros where there is padding. */
ct_tensor *ct_pack_steps(const ct_packing *packing, ct_tensor *x);
ct_tensor *ct_unpack_steps(const ct_packing *packing, ct_tensor *x);

typedef struct {
    const ct_batch *batch; /* words or vectors, for [text] */
    ct_tensor *lengths;    /* (B) i64, see ct_batch; NULL: every step is real */
    bool packs;            /* by `packing`, what modules before the pool are given */
    ct_packing packing;
    ct_rng *rng;
    bool training;
    ct_tensor *word_vectors; /* (B,T,E), or packed, what `words` gave: the decoder reads them */
    ct_policy_output policy;
} ct_graph_state;

/* Whether the lengths are on a device: what depends on them is then computed there, in shapes that
 * do not depend on them, and nothing is read (models.h, ct_batch). */
static inline bool ct_lengths_on_device(const ct_tensor *lengths) {
    return lengths && lengths->device != CT_CPU;
}
/* (B,S,1) of x's dtype and device: 1 for steps within lengths, else 0. NULL without lengths. */
ct_tensor *ct_step_mask(const ct_graph_state *state, const ct_tensor *x);

/* ---- a module in its chain ------------------------------------------------------------------ */

typedef struct ct_graph_kind ct_graph_kind;

typedef struct {
    const ct_graph_kind *kind;
    const ct_compat *compat;
    char name[64]; /* "gcn.0"; of a sum's parts "pool.gru" */
    ct_option_value value[CT_MAX_OPTIONS];
    ct_module *module;      /* belongs to the model; NULL without parameters or buffers */
    char *weights;          /* of a backbone: the file that it starts from, from malloc; or NULL */
    bool image;             /* in [image] */
    bool adds;              /* its result is added to that of the node before, on the same input */
    bool pooled;            /* its input is one vector a sample */
    bool pictures;          /* its input is (B,in,side,side) */
    bool checkpointed;      /* it is run again in backward instead of keeping what that needs */
    int64_t in, out;        /* widths; of pictures, channels */
    int64_t side, out_side; /* of pictures; behind them out_side^2 regions are given */
    int64_t parameters;
    ct_place place; /* its strings belong to the description: for messages while building */
} ct_graph_node;

/* What a constructor may ask of its surroundings. */
typedef struct {
    const ct_model_sizes *sizes;
    int64_t pool_width; /* of a gru, lstm or bigru without `width` */
} ct_graph_context;

/* Beside those of models/register.h. */
enum {
    CT_GIVES_WORDS = 8,     /* begins [text], and nothing else does */
    CT_GIVES_PICTURES = 16, /* begins [image], where that is of pictures */
    CT_NEEDS_PICTURES = 32, /* is given (B,in,side,side) */
    CT_FITS_PICTURES = 64,  /* may be given them */
    CT_GIVES_REGIONS = 128, /* makes (B,S,out) of them */
    CT_IS_BACKBONE = 256,   /* a network of models/backbones.h */
    CT_TAKES_PACKED = 512   /* may be given (R,in), and then gives (R,out) or its pooled vector */
};

struct ct_graph_kind {
    const char *name;
    unsigned place;
    const ct_option *options;
    /* Sets node->out (node->in is set) and, if there are parameters, node->module. */
    bool (*create)(ct_graph_node *node, const ct_graph_context *context);
    /* x (B,S,in), or (B,in) where pooled; (R,in) where state->packs, of a kind that takes it; NULL
     * for CT_GIVES_WORDS. */
    ct_tensor *(*forward)(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x);
    /* Multiply-adds times 2 for `rows` samples of `steps` steps (1 where pooled; of pictures, the
     * places of the result). */
    double (*flops)(const ct_graph_node *node, double rows, double steps);
    ct_unary_kind unary;       /* of activations */
    const ct_module_kind *own; /* of a kind registered from outside: models/graph/own.c */
};

/* Those of models/graph/registry.c and those registered; NULL, no error, if there is none. */
const ct_graph_kind *ct_graph_kind_find(const char *name);
/* Adds one, which stays where it is; false and an error if there is one of that name. */
bool ct_graph_kind_add(const ct_graph_kind *kind);
enum { CT_MOST_OWN_KINDS = 64 };
/* False and an error for a name that is none or a table of more than `most` options. */
bool ct_own_check(const char *op, const char *name, const ct_option *options, int most);
/* Writes at most `most` names, returns how many. */
enum { CT_MOST_KINDS = 64 + CT_MOST_OWN_KINDS };
int ct_graph_kind_names(const char **names, int most);

/* Whether what a node of such a kind is given is packed. */
static inline bool ct_is_packed(const ct_graph_node *node, const ct_graph_state *state) {
    return state->packs && !node->pooled && node->kind->place & CT_TAKES_PACKED;
}

static inline double ct_number(const ct_graph_node *node, int option) {
    return node->value[option].number;
}
static inline bool ct_flag(const ct_graph_node *node, int option) {
    return node->value[option].number != 0;
}
/* The option `option` of a node whose fallback is NULL, or `otherwise`. */
static inline int64_t ct_number_or(const ct_graph_node *node, int option, int64_t otherwise) {
    return node->value[option].given ? (int64_t)node->value[option].number : otherwise;
}

/* Whether it is a backbone of which nothing is trained. */
bool ct_graph_is_frozen(const ct_graph_node *node);
/* Sets node->module and counts its parameters; false if module is NULL. */
bool ct_graph_own(ct_graph_node *node, ct_module *module);

/* ---- a chain -------------------------------------------------------------------------------- */

typedef struct {
    const char *section; /* "image" or "text" */
    ct_graph_node *node;
    int nodes;
    int64_t width;   /* of the embedding */
    int64_t regions; /* made of pictures; 0: as many as the data have */
    int front;       /* so many first nodes always give the same for a picture; 0: none */
    ct_module *module;
    const ct_graph_node *policy; /* its policy attention, or NULL */
} ct_graph_chain;

/* Builds a section ("image" or "text") for vectors of `width` numbers (0: `words` sets it). compat
 * outlives the chain. chain->module is then the caller's, until it gives it to a parent; on
 * error it is NULL. */
bool ct_graph_build(ct_graph_chain *chain, const ct_description *description, const char *section,
                    const ct_compat *compat, const ct_graph_context *context, int64_t width);
void ct_graph_free(ct_graph_chain *chain); /* not the module */
/* (B,width). x is the images, NULL for captions. */
ct_tensor *ct_graph_forward(const ct_graph_chain *chain, ct_graph_state *state, ct_tensor *x);
/* The same from node `first` on, up to node `end`, which is not run. */
ct_tensor *ct_graph_forward_part(const ct_graph_chain *chain, int first, int end,
                                 ct_graph_state *state, ct_tensor *x);
/* The node that takes such images: the first, or the one behind the chain's front. -1 and an error
 * if none does; `features` is the width of those that are no pictures. */
int ct_graph_start(const ct_graph_chain *chain, const ct_tensor *images, int64_t features);

/* ---- the policy attention: models/modules/policy.c ------------------------------------------- */

bool ct_policy_has_discrete(const ct_graph_node *policy);
bool ct_policy_has_continuous(const ct_graph_node *policy);

#endif
