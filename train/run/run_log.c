/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/run_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensor/io/json.h"
#include "train/run/experiment.h"

struct ct_run_log {
    FILE *file;
    char *path;
    ct_event_file *events; /* or NULL */
};

static bool is_kept(const json_t *line, ct_log_position from) {
    int64_t step = json_integer_value(json_object_get(line, "step"));
    bool again = from.validation_due && json_object_get(line, "dev");
    return line && (step < from.step || (step == from.step && !again));
}

/* The part of the file whose lines are kept: its length in bytes. A last line that was cut by a
 * kill does not count. */
static size_t kept_length(const char *text, ct_log_position from) {
    size_t kept = 0;
    while (text[kept]) {
        const char *end = strchr(text + kept, '\n');
        if (!end) break;
        json_t *line = ct_json_read(text + kept, (size_t)(end - text) - kept, 0, NULL);
        bool keep = is_kept(line, from);
        json_decref(line);
        if (!keep) break;
        kept = (size_t)(end - text) + 1;
    }
    return kept;
}

static bool cut_log(const char *path, ct_log_position from) {
    if (from.step > 0 && access(path, F_OK) == 0) {
        char *text = ct_file_read(path, NULL);
        if (!text) return false;
        size_t kept = kept_length(text, from);
        bool cut = ct_ok() && ct_file_write(path, text, kept);
        free(text);
        return cut;
    }
    return ct_file_write(path, "", 0);
}

ct_run_log *ct_run_log_open(const char *folder, ct_log_position from, bool tensorboard) {
    ct_run_log *log = calloc(1, sizeof *log);
    if (!log) return ct_fail("out of memory");
    log->path = ct_path(folder, "metrics.jsonl");
    if (log->path && cut_log(log->path, from)) {
        log->file = fopen(log->path, "a");
        if (!log->file) ct_fail("%s: cannot be opened: %s", log->path, strerror(errno));
    }
    if (log->file && tensorboard) log->events = ct_event_file_open(folder, from);
    if (log->file && (log->events || !tensorboard)) return log;
    ct_run_log_close(log);
    return NULL;
}

void ct_run_log_close(ct_run_log *log) {
    if (!log) return;
    if (log->file) fclose(log->file);
    ct_event_file_close(log->events);
    free(log->path);
    free(log);
}

ct_event_file *ct_run_log_events(const ct_run_log *log) { return log->events; }

static bool write_line(ct_run_log *log, const json_t *object) {
    char *text = ct_json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    bool written = text && fprintf(log->file, "%s\n", text) > 0 && fflush(log->file) == 0;
    free(text);
    return written || ct_fail_bool("%s: cannot be written: %s", log->path, strerror(errno));
}

bool ct_run_log_write(ct_run_log *log, json_t *object) {
    if (!object || !ct_ok()) {
        json_decref(object);
        return ct_fail_bool("%s: cannot be written: out of memory", log->path);
    }
    int64_t step = json_integer_value(json_object_get(object, "step"));
    bool written =
        write_line(log, object) && (!log->events || ct_event_file_write(log->events, step, object));
    json_decref(object);
    return written;
}

/* ---- results ----------------------------------------------------------------------------- */

static json_t *recalls_json(const ct_recalls *r) {
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "r1", r->r1, "r5", r->r5, "r10", r->r10, "medr",
                     r->medr, "meanr", r->meanr);
}

json_t *ct_retrieval_json(const ct_retrieval *m) {
    return json_pack("{s:o, s:o, s:f}", "i2t", recalls_json(&m->i2t), "t2i", recalls_json(&m->t2i),
                     "rsum", m->rsum);
}

/* A split's recalls, and how much was ranked. */
static json_t *split_json(const ct_retrieval *m) {
    json_t *split = ct_retrieval_json(m);
    ct_json_set(split, "images", json_integer(m->images));
    ct_json_set(split, "captions", json_integer(m->captions));
    return split;
}

/* clang's version names it. */
#ifdef __clang__
static const char compiler[] = __VERSION__;
#else
static const char compiler[] = "gcc " __VERSION__;
#endif

bool ct_results_write(const char *path, const ct_config *config, const ct_results *r) {
    json_t *root = json_object();
    for (int i = 0; i < r->count; i++) {
        ct_json_set(root, r->names[i], split_json(&r->rows[i]));
    }
    if (r->dev) ct_json_set(root, "dev", split_json(r->dev));
    json_t *rest =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:f, s:f, s:{s:s, s:s, s:s}, s:s}", "seed",
                  (json_int_t)config->seed, "best_epoch", (json_int_t)r->best_epoch, "best_step",
                  (json_int_t)r->best_step, "steps", (json_int_t)r->steps, "parameters",
                  (json_int_t)r->parameters, "interrupted", r->interrupted, "wall_seconds",
                  r->wall_seconds, "train_seconds", r->train_seconds, "peak_memory_bytes",
                  r->peak_bytes, "versions", "cotangent", ct_version(), "compiler", compiler,
                  "machine", ct_machine_text(), "config", config->text);
    ct_json_join(root, rest);
    char *text = ct_json_text(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    bool written = text && ct_ok() ? ct_file_write(path, text, strlen(text))
                                   : ct_fail_bool("%s: cannot be made: out of memory", path);
    free(text);
    return written;
}
