/* SPDX-License-Identifier: Apache-2.0 */
#include "train/serve/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "train/run/console.h"
#include "train/run/stop.h"
#include "train/serve/http.h"

typedef struct {
    const ct_serve_options *options;
    ct_searched_splits splits; /* where there is no index */
    int listener;
    bool own; /* reached by this machine alone */
    char url[80], host[256];
    const char **names; /* it answers under, name_count of them */
    int name_count;
} serving;

/* ---- where ------------------------------------------------------------------------------- */

static struct addrinfo *read_address(const char *text, int port) {
    struct addrinfo *found = NULL,
                    hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
    char number[8];
    snprintf(number, sizeof number, "%d", port);
    if (getaddrinfo(text, number, &hints, &found) == 0) return found;
    return ct_fail("--address %s: expected an address in numbers, as 127.0.0.1, ::1 or 0.0.0.0",
                   text);
}

static bool is_own(const struct sockaddr *address) {
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;
        bool four = IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET;
        return four || IN6_IS_ADDR_LOOPBACK(six);
    }
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static void name_place(serving *s, const char *text) {
    struct sockaddr_in6 bound = {0}; /* the larger of both */
    socklen_t size = sizeof bound;
    getsockname(s->listener, (struct sockaddr *)&bound, &size);
    int port = ntohs(bound.sin6_port); /* in both at the same place */
    const char *colon = strchr(text, ':');
    snprintf(s->url, sizeof s->url, "http://%s%s%s:%d/", colon ? "[" : "", text, colon ? "]" : "",
             port);
}

static bool listen_at(serving *s) {
    const char *text = s->options->address ? s->options->address : "127.0.0.1";
    struct addrinfo *at = read_address(text, s->options->port);
    if (!at) return false;
    const int yes = 1;
    s->own = is_own(at->ai_addr);
    s->listener = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool done = s->listener >= 0 &&
                setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
                bind(s->listener, at->ai_addr, at->ai_addrlen) == 0 &&
                listen(s->listener, SOMAXCONN) == 0;
    int wrong = errno;
    freeaddrinfo(at);
    if (done) {
        name_place(s, text);
        return true;
    }
    return ct_fail_bool("--serve: %s, port %d: %s%s", text, s->options->port, strerror(wrong),
                        wrong == EADDRINUSE ? "; --serve=PORT takes another one, --serve=0 one "
                                              "that is free"
                                            : "");
}

/* ---- under which names ------------------------------------------------------------------- */

static bool check_host(const char *name) {
    char numbers[16];
    bool other = !*name || strpbrk(name, ":/[] \t@") || inet_pton(AF_INET, name, numbers) == 1;
    return !other || ct_fail_bool("--host %s: expected a name, as my.example.org, without port; "
                                  "addresses in numbers are answered in any case",
                                  name);
}

static bool take_names(serving *s) {
    const ct_serve_options *o = s->options;
    s->names = calloc((size_t)o->host_count + 2, sizeof *s->names);
    if (!s->names) return ct_fail_bool("--serve: out of memory");
    s->names[s->name_count++] = "localhost";
    if (gethostname(s->host, sizeof s->host - 1) == 0 && *s->host)
        s->names[s->name_count++] = s->host;
    for (int i = 0; i < o->host_count; i++) {
        if (!check_host(o->hosts[i])) return false;
        s->names[s->name_count++] = o->hosts[i];
    }
    return true;
}

/* ---- serving ----------------------------------------------------------------------------- */

/* Until a signal asks to stop. A client that is gone is no reason to end. */
static bool serve(serving *s, const ct_served *served) {
    enum { LOOK_AROUND = 250 }; /* milliseconds */
    struct sigaction before, ignore = {.sa_handler = SIG_IGN};
    int listener = s->listener;
    s->listener = -1;
    ct_http *http = ct_http_open(served, listener, s->names, s->name_count);
    if (!http) return false;
    ct_stop_watch();
    sigaction(SIGPIPE, &ignore, &before);
    ct_console_line("%s: %lld images, %lld captions; Ctrl-C ends", s->url,
                    (long long)served->images, (long long)served->captions);
    if (!s->own) ct_console_line("whoever reaches this machine may search: there is no password");
    bool done = true;
    while (done && !ct_stop_asked()) done = ct_http_run(http, LOOK_AROUND);
    ct_http_close(http);
    sigaction(SIGPIPE, &before, NULL);
    ct_stop_unwatch();
    return done;
}

static bool serve_model(void *context, int model, const ct_experiment *e) {
    (void)model;
    serving *s = context;
    const char *file = s->options->index;
    ct_index *index = file ? ct_index_open(e, file) : ct_index_make(e, &s->splits, true);
    if (!index) return false;
    ct_served served;
    bool done = ct_served_open(&served, e, index, s->options->top) && serve(s, &served);
    ct_served_close(&served);
    return done;
}

/* The port is taken first: that it is in use is said before anything is embedded. */
bool ct_serve_command(ct_config *config, const ct_serve_options *options, ct_weights weights) {
    serving s = {.options = options, .listener = -1};
    if (options->top > CT_SERVE_MOST_TOP)
        return ct_fail_bool("--top %d: expected 1 to %d, what --serve answers at most",
                            options->top, CT_SERVE_MOST_TOP);
    bool done = take_names(&s) &&
                (options->index || ct_searched_splits_find(&s.splits, config, options->splits,
                                                           options->split_count)) &&
                listen_at(&s);
    const char *const *split = (const char *const *)s.splits.names;
    done = done && ct_one_trained(config, weights, "--serve", (ct_trained){split, serve_model, &s});
    if (s.listener >= 0) close(s.listener);
    free(s.names);
    ct_searched_splits_free(&s.splits);
    return done;
}
