/* SPDX-License-Identifier: Apache-2.0 */
/* A TensorBoard event file with the numbers of metrics.jsonl, the configuration and
 * histograms: records of TensorFlow's TFRecord
 * format (length, its checksum, data, its checksum), each a protocol buffer
 * (train/run/event.proto).
 */
#ifndef CT_EVENT_FILE_H
#define CT_EVENT_FILE_H

#include <jansson.h>

#include "train/config/config.h"
#include "train/run/histogram.h"

enum { CT_EVENT_MOST_VALUES = 128 }; /* of one event; more are left out */
#define CT_EVENT_FILE_NAME "events.out.tfevents.cotangent"

typedef struct ct_event_file ct_event_file;

/* Where a run goes on: what logs have of later steps it writes again, and of the step itself its
 * validation, if that is due. Step 0 or below: nothing is kept. */
typedef struct {
    int64_t step;
    bool validation_due;
} ct_log_position;

/* Opens FOLDER/events.out.tfevents.cotangent, of which the events before `from` are kept, as far as
 * they are whole. */
ct_event_file *ct_event_file_open(const char *folder, ct_log_position from);
void ct_event_file_close(ct_event_file *events);
/* Writes the numbers in `object` as one event and gives it to the file system. Those of objects in
 * it have tags like "dev/i2t/r1"; "step" and what is no number are left out. */
bool ct_event_file_write(ct_event_file *events, int64_t step, const json_t *object);

/* Whether there were no events in it when it was opened. */
bool ct_event_file_is_new(const ct_event_file *events);
/* Each an event of its own. The configuration: as text, and, of what a run is told from others by,
 * as the hyper-parameters of a session that begins. */
bool ct_event_file_begin(ct_event_file *events, const ct_config *config);
/* That session's end, as one that has succeeded. */
bool ct_event_file_end(ct_event_file *events, int64_t step);
bool ct_event_file_histogram(ct_event_file *events, int64_t step, const char *tag,
                             const ct_histogram *histogram);

/* The bytes of a JPEG file of that size. */
bool ct_event_file_picture(ct_event_file *events, int64_t step, const char *tag, int width,
                           int height, uint8_t *bytes, size_t size);

#endif
