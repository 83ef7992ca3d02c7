/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: values, defaults, --set, and one clear sentence for everything wrong. */
#include "tests/train/program.h"
#include "train/config/config_keys.h"

static const char minimal[] = "[data]\nfolder = flowers\n";

/* Reads a configuration of this text; NULL and an error as ct_config_read. */
static ct_config *read_text(const char *text, const char *const *overrides, int count) {
    char *folder = folder_make();
    const char *path = in_folder(folder, "small.ini");
    write_text(path, text);
    ct_config *config = ct_config_read(path, overrides, count);
    folder_remove(folder);
    return config;
}

static ct_config *read_one(const char *text, const char *override) {
    return read_text(text, &override, 1);
}

static const char *entry(const ct_config *config, const char *section, const char *key) {
    for (int i = 0; i < config->model.count; i++) {
        const ct_description_entry *e = &config->model.entries[i];
        if (strcmp(e->section, section) == 0 && strcmp(e->key, key) == 0) return e->value;
    }
    return NULL;
}

START_TEST(fills_in_defaults) {
    ct_config *c = read_text(minimal, NULL, 0);
    assert_no_error();
    ck_assert_str_eq(c->folder, "flowers");
    ck_assert_str_eq(c->train_split, "train");
    ck_assert_str_eq(c->dev_split, "dev");
    ck_assert_int_eq(c->test_split_count, 1);
    ck_assert_str_eq(c->test_splits[0], "test");
    ck_assert_str_eq(c->vocabulary, "");
    ck_assert_str_eq(c->run_folder, "runs/small");
    ck_assert_int_eq(c->dtype, CT_F32);
    ck_assert_str_eq(c->precision, "fp32");
    ck_assert_int_eq(c->batch, 128);
    ck_assert_double_eq(c->lr, 2e-4);
    ck_assert_double_eq(c->clip_norm, 2);
    ck_assert_str_eq(c->select, "r1_r5");
    ck_assert_int_eq(c->model.count, 0);
    ct_config_destroy(c);
}
END_TEST

START_TEST(reads_every_type) {
    ct_config *c = read_text("\xef\xbb\xbf; a comment, which may be as long as it likes, because a "
                             "sentence about what an experiment is for should not have to be "
                             "broken into several lines, whatever the reader of such files can "
                             "hold in its buffer\r\n"
                             "# another\r\n"
                             "[data]\r\n"
                             "folder: data/two words ; where it is\r\n"
                             "  test_splits = test , test_new,dev\r\n"
                             "\r\n"
                             "[run]\n"
                             "dtype=f64\n"
                             "device = cpu\n"
                             "precision = tf32\n"
                             "seed = 9007199254740992\n"
                             "[train]\n"
                             "lr = 1e-3\n"
                             "momentum = .5\n"
                             "schedule = cosine",
                             NULL, 0);
    assert_no_error();
    ck_assert_str_eq(c->folder, "data/two words");
    ck_assert_int_eq(c->test_split_count, 3);
    ck_assert_str_eq(c->test_splits[0], "test");
    ck_assert_str_eq(c->test_splits[1], "test_new");
    ck_assert_str_eq(c->test_splits[2], "dev");
    ck_assert_int_eq(c->dtype, CT_F64);
    ck_assert_str_eq(c->device, "cpu");
    ck_assert_str_eq(c->precision, "tf32");
    ck_assert_int_eq(c->seed, 9007199254740992);
    ck_assert_double_eq(c->lr, 1e-3);
    ck_assert_double_eq(c->momentum, 0.5);
    ck_assert_str_eq(c->schedule, "cosine");
    ct_config_destroy(c);

    c = read_text("[data]\nfolder=x\ntest_splits =\n", NULL, 0);
    assert_no_error();
    ck_assert_int_eq(c->test_split_count, 0);
    ct_config_destroy(c);
}
END_TEST

/* What is not given is 0.01 for adamw and 0 else; what is given is taken as it stands. */
START_TEST(decays_as_the_optimizer_does) {
    static const struct {
        const char *keys;
        double decay;
    } cases[] = {{"optimizer = adamw", 0.01},
                 {"optimizer = adam", 0},
                 {"optimizer = sgd", 0},
                 {"optimizer = adamw\nweight_decay = 0", 0},
                 {"weight_decay = 0.1\noptimizer = adamw", 0.1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, "[data]\nfolder = x\n[train]\n%s\n", cases[i].keys);
        ct_config *c = read_text(text, NULL, 0);
        assert_no_error();
        ck_assert_double_eq(c->weight_decay, cases[i].decay);
        ct_config *again = read_text(c->text, NULL, 0);
        ck_assert_double_eq(again->weight_decay, cases[i].decay);
        ct_config_destroy(again);
        ct_config_destroy(c);
    }
    const char *const adamw[] = {"train.optimizer=adamw"};
    ct_config *c = read_text("[data]\nfolder = x\n", adamw, 1);
    ck_assert_double_eq(c->weight_decay, 0.01);
    ct_config_destroy(c);
}
END_TEST

static const char model[] = "[data]\n"
                            "folder = flowers\n"
                            "[image]\n"
                            "fc = linear width=1024 ; features to D\n"
                            "gcn = gcn x 4\n"
                            "[text]\n"
                            "embed = words width=300\n"
                            "[loss]\n"
                            "retrieval = hinge margin=0.2\n"
                            "instance = classifier hidden=512\n"
                            "[compat]\n"
                            "[image]\n"
                            "pool = mean + gru\n";

START_TEST(keeps_the_models_entries_in_order) {
    ct_config *c = read_text(model, NULL, 0);
    assert_no_error();
    static const ct_description_entry expected[] = {
        {"image", "fc", "linear width=1024", 4},
        {"image", "gcn", "gcn x 4", 5},
        {"text", "embed", "words width=300", 7},
        {"loss", "retrieval", "hinge margin=0.2", 9},
        {"loss", "instance", "classifier hidden=512", 10},
        {"image", "pool", "mean + gru", 13},
    };
    int count = sizeof expected / sizeof *expected;
    ck_assert_int_eq(c->model.count, count);
    for (int i = 0; i < count; i++) {
        ck_assert_str_eq(c->model.entries[i].section, expected[i].section);
        ck_assert_str_eq(c->model.entries[i].key, expected[i].key);
        ck_assert_str_eq(c->model.entries[i].value, expected[i].value);
        ck_assert_int_eq(c->model.entries[i].line, expected[i].line);
    }
    ck_assert_str_eq(c->model.file, c->file);
    ct_config_destroy(c);
}
END_TEST

START_TEST(overrides_values) {
    const char *const overrides[] = {"train.lr=5e-4",        "train.lr=6e-4",
                                     "data.test_splits=a,b", "run.folder=r/s",
                                     "image.gcn=gcn x 2",    "loss.decoder=convcap width=512",
                                     "loss.instance="};
    ct_config *c = read_text(model, overrides, 7);
    assert_no_error();
    ck_assert_double_eq(c->lr, 6e-4);
    ck_assert_int_eq(c->test_split_count, 2);
    ck_assert_str_eq(c->run_folder, "r/s");
    ck_assert_str_eq(entry(c, "image", "gcn"), "gcn x 2");
    ck_assert_str_eq(c->model.entries[1].key, "gcn"); /* in its place */
    ck_assert_str_eq(entry(c, "loss", "decoder"), "convcap width=512");
    ck_assert_ptr_null(entry(c, "loss", "instance"));
    ck_assert_int_eq(c->model.count, 6);
    ct_config_destroy(c);
}
END_TEST

START_TEST(its_text_reproduces_it) {
    const char *const overrides[] = {"train.lr=5e-4", "image.gcn=gcn x 2",
                                     "loss.instance=", "data.test_splits=", "train.select=rsum"};
    ct_config *c = read_text(model, overrides, 5);
    assert_no_error();
    ct_config *again = read_text(c->text, NULL, 0);
    assert_no_error();
    ck_assert_str_eq(again->text, c->text);
    ck_assert_double_eq(again->lr, 5e-4);
    ck_assert_str_eq(again->select, "rsum");
    ck_assert_int_eq(again->test_split_count, 0);
    ck_assert_str_eq(again->run_folder, c->run_folder);
    ck_assert_int_eq(again->model.count, c->model.count);
    ck_assert_str_eq(entry(again, "image", "gcn"), "gcn x 2");
    ck_assert_str_eq(entry(again, "image", "pool"), "mean + gru");
    ck_assert_ptr_null(entry(again, "loss", "instance"));
    ct_config_destroy(again);
    ct_config_destroy(c);
}
END_TEST

START_TEST(names_what_is_wrong_in_the_file) {
    char long_name[200], long_section[200];
    snprintf(long_name, sizeof long_name, "[image]\n%080d = linear\n", 0);
    snprintf(long_section, sizeof long_section, "[%080d]\n", 0);
    const struct {
        const char *text, *message;
    } cases[] = {
        {"[data]\nfolder = x\n\n[train]\nepoch = 3\n",
         "small.ini:5: [train] unknown key 'epoch'; did you mean 'epochs'?"},
        {"[train]\nquux = 3\n", "small.ini:2: [train] unknown key 'quux'"},
        {"[train]\nvocabulary = x\n",
         "small.ini:2: [train] unknown key 'vocabulary'; it belongs to [data]"},
        {"[train]\nlr = fast\n", "small.ini:2: [train] lr = fast: expected a number"},
        {"[train]\nlr = nan\n", "lr = nan: expected a number from 0 to"},
        {"[train]\nlr =\n", "lr = : expected a number"},
        {"[train]\nepochs = 3.5\n", "epochs = 3.5: expected a whole number"},
        {"[train]\nepochs = 0\n", "epochs = 0: expected a whole number from 1 to"},
        {"[train]\nepochs = 99999999999999999999\n", "expected a whole number from 1 to"},
        {"[train]\nschedule = linear\n", "schedule = linear: expected one of: step cosine"},
        {"[run]\ndtype = f16\n", "small.ini:2: [run] dtype = f16: expected one of: f32 f64"},
        {"[run]\nprecision = fp8\n", "[run] precision = fp8: expected one of: fp32 tf32 bf16"},
        {"[data]\ntest_splits = a,,b\n", "test_splits = a,,b: expected names separated by commas"},
        {"[data]\nfolder = a\n[trian]\nlr = 3\n",
         "small.ini:3: unknown section [trian]; did you mean [train]?"},
        {"[data]\nfolder = a\n[trian]\n", "small.ini:3: unknown section [trian]"},
        {"[]\n", "small.ini:1: unknown section []"},
        {"lr = 3\n", "small.ini:1: 'lr' stands before any [section]"},
        {"[train]\nlr = 1\nepochs = 2\nlr = 1\n",
         "small.ini:4: [train] 'lr' is given twice, first in line 2"},
        {"[image]\nfc = linear\nfc = linear\n",
         "small.ini:3: [image] 'fc' is given twice, first in line 2"},
        {"[train]\nepochs\nepoch = 3\n",
         "small.ini:2: expected [section], key = value, or ; comment"},
        {"[train]\n= 3\n", "small.ini:2: expected [section], key = value, or ; comment"},
        {"[image]\n = relu\n", "small.ini:2: expected [section], key = value, or ; comment"},
        {"[train\nepochs = 3\n", "small.ini:1: expected [section]"},
        {long_name, "small.ini:2: [image] '000000000000000000000000000000000000000000000000...': "
                    "names have at most 48 bytes"},
        {long_section, "small.ini:1: unknown section [000"},
        {"[train]\n", "[data] folder is missing: Folder with {split}_ims.npy"},
        {"", "[data] folder is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_ptr_null(read_text(cases[i].text, NULL, 0));
        assert_error(cases[i].message);
    }
}
END_TEST

START_TEST(names_what_is_wrong_in_an_override) {
    static const struct {
        const char *setting, *message;
    } cases[] = {
        {"train.epoch=3", "--set train.epoch=3: unknown key 'epoch'; did you mean 'epochs'?"},
        {"trian.epochs=3", "--set trian.epochs=3: unknown section [trian]; did you mean [train]?"},
        {"train.lr=fast", "--set train.lr=fast: expected a number"},
        {"train.lr", "--set train.lr: expected section.key=value"},
        {"lr=3", "--set lr=3: expected section.key=value"},
        {".lr=3", "expected section.key=value"},
        {"train.=3", "expected section.key=value"},
        {"train.l r=3", "expected section.key=value"},
        {"data.folder=a\" ;b", "no ' ;'"},
        {"image.fc=linear ;b", "no ' ;'"},
        {"data.folder=a\nb", "one line"},
        {"image.fc= linear", "no space at its ends"},
        {"loss.none=", "--set loss.none=: there is no 'none' in [loss] to take out"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_ptr_null(read_one(minimal, cases[i].setting));
        assert_error(cases[i].message);
    }
}
END_TEST

/* Of any length, with any characters but the quote: in the file, by --set, and in the text that is
 * saved with a run. */
START_TEST(paths_are_any_text) {
    enum { LONG = 3000 };
    static char text[3 * LONG], setting[2 * LONG], path[2 * LONG], longest[LONG + 1];
    memset(longest, 'x', LONG);
    const char *const folders[] = {"my data", " data ", "a ;b", ";b",
                                   "a = b",   "#a",     "it's", longest};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(text, sizeof text,
                 "[data]\nfolder = \"%s\" ; a comment\n[text]\nembed = words "
                 "vectors=\"%s/glove 6B.txt\" width=4 ; and \"one\"\n",
                 folders[i], folders[i]);
        ct_config *c = read_text(text, NULL, 0);
        assert_no_error();
        snprintf(setting, sizeof setting, "data.folder=%s", folders[i]);
        ct_config *by_set = read_one(minimal, setting), *again = read_text(c->text, NULL, 0);
        ct_config *by_set_again = by_set ? read_text(by_set->text, NULL, 0) : NULL;
        assert_no_error();
        ck_assert_str_eq(c->folder, folders[i]);
        ck_assert_str_eq(by_set->folder, folders[i]);
        ck_assert_str_eq(again->folder, folders[i]);
        ck_assert_str_eq(by_set_again->folder, folders[i]);
        ck_assert_str_eq(again->text, c->text);
        snprintf(text, sizeof text, "%s/glove 6B.txt", folders[i]);
        ck_assert(ct_description_word_vectors(&again->model, path, sizeof path));
        ck_assert_str_eq(path, text);
        ct_config_destroy(by_set_again);
        ct_config_destroy(by_set);
        ct_config_destroy(again);
        ct_config_destroy(c);
    }
}
END_TEST

/* Found by tests/fuzz: with and without white space before it, and after what is saved is read. */
START_TEST(a_value_may_be_a_comment_alone) {
    static const char *const texts[] = {"[data]\nfolder = flowers\n[text]\nembed =; of one\n",
                                        "[data]\nfolder = flowers\n[text]\nembed = ; of one\n"};
    for (int i = 0; i < 2; i++) {
        ct_config *c = read_text(texts[i], NULL, 0), *again = c ? read_text(c->text, NULL, 0) : c;
        assert_no_error();
        ck_assert_str_eq(again->text, c->text);
        ck_assert_ptr_null(strstr(c->text, "of one"));
        ct_config_destroy(again);
        ct_config_destroy(c);
    }
}
END_TEST

START_TEST(names_what_is_wrong_in_a_quoted_option) {
    static const char *const values[] = {"words vectors=\"a b", "words vectors=\"a b\"c",
                                         "words vectors=\"a\"\"b\""};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[256], path[64];
        snprintf(text, sizeof text, "%s[text]\nembed = %s\n", minimal, values[i]);
        ct_config *c = read_text(text, NULL, 0);
        assert_no_error();
        ck_assert(!ct_description_word_vectors(&c->model, path, sizeof path));
        assert_error("small.ini:4: [text] embed: expected a second '\"', and a space or the end");
        ct_config_destroy(c);
    }
}
END_TEST

START_TEST(refuses_files_that_are_not_text) {
    ck_assert_ptr_null(ct_config_read("/nowhere/none.ini", NULL, 0));
    assert_error("/nowhere/none.ini");
    char *folder = folder_make();
    const char *path = in_folder(folder, "zero.ini");
    ck_assert(ct_file_write(path, "[data]\0folder = x\n", 18));
    ck_assert_ptr_null(ct_config_read(path, NULL, 0));
    assert_error("NUL byte");
    folder_remove(folder);
}
END_TEST

START_TEST(leaves_an_earlier_error_alone) {
    ct_fail("something before");
    ck_assert_ptr_null(read_text(minimal, NULL, 0));
    assert_error("something before");
    ct_config_destroy(NULL);
}
END_TEST

/* What is printed is itself a configuration, but for comments. */
START_TEST(help_names_every_key) {
    char *help = NULL;
    size_t size;
    FILE *out = open_memstream(&help, &size);
    ct_config_print_help(out);
    fclose(out);
    ct_config *c = read_text(minimal, NULL, 0);
    int keys = 0;
    for (char *line = strtok(c->text, "\n"); line; line = strtok(NULL, "\n")) {
        if (*line == '[') continue;
        line[strcspn(line, "=") + 1] = 0;
        ck_assert_msg(strstr(help, line) != NULL, "'%s' is not in the help", line);
        keys++;
    }
    ck_assert_int_gt(keys, 25);
    ck_assert_ptr_nonnull(strstr(help, "(step|cosine|constant)"));
    ct_config_destroy(c);
    free(help);
}
END_TEST

/* Of every key: 0, nothing and less than 0 are taken as they stand, or refused by name. */
START_TEST(no_value_is_taken_for_none) {
    static const char *const probes[] = {"0", "", "\"\"", "-1", "-0.5", "1", "2", "0.25", "1e-300"};
    enum { PROBES = sizeof probes / sizeof *probes };
    int taken = 0, refused = 0;
    for (int i = 0; i < ct_config_key_count; i++) {
        const ct_config_key *key = &ct_config_keys[i];
        bool folder = strcmp(key->section, "data") == 0 && strcmp(key->name, "folder") == 0;
        for (int k = 0; k < 2 * PROBES; k++) {
            char text[256], setting[128], expected[64];
            snprintf(setting, sizeof setting, "%s.%s=%s", key->section, key->name, probes[k / 2]);
            const char *const overrides[] = {setting};
            snprintf(text, sizeof text, "%s[%s]\n%s = %s\n", folder ? "" : minimal, key->section,
                     key->name, probes[k / 2]);
            ct_config *c =
                k % 2 ? read_text(folder ? "" : minimal, overrides, 1) : read_text(text, NULL, 0);
            if (!c) {
                ck_assert_msg(strstr(ct_error(), key->name) != NULL, "%s: %s", text, ct_error());
                assert_error(strstr(ct_error(), "missing") ? "is missing" : "expected ");
                refused++;
                continue;
            }
            taken++;
            char *value = ct_config_value(c, key);
            const char *probe = strcmp(probes[k / 2], "\"\"") == 0 ? "" : probes[k / 2];
            snprintf(expected, sizeof expected, "%s", probe);
            bool is_flag = key->type == CT_KEY_FLAG;
            if (is_flag) snprintf(expected, sizeof expected, "%s", *probe == '0' ? "no" : "yes");
            if (strcmp(key->name, "folder") == 0 && !*probe) { /* as its help says */
                snprintf(expected, sizeof expected, "runs/small");
            }
            ck_assert_msg(strcmp(value, expected) == 0, "%s: it is '%s'", setting, value);
            /* where that is not what the word says, the help does */
            bool plain = strcmp(key->name, "seed") == 0 || strcmp(key->name, "warmup_steps") == 0;
            if (key->type == CT_KEY_WHOLE && *probe == '0' && !plain) {
                ck_assert_msg(strstr(key->help, "0: ") != NULL, "%s: '%s'", setting, key->help);
            }
            free(value);
            ct_config *again = read_text(c->text, NULL, 0);
            assert_no_error();
            ck_assert_str_eq(again->text, c->text);
            ct_config_destroy(again);
            ct_config_destroy(c);
        }
    }
    ck_assert_int_gt(taken, 50);
    ck_assert_int_gt(refused, 100);
}
END_TEST

START_TEST(padding_leaves_room_for_a_word) {
    for (int words = 0; words < 5; words++) {
        char setting[64];
        snprintf(setting, sizeof setting, "data.pad_words=%d", words);
        ct_config *c = read_one(minimal, setting);
        ck_assert_int_eq(c != NULL, words == 0 || words > 2);
        if (!c) assert_error("expected 0, or a whole number from 3 to 1000000");
        ct_config_destroy(c);
    }
}
END_TEST

TEST_MAIN("config", no_value_is_taken_for_none, padding_leaves_room_for_a_word, fills_in_defaults,
          reads_every_type, decays_as_the_optimizer_does, keeps_the_models_entries_in_order,
          overrides_values, its_text_reproduces_it, names_what_is_wrong_in_the_file,
          names_what_is_wrong_in_an_override, paths_are_any_text, a_value_may_be_a_comment_alone,
          names_what_is_wrong_in_a_quoted_option, refuses_files_that_are_not_text,
          leaves_an_earlier_error_alone, help_names_every_key)
