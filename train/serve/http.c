/* SPDX-License-Identifier: Apache-2.0 */
#include "train/serve/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "autograd/profile.h"

enum {
    MOST_CONNECTIONS = 256, /* above SPARED the one that has waited longest goes */
    SPARED = 240,
    MOST_HEAD = 32 << 10,    /* bytes: of a request's line and headers, and of what is answered */
    MOST_BODIES = 128 << 20, /* bytes of all bodies; above, the one that has waited longest goes */
    MOST_SILENCE = 10,       /* seconds without a byte */
    MOST_SECONDS = 60        /* of a request, from its first byte to the last one of the answer */
};

/* One request, while it comes. */
typedef struct {
    const ct_route *route;
    char *body; /* room for as much as has come of it: */
    size_t size, room, whole;
    bool cut_off;
} incoming;

typedef struct connection {
    struct connection *previous, *next;
    int socket;
    double since; /* its beginning, or the end of its last request */
    incoming *request;
} connection;

struct ct_http {
    const ct_served *served;
    struct MHD_Daemon *daemon;
    const char *const *names;
    int name_count;
    connection *first, *last; /* the first has waited longest */
    int connections;
    size_t bodies; /* bytes that all of them have room for */
};

/* ---- connections ------------------------------------------------------------------------- */

static void take_out(ct_http *http, connection *c) {
    *(c->previous ? &c->previous->next : &http->first) = c->next;
    *(c->next ? &c->next->previous : &http->last) = c->previous;
}

static void put_last(ct_http *http, connection *c) {
    *c = (connection){http->last, NULL, c->socket, ct_profile_clock(), NULL};
    *(http->last ? &http->last->next : &http->first) = c;
    http->last = c;
}

static connection *connection_of(struct MHD_Connection *connected) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connected, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void free_body(ct_http *http, incoming *in) {
    http->bodies -= in->room;
    free(in->body);
    in->body = NULL;
    in->size = in->room = 0;
}

/* The library closes it when it next looks. */
static void cut_off(connection *c) { shutdown(c->socket, SHUT_RDWR); }

/* The connection whose body gives way to that of another request; false if there is none. */
static bool cut_off_body(ct_http *http, const incoming *other) {
    connection *c = http->first;
    while (c && (!c->request || !c->request->room || c->request == other)) c = c->next;
    if (!c) return false;
    free_body(http, c->request);
    c->request->cut_off = true;
    cut_off(c);
    return true;
}

/* Room for what comes next of a body, which takes at most twice the memory of what has come. */
static bool grow_body(ct_http *http, incoming *in, size_t more) {
    enum { LEAST = 64 << 10 };
    size_t need = in->size + more, room = 2 * in->room > LEAST ? 2 * in->room : LEAST;
    if (in->cut_off || more > in->whole - in->size) return false;
    if (need <= in->room) return true;
    if (room < need) room = need;
    if (room > in->whole) room = in->whole;
    while (http->bodies - in->room + room > MOST_BODIES && cut_off_body(http, in)) continue;
    char *body = realloc(in->body, room);
    if (!body) return false;
    http->bodies += room - in->room;
    in->body = body;
    in->room = room;
    return true;
}

static void begin_connection(ct_http *http, struct MHD_Connection *connected, void **context) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connected, MHD_CONNECTION_INFO_CONNECTION_FD);
    connection *c = calloc(1, sizeof *c);
    *context = c;
    if (!c) {
        shutdown(info->connect_fd, SHUT_RDWR);
        return;
    }
    c->socket = info->connect_fd;
    if (++http->connections > SPARED) cut_off(http->first);
    put_last(http, c);
}

static void notify_connection(void *context, struct MHD_Connection *connected, void **of,
                              enum MHD_ConnectionNotificationCode code) {
    ct_http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) begin_connection(http, connected, of);
    else if (*of) {
        take_out(http, *of);
        http->connections--;
        free(*of);
        *of = NULL;
    }
}

/* Those whose request takes too long; of one that is cut off the library says the end. */
static void cut_off_late(ct_http *http) {
    double late = ct_profile_clock() - MOST_SECONDS;
    for (connection *c = http->first; c && c->since < late; c = c->next) cut_off(c);
}

static void end_request(void *context, struct MHD_Connection *connected, void **of,
                        enum MHD_RequestTerminationCode code) {
    (void)code;
    ct_http *http = context;
    incoming *in = *of;
    connection *c = connection_of(connected);
    if (in) free_body(http, in);
    free(in);
    *of = NULL;
    if (!c) return;
    take_out(http, c);
    put_last(http, c);
}

/* ---- replies ----------------------------------------------------------------------------- */

/* What a browser may do with what is sent: nothing but what the page itself does. */
static const char *const headers[][2] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src "
     "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static enum MHD_Result send_reply(struct MHD_Connection *connected, ct_reply reply,
                                  const char *allow) {
    struct MHD_Response *response =
        reply.own
            ? MHD_create_response_from_buffer(reply.size, (void *)reply.own, MHD_RESPMEM_PERSISTENT)
            : MHD_create_response_from_buffer(reply.size, reply.bytes, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(reply.bytes);
        return MHD_NO;
    }
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    MHD_add_response_header(response, "Content-Type", reply.type);
    MHD_add_response_header(response, "Cache-Control",
                            *reply.mark ? "private, no-cache" : "no-store");
    if (*reply.mark) MHD_add_response_header(response, "ETag", reply.mark);
    if (allow) MHD_add_response_header(response, "Allow", allow);
    enum MHD_Result sent = MHD_queue_response(connected, (unsigned)reply.status, response);
    MHD_destroy_response(response);
    return sent;
}

/* ---- what is refused before it is read --------------------------------------------------- */

static const char *header(struct MHD_Connection *connected, const char *name) {
    return MHD_lookup_connection_value(connected, MHD_HEADER_KIND, name);
}

/* "name:port" or "[address]:port": one of its names, or an address in numbers, which no name can
 * point here; whatever the port, which a tunnel may have changed. */
static bool names_this_machine(const ct_http *http, const char *host) {
    char name[256];
    unsigned char address[sizeof(struct in6_addr)];
    bool six = host && *host == '[';
    size_t length = host ? strcspn(host + six, six ? "]" : ":") : 0;
    if (!length || length >= sizeof name) return false;
    memcpy(name, host + six, length);
    name[length] = '\0';
    if (six) return inet_pton(AF_INET6, name, address) == 1;
    bool given = inet_pton(AF_INET, name, address) == 1;
    for (int i = 0; i < http->name_count; i++) given |= strcasecmp(http->names[i], name) == 0;
    return given;
}

/* "http://HOST" of the page that is asked, whatever serves it by https in between. */
static bool is_own_origin(const char *origin, const char *host) {
    const char *end = strstr(origin, "://");
    return end && strcasecmp(end + 3, host) == 0;
}

/* By a page of another site; following a link from one is none of that. Old browsers say only by
 * Origin where a body comes from. */
static bool is_foreign(struct MHD_Connection *connected) {
    const char *site = header(connected, "Sec-Fetch-Site");
    const char *mode = header(connected, "Sec-Fetch-Mode");
    const char *origin = header(connected, "Origin");
    if (!site) return origin && !is_own_origin(origin, header(connected, "Host"));
    return (!strcmp(site, "cross-site") || !strcmp(site, "same-site")) &&
           !(mode && !strcmp(mode, "navigate"));
}

static bool is_get(const char *method) { return !strcmp(method, "GET") || !strcmp(method, "HEAD"); }

/* Whether a body is taken; else a reply that says why not. */
static bool admit_body(struct MHD_Connection *connected, incoming *in, ct_reply *reply) {
    const char *length = header(connected, "Content-Length");
    char *end = NULL;
    unsigned long long size = length ? strtoull(length, &end, 10) : 0;
    if (!length || header(connected, "Transfer-Encoding")) {
        *reply = ct_reply_error(MHD_HTTP_LENGTH_REQUIRED, "expected Content-Length");
    } else if (*end || size > CT_SERVE_MOST_BODY) {
        *reply = ct_reply_error(MHD_HTTP_CONTENT_TOO_LARGE,
                                "a picture of %.20s bytes, expected %d at most", length,
                                CT_SERVE_MOST_BODY);
    } else {
        in->whole = (size_t)size;
        return true;
    }
    return false;
}

/* Whether a request is taken on; else its reply. */
static bool admit(const ct_http *http, struct MHD_Connection *connected, incoming *in,
                  const char *path, const char *method, ct_reply *reply, const char **allow) {
    in->route = ct_route_find(path);
    bool post = in->route && in->route->post;
    const char *length = header(connected, "Content-Length");
    if (!names_this_machine(http, header(connected, "Host"))) {
        *reply = ct_reply_error(MHD_HTTP_MISDIRECTED_REQUEST,
                                "asked under another name: expected localhost, an address in "
                                "numbers, or a name that --host says");
    } else if (is_foreign(connected)) {
        *reply = ct_reply_error(MHD_HTTP_FORBIDDEN, "asked by a page of another site");
    } else if (!in->route) {
        *reply = ct_reply_error(MHD_HTTP_NOT_FOUND, "nothing is there: see docs/serve.md");
    } else if (post ? strcmp(method, "POST") != 0 : !is_get(method)) {
        *allow = post ? "POST" : "GET, HEAD";
        *reply = ct_reply_error(MHD_HTTP_METHOD_NOT_ALLOWED, "expected %s", *allow);
    } else if (post) {
        return admit_body(connected, in, reply);
    } else if ((length && strcmp(length, "0")) || header(connected, "Transfer-Encoding")) {
        *reply = ct_reply_error(MHD_HTTP_BAD_REQUEST, "expected no body");
    } else {
        return true;
    }
    return false;
}

/* ---- requests ---------------------------------------------------------------------------- */

/* Arguments, of which none has a NUL within. */
static bool take_arguments(struct MHD_Connection *connected, ct_request *request) {
    const struct {
        const char *name, **to;
    } arguments[] = {{"q", &request->q}, {"top", &request->top}, {"side", &request->side}};
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        const char *name = arguments[i].name;
        size_t size = 0;
        if (MHD_lookup_connection_value_n(connected, MHD_GET_ARGUMENT_KIND, name, strlen(name),
                                          arguments[i].to, &size) == MHD_NO) {
            continue;
        }
        if (*arguments[i].to && strlen(*arguments[i].to) != size) return false;
    }
    return true;
}

static enum MHD_Result answer(ct_http *http, struct MHD_Connection *connected, incoming *in,
                              const char *path) {
    ct_request request = {.path = path,
                          .known = header(connected, "If-None-Match"),
                          .body = in->body,
                          .size = in->size};
    ct_reply reply = take_arguments(connected, &request)
                         ? ct_serve_answer(http->served, in->route, &request)
                         : ct_reply_error(MHD_HTTP_BAD_REQUEST, "an argument has a NUL in it");
    return send_reply(connected, reply, NULL);
}

/* Called with a request's head, with each part of its body, and at its end. */
static enum MHD_Result handle(void *context, struct MHD_Connection *connected, const char *path,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **of) {
    (void)version;
    ct_http *http = context;
    incoming *in = *of;
    if (!in) {
        ct_reply reply;
        const char *allow = NULL;
        connection *c = connection_of(connected);
        *of = in = calloc(1, sizeof *in);
        if (!in || !c) return MHD_NO;
        c->request = in;
        if (admit(http, connected, in, path, method, &reply, &allow)) return MHD_YES;
        return send_reply(connected, reply, allow);
    }
    if (!*size && !in->cut_off) return answer(http, connected, in, path);
    if (!grow_body(http, in, *size)) return MHD_NO;
    memcpy(in->body + in->size, data, *size);
    in->size += *size;
    *size = 0;
    return MHD_YES;
}

/* ---- serving ----------------------------------------------------------------------------- */

ct_http *ct_http_open(const ct_served *served, int listener, const char *const *names, int count) {
    ct_http *http = calloc(1, sizeof *http);
    if (http) {
        *http = (ct_http){.served = served, .names = names, .name_count = count};
        unsigned flags = MHD_USE_EPOLL | (listener < 0 ? MHD_USE_NO_LISTEN_SOCKET : 0);
        struct MHD_OptionItem listening[] = {
            {listener < 0 ? MHD_OPTION_END : MHD_OPTION_LISTEN_SOCKET, listener, NULL},
            {MHD_OPTION_END, 0, NULL}};
        http->daemon = MHD_start_daemon(
            flags, 0, NULL, NULL, handle, http, MHD_OPTION_ARRAY, listening,
            MHD_OPTION_NOTIFY_COMPLETED, end_request, http, MHD_OPTION_NOTIFY_CONNECTION,
            notify_connection, http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MOST_CONNECTIONS,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MOST_HEAD, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)MOST_SILENCE, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    }
    if (http && http->daemon) return http;
    free(http);
    if (listener >= 0) close(listener);
    return ct_fail("--serve: the server cannot be started");
}

bool ct_http_take(ct_http *http, int socket) {
    struct sockaddr none = {.sa_family = AF_UNIX};
    return MHD_add_connection(http->daemon, socket, &none, sizeof none) == MHD_YES ||
           ct_fail_bool("--serve: a connection cannot be taken");
}

bool ct_http_run(ct_http *http, int milliseconds) {
    if (MHD_run_wait(http->daemon, milliseconds) != MHD_YES)
        return ct_fail_bool("--serve: no more requests can be waited for");
    cut_off_late(http);
    return true;
}

void ct_http_close(ct_http *http) {
    if (!http) return;
    MHD_stop_daemon(http->daemon);
    free(http);
}
