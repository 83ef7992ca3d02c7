/* SPDX-License-Identifier: Apache-2.0 */
/* Training on recorded batches and noise: that they give what the folder they were taken from
 * gives, stopping after some steps, what a dump holds, and every refusal. */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>

#include "tests/train/program.h"

enum { STEPS = 2, BATCH = 8, MOST_WORDS = 6, HEADS = 2, ACTIONS = 10, MOST_TENSORS = 32 };

/* ---- a recording of the first two batches of tiny_experiment ----------------------------- */

typedef struct {
    ct_named_tensor tensor[MOST_TENSORS];
    char name[MOST_TENSORS][64];
    int count;
    const char *vocabulary; /* metadata V; NULL: none */
} recording;

static void add(recording *r, int step, const char *name, const ct_tensor *tensor) {
    ck_assert_int_lt(r->count, MOST_TENSORS);
    assert_no_error();
    snprintf(r->name[r->count], sizeof r->name[0], "step%d.%s", step, name);
    r->tensor[r->count++].tensor = tensor;
}

static int find(const recording *r, const char *name) {
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->name[i], name) == 0) return i;
    ck_abort_msg("no '%s' in the recording", name);
}

static void take_out(recording *r, const char *name) {
    int i = find(r, name), last = --r->count;
    memmove(r->name[i], r->name[last], sizeof r->name[0]);
    r->tensor[i].tensor = r->tensor[last].tensor;
}

static void replace(recording *r, const char *name, const ct_tensor *tensor) {
    assert_no_error();
    r->tensor[find(r, name)].tensor = tensor;
}

static void save(recording *r, const char *path) {
    const char *const metadata[] = {"V", r->vocabulary, NULL};
    for (int i = 0; i < r->count; i++) r->tensor[i].name = r->name[i]; /* r may be a copy */
    ct_safetensors_save(path, r->tensor, r->count, r->vocabulary ? metadata : NULL);
    assert_no_error();
}

/* Word ids of a line of words, between <start> 1 and <end> 2; returns their number. */
static int64_t encode(char *line, json_t *ids, int64_t *out) {
    int64_t count = 0;
    out[count++] = 1;
    for (char *rest = line, *word; (word = strsep(&rest, " \n")) && *word;)
        out[count++] = json_integer_value(json_object_get(ids, word));
    out[count++] = 2;
    return count;
}

/* Captions in the order of the file: the folder's batches under shuffle = no. */
static void record_batches(recording *r, const char *folder, json_t *ids) {
    ct_tensor *features = ct_npy_open(in_folder(folder, "data/train_ims.npy"));
    FILE *captions = fopen(in_folder(folder, "data/train_caps.txt"), "r");
    FILE *images = fopen(in_folder(folder, "data/train_ids.txt"), "r");
    ck_assert(features && captions && images);
    for (int step = 1; step <= STEPS; step++) {
        int64_t words[BATCH][MOST_WORDS] = {{0}}, lengths[BATCH], rows[BATCH], longest = 0;
        for (int i = 0; i < BATCH; i++) {
            char line[128];
            ck_assert_ptr_nonnull(fgets(line, sizeof line, captions));
            ck_assert_int_eq(fscanf(images, "%" SCNd64, &rows[i]), 1);
            lengths[i] = encode(line, ids, words[i]);
            longest = lengths[i] > longest ? lengths[i] : longest;
        }
        ct_tensor *all = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH, MOST_WORDS), words);
        ct_tensor *row = ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH), rows);
        add(r, step, "in.images", ct_tensor_index_select(features, 0, row));
        add(r, step, "in.captions", ct_tensor_slice(all, 1, 0, longest, 1));
        add(r, step, "in.lengths", ct_from_data(CT_I64, CT_CPU, CT_SHAPE(BATCH), lengths));
        add(r, step, "in.idx", row);
    }
    fclose(captions);
    fclose(images);
}

static void record_noise(recording *r, const recording *batches) {
    ct_rng rng = ct_rng_create(5, 0);
    for (int step = 1; step <= STEPS; step++) {
        char name[64];
        snprintf(name, sizeof name, "step%d.in.captions", step);
        int64_t words = ct_dim(batches->tensor[find(batches, name)].tensor, 1);
        for (int image = 0; image < 2; image++) {
            int64_t s = image ? TINY_REGIONS : words;
            const char *encoder = image ? "img_enc" : "txt_enc";
            snprintf(name, sizeof name, "noise.%s.gumbel_u", encoder);
            add(r, step, name,
                ct_random_uniform(&rng, "u", CT_F64, CT_CPU, CT_SHAPE(s, BATCH * HEADS, ACTIONS)));
            snprintf(name, sizeof name, "noise.%s.index_v", encoder);
            add(r, step, name,
                ct_random_uniform(&rng, "v", CT_F64, CT_CPU, CT_SHAPE(s, BATCH * HEADS)));
            snprintf(name, sizeof name, "noise.%s.z1", encoder);
            add(r, step, name,
                ct_random_normal(&rng, "z", CT_F64, CT_CPU, CT_SHAPE(s, BATCH, HEADS)));
        }
    }
}

/* Runs tiny.ini with `format` as options, at a constant learning rate. */
static int train(const char *folder, char *output, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int train(const char *folder, char *output, const char *format, ...) {
    char options[1024], arguments[2048];
    va_list list;
    va_start(list, format);
    vsnprintf(options, sizeof options, format, list);
    va_end(list);
    snprintf(arguments, sizeof arguments, "%s/tiny.ini --set train.schedule=constant %s", folder,
             options);
    return run_train(arguments, output);
}

/* tiny_experiment with in.safetensors (batches) and noise.safetensors; run/ holds a run of one
 * step. */
typedef struct {
    char *folder;
    json_t *vocabulary;
    char size[16];
    recording batches, noise;
} fixture;

static void open_fixture(fixture *f) {
    static char output[OUTPUT_SIZE];
    *f = (fixture){.folder = tiny_experiment()};
    ck_assert_msg(train(f->folder, output, "--steps 1") == 0, "%s", output);
    f->vocabulary = json_load_file(in_folder(f->folder, "run/vocabulary.json"), 0, NULL);
    json_t *ids = json_object_get(f->vocabulary, "word2idx");
    snprintf(f->size, sizeof f->size, "%zu", json_object_size(ids));
    f->batches.vocabulary = f->size;
    record_batches(&f->batches, f->folder, ids);
    record_noise(&f->noise, &f->batches);
    save(&f->batches, in_folder(f->folder, "in.safetensors"));
    save(&f->noise, in_folder(f->folder, "noise.safetensors"));
}

static void close_fixture(fixture *f) {
    json_decref(f->vocabulary);
    folder_remove(f->folder);
}

/* ---- recorded is as good as loaded ------------------------------------------------------- */

/* Whether all tensors of two dumped steps are equal to the last bit. */
static bool same_steps(const char *folder, const char *a, const char *b, int step) {
    char name[128];
    bool same = true;
    snprintf(name, sizeof name, "%s/step_%06d.safetensors", a, step);
    ct_safetensors *first = ct_safetensors_open(in_folder(folder, name));
    snprintf(name, sizeof name, "%s/step_%06d.safetensors", b, step);
    ct_safetensors *second = ct_safetensors_open(in_folder(folder, name));
    assert_no_error();
    ck_assert_int_eq(ct_safetensors_count(first), ct_safetensors_count(second));
    for (int i = 0; i < ct_safetensors_count(first); i++) CT_SCOPE {
            const char *tensor = ct_safetensors_name(first, i);
            ct_tensor *x = ct_safetensors_get(first, tensor),
                      *y = ct_safetensors_get(second, tensor);
            assert_no_error();
            same =
                same && ct_shape_equal(x->shape, y->shape) &&
                memcmp(ct_data(x), ct_data(y), (size_t)ct_count(x) * ct_dtype_size(x->dtype)) == 0;
        }
    ct_safetensors_close(first);
    ct_safetensors_close(second);
    return same;
}

START_TEST(recorded_and_loaded_batches_give_the_same_steps) {
    CT_SCOPE {
        fixture f;
        static char out[OUTPUT_SIZE];
        open_fixture(&f);
        const char *t = f.folder;
        const char *loaded = "--set data.shuffle=no --steps 2 --overwrite";
        ck_assert_msg(train(t, out, "%s --dump-steps %s/a", loaded, t) == 0, "%s", out);
        const char *noise = "--set recorded.noise=%s/noise.safetensors";
        char replayed[512];
        snprintf(replayed, sizeof replayed, noise, t);
        ck_assert_msg(train(t, out, "%s --dump-steps %s/b %s", loaded, t, replayed) == 0, "%s",
                      out);
        const char *recorded = "--set recorded.file=%s/in.safetensors --steps 2 --overwrite "
                               "--dump-steps %s/%s";
        char options[1024];
        snprintf(options, sizeof options, recorded, t, t, "c");
        ck_assert_msg(train(t, out, "%s", options) == 0, "%s", out);
        snprintf(options, sizeof options, recorded, t, t, "d");
        ck_assert_msg(train(t, out, "%s %s", options, replayed) == 0, "%s", out);
        for (int step = 1; step <= STEPS; step++) {
            ck_assert(same_steps(t, "a", "c", step)); /* noise drawn as usual */
            ck_assert(same_steps(t, "b", "d", step)); /* noise replayed */
            ck_assert(!same_steps(t, "a", "b", step));
        }
        close_fixture(&f);
    }
}
END_TEST

/* Fixed word vectors are looked up by the words of [data] vocabulary. */
START_TEST(recorded_ids_take_fixed_word_vectors) {
    CT_SCOPE {
        fixture f;
        static char out[OUTPUT_SIZE];
        open_fixture(&f);
        const char *t = f.folder;
        char options[1024];
        write_text(in_folder(t, "vectors.txt"), "red 1 2 3 4 5 6 7 8\nstar 8 7 6 5 4 3 2 1\n");
        snprintf(options, sizeof options,
                 "--steps 2 --overwrite --set 'text.embed=words vectors=%s/vectors.txt'", t);
        ck_assert_msg(train(t, out, "%s --set data.shuffle=no --dump-steps %s/a", options, t) == 0,
                      "%s", out);
        ck_assert(rename(in_folder(t, "run/vocabulary.json"), in_folder(t, "words.json")) == 0);
        ck_assert_msg(train(t, out,
                            "%s --set recorded.file=%s/in.safetensors "
                            "--set data.vocabulary=%s/words.json --dump-steps %s/b",
                            options, t, t, t) == 0,
                      "%s", out);
        for (int step = 1; step <= STEPS; step++) ck_assert(same_steps(t, "a", "b", step));
        ck_assert_int_eq(train(t, out, "%s --set recorded.file=%s/in.safetensors", options, t), 2);
        ck_assert_msg(strstr(out, "need [data] vocabulary") != NULL, "%s", out);
        close_fixture(&f);
    }
}
END_TEST

/* Without a dev split nothing is validated; the last model is the best. */
START_TEST(recorded_batches_are_trained_for_all_epochs) {
    CT_SCOPE {
        fixture f;
        static char out[OUTPUT_SIZE];
        open_fixture(&f);
        const char *t = f.folder;
        ck_assert_msg(train(t, out,
                            "--set recorded.file=%s/in.safetensors --overwrite "
                            "--set data.folder=",
                            t) == 0,
                      "%s", out);
        ck_assert_ptr_nonnull(strstr(out, "2 recorded batches"));
        ck_assert_ptr_nonnull(strstr(out, "trained to the end"));
        ck_assert_int_ne(access(in_folder(t, "run/results.json"), F_OK), 0);
        ct_safetensors *last = ct_safetensors_open(in_folder(t, "run/last.safetensors"));
        ct_safetensors *best = ct_safetensors_open(in_folder(t, "run/best.safetensors"));
        assert_no_error();
        ck_assert_int_eq(ct_get(ct_safetensors_get(last, "optimizer.step.image.fc.weight"), 0), 6);
        assert_close(ct_safetensors_get(best, "image.fc.weight"),
                     ct_safetensors_get(last, "model.image.fc.weight"), 0, 0, "image.fc.weight");
        ct_safetensors_close(last);
        ct_safetensors_close(best);
        const char *config = in_folder(t, "run/config.ini"); /* reads back */
        char arguments[1024];
        snprintf(arguments, sizeof arguments, "%s --embed recorded --out %s/e", config, t);
        ck_assert_msg(run_train(arguments, out) == 0, "%s", out);
        ct_tensor *images = ct_npy_open(in_folder(t, "e/img_embs.npy"));
        assert_no_error();
        ck_assert(ct_shape_equal(images->shape, CT_SHAPE(BATCH, 12)));
        ck_assert_msg(train(t, out, "--set recorded.file=%s/in.safetensors --dry-run", t) == 0,
                      "%s", out);
        ck_assert_ptr_nonnull(strstr(out, "2 recorded batches, the first of 8 images of 4"));
        ck_assert_ptr_nonnull(strstr(out, "GFLOP"));
        close_fixture(&f);
    }
}
END_TEST

/* ---- stopping ---------------------------------------------------------------------------- */

START_TEST(stops_after_steps_and_goes_on_to_the_same_bits) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, NULL, "--set run.folder=%s/whole", folder), 0);
    ck_assert_msg(train(folder, output, "--steps 4") == 0, "%s", output);
    ck_assert_ptr_nonnull(strstr(output, "stopped after step 4"));
    ck_assert_int_ne(access(in_folder(folder, "run/results.json"), F_OK), 0);
    ck_assert_int_eq(train(folder, output, "--resume --steps 7"), 0);
    ck_assert_ptr_nonnull(strstr(output, "stopped after step 11"));
    ck_assert_int_eq(train(folder, output, "--resume --steps 1000"), 0); /* the end comes first */
    ck_assert_int_eq(access(in_folder(folder, "run/results.json"), F_OK), 0);
    assert_same_file(in_folder(folder, "whole/best.safetensors"),
                     in_folder(folder, "run/best.safetensors"));
    folder_remove(folder);
}
END_TEST

/* ---- what a dump holds ------------------------------------------------------------------- */

START_TEST(a_dump_holds_the_step_under_our_names) {
    char *folder = tiny_experiment();
    ck_assert_int_eq(train(folder, NULL, "--steps 3 --dump-steps %s/deep/steps", folder), 0);
    CT_SCOPE {
        ct_safetensors *dump =
            ct_safetensors_open(in_folder(folder, "deep/steps/step_000003.safetensors"));
        ct_safetensors *last = ct_safetensors_open(in_folder(folder, "run/last.safetensors"));
        assert_no_error();
        static const char *const names[] = {
            "loss.total",         "loss.retrieval",        "loss.discrete_image",
            "loss.discrete_text", "loss.continuous_image", "loss.continuous_text",
            "out.img_emb",        "out.cap_emb",           "out.advantage"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            ck_assert_msg(ct_safetensors_has(dump, names[i]), "no %s", names[i]);
        double squares = 0, total = ct_item(ct_safetensors_get(dump, "out.total_grad_norm"));
        int state = 0;
        for (int i = 0; i < ct_safetensors_count(dump); i++) CT_SCOPE {
                const char *name = ct_safetensors_name(dump, i), *dot = strchr(name, '.');
                ct_tensor *x = ct_safetensors_get(dump, name);
                if (strncmp(name, "grad_norm.", 10) == 0) {
                    squares += ct_item(x) * ct_item(x);
                } else if (strncmp(name, "param_after.", 12) == 0 ||
                           strncmp(name, "buffer_after.", 13) == 0) {
                    char model[256];
                    snprintf(model, sizeof model, "model%s", dot);
                    assert_close(x, ct_safetensors_get(last, model), 0, 0, name);
                    state++;
                }
            }
        ck_assert_double_gt(total, 0);
        ck_assert_double_eq_tol(sqrt(squares), total, 1e-6 * total);
        int saved = 0;
        for (int i = 0; i < ct_safetensors_count(last); i++)
            saved += strncmp(ct_safetensors_name(last, i), "model.", 6) == 0;
        ck_assert_int_eq(state, saved);
        ck_assert_str_eq(ct_safetensors_metadata(dump, "step"), "3");
        ck_assert_str_eq(ct_safetensors_metadata(dump, "epoch"), "0");
        ck_assert_str_eq(ct_safetensors_metadata(dump, "seed"), "3");
        ck_assert_double_eq(atof(ct_safetensors_metadata(dump, "lr")), 0.01);
        ct_safetensors_close(dump);
        ct_safetensors_close(last);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(dumping_changes_no_bit) {
    char *folder = tiny_experiment();
    ck_assert_int_eq(train(folder, NULL, "--dump-steps %s/steps", folder), 0);
    ck_assert_int_eq(train(folder, NULL, "--set run.folder=%s/plain", folder), 0);
    assert_same_file(in_folder(folder, "run/best.safetensors"),
                     in_folder(folder, "plain/best.safetensors"));
    folder_remove(folder);
}
END_TEST

START_TEST(steps_of_an_earlier_run_are_not_mixed) {
    char *folder = tiny_experiment();
    static char output[OUTPUT_SIZE];
    ck_assert_int_eq(train(folder, NULL, "--steps 2 --dump-steps %s/steps", folder), 0);
    char options[1024];
    snprintf(options, sizeof options, "--set run.folder=%s/other --dump-steps %s/steps", folder,
             folder);
    REFUSED(folder, options, "/steps already holds steps", "step_00000", "--overwrite");
    ck_assert_int_ne(access(in_folder(folder, "other/config.ini"), F_OK), 0);
    ck_assert_int_eq(train(folder, output, "--resume --steps 1 --dump-steps %s/steps", folder), 0);
    ck_assert_int_eq(access(in_folder(folder, "steps/step_000001.safetensors"), R_OK), 0);
    ck_assert_int_eq(access(in_folder(folder, "steps/step_000003.safetensors"), R_OK), 0);
    ck_assert_int_eq(train(folder, NULL, "--overwrite --steps 1 --dump-steps %s/steps", folder), 0);
    ck_assert_int_eq(access(in_folder(folder, "steps/step_000001.safetensors"), R_OK), 0);
    ck_assert_int_ne(access(in_folder(folder, "steps/step_000003.safetensors"), R_OK), 0);
    folder_remove(folder);
}
END_TEST

/* ---- refusals ---------------------------------------------------------------------------- */

/* Trains on a changed recording: one sentence with these texts. */
#define RECORDING_REFUSED(f, changed, more, ...)                                                  \
    do {                                                                                          \
        char options_[1024];                                                                      \
        save(&(changed), in_folder((f)->folder, "changed.safetensors"));                          \
        snprintf(options_, sizeof options_,                                                       \
                 "--overwrite --set recorded.file=%s/changed.safetensors %s", (f)->folder, more); \
        REFUSED((f)->folder, options_, "changed.safetensors", __VA_ARGS__);                       \
    } while (0)

START_TEST(missing_tensors) {
    CT_SCOPE {
        fixture f;
        open_fixture(&f);
        recording r = f.batches;
        take_out(&r, "step1.in.images");
        RECORDING_REFUSED(&f, r, "", "no tensor 'step1.in.images'", "floats (B,N,F)");
        r = f.batches;
        take_out(&r, "step2.in.images");
        RECORDING_REFUSED(&f, r, "", "no tensor 'step2.in.images'");
        r = f.batches;
        take_out(&r, "step2.in.lengths");
        RECORDING_REFUSED(&f, r, "", "no tensor 'step2.in.lengths'", "i64 (8)");
        r = f.batches;
        take_out(&r, "step1.in.captions");
        RECORDING_REFUSED(&f, r, "", "no tensor 'step1.in.captions'", "i64 (8,T)");
        r = f.batches;
        take_out(&r, "step2.in.idx");
        RECORDING_REFUSED(&f, r, "--set 'loss.instance=classifier hidden=4'",
                          "no tensor 'step2.in.idx'", "i64 (8)");
        r = f.batches;
        r.vocabulary = NULL;
        RECORDING_REFUSED(&f, r, "", "no metadata 'V'", "vocabulary_size");
        r.vocabulary = "many";
        RECORDING_REFUSED(&f, r, "", "metadata 'V' is 'many'");
        RECORDING_REFUSED(&f, f.noise, "", "no tensor 'in.images'", "recorded batches");
        ck_assert_int_eq(access(in_folder(f.folder, "run/last.safetensors"), R_OK), 0);
        close_fixture(&f);
    }
}
END_TEST

START_TEST(wrong_tensors) {
    CT_SCOPE {
        fixture f;
        open_fixture(&f);
        recording r = f.batches;
        replace(&r, "step1.in.images", ct_zeros(CT_F32, CT_CPU, CT_SHAPE(8, 24)));
        RECORDING_REFUSED(&f, r, "", "'step1.in.images' is f32 (8,24)", "floats (B,N,F)");
        r = f.batches;
        replace(&r, "step2.in.images", ct_zeros(CT_F32, CT_CPU, CT_SHAPE(8, 4, 5)));
        RECORDING_REFUSED(&f, r, "", "'step2.in.images' is f32 (8,4,5)", "floats (B,4,6)");
        replace(&r, "step2.in.images", ct_full(CT_F32, CT_CPU, CT_SHAPE(8, 4, 6), NAN));
        RECORDING_REFUSED(&f, r, "", "'step2.in.images' holds NaN or infinity");
        r = f.batches;
        replace(&r, "step1.in.lengths", ct_full(CT_F32, CT_CPU, CT_SHAPE(8), 3));
        RECORDING_REFUSED(&f, r, "", "'step1.in.lengths' is f32 (8)", "i64 (8)");
        replace(&r, "step1.in.lengths", ct_full(CT_I64, CT_CPU, CT_SHAPE(7), 3));
        RECORDING_REFUSED(&f, r, "", "'step1.in.lengths' is i64 (7)", "i64 (8)");
        replace(&r, "step1.in.lengths", ct_full(CT_I64, CT_CPU, CT_SHAPE(8), 77));
        RECORDING_REFUSED(&f, r, "", "'step1.in.lengths' holds 77 at position 0", "1 to 6");
        r = f.batches;
        replace(&r, "step2.in.captions", ct_full(CT_I64, CT_CPU, CT_SHAPE(8, 6), 4000));
        RECORDING_REFUSED(&f, r, "", "'step2.in.captions' holds 4000", "0 to");
        replace(&r, "step2.in.captions", ct_full(CT_F64, CT_CPU, CT_SHAPE(8, 5), 1));
        RECORDING_REFUSED(&f, r, "", "'step2.in.captions' is f64 (8,5)", "i64 (8,T)");
        r = f.batches;
        add(&r, 1, "in.language", ct_zeros(CT_F32, CT_CPU, CT_SHAPE(8, 5, 7)));
        RECORDING_REFUSED(&f, r, "", "'step1.in.language' is f32 (8,5,7)", "floats (8,T,8)");
        r = f.batches;
        replace(&r, "step2.in.idx", ct_full(CT_I64, CT_CPU, CT_SHAPE(8), 99));
        RECORDING_REFUSED(&f, r,
                          "--set 'loss.instance=classifier hidden=4' --set recorded.classes=99",
                          "'step2.in.idx' holds 99", "0 to 98");
        int64_t last[8];
        for (int i = 0; i < 8; i++) last[i] = INT64_MAX; /* of which there is no one more */
        replace(&r, "step2.in.idx", ct_from_data(CT_I64, CT_CPU, CT_SHAPE(8), last));
        RECORDING_REFUSED(&f, r,
                          "--set 'loss.instance=classifier hidden=4' --set recorded.classes=99",
                          "'step2.in.idx' holds 9223372036854775807", "0 to 98");
        ck_assert_int_eq(access(in_folder(f.folder, "run/last.safetensors"), R_OK), 0);
        close_fixture(&f);
    }
}
END_TEST

START_TEST(wrong_noise) {
    CT_SCOPE {
        fixture f;
        open_fixture(&f);
        recording r = f.batches;
        for (int i = 0; i < f.noise.count; i++)
            add(&r, f.noise.name[i][4] - '0', f.noise.name[i] + 6, f.noise.tensor[i].tensor);
        recording whole = r;
        RECORDING_REFUSED(&f, r, "", "noise is recorded for 2 steps", "step 3", "--steps");
        ck_assert_int_eq(access(in_folder(f.folder, "run/last.safetensors"), R_OK), 0);
        take_out(&r, "step2.noise.img_enc.z1");
        RECORDING_REFUSED(&f, r, "--steps 2", "no tensor 'step2.noise.img_enc.z1'",
                          "floats (4,8,2)");
        r = whole;
        const char *uniform = "step1.noise.txt_enc.gumbel_u";
        replace(&r, uniform, ct_zeros(CT_F64, CT_CPU, CT_SHAPE(8, 6, 2, 10)));
        RECORDING_REFUSED(&f, r, "--steps 2", "'step1.noise.txt_enc.gumbel_u' is f64 (8,6,2,10)",
                          "floats (6,16,10)");
        replace(&r, uniform, ct_zeros(CT_I64, CT_CPU, CT_SHAPE(6, 16, 10)));
        RECORDING_REFUSED(&f, r, "--steps 2", "'step1.noise.txt_enc.gumbel_u' is i64",
                          "floats (6,16,10)");
        r = whole;
        RECORDING_REFUSED(&f, r, "--steps 2 --set compat.continuous_sample=second",
                          "no tensor 'step1.noise.txt_enc.z2'");
        char options[512];
        snprintf(options, sizeof options, "--overwrite --set recorded.noise=%s/in.safetensors",
                 f.folder);
        REFUSED(f.folder, options, "in.safetensors", "no tensor 'noise.*'");
        close_fixture(&f);
    }
}
END_TEST

START_TEST(wrong_uses) {
    CT_SCOPE {
        fixture f;
        open_fixture(&f);
        char options[1024];
        snprintf(options, sizeof options,
                 "--evaluate test --set recorded.file=%s/in.safetensors --weights "
                 "%s/run/none.safetensors",
                 f.folder, f.folder);
        REFUSED(f.folder, options, "none.safetensors");
        snprintf(options, sizeof options, "--overwrite --set recorded.file=%s/none.safetensors",
                 f.folder);
        REFUSED(f.folder, options, "none.safetensors");
        REFUSED(f.folder, "--set data.folder= --overwrite", "[data] folder is missing");
        ck_assert_int_eq(train(f.folder, NULL,
                               "--set recorded.file=%s/in.safetensors --overwrite "
                               "--steps 1",
                               f.folder),
                         0);
        snprintf(options, sizeof options, "--evaluate test --set recorded.file=%s/in.safetensors",
                 f.folder);
        REFUSED(f.folder, options, "batches are recorded", "no split 'test'");
        close_fixture(&f);
    }
}
END_TEST

TEST_MAIN("recorded", recorded_and_loaded_batches_give_the_same_steps,
          recorded_ids_take_fixed_word_vectors, recorded_batches_are_trained_for_all_epochs,
          stops_after_steps_and_goes_on_to_the_same_bits, a_dump_holds_the_step_under_our_names,
          dumping_changes_no_bit, steps_of_an_earlier_run_are_not_mixed, missing_tensors,
          wrong_tensors, wrong_noise, wrong_uses)
