/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of --serve send: train/serve/. An input is all that one connection brings. */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/harness.h"
#include "train/serve/http.h"

static const char description[] = "[image]\n"
                                  "pixels = pictures size=8\n"
                                  "conv = conv2d width=4 kernel=3 stride=4\n"
                                  "places = regions\n"
                                  "self = attention heads=2\n"
                                  "pool = mean\n"
                                  "[text]\n"
                                  "embed = words width=4\n"
                                  "self = attention heads=2\n"
                                  "pool = gru width=4\n"
                                  "[loss]\n"
                                  "retrieval = hinge\n";

/* 2 x 2 pixels, grey. */
static const uint8_t picture[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44,
    0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x08, 0x00, 0x00, 0x00, 0x00, 0x57,
    0xdd, 0x52, 0xf8, 0x00, 0x00, 0x00, 0x0e, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x10,
    0x68, 0x60, 0xf8, 0xa0, 0x00, 0x00, 0x04, 0x56, 0x01, 0xa1, 0x83, 0x1c, 0x90, 0x6c, 0x00,
    0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

static ct_served served;

/* An untrained model and two pictures, in the folder of this process. */
static ct_http *serve(void) {
    static char text[2048], name[] = "train", *names[] = {name, NULL};
    const char *folder = fuzz_folder();
    fuzz_put("0.png", picture, sizeof picture);
    fuzz_put("train_pictures.txt", "0.png\n0.png\n", 12);
    fuzz_put("train_caps.txt", "a red star\nblue\n", 16);
    snprintf(text, sizeof text, "[data]\nfolder = %s\nmin_count = 1\n[run]\nfolder = %s\n%s",
             folder, folder, description);
    ct_config *config = ct_config_read_text("x.ini", text);
    ct_experiment *e = config ? ct_experiment_open(config, false) : NULL;
    ct_searched_splits splits = {.names = names, .count = 1};
    ct_index *index = e ? ct_index_make(e, &splits, true) : NULL;
    fuzz_must(index && ct_served_open(&served, e, index, 10), "there is something to serve");
    static const char *const hosts[] = {"localhost"};
    ct_http *http = ct_http_open(&served, -1, hosts, 1);
    fuzz_must(http != NULL, "it can be served");
    return http;
}

/* What there is of the answer: its first bytes, and how many they are. */
static size_t read_answer(int socket, char first[16], size_t had) {
    char part[4096];
    ssize_t got;
    while ((got = recv(socket, part, sizeof part, MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < got && had < 12; i++) first[had++] = part[i];
    }
    return had;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { MOST = 1 << 16, TURNS = 8 };
    static ct_http *http;
    int pair[2];
    char first[16] = "";
    size_t had = 0;
    if (!http) http = serve();
    if (size > MOST) return 0;
    fuzz_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0, "there are sockets");
    fuzz_must(send(pair[1], data, size, MSG_NOSIGNAL) == (ssize_t)size, "all can be sent");
    shutdown(pair[1], SHUT_WR);
    fuzz_must(ct_http_take(http, pair[0]), "the connection is taken");
    for (int turn = 0; turn < TURNS; turn++) {
        fuzz_must(ct_http_run(http, 0), "requests can be waited for");
        had = read_answer(pair[1], first, had);
    }
    close(pair[1]);
    fuzz_must(ct_http_run(http, 0) && ct_ok(), "no error is left");
    fuzz_must(!had || strncmp(first, "HTTP/1.", 7) == 0, "what is answered is HTTP");
    fuzz_results += strncmp(first + 8, " 200", 4) == 0;
    return 0;
}
