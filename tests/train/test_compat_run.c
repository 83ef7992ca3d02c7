/* SPDX-License-Identifier: Apache-2.0 */
/* Departures of the released code around the model, in data and runs, told apart by the values of
 * both settings (those within the model: test_compat.c; what evaluation reports: test_evaluate.c;
 * resuming: test_train.c), and the preset. */
#include "tests/models/model_fixture.h"
#include "tests/train/split_fixture.h"
#include "train/run/experiment.h"

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

/* "a red square" or b'a red square'; the vocabulary is of plain tokens either way, as the published
 * ones are. */
START_TEST(tokens_are_plain_or_with_the_bytes_prefix) {
    static const char *const plain[] = {"<start>", "a", "red", "square", "<end>"};
    static const char *const bytes[] = {"<start>", "<unk>",  "<unk>", "a",
                                        "red",     "square", "<unk>", "<end>"};
    static const char *const settings[] = {"compat.tokens=plain", "compat.tokens=released",
                                           "compat.preset=released"};
    for (int k = 0; k < 3; k++) {
        run r = run_with(settings[k]);
        ct_caption caption;
        ck_assert(ct_encode(r.experiment->encoder, "a red square", &caption));
        ck_assert_int_eq(caption.length, k ? 8 : 5);
        for (int64_t i = 0; i < caption.length; i++)
            ck_assert_str_eq(ct_vocabulary_word(r.experiment->vocabulary, caption.ids[i]),
                             k ? bytes[i] : plain[i]);
        ct_caption_free(&caption);
        run_end(r);
    }
}
END_TEST

static ct_batch first_batch(const run *r, ct_loader **loader) {
    *loader = ct_loader_create(r->experiment->train, 8, false, true, 3, CT_CPU);
    ck_assert(ct_loader_start(*loader, 0, 0));
    ct_batch batch = ct_batch_from_host(r->experiment, ct_loader_next(*loader));
    assert_no_error();
    return batch;
}

/* The longest of the first captions has 6 tokens, "the red square is red"; the loader of the
 * released code pads to 87, of which its decoder is to say 60, and a <pad> that counts. */
START_TEST(captions_are_padded_to_the_longest_or_to_87) {
    static const struct {
        const char *setting;
        int64_t words, targets;
    } rows[] = {{"compat.text_policy_steps=words", 6, 0},
                {"compat.text_policy_steps=padded", 87, 60},
                {"compat.preset=released", 87, 61},
                {"data.pad_words=9", 9, 60}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        run r = run_with(rows[i].setting);
        CT_SCOPE {
            ct_loader *loader;
            ct_batch batch = first_batch(&r, &loader);
            ck_assert_int_eq(ct_dim(batch.words, 1), rows[i].words);
            if (!rows[i].targets) ck_assert_ptr_null(batch.targets);
            else ck_assert_int_eq(ct_dim(batch.targets, 1), rows[i].targets);
            ct_loader_destroy(loader);
        }
        run_end(r);
    }
}
END_TEST

/* "a red square": the file has no vector of red, <start> and <end>. Either way 5 words count. */
START_TEST(words_without_a_vector_are_learned_or_dropped) {
    for (int dropped = 0; dropped < 2; dropped++) {
        run r = {.folder = tiny_experiment()};
        write_text(in_folder(r.folder, "glove.txt"), "a 1 2\nsquare 3 4\nblue 5 6\n");
        char vectors[512];
        snprintf(vectors, sizeof vectors, "text.embed=words vectors=%s",
                 in_folder(r.folder, "glove.txt"));
        const char *settings[] = {vectors, dropped ? "compat.unknown_words=dropped"
                                                   : "compat.unknown_words=learned"};
        r.config = ct_config_read(in_folder(r.folder, "tiny.ini"), settings, 2);
        r.experiment = ct_experiment_open(r.config, false);
        assert_no_error();
        const ct_vocabulary *v = r.experiment->vocabulary;
        static const char *const words[2][5] = {{"<start>", "a", "red", "square", "<end>"},
                                                {"a", "square", "<pad>", "<pad>", "<pad>"}};
        CT_SCOPE {
            ct_loader *loader;
            ct_batch batch = first_batch(&r, &loader);
            ck_assert_double_eq(ct_get(batch.lengths, 0), 5);
            for (int64_t i = 0; i < 5; i++) {
                int64_t id = (int64_t)ct_get(batch.words, i);
                ck_assert_str_eq(ct_vocabulary_word(v, id), words[dropped][i]);
                if (!dropped) continue;
                id = (int64_t)ct_get(batch.targets, i);
                ck_assert_str_eq(ct_vocabulary_word(v, id), words[0][i]);
            }
            ct_loader_destroy(loader);
        }
        run_end(r);
    }
}
END_TEST

START_TEST(class_numbers_begin_at_0_or_1) {
    for (int released = 0; released < 2; released++) {
        run r = run_with(released ? "compat.classes=released" : "compat.classes=data");
        CT_SCOPE {
            ct_loader *loader = ct_loader_create(r.experiment->train, 8, true, true, 3, CT_CPU);
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
}
END_TEST

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
        ct_split *split = ct_experiment_split(r.experiment, rows[i].split, CT_SPLIT_WHOLE);
        assert_no_error();
        ck_assert_int_eq(split->image_count, rows[i].images);
        ck_assert_int_eq(split->caption_count, rows[i].captions);
        ct_split_destroy(split);
        run_end(r);
    }
}
END_TEST

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
    const char *key, *choices;
    bool in_preset;
    ck_assert(!ct_compat_key(SWITCHES, &key, &choices, &in_preset));
    for (int i = 0; i < SWITCHES; i++) {
        snprintf(own, sizeof own, "%s|%s", switches[i].ours, switches[i].released);
        ck_assert(ct_compat_key(i, &key, &choices, &in_preset));
        ck_assert_str_eq(key, switches[i].key);
        ck_assert_str_eq(choices, own);
        ck_assert(in_preset == switches[i].preset);
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
}
END_TEST

START_TEST(documentation_lists_every_switch) {
    const char *source = getenv("CT_TEST_DATA");
    char *text = ct_file_read(in_folder(source ? source : ".", "docs/model.md"), NULL);
    ck_assert_ptr_nonnull(text);
    for (int i = 0; i < SWITCHES; i++) {
        char row[128];
        snprintf(row, sizeof row, "\n| `%s` | %s | %s | ", switches[i].key, switches[i].ours,
                 switches[i].released);
        ck_assert_msg(strstr(text, row) != NULL, "docs/model.md has no row%s", row);
    }
    free(text);
}
END_TEST

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
}
END_TEST

TEST_MAIN("compat run", tokens_are_plain_or_with_the_bytes_prefix,
          captions_are_padded_to_the_longest_or_to_87,
          words_without_a_vector_are_learned_or_dropped, class_numbers_begin_at_0_or_1,
          dev_is_cut_to_its_first_captions, preset_is_all_its_keys_one_by_one,
          documentation_lists_every_switch, a_key_of_its_own_wins_over_the_preset)
