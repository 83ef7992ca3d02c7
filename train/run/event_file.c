/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/event_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "event.pb-c.h"
#include "tensor/io/text_stream.h"
#include "train/config/config_keys.h"
#include "train/run/experiment.h"

struct ct_event_file {
    FILE *file;
    char *path;
    bool is_new;
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

static double seconds_since_1970(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool write_event(ct_event_file *events, Ct__Event *event) {
    event->wall_time = seconds_since_1970();
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

static bool is_of_validation(const Ct__Event *event) {
    const Ct__Summary *summary =
        event->what_case == CT__EVENT__WHAT_SUMMARY ? event->summary : NULL;
    for (size_t i = 0; summary && i < summary->n_value; i++) {
        const char *tag = summary->value[i]->tag;
        if (tag && strncmp(tag, "dev/", 4) == 0) return true;
    }
    return false;
}

static bool is_kept(const Ct__Event *event, ct_log_position from) {
    bool again = from.validation_due && is_of_validation(event);
    return event->step < from.step || (event->step == from.step && !again);
}

/* Size of the record at `at`, if it is whole and kept; else 0, with an error without memory. */
static size_t kept_record(const char *path, const uint8_t *at, size_t left, ct_log_position from) {
    if (left < HEAD + TAIL || get(at + 8, 4) != checksum(at, 8)) return 0;
    uint64_t size = get(at, 8);
    if (size > left - HEAD - TAIL ||
        get(at + HEAD + size, 4) != checksum(at + HEAD, (size_t)size)) {
        return 0;
    }
    errno = 0;
    Ct__Event *event = ct__event__unpack(NULL, (size_t)size, at + HEAD);
    bool keep = event && is_kept(event, from);
    if (!event && errno == ENOMEM) ct_fail("%s: out of memory", path);
    if (event) ct__event__free_unpacked(event, NULL);
    return keep ? HEAD + (size_t)size + TAIL : 0;
}

static bool cut_events(const char *path, ct_log_position from) {
    size_t bytes = 0, kept = 0, size;
    char *data = from.step > 0 && access(path, F_OK) == 0 ? ct_file_read(path, &bytes) : NULL;
    if (!ct_ok()) return false;
    while ((size = kept_record(path, (uint8_t *)data + kept, bytes - kept, from))) kept += size;
    bool cut = ct_ok() && ct_file_write(path, data ? data : "", kept);
    free(data);
    return cut;
}

ct_event_file *ct_event_file_open(const char *folder, ct_log_position from) {
    ct_event_file *events = calloc(1, sizeof *events);
    if (!events) return ct_fail("out of memory");
    events->path = ct_path(folder, CT_EVENT_FILE_NAME);
    if (events->path && cut_events(events->path, from)) {
        events->file = fopen(events->path, "a");
        if (!events->file) ct_fail("%s: cannot be opened: %s", events->path, strerror(errno));
    }
    Ct__Event version = CT__EVENT__INIT;
    version.what_case = CT__EVENT__WHAT_FILE_VERSION;
    version.file_version = "brain.Event:2";
    bool empty = events->file && fseek(events->file, 0, SEEK_END) == 0 && ftell(events->file) == 0;
    events->is_new = empty;
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

bool ct_event_file_is_new(const ct_event_file *events) { return events->is_new; }

static bool write_summary(ct_event_file *events, int64_t step, Ct__Summary *summary) {
    Ct__Event event = CT__EVENT__INIT;
    event.step = step;
    event.what_case = CT__EVENT__WHAT_SUMMARY;
    event.summary = summary;
    return write_event(events, &event);
}

bool ct_event_file_write(ct_event_file *events, int64_t step, const json_t *object) {
    scalars s;
    s.count = 0;
    collect(&s, "", object);
    Ct__Summary summary = CT__SUMMARY__INIT;
    summary.n_value = s.count;
    summary.value = s.pointer;
    return write_summary(events, step, &summary);
}

static bool write_value(ct_event_file *events, int64_t step, Ct__Summary__Value *value) {
    Ct__Summary summary = CT__SUMMARY__INIT;
    summary.n_value = 1;
    summary.value = &value;
    return write_summary(events, step, &summary);
}

bool ct_event_file_histogram(ct_event_file *events, int64_t step, const char *tag,
                             const ct_histogram *h) {
    double limit[CT_HISTOGRAM_BUCKETS], bucket[CT_HISTOGRAM_BUCKETS];
    for (int i = 0; i < CT_HISTOGRAM_BUCKETS; i++) {
        limit[i] = ct_histogram_limit(h, i);
        bucket[i] = (double)h->bucket[i];
    }
    Ct__Histogram histogram = CT__HISTOGRAM__INIT;
    histogram.min = h->min;
    histogram.max = h->max;
    histogram.num = h->count;
    histogram.sum = h->sum;
    histogram.sum_squares = h->sum_squares;
    histogram.n_bucket = histogram.n_bucket_limit = CT_HISTOGRAM_BUCKETS;
    histogram.bucket = bucket;
    histogram.bucket_limit = limit;
    Ct__Summary__Value value = CT__SUMMARY__VALUE__INIT;
    value.tag = (char *)tag;
    value.value_case = CT__SUMMARY__VALUE__VALUE_HISTO;
    value.histo = &histogram;
    return write_value(events, step, &value);
}

bool ct_event_file_picture(ct_event_file *events, int64_t step, const char *tag, int width,
                           int height, uint8_t *bytes, size_t size) {
    enum { RGB = 3 };
    Ct__Summary__Image image = CT__SUMMARY__IMAGE__INIT;
    image.width = width;
    image.height = height;
    image.colorspace = RGB;
    image.encoded_image_string = (ProtobufCBinaryData){size, bytes};
    Ct__Summary__Value value = CT__SUMMARY__VALUE__INIT;
    value.tag = (char *)tag;
    value.value_case = CT__SUMMARY__VALUE__VALUE_IMAGE;
    value.image = &image;
    return write_value(events, step, &value);
}

/* ---- the configuration ------------------------------------------------------------------- */

/* A value of a plugin of TensorBoard's, with a text or without. */
static bool write_plugin(ct_event_file *events, int64_t step, const char *plugin, const char *tag,
                         ProtobufCBinaryData content, char *text) {
    enum { STRING = 7 };
    Ct__Metadata__PluginData data = CT__METADATA__PLUGIN_DATA__INIT;
    data.plugin_name = (char *)plugin;
    data.content = content;
    Ct__Metadata metadata = CT__METADATA__INIT;
    metadata.plugin_data = &data;
    Ct__Tensor__Shape shape = CT__TENSOR__SHAPE__INIT; /* of no dimensions */
    Ct__Tensor tensor = CT__TENSOR__INIT;
    ProtobufCBinaryData string = {text ? strlen(text) : 0, (uint8_t *)text};
    tensor.dtype = STRING;
    tensor.tensor_shape = &shape;
    tensor.n_string_val = 1;
    tensor.string_val = &string;
    Ct__Summary__Value value = CT__SUMMARY__VALUE__INIT;
    value.tag = (char *)tag;
    value.metadata = &metadata;
    if (text) value.value_case = CT__SUMMARY__VALUE__VALUE_TENSOR;
    if (text) value.tensor = &tensor;
    return write_value(events, step, &value);
}

/* Texts are Markdown there: four spaces before a line leave it as it is. */
static bool write_text(ct_event_file *events, const ct_config *config) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    if (!out) return ct_fail_bool("%s: out of memory", events->path);
    fputs("    ", out);
    for (const char *at = config->text; *at; at++) {
        fputc(*at, out);
        if (*at == '\n' && at[1]) fputs("    ", out);
    }
    char *text = ct_text_stream_close(&stream, out);
    bool written =
        text ? write_plugin(events, 0, "text", "configuration", (ProtobufCBinaryData){0}, text)
             : ct_fail_bool("%s: out of memory", events->path);
    free(text);
    return written;
}

static bool write_hparams(ct_event_file *events, int64_t step, const char *tag,
                          const Ct__HParams *data) {
    size_t size = ct__hparams__get_packed_size(data);
    uint8_t *bytes = malloc(size + 1);
    if (!bytes) return ct_fail_bool("%s: out of memory", events->path);
    ct__hparams__pack(data, bytes);
    bool written =
        write_plugin(events, step, "hparams", tag, (ProtobufCBinaryData){size, bytes}, NULL);
    free(bytes);
    return written;
}

typedef struct {
    Ct__HParams__Entry entry[CT_EVENT_MOST_VALUES], *pointer[CT_EVENT_MOST_VALUES];
    Ct__HParams__Value value[CT_EVENT_MOST_VALUES];
    char name[CT_EVENT_MOST_VALUES][112];
    size_t count;
} hyper_parameters;

/* As a number where `number` and it is one; `text` stays the caller's. */
static void add_setting(hyper_parameters *h, const char *section, const char *key, char *text,
                        bool number) {
    if (h->count == CT_EVENT_MOST_VALUES) return;
    size_t i = h->count++;
    char *end;
    double value = strtod(text, &end);
    bool is_number = number && *text && !*end;
    snprintf(h->name[i], sizeof h->name[i], "%s.%s", section, key);
    h->value[i] = (Ct__HParams__Value)CT__HPARAMS__VALUE__INIT;
    h->value[i].kind_case =
        is_number ? CT__HPARAMS__VALUE__KIND_NUMBER_VALUE : CT__HPARAMS__VALUE__KIND_STRING_VALUE;
    if (is_number) h->value[i].number_value = value;
    else h->value[i].string_value = text;
    h->entry[i] = (Ct__HParams__Entry)CT__HPARAMS__ENTRY__INIT;
    h->entry[i].key = h->name[i];
    h->entry[i].value = &h->value[i];
    h->pointer[i] = &h->entry[i];
}

/* What trains, and what is trained. */
static bool write_start(ct_event_file *events, const ct_config *config) {
    hyper_parameters h = {.count = 0};
    char *values[CT_CONFIG_MAX_KEYS];
    int count = 0;
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        bool told = strcmp(key->section, "train") == 0 || strcmp(key->name, "seed") == 0;
        if (!told || key->change == CT_CHANGE_SILENT) continue;
        char *value = values[count] = ct_config_value(config, key);
        if (!value) break;
        count++;
        add_setting(&h, key->section, key->name, value,
                    key->type == CT_KEY_NUMBER || key->type == CT_KEY_WHOLE);
    }
    for (int i = 0; i < config->model.count; i++) {
        const ct_description_entry *entry = &config->model.entries[i];
        add_setting(&h, entry->section, entry->key, (char *)entry->value, true);
    }
    Ct__HParams__Start start = CT__HPARAMS__START__INIT;
    start.n_hparams = h.count;
    start.hparams = h.pointer;
    start.start_time_secs = seconds_since_1970();
    Ct__HParams data = CT__HPARAMS__INIT;
    data.data_case = CT__HPARAMS__DATA_SESSION_START_INFO;
    data.session_start_info = &start;
    bool written = write_hparams(events, 0, "_hparams_/session_start_info", &data);
    for (int i = 0; i < count; i++) free(values[i]);
    return written;
}

bool ct_event_file_begin(ct_event_file *events, const ct_config *config) {
    return write_text(events, config) && write_start(events, config);
}

bool ct_event_file_end(ct_event_file *events, int64_t step) {
    enum { SUCCESS = 1 };
    Ct__HParams__End end = CT__HPARAMS__END__INIT;
    end.status = SUCCESS;
    end.end_time_secs = seconds_since_1970();
    Ct__HParams data = CT__HPARAMS__INIT;
    data.data_case = CT__HPARAMS__DATA_SESSION_END_INFO;
    data.session_end_info = &end;
    return write_hparams(events, step, "_hparams_/session_end_info", &data);
}
