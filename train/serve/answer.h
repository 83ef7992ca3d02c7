/* SPDX-License-Identifier: Apache-2.0 */
/* What is answered to a request, whatever brings it: the page, its API (docs/serve.md), pictures.
 */
#ifndef CT_SERVE_ANSWER_H
#define CT_SERVE_ANSWER_H

#include "train/serve/served.h"

enum {
    CT_SERVE_MOST_BODY = 32 << 20,   /* bytes of a picture that is sent */
    CT_SERVE_MOST_PIXELS = 64 << 20, /* of it, decoded */
    CT_SERVE_MOST_SENTENCE = 4000,   /* bytes */
    CT_SERVE_MOST_TOP = 1000,
};

/* Arguments are text, NULL where they are not given. */
typedef struct {
    const char *path;
    const char *q, *top, *side;
    const char *known; /* the mark of what the asker has already (If-None-Match), or NULL */
    const void *body;  /* of a POST */
    size_t size;
} ct_request;

typedef struct {
    int status; /* HTTP's */
    const char *type;
    char mark[24];   /* tells this reply from another one to the same request; "": it has none */
    void *bytes;     /* from malloc, */
    const void *own; /* or the program's */
    size_t size;
} ct_reply;

/* What a path is answered by. */
typedef struct {
    const char *path;
    bool numbered; /* the path ends in a number */
    bool post;     /* takes a body by POST; else GET and HEAD */
    void (*answer)(const ct_served *served, const ct_request *request, ct_reply *reply);
} ct_route;

/* NULL: nothing is there. */
const ct_route *ct_route_find(const char *path);

/* Answers; what is wrong becomes a status and {"error": sentence}, and the thread's error is
 * cleared. The reply's bytes are the caller's. */
ct_reply ct_serve_answer(const ct_served *served, const ct_route *route, const ct_request *request);

/* A reply that is {"error": sentence}. */
ct_reply ct_reply_error(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
