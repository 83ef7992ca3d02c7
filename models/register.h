/* SPDX-License-Identifier: Apache-2.0 */
/* Modules and losses of your own in a description. Once registered,
 *
 *     [image]
 *     gate = highway bias=-1           ; a ct_module_kind called "highway"
 *
 *     [loss]
 *     spread = uniformity t=2 weight=0.1   ; a ct_loss_kind called "uniformity", under any free key
 *
 * are read, checked, built, trained, saved and named in messages as those of docs/model.md are.
 * docs/examples/own_parts.c is a whole program.
 *
 * Registering is for the whole process and for good: what is handed over stays where it is and as
 * it is. Any thread may register; models made before do not change. The functions set an error and
 * return NULL or false on failure.
 */
#ifndef CT_MODELS_REGISTER_H
#define CT_MODELS_REGISTER_H

#include "models/models.h"

CT_BEGIN_DECLS

/* ---- options: "name=value" ------------------------------------------------------------------ */

typedef enum {
    CT_OPTION_INTEGER,
    CT_OPTION_REAL,
    CT_OPTION_FLAG,   /* yes or no */
    CT_OPTION_CHOICE, /* one of `choices`; the value is its position */
    CT_OPTION_TEXT,   /* taken as it is; there while the module is made */
    CT_OPTION_TRIPLE, /* a number, which then stands for all three, or three parted by commas */
    CT_OPTION_AMOUNT  /* no (0), yes (-1: all), or a whole number of at least 1 */
} ct_option_type;

/* At most so many options a module; a loss has `weight` beside one less. */
enum { CT_MAX_OPTIONS = 8 };

typedef struct {
    const char *name; /* NULL ends a table */
    ct_option_type type;
    const char *fallback; /* the default as it would be written; NULL: depends on the graph */
    double low, high;     /* of numbers, inclusive */
    const char *choices;  /* "gumbel|categorical|none" */
} ct_option;

typedef struct {
    bool given;
    double number; /* a flag is 0 or 1, a choice its position; 0 without a default */
    double triple[3];
    const char *text; /* of CT_OPTION_TEXT, if it was given; else NULL */
} ct_option_value;

/* ---- modules of [image] and [text] ---------------------------------------------------------- */

/* Where a kind of module may stand; any of them together, or 0: anywhere. */
enum {
    CT_NEEDS_SEQUENCE = 1, /* must stand before the pool */
    CT_POOLS = 2,          /* makes one vector of the sequence */
    CT_IMAGE_ONLY = 4
};

/* A module where it stands in a description. */
typedef struct {
    const ct_option_value *option; /* one a row of the kind's table, in its order */
    int64_t in;                    /* width of each vector that it is given */
    bool image;                    /* in [image], else in [text] */
    bool pooled;                   /* behind the pool: it is given one vector a sample */
} ct_module_site;

/* What it is given in a run. */
typedef struct {
    ct_tensor *x;       /* (B,S,in), or (B,in) behind the pool */
    ct_tensor *lengths; /* (B) i64, steps of x that are no padding (see ct_batch); NULL: all */
    ct_rng *rng;        /* to draw from, never NULL */
    bool training;
} ct_module_input;

typedef struct {
    const char *name;         /* letters, digits, '_' */
    unsigned place;           /* CT_NEEDS_SEQUENCE, ... */
    const ct_option *options; /* NULL: none */
    /* Makes the module at a site, which becomes the model's, and says the width of the vectors it
     * gives (*out is `in` at first). Without parameters *module stays NULL. */
    bool (*create)(const ct_module_site *site, ct_module **module, int64_t *out);
    /* (B,S,out), or (B,out) behind the pool and of a pool. `module` is what create made. */
    ct_tensor *(*forward)(const ct_module_site *site, ct_module *module,
                          const ct_module_input *input);
    /* Multiply-adds times 2 of the forward pass for `rows` samples of `steps` steps, for
     * ct_model_table. NULL: 0. */
    double (*flops)(const ct_module_site *site, int64_t out, double rows, double steps);
} ct_module_kind;

/* False and an error if the kind lacks something or there is one of that name. */
bool ct_register_module(const ct_module_kind *kind);

/* ---- terms of [loss] ------------------------------------------------------------------------ */

/* What a term is computed of in a step. */
typedef struct {
    ct_module *module; /* what create made, or NULL */
    const ct_option_value *option;
    const ct_batch *batch;
    ct_tensor *images, *captions; /* (B,D), as rankings take them (ct_model_ranked) */
    int64_t epoch;                /* from 0 */
    ct_rng *rng;                  /* never NULL */
    bool training;
} ct_loss_input;

/* How several ranks share a term (docs/scaling.md). Whichever it is, N ranks compute what one
 * process would, and `compute` says nothing of ranks. */
typedef enum {
    CT_LOSS_OF_ONE_RANK,  /* not at all: several are refused */
    CT_LOSS_MEAN_OF_ROWS, /* a mean over pairs that do not know of each other, of as many on each
                             rank: it is given the rank's own */
    CT_LOSS_OF_ALL_ROWS   /* pairs look at each other: `images` and `captions` are all of the whole
                             batch, on every rank; only `batch` is the rank's own rows */
} ct_loss_sharing;

typedef struct {
    const char *name;         /* letters, digits, '_' */
    const ct_option *options; /* beside `weight`, which every term has; NULL: none */
    /* A module for embeddings of `width` numbers, which becomes the model's ("losses.KEY"). NULL
     * function: none is needed. */
    ct_module *(*create)(const ct_option_value *option, const ct_model_sizes *sizes, int64_t width);
    /* A scalar, in the total times the term's weight; not called under weight 0. */
    ct_tensor *(*compute)(const ct_loss_input *input);
    ct_loss_sharing sharing;
} ct_loss_kind;

/* False and an error if the kind lacks something or there is one of that name. */
bool ct_register_loss(const ct_loss_kind *kind);

CT_END_DECLS

#endif
