/* SPDX-License-Identifier: Apache-2.0 */
#include "train/report/retrieval.h"

#include <inttypes.h>

#include "train/report/html.h"
#include "train/report/pictures.h"

enum { QUERIES = 6, ANSWERS = 5, CONFUSIONS = 6, SIDE = 160 };

static int64_t queries_of(int64_t all) { return all < QUERIES ? all : QUERIES; }

bool ct_image_write(FILE *page, const ct_findings *f, int64_t image, int side) {
    const char *path = ct_findings_picture(f, image);
    if (path) return ct_picture_write(page, path, side, ct_findings_caption(f, image));
    fprintf(page, "<span class=\"missing\">image %" PRId64 "</span>", image);
    return true;
}

static void write_verdict(FILE *page, bool right, double score) {
    fprintf(page, "<b class=\"%s\">%s %.3f</b>", right ? "right" : "wrong",
            right ? "\u2713" : "\u2717", score);
}

/* ---- queries ----------------------------------------------------------------------------- */

static void write_place(FILE *page, const char *what, int64_t rank) {
    if (rank == 0) ct_htmlf(page, "<p class=\"place right\">\u2713 %s first", what);
    else {
        ct_htmlf(page, "<p class=\"place wrong\">\u2717 %s at place ", what);
        ct_html_whole(page, rank + 1);
    }
    fputs("</p>", page);
}

static bool write_caption_query(FILE *page, const ct_findings *f, int64_t query) {
    ct_found best[ANSWERS];
    int count = ct_findings_best(f, true, query, ANSWERS, best);
    if (count < 0) return false;
    ct_htmlf(page, "<article class=\"query\"><h3>%s</h3>", f->split->captions[query]);
    write_place(page, "its image", f->detail.t2i_rank[query]);
    fputs("<ol class=\"found\">", page);
    for (int i = 0; i < count; i++) {
        bool right = best[i].index == f->split->image_of[query];
        fprintf(page, "<li class=\"%s\">", right ? "right" : "wrong");
        if (!ct_image_write(page, f, best[i].index, SIDE)) return false;
        write_verdict(page, right, best[i].score);
        ct_htmlf(page, "<span>%s</span></li>\n", ct_findings_caption(f, best[i].index));
    }
    fputs("</ol></article>\n", page);
    return true;
}

static bool write_image_query(FILE *page, const ct_findings *f, int64_t query) {
    ct_found best[ANSWERS];
    int count = ct_findings_best(f, false, query, ANSWERS, best);
    if (count < 0) return false;
    fputs("<article class=\"query image\"><div class=\"asked\">", page);
    if (!ct_image_write(page, f, query, SIDE)) return false;
    fputs("</div><div>", page);
    if (f->detail.i2t_rank[query] >= 0)
        write_place(page, "a caption of its own", f->detail.i2t_rank[query]);
    fputs("<ol class=\"texts\">", page);
    for (int i = 0; i < count; i++) {
        bool right = f->split->image_of[best[i].index] == query;
        fprintf(page, "<li class=\"%s\">", right ? "right" : "wrong");
        write_verdict(page, right, best[i].score);
        ct_htmlf(page, "<span>%s</span></li>\n", f->split->captions[best[i].index]);
    }
    fputs("</ol></div></article>\n", page);
    return true;
}

bool ct_queries_write(FILE *page, const ct_findings *f) {
    int64_t captions = f->split->caption_count, images = f->split->image_count;
    int64_t asked[2] = {queries_of(captions), queries_of(images)};
    ct_htmlf(page,
             "<p class=\"note\">Split %s, by the best weights. Not picked by hand: %d of its ",
             f->split->name, (int)asked[0]);
    ct_html_whole(page, captions);
    ct_htmlf(page, " captions and %d of its ", (int)asked[1]);
    ct_html_whole(page, images);
    fputs(" images, evenly spread over the split, with the best answers among all and their "
          "similarity; \u2713 is right, \u2717 wrong.</p>\n<h3 class=\"way\">Captions, and the "
          "images they find</h3>\n"
          "<div class=\"queries\">\n",
          page);
    bool done = true;
    for (int64_t k = 0; done && k < asked[0]; k++)
        done = write_caption_query(page, f, ct_spread(k, asked[0], captions));
    fputs("</div>\n<h3 class=\"way\">Images, and the captions they find</h3>\n"
          "<div class=\"queries\">\n",
          page);
    for (int64_t k = 0; done && k < asked[1]; k++)
        done = write_image_query(page, f, ct_spread(k, asked[1], images));
    fputs("</div>\n", page);
    return done;
}

/* ---- confusions -------------------------------------------------------------------------- */

static bool write_caption_confusion(FILE *page, const ct_findings *f, const ct_confusion *c) {
    ct_htmlf(page, "<article class=\"query\"><h3>%s</h3><ol class=\"found\"><li class=\"wrong\">",
             f->split->captions[c->query]);
    if (!ct_image_write(page, f, c->found, SIDE)) return false;
    write_verdict(page, false, c->found_score);
    ct_htmlf(page, "<span>%s</span></li><li class=\"right\">", ct_findings_caption(f, c->found));
    if (!ct_image_write(page, f, c->right, SIDE)) return false;
    write_verdict(page, true, c->right_score);
    ct_htmlf(page, "<span>%s</span></li></ol></article>\n", ct_findings_caption(f, c->right));
    return true;
}

static bool write_image_confusion(FILE *page, const ct_findings *f, const ct_confusion *c) {
    fputs("<article class=\"query image\"><div class=\"asked\">", page);
    if (!ct_image_write(page, f, c->query, SIDE)) return false;
    fputs("</div><ol class=\"texts\"><li class=\"wrong\">", page);
    write_verdict(page, false, c->found_score);
    ct_htmlf(page, "<span>%s</span></li><li class=\"right\">", f->split->captions[c->found]);
    write_verdict(page, true, c->right_score);
    ct_htmlf(page, "<span>%s</span></li></ol></article>\n", f->split->captions[c->right]);
    return true;
}

static bool write_way(FILE *page, const ct_findings *f, bool caption) {
    ct_confusion confusions[CONFUSIONS];
    int count = ct_findings_confusions(f, caption, CONFUSIONS, confusions);
    if (count < 0) return false;
    ct_htmlf(page, "<h3 class=\"way\">%s</h3>\n",
             caption ? "Captions whose image is furthest below a wrong one"
                     : "Images whose captions are furthest below a wrong one");
    if (!count) fputs("<p class=\"note\">None: every best answer is right.</p>\n", page);
    ct_htmlf(page, "<div class=\"queries%s\">\n", caption ? " pairs" : "");
    bool done = true;
    for (int i = 0; done && i < count; i++) {
        done = caption ? write_caption_confusion(page, f, &confusions[i])
                       : write_image_confusion(page, f, &confusions[i]);
    }
    fputs("</div>\n", page);
    return done;
}

bool ct_confusions_write(FILE *page, const ct_findings *f) {
    fputs("<p class=\"note\">By how much the similarity of the wrong answer is above that of the "
          "best right one, the widest first; each wrong and each right answer is shown "
          "once.</p>\n",
          page);
    return write_way(page, f, true) && write_way(page, f, false);
}
