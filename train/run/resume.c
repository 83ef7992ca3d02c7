/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/resume.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/core/excuse.h"
#include "tensor/io/json.h"
#include "tensor/io/text_stream.h"
#include "train/config/config_keys.h"
#include "train/run/checkpoint.h"
#include "train/run/console.h"

/* What is compared. */
typedef struct {
    const ct_config *config;
    const char *last; /* path of the checkpoint */
    bool scored;      /* it has a best score */
    int64_t epochs;   /* that are done */
    bool complete;    /* by the earlier configuration no more were to be done */
} resumption;

/* ---- what is said ------------------------------------------------------------------------ */

static bool refuse(const resumption *r, const char *what, const char *now, const char *then) {
    return ct_fail_bool("%s = %s, but the run in %s was made with %s: go on with that, or start "
                        "another run (--init %s takes its weights)",
                        what, *now ? now : "(none)", r->config->run_folder, *then ? then : "(none)",
                        r->last);
}

static bool refused(const resumption *r, ct_key_change kind) {
    return kind == CT_CHANGE_REFUSED || (kind == CT_CHANGE_OF_SCORE && r->scored);
}

/* Of a run at its end: its results would name what it was not trained with. Fewer epochs may end
 * one early. */
static bool trains_nothing(const resumption *r, const char *what) {
    if (r->epochs < r->config->epochs) return false;
    if (!strcmp(what, "[train] epochs")) return r->complete;
    return !strncmp(what, "[train] ", 8) || !strncmp(what, "[loss] ", 7);
}

static bool refuse_at_end(const resumption *r, const char *what, const char *now,
                          const char *then) {
    return ct_fail_bool("%s = %s, but the run in %s was trained with %s: nothing is trained "
                        "any more, unless [train] epochs is above %" PRId64,
                        what, *now ? now : "(none)", r->config->run_folder, *then ? then : "(none)",
                        r->epochs);
}

static bool change(const resumption *r, ct_key_change kind, const char *what, const char *now,
                   const char *then) {
    if (refused(r, kind)) return refuse(r, what, now, then);
    if (kind == CT_CHANGE_SILENT) return true;
    if (trains_nothing(r, what)) return refuse_at_end(r, what, now, then);
    ct_console_line("%s = %s from here on; it was %s", what, *now ? now : "(none)",
                    *then ? then : "(none)");
    return true;
}

/* The same of what is told by a fingerprint, which says nothing to a reader. */
static bool change_unseen(const resumption *r, ct_key_change kind, const char *what) {
    if (refused(r, kind)) {
        return ct_fail_bool("%s is not what the run in %s was made with: go on with that, or start "
                            "another run (--init %s takes its weights)",
                            what, r->config->run_folder, r->last);
    }
    ct_console_line("%s is from here on not what the run in %s was made with", what,
                    r->config->run_folder);
    return true;
}

/* ---- keys -------------------------------------------------------------------------------- */

static bool compare_keys(const resumption *r, const ct_config *then) {
    bool good = true;
    for (int i = 0; good && i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        char *a = ct_config_value(r->config, key), *b = ct_config_value(then, key), what[128];
        snprintf(what, sizeof what, "[%s] %s", key->section, key->name);
        if (!a || !b) good = ct_fail_bool("resume: out of memory");
        else if (strcmp(a, b) != 0) good = change(r, key->change, what, a, b);
        free(a);
        free(b);
    }
    return good;
}

/* ---- the model's entries ----------------------------------------------------------------- */

static ct_key_change change_of(const ct_description_entry *entry) {
    if (strcmp(entry->section, "loss") == 0) return CT_CHANGE_SAID;
    bool resume = strcmp(entry->section, "compat") == 0 && strcmp(entry->key, "resume") == 0;
    return resume ? CT_CHANGE_SILENT : CT_CHANGE_REFUSED;
}

/* Writes a module as it counts: the file of word vectors, which may have moved, is left out, and
 * white space is one space. */
static void write_essence(FILE *out, const char *value) {
    static const char path[] = "vectors=";
    for (bool quoted = false, first = true; *value;) {
        value += strspn(value, " \t");
        bool skip = strncmp(value, path, sizeof path - 1) == 0;
        if (!skip && *value) fputs(first ? "" : " ", out);
        for (; *value && (quoted || !isspace((unsigned char)*value)); value++) {
            if (*value == '"') quoted = !quoted;
            if (!skip) fputc(*value, out);
        }
        if (skip) fputs(" vectors", out);
        first = false;
    }
}

static char *essence(const char *value) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    if (out) write_essence(out, value);
    return ct_text_stream_close(&stream, out);
}

/* 1: equal, 0: not, -1: out of memory. */
static int same_value(const char *a, const char *b) {
    char *x = essence(a), *y = essence(b);
    int same = x && y ? strcmp(x, y) == 0 : -1;
    free(x);
    free(y);
    return same;
}

/* The entry of the same section and key. */
static const ct_description_entry *find(const ct_description *model,
                                        const ct_description_entry *like) {
    for (int i = 0; i < model->count; i++) {
        const ct_description_entry *e = &model->entries[i];
        if (strcmp(e->section, like->section) == 0 && strcmp(e->key, like->key) == 0) return e;
    }
    return NULL;
}

static bool compare_entry(const resumption *r, const ct_description_entry *like, const char *now,
                          const char *then) {
    int same = now && then ? same_value(now, then) : 0;
    if (same < 0) return ct_fail_bool("resume: out of memory");
    char what[128];
    snprintf(what, sizeof what, "[%s] %s", like->section, like->key);
    return same || change(r, change_of(like), what, now ? now : "", then ? then : "");
}

/* The names of a chain's modules in their order, from malloc. */
static char *chain_of(const ct_description *model, const char *section) {
    ct_text_stream stream;
    FILE *out = ct_text_stream_open(&stream);
    const char *between = "";
    for (int i = 0; out && i < model->count; i++) {
        const ct_description_entry *e = &model->entries[i];
        if (strcmp(e->section, section) != 0) continue;
        fprintf(out, "%s%s", between, e->key);
        between = ", ";
    }
    return ct_text_stream_close(&stream, out);
}

static bool compare_chain(const resumption *r, const ct_description *then, const char *section) {
    char *a = chain_of(&r->config->model, section), *b = chain_of(then, section), what[64];
    snprintf(what, sizeof what, "the order of the modules of [%s]", section);
    bool good =
        a && b ? strcmp(a, b) == 0 || refuse(r, what, a, b) : ct_fail_bool("resume: out of memory");
    free(a);
    free(b);
    return good;
}

static bool compare_models(const resumption *r, const ct_description *then) {
    const ct_description *now = &r->config->model;
    for (int i = 0; i < now->count; i++) {
        const ct_description_entry *e = &now->entries[i], *old = find(then, e);
        if (!compare_entry(r, e, e->value, old ? old->value : NULL)) return false;
    }
    for (int i = 0; i < then->count; i++) {
        const ct_description_entry *old = &then->entries[i];
        if (!find(now, old) && !compare_entry(r, old, NULL, old->value)) return false;
    }
    return compare_chain(r, then, "image") && compare_chain(r, then, "text");
}

/* ---- data -------------------------------------------------------------------------------- */

/* What of the data is compared: member of the JSON text, what messages call it, and whether it is
 * a fingerprint. */
static const struct {
    const char *member, *what;
    ct_key_change change;
    bool unseen;
} facts[] = {
    {"images", "the number of the training split's images", CT_CHANGE_REFUSED, false},
    {"captions", "the number of the training split's captions", CT_CHANGE_REFUSED, false},
    {"text", "the text of the training split's captions, or which images they are of,",
     CT_CHANGE_REFUSED, true},
    {"features", "the content of the training split's features", CT_CHANGE_SAID, true},
    {"recorded", "the content of the recorded batches", CT_CHANGE_REFUSED, true},
    {"batches", "the number of batches an epoch", CT_CHANGE_REFUSED, false},
    {"vocabulary", "the content of the vocabulary", CT_CHANGE_REFUSED, true},
    {"dev_images", "the number of the dev split's images", CT_CHANGE_OF_SCORE, false},
    {"dev_captions", "the number of the dev split's captions", CT_CHANGE_OF_SCORE, false},
    {"dev_text", "the text of the dev split's captions, or which images they are of,",
     CT_CHANGE_OF_SCORE, true},
    {"dev_features", "the content of the dev split's features", CT_CHANGE_OF_SCORE, true},
};

static void add_number(json_t *to, const char *prefix, const char *member, int64_t value) {
    char name[64];
    snprintf(name, sizeof name, "%s%s", prefix, member);
    ct_json_set(to, name, json_sprintf("%" PRId64, value));
}

static void add_hash(json_t *to, const char *prefix, const char *member, uint64_t value) {
    char name[64];
    snprintf(name, sizeof name, "%s%s", prefix, member);
    ct_json_set(to, name, json_sprintf("%016" PRIx64, value));
}

static bool add_split(json_t *to, const char *prefix, const ct_split *split) {
    uint64_t captions, features;
    if (!split) return true;
    if (!ct_split_fingerprint(split, &captions, &features)) return false;
    add_number(to, prefix, "images", split->image_count);
    add_number(to, prefix, "captions", split->caption_count);
    add_hash(to, prefix, "text", captions);
    add_hash(to, prefix, "features", features);
    return true;
}

/* Of a recorded file its size, beginning and end. */
static bool add_recorded(json_t *to, const char *path) {
    enum { PART = 1 << 16 };
    if (!*path) return true;
    FILE *file = fopen(path, "rb");
    char *part = malloc(PART);
    uint64_t hash = 0;
    bool good = file && part;
    for (int at_end = 0; good && at_end < 2; at_end++) {
        good = fseek(file, 0, at_end ? SEEK_END : SEEK_SET) == 0;
        hash ^= (uint64_t)ftell(file);
        if (at_end && ftell(file) > PART) good = good && fseek(file, -PART, SEEK_END) == 0;
        hash = ct_hash_words(hash, part, fread(part, 1, PART, file));
        good = good && !ferror(file);
    }
    if (good) add_hash(to, "", "recorded", hash);
    else ct_fail("%s: %s", path, strerror(errno));
    if (file) fclose(file);
    free(part);
    return good;
}

char *ct_resume_data(const ct_prepared *p) {
    json_t *data = json_object();
    const ct_vocabulary *vocabulary = p->experiment->vocabulary;
    bool done = add_split(data, "", p->experiment->train) && add_split(data, "dev_", p->dev) &&
                add_recorded(data, p->experiment->config->recorded_file);
    uint64_t hash = 0;
    for (int64_t i = 0; i < ct_vocabulary_size(vocabulary); i++) {
        const char *word = ct_vocabulary_word(vocabulary, i);
        hash = ct_hash_words(hash, word, strlen(word));
    }
    if (vocabulary) add_hash(data, "", "vocabulary", hash);
    add_number(data, "", "batches", ct_batches_count(p->batches));
    char *text = done && ct_ok() ? ct_json_text(data, JSON_COMPACT) : NULL;
    json_decref(data);
    return text || !done ? text : ct_fail("resume: out of memory");
}

/* A member that either has not is not compared. */
static bool compare_data(const resumption *r, const char *now_text, const char *then_text) {
    json_t *now = ct_json_read(now_text, strlen(now_text), 0, NULL);
    json_t *then = ct_json_read(then_text, strlen(then_text), 0, NULL);
    bool good = ct_ok();
    for (size_t i = 0; good && i < sizeof facts / sizeof *facts; i++) {
        const char *a = json_string_value(json_object_get(now, facts[i].member));
        const char *b = json_string_value(json_object_get(then, facts[i].member));
        if (!a || !b || strcmp(a, b) == 0) continue;
        good = facts[i].unseen ? change_unseen(r, facts[i].change, facts[i].what)
                               : change(r, facts[i].change, facts[i].what, a, b);
    }
    json_decref(now);
    json_decref(then);
    return good;
}

/* ---- all --------------------------------------------------------------------------------- */

/* Of an earlier program's run, whose keys this one does not know, the keys are not compared. */
static bool compare_configs(const resumption *r, const char *then_text) {
    ct_config *then = ct_config_read_text(r->last, then_text);
    if (!then) {
        ct_console_line("%s: its configuration is not compared: %s", r->last, ct_error());
        return ct_error_excuse();
    }
    resumption of_run = *r;
    of_run.complete = r->epochs >= then->epochs;
    bool good = compare_keys(&of_run, then) && compare_models(&of_run, &then->model);
    ct_config_destroy(then);
    return good;
}

bool ct_resume_check(const ct_prepared *p, const char *data_text) {
    const ct_config *config = p->experiment->config;
    char *last = ct_path(config->run_folder, "last.safetensors"), *then = NULL, *data = NULL;
    ct_progress progress = {0};
    bool good = last && ct_checkpoint_origin(last, &then, &data, &progress);
    resumption r = {.config = config,
                    .last = last,
                    .scored = progress.best_score >= 0,
                    .epochs = progress.epoch};
    good = good && (!then || compare_configs(&r, then)) &&
           (!data || compare_data(&r, data_text, data));
    free(last);
    free(then);
    free(data);
    return good;
}

bool ct_resume_possible(const ct_prepared *p) {
    bool encoders_alone;
    const ct_description *model = &p->experiment->config->model;
    if (!ct_compat_released(model, "resume", &encoders_alone)) return false;
    char *data = encoders_alone ? NULL : ct_resume_data(p);
    bool good = encoders_alone || (data && ct_resume_check(p, data));
    free(data);
    return good;
}
