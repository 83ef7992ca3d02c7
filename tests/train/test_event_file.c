/* SPDX-License-Identifier: Apache-2.0 */
/* The event file: its records, what is kept of it when a run goes on, and that nothing else is. */
#include "event.pb-c.h"
#include "tests/train/program.h"
#include "train/run/event_file.h"

enum { MOST_EVENTS = 16 };

typedef struct {
    Ct__Event *event[MOST_EVENTS];
    int count;
    uint8_t *bytes;
    size_t size;
} events;

/* Every record; the file must end with a whole one. */
static events read_events(const char *folder) {
    events e = {.count = 0};
    e.bytes = (uint8_t *)ct_file_read(in_folder(folder, CT_EVENT_FILE_NAME), &e.size);
    assert_no_error();
    for (size_t at = 0; at < e.size;) {
        uint64_t length;
        ck_assert_uint_ge(e.size - at, 16);
        memcpy(&length, e.bytes + at, 8);
        ck_assert_uint_le(length, e.size - at - 16);
        ck_assert_int_lt(e.count, MOST_EVENTS);
        e.event[e.count] = ct__event__unpack(NULL, length, e.bytes + at + 12);
        ck_assert_ptr_nonnull(e.event[e.count++]);
        at += 16 + length;
    }
    return e;
}

static void free_events(events *e) {
    for (int i = 0; i < e->count; i++) ct__event__free_unpacked(e->event[i], NULL);
    free(e->bytes);
}

static void write_json(ct_event_file *file, int64_t step, const char *text) {
    json_t *object = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(object);
    ck_assert(ct_event_file_write(file, step, object));
    json_decref(object);
}

static void write_steps(const char *folder, int64_t from_step, int first, int last) {
    ct_event_file *file = ct_event_file_open(folder, (ct_log_position){from_step, false});
    assert_no_error();
    for (int step = first; step <= last; step++) {
        char text[64];
        snprintf(text, sizeof text, "{\"step\": %d, \"loss\": %d.5}", step, step);
        write_json(file, step, text);
    }
    ct_event_file_close(file);
}

static void check_steps(const char *folder, const int *steps, int count) {
    events e = read_events(folder);
    ck_assert_int_eq(e.count, 1 + count);
    ck_assert_int_eq(e.event[0]->what_case, CT__EVENT__WHAT_FILE_VERSION);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(e.event[1 + i]->step, steps[i]);
        ck_assert_float_eq(e.event[1 + i]->summary->value[0]->simple_value, (float)steps[i] + 0.5f);
    }
    free_events(&e);
}

START_TEST(begins_as_tensorflow_writes_it) {
    char *folder = folder_make();
    ct_event_file_close(ct_event_file_open(folder, (ct_log_position){0}));
    events e = read_events(folder);
    /* every event file of TensorFlow starts so: 24 bytes follow, and the masked CRC-32C of "24" */
    static const uint8_t head[12] = {0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22};
    ck_assert_uint_eq(e.size, 12 + 24 + 4);
    ck_assert_mem_eq(e.bytes, head, sizeof head);
    ck_assert_str_eq(e.event[0]->file_version, "brain.Event:2");
    ck_assert_double_gt(e.event[0]->wall_time, 1.7e9);
    free_events(&e);
    folder_remove(folder);
}
END_TEST

START_TEST(numbers_become_scalars) {
    char *folder = folder_make();
    ct_event_file *file = ct_event_file_open(folder, (ct_log_position){0});
    write_json(file, 70,
               "{\"step\": 70, \"loss\": 2.5, \"zero\": 0, \"best\": true, \"name\": \"x\","
               " \"dev\": {\"i2t\": {\"r1\": 50, \"step\": 3}, \"rsum\": 300.25}}");
    ct_event_file_close(file);
    events e = read_events(folder);
    ck_assert_int_eq(e.count, 2);
    ck_assert_int_eq(e.event[1]->step, 70);
    ck_assert_int_eq(e.event[1]->what_case, CT__EVENT__WHAT_SUMMARY);
    static const struct {
        const char *tag;
        float value;
    } expected[] = {{"loss", 2.5f},
                    {"zero", 0},
                    {"dev/i2t/r1", 50},
                    {"dev/i2t/step", 3},
                    {"dev/rsum", 300.25f}};
    const Ct__Summary *summary = e.event[1]->summary;
    ck_assert_uint_eq(summary->n_value, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < summary->n_value; i++) {
        ck_assert_str_eq(summary->value[i]->tag, expected[i].tag);
        ck_assert_int_eq(summary->value[i]->value_case, CT__SUMMARY__VALUE__VALUE_SIMPLE_VALUE);
        ck_assert_float_eq(summary->value[i]->simple_value, expected[i].value);
    }
    free_events(&e);
    folder_remove(folder);
}
END_TEST

START_TEST(goes_on_behind_the_step_it_is_given) {
    char *folder = folder_make();
    write_steps(folder, 0, 1, 4);
    write_steps(folder, 2, 3, 3);
    check_steps(folder, (int[]){1, 2, 3}, 3);
    write_steps(folder, 0, 9, 9); /* anew */
    check_steps(folder, (int[]){9}, 1);
    folder_remove(folder);
}
END_TEST

/* A kill may leave half a record; what is not a record ends what is kept. */
START_TEST(a_damaged_end_is_cut_off) {
    char *folder = folder_make();
    for (int kind = 0; kind < 3; kind++) {
        write_steps(folder, 0, 1, 3);
        events e = read_events(folder);
        size_t size = e.size - (kind == 0 ? 5 : 0);
        if (kind == 1) e.bytes[size - 6] ^= 1; /* in the last record's data */
        if (kind == 2) e.bytes[size - 2] ^= 1; /* in its checksum */
        ck_assert(ct_file_write(in_folder(folder, CT_EVENT_FILE_NAME), e.bytes, size));
        free_events(&e);
        write_steps(folder, 3, 8, 8);
        check_steps(folder, (int[]){1, 2, 8}, 3);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_an_error) {
    ck_assert_ptr_null(ct_event_file_open("/nowhere/at/all", (ct_log_position){0}));
    assert_error("/nowhere/at/all/" CT_EVENT_FILE_NAME);
}
END_TEST

TEST_MAIN("event_file", begins_as_tensorflow_writes_it, numbers_become_scalars,
          goes_on_behind_the_step_it_is_given, a_damaged_end_is_cut_off,
          a_folder_that_is_not_there_is_an_error)
