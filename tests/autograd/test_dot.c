/* SPDX-License-Identifier: Apache-2.0 */
/* The graph of a result as Graphviz reads it: every box and arrow is told of once, labels hold
 * values and gradients. */
#include "tests/autograd/autograd_test.h"

enum { MOST = 64 };

/* What was written, taken apart by lines: "tN [...]" and "tN -> tM [...]". */
typedef struct {
    char *text, *lines; /* as it was written, and taken apart */
    int count;          /* of boxes and ellipses */
    char *label[MOST];
    int arrows, from[MOST], to[MOST];
} picture;

static picture draw(const ct_tensor *result) {
    picture p = {0};
    size_t size;
    FILE *out = open_memstream(&p.text, &size);
    ck_assert_msg(ct_write_graph(out, result), "%s", ct_error());
    fclose(out);
    char *rest = p.lines = strdup(p.text), *line;
    ck_assert_str_eq(strsep(&rest, "\n"), "digraph {");
    while ((line = strsep(&rest, "\n")) && strcmp(line, "}") != 0) {
        int a, b, read = 0;
        ck_assert_str_eq(line + strlen(line) - 1, ";");
        if (sscanf(line, "  t%d -> t%d", &a, &b) == 2) {
            p.from[p.arrows] = a;
            p.to[p.arrows++] = b;
        } else if (sscanf(line, "  t%d [%n", &a, &read) == 1 && read) {
            ck_assert_ptr_null(p.label[a]); /* told of once */
            p.label[a] = line + read;
            p.count++;
        } else {
            ck_assert_ptr_nonnull(strstr(line, "  node ["));
        }
    }
    ck_assert_ptr_nonnull(line);
    ck_assert_str_eq(strsep(&rest, "\n"), "");
    for (int i = 0; i < p.arrows; i++) {
        ck_assert_ptr_nonnull(p.label[p.from[i]]);
        ck_assert_ptr_nonnull(p.label[p.to[i]]);
    }
    return p;
}

static void discard(picture *p) {
    free(p->text);
    free(p->lines);
}

/* The one whose label contains `part`, and every one of `more`. */
static int find(const picture *p, const char *part) {
    int found = 0;
    for (int i = 1; i < MOST; i++) {
        if (!p->label[i] || !strstr(p->label[i], part)) continue;
        ck_assert_msg(!found, "'%s' is there twice:\n%s", part, p->text);
        found = i;
    }
    ck_assert_msg(found, "'%s' is missing:\n%s", part, p->text);
    return found;
}

static bool leads(const picture *p, int from, int to) {
    int arrows = 0;
    for (int i = 0; i < p->arrows; i++) arrows += p->from[i] == from && p->to[i] == to;
    ck_assert_int_le(arrows, 1);
    return arrows == 1;
}

START_TEST(values_and_gradients_are_shown) {
    CT_SCOPE {
        ct_tensor *w = leaf(1, 2, 3), *factor = vector(4, 5, 6);
        ct_tensor *product = ct_retain_grad(ct_mul(w, factor)), *y = ct_sum_all(ct_exp(product));
        ct_tensor *scaled = ct_scale(product, 0.5), *both = ct_add(y, ct_sum_all(scaled));
        picture p = draw(both);
        int leaf_box = find(&p, "leaf f64 (3)\\lvalue [1. 2. 3.]\\l\"];");
        int product_box = find(&p, "\"f64 (3)\\lvalue [ 4. 10. 18.]\\l\"];");
        int mul = find(&p, "label=\"mul\"");
        ck_assert(leads(&p, leaf_box, mul) && leads(&p, mul, product_box));
        ck_assert(leads(&p, find(&p, "constant f64 (3)"), mul));
        ck_assert(leads(&p, product_box, find(&p, "label=\"exp\"")));
        ck_assert(leads(&p, product_box, find(&p, "label=\"mul_scalar\"")));
        ck_assert_int_eq(p.count, 3 + 4 + 1 + 6); /* tensors, operations: two sums, ... */
        ct_tensor *one = ct_scalar(CT_F64, CT_CPU, 1);
        ck_assert(ct_backward_from(&both, &one, 1, true));
        discard(&p);
        p = draw(both);
        find(&p, "leaf f64 (3)\\lvalue [1. 2. 3.]\\lgradient [");
        find(&p, "value [ 4. 10. 18.]\\lgradient [");
        discard(&p);
    }
    assert_no_error();
}
END_TEST

START_TEST(large_and_gone_tensors_are_described) {
    CT_SCOPE {
        ct_tensor *w = ct_require_grad(ct_cast(ct_arange(CT_I64, CT_CPU, 20), CT_F32)), *y = NULL;
        CT_SCOPE { y = ct_keep(ct_mean_all(ct_square(ct_reshape(w, CT_SHAPE(4, 5))))); }
        y = ct_adopt(y);
        picture p = draw(y);
        find(&p, "leaf f32 (20)\\lvalue mean 9.5, 0 to 19\\l");
        find(&p, "label=\"square\"");
        find(&p, "f32 ()\\lvalue 123.5\\l");
        ck_assert_ptr_null(strstr(p.text, "constant"));
        ck_assert_int_eq(p.count, 4 + 3);
        discard(&p);
    }
    assert_no_error();
}
END_TEST

START_TEST(operations_with_several_outputs_are_one) {
    CT_SCOPE {
        ct_tensor *x = ct_require_grad(ct_full(CT_F64, CT_CPU, CT_SHAPE(1, 2, 1), 1)), *h;
        ct_tensor *w = ct_full(CT_F64, CT_CPU, CT_SHAPE(6, 1), 0.5);
        ct_tensor *u = ct_full(CT_F64, CT_CPU, CT_SHAPE(6, 2), 0.5);
        ct_tensor *y = ct_gru_with(x, NULL, w, u, NULL, NULL, NULL, false, &h);
        picture p = draw(ct_add(ct_sum_all(y), ct_sum_all(h)));
        find(&p, "label=\"gru\"");
        ck_assert_ptr_nonnull(strstr(p.text, "label=\"output 0\""));
        ck_assert_ptr_nonnull(strstr(p.text, "label=\"output 1\""));
        ck_assert_ptr_nonnull(strstr(p.text, "value \\l[[[")); /* its lines are left as they are */
        discard(&p);
    }
    assert_no_error();
}
END_TEST

START_TEST(what_has_no_graph_is_refused) {
    CT_SCOPE {
        ct_tensor *x = leaf(1, 2, 3), *y = ct_sum_all(ct_square(x));
        picture p = draw(x);
        ck_assert_int_eq(p.count, 1);
        discard(&p);
        ck_assert(ct_backward(y));
        ck_assert(!ct_write_graph(stderr, y));
        assert_error("write_graph: backward has used the graph of 'sum' up");
        ck_assert(!ct_write_graph(stderr, vector(1, 2, 3)));
        assert_error(
            "write_graph: f64 (3) was not computed from a tensor that requires a gradient");
        ck_assert(!ct_write_graph(NULL, x));
        assert_error("write_graph: the file is NULL");
        ck_assert(!ct_write_graph(stderr, NULL));
        assert_error("write_graph: an input is NULL");
        FILE *full = fopen("/dev/full", "w");
        setbuf(full, NULL);
        ck_assert(!ct_write_graph(full, x));
        assert_error("write_graph: the file cannot be written");
        fclose(full);
    }
    assert_no_error();
}
END_TEST

TEST_MAIN("dot", values_and_gradients_are_shown, large_and_gone_tensors_are_described,
          operations_with_several_outputs_are_one, what_has_no_graph_is_refused)
