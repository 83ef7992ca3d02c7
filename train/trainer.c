#include "train/trainer.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "train/console.h"
#include "train/run_log.h"

typedef struct {
    ct_config *config;
    ct_experiment *experiment;
    ct_split *dev, **tests; /* tests: one for each of config->test_splits */
    ct_loader *loader;
    ct_optimizer *optimizer;
    ct_run_log *log;
    ct_progress progress;
    char *last_path, *best_path;

    /* since the last line of the log */
    double term_sum[CT_LOSS_COUNT];
    int64_t term_count;
    double interval_start;
    int64_t interval_pairs;

    double started;      /* this process; progress.seconds holds earlier ones */
    int64_t first_step;  /* of this process, for the rate */
} trainer;

/* ---- stopping ---------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_asked;

static void ask_stop(int signal_number) {
    (void)signal_number;
    stop_asked = 1;
}

/* SA_RESETHAND: a second Ctrl-C ends the program at once, as one expects. */
static void watch_signals(void) {
    struct sigaction action = {.sa_handler = ask_stop, .sa_flags = SA_RESETHAND};
    stop_asked = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void unwatch_signals(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- run folder -------------------------------------------------------------------------- */

static const char *const run_files[] = {"last.safetensors", "best.safetensors", "results.json",
                                        "metrics.jsonl", "vocabulary.json", "config.ini"};

/* What an earlier run left: refused for a new run, removed for one that overwrites. */
static bool clear_file(const char *folder, const char *path, ct_run_mode mode) {
    if (mode == CT_RUN_NEW && access(path, F_OK) == 0) {
        return ct_fail_bool("%s already holds a run: pass --resume to go on with it, "
                            "--overwrite to replace it, or another --set run.folder=NAME", folder);
    }
    if (mode == CT_RUN_NEW || unlink(path) == 0 || errno == ENOENT) return true;
    return ct_fail_bool("%s: cannot be removed: %s", path, strerror(errno));
}

static bool prepare_folder(const ct_config *config, ct_run_mode mode) {
    if (!ct_make_folders(config->run_folder)) return false;
    if (mode == CT_RUN_RESUME) return true;
    for (size_t i = 0; i < sizeof run_files / sizeof *run_files; i++) {
        char *path = ct_path(config->run_folder, run_files[i]);
        bool clear = path && clear_file(config->run_folder, path, mode);
        free(path);
        if (!clear) return false;
    }
    return true;
}

static bool save_description(const trainer *t) {
    char *config = ct_path(t->config->run_folder, "config.ini");
    char *vocabulary = ct_path(t->config->run_folder, "vocabulary.json");
    bool saved = config && vocabulary &&
                 ct_file_write(config, t->config->text, strlen(t->config->text)) &&
                 ct_vocabulary_write(t->experiment->vocabulary, vocabulary);
    free(config);
    free(vocabulary);
    return saved;
}

/* ---- setting up -------------------------------------------------------------------------- */

/* Entries "image.attend:0.1" of [train] lr_factors: a module of the graph, with all below it. */
static bool scale_learning_rates(const ct_config *c, ct_optimizer *optimizer) {
    for (int i = 0; i < c->lr_factor_count; i++) {
        char name[128], rest;
        double factor;
        if (sscanf(c->lr_factors[i], "%126[^:]:%lf%c", name, &factor, &rest) != 2 ||
            !(factor >= 0 && factor <= 1e6)) {
            return ct_fail_bool("%s: [train] lr_factors: '%s', expected NAME:FACTOR, a factor from "
                                "0 to 1e6", c->file, c->lr_factors[i]);
        }
        strcat(name, ".");
        if (ct_optimizer_scale_lr(optimizer, name, factor)) continue;
        ct_error_clear();
        return ct_fail_bool("%s: [train] lr_factors: the model has no part '%.*s' with parameters",
                            c->file, (int)strlen(name) - 1, name);
    }
    return true;
}

static ct_optimizer *make_optimizer(const ct_config *c, const ct_model *model,
                                    ct_module *module) {
    ct_adam_config adam = {.lr = c->lr, .weight_decay = c->weight_decay};
    ct_optimizer *optimizer;
    if (strcmp(c->optimizer, "sgd") == 0) {
        optimizer = ct_sgd_create(module, (ct_sgd_config){.lr = c->lr, .momentum = c->momentum,
                                                          .weight_decay = c->weight_decay});
    } else if (strcmp(c->optimizer, "adamw") == 0) {
        optimizer = ct_adamw_create(module, adam);
    } else {
        optimizer = ct_adam_create(module, adam);
    }
    if (!optimizer) return NULL;
    ct_optimizer_clip_norm(optimizer, c->clip_norm);
    const char *untrained = ct_model_untrained_prefix(model);
    const char *repeated = ct_model_repeated_prefix(model);
    if ((!untrained || ct_optimizer_exclude(optimizer, untrained)) &&
        (!repeated || ct_optimizer_repeat(optimizer, repeated)) &&
        scale_learning_rates(c, optimizer)) {
        return optimizer;
    }
    ct_optimizer_destroy(optimizer);
    return NULL;
}

/* Opened before training, so that one that cannot be read is known then; features are mapped,
 * so it costs no memory to keep them. */
static bool open_test_splits(trainer *t) {
    int count = t->config->test_split_count;
    t->tests = calloc((size_t)count + 1, sizeof *t->tests);
    if (!t->tests) return ct_fail_bool("out of memory");
    for (int i = 0; i < count; i++) {
        t->tests[i] = ct_experiment_split(t->experiment, t->config->test_splits[i]);
        if (!t->tests[i]) return false;
    }
    return true;
}

/* Goes on from last.safetensors; under `resume = released` with its encoders alone: the rest, the
 * position included, stays as a new run has it. */
static bool take_up(trainer *t) {
    bool encoders_alone;
    if (!ct_compat_released(&t->config->model, "resume", &encoders_alone)) return false;
    ct_module *module = ct_model_module(t->experiment->model);
    return encoders_alone ? ct_checkpoint_load_encoders(t->last_path, module)
                          : ct_checkpoint_load(t->last_path, module, t->optimizer, &t->progress);
}

static bool open_loader(trainer *t) {
    const ct_config *c = t->config;
    t->loader = ct_loader_create(t->experiment->train, c->batch, true, true, (uint64_t)c->seed);
    if (!t->loader || ct_loader_batches(t->loader) > 0) return t->loader != NULL;
    return ct_fail_bool("%s: %lld captions do not fill one batch of %lld: lower [train] batch",
                        c->train_split, (long long)t->experiment->train->caption_count,
                        (long long)c->batch);
}

static bool set_up(trainer *t, ct_run_mode mode, const char *weights) {
    ct_config *c = t->config;
    t->experiment = ct_experiment_open(c, mode == CT_RUN_RESUME);
    if (!t->experiment || !ct_split_check(t->experiment->train)) return false;
    if (weights && !ct_experiment_load(t->experiment, weights)) return false;
    t->dev = ct_experiment_split(t->experiment, c->dev_split);
    if (!t->dev || !open_test_splits(t) || !open_loader(t)) return false;
    ct_module *module = ct_model_module(t->experiment->model);
    t->optimizer = make_optimizer(c, t->experiment->model, module);
    t->last_path = ct_path(c->run_folder, "last.safetensors");
    t->best_path = ct_path(c->run_folder, "best.safetensors");
    if (!t->optimizer || !t->last_path || !t->best_path) return false;
    /* The last of what may be wrong is behind us: only now may an earlier run go. */
    if (!prepare_folder(c, mode)) return false;
    /* Stream 1: stream 0 drew the initial values. */
    t->progress = (ct_progress){.best_score = -1, .rng = ct_rng_create((uint64_t)c->seed, 1)};
    if ((mode == CT_RUN_RESUME && !take_up(t)) || !save_description(t)) return false;
    t->log = ct_run_log_open(c->run_folder, t->progress.step);
    if (!t->log) return false;
    t->started = t->interval_start = now();
    t->first_step = t->progress.step;
    return true;
}

static void tear_down(trainer *t) {
    ct_loader_destroy(t->loader);
    ct_run_log_close(t->log);
    ct_optimizer_destroy(t->optimizer);
    ct_split_destroy(t->dev);
    for (int i = 0; t->tests && i < t->config->test_split_count; i++) {
        ct_split_destroy(t->tests[i]);
    }
    free(t->tests);
    ct_experiment_close(t->experiment);
    free(t->last_path);
    free(t->best_path);
}

/* ---- one step ---------------------------------------------------------------------------- */

static int64_t total_steps(const trainer *t) {
    return t->config->epochs * ct_loader_batches(t->loader);
}

static double learning_rate(const trainer *t) {
    const ct_config *c = t->config;
    double lr = c->lr;
    if (strcmp(c->schedule, "step") == 0) {
        lr = ct_schedule_step(lr, t->progress.epoch, c->lr_update, c->lr_factor);
    } else if (strcmp(c->schedule, "cosine") == 0) {
        lr = ct_schedule_cosine(lr, t->progress.step, total_steps(t), 0);
    }
    return ct_schedule_warmup(lr, t->progress.step, c->warmup_steps);
}

static bool train_step(trainer *t, const ct_host_batch *host) {
    CT_SCOPE {
        ct_batch batch = ct_batch_from_host(t->experiment, host);
        ct_optimizer_set_lr(t->optimizer, learning_rate(t));
        ct_losses losses = ct_model_losses(t->experiment->model, &batch, t->progress.epoch,
                                           &t->progress.rng);
        if (!ct_backward(losses.term[CT_LOSS_TOTAL])) return false;
        if (!ct_optimizer_step(t->optimizer)) return false;
        for (int i = 0; i < CT_LOSS_COUNT; i++) {
            if (losses.term[i]) t->term_sum[i] += ct_item(losses.term[i]);
        }
    }
    t->term_count++;
    t->interval_pairs += host->size;
    t->progress.step++;
    t->progress.batch++;
    if (!isfinite(t->term_sum[CT_LOSS_TOTAL])) {
        return ct_fail_bool("the loss is not finite at step %lld: lower [train] lr, or set [train] "
                            "clip_norm", (long long)t->progress.step);
    }
    return ct_ok();
}

/* ---- reporting --------------------------------------------------------------------------- */

static ct_console_step console_step(const trainer *t) {
    double elapsed = now() - t->started, interval = now() - t->interval_start;
    int64_t done = t->progress.step - t->first_step, left = total_steps(t) - t->progress.step;
    return (ct_console_step){
        .epoch = t->progress.epoch,
        .epochs = t->config->epochs,
        .batch = t->progress.batch,
        .batches = ct_loader_batches(t->loader),
        .loss = t->term_count ? t->term_sum[CT_LOSS_TOTAL] / (double)t->term_count : NAN,
        .pairs_per_second = interval > 0 ? (double)t->interval_pairs / interval : 0,
        .seconds_left = done > 0 ? elapsed / (double)done * (double)left : 0,
    };
}

static bool log_interval(trainer *t) {
    ct_console_step s = console_step(t);
    json_t *line = json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "step",
                             (json_int_t)t->progress.step, "epoch", (json_int_t)t->progress.epoch,
                             "lr", ct_optimizer_lr(t->optimizer), "loss", s.loss, "grad_norm",
                             ct_optimizer_grad_norm(t->optimizer), "pairs_per_second",
                             s.pairs_per_second);
    for (int i = CT_LOSS_TOTAL + 1; i < CT_LOSS_COUNT && t->term_count; i++) {
        if (t->term_sum[i] == 0) continue;
        json_object_set_new(line, ct_loss_name((ct_loss_term)i),
                            json_real(t->term_sum[i] / (double)t->term_count));
    }
    return ct_run_log_write(t->log, line);
}

static void start_interval(trainer *t) {
    memset(t->term_sum, 0, sizeof t->term_sum);
    t->term_count = t->interval_pairs = 0;
    t->interval_start = now();
}

/* ---- validation and checkpoints ---------------------------------------------------------- */

static double score_of(const trainer *t, const ct_retrieval *m) {
    if (strcmp(t->config->select, "rsum") == 0) return m->rsum;
    return m->i2t.r1 + m->i2t.r5 + m->t2i.r1 + m->t2i.r5;
}

static bool save_last(trainer *t) {
    ct_progress p = t->progress;
    p.seconds += now() - t->started;
    return ct_checkpoint_save(t->last_path, ct_model_module(t->experiment->model), t->optimizer,
                              &p, t->config->text);
}

static bool validate(trainer *t) {
    ct_console_step step = console_step(t);
    ct_retrieval dev;
    if (!ct_evaluate_split(t->experiment, t->dev, &dev)) return false;
    double score = score_of(t, &dev);
    bool best = score > t->progress.best_score;
    if (best) {
        t->progress.best_score = score;
        t->progress.best_epoch = t->progress.epoch;
        t->progress.best_step = t->progress.step;
        if (!ct_module_save(ct_model_module(t->experiment->model), t->best_path)) return false;
    }
    ct_console_validation(&step, t->progress.step, &dev, best);
    json_t *line = json_pack("{s:I, s:I, s:o, s:f, s:b}", "step", (json_int_t)t->progress.step,
                             "epoch", (json_int_t)t->progress.epoch, "dev",
                             ct_retrieval_json(&dev), "score", score, "best", best);
    return ct_run_log_write(t->log, line);
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* What happens after a step, apart from training: returns false on error. */
static bool after_step(trainer *t) {
    const ct_config *c = t->config;
    bool epoch_ends = t->progress.batch == ct_loader_batches(t->loader);
    bool all_done = epoch_ends && t->progress.epoch + 1 == c->epochs;
    bool validates = all_done || (c->validate_every ? t->progress.step % c->validate_every == 0
                                                    : epoch_ends);
    bool logs = t->progress.step % c->log_every == 0 || epoch_ends;
    ct_console_step step = console_step(t);
    ct_console_progress(&step);
    if (logs && !log_interval(t)) return false;
    if (validates && !validate(t)) return false;
    if (logs) start_interval(t);
    if (epoch_ends) {
        t->progress.epoch++;
        t->progress.batch = 0;
    }
    return !(validates || epoch_ends) || save_last(t);
}

static ct_train_outcome train_all(trainer *t) {
    while (t->progress.epoch < t->config->epochs) {
        if (!ct_loader_start(t->loader, t->progress.epoch, t->progress.batch)) {
            return CT_TRAIN_FAILED;
        }
        const ct_host_batch *host;
        while ((host = ct_loader_next(t->loader))) {
            if (!train_step(t, host) || !after_step(t)) return CT_TRAIN_FAILED;
            if (stop_asked) return save_last(t) ? CT_TRAIN_INTERRUPTED : CT_TRAIN_FAILED;
            if (t->progress.batch == 0) break; /* the epoch is done */
        }
        if (!ct_ok()) return CT_TRAIN_FAILED;
    }
    return CT_TRAIN_DONE;
}

/* ---- the end ----------------------------------------------------------------------------- */

static double peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}

static bool evaluate_tests(const trainer *t, ct_retrieval *rows) {
    for (int i = 0; i < t->config->test_split_count; i++) {
        if (!ct_evaluate_split(t->experiment, t->tests[i], &rows[i])) return false;
    }
    return true;
}

/* The best model on dev, evaluated on the test splits. */
static bool finish(trainer *t) {
    const ct_config *c = t->config;
    ct_module *module = ct_model_module(t->experiment->model);
    ct_retrieval *rows = calloc((size_t)c->test_split_count + 1, sizeof *rows);
    char *path = ct_path(c->run_folder, "results.json");
    ct_retrieval dev;
    bool done = rows && path && ct_module_load(module, t->best_path, true) &&
                ct_evaluate_split(t->experiment, t->dev, &dev) && evaluate_tests(t, rows);
    if (done) {
        ct_results results = {
            .names = (const char *const *)c->test_splits, .rows = rows,
            .count = c->test_split_count, .dev = &dev, .best_epoch = t->progress.best_epoch + 1,
            .best_step = t->progress.best_step, .steps = t->progress.step,
            .parameters = ct_module_parameter_count(module), .wall_seconds = now() - t->started,
            .train_seconds = t->progress.seconds + now() - t->started, .peak_bytes = peak_bytes(),
        };
        done = ct_results_write(path, c, &results);
        if (done) {
            ct_console_line("\nbest model: epoch %lld, step %lld (chosen on %s)",
                            (long long)t->progress.best_epoch + 1,
                            (long long)t->progress.best_step, c->dev_split);
            ct_console_table(results.names, rows, results.count);
            ct_console_line("%s", path);
        }
    }
    free(rows);
    free(path);
    return done;
}

ct_train_outcome ct_train_run(ct_config *config, ct_run_mode mode, const char *weights) {
    trainer t = {.config = config};
    ct_train_outcome outcome = CT_TRAIN_FAILED;
    if (set_up(&t, mode, weights)) {
        ct_console_line("%s: %lld images, %lld captions, %lld words; %lld parameters; %s",
                        config->train_split, (long long)t.experiment->train->image_count,
                        (long long)t.experiment->train->caption_count,
                        (long long)ct_vocabulary_size(t.experiment->vocabulary),
                        (long long)ct_module_parameter_count(ct_model_module(t.experiment->model)),
                        ct_machine_text());
        watch_signals();
        outcome = train_all(&t);
        unwatch_signals();
        ct_console_end_progress();
        if (outcome == CT_TRAIN_INTERRUPTED) {
            ct_console_line("interrupted after step %lld; saved %s (go on with --resume)",
                            (long long)t.progress.step, t.last_path);
        } else if (outcome == CT_TRAIN_DONE && !finish(&t)) {
            outcome = CT_TRAIN_FAILED;
        }
    }
    tear_down(&t);
    return outcome;
}
