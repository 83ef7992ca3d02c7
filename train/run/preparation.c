/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run/preparation.h"

#include <stdlib.h>
#include <unistd.h>

#include "train/run/console.h"
#include "train/run/optimization.h"
#include "train/run/terminal.h"
#include "train/run/weight_file.h"

/* ---- splits ------------------------------------------------------------------------------ */

/* Features are mapped, so it costs no memory to keep a split. Recorded batches come without. */
static bool open_splits(ct_prepared *p) {
    const ct_experiment *e = p->experiment;
    if (!e->train) return true;
    int count = e->config->test_split_count;
    p->tests = calloc((size_t)count + 1, sizeof *p->tests);
    if (!p->tests) return ct_fail_bool("out of memory");
    p->dev = ct_experiment_ranked_split(e, e->config->dev_split);
    for (int i = 0; p->dev && i < count; i++) {
        p->tests[i] = ct_experiment_ranked_split(e, e->config->test_splits[i]);
        if (!p->tests[i]) return false;
    }
    return p->dev != NULL;
}

/* ---- what is left out -------------------------------------------------------------------- */

static void say_of_words(const ct_experiment *e) {
    int64_t rare = ct_vocabulary_rare(e->vocabulary), words = 0, unknown = 0, cut = 0;
    for (int64_t i = 0; i < e->train->caption_count; i++) {
        const ct_caption *caption = &e->train->encoded[i];
        words += caption->length - 2; /* <start>, <end> */
        for (int64_t k = 1; k < caption->length - 1; k++) {
            unknown += caption->ids[k] == CT_WORD_UNKNOWN;
        }
        cut += caption->cut;
    }
    if (rare) {
        ct_console_line("%lld of %lld words occur less than %lld times and are unknown ([data] "
                        "min_count)",
                        (long long)rare, (long long)(rare + e->sizes.vocabulary - 4),
                        (long long)e->config->min_count);
    }
    if (2 * unknown > words) {
        ct_console_line(
            "\n%sWARNING:%s %.0f %% of the words in the training captions are unknown to the "
            "vocabulary (%s)\n",
            ct_terminal_colour(STDOUT_FILENO, CT_COLOUR_WARNING),
            ct_terminal_colour(STDOUT_FILENO, CT_COLOUR_NONE),
            100.0 * (double)unknown / (double)words,
            *e->config->vocabulary ? "[data] vocabulary" : "[data] min_count");
    }
    if (!cut) return;
    ct_console_line("%lld of %lld training captions are cut ([data] max_words, pad_words)",
                    (long long)cut, (long long)e->train->caption_count);
}

static void say_of_decoder(const ct_experiment *e) {
    int64_t tokens = ct_model_decoder_tokens(e->model), cut = 0;
    for (int64_t i = 0; tokens && i < e->train->caption_count; i++) {
        cut += e->train->encoded[i].length > tokens;
    }
    if (!cut) return;
    ct_console_line("%lld of %lld training captions have more than the %lld tokens that the "
                    "decoder learns of ([loss] decoder = convcap tokens=%lld)",
                    (long long)cut, (long long)e->train->caption_count, (long long)tokens,
                    (long long)tokens);
}

void ct_prepared_say(const ct_prepared *p) {
    const ct_experiment *e = p->experiment;
    if (!e->train) return;
    say_of_words(e);
    say_of_decoder(e);
    const ct_split *dev = p->dev;
    if (dev->captions_left_out) {
        ct_console_line(
            "%s: %lld of %lld images, %lld of %lld captions ([data] dev_captions = %lld; "
            "0: all)",
            dev->name, (long long)dev->image_count,
            (long long)(dev->image_count + dev->images_left_out), (long long)dev->caption_count,
            (long long)(dev->caption_count + dev->captions_left_out),
            (long long)e->config->dev_captions);
    }
    int64_t rest = e->train->caption_count % e->config->batch;
    if (rest) {
        ct_console_line("%lld of %lld captions, %s, fill no batch of %lld and are left out of an "
                        "epoch ([train] batch)",
                        (long long)rest, (long long)e->train->caption_count,
                        e->config->shuffle ? "others each time" : "the last ones",
                        (long long)e->config->batch);
    }
}

/* ---- steps ------------------------------------------------------------------------------- */

int64_t ct_prepared_steps(const ct_prepared *p) {
    return p->experiment->config->epochs * ct_batches_count(p->batches);
}

bool ct_prepared_noise(const ct_prepared *p, const ct_train_options *options, int64_t done) {
    ct_recorded *recorded = p->experiment->recorded;
    int64_t noise = ct_recorded_noise_steps(recorded), last = ct_prepared_steps(p);
    if (noise == 0) return true;
    if (options->steps && options->steps < last - done) last = done + options->steps;
    ct_rng unused;
    return last <= noise || ct_recorded_replay(recorded, noise, &unused);
}

/* ---- all --------------------------------------------------------------------------------- */

/* Of a run that is gone on with as it was saved, --init could give nothing. */
static bool init_counts(const ct_config *config) {
    bool encoders_alone;
    if (!ct_compat_released(&config->model, "resume", &encoders_alone)) return false;
    return encoders_alone ||
           ct_fail_bool("--init and --resume: a run goes on with its own weights, "
                        "one of both");
}

/* What a run's front makes of pictures is that of its own weights. */
static bool load_run(const ct_experiment *e, bool resumes) {
    if (!resumes || !e->pictures) return true;
    char *path = ct_path(e->config->run_folder, "last.safetensors");
    bool loaded = path && (access(path, R_OK) != 0 || /* resuming says what is missing */
                           ct_experiment_load(e, path, CT_WEIGHTS_FOR_OTHER_GRAPH));
    free(path);
    return loaded;
}

bool ct_prepare(ct_prepared *p, ct_config *config, const ct_train_options *options) {
    bool resumes = options->mode == CT_RUN_RESUME;
    *p = (ct_prepared){.experiment = ct_experiment_open(config, resumes)};
    const ct_experiment *e = p->experiment;
    if (e && resumes && options->weights && !init_counts(config)) return false;
    ct_weights_purpose purpose =
        options->other_graph ? CT_WEIGHTS_FOR_OTHER_GRAPH : CT_WEIGHTS_TO_TRAIN;
    if (!e || (options->weights && !ct_experiment_load(e, options->weights, purpose))) return false;
    if (!load_run(p->experiment, resumes) || !ct_experiment_take_front(p->experiment)) return false;
    if (!open_splits(p) || !(p->batches = ct_batches_open(e))) return false;
    /* how many steps a run has done that is gone on with is not known yet */
    if (!resumes && !ct_prepared_noise(p, options, 0)) return false;
    p->optimizer = ct_configured_optimizer(config, e->model);
    if (!p->optimizer || !ct_run_folder_can_be(config->run_folder)) return false;
    return !options->dump_folder || ct_run_folder_can_be(options->dump_folder);
}

void ct_prepared_end(ct_prepared *p) {
    ct_batches_close(p->batches);
    ct_optimizer_destroy(p->optimizer);
    ct_split_destroy(p->dev);
    for (int i = 0; p->tests && i < p->experiment->config->test_split_count; i++) {
        ct_split_destroy(p->tests[i]);
    }
    free(p->tests);
    ct_experiment_close(p->experiment);
    *p = (ct_prepared){0};
}
