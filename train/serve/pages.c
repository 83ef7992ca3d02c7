/* SPDX-License-Identifier: Apache-2.0 */
/* The page: files of this folder, which are built in. */
#include <string.h>

#include "train/serve/pages.h"

static const uint8_t html[] = {
#include "search.html.h"
};
static const uint8_t style[] = {
#include "search.css.h"
};
static const uint8_t script[] = {
#include "search.js.h"
};
static const uint8_t icon[] = {
#include "search.svg.h"
};

static const struct {
    const char *path, *type;
    const void *bytes;
    size_t size;
} pages[] = {{"/", "text/html; charset=utf-8", html, sizeof html},
             {"/search.css", "text/css; charset=utf-8", style, sizeof style},
             {"/search.js", "text/javascript; charset=utf-8", script, sizeof script},
             {"/search.svg", "image/svg+xml", icon, sizeof icon}};
enum { PAGES = sizeof pages / sizeof *pages };

void ct_serve_page(const ct_served *served, const ct_request *request, ct_reply *reply) {
    (void)served;
    for (int i = 0; i < PAGES; i++) {
        if (strcmp(request->path, pages[i].path)) continue;
        *reply = (ct_reply){
            .status = 200, .type = pages[i].type, .own = pages[i].bytes, .size = pages[i].size};
    }
}
