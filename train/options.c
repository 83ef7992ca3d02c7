/* SPDX-License-Identifier: Apache-2.0 */
#include "train/options.h"

#include <string.h>

#include "tensor/core/nearest.h"
#include "tensor/tensor.h"

/* ---- the table --------------------------------------------------------------------------- */

const struct argp_option ct_options[] = {
    {.doc = "Training:", .group = 1},
    {.doc = "Evaluating and exporting:", .group = 2},
    {.doc = "Searching:", .group = 3},
    {.doc = "Pages about runs:", .group = 4},
    {.doc = "About this program:", .group = 5},
    {"set", 's', "SECTION.KEY=VALUE", 0, "Use this value instead of the file's (repeatable)", 1},
    {"dry-run", 'n', 0, 0,
     "Check all that training needs, print the model, its memory and work, and stop", 1},
    {"resume", 'r', 0, 0, "Go on with the run in the run folder", 1},
    {"overwrite", 'f', 0, 0, "Replace the run in the run folder", 1},
    {"init", 'i', "FILE", 0, "Start training from these weights (safetensors)", 1},
    {"other-graph", OPT_OTHER_GRAPH, 0, 0,
     "With --init: train on in another graph than that of the weights, if their shapes fit", 1},
    {"steps", OPT_STEPS, "N", 0, "Stop after so many steps, saved to go on with --resume", 1},
    {"dump-steps", OPT_DUMP_STEPS, "FOLDER", 0,
     "Write every step's losses, gradients and parameters there (see docs/parity.md)", 1},
    {"sweep", OPT_SWEEP, "SETTINGS", 0,
     "A run for each combination of values, \"train.lr=1e-3,5e-4 run.seed=1..5\", in folders below "
     "the run folder, and a table of them; given again, it goes on (see docs/runs.md)",
     1},
    {"jobs", OPT_JOBS, "N", 0, "Runs of --sweep at the same time (default 1; see [run] threads)",
     1},
    {"quiet", OPT_QUIET, 0, 0, "Print errors and what training comes to, nothing else", 1},
    {"verbose", OPT_VERBOSE, 0, 0,
     "Print also every line of the log, the files that are written, and where a step's time goes",
     1},
    {"evaluate", 'e', "SPLIT", 0, "Print the recalls of the trained model on a split", 2},
    {"judgments", OPT_JUDGMENTS, "FILE", 0,
     "With --evaluate: mAP@R, R-Precision and recalls by what else was judged right (repeatable; "
     "see docs/runs.md)",
     2},
    {"bootstrap", OPT_BOOTSTRAP, "N", 0,
     "With --evaluate: 95% intervals of the recalls by N bootstrap samples of the images", 2},
    {"paired", OPT_PAIRED, 0, 0,
     "With --evaluate and two --weights: each model, and whether their recalls differ (default "
     "--bootstrap 10000)",
     2},
    {"embed", OPT_EMBED, "SPLIT", 0,
     "Write a split's embeddings as .npy files (recorded: of the first recorded batch)", 2},
    {"out", OPT_OUT, "PATH", 0,
     "Folder for --embed (default: the run folder); file for the recalls of --evaluate as JSON, or "
     "for the page of --report (default: report.html in the run folder)",
     2},
    {"export", OPT_EXPORT, "FILE", 0,
     "Write the trained weights as safetensors, under the names of [run] names", 2},
    {"report", OPT_REPORT, 0, 0,
     "Write a page of HTML about the run: curves, recalls, graph, queries with what "
     "they find, attention, configuration, machine",
     4},
    {"compare", OPT_COMPARE, "RUN", 0,
     "With --report: a page of this run and others side by side, by their folders (repeatable)", 4},
    {"query", 'q', "SENTENCE", 0, "Print the images that best fit a sentence", 3},
    {"query-image", OPT_QUERY_IMAGE, "FILE", 0,
     "Print the captions that best fit a picture, and the images most like it", 3},
    {"queries", OPT_QUERIES, "FILE", 0, "Print the images that best fit each line of a file", 3},
    {"interactive", OPT_INTERACTIVE, 0, 0,
     "Print the images that best fit each sentence typed; Ctrl-D ends", 3},
    {"serve", OPT_SERVE, "PORT", OPTION_ARG_OPTIONAL,
     "Search in a browser, and by programs (docs/serve.md): a page at http://127.0.0.1:PORT/ "
     "(default 8080; 0: one that is free) until Ctrl-C",
     3},
    {"address", OPT_ADDRESS, "ADDRESS", 0,
     "Serve at this address of the machine (0.0.0.0: all of them) in place of 127.0.0.1, which "
     "this machine alone reaches",
     3},
    {"host", OPT_HOST, "NAME", 0,
     "Answer under this name of the machine, too (repeatable), beside localhost, its own name and "
     "addresses in numbers: under others a page of the web could ask",
     3},
    {"index", OPT_INDEX, "FILE", 0,
     "Write the embeddings of splits to a file, for queries to search with --in", 3},
    {"in", OPT_IN, "FILE", 0, "Search a file that --index wrote, in place of splits", 3},
    {"split", OPT_SPLIT, "SPLIT", 0,
     "Split that is searched (repeatable; default: all that the data folder has), or, with a / in "
     "it, a picture or a folder of pictures; split of the queries of --report (default: the first "
     "of test_splits)",
     3},
    {"top", OPT_TOP, "N", 0, "How many answers a query has (default 10)", 3},
    {"json", OPT_JSON, 0, 0, "Print a query's answers as JSON, an object a line", 3},
    {"weights", OPT_WEIGHTS, "PATH", 0,
     "Weights to use (not for training or --report): a file, or the folder of a run of any "
     "graph (default: best.safetensors of this run). Given more than once: the mean of the models' "
     "similarities (--evaluate, --query, --queries, --query-image)",
     2},
    {"help-config", OPT_HELP_CONFIG, 0, 0, "Print every configuration key, its default and meaning",
     5},
    {0},
};

bool ct_option_is_end(const struct argp_option *o) { return !o->name && !o->key && !o->doc; }

/* ---- mistyped ones ----------------------------------------------------------------------- */

/* argp's, without a value. */
static const struct argp_option own[] = {
    {.name = "help"}, {.name = "usage"}, {.name = "version"}, {0}};
enum { OWN = sizeof own / sizeof *own - 1, MOST_NAMES = 64 };

static size_t name_length(const char *name) { return strcspn(name, "="); }

/* The option of that name, or else the first that begins so; NULL: none. */
static const struct argp_option *find_long(const struct argp_option *options, const char *name) {
    const struct argp_option *begun = NULL;
    size_t length = name_length(name);
    for (const struct argp_option *o = options; !ct_option_is_end(o); o++) {
        if (!o->name || strncmp(o->name, name, length) != 0) continue;
        if (!o->name[length]) return o;
        if (!begun) begun = o;
    }
    return begun;
}

static bool needs_value(const struct argp_option *o) {
    return o->arg && !(o->flags & OPTION_ARG_OPTIONAL);
}

/* Whether the value of the last of some short options is the argument behind them. */
static bool short_takes_next(const char *letters) {
    for (const char *at = letters; *at; at++) {
        for (const struct argp_option *o = ct_options; !ct_option_is_end(o); o++) {
            if (o->key == *at && needs_value(o)) return !at[1];
        }
    }
    return false;
}

static bool unknown(const char *name) {
    const char *names[MOST_NAMES];
    char word[64];
    int count = 0;
    for (const struct argp_option *o = ct_options; !ct_option_is_end(o); o++) {
        if (o->name && count < MOST_NAMES - OWN) names[count++] = o->name;
    }
    for (int i = 0; i < OWN; i++) names[count++] = own[i].name;
    size_t length = name_length(name);
    if (length >= sizeof word) length = sizeof word - 1;
    memcpy(word, name, length);
    word[length] = '\0';
    const char *near = ct_nearest(word, names, count);
    return near ? ct_fail_bool("unknown option --%s; did you mean --%s?", word, near)
                : ct_fail_bool("unknown option --%s; --help has them all", word);
}

bool ct_options_known(char *const *argv) {
    for (int i = 1; argv[i]; i++) {
        const char *argument = argv[i], *name = argument + 2;
        if (argument[0] != '-' || !argument[1]) continue;
        if (!strcmp(argument, "--")) return true;
        bool next = false;
        if (argument[1] != '-') next = short_takes_next(argument + 1);
        else {
            const struct argp_option *o = find_long(ct_options, name);
            if (!o && !find_long(own, name)) return unknown(name);
            next = o && needs_value(o) && !strchr(name, '=');
        }
        if (next && argv[i + 1]) i++;
    }
    return true;
}
