/* SPDX-License-Identifier: Apache-2.0 */
#include "train/search/answers.h"

#include <stdio.h>
#include <string.h>

#include "tensor/io/json.h"
#include "train/run/console.h"

/* What is shown of an answer; NULL: it has none. */
typedef struct {
    int64_t image;
    const char *picture, *caption;
} shown;

static shown show(const ct_index_split *s, ct_index_side side, int64_t row) {
    bool caption = side == CT_INDEX_CAPTIONS;
    int64_t image = caption ? s->image_of[row] : row;
    int64_t text = caption ? row : s->first_caption[image];
    return (shown){image, s->picture ? s->picture[image] : NULL,
                   text < 0 ? NULL : s->caption[text]};
}

/* Columns of "train 12". */
static int place_width(const ct_index_split *s, int64_t image) {
    return snprintf(NULL, 0, "%s %lld", s->name, (long long)image);
}

static int widest_place(const ct_index *index, ct_index_side side, const ct_answer *answers,
                        int64_t count) {
    int widest = 0;
    for (int64_t i = 0; i < count; i++) {
        const ct_index_split *s = &index->splits[answers[i].split];
        int width = place_width(s, show(s, side, answers[i].row).image);
        if (width > widest) widest = width;
    }
    return widest;
}

void ct_answers_print(const ct_index *index, ct_index_side side, const ct_answer *answers,
                      int64_t count) {
    int widest = widest_place(index, side, answers, count);
    for (int64_t i = 0; i < count; i++) {
        const ct_index_split *s = &index->splits[answers[i].split];
        shown a = show(s, side, answers[i].row);
        const char *picture = side == CT_INDEX_IMAGES && a.picture ? a.picture : "";
        ct_console_line("%3lld  %7.4f  %s %lld%*s  %s%s%s", (long long)i + 1, answers[i].score,
                        s->name, (long long)a.image, widest - place_width(s, a.image), "", picture,
                        *picture && a.caption ? "  " : "", a.caption ? a.caption : "");
    }
}

json_t *ct_text_json(const char *text) {
    json_t *value = json_string(text);
    char *copy = value ? NULL : strdup(text);
    for (char *at = copy; at && *at; at++) {
        if ((unsigned char)*at >= 0x80) *at = '?';
    }
    if (copy) value = json_string(copy);
    free(copy);
    return value;
}

static json_t *answer_json(const ct_index_split *s, ct_index_side side, const ct_answer *answer) {
    shown a = show(s, side, answer->row);
    json_t *object = json_object();
    ct_json_set(object, "score", json_real(answer->score));
    ct_json_set(object, "split", ct_text_json(s->name));
    ct_json_set(object, "image", json_integer(a.image));
    if (a.picture) ct_json_set(object, "picture", ct_text_json(a.picture));
    if (a.caption) ct_json_set(object, "caption", ct_text_json(a.caption));
    return object;
}

json_t *ct_answers_json(const ct_index *index, ct_index_side side, const ct_answer *answers,
                        int64_t count) {
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) {
        const ct_index_split *s = &index->splits[answers[i].split];
        ct_json_append(list, answer_json(s, side, &answers[i]));
    }
    return list;
}
