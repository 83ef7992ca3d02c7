/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/event_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "event.pb-c.h"
#include "train/run/experiment.h"

struct ct_event_file {
    FILE *file;
    char *path;
};

/* ---- records ----------------------------------------------------------------------------- */

enum { HEAD = 12, TAIL = 4 }; /* bytes around the data of a record */

/* CRC-32C (Castagnoli, RFC 3720), masked as TFRecord stores it: a checksum of data that contains
 * checksums is not a good one. */
static uint32_t checksum(const uint8_t *data, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* Little-endian. */
static void put(uint8_t *out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *in, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)in[i] << 8 * i;
    return value;
}

static bool write_event(ct_event_file *events, Ct__Event *event) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    event->wall_time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    size_t size = ct__event__get_packed_size(event), whole = HEAD + size + TAIL;
    uint8_t *record = malloc(whole);
    if (!record) return ct_fail_bool("%s: out of memory", events->path);
    put(record, size, 8);
    put(record + 8, checksum(record, 8), 4);
    ct__event__pack(event, record + HEAD);
    put(record + HEAD + size, checksum(record + HEAD, size), 4);
    bool written = fwrite(record, 1, whole, events->file) == whole && fflush(events->file) == 0;
    free(record);
    return written || ct_fail_bool("%s: cannot be written: %s", events->path, strerror(errno));
}

/* ---- opening ----------------------------------------------------------------------------- */

/* Size of the record at `at`, if it is whole and of a step up to `from_step`; else 0. */
static size_t kept_record(const uint8_t *at, size_t left, int64_t from_step) {
    if (left < HEAD + TAIL || get(at + 8, 4) != checksum(at, 8)) return 0;
    uint64_t size = get(at, 8);
    if (size > left - HEAD - TAIL ||
        get(at + HEAD + size, 4) != checksum(at + HEAD, (size_t)size)) {
        return 0;
    }
    Ct__Event *event = ct__event__unpack(NULL, (size_t)size, at + HEAD);
    bool keep = event && event->step <= from_step;
    if (event) ct__event__free_unpacked(event, NULL);
    return keep ? HEAD + (size_t)size + TAIL : 0;
}

static bool cut_events(const char *path, int64_t from_step) {
    size_t bytes = 0, kept = 0, size;
    char *data = from_step > 0 && access(path, F_OK) == 0 ? ct_file_read(path, &bytes) : NULL;
    if (!ct_ok()) return false;
    while ((size = kept_record((uint8_t *)data + kept, bytes - kept, from_step))) kept += size;
    bool cut = ct_file_write(path, data ? data : "", kept);
    free(data);
    return cut;
}

ct_event_file *ct_event_file_open(const char *folder, int64_t from_step) {
    ct_event_file *events = calloc(1, sizeof *events);
    if (!events) return ct_fail("out of memory");
    events->path = ct_path(folder, CT_EVENT_FILE_NAME);
    if (events->path && cut_events(events->path, from_step)) {
        events->file = fopen(events->path, "a");
        if (!events->file) ct_fail("%s: cannot be opened: %s", events->path, strerror(errno));
    }
    Ct__Event version = CT__EVENT__INIT;
    version.what_case = CT__EVENT__WHAT_FILE_VERSION;
    version.file_version = "brain.Event:2";
    bool empty = events->file && fseek(events->file, 0, SEEK_END) == 0 && ftell(events->file) == 0;
    if (events->file && (!empty || write_event(events, &version))) return events;
    ct_event_file_close(events);
    return NULL;
}

void ct_event_file_close(ct_event_file *events) {
    if (!events) return;
    if (events->file) fclose(events->file);
    free(events->path);
    free(events);
}

/* ---- writing ----------------------------------------------------------------------------- */

typedef struct {
    Ct__Summary__Value value[CT_EVENT_MOST_VALUES], *pointer[CT_EVENT_MOST_VALUES];
    char tag[CT_EVENT_MOST_VALUES][64];
    size_t count;
} scalars;

static void collect(scalars *s, const char *prefix, const json_t *object) {
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)object, key, member) {
        if (s->count == CT_EVENT_MOST_VALUES) return;
        if (!*prefix && strcmp(key, "step") == 0) continue;
        char *tag = s->tag[s->count];
        snprintf(tag, sizeof s->tag[0], "%s%s", prefix, key);
        if (json_is_object(member)) {
            char inner[66];
            snprintf(inner, sizeof inner, "%s/", tag);
            collect(s, inner, member);
        } else if (json_is_number(member)) {
            Ct__Summary__Value *value = &s->value[s->count];
            *value = (Ct__Summary__Value)CT__SUMMARY__VALUE__INIT;
            value->tag = tag;
            value->value_case = CT__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
            value->simple_value = (float)json_number_value(member);
            s->pointer[s->count++] = value;
        }
    }
}

bool ct_event_file_write(ct_event_file *events, int64_t step, const json_t *object) {
    scalars s;
    s.count = 0;
    collect(&s, "", object);
    Ct__Summary summary = CT__SUMMARY__INIT;
    summary.n_value = s.count;
    summary.value = s.pointer;
    Ct__Event event = CT__EVENT__INIT;
    event.step = step;
    event.what_case = CT__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return write_event(events, &event);
}
