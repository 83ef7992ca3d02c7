/* SPDX-License-Identifier: Apache-2.0 */
/* The page in the browser, and what it is made of. Internal to train/serve/. */
#ifndef CT_SERVE_PAGES_H
#define CT_SERVE_PAGES_H

#include "train/serve/answer.h"

/* Answers "/", "/search.css", "/search.js" and "/search.svg", as a route does. */
void ct_serve_page(const ct_served *served, const ct_request *request, ct_reply *reply);

#endif
