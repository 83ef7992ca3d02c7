/* SPDX-License-Identifier: Apache-2.0 */
/* Scopes and references, creation and reading, views. */
#include <limits.h>
#include <pthread.h>

#include "tensor/core/storage.h"
#include "tensor/core/excuse.h"
#include "tests/test.h"

/* ---- scopes ----------------------------------------------------------------------------- */

static int64_t in_use(void) { return ct_memory_in_use(CT_CPU); }

static ct_tensor *some(void) { return ct_zeros(CT_F32, CT_CPU, CT_SHAPE(10)); }

START_TEST(scope_frees_at_its_end) {
    int64_t before = in_use();
    CT_SCOPE {
        ck_assert(some() && some());
        ck_assert_int_eq(in_use() - before, 80);
    }
    ck_assert_int_eq(in_use(), before);
    ck_assert(ct_memory_peak(CT_CPU) >= before + 80);
}
END_TEST

static int leaves_by_return(void) {
    CT_SCOPE {
        some();
        CT_SCOPE {
            some();
            return 3;
        }
    }
    return 0;
}

START_TEST(scope_closes_however_it_is_left) {
    int64_t before = in_use();
    ck_assert_int_eq(leaves_by_return(), 3);
    ck_assert_int_eq(in_use(), before);
    for (int i = 0; i < 3; i++) {
        CT_SCOPE {
            some();
            if (i == 1) break; /* leaves the scope, not the loop around it */
            some();
        }
        ck_assert_int_eq(in_use(), before);
    }
    CT_SCOPE {
        some();
        goto out;
    }
out:
    ck_assert_int_eq(in_use(), before);
    assert_no_error();
}
END_TEST

START_TEST(closing_an_outer_scope_closes_inner_ones) {
    int64_t before = in_use();
    ct_scope *outer = ct_scope_open();
    some();
    ck_assert(ct_scope_open() && ct_scope_open());
    some();
    ct_scope_close(outer);
    ck_assert_int_eq(in_use(), before);
    assert_no_error();
}
END_TEST

START_TEST(keep_and_release) {
    int64_t before = in_use();
    ct_tensor *kept = NULL;
    CT_SCOPE { kept = ct_keep(ct_full(CT_F32, CT_CPU, CT_SHAPE(10), 7)); }
    ck_assert_int_eq(in_use() - before, 40);
    ck_assert(((float *)ct_data(kept))[9] == 7);
    ct_release(kept);
    ck_assert_int_eq(in_use(), before);
    ck_assert(!ct_keep(NULL));
    ct_release(NULL);
}
END_TEST

static ct_tensor *adopted(void) {
    ct_tensor *result = NULL;
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(10), 1);
        result = ct_keep(ct_tensor_add(x, x));
    }
    return ct_adopt(result);
}

static ct_tensor *escaped(void) {
    CT_SCOPE {
        ct_tensor *x = ct_full(CT_F32, CT_CPU, CT_SHAPE(10), 1);
        return ct_escape(ct_tensor_add(x, x));
    }
    return NULL;
}

static ct_tensor *escaped_twice(void) {
    CT_SCOPE { return ct_escape(escaped()); }
    return NULL;
}

START_TEST(results_move_to_the_outer_scope) {
    ct_tensor *(*const functions[])(void) = {adopted, escaped, escaped_twice};
    int64_t before = in_use();
    for (int i = 0; i < 3; i++) CT_SCOPE {
            ct_tensor *first = ct_full(CT_F32, CT_CPU, CT_SHAPE(10), 5), *x = functions[i]();
            ck_assert_int_eq(in_use() - before, 80);
            ck_assert(ct_get(x, 3) == 2);
            ck_assert(ct_get(first, 3) == 5);
        }
    ck_assert_int_eq(in_use(), before);
}
END_TEST

/* Each scope is left with what is its own, in whatever order tensors escape from it. */
START_TEST(many_escape) {
    int64_t before = in_use();
    CT_SCOPE {
        ct_tensor *kept[9];
        ct_full(CT_F32, CT_CPU, CT_SHAPE(10), 7);
        CT_SCOPE {
            for (int i = 0; i < 9; i++) {
                kept[i] = ct_full(CT_F32, CT_CPU, CT_SHAPE(10), i);
                ct_full(CT_F32, CT_CPU, CT_SHAPE(10), -1);
            }
            for (int i = 8; i >= 0; i -= 2) ck_assert_ptr_eq(ct_escape(kept[i]), kept[i]);
            for (int i = 1; i < 9; i += 2) ct_escape(kept[i]);
            ct_escape(kept[4]); /* twice: no harm */
        }
        ck_assert_int_eq(in_use() - before, 10 * 40);
        for (int i = 0; i < 9; i++) ck_assert(ct_get(kept[i], 9) == i);
    }
    ck_assert_int_eq(in_use(), before);
    assert_no_error();
}
END_TEST

START_TEST(nothing_escapes_from_the_outermost_scope) {
    int64_t before = in_use();
    ck_assert_ptr_null(ct_escape(NULL));
    CT_SCOPE {
        ck_assert_ptr_null(ct_escape(some()));
        assert_error("no scope is open around the one that a tensor is to leave");
        ck_assert_ptr_null(ct_escape(NULL));
    }
    assert_no_error();
    ck_assert_int_eq(in_use(), before);
}
END_TEST

START_TEST(view_keeps_its_storage) {
    int64_t before = in_use();
    ct_tensor *view = NULL;
    CT_SCOPE { view = ct_keep(ct_tensor_slice(ct_arange(CT_F32, CT_CPU, 10), 0, 4, 6, 1)); }
    ck_assert_int_eq(in_use() - before, 40);
    ck_assert(((float *)ct_data(view))[1] == 5);
    ct_release(view);
    ck_assert_int_eq(in_use(), before);
}
END_TEST

START_TEST(no_scope_is_an_error) {
    int64_t before = in_use();
    ck_assert(!some());
    assert_error("no scope is open on this thread");
    ck_assert_int_eq(in_use(), before);
}
END_TEST

START_TEST(wrong_close_is_an_error) {
    ct_scope *scope = ct_scope_open(), *inner = ct_scope_open();
    ct_scope_close(scope);
    assert_no_error();
    (void)inner;
    ct_scope *other = ct_scope_open();
    ct_scope_close(other);
    ct_scope_close(other);
    assert_error("scope: closed twice");
}
END_TEST

START_TEST(many_tensors_in_one_scope) {
    int64_t before = in_use();
    CT_SCOPE {
        for (int i = 0; i < 1000; i++) some();
        ck_assert_int_eq(in_use() - before, 40000);
    }
    ck_assert_int_eq(in_use(), before);
}
END_TEST

static int freed;

static void count_free(void *autograd) { freed += autograd == &freed; }

START_TEST(autograd_part_is_freed_once) {
    ct_tensor_on_free(count_free);
    CT_SCOPE {
        ct_tensor *x = some();
        x->autograd = &freed;
        ct_release(ct_keep(x));
        ck_assert_int_eq(freed, 0);
    }
    ck_assert_int_eq(freed, 1);
}
END_TEST

static void *use_own_scope(void *shared) {
    CT_SCOPE {
        ct_tensor *y = ct_tensor_add(shared, shared);
        if (y && ct_get(y, 3) == 6) return shared;
    }
    return NULL;
}

START_TEST(threads_have_scopes_of_their_own) {
    CT_SCOPE {
        ct_tensor *x = ct_arange(CT_F32, CT_CPU, 10);
        pthread_t thread[4];
        for (int i = 0; i < 4; i++) {
            ck_assert_int_eq(pthread_create(&thread[i], NULL, use_own_scope, x), 0);
        }
        for (int i = 0; i < 4; i++) {
            void *result;
            pthread_join(thread[i], &result);
            ck_assert(result == x);
        }
    }
}
END_TEST

/* ---- memory ----------------------------------------------------------------------------- */

/* Large blocks are kept and used again; what is counted is what tensors hold. */
START_TEST(large_blocks_come_and_go) {
    int64_t before = in_use();
    for (int round = 0; round < 3; round++) {
        CT_SCOPE {
            static const int64_t bytes[] = {65535, 65536, 70000, 98304, 131071, 1 << 20, 5000000};
            ct_tensor *x[7];
            for (int i = 0; i < 7; i++) {
                x[i] = ct_full(CT_U8, CT_CPU, CT_SHAPE(bytes[i]), 1 + i);
                ck_assert_int_eq((uintptr_t)ct_data(x[i]) % 64, 0);
            }
            for (int i = 0; i < 7; i++) {
                const uint8_t *v = ct_data(x[i]);
                ck_assert(v[0] == 1 + i && v[bytes[i] - 1] == 1 + i);
            }
        }
        ck_assert_int_eq(in_use(), before);
    }
}
END_TEST

START_TEST(too_large_is_an_error) {
    CT_SCOPE {
        ck_assert(!ct_empty(CT_F32, CT_CPU, CT_SHAPE((int64_t)1 << 55)));
        assert_error("allocate: no memory for");
        ck_assert(!ct_empty(CT_F32, CT_CPU, CT_SHAPE((int64_t)1 << 40, (int64_t)1 << 40)));
        assert_error("is too large");
        ck_assert(!ct_empty(CT_F32, CT_CPU, CT_SHAPE(2, -3)));
        assert_error("empty: negative size in shape (2,-3)");
    }
}
END_TEST

/* ---- creation and reading --------------------------------------------------------------- */

START_TEST(creation) {
    for (int dtype = 0; dtype < CT_DTYPE_COUNT; dtype++) {
        CT_SCOPE {
            ct_tensor *x = ct_full(dtype, CT_CPU, CT_SHAPE(3, 33), 5);
            ct_tensor *y = ct_arange(dtype, CT_CPU, 70);
            for (int64_t i = 0; i < 99; i++) ck_assert(ct_get(x, i) == 5);
            for (int64_t i = 0; i < 70; i++) ck_assert(ct_get(y, i) == (double)i);
            ck_assert(ct_item(ct_scalar(dtype, CT_CPU, 3)) == 3);
            ck_assert(ct_set(x, 40, 9) && ct_get(x, 40) == 9 && ct_get(x, 41) == 5);
            ct_dtype named;
            ck_assert(ct_dtype_from_name(ct_dtype_name(dtype), &named) && (int)named == dtype);
            assert_no_error();
        }
    }
}
END_TEST

START_TEST(reads_views_in_order) {
    CT_SCOPE {
        float out[6];
        ct_tensor *x = ct_tensor_reshape(ct_arange(CT_F32, CT_CPU, 6), CT_SHAPE(2, 3));
        ck_assert(ct_read(ct_tensor_transpose(x, 0, 1), out));
        static const float expected[] = {0, 3, 1, 4, 2, 5};
        ck_assert(memcmp(out, expected, sizeof out) == 0);
        ck_assert(ct_get(ct_tensor_transpose(x, 0, 1), 3) == 4);
    }
}
END_TEST

static void note_release(void *context) { ++*(int *)context; }

START_TEST(writes_host_memory) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(3, 2));
        ct_tensor *rows = ct_tensor_slice(x, 0, 1, 3, 1);
        ck_assert(ct_write(rows, (float[]){1, 2, 3, 4}));
        ck_assert(ct_get(x, 1) == 0 && ct_get(x, 2) == 1 && ct_get(x, 5) == 4);
        ck_assert(ct_write(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 2)), NULL));
        ck_assert(!ct_write(ct_tensor_transpose(x, 0, 1), (float[6]){0}));
        assert_error("write: f32 (2,3) is not contiguous");
        ck_assert(!ct_write(NULL, NULL));
        assert_error("write: an input is NULL");
    }
}
END_TEST

START_TEST(borrowed_memory_is_given_back) {
    static float data[6] = {1, 2, 3, 4, 5, 6};
    int released = 0;
    int64_t before = in_use();
    CT_SCOPE {
        ct_tensor *x = ct_from_memory(CT_F32, CT_SHAPE(2, 3), data, note_release, &released);
        ck_assert(ct_data(x) == data && ct_get(x, 5) == 6);
        ck_assert_int_eq(in_use(), before);
        ct_tensor_slice(x, 0, 1, 2, 1);
        ck_assert_int_eq(released, 0);
    }
    ck_assert_int_eq(released, 1);
    CT_SCOPE { ck_assert(!ct_from_memory(CT_F32, CT_SHAPE(-1), data, note_release, &released)); }
    ck_assert_int_eq(released, 2);
    assert_error("from_memory: negative size");
}
END_TEST

START_TEST(reading_errors) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ck_assert(isnan(ct_item(x)));
        assert_error("item: expected a tensor of one element, got f32 (2,3)");
        ck_assert(isnan(ct_get(x, 6)));
        assert_error("get: position 6 is outside f32 (2,3)");
        ck_assert(!ct_set(x, -1, 0));
        assert_error("set: position -1");
        ck_assert(ct_dim(x, 2) == 0);
        assert_error("dim: axis 2 is outside a tensor of 2 dimensions");
        ck_assert(!ct_data(NULL));
        assert_error("data: an input is NULL");
    }
}
END_TEST

/* Of an error that fills all the room there is the end goes. */
START_TEST(errors_get_a_prefix) {
    ck_assert(!ct_error_prefix("line %d: ", 1) && ct_ok());
    ct_fail("wrong");
    ck_assert(!ct_error_prefix("line %d: ", 1));
    ck_assert_str_eq(ct_error(), "line 1: wrong");
    ct_error_clear();
    ct_fail("%020000d", 0);
    size_t room = strlen(ct_error());
    ct_error_prefix("line 1: ");
    ck_assert_uint_eq(strlen(ct_error()), room);
    ck_assert(strncmp(ct_error(), "line 1: 0", 9) == 0);
    ct_error_clear();
}
END_TEST

START_TEST(first_error_stays) {
    CT_SCOPE {
        ct_tensor *x = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(2, 3));
        ct_tensor *wrong = ct_tensor_matmul(x, x);
        ck_assert(!ct_tensor_add(ct_tensor_scale(wrong, 2), x));
        assert_error("matmul: inner sizes differ: (2,3) x (2,3)");
    }
}
END_TEST

START_TEST(instruction_set_by_name) {
    const char *fork = getenv("CK_FORK");
    if (fork && strcmp(fork, "no") == 0) return; /* this process has chosen */
    if (getenv("CT_ISA")) return;
    setenv("CT_ISA", "sparc", 1);
    CT_SCOPE {
        ck_assert(!some());
        assert_error("CT_ISA=sparc: unknown, expected avx512, avx2 or baseline");
        setenv("CT_ISA", "baseline", 1);
        ck_assert(some());
        ck_assert(strstr(ct_machine_text(), "cpu (baseline)") != NULL);
    }
}
END_TEST

START_TEST(number_of_threads) {
    int before = ct_threads();
    const int wrong[] = {-1, CT_MOST_THREADS + 1, INT_MAX, INT_MIN};
    for (int i = 0; i < 4; i++) {
        ct_set_threads(wrong[i]);
        assert_error("expected 0 (one a core) to 4096");
        ck_assert_int_eq(ct_threads(), before);
    }
    ct_set_threads(3);
    ck_assert_int_eq(ct_threads(), 3);
    ct_set_threads(0);
    ck_assert_int_ge(ct_threads(), 1);
    assert_no_error();
}
END_TEST

START_TEST(no_cuda_without_its_backend) {
    CT_SCOPE {
        ct_tensor *x = ct_tensor_to_device(some(), CT_CUDA);
        if (!x) assert_error("cuda");
    }
}
END_TEST

/* ---- views ------------------------------------------------------------------------------ */

static ct_tensor *numbered(ct_shape shape) {
    return ct_tensor_reshape(ct_arange(CT_F32, CT_CPU, ct_shape_count(shape)), shape);
}

/* Row-major elements of x equal those of y. */
static void assert_same_elements(const ct_tensor *x, const ct_tensor *y) {
    assert_no_error();
    ck_assert_int_eq(ct_count(x), ct_count(y));
    for (int64_t i = 0; i < ct_count(x); i++) {
        if (ct_get(x, i) != ct_get(y, i)) {
            ck_abort_msg("element %lld: %g, expected %g", (long long)i, ct_get(x, i), ct_get(y, i));
        }
    }
}

/* Every reshape of many strided views holds the same elements in the same order. */
START_TEST(reshape_of_views) {
    static const ct_shape shapes[] = {
        {1, {-1}},    {2, {-1, 2}},       {2, {2, -1}},       {3, {2, 3, -1}}, {3, {4, -1, 3}},
        {2, {6, -1}}, {4, {2, 2, 3, -1}}, {4, {1, -1, 1, 6}}, {2, {-1, 12}},   {3, {-1, 1, 4}},
    };
    CT_SCOPE {
        ct_tensor *x = numbered(CT_SHAPE(4, 6, 8));
        ct_tensor *views[] = {
            x,
            ct_tensor_transpose(x, 0, 1),
            ct_tensor_transpose(x, 1, 2),
            ct_tensor_permute(x, (int[]){2, 0, 1}),
            ct_tensor_slice(x, 2, 0, 8, 2),
            ct_tensor_slice(x, 1, 0, 6, 2),
            ct_tensor_slice(x, 0, 1, 4, 1),
            ct_tensor_slice(ct_tensor_slice(x, 1, 2, 5, 1), 2, 1, 5, 1),
            ct_tensor_expand(ct_tensor_slice(x, 1, 0, 1, 1), CT_SHAPE(4, 6, 8)),
            ct_tensor_expand(ct_tensor_slice(x, 2, 3, 4, 1), CT_SHAPE(4, 6, 12)),
            ct_tensor_unsqueeze(ct_tensor_transpose(x, 0, 2), 1),
        };
        for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                ct_tensor *y = ct_tensor_reshape(views[v], shapes[s]);
                if (!y) {
                    assert_error("reshape:"); /* sizes that do not divide */
                    continue;
                }
                assert_same_elements(y, views[v]);
            }
        }
    }
}
END_TEST

START_TEST(reshape_shares_memory_where_it_can) {
    CT_SCOPE {
        ct_tensor *x = numbered(CT_SHAPE(4, 6, 8));
        ck_assert(ct_tensor_reshape(x, CT_SHAPE(24, 8))->storage == x->storage);
        ct_tensor *part = ct_tensor_slice(x, 2, 0, 4, 1);
        ck_assert(ct_tensor_reshape(part, CT_SHAPE(24, 2, 2))->storage == x->storage);
        ck_assert(ct_tensor_reshape(part, CT_SHAPE(96))->storage != x->storage);
        ct_tensor *turned = ct_tensor_transpose(x, 0, 2);
        ck_assert(ct_tensor_reshape(turned, CT_SHAPE(2, 4, 6, 4))->storage == x->storage);
        ck_assert(ct_tensor_contiguous(x)->storage == x->storage);
        ck_assert(ct_tensor_contiguous(turned)->storage != x->storage);
        ct_tensor *none = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0, 3));
        ck_assert(ct_shape_equal(ct_tensor_reshape(none, CT_SHAPE(2, 0))->shape, CT_SHAPE(2, 0)));
        assert_no_error();
    }
}
END_TEST

START_TEST(reshape_errors) {
    CT_SCOPE {
        ct_tensor *x = numbered(CT_SHAPE(2, 3));
        ck_assert(!ct_tensor_reshape(x, CT_SHAPE(4, 2)));
        assert_error("reshape: f32 (2,3) has 6 elements and cannot become (4,2)");
        ck_assert(!ct_tensor_reshape(x, CT_SHAPE(4, -1)));
        assert_error("reshape: f32 (2,3) has 6 elements and cannot become (4,-1)");
        ck_assert(!ct_tensor_reshape(x, CT_SHAPE(-1, -1)));
        assert_error("reshape: (-1,-1) asks for");
        ck_assert(!ct_tensor_reshape(ct_zeros(CT_F32, CT_CPU, CT_SHAPE(0)), CT_SHAPE(0, -1)));
        assert_error("reshape:");
        ck_assert(!ct_tensor_reshape(NULL, CT_SHAPE(1)));
        assert_error("reshape: an input is NULL");
    }
}
END_TEST

START_TEST(slices) {
    static const int64_t cases[][4] = {
        /* start, stop, step, first element or -1 if empty */
        {0, 10, 1, 0}, {2, 5, 1, 2},  {-3, 10, 1, 7},  {2, -2, 1, 2}, {1, 100, 3, 1},
        {5, 5, 1, -1}, {7, 3, 1, -1}, {-100, 2, 1, 0}, {9, 10, 4, 9}, {10, 12, 1, -1},
    };
    CT_SCOPE {
        ct_tensor *x = numbered(CT_SHAPE(10, 4));
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            ct_tensor *y = ct_tensor_slice(x, 0, cases[i][0], cases[i][1], cases[i][2]);
            assert_no_error();
            int64_t stop = cases[i][1] < 0 ? cases[i][1] + 10 : cases[i][1] > 10 ? 10 : cases[i][1];
            int64_t count = 0;
            for (int64_t j = cases[i][3]; j >= 0 && j < stop; j += cases[i][2]) {
                ck_assert(ct_get(y, count++ * 4 + 1) == (double)(4 * j + 1));
            }
            ck_assert_int_eq(ct_dim(y, 0), count);
        }
        ck_assert(!ct_tensor_slice(x, 0, 0, 3, 0));
        assert_error("slice: step 0, expected at least 1");
        ck_assert(!ct_tensor_slice(x, 2, 0, 3, 1));
        assert_error("slice: axis 2 is outside a tensor of 2 dimensions");
    }
}
END_TEST

START_TEST(writing_through_a_view) {
    CT_SCOPE {
        ct_tensor *x = numbered(CT_SHAPE(3, 4));
        ct_tensor *view = ct_tensor_transpose(ct_tensor_slice(x, 1, 1, 4, 2), 0, 1);
        ck_assert(ct_tensor_copy_to(view, ct_scalar(CT_I64, CT_CPU, -1)));
        static const double expected[] = {0, -1, 2, -1, 4, -1, 6, -1, 8, -1, 10, -1};
        for (int i = 0; i < 12; i++) ck_assert(ct_get(x, i) == expected[i]);
    }
}
END_TEST

START_TEST(permutations_and_dimensions) {
    CT_SCOPE {
        ct_tensor *x = numbered(CT_SHAPE(2, 3, 4));
        ct_tensor *y = ct_tensor_permute(x, (int[]){2, 0, -2});
        ck_assert(ct_shape_equal(y->shape, CT_SHAPE(4, 2, 3)));
        ck_assert(ct_get(y, 1 * 6 + 1 * 3 + 2) == 1 * 12 + 2 * 4 + 1);
        ck_assert(!ct_tensor_permute(x, (int[]){0, 1, 1}));
        assert_error("permute: axis 1 is named twice");
        ck_assert(!ct_tensor_transpose(x, 0, 3));
        assert_error("transpose: axis 3 is outside a tensor of 3 dimensions");
        ct_tensor *wide = ct_tensor_unsqueeze(x, -1);
        ck_assert(ct_shape_equal(wide->shape, CT_SHAPE(2, 3, 4, 1)));
        ck_assert(ct_shape_equal(ct_tensor_squeeze(wide, 3)->shape, x->shape));
        ck_assert(!ct_tensor_squeeze(x, 1));
        assert_error("squeeze: dimension 1 of f32 (2,3,4) is not of size 1");
        ck_assert(ct_dim(x, -1) == 4 && ct_ndim(x) == 3 && ct_count(x) == 24);
        ct_tensor *most = ct_zeros(CT_F32, CT_CPU, CT_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
        ck_assert(!ct_tensor_unsqueeze(most, 0));
        assert_error("already has 8 dimensions");
    }
}
END_TEST

START_TEST(expands) {
    CT_SCOPE {
        ct_tensor *x = numbered(CT_SHAPE(3, 1));
        ct_tensor *y = ct_tensor_expand(x, CT_SHAPE(2, 3, 4));
        ck_assert(y->storage == x->storage);
        for (int i = 0; i < 24; i++) ck_assert(ct_get(y, i) == i / 4 % 3);
        ck_assert(!ct_tensor_expand(x, CT_SHAPE(2, 4)));
        assert_error("expand: f32 (3,1) does not broadcast to (2,4)");
        ct_shape shape;
        ck_assert(!ct_broadcast_shape("test", CT_SHAPE(2, 3), CT_SHAPE(4), &shape));
        assert_error("test: shapes (2,3) and (4) do not broadcast");
        ck_assert(ct_broadcast_shape("test", CT_SHAPE(0, 3), CT_SHAPE(1, 1), &shape));
        ck_assert(ct_shape_equal(shape, CT_SHAPE(0, 3)));
    }
}
END_TEST

TEST_MAIN("tensor", scope_frees_at_its_end, scope_closes_however_it_is_left,
          closing_an_outer_scope_closes_inner_ones, keep_and_release,
          results_move_to_the_outer_scope, many_escape, nothing_escapes_from_the_outermost_scope,
          view_keeps_its_storage, no_scope_is_an_error, wrong_close_is_an_error,
          many_tensors_in_one_scope, autograd_part_is_freed_once, threads_have_scopes_of_their_own,
          large_blocks_come_and_go, too_large_is_an_error, creation, reads_views_in_order,
          writes_host_memory, borrowed_memory_is_given_back, reading_errors, errors_get_a_prefix,
          first_error_stays, instruction_set_by_name, number_of_threads,
          no_cuda_without_its_backend, reshape_of_views, reshape_shares_memory_where_it_can,
          reshape_errors, slices, writing_through_a_view, permutations_and_dimensions, expands)
