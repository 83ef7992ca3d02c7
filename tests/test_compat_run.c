/* Departures of the released code around the model, in data and runs, told apart by the values of
 * both settings (those within the model: test_compat.c; what evaluation reports: test_evaluate.c;
 * resuming: test_train.c), and the preset. */
#include "model_fixture.h"
#include "split_fixture.h"
#include "train/experiment.h"

/* ---- data ------------------------------------------------------------------------------------ */

typedef struct {
    char *folder;
    ct_config *config;
    ct_experiment *experiment;
} run;

/* The tiny experiment of program.h with one --set. */
static run run_with(const char *setting) {
    run r = {.folder = tiny_experiment()};
    const char *settings[] = {"text.embed=words width=12", "image.pool=mean", setting};
    r.config = ct_config_read(in_folder(r.folder, "tiny.ini"), settings, 3);
    r.experiment = r.config ? ct_experiment_open(r.config, false) : NULL;
    assert_no_error();
    return r;
}

static void run_end(run r) {
    ct_experiment_close(r.experiment);
    ct_config_destroy(r.config);
    folder_remove(r.folder);
}

/* "a red square" or b'a red square' */
START_TEST(tokens_are_plain_or_with_the_bytes_prefix) {
    static const char *const plain[] = {"<start>", "a", "red", "square", "<end>"};
    static const char *const bytes[] = {"<start>", "b", "'", "a", "red", "square", "'", "<end>"};
    static const char *const settings[] = {"compat.tokens=plain", "compat.tokens=released",
                                           "compat.preset=released"};
    for (int k = 0; k < 3; k++) {
        run r = run_with(settings[k]);
        int64_t length, *words = ct_encode_caption(r.experiment->vocabulary, "a red square", 0,
                                                   &length);
        ck_assert_int_eq(length, k ? 8 : 5);
        for (int64_t i = 0; i < length; i++)
            ck_assert_str_eq(ct_vocabulary_word(r.experiment->vocabulary, words[i]),
                             k ? bytes[i] : plain[i]);
        free(words);
        run_end(r);
    }
} END_TEST

START_TEST(class_numbers_begin_at_0_or_1) {
    for (int released = 0; released < 2; released++) {
        run r = run_with(released ? "compat.classes=released" : "compat.classes=data");
        CT_SCOPE {
            ct_loader *loader = ct_loader_create(r.experiment->train, 8, true, true, 3);
            ck_assert(ct_loader_start(loader, 0, 0));
            const ct_host_batch *host = ct_loader_next(loader);
            ct_batch batch = ct_batch_from_host(r.experiment, host);
            for (int64_t i = 0; i < 8; i++) {
                int64_t image = r.experiment->train->image_of[host->captions[i]];
                ck_assert_double_eq(ct_get(batch.classes, i), (double)(image + released));
            }
            ct_loader_destroy(loader);
        }
        run_end(r);
    }
} END_TEST

/* dev: 12 images, of 3 2 2 2 2 3 ... captions */
START_TEST(dev_is_cut_to_its_first_captions) {
    static const struct {
        const char *setting, *split;
        int64_t images, captions;
    } rows[] = {{"compat.preset=released", "dev", 12, 27},
                {"data.dev_captions=5000", "dev", 12, 27},
                {"data.dev_captions=8", "dev", 3, 7},
                {"data.dev_captions=8", "test", 12, 27},
                {"data.dev_captions=0", "dev", 12, 27}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        run r = run_with(rows[i].setting);
        ck_assert(i > 0 || r.config->dev_captions == 5000);
        ct_split *split = ct_experiment_split(r.experiment, rows[i].split);
        assert_no_error();
        ck_assert_int_eq(split->image_count, rows[i].images);
        ck_assert_int_eq(split->caption_count, rows[i].captions);
        ct_split_destroy(split);
        run_end(r);
    }
} END_TEST

/* ---- the preset ------------------------------------------------------------------------------ */

static const struct {
    const char *key, *ours, *released;
    bool preset;
} switches[] = {
    {"l2norm", "features", "regions", true},
    {"first_l2norm", "keep", "skip", false},
    {"continuous_sample", "applied", "second", true},
    {"image_continuous_heads", "all", "last", true},
    {"text_policy_steps", "words", "padded", true},
    {"decoder_parameters", "trained", "fixed", true},
    {"image_batchnorm_eval", "running", "batch", true},
    {"decoder_targets", "words", "words_and_pad", true},
    {"intra_modal_hardest", "row", "column", true},
    {"reward_measure", "configured", "cosine", true},
    {"tokens", "plain", "released", true},
    {"unknown_words", "learned", "dropped", true},
    {"classes", "data", "released", true},
    {"order_gradient", "finite", "nan", true},
    {"evaluation_report", "right", "released", true},
    {"resume", "exact", "released", true},
    {"decoder_updates", "once", "twice", false},
};
enum { SWITCHES = sizeof switches / sizeof *switches };

static bool released(const char *text, int which) {
    fixture_ini ini;
    bool effective;
    ck_assert_msg(ct_compat_released(fixture_read(&ini, text), switches[which].key, &effective),
                  "%s", ct_error());
    return effective;
}

START_TEST(preset_is_all_its_keys_one_by_one) {
    char all[2048] = "[compat]\n", own[256];
    ck_assert_int_eq(SWITCHES, CT_COMPAT_COUNT);
    for (int i = 0; i < SWITCHES; i++) {
        if (!switches[i].preset) continue;
        snprintf(own, sizeof own, "%s = %s\n", switches[i].key, switches[i].released);
        strcat(all, own);
    }
    fixture_ini one, two;
    ct_compat preset, keys;
    ck_assert(ct_compat_read(fixture_read(&one, "[compat]\npreset = released\n"), &preset));
    ck_assert(ct_compat_read(fixture_read(&two, all), &keys));
    ck_assert_mem_eq(&preset, &keys, sizeof preset);
    for (int i = 0; i < SWITCHES; i++) {
        ck_assert(!released("[compat]\n", i));
        ck_assert(!released("[compat]\npreset = none\n", i));
        ck_assert(released("[compat]\npreset = released\n", i) == switches[i].preset);
    }
} END_TEST

START_TEST(a_key_of_its_own_wins_over_the_preset) {
    for (int i = 0; i < SWITCHES; i++) {
        char text[256];
        snprintf(text, sizeof text, "[compat]\n%s = %s\npreset = released\n", switches[i].key,
                 switches[i].ours);
        for (int k = 0; k < SWITCHES; k++)
            ck_assert(released(text, k) == (switches[k].preset && k != i));
        snprintf(text, sizeof text, "[compat]\n%s = %s\n", switches[i].key, switches[i].released);
        for (int k = 0; k < SWITCHES; k++) ck_assert(released(text, k) == (k == i));
    }
} END_TEST

TEST_MAIN("compat run", tokens_are_plain_or_with_the_bytes_prefix,
          class_numbers_begin_at_0_or_1, dev_is_cut_to_its_first_captions,
          preset_is_all_its_keys_one_by_one, a_key_of_its_own_wins_over_the_preset)
