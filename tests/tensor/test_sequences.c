/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences of several lengths: which packed row is which, which steps of a padded batch count. */
#include "tests/tensor/fused_test.h"

enum { SEQUENCES = 5, LONGEST = 6, ROWS = 17 };
static const int64_t lengths_of[SEQUENCES] = {3, 6, 1, 3, 4};

START_TEST(packed_rows_are_step_after_step) {
    CT_SCOPE {
        ct_tensor *lengths = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(SEQUENCES), lengths_of);
        ct_tensor *positions = ct_packed_positions(lengths, LONGEST + 1, CT_CPU);
        ct_tensor *sequences = ct_packed_sequences(lengths, CT_CPU);
        ct_tensor *steps = ct_packed_steps(lengths, CT_CPU);
        assert_no_error();
        /* longest first, of equal ones the first: 1 4 0 3 2 */
        static const int64_t sequence[ROWS] = {1, 4, 0, 3, 2, 1, 4, 0, 3, 1, 4, 0, 3, 1, 4, 1, 1};
        static const int64_t step[ROWS] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5};
        ck_assert_int_eq(ct_count(positions), ROWS);
        ck_assert_int_eq(ct_count(sequences), ROWS);
        ck_assert_int_eq(ct_count(steps), ROWS);
        for (int64_t i = 0; i < ROWS; i++) {
            ck_assert_int_eq(((int64_t *)ct_data(sequences))[i], sequence[i]);
            ck_assert_int_eq(((int64_t *)ct_data(steps))[i], step[i]);
            ck_assert_int_eq(((int64_t *)ct_data(positions))[i],
                             sequence[i] * (LONGEST + 1) + step[i]);
        }
        ck_assert(!ct_packed_positions(lengths, LONGEST - 1, CT_CPU));
        assert_error("packed_positions: length 6 of sequence 1, expected 1 to 5");
        ck_assert(!ct_packed_sequences(ct_zeros(CT_I64, CT_CPU, CT_SHAPE(2)), CT_CPU));
        assert_error("packed_sequences: length 0 of sequence 0");
        ck_assert(!ct_packed_sequences(ct_zeros(CT_I64, CT_CPU, CT_SHAPE(0)), CT_CPU));
        assert_error("packed_sequences: there are no sequences");
        ck_assert(!ct_packed_steps(ct_zeros(CT_I64, CT_CPU, CT_SHAPE(2)), CT_CPU));
        assert_error("packed_steps: length 0 of sequence 0");
        ck_assert(!ct_packed_positions(lengths, INT64_MAX / 2 + 1, CT_CPU));
        assert_error("packed_positions: ");
        for (int64_t i = 0; i < 2; i++) {
            ct_tensor *longest = ct_full(CT_I64, CT_CPU, CT_SHAPE(1), 0);
            *(int64_t *)ct_data(longest) = INT64_MAX >> i;
            ck_assert(!ct_packed_sequences(longest, CT_CPU));
            assert_error("");
        }
    }
}
END_TEST

START_TEST(steps_are_within_or_beyond) {
    CT_SCOPE {
        ct_tensor *lengths = test_lengths(SEQUENCES, lengths_of);
        for (int64_t first = 0; first < 3; first++) {
            ct_tensor *within = ct_steps_within(lengths, first, LONGEST, CT_CPU);
            ct_tensor *beyond = ct_steps_beyond(lengths, first, LONGEST, CT_CPU);
            assert_no_error();
            ck_assert(within->dtype == CT_U8 && beyond->dtype == CT_U8);
            ck_assert(ct_shape_equal(within->shape, CT_SHAPE(SEQUENCES, LONGEST)));
            ck_assert(ct_shape_equal(beyond->shape, within->shape));
            for (int64_t i = 0; i < SEQUENCES * LONGEST; i++) {
                bool real = first + i % LONGEST < lengths_of[i / LONGEST];
                ck_assert_int_eq(((uint8_t *)ct_data(within))[i], real);
                ck_assert_int_eq(((uint8_t *)ct_data(beyond))[i], !real);
            }
        }
        ct_tensor *every_other = ct_tensor_slice(lengths, 0, 0, SEQUENCES, 2); /* 3, 1, 4 */
        ct_tensor *within = ct_steps_within(every_other, 2, 2, CT_CPU);
        static const uint8_t expected[] = {1, 0, 0, 0, 1, 1};
        ck_assert_mem_eq(ct_data(within), expected, sizeof expected);
        ck_assert_int_eq(ct_count(ct_steps_within(lengths, 4, 0, CT_CPU)), 0);
        assert_no_error();
    }
}
END_TEST

START_TEST(steps_refuse_bad_input) {
    CT_SCOPE {
        ct_tensor *lengths = test_lengths(SEQUENCES, lengths_of);
        ck_assert(!ct_steps_within(NULL, 0, 3, CT_CPU));
        assert_error("steps_within: an input is NULL");
        ck_assert(!ct_steps_within(ct_tensor_cast(lengths, CT_F64), 0, 3, CT_CPU));
        assert_error("steps_within: lengths is f64 (5), expected i64 (5)");
        ck_assert(!ct_steps_beyond(ct_tensor_unsqueeze(lengths, 1), 0, 3, CT_CPU));
        assert_error("steps_beyond: lengths is i64 (5,1), expected i64 (5)");
        ck_assert(!ct_steps_beyond(lengths, -1, 3, CT_CPU));
        assert_error("steps_beyond: 3 steps from -1, expected 0 or more");
        ck_assert(!ct_steps_within(lengths, 0, -1, CT_CPU));
        assert_error("steps_within: -1 steps from 0, expected 0 or more");
        ck_assert(!ct_steps_within(lengths, INT64_MAX, 2, CT_CPU));
        assert_error("too large");
    }
}
END_TEST

TEST_MAIN("sequences", packed_rows_are_step_after_step, steps_are_within_or_beyond,
          steps_refuse_bad_input)
