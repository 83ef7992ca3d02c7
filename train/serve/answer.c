/* SPDX-License-Identifier: Apache-2.0 */
#include "train/serve/answer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "tensor/io/json.h"
#include "train/report/pictures.h"
#include "train/search/answers.h"
#include "train/serve/look.h"
#include "train/serve/pages.h"

enum { OK = 200, NOT_MODIFIED = 304, BAD = 400, NOT_FOUND = 404, UNREADABLE = 422, FAILED = 500 };

/* ---- replies ----------------------------------------------------------------------------- */

static void reply_json(ct_reply *reply, int status, json_t *object) {
    char *text = ct_json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    *reply = (ct_reply){.status = status, .type = "application/json"};
    reply->bytes = text;
    if (text) reply->size = strlen(text);
    static const char none[] = "{\"error\":\"out of memory\"}";
    if (!text) *reply = (ct_reply){FAILED, reply->type, .own = none, .size = sizeof none - 1};
}

ct_reply ct_reply_error(int status, const char *format, ...) {
    char text[1024];
    ct_reply reply;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    reply_json(&reply, status, json_pack("{s:o}", "error", ct_text_json(text)));
    return reply;
}

/* The object, which it takes; or the thread's error, as that status. */
static void reply_made(ct_reply *reply, json_t *object, int otherwise) {
    if (ct_ok()) {
        reply_json(reply, OK, object);
        return;
    }
    json_decref(object);
    *reply = ct_reply_error(otherwise, "%s", ct_error());
}

/* ---- arguments --------------------------------------------------------------------------- */

/* A decimal number of digits alone; -1: it is none, or above `most`. */
static int64_t read_number(const char *text, int64_t most) {
    int64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && value <= most; at++) value = 10 * value + (*at - '0');
    return at == text || *at || value > most ? -1 : value;
}

/* `otherwise` where it is not given; 0 and a reply if it is wrong. */
static int64_t take_number(const char *name, const char *text, int64_t least, int64_t most,
                           int64_t otherwise, ct_reply *reply) {
    int64_t value = text ? read_number(text, most) : otherwise;
    if (value >= least) return value;
    *reply = ct_reply_error(BAD, "%s=%.40s: expected a number from %" PRId64 " to %" PRId64, name,
                            text, least, most);
    return 0;
}

static int64_t take_top(const ct_served *served, const ct_request *request, ct_reply *reply) {
    return take_number("top", request->top, 1, CT_SERVE_MOST_TOP, served->top, reply);
}

/* ---- answers as JSON --------------------------------------------------------------------- */

/* What an image is asked for by. */
static void add_id(json_t *object, const ct_served *served, int split, int64_t image) {
    int64_t id = served->splits[split].first + image;
    ct_json_set(object, "id", json_integer(id));
    if (!ct_served_picture(served, split, image)) return;
    char url[40];
    snprintf(url, sizeof url, "/pictures/%" PRId64, id);
    ct_json_set(object, "url", json_string(url));
}

/* NULL and an error otherwise. */
static json_t *search(const ct_served *served, ct_tensor *question, ct_index_side side,
                      int64_t top) {
    ct_device device = served->index->splits[0].rows[CT_INDEX_IMAGES]->device;
    ct_searched model = {served->index, ct_tensor_to_device(question, device)};
    int64_t found = 0;
    ct_answer *answers = model.questions ? ct_search(&model, 1, side, top, &found) : NULL;
    if (!answers) return NULL;
    json_t *list = ct_answers_json(served->index, side, answers, found);
    for (int64_t i = 0; i < found; i++) {
        const ct_index_split *s = &served->index->splits[answers[i].split];
        int64_t row = answers[i].row, image = side == CT_INDEX_IMAGES ? row : s->image_of[row];
        add_id(json_array_get(list, (size_t)i), served, answers[i].split, image);
    }
    free(answers);
    return list;
}

/* ---- /api/about -------------------------------------------------------------------------- */

static void about(const ct_served *served, const ct_request *request, ct_reply *reply) {
    (void)request;
    const ct_experiment *e = served->experiment;
    json_t *object = json_object(), *splits = json_array();
    for (int i = 0; i < served->index->count; i++) {
        const ct_index_split *s = &served->index->splits[i];
        json_t *split = json_object();
        ct_json_set(split, "split", ct_text_json(s->name));
        ct_json_set(split, "images", json_integer(s->images));
        ct_json_set(split, "captions", json_integer(s->captions));
        ct_json_set(split, "first_id", json_integer(served->splits[i].first));
        ct_json_append(splits, split);
    }
    ct_json_set(object, "version", json_string(ct_version()));
    ct_json_set(object, "run", ct_text_json(e->config->run_folder));
    ct_json_set(object, "model", json_string(served->index->fingerprint));
    ct_json_set(object, "images", json_integer(served->images));
    ct_json_set(object, "captions", json_integer(served->captions));
    ct_json_set(object, "splits", splits);
    ct_json_set(object, "search_image", json_boolean(e->pictures));
    ct_json_set(object, "top", json_integer(served->top));
    ct_json_set(object, "most_top", json_integer(CT_SERVE_MOST_TOP));
    ct_json_set(object, "most_bytes", json_integer(CT_SERVE_MOST_BODY));
    reply_made(reply, object, FAILED);
}

/* ---- /api/search ------------------------------------------------------------------------- */

/* A sentence that a model may be asked; a reply otherwise. */
static bool check_sentence(const char *q, ct_reply *reply) {
    size_t size = q ? strlen(q) : 0;
    if (!size) *reply = ct_reply_error(BAD, "no sentence: expected /api/search?q=SENTENCE");
    else if (size > CT_SERVE_MOST_SENTENCE)
        *reply = ct_reply_error(BAD, "a sentence of %zu bytes, expected %d at most", size,
                                CT_SERVE_MOST_SENTENCE);
    else if (u8_check((const uint8_t *)q, size))
        *reply = ct_reply_error(BAD, "the sentence is no UTF-8");
    else return true;
    return false;
}

static void search_sentence(const ct_served *served, const ct_request *request, ct_reply *reply) {
    int64_t top = take_top(served, request, reply);
    if (!top || !check_sentence(request->q, reply)) return;
    json_t *object = json_object();
    ct_json_set(object, "query", ct_text_json(request->q));
    int status = UNREADABLE;
    CT_SCOPE {
        ct_tensor *y = ct_look_at_sentence(served, request->q, object);
        if (y) status = FAILED;
        json_t *images = y ? search(served, y, CT_INDEX_IMAGES, top) : NULL;
        if (images) ct_json_set(object, "images", images);
    }
    reply_made(reply, object, status);
}

/* ---- /api/search-image ------------------------------------------------------------------- */

static const char *const side_names[] = {"images", "captions"};

/* Of an error *status says whose it is. */
static void search_decoded(const ct_served *served, const ct_picture *picture, int64_t top,
                           json_t *object, int *status) {
    CT_SCOPE {
        ct_tensor *y = ct_look_at_picture(served, picture, "the picture", object);
        if (y) *status = FAILED;
        for (int side = CT_INDEX_IMAGES; y && side <= CT_INDEX_CAPTIONS; side++) {
            json_t *list = search(served, y, (ct_index_side)side, top);
            if (list) ct_json_set(object, side_names[side], list);
        }
    }
}

static void search_picture(const ct_served *served, const ct_request *request, ct_reply *reply) {
    int64_t top = take_top(served, request, reply);
    if (!top) return;
    ct_picture picture;
    int status = UNREADABLE;
    json_t *object = json_object();
    ct_json_set(object, "query_image", json_string("the picture"));
    if (ct_picture_decode("the picture", request->body, request->size, CT_SERVE_MOST_PIXELS,
                          &picture)) {
        search_decoded(served, &picture, top, object, &status);
    }
    ct_picture_free(&picture);
    reply_made(reply, object, status);
}

/* ---- /api/images/ID, /pictures/ID -------------------------------------------------------- */

/* The image that a path ends in; a reply if there is none. */
static bool take_image(const ct_served *served, const char *path, int *split, int64_t *image,
                       ct_reply *reply) {
    int64_t id = read_number(strrchr(path, '/') + 1, served->images);
    if (ct_served_find(served, id, split, image)) return true;
    *reply = ct_reply_error(NOT_FOUND, "no such image: expected 0 to %" PRId64, served->images - 1);
    return false;
}

static json_t *captions_of(const ct_index_split *s, int64_t image) {
    json_t *list = json_array();
    for (int64_t c = 0; s->caption && c < s->captions; c++) {
        if (s->image_of[c] == image) ct_json_append(list, ct_text_json(s->caption[c]));
    }
    return list;
}

static void show_image(const ct_served *served, const ct_request *request, ct_reply *reply) {
    int split;
    int64_t image;
    if (!take_image(served, request->path, &split, &image, reply)) return;
    const ct_index_split *s = &served->index->splits[split];
    json_t *object = json_object();
    ct_json_set(object, "split", ct_text_json(s->name));
    ct_json_set(object, "image", json_integer(image));
    add_id(object, served, split, image);
    ct_json_set(object, "captions", captions_of(s, image));
    CT_SCOPE ct_look_at_image(served, split, image, object);
    reply_made(reply, object, FAILED);
}

/* Another one when the file changes, or how it is shown. */
static bool mark_picture(const char *path, int64_t side, char mark[24]) {
    struct stat file;
    if (!ct_served_is_file(path, &file)) return false;
    const int64_t facts[] = {file.st_size, file.st_mtim.tv_sec, file.st_mtim.tv_nsec, side};
    uint64_t hash = ct_hash_words(ct_hash_words(0, path, strlen(path)), facts, sizeof facts);
    snprintf(mark, 24, "\"%016" PRIx64 "\"", hash);
    return true;
}

/* Decoded and made smaller, whatever the file is: what leaves is always a whole JPEG. */
static void send_picture(const ct_served *served, const ct_request *request, ct_reply *reply) {
    enum { LEAST_SIDE = 16, MOST_SIDE = 2048, SIDE = 512 };
    int split;
    int64_t image, side = take_number("side", request->side, LEAST_SIDE, MOST_SIDE, SIDE, reply);
    if (!side || !take_image(served, request->path, &split, &image, reply)) return;
    const char *path = ct_served_picture(served, split, image);
    char mark[24];
    if (!path || !mark_picture(path, side, mark)) {
        *reply = ct_reply_error(NOT_FOUND, "the picture of image %s is not there",
                                strrchr(request->path, '/') + 1);
        return;
    }
    *reply = (ct_reply){.status = OK, .type = "image/jpeg"};
    memcpy(reply->mark, mark, sizeof mark);
    if (request->known && strcmp(request->known, mark) == 0) {
        reply->status = NOT_MODIFIED;
        return;
    }
    ct_picture picture = {0};
    uint8_t *bytes = NULL;
    bool done = ct_picture_small(path, NULL, (int)side, &picture) &&
                ct_picture_to_jpeg(&picture, &bytes, &reply->size);
    ct_picture_free(&picture);
    reply->bytes = bytes;
    if (!done) reply_made(reply, NULL, FAILED);
}

/* ---- the routes -------------------------------------------------------------------------- */

static const ct_route routes[] = {
    {"/", false, false, ct_serve_page},
    {"/search.css", false, false, ct_serve_page},
    {"/search.js", false, false, ct_serve_page},
    {"/search.svg", false, false, ct_serve_page},
    {"/api/about", false, false, about},
    {"/api/search", false, false, search_sentence},
    {"/api/search-image", false, true, search_picture},
    {"/api/images/", true, false, show_image},
    {"/pictures/", true, false, send_picture},
};

const ct_route *ct_route_find(const char *path) {
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const ct_route *r = &routes[i];
        size_t length = strlen(r->path);
        bool same = strncmp(path, r->path, length) == 0;
        if (same && (r->numbered ? path[length] && !strchr(path + length, '/') : !path[length]))
            return r;
    }
    return NULL;
}

ct_reply ct_serve_answer(const ct_served *served, const ct_route *route,
                         const ct_request *request) {
    ct_reply reply = {0};
    route->answer(served, request, &reply);
    if (!ct_ok()) ct_error_clear();
    return reply;
}
