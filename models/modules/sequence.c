/* SPDX-License-Identifier: Apache-2.0 */
/* Module kinds that look at a whole sequence: words, gcn, conv1d. */
#include "models/modules/modules.h"
#include "nn/packed.h"

/* ---- which steps are real ------------------------------------------------------------------- */

ct_tensor *ct_step_mask(const ct_graph_state *state, const ct_tensor *x) {
    if (!state->lengths || !x) return NULL;
    ct_tensor *within = ct_steps_within(state->lengths, 0, ct_dim(x, 1), x->device);
    return ct_tensor_unsqueeze(ct_tensor_cast(within, x->dtype), 2);
}

ct_tensor *ct_mask_steps(const ct_graph_state *state, ct_tensor *x) {
    return state->lengths ? ct_mul(x, ct_step_mask(state, x)) : x;
}

/* ---- words ---------------------------------------------------------------------------------- */
/* Learned: `weight` (V,E) ~ U(-0.1,0.1). Fixed: the buffer `vectors` (V,E), and one learned vector
 * `unknown` (1,E) for all words without a vector, which the buffer `is_unknown` (V,1) marks; <pad>
 * is zero. */

enum { WORDS_WIDTH, WORDS_VECTORS };
static const ct_option words_options[] = {
    {"width", CT_OPTION_INTEGER, NULL, 1, 1 << 16, NULL},
    {"vectors", CT_OPTION_TEXT, NULL, 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool words_fixed(ct_graph_node *node, const ct_model_sizes *sizes) {
    const ct_tensor *vectors = sizes->word_vectors;
    if (ct_ndim(vectors) != 2 || ct_dim(vectors, 0) != sizes->vocabulary ||
        vectors->dtype != CT_F32 || !sizes->word_known)
        return ct_fail_at(node->place, "word vectors are %s, expected f32 (%lld,E) with flags",
                          ct_tensor_text(vectors), (long long)sizes->vocabulary) != NULL;
    int64_t width = ct_number_or(node, WORDS_WIDTH, ct_dim(vectors, 1));
    if (width != ct_dim(vectors, 1))
        return ct_fail_at(node->place, "width is %lld, but the word vectors have %lld numbers",
                          (long long)width, (long long)ct_dim(vectors, 1)) != NULL;
    node->out = width;
    if (!ct_graph_own(node, ct_module_create("words"))) return false;
    CT_SCOPE {
        ct_tensor *flags = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(sizes->vocabulary, 1));
        ct_tensor *fixed = ct_tensor_copy(vectors);
        ct_tensor *unknown = ct_empty(CT_F32, CT_CPU, CT_SHAPE(1, width));
        if (!flags || !fixed || !ct_init_uniform(unknown, -0.1, 0.1, ct_default_rng()))
            return false;
        for (int64_t word = 0; word < sizes->vocabulary; word++) {
            if (word > 0 && sizes->word_known[word]) continue;
            ct_set(flags, word, word > 0);
            ct_tensor_fill(ct_tensor_slice(fixed, 0, word, word + 1, 1), 0);
        }
        return ct_module_buffer(node->module, "vectors", fixed) &&
               ct_module_buffer(node->module, "is_unknown", flags) &&
               ct_module_parameter(node->module, "unknown", unknown);
    }
    return false;
}

static bool words_create(ct_graph_node *node, const ct_graph_context *context) {
    const ct_model_sizes *sizes = context->sizes;
    if (node->value[WORDS_VECTORS].given) {
        if (sizes->word_vectors) return words_fixed(node, sizes);
        return ct_fail_at(node->place, "'vectors' is given, but no word vectors were loaded") !=
               NULL;
    }
    node->out = ct_number_or(node, WORDS_WIDTH, 300);
    if (!ct_graph_own(node, ct_embedding_create(sizes->vocabulary, node->out))) return false;
    return ct_init_uniform(ct_module_tensor(node->module, "weight"), -0.1, 0.1, ct_default_rng());
}

static ct_tensor *packed_if(const ct_graph_state *state, ct_tensor *x) {
    return state->packs ? ct_pack_steps(&state->packing, x) : x;
}

static ct_tensor *words_given(const ct_graph_node *node, ct_tensor *vectors) {
    if (ct_ndim(vectors) != 3 || ct_dim(vectors, 2) != node->out)
        return ct_fail("words: vectors are %s, expected (B,T,%lld)", ct_tensor_text(vectors),
                       (long long)node->out);
    return vectors;
}

static ct_tensor *words_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)x;
    const ct_batch *batch = state->batch;
    ct_tensor *words = batch->vectors ? NULL : packed_if(state, batch->words);
    if (batch->vectors) {
        state->word_vectors = packed_if(state, words_given(node, batch->vectors));
    } else if (!node->value[WORDS_VECTORS].given) {
        state->word_vectors = ct_embedding(node->module, words);
    } else {
        ct_tensor *unknown = ct_module_tensor(node->module, "unknown");
        ct_tensor *fixed = ct_embedding_with(ct_module_tensor(node->module, "vectors"), words, -1);
        ct_tensor *is_unknown =
            ct_embedding_with(ct_module_tensor(node->module, "is_unknown"), words, -1);
        state->word_vectors = ct_add(fixed, ct_mul(is_unknown, unknown));
    }
    return state->word_vectors;
}

const ct_graph_kind ct_kind_words = {.name = "words",
                                     .place = CT_GIVES_WORDS | CT_TAKES_PACKED,
                                     .options = words_options,
                                     .create = words_create,
                                     .forward = words_forward,
                                     .flops = ct_no_flops};

/* ---- gcn ------------------------------------------------------------------------------------ */

enum { GCN_INNER };
static const ct_option gcn_options[] = {
    {"inner", CT_OPTION_INTEGER, NULL, 1, 1 << 20, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool gcn_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = node->in;
    return ct_graph_own(node,
                        ct_region_gcn_create(node->in, ct_number_or(node, GCN_INNER, node->in)));
}

static ct_tensor *gcn_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    (void)state;
    return ct_region_gcn(node->module, x);
}

static double gcn_flops(const ct_graph_node *node, double rows, double steps) {
    double width = (double)node->in, inner = (double)ct_number_or(node, GCN_INNER, node->in);
    return 2 * ct_region_gcn_work(rows * steps, width, inner) +
           2 * rows * 2 * steps * steps * inner;
}

const ct_graph_kind ct_kind_gcn = {.name = "gcn",
                                   .place = CT_NEEDS_SEQUENCE | CT_IMAGE_ONLY,
                                   .options = gcn_options,
                                   .create = gcn_create,
                                   .forward = gcn_forward,
                                   .flops = gcn_flops};

/* ---- conv1d --------------------------------------------------------------------------------- */
/* Keeps the number of steps: zeros around the sequence, before it alone if causal. */

enum { CONV1D_WIDTH, CONV1D_KERNEL, CONV1D_DILATION, CONV1D_CAUSAL };
static const ct_option conv1d_options[] = {
    {"width", CT_OPTION_INTEGER, NULL, 1, 1 << 20, NULL},
    {"kernel", CT_OPTION_INTEGER, "3", 1, 1024, NULL},
    {"dilation", CT_OPTION_INTEGER, "1", 1, 1024, NULL},
    {"causal", CT_OPTION_FLAG, "no", 0, 0, NULL},
    {NULL, 0, NULL, 0, 0, NULL},
};

static bool conv1d_create(ct_graph_node *node, const ct_graph_context *context) {
    (void)context;
    node->out = ct_number_or(node, CONV1D_WIDTH, node->in);
    int64_t kernel = (int64_t)ct_number(node, CONV1D_KERNEL);
    int64_t dilation = (int64_t)ct_number(node, CONV1D_DILATION);
    bool causal = ct_flag(node, CONV1D_CAUSAL);
    if (!causal && kernel % 2 == 0)
        return ct_fail_at(node->place, "kernel is %lld, expected an odd number (or causal=yes)",
                          (long long)kernel) != NULL;
    ct_conv1d_options options = ct_conv1d_defaults();
    options.dilation = dilation;
    options.causal = causal;
    options.padding = dilation * (kernel - 1) / 2;
    return ct_graph_own(node, ct_conv1d_create(node->in, node->out, kernel, &options));
}

static ct_tensor *conv1d_forward(const ct_graph_node *node, ct_graph_state *state, ct_tensor *x) {
    if (ct_is_packed(node, state)) return ct_conv1d_packed(node->module, x, state->lengths);
    return ct_conv1d(node->module, ct_mask_steps(state, x));
}

static double conv1d_flops(const ct_graph_node *node, double rows, double steps) {
    return 2 * rows * steps * (double)node->in * (double)node->out * ct_number(node, CONV1D_KERNEL);
}

const ct_graph_kind ct_kind_conv1d = {.name = "conv1d",
                                      .place = CT_NEEDS_SEQUENCE | CT_TAKES_PACKED,
                                      .options = conv1d_options,
                                      .create = conv1d_create,
                                      .forward = conv1d_forward,
                                      .flops = conv1d_flops};
