/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation of the registry refuses each dtype that it cannot take, one test an operation:
 * each input of each of its samples in turn is given in every other dtype. */
#include "autograd/gradcheck.h"
#include "tests/test.h"

/* What is taken beside f32 and f64 for all floating inputs alike, i64 for an index, u8 for a mask.
 */
typedef struct {
    const char *op;
    bool any_values; /* elements are only moved */
    bool i32_index;
    const char *part; /* what the error may name, if not the operation: one that it is made of */
} exception;

static const exception exceptions[] = {
    {"reshape", true, false, NULL},
    {"squeeze", true, false, NULL},
    {"unsqueeze", true, false, NULL},
    {"contiguous", true, false, NULL},
    {"expand", true, false, NULL},
    {"permute", true, false, NULL},
    {"transpose", true, false, NULL},
    {"slice", true, false, NULL},
    {"select", true, false, NULL},
    {"pad", true, false, NULL},
    {"concat", true, false, NULL},
    {"all_gather", true, false, NULL},
    {"where", true, false, NULL},
    {"cast", true, false, NULL},
    {"to_device", true, false, NULL},
    {"stack", true, false, "concat"},
    {"masked_fill", true, false, "where"},
    {"index_select", true, true, NULL},
    {"gather", true, true, NULL},
    {"embedding", true, true, "index_select"},
    {"scatter_add", false, true, NULL},
    {"prod", false, false, "concat"},
    {"weight_norm", false, false, "mul"},
    {"l2_normalize", false, false, "l2norm"},
    {"cross_entropy_rows", false, false, "cross entropy"},
    {"batch_norm_fixed", false, false, "batch norm"},
    {"checkpoint", false, false, "mul|tanh|sigmoid"},
};

static exception exception_of(const char *op) {
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++) {
        if (strcmp(exceptions[i].op, op) == 0) return exceptions[i];
    }
    return (exception){op, false, false, NULL};
}

static bool is_floating(const ct_sample_input *input) {
    return input->kind != CT_SAMPLE_INDEX && input->kind != CT_SAMPLE_MASK;
}

static ct_dtype usual_dtype(const ct_sample_input *input) {
    return input->kind == CT_SAMPLE_INDEX ? CT_I64 : input->kind == CT_SAMPLE_MASK ? CT_U8 : CT_F64;
}

static ct_tensor *make_input(const ct_sample_input *input, ct_dtype dtype) {
    ct_tensor *x = ct_empty(CT_F64, CT_CPU, input->shape);
    int64_t count = ct_count(x);
    for (int64_t i = 0; i < count; i++) {
        double at = (double)i / (double)count, value = input->lo + at * (input->hi - input->lo);
        ct_set(x, i, is_floating(input) ? value : floor(value));
    }
    return ct_tensor_cast(x, dtype);
}

typedef struct {
    const char *op;
    exception exception;
    int refused;
} walk;

/* Calls with the usual inputs but one: of another dtype, or NULL. The outputs, NULL on error. */
static bool call(const ct_sample *sample, int changed, bool given, ct_dtype dtype, ct_tensor **y) {
    ct_tensor *x[CT_SAMPLE_INPUTS] = {NULL};
    for (int i = 0; i < sample->inputs; i++) {
        ct_dtype usual = usual_dtype(&sample->input[i]);
        if (i != changed || given)
            x[i] = make_input(&sample->input[i], i == changed ? dtype : usual);
    }
    assert_no_error();
    for (int i = 0; i < CT_SAMPLE_OUTPUTS; i++) y[i] = NULL;
    return sample->function(x, sample->options, y) > 0 && y[0] && ct_ok();
}

static bool are_equal(const ct_tensor *a, const ct_tensor *b) {
    if (!a || !b) return a == b;
    const ct_tensor *p = ct_tensor_contiguous(a), *q = ct_tensor_contiguous(b);
    size_t bytes = (size_t)ct_count(a) * ct_dtype_size(a->dtype);
    return ct_shape_equal(a->shape, b->shape) && memcmp(ct_data(p), ct_data(q), bytes) == 0;
}

/* A case may do without an input that others have: the outputs are the same without it. */
static bool is_used(const ct_sample *sample, int input) {
    bool used = true;
    CT_SCOPE {
        ct_tensor *with[CT_SAMPLE_OUTPUTS], *without[CT_SAMPLE_OUTPUTS];
        ct_dtype usual = usual_dtype(&sample->input[input]);
        ck_assert_msg(call(sample, input, true, usual, with), "%s: %s", sample->name, ct_error());
        if (!call(sample, input, false, usual, without)) break;
        used = false;
        for (int i = 0; i < CT_SAMPLE_OUTPUTS; i++) used = used || !are_equal(with[i], without[i]);
    }
    ct_error_clear();
    return used;
}

/* Whether the error has one of "mul|tanh". */
static bool names_one_of(const char *parts) {
    for (size_t length; parts && *parts; parts += length + (parts[length] == '|')) {
        char part[32];
        length = strcspn(parts, "|");
        snprintf(part, sizeof part, "%.*s", (int)length, parts);
        if (strstr(ct_error(), part)) return true;
    }
    return false;
}

static bool is_named(const walk *w) {
    char spoken[64]; /* "batch norm" */
    snprintf(spoken, sizeof spoken, "%s", w->op);
    for (char *c = spoken; *c; c++) *c = *c == '_' ? ' ' : *c;
    return strstr(ct_error(), w->op) || strstr(ct_error(), spoken) ||
           names_one_of(w->exception.part);
}

/* floating: how many inputs must agree. */
static bool is_allowed(const walk *w, const ct_sample_input *input, int floating, ct_dtype dtype) {
    if (is_floating(input)) return floating == 1 && (w->exception.any_values || dtype == CT_F32);
    return input->kind == CT_SAMPLE_INDEX && dtype == CT_I32 && w->exception.i32_index;
}

static void check_call(walk *w, const ct_sample *sample, int changed, ct_dtype dtype,
                       bool allowed) {
    ct_tensor *y[CT_SAMPLE_OUTPUTS];
    bool taken = call(sample, changed, true, dtype, y);
    ck_assert_msg(taken == allowed, "%s, case %s: input %d as %s is %s: %s", w->op, sample->name,
                  changed, ct_dtype_name(dtype), taken ? "taken" : "refused", ct_error());
    if (taken) return;
    ck_assert_msg(!ct_ok(), "%s, case %s: input %d as %s: no error", w->op, sample->name, changed,
                  ct_dtype_name(dtype));
    ck_assert_msg(is_named(w), "%s is not named: %s", w->op, ct_error());
    for (int i = 0; i < CT_SAMPLE_OUTPUTS; i++) ck_assert_ptr_null(y[i]);
    w->refused++;
    ct_error_clear();
}

static void check_sample(void *context, const ct_sample *sample) {
    bool used[CT_SAMPLE_INPUTS];
    int floating = 0;
    for (int i = 0; i < sample->inputs; i++) {
        const ct_sample_input *input = &sample->input[i];
        if (ct_shape_count(input->shape) == 0) return; /* what is used does not show */
        used[i] = is_used(sample, i);
        floating += used[i] && is_floating(input);
    }
    for (int i = 0; i < sample->inputs; i++) {
        for (int k = 0; used[i] && k < CT_DTYPE_COUNT; k++) {
            const ct_sample_input *input = &sample->input[i];
            ct_dtype dtype = (ct_dtype)k;
            if (dtype == usual_dtype(input)) continue;
            bool allowed = is_allowed(context, input, floating, dtype);
            CT_SCOPE { check_call(context, sample, i, dtype, allowed); }
        }
    }
}

START_TEST(operation) {
    const ct_op *op = ct_op_at(_i);
    ct_set_threads(1); /* all is small */
    walk w = {op->name, exception_of(op->name), 0};
    ck_assert_int_gt(ct_each_sample(op, check_sample, &w), 0);
    ck_assert_msg(w.refused > 0 || w.exception.any_values, "%s refused nothing", op->name);
}
END_TEST

LOOPED_TEST_MAIN("dtypes", {operation, ct_op_count()})
