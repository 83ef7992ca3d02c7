/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `train`. */
#include <argp.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train/commands.h"
#include "train/options.h"
#include "train/report/report.h"
#include "train/run/console.h"
#include "train/run/output_path.h"
#include "train/run/restart.h"
#include "train/run/terminal.h"
#include "train/run/together.h"
#include "train/run/trainer.h"
#include "train/serve/serve.h"
#include "train/sweep/sweep.h"

static const char doc[] =
    "Trains, evaluates and queries an image-text model described by an INI file.\v"
    "Examples:\n"
    "  train my.ini                            train, then print a table of recalls\n"
    "  train my.ini --set train.lr=5e-4        change a key for this run\n"
    "  train my.ini --dry-run                  the graph, its memory and work\n"
    "  train my.ini --steps 3 --dump-steps DIR  (docs/parity.md)\n"
    "  train my.ini --resume                   go on with an interrupted run\n"
    "  train my.ini --sweep \"train.lr=1e-3,5e-4 run.seed=1..5\"  ten runs, a table\n"
    "  train my.ini --evaluate test            recalls of the trained model\n"
    "  train my.ini --evaluate test --weights runs/a --weights runs/b  of both\n"
    "  train my.ini --query \"a black cat\"      the images that fit best\n"
    "  train runs/my --query \"a black cat\"     a run's folder will do\n"
    "  train runs/my --index my.index --split train --split test  embed once,\n"
    "  train runs/my --query \"a black cat\" --in my.index  search again and again\n"
    "  train runs/my --serve                   search in a browser\n"
    "  train my.ini --embed test --out DIR     its embeddings as .npy\n"
    "  train runs/my --report                  a page about the run\n"
    "  train runs/a --report --compare runs/b  a page of both\n"
    "  train my.ini --export FILE.safetensors --set run.names=released\n"
    "\n"
    "A run leaves in its folder ([run] folder): best.safetensors, last.safetensors, "
    "metrics.jsonl, an event file for TensorBoard, results.json, vocabulary.json and config.ini. "
    "Exit status: 0 when done, "
    "2 for anything wrong in what was given (one line says what), 130 when interrupted (the state "
    "is saved): by Ctrl-C, SIGTERM, SIGHUP (a closed terminal), SIGUSR1, SIGUSR2 (batch systems, "
    "before a job's time is over) or SIGXCPU. A second Ctrl-C ends it at once. Training goes on "
    "where what it prints is no longer read (| head), and what --embed, --export and --out write "
    "is written; for the other commands what is printed is the result.";

enum { MOST_REPEATS = 256 };

typedef struct {
    const char *config, *init, *evaluate, *embed, *export, *out, *dump_steps, *index;
    const char *overrides[MOST_REPEATS], *weights[MOST_REPEATS], *splits[MOST_REPEATS];
    const char *compare[MOST_REPEATS], *hosts[MOST_REPEATS];
    int override_count, weights_count, split_count, compare_count, host_count;
    const char *judgments[MOST_REPEATS];
    ct_query query;
    ct_evaluate_options evaluation;
    const char *sweep;
    int jobs, command; /* command: the one that is given */
    int64_t steps;
    bool dry_run, report, help_config, other_graph, serve;
    const char *address;
    int port;       /* -1: not given */
    bool given[24]; /* options, in the order of `uses` */
    ct_run_mode mode;
} arguments;

/* ---- what fits what ---------------------------------------------------------------------- */

enum {
    TRAINING = 1,
    DRY_RUN = 2,
    EVALUATE = 4,
    EMBED = 8,
    EXPORT = 16,
    QUERY = 32,
    QUERY_IMAGE = 64,
    QUERIES = 128,
    INTERACTIVE = 256,
    INDEX = 512,
    REPORT = 1024,
    SWEEP = 2048,
    SERVE = 4096,
    SEARCHES = QUERY | QUERY_IMAGE | QUERIES | INTERACTIVE
};

static const struct {
    int command;
    const char *name;
} commands[] = {{TRAINING, "training"},
                {DRY_RUN, "--dry-run"},
                {EVALUATE, "--evaluate"},
                {EMBED, "--embed"},
                {EXPORT, "--export"},
                {QUERY, "--query"},
                {QUERY_IMAGE, "--query-image"},
                {QUERIES, "--queries"},
                {INTERACTIVE, "--interactive"},
                {INDEX, "--index"},
                {REPORT, "--report"},
                {SWEEP, "--sweep"},
                {SERVE, "--serve"}};
enum { COMMANDS = sizeof commands / sizeof *commands };

/* An option that a command does not read would be taken for one that it obeys. */
static const struct {
    int key;
    const char *name;
    int commands;
} uses[] = {{'r', "--resume", TRAINING | DRY_RUN},
            {'f', "--overwrite", TRAINING | DRY_RUN},
            {'i', "--init", TRAINING | DRY_RUN | SWEEP},
            {OPT_OTHER_GRAPH, "--other-graph", TRAINING | DRY_RUN | SWEEP},
            {OPT_STEPS, "--steps", TRAINING | DRY_RUN},
            {OPT_DUMP_STEPS, "--dump-steps", TRAINING | DRY_RUN},
            {OPT_OUT, "--out", EVALUATE | EMBED | REPORT},
            {OPT_JOBS, "--jobs", SWEEP},
            {OPT_QUIET, "--quiet", TRAINING | SWEEP},
            {OPT_VERBOSE, "--verbose", TRAINING},
            {OPT_JUDGMENTS, "--judgments", EVALUATE},
            {OPT_BOOTSTRAP, "--bootstrap", EVALUATE},
            {OPT_PAIRED, "--paired", EVALUATE},
            {OPT_SPLIT, "--split", SEARCHES | INDEX | REPORT | SERVE},
            {OPT_ADDRESS, "--address", SERVE},
            {OPT_HOST, "--host", SERVE},
            {OPT_COMPARE, "--compare", REPORT},
            {OPT_TOP, "--top", SEARCHES | SERVE},
            {OPT_JSON, "--json", SEARCHES},
            {OPT_IN, "--in", SEARCHES | SERVE},
            {OPT_WEIGHTS, "--weights", EVALUATE | EMBED | EXPORT | INDEX | SEARCHES | SERVE}};
enum { USES = sizeof uses / sizeof *uses };
_Static_assert(sizeof uses / sizeof *uses <= sizeof((arguments *)0)->given / sizeof(bool),
               "`given` is too short");

static const char *command_name(int command) {
    int i = 0;
    while (commands[i].command != command) i++;
    return commands[i].name;
}

/* The one command that is given. */
static int command_of(const arguments *a, struct argp_state *state) {
    const int given[] = {a->dry_run ? DRY_RUN : 0,      a->evaluate ? EVALUATE : 0,
                         a->embed ? EMBED : 0,          a->export ? EXPORT : 0,
                         a->query.sentence ? QUERY : 0, a->query.picture ? QUERY_IMAGE : 0,
                         a->query.file ? QUERIES : 0,   a->query.interactive ? INTERACTIVE : 0,
                         a->index ? INDEX : 0,          a->report ? REPORT : 0,
                         a->sweep ? SWEEP : 0,          a->serve ? SERVE : 0};
    int command = 0;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        if (command && given[i]) {
            argp_error(state, "%s and %s: one at a time", command_name(command),
                       command_name(given[i]));
        }
        if (given[i]) command = given[i];
    }
    return command ? command : TRAINING;
}

static bool is_given(const arguments *a, int key) {
    int i = 0;
    while (uses[i].key != key) i++;
    return a->given[i];
}

static void check_use(arguments *a, struct argp_state *state) {
    int command = a->command = command_of(a, state);
    for (int i = 0; i < USES; i++) {
        if (!a->given[i] || (uses[i].commands & command)) continue;
        char list[192] = "";
        for (int k = 0; k < COMMANDS; k++) {
            if (!(uses[i].commands & commands[k].command)) continue;
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", commands[k].name);
        }
        argp_error(state, "%s is for %s, not for %s", uses[i].name, list, command_name(command));
    }
    if (a->given[0] && a->given[1]) argp_error(state, "--resume and --overwrite: one of them");
    if (is_given(a, OPT_QUIET) && is_given(a, OPT_VERBOSE)) {
        argp_error(state, "--quiet and --verbose: one of them");
    }
    if (a->compare_count && a->split_count) {
        argp_error(state, "--split and --compare: one of them, a comparison shows no queries");
    }
    if (a->report && a->split_count > 1) argp_error(state, "--report shows queries of one --split");
    if (a->query.index && a->split_count) {
        argp_error(state, "--split is for --index: what --in names has its splits");
    }
    if (a->evaluation.paired && a->evaluation.judgment_count) {
        argp_error(state, "--paired and --judgments: one at a time");
    }
    if (a->other_graph && !a->init) argp_error(state, "--other-graph is for --init");
}

/* ---- reading ----------------------------------------------------------------------------- */

static const char *option_name(int key) {
    const struct argp_option *o = ct_options;
    while (!ct_option_is_end(o) && o->key != key) o++;
    return o->name;
}

static void note(arguments *a, int key, const char *value, struct argp_state *state) {
    for (int i = 0; i < USES; i++) a->given[i] = a->given[i] || uses[i].key == key;
    const char *name = option_name(key);
    if (name && value && !*value) argp_error(state, "--%s is empty", name);
}

static int positive(const char *option, const char *text, struct argp_state *state) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end || value < 1 || value > 1000000000) {
        argp_error(state, "%s %s: expected a number from 1 to 1000000000", option, text);
    }
    return (int)value;
}

static int port(const char *text, struct argp_state *state) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end || value < 0 || value > 65535) {
        argp_error(state, "--serve=%s: expected a port from 0 to 65535", text);
    }
    return (int)value;
}

static void take_argument(arguments *a, const char *value, struct argp_state *state) {
    if (a->serve && a->port < 0 && !value[strspn(value, "0123456789")]) {
        a->port = port(value, state);
        return;
    }
    if (a->config) argp_error(state, "one configuration at a time: %s, %s", a->config, value);
    a->config = value;
}

static void add(const char **list, int *count, const char *value, const char *option,
                struct argp_state *state) {
    if (*count == MOST_REPEATS) argp_error(state, "more than %d %s", MOST_REPEATS, option);
    list[(*count)++] = value;
}

static void print_version(FILE *stream, struct argp_state *state) {
    (void)state;
    fprintf(stream, "cotangent %s\n", ct_version());
}

static error_t parse(int key, char *value, struct argp_state *state) {
    arguments *a = state->input;
    note(a, key, value, state);
    switch (key) {
    case 's': add(a->overrides, &a->override_count, value, "--set", state); return 0;
    case 'n': a->dry_run = true; return 0;
    case 'r': a->mode = CT_RUN_RESUME; return 0;
    case 'f': a->mode = CT_RUN_OVERWRITE; return 0;
    case 'i': a->init = value; return 0;
    case OPT_OTHER_GRAPH: a->other_graph = true; return 0;
    case 'e': a->evaluate = value; return 0;
    case OPT_SWEEP: a->sweep = value; return 0;
    case OPT_JOBS: a->jobs = positive("--jobs", value, state); return 0;
    case OPT_QUIET: ct_console_set_level(CT_CONSOLE_QUIET); return 0;
    case OPT_VERBOSE: ct_console_set_level(CT_CONSOLE_VERBOSE); return 0;
    case OPT_JUDGMENTS:
        add(a->judgments, &a->evaluation.judgment_count, value, "--judgments", state);
        return 0;
    case OPT_BOOTSTRAP: a->evaluation.resamples = positive("--bootstrap", value, state); return 0;
    case OPT_PAIRED: a->evaluation.paired = true; return 0;
    case OPT_EMBED: a->embed = value; return 0;
    case OPT_EXPORT: a->export = value; return 0;
    case OPT_OUT: a->out = value; return 0;
    case OPT_REPORT: a->report = true; return 0;
    case 'q': a->query.sentence = value; return 0;
    case OPT_QUERY_IMAGE: a->query.picture = value; return 0;
    case OPT_QUERIES: a->query.file = value; return 0;
    case OPT_INTERACTIVE: a->query.interactive = true; return 0;
    case OPT_SERVE:
        a->serve = true;
        if (value) a->port = port(value, state);
        return 0;
    case OPT_ADDRESS: a->address = value; return 0;
    case OPT_HOST: add(a->hosts, &a->host_count, value, "--host", state); return 0;
    case OPT_INDEX: a->index = value; return 0;
    case OPT_IN: a->query.index = value; return 0;
    case OPT_JSON: a->query.json = true; return 0;
    case OPT_SPLIT: add(a->splits, &a->split_count, value, "--split", state); return 0;
    case OPT_TOP: a->query.top = positive("--top", value, state); return 0;
    case OPT_STEPS: a->steps = positive("--steps", value, state); return 0;
    case OPT_DUMP_STEPS: a->dump_steps = value; return 0;
    case OPT_WEIGHTS: add(a->weights, &a->weights_count, value, "--weights", state); return 0;
    case OPT_COMPARE: add(a->compare, &a->compare_count, value, "--compare", state); return 0;
    case OPT_HELP_CONFIG: a->help_config = true; return 0;
    case ARGP_KEY_ARG: take_argument(a, value, state); return 0;
    case ARGP_KEY_END:
        if (!a->config && !a->help_config) argp_error(state, "no configuration file given");
        check_use(a, state);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static bool command_is_search(const arguments *a) {
    return a->query.sentence || a->query.picture || a->query.file || a->query.interactive;
}

/* The paths that are given of what a command writes, none of which may be what it reads. */
static bool check_outputs(const arguments *a, const ct_config *config) {
    const char *inputs[3 * MOST_REPEATS + 4];
    int count = 0;
    for (int i = 0; i < a->weights_count; i++) inputs[count++] = a->weights[i];
    for (int i = 0; i < a->compare_count; i++) inputs[count++] = a->compare[i];
    for (int i = 0; i < a->evaluation.judgment_count; i++) inputs[count++] = a->judgments[i];
    inputs[count] = NULL;
    char *embeddings[2] = {NULL, NULL};
    if (a->embed && a->out) {
        for (int i = 0; i < 2; i++) embeddings[i] = ct_path(a->out, ct_embedding_files[i]);
        if (!ct_ok()) return false;
    }
    const struct {
        const char *option, *path;
    } outputs[] = {{"--index", a->index},
                   {"--export", a->export},
                   {"--out", a->embed ? NULL : a->out},
                   {"--embed", embeddings[0]},
                   {"--embed", embeddings[1]}};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs && ct_ok(); i++) {
        if (outputs[i].path) ct_output_may_be(config, outputs[i].option, outputs[i].path, inputs);
    }
    free(embeddings[0]);
    free(embeddings[1]);
    return ct_ok();
}

static bool run(const arguments *a, ct_config *config, int *status) {
    ct_train_options training = {a->mode, a->init, a->other_graph, a->steps, a->dump_steps};
    if (!(a->command & (TRAINING | EVALUATE | EMBED)) && ct_ranks() > 1) {
        return ct_fail_bool("%s is done by one process: start it without mpirun",
                            command_name(a->command));
    }
    ct_set_threads(ct_together_threads(config));
    if (a->command != TRAINING && !ct_together_uses(config, &training)) return false;
    if (a->dry_run) return ct_dry_run(config, training);
    static const char written[] = "what is asked for is written all the same";
    ct_weights weights = {a->weights, a->weights_count};
    if (a->embed || a->export || a->report || a->index || (a->evaluate && a->out))
        ct_console_needs_no_reader(written);
    if (a->evaluate) {
        ct_evaluate_options evaluation = a->evaluation;
        evaluation.out = a->out;
        evaluation.judgments = a->judgments;
        return ct_evaluate_command(config, a->evaluate, weights, &evaluation);
    }
    if (a->embed) {
        const char *folder = a->out ? a->out : config->run_folder;
        return ct_embed_command(config, a->embed, folder, weights);
    }
    if (a->export) return ct_export_command(config, a->export, weights);
    if (a->report && a->compare_count) {
        return ct_comparison_command(config, a->compare, a->compare_count, a->out);
    }
    if (a->report) return ct_report_command(config, a->splits[0], a->out);
    if (a->index) return ct_index_command(config, a->splits, a->split_count, a->index, weights);
    if (a->serve) {
        *status = 130;
        ct_serve_options serving = {.address = a->address,
                                    .port = a->port < 0 ? 8080 : a->port,
                                    .hosts = a->hosts,
                                    .host_count = a->host_count,
                                    .index = a->query.index,
                                    .splits = a->splits,
                                    .split_count = a->split_count,
                                    .top = a->query.top};
        return ct_serve_command(config, &serving, weights);
    }
    if (command_is_search(a)) {
        ct_query query = a->query;
        query.splits = a->splits;
        query.split_count = a->split_count;
        return ct_query_command(config, &query, weights);
    }
    ct_console_needs_no_reader("training goes on, see the run folder");
    ct_sweep_options sweep = {a->sweep, a->overrides, a->override_count,
                              a->jobs,  a->init,      a->other_graph};
    ct_train_outcome outcome =
        a->sweep ? ct_sweep_command(config, &sweep) : ct_train_run(config, training);
    if (outcome == CT_TRAIN_INTERRUPTED) *status = 130;
    return outcome != CT_TRAIN_FAILED;
}

/* A run's folder in place of a configuration: its own, wherever the folder is now. */
static ct_config *read_run(const arguments *a) {
    char *path = ct_path(a->config, "config.ini"), *setting = NULL;
    if (!path || asprintf(&setting, "run.folder=%s", a->config) < 0)
        return ct_fail("out of memory");
    if (access(path, F_OK) != 0) {
        ct_fail("%s: a folder without config.ini, expected a configuration or the folder of a run",
                a->config);
    }
    const char *overrides[MOST_REPEATS + 1] = {setting};
    memcpy(overrides + 1, a->overrides, (size_t)a->override_count * sizeof *overrides);
    ct_config *config = ct_config_read(path, overrides, a->override_count + 1);
    free(path);
    free(setting);
    return config;
}

static ct_config *read_config(const arguments *a) {
    struct stat status;
    bool folder = stat(a->config, &status) == 0 && S_ISDIR(status.st_mode);
    return folder ? read_run(a) : ct_config_read(a->config, a->overrides, a->override_count);
}

/* What a closed descriptor's number would be given to, a checkpoint even, is not printed into. */
static void open_standard_files(void) {
    int file;
    do file = open("/dev/null", O_RDWR);
    while (file >= 0 && file <= STDERR_FILENO);
    if (file >= 0) close(file);
}

/* What was asked for and could not be printed was not done. */
static void check_output(void) {
    int wrong = ct_console_wrong();
    if (!wrong) return;
    fprintf(stderr, "train: standard output: %s\n", strerror(wrong));
    _exit(2);
}

/* libgomp ends the program with 1 where it has no memory, and says so. */
static void end_as_one_of_ours(int status, void *context) {
    (void)context;
    if (status == EXIT_FAILURE) _exit(2);
}

/* Where a C++ library (oneDNN) has no memory: thrown, it would reach no one who catches. */
static void end_without_memory(void) {
    static const char said[] = "train: out of memory\n";
    ssize_t unheard = write(STDERR_FILENO, said, sizeof said - 1);
    (void)unheard;
    _exit(2);
}

static void watch_libraries(void) {
    on_exit(end_as_one_of_ours, NULL);
    /* std::set_new_handler, if such a library is loaded */
    void *set = dlsym(RTLD_DEFAULT, "_ZSt15set_new_handlerPFvvE");
    void (*(*set_new_handler)(void (*)(void)))(void);
    memcpy(&set_new_handler, &set, sizeof set);
    if (set) set_new_handler(end_without_memory);
}

static int fail(void) {
    ct_console_end_progress();
    if (!ct_together_speaks()) return 2;
    fprintf(stderr, "%strain:%s %s%s\n", ct_terminal_colour(STDERR_FILENO, CT_COLOUR_WRONG),
            ct_terminal_colour(STDERR_FILENO, CT_COLOUR_NONE), ct_together_name(),
            ct_console_error(ct_error() ? ct_error() : "failed"));
    return 2;
}

int main(int argc, char **argv) {
    ct_restart_well(argv);
    open_standard_files();
    atexit(check_output);
    watch_libraries();
    argp_err_exit_status = 2;
    argp_program_version_hook = print_version;
    if (!ct_together_begin() || !ct_options_known(argv)) return fail();
    arguments a = {.query.top = 10, .jobs = 1, .port = -1};
    struct argp argp = {ct_options, parse, "CONFIG.INI", doc, 0, 0, 0};
    if (argp_parse(&argp, argc, argv, 0, 0, &a) != 0) {
        ct_fail("out of memory");
        return fail();
    }
    if (a.help_config) {
        ct_config_print_help(stdout);
        return 0;
    }
    int status = 0;
    ct_config *config = read_config(&a);
    bool done = config && check_outputs(&a, config) && run(&a, config, &status);
    ct_config_destroy(config);
    if (!done) return fail();
    ct_together_end();
    return status;
}
