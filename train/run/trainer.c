/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "autograd/profile.h"
#include "tensor/core/excuse.h"
#include "tensor/io/json.h"
#include "train/data/batches.h"
#include "train/run/blame.h"
#include "train/run/console.h"
#include "train/run/optimization.h"
#include "train/run/resume.h"
#include "train/run/run_lock.h"
#include "train/run/run_log.h"
#include "train/run/steps.h"
#include "train/run/stop.h"
#include "train/run/together.h"
#include "train/run/weight_file.h"

typedef struct {
    ct_config *config;
    ct_train_options options;
    ct_prepared in;
    ct_run_lock *lock; /* on the run folder */
    ct_dump *dump;     /* or NULL */
    ct_steps *steps;
    ct_watched *watched; /* or NULL */
    ct_run_log *log;
    ct_progress progress;
    char *last_path, *best_path;
    char *data_text; /* of ct_resume_data */

    /* since the last line of the log */
    ct_interval *interval;
    ct_interval_means means; /* when last read: in every step on the CPU, where it is free */
    double interval_start;
    int64_t interval_pairs;

    bool replaces;      /* an earlier run waits for this one's first checkpoint */
    bool within_step;   /* the state is none to go on from */
    int64_t saved_step; /* last.safetensors is of */
    double started;     /* this process; progress.seconds holds earlier ones */
    int64_t first_step; /* of this process, for the rate */
} trainer;

/* ---- setting up -------------------------------------------------------------------------- */

/* Goes on from last.safetensors; under `resume = released` with its encoders alone: the rest, the
 * position included, stays as a new run has it. */
static bool take_up(trainer *t) {
    bool encoders_alone;
    if (!ct_compat_released(&t->config->model, "resume", &encoders_alone)) return false;
    if (!encoders_alone && !ct_resume_check(&t->in, t->data_text)) return false;
    ct_module *module = ct_model_module(t->in.experiment->model);
    return encoders_alone ? ct_checkpoint_load_encoders(t->last_path, module)
                          : ct_checkpoint_load(t->last_path, module, t->in.optimizer, &t->progress);
}

static bool begin_events(const trainer *t) {
    ct_event_file *events = ct_run_log_events(t->log);
    return !events || !ct_event_file_is_new(events) || ct_event_file_begin(events, t->config);
}

static bool prepare(trainer *t) {
    const ct_config *c = t->config;
    if (!ct_together_can(c, &t->options) || !ct_prepare(&t->in, t->config, &t->options)) {
        return false;
    }
    t->last_path = ct_path(c->run_folder, "last.safetensors");
    t->best_path = ct_path(c->run_folder, "best.safetensors");
    t->data_text = ct_resume_data(&t->in);
    return t->last_path && t->best_path && t->data_text;
}

static bool take_folder(trainer *t) {
    const ct_config *c = t->config;
    if (!ct_make_folders(c->run_folder)) return false;
    if (!(t->lock = ct_run_lock_take(c->run_folder, "lock"))) return false;
    const char *dump = t->options.dump_folder;
    if (dump && !(t->dump = ct_dump_open(t->in.experiment, dump, t->options.mode))) return false;
    /* The last of what may be wrong before a step is behind us. */
    t->replaces = t->options.mode == CT_RUN_OVERWRITE;
    return ct_run_folder_prepare(c, t->options.mode);
}

static bool begin(trainer *t) {
    /* Stream 1: stream 0 drew the initial values. */
    uint64_t seed = (uint64_t)t->config->seed;
    t->progress = (ct_progress){.best_score = -1, .rng = ct_rng_create(seed, 1)};
    bool resumes = t->options.mode == CT_RUN_RESUME;
    return !resumes || (take_up(t) && ct_prepared_noise(&t->in, &t->options, t->progress.step));
}

static bool open_logs(trainer *t) {
    const ct_config *c = t->config;
    if (!ct_run_folder_describe(t->in.experiment)) return false;
    ct_log_position from = {t->progress.step, t->progress.validation_due};
    t->log = ct_run_log_open(c->run_folder, from, c->tensorboard);
    if (c->tensorboard && c->histograms && t->in.dev) {
        t->watched = ct_watched_create(t->in.experiment);
    }
    return ct_ok() && begin_events(t);
}

/* What is in the run's folder is rank 0's alone; the others read it when it is in order. */
static bool set_up(trainer *t) {
    bool leads = ct_rank() == 0;
    if (!ct_together_well(prepare(t)) ||
        !ct_together_same_run(t->config, &t->options, t->data_text) ||
        !ct_together_well(!leads || take_folder(t)) || !ct_together_well(begin(t)) ||
        !ct_together_same_weights(ct_model_module(t->in.experiment->model),
                                  t->in.experiment->device, t->progress.step) ||
        !ct_together_well(!leads || open_logs(t))) {
        return false;
    }
    t->interval = ct_interval_create(t->in.experiment->device);
    t->steps = ct_steps_create(
        (ct_steps_options){t->in.experiment, t->in.optimizer, t->interval, t->dump, t->watched});
    if (!ct_together_well(t->interval && t->steps)) return false;
    t->started = t->interval_start = ct_profile_clock();
    t->first_step = t->saved_step = t->progress.step;
    return true;
}

static void tear_down(trainer *t) {
    ct_steps_destroy(t->steps);
    ct_watched_destroy(t->watched);
    ct_dump_close(t->dump);
    ct_run_log_close(t->log);
    ct_interval_destroy(t->interval);
    ct_prepared_end(&t->in);
    free(t->last_path);
    free(t->best_path);
    free(t->data_text);
}

/* ---- one step ---------------------------------------------------------------------------- */

static double learning_rate(const trainer *t) {
    return ct_configured_lr(t->config, t->progress.epoch, t->progress.step,
                            ct_prepared_steps(&t->in));
}

/* Reads the interval's means, for which a device is waited for. */
static bool read_means(trainer *t) {
    if (!ct_interval_read(t->interval, &t->means)) return false;
    if (isfinite(t->means.term[CT_LOSS_TOTAL])) return true;
    return ct_fail_bool("step %lld%s: the loss is not finite: lower [train] lr, or set [train] "
                        "clip_norm",
                        (long long)t->progress.step,
                        t->in.experiment->device == CT_CPU ? "" : " or shortly before");
}

/* With --verbose, where the time of this process's second step goes: the first one loads libraries.
 * Of a device each operation would have to be waited for, and a recorded step has none. */
static bool is_profiled(const trainer *t) {
    return ct_console_is_verbose() && t->in.experiment->device == CT_CPU &&
           t->progress.step == t->first_step + 1;
}

static bool say_profile(void) {
    enum { SHOWN = 8 };
    int count = 0;
    ct_profile_row *rows = ct_profile_stop(&count);
    if (!rows) return false;
    ct_console_line("a step's time by operation, in ms: calls, forward, backward");
    for (int i = 0; i < count && i < SHOWN; i++) {
        ct_console_line("  %-28s %5lld %9.3f %9.3f", rows[i].name, (long long)rows[i].calls,
                        1e3 * rows[i].forward, 1e3 * rows[i].backward);
    }
    free(rows);
    return true;
}

/* A step, and whether it went well, as far as that can be known now. */
static bool take(trainer *t, const ct_batch *batch) {
    bool profiled = is_profiled(t);
    if (profiled) ct_profile_start(CT_CPU);
    bool taken = ct_steps_take(t->steps, batch, &t->progress);
    if (profiled && !say_profile()) return false;
    if (!taken) return ct_error_prefix("step %lld: ", (long long)t->progress.step + 1);
    t->progress.step++;
    t->progress.batch++;
    bool reads = t->in.experiment->device == CT_CPU || t->progress.step == t->first_step + 1;
    return !reads || read_means(t);
}

/* Whether it is time to, after `step` steps, `batch` of them in this epoch. */
static bool validates_after(const trainer *t, int64_t step, int64_t batch) {
    const ct_config *c = t->config;
    bool epoch_ends = batch == ct_batches_count(t->in.batches);
    bool all_done = epoch_ends && t->progress.epoch + 1 == c->epochs;
    return all_done || (c->validate_every ? step % c->validate_every == 0 : epoch_ends);
}

/* Whether what failed within a step did so on all ranks that share it. */
static bool all_failed(const trainer *t) {
    return ct_steps_are_shared(t->steps) && !ct_error_is_of_memory();
}

/* After a step failed: what is to blame, said by a rank that knows. */
static void blame(const trainer *t, const ct_batch *batch, const ct_progress *before) {
    bool all = all_failed(t), found = ct_blame_step(t->in.experiment, batch, before);
    if (all) ct_together_worst(found ? CT_RANK_FAILED_AND_KNOWS_WHY : CT_RANK_FAILED);
}

static bool train_step(trainer *t) {
    ct_steps_watch(t->steps, validates_after(t, t->progress.step + 1, t->progress.batch + 1));
    ct_optimizer_set_lr(t->in.optimizer, learning_rate(t));
    CT_SCOPE {
        ct_batch batch;
        if (!ct_together_well(ct_batches_next(t->in.batches, &batch))) return false;
        t->within_step = true;
        ct_progress before = t->progress;
        if (!take(t, &batch)) {
            blame(t, &batch, &before);
            return false;
        }
        t->interval_pairs += ct_ranks() * ct_dim(batch.images, 0);
    }
    t->within_step = false;
    return ct_batches_ahead(t->in.batches) && ct_ok();
}

/* ---- reporting --------------------------------------------------------------------------- */

static ct_console_step console_step(const trainer *t) {
    double elapsed = ct_profile_clock() - t->started,
           interval = ct_profile_clock() - t->interval_start;
    int64_t done = t->progress.step - t->first_step,
            left = ct_prepared_steps(&t->in) - t->progress.step;
    ct_console_step step = {
        .epoch = t->progress.epoch,
        .epochs = t->config->epochs,
        .batch = t->progress.batch,
        .batches = ct_batches_count(t->in.batches),
        .reward = t->means.reward,
        .reward_spread = t->means.reward_spread,
        .pairs_per_second = interval > 0 ? (double)t->interval_pairs / interval : 0,
        .seconds_left = done > 0 ? elapsed / (double)done * (double)left : 0,
        .device = t->in.experiment->device,
    };
    memcpy(step.term, t->means.term, sizeof step.term);
    return step;
}

static bool log_interval(trainer *t) {
    if (ct_rank() > 0) return true;
    ct_console_step s = console_step(t);
    ct_console_step_line(&s, t->progress.step, ct_optimizer_lr(t->in.optimizer),
                         ct_optimizer_grad_norm(t->in.optimizer));
    json_t *line =
        json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "step", (json_int_t)t->progress.step, "epoch",
                  (json_int_t)t->progress.epoch, "lr", ct_optimizer_lr(t->in.optimizer), "loss",
                  s.term[CT_LOSS_TOTAL], "grad_norm", ct_optimizer_grad_norm(t->in.optimizer),
                  "pairs_per_second", s.pairs_per_second);
    for (int i = CT_LOSS_TOTAL + 1; i < CT_LOSS_COUNT; i++) {
        if (t->means.term[i] == 0) continue;
        ct_json_set(line, ct_loss_name((ct_loss_term)i), json_real(t->means.term[i]));
    }
    if (t->means.reward > 0) {
        ct_json_set(line, "reward", json_real(t->means.reward));
        ct_json_set(line, "reward_spread", json_real(t->means.reward_spread));
    }
    ct_device device = t->in.experiment->device;
    if (device != CT_CPU) {
        ct_json_set(line, "device_bytes", json_integer(ct_memory_in_use(device)));
    }
    return ct_run_log_write(t->log, line);
}

static bool start_interval(trainer *t) {
    t->interval_pairs = 0;
    t->interval_start = ct_profile_clock();
    return ct_interval_reset(t->interval);
}

/* ---- validation and checkpoints ---------------------------------------------------------- */

static double score_of(const trainer *t, const ct_retrieval *m) {
    if (strcmp(t->config->select, "rsum") == 0) return m->rsum;
    return m->i2t.r1 + m->i2t.r5 + m->t2i.r1 + m->t2i.r5;
}

static void say_written(const char *path) {
    struct stat status;
    if (ct_console_is_verbose() && stat(path, &status) == 0) {
        ct_console_line("wrote %s, %.1f MB", path, 1e-6 * (double)status.st_size);
    }
}

/* Without a dev split, the best model that is known is the last one. */
static bool save_last(trainer *t) {
    if (ct_rank() > 0) return true;
    ct_progress p = t->progress;
    p.seconds += ct_profile_clock() - t->started;
    ct_experiment *e = t->in.experiment;
    ct_weight_notes notes;
    t->saved_step = p.step; /* or what is wrong now would be so again */
    bool saved = ct_weight_notes_make(e, &notes) &&
                 ct_checkpoint_save(t->last_path, ct_model_module(e->model), t->in.optimizer, &p,
                                    t->config->text, t->data_text, notes.list);
    ct_weight_notes_free(&notes);
    if (saved) say_written(t->last_path);
    return saved && (t->in.dev || ct_experiment_save(e, t->best_path)) &&
           ct_run_folder_keep(t->config);
}

static bool keep_validation(trainer *t, const ct_console_step *step, const ct_retrieval *dev) {
    double score = score_of(t, dev);
    bool best = score > t->progress.best_score;
    if (best) {
        t->progress.best_score = score;
        t->progress.best_epoch = t->progress.epoch;
        t->progress.best_step = t->progress.step;
        if (!ct_experiment_save(t->in.experiment, t->best_path)) return false;
        say_written(t->best_path);
    }
    ct_console_validation(step, t->progress.step, dev, best);
    ct_event_file *events = ct_run_log_events(t->log);
    if (t->watched && !ct_watched_write(t->watched, events, t->progress.step, t->in.dev)) {
        return false;
    }
    json_t *line = json_pack("{s:I, s:I, s:o, s:f, s:b}", "step", (json_int_t)t->progress.step,
                             "epoch", (json_int_t)t->progress.epoch, "dev", ct_retrieval_json(dev),
                             "score", score, "best", best);
    t->progress.validation_due = false;
    return ct_run_log_write(t->log, line);
}

static bool validate(trainer *t) {
    ct_console_step step = console_step(t);
    ct_retrieval dev;
    if (!ct_evaluate_split(t->in.experiment, t->in.dev, false, &dev)) return false;
    if (ct_rank() == 0) return keep_validation(t, &step, &dev);
    t->progress.validation_due = false;
    return true;
}

static void end_epoch(trainer *t) {
    if (t->progress.batch < ct_batches_count(t->in.batches)) return;
    t->progress.epoch++;
    t->progress.batch = 0;
}

/* The run was ended before it had validated, or begun the next epoch: the losses before that are
 * not known any more. */
static bool catch_up(trainer *t) {
    bool due = t->progress.validation_due;
    t->means.term[CT_LOSS_TOTAL] = NAN;
    if (due && !validate(t)) return false;
    end_epoch(t);
    return !due || save_last(t);
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* What happens after a step, apart from training: returns false on error. */
static bool after_step(trainer *t) {
    const ct_config *c = t->config;
    bool epoch_ends = t->progress.batch == ct_batches_count(t->in.batches);
    bool validates = validates_after(t, t->progress.step, t->progress.batch);
    bool logs = t->progress.step % c->log_every == 0 || epoch_ends;
    t->progress.validation_due = validates && t->in.dev;
    if ((logs || validates) && !read_means(t)) return false;
    ct_console_step step = console_step(t);
    ct_console_progress(&step);
    if (logs && !log_interval(t)) return false;
    if (t->progress.validation_due && !(save_last(t) && validate(t))) return false;
    if (logs && !start_interval(t)) return false;
    end_epoch(t);
    return !(validates || epoch_ends) || save_last(t);
}

/* What to stop with, if it is time to: CT_TRAIN_DONE if it is not. `well`: what came after the step
 * is done. */
static ct_train_outcome stop_now(const trainer *t, bool well) {
    ct_rank_state here = !well ? CT_RANK_FAILED : ct_stop_asked() ? CT_RANK_STOPS : CT_RANK_WELL;
    ct_rank_state worst = ct_together_worst(here);
    if (worst >= CT_RANK_FAILED) return CT_TRAIN_FAILED;
    if (worst == CT_RANK_STOPS) return CT_TRAIN_INTERRUPTED;
    int64_t steps = t->options.steps;
    bool more = t->progress.epoch < t->config->epochs;
    return steps && more && t->progress.step - t->first_step >= steps ? CT_TRAIN_STOPPED
                                                                      : CT_TRAIN_DONE;
}

static ct_train_outcome train_all(trainer *t) {
    if (!ct_together_well(catch_up(t))) return CT_TRAIN_FAILED;
    while (t->progress.epoch < t->config->epochs) {
        int64_t epoch = t->progress.epoch;
        bool started = ct_batches_start(t->in.batches, epoch, t->progress.batch);
        if (!ct_together_well(started)) return CT_TRAIN_FAILED;
        while (t->progress.epoch == epoch) {
            if (!train_step(t)) return CT_TRAIN_FAILED;
            ct_train_outcome stop = stop_now(t, after_step(t));
            if (stop == CT_TRAIN_FAILED) return stop;
            if (stop != CT_TRAIN_DONE) {
                return ct_together_well(save_last(t)) ? stop : CT_TRAIN_FAILED;
            }
        }
    }
    return CT_TRAIN_DONE;
}

/* Whatever is wrong, and not with the step itself: what was trained is saved, unless an earlier run
 * waits to be replaced, which then comes back. The error stays. */
static void save_what_stands(trainer *t) {
    bool to_save = ct_rank() == 0 && !t->within_step && t->progress.step > t->saved_step;
    if (!to_save || ct_run_folder_replaces(t->config)) return;
    bool here = ct_error() != NULL; /* or on another rank */
    char *why = here ? strdup(ct_error()) : NULL;
    ct_error_clear();
    if (save_last(t)) {
        ct_console_result("saved %s after step %lld (go on with --resume)", t->last_path,
                          (long long)t->progress.step);
    }
    ct_error_clear();
    if (here) ct_fail("%s", why ? why : "out of memory");
    free(why);
}

/* ---- the end ----------------------------------------------------------------------------- */

static double peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}

/* On any rank. */
static bool stop_asked(void) {
    return ct_together_worst(ct_stop_asked() ? CT_RANK_STOPS : CT_RANK_WELL) != CT_RANK_WELL;
}

/* Dev and the test splits, as far as it is not asked to stop: how many. */
static int evaluate_all(const trainer *t, ct_retrieval *dev, ct_retrieval *rows) {
    int done = 0, count = 1 + t->config->test_split_count;
    for (; done < count && !stop_asked(); done++) {
        const ct_split *split = done ? t->in.tests[done - 1] : t->in.dev;
        ct_retrieval *metrics = done ? &rows[done - 1] : dev;
        if (!ct_evaluate_split(t->in.experiment, split, done > 0, metrics)) break;
    }
    return done;
}

/* The recalls of the end, as "results/test/rsum", and that it is one. */
static bool end_events(const trainer *t, const ct_results *results) {
    ct_event_file *events = ct_run_log_events(t->log);
    if (!events) return true;
    json_t *object = json_object(), *splits = json_object();
    for (int i = 0; i < results->count; i++) {
        ct_json_set(splits, results->names[i], ct_retrieval_json(&results->rows[i]));
    }
    bool written = ct_json_set(object, "results", splits) &&
                   ct_event_file_write(events, results->steps, object) &&
                   ct_event_file_end(events, results->steps);
    json_decref(object);
    return written;
}

static bool write_results(const trainer *t, const ct_retrieval *dev, const ct_retrieval *rows) {
    const ct_config *c = t->config;
    ct_results results = {
        .names = (const char *const *)c->test_splits,
        .rows = rows,
        .count = c->test_split_count,
        .dev = dev,
        .best_epoch = t->progress.best_epoch + 1,
        .best_step = t->progress.best_step,
        .steps = t->progress.step,
        .parameters = ct_module_parameter_count(ct_model_module(t->in.experiment->model)),
        .wall_seconds = ct_profile_clock() - t->started,
        .train_seconds = t->progress.seconds + ct_profile_clock() - t->started,
        .peak_bytes = peak_bytes(),
    };
    char *path = ct_path(c->run_folder, "results.json");
    bool written = path && ct_results_write(path, c, &results) && end_events(t, &results);
    if (written) {
        ct_console_result("\nbest model: epoch %lld, step %lld (chosen on %s)",
                          (long long)results.best_epoch, (long long)results.best_step,
                          c->dev_split);
        ct_console_table(results.names, rows, results.count);
        ct_console_result("%s", path);
    }
    free(path);
    return written;
}

/* The best model on dev, evaluated on the test splits. Interrupted, it is done by --resume. */
static ct_train_outcome finish(const trainer *t) {
    int count = t->config->test_split_count, done = 0;
    ct_retrieval dev, *rows = calloc((size_t)count + 1, sizeof *rows);
    if (!rows) ct_fail("out of memory");
    if (rows && ct_together_load(ct_model_module(t->in.experiment->model), t->best_path)) {
        done = evaluate_all(t, &dev, rows);
    }
    bool all = done == 1 + count, written = !all || ct_rank() > 0 || write_results(t, &dev, rows);
    free(rows);
    if (!ct_together_well(written && ct_ok())) return CT_TRAIN_FAILED;
    return all ? CT_TRAIN_DONE : CT_TRAIN_INTERRUPTED;
}

/* Without a dev split there is no best model to evaluate. */
static ct_train_outcome finish_recorded(const trainer *t) {
    ct_console_result("trained to the end; saved %s", t->last_path);
    return CT_TRAIN_DONE;
}

static void print_start(const trainer *t) {
    const ct_experiment *e = t->in.experiment;
    int64_t parameters = ct_module_parameter_count(ct_model_module(e->model));
    if (!e->train) {
        ct_console_line("%s: %lld recorded batches, %lld words; %lld parameters; %s",
                        t->config->recorded_file, (long long)ct_batches_count(t->in.batches),
                        (long long)e->sizes.vocabulary, (long long)parameters, ct_machine_text());
        return;
    }
    ct_console_line("%s: %lld images, %lld captions, %lld words; %lld parameters; %s",
                    t->config->train_split, (long long)e->train->image_count,
                    (long long)e->train->caption_count, (long long)e->sizes.vocabulary,
                    (long long)parameters, ct_machine_text());
    if (e->train->without_caption) {
        ct_console_line("%s: %lld of the images without a caption: they are not trained on",
                        t->config->train_split, (long long)e->train->without_caption);
    }
}

static ct_train_outcome train_and_finish(trainer *t) {
    print_start(t);
    ct_prepared_say(&t->in);
    ct_together_say(t->config);
    ct_stop_watch();
    ct_train_outcome outcome = train_all(t);
    ct_console_end_progress();
    long long step = (long long)t->progress.step, repeated = (long long)ct_steps_repeated(t->steps);
    if (repeated) {
        ct_console_line("%lld of %lld steps repeated a recorded one", repeated,
                        step - (long long)t->first_step);
    }
    if (outcome == CT_TRAIN_DONE) outcome = t->in.dev ? finish(t) : finish_recorded(t);
    if (outcome == CT_TRAIN_FAILED) save_what_stands(t);
    ct_stop_unwatch();
    if (outcome == CT_TRAIN_INTERRUPTED || outcome == CT_TRAIN_STOPPED) {
        ct_console_result("%s after step %lld; saved %s (go on with --resume)",
                          outcome == CT_TRAIN_STOPPED ? "stopped" : "interrupted", step,
                          t->last_path);
    }
    return outcome;
}

ct_train_outcome ct_train_run(ct_config *config, ct_train_options options) {
    trainer t = {.config = config, .options = options};
    ct_train_outcome outcome = set_up(&t) ? train_and_finish(&t) : CT_TRAIN_FAILED;
    tear_down(&t);
    if (outcome == CT_TRAIN_FAILED && t.replaces) ct_run_folder_restore(config);
    ct_run_lock_release(t.lock);
    return outcome;
}
