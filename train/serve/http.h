/* SPDX-License-Identifier: Apache-2.0 */
/* What is served by HTTP/1.1, with libmicrohttpd, by one thread: it answers one request at a time,
 * and waits for no client. What a client may take of it is bounded: connections, the bytes of a
 * request's head and of all bodies, the time of a request. */
#ifndef CT_SERVE_HTTP_H
#define CT_SERVE_HTTP_H

#include "train/serve/answer.h"

typedef struct ct_http ct_http;

/* Serves on a listening socket, which it takes, or (-1) on connections that are given. It answers
 * under the `count` names, which outlive it, and under addresses in numbers, so that no page of the
 * web can ask by a name that it has had point here. NULL and an error otherwise. */
ct_http *ct_http_open(const ct_served *served, int listener, const char *const *names, int count);
/* Takes a connected socket. False and an error if it cannot. */
bool ct_http_take(ct_http *http, int connection);
/* Waits for requests, so many milliseconds at most, and answers what is there. False and an error
 * when no more can be waited for. */
bool ct_http_run(ct_http *http, int milliseconds);
void ct_http_close(ct_http *http);

#endif
