/* SPDX-License-Identifier: Apache-2.0 */
/* JSON is whole or an error, whichever allocation fails. */
#include "tensor/io/json.h"
#include "tests/test.h"

static long left = -1; /* allocations until one fails; -1: none does */

static void *counted_malloc(size_t size) {
    if (left > 0) left--;
    else if (left == 0) {
        left = -1;
        return NULL;
    }
    return malloc(size);
}

static const char text[] = "{\"a long enough name\": 12, \"pairs_per_second\": [1.5, 2], \"a\": "
                           "\"\\u00e9\\ud83d\\ude00 and a text that grows\", \"last\": 1e3}";

/* A number behind the failure, for which strtod sets errno, hides it from errno. */
START_TEST(reads_all_or_says_that_memory_is_short) {
    json_error_t wrong;
    json_set_alloc_funcs(counted_malloc, free);
    json_t *whole = ct_json_read(text, sizeof text - 1, 0, &wrong);
    ck_assert_ptr_nonnull(whole);
    int failures = 0;
    for (long n = 0;; n++) {
        left = n;
        json_t *read = ct_json_read(text, sizeof text - 1, 0, &wrong);
        bool failed = left < 0;
        left = -1;
        if (!failed) {
            ck_assert(json_equal(read, whole));
            json_decref(read);
            break;
        }
        failures++;
        ck_assert_ptr_null(read);
        assert_error("out of memory");
    }
    ck_assert_int_gt(failures, 20);
    json_decref(whole);
}
END_TEST

START_TEST(writes_all_or_nothing) {
    json_error_t wrong;
    json_set_alloc_funcs(counted_malloc, free);
    json_t *whole = ct_json_read(text, sizeof text - 1, 0, &wrong);
    char *expected = ct_json_text(whole, JSON_INDENT(1));
    ck_assert_ptr_nonnull(expected);
    int failures = 0;
    for (long n = 0;; n++) {
        left = n;
        char *written = ct_json_text(whole, JSON_INDENT(1));
        bool failed = left < 0;
        left = -1;
        if (!failed) {
            ck_assert_str_eq(written, expected);
            free(written);
            break;
        }
        failures++;
        ck_assert_ptr_null(written);
    }
    ck_assert_int_gt(failures, 2);
    assert_no_error();
    free(expected);
    json_decref(whole);
}
END_TEST

TEST_MAIN("json", reads_all_or_says_that_memory_is_short, writes_all_or_nothing)
